//! The log: its order, its cursors, its end, what is pruned.

use std::collections::BTreeMap;

use holdfast_domain::{
    DeviceId,
    event::{Event, EventKind},
    rebuild,
    state::{Change, DeviceState},
};
use holdfast_ports::{
    events::{Cursor, EventFilter, ReadError},
    store::CommitError,
};
use jiff::SignedDuration;
use serde_json::json;

use super::{Fixture, Scene, Store};
use crate::world::World;

/// Reads on from `after` to the present end, in small pages.
async fn read_on(
    store: &dyn Store,
    filter: &EventFilter,
    after: Option<Cursor>,
) -> (Vec<Event>, Cursor) {
    let mut all = Vec::new();
    let mut after = after;
    loop {
        let page = store
            .read(filter, after.as_ref(), 3)
            .await
            .expect("the cursor is of this log");
        let is_last = page.events.is_empty();
        all.extend(page.events.into_iter().map(|(_, event)| event));
        if is_last {
            return (all, page.next);
        }
        after = Some(page.next);
    }
}

fn note(world: &World, state: &DeviceState, kind: EventKind) -> Change {
    let mut change = Change::of(state);
    change.event(
        state,
        &world.context("anna"),
        kind,
        None,
        json!({ "n": state.last_event }),
    );
    change
}

fn of(device: DeviceId) -> EventFilter {
    EventFilter {
        device: Some(device),
        kinds: Vec::new(),
    }
}

/// Every event is read once; those of a device in the order of their sequences, without gaps.
pub async fn the_log_has_an_order_per_device(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let (mut one, mut two) = (
        scene.device("gateway-1").await,
        scene.device("gateway-2").await,
    );
    for index in 0..4 {
        one = scene.add(&one, &format!("s-{index}")).await;
        two = scene.add(&two, &format!("s-{index}")).await;
    }
    let (all, end) = read_on(scene.other.as_ref(), &EventFilter::default(), None).await;
    assert_eq!(all.len() as u64, one.last_event + two.last_event);
    for state in [&one, &two] {
        let sequences: Vec<u64> = all
            .iter()
            .filter(|event| event.device == state.record.id)
            .map(|event| event.sequence)
            .collect();
        assert_eq!(sequences, (1..=state.last_event).collect::<Vec<_>>());
    }
    let (news, same_end) = read_on(
        scene.store.as_ref(),
        &EventFilter::default(),
        Some(end.clone()),
    )
    .await;
    assert_eq!((news, same_end), (Vec::new(), end));
    let page = scene
        .store
        .read(&EventFilter::default(), None, 5)
        .await
        .expect("works");
    for (cursor, event) in page.events {
        let (rest, _) = read_on(scene.store.as_ref(), &EventFilter::default(), Some(cursor)).await;
        let at = all
            .iter()
            .position(|other| *other == event)
            .expect("it was read before");
        assert_eq!(
            rest,
            all[at + 1..],
            "each event comes with the place behind it"
        );
    }
}

/// A filter leaves out, and its reader still gets on.
pub async fn a_filtered_reading_moves_on(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let (one, mut two) = (
        scene.device("gateway-1").await,
        scene.device("gateway-2").await,
    );
    for index in 0..5 {
        two = scene.add(&two, &format!("s-{index}")).await;
    }
    let (found, _) = read_on(scene.store.as_ref(), &of(one.record.id), None).await;
    assert_eq!(found.len(), 1);
    let kinds = EventFilter {
        device: None,
        kinds: vec![EventKind::SensorAdded, EventKind::DeviceCreated],
    };
    let (found, end) = read_on(scene.store.as_ref(), &kinds, None).await;
    assert_eq!(found.len(), 7);
    assert!(found.iter().all(|event| kinds.kinds.contains(&event.kind)));
    let none = EventFilter {
        device: Some(one.record.id),
        kinds: vec![EventKind::DeviceOffline],
    };
    let page = scene.store.read(&none, None, 3).await.expect("works");
    assert_eq!(page.events, []);
    let (rest, _) = read_on(
        scene.store.as_ref(),
        &EventFilter::default(),
        Some(page.next),
    )
    .await;
    assert_eq!(rest, [], "behind the last event looked at");
    let change = note(&scene.world, &one, EventKind::DeviceOffline);
    scene.commit(&one, change.clone()).await;
    let (news, _) = read_on(scene.store.as_ref(), &none, Some(end)).await;
    assert_eq!(news, change.events);
}

