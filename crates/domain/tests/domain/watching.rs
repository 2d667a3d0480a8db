//! What time alone brings about: told once, told again when it changes, and told when it is over.

use holdfast_domain::{
    edit::Edit,
    event::EventKind,
    row::Actor,
    watch::{Watched, heard, watch},
};
use jiff::SignedDuration;
use serde_json::json;

use crate::support::life::{Agent, Life, PATIENCE, start};

const fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// A device whose agent was heard of just now and runs all that is wanted.
fn established() -> (Life, Agent) {
    let (mut life, mut agent) = (Life::new(), Agent::new());
    for name in ["a", "b"] {
        life.add(name);
    }
    agent.work(&life, |_| false);
    life.report(agent.full());
    (life, agent)
}

#[test]
fn a_quiet_device_costs_nothing() {
    let (mut life, _) = established();
    let before = life.state.clone();
    for _ in 0..1_000 {
        life.state.presence.last_seen_at = Some(life.now);
        let Watched {
            change,
            next,
            drifting_since,
            ended_after,
        } = life.watch(seconds(1));
        assert_eq!((change, drifting_since, ended_after), (None, None, None));
        assert_eq!(next, life.now + seconds(89), "when it would be silent");
    }
    life.state.presence.last_seen_at = before.presence.last_seen_at;
    assert_eq!(life.state, before);
}

#[test]
fn silence_is_told_once() {
    let (mut life, mut agent) = established();
    let from = life.log.len();
    assert_eq!(life.watch(seconds(89)).change, None);
    let watched = life.watch(seconds(1));
    assert!(
        watched
            .change
            .is_some_and(|change| change.changes_desired()),
        "every process of the hub hears of it"
    );
    assert!(life.state.presence.silent);
    assert_eq!(life.kinds_since(from), [EventKind::DeviceOffline]);
    assert_eq!(life.log[from].actor, Actor::reconciler());
    // That it lasts is told too, once.
    life.watch(PATIENCE.tolerated.for_long);
    let told = [EventKind::DeviceOffline, EventKind::TroubleBegan];
    assert_eq!(life.kinds_since(from), told);
    for _ in 0..100 {
        let watched = life.watch(seconds(100));
        assert_eq!(
            (watched.change, watched.next),
            (None, life.now + PATIENCE.at_least_every)
        );
    }
    let from = life.log.len();
    life.report(agent.heartbeat());
    life.watch(seconds(1));
    assert_eq!(
        life.kinds_since(from),
        [EventKind::DeviceOnline, EventKind::TroubleEnded]
    );
    assert_eq!(life.watch(seconds(1)).change, None);
}

#[test]
fn an_agent_that_is_heard_of_without_a_report_is_back_too() {
    let (mut life, _) = established();
    life.watch(seconds(100));
    assert!(life.state.presence.silent);
    let from = life.log.len();
    life.state.presence.last_seen_at = Some(life.now + seconds(5));
    life.watch(seconds(6));
    assert!(!life.state.presence.silent);
    assert_eq!(life.kinds_since(from), [EventKind::DeviceOnline]);
}

#[test]
fn who_was_heard_of_is_not_silent_and_nothing_is_said_of_who_was_not() {
    let (mut life, _) = established();
    let context = life.context("agent");
    assert_eq!(heard(&life.state, &context), None);
    life.watch(seconds(100));
    let from = life.log.len();
    let context = life.context("agent");
    let change = heard(&life.state, &context).expect("it was marked as silent");
    life.commit(change);
    assert_eq!(life.kinds_since(from), [EventKind::DeviceOnline]);
    assert_eq!(life.watch(seconds(1)).change, None);
}

#[test]
fn silence_counts_from_when_the_hub_could_listen() {
    let (mut life, _) = established();
    life.now += seconds(3_600);
    let context = life.context("reconciler");
    let up_since = life.now - seconds(10);
    let watched = watch(&life.state, &PATIENCE, Some(up_since), &context);
    assert_eq!(
        watched.change, None,
        "nobody could report while the hub was down"
    );
    assert_eq!(watched.next, up_since + PATIENCE.silent_after);

    // But the hub's coming up brings nobody back.
    life.watch(seconds(0));
    assert!(life.state.presence.silent);
    let up_since = life.now;
    assert_eq!(
        watch(&life.state, &PATIENCE, Some(up_since), &context).change,
        None
    );
}

#[test]
fn nobody_is_silent_for_a_hub_that_is_down() {
    let (mut life, _) = established();
    life.now += seconds(3_600);
    let context = life.context("reconciler");
    let watched = watch(&life.state, &PATIENCE, None, &context);
    assert_eq!(watched.change, None);
    assert_eq!(watched.next, life.now + PATIENCE.silent_after);
    let up_since = Some(life.now - seconds(3_600));
    let change = watch(&life.state, &PATIENCE, up_since, &context).change;
    assert!(change.is_some(), "it was up all the time");
}

#[test]
fn a_device_that_was_never_heard_of_is_not_silent() {
    let mut life = Life::new();
    life.watch(seconds(10_000));
    assert!(!life.state.presence.silent);
}

