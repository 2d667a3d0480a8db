//! Which target is taken, and when it counts as worked through.

use holdfast_domain::{Failure, Report, TargetDocument, TargetState};
use holdfast_edge::machine::{Effect, Event};
use holdfast_ports::hub_link::{HeldTarget, Polled, ReportAnswer};
use serde_json::json;

use crate::{
    rig::{Rig, held},
    support::{DEVICE, changed, sensor, sensor_id, target},
};

#[test]
fn a_new_target_is_durable_before_anything_is_done_for_it() {
    let mut rig = Rig::running(target(1, []));
    rig.offer(target(2, [sensor(1)]));
    assert_eq!(rig.verbs(), ["hold"]);
    rig.pass(10);
    assert_eq!(rig.count("start"), 0);
    assert_eq!(rig.machine.status().held_version, 1);
    rig.event(Event::Held(Ok(())));
    assert_eq!(rig.count("start"), 1);
    assert_eq!(rig.machine.status().held_version, 2);
}

#[test]
fn a_target_that_could_not_be_kept_is_asked_for_again() {
    let mut rig = Rig::running(target(1, []));
    rig.offer(target(2, [sensor(1)]));
    rig.take("hold");
    rig.event(Event::Held(Err("no space left on device".into())));
    assert_eq!(
        (rig.count("start"), rig.machine.status().held_version),
        (0, 1)
    );
    assert!(!rig.verbs().contains(&"poll"), "not at once");
    rig.pass(30_000);
    let Effect::Poll { held, .. } = rig.take("poll") else {
        unreachable!()
    };
    assert_eq!(
        held,
        Some(HeldTarget::of(&target(1, []))),
        "it does not claim what it does not hold"
    );
}

#[test]
fn the_hub_hears_of_a_target_that_could_not_be_kept() {
    let mut rig = Rig::running(target(1, [sensor(1), sensor(2)]));
    let offered = target(
        2,
        [
            sensor(1),
            changed(2, json!({ "pollInterval": 777 })),
            sensor(3),
        ],
    );
    let keep = |rig: &mut Rig, result: Result<(), String>| {
        rig.wait_for(|effect| matches!(effect, Effect::Poll { .. }));
        rig.offer(offered.clone());
        rig.take("hold");
        rig.event(Event::Held(result));
    };
    keep(&mut rig, Err("no space left on device".into()));
    rig.pass(100);
    let report = rig.report_taken();
    assert_eq!(report.held_version, 1);
    let outcome = report.outcome.clone().expect("what failed");
    assert_eq!((outcome.version, outcome.running.len()), (1, 2));
    let told = |failures: &[Failure]| {
        let told = failures.iter();
        told.map(|failure| (failure.fingerprint, failure.attempts))
            .collect::<Vec<_>>()
    };
    let [_, other, new] = [0, 1, 2].map(|place: usize| offered.items[place].sensor.fingerprint());
    assert_eq!(told(&outcome.failures), [(other, 1), (new, 1)]);
    let error = &outcome.failures[0].error;
    assert_eq!(
        error,
        "the agent could not keep target version 2: no space left on device"
    );
    let hold = |report: &Report| {
        report
            .values
            .as_ref()
            .and_then(|values| values.hold.clone())
    };
    let said = hold(&report).expect("how the value loop runs");
    assert_eq!(
        said.not_kept.as_ref(),
        Some(error),
        "for setpoints and settings too"
    );

    // Once more is no news, however it is said.
    keep(&mut rig, Err("it was closed after an error".into()));
    rig.pass(1_000);
    assert!(!rig.verbs().contains(&"report"));

    keep(&mut rig, Ok(()));
    rig.pass(100);
    let report = rig.report_taken();
    assert_eq!(report.held_version, 2);
    let said = hold(&report).expect("that it is over is said too");
    assert_eq!(said.not_kept, None);
    assert_eq!(report.outcome.expect("nothing failed").failures, []);
}

#[test]
fn the_hub_hears_of_a_target_without_a_sensor_that_could_not_be_kept() {
    let mut rig = Rig::running(target(1, [sensor(1), sensor(2)]));
    rig.offer(target(2, [sensor(1)]));
    rig.take("hold");
    rig.event(Event::Held(Err("no space left on device".into())));
    rig.pass(100);
    let outcome = rig.report_taken().outcome.expect("what failed");
    assert_eq!(outcome.running.len(), 2, "it runs on");
    let [failure] = &outcome.failures[..] else {
        panic!("{:?}", outcome.failures)
    };
    assert_eq!(
        (failure.id, failure.fingerprint),
        (sensor_id(2), sensor(2).fingerprint())
    );
    assert!(failure.error.contains("target version 2"), "{failure:?}");
}

