//! The `agent` process: see [`holdfast_compose::agent`].

use std::process::ExitCode;

use holdfast_compose::{agent, process};

fn main() -> ExitCode {
    process::main::<agent::AgentConfig>(async |config, cancel| agent::run(config, cancel).await)
}
