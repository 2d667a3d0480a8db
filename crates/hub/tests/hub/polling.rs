//! The target as its agent polls it: an answer at once where it holds another, and a wait that no change slips past.

use std::time::Duration;

use holdfast_domain::{DeviceId, Fingerprint, edit::Edit};
use holdfast_hub::{HubError, agents::PolledTarget};
use serde_json::{Value, json};

use crate::support::{Agent, Fleet, LONG, Process, anna, settle, version_of};

async fn etag(process: &Process, device: DeviceId) -> String {
    match process
        .hub
        .poll_target(device, None, None, Duration::ZERO)
        .await
        .expect("it is there")
    {
        PolledTarget::Target { etag, .. } | PolledTarget::Changes { etag, .. } => etag,
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
    tokio::spawn(async move { hub.poll_target(device, Some(&held), None, LONG).await })
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
            .poll_target(agent.device, held, None, LONG)
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
        .poll_target(agent.device, Some(&etag), None, Duration::ZERO)
        .await;
    assert_eq!(
        polled.expect("it is there"),
        PolledTarget::Unchanged { etag: etag.clone() }
    );
    let waited = process
        .hub
        .poll_target(agent.device, Some(&etag), None, LONG)
        .await;
    assert_eq!(
        waited.expect("it is there"),
        PolledTarget::Unchanged { etag }
    );
}

async fn config(fleet: &Fleet, agent: &Agent) -> Fingerprint {
    let stored = fleet.stored(agent.device).await;
    stored.target_state(fleet.now()).config_fingerprint()
}

/// The document that a poll is answered with, with its entity tag; whether it is without the configuration.
async fn given(
    process: &Process,
    agent: &Agent,
    config: Option<Fingerprint>,
) -> (String, Value, bool) {
    let polled = process
        .hub
        .poll_target(agent.device, Some("\"an older one\""), config, LONG)
        .await;
    let (etag, body, is_without) = match polled.expect("it is there") {
        PolledTarget::Target { etag, body } => (etag, body, false),
        PolledTarget::Changes { etag, body } => (etag, body, true),
        unchanged @ PolledTarget::Unchanged { .. } => panic!("it is another: {unchanged:?}"),
    };
    let document: Value = serde_json::from_slice(&body).expect("JSON");
    (etag, document[agent.device.to_string()].clone(), is_without)
}

#[tokio::test(start_paused = true)]
async fn only_the_configuration_that_is_held_is_left_out() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let agent = process.established("gateway-1", &["a"]).await;
    let held = config(&fleet, &agent).await;

    let (whole_etag, mut whole, is_without) = given(&process, &agent, None).await;
    assert!(!is_without, "to an agent that does not ask for it");
    let (etag, changes, is_without) = given(&process, &agent, Some(held)).await;
    assert!(is_without);
    assert_eq!(etag, whole_etag, "the tag is of the whole");
    let members = whole.as_object_mut().expect("an object");
    members.remove("config").expect("the sensors");
    members.insert("heldConfig".into(), json!(held));
    assert_eq!(changes, whole, "nothing else is left out");

    process.add(agent.device, "b").await;
    let (_, document, is_without) = given(&process, &agent, Some(held)).await;
    assert!(!is_without && document.get("heldConfig").is_none());
    let sensors = &document["config"]["protocolAdapterDevices"];
    assert_eq!(sensors.as_array().map(Vec::len), Some(2));
}

/// A hub that was restored from a backup gives a version a second time: a number says nothing of what is held.
#[tokio::test(start_paused = true)]
async fn the_same_version_with_other_content_is_given_whole() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let (one, other) = (
        process.established("gateway-1", &["a"]).await,
        process.established("gateway-2", &["a"]).await,
    );
    let held = config(&fleet, &one).await;
    let (etag, document, is_without) = given(&process, &other, Some(held)).await;
    assert!(!is_without);
    assert_eq!(
        etag,
        given(&process, &one, None).await.0,
        "by the tags they are the same"
    );
    assert_eq!(document["version"], 1);
    let same = Fingerprint::of_bytes(b"nothing that anybody holds");
    assert!(!given(&process, &one, Some(same)).await.2);
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
            .poll_target(agent.device, Some(&etag), None, Duration::ZERO)
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
        .poll_target(agent.device, None, None, Duration::ZERO)
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
