//! What a report says of outputs: merged into what is known, told as events, and adopted where a change at the hardware
//! shall become the new wish.

mod local;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    document::{
        command::{CommandOutcome, CommandReport},
        hold::HoldReport,
        setpoint::{Conformity, Hold, Policy, SetpointReport},
    },
    event::{Context, EventKind},
    fields::{Path, Problems},
    hold::reaches,
    ids::PointId,
    state::{Change, DeviceState, Reported, TargetChange, TargetChangeKind},
    value::PointValue,
    values::{ReportedValues, Wish},
};

/// What is known after the report: what it leaves out is unchanged, and of what is not set any more nothing is kept.
pub(super) fn merge(
    state: &DeviceState,
    said: Option<ReportedValues>,
    replace: bool,
    now: Timestamp,
) -> ReportedValues {
    let old = state.reported.as_ref().map(|reported| &reported.values);
    let mut merged = match (old, replace) {
        (Some(old), false) => old.clone(),
        // What became of a command outlives the agent that said so.
        (Some(old), true) => ReportedValues {
            commands: old.commands.clone(),
            ..ReportedValues::default()
        },
        (None, _) => ReportedValues::default(),
    };
    if let Some(ReportedValues {
        held_revision,
        held_fingerprint,
        items,
        accounts,
        resets,
        hold,
        held_commands,
        commands,
    }) = said
    {
        if !accounts.is_empty() {
            merged.accounts.extend(accounts);
            let points = state.target.items.iter();
            let points = points.flat_map(|item| item.sensor.content().binding.point_names());
            let points: BTreeSet<PointId> = points.map(|(point, _)| point).collect();
            merged.accounts.retain(|point, _| points.contains(point));
        }
        // Within a life of the agent these only grow: a word on something else leaves them out.
        merged.held_revision = merged.held_revision.max(held_revision);
        merged.held_commands = merged.held_commands.max(held_commands);
        merged.held_fingerprint = held_fingerprint.or(merged.held_fingerprint);
        merged.items.extend(items);
        merged.resets.extend(resets);
        let told = hold.map(|hold| local::noted(hold, merged_before(old), now));
        merged.hold = told.or(merged.hold);
        for (id, word) in commands {
            // The first word stands: an agent that has forgotten it can only know less.
            merged.commands.entry(id).or_insert(word);
        }
    }
    let records = &state.target.values.commands;
    merged.commands.retain(|id, _| records.get(*id).is_some());
    let wishes = &state.target.values.wishes;
    merged.items.retain(|point, _| wishes.contains_key(point));
    let resets = &state.target.values.resets;
    merged
        .resets
        .retain(|point, id| resets.get(point).is_some_and(|reset| reset.id == *id));
    merged
}

/// What was known before, of a boot before too: what a stop on site says of its end stays what it was.
fn merged_before(old: Option<&ReportedValues>) -> Option<&HoldReport> {
    old.and_then(|old| old.hold.as_ref())
}

/// Adds an event for everything that happened to a setpoint, and to the loop on site.
pub(super) fn tell(
    change: &mut Change,
    state: &DeviceState,
    reported: &Reported,
    context: &Context,
) {
    let is_same_boot = state.reported.as_ref().is_some_and(|old| {
        (old.order.incarnation, old.order.boot) == (reported.order.incarnation, reported.order.boot)
    });
    let none = BTreeMap::new();
    let old = state
        .reported
        .as_ref()
        .map_or(&none, |reported| &reported.values.items);
    let held = merged_before(state.reported.as_ref().map(|old| &old.values));
    local::tell(change, state, held, reported.values.hold.as_ref(), context);
    for (point, item) in &reported.values.items {
        let before = old.get(point);
        if before == Some(item) {
            continue;
        }
        let wish = state.target.values.wishes.get(point);
        let stands = |item: &SetpointReport| (item.conformity, item.hold);
        change.is_worth_a_look |= before.map(stands) != Some(stands(item));
        for kind in kinds(before, item, is_same_boot) {
            let payload = payload(*point, kind, item, wish);
            change.event(state, context, kind, None, payload);
        }
    }
    for (point, id) in &reported.values.resets {
        let before = state.reported.as_ref();
        if before.and_then(|old| old.values.resets.get(point)) != Some(id) {
            let reset = state.target.values.resets.get(point);
            let by = reset.map(|reset| &reset.by);
            let payload = json!({ "pointId": point, "id": id, "by": by });
            change.event(state, context, EventKind::BudgetRenewed, None, payload);
        }
    }
    for (id, word) in &reported.values.commands {
        if !state.has_word_on(*id) {
            tell_of_command(change, state, word, context);
        }
    }
}

