//! What only looks: `get`, `why`, `events`, `history`.

use clap::{Args, Subcommand};
use holdfast_domain::{Protocol, row::DeploymentStatus};

use super::{PartPath, label, part_path};

/// What to list.
#[derive(Debug, Subcommand)]
pub enum GetCommand {
    /// Devices.
    #[command(visible_alias = "device")]
    Devices(DevicesFilter),
    /// Sensors: what is wanted, what runs, how they differ.
    #[command(visible_alias = "sensor")]
    Sensors(SensorsFilter),
    /// Last values of points.
    #[command(visible_alias = "point")]
    Points {
        /// Device, by name or UUID.
        device: String,
        /// Only of this sensor.
        #[arg(long)]
        sensor: Option<String>,
    },
    /// The values that points shall hold, and what became of them.
    #[command(visible_alias = "setpoint")]
    Setpoints {
        /// Device, by name or UUID; left out: all devices.
        device: Option<String>,
    },
    /// What was sent to pulses and commands, and what became of it; the newest first.
    #[command(visible_alias = "command")]
    Commands {
        /// Device, by name or UUID; left out: all devices.
        device: Option<String>,
    },
    /// What differs between target and reality.
    Drift {
        /// Device, by name or UUID; left out: the fleet.
        device: Option<String>,
    },
    /// The latest events.
    #[command(visible_alias = "event")]
    Events(EventsFilter),
}

/// Which devices.
#[derive(Debug, Clone, Default, Args)]
pub struct DevicesFilter {
    /// Only with this label; may be given several times.
    #[arg(long = "label", short = 'l', value_parser = label, value_name = "KEY=VALUE")]
    pub labels: Vec<(String, String)>,
    /// Only in this state.
    #[arg(long, value_parser = ["new", "reconciled", "drifting", "silent"])]
    pub status: Option<String>,
}

/// Which sensors.
#[derive(Debug, Args)]
pub struct SensorsFilter {
    /// Device, by name or UUID; left out: all devices.
    pub device: Option<String>,
    /// Only what really runs.
    #[arg(long)]
    pub running: bool,
    /// Only of this protocol.
    #[arg(long)]
    pub protocol: Option<Protocol>,
    /// Only those that are enabled, or not.
    #[arg(long)]
    pub enabled: Option<bool>,
    /// Only in this status: pending, reconciling, deployed, failed, pendingDeletion.
    #[arg(long)]
    pub status: Option<DeploymentStatus>,
}

/// Which events.
#[derive(Debug, Clone, Args)]
pub struct EventsFilter {
    /// Device, by name or UUID; left out: the fleet.
    pub device: Option<String>,
    /// Only of this type, such as sensor.failed; may be given several times.
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    pub kinds: Vec<String>,
    /// How many.
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

/// Arguments of `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Which.
    #[command(flatten)]
    pub filter: EventsFilter,
    /// Go on as events happen, until interrupted.
    #[arg(long, short)]
    pub follow: bool,
    /// With --follow: begin behind this cursor, missing nothing.
    #[arg(long, requires = "follow", value_name = "CURSOR")]
    pub after: Option<String>,
}

/// Arguments of `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Device, sensor and perhaps point, by name or UUID.
    #[arg(value_name = "DEVICE/SENSOR[/POINT]", value_parser = part_path)]
    pub part: PartPath,
}

/// Arguments of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Device, by name or UUID.
    pub device: String,
    /// How many versions.
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}
