//! What an operator changes of what a device's outputs shall hold: setting and releasing values, stopping and starting.
//!
//! The wish is recorded with who, why and until when before anything acts on it. What comes to the same changes nothing.

mod budget;
mod command;

pub use budget::{ResetRequest, reset_budget};
pub use command::{CommandRequest, cancel, command, kind_of};

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use crate::{
    canonical::Fingerprint,
    document::{
        command::CommandOutcome,
        hold::Scope,
        point::PointKind,
        setpoint::{Conformity, Hold, Policy, Setpoint, Tolerance},
    },
    event::{Context, EventKind, called::call_by_name},
    fields::Problems,
    ids::{CommandId, PauseId, PointId, SensorId},
    limits,
    state::{Change, DeviceState, TargetChange, TargetChangeKind},
    value::PointValue,
    values::{Interruption, Values, Wish},
};

/// A value that an operator sets.
#[derive(Debug, Clone, PartialEq)]
pub struct SetRequest {
    /// The value.
    pub value: PointValue,
    /// How far the instrument may be off.
    pub tolerance: Option<Tolerance>,
    /// What happens when the instrument shows another value.
    pub policy: Policy,
    /// Why.
    pub reason: Option<String>,
    /// When it ends.
    pub until: Option<Timestamp>,
    /// Key of the request, if it has one.
    pub key: Option<String>,
}

/// Why a value can't be set or released, or a loop not be stopped.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WishError {
    /// The device has no such point.
    #[error("the device has no point {0}")]
    NoSuchPoint(PointId),
    /// The device has no such sensor.
    #[error("the device has no sensor {0}")]
    NoSuchSensor(SensorId),
    /// The point can't be held.
    #[error("point {name} can't be held: it must be a level and writable, and is {found}")]
    NotHoldable {
        /// The point's name.
        name: String,
        /// What it is.
        found: &'static str,
    },
    /// The value is not one for this point.
    #[error("{0}")]
    Invalid(Problems),
    /// Nothing is set there.
    #[error("nothing is set on point {0}")]
    NotSet(PointId),
    /// There are too many stops and pauses already.
    #[error("a device can have at most {0} stops and pauses")]
    TooMany(usize),
    /// The point takes no commands.
    #[error(
        "point {name} takes no commands: it must be a pulse or a command and writable, and is {found}"
    )]
    NotCommandable {
        /// The point's name.
        name: String,
        /// What it is.
        found: &'static str,
    },
    /// Nothing is written there now.
    #[error("nothing is written to it now: {0}")]
    Stopped(String),
    /// Too many commands wait for their agent's word.
    #[error("{0} commands wait for the agent's word, which is the limit: it has to give it first")]
    TooManyCommands(usize),
    /// There is no such command, or it is not kept any more.
    #[error("the device has no command {0}")]
    NoSuchCommand(CommandId),
    /// There is a word on the command already.
    #[error("the command has ended ({0}): what has ended can't be cancelled")]
    CommandEnded(CommandOutcome),
    /// There are too many setpoints already.
    #[error("a device can have at most {0} setpoints")]
    TooManySetpoints(usize),
    /// Nothing is ever written to the point.
    #[error("point {0} has no write budget: it is read-only")]
    NotWritable(String),
    /// There are too many resets of budgets already.
    #[error("at most {0} write budgets of a device can be reset")]
    TooManyResets(usize),
}