#[test]
fn a_target_that_is_offered_no_more_is_missed_no_more() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    rig.offer(target(2, [changed(1, json!({ "pollInterval": 777 }))]));
    rig.take("hold");
    rig.event(Event::Held(Err("no space left on device".into())));
    rig.pass(100);
    let outcome = rig.report_taken().outcome.expect("what failed");
    assert_eq!(outcome.failures.len(), 1);
    rig.wait_for(|effect| matches!(effect, Effect::Poll { .. }));
    rig.take("poll");
    rig.event(Event::Polled(Ok(Polled::Unchanged)));
    rig.pass(100);
    let outcome = rig.report_taken().outcome.expect("nothing failed");
    assert_eq!(outcome.failures, []);
}

#[test]
fn an_agent_without_a_copy_never_claims_one() {
    let mut rig = Rig::boot(held(None));
    rig.report_taken();
    assert!(matches!(rig.take("poll"), Effect::Poll { held: None, .. }));
    rig.event(Event::Polled(Ok(holdfast_ports::hub_link::Polled::Target(
        Box::new(target(0, [])),
    ))));
    rig.take("hold");
    rig.event(Event::Held(Ok(())));
    assert_eq!(
        rig.take("poll"),
        Effect::Poll {
            held: Some(HeldTarget::of(&target(0, []))),
            wait_ms: 30_000
        }
    );
}

/// As the hub gives a target to who holds its configuration.
fn without_config(target: &TargetState) -> Event {
    let text = serde_json::to_vec(&target.changes(DEVICE)).expect("JSON");
    match TargetDocument::from_slice(&text).expect("a target").1 {
        TargetDocument::Changes(changes) => Event::Polled(Ok(Polled::Changes(Box::new(changes)))),
        TargetDocument::Whole(target) => panic!("{target:?} has a configuration"),
    }
}

#[test]
fn a_target_without_its_configuration_is_one_with_the_configuration_held() {
    let before = target(1, [sensor(1), sensor(2)]);
    let mut rig = Rig::running(before.clone());
    let mut after = before.clone();
    after.hold.revision = 4;
    after.hold.interval_ms = 700;
    rig.take("poll");
    rig.event(without_config(&after));
    let Effect::Hold(kept) = rig.take("hold") else {
        unreachable!()
    };
    assert_eq!(*kept, after, "all of it is made durable");
    rig.event(Event::Held(Ok(())));
    assert_eq!(
        rig.take("poll"),
        Effect::Poll {
            held: Some(HeldTarget::of(&after)),
            wait_ms: 30_000
        }
    );
    rig.pass(100);
    let report = rig.report_taken();
    let hold = report.values.expect("it speaks of the loop").hold;
    assert_eq!(hold.expect("of its settings").held_revision, 4);
    for verb in ["start", "stop", "update", "note"] {
        assert_eq!(rig.count(verb), 0, "{verb}");
    }
}

/// What fails goes on being tried, as if the target had come whole.
#[test]
fn a_sensor_that_failed_is_tried_again_after_a_target_without_its_configuration() {
    let before = target(2, [sensor(1)]);
    let mut rig = Rig::running(target(1, []));
    rig.offer_and_hold(before.clone());
    rig.fail(sensor_id(1), "no answer");
    rig.wait_for(|effect| matches!(effect, Effect::Poll { .. }));
    let mut after = before;
    after.hold.revision = 4;
    rig.take("poll");
    rig.event(without_config(&after));
    rig.take("hold");
    rig.event(Event::Held(Ok(())));
    rig.wait_for(|effect| matches!(effect, Effect::Start { .. }));
    rig.succeed(sensor_id(1));
    rig.answer_everything();
    assert_eq!(rig.machine.status().worked_version, 2);
}