fn tell_of_command(
    change: &mut Change,
    state: &DeviceState,
    word: &CommandReport,
    context: &Context,
) {
    let kind = match word.outcome {
        CommandOutcome::Verified => EventKind::CommandVerified,
        CommandOutcome::AcknowledgedUnverified => EventKind::CommandAcknowledged,
        CommandOutcome::Refused => EventKind::CommandRefused,
        CommandOutcome::Failed => EventKind::CommandFailed,
        CommandOutcome::Expired => EventKind::CommandExpired,
        CommandOutcome::Cancelled => EventKind::CommandCancelled,
        CommandOutcome::OutcomeUnknown => EventKind::CommandUnknown,
    };
    let Some(record) = state.target.values.commands.get(word.id) else {
        return;
    };
    let payload = json!({
        "id": word.id,
        "pointId": record.command.point_id,
        "wanted": record.command.value,
        "setBy": record.command.set_by,
        "value": word.value,
        "reason": word.reason,
        "at": word.at,
        "tookMs": word.took_ms,
        "cancelling": record.cancelling,
    });
    change.event(state, context, kind, Some(record.event), payload);
}

fn kinds(
    before: Option<&SetpointReport>,
    item: &SetpointReport,
    is_same_boot: bool,
) -> impl Iterator<Item = EventKind> {
    let grew = |of: fn(&SetpointReport) -> u64| of(item) > before.map_or(0, of);
    let became = |is: fn(&SetpointReport) -> bool| is(item) && !before.is_some_and(is);
    let changed = grew(|item| item.changes) && item.last_change.is_some();
    let wrote = item.written_since(before.filter(|_| is_same_boot)) > 0;
    // Written and read back within one report: verified again, although it was in sync before and after.
    let is_looked_at_anew = before.is_some_and(|before| {
        before.conformity == Conformity::Unknown
            && before.verified_in_ms.is_some()
            && before.revision == item.revision
    });
    let verified = item.conformity == Conformity::InSync
        && (wrote || (became(|item| item.conformity == Conformity::InSync) && !is_looked_at_anew));
    [
        (changed, EventKind::SetpointDrifted),
        (wrote, EventKind::SetpointWritten),
        (verified, EventKind::SetpointVerified),
        (
            became(|item| item.hold == Hold::Refused),
            EventKind::SetpointRefused,
        ),
        (
            became(|item| item.hold == Hold::Overridden),
            EventKind::SetpointOverridden,
        ),
    ]
    .into_iter()
    .filter_map(|(happened, kind)| happened.then_some(kind))
}

fn payload(point: PointId, kind: EventKind, item: &SetpointReport, wish: Option<&Wish>) -> Value {
    let change = item
        .last_change
        .as_ref()
        .filter(|_| kind == EventKind::SetpointDrifted);
    json!({
        "pointId": point,
        "wanted": wish.map(|wish| &wish.setpoint.value),
        "setBy": wish.map(|wish| &wish.setpoint.set_by),
        "value": item.value,
        "before": change.map(|change| &change.before),
        "after": change.map(|change| &change.after),
        "reason": item.reason,
        "tookMs": item.verified_in_ms,
        "writes": item.writes,
        "revision": item.revision,
    })
}

/// Is it a value that a document can carry?
fn is_one(value: &PointValue) -> bool {
    let mut problems = Problems::default();
    crate::document::point::value(value.to_json(), &Path::ROOT, &mut problems).is_some()
}

/// Goes on above revisions that the agent holds and this hub does not know: it was restored from a backup, and what it has
/// would never be taken for new.
pub(super) fn go_above(
    change: &mut Change,
    state: &DeviceState,
    new: &ReportedValues,
    context: &Context,
) {
    let values = &state.target.values;
    let held = (
        new.held_revision,
        new.hold.as_ref().map_or(0, |hold| hold.held_revision),
        new.held_commands,
    );
    // The same revisions with other content: it would be taken for what is wanted, and never be replaced. What the agent said
    // before was compared then.
    let said_before = state
        .reported
        .as_ref()
        .and_then(|old| old.values.held_fingerprint);
    let is_other = (held.0, held.1) == (values.revision, values.hold.revision)
        && new.held_fingerprint != said_before
        && new
            .held_fingerprint
            .is_some_and(|held| held != values.fingerprint());
    if held.0 <= values.revision
        && held.1 <= values.hold.revision
        && held.2 <= values.commands.revision
        && !is_other
    {
        return;
    }
    let before = change.target.take();
    let is_new_version = before
        .as_ref()
        .is_some_and(|before| before.kind == TargetChangeKind::NewVersion);
    let (mut target, reason) = before.map_or_else(
        || (state.target.clone(), None),
        |before| (before.target, before.reason),
    );
    if held.0 > values.revision || is_other {
        target.values.revision = held.0 + 1;
        for wish in target.values.wishes.values_mut() {
            wish.revision = target.values.revision;
        }
    }
    if held.1 > values.hold.revision || is_other {
        target.values.hold.revision = held.1 + 1;
    }
    if held.2 > values.commands.revision || is_other {
        target.values.commands.revision = held.2.max(values.commands.revision) + 1;
    }
    let payload = json!({
        "setpointsRevision": target.values.revision,
        "holdRevision": target.values.hold.revision,
        "commandsRevision": target.values.commands.revision,
        "reason": "the agent holds other or later setpoints, settings or commands than this hub gave: going on above them",
    });
    change.event(state, context, EventKind::TargetConflict, None, payload);
    change.target = Some(TargetChange {
        target,
        reason,
        kind: if is_new_version {
            TargetChangeKind::NewVersion
        } else {
            TargetChangeKind::Values
        },
    });
}