/// A reader that begins at the end gets only news.
pub async fn the_end_is_behind_all(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let start = scene.store.end().await.expect("works");
    let empty = scene
        .store
        .read(&EventFilter::default(), None, 3)
        .await
        .expect("works");
    assert_eq!(empty.events, []);
    let state = scene.device("gateway-1").await;
    for cursor in [start, empty.next] {
        let (all, _) = read_on(scene.store.as_ref(), &EventFilter::default(), Some(cursor)).await;
        assert_eq!(all.len(), 1);
    }
    let end = scene.other.end().await.expect("works");
    let (news, _) = read_on(
        scene.store.as_ref(),
        &EventFilter::default(),
        Some(end.clone()),
    )
    .await;
    assert_eq!(news, []);
    let change = note(&scene.world, &state, EventKind::DeviceLook);
    scene.commit(&state, change.clone()).await;
    let (news, _) = read_on(scene.store.as_ref(), &EventFilter::default(), Some(end)).await;
    assert_eq!(news, change.events);
}

/// What no answer ever gave is no cursor.
pub async fn a_foreign_cursor_is_refused(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    scene.device("gateway-1").await;
    for text in [
        "",
        "nonsense",
        "-1",
        "1; DROP TABLE events",
        "99999999999999999999999999",
    ] {
        let refused = scene
            .store
            .read(&EventFilter::default(), Some(&Cursor(text.to_owned())), 3)
            .await;
        assert!(
            matches!(&refused, Err(ReadError::NoSuchCursor(found)) if found == text),
            "{text:?}: {refused:?}"
        );
    }
}

