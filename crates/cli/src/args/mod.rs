//! What can be typed: every command with its arguments. No decisions.

mod access;
mod control;
mod edit;
mod look;
mod roles;
mod values;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use access::{DeviceCommand, KeyCommand, TokenCommand};
pub use control::{
    LookArgs, PauseArgs, ReconcileArgs, ReconcileCommand, StartArgs, StopArgs, Whose,
};
pub use edit::{ApplyArgs, DiffArgs, Files, PlanArgs, RollbackArgs};
pub use look::{
    DevicesFilter, EventsArgs, EventsFilter, GetCommand, HistoryArgs, SensorsFilter, WhyArgs,
};
pub use roles::{StoreArgs, UpArgs};
pub use values::{
    BudgetCommand, BudgetResetArgs, CancelArgs, CommandArgs, PointPath, PolicyArg, ReleaseArgs,
    SetArgs,
};

/// Keeps field devices in the state that their operators asked for, and proves it.
///
/// Exit status: 0 done; 1 an error; 2 done, and something is not as wanted (`apply --wait`: a sensor failed; `reconcile`:
/// something differs; `set`: the value is not held; `plan` and `diff` with --exit-code: there is a difference); 3 not
/// known in time (`apply --wait`, `reconcile`, `set`).
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
    /// Say why a sensor, and what its outputs shall hold, is as it is: what is wanted, what is real, what was tried, what
    /// comes next.
    Why(WhyArgs),
    /// Set the value that a point shall hold, and wait until it was read back.
    Set(SetArgs),
    /// Release a point: nothing is wanted of it any more, and nothing acts on it.
    Release(ReleaseArgs),
    /// Send a value to a pulse or command point, once, and wait for what becomes of it. Ends with 0 if it was read back, 2
    /// if something else came of it, 3 if that is not known in time.
    Command(CommandArgs),
    /// Cancel a command that waits. Ends with 0 if it was not begun, 1 if it was, 3 if that is not known in time.
    Cancel(CancelArgs),
    /// Ask a device's agent to look at everything again, now; stop, start and pause value loops.
    Reconcile(ReconcileArgs),
    /// How often points may be written.
    #[command(subcommand)]
    Budget(BudgetCommand),
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

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// A sensor of a device, or one of its points, as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartPath {
    /// The device, by name or UUID.
    pub device: String,
    /// The sensor, by name or UUID.
    pub sensor: String,
    /// The point, by name or UUID; `None`: the whole sensor.
    pub point: Option<String>,
}

fn part_path(text: &str) -> Result<PartPath, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (device, sensor, point) = match parts[..] {
        [device, sensor] => (device, sensor, None),
        [device, sensor, point] => (device, sensor, Some(point.to_owned())),
        _ => ("", "", None),
    };
    if parts.iter().any(|part| part.is_empty()) || device.is_empty() {
        return Err(
            "expected DEVICE/SENSOR or DEVICE/SENSOR/POINT, such as plant-3/boiler-1".to_owned(),
        );
    }
    Ok(PartPath {
        device: device.to_owned(),
        sensor: sensor.to_owned(),
        point,
    })
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
    use holdfast_wire::Role;

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
        let part = |device: &str, sensor: &str, point: Option<&str>| PartPath {
            device: device.into(),
            sensor: sensor.into(),
            point: point.map(str::to_owned),
        };
        assert_eq!(
            part_path("plant 3/boiler"),
            Ok(part("plant 3", "boiler", None))
        );
        assert_eq!(part_path("a/b/c"), Ok(part("a", "b", Some("c"))));
        for bad in ["plant", "/boiler", "plant/", "a/b/", "a//c", "a/b/c/d"] {
            assert!(part_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reconcile_is_of_a_device_or_a_command() {
        let read = |line: &str| {
            let all = format!("holdfast reconcile {line}");
            let cli = Cli::try_parse_from(all.split_whitespace())?;
            let Command::Reconcile(args) = cli.command else {
                panic!("a reconcile")
            };
            Ok::<_, clap::Error>(args)
        };
        let look = read("plant-3 --wait 5s").expect("a device");
        assert_eq!(look.device.as_deref(), Some("plant-3"));
        assert!(look.command.is_none());
        for (line, is_good) in [
            ("", false),
            ("look start", true),
            ("status", true),
            ("status -d plant-3", true),
            ("start --dry-run", true),
            ("start --fleet --device a", false),
            ("stop", false),
            ("stop --reason x --for 2h", true),
            ("pause plant-3/boiler-1", false),
            ("pause plant-3/boiler-1/set --reason x", true),
            ("pause plant-3 --reason x", false),
            ("resume plant-3/boiler-1", true),
        ] {
            let read = read(line);
            assert_eq!(read.is_ok(), is_good, "{line}: {read:?}");
            assert!(
                read.is_err() || read.is_ok_and(|args| args.command.is_some()),
                "{line}"
            );
        }
    }

    #[test]
    fn a_diff_is_of_something() {
        assert!(Cli::try_parse_from(["holdfast", "diff"]).is_err());
        assert!(Cli::try_parse_from(["holdfast", "diff", "plant-3"]).is_ok());
        assert!(Cli::try_parse_from(["holdfast", "diff", "-f", "x.yaml"]).is_ok());
    }

    #[test]
    fn two_stores_at_once_are_a_contradiction() {
        for command in [&["migrate"][..], &["token", "create", "a", "--bootstrap"]] {
            let with = |rest: &[&str]| {
                let all = ["holdfast"].iter().chain(command).chain(rest);
                Cli::try_parse_from(all.copied().collect::<Vec<_>>())
            };
            assert!(with(&["--store", "sqlite:x"]).is_ok(), "{command:?}");
            assert!(with(&["--data", "x"]).is_ok(), "{command:?}");
            let error = with(&["--store", "sqlite:x", "--data", "x"]).expect_err("both");
            assert!(error.to_string().contains("--data"), "{error}");
        }
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
