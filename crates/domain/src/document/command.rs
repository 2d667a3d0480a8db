//! Commands: what happens once. A pulse or command is no state: it is carried out at most once, never late, and never
//! again.
//!
//! The agent gets a command with its id and with how long it is still valid, and says once what became of it. It is told
//! of a command until it has said so, also when its time is over: so every command gets a definite word in the end, and
//! the hub infers nothing. Which command may be begun is decided in [`crate::docket`].

use alloc::{string::String, vec::Vec};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    canonical::Fingerprint,
    document::{
        point::{uuid, value},
        report::{fingerprint, timestamp, told},
    },
    event::whole_micros,
    fields::{Fields, Path, Problems, list, words},
    ids::{CommandId, PointId},
    limits,
    row::Actor,
    value::PointValue,
};

/// A value that is written once.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Command {
    /// Which.
    pub id: CommandId,
    /// The point: a pulse or a command.
    pub point_id: PointId,
    /// The write identity that its point had when it was given.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub bound_to: Fingerprint,
    /// What is written, in the point's unit.
    pub value: PointValue,
    /// For how long it may still be begun from when the hub said so, in ms; 0: not any more.
    pub valid_for_ms: u64,
    /// Who gave it.
    pub set_by: Actor,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Was it cancelled? Then it is not begun any more; an agent that had begun it says what became of it.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub cancelled: bool,
    /// Fields that this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Map<String, Value>,
}

/// The commands of a device that its agent has not given its word on, as the agent gets them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Commands {
    /// Grows with every command and every cancelling, and with nothing else.
    pub revision: u64,
    /// In the order in which they were given.
    pub items: Vec<Command>,
}

/// What became of a command. Each is the last word on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(rename_all = "camelCase")
)]
pub enum CommandOutcome {
    /// It was written and read back.
    Verified,
    /// The instrument accepted it; it could not be read back, or shows something else since.
    AcknowledgedUnverified,
    /// The instrument or a rule said no: nothing was done.
    Refused,
    /// It could not be sent: nothing was written.
    Failed,
    /// It was not begun in time: nothing was written.
    Expired,
    /// It was cancelled before it was begun: nothing was written.
    Cancelled,
    /// It was begun, and nobody knows whether the instrument got it. It is not repeated.
    OutcomeUnknown,
}
words!(CommandOutcome {
    Verified => "verified",
    AcknowledgedUnverified => "acknowledgedUnverified",
    Refused => "refused",
    Failed => "failed",
    Expired => "expired",
    Cancelled => "cancelled",
    OutcomeUnknown => "outcomeUnknown",
});

impl CommandOutcome {
    /// Is it certain that nothing was written?
    #[must_use]
    pub const fn is_unwritten(self) -> bool {
        match self {
            Self::Refused | Self::Failed | Self::Expired | Self::Cancelled => true,
            Self::Verified | Self::AcknowledgedUnverified | Self::OutcomeUnknown => false,
        }
    }
}

/// The agent's word on a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommandReport {
    /// The command.
    pub id: CommandId,
    /// What became of it.
    pub outcome: CommandOutcome,
    /// Why, where it was not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the instrument showed afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<PointValue>,
    /// When that was known.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub at: Timestamp,
    /// From the write to then, in ms; `None`: nothing was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
}

impl Command {
    /// Reads a command.
    pub fn read(document: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(document, path, problems)?;
        let id = fields.required("id", uuid, "the command's UUID");
        let point = fields.required("pointId", uuid, "the point's UUID");
        let bound_to = fields.required("boundTo", fingerprint, "the point's write identity");
        let value = fields.required("value", value, "a number, true, false or a text");
        let longest = *limits::COMMAND_VALID_MS.end();
        let valid_for_ms = fields.int::<u64>("validForMs", &(0..=longest), None);
        let set_by = fields.text("setBy", "who gave it");
        let reason = fields.text_opt("reason", "why it was given");
        let cancelled = fields.flag("cancelled", false);
        let extra = fields.rest();
        Some(Self {
            id: CommandId(id?),
            point_id: PointId(point?),
            bound_to: bound_to?,
            value: value?,
            valid_for_ms: valid_for_ms?,
            set_by: Actor::named(&set_by?),
            reason: reason?,
            cancelled: cancelled?,
            extra,
        })
    }
}

impl Commands {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "revision": self.revision, "items": self.items })
    }

    /// Reads what [`Commands::to_json`] writes.
    pub fn read(document: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(document, path, problems)?;
        let revision = fields.int("revision", &(0..=i64::MAX), Some(0));
        let items = fields.optional("items", |value, path, problems| {
            let most = limits::COMMANDS_WAITING;
            list(value, most, path, problems, Command::read)
        });
        fields.rest();
        Some(Self {
            revision: revision?,
            items: items?.unwrap_or_default(),
        })
    }
}

impl CommandReport {
    /// Reads what an agent says of a command.
    pub fn read(document: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(document, path, problems)?;
        let id = fields.required("id", uuid, "the command's UUID");
        let outcome = fields.choice("outcome", None);
        let reason = fields.optional("reason", told);
        let value = fields.optional("value", value);
        let at = fields.required("at", timestamp, "a time such as 2026-11-22T12:00:00Z");
        let took_ms = fields.optional("tookMs", |value, path, problems| {
            let ms = value.as_u64();
            if ms.is_none() {
                problems.add(
                    path,
                    "a whole number of ms",
                    crate::fields::describe(&value),
                );
            }
            ms
        });
        fields.rest();
        Some(Self {
            id: CommandId(id?),
            outcome: outcome?,
            reason: reason?,
            value: value?,
            at: whole_micros(at?),
            took_ms: took_ms?,
        })
    }
}
