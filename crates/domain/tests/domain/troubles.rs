//! Trouble that persists is told of once, and again when it is over.

use holdfast_domain::{
    HealthStatus,
    document::setpoint::{Conformity, Hold},
    event::EventKind,
    receive::Received,
    wish,
};
use jiff::SignedDuration;
use serde_json::json;

use crate::support::{
    life::{Agent, Life, PATIENCE},
    wishes::{boiler, item, request, says, wish as set},
};

const TOLD: [EventKind; 2] = [EventKind::TroubleBegan, EventKind::TroubleEnded];

const fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// What was told of trouble since the log had `from` events: the kind of event, and of trouble.
fn told_since(life: &Life, from: usize) -> Vec<(EventKind, String)> {
    let of_trouble = life.log[from..]
        .iter()
        .filter(|event| TOLD.contains(&event.kind));
    let words = of_trouble.map(|event| {
        let kind = event.payload["kind"].as_str().expect("a kind");
        (event.kind, kind.to_owned())
    });
    words.collect()
}

fn began(kind: &str) -> Vec<(EventKind, String)> {
    vec![(EventKind::TroubleBegan, kind.to_owned())]
}

fn ended(kind: &str) -> Vec<(EventKind, String)> {
    vec![(EventKind::TroubleEnded, kind.to_owned())]
}

fn makes_due(received: &Received) -> bool {
    matches!(received, Received::Changed(change) if change.makes_due())
}

/// Looks at the device each time that it is due, and lets its agent be heard of meanwhile.
fn watch_for(life: &mut Life, agent: &mut Agent, lasting: SignedDuration) {
    let until = life.now + lasting;
    while life.now < until {
        let next = life.watch(SignedDuration::ZERO).next;
        life.report(agent.heartbeat());
        life.state.presence.last_seen_at = Some(life.now);
        life.now = next.min(life.now + seconds(30)).min(until).max(life.now);
    }
    life.watch(SignedDuration::ZERO);
}

#[test]
fn an_instrument_that_is_away_for_long_is_told_of_once_and_again_when_it_is_back() {
    let (mut life, mut agent, sensor, _) = boiler();
    let from = life.log.len();
    agent.online(sensor, HealthStatus::Offline);
    life.report(agent.full());
    watch_for(&mut life, &mut agent, seconds(290));
    assert_eq!(told_since(&life, from), [], "it may come back by itself");
    watch_for(&mut life, &mut agent, seconds(15));
    assert_eq!(told_since(&life, from), began("sensorOffline"));
    watch_for(&mut life, &mut agent, seconds(3_000));
    assert_eq!(told_since(&life, from), began("sensorOffline"), "once");
    let from = life.log.len();
    agent.online(sensor, HealthStatus::Online);
    life.report(agent.full());
    watch_for(&mut life, &mut agent, seconds(60));
    assert_eq!(told_since(&life, from), ended("sensorOffline"));
    let event = life.log.last().expect("an event");
    assert_eq!(
        (&event.payload["name"], &event.payload["device"]),
        (&json!("boiler-1"), &json!("gateway-1"))
    );
    let lasted = event.payload["lastedMs"].as_i64().expect("a number");
    assert!((3_300_000..3_400_000).contains(&lasted), "{lasted}");
}

#[test]
fn what_ends_in_time_wakes_nobody() {
    let (mut life, mut agent, sensor, _) = boiler();
    let from = life.log.len();
    for _ in 0..10 {
        agent.online(sensor, HealthStatus::Offline);
        life.report(agent.full());
        watch_for(&mut life, &mut agent, seconds(200));
        agent.online(sensor, HealthStatus::Online);
        life.report(agent.full());
        watch_for(&mut life, &mut agent, seconds(200));
    }
    assert_eq!(told_since(&life, from), []);
}

#[test]
fn a_sensor_that_can_not_be_started_is_told_of_after_so_many_attempts() {
    let mut life = Life::new();
    let mut agent = Agent::new();
    life.add("boiler-1");
    let from = life.log.len();
    for attempt in 1..PATIENCE.tolerated.attempts {
        agent.work(&life, |_| true);
        life.report(agent.full());
        life.watch(seconds(1));
        assert_eq!(told_since(&life, from), [], "after {attempt} attempts");
    }
    agent.work(&life, |_| true);
    life.report(agent.full());
    life.watch(seconds(1));
    assert_eq!(told_since(&life, from), began("sensorFailed"));
    let from = life.log.len();
    agent.work(&life, |_| false);
    life.report(agent.full());
    life.watch(seconds(1));
    assert_eq!(told_since(&life, from), ended("sensorFailed"));
}

