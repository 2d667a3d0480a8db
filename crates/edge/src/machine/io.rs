//! What goes into the machine and what comes out of it: events, effects, the time, the settings.

use std::{collections::BTreeMap, sync::Arc};

use holdfast_domain::{
    HealthStatus, Incarnation, Item, PointId, PointValue, Report, SensorId, TargetState,
    backoff::Backoff,
    hold::{Account, LoopMemory, WriteOutcome},
    pace::Pressure,
};
use holdfast_ports::{
    bus::Fresh,
    hub_link::{HeldTarget, HubError, Polled, ReportAnswer},
    ledger::TurnedAway,
};
use jiff::Timestamp;

use super::commands::{CommandEffect, CommandEvent};
use crate::local::LocalOrder;

/// The time of an event, on two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never jumps; every deadline runs on it.
    pub ms: u64,
    /// Wall-clock time; only ever told to people.
    pub wall: Timestamp,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time has passed: [`Machine::next_wake`](super::Machine::next_wake) is reached.
    Tick,
    /// The answer to [`Effect::Poll`].
    Polled(Result<Polled, HubError>),
    /// The target of [`Effect::Hold`] is durable, or why not.
    Held(Result<(), String>),
    /// What came of [`Effect::Start`].
    Started {
        /// The sensor.
        sensor: SensorId,
        /// Which start.
        generation: u64,
        /// Whether it runs; nothing of it runs after an error.
        result: Result<Established, String>,
    },
    /// What came of [`Effect::Update`].
    Updated {
        /// The sensor.
        sensor: SensorId,
        /// Which start it goes back to.
        generation: u64,
        /// Whether the other content runs.
        result: Result<Established, UpdateFailure>,
    },
    /// [`Effect::Stop`] is done: nothing of the sensor runs.
    Stopped {
        /// The sensor.
        sensor: SensorId,
        /// Which start it goes back to.
        generation: u64,
    },
    /// An adapter says that the other side ended the connection to a sensor, which may be there again.
    BrokenOff {
        /// The sensor.
        sensor: SensorId,
        /// Which start it goes back to; what belongs to an earlier one is dropped.
        generation: u64,
    },
    /// An adapter says how an instrument is.
    Health {
        /// The sensor.
        sensor: SensorId,
        /// Which start it goes back to; what belongs to an earlier one is dropped.
        generation: u64,
        /// Whether it answers.
        status: HealthStatus,
        /// Why not, where it does not.
        reason: Option<String>,
    },
    /// The answer to [`Effect::Verify`]: the starts that adapters still keep.
    Verified(BTreeMap<SensorId, u64>),
    /// The version of [`Effect::NoteWorked`] is noted, or why not.
    WorkNoted {
        /// The version.
        version: u64,
        /// Whether it is durable.
        result: Result<(), String>,
    },
    /// The answer to [`Effect::Report`].
    Reported(Result<ReportAnswer, HubError>),
    /// The answer to [`Effect::Reincarnate`]: the new life and its first boot, both durable.
    Reincarnated(Result<(Incarnation, u64), HubError>),
    /// [`Effect::NoteTurnedAway`] is durable, or why not.
    TurnedAwayNoted(Result<(), String>),
    /// The answer to [`Effect::ReadPoints`].
    Read(PointsRead),
    /// What came of [`Effect::WritePoint`].
    Wrote {
        /// The point.
        point: PointId,
        /// What became of it.
        outcome: WriteOutcome,
    },
    /// Somebody on site wants something of the value loop. → [`Effect::Answer`]
    Ordered {
        /// Which order.
        number: u64,
        /// What.
        order: LocalOrder,
    },
    /// What was to be remembered ([`Effect::Remember`]) is durable, or why not.
    Remembered(Result<(), String>),
    /// How busy the machine is; `None`: that is not known.
    Pressure(Option<Pressure>),
    /// The block of [`Effect::BookWrites`] is durable, or why not.
    Booked {
        /// The point.
        point: PointId,
        /// What counts as written.
        booked: Account,
        /// Whether it is durable.
        result: Result<(), String>,
    },
    /// What came of an [`Effect::Command`].
    Command(CommandEvent),
}

