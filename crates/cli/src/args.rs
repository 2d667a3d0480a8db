//! What can be typed: every command with its arguments. No decisions.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use holdfast_domain::{Name, Protocol, TokenId, row::DeploymentStatus};
use holdfast_wire::Role;

/// Keeps field devices in the state that their operators asked for, and proves it.
///
/// Exit status: 0 all is as wanted; 1 an error; 2 done, and something is not as wanted (a sensor failed, something
/// differs); 3 not known in time.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, max_term_width = 120)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command that speaks to a hub.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Address of the hub.
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_HUB",
        default_value = "http://127.0.0.1:3002",
        value_name = "URL",
        help_heading = "Connection"
    )]
    pub hub: String,
    /// Operator's token. Better given by HOLDFAST_TOKEN or the file that `holdfast up` writes: other users of this machine
    /// see command lines.
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_TOKEN",
        hide_env_values = true,
        help_heading = "Connection"
    )]
    pub token: Option<String>,
    /// A certificate authority (PEM) to trust besides the system's.
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_CA",
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub ca: Option<PathBuf>,
    /// Speak plain HTTP to a hub on another machine, although everybody on the way can read the token.
    #[arg(long, global = true, help_heading = "Connection")]
    pub allow_plain_http: bool,
    /// Form of the output.
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and sentences, for people.
    Table,
    /// The API's documents, for programs.
    Json,
    /// The same as YAML.
    Yaml,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run hub, reconciler and agent in one process.
    Up(UpArgs),
    /// Bring the store's tables to this version.
    Migrate(StoreArgs),
    /// Show what applying manifests would change; change nothing.
    Plan(PlanArgs),
    /// Make devices run what manifests declare.
    Apply(ApplyArgs),
    /// Show differences value by value: manifests against targets, or a device's target against what it runs.
    Diff(DiffArgs),
    /// List things.
    #[command(subcommand)]
    Get(GetCommand),
    /// Say why a sensor is as it is: what is wanted, what runs, what was tried, what comes next.
    Why(WhyArgs),
    /// Ask a device's agent to look at everything again, now.
    Reconcile(ReconcileArgs),
    /// Add, remove, re-key and list devices.
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Operators' tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Provisioning keys, with which agents register.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show the event log.
    Events(EventsArgs),
    /// Go back to the sensors of an earlier version, as a new version.
    Rollback(RollbackArgs),
    /// List the versions of a device's target.
    History(HistoryArgs),
    /// Print the OpenAPI description of the hub's API.
    #[command(hide = true)]
    Openapi,
    /// Print the JSON Schema of manifests.
    Schema,
    /// Print a completion script.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

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
    /// Device and sensor, by name or UUID.
    #[arg(value_name = "DEVICE/SENSOR", value_parser = sensor_path)]
    pub sensor: (String, String),
}

/// Arguments of `reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// Device, by name or UUID.
    pub device: String,
    /// How long to wait for the agent's answer, up to 60s.
    #[arg(long, value_parser = duration, default_value = "10s", value_name = "TIME")]
    pub wait: Duration,
    /// Why, for the event log.
    #[arg(long)]
    pub reason: Option<String>,
}

