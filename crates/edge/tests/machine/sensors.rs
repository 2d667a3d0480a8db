//! From wanted and running to steps, and what comes of them.

use holdfast_domain::HealthStatus;
use holdfast_edge::machine::{Effect, Established, Event, UpdateFailure};
use serde_json::json;

use crate::{
    rig::{Rig, away, held, step_of},
    support::{changed, item, sensor, sensor_id, sensor_of, target},
};

#[test]
fn it_starts_from_its_ledger_with_no_hub_in_reach() {
    let mut rig = Rig::boot(held(Some(target(40, [sensor(1), sensor(2)]))));
    assert_eq!(
        rig.verbs(),
        ["start", "start"],
        "at once, before anything is said to a hub"
    );
    rig.succeed(sensor_id(1));
    rig.succeed(sensor_id(2));
    rig.take_report();
    rig.event(Event::Reported(Err(away())));
    rig.pass(600_000);
    let status = rig.machine.status();
    assert!(status.sensors.iter().all(|sensor| sensor.running.is_some()));
    assert_eq!(status.hub.reachable_since, None);
    assert_eq!(rig.count("start"), 2);
}

#[test]
fn an_agent_without_identity_does_not_start() {
    let nobody = holdfast_ports::ledger::Held {
        identity: None,
        ..held(None)
    };
    let error =
        holdfast_edge::machine::Machine::new(nobody, Default::default(), crate::support::at(0))
            .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the ledger holds no identity: register the agent at its hub first"
    );
}

#[test]
fn only_what_changed_is_touched() {
    let mut rig = Rig::running(target(1, [sensor(1), sensor(2), sensor(3), sensor(4)]));
    let slower = changed(2, json!({ "pollInterval": 5_000 }));
    let elsewhere = changed(
        3,
        json!({ "connection": { "type": "tcp", "host": "10.0.0.6", "port": 502, "unitId": 3 } }),
    );
    rig.offer_and_hold(target(2, [sensor(1), slower.clone(), elsewhere, sensor(5)]));
    assert_eq!(rig.step(sensor_id(1)), None);
    assert!(
        matches!(rig.step(sensor_id(2)), Some(Effect::Update { item, .. }) if item.sensor == slower)
    );
    assert!(matches!(rig.step(sensor_id(3)), Some(Effect::Stop { .. })));
    assert!(matches!(rig.step(sensor_id(4)), Some(Effect::Stop { .. })));
    assert!(matches!(rig.step(sensor_id(5)), Some(Effect::Start { .. })));
    rig.answer_everything();
    assert_eq!(
        (rig.count("start"), rig.count("update"), rig.count("stop")),
        (2, 1, 2)
    );
    assert_eq!(rig.machine.status().worked_version, 2);
}

#[test]
fn what_must_stop_goes_first() {
    let mut rig = Rig::running(target(1, [sensor(5)]));
    rig.offer_and_hold(target(2, [sensor(1), sensor(9)]));
    let steps: Vec<_> = rig
        .verbs()
        .into_iter()
        .filter(|verb| ["stop", "start"].contains(verb))
        .collect();
    assert_eq!(steps, ["stop", "start", "start"]);
}

#[test]
fn a_sensor_has_one_step_at_a_time_and_sensors_have_theirs_at_once() {
    let mut rig = Rig::boot(held(Some(target(1, [sensor(1), sensor(2), sensor(3)]))));
    assert_eq!(rig.count("start"), 3);
    rig.succeed(sensor_id(2));
    rig.pass(500);
    rig.report_taken();
    rig.offer_and_hold(target(
        2,
        [changed(1, json!({ "name": "other" })), sensor(2), sensor(3)],
    ));
    assert_eq!(
        rig.count("update"),
        0,
        "the start of sensor 1 is still under way"
    );
    rig.succeed(sensor_id(1));
    assert_eq!(
        rig.count("update"),
        1,
        "now it goes on to what is wanted by now"
    );
}

#[test]
fn one_dead_instrument_delays_no_other() {
    let mut rig = Rig::boot(held(None));
    rig.report_taken();
    rig.offer_and_hold(target(1, (1..=50).map(sensor)));
    assert_eq!(rig.count("start"), 50, "none waits for another");
    for number in 2..=50 {
        rig.succeed(sensor_id(number));
    }
    rig.pass(100);
    let running = rig.report_taken().outcome.expect("what runs").running;
    assert_eq!(running.len(), 49, "while sensor 1 still hangs");
    rig.fail(sensor_id(1), "no answer");
    assert_eq!(rig.take("note"), Effect::NoteWorked(1));
}

