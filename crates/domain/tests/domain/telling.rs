//! What the log says of outputs: every write once, and whom it concerns.

use std::collections::BTreeMap;

use holdfast_domain::{
    document::{
        hold::Scope,
        setpoint::{Conformity, Hold, SetpointReport},
    },
    event::EventKind,
    values::ReportedValues,
    wish::{interrupt, release, resume},
};
use serde_json::Value;

use crate::support::{
    documents::uuid,
    wishes::{boiler, item, request, says, wish},
};

#[test]
fn what_is_booked_ahead_is_no_write_after_a_restart() {
    let (mut life, mut agent, _, point) = boiler();
    let revision = wish(&mut life, point, request(72.5)).expect("it is new");
    let synced = item(Conformity::InSync, Hold::Active, 72.5, revision);
    let once = SetpointReport {
        writes: 1,
        written: 1,
        ..synced.clone()
    };
    let from = life.log.len();
    says(&mut agent, &mut life, point, once);
    // Written and read back before the first word on it.
    assert!(life.kinds_since(from).contains(&EventKind::SetpointWritten));
    agent.reboot();
    agent.work(&life, |_| false);
    let from = life.log.len();
    let mut full = agent.full();
    let booked = SetpointReport {
        writes: 16,
        ..synced
    };
    full.values = Some(ReportedValues {
        held_revision: revision,
        items: BTreeMap::from([(point, booked)]),
        ..ReportedValues::default()
    });
    life.report(full);
    assert!(!life.kinds_since(from).contains(&EventKind::SetpointWritten));
}

#[test]
fn a_write_for_the_next_wish_is_told_of_although_both_counted_one() {
    let (mut life, mut agent, _, point) = boiler();
    for value in [60.0, 61.0, 62.0] {
        let revision = wish(&mut life, point, request(value)).expect("it is new");
        let from = life.log.len();
        let synced = SetpointReport {
            writes: revision,
            written: 1,
            verified_in_ms: Some(38),
            ..item(Conformity::InSync, Hold::Active, value, revision)
        };
        says(&mut agent, &mut life, point, synced);
        let told = life.kinds_since(from);
        let done = [EventKind::SetpointWritten, EventKind::SetpointVerified];
        assert_eq!(told, done, "{value}");
    }
}

#[test]
fn events_of_a_point_say_what_people_call_it() {
    let (mut life, mut agent, sensor, point) = boiler();
    let from = life.log.len();
    let revision = wish(&mut life, point, request(72.5)).expect("it is new");
    let synced = item(Conformity::InSync, Hold::Active, 72.5, revision);
    says(&mut agent, &mut life, point, synced);
    let context = life.context("anna");
    let pause =
        |scope| interrupt(&life.state, scope, None, None, uuid(9), &context).expect("it is there");
    let (of_sensor, of_point) = (pause(Scope::Sensor(sensor)), pause(Scope::Point(point)));
    life.commit(of_point);
    let lifted = resume(&life.state, |_| true, None, &context);
    life.commit(lifted.expect("it is paused"));
    let context = life.context("anna");
    let change = release(&life.state, point, None, &context).expect("it is set");
    life.commit(change);
    let told = &life.log[from..];
    assert!(told.len() >= 5, "{told:?}");
    for event in told {
        let Value::Object(payload) = &event.payload else {
            panic!("{event:?}");
        };
        let called = [&payload["sensor"], &payload["point"], &payload["unit"]];
        assert_eq!(called, ["boiler-1", "target", "°C"], "{event:?}");
    }
    let [paused] = &of_sensor.events[..] else {
        panic!("{of_sensor:?}");
    };
    assert_eq!(paused.payload["sensor"], "boiler-1");
    assert!(paused.payload.get("point").is_none(), "{paused:?}");
}
