//! All that the hub knows of one device, and what one transaction changes of it.

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    canonical::Fingerprint,
    document::{
        report::{Failure, Health, ReportOrder},
        sensor::{Item, Sensor},
        target::TargetState,
    },
    event::{Context, Event, EventKind},
    ids::{CommandId, DeviceId, Incarnation, Name, SensorId},
    row::{Audit, SensorRow},
    values::{CommandRecord, ReportedValues, Values},
};

/// All that the hub knows of one device: what its edits and reports are decided on.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceState {
    /// Grows with every committed change: a change is committed only onto the revision that it was decided on.
    pub revision: u64,
    /// Sequence of the device's last event.
    pub last_event: u64,
    /// The device itself.
    pub record: DeviceRecord,
    /// What it should run.
    pub target: Target,
    /// What its agent says; `None` before the first report.
    pub reported: Option<Reported>,
    /// When it was heard of, and what was said about that.
    pub presence: Presence,
    /// Order of the last report that said nothing new, as far as it was written down: a report that changes something is
    /// taken only if it is later than this one. Like the time of [`Presence::last_seen_at`] it is written in batches.
    pub seen: Option<ReportOrder>,
    /// The read model.
    pub rows: BTreeMap<SensorId, SensorRow>,
}

/// A device as operators name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceRecord {
    /// The device.
    pub id: DeviceId,
    /// Unique in the fleet.
    pub name: Name,
    /// Labels for people and filters.
    pub labels: BTreeMap<String, String>,
    /// The current life of its agent's disk; `None` until an agent has registered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub incarnation: Option<Incarnation>,
    /// Who made and last changed it.
    #[serde(flatten)]
    pub audit: Audit,
}

/// What a device should run, as the hub keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Grows with every change of the configuration; 0: nothing was ever asked for.
    pub version: u64,
    /// The sensors.
    pub items: Vec<Item>,
    /// Grows with every request to look again.
    pub look_revision: u64,
    /// What is wanted of its outputs.
    pub values: Values,
    /// Sequence of the event by which this version came; 0 if none.
    pub event: u64,
    /// Who made the first and the last version.
    pub audit: Audit,
    /// When all of a version was last found to run, and which.
    pub last_deployed: Option<(Timestamp, u64)>,
}

impl Target {
    /// The item of `sensor`.
    #[must_use]
    pub fn item(&self, sensor: SensorId) -> Option<&Item> {
        self.items.iter().find(|item| item.sensor.id() == sensor)
    }

    /// The entity tag of the document that the agent gets.
    #[must_use]
    pub fn etag(&self) -> String {
        let Values {
            revision,
            hold,
            commands,
            ..
        } = &self.values;
        crate::document::target::etag(
            self.version,
            *revision,
            hold.revision,
            commands.revision,
            self.look_revision,
        )
    }
}

/// What an agent says is true, merged from its reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// When in the agent's life the last report was made.
    pub order: ReportOrder,
    /// The target version that the agent holds durably.
    pub held_version: u64,
    /// The target version that it has worked through.
    pub worked_version: u64,
    /// What really runs.
    pub running: Vec<Item>,
    /// What could not be started.
    pub failures: Vec<Failure>,
    /// Health of what runs or is wanted.
    pub health: BTreeMap<SensorId, Health>,
    /// Identity of what runs.
    pub running_fingerprint: Fingerprint,
    /// The last request to look again that was carried out.
    pub looked_revision: u64,
    /// What it says of its outputs.
    pub values: ReportedValues,
    /// The agent's version.
    pub agent_version: Option<String>,
    /// When the last report came that changed something.
    pub reported_at: Timestamp,
}

/// When a device was heard of, and what was said about that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Presence {
    /// When it was last heard of; written in batches, so at most some seconds old.
    pub last_seen_at: Option<Timestamp>,
    /// Has it been silent for too long? Its rows are stale then.
    pub silent: bool,
    /// The drift that `device.config_drift` was last written for, if it still lasts.
    pub drift: Option<DriftNote>,
    /// Trouble that there is.
    pub troubles: Vec<crate::trouble::Noted>,
}