#[test]
fn a_dead_gateway_is_one_trouble() {
    let (mut life, mut agent, sensor, point) = boiler();
    set(&mut life, point, request(72.5));
    agent.online(sensor, HealthStatus::Offline);
    life.report(agent.full());
    watch_for(&mut life, &mut agent, seconds(310));
    let from = life.log.len();
    // Now the agent goes too.
    for _ in 0..20 {
        life.watch(seconds(60));
    }
    assert_eq!(
        told_since(&life, from),
        began("agentSilent"),
        "and nothing is over that nobody looks at"
    );
    let from = life.log.len();
    agent.online(sensor, HealthStatus::Online);
    life.report(agent.full());
    watch_for(&mut life, &mut agent, seconds(1));
    let told = told_since(&life, from);
    assert_eq!(told.len(), 2, "{told:?}");
    for kind in ["agentSilent", "sensorOffline"] {
        assert!(
            told.contains(&(EventKind::TroubleEnded, kind.to_owned())),
            "{told:?}"
        );
    }
}

#[test]
fn a_value_that_is_not_held_is_told_of_unless_somebody_stopped_it() {
    let (mut life, mut agent, _, point) = boiler();
    let revision = set(&mut life, point, request(72.5)).expect("a new wish");
    let report = |conformity, hold| item(conformity, hold, 71.0, revision);
    let from = life.log.len();
    says(
        &mut agent,
        &mut life,
        point,
        report(Conformity::Drifting, Hold::Paused),
    );
    watch_for(&mut life, &mut agent, seconds(1_000));
    assert_eq!(told_since(&life, from), [], "somebody knows of it");
    says(
        &mut agent,
        &mut life,
        point,
        report(Conformity::Deviates, Hold::Active),
    );
    watch_for(&mut life, &mut agent, seconds(290));
    assert_eq!(told_since(&life, from), []);
    watch_for(&mut life, &mut agent, seconds(30));
    assert_eq!(told_since(&life, from), began("setpointNotHeld"));
    let event = life.log.last().expect("an event");
    assert_eq!(event.payload["name"], json!("boiler-1/target"));
    let from = life.log.len();
    says(
        &mut agent,
        &mut life,
        point,
        report(Conformity::InSync, Hold::Active),
    );
    watch_for(&mut life, &mut agent, seconds(1));
    assert_eq!(told_since(&life, from), ended("setpointNotHeld"));
}

#[test]
fn who_gave_up_is_told_of_at_once() {
    let (mut life, mut agent, _, point) = boiler();
    let revision = set(&mut life, point, request(72.5)).expect("a new wish");
    let from = life.log.len();
    let overridden = item(Conformity::Drifting, Hold::Overridden, 71.0, revision);
    says(&mut agent, &mut life, point, overridden);
    life.watch(SignedDuration::ZERO);
    assert_eq!(told_since(&life, from), began("setpointNotHeld"));
    // Another wish is another try: what was said of the old one is over.
    let from = life.log.len();
    set(&mut life, point, request(70.0));
    life.watch(SignedDuration::ZERO);
    assert_eq!(told_since(&life, from), ended("setpointNotHeld"));
    let context = life.context("anna");
    let released = wish::release(&life.state, point, None, &context).expect("it is set");
    life.commit(released);
    life.watch(SignedDuration::ZERO);
    assert!(life.state.presence.troubles.is_empty());
}

#[test]
fn a_report_that_changes_how_an_output_stands_makes_the_device_due() {
    let (mut life, mut agent, _, point) = boiler();
    let revision = set(&mut life, point, request(72.5)).expect("a new wish");
    let drifting = item(Conformity::Drifting, Hold::Unreachable, 71.0, revision);
    let said = says(&mut agent, &mut life, point, drifting.clone());
    assert!(makes_due(&said), "{said:?}");
    let again = says(&mut agent, &mut life, point, drifting);
    assert!(!makes_due(&again), "nothing new: {again:?}");
}
