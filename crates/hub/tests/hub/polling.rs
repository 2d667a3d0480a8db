//! The target as its agent polls it: an answer at once where it holds another, and a wait that no change slips past.

use std::time::Duration;

use holdfast_domain::{DeviceId, edit::Edit};
use holdfast_hub::{HubError, agents::PolledTarget};
use serde_json::json;

use crate::support::{Agent, Fleet, LONG, Process, anna, settle, version_of};

async fn etag(process: &Process, device: DeviceId) -> String {
    match process
        .hub
        .poll_target(device, None, Duration::ZERO)
        .await
        .expect("it is there")
    {
        PolledTarget::Target { etag, .. } => etag,
        unchanged @ PolledTarget::Unchanged { .. } => {
            panic!("an agent without a copy got {unchanged:?}")
        }
    }
}

fn spawn_poll(
    process: &Process,
    agent: &Agent,
    held: String,
) -> tokio::task::JoinHandle<Result<PolledTarget, HubError>> {
    let (hub, device) = (process.hub.clone(), agent.device);
    tokio::spawn(async move { hub.poll_target(device, Some(&held), LONG).await })
}

#[tokio::test(start_paused = true)]
async fn only_an_agent_that_holds_the_target_is_told_that_it_is_unchanged() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let agent = process.register("gateway-1").await;
    process.add(agent.device, "a").await;
    let etag = etag(&process, agent.device).await;
    for held in [None, Some(""), Some("\"v0.l0\""), Some("*"), Some("\"v1\"")] {
        let polled = process
            .hub
            .poll_target(agent.device, held, LONG)
            .await
            .expect("it is there");
        let PolledTarget::Target { etag: given, body } = polled else {
            panic!("{held:?} is not what is wanted")
        };
        assert_eq!(given, etag);
        assert_eq!(version_of(&body), json!(1));
    }
    let polled = process
        .hub
        .poll_target(agent.device, Some(&etag), Duration::ZERO)
        .await;
    assert_eq!(
        polled.expect("it is there"),
        PolledTarget::Unchanged { etag: etag.clone() }
    );
    let waited = process
        .hub
        .poll_target(agent.device, Some(&etag), LONG)
        .await;
    assert_eq!(
        waited.expect("it is there"),
        PolledTarget::Unchanged { etag }
    );
}

#[tokio::test(start_paused = true)]
async fn a_thousand_polls_cost_the_store_nothing() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let agent = process.established("gateway-1", &["a"]).await;
    let etag = etag(&process, agent.device).await;
    let (counts, events) = (
        process.store.counts(),
        fleet.kinds(agent.device).await.len(),
    );
    for _ in 0..1_000 {
        let polled = process
            .hub
            .poll_target(agent.device, Some(&etag), Duration::ZERO)
            .await;
        assert!(matches!(polled, Ok(PolledTarget::Unchanged { .. })));
    }
    assert_eq!(process.store.counts(), counts);
    assert_eq!(fleet.kinds(agent.device).await.len(), events);
}

#[tokio::test(start_paused = true)]
async fn an_edit_ends_the_wait_here_and_in_every_process() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let agent = here.register("gateway-1").await;
    for (version, process) in [(1, &here), (2, &there)] {
        let held = etag(process, agent.device).await;
        let poll = spawn_poll(process, &agent, held);
        settle().await;
        assert!(!poll.is_finished(), "it waits");
        let begun = tokio::time::Instant::now();
        here.add(agent.device, &format!("s{version}")).await;
        let polled = poll.await.expect("no panic").expect("it is there");
        let PolledTarget::Target { body, .. } = polled else {
            panic!("it was changed")
        };
        assert_eq!(version_of(&body), json!(version));
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "by the edit, not by the end of the wait"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_between_the_look_and_the_wait_is_not_lost() {
    let fleet = Fleet::new();
    let (editing, polling) = (fleet.process().await, fleet.process().await);
    let agent = editing.register("gateway-1").await;
    let held = etag(&editing, agent.device).await;

    let gate = polling.store.hold_next_load();
    let poll = spawn_poll(&polling, &agent, held);
    gate.reached.notified().await;
    // The poll has read the old state and has not yet begun to wait.
    editing.add(agent.device, "a").await;
    settle().await;
    let begun = tokio::time::Instant::now();
    gate.open.notify_one();
    let polled = poll.await.expect("no panic").expect("it is there");
    assert!(matches!(polled, PolledTarget::Target { .. }), "{polled:?}");
    assert!(begun.elapsed() < Duration::from_secs(1));

    // Nor is the old state remembered.
    let polled = polling
        .hub
        .poll_target(agent.device, None, Duration::ZERO)
        .await
        .expect("it is there");
    let PolledTarget::Target { body, .. } = polled else {
        panic!("no copy is held")
    };
    assert_eq!(version_of(&body), json!(1));
}

#[tokio::test(start_paused = true)]
async fn a_request_to_look_again_ends_the_wait_too() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let agent = process.established("gateway-1", &["a"]).await;
    let held = etag(&process, agent.device).await;
    let poll = spawn_poll(&process, &agent, held.clone());
    settle().await;
    let asked = process
        .hub
        .reconcile(agent.device, Duration::ZERO, None, &anna(), None)
        .await;
    assert!(!asked.expect("it is there").answered);
    let PolledTarget::Target { etag, body } = poll.await.expect("no panic").expect("it is there")
    else {
        panic!("it is to look");
    };
    assert_ne!(etag, held);
    assert_eq!(
        version_of(&body),
        json!(1),
        "the configuration is what it was"
    );
}

#[tokio::test(start_paused = true)]
async fn what_changes_nothing_wakes_nobody() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let mut agent = process.established("gateway-1", &["a"]).await;
    let held = etag(&process, agent.device).await;
    let poll = spawn_poll(&process, &agent, held);
    settle().await;
    let sensor = fleet.stored(agent.device).await.target.items[0].sensor.id();
    let same = process
        .edit(agent.device, Edit::Patch(sensor, json!({})))
        .await
        .expect("valid");
    assert!(!same.changed);
    agent.says.running.clear();
    process
        .report(agent.device, &agent.says.full_report())
        .await
        .expect("valid");
    settle().await;
    assert!(
        !poll.is_finished(),
        "reports are not what an agent waits for"
    );
    assert!(matches!(
        poll.await.expect("no panic"),
        Ok(PolledTarget::Unchanged { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn deletion_ends_the_wait() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let agent = here.register("gateway-1").await;
    let mut polls = Vec::new();
    for process in [&here, &there] {
        let held = etag(process, agent.device).await;
        polls.push(spawn_poll(process, &agent, held));
    }
    settle().await;
    let begun = tokio::time::Instant::now();
    here.hub
        .delete_device(agent.device, false, &anna(), None)
        .await
        .expect("nothing runs on it");
    for poll in polls {
        let ended = poll.await.expect("no panic");
        assert!(
            matches!(ended, Err(HubError::DeviceGone(device)) if device == agent.device),
            "{ended:?}"
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
}
