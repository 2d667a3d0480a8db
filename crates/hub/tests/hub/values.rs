//! Setpoints and stops: what is committed, who is woken, and what a wait waits for.

use std::time::Duration;

use holdfast_domain::{
    DeviceId, PointId, PointValue,
    document::{
        hold::Scope,
        setpoint::{Conformity, Hold, Policy},
    },
    event::EventKind,
    shown::{self, Shown},
};
use holdfast_hub::{
    HubError,
    agents::{PolledTarget, ReportOutcome},
    values::{Asked, InterruptRequest, SetpointEdit},
};
use holdfast_ports::store::DeviceStore as _;
use serde_json::Value;

use crate::support::{Agent, Fleet, LONG, Process, anna, settle};

fn to(value: f64) -> SetpointEdit {
    SetpointEdit {
        value: PointValue::Number(value),
        tolerance: None,
        policy: Policy::Enforce,
        valid_for_ms: None,
        key: None,
        if_revision: None,
        only_if: None,
    }
}

async fn set(process: &Process, device: DeviceId, edit: &SetpointEdit) -> Result<(), HubError> {
    let by = anna();
    let asked = Asked {
        actor: &by,
        reason: Some("winter"),
        correlation: None,
    };
    let point = writable(process, device, 0).await;
    process.hub.set_setpoint(device, point, edit, asked).await
}

/// The writable point of the device's sensor number `index`.
async fn writable(process: &Process, device: DeviceId, index: usize) -> PointId {
    let state = process.hub.state(device).await.expect("it is there");
    let sensor = &state.target.items[index].sensor;
    let points = sensor.content().binding.point_names();
    let named = points
        .iter()
        .find(|(_, name)| name.as_str() == "target-temperature");
    named.expect("a point to write").0
}

/// The agent reports that it holds everything, after `change` has changed what it says.
async fn say(
    process: &Process,
    agent: &mut Agent,
    change: impl Fn(&mut holdfast_domain::document::setpoint::SetpointReport),
) -> ReportOutcome {
    let state = process
        .store
        .load(agent.device)
        .await
        .expect("the store works");
    agent.says.hold_all(&state.expect("it is there"));
    let values = agent.says.values.as_mut().expect("just said");
    values.items.values_mut().for_each(change);
    let report = agent.says.full_report();
    process.report(agent.device, &report).await.expect("valid")
}

fn shown(state: &holdfast_domain::state::DeviceState, fleet: &Fleet) -> Shown {
    let mut all = shown::of_device(state, fleet.now());
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[tokio::test(start_paused = true)]
async fn the_same_value_again_is_no_change() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let mut agent = process.established("gateway-1", &["a"]).await;
    set(&process, agent.device, &to(72.5))
        .await
        .expect("it fits");
    say(&process, &mut agent, |_| {}).await;
    let (events, commits) = (
        fleet.kinds(agent.device).await.len(),
        process.store.counts().1,
    );
    for _ in 0..1_000 {
        set(&process, agent.device, &to(72.5))
            .await
            .expect("it is so");
        assert_eq!(
            say(&process, &mut agent, |_| {}).await,
            ReportOutcome::Unchanged
        );
    }
    assert_eq!(fleet.kinds(agent.device).await.len(), events);
    assert_eq!(process.store.counts().1, commits);
}