/// A reader that follows while many write gets every event once.
pub async fn a_cursor_skips_nothing_under_load(fixture: &dyn Fixture) {
    const WRITERS: usize = 6;
    const EVENTS: u64 = 15;
    let scene = Scene::of(fixture);
    let mut states = Vec::new();
    for index in 0..WRITERS {
        states.push(scene.device(&format!("gateway-{index}")).await);
    }
    let world = std::sync::Arc::new(World::new(1));
    let mut writers = tokio::task::JoinSet::new();
    for (index, mut state) in states.into_iter().enumerate() {
        let store = if index % 2 == 0 {
            scene.store.clone()
        } else {
            scene.other.clone()
        };
        let world = world.clone();
        writers.spawn(async move {
            while state.last_event < EVENTS {
                let change = note(&world, &state, EventKind::DeviceLook);
                match store.commit(&change).await {
                    Ok(()) => state = state.after(change),
                    Err(CommitError::Conflict) => panic!("nobody else writes this device"),
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
    }
    let mut seen: BTreeMap<DeviceId, Vec<u64>> = BTreeMap::new();
    let mut after = None;
    let mut have_ended = false;
    loop {
        let (events, next) = read_on(scene.other.as_ref(), &EventFilter::default(), after).await;
        for event in events {
            seen.entry(event.device).or_default().push(event.sequence);
        }
        after = Some(next);
        if have_ended {
            break;
        }
        have_ended = writers.is_empty();
        while let Some(result) = writers.try_join_next() {
            result.expect("no writer fails");
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(seen.len(), WRITERS);
    for sequences in seen.values() {
        assert_eq!(*sequences, (1..=EVENTS).collect::<Vec<_>>());
    }
}

/// An event whose transaction was open while later ones were read comes after them, and none comes twice.
pub async fn a_cursor_waits_for_an_open_transaction(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let slow = scene.world.device("slow");
    let slow_event = scene.world.event(&slow, EventKind::DeviceCreated);
    let Some(open) = fixture.append_uncommitted(&slow_event).await else {
        return;
    };
    let fast = scene.device_with("fast", 2).await;
    let (before, cursor) = read_on(scene.store.as_ref(), &EventFilter::default(), None).await;
    let filtered = EventFilter {
        device: Some(slow.record.id),
        kinds: Vec::new(),
    };
    let (none, filtered_cursor) = read_on(scene.other.as_ref(), &filtered, None).await;
    assert_eq!(none, []);
    let end = scene.store.end().await.expect("works");
    open.commit().await;
    let (after, _) = read_on(scene.other.as_ref(), &EventFilter::default(), Some(cursor)).await;
    let all: Vec<Event> = before.into_iter().chain(after).collect();
    assert_eq!(all.len() as u64, 1 + fast.last_event);
    assert_eq!(all.iter().filter(|event| **event == slow_event).count(), 1);
    let (found, _) = read_on(scene.store.as_ref(), &filtered, Some(filtered_cursor)).await;
    assert_eq!(found, std::slice::from_ref(&slow_event));
    let (news, _) = read_on(scene.store.as_ref(), &EventFilter::default(), Some(end)).await;
    assert!(
        news.contains(&slow_event),
        "the end is not beyond what is still to come"
    );
}

/// A person sees the newest first.
pub async fn the_latest_come_first(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device_with("gateway-1", 3).await;
    scene.device("gateway-2").await;
    let mut all = scene.events(state.record.id).await;
    all.reverse();
    let latest = scene
        .store
        .latest(&of(state.record.id), 4)
        .await
        .expect("works");
    assert_eq!(latest, all[..4]);
    let kinds = EventFilter {
        device: None,
        kinds: vec![EventKind::DeviceCreated],
    };
    let created = scene.store.latest(&kinds, 10).await.expect("works");
    assert_eq!(created.len(), 2);
    assert_ne!(created[0].device, state.record.id);
}

/// Old events go, but none that a rebuild of the read model needs, and never from the middle.
pub async fn pruning_keeps_what_a_rebuild_needs(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device_with("with-snapshot", 2).await;
    let mut change = Change::of(&state);
    let payload = rebuild::snapshot(&state.rows);
    change.event(
        &state,
        &scene.world.context("hub"),
        EventKind::DeviceSnapshot,
        None,
        payload,
    );
    let snapshot = change.events[0].sequence;
    let state = scene.commit(&state, change).await;
    let state = scene.add(&state, "after").await;
    let without = scene.device_with("without-snapshot", 2).await;
    let gone = scene.device_with("gone", 1).await;
    let last = note(&scene.world, &gone, EventKind::DeviceDeleted).events;
    scene
        .store
        .delete(gone.record.id, gone.revision, &last)
        .await
        .expect("nobody else changes it");
    let rebuilt = rebuild::rows(&scene.events(state.record.id).await);
    let (_, end) = read_on(scene.store.as_ref(), &EventFilter::default(), None).await;

    let long_ago = state.record.audit.created_at - SignedDuration::from_hours(1);
    assert_eq!(
        scene.store.prune(long_ago, 100).await.expect("works"),
        0,
        "nothing is that old"
    );
    let now = scene.world.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(
        scene.store.prune(now, 2).await.expect("works"),
        2,
        "at most so many at once"
    );
    for device in [&state, &gone] {
        let left = scene.events(device.record.id).await;
        assert!(
            left.is_sorted_by(|a, b| a.sequence + 1 == b.sequence),
            "no gaps, whatever went first"
        );
    }
    while scene.store.prune(now, 2).await.expect("works") > 0 {}
    let left = scene.events(state.record.id).await;
    assert_eq!(left[0].sequence, snapshot);
    assert_eq!(left.len() as u64, state.last_event - snapshot + 1);
    assert_eq!(rebuild::rows(&left), rebuilt);
    assert_eq!(
        scene.events(without.record.id).await.len() as u64,
        without.last_event
    );
    assert_eq!(
        scene.events(gone.record.id).await,
        last,
        "of a deleted device its end stays"
    );
    let (news, _) = read_on(scene.store.as_ref(), &EventFilter::default(), Some(end)).await;
    assert_eq!(news, [], "pruning moves no cursor");
    scene.add(&state, "goes on").await;
}
