//! The parts of changes, column by column, as `commit.sql` takes them: those of one change, or of many put together.
//!
//! Rows of the read model are in `rows.rs`.

use holdfast_domain::{
    DeviceId,
    event::Event,
    row::DeploymentStatus,
    state::{Change, DriftNote, Presence, Reported},
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    columns::{Fault, Time, bigint, put, put_opt, time, time_opt},
    rows::{RowArrays, config_json, json},
};

/// A structure of arrays, one a column, that grow together.
macro_rules! arrays {
    ($(#[$doc:meta])* $name:ident { $($column:ident: $type:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $name {
            $(pub(crate) $column: Vec<$type>,)+
        }

        impl $name {
            /// Puts another's rows behind one's own.
            pub(crate) fn append(&mut self, mut other: Self) {
                $(self.$column.append(&mut other.$column);)+
            }

            /// The rows of one device.
            pub(crate) fn of_device(&self, device: uuid::Uuid) -> Self {
                let mut one = Self::default();
                for (index, _) in self.device_uuid.iter().enumerate().filter(|(_, of)| **of == device) {
                    $(one.$column.push(self.$column[index].clone());)+
                }
                one
            }
        }
    };
}
pub(crate) use arrays;

/// Changes, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) changes: ChangeArrays,
    pub(crate) reports: ReportArrays,
    pub(crate) rows: RowArrays,
    pub(crate) gone: GoneArrays,
    pub(crate) events: EventArrays,
}

impl Parts {
    /// Those of one change; its target and record are left to others.
    pub(crate) fn of(change: &Change) -> Result<Self, Fault> {
        let Change {
            device,
            base_revision: _,
            record: _,
            target: _,
            reported,
            runs_the_same,
            presence: _,
            is_worth_a_look: _,
            upserts,
            deletes,
            events,
        } = change;
        let mut parts = Self::default();
        parts.changes.push(change)?;
        if let Some(reported) = reported {
            let is_failed =
                |row: &holdfast_domain::row::SensorRow| row.status == DeploymentStatus::Failed;
            parts.reports.push(
                *device,
                reported,
                *runs_the_same,
                upserts.iter().any(is_failed),
            )?;
        }
        for row in upserts {
            parts.rows.push(*device, row)?;
        }
        for sensor in deletes {
            parts.gone.device_uuid.push(device.uuid());
            parts.gone.sensor_uuid.push(sensor.uuid());
        }
        for event in events {
            parts.events.push(event)?;
        }
        Ok(parts)
    }

    pub(crate) fn append(&mut self, other: Self) {
        let Self {
            changes,
            reports,
            rows,
            gone,
            events,
        } = other;
        self.changes.append(changes);
        self.reports.append(reports);
        self.rows.append(rows);
        self.gone.append(gone);
        self.events.append(events);
    }

    /// Those of one device's change.
    pub(crate) fn of_device(&self, device: DeviceId) -> Self {
        let Self {
            changes,
            reports,
            rows,
            gone,
            events,
        } = self;
        let device = device.uuid();
        Self {
            changes: changes.of_device(device),
            reports: reports.of_device(device),
            rows: rows.of_device(device),
            gone: gone.of_device(device),
            events: events.of_device(device),
        }
    }
}

arrays! {
    /// What every change has, and what it says of presence.
    ChangeArrays {
        device_uuid: Uuid,
        base_revision: i64,
        events: i64,
        becomes_due: bool,
        made_at: Option<Time>,
        has_presence: bool,
        last_seen_at: Option<Time>,
        silent: Option<bool>,
        drift_since: Option<Time>,
        drift_fingerprint: Option<String>,
        troubles: Option<String>,
    }
}

