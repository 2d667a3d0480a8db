//! What runs the program's roles and its store.

use std::{net::SocketAddr, path::PathBuf};

use clap::{
    ArgMatches, Args, Command, Error, FromArgMatches, error::ErrorKind, parser::ValueSource,
};

/// Arguments of `up`.
#[derive(Debug, Clone, Default, Args)]
pub struct UpArgs {
    /// Bring up simulated instruments too, and show the loop at work.
    #[arg(long)]
    pub demo: bool,
    /// Only hub and reconciler.
    #[arg(long, conflicts_with = "demo")]
    pub no_agent: bool,
    /// Folder for everything that is kept.
    #[arg(long, env = "HOLDFAST_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address that the hub listens on.
    #[arg(long, env = "HOLDFAST_LISTEN", value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
}

/// Which store: by its URL, or as that of a data folder; never both. What is typed goes before the environment, and a URL
/// in the environment before a folder there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreArgs {
    /// Its URL.
    pub store: Option<String>,
    /// The data folder of `up`.
    pub data: Option<PathBuf>,
}

/// As they are given. Whether two of them contradict each other depends on where they come from, which clap's own rule of
/// conflicts does not ask.
#[derive(Debug, Args)]
#[group(skip)]
struct Given {
    /// The store: `postgres://user@host/database`, or `sqlite:PATH`. Otherwise the one of the data folder.
    #[arg(
        long,
        env = "HOLDFAST_STORE",
        hide_env_values = true,
        value_name = "URL"
    )]
    store: Option<String>,
    /// Data folder of `holdfast up`; not together with --store.
    #[arg(long, env = "HOLDFAST_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Args for StoreArgs {
    fn augment_args(command: Command) -> Command {
        Given::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Given::augment_args_for_update(command)
    }
}

impl FromArgMatches for StoreArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let is_typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let Given { store, data } = Given::from_arg_matches(matches)?;
        match (is_typed("store"), is_typed("data")) {
            (true, true) => Err(Error::raw(
                ErrorKind::ArgumentConflict,
                "expected one of --store and --data, found both: they name two stores\n",
            )),
            (false, true) => Ok(Self { store: None, data }),
            (true, false) | (false, false) if store.is_some() => Ok(Self { store, data: None }),
            (true | false, false) => Ok(Self { store: None, data }),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