/// What the agent asked to be adopted before, and for which wish.
fn said_before(state: &DeviceState, point: PointId) -> Option<(&PointValue, u64)> {
    let said = state.reported.as_ref()?.values.items.get(&point)?;
    Some((said.adopt.as_ref()?, said.revision))
}

/// Why a value at the hardware can't be the new wish, if it can't. The agent has looked at what only it can know: unbroken
/// communication, and a steady reading.
fn not_adopted(
    state: &DeviceState,
    wish: &Wish,
    item: &SetpointReport,
    value: &PointValue,
) -> Option<String> {
    let setpoint = &wish.setpoint;
    if item.revision != wish.revision {
        return Some("a newer value was set meanwhile".into());
    }
    if setpoint.policy != Policy::Adopt {
        return Some(format!("its policy is {}", setpoint.policy));
    }
    let point = setpoint.point_id;
    let bindings = state
        .target
        .items
        .iter()
        .map(|item| &item.sensor.content().binding);
    let place = bindings
        .into_iter()
        .find_map(|binding| Some((binding, binding.point_rules(point)?)));
    let Some((binding, rules)) = place else {
        return Some("the target has no such point any more".into());
    };
    if setpoint.bound_to != rules.identity {
        return Some("the point was redefined (pointRedefined)".into());
    }
    if let Some(Err(refused)) = binding.check_value(point, value) {
        return Some(format!("{refused}"));
    }
    if let Some(problems) = crate::wish::outside(value, rules.limits.as_ref()) {
        return Some(format!("{problems}"));
    }
    let change = item
        .last_change
        .as_ref()
        .filter(|change| change.after == *value);
    let before = change.map_or(&setpoint.value, |change| &change.before);
    (!reaches(rules.limits.as_ref(), before, value)).then(|| {
        format!("{value} is further from {before} than the point's largest step (maxStep)")
    })
}

/// Makes values at the hardware the new wish, where the policy says so and the agent speaks of the wish that stands.
pub(super) fn adopt(
    change: &mut Change,
    state: &DeviceState,
    new: &ReportedValues,
    context: &Context,
) {
    if change.target.is_some() {
        // The agent says it again until it has a newer wish.
        return;
    }
    let mut values = state.target.values.clone();
    for (point, item) in &new.items {
        let Some(value) = &item.adopt else { continue };
        let Some(wish) = values.wishes.get_mut(point) else {
            continue;
        };
        if !is_one(value) || wish.setpoint.value == *value {
            continue;
        }
        if let Some(why) = not_adopted(state, wish, item, value) {
            let payload = json!({
                "pointId": point,
                "wanted": wish.setpoint.value,
                "setBy": wish.setpoint.set_by,
                "value": value,
                "reason": format!("a change at the hardware is not adopted: {why}"),
                "revision": wish.revision,
            });
            if said_before(state, *point) != Some((value, item.revision)) {
                change.event(state, context, EventKind::SetpointRefused, None, payload);
            }
            continue;
        }
        if values.revision == state.target.values.revision {
            values.revision += 1;
        }
        let payload = json!({
            "pointId": point,
            "previous": wish.setpoint.value,
            "value": value,
            "revision": values.revision,
        });
        wish.setpoint.value = value.clone();
        wish.setpoint.set_by = context.actor.clone();
        wish.setpoint.reason = Some("changed at the hardware".into());
        wish.set_at = context.now;
        wish.revision = values.revision;
        wish.key = None;
        change.event(state, context, EventKind::SetpointAdopted, None, payload);
    }
    if values.revision == state.target.values.revision {
        return;
    }
    let mut target = state.target.clone();
    target.values = values;
    change.target = Some(TargetChange {
        target,
        reason: None,
        kind: TargetChangeKind::Values,
    });
}
