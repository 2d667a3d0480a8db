//! What is kept of a device beside its state: the history of its target, and last values of points. And empty pages.

use holdfast_domain::{
    PointId, PointValue, Quality, SensorId, edit::look_again, event::EventKind, state::Change,
};
use holdfast_ports::{
    page::{Listed, Page},
    store::{DeviceFilter, HistoryEntry, PointRecord, SensorFilter},
};
use jiff::SignedDuration;
use serde_json::json;

use super::{Fixture, Scene, lists::every_page};
use crate::builders::{modbus_document, uuid_of};

/// Every version is in the history, and nothing else; each can be had again.
pub async fn history_is_newest_first(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device_with("gateway-1", 11).await;
    let look = look_again(&state, None, &scene.world.context("anna"));
    let state = scene.commit(&state, look).await;
    let id = state.record.id;
    let all = every_page!(3, |page| scene.other.history(id, page));
    let versions: Vec<u64> = all.iter().map(|entry| entry.version).collect();
    assert_eq!(versions, (1..=11).rev().collect::<Vec<_>>());
    let newest = &all[0];
    assert_eq!(
        (newest.sensors, newest.reason.as_deref()),
        (11, Some("because"))
    );
    assert_eq!(
        (newest.at, &newest.author),
        (
            state.target.audit.updated_at,
            &state.target.audit.updated_by
        )
    );
    assert_eq!(all[10].sensors, 1);
    let newest_items = scene.store.version(id, 11).await.expect("works");
    assert_eq!(newest_items.as_ref(), Some(&state.target.items));
    assert_eq!(
        scene
            .store
            .version(id, 4)
            .await
            .expect("works")
            .map(|items| items.len()),
        Some(4)
    );
    assert_eq!(scene.store.version(id, 12).await.expect("works"), None);
}

/// Of a point's values the latest is kept, in whatever order they come.
pub async fn points_keep_the_latest_value(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let (state, other) = (
        scene.device("gateway-1").await,
        scene.device("gateway-2").await,
    );
    let (id, at) = (state.record.id, scene.world.context("agent").now);
    let record = |name: &str, value: Option<PointValue>, after_ms: i64| PointRecord {
        point: PointId(uuid_of(name)),
        sensor: SensorId(uuid_of("sensor")),
        quality: if value.is_some() {
            Quality::Uncertain
        } else {
            Quality::Bad
        },
        reason: value.is_none().then(|| "exception 2".to_owned()),
        value,
        at: at + SignedDuration::from_millis(after_ms),
    };
    let text = |text: &str| Some(PointValue::Text(text.to_owned()));
    let first = [
        record("a", text("old"), 0),
        record("b", text("new"), 9),
        record("c", Some(PointValue::Bool(true)), 0),
    ];
    let second = [
        record("a", None, 5),
        record("b", text("old"), 5),
        record("d", Some(PointValue::Number(0.1 + 0.2)), 5),
        record("a", text("older, in the same call"), 3),
    ];
    scene.store.save_points(id, &first).await.expect("works");
    scene.other.save_points(id, &second).await.expect("works");
    scene.store.save_points(id, &[]).await.expect("works");
    scene
        .store
        .save_points(scene.world.device("gone").record.id, &first)
        .await
        .expect("best effort");
    scene
        .store
        .save_points(
            other.record.id,
            &[record("a", Some(PointValue::Integer(-5)), 1)],
        )
        .await
        .expect("works");
    let mut expected = vec![
        second[0].clone(),
        first[1].clone(),
        first[2].clone(),
        second[2].clone(),
    ];
    expected.sort_by_key(|record| record.point);
    let all = every_page!(3, |page| scene.other.points(id, page));
    assert_eq!(all, expected);
    assert_eq!(
        scene.load(id).await,
        state,
        "readings are no part of the state"
    );
    let mut change = Change::of(&state);
    change.event(
        &state,
        &scene.world.context("anna"),
        EventKind::DeviceDeleted,
        None,
        json!({}),
    );
    scene
        .store
        .delete(id, state.revision, &change.events)
        .await
        .expect("nobody else changes it");
    assert_eq!(
        scene
            .store
            .points(id, &Page::first(1))
            .await
            .expect("works")
            .items,
        []
    );
    assert_eq!(
        scene
            .store
            .points(other.record.id, &Page::first(9))
            .await
            .expect("works")
            .items
            .len(),
        1
    );
}

/// Lists of an empty store, or of a device that is not there, are empty.
pub async fn of_nothing_there_are_empty_pages(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let (nobody, page) = (scene.world.device("nobody").record.id, Page::first(1));
    let devices = scene
        .store
        .devices(&DeviceFilter::default(), &page)
        .await
        .expect("works");
    assert_eq!((devices.items, devices.next), (Vec::new(), None));
    let sensors = scene
        .store
        .sensors(&SensorFilter::default(), &page)
        .await
        .expect("works");
    assert_eq!((sensors.items, sensors.next), (Vec::new(), None));
    let history = scene.store.history(nobody, &page).await.expect("works");
    assert_eq!((history.items, history.next), (Vec::new(), None));
    let points = scene.store.points(nobody, &page).await.expect("works");
    assert_eq!((points.items, points.next), (Vec::new(), None));
    assert_eq!(scene.store.version(nobody, 1).await.expect("works"), None);
    let state = scene.device("gateway-1").await;
    let change = scene
        .world
        .add(&state, modbus_document("one", "10.0.0.5", 502));
    scene.commit(&state, change).await;
    let devices = scene
        .store
        .devices(&DeviceFilter::default(), &page)
        .await
        .expect("works");
    assert_eq!(
        (devices.items.len(), devices.next),
        (1, None),
        "a full page can be the last"
    );
}

/// Values of points that are no more go, and no others.
pub async fn points_are_forgotten(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device("gateway-1").await;
    let (id, at) = (state.record.id, scene.world.context("agent").now);
    let record = |name: &str| PointRecord {
        point: PointId(uuid_of(name)),
        sensor: SensorId(uuid_of("sensor")),
        value: Some(PointValue::Integer(1)),
        quality: Quality::Good,
        at,
        reason: None,
    };
    let kept = ["a", "b", "c"].map(record);
    scene.store.save_points(id, &kept).await.expect("works");
    let gone = [kept[0].point, kept[2].point, PointId(uuid_of("never"))];
    scene.other.forget_points(id, &gone).await.expect("works");
    scene.other.forget_points(id, &[]).await.expect("works");
    let page = Page::first(10);
    let left = scene.store.points(id, &page).await.expect("works").items;
    assert_eq!(left, [kept[1].clone()]);
}

/// Of the history the newest versions stay.
pub async fn old_versions_go(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let (one, other) = (
        scene.device_with("gateway-1", 5).await,
        scene.device_with("gateway-2", 2).await,
    );
    let id = one.record.id;
    let prune = async |keep| scene.store.prune_history(id, keep).await.expect("works");
    assert_eq!(prune(5).await, 0);
    assert_eq!(prune(2).await, 3);
    assert_eq!(prune(2).await, 0);
    let versions = |listed: Listed<HistoryEntry>| -> Vec<u64> {
        listed.items.iter().map(|entry| entry.version).collect()
    };
    let page = Page::first(10);
    let left = scene.other.history(id, &page).await.expect("works");
    assert_eq!(versions(left), [5, 4]);
    let others = scene.other.history(other.record.id, &page).await;
    assert_eq!(versions(others.expect("works")), [2, 1]);
    assert_eq!(scene.load(id).await, one);
}
