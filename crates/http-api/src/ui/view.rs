//! What the pages show, in words: a status is always a word with a sign, never a colour alone.

use std::fmt;

use holdfast_domain::{HealthStatus, row::DeploymentStatus};
use holdfast_wire::{DeviceStatus, PointQuality, PointView, SensorView, said::short_value};
use jiff::Timestamp;
use serde_json::Value;

/// A word with a sign and a tone.
pub(super) struct Chip {
    /// `good`, `bad`, `busy`, `quiet` or `warn`: a class of the style sheet.
    pub(super) tone: &'static str,
    /// The sign.
    pub(super) sign: &'static str,
    /// The word.
    pub(super) word: String,
}

impl Chip {
    pub(super) fn new(tone: &'static str, sign: &'static str, word: impl Into<String>) -> Self {
        Self {
            tone,
            sign,
            word: word.into(),
        }
    }
}

pub(super) fn device_chip(status: DeviceStatus) -> Chip {
    match status {
        DeviceStatus::New => Chip::new("quiet", "○", "new"),
        DeviceStatus::Reconciled => Chip::new("good", "●", "reconciled"),
        DeviceStatus::Drifting => Chip::new("warn", "◐", "drifting"),
        DeviceStatus::Silent => Chip::new("bad", "✕", "silent"),
    }
}

fn deployment_chip(status: DeploymentStatus, word: String) -> Chip {
    match status {
        DeploymentStatus::Deployed => Chip::new("good", "●", word),
        DeploymentStatus::Pending => Chip::new("quiet", "○", word),
        DeploymentStatus::Reconciling => Chip::new("busy", "◐", word),
        DeploymentStatus::Failed => Chip::new("bad", "✕", word),
        DeploymentStatus::PendingDeletion => Chip::new("quiet", "⊘", word),
    }
}

const fn deployment_word(status: DeploymentStatus) -> &'static str {
    match status {
        DeploymentStatus::Deployed => "deployed",
        DeploymentStatus::Pending => "pending",
        DeploymentStatus::Reconciling => "reconciling",
        DeploymentStatus::Failed => "failed",
        DeploymentStatus::PendingDeletion => "being removed",
    }
}

/// How many sensors are in each status.
pub(super) fn sensor_chips(counts: impl Iterator<Item = (DeploymentStatus, u64)>) -> Vec<Chip> {
    counts
        .filter(|(_, count)| *count > 0)
        .map(|(status, count)| {
            deployment_chip(status, format!("{count} {}", deployment_word(status)))
        })
        .collect()
}

/// A time; the script shows how long ago it was.
pub(super) struct Stamp(pub(super) Timestamp);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.strftime("%Y-%m-%d %H:%M:%S UTC");
        write!(f, "<time datetime=\"{}\">{shown}</time>", self.0)
    }
}

impl askama::filters::HtmlSafe for Stamp {}

/// One sensor.
pub(super) struct SensorLine {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) what: String,
    pub(super) place: String,
    pub(super) interval: String,
    pub(super) deployment: Chip,
    pub(super) health: Option<Chip>,
    pub(super) since: Option<Stamp>,
    pub(super) version: String,
    pub(super) drift: Option<String>,
    pub(super) error: Option<String>,
    pub(super) ailment: Option<String>,
    pub(super) points: Vec<PointLine>,
}