#[tokio::test(start_paused = true)]
async fn setting_and_stopping_wake_the_agent_wherever_it_waits() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let agent = here.established("gateway-1", &["a"]).await;
    let device = agent.device;
    let by = anna();
    let asked = Asked {
        actor: &by,
        reason: Some("belt change"),
        correlation: None,
    };
    let mut held = "\"v1.s0.h0.c0.l0\"".to_owned();
    for (step, wanted) in [
        (0, "\"v1.s1.h0.c0.l0\""),
        (1, "\"v1.s1.h1.c0.l0\""),
        (2, "\"v1.s1.h2.c0.l0\""),
    ] {
        let polls = [&here, &there].map(|process| {
            let (hub, held) = (process.hub.clone(), held.clone());
            tokio::spawn(async move { hub.poll_target(device, Some(&held), None, LONG).await })
        });
        settle().await;
        match step {
            0 => set(&here, device, &to(72.5)).await.expect("it fits"),
            1 => {
                let request = InterruptRequest {
                    scope: Scope::Device,
                    for_ms: None,
                };
                here.hub
                    .interrupt(device, request, asked)
                    .await
                    .expect("it may");
            }
            _ => there.hub.start(device, asked).await.expect("it may"),
        }
        for poll in polls {
            let polled = poll.await.expect("no panic").expect("it is there");
            assert!(
                matches!(&polled, PolledTarget::Target { etag, .. } if etag == wanted),
                "{polled:?}"
            );
        }
        held = wanted.to_owned();
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_told_the_time_that_is_left_when_it_asks() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let agent = process.established("gateway-1", &["a"]).await;
    let edit = SetpointEdit {
        valid_for_ms: Some(60_000),
        ..to(72.5)
    };
    set(&process, agent.device, &edit).await.expect("it fits");
    for left in [60_000, 50_000, 40_000] {
        let polled = process
            .hub
            .poll_target(agent.device, None, None, Duration::ZERO)
            .await;
        let Ok(PolledTarget::Target { body, .. }) = polled else {
            panic!("expected a target, found {polled:?}");
        };
        let document: Value = serde_json::from_slice(&body).expect("JSON");
        let told = &document[agent.device.to_string()]["setpoints"]["items"][0]["validForMs"];
        assert_eq!(*told, left);
        fleet.later(10);
    }
    fleet.later(60);
    let state = process.hub.state(agent.device).await.expect("it is there");
    assert_eq!(
        shown(&state, &fleet).hold,
        Hold::Expired,
        "before anybody took it away"
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_word_on_this_very_wish() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let mut agent = here.established("gateway-1", &["a"]).await;
    let (device, point) = (agent.device, writable(&here, agent.device, 0).await);
    set(&here, device, &to(50.0)).await.expect("it fits");
    say(&here, &mut agent, |_| {}).await;
    for (value, process, hold, conformity) in [
        (60.0, &here, Hold::Active, Conformity::InSync),
        (61.0, &there, Hold::Active, Conformity::InSync),
        (62.0, &here, Hold::Refused, Conformity::Drifting),
        (63.0, &here, Hold::Unreachable, Conformity::Unknown),
    ] {
        set(&here, device, &to(value)).await.expect("it fits");
        let hub = here.hub.clone();
        let waiting = tokio::spawn(async move { hub.settled(device, point, LONG).await });
        settle().await;
        assert!(
            !waiting.is_finished(),
            "what was said of the last wish does not count"
        );
        say(process, &mut agent, |item| {
            (item.hold, item.conformity) = (Hold::Writing, Conformity::Drifting);
        })
        .await;
        settle().await;
        assert!(!waiting.is_finished(), "it is being written");
        say(process, &mut agent, |item| {
            (item.hold, item.conformity) = (hold, conformity);
        })
        .await;
        let state = waiting.await.expect("no panic").expect("it is there");
        let shown = shown(&state, &fleet);
        assert_eq!((shown.hold, shown.conformity), (hold, conformity));
    }
    // Nobody says anything.
    set(&here, device, &to(64.0)).await.expect("it fits");
    let wait = Duration::from_millis(20);
    let state = here
        .hub
        .settled(device, point, wait)
        .await
        .expect("it is there");
    assert_eq!(shown(&state, &fleet).hold, Hold::Pending);
}

#[tokio::test(start_paused = true)]
async fn of_two_who_set_the_same_revision_one_wins() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let agent = here.established("gateway-1", &["a"]).await;
    set(&here, agent.device, &to(50.0)).await.expect("it fits");
    let guarded = |value| SetpointEdit {
        if_revision: Some(1),
        ..to(value)
    };
    let (one, other) = (guarded(60.0), guarded(61.0));
    let both = tokio::join!(
        set(&here, agent.device, &one),
        set(&there, agent.device, &other)
    );
    let results = [both.0, both.1];
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(
        results
            .iter()
            .any(|result| matches!(result, Err(HubError::SetpointChanged { found: Some(2) })))
    );
    let set = fleet.kinds(agent.device).await;
    assert_eq!(
        set.iter()
            .filter(|kind| **kind == EventKind::SetpointSet)
            .count(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn values_of_several_points_set_at_once_are_all_kept() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let agent = here.established("gateway-1", &["a", "b", "c", "d"]).await;
    let by = anna();
    let asked = Asked {
        actor: &by,
        reason: None,
        correlation: None,
    };
    let edit = to(72.5);
    let one = async |process: &Process, index| {
        let point = writable(process, agent.device, index).await;
        process
            .hub
            .set_setpoint(agent.device, point, &edit, asked)
            .await
            .expect("it fits");
    };
    tokio::join!(one(&here, 0), one(&there, 1), one(&here, 2), one(&there, 3));
    let values = fleet.stored(agent.device).await.target.values;
    assert_eq!((values.wishes.len(), values.revision), (4, 4));
}
