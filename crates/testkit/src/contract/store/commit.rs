//! Creating and committing: atomic, compared and set.

use std::collections::BTreeMap;

use holdfast_domain::{
    Name,
    edit::Edit,
    event::EventKind,
    state::{Change, DeviceRecord, DeviceState, Presence},
};
use holdfast_ports::{page::Page, store::CommitError};
use serde_json::json;

use super::{Fixture, Scene};
use crate::{
    builders::{modbus_document, small_document},
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
    taken_name.record = Some(DeviceRecord {
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
