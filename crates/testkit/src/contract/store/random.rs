//! What can happen to a device, at random: edits, setpoints and pauses, reports, passing time, readings.

use std::collections::BTreeMap;

use holdfast_domain::{
    Name, PointId, PointValue, Quality, SensorId,
    document::{
        command::{CommandOutcome, CommandReport},
        hold::Scope,
        setpoint::{Conformity, Hold, Policy, Tolerance},
    },
    edit::{Edit, look_again},
    event::EventKind,
    state::{Change, DeviceState},
    trouble::Tolerated,
    watch::{Patience, watch},
    wish::{CommandRequest, SetRequest, Tuning, command, interrupt, release, resume, set, tune},
};
use holdfast_ports::{
    clock::Entropy,
    store::{DeviceStore, PointRecord},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::Store;
use crate::{
    builders::{PROTOCOLS, document, uuid_of},
    memory::MemoryStore,
    world::{FakeAgent, World},
};

/// The next change of a device; `None` if nothing came of what happened.
pub(super) async fn change(
    world: &World,
    agent: &mut FakeAgent,
    state: &DeviceState,
    model: &MemoryStore,
) -> Option<Change> {
    match world.entropy.below(28) {
        20..28 => wish(world, state),
        0..8 => {
            let what = edit(world, state, model).await?;
            // A name that exists already is refused: then nothing happens.
            world.edit(state, what).ok()?.change
        }
        8..16 => report(world, agent, state),
        16 => Some(look_again(state, None, &world.context("anna"))),
        17 => Some(rename(world, state)),
        _ => {
            let patience = Patience {
                silent_after: SignedDuration::from_millis(world.entropy.below(50) as i64),
                drift_after: SignedDuration::from_millis(world.entropy.below(20) as i64),
                tolerated: Tolerated::USUAL,
                at_least_every: SignedDuration::from_mins(1),
            };
            let context = world.context("reconciler");
            watch(state, &patience, Some(Timestamp::UNIX_EPOCH), &context).change
        }
    }
}

async fn edit(world: &World, state: &DeviceState, model: &MemoryStore) -> Option<Edit> {
    let items = &state.target.items;
    let one = (!items.is_empty()).then(|| items[world.entropy.below(items.len())].sensor.clone());
    let name = format!("s-{}", world.entropy.below(12));
    let protocol = PROTOCOLS[world.entropy.below(PROTOCOLS.len())];
    Some(match world.entropy.below(10) {
        0..4 => Edit::Add(document(protocol, &name)),
        4 => Edit::Patch(
            one?.id(),
            json!({ "pollInterval": 10 + world.entropy.below(1_000) }),
        ),
        5 => Edit::Patch(one?.id(), json!({ "enabled": world.entropy.chance(50) })),
        6 => Edit::Remove(one?.id()),
        7 => Edit::Replace(one?.id(), document(protocol, &name)),
        8 => Edit::ReplaceAll(json!(items[..items.len() / 2])),
        _ => {
            let version = 1 + world.entropy.next() % state.target.version.max(1);
            let items = model
                .version(state.record.id, version)
                .await
                .expect("works")?;
            Edit::Rollback { version, items }
        }
    })
}

fn report(world: &World, agent: &mut FakeAgent, state: &DeviceState) -> Option<Change> {
    if agent.sequence == 0 || world.entropy.chance(60) {
        let failing: Vec<SensorId> = state
            .target
            .items
            .iter()
            .map(|item| item.sensor.id())
            .filter(|_| world.entropy.chance(25))
            .collect();
        agent.establish_but(state, &failing, world.context("agent").now);
    } else if world.entropy.chance(30) {
        agent.reboot();
    } else {
        agent.held_version = state.target.version;
    }
    say_values(world, agent, state);
    let report = agent.full_report();
    world.report(state, report)
}

/// What an operator changes of what outputs shall hold; `None` where that is refused, or so already.
fn wish(world: &World, state: &DeviceState) -> Option<Change> {
    let entropy = &world.entropy;
    let context = world.context("anna");
    let later = |percent: usize| {
        let ms = 1 + entropy.below(20) as i64;
        entropy
            .chance(percent)
            .then(|| context.now + SignedDuration::from_millis(ms))
    };
    let points: Vec<(SensorId, PointId)> = state
        .target
        .items
        .iter()
        .flat_map(|item| {
            let points = item.sensor.content().binding.point_names();
            points
                .into_iter()
                .map(|(point, _)| (item.sensor.id(), point))
        })
        .collect();
    let (sensor, point) = *points.get(entropy.below(points.len().max(1)))?;
    let scope = [Scope::Device, Scope::Sensor(sensor), Scope::Point(point)][entropy.below(3)];
    let reason = entropy.chance(50).then_some("because 'so' ␀");
    match entropy.below(12) {
        8..12 => {
            let request = CommandRequest {
                id: entropy.uuid(),
                value: PointValue::Bool(true),
                valid_for_ms: 100 + entropy.below(5_000) as u64,
                reason: reason.map(str::to_owned),
                key: entropy.chance(20).then(|| entropy.uuid().to_string()),
            };
            command(state, point, request, &context).ok()?.1
        }
        0..4 => {
            let values = [
                json!(20.1),
                json!(72.5),
                json!(90),
                json!(true),
                json!("on"),
            ];
            let value = values[entropy.below(values.len())].clone();
            let request = SetRequest {
                value: serde_json::from_value(value).expect("a value"),
                tolerance: [None, Some(Tolerance::Absolute(0.1)), Some(Tolerance::Exact)]
                    [entropy.below(3)],
                policy: [Policy::Enforce, Policy::Observe, Policy::Adopt][entropy.below(3)],
                reason: reason.map(str::to_owned),
                until: later(30),
                key: entropy.chance(20).then(|| "request".to_owned()),
            };
            set(state, point, request, &context).ok()?
        }
        4 => release(state, point, reason, &context).ok(),
        5 => interrupt(state, scope, reason, later(50), entropy.uuid(), &context).ok(),
        6 => resume(state, |one| one.scope == scope, reason, &context),
        _ => {
            let tuning = Tuning {
                interval_ms: entropy.chance(50).then(|| 100 + entropy.jitter() % 10_000),
                dynamic: Some(entropy.chance(50)),
                shadow: Some(entropy.chance(50)),
                restores_per_hour: entropy.chance(50).then(|| entropy.jitter() % 100),
            };
            tune(state, tuning, reason, &context)
        }
    }
}

/// What an agent says of its outputs: nothing, or of each that it is held, or that it was changed by hand and may be kept so.
fn say_values(world: &World, agent: &mut FakeAgent, state: &DeviceState) {
    agent.hold_all(state);
    let values = agent.values.as_mut().expect("it was just said");
    for item in values.items.values_mut() {
        if world.entropy.chance(30) {
            (item.conformity, item.hold) = (Conformity::Drifting, Hold::Overridden);
            item.adopt = Some(PointValue::Number(
                f64::from(world.entropy.jitter() % 900) / 10.0,
            ));
            let writes = world.entropy.next() % 3;
            item.writes += writes;
            item.written += writes;
            item.reason = Some("changed \0 by hand".to_owned());
        }
    }
    for record in state.commands_waiting() {
        if world.entropy.chance(50) {
            let word = CommandReport {
                id: record.command.id,
                outcome: CommandOutcome::Refused,
                reason: Some("a guard \0 does not hold".to_owned()),
                value: None,
                at: record.until,
                took_ms: None,
            };
            values.commands.insert(word.id, word);
        }
    }
    if world.entropy.chance(30) {
        agent.values = None;
    }
}

fn rename(world: &World, state: &DeviceState) -> Change {
    let context = world.context("anna");
    let mut change = Change::of(state);
    let mut record = state.record.clone();
    record.name = Name::new(&format!("gateway {}", world.entropy.next())).expect("a name");
    record.labels = BTreeMap::from([("row".to_owned(), world.entropy.below(2).to_string())]);
    record.audit = record.audit.touched(context.now, &context.actor);
    change.record = Some(record);
    change.event(state, &context, EventKind::DeviceUpdated, None, json!({}));
    change
}

/// Saves some points in both.
pub(super) async fn save_points(
    world: &World,
    state: &DeviceState,
    store: &dyn Store,
    model: &MemoryStore,
) {
    let at = world.context("agent").now;
    let value = match world.entropy.below(4) {
        0 => Some(PointValue::Number(f64::from(world.entropy.jitter()) / 7.0)),
        1 => Some(PointValue::Integer(-PointValue::EXACT_INTEGER)),
        2 => Some(PointValue::from_u64(u64::MAX)),
        _ => None,
    };
    let points: Vec<PointRecord> = (0..world.entropy.below(4))
        .map(|index| PointRecord {
            point: PointId(uuid_of(&format!("point {index}"))),
            sensor: SensorId(world.entropy.uuid()),
            value: value.clone(),
            quality: if value.is_some() {
                Quality::Good
            } else {
                Quality::Bad
            },
            at,
            reason: value.is_none().then(|| "no answer".to_owned()),
        })
        .collect();
    store
        .save_points(state.record.id, &points)
        .await
        .expect("works");
    model
        .save_points(state.record.id, &points)
        .await
        .expect("works");
}
