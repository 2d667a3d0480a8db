//! `cargo xtask test`: installs the peers, builds the programs that the end-to-end tests start (when those are among
//! the chosen ones), starts one PostgreSQL cluster for the run, and runs the documentation's examples and all tests.
//!
//! The tests find the cluster in `HOLDFAST_TEST_POSTGRES`, the programs in `HOLDFAST_TEST_BIN_DIR`, the peers in
//! `HOLDFAST_PEERS_DIR`. The cluster ends with this process, however it ends: see `postgres.rs` of the testkit.

use std::process::Command;

use anyhow::Result;

use crate::postgres::{TestCluster, URL_VAR};
use crate::{peers, shell};

/// What `cargo install` gets when there is no nextest yet.
const NEXTEST: (&str, &str) = ("cargo-nextest", "0.9.143");

/// Runs the tests; with arguments for nextest only those that they choose, and no examples.
pub(crate) fn run(nextest: &[String]) -> Result<()> {
    peers::install()?;
    shell::ensure_cargo_tool(NEXTEST.0, NEXTEST.1)?;
    let all = nextest.is_empty();
    if all || nextest.iter().any(|argument| argument.contains("e2e")) {
        shell::run(&mut shell::cargo([
            "build",
            "--workspace",
            "--exclude",
            "xtask",
            "--bins",
        ]))?;
    }
    let cluster = TestCluster::start()?;

    let mut tests = shell::cargo(["nextest", "run"]);
    if all {
        // First, so that the last line that stands is the one of the test runner.
        let mut examples = shell::cargo(["test", "--workspace", "--doc", "--quiet"]);
        shell::run(with_surroundings(&mut examples, &cluster))?;
        tests.arg("--workspace");
    }
    shell::run(with_surroundings(tests.args(nextest), &cluster))
}

fn with_surroundings<'a>(command: &'a mut Command, cluster: &TestCluster) -> &'a mut Command {
    command
        .env(URL_VAR, cluster.url("postgres"))
        .env("HOLDFAST_TEST_BIN_DIR", shell::target().join("debug"))
        .env("HOLDFAST_PEERS_DIR", peers::folder())
}
