//! Lists: devices, sensors, points, drift, events, versions, tokens, keys.

use comfy_table::Table;
use holdfast_domain::{HealthStatus, Quality, row::DeploymentStatus};
use holdfast_wire::{
    Device, DeviceDrift, DeviceStatus, EventView, FleetDrift, HistoryEntry, PointView,
    ProvisioningKeyView, SensorView, TokenView,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    output::{Tone, cell, table, toned},
    render::time::{relative, relative_or},
};

/// Devices.
#[must_use]
pub fn devices(devices: &[Device], now: Timestamp) -> Table {
    let mut table = table(&[
        "DEVICE", "STATUS", "TARGET", "WORKED", "SENSORS", "SEEN", "LABELS",
    ]);
    for device in devices {
        let tone = match device.status {
            DeviceStatus::New => Tone::Plain,
            DeviceStatus::Reconciled => Tone::Good,
            DeviceStatus::Drifting => Tone::Busy,
            DeviceStatus::Silent => Tone::Bad,
        };
        let labels: Vec<String> = device
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        table.add_row([
            cell(device.name.as_str()),
            toned(device.status.as_str(), tone),
            cell(device.target_version.to_string()),
            cell(version(device.current_version)),
            cell(counts(device)),
            cell(relative_or(device.last_seen_at, now, "never")),
            cell(labels.join(",")),
        ]);
    }
    table
}

fn counts(device: &Device) -> String {
    let total: u32 = device.sensors.values().sum();
    let others: Vec<String> = device
        .sensors
        .iter()
        .filter(|(status, count)| **status != DeploymentStatus::Deployed && **count > 0)
        .map(|(status, count)| format!("{count} {status}"))
        .collect();
    if others.is_empty() {
        total.to_string()
    } else {
        format!("{total} ({})", others.join(", "))
    }
}

fn version(version: Option<u64>) -> String {
    version.map_or_else(|| "-".to_owned(), |version| version.to_string())
}

/// Sensors; with a column for the device where they are of several.
#[must_use]
pub fn sensors(rows: &[(Option<&str>, &SensorView)], now: Timestamp) -> Table {
    let with_device = rows.iter().any(|(device, _)| device.is_some());
    let mut columns = vec![
        "SENSOR", "PROTOCOL", "STATUS", "HEALTH", "RUNNING", "POINTS", "VERSION", "REASON",
    ];
    if with_device {
        columns.insert(0, "DEVICE");
    }
    let mut table = table(&columns);
    for (device, row) in rows {
        let name = if row.enabled {
            row.name.to_string()
        } else {
            format!("{} (disabled)", row.name)
        };
        let (health, health_tone) = health(row);
        let mut cells = vec![
            cell(name),
            cell(row.protocol.as_str()),
            toned(status(row), status_tone(row.deployment_status)),
            toned(health, health_tone),
            cell(
                row.running
                    .map_or_else(|| "-".to_owned(), |running| relative(running.since, now)),
            ),
            cell(row.data_points.as_array().map_or(0, Vec::len).to_string()),
            cell(row.config_version.to_string()),
            cell(reason(row, now)),
        ];
        if with_device {
            cells.insert(0, cell(device.unwrap_or_default()));
        }
        table.add_row(cells);
    }
    table
}

pub(crate) const fn status_tone(status: DeploymentStatus) -> Tone {
    match status {
        DeploymentStatus::Deployed => Tone::Good,
        DeploymentStatus::Failed => Tone::Bad,
        DeploymentStatus::Pending
        | DeploymentStatus::Reconciling
        | DeploymentStatus::PendingDeletion => Tone::Busy,
    }
}

fn status(row: &SensorView) -> String {
    let stale = if row.stale { " (agent silent)" } else { "" };
    format!("{}{stale}", row.deployment_status)
}

fn health(row: &SensorView) -> (String, Tone) {
    let Some(health) = &row.health else {
        return ("-".to_owned(), Tone::Plain);
    };
    let tone = match health.status {
        HealthStatus::Online => Tone::Good,
        HealthStatus::Degraded => Tone::Busy,
        HealthStatus::Offline => Tone::Bad,
    };
    (health.status.to_string(), tone)
}

