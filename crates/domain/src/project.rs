//! The one function behind the read model: from what is wanted and what is reported to rows and events.
//!
//! It is used in the transaction of every edit and every report, and never invents: what runs is in a row because a
//! report said so.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use serde_json::json;

use crate::{
    canonical::Fingerprint,
    document::{report::Failure, sensor::Item},
    drift,
    event::{Context, EventKind},
    ids::SensorId,
    rebuild::{listed_columns, same_listed},
    row::{Audit, DeploymentStatus, SensorRow},
    state::{Change, DeviceState, Reported, Target},
};

/// What an operator did to a sensor in an edit: its row's event is named after that, not after the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edited {
    /// Added to the target.
    Added,
    /// Changed in the target.
    Updated,
    /// Taken out of the target.
    Deleted,
}

impl Edited {
    const fn event(self) -> EventKind {
        match self {
            Self::Added => EventKind::SensorAdded,
            Self::Updated => EventKind::SensorUpdated,
            Self::Deleted => EventKind::SensorDeleted,
        }
    }
}

/// The status table: is the wanted content established? `None`: the row goes.
#[must_use]
pub fn status(
    wanted: Option<&Item>,
    running: Option<&Item>,
    failure: Option<&Failure>,
    held_version: u64,
) -> Option<DeploymentStatus> {
    let Some(wanted) = wanted else {
        return running.map(|_| DeploymentStatus::PendingDeletion);
    };
    Some(match running {
        Some(running) if running.sensor == wanted.sensor => DeploymentStatus::Deployed,
        _ if failed_with(failure, wanted.sensor.fingerprint()) => DeploymentStatus::Failed,
        _ if held_version >= wanted.config_version => DeploymentStatus::Reconciling,
        _ => DeploymentStatus::Pending,
    })
}

fn failed_with(failure: Option<&Failure>, wanted: Fingerprint) -> bool {
    failure.is_some_and(|failure| failure.fingerprint == wanted)
}

/// Adds to `change` every row that is new, changed or gone when `target` is wanted and `reported` is true, and an event
/// for each (but none for what changes only in health or attempts).
pub fn project(
    change: &mut Change,
    state: &DeviceState,
    target: &Target,
    reported: Option<&Reported>,
    edited: &BTreeMap<SensorId, Edited>,
    context: &Context,
) {
    let wanted: BTreeMap<SensorId, &Item> = target
        .items
        .iter()
        .map(|item| (item.sensor.id(), item))
        .collect();
    let running: BTreeMap<SensorId, &Item> = reported
        .iter()
        .flat_map(|reported| &reported.running)
        .map(|item| (item.sensor.id(), item))
        .collect();
    let failures: BTreeMap<SensorId, &Failure> = reported
        .iter()
        .flat_map(|reported| &reported.failures)
        .map(|failure| (failure.id, failure))
        .collect();
    let ids: BTreeSet<SensorId> = wanted
        .keys()
        .chain(running.keys())
        .chain(state.rows.keys())
        .copied()
        .collect();
    for id in ids {
        let facts = Facts {
            wanted: wanted.get(&id).copied(),
            running: running.get(&id).copied(),
            failure: failures.get(&id).copied(),
            reported,
            context,
        };
        let old = state.rows.get(&id);
        let new = facts.row(id, old);
        tell(
            change,
            state,
            target,
            edited.get(&id).copied(),
            old,
            new.as_ref(),
            context,
        );
        match new {
            Some(row) if old != Some(&row) => change.upserts.push(row),
            Some(_) => {}
            None if old.is_some() => change.deletes.push(id),
            None => {}
        }
    }
}

/// What is known of one sensor.
struct Facts<'a> {
    wanted: Option<&'a Item>,
    running: Option<&'a Item>,
    failure: Option<&'a Failure>,
    reported: Option<&'a Reported>,
    context: &'a Context,
}

