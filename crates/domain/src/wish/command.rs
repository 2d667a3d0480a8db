//! Commands that operators give: a value that is written once.

use alloc::string::{String, ToString};

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::{WishError, changed, outside, sensor_of};
use crate::{
    document::{
        command::{Command, CommandOutcome},
        hold::{LoopState, Scope},
        point::PointKind,
        sensor::Sensor,
    },
    event::{Context, EventKind},
    fields::Problems,
    ids::{CommandId, PointId},
    limits,
    state::{Change, DeviceState},
    value::PointValue,
    values::{Cancelling, CommandRecord},
};

/// A command that an operator gives.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandRequest {
    /// Its id: a new one.
    pub id: Uuid,
    /// What is written.
    pub value: PointValue,
    /// For how long it may be begun, in ms.
    pub valid_for_ms: u64,
    /// Why.
    pub reason: Option<String>,
    /// Key of the request, if it has one.
    pub key: Option<String>,
}

/// What writing a point means; `None`: the device has no such point.
#[must_use]
pub fn kind_of(state: &DeviceState, point: PointId) -> Option<PointKind> {
    let rules = sensor_of(state, point)?
        .content()
        .binding
        .point_rules(point);
    rules.map(|rules| rules.kind)
}

/// Gives a command to a pulse or command point. The same request again gives nothing new: it is the command that it gave.
///
/// # Errors
/// Says why it can't be given. While the output is stopped, it can't: a command that waited would come late.
pub fn command(
    state: &DeviceState,
    point: PointId,
    request: CommandRequest,
    context: &Context,
) -> Result<(CommandId, Option<Change>), WishError> {
    let CommandRequest {
        id,
        value,
        valid_for_ms,
        reason,
        key,
    } = request;
    if let Some(before) = given_before(state, point, &value, valid_for_ms, key.as_deref())? {
        return Ok((before, None));
    }
    let sensor = sensor_of(state, point).ok_or(WishError::NoSuchPoint(point))?;
    let bound_to = check(state, sensor, point, &value)?;
    if !in_range(valid_for_ms) {
        let range = limits::COMMAND_VALID_MS;
        let expected = alloc::format!("an integer from {} to {}", range.start(), range.end());
        return Err(WishError::Invalid(Problems::one(
            "validForMs",
            expected,
            valid_for_ms,
        )));
    }
    if let Some(why) = stopped(state, sensor, point, context.now) {
        return Err(WishError::Stopped(why));
    }
    if state.commands_waiting().count() >= limits::COMMANDS_WAITING {
        return Err(WishError::TooManyCommands(limits::COMMANDS_WAITING));
    }
    let id = CommandId(id);
    let until = after(context.now, valid_for_ms);
    let mut values = state.target.values.clone();
    values.commands.revision += 1;
    let payload = json!({
        "id": id,
        "pointId": point,
        "sensorId": sensor.id(),
        "value": value,
        "reason": reason,
        "until": until,
        "revision": values.commands.revision,
    });
    values.commands.records.push(CommandRecord {
        command: Command {
            id,
            point_id: point,
            bound_to,
            value,
            valid_for_ms,
            set_by: context.actor.clone(),
            reason,
            cancelled: false,
            extra: serde_json::Map::new(),
        },
        set_at: context.now,
        until,
        revision: values.commands.revision,
        // The first event of this change.
        event: state.last_event + 1,
        key,
        cancelling: None,
    });
    let records = &mut values.commands.records;
    let mut excess = records.len().saturating_sub(limits::COMMANDS_KEPT);
    records.retain(|record| {
        let goes = excess > 0 && state.has_word_on(record.command.id);
        excess -= usize::from(goes);
        !goes
    });
    let change = changed(state, values, EventKind::CommandRequested, payload, context);
    Ok((id, Some(change)))
}

