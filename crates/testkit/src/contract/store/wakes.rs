//! Wake-ups: after what they tell of is visible, for everyone, and for nothing that calls for none.

use std::{sync::Arc, time::Duration};

use holdfast_domain::{
    edit::look_again,
    state::{Change, Presence},
};
use holdfast_ports::{store::Seen, wakeups::Wake};
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use super::{Fixture, Scene, Store};
use crate::{
    builders::{agent_token, modbus_document, operator_token},
    world::FakeAgent,
};

/// Longer than any wake-up takes, so that one that never comes is a failure and no hang.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for a wake-up; others may come before it.
pub(super) async fn woken(wakes: &mut Receiver<Wake>, expected: Wake) {
    let wait = async {
        while wakes
            .recv()
            .await
            .expect("the store is there, and few wake-ups are under way")
            != expected
        {}
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("expected {expected:?}, nothing came"));
}

fn handles(fixture: &dyn Fixture) -> Vec<Arc<dyn Store>> {
    if fixture.wakes_others() {
        vec![fixture.store(), fixture.other()]
    } else {
        vec![fixture.store()]
    }
}

/// Whoever is woken finds what it was woken for.
pub async fn a_wake_comes_after_what_it_tells_of(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let mut state = scene.device("gateway-1").await;
    let mut handles: Vec<_> = handles(fixture)
        .into_iter()
        .map(|store| (store.subscribe(), store))
        .collect();
    for (_, store) in &handles {
        assert!(store.is_connected());
    }
    for step in 0..5 {
        let change = if step == 3 {
            look_again(&state, None, &scene.world.context("anna"))
        } else {
            scene.world.add(
                &state,
                modbus_document(&format!("s-{step}"), "10.0.0.5", 502),
            )
        };
        let after = state.after(change.clone());
        let store = scene.store.clone();
        let committed = tokio::spawn(async move { store.commit(&change).await });
        for (wakes, store) in &mut handles {
            // One of an earlier commit may come twice; the last to come must not come before its commit.
            loop {
                woken(wakes, Wake::Desired(state.record.id)).await;
                let found = store.load(state.record.id).await.expect("works");
                if found.as_ref() == Some(&after) {
                    break;
                }
                assert_eq!(found.as_ref(), Some(&state));
            }
        }
        committed
            .await
            .expect("it ends")
            .expect("nobody else changes the device");
        state = after;
    }
}

/// Reports, "last seen" and refused commits wake nobody: wake-ups are for changes of what is desired.
pub async fn what_wakes_nobody(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device_with("gateway-1", 1).await;
    let marker = scene.device("gateway-2").await;
    let mut wakes = scene.store.subscribe();
    let mut agent = FakeAgent::of(&state);
    agent.establish(&state);
    let report = agent.full_report();
    let now = scene.world.context("agent").now;
    scene
        .store
        .touch(&[Seen {
            device: state.record.id,
            at: now,
            order: None,
        }])
        .await
        .expect("works");
    let state = scene.load(state.record.id).await;
    let change = scene.world.report(&state, report).expect("all is new");
    let stale = change.clone();
    let state = scene.commit(&state, change).await;
    scene.store.commit(&stale).await.expect_err("it is stale");
    let mut change = Change::of(&state);
    change.presence = Some(Presence {
        silent: true,
        ..state.presence.clone()
    });
    scene.commit(&state, change).await;
    let token = agent_token("agent", state.record.id, now);
    scene.store.add_token(&token).await.expect("it is new");

    let last = look_again(&marker, None, &scene.world.context("anna"));
    scene.commit(&marker, last).await;
    let first = tokio::time::timeout(PATIENCE, wakes.recv())
        .await
        .expect("the last commit wakes");
    assert_eq!(
        first.expect("the store is there"),
        Wake::Desired(marker.record.id)
    );
    while let Ok(wake) = wakes.try_recv() {
        assert_eq!(
            wake,
            Wake::Desired(marker.record.id),
            "one that comes twice does no harm"
        );
    }
    assert_eq!(wakes.try_recv(), Err(TryRecvError::Empty));
}

/// A deleted device wakes those who wait for its target; an ended token those who remember it.
pub async fn deletion_and_revocation_wake(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device("gateway-1").await;
    let now = scene.world.context("anna").now;
    let (agent, operator) = (
        agent_token("agent", state.record.id, now),
        operator_token("anna", holdfast_ports::tokens::Role::Admin, now),
    );
    for token in [&agent, &operator] {
        scene.store.add_token(token).await.expect("it is new");
    }
    let mut handles: Vec<_> = handles(fixture)
        .into_iter()
        .map(|store| (store.subscribe(), store))
        .collect();
    scene
        .store
        .revoke_token(operator.id, now)
        .await
        .expect("works");
    for (wakes, store) in &mut handles {
        woken(wakes, Wake::Tokens).await;
        let found = store
            .find_token(&operator.hash)
            .await
            .expect("works")
            .expect("it is found");
        assert!(found.revoked.is_some());
    }
    scene
        .store
        .delete(state.record.id, state.revision, &[])
        .await
        .expect("nobody else changes it");
    for (wakes, store) in &mut handles {
        let mut missing = vec![Wake::Desired(state.record.id), Wake::Tokens];
        let wait = async {
            while !missing.is_empty() {
                let wake = wakes.recv().await.expect("the store is there");
                missing.retain(|expected| *expected != wake);
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("both come");
        assert_eq!(store.load(state.record.id).await.expect("works"), None);
        let found = store
            .find_token(&agent.hash)
            .await
            .expect("works")
            .expect("it is found");
        assert!(found.revoked.is_some());
    }
}