/// What points of a sensor showed that were read on demand.
#[derive(Debug, Clone, PartialEq)]
pub struct PointsRead {
    /// The sensor.
    pub sensor: SensorId,
    /// The points.
    pub points: Vec<PointId>,
    /// When they were asked for, in ms.
    pub asked_at: u64,
    /// What each showed.
    pub shown: Vec<Fresh>,
}

/// How a content that runs now was noted in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Established {
    /// It stands there that this content was established.
    Noted,
    /// It could not be written; after a restart the instrument has to answer again.
    NotNoted,
}

/// Why other content was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateFailure {
    /// For the person who can act.
    pub error: String,
    /// Is the sensor gone with it (the adapter panicked)? Else it runs on with the old content.
    pub lost: bool,
}

/// What is to be done. Each is answered by the event that it names; none is ever cancelled.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask the hub for a target other than the one that is held. → [`Event::Polled`]
    Poll {
        /// Which that is; `None`: none is held.
        held: Option<HeldTarget>,
        /// How long the hub may wait for a change, in ms.
        wait_ms: u64,
    },
    /// Make this target the one held, durably. → [`Event::Held`]
    Hold(Arc<TargetState>),
    /// Start a sensor; note in the ledger that it was established, unless it was before. → [`Event::Started`]
    Start {
        /// The content.
        item: Item,
        /// Which start this is.
        generation: u64,
        /// Was this content established before? Then it is started though the instrument may be silent.
        was_established: bool,
    },
    /// Give a running sensor other content; note in the ledger that it is established. → [`Event::Updated`]
    Update {
        /// The content.
        item: Item,
        /// Which start it goes back to.
        generation: u64,
    },
    /// Stop a sensor. → [`Event::Stopped`]
    Stop {
        /// The sensor.
        sensor: SensorId,
        /// Which start it goes back to.
        generation: u64,
    },
    /// Say which sensors adapters still keep. → [`Event::Verified`]
    Verify,
    /// Note, durably, that a version was worked through. → [`Event::WorkNoted`]
    NoteWorked(u64),
    /// Forget what was established of other sensors than these. No answer.
    KeepEstablished(Vec<SensorId>),
    /// This sensor is gone for good: what was kept of its readings can go. No answer.
    Forget(SensorId),
    /// Send a report. → [`Event::Reported`]
    Report(Box<Report>),
    /// Ask the hub for a new incarnation, keep it and begin its first boot. → [`Event::Reincarnated`]
    Reincarnate,
    /// Note, durably, that the hub turned this agent away, or (`None`) that it knows it again. →
    /// [`Event::TurnedAwayNoted`]
    NoteTurnedAway(Option<TurnedAway>),
    /// Read points of a running sensor now. → [`Event::Read`]
    ReadPoints {
        /// The sensor.
        sensor: SensorId,
        /// Which start of it.
        generation: u64,
        /// The points.
        points: Vec<PointId>,
        /// When this was asked for, in ms.
        asked_at: u64,
    },
    /// Write a value to a point of a running sensor now, once. → [`Event::Wrote`]
    WritePoint {
        /// The sensor.
        sensor: SensorId,
        /// Which start of it.
        generation: u64,
        /// The point.
        point: PointId,
        /// The value.
        value: PointValue,
    },
    /// An order on site is carried out, or could not be written down. No answer.
    Answer {
        /// Which order.
        number: u64,
        /// What came of it.
        result: Result<(), String>,
    },
    /// Keep what the value loop must know after a restart. → [`Event::Remembered`]
    Remember(Box<LoopMemory>),
    /// Book writes of a point, durably, before they are made, or note that its account begins anew. → [`Event::Booked`]
    BookWrites {
        /// The point.
        point: PointId,
        /// What counts as written.
        booked: Account,
    },
    /// Do something for a command. → [`Event::Command`]
    Command(CommandEffect),
}

