//! What runs the program's roles and its store.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

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

/// Which store.
#[derive(Debug, Clone, Default, Args)]
pub struct StoreArgs {
    /// The store: `postgres://user@host/database`, or `sqlite:PATH`. Otherwise the one of the data folder.
    #[arg(
        long,
        env = "HOLDFAST_STORE",
        hide_env_values = true,
        value_name = "URL",
        conflicts_with = "data"
    )]
    pub store: Option<String>,
    /// Data folder of `holdfast up`.
    #[arg(long, env = "HOLDFAST_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
}
