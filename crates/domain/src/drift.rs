//! Drift: how what runs differs from what is wanted, sensor by sensor.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    canonical::differing_paths,
    document::sensor::Item,
    fields::words,
    ids::{Name, SensorId},
    row::{DeploymentStatus, SensorRow},
    state::DeviceState,
};

/// How what runs of one sensor differs from what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(rename_all = "camelCase")
)]
pub enum DriftKind {
    /// It is wanted, and nothing of it runs.
    Missing,
    /// It runs, and is not wanted.
    Unexpected,
    /// It runs with other content.
    Changed,
    /// It runs and is wanted disabled, or the other way round.
    Enabled,
    /// It runs with the wanted content, but as an older version of it.
    VersionBehind,
}
words!(DriftKind {
    Missing => "missing",
    Unexpected => "unexpected",
    Changed => "changed",
    Enabled => "enabled",
    VersionBehind => "versionBehind",
});

/// How `running` differs from `wanted`.
#[must_use]
pub fn kind(wanted: Option<&Item>, running: Option<&Item>) -> Option<DriftKind> {
    match (wanted, running) {
        (None, None) => None,
        (Some(_), None) => Some(DriftKind::Missing),
        (None, Some(_)) => Some(DriftKind::Unexpected),
        (Some(wanted), Some(running)) if wanted.sensor == running.sensor => {
            (wanted.config_version != running.config_version).then_some(DriftKind::VersionBehind)
        }
        (Some(wanted), Some(running)) if wanted.sensor.enabled() != running.sensor.enabled() => {
            Some(DriftKind::Enabled)
        }
        (Some(_), Some(_)) => Some(DriftKind::Changed),
    }
}

/// One sensor that differs, with all that is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SensorDrift {
    /// The sensor.
    pub id: SensorId,
    /// Its name.
    pub name: Name,
    /// How it differs.
    pub kind: DriftKind,
    /// Since when.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub since: Timestamp,
    /// Where the contents differ: `connection.host`.
    pub paths: Vec<String>,
    /// The wanted version of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wanted_version: Option<u64>,
    /// The version that runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub running_version: Option<u64>,
    /// Where its deployment stands.
    pub deployment_status: DeploymentStatus,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
}

/// Every sensor of a device that differs, by id.
#[must_use]
pub fn of_device(state: &DeviceState) -> Vec<SensorDrift> {
    let wanted = by_sensor(&state.target.items);
    let reported = state.reported.as_ref();
    let running = by_sensor(reported.map_or(&[], |reported| &reported.running));
    let of = |row: &SensorRow| {
        of_sensor(
            row,
            wanted.get(&row.id).copied(),
            running.get(&row.id).copied(),
        )
    };
    state.rows.values().filter_map(of).collect()
}

fn by_sensor(items: &[Item]) -> BTreeMap<SensorId, &Item> {
    items.iter().map(|item| (item.sensor.id(), item)).collect()
}

fn of_sensor(
    row: &SensorRow,
    wanted: Option<&Item>,
    running: Option<&Item>,
) -> Option<SensorDrift> {
    /// Paths beyond this tell a person nothing more.
    const PATHS: usize = 20;
    let (kind, since) = row.drift.zip(row.drifting_since)?;
    let paths = match (wanted, running) {
        (Some(wanted), Some(running)) => {
            differing_paths(&wanted.sensor.to_json(), &running.sensor.to_json(), PATHS)
        }
        _ => Vec::new(),
    };
    Some(SensorDrift {
        id: row.id,
        name: wanted.map_or_else(
            || row.shown.name().clone(),
            |item| item.sensor.name().clone(),
        ),
        kind,
        since,
        paths,
        wanted_version: wanted.map(|item| item.config_version),
        running_version: running.map(|item| item.config_version),
        deployment_status: row.status,
        error: row.error.clone(),
        attempts: row.attempts,
    })
}
