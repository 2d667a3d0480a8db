//! What can happen to a device, at random: edits, reports, passing time, readings.

use std::collections::BTreeMap;

use holdfast_domain::{
    Name, PointId, PointValue, Quality, SensorId,
    edit::{Edit, look_again},
    event::EventKind,
    state::{Change, DeviceState},
    watch::{Patience, watch},
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
    match world.entropy.below(20) {
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
    let report = agent.full_report();
    world.report(state, report)
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