/// What to do with devices.
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// Make a device, and print the key that its agent registers with.
    Add {
        /// Its name.
        name: Name,
        /// A label; may be given several times.
        #[arg(long = "label", short = 'l', value_parser = label, value_name = "KEY=VALUE")]
        labels: Vec<(String, String)>,
    },
    /// Delete a device.
    #[command(visible_alias = "remove")]
    Rm {
        /// Device, by name or UUID.
        device: String,
        /// Also while its agent may still hold outputs.
        #[arg(long)]
        force: bool,
    },
    /// Print a key with which another agent takes the device over; the old agent's access ends then.
    Rekey {
        /// Device, by name or UUID.
        device: String,
    },
    /// List devices.
    #[command(visible_alias = "ls")]
    List(DevicesFilter),
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; its secret is shown once.
    Create {
        /// What people call it; the author of what is done with it.
        name: Name,
        /// What it allows: viewer, operator, admin.
        #[arg(
            long,
            default_value = "operator",
            default_value_if("bootstrap", "true", "admin")
        )]
        role: Role,
        /// When it ends by itself, such as 30d; left out: never.
        #[arg(long, value_parser = duration, value_name = "TIME")]
        expires_in: Option<Duration>,
        /// Make it on the store itself: the first token, when there is none to ask with.
        #[arg(long)]
        bootstrap: bool,
        /// Keep it as this user's token for the hub.
        #[arg(long)]
        save: bool,
        /// With --bootstrap: which store.
        #[command(flatten)]
        store: StoreArgs,
    },
    /// List tokens.
    #[command(visible_alias = "ls")]
    List,
    /// End a token.
    Revoke {
        /// Its id.
        id: TokenId,
    },
}

/// What to do with provisioning keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key; its secret is shown once.
    Create {
        /// What people call it.
        name: Name,
        /// Bind it to this device; left out: each use makes a new device.
        #[arg(long)]
        device: Option<String>,
        /// How often it can be used; left out: without end.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        uses: Option<u32>,
        /// When it ends by itself, such as 8h; left out: never.
        #[arg(long, value_parser = duration, value_name = "TIME")]
        expires_in: Option<Duration>,
    },
    /// List keys.
    #[command(visible_alias = "ls")]
    List,
    /// End a key.
    Revoke {
        /// Its id.
        id: TokenId,
    },
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

/// Arguments of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Device, by name or UUID.
    pub device: String,
    /// How many versions.
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

fn sensor_path(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((device, sensor))
            if !device.is_empty() && !sensor.is_empty() && !sensor.contains('/') =>
        {
            Ok((device.to_owned(), sensor.to_owned()))
        }
        _ => Err("expected DEVICE/SENSOR, such as plant-3/boiler-1".to_owned()),
    }
}

/// A time such as `90s`, `5m`, `2h 30m`, `30d`.
fn duration(text: &str) -> Result<Duration, String> {
    const DAY_S: u64 = 86_400;
    let expected = || "expected a time such as 90s, 5m, 8h or 30d".to_owned();
    if let Some(days) = text
        .strip_suffix('d')
        .and_then(|days| days.trim().parse::<u64>().ok())
    {
        return days
            .checked_mul(DAY_S)
            .map(Duration::from_secs)
            .ok_or_else(expected);
    }
    let span: jiff::SignedDuration = text.parse().map_err(|_| expected())?;
    Duration::try_from(span).map_err(|_| expected())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_contradict_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_and_places_are_read() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
        for bad in ["", "5", "-5s", "soon"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(
            sensor_path("plant 3/boiler"),
            Ok(("plant 3".into(), "boiler".into()))
        );
        for bad in ["plant", "/boiler", "plant/", "a/b/c"] {
            assert!(sensor_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_diff_is_of_something() {
        assert!(Cli::try_parse_from(["holdfast", "diff"]).is_err());
        assert!(Cli::try_parse_from(["holdfast", "diff", "plant-3"]).is_ok());
        assert!(Cli::try_parse_from(["holdfast", "diff", "-f", "x.yaml"]).is_ok());
    }

    #[test]
    fn the_first_token_is_an_admins() {
        for (arguments, expected) in [
            (
                vec!["holdfast", "token", "create", "root", "--bootstrap"],
                Role::Admin,
            ),
            (vec!["holdfast", "token", "create", "anna"], Role::Operator),
        ] {
            let cli = Cli::try_parse_from(&arguments).expect("good arguments");
            let Command::Token(TokenCommand::Create { role, .. }) = cli.command else {
                panic!("a token")
            };
            assert_eq!(role, expected, "{arguments:?}");
        }
    }
}