/// The drift that an event was written for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftNote {
    /// Since when the device has drifted.
    pub since: Timestamp,
    /// What drifted, to know a new drift from the same.
    pub fingerprint: Fingerprint,
}

/// What one transaction changes of a device: all of it is committed, with its events, or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The device.
    pub device: DeviceId,
    /// The revision that this was decided on; the commit fails if the device has another by now.
    pub base_revision: u64,
    /// The device itself, if it changes.
    pub record: Option<DeviceRecord>,
    /// What it should run, if that changes.
    pub target: Option<TargetChange>,
    /// What its agent says, if that changes.
    pub reported: Option<Reported>,
    /// Is what runs, of that, what ran before? It stands in the store already, and need not be written again.
    pub runs_the_same: bool,
    /// When it was heard of.
    pub presence: Option<Presence>,
    /// Did something change that time may make a trouble of, besides the rows?
    pub is_worth_a_look: bool,
    /// Rows of the read model that are new or changed.
    pub upserts: Vec<SensorRow>,
    /// Rows that go.
    pub deletes: Vec<SensorId>,
    /// What happened, in order; sequences follow the device's last event.
    pub events: Vec<Event>,
}

/// A new target.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetChange {
    /// The target.
    pub target: Target,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// What of it changes.
    pub kind: TargetChangeKind,
}

/// What of a target changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetChangeKind {
    /// The configuration: a new version, which goes into the history.
    NewVersion,
    /// What is wanted of outputs.
    Values,
    /// Only the request to look again.
    Look,
    /// Only the note that all of it runs.
    Deployed,
}

/// What came of a sensor in one change; for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Rows made.
    pub inserted: usize,
    /// Rows changed.
    pub updated: usize,
    /// Rows that went.
    pub removed: usize,
    /// Rows that became failed.
    pub failed: usize,
}

