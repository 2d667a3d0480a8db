//! The parts of a change, column by column, as `commit.sql` takes them. Rows of the read model are in `rows.rs`.

use holdfast_domain::{
    event::Event,
    state::{DriftNote, Presence, Reported},
};
use uuid::Uuid;

use crate::{
    columns::{Fault, Time, bigint, put, put_opt, time, time_opt},
    rows::{config_json, json},
};

/// When a device was heard of; all absent where that does not change.
#[derive(Default)]
pub(crate) struct PresenceColumns {
    pub(crate) last_seen_at: Option<Time>,
    pub(crate) silent: Option<bool>,
    pub(crate) drift_since: Option<Time>,
    pub(crate) drift_fingerprint: Option<String>,
}

impl PresenceColumns {
    pub(crate) fn of(presence: Option<&Presence>) -> Self {
        let Some(Presence {
            last_seen_at,
            silent,
            drift,
        }) = presence
        else {
            return Self::default();
        };
        let note = drift
            .as_ref()
            .map(|DriftNote { since, fingerprint }| (time(*since), fingerprint.to_string()));
        let (drift_since, drift_fingerprint) = note.unzip();
        Self {
            last_seen_at: time_opt(*last_seen_at),
            silent: Some(*silent),
            drift_since,
            drift_fingerprint,
        }
    }
}

/// What an agent says; anything where it says nothing.
#[derive(Default)]
pub(crate) struct ReportedColumns {
    pub(crate) config: Option<String>,
    pub(crate) failures: Option<String>,
    pub(crate) health: Option<String>,
    pub(crate) held_version: i64,
    pub(crate) version: i64,
    pub(crate) incarnation: Uuid,
    pub(crate) boot: i64,
    pub(crate) sequence: i64,
    pub(crate) running_fingerprint: String,
    pub(crate) looked_revision: i64,
    pub(crate) agent_version: Option<String>,
    pub(crate) reported_at: Option<Time>,
    pub(crate) has_failures: bool,
}

impl ReportedColumns {
    /// What no report says is never looked at (but its types are, so that documents are absent and not empty texts).
    pub(crate) fn of(reported: Option<&Reported>) -> Result<Self, Fault> {
        let Some(reported) = reported else {
            return Ok(Self::default());
        };
        let Reported {
            order,
            held_version,
            worked_version,
            running,
            failures,
            health,
            running_fingerprint,
            looked_revision,
            agent_version,
            reported_at,
        } = reported;
        Ok(Self {
            config: Some(config_json(running)?),
            failures: Some(json(failures)?),
            health: Some(json(health)?),
            held_version: bigint(*held_version)?,
            version: bigint(*worked_version)?,
            incarnation: order.incarnation.0,
            boot: bigint(order.boot)?,
            sequence: bigint(order.sequence)?,
            running_fingerprint: running_fingerprint.to_string(),
            looked_revision: bigint(*looked_revision)?,
            agent_version: put_opt(agent_version.as_deref()),
            reported_at: Some(time(*reported_at)),
            has_failures: !failures.is_empty(),
        })
    }
}

/// Many events, column by column.
#[derive(Default)]
pub(crate) struct EventArrays {
    pub(crate) sequence: Vec<i64>,
    pub(crate) kind: Vec<&'static str>,
    pub(crate) at: Vec<Time>,
    pub(crate) actor: Vec<String>,
    pub(crate) correlation: Vec<Option<String>>,
    pub(crate) causation: Vec<Option<i64>>,
    pub(crate) payload: Vec<String>,
}

impl EventArrays {
    pub(crate) fn of(events: &[Event]) -> Result<Self, Fault> {
        let mut arrays = Self::default();
        for event in events {
            let Event {
                device: _,
                sequence,
                kind,
                at,
                actor,
                correlation,
                causation,
                payload,
            } = event;
            arrays.sequence.push(bigint(*sequence)?);
            arrays.kind.push(kind.as_str());
            arrays.at.push(time(*at));
            arrays.actor.push(put(actor.as_str()).into_owned());
            arrays.correlation.push(put_opt(correlation.as_deref()));
            arrays.causation.push(causation.map(bigint).transpose()?);
            arrays.payload.push(payload.to_string());
        }
        Ok(arrays)
    }
}