impl SensorLine {
    pub(super) fn of(
        wanted_version: Option<u64>,
        sensor: &SensorView,
        points: Vec<PointLine>,
    ) -> Self {
        let running = sensor.running.is_some();
        let version = match wanted_version {
            Some(wanted) if running && wanted != sensor.config_version => {
                format!("v{} runs, v{wanted} wanted", sensor.config_version)
            }
            None => format!("v{} runs, not wanted", sensor.config_version),
            Some(wanted) => format!("v{wanted}"),
        };
        let tried = |attempts| {
            if attempts == 1 {
                "once".to_owned()
            } else {
                format!("{attempts} times")
            }
        };
        let error = sensor.deployment_error.as_ref();
        let error =
            error.map(|error| format!("{error} (tried {})", tried(sensor.deployment_attempts)));
        let health = sensor.health.as_ref().filter(|_| sensor.enabled);
        let ailment = health.and_then(|health| health.reason.clone());
        let health_chip = match health.map(|health| health.status) {
            _ if !sensor.enabled => Some(Chip::new("quiet", "–", "disabled")),
            None => None,
            Some(_) if sensor.stale => Some(Chip::new("quiet", "?", "unknown: agent silent")),
            Some(HealthStatus::Online) => Some(Chip::new("good", "●", "online")),
            Some(HealthStatus::Degraded) => Some(Chip::new("warn", "◐", "degraded")),
            Some(HealthStatus::Offline) => Some(Chip::new("bad", "✕", "offline")),
        };
        let since = health
            .map(|health| health.since)
            .or(sensor.running.map(|running| running.since));
        Self {
            name: sensor.name.to_string(),
            id: sensor.id.to_string(),
            what: sensor.protocol.to_string(),
            place: place(&sensor.connection),
            interval: interval(sensor.poll_interval),
            deployment: deployment_chip(
                sensor.deployment_status,
                deployment_word(sensor.deployment_status).to_owned(),
            ),
            health: health_chip,
            since: since.map(Stamp),
            version,
            drift: sensor.drift.map(|kind| kind.to_string()),
            error,
            ailment,
            points,
        }
    }
}

/// Where an instrument is, in a few characters.
fn place(connection: &Value) -> String {
    let text = |key: &str| connection.get(key).and_then(Value::as_str);
    let number = |key: &str| connection.get(key).and_then(Value::as_u64);
    let mut place = match (text("host"), number("port")) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => {
            let names = ["endpointUrl", "serialPort", "interface", "broker"];
            names
                .into_iter()
                .find_map(text)
                .unwrap_or_default()
                .to_owned()
        }
    };
    if let Some(unit) = number("unitId") {
        place.push_str(&format!(" unit {unit}"));
    }
    place
}

pub(super) fn interval(ms: u32) -> String {
    match (ms % 1_000, ms / 1_000) {
        (0, seconds) if seconds > 0 => format!("{seconds} s"),
        _ => format!("{ms} ms"),
    }
}

/// The last value of a point.
pub(super) struct PointLine {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) unit: String,
    pub(super) tone: &'static str,
    pub(super) note: Option<String>,
    pub(super) at: Option<Stamp>,
}

impl PointLine {
    pub(super) fn of(point: PointView) -> Self {
        let PointView {
            sensor: _,
            point: id,
            sensor_name: _,
            name,
            unit,
            value,
            quality,
            at,
            reason,
            desired: _,
            conformity: _,
            hold: _,
            since: _,
            writes: _,
            budget_left: _,
        } = point;
        let (tone, word) = match quality {
            PointQuality::Good => ("good", None),
            PointQuality::Uncertain => ("warn", Some("uncertain")),
            PointQuality::Bad => ("bad", Some("bad")),
            PointQuality::Unread => ("", Some("not read yet")),
        };
        let note = match (word, reason) {
            (Some(word), Some(reason)) => Some(format!("{word}: {reason}")),
            (Some(word), None) => Some(word.to_owned()),
            (None, reason) => reason,
        };
        Self {
            name: name.map_or_else(|| id.to_string(), |name| name.to_string()),
            value: value.as_ref().map_or_else(|| "—".to_owned(), short_value),
            unit: unit.unwrap_or_default(),
            tone,
            note,
            at: at.map(Stamp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instrument_is_found_by_what_its_connection_says() {
        let tcp =
            serde_json::json!({ "type": "tcp", "host": "10.0.0.5", "port": 502, "unitId": 1 });
        assert_eq!(place(&tcp), "10.0.0.5:502 unit 1");
        assert_eq!(
            place(&serde_json::json!({ "endpointUrl": "opc.tcp://plc:4840" })),
            "opc.tcp://plc:4840"
        );
    }
}
