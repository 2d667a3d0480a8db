//! What every role's process does first and last: read its configuration, start logs and metrics, end in order.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use holdfast_domain::in_words;
use holdfast_runtime::{
    config,
    logs::{self, LogConfig},
    memory, shutdown,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::sync::CancellationToken;

// The command line of a daemon: everything else is configuration. No doc comment: help would begin with it.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Configuration file (TOML). The environment overrides it: HOLDFAST_<ROLE>_<KEY>, with __ between nested keys.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A role's configuration.
pub trait RoleConfig: Default + Serialize + DeserializeOwned {
    /// Prefix of its environment variables, such as `HOLDFAST_API_`.
    const PREFIX: &'static str;

    /// What the program does, in a sentence: its help begins with it.
    const ABOUT: &'static str;

    /// How it logs.
    fn log(&self) -> &LogConfig;
}

/// Runs a role from the command line until it is asked to end.
pub fn main<C: RoleConfig>(
    run: impl AsyncFnOnce(C, CancellationToken) -> anyhow::Result<()>,
) -> ExitCode {
    memory::give_back_large_buffers();
    let matches = command::<C>().get_matches();
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match start(&args, run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", in_words(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn command<C: RoleConfig>() -> clap::Command {
    Args::command().about(C::ABOUT)
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

#[cfg(all(test, feature = "up"))]
mod tests {
    use holdfast_runtime::config::is_of_a_service;
    use serde_json::Value;

    use super::*;
    use crate::{agent::AgentConfig, api::ApiConfig, reconciler::ReconcilerConfig, up::UpConfig};

    /// The keys of a configuration as they stand in the environment.
    fn keys(value: &Value, before: &str, found: &mut Vec<String>) {
        for (key, value) in value.as_object().into_iter().flatten() {
            let name = format!("{before}{}", key.to_uppercase());
            keys(value, &format!("{name}__"), found);
            found.push(name);
        }
    }

    fn keys_of<C: RoleConfig>() -> Vec<String> {
        let mut found = Vec::new();
        let defaults = serde_json::to_value(C::default()).expect("a configuration is JSON");
        keys(&defaults, "", &mut found);
        found
    }

    #[test]
    fn no_key_can_be_taken_for_a_variable_of_kubernetes() {
        let mut of_up = Vec::new();
        let defaults = serde_json::to_value(UpConfig::default()).expect("a configuration is JSON");
        keys(&defaults, "", &mut of_up);
        let all = [
            keys_of::<ApiConfig>(),
            of_up,
            keys_of::<ReconcilerConfig>(),
            keys_of::<AgentConfig>(),
        ];
        for key in all.concat() {
            for value in ["1", "tcp://10.0.0.1:80"] {
                assert!(!is_of_a_service(&key, value), "{key}");
            }
        }
        assert!(all[0].contains(&"LIMITS__LONG_POLLS".to_owned()), "{all:?}");
    }

    #[test]
    fn help_begins_with_what_the_program_does() {
        fn help<C: RoleConfig>() -> String {
            command::<C>().render_help().to_string()
        }
        for (help, begins) in [
            (help::<ApiConfig>(), "Serves the hub's API and pages"),
            (help::<ReconcilerConfig>(), "Watches over the fleet"),
            (help::<AgentConfig>(), "Makes one edge device run"),
        ] {
            assert!(help.starts_with(begins), "{help}");
        }
    }
}
