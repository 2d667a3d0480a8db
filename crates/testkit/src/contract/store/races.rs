//! Many at once, and some that give up half way: no edit is lost, nothing is half done.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context as Task, Poll},
};

use holdfast_domain::edit::Edit;
use holdfast_ports::{store::CommitError, wakeups::Wake};
use serde_json::json;

use super::{Fixture, Scene, wakes::woken};
use crate::builders::{modbus_document, small_document};

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
