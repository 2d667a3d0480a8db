//! What sets, releases and sends values, and how often: `set`, `release`, `command`, `cancel`, `budget`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use holdfast_domain::{
    CommandId, PointValue,
    document::setpoint::{Policy, Tolerance},
};

use super::duration;

/// A point, as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointPath {
    /// The device, by name or UUID.
    pub device: String,
    /// The sensor, by name or UUID.
    pub sensor: String,
    /// The point, by name or UUID.
    pub point: String,
}

/// Arguments of `set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// Device, sensor and point, by name or UUID.
    #[arg(value_name = "DEVICE/SENSOR/POINT", value_parser = point_path)]
    pub point: PointPath,
    /// The value: a number, true, false, or a text (in double quotes where it could be one of these).
    #[arg(value_parser = value, allow_hyphen_values = true)]
    pub value: PointValue,
    /// How far the instrument may be off: 0.5, 2%, or exact. Half a step of what the point can tell apart, unless stated.
    #[arg(long, value_parser = tolerance, value_name = "WIDTH")]
    pub tolerance: Option<Tolerance>,
    /// What happens when the instrument shows another value.
    #[arg(long, value_enum, default_value_t = PolicyArg::Enforce)]
    pub policy: PolicyArg,
    /// For how long, such as 10m; until it is released, unless stated.
    #[arg(long = "for", value_parser = duration, value_name = "TIME")]
    pub valid_for: Option<Duration>,
    /// How long to wait for the read-back, up to 60s; 0s: not at all.
    #[arg(long, value_parser = duration, default_value = "10s", value_name = "TIME")]
    pub wait: Duration,
    /// Why.
    #[arg(long)]
    pub reason: Option<String>,
}

/// Arguments of `command`.
#[derive(Debug, Args)]
pub struct CommandArgs {
    /// Device, sensor and point, by name or UUID.
    #[arg(value_name = "DEVICE/SENSOR/POINT", value_parser = point_path)]
    pub point: PointPath,
    /// The value: a number, true, false, or a text (in double quotes where it could be one of these).
    #[arg(value_parser = value, allow_hyphen_values = true)]
    pub value: PointValue,
    /// For how long it may be begun, 100ms to 1h; 3s unless stated. It never comes later. To a level: for how long it is
    /// held; until it is released, unless stated.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub valid_for: Option<Duration>,
    /// Only if the point showed this value last.
    #[arg(long, value_parser = value, value_name = "VALUE", allow_hyphen_values = true)]
    pub only_if: Option<PointValue>,
    /// How long to wait for what becomes of it, up to 60s; 0s: not at all.
    #[arg(long, value_parser = duration, default_value = "5s", value_name = "TIME")]
    pub wait: Duration,
    /// Why.
    #[arg(long)]
    pub reason: Option<String>,
}

/// Arguments of `cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// The device's name or UUID.
    pub device: String,
    /// The command's id: `holdfast get commands DEVICE` lists them.
    #[arg(value_name = "COMMAND")]
    pub command: CommandId,
    /// How long to wait for the agent's word, up to 60s; 0s: not at all.
    #[arg(long, value_parser = duration, default_value = "5s", value_name = "TIME")]
    pub wait: Duration,
    /// Why.
    #[arg(long)]
    pub reason: Option<String>,
}

/// What happens when the instrument shows another value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolicyArg {
    /// The wanted value is put back.
    Enforce,
    /// It is reported, and nothing is ever written.
    Observe,
    /// A change made at the hardware becomes the new wish.
    Adopt,
}

impl From<PolicyArg> for Policy {
    fn from(policy: PolicyArg) -> Self {
        match policy {
            PolicyArg::Enforce => Self::Enforce,
            PolicyArg::Observe => Self::Observe,
            PolicyArg::Adopt => Self::Adopt,
        }
    }
}

/// Arguments of `release`.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// Device, sensor and point, by name or UUID.
    #[arg(value_name = "DEVICE/SENSOR/POINT", value_parser = point_path)]
    pub point: PointPath,
    /// Why, for the event log.
    #[arg(long)]
    pub reason: Option<String>,
}

/// What can be done about write budgets.
#[derive(Debug, Subcommand)]
pub enum BudgetCommand {
    /// Count the writes to a point anew, because its instrument was replaced.
    Reset(BudgetResetArgs),
}

/// Arguments of `budget reset`.
#[derive(Debug, Args)]
pub struct BudgetResetArgs {
    /// Device, sensor and point, by name or UUID.
    #[arg(value_name = "DEVICE/SENSOR/POINT", value_parser = point_path)]
    pub point: PointPath,
    /// Why: that the instrument was replaced, and by which, say.
    #[arg(long)]
    pub reason: String,
    /// How long to wait for the agent, up to 60s; 0s: not at all.
    #[arg(long, value_parser = duration, default_value = "5s", value_name = "TIME")]
    pub wait: Duration,
}

fn point_path(text: &str) -> Result<PointPath, String> {
    let parts: Vec<&str> = text.split('/').collect();
    match parts[..] {
        [device, sensor, point]
            if parts
                .iter()
                .all(|part| !part.is_empty() && !matches!(*part, "." | "..")) =>
        {
            Ok(PointPath {
                device: device.to_owned(),
                sensor: sensor.to_owned(),
                point: point.to_owned(),
            })
        }
        _ => Err("expected DEVICE/SENSOR/POINT, such as plant-3/boiler-1/temperature".to_owned()),
    }
}

/// A number, true or false as JSON has them, a text in double quotes; else the text as it is.
fn value(text: &str) -> Result<PointValue, String> {
    Ok(serde_json::from_str(text).unwrap_or_else(|_| PointValue::Text(text.to_owned())))
}

fn tolerance(text: &str) -> Result<Tolerance, String> {
    let expected = || "expected a width such as 0.5, a share such as 2%, or exact".to_owned();
    let number = |text: &str| {
        let number: f64 = text.trim().parse().map_err(|_| expected())?;
        if number.is_finite() && number >= 0.0 {
            Ok(number)
        } else {
            Err(expected())
        }
    };
    if text == "exact" {
        return Ok(Tolerance::Exact);
    }
    match text.strip_suffix('%') {
        Some(share) => {
            let share = number(share)? / 100.0;
            if share <= 1.0 {
                Ok(Tolerance::Relative(share))
            } else {
                Err(expected())
            }
        }
        None => number(text).map(Tolerance::Absolute),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_tolerances_are_read() {
        for (text, wanted) in [
            ("72.5", PointValue::Number(72.5)),
            ("-3", PointValue::Integer(-3)),
            ("true", PointValue::Bool(true)),
            ("auto", PointValue::Text("auto".into())),
            ("\"5\"", PointValue::Text("5".into())),
            ("1e999", PointValue::Text("1e999".into())),
        ] {
            assert_eq!(value(text), Ok(wanted), "{text}");
        }
        assert_eq!(tolerance("0.5"), Ok(Tolerance::Absolute(0.5)));
        assert_eq!(tolerance("2%"), Ok(Tolerance::Relative(0.02)));
        assert_eq!(tolerance("exact"), Ok(Tolerance::Exact));
        for bad in ["", "-1", "200%", "wide", "NaN"] {
            assert!(tolerance(bad).is_err(), "{bad}");
        }
        assert!(point_path("a/b/c").is_ok());
        for bad in ["a/b", "a/b/", "a/../c", "a/b/c/d"] {
            assert!(point_path(bad).is_err(), "{bad}");
        }
    }
}