/// Asks for a command not to be begun. Whether it was, nobody but its agent can know, and its word says so. `None`: that was
/// asked for already, or it is so.
///
/// # Errors
/// There is no such command, or another word on it.
pub fn cancel(
    state: &DeviceState,
    id: CommandId,
    reason: Option<String>,
    context: &Context,
) -> Result<Option<Change>, WishError> {
    let mut values = state.target.values.clone();
    let mut records = values.commands.records.iter_mut();
    let record = records.find(|record| record.command.id == id);
    let record = record.ok_or(WishError::NoSuchCommand(id))?;
    let reported = state.reported.as_ref().map(|said| &said.values.commands);
    match reported.and_then(|words| words.get(&id)) {
        Some(word) if word.outcome == CommandOutcome::Cancelled => return Ok(None),
        Some(word) => return Err(WishError::CommandEnded(word.outcome)),
        None if record.cancelling.is_some() => return Ok(None),
        None => {}
    }
    let payload = json!({
        "id": id,
        "pointId": record.command.point_id,
        "value": record.command.value,
        "setBy": record.command.set_by,
        "reason": reason,
        "revision": values.commands.revision + 1,
    });
    record.cancelling = Some(Cancelling {
        by: context.actor.clone(),
        reason,
        at: context.now,
    });
    values.commands.revision += 1;
    let kind = EventKind::CommandCancelRequested;
    Ok(Some(changed(state, values, kind, payload, context)))
}

fn in_range(valid_for_ms: u64) -> bool {
    i64::try_from(valid_for_ms).is_ok_and(|ms| limits::COMMAND_VALID_MS.contains(&ms))
}

fn after(now: Timestamp, ms: u64) -> Timestamp {
    let ms = jiff::SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    now.saturating_add(ms).unwrap_or(Timestamp::MAX)
}

/// The command that this very request gave before.
fn given_before(
    state: &DeviceState,
    point: PointId,
    value: &PointValue,
    valid_for_ms: u64,
    key: Option<&str>,
) -> Result<Option<CommandId>, WishError> {
    let mut records = state.target.values.commands.records.iter();
    let Some(before) = records.find(|record| key.is_some() && record.key.as_deref() == key) else {
        return Ok(None);
    };
    let Command {
        point_id,
        value: given,
        valid_for_ms: validity,
        ..
    } = &before.command;
    if (*point_id, given, *validity) == (point, value, valid_for_ms) {
        return Ok(Some(before.command.id));
    }
    Err(WishError::Invalid(Problems::one(
        "Idempotency-Key",
        "a key of its own for each request",
        "one that another request came with",
    )))
}

/// Can this point be given this value once? Gives its write identity.
fn check(
    state: &DeviceState,
    sensor: &Sensor,
    point: PointId,
    value: &PointValue,
) -> Result<crate::canonical::Fingerprint, WishError> {
    let binding = &sensor.content().binding;
    let rules = binding
        .point_rules(point)
        .ok_or(WishError::NoSuchPoint(point))?;
    let found = match (rules.kind, rules.writable) {
        (PointKind::Pulse | PointKind::Command, true) => None,
        (PointKind::Pulse | PointKind::Command, false) => Some("read-only"),
        (PointKind::Level, _) => Some("a level"),
    };
    if let Some(found) = found {
        let name = super::name_of(state, point);
        return Err(WishError::NotCommandable { name, found });
    }
    if let Some(Err(refused)) = binding.check_value(point, value) {
        let problems = Problems::one("value", refused.expected, refused.found);
        return Err(WishError::Invalid(problems));
    }
    match outside(value, rules.limits.as_ref()) {
        Some(problems) => Err(WishError::Invalid(problems)),
        None => Ok(rules.identity),
    }
}

/// Why nothing is written to a point now, as far as the hub knows.
fn stopped(state: &DeviceState, sensor: &Sensor, point: PointId, now: Timestamp) -> Option<String> {
    let hold = &state.target.values.hold;
    let covers = |one: &&crate::values::Interruption| {
        one.scope.covers(sensor.id(), point) && one.until.is_none_or(|until| until > now)
    };
    if let Some(one) = hold.interruptions.iter().find(covers) {
        let what = match one.scope {
            Scope::Device => "the device is stopped",
            Scope::Sensor(_) => "its sensor is paused",
            Scope::Point(_) => "it is paused",
        };
        let reason = one
            .reason
            .as_deref()
            .map(|reason| alloc::format!(": {reason}"));
        let by = one.by.as_str();
        return Some(alloc::format!(
            "{what} by {by}{}",
            reason.unwrap_or_default()
        ));
    }
    if hold.shadow {
        return Some(
            "the device's value loop is in shadow mode, in which nothing is written".to_string(),
        );
    }
    let said = state.reported.as_ref()?.values.hold.as_ref()?;
    let is_stopped_on_site =
        said.state == LoopState::Stopped && said.held_revision >= hold.revision;
    is_stopped_on_site.then(|| "its agent says that it is stopped".to_string())
}