impl Change {
    /// A change of `state` that does nothing yet.
    #[must_use]
    pub fn of(state: &DeviceState) -> Self {
        Self {
            device: state.record.id,
            base_revision: state.revision,
            record: None,
            target: None,
            reported: None,
            runs_the_same: false,
            presence: None,
            is_worth_a_look: false,
            upserts: Vec::new(),
            deletes: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Shall the reconciler look at the device at once?
    #[must_use]
    pub fn makes_due(&self) -> bool {
        self.target.is_some()
            || !self.upserts.is_empty()
            || !self.deletes.is_empty()
            || self.is_worth_a_look
    }

    /// Adds an event and gives its sequence.
    pub fn event(
        &mut self,
        state: &DeviceState,
        context: &Context,
        kind: EventKind,
        causation: Option<u64>,
        payload: Value,
    ) -> u64 {
        let sequence = state.last_event + self.events.len() as u64 + 1;
        self.events.push(Event {
            device: self.device,
            sequence,
            kind,
            at: context.now,
            actor: context.actor.clone(),
            correlation: context.correlation.clone(),
            causation: causation.filter(|sequence| *sequence > 0),
            payload,
        });
        sequence
    }

    /// Is this a change that every process of the hub must hear of at once? One of what the agent should do: agents wait
    /// for that. And one that says that an agent is silent: a process that goes by what it knew of the device would not
    /// see that the agent is back.
    #[must_use]
    pub fn changes_desired(&self) -> bool {
        let is_desired = |change: &TargetChange| !matches!(change.kind, TargetChangeKind::Deployed);
        self.target.as_ref().is_some_and(is_desired)
            || self
                .events
                .iter()
                .any(|event| event.kind == EventKind::DeviceOffline)
    }

    /// What it comes to, row by row.
    #[must_use]
    pub fn tally(&self, before: &DeviceState) -> Tally {
        let failed = |row: &&SensorRow| {
            row.status == crate::row::DeploymentStatus::Failed
                && before
                    .rows
                    .get(&row.id)
                    .is_none_or(|old| old.status != row.status)
        };
        let inserted = self
            .upserts
            .iter()
            .filter(|row| !before.rows.contains_key(&row.id))
            .count();
        Tally {
            inserted,
            updated: self.upserts.len() - inserted,
            removed: self.deletes.len(),
            failed: self.upserts.iter().filter(failed).count(),
        }
    }
}

impl DeviceState {
    /// A device that nothing is known of yet.
    #[must_use]
    pub fn new(record: DeviceRecord) -> Self {
        let audit = record.audit.clone();
        Self {
            revision: 0,
            last_event: 0,
            record,
            target: Target {
                version: 0,
                items: Vec::new(),
                look_revision: 0,
                values: Values::default(),
                event: 0,
                audit,
                last_deployed: None,
            },
            reported: None,
            presence: Presence::default(),
            seen: None,
            rows: BTreeMap::new(),
        }
    }

    /// The state after `change` was committed.
    ///
    /// # Panics
    /// If the change was decided on another revision.
    #[must_use]
    pub fn after(&self, change: Change) -> Self {
        assert_eq!(
            self.revision, change.base_revision,
            "a change applies to the revision it was decided on"
        );
        let Change {
            device: _,
            base_revision,
            record,
            target,
            reported,
            runs_the_same: _,
            presence,
            is_worth_a_look: _,
            upserts,
            deletes,
            events,
        } = change;
        let mut rows = self.rows.clone();
        for id in deletes {
            rows.remove(&id);
        }
        rows.extend(upserts.into_iter().map(|row| (row.id, row)));
        Self {
            revision: base_revision + 1,
            last_event: self.last_event + events.len() as u64,
            record: record.unwrap_or_else(|| self.record.clone()),
            target: target.map_or_else(|| self.target.clone(), |change| change.target),
            reported: reported.or_else(|| self.reported.clone()),
            presence: presence.unwrap_or_else(|| self.presence.clone()),
            seen: self.seen,
            rows,
        }
    }

    /// What runs of `sensor`, as far as its agent said.
    #[must_use]
    pub fn running(&self, sensor: SensorId) -> Option<&Item> {
        self.reported
            .as_ref()?
            .running
            .iter()
            .find(|item| item.sensor.id() == sensor)
    }

    /// The sensor with this name in the target.
    #[must_use]
    pub fn wanted_by_name(&self, name: &str) -> Option<&Arc<Sensor>> {
        self.target
            .items
            .iter()
            .map(|item| &item.sensor)
            .find(|sensor| sensor.name().as_str() == name)
    }

    /// Is something of the target not yet established?
    #[must_use]
    pub fn needs_deployment(&self) -> bool {
        let Some(reported) = &self.reported else {
            return self.target.version > 0;
        };
        reported.worked_version != self.target.version
            || self
                .rows
                .values()
                .any(|row| row.status == crate::row::DeploymentStatus::Failed)
    }

    /// Has the agent said what became of this command?
    #[must_use]
    pub fn has_word_on(&self, command: CommandId) -> bool {
        let reported = self.reported.as_ref();
        reported.is_some_and(|reported| reported.values.commands.contains_key(&command))
    }

    /// Why the agent could not keep what it was told last, if it says so.
    #[must_use]
    pub fn not_kept(&self) -> Option<&str> {
        let hold = self.reported.as_ref()?.values.hold.as_ref()?;
        hold.not_kept.as_deref()
    }

    /// Commands that wait for the agent's word.
    pub fn commands_waiting(&self) -> impl Iterator<Item = &CommandRecord> {
        let records = self.target.values.commands.records.iter();
        records.filter(|record| !self.has_word_on(record.command.id))
    }

    /// Does anything of what the agent is told end by itself? Then it depends on when it is told.
    #[must_use]
    pub fn has_ends(&self) -> bool {
        self.target.values.has_ends() || self.commands_waiting().next().is_some()
    }

    /// The document that the agent gets at `now`.
    #[must_use]
    pub fn target_state(&self, now: Timestamp) -> TargetState {
        TargetState {
            version: self.target.version,
            needs_deployment: self.needs_deployment(),
            items: self.target.items.clone(),
            look_revision: self.target.look_revision,
            setpoints: self.target.values.setpoints(now),
            hold: self.target.values.hold.settings(now),
            commands: self
                .target
                .values
                .commands
                .told(now, |id| !self.has_word_on(id)),
            extra: serde_json::Map::new(),
        }
    }
}