#[test]
fn drift_is_told_after_a_while_again_when_it_changes_and_when_it_is_over() {
    let (mut life, mut agent) = established();
    let ids: Vec<_> = life.state.rows.keys().copied().collect();
    life.edit(Edit::Patch(ids[0], json!({ "pollInterval": 50 })))
        .expect("valid");
    let edited_at = life.now;
    let from = life.log.len();
    let soon = life.watch(seconds(9));
    assert_eq!(
        (soon.change, soon.next),
        (None, edited_at + PATIENCE.drift_after),
        "an ordinary deployment"
    );
    assert_eq!(soon.drifting_since, Some(edited_at));

    let look = life.state.target.look_revision;
    let told = life.watch(seconds(1)).change.expect("it lasts");
    assert_eq!(
        life.kinds_since(from),
        [EventKind::DeviceConfigDrift, EventKind::DeviceLook]
    );
    assert!(told.changes_desired(), "the agent is asked to look again");
    assert_eq!(life.state.target.look_revision, look + 1);
    let payload = &life.log[from].payload;
    assert_eq!(
        (&payload["targetVersion"], &payload["currentVersion"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(payload["sensors"][0]["name"], json!("a"));
    assert_eq!(payload["sensors"][0]["paths"], json!(["pollInterval"]));
    for _ in 0..5 {
        assert_eq!(life.watch(seconds(10)).change, None, "told once");
    }

    life.edit(Edit::Patch(ids[1], json!({ "pollInterval": 50 })))
        .expect("valid");
    let from = life.log.len();
    life.watch(seconds(10));
    assert_eq!(
        life.kinds_since(from),
        [EventKind::DeviceConfigDrift, EventKind::DeviceLook],
        "another drift"
    );
    assert_eq!(
        life.log[from].payload["sensors"].as_array().map(Vec::len),
        Some(2)
    );

    agent.work(&life, |_| false);
    life.report(agent.full());
    let from = life.log.len();
    let over = life.watch(seconds(1));
    assert_eq!(life.kinds_since(from), [EventKind::DeviceReconciled]);
    let lasted = life.now.duration_since(edited_at);
    assert_eq!(over.ended_after, Some(lasted));
    assert_eq!(
        life.log[from].payload["lastedMs"],
        json!(lasted.as_millis() as i64)
    );
    assert_eq!(life.watch(seconds(1)).change, None);
}

#[test]
fn a_drift_that_ends_in_time_is_not_told_of() {
    let (mut life, mut agent) = established();
    let id = life.add("c");
    life.watch(seconds(5));
    agent.work(&life, |_| false);
    life.report(agent.full());
    assert_eq!(
        life.watch(seconds(60)).change,
        None,
        "{id} was deployed in time"
    );
}

#[test]
fn a_failed_sensor_drifts_and_its_event_names_it() {
    let (mut life, mut agent) = established();
    let id = life.add("broken");
    agent.work(&life, |index| index == 2);
    life.report(agent.full());
    let from = life.log.len();
    life.watch(seconds(10));
    let told = &life.log[from].payload["sensors"];
    assert_eq!(told.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&told[0]["id"], &told[0]["kind"]),
        (&json!(id), &json!("missing"))
    );
    assert_eq!(
        (&told[0]["deploymentStatus"], &told[0]["attempts"]),
        (&json!("failed"), &json!(1))
    );
    for _ in 0..10 {
        agent.work(&life, |index| index == 2);
        life.report(agent.full());
        assert_eq!(
            life.watch(seconds(10)).change,
            None,
            "more attempts are the same drift"
        );
    }
}

#[test]
fn the_next_look_is_when_something_is_due() {
    let (mut life, _) = established();
    let heard = life.now;
    assert_eq!(life.watch(seconds(0)).next, heard + PATIENCE.silent_after);
    life.add("c");
    let since = life.now;
    assert_eq!(life.watch(seconds(0)).next, since + PATIENCE.drift_after);
    life.watch(seconds(10));
    assert_eq!(
        life.watch(seconds(0)).next,
        heard + PATIENCE.silent_after,
        "the drift is told"
    );
    life.watch(seconds(100));
    assert_eq!(
        life.watch(seconds(0)).next,
        heard + PATIENCE.tolerated.for_long,
        "the silence is told"
    );
    life.watch(seconds(300));
    assert_eq!(
        life.watch(seconds(0)).next,
        life.now + PATIENCE.at_least_every
    );
    assert!(start() < life.now);
}

#[test]
fn an_old_drift_makes_no_young_one_be_told_of() {
    let (mut life, mut agent) = established();
    let ids: Vec<_> = life
        .state
        .target
        .items
        .iter()
        .map(|item| item.sensor.id())
        .collect();
    life.edit(Edit::Patch(ids[0], json!({ "pollInterval": 50 })))
        .expect("valid");
    agent.work(&life, |index| index == 0);
    let full = agent.full();
    life.report(full);
    life.watch(seconds(11));
    let told = life
        .log
        .iter()
        .filter(|event| event.kind == EventKind::DeviceConfigDrift);
    assert_eq!(told.count(), 1);
    // Others are edited, and deployed within seconds; and so is the one that fails, which goes on failing.
    for poll_ms in 100..110 {
        for id in &ids {
            life.edit(Edit::Patch(*id, json!({ "pollInterval": poll_ms })))
                .expect("valid");
        }
        let from = life.log.len();
        assert_eq!(life.watch(seconds(1)).change, None);
        agent.work(&life, |index| index == 0);
        let full = agent.full();
        life.report(full);
        assert_eq!(life.watch(seconds(1)).change, None);
        assert!(!life.kinds_since(from).contains(&EventKind::DeviceLook));
    }
}