fn reason(row: &SensorView, now: Timestamp) -> String {
    if let Some(error) = &row.deployment_error {
        return format!("{error} ({})", times(row.deployment_attempts));
    }
    if let Some(health) = row
        .health
        .as_ref()
        .filter(|health| health.status != HealthStatus::Online)
    {
        let reason = health.reason.as_deref().unwrap_or("no answer");
        return format!("{reason}, since {}", relative(health.since, now));
    }
    match (row.drift, row.drifting_since) {
        (Some(kind), Some(since)) => format!("{kind} since {}", relative(since, now)),
        _ => String::new(),
    }
}

/// `tried once`, `tried 3 times`.
pub(crate) fn times(attempts: u32) -> String {
    match attempts {
        0 => "not tried yet".to_owned(),
        1 => "tried once".to_owned(),
        attempts => format!("tried {attempts} times"),
    }
}

/// Last values.
#[must_use]
pub fn points(points: &[PointView], now: Timestamp) -> Table {
    let mut table = table(&["SENSOR", "POINT", "VALUE", "QUALITY", "READ", "REASON"]);
    for point in points {
        let value = match (&point.value, &point.unit) {
            (Some(value), Some(unit)) => format!("{value} {unit}"),
            (Some(value), None) => value.to_string(),
            (None, _) => "-".to_owned(),
        };
        let tone = match point.quality {
            Quality::Good => Tone::Good,
            Quality::Uncertain => Tone::Busy,
            Quality::Bad => Tone::Bad,
        };
        table.add_row([
            cell(
                point
                    .sensor_name
                    .as_ref()
                    .map_or_else(|| point.sensor.to_string(), ToString::to_string),
            ),
            cell(
                point
                    .name
                    .as_ref()
                    .map_or_else(|| point.point.to_string(), ToString::to_string),
            ),
            cell(value),
            toned(point.quality.as_str(), tone),
            cell(relative(point.at, now)),
            cell(point.reason.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

/// What differs on one device.
#[must_use]
pub fn device_drift(drift: &DeviceDrift, now: Timestamp) -> Table {
    let mut table = table(&[
        "SENSOR", "DRIFT", "SINCE", "STATUS", "WANTED", "RUNNING", "WHERE", "ERROR",
    ]);
    for sensor in &drift.sensors {
        table.add_row([
            cell(sensor.name.as_str()),
            toned(sensor.kind.as_str(), Tone::Busy),
            cell(relative(sensor.since, now)),
            toned(
                sensor.deployment_status.as_str(),
                status_tone(sensor.deployment_status),
            ),
            cell(version(sensor.wanted_version)),
            cell(version(sensor.running_version)),
            cell(sensor.paths.join(", ")),
            cell(sensor.error.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

/// What differs in the fleet; `name_of` gives a device's name.
#[must_use]
pub fn fleet_drift(
    drift: &[FleetDrift],
    name_of: impl Fn(&FleetDrift) -> String,
    now: Timestamp,
) -> Table {
    let mut table = table(&["DEVICE", "SENSOR", "DRIFT", "SINCE", "STATUS", "ERROR"]);
    for sensor in drift {
        let stale = if sensor.stale { " (agent silent)" } else { "" };
        table.add_row([
            cell(name_of(sensor)),
            cell(sensor.name.as_str()),
            toned(sensor.kind.as_str(), Tone::Busy),
            cell(relative(sensor.since, now)),
            toned(
                format!("{}{stale}", sensor.deployment_status),
                status_tone(sensor.deployment_status),
            ),
            cell(sensor.error.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

/// One event on one line: `3 min ago  plant-3  sensor.failed  boiler-1: connection refused  (agent)`.
#[must_use]
pub fn event_cells(view: &EventView, device: &str, now: Timestamp) -> [String; 5] {
    let event = &view.event;
    [
        relative(event.at, now),
        device.to_owned(),
        event.kind.to_string(),
        event_detail(&event.payload),
        event.actor.to_string(),
    ]
}

/// The tone of an event's type.
pub(crate) fn event_tone(kind: &str) -> Tone {
    match kind {
        "sensor.failed"
        | "device.offline"
        | "device.revoked"
        | "device.deleted"
        | "target_state.conflict" => Tone::Bad,
        "sensor.deployed" | "sensor.recovered" | "device.online" | "device.reconciled" => {
            Tone::Good
        }
        "device.config_drift" => Tone::Busy,
        _ => Tone::Plain,
    }
}

/// What a person wants to know of an event's particulars, as far as they are there.
fn event_detail(payload: &Value) -> String {
    let mut parts = Vec::new();
    for key in ["name", "error", "reason"] {
        if let Some(text) = payload.get(key).and_then(Value::as_str) {
            parts.push(text.to_owned());
        }
    }
    if let Some(version) = payload
        .get("version")
        .or_else(|| payload.get("targetVersion"))
        .and_then(Value::as_u64)
    {
        parts.push(format!("version {version}"));
    }
    if let Some(sensors) = payload.get("sensors").and_then(Value::as_array) {
        let named: Vec<&str> = sensors
            .iter()
            .filter_map(|sensor| sensor.get("name")?.as_str())
            .collect();
        match named.as_slice() {
            [] => parts.push(format!("{} sensors", sensors.len())),
            names => parts.push(names.join(", ")),
        }
    }
    parts.join(": ")
}

/// Events.
#[must_use]
pub fn events(rows: &[[String; 5]]) -> Table {
    let mut table = table(&["WHEN", "DEVICE", "TYPE", "WHAT", "BY"]);
    for [when, device, kind, what, by] in rows {
        table.add_row([
            cell(when),
            cell(device),
            toned(kind, event_tone(kind)),
            cell(what),
            cell(by),
        ]);
    }
    table
}

/// Versions of a target.
#[must_use]
pub fn history(entries: &[HistoryEntry], now: Timestamp) -> Table {
    let mut table = table(&["VERSION", "WHEN", "BY", "SENSORS", "REASON"]);
    for entry in entries {
        table.add_row([
            cell(entry.version.to_string()),
            cell(relative(entry.at, now)),
            cell(entry.author.as_str()),
            cell(entry.sensors.to_string()),
            cell(entry.reason.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

/// Is it in force? `revoked 3 min ago`, `expired 2 d ago`, `until in 8 h`.
fn force(revoked: Option<Timestamp>, expires: Option<Timestamp>, now: Timestamp) -> (String, Tone) {
    match (revoked, expires) {
        (Some(at), _) => (format!("revoked {}", relative(at, now)), Tone::Quiet),
        (None, Some(at)) if at <= now => (format!("expired {}", relative(at, now)), Tone::Quiet),
        (None, Some(at)) => (format!("ends {}", relative(at, now)), Tone::Good),
        (None, None) => ("in force".to_owned(), Tone::Good),
    }
}

/// Tokens.
#[must_use]
pub fn tokens(tokens: &[TokenView], now: Timestamp) -> Table {
    let mut table = table(&["ID", "NAME", "FOR", "STATE", "MADE", "BY"]);
    for token in tokens {
        let (state, tone) = force(token.revoked_at, token.expires_at, now);
        let grant = match (token.role, token.device) {
            (Some(role), _) => role.as_str().to_owned(),
            (None, Some(device)) => format!("agent of {device}"),
            (None, None) => "-".to_owned(),
        };
        table.add_row([
            cell(token.id.to_string()),
            cell(&token.name),
            cell(grant),
            toned(state, tone),
            cell(relative(token.created_at, now)),
            cell(token.created_by.as_str()),
        ]);
    }
    table
}

/// Provisioning keys.
#[must_use]
pub fn keys(keys: &[ProvisioningKeyView], now: Timestamp) -> Table {
    let mut table = table(&["ID", "NAME", "DEVICE", "USES LEFT", "STATE", "MADE", "BY"]);
    for key in keys {
        let (state, tone) = force(key.revoked_at, key.expires_at, now);
        table.add_row([
            cell(key.id.to_string()),
            cell(&key.name),
            cell(
                key.device
                    .map_or_else(|| "a new one".to_owned(), |device| device.to_string()),
            ),
            cell(
                key.uses_left
                    .map_or_else(|| "any".to_owned(), |uses| uses.to_string()),
            ),
            toned(state, tone),
            cell(relative(key.created_at, now)),
            cell(key.created_by.as_str()),
        ]);
    }
    table
}
