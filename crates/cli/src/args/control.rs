//! What controls value loops: `reconcile` and its subcommands.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{PartPath, duration, part_path};

/// Arguments of `reconcile`: a device to look at again, or a subcommand.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    override_usage = "holdfast reconcile [OPTIONS] DEVICE\n       holdfast reconcile status|start|stop [OPTIONS]\n       \
                      holdfast reconcile pause|resume [OPTIONS] DEVICE/SENSOR[/POINT]"
)]
pub struct ReconcileArgs {
    /// What to do with value loops.
    #[command(subcommand)]
    pub command: Option<ReconcileCommand>,
    /// Device, by name or UUID: its agent looks at everything again, now.
    #[arg(required = true)]
    pub device: Option<String>,
    /// How long to wait for the agent's answer, up to 60s.
    #[arg(long, value_parser = duration, default_value = "10s", value_name = "TIME")]
    pub wait: Duration,
    /// Why, for the event log.
    #[arg(long)]
    pub reason: Option<String>,
}

/// What to do with value loops.
#[derive(Debug, Subcommand)]
pub enum ReconcileCommand {
    /// The same as `reconcile DEVICE`: for a device that is called like one of these words.
    Look(LookArgs),
    /// Show how value loops run: what was asked for, and what agents have confirmed.
    Status {
        /// Whose.
        #[command(flatten)]
        whose: Whose,
    },
    /// Start value loops: they hold again what operators set. Lifts stops; pauses stay.
    Start(StartArgs),
    /// Stop value loops: agents go on looking, and write nothing.
    Stop(StopArgs),
    /// Pause a sensor or a point: nothing is written there; it is still looked at.
    Pause(PauseArgs),
    /// Lift the pause of a sensor or a point.
    Resume {
        /// Device, sensor and perhaps point, by name or UUID.
        #[arg(value_name = "DEVICE/SENSOR[/POINT]", value_parser = part_path)]
        part: PartPath,
        /// Why, for the event log.
        #[arg(long)]
        reason: Option<String>,
    },
}

/// Of which devices: all of them, unless one is named.
#[derive(Debug, Clone, Args)]
pub struct Whose {
    /// Device, by name or UUID; the whole fleet unless stated.
    #[arg(long, short)]
    pub device: Option<String>,
    /// The whole fleet: needed only where a device is called like the command.
    #[arg(long, conflicts_with = "device")]
    pub fleet: bool,
}

/// Arguments of `reconcile look`.
#[derive(Debug, Args)]
pub struct LookArgs {
    /// Device, by name or UUID.
    pub device: String,
    /// How long to wait for the agent's answer, up to 60s.
    #[arg(long, value_parser = duration, default_value = "10s", value_name = "TIME")]
    pub wait: Duration,
    /// Why, for the event log.
    #[arg(long)]
    pub reason: Option<String>,
}

/// Arguments of `reconcile start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Whose.
    #[command(flatten)]
    pub whose: Whose,
    /// Only show what a start would move: wanted beside real, point by point. Nothing is started or written.
    #[arg(long)]
    pub dry_run: bool,
    /// How long to wait for agents to confirm it, up to 60s; 0s: not at all.
    #[arg(long, value_parser = duration, default_value = "10s", value_name = "TIME")]
    pub wait: Duration,
    /// Why, for the event log.
    #[arg(long)]
    pub reason: Option<String>,
}

/// Arguments of `reconcile stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Whose.
    #[command(flatten)]
    pub whose: Whose,
    /// Why: whoever finds it stopped must know.
    #[arg(long)]
    pub reason: String,
    /// For how long, such as 2h: it starts again by itself then. Until it is started, unless stated.
    #[arg(long = "for", value_parser = duration, value_name = "TIME")]
    pub lasting: Option<Duration>,
    /// How long to wait for agents to confirm it, up to 60s; 0s: not at all.
    #[arg(long, value_parser = duration, default_value = "10s", value_name = "TIME")]
    pub wait: Duration,
}

/// Arguments of `reconcile pause`.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// Device, sensor and perhaps point, by name or UUID.
    #[arg(value_name = "DEVICE/SENSOR[/POINT]", value_parser = part_path)]
    pub part: PartPath,
    /// Why: whoever finds it paused must know.
    #[arg(long)]
    pub reason: String,
    /// For how long, such as 2h. Until it is resumed, unless stated.
    #[arg(long = "for", value_parser = duration, value_name = "TIME")]
    pub lasting: Option<Duration>,
}
