//! The read model out of the event log: a snapshot and what follows.
//!
//! Every event of a sensor carries the row's listed columns as they were after it. What is not listed is either derived
//! from elsewhere (`stale`), or moves without an event (health, attempts, the times).

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
};

use serde_json::{Value, json};

use crate::{
    event::{Event, EventKind},
    ids::SensorId,
    row::SensorRow,
};

/// The columns of a row that the event log carries.
#[must_use]
pub fn listed_columns(row: &SensorRow) -> Value {
    json!({
        "id": row.id,
        "content": row.shown.to_json(),
        "running": row.running_since.is_some(),
        "configVersion": row.config_version,
        "syncedToConfig": row.synced_to_config,
        "deploymentStatus": row.status,
        "deploymentError": row.error,
    })
}

/// Are the listed columns of two rows the same? Contents are compared by their fingerprints, so that another spelling of
/// the same is no change.
pub(crate) fn same_listed(left: &SensorRow, right: &SensorRow) -> bool {
    let SensorRow {
        id,
        shown,
        running_since,
        config_version,
        synced_to_config,
        status,
        error,
        last_deployed_at: _,
        attempts: _,
        health: _,
        drift: _,
        drifting_since: _,
        audit: _,
    } = left;
    *id == right.id
        && *shown == right.shown
        && running_since.is_some() == right.running_since.is_some()
        && *config_version == right.config_version
        && *synced_to_config == right.synced_to_config
        && *status == right.status
        && *error == right.error
}

/// The payload of a `device.snapshot` event: all rows.
#[must_use]
pub fn snapshot(rows: &BTreeMap<SensorId, SensorRow>) -> Value {
    let rows: BTreeMap<_, _> = rows
        .values()
        .map(|row| (row.id.to_string(), listed_columns(row)))
        .collect();
    json!({ "rows": rows })
}

/// The listed columns of every row of a device, from its events in order.
///
/// Starts from nothing, or from the last snapshot among the events.
#[must_use]
pub fn rows<'a>(events: impl IntoIterator<Item = &'a Event>) -> BTreeMap<SensorId, Value> {
    let mut rows = BTreeMap::new();
    for event in events {
        match event.kind {
            EventKind::DeviceSnapshot => {
                rows = event
                    .payload
                    .get("rows")
                    .and_then(Value::as_object)
                    .map(from_snapshot)
                    .unwrap_or_default();
            }
            EventKind::DeviceDeleted => rows.clear(),
            EventKind::SensorAdded
            | EventKind::SensorUpdated
            | EventKind::SensorDeleted
            | EventKind::SensorPending
            | EventKind::SensorReconciling
            | EventKind::SensorDeployed
            | EventKind::SensorFailed
            | EventKind::SensorRecovered
            | EventKind::SensorPendingDeletion
            | EventKind::SensorRemoved => take(&mut rows, &event.payload),
            EventKind::DeviceCreated
            | EventKind::DeviceUpdated
            | EventKind::DeviceRegistered
            | EventKind::DeviceIncarnation
            | EventKind::DeviceOnline
            | EventKind::DeviceOffline
            | EventKind::DeviceRevoked
            | EventKind::DeviceConfigDrift
            | EventKind::DeviceReconciled
            | EventKind::DeviceLook
            | EventKind::TargetUpdated
            | EventKind::TargetRolledBack
            | EventKind::TargetConflict
            | EventKind::SetpointSet
            | EventKind::SetpointReleased
            | EventKind::SetpointDrifted
            | EventKind::SetpointWritten
            | EventKind::SetpointVerified
            | EventKind::SetpointRefused
            | EventKind::SetpointOverridden
            | EventKind::SetpointAdopted
            | EventKind::SetpointExpired
            | EventKind::BudgetReset
            | EventKind::BudgetRenewed
            | EventKind::CommandRequested
            | EventKind::CommandVerified
            | EventKind::CommandAcknowledged
            | EventKind::CommandRefused
            | EventKind::CommandFailed
            | EventKind::CommandExpired
            | EventKind::CommandCancelRequested
            | EventKind::CommandCancelled
            | EventKind::CommandUnknown
            | EventKind::TroubleBegan
            | EventKind::TroubleEnded
            | EventKind::ReconciliationStarted
            | EventKind::ReconciliationStopped
            | EventKind::ReconciliationPaused
            | EventKind::ReconciliationResumed
            | EventKind::ReconciliationUpdated => {}
        }
    }
    rows
}

fn from_snapshot(members: &serde_json::Map<String, Value>) -> BTreeMap<SensorId, Value> {
    members
        .iter()
        .filter_map(|(id, row)| Some((id.parse().ok()?, row.clone())))
        .collect()
}

fn take(rows: &mut BTreeMap<SensorId, Value>, payload: &Value) {
    let id = payload
        .get("sensorId")
        .and_then(Value::as_str)
        .and_then(|id| id.parse().ok());
    let Some(id) = id else { return };
    match payload.get("row").filter(|row| !row.is_null()) {
        Some(row) => rows.insert(id, row.clone()),
        None => rows.remove(&id),
    };
}