#[test]
fn what_failed_is_tried_again_though_the_version_was_seen() {
    let mut rig = Rig::boot(held(None));
    rig.report_taken();
    rig.offer_and_hold(target(1, [sensor(1), sensor(2)]));
    rig.succeed(sensor_id(1));
    rig.fail(sensor_id(2), "connect 10.0.0.5:502: connection refused");
    assert_eq!(rig.take("note"), Effect::NoteWorked(1));
    rig.event(Event::WorkNoted {
        version: 1,
        result: Ok(()),
    });
    for attempts in 2..=8 {
        rig.pass(60_000);
        assert!(
            matches!(rig.step(sensor_id(2)), Some(Effect::Start { .. })),
            "attempt {attempts}"
        );
        rig.fail(sensor_id(2), "connect 10.0.0.5:502: connection refused");
        let failure = rig.machine.status().sensors[1]
            .failure
            .clone()
            .expect("a failure");
        assert_eq!(
            (failure.attempts, failure.fingerprint),
            (attempts, sensor(2).fingerprint())
        );
    }
    rig.pass(60_000);
    rig.succeed(sensor_id(2));
    let status = rig.machine.status();
    assert!(status.sensors[1].running.is_some() && status.sensors[1].failure.is_none());
    assert_eq!(rig.count("start"), 2 + 8, "sensor 1 was never touched");
}

#[test]
fn tries_are_further_and_further_apart() {
    let mut rig = Rig::boot(held(Some(target(1, [sensor(1)]))));
    let mut pauses = Vec::new();
    for _ in 0..9 {
        rig.fail(sensor_id(1), "no answer");
        let failed_at = rig.now;
        rig.wait_for(|effect| step_of(effect) == Some(sensor_id(1)));
        pauses.push(rig.now - failed_at);
    }
    assert!((500..=1_000).contains(&pauses[0]), "{pauses:?}");
    assert!(pauses.windows(2).all(|two| two[0] <= two[1]), "{pauses:?}");
    assert!(
        (30_000..=60_000).contains(pauses.last().unwrap()),
        "{pauses:?}"
    );
}

#[test]
fn a_new_content_does_not_wait_for_the_failure_of_the_old() {
    let mut rig = Rig::running(target(1, []));
    rig.offer_and_hold(target(2, [sensor(1)]));
    for _ in 0..6 {
        rig.fail(sensor_id(1), "no answer");
        rig.pass(60_000);
    }
    rig.fail(sensor_id(1), "no answer");
    rig.offer_and_hold(target(3, [changed(1, json!({ "pollInterval": 77 }))]));
    rig.fail(sensor_id(1), "no answer");
    assert_eq!(
        rig.machine.status().sensors[0]
            .failure
            .as_ref()
            .expect("a failure")
            .attempts,
        1
    );
}

#[test]
fn a_field_that_is_not_understood_fails_its_sensor_alone() {
    let odd = sensor_of({
        let mut document = crate::support::document(2);
        document["connection"]["vlan"] = json!(12);
        document
    });
    let mut rig = Rig::running(target(1, [sensor(1), sensor(2)]));
    rig.offer_and_hold(target(2, [sensor(1), odd, sensor(3)]));
    assert_eq!(rig.step(sensor_id(2)), None, "nothing is half done");
    rig.answer_everything();
    let status = rig.machine.status();
    let failure = status.sensors[1].failure.clone().expect("a failure");
    assert!(
        failure
            .error
            .contains("does not know the field connection.vlan:"),
        "{}",
        failure.error
    );
    assert_eq!(
        status.sensors[1]
            .running
            .as_ref()
            .expect("the old content")
            .sensor,
        sensor(2)
    );
    assert!(status.sensors[2].running.is_some());
    assert_eq!(status.worked_version, 2);
    rig.pass(600_000);
    assert_eq!(
        rig.machine.status().sensors[1]
            .failure
            .as_ref()
            .expect("a failure")
            .attempts,
        1,
        "trying can't help"
    );
}

#[test]
fn a_disabled_sensor_runs_at_once_and_no_adapter_sees_it() {
    let off = changed(1, json!({ "enabled": false }));
    let mut rig = Rig::running(target(1, [off.clone()]));
    assert_eq!(
        rig.machine.status().sensors[0]
            .running
            .as_ref()
            .expect("accepted")
            .sensor,
        off
    );
    rig.offer_and_hold(target(
        2,
        [changed(1, json!({ "enabled": false, "name": "other" }))],
    ));
    rig.answer_everything();
    assert_eq!(
        (rig.count("start"), rig.count("update"), rig.count("stop")),
        (0, 0, 0)
    );
    rig.offer_and_hold(target(3, [sensor(1)]));
    rig.answer_everything();
    assert_eq!(
        (rig.count("start"), rig.count("update"), rig.count("stop")),
        (1, 0, 0)
    );
    rig.offer_and_hold(target(4, [off]));
    rig.answer_everything();
    assert_eq!(
        (rig.count("start"), rig.count("update"), rig.count("stop")),
        (1, 0, 1)
    );
    rig.offer_and_hold(target(5, []));
    rig.answer_everything();
    assert_eq!(
        (rig.count("stop"), rig.machine.status().sensors.len()),
        (1, 0)
    );
}