impl Facts<'_> {
    fn row(&self, id: SensorId, old: Option<&SensorRow>) -> Option<SensorRow> {
        let now = self.context.now;
        let held = self.reported.map_or(0, |reported| reported.held_version);
        let status = status(self.wanted, self.running, self.failure, held)?;
        let shown = self.running.or(self.wanted)?;
        let failure = self.failure.filter(|failure| match status {
            DeploymentStatus::Failed => true,
            // It could not be let go.
            DeploymentStatus::PendingDeletion => {
                failed_with(Some(failure), shown.sensor.fingerprint())
            }
            DeploymentStatus::Pending
            | DeploymentStatus::Reconciling
            | DeploymentStatus::Deployed => false,
        });
        let drift = drift::kind(self.wanted, self.running);
        // The content as it was told of before, if it is the same: another spelling of it is no change.
        let known = old
            .map(|row| &row.shown)
            .filter(|known| **known == shown.sensor);
        let ran_before = old.filter(|row| row.running_since.is_some() && row.shown == shown.sensor);
        let deployed_before = old.filter(|row| row.status == DeploymentStatus::Deployed);
        let row = SensorRow {
            id,
            shown: known.unwrap_or(&shown.sensor).clone(),
            running_since: self
                .running
                .map(|_| ran_before.and_then(|row| row.running_since).unwrap_or(now)),
            config_version: shown.config_version,
            synced_to_config: drift.is_none(),
            status,
            last_deployed_at: if status == DeploymentStatus::Deployed
                && deployed_before.is_none_or(|row| row.shown != shown.sensor)
            {
                Some(now)
            } else {
                old.and_then(|row| row.last_deployed_at)
            },
            error: failure.map(|failure| failure.error.clone()),
            attempts: failure.map_or(0, |failure| failure.attempts),
            health: self
                .running
                .and_then(|_| self.reported?.health.get(&id).cloned()),
            drift,
            drifting_since: drift.map(|_| old.and_then(|row| row.drifting_since).unwrap_or(now)),
            audit: old.map_or_else(
                || Audit::new(now, &self.context.actor),
                |row| row.audit.clone(),
            ),
        };
        Some(match old {
            Some(old) if *old != row => SensorRow {
                audit: row.audit.touched(now, &self.context.actor),
                ..row
            },
            _ => row,
        })
    }
}

/// Adds the event of one row, if something happened to it that an event is for.
fn tell(
    change: &mut Change,
    state: &DeviceState,
    target: &Target,
    edited: Option<Edited>,
    old: Option<&SensorRow>,
    new: Option<&SensorRow>,
    context: &Context,
) {
    let is_same = match (old, new) {
        (Some(old), Some(new)) => same_listed(old, new),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    if is_same && edited.is_none() {
        return;
    }
    let Some(id) = new.or(old).map(|row| row.id) else {
        return;
    };
    let payload = json!({
        "sensorId": id,
        "name": new.or(old).map(|row| row.shown.name().clone()),
        "targetVersion": target.version,
        "error": new.and_then(|row| row.error.clone()),
        "attempts": new.map(|row| row.attempts),
        "row": new.map(listed_columns),
    });
    for kind in kinds(edited, old, new) {
        change.event(state, context, kind, Some(target.event), payload.clone());
    }
}

/// Which events tell of the way from `old` to `new`: an edit is named by what the operator did, anything else by the new
/// status.
fn kinds(
    edited: Option<Edited>,
    old: Option<&SensorRow>,
    new: Option<&SensorRow>,
) -> Vec<EventKind> {
    let mut kinds: Vec<EventKind> = edited.map(Edited::event).into_iter().collect();
    let Some(new) = new else {
        kinds.push(EventKind::SensorRemoved);
        return kinds;
    };
    let was = old.map(|row| row.status);
    if !kinds.is_empty() && !matches!(new.status, DeploymentStatus::Deployed) {
        return kinds;
    }
    match new.status {
        DeploymentStatus::Pending => kinds.push(EventKind::SensorPending),
        DeploymentStatus::Reconciling => kinds.push(EventKind::SensorReconciling),
        DeploymentStatus::Failed => kinds.push(EventKind::SensorFailed),
        DeploymentStatus::PendingDeletion => kinds.push(EventKind::SensorPendingDeletion),
        DeploymentStatus::Deployed => {
            if was == Some(DeploymentStatus::Failed) {
                kinds.push(EventKind::SensorRecovered);
            }
            if was != Some(DeploymentStatus::Deployed) || kinds.is_empty() {
                kinds.push(EventKind::SensorDeployed);
            }
        }
    }
    kinds
}
