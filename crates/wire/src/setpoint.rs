//! Setpoints: the values that points shall hold, and what became of them.

use holdfast_domain::{
    DeviceId, Fields, Name, PointId, PointValue, SensorId,
    document::{
        point::value,
        setpoint::{Conformity, HandChange, Hold, Policy, Tolerance, duration_ms},
    },
    row::Actor,
    shown::Shown,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::request::{REASON, Request};

/// A setpoint: what is wanted, and what the agent says of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetpointView {
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
    /// The value that the point shall hold.
    pub value: PointValue,
    /// How far the instrument may be off; null: by half a step of what the point can tell apart.
    pub tolerance: Option<Tolerance>,
    /// What happens when the instrument shows another value.
    pub policy: Policy,
    /// Who set it.
    pub set_by: Actor,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub set_at: Timestamp,
    /// When it ends by itself.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub until: Option<Timestamp>,
    /// Why it was set.
    pub reason: Option<String>,
    /// Grows each time that it is set; its entity tag is this number in quotes.
    pub revision: u64,
    /// Does the instrument show the value? `unknown` until the agent has spoken of this revision.
    pub conformity: Conformity,
    /// Is it being held? `pending` until the agent has spoken of this revision.
    pub hold: Hold,
    /// What the instrument showed last; null: not known.
    pub shown_value: Option<PointValue>,
    /// Why it is not held, or not shown.
    pub why: Option<String>,
    /// Since when conformity and hold are so; null while the agent has not spoken of this revision.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub since: Option<Timestamp>,
    /// Writes made to the point in its instrument's life.
    pub writes: Option<u64>,
    /// Writes that may still be made.
    pub budget_left: Option<u64>,
    /// From the last write to its read-back, in ms.
    pub verified_in_ms: Option<u64>,
    /// How often the value was changed at the hardware since the agent started.
    pub changes: u64,
    /// The last of these changes.
    pub last_change: Option<HandChange>,
    /// Has the agent gone silent? Then this says what was.
    pub stale: bool,
}

impl SetpointView {
    /// A setpoint of a device.
    #[must_use]
    pub fn new(device: DeviceId, shown: Shown, stale: bool) -> Self {
        let spoken = shown.is_spoken_of();
        let Shown {
            place,
            wish,
            conformity,
            hold,
            why,
            said,
        } = shown;
        let of_this = said.as_ref().filter(|_| spoken);
        Self {
            device,
            point_id: wish.setpoint.point_id,
            sensor_id: place.as_ref().map(|place| place.sensor),
            sensor: place.as_ref().map(|place| place.sensor_name.clone()),
            point: place.as_ref().map(|place| place.point_name.clone()),
            unit: place.and_then(|place| place.unit),
            value: wish.setpoint.value,
            tolerance: wish.setpoint.tolerance,
            policy: wish.setpoint.policy,
            set_by: wish.setpoint.set_by,
            set_at: wish.set_at,
            until: wish.until,
            reason: wish.setpoint.reason,
            revision: wish.revision,
            conformity,
            hold,
            why,
            since: of_this.map(|said| said.since),
            verified_in_ms: of_this.and_then(|said| said.verified_in_ms),
            shown_value: said.as_ref().and_then(|said| said.value.clone()),
            writes: said.as_ref().map(|said| said.writes),
            budget_left: said.as_ref().map(|said| said.budget_left),
            changes: said.as_ref().map_or(0, |said| said.changes),
            last_change: said.and_then(|said| said.last_change),
            stale,
        }
    }

    /// The entity tag for `If-Match`.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.revision)
    }

    /// Was the value read back from the instrument, and is it held?
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.conformity == Conformity::InSync && matches!(self.hold, Hold::Active | Hold::Writing)
    }
}

/// Sets the value that a point shall hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetpointSet {
    /// The value, in the point's unit.
    pub value: PointValue,
    /// How far the instrument may be off; half a step of what the point can tell apart, unless stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Tolerance>,
    /// What happens when the instrument shows another value; `enforce` unless stated.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub policy: Policy,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For how long it is valid, in ms; until it is released, unless stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub valid_for_ms: Option<u64>,
    /// Only if the point showed this value last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only_if_value: Option<PointValue>,
}

impl Request for SetpointSet {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let wanted = fields.required("value", value, "a number, true, false or a text");
        let only_if_value = fields.optional("onlyIfValue", value);
        let tolerance = fields.optional("tolerance", Tolerance::read);
        let policy = fields.choice("policy", Some(Policy::Enforce));
        let reason = fields.text_opt("reason", REASON);
        let valid_for_ms = fields.optional("validForMs", duration_ms);
        Some(Self {
            value: wanted?,
            tolerance: tolerance?,
            policy: policy?,
            reason: reason?,
            valid_for_ms: valid_for_ms?,
            only_if_value: only_if_value?,
        })
    }
}
