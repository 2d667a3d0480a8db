//! What is done for a command, and what comes of it.

use holdfast_domain::{
    CommandId, PointId, PointValue, SensorId,
    document::command::CommandReport,
    hold::{Account, WriteOutcome},
};

use crate::machine::PointsRead;

/// What is to be done for a command. Each is answered by the [`CommandEvent`] that it names; none is ever cancelled.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandEffect {
    /// Note, durably, that it is begun; with it, where that is needed, book writes of its point. → [`CommandEvent::Begun`]
    Begin {
        /// Which.
        id: CommandId,
        /// The point, and what counts as written to it.
        booking: Option<(PointId, Account)>,
    },
    /// Read points of a running sensor now. → [`CommandEvent::Read`]
    Read {
        /// Which.
        id: CommandId,
        /// The sensor.
        sensor: SensorId,
        /// Which start of it.
        generation: u64,
        /// The points.
        points: Vec<PointId>,
        /// When this was asked for, in ms.
        asked_at: u64,
    },
    /// Write its value to its point, once, if that can be begun in time. → [`CommandEvent::Wrote`]
    Write {
        /// Which.
        id: CommandId,
        /// The sensor.
        sensor: SensorId,
        /// Which start of it.
        generation: u64,
        /// The point.
        point: PointId,
        /// The value.
        value: PointValue,
        /// How long it may wait for its turn, in ms.
        begin_within_ms: u64,
    },
    /// Note, durably, what became of it. → [`CommandEvent::Ended`]
    End(CommandReport),
}

/// What came of a [`CommandEffect`].
#[derive(Debug, Clone, PartialEq)]
pub enum CommandEvent {
    /// That it is begun is durable, or why not.
    Begun {
        /// Which.
        id: CommandId,
        /// Whether it is durable.
        result: Result<(), String>,
    },
    /// Points were read for it.
    Read {
        /// Which.
        id: CommandId,
        /// What they showed.
        read: PointsRead,
    },
    /// It was written, or not.
    Wrote {
        /// Which.
        id: CommandId,
        /// What became of the write.
        outcome: WriteOutcome,
    },
    /// What became of it is durable, or why not.
    Ended {
        /// Which.
        id: CommandId,
        /// Whether it is durable.
        result: Result<(), String>,
    },
}
