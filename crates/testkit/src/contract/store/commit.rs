//! Creating, committing, deleting, touching: atomic, compared and set, whatever happens at once.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context as Task, Poll},
};

use holdfast_domain::{
    Name,
    edit::Edit,
    event::EventKind,
    state::{Change, DeviceState, Presence, TargetChange, TargetChangeKind},
};
use holdfast_ports::{
    page::Page,
    store::{CommitError, Seen, SensorFilter},
    wakeups::Wake,
};
use jiff::SignedDuration;
use serde_json::json;

use super::{Fixture, Scene, wakes::woken};
use crate::{
    builders::{agent_token, modbus_document, small_document},
    world::FakeAgent,
};

/// A device is there after it was created, for every handle, with its first events.
pub async fn a_new_device_is_stored(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let first = scene.world.device("gateway-1");
    let event = scene.world.event(&first, EventKind::DeviceCreated);
    scene
        .store
        .create(&first, std::slice::from_ref(&event))
        .await
        .expect("it is new");
    let expected = DeviceState {
        revision: 1,
        last_event: 1,
        ..first.clone()
    };
    assert_eq!(scene.load(first.record.id).await, expected);
    let seen_by_other = scene
        .other
        .load(first.record.id)
        .await
        .expect("the store works");
    assert_eq!(seen_by_other, Some(expected));
    assert_eq!(scene.events(first.record.id).await, [event]);
    assert_eq!(
        scene.other.find(&first.record.name).await.expect("works"),
        Some(first.record.id)
    );
    let unknown = Name::new("gateway-2").expect("a name");
    assert_eq!(scene.store.find(&unknown).await.expect("works"), None);
    let nobody = scene.world.device("nobody");
    assert_eq!(
        scene.store.load(nobody.record.id).await.expect("works"),
        None
    );
}

/// Ids and names are unique; what is refused leaves nothing.
pub async fn an_id_or_a_name_that_exists_is_refused(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let first = scene.device("gateway-1").await;
    let mut same_id = scene.world.device("gateway-2");
    same_id.record.id = first.record.id;
    let refused = scene.store.create(&same_id, &[]).await;
    assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    let same_name = scene.world.device("gateway-1");
    let refused = scene.create(&same_name).await;
    assert!(
        matches!(&refused, Err(CommitError::NameTaken(name)) if *name == first.record.name),
        "{refused:?}"
    );
    assert_eq!(
        scene.store.load(same_name.record.id).await.expect("works"),
        None
    );
    assert_eq!(scene.events(same_name.record.id).await, []);
    assert_eq!(scene.load(first.record.id).await, first);
}

/// One change can touch everything at once.
pub async fn a_change_is_committed_whole(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device_with("gateway-1", 3).await;
    let mut agent = FakeAgent::of(&state);
    agent.establish(&state);
    let change = scene
        .world
        .report(&state, agent.full_report())
        .expect("everything is new");
    let mut state = scene.commit(&state, change).await;
    let gone = state.target.items[0].sensor.id();
    let edition = scene
        .world
        .edit(&state, Edit::Remove(gone))
        .expect("the sensor exists");
    let mut change = edition.change.expect("a removal changes something");
    let mut record = state.record.clone();
    record.name = Name::new("gateway-one").expect("a name");
    record.labels = BTreeMap::from([("row".to_owned(), "3".to_owned())]);
    change.record = Some(record.clone());
    change.deletes.push(state.target.items[1].sensor.id());
    change.presence = Some(Presence {
        silent: true,
        ..state.presence.clone()
    });
    state = scene.commit(&state, change).await;
    assert_eq!(
        scene.store.find(&record.name).await.expect("works"),
        Some(record.id)
    );
    assert_eq!(state.rows.len(), 2);
}

