//! What every role's process does first and last: read its configuration, start logs and metrics, end in order.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use holdfast_runtime::{
    config,
    logs::{self, LogConfig},
    shutdown,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::sync::CancellationToken;

/// The command line of a daemon: everything else is configuration.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// Configuration file (TOML). The environment overrides it: HOLDFAST_<ROLE>_<KEY>, with __ between nested keys.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A role's configuration.
pub trait RoleConfig: Default + Serialize + DeserializeOwned {
    /// Prefix of its environment variables, such as `HOLDFAST_API_`.
    const PREFIX: &'static str;

    /// How it logs.
    fn log(&self) -> &LogConfig;
}

/// Runs a role from the command line until it is asked to end.
pub fn main<C: RoleConfig>(
    run: impl AsyncFnOnce(C, CancellationToken) -> anyhow::Result<()>,
) -> ExitCode {
    let args = Args::parse();
    match start(&args, run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start<C: RoleConfig>(
    args: &Args,
    run: impl AsyncFnOnce(C, CancellationToken) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let config: C = config::load(args.config.as_deref(), C::PREFIX)?;
    logs::start(config.log())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let cancel = shutdown::on_signal().context("listening for signals")?;
        run(config, cancel).await
    })
}