#[test]
fn another_version_with_the_same_content_is_only_a_label() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    rig.offer_and_hold(target(2, [sensor(1)]));
    rig.answer_everything();
    assert_eq!(
        (rig.count("start"), rig.count("update"), rig.count("stop")),
        (0, 0, 0)
    );
    let status = rig.machine.status();
    assert_eq!(status.sensors[0].running, Some(item(2, sensor(1))));
    assert_eq!(status.worked_version, 2);
}

#[test]
fn what_was_established_starts_though_its_instrument_sleeps() {
    let mut ledger = held(Some(target(1, [sensor(1), sensor(2)])));
    ledger.established = [
        (sensor_id(1), sensor(1).fingerprint()),
        (sensor_id(2), sensor(1).fingerprint()),
    ]
    .into();
    let rig = Rig::boot(ledger);
    assert!(matches!(
        rig.step(sensor_id(1)),
        Some(Effect::Start {
            was_established: true,
            ..
        })
    ));
    assert!(
        matches!(
            rig.step(sensor_id(2)),
            Some(Effect::Start {
                was_established: false,
                ..
            })
        ),
        "other content"
    );
}

#[test]
fn a_sensor_that_is_not_wanted_any_more_while_it_starts_is_stopped_after() {
    let mut rig = Rig::running(target(1, []));
    rig.offer_and_hold(target(2, [sensor(1)]));
    assert!(rig.step(sensor_id(1)).is_some());
    rig.offer_and_hold(target(3, []));
    assert_eq!(rig.count("stop"), 0, "what is under way is not cancelled");
    rig.succeed(sensor_id(1));
    assert!(matches!(rig.step(sensor_id(1)), Some(Effect::Stop { .. })));
    rig.answer_everything();
    assert_eq!(rig.machine.status().sensors, []);
    assert_eq!(
        (rig.machine.status().worked_version, rig.count("forget")),
        (3, 1)
    );
}

#[test]
fn an_update_that_is_refused_leaves_the_old_content_running() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    rig.offer_and_hold(target(2, [changed(1, json!({ "pollInterval": 77 }))]));
    let Effect::Update { generation, .. } = rig.take("update") else {
        unreachable!()
    };
    let refusal = UpdateFailure {
        error: "no".into(),
        lost: false,
    };
    rig.event(Event::Updated {
        sensor: sensor_id(1),
        generation,
        result: Err(refusal),
    });
    let status = rig.machine.status();
    assert_eq!(
        status.sensors[0].running.as_ref().expect("the old").sensor,
        sensor(1)
    );
    assert_eq!(
        status.sensors[0].failure.as_ref().expect("a failure").error,
        "no"
    );
    rig.pass(60_000);
    assert!(
        matches!(rig.step(sensor_id(1)), Some(Effect::Update { .. })),
        "tried again, without a restart"
    );
}

#[test]
fn an_adapter_that_breaks_during_an_update_is_started_anew() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    rig.offer_and_hold(target(2, [changed(1, json!({ "pollInterval": 77 }))]));
    let Effect::Update { generation, .. } = rig.take("update") else {
        unreachable!()
    };
    let fault = UpdateFailure {
        error: "a bug".into(),
        lost: true,
    };
    rig.event(Event::Updated {
        sensor: sensor_id(1),
        generation,
        result: Err(fault),
    });
    assert_eq!(rig.machine.status().sensors[0].running, None);
    rig.pass(60_000);
    assert!(matches!(rig.step(sensor_id(1)), Some(Effect::Start { .. })));
}

#[test]
fn the_word_of_an_earlier_start_does_not_count() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    let offline = |generation| Event::Health {
        sensor: sensor_id(1),
        generation,
        status: HealthStatus::Offline,
        reason: Some("gone".into()),
    };
    rig.event(offline(0));
    assert_eq!(
        rig.machine.status().sensors[0]
            .health
            .as_ref()
            .expect("health")
            .status,
        HealthStatus::Online
    );
    rig.event(offline(1));
    assert_eq!(
        rig.machine.status().sensors[0]
            .health
            .as_ref()
            .expect("health")
            .status,
        HealthStatus::Offline
    );
    rig.event(Event::Started {
        sensor: sensor_id(1),
        generation: 1,
        result: Ok(Established::Noted),
    });
    rig.event(Event::Stopped {
        sensor: sensor_id(1),
        generation: 1,
    });
    assert!(
        rig.machine.status().sensors[0].running.is_some(),
        "nobody had asked for that"
    );
}
