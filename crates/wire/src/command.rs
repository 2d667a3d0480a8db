//! Commands: values that are written once, and what became of them.

use holdfast_domain::{
    CommandId, DeviceId, Fields, Name, PointId, PointValue, SensorId,
    document::{
        command::CommandOutcome,
        point::{PointKind, value},
        setpoint::{Conformity, Hold, duration_ms},
    },
    row::Actor,
    shown,
    state::DeviceState,
    values::{Cancelling, CommandRecord},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    request::{REASON, Request},
    setpoint::SetpointView,
};

/// A value that was sent to a point, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommandView {
    /// The command; null: the point is a level, and its setpoint was set instead.
    pub id: Option<CommandId>,
    /// The device.
    pub device: DeviceId,
    /// The point.
    pub point_id: PointId,
    /// Its sensor.
    pub sensor_id: Option<SensorId>,
    /// The sensor's name.
    pub sensor: Option<Name>,
    /// The point's name.
    pub point: Option<Name>,
    /// Unit of the value.
    pub unit: Option<String>,
    /// What the point is; null: the target has it no more.
    pub kind: Option<PointKind>,
    /// The value that was sent.
    pub value: PointValue,
    /// Who sent it.
    pub set_by: Actor,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub set_at: Timestamp,
    /// Until when it may be begun; of a level, until when it is held.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub until: Option<Timestamp>,
    /// Why it was sent.
    pub reason: Option<String>,
    /// Its agent's word on it; null: none yet. Of a pulse or command it is the last one.
    pub outcome: Option<CommandOutcome>,
    /// Why that came of it, or what it waits for.
    pub why: Option<String>,
    /// What the instrument showed afterwards.
    pub shown_value: Option<PointValue>,
    /// When the outcome was known, by the agent's clock.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub at: Option<Timestamp>,
    /// From the write to then, in ms.
    pub took_ms: Option<u64>,
    /// That somebody asked for it not to be begun.
    #[serde(default)]
    pub cancelling: Option<Cancelling>,
    /// The setpoint that was set, of a level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setpoint: Option<SetpointView>,
    /// Has the agent gone silent?
    pub stale: bool,
}

impl CommandView {
    /// A command of a device.
    #[must_use]
    pub fn new(state: &DeviceState, record: &CommandRecord) -> Self {
        let command = &record.command;
        let point = command.point_id;
        let place = shown::place(state, point);
        let reported = state.reported.as_ref();
        let word = reported.and_then(|reported| reported.values.commands.get(&command.id));
        let waits = match word {
            Some(word) => word.reason.clone(),
            None => Some(waiting(state, record)),
        };
        Self {
            id: Some(command.id),
            device: state.record.id,
            point_id: point,
            sensor_id: place.as_ref().map(|place| place.sensor),
            sensor: place.as_ref().map(|place| place.sensor_name.clone()),
            point: place.as_ref().map(|place| place.point_name.clone()),
            unit: place.and_then(|place| place.unit),
            kind: holdfast_domain::wish::kind_of(state, point),
            value: command.value.clone(),
            set_by: command.set_by.clone(),
            set_at: record.set_at,
            until: Some(record.until),
            reason: command.reason.clone(),
            outcome: word.map(|word| word.outcome),
            why: waits,
            shown_value: word.and_then(|word| word.value.clone()),
            at: word.map(|word| word.at),
            took_ms: word.and_then(|word| word.took_ms),
            cancelling: record.cancelling.clone(),
            setpoint: None,
            stale: state.presence.silent,
        }
    }

    /// What was sent to a level, which is held from now on.
    #[must_use]
    pub fn of_setpoint(setpoint: SetpointView) -> Self {
        let outcome = outcome_of(&setpoint);
        Self {
            id: None,
            device: setpoint.device,
            point_id: setpoint.point_id,
            sensor_id: setpoint.sensor_id,
            sensor: setpoint.sensor.clone(),
            point: setpoint.point.clone(),
            unit: setpoint.unit.clone(),
            kind: Some(PointKind::Level),
            value: setpoint.value.clone(),
            set_by: setpoint.set_by.clone(),
            set_at: setpoint.set_at,
            until: setpoint.until,
            reason: setpoint.reason.clone(),
            outcome,
            why: setpoint.why.clone(),
            shown_value: setpoint.shown_value.clone(),
            at: setpoint.since.filter(|_| outcome.is_some()),
            took_ms: setpoint.verified_in_ms,
            cancelling: None,
            stale: setpoint.stale,
            setpoint: Some(setpoint),
        }
    }
}

/// What a command waits for.
fn waiting(state: &DeviceState, record: &CommandRecord) -> String {
    let mut told = match (state.presence.silent, &record.cancelling) {
        (true, _) => "the agent is silent, and has not said what became of it".to_owned(),
        (false, None) => "the agent has not said what became of it yet".to_owned(),
        (false, Some(_)) => "the agent has not said yet whether it had begun it".to_owned(),
    };
    if let Some(Cancelling { by, .. }) = &record.cancelling {
        told = format!("cancelled by {}: {told}", by.as_str());
    }
    if let Some(why) = state.not_kept() {
        told = format!("{told}: {why}");
    }
    told
}

/// How a setpoint stands, in the words for commands. It goes on: what waits now may be verified later.
fn outcome_of(setpoint: &SetpointView) -> Option<CommandOutcome> {
    if setpoint.is_verified() {
        return Some(CommandOutcome::Verified);
    }
    match (setpoint.hold, setpoint.conformity) {
        (Hold::Refused | Hold::Blocked | Hold::Overridden, _) => Some(CommandOutcome::Refused),
        (Hold::Expired, _) => Some(CommandOutcome::Expired),
        (Hold::Active, Conformity::AcknowledgedUnverified | Conformity::Deviates) => {
            Some(CommandOutcome::AcknowledgedUnverified)
        }
        (Hold::Active | Hold::Pending | Hold::Writing | Hold::Paused | Hold::Unreachable, _) => {
            None
        }
    }
}

/// Sends a value to a point.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommandSend {
    /// The sensor's name or UUID.
    pub sensor: String,
    /// The point's name or UUID.
    pub point: String,
    /// The value, in the point's unit.
    pub value: PointValue,
    /// For how long it may be begun, in ms; it never comes later. To a level: for how long it is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(minimum = 100, maximum = 3600000, default = 3000)
    )]
    pub valid_for_ms: Option<u64>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only if the point showed this value last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only_if_value: Option<PointValue>,
}

impl Request for CommandSend {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let sensor = fields.text("sensor", "the sensor's name or UUID");
        let point = fields.text("point", "the point's name or UUID");
        let sent = fields.required("value", value, "a number, true, false or a text");
        let valid_for_ms = fields.optional("validForMs", duration_ms);
        let reason = fields.text_opt("reason", REASON);
        let only_if_value = fields.optional("onlyIfValue", value);
        Some(Self {
            sensor: sensor?,
            point: point?,
            value: sent?,
            valid_for_ms: valid_for_ms?,
            reason: reason?,
            only_if_value: only_if_value?,
        })
    }
}
