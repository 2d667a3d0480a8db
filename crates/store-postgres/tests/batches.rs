//! Commits that share a statement: each is won, lost or refused on its own.

mod common;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use common::fresh_store;
use holdfast_domain::{
    DeviceId,
    event::EventKind,
    state::{Change, DeviceState},
};
use holdfast_ports::store::{CommitError, DeviceStore};
use holdfast_store_postgres::PostgresStore;
use holdfast_testkit::world::World;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::{task::JoinSet, time::timeout};

const DEVICES: usize = 40;

/// Longer than anything here takes, so that what never comes is a failure and no hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a report may come to: something happened, and nothing is to be done about it.
fn note(world: &World, state: &DeviceState) -> Change {
    let mut change = Change::of(state);
    let context = world.context("agent");
    change.event(state, &context, EventKind::DeviceUpdated, None, json!({}));
    change
}

async fn devices(store: &PostgresStore, world: &World) -> Vec<DeviceState> {
    let mut states = Vec::new();
    for index in 0..DEVICES {
        let state = world.device(&format!("gateway-{index}"));
        let event = world.event(&state, EventKind::DeviceCreated);
        store.create(&state, &[event]).await.expect("it is new");
        let state = store.load(state.record.id).await.expect("works");
        states.push(state.expect("it was made"));
    }
    states
}

/// Commits all at once.
fn commit_at_once(
    store: &Arc<PostgresStore>,
    changes: Vec<Change>,
) -> JoinSet<(DeviceId, Result<(), CommitError>)> {
    let mut commits = JoinSet::new();
    for change in changes {
        let store = store.clone();
        commits.spawn(async move { (change.device, store.commit(&change).await) });
    }
    commits
}

#[tokio::test]
async fn a_bad_change_fails_alone() {
    let (_, store) = fresh_store().await;
    let store = Arc::new(store);
    let world = World::new(1);
    let states = devices(&store, &world).await;
    let mut changes: Vec<Change> = states.iter().map(|state| note(&world, state)).collect();
    let bad = changes[7].device;
    let same_again = changes[7].events[0].clone();
    changes[7].events.push(same_again);
    let contested = states[5].record.id;
    changes.push(note(&world, &states[5]));

    let results = commit_at_once(&store, changes).join_all().await;
    let mut won: BTreeMap<DeviceId, u32> = BTreeMap::new();
    for (device, result) in &results {
        match result {
            Ok(()) => *won.entry(*device).or_default() += 1,
            Err(CommitError::Conflict) => assert_eq!(*device, contested, "{result:?}"),
            Err(_) => assert_eq!(*device, bad, "{result:?}"),
        }
    }
    assert_eq!(won.len(), DEVICES - 1);
    assert!(
        won.values().all(|times| *times == 1) && !won.contains_key(&bad),
        "{won:?}"
    );
    for state in &states {
        let now = store
            .load(state.record.id)
            .await
            .expect("works")
            .expect("it exists");
        let commits = u64::from(state.record.id != bad);
        assert_eq!((now.revision, now.last_event), (1 + commits, 1 + commits));
    }
    store
        .commit(&note(&world, &states[7]))
        .await
        .expect("a good one is committed");
}

#[tokio::test]
async fn those_that_wait_go_together() {
    let (url, store) = fresh_store().await;
    let store = Arc::new(store);
    let world = World::new(1);
    let states = devices(&store, &world).await;
    let changes: Vec<Change> = states.iter().map(|state| note(&world, state)).collect();
    let results = commit_at_once(&store, changes).join_all().await;
    assert!(
        results.iter().all(|(_, result)| result.is_ok()),
        "{results:?}"
    );
    let mut connection = PgConnection::connect(&url)
        .await
        .expect("the server is there");
    let transactions: i64 =
        sqlx::query_scalar("SELECT count(DISTINCT xact) FROM events WHERE sequence = 2")
            .fetch_one(&mut connection)
            .await
            .expect("works");
    assert!(
        transactions < DEVICES as i64 / 2,
        "{transactions} transactions for {DEVICES} commits"
    );

    store.close().await;
    let late = store.commit(&note(&world, &states[0])).await;
    assert!(matches!(late, Err(CommitError::Store(_))), "{late:?}");
}

#[tokio::test]
async fn a_held_device_delays_no_other() {
    let (url, store) = fresh_store().await;
    let store = Arc::new(store);
    let world = World::new(1);
    let states = devices(&store, &world).await;
    let held = states[3].record.id;
    let mut holder = PgConnection::connect(&url)
        .await
        .expect("the server is there");
    sqlx::raw_sql("BEGIN")
        .execute(&mut holder)
        .await
        .expect("works");
    sqlx::query("SELECT FROM device_hot WHERE device_uuid = $1 FOR UPDATE")
        .bind(held.uuid())
        .execute(&mut holder)
        .await
        .expect("works");
    let mut commits = commit_at_once(
        &store,
        states.iter().map(|state| note(&world, state)).collect(),
    );
    for _ in 0..DEVICES - 1 {
        let next = timeout(PATIENCE, commits.join_next())
            .await
            .expect("the others go on");
        let (device, result) = next.expect("one is left").expect("it does not panic");
        assert!(result.is_ok() && device != held, "{device}: {result:?}");
    }
    sqlx::raw_sql("COMMIT")
        .execute(&mut holder)
        .await
        .expect("works");
    let results = commits.join_all().await;
    assert!(
        matches!(results[..], [(device, Ok(()))] if device == held),
        "{results:?}"
    );
}
