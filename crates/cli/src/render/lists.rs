//! Lists: devices, sensors, points, drift.

use comfy_table::Table;
use holdfast_domain::{HealthStatus, PointValue, row::DeploymentStatus};
use holdfast_wire::{
    Device, DeviceDrift, DeviceStatus, FleetDrift, PointQuality, PointView, SensorView,
};
use jiff::Timestamp;

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
    let mut table = table(&["SENSOR", "POINT", "VALUE", "QUALITY", "CHANGED", "REASON"]);
    for point in points {
        let value = match (&point.value, &point.unit) {
            (Some(value), Some(unit)) => format!("{} {unit}", shown(value)),
            (Some(value), None) => shown(value),
            (None, _) => "-".to_owned(),
        };
        let tone = match point.quality {
            PointQuality::Good => Tone::Good,
            PointQuality::Uncertain => Tone::Busy,
            PointQuality::Bad => Tone::Bad,
            PointQuality::Unread => Tone::Quiet,
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
            cell(
                point
                    .at
                    .map_or_else(|| "-".to_owned(), |at| relative(at, now)),
            ),
            cell(point.reason.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

/// A value in its own digits: one that was a 32-bit float is not shown with the digits that 64 bits add to it.
pub(super) fn shown(value: &PointValue) -> String {
    match value {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::float_cmp,
            reason = "exactly a 32-bit float, or not"
        )]
        PointValue::Number(number) if f64::from(*number as f32) == *number => {
            (*number as f32).to_string()
        }
        other => other.to_string(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_in_their_own_digits() {
        let float32 = f64::from(69.58345_f32);
        for (value, said) in [
            (PointValue::Number(float32), "69.58345"),
            (PointValue::Number(0.1), "0.1"),
            (PointValue::Number(65.0), "65"),
            (PointValue::Integer(-3), "-3"),
            (PointValue::Bool(true), "true"),
        ] {
            assert_eq!(shown(&value), said);
        }
    }
}
