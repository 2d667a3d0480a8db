//! What changes targets: `plan`, `apply`, `diff`, `rollback`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::duration;

/// Which manifests.
#[derive(Debug, Clone, Args)]
pub struct Files {
    /// Manifest, folder of manifests, or - for standard input; may be given several times.
    #[arg(long = "file", short = 'f', required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which manifests.
    #[command(flatten)]
    pub files: Files,
    /// Remove sensors that the manifests don't list.
    #[arg(long)]
    pub prune: bool,
    /// End with status 2 if something would change.
    #[arg(long)]
    pub exit_code: bool,
}

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Which manifests.
    #[command(flatten)]
    pub files: Files,
    /// Remove sensors that the manifests don't list.
    #[arg(long)]
    pub prune: bool,
    /// Make devices that do not exist, and print the keys that their agents register with.
    #[arg(long)]
    pub create_devices: bool,
    /// Wait until everything runs, or say what failed.
    #[arg(long)]
    pub wait: bool,
    /// How long to wait, such as 90s or 5m.
    #[arg(long, value_parser = duration, default_value = "2m", value_name = "TIME")]
    pub timeout: Duration,
    /// Why, for the history.
    #[arg(long)]
    pub reason: Option<String>,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["device", "files"])))]
pub struct DiffArgs {
    /// A device, by name or UUID: its target against what it runs.
    pub device: Option<String>,
    /// Manifest, folder of manifests, or - for standard input: against the targets.
    #[arg(long = "file", short = 'f', value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Also what applying with --prune would remove.
    #[arg(long, requires = "files")]
    pub prune: bool,
    /// End with status 2 if something differs.
    #[arg(long)]
    pub exit_code: bool,
}

/// Arguments of `rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Device, by name or UUID.
    pub device: String,
    /// Version to go back to.
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub version: u64,
    /// Why, for the history.
    #[arg(long)]
    pub reason: Option<String>,
}
