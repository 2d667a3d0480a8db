//! `cargo xtask ci`: everything that a change must pass, quick checks first. CI runs this and nothing else, so what
//! passes here passes there. Stops at the first step that fails, and says which.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::{arrows, generated, shell, sqlx, style, test};

/// What `cargo install` gets when there is no cargo-deny yet.
const DENY: (&str, &str) = ("cargo-deny", "0.20.2");

type Step = (&'static str, fn() -> Result<()>);

/// In order. The tests are last, so that their summary is the last thing printed.
const STEPS: [Step; 9] = [
    ("fmt", fmt),
    ("style", style::run),
    ("clippy", clippy),
    ("deny", deny),
    ("arrows", arrows::run),
    ("openapi", || generated::openapi(true)),
    ("schema", || generated::schema(true)),
    ("sqlx", || sqlx::run(true)),
    ("test", || test::run(&[])),
];

/// Runs all steps.
pub(crate) fn run() -> Result<()> {
    let mut passed: Vec<(&str, Duration)> = Vec::new();
    for (name, step) in STEPS {
        if name == "test" {
            print_times(&passed);
        }
        println!("== {name}");
        let start = Instant::now();
        step().with_context(|| format!("CI stopped at `{name}`"))?;
        passed.push((name, start.elapsed()));
    }
    Ok(())
}

fn print_times(passed: &[(&str, Duration)]) {
    let times: Vec<String> = passed
        .iter()
        .map(|(name, time)| format!("{name} {:.1} s", time.as_secs_f64()))
        .collect();
    println!("passed: {}", times.join(", "));
}

fn fmt() -> Result<()> {
    shell::run(&mut shell::cargo(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    shell::run(&mut shell::cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))
}

/// Licences, banned crates and sources. Advisories need a database from the network: they are not a gate.
fn deny() -> Result<()> {
    shell::ensure_cargo_tool(DENY.0, DENY.1)?;
    shell::run(&mut shell::cargo([
        "deny", "--locked", "check", "licenses", "bans", "sources",
    ]))
}
