//! `cargo xtask TASK`: every task of a developer, the same on a desk and in CI. One module for each task; this file
//! only names them. `cargo xtask ci` is what a change must pass.
//!
//! Read next: `ci.rs` for the order of the checks, `arrows/rules.rs` for the architecture as a table.

mod arrows;
mod bench;
mod ci;
mod generated;
mod peers;
mod shell;
mod sim;
mod sqlx;
mod style;
mod test;

// Shared with the tests by its file: xtask must build when nothing else of the workspace does.
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a library's file; the tests use the rest of it"
)]
#[path = "../../crates/testkit/src/postgres.rs"]
mod postgres;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "The developers' tasks of Holdfast",
    version
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that a change must pass, in CI's order; stops at the first step that fails
    Ci,
    /// All tests, with the peers installed and one PostgreSQL cluster for the run
    Test {
        /// Arguments of `cargo nextest run`, such as `-p holdfast-edge` or a test's name (default: --workspace)
        #[arg(last = true)]
        nextest: Vec<String>,
    },
    /// Install what the tests need: Debian, PyPI and npm packages, and the peer built from C
    #[command(alias = "setup")]
    Peers {
        /// Only say what is there and what is missing
        #[arg(long)]
        list: bool,
    },
    /// Check which crate uses which, and that clocks and SQL stay out of where they may not be
    Arrows,
    /// Check what no other tool checks: file headers, unfinished marks, sleeping tests, lengths, machine paths
    Style,
    /// Write docs/openapi.json from the code
    Openapi {
        /// Only compare; fail when it differs
        #[arg(long)]
        check: bool,
    },
    /// Write docs/manifest.schema.json from the code
    Schema {
        /// Only compare; fail when it differs
        #[arg(long)]
        check: bool,
    },
    /// Prepare the stores' offline query data (`.sqlx` folders) against real databases
    Sqlx {
        /// Only compare; fail when it differs
        #[arg(long)]
        check: bool,
    },
    /// Run the simulation of the whole: what CI runs, or one seed step by step, or fresh ones
    Sim {
        /// Replay this one, and tell each step
        #[arg(long)]
        seed: Option<u64>,
        /// Try so many fresh ones, and print those that fail
        #[arg(long)]
        runs: Option<u64>,
        /// The first of them (default: by the clock)
        #[arg(long, requires = "runs")]
        from: Option<u64>,
    },
    /// Run the benchmarks of the workspace, or those whose name contains NAME
    Bench {
        /// Part of a benchmark's name
        name: Option<String>,
        /// Only list them
        #[arg(long)]
        list: bool,
        /// Short runs, to see that they work: the figures say little
        #[arg(long)]
        quick: bool,
        /// Arguments for the benchmark itself
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Ci => ci::run(),
        Task::Test { nextest } => test::run(&nextest),
        Task::Peers { list: true } => peers::list(),
        Task::Peers { list: false } => peers::install(),
        Task::Arrows => arrows::run(),
        Task::Style => style::run(),
        Task::Openapi { check } => generated::openapi(check),
        Task::Schema { check } => generated::schema(check),
        Task::Sqlx { check } => sqlx::run(check),
        Task::Sim { seed, runs, from } => sim::run(seed, runs, from),
        Task::Bench {
            name,
            list,
            quick,
            mut arguments,
        } => {
            if quick {
                arguments.push("--quick".to_owned());
            }
            bench::run(name.as_deref(), list, &arguments)
        }
    }
}