/// Sets the value that a point shall hold. `None`: that is the wish already.
///
/// # Errors
/// Says why it can't be set.
pub fn set(
    state: &DeviceState,
    point: PointId,
    request: SetRequest,
    context: &Context,
) -> Result<Option<Change>, WishError> {
    let SetRequest {
        value,
        tolerance,
        policy,
        reason,
        until,
        key,
    } = request;
    let sensor = sensor_of(state, point).ok_or(WishError::NoSuchPoint(point))?;
    let binding = &sensor.content().binding;
    let rules = binding
        .point_rules(point)
        .ok_or(WishError::NoSuchPoint(point))?;
    let found = match (rules.kind, rules.writable) {
        (PointKind::Level, true) => None,
        (PointKind::Level, false) => Some("read-only"),
        (PointKind::Pulse, _) => Some("a pulse"),
        (PointKind::Command, _) => Some("a command"),
    };
    if let Some(found) = found {
        let name = name_of(state, point);
        return Err(WishError::NotHoldable { name, found });
    }
    if let Some(Err(refused)) = binding.check_value(point, &value) {
        let problems = Problems::one("value", refused.expected, refused.found);
        return Err(WishError::Invalid(problems));
    }
    if let Some(problems) = outside(&value, rules.limits.as_ref()) {
        return Err(WishError::Invalid(problems));
    }
    if until.is_some_and(|until| until <= context.now) {
        let problems = Problems::one("validForMs", "a time to come", "one that is over");
        return Err(WishError::Invalid(problems));
    }
    let setpoint = Setpoint {
        point_id: point,
        bound_to: rules.identity,
        value,
        tolerance,
        policy,
        set_by: context.actor.clone(),
        reason,
        revision: 0,
        valid_for_ms: None,
        extra: serde_json::Map::new(),
    };
    let old = state.target.values.wishes.get(&point);
    if old.is_some_and(|old| is_same_wish(old, &setpoint, until) && !is_given_up(state, old)) {
        return Ok(None);
    }
    if old.is_none() && state.target.values.wishes.len() >= limits::SETPOINTS_PER_DEVICE {
        return Err(WishError::TooManySetpoints(limits::SETPOINTS_PER_DEVICE));
    }
    let mut values = state.target.values.clone();
    values.revision += 1;
    let payload = json!({
        "pointId": point,
        "sensorId": sensor.id(),
        "value": setpoint.value,
        "policy": setpoint.policy,
        "previous": old.map(|old| &old.setpoint.value),
        "reason": setpoint.reason,
        "until": until,
        "revision": values.revision,
    });
    let wish = Wish {
        setpoint,
        set_at: context.now,
        until,
        revision: values.revision,
        key,
    };
    values.wishes.insert(point, wish);
    Ok(Some(changed(
        state,
        values,
        EventKind::SetpointSet,
        payload,
        context,
    )))
}

/// Does the agent say of this wish that it does not try any more? Then the same value, set again, arms it: once, until the
/// agent has spoken of the new wish.
fn is_given_up(state: &DeviceState, wish: &Wish) -> bool {
    let said = state
        .reported
        .as_ref()
        .and_then(|reported| reported.values.items.get(&wish.setpoint.point_id));
    said.is_some_and(|said| {
        said.revision >= wish.revision
            && (matches!(said.hold, Hold::Overridden | Hold::Refused | Hold::Expired)
                || said.conformity == Conformity::Deviates)
    })
}

/// The same value (in whatever spelling) by the same rules, still bound to the same point: who set it, and why, does not matter.
fn is_same_wish(old: &Wish, new: &Setpoint, until: Option<Timestamp>) -> bool {
    let Setpoint {
        point_id: _,
        bound_to,
        value,
        tolerance,
        policy,
        set_by: _,
        reason: _,
        revision: _,
        valid_for_ms: _,
        extra: _,
    } = &old.setpoint;
    *bound_to == new.bound_to
        && Fingerprint::of_value(&value.to_json()) == Fingerprint::of_value(&new.value.to_json())
        && *tolerance == new.tolerance
        && *policy == new.policy
        && old.until == until
}

pub(crate) fn outside(
    value: &PointValue,
    limits: Option<&crate::document::point::Limits>,
) -> Option<Problems> {
    let limits = limits?;
    #[allow(clippy::cast_precision_loss, reason = "at most 2^53")]
    let number = match value {
        PointValue::Integer(value) => *value as f64,
        PointValue::Number(value) => *value,
        PointValue::Bool(_) | PointValue::Text(_) => return None,
    };
    if let Some(min) = limits.min.filter(|min| number < *min) {
        return Some(Problems::one(
            "value",
            alloc::format!("at least {min}, the point's limit"),
            value,
        ));
    }
    let max = limits.max.filter(|max| number > *max)?;
    Some(Problems::one(
        "value",
        alloc::format!("at most {max}, the point's limit"),
        value,
    ))
}

/// Releases a point: nothing is wanted of it any more, and nothing will act on it.
///
/// # Errors
/// [`WishError::NotSet`].
pub fn release(
    state: &DeviceState,
    point: PointId,
    reason: Option<&str>,
    context: &Context,
) -> Result<Change, WishError> {
    let mut values = state.target.values.clone();
    let old = values
        .wishes
        .remove(&point)
        .ok_or(WishError::NotSet(point))?;
    values.revision += 1;
    let payload = json!({
        "pointId": point,
        "previous": old.setpoint.value,
        "reason": reason,
        "revision": values.revision,
    });
    Ok(changed(
        state,
        values,
        EventKind::SetpointReleased,
        payload,
        context,
    ))
}

