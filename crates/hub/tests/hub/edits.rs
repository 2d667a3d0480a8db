//! Edits: none is lost, however many come at once; whole documents are guarded; a plan does nothing.

use std::sync::atomic::Ordering;

use futures::future::join_all;
use holdfast_domain::edit::Edit;
use holdfast_hub::{
    HubError,
    edits::{Action, EditRequest},
};
use holdfast_ports::{page::Page, store::DeviceStore as _};
use holdfast_testkit::builders::modbus_document;
use serde_json::{Value, json};

use crate::support::{Fleet, anna, request, settle};

fn document(name: &str) -> Value {
    modbus_document(name, "10.0.0.5", 502)
}

#[tokio::test(start_paused = true)]
async fn of_two_hundred_concurrent_additions_none_is_lost() {
    let fleet = Fleet::new();
    let processes = [fleet.process().await, fleet.process().await];
    let device = processes[0].register("gateway-1").await.device;
    let additions = (0..200).map(|index| {
        let hub = processes[index % 2].hub.clone();
        tokio::spawn(async move {
            let edit = Edit::Add(document(&format!("sensor-{index}")));
            hub.edit(device, &edit, request(&anna())).await
        })
    });
    for added in join_all(additions).await {
        let added = added
            .expect("no panic")
            .expect("each is told that it is stored");
        assert!(added.changed && added.sensor.is_some());
    }
    let state = fleet.stored(device).await;
    assert_eq!(
        (
            state.target.items.len(),
            state.rows.len(),
            state.target.version
        ),
        (200, 200, 200)
    );
    let history = fleet
        .store
        .history(device, &Page::first(1_000))
        .await
        .expect("a history");
    assert_eq!(history.items.len(), 200, "every version is in the history");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_two_want_at_once_is_given_once() {
    let fleet = Fleet::new();
    let processes = [fleet.process().await, fleet.process().await];
    let device = processes[0].register("gateway-1").await.device;
    let additions = (0..20).map(|index| {
        let hub = processes[index % 2].hub.clone();
        tokio::spawn(async move {
            hub.edit(device, &Edit::Add(document("same")), request(&anna()))
                .await
        })
    });
    let results = join_all(additions).await;
    let stored = results
        .iter()
        .filter(|result| matches!(result, Ok(Ok(_))))
        .count();
    let taken = results
        .iter()
        .filter(|result| matches!(result, Ok(Err(HubError::NameTaken(_)))))
        .count();
    assert_eq!((stored, taken), (1, 19));
}

#[tokio::test(start_paused = true)]
async fn a_whole_document_is_guarded_by_the_version_it_was_made_on() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let device = process.register("gateway-1").await.device;
    process.add(device, "a").await;
    let anna = anna();
    let on = |version| EditRequest {
        if_version: Some(version),
        ..request(&anna)
    };
    let both = Edit::ReplaceAll(json!([document("a"), document("b")]));
    let stale = process.hub.edit(device, &both, on(0)).await;
    assert!(
        matches!(stale, Err(HubError::PreconditionFailed { found: 1 })),
        "{stale:?}"
    );
    let edited = process
        .hub
        .edit(device, &both, on(1))
        .await
        .expect("it was made on that");
    assert_eq!((edited.version, edited.changed), (2, true));
    let again = process
        .hub
        .edit(device, &both, on(2))
        .await
        .expect("it comes to the same");
    assert_eq!((again.version, again.changed), (2, false));
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_what_would_change_and_does_nothing() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let agent = process
        .established("gateway-1", &["gone", "kept", "moved"])
        .await;
    let (before, events) = (
        fleet.stored(agent.device).await,
        fleet.kinds(agent.device).await,
    );
    let mut moved = document("moved");
    moved["connection"]["host"] = json!("10.0.0.6");
    let counts = process.store.counts().1;
    let planned = process
        .hub
        .plan(
            agent.device,
            json!([document("kept"), moved, document("new")]),
        )
        .await
        .expect("valid");
    let actions: Vec<_> = planned
        .sensors
        .iter()
        .map(|sensor| (sensor.name.as_str(), sensor.action))
        .collect();
    let expected = [
        ("gone", Action::Remove),
        ("kept", Action::Keep),
        ("moved", Action::Update),
        ("new", Action::Add),
    ];
    assert_eq!(
        (planned.version, actions.as_slice()),
        (3, expected.as_slice())
    );
    assert_eq!(planned.sensors[2].paths, ["connection.host"]);
    assert_eq!(planned.sensors[3].id, None, "it would get one");
    let bad = process
        .hub
        .plan(agent.device, json!([{ "name": "x" }]))
        .await;
    assert!(matches!(bad, Err(HubError::Invalid(_))));
    settle().await;
    assert_eq!(fleet.stored(agent.device).await, before);
    assert_eq!(
        (process.store.counts().1, fleet.kinds(agent.device).await),
        (counts, events)
    );
}

#[tokio::test(start_paused = true)]
async fn going_back_to_a_version_that_never_was_is_refused() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let device = process.register("gateway-1").await.device;
    process.add(device, "a").await;
    process.add(device, "b").await;
    let back = process
        .hub
        .rollback(device, 1, request(&anna()))
        .await
        .expect("it was");
    assert_eq!((back.version, back.changed), (3, true));
    assert_eq!(fleet.stored(device).await.target.items.len(), 1);
    let never = process.hub.rollback(device, 9, request(&anna())).await;
    assert!(matches!(never, Err(HubError::NotFound(_))), "{never:?}");
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_comes_to_the_same_commits_nothing() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let agent = process.established("gateway-1", &["a"]).await;
    settle().await;
    let (loads, commits) = process.store.counts();
    for _ in 0..1_000 {
        let same = process
            .edit(agent.device, Edit::ReplaceAll(json!([document("a")])))
            .await
            .expect("valid");
        assert_eq!((same.version, same.changed), (1, false));
    }
    // Each is decided on what the store has, which another process may have changed a moment ago.
    assert_eq!(process.store.counts(), (loads + 1_000, commits));
}

#[tokio::test(start_paused = true)]
async fn what_is_the_newest_is_not_loaded_again() {
    let fleet = Fleet::new();
    let (one, other) = (fleet.process().await, fleet.process().await);
    for process in [&one, &other] {
        process.store.glances.store(true, Ordering::SeqCst);
    }
    let device = one.register("gateway-1").await.device;
    one.add(device, "a").await;
    settle().await;
    let (loads, _) = one.store.counts();
    one.add(device, "b").await;
    settle().await;
    let hub = one.hub.clone();
    let reading = tokio::spawn(async move {
        // Also at the very moment when the third is in the store and not yet in memory.
        while hub
            .state(device)
            .await
            .expect("it is there")
            .target
            .items
            .len()
            < 3
        {
            tokio::task::yield_now().await;
        }
    });
    one.add(device, "c").await;
    reading.await.expect("no panic");
    assert_eq!(one.store.counts().0, loads, "nobody else changed it");
    // What another process does is found.
    other.add(device, "d").await;
    assert_eq!(
        one.hub
            .state(device)
            .await
            .expect("it is there")
            .target
            .items
            .len(),
        4
    );
    assert_eq!(one.store.counts().0, loads + 1);
}