#[test]
fn a_target_without_another_configuration_than_the_one_held_is_none() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    let other = target(1, [changed(1, json!({ "pollInterval": 777 }))]);
    rig.take("poll");
    rig.event(without_config(&other));
    assert!(
        !rig.verbs().contains(&"hold"),
        "absent is not empty, nor what is held"
    );
    assert!(!rig.verbs().contains(&"poll"), "not at once");
    let trouble = rig
        .machine
        .status()
        .hub
        .trouble
        .expect("the hub is at fault");
    assert!(trouble.contains("configuration"), "{trouble}");
    rig.wait_for(|effect| matches!(effect, Effect::Poll { .. }));

    let mut rig = Rig::boot(held(None));
    rig.report_taken();
    rig.take("poll");
    rig.event(without_config(&target(0, [])));
    assert!(!rig.verbs().contains(&"hold"), "nothing is held");
}

#[test]
fn held_and_worked_through_are_told_apart() {
    let mut rig = Rig::running(target(1, []));
    rig.offer_and_hold(target(2, [sensor(1), sensor(2)]));
    let report = rig.report_taken();
    assert_eq!(
        (
            report.held_version,
            report.outcome.map(|outcome| outcome.version)
        ),
        (2, None)
    );
    rig.succeed(sensor_id(1));
    rig.pass(100);
    let report = rig.report_taken();
    assert_eq!(
        report.outcome.map(|outcome| outcome.version),
        Some(1),
        "sensor 2 was not tried yet"
    );
    rig.fail(sensor_id(2), "no answer");
    rig.take("note");
    rig.pass(100);
    assert!(
        rig.find(|effect| matches!(effect, Effect::Report(_)))
            .is_none(),
        "it waits for the note"
    );
    rig.event(Event::WorkNoted {
        version: 2,
        result: Ok(()),
    });
    let report = rig.report_taken();
    let outcome = report.outcome.expect("an outcome");
    assert_eq!(
        (
            outcome.version,
            outcome.running.len(),
            outcome.failures.len()
        ),
        (2, 1, 1)
    );
}

#[test]
fn a_version_is_not_worked_through_before_that_is_noted() {
    let mut rig = Rig::running(target(1, []));
    rig.offer_and_hold(target(2, [sensor(1)]));
    rig.succeed(sensor_id(1));
    rig.take("note");
    rig.event(Event::WorkNoted {
        version: 2,
        result: Err("no space left on device".into()),
    });
    assert_eq!(rig.machine.status().worked_version, 1);
    rig.pass(60_000);
    rig.take("note");
    rig.event(Event::WorkNoted {
        version: 2,
        result: Ok(()),
    });
    assert_eq!(rig.machine.status().worked_version, 2);
}

#[test]
fn a_target_during_a_pass_is_merged_into_one_more_pass() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    let versions = [11, 12, 13].map(|interval| changed(1, json!({ "pollInterval": interval })));
    for (version, content) in (2..).zip(versions.clone()) {
        rig.offer_and_hold(target(version, [content]));
        assert_eq!(
            rig.count("update"),
            1,
            "the first one is under way, and nothing cancels it"
        );
    }
    rig.succeed(sensor_id(1));
    assert!(
        matches!(rig.step(sensor_id(1)), Some(Effect::Update { item, .. }) if item.sensor == versions[2])
    );
    assert_eq!(
        rig.machine.status().worked_version,
        1,
        "version 4 was not tried yet"
    );
    rig.succeed(sensor_id(1));
    rig.answer_everything();
    assert_eq!(
        rig.count("update"),
        2,
        "one more pass for all that came meanwhile"
    );
    assert_eq!(rig.machine.status().worked_version, 4);
}

#[test]
fn a_failure_that_is_known_does_not_hold_up_a_version() {
    let mut rig = Rig::running(target(1, []));
    rig.offer_and_hold(target(2, [sensor(1)]));
    rig.fail(sensor_id(1), "no answer");
    rig.answer_everything();
    assert_eq!(rig.machine.status().worked_version, 2);
    rig.offer_and_hold(target(3, [sensor(1), sensor(2)]));
    rig.succeed(sensor_id(2));
    assert_eq!(rig.take("note"), Effect::NoteWorked(3));
}

#[test]
fn the_same_version_with_other_content_is_refused() {
    let mut rig = Rig::running(target(5, [sensor(1)]));
    rig.offer(target(5, [sensor(2)]));
    assert_eq!(
        (rig.count("hold"), rig.count("start"), rig.count("stop")),
        (0, 0, 0)
    );
    let report = rig.report_taken();
    assert_eq!(report.extra.get("refusedVersion"), Some(&json!(5)));
    assert_eq!(rig.machine.status().refused_version, Some(5));
    assert!(
        !rig.verbs().contains(&"poll"),
        "the hub would answer at once"
    );
    rig.pass(1_000);
    rig.offer_and_hold(target(6, [sensor(2)]));
    assert_eq!(rig.machine.status().refused_version, None);
    rig.pass(100);
    assert_eq!(rig.report_taken().extra.get("refusedVersion"), None);
}

