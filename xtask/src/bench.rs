//! `cargo xtask bench`: runs the benchmarks of the workspace, which are every crate's `[[bench]]` targets. A new one
//! needs no change here; what it needs around it, it says in its crate's Cargo.toml:
//!
//! ```toml
//! [package.metadata.bench.plan]
//! about = "the plan for a device of 1,000 sensors"
//! needs = ["postgres", "programs"]   # a durable cluster in HOLDFAST_TEST_POSTGRES, release builds
//! ```
//!
//! What was measured is in `docs/benchmarks.md`.

use std::{env, path::PathBuf};

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand, TargetKind};

use crate::postgres::{TestCluster, URL_VAR};
use crate::shell;

/// What a benchmark needs around it, from `needs`.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Need {
    /// A PostgreSQL cluster that commits durably, as a real one does
    Postgres,
    /// Release builds of the programs
    Programs,
}

/// Where the programs are that benchmarks run. Where it is set, nothing is built: for comparing two builds.
const PROGRAMS_VAR: &str = "HOLDFAST_TEST_BIN_DIR";

/// The programs that benchmarks run. Each is built by itself, as it is shipped: built together, one would carry what another
/// needs.
const PROGRAMS: [&str; 3] = ["holdfast-api", "holdfast-agent", "holdfast"];

/// One benchmark target.
#[derive(Debug, PartialEq, Eq)]
struct Bench {
    name: String,
    package: String,
    about: String,
    needs: Vec<Need>,
}

/// Runs those whose name contains `part`, one after the other: together they would measure each other.
pub(crate) fn run(part: Option<&str>, list: bool, arguments: &[String]) -> Result<()> {
    let metadata = MetadataCommand::new()
        .current_dir(shell::root())
        .no_deps()
        .exec()?;
    let mut chosen = find(&metadata)?;
    chosen.retain(|bench| part.is_none_or(|part| bench.name.contains(part)));
    if chosen.is_empty() {
        match part {
            Some(part) => {
                bail!("no benchmark's name contains `{part}`: `cargo xtask bench --list` names all")
            }
            None => bail!("no crate of the workspace has a `[[bench]]` target"),
        }
    }
    if list {
        for bench in &chosen {
            println!("{:<16} {:<24} {}", bench.name, bench.package, bench.about);
        }
        return Ok(());
    }

    let needs = |need: Need| chosen.iter().any(|bench| bench.needs.contains(&need));
    let given = env::var_os(PROGRAMS_VAR).map(PathBuf::from);
    if needs(Need::Programs) && given.is_none() {
        for program in PROGRAMS {
            shell::run(&mut shell::cargo([
                "build",
                "--release",
                "--package",
                program,
            ]))?;
        }
    }
    let programs = given.unwrap_or_else(|| shell::target().join("release"));
    let durable = [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        // No checkpoint in the middle of one side's turn.
        ("max_wal_size", "8GB"),
    ];
    let cluster = needs(Need::Postgres)
        .then(|| TestCluster::start_with(&durable))
        .transpose()?;

    for bench in &chosen {
        println!("== {} ({})", bench.name, bench.about);
        let mut command = shell::cargo([
            "bench",
            "--package",
            &bench.package,
            "--bench",
            &bench.name,
            "--",
        ]);
        command.args(arguments).env(PROGRAMS_VAR, &programs);
        if let Some(cluster) = &cluster {
            command.env(URL_VAR, cluster.url("postgres"));
        }
        shell::run(&mut command)?;
    }
    Ok(())
}

fn find(metadata: &Metadata) -> Result<Vec<Bench>> {
    let mut found = Vec::new();
    for package in metadata.workspace_packages() {
        for target in package
            .targets
            .iter()
            .filter(|target| target.kind.contains(&TargetKind::Bench))
        {
            let said = package
                .metadata
                .get("bench")
                .and_then(|all| all.get(&target.name));
            let about = said
                .and_then(|said| said.get("about")?.as_str())
                .unwrap_or_default();
            let needs = said
                .and_then(|said| said.get("needs")?.as_array())
                .into_iter()
                .flatten();
            let needs = needs
                .map(|need| match need.as_str() {
                    Some("postgres") => Ok(Need::Postgres),
                    Some("programs") => Ok(Need::Programs),
                    _ => bail!("`needs` takes \"postgres\" and \"programs\", not {need}"),
                })
                .collect::<Result<_>>()
                .with_context(|| {
                    format!(
                        "[package.metadata.bench.{}] of {}",
                        target.name, package.name
                    )
                })?;
            found.push(Bench {
                name: target.name.clone(),
                package: package.name.to_string(),
                about: about.to_owned(),
                needs,
            });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{Bench, Need, find};
    use cargo_metadata::MetadataCommand;

    fn metadata(needs: &str) -> cargo_metadata::Metadata {
        let text = r#"{"packages":[{"name":"holdfast-domain","version":"0.1.0","id":"d","dependencies":[],"features":{},
            "manifest_path":"/Cargo.toml","edition":"2024","metadata":{"bench":{"plan":{"about":"plans","needs":[NEEDS]}}},
            "targets":[{"name":"holdfast_domain","kind":["lib"],"crate_types":["lib"],"src_path":"/lib.rs"},
                       {"name":"plan","kind":["bench"],"crate_types":["bin"],"src_path":"/plan.rs"}]}],
            "workspace_members":["d"],"workspace_root":"/","target_directory":"/t","version":1,"resolve":null}"#;
        MetadataCommand::parse(text.replace("NEEDS", needs)).unwrap()
    }

    #[test]
    fn every_bench_target_is_found_with_its_needs() {
        let expected = Bench {
            name: "plan".to_owned(),
            package: "holdfast-domain".to_owned(),
            about: "plans".to_owned(),
            needs: vec![Need::Postgres],
        };
        assert_eq!(find(&metadata(r#""postgres""#)).unwrap(), [expected]);
    }

    #[test]
    fn an_unknown_need_is_refused_with_its_place() {
        let error = format!("{:#}", find(&metadata(r#""redis""#)).unwrap_err());
        assert!(
            error.contains("package.metadata.bench.plan") && error.contains("redis"),
            "{error}"
        );
    }
}