/// A change whose last part can't be stored leaves nothing of its other parts.
pub async fn a_commit_that_fails_at_its_end_leaves_nothing(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    scene.device("gateway-2").await;
    let state = scene.device_with("gateway-1", 2).await;
    let (id, events) = (state.record.id, scene.events(state.record.id).await);
    let good = scene
        .world
        .add(&state, modbus_document("one-more", "10.0.0.6", 502));

    let mut twice_the_same_event = good.clone();
    twice_the_same_event.events.push(good.events[0].clone());
    let failed = scene.store.commit(&twice_the_same_event).await;
    assert!(matches!(failed, Err(CommitError::Store(_))), "{failed:?}");

    let mut taken_name = good.clone();
    let name = Name::new("gateway-2").expect("a name");
    taken_name.record = Some(holdfast_domain::state::DeviceRecord {
        name: name.clone(),
        ..state.record.clone()
    });
    let failed = scene.store.commit(&taken_name).await;
    assert!(
        matches!(&failed, Err(CommitError::NameTaken(taken)) if *taken == name),
        "{failed:?}"
    );

    let mut old_version = good.clone();
    let target = old_version
        .target
        .as_mut()
        .expect("an edit changes the target");
    target.target.version = state.target.version;
    let failed = scene.store.commit(&old_version).await;
    assert!(matches!(failed, Err(CommitError::Store(_))), "{failed:?}");

    assert_eq!(scene.load(id).await, state);
    assert_eq!(scene.events(id).await, events);
    let listed = scene
        .store
        .history(id, &Page::first(10))
        .await
        .expect("works");
    assert_eq!(listed.items.len(), 2);
    scene.commit(&state, good).await;
}

/// A change that was decided on another revision changes nothing.
pub async fn a_stale_change_is_a_conflict(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device("gateway-1").await;
    let stale = scene
        .world
        .add(&state, modbus_document("late", "10.0.0.5", 502));
    let now = scene.add(&state, "first").await;
    let refused = scene.other.commit(&stale).await;
    assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    assert_eq!(scene.load(state.record.id).await, now);
    let nobody = scene.world.device("nobody");
    let refused = scene.store.commit(&Change::of(&nobody)).await;
    assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
}

/// Of the changes decided on one revision, exactly one is committed.
pub async fn of_many_committers_one_wins_each_revision(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let mut state = scene.device("gateway-1").await;
    for round in 0..5 {
        let mut committers = tokio::task::JoinSet::new();
        for index in 0..8 {
            let store = if index % 2 == 0 {
                scene.store.clone()
            } else {
                scene.other.clone()
            };
            let name = format!("s-{round}-{index}");
            let change = scene
                .world
                .add(&state, modbus_document(&name, "10.0.0.5", 502));
            committers.spawn(async move { store.commit(&change).await.map(|()| change) });
        }
        let results = committers.join_all().await;
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert!(
            lost.iter()
                .all(|result| matches!(result, Err(CommitError::Conflict))),
            "{lost:?}"
        );
        let [Ok(winner)] = <[_; 1]>::try_from(won).expect("one wins") else {
            unreachable!("won is what is Ok")
        };
        state = state.after(winner);
        assert_eq!(scene.load(state.record.id).await, state);
    }
}