/// Stops the device's value loop, or pauses a sensor or a point: nothing is written to it until it is lifted or over.
///
/// # Errors
/// If the device has no such sensor or point.
pub fn interrupt(
    state: &DeviceState,
    scope: Scope,
    reason: Option<&str>,
    until: Option<Timestamp>,
    id: Uuid,
    context: &Context,
) -> Result<Change, WishError> {
    match scope {
        Scope::Device => {}
        Scope::Sensor(sensor) => {
            state
                .target
                .item(sensor)
                .ok_or(WishError::NoSuchSensor(sensor))?;
        }
        Scope::Point(point) => {
            sensor_of(state, point).ok_or(WishError::NoSuchPoint(point))?;
        }
    }
    let mut values = state.target.values.clone();
    if values.hold.interruptions.len() >= limits::PAUSES_PER_DEVICE {
        return Err(WishError::TooMany(limits::PAUSES_PER_DEVICE));
    }
    // One stop or pause of the same: the new one replaces it.
    values.hold.interruptions.retain(|one| one.scope != scope);
    let interruption = Interruption {
        id: PauseId(id),
        scope,
        by: context.actor.clone(),
        reason: reason.map(ToString::to_string),
        since: context.now,
        until,
    };
    values.hold.interruptions.push(interruption);
    values.hold.revision += 1;
    let kind = match scope {
        Scope::Device => EventKind::ReconciliationStopped,
        Scope::Sensor(_) | Scope::Point(_) => EventKind::ReconciliationPaused,
    };
    let payload = json!({ "id": id, "scope": scope, "reason": reason, "until": until, "revision": values.hold.revision });
    Ok(changed(state, values, kind, payload, context))
}

/// Lifts stops and pauses: those that `which` says. `None`: there is none.
#[must_use]
pub fn resume(
    state: &DeviceState,
    which: impl Fn(&Interruption) -> bool,
    reason: Option<&str>,
    context: &Context,
) -> Option<Change> {
    let mut values = state.target.values.clone();
    let (lifted, left): (Vec<_>, Vec<_>) = values
        .hold
        .interruptions
        .into_iter()
        .partition(|one| which(one));
    if lifted.is_empty() {
        return None;
    }
    values.hold.interruptions = left;
    values.hold.revision += 1;
    let kind = if lifted.iter().any(|one| one.scope == Scope::Device) {
        EventKind::ReconciliationStarted
    } else {
        EventKind::ReconciliationResumed
    };
    let payload = json!({ "lifted": lifted, "reason": reason, "revision": values.hold.revision });
    Some(changed(state, values, kind, payload, context))
}

/// The settings of a value loop that can be changed while it runs; `None`: unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tuning {
    /// How often outputs are looked at, in ms.
    pub interval_ms: Option<u32>,
    /// May the agent lengthen the interval?
    pub dynamic: Option<bool>,
    /// Compute and report, and write nothing.
    pub shadow: Option<bool>,
    /// How often an hour a value is put back.
    pub restores_per_hour: Option<u32>,
}

/// Changes how the value loop runs. `None`: it runs so already.
#[must_use]
pub fn tune(
    state: &DeviceState,
    tuning: Tuning,
    reason: Option<&str>,
    context: &Context,
) -> Option<Change> {
    let Tuning {
        interval_ms,
        dynamic,
        shadow,
        restores_per_hour,
    } = tuning;
    let mut values = state.target.values.clone();
    let hold = &mut values.hold;
    hold.interval_ms = interval_ms.unwrap_or(hold.interval_ms);
    hold.dynamic = dynamic.unwrap_or(hold.dynamic);
    hold.shadow = shadow.unwrap_or(hold.shadow);
    hold.restores_per_hour = restores_per_hour.unwrap_or(hold.restores_per_hour);
    if *hold == state.target.values.hold {
        return None;
    }
    hold.revision += 1;
    let payload = json!({
        "intervalMs": hold.interval_ms,
        "dynamic": hold.dynamic,
        "shadow": hold.shadow,
        "restoresPerHour": hold.restores_per_hour,
        "reason": reason,
        "revision": hold.revision,
    });
    Some(changed(
        state,
        values,
        EventKind::ReconciliationUpdated,
        payload,
        context,
    ))
}

fn name_of(state: &DeviceState, point: PointId) -> String {
    let names = sensor_of(state, point).map(|sensor| sensor.content().binding.point_names());
    let name = names.and_then(|names| names.into_iter().find(|(id, _)| *id == point));
    name.map(|(_, name)| name.to_string()).unwrap_or_default()
}

fn sensor_of(state: &DeviceState, point: PointId) -> Option<&crate::document::sensor::Sensor> {
    let sensors = state.target.items.iter().map(|item| &*item.sensor);
    sensors.into_iter().find(|sensor| {
        let points = sensor.content().binding.point_names();
        points.iter().any(|(id, _)| *id == point)
    })
}

pub(crate) fn changed(
    state: &DeviceState,
    values: Values,
    kind: EventKind,
    payload: serde_json::Value,
    context: &Context,
) -> Change {
    let mut change = Change::of(state);
    change.event(state, context, kind, None, payload);
    let mut target = state.target.clone();
    target.values = values;
    change.target = Some(TargetChange {
        target,
        reason: None,
        kind: TargetChangeKind::Values,
    });
    call_by_name(&mut change, state);
    change
}
