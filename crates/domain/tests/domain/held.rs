//! What an agent holds is known by its content, not by its revision alone.

use holdfast_domain::{
    TargetState,
    document::hold::Scope,
    event::EventKind,
    values::{ReportedValues, Values, wishes_fingerprint},
    wish::{SetRequest, interrupt},
};
use jiff::SignedDuration;

use crate::support::{
    documents::uuid,
    wishes::{boiler, request, wish},
};

#[test]
fn a_hub_that_was_restored_and_gives_a_revision_again_goes_on_above_it() {
    let (mut life, mut agent, _, point) = boiler();
    wish(&mut life, point, request(72.5));
    let backup = life.state.clone();
    // What the agent holds, and the restored hub does not know.
    wish(&mut life, point, request(80.0));
    let held = life.state.target.values.clone();
    life.log.truncate(backup.last_event as usize);
    life.state = backup;
    wish(&mut life, point, request(60.0));
    let values = life.state.target.values.clone();
    assert_eq!(values.revision, held.revision, "given a second time");
    let mut report = agent.heartbeat();
    report.values = Some(ReportedValues {
        held_revision: held.revision,
        held_fingerprint: Some(held.fingerprint()),
        ..ReportedValues::default()
    });
    let etag = life.state.target.etag();
    life.report(report);
    let now = &life.state.target.values;
    assert!(now.revision > held.revision && now.hold.revision > held.hold.revision);
    assert_ne!(life.state.target.etag(), etag, "the agent gets it now");
    assert_eq!(
        now.wishes[&point].setpoint.value,
        values.wishes[&point].setpoint.value
    );
    let event = life.log.last().expect("an event");
    assert_eq!(event.kind, EventKind::TargetConflict);
    // What it holds now is what it was given: nothing more to say.
    let mut report = agent.heartbeat();
    report.values = Some(ReportedValues {
        held_revision: now.revision,
        held_fingerprint: Some(now.fingerprint()),
        ..ReportedValues::default()
    });
    let revision = now.revision;
    life.report(report);
    assert_eq!(life.state.target.values.revision, revision);
}

#[test]
fn what_runs_down_makes_no_other_content() {
    let (mut life, _, sensor, point) = boiler();
    let until = Some(life.now + SignedDuration::from_secs(60));
    wish(
        &mut life,
        point,
        SetRequest {
            until,
            ..request(72.5)
        },
    );
    let context = life.context("anna");
    let scope = Scope::Sensor(sensor);
    let pause = interrupt(&life.state, scope, None, until, uuid(9), &context);
    life.commit(pause.expect("it is there"));
    let values = &life.state.target.values;
    let told = |at| life.state.target_state(at);
    let fingerprint = |target: &TargetState| wishes_fingerprint(&target.setpoints, &target.hold);
    let later = life.now + SignedDuration::from_secs(30);
    assert_eq!(fingerprint(&told(life.now)), values.fingerprint());
    assert_eq!(fingerprint(&told(later)), values.fingerprint());
    let other = Values {
        revision: values.revision + 1,
        ..values.clone()
    };
    assert_ne!(other.fingerprint(), values.fingerprint());
}