#[test]
fn an_older_version_is_refused() {
    let mut rig = Rig::running(target(5, [sensor(1)]));
    rig.offer(target(4, [sensor(2)]));
    assert_eq!(rig.count("hold"), 0);
    let report = rig.report_taken();
    assert_eq!(
        (report.held_version, report.extra.get("refusedVersion")),
        (5, Some(&json!(4)))
    );
    for _ in 0..100 {
        rig.pass(30_000);
        if let Some(Effect::Report(_)) = rig.find(|effect| matches!(effect, Effect::Report(_))) {
            rig.event(Event::Reported(Ok(ReportAnswer::Taken)));
        }
        rig.offer(target(4, [sensor(2)]));
    }
    assert!(
        rig.count("poll") < 110,
        "a hub that insists is not hammered"
    );
    assert_eq!(rig.count("hold"), 0);
}

#[test]
fn where_the_hub_wrote_the_same_content_otherwise_nothing_is_done() {
    let held = target(5, [sensor(1), sensor(2)]);
    let mut rig = Rig::running(held.clone());
    let mut items = held.items.clone();
    items.reverse();
    rig.offer(TargetState {
        items,
        needs_deployment: false,
        ..held
    });
    assert_eq!((rig.count("hold"), rig.count("report")), (0, 0));
    assert_eq!(rig.machine.status().refused_version, None);
}

#[test]
fn a_look_checks_what_runs_and_reports_in_full() {
    let before = target(5, [sensor(1), sensor(2), sensor(3)]);
    let mut rig = Rig::running(before.clone());
    rig.offer_and_hold(TargetState {
        look_revision: 3,
        ..before
    });
    rig.take("verify");
    assert_eq!(rig.machine.status().looked_revision, 0);
    // Sensor 2 is gone from its adapter.
    rig.event(Event::Verified(
        [(sensor_id(1), 1), (sensor_id(3), 3)].into(),
    ));
    let report = rig.report_taken();
    assert!(report.is_full());
    assert_eq!(
        (
            report.looked_revision,
            report.outcome.expect("full").running.len()
        ),
        (3, 2)
    );
    assert!(matches!(rig.step(sensor_id(2)), Some(Effect::Start { .. })));
    assert_eq!(
        (rig.count("start"), rig.count("stop"), rig.count("update")),
        (1, 0, 0)
    );
}

#[test]
fn a_look_tries_again_what_failed() {
    let wanted = target(5, [sensor(1)]);
    let mut rig = Rig::boot(held(Some(wanted.clone())));
    for _ in 0..5 {
        rig.fail(sensor_id(1), "no answer");
        if let Some(Effect::Report(_)) = rig.find(|effect| matches!(effect, Effect::Report(_))) {
            rig.event(Event::Reported(Ok(ReportAnswer::Taken)));
        }
        rig.pass(60_000);
    }
    rig.fail(sensor_id(1), "no answer");
    rig.offer_and_hold(TargetState {
        look_revision: 1,
        ..wanted
    });
    rig.take("verify");
    assert_eq!(rig.step(sensor_id(1)), None);
    rig.event(Event::Verified([].into()));
    assert!(rig.step(sensor_id(1)).is_some());
}

#[test]
fn what_is_gone_is_forgotten_in_the_ledger() {
    let mut rig = Rig::running(target(1, [sensor(1), sensor(2)]));
    rig.offer_and_hold(target(2, [sensor(2)]));
    assert_eq!(
        rig.take("keep"),
        Effect::KeepEstablished(vec![sensor_id(2)])
    );
}

#[test]
fn deleting_the_last_sensor_works() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    rig.offer_and_hold(target(2, []));
    rig.report_taken();
    rig.succeed(sensor_id(1));
    rig.take("note");
    rig.event(Event::WorkNoted {
        version: 2,
        result: Ok(()),
    });
    rig.pass(100);
    let outcome = rig.report_taken().outcome.expect("an outcome");
    assert_eq!((outcome.version, outcome.running), (2, vec![]));
}