/// Many people edit one device at once, over several handles: every edit is kept.
pub async fn concurrent_edits_are_all_kept(fixture: &dyn Fixture) {
    const PEOPLE: u64 = 8;
    const EDITS: u64 = 25;
    const SENSORS: u64 = 4;
    let scene = Arc::new(Scene::of(fixture));
    let id = scene.device("gateway-1").await.record.id;
    let mut people = tokio::task::JoinSet::new();
    for person in 0..PEOPLE {
        let scene = scene.clone();
        people.spawn(async move {
            let store = if person % 2 == 0 {
                &scene.store
            } else {
                &scene.other
            };
            for index in 0..EDITS {
                let name = format!("s-{person}-{}", index % SENSORS);
                loop {
                    let state = store.load(id).await.expect("works").expect("exists");
                    let edit = match state.wanted_by_name(&name) {
                        None => Edit::Add(small_document(&name)),
                        Some(sensor) => {
                            Edit::Patch(sensor.id(), json!({ "pollInterval": 100 + index }))
                        }
                    };
                    let edition = scene.world.edit(&state, edit).expect("it is valid");
                    let change = edition.change.expect("every edit changes something");
                    match store.commit(&change).await {
                        Ok(()) => break,
                        Err(CommitError::Conflict) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        });
    }
    people.join_all().await;
    let state = scene.load(id).await;
    assert_eq!(state.target.version, PEOPLE * EDITS);
    assert_eq!(state.target.items.len() as u64, PEOPLE * SENSORS);
    assert_eq!(state.rows.len() as u64, PEOPLE * SENSORS);
    let sequences: Vec<u64> = scene
        .events(id)
        .await
        .iter()
        .map(|event| event.sequence)
        .collect();
    assert_eq!(sequences, (1..=state.last_event).collect::<Vec<_>>());
}

/// A commit whose future is dropped at any point has happened, or has not; whoever waits for it is woken either way,
/// and the store goes on.
pub async fn an_interrupted_commit_leaves_all_or_nothing(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let mut state = scene.device_with("gateway-1", 2).await;
    let id = state.record.id;
    let mut wakes = scene.store.subscribe();
    for polls in 0..12 {
        let document = modbus_document(&format!("more-{polls}"), "10.0.0.6", 502);
        let change = scene.world.add(&state, document);
        while wakes.try_recv().is_ok() {}
        interrupted(polls, scene.store.commit(&change)).await;
        match scene.store.commit(&change).await {
            Ok(()) | Err(CommitError::Conflict) => {}
            Err(error) => panic!("{error:?}"),
        }
        woken(&mut wakes, Wake::Desired(id)).await;
        let after = state.after(change);
        assert_eq!(scene.load(id).await, after, "interrupted at poll {polls}");
        state = after;
    }
    let events = scene.events(id).await;
    let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=state.last_event).collect::<Vec<_>>());
}

/// Polls a future that often, each time it asks for it, and drops it.
async fn interrupted<F: Future>(polls: u32, future: F) {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|task: &mut Task<'_>| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        match future.as_mut().poll(task) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending if left == 0 => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

/// A change of a thousand sensors is committed and loaded like any other.
pub async fn a_thousand_sensors_are_one_commit(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device("gateway-1").await;
    let all: Vec<_> = (0..1_000)
        .map(|index| small_document(&format!("s-{index}")))
        .collect();
    let edition = scene
        .world
        .edit(&state, Edit::ReplaceAll(json!(all)))
        .expect("valid");
    let state = scene
        .commit(&state, edition.change.expect("a change"))
        .await;
    let mut agent = FakeAgent::of(&state);
    agent.establish(&state);
    let change = scene
        .world
        .report(&state, agent.full_report())
        .expect("all is new");
    let state = scene.commit(&state, change).await;
    let edition = scene
        .world
        .edit(&state, Edit::ReplaceAll(json!([])))
        .expect("valid");
    let state = scene
        .commit(&state, edition.change.expect("a change"))
        .await;
    agent.establish(&state);
    let change = scene
        .world
        .report(&state, agent.full_report())
        .expect("all stopped");
    let state = scene.commit(&state, change).await;
    assert!(state.rows.is_empty());
}

/// Of a deleted device only its events stay; its tokens are ended as such.
pub async fn a_deleted_device_leaves_its_events(fixture: &dyn Fixture) {
    use holdfast_ports::tokens::{Revocation, RevocationKind};
    let scene = Scene::of(fixture);
    let state = scene.device_with("gateway-1", 2).await;
    let id = state.record.id;
    let token = agent_token("agent of gateway-1", id, state.record.audit.created_at);
    scene.store.add_token(&token).await.expect("it is new");
    let mut change = Change::of(&state);
    let context = scene.world.context("anna");
    change.event(&state, &context, EventKind::DeviceDeleted, None, json!({}));

    let refused = scene
        .store
        .delete(id, state.revision - 1, &change.events)
        .await;
    assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    assert_eq!(scene.load(id).await, state);

    scene
        .store
        .delete(id, state.revision, &change.events)
        .await
        .expect("nobody else changes it");
    let page = Page::first(10);
    assert_eq!(scene.other.load(id).await.expect("works"), None);
    assert_eq!(
        scene.store.find(&state.record.name).await.expect("works"),
        None
    );
    assert_eq!(
        scene.store.history(id, &page).await.expect("works").items,
        []
    );
    assert_eq!(scene.store.version(id, 1).await.expect("works"), None);
    assert_eq!(
        scene
            .store
            .sensors(&SensorFilter::default(), &page)
            .await
            .expect("works")
            .items,
        []
    );
    assert_eq!(
        scene.store.points(id, &page).await.expect("works").items,
        []
    );
    let kinds: Vec<EventKind> = scene
        .events(id)
        .await
        .iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(kinds.first(), Some(&EventKind::DeviceCreated));
    assert_eq!(kinds.last(), Some(&EventKind::DeviceDeleted));
    let ended = scene
        .store
        .find_token(&token.hash)
        .await
        .expect("works")
        .expect("it is still found");
    assert_eq!(
        ended.revoked,
        Some(Revocation {
            at: context.now,
            kind: RevocationKind::DeviceDeleted
        })
    );

    let refused = scene.store.delete(id, state.revision, &[]).await;
    assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    let again = scene.device("gateway-1").await;
    assert_ne!(again.record.id, id, "the name is free again");
}

/// "Last seen" only moves forward, moves no revision, and a gone device is left out. The silent ones are named.
pub async fn touch_notes_the_latest_time(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let (one, two) = (
        scene.device("gateway-1").await,
        scene.device("gateway-2").await,
    );
    let mut change = Change::of(&two);
    change.presence = Some(Presence {
        silent: true,
        ..Presence::default()
    });
    let two = scene.commit(&two, change).await;
    let gone = scene.world.device("gone");
    let early = scene.world.context("agent").now;
    let late = early + SignedDuration::from_secs(5);
    let agent = FakeAgent::of(&one).heartbeat();
    let seen = |device: &DeviceState, at| Seen {
        device: device.record.id,
        at,
        order: Some(agent.order),
    };
    let first = [seen(&two, early), seen(&gone, late), seen(&one, late)];
    let silent = scene.store.touch(&first).await.expect("works");
    assert_eq!(silent, [two.record.id]);
    let unordered = Seen {
        order: None,
        ..seen(&two, late)
    };
    let twice = [
        seen(&two, early),
        unordered,
        seen(&one, early),
        seen(&two, early),
    ];
    let silent = scene.other.touch(&twice).await.expect("works");
    assert_eq!(silent, [two.record.id], "each is named once");
    assert_eq!(scene.store.touch(&[]).await.expect("works"), []);
    for state in [one, two] {
        let mut expected = state;
        expected.presence.last_seen_at = Some(late);
        assert_eq!(scene.load(expected.record.id).await, expected);
    }
}

/// Rows are stale exactly while their device is silent, those that come meanwhile too.
pub async fn a_silent_device_makes_its_rows_stale(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device_with("gateway-1", 2).await;
    let neighbour = scene.device_with("gateway-2", 1).await;
    let stale = async || {
        let filter = SensorFilter {
            device: Some(state.record.id),
            ..SensorFilter::default()
        };
        let rows = scene
            .other
            .sensors(&filter, &Page::first(10))
            .await
            .expect("works")
            .items;
        rows.iter().map(|record| record.stale).collect::<Vec<_>>()
    };
    assert_eq!(stale().await, [false, false]);
    let mut change = Change::of(&state);
    change.presence = Some(Presence {
        silent: true,
        ..state.presence.clone()
    });
    let now = scene.commit(&state, change).await;
    assert_eq!(stale().await, [true, true]);
    let now = scene.add(&now, "one-more").await;
    assert_eq!(stale().await, [true, true, true]);
    let mut change = Change::of(&now);
    change.presence = Some(Presence {
        silent: false,
        ..now.presence.clone()
    });
    change.target = Some(TargetChange {
        target: now.target.clone(),
        reason: None,
        kind: TargetChangeKind::Look,
    });
    scene.commit(&now, change).await;
    assert_eq!(stale().await, [false, false, false]);
    assert_eq!(scene.load(neighbour.record.id).await, neighbour);
}
