//! `cargo xtask sim`: the simulation of the whole. With a seed, one run step by step; with a number, that many fresh ones,
//! whose failing seeds are printed; else what CI runs. The simulation itself is the test of `crates/simulation`.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

use crate::shell;

/// Runs it.
pub(crate) fn run(seed: Option<u64>, runs: Option<u64>, from: Option<u64>) -> Result<()> {
    let mut test = shell::cargo([
        "test",
        "--package",
        "holdfast-simulation",
        "--test",
        "simulation",
        "--",
        "--nocapture",
    ]);
    if seed.is_some() || runs.is_some() {
        test.arg("on_demand");
    }
    match (seed, runs) {
        (Some(_), Some(_)) => {
            bail!("either --seed or --runs: one is replayed, the others are fresh")
        }
        (Some(seed), None) => {
            test.env("HOLDFAST_SIM_SEED", seed.to_string());
        }
        (None, Some(runs)) => {
            let from = from.unwrap_or_else(fresh);
            println!("seeds {from} to {}", from + runs - 1);
            test.env("HOLDFAST_SIM_RUNS", runs.to_string());
            test.env("HOLDFAST_SIM_FROM", from.to_string());
        }
        (None, None) => {}
    }
    shell::run(&mut test)
}

/// A seed that was not tried before, most likely.
fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1_000, |since| since.as_secs() % 1_000_000_000 * 1_000)
}