impl ChangeArrays {
    fn push(&mut self, change: &Change) -> Result<(), Fault> {
        self.device_uuid.push(change.device.uuid());
        self.base_revision.push(bigint(change.base_revision)?);
        self.events.push(bigint(change.events.len() as u64)?);
        self.becomes_due.push(change.makes_due());
        self.made_at.push(time_opt(made_at(change)));
        let presence = change.presence.as_ref();
        self.has_presence.push(presence.is_some());
        self.last_seen_at.push(time_opt(
            presence.and_then(|presence| presence.last_seen_at),
        ));
        self.silent.push(presence.map(|presence| presence.silent));
        let note = presence.and_then(
            |Presence {
                 last_seen_at: _,
                 silent: _,
                 drift,
                 troubles: _,
             }| drift.as_ref(),
        );
        self.drift_since.push(note.map(
            |DriftNote {
                 since,
                 fingerprint: _,
             }| time(*since),
        ));
        self.drift_fingerprint
            .push(note.map(|note| note.fingerprint.to_string()));
        let troubles = presence.map(|presence| &presence.troubles);
        self.troubles.push(
            troubles
                .filter(|some| !some.is_empty())
                .map(json)
                .transpose()?,
        );
        Ok(())
    }
}

/// When the change was made, by the clock of who made it: from then on the device is due, whatever the server's clock
/// says.
fn made_at(change: &Change) -> Option<Timestamp> {
    let of_event = change.events.last().map(|event| event.at);
    let of_row = change.upserts.last().map(|row| row.audit.updated_at);
    let of_report = change
        .reported
        .as_ref()
        .map(|reported| reported.reported_at);
    of_event.or(of_row).or(of_report)
}

arrays! {
    /// What agents say.
    ReportArrays {
        device_uuid: Uuid,
        config: String,
        failures: String,
        health: String,
        outputs: String,
        held_version: i64,
        version: i64,
        incarnation: Uuid,
        boot: i64,
        sequence: i64,
        running_fingerprint: String,
        looked_revision: i64,
        agent_version: Option<String>,
        reported_at: Time,
        has_failures: bool,
        has_failed_upserts: bool,
    }
}

/// In place of a configuration that stands in the store already.
const NOT_WRITTEN: &str = "null";

impl ReportArrays {
    fn push(
        &mut self,
        device: DeviceId,
        reported: &Reported,
        runs_the_same: bool,
        has_failed_upserts: bool,
    ) -> Result<(), Fault> {
        let Reported {
            order,
            held_version,
            worked_version,
            running,
            failures,
            health,
            running_fingerprint,
            looked_revision,
            values,
            agent_version,
            reported_at,
        } = reported;
        self.device_uuid.push(device.uuid());
        self.config.push(match runs_the_same {
            // `commit.sql` keeps what has the same fingerprint.
            true => NOT_WRITTEN.to_owned(),
            false => config_json(running)?,
        });
        self.failures.push(json(failures)?);
        self.health.push(json(health)?);
        self.outputs.push(json(values)?);
        self.held_version.push(bigint(*held_version)?);
        self.version.push(bigint(*worked_version)?);
        self.incarnation.push(order.incarnation.0);
        self.boot.push(bigint(order.boot)?);
        self.sequence.push(bigint(order.sequence)?);
        self.running_fingerprint
            .push(running_fingerprint.to_string());
        self.looked_revision.push(bigint(*looked_revision)?);
        self.agent_version.push(put_opt(agent_version.as_deref()));
        self.reported_at.push(time(*reported_at));
        self.has_failures.push(!failures.is_empty());
        self.has_failed_upserts.push(has_failed_upserts);
        Ok(())
    }
}

arrays! {
    /// Rows of the read model that go.
    GoneArrays {
        device_uuid: Uuid,
        sensor_uuid: Uuid,
    }
}

arrays! {
    /// What happened.
    EventArrays {
        device_uuid: Uuid,
        sequence: i64,
        kind: &'static str,
        at: Time,
        actor: String,
        correlation: Option<String>,
        causation: Option<i64>,
        payload: String,
    }
}

impl EventArrays {
    pub(crate) fn push(&mut self, event: &Event) -> Result<(), Fault> {
        let Event {
            device,
            sequence,
            kind,
            at,
            actor,
            correlation,
            causation,
            payload,
        } = event;
        self.device_uuid.push(device.uuid());
        self.sequence.push(bigint(*sequence)?);
        self.kind.push(kind.as_str());
        self.at.push(time(*at));
        self.actor.push(put(actor.as_str()).into_owned());
        self.correlation.push(put_opt(correlation.as_deref()));
        self.causation.push(causation.map(bigint).transpose()?);
        self.payload.push(payload.to_string());
        Ok(())
    }
}
