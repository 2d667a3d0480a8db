//! `cargo xtask arrows`: the architecture, checked. Reads the graph of dependencies from `cargo metadata` and the
//! resolved features from `cargo tree`, and holds them against the rules; makes no decision itself.
//!
//! Read next: `arrows/rules.rs`, which has the table.

mod rules;

use std::fs;

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use crate::shell;
use rules::{Arrow, Kind};

/// Checks every rule and names all breaches at once.
pub(crate) fn run() -> Result<()> {
    let metadata = MetadataCommand::new()
        .current_dir(shell::root())
        .no_deps()
        .exec()?;
    let (packages, arrows) = graph(&metadata);
    let mut breaches = rules::check_packages(&packages);
    breaches.extend(rules::check_arrows(&arrows));
    breaches.extend(rules::check_no_sql_in_agent(&tree(
        "holdfast-agent",
        "{p}|",
        &["normal"],
        &[],
    )?));
    let edges = ["normal", "no-proc-macro"];
    breaches.extend(rules::check_domain_features(&tree(
        "holdfast-domain",
        "{p}|{f}",
        &edges,
        &["--no-default-features"],
    )?));
    let domain = shell::root().join("crates/domain/src/lib.rs");
    let domain =
        fs::read_to_string(&domain).with_context(|| format!("cannot read {}", domain.display()))?;
    breaches.extend(rules::check_domain_source(&domain));
    if !breaches.is_empty() {
        bail!(
            "{} wrong arrow(s):\n  {}",
            breaches.len(),
            breaches.join("\n  ")
        );
    }
    // The domain by itself: in a workspace build other crates' features would hide what it lacks.
    shell::run(&mut shell::cargo([
        "check",
        "--quiet",
        "--package",
        "holdfast-domain",
        "--no-default-features",
    ]))
}

/// The workspace's packages by short name, and every dependency that one of them declares, optional ones too.
fn graph(metadata: &Metadata) -> (Vec<String>, Vec<Arrow>) {
    let mut packages = Vec::new();
    let mut arrows = Vec::new();
    for package in metadata.workspace_packages() {
        let from = short(&package.name).to_owned();
        for dependency in &package.dependencies {
            arrows.push(Arrow {
                from: from.clone(),
                to: short(&dependency.name).to_owned(),
                ours: dependency.path.is_some(),
                kind: match dependency.kind {
                    DependencyKind::Development => Kind::Dev,
                    _ => Kind::Normal,
                },
            });
        }
        packages.push(from);
    }
    (packages, arrows)
}

/// The name that the design uses: without `holdfast-`.
fn short(name: &str) -> &str {
    name.strip_prefix("holdfast-").unwrap_or(name)
}

/// What a package pulls in by itself, with the features resolved for it alone: a line for each.
fn tree(package: &str, format: &str, edges: &[&str], flags: &[&str]) -> Result<String> {
    let mut command = shell::cargo([
        "tree",
        "--package",
        package,
        "--prefix",
        "none",
        "--format",
        format,
    ]);
    command.args(["--edges", &edges.join(",")]).args(flags);
    shell::read(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graph_has_all_declared_dependencies_with_their_kind() {
        let text = r#"{"packages":[{"name":"holdfast-domain","version":"0.1.0","id":"d","features":{},"targets":[],
            "manifest_path":"/Cargo.toml","edition":"2024","dependencies":[
              {"name":"holdfast-testkit","source":null,"req":"*","kind":"dev","rename":null,"optional":false,
               "uses_default_features":true,"features":[],"target":null,"registry":null,"path":"/testkit"},
              {"name":"sqlx","source":"s","req":"*","kind":null,"rename":null,"optional":true,
               "uses_default_features":true,"features":[],"target":null,"registry":null}]}],
            "workspace_members":["d"],"workspace_root":"/","target_directory":"/t","version":1,"resolve":null}"#;
        let (packages, arrows) = graph(&MetadataCommand::parse(text).unwrap());
        assert_eq!(packages, ["domain"]);
        let arrow = |to: &str, ours, kind| Arrow {
            from: "domain".to_owned(),
            to: to.to_owned(),
            ours,
            kind,
        };
        assert_eq!(
            arrows,
            [
                arrow("testkit", true, Kind::Dev),
                arrow("sqlx", false, Kind::Normal)
            ]
        );
    }
}