impl Event {
    /// Is it about values of outputs alone, as [`Effect::is_of_values`]?
    pub(crate) const fn is_of_values(&self) -> bool {
        matches!(
            self,
            Self::Read(_) | Self::Wrote { .. } | Self::Booked { .. } | Self::Remembered(_)
        )
    }
}

impl Effect {
    /// Is it about values of outputs alone? Then it changes nothing of what the machine knows of its sensors and its hub.
    pub(crate) const fn is_of_values(&self) -> bool {
        match self {
            Self::ReadPoints { .. }
            | Self::WritePoint { .. }
            | Self::BookWrites { .. }
            | Self::Remember(_) => true,
            Self::Poll { .. }
            | Self::Hold(_)
            | Self::Start { .. }
            | Self::Update { .. }
            | Self::Stop { .. }
            | Self::Verify
            | Self::NoteWorked(_)
            | Self::KeepEstablished(_)
            | Self::Forget(_)
            | Self::Report(_)
            | Self::Reincarnate
            | Self::NoteTurnedAway(_)
            | Self::Command(_)
            | Self::Answer { .. } => false,
        }
    }
}

/// How long the machine waits for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSettings {
    /// How long the hub may hold a poll, in ms: 30 s, shorter than what proxies allow a silent request.
    pub poll_wait_ms: u64,
    /// Shortest time between polls that bring nothing, in ms: a hub that does not wait is not hammered.
    pub poll_pause_ms: u64,
    /// How long to wait between polls of a hub that says the device was deleted or revoked, in ms.
    pub poll_refused_ms: u64,
    /// A poll that something on the way ended after the hub had held it for at least this long, in ms, is no failure:
    /// nothing new came, and it is asked again after the shortest backoff. So a proxy that allows a silent request
    /// less time than `poll_wait_ms` delays nothing, and one that ends requests at once is not hammered.
    pub poll_cut_ms: u64,
    /// What follows a report within this time is merged into one more, in ms.
    pub report_merge_ms: u64,
    /// A change of attempts or of a reason alone waits this long after the last report, in ms: it is repeated with each
    /// try of each failing sensor, and nobody acts on it.
    pub report_lazy_ms: u64,
    /// Time between reports that say nothing new, in ms; each is up to a tenth shorter at random, so that a fleet that
    /// was started together does not stay together.
    pub heartbeat_ms: u64,
    /// A heartbeat this long after the last full report is full too, in ms (up to a tenth earlier): so that a hub that
    /// was restored from a backup, and lost what no fingerprint covers, learns it again.
    pub full_report_ms: u64,
    /// How long a boot's first report waits at most for the sensors of the ledger, in ms. It goes at once when all of
    /// them were tried; so a restart in which nothing fails reports no sensor as gone.
    pub boot_report_ms: u64,
    /// After so many failed attempts of a boot's first report, a newer target is worked on all the same.
    pub boot_report_attempts: u32,
    /// Shortest time between two requests for a new incarnation, in ms: two agents with the same identity push each
    /// other out no faster than this.
    pub incarnation_pause_ms: u64,
    /// How failed sensors are tried again.
    pub item_backoff: Backoff,
    /// How a hub out of reach is tried again.
    pub hub_backoff: Backoff,
    /// The version that the agent reports of itself.
    pub agent_version: String,
}

impl Default for MachineSettings {
    fn default() -> Self {
        Self {
            poll_wait_ms: 30_000,
            poll_pause_ms: 1_000,
            poll_refused_ms: 60_000,
            poll_cut_ms: 3_000,
            report_merge_ms: 100,
            report_lazy_ms: 10_000,
            heartbeat_ms: 30_000,
            full_report_ms: 3_600_000,
            boot_report_ms: 500,
            boot_report_attempts: 3,
            incarnation_pause_ms: 60_000,
            item_backoff: Backoff::ITEM,
            hub_backoff: Backoff::HUB,
            agent_version: env!("CARGO_PKG_VERSION").to_string(),
        }
    }
}
