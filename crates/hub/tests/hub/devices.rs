//! Devices as operators manage them: what may be deleted, and what "look again" waits for.

use std::{collections::BTreeMap, time::Duration};

use holdfast_domain::{DeviceId, Name, edit::Edit, event::EventKind};
use holdfast_hub::{HubError, agents::ReportOutcome, devices::DeviceEdit};
use holdfast_ports::store::DeviceStore as _;

use crate::support::{Fleet, LONG, Process, anna, settle};

async fn delete(process: &Process, device: DeviceId, force: bool) -> Result<(), String> {
    match process
        .hub
        .delete_device(device, force, &anna(), None)
        .await
    {
        Ok(()) => Ok(()),
        Err(HubError::Refused(why)) => Err(why),
        Err(other) => panic!("expected a refusal, found {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_may_still_run_something_is_not_deleted() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let mut agent = process.established("gateway-1", &["a"]).await;
    let why = delete(&process, agent.device, false)
        .await
        .expect_err("a sensor is wanted");
    assert!(why.contains("still has 1 sensors"), "{why}");

    let sensor = fleet.stored(agent.device).await.target.items[0].sensor.id();
    process
        .edit(agent.device, Edit::Remove(sensor))
        .await
        .expect("it is there");
    let why = delete(&process, agent.device, false)
        .await
        .expect_err("it still runs");
    assert!(why.contains("not yet confirmed"), "{why}");

    process.work(&mut agent).await;
    let report = agent.says.full_report();
    assert_eq!(
        process.report(agent.device, &report).await.expect("valid"),
        ReportOutcome::Taken
    );
    delete(&process, agent.device, false)
        .await
        .expect("the agent has confirmed that nothing runs");
    assert!(
        fleet
            .store
            .load(agent.device)
            .await
            .expect("the store works")
            .is_none()
    );
    assert_eq!(
        fleet.kinds(agent.device).await.last(),
        Some(&EventKind::DeviceDeleted),
        "its events stay"
    );
    assert!(matches!(
        process.hub.state(agent.device).await,
        Err(HubError::DeviceGone(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_device_without_an_agent_or_by_force_is_deleted_at_once() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let name = Name::new("new").expect("a name");
    let made = process
        .hub
        .create_device(name, BTreeMap::new(), &anna(), None)
        .await
        .expect("new");
    process.add(made.record.id, "a").await;
    delete(&process, made.record.id, false)
        .await
        .expect("no agent ever registered");

    let agent = process.established("gateway-1", &["a"]).await;
    delete(&process, agent.device, true).await.expect("forced");
    let again = process
        .hub
        .delete_device(agent.device, true, &anna(), None)
        .await;
    assert!(matches!(again, Err(HubError::DeviceGone(_))));
}

#[tokio::test(start_paused = true)]
async fn a_name_is_of_one_device_and_a_change_to_the_same_is_none() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let (one, other) = (
        process.register("one").await,
        process.register("other").await,
    );
    let named = |name: &str| DeviceEdit {
        name: Some(Name::new(name).expect("a name")),
        labels: None,
    };
    let taken = process
        .hub
        .update_device(other.device, &named("one"), &anna(), None)
        .await;
    assert!(matches!(taken, Err(HubError::NameTaken(_))), "{taken:?}");
    let counts = process.store.counts().1;
    process
        .hub
        .update_device(one.device, &named("one"), &anna(), None)
        .await
        .expect("the same");
    assert_eq!(process.store.counts().1, counts);
    let renamed = process
        .hub
        .update_device(one.device, &named("first"), &anna(), None)
        .await
        .expect("free");
    assert_eq!(renamed.record.name.as_str(), "first");
    process
        .hub
        .update_device(other.device, &named("one"), &anna(), None)
        .await
        .expect("free now");

    let many = (0..65)
        .map(|index| (format!("k{index}"), String::new()))
        .collect();
    let labelled = DeviceEdit {
        name: None,
        labels: Some(many),
    };
    let refused = process
        .hub
        .update_device(one.device, &labelled, &anna(), None)
        .await;
    assert!(matches!(refused, Err(HubError::Invalid(_))));
}

#[tokio::test(start_paused = true)]
async fn look_again_waits_for_the_look() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let mut agent = here.established("gateway-1", &["a", "b"]).await;
    for process in [&here, &there] {
        let (hub, device) = (here.hub.clone(), agent.device);
        let asked = tokio::spawn(async move {
            hub.reconcile(device, LONG, Some("storm"), &anna(), None)
                .await
        });
        settle().await;
        // A report that does not come of the look is not what is waited for.
        let heartbeat = agent.says.heartbeat();
        process
            .report(agent.device, &heartbeat)
            .await
            .expect("valid");
        settle().await;
        assert!(!asked.is_finished());

        process.work(&mut agent).await;
        let lost = agent.says.running.pop();
        let looked = agent.says.full_report();
        assert_eq!(
            process.report(agent.device, &looked).await.expect("valid"),
            ReportOutcome::Taken
        );
        let answer = asked.await.expect("no panic").expect("it is there");
        assert!(answer.answered && !answer.silent);
        assert_eq!(answer.drift.len(), 1, "what then drifts");
        agent.says.running.extend(lost);
    }
    assert_eq!(
        fleet
            .kinds(agent.device)
            .await
            .iter()
            .filter(|kind| **kind == EventKind::DeviceLook)
            .count(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn look_again_says_that_nobody_answered() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let agent = process.established("gateway-1", &["a"]).await;
    let wait = Duration::from_millis(20);
    let looked = process
        .hub
        .reconcile(agent.device, wait, None, &anna(), None)
        .await
        .expect("it is there");
    assert!(!looked.answered && looked.drift.is_empty());
}
