//! The value loop of the machine, when something comes while a write is on its way: what was decided before does not count
//! any more, and what is still under way is not said to be over.

use holdfast_domain::{
    HealthStatus, PointValue, Quality, TargetState,
    document::{
        hold::LoopState,
        setpoint::{Conformity, Hold, Policy},
    },
    hold::WriteOutcome,
};
use holdfast_edge::machine::{Effect, Established, Event, PointsRead};
use holdfast_ports::bus::Fresh;
use serde_json::json;

use crate::{
    holding::{Plant, output, plant_target, run, set, stopped},
    rig::Rig,
    support::{changed, point_id, sensor_id, target},
};

/// Answers the open read with this value for each point.
fn shows(rig: &mut Rig, value: f64) {
    let Effect::ReadPoints {
        sensor,
        points,
        asked_at,
        ..
    } = rig.take("read")
    else {
        unreachable!()
    };
    let fresh = Fresh {
        value: Some(PointValue::Number(value)),
        quality: Quality::Good,
        reason: None,
    };
    let shown = vec![fresh; points.len()];
    rig.event(Event::Read(PointsRead {
        sensor,
        points,
        asked_at,
        shown,
    }));
}

fn booked(rig: &mut Rig) {
    let Effect::BookWrites { point, booked } = rig.take("book") else {
        unreachable!()
    };
    let result = Ok(());
    rig.event(Event::Booked {
        point,
        booked,
        result,
    });
}

fn wrote(rig: &mut Rig) {
    rig.event(Event::Wrote {
        point: point_id(1),
        outcome: WriteOutcome::Acknowledged,
    });
}

fn written(rig: &mut Rig) -> PointValue {
    let Effect::WritePoint { value, .. } = rig.take("write") else {
        unreachable!()
    };
    value
}

/// An agent on which 72.5 was set, and which is booking the write.
fn booking(base: &TargetState) -> Rig {
    let mut rig = Rig::running(base.clone());
    rig.offer_and_hold(set(base.clone(), &[(1, 72.5, 1)]));
    shows(&mut rig, 20.0);
    rig
}

#[test]
fn a_wish_that_was_overtaken_while_the_write_was_booked_is_not_written() {
    let base = plant_target(&[1]);
    let mut rig = booking(&base);
    rig.offer_and_hold(set(base, &[(1, 50.0, 2)]));
    booked(&mut rig);
    assert_eq!(written(&mut rig), PointValue::Number(50.0));
}

#[test]
fn what_was_read_long_before_the_write_was_booked_is_read_again() {
    let base = plant_target(&[1]);
    let mut rig = booking(&base);
    rig.pass(2_500);
    booked(&mut rig);
    assert_eq!(rig.count("write"), 0, "it may show the value by now");
    shows(&mut rig, 72.5);
    rig.pass(20_000);
    assert_eq!(rig.count("write"), 0);
}

#[test]
fn a_stop_is_confirmed_when_nothing_moves_any_more() {
    let base = plant_target(&[1]);
    let mut rig = booking(&base);
    booked(&mut rig);
    rig.take("write");
    while rig.verbs().contains(&"report") {
        rig.report_taken();
    }
    rig.offer_and_hold(stopped(set(base, &[(1, 72.5, 1)]), 5, None));
    rig.pass(500);
    let hold = |rig: &mut Rig| {
        let values = rig.report_taken().values.expect("it speaks of outputs");
        let hold = values.hold.expect("and of how it holds them");
        (hold.state, hold.held_revision)
    };
    assert_eq!(hold(&mut rig), (LoopState::Stopping, 0));
    wrote(&mut rig);
    rig.pass(500);
    assert_eq!(
        hold(&mut rig),
        (LoopState::Stopping, 5),
        "it is read back first"
    );
    shows(&mut rig, 72.5);
    rig.pass(500);
    assert_eq!(
        hold(&mut rig),
        (LoopState::Stopping, 5),
        "it is noted first"
    );
    // The day that the write counts in was noted before it.
    while rig.verbs().contains(&"remember") {
        rig.take("remember");
        rig.event(Event::Remembered(Ok(())));
    }
    rig.pass(500);
    assert_eq!(hold(&mut rig), (LoopState::Stopped, 5));
}

#[test]
fn a_write_that_outlives_its_wish_is_waited_for_by_the_next_one() {
    let base = plant_target(&[1]);
    let mut rig = booking(&base);
    booked(&mut rig);
    rig.take("write");
    let mut released = base.clone();
    released.setpoints.revision = 2;
    rig.offer_and_hold(released);
    rig.offer_and_hold(set(base, &[(1, 50.0, 3)]));
    while rig.verbs().contains(&"read") {
        shows(&mut rig, 20.0);
    }
    rig.pass(500);
    assert_eq!(rig.count("write"), 1, "one write of a point at a time");
    wrote(&mut rig);
    shows(&mut rig, 72.5);
    assert_eq!(written(&mut rig), PointValue::Number(50.0));
}

#[test]
fn while_the_old_point_still_runs_nothing_is_read_of_it_or_written_to_it_for_the_new_one() {
    let base = plant_target(&[1]);
    let mut rig = Rig::running(base);
    let faster = json!({ "pollInterval": 200, "dataPoints": [output(1, json!({}))] });
    rig.offer_and_hold(target(2, [changed(1, faster)]));
    assert!(rig.verbs().contains(&"update"), "{:?}", rig.verbs());
    // While that is taken, the point is redefined, and set as what it is now.
    let elsewhere = json!({ "dataPoints": [output(1, json!({ "address": 300 }))] });
    let wanted = set(target(3, [changed(1, elsewhere)]), &[(1, 72.5, 1)]);
    rig.offer_and_hold(wanted);
    while rig.verbs().contains(&"read") {
        shows(&mut rig, 20.0);
    }
    rig.pass(3_000);
    assert_eq!((rig.count("book"), rig.count("write")), (0, 0));
    let Effect::Update { generation, .. } = rig.take("update") else {
        unreachable!()
    };
    rig.event(Event::Updated {
        sensor: sensor_id(1),
        generation,
        result: Ok(Established::Noted),
    });
    assert_eq!(rig.count("write"), 0);
    rig.succeed(sensor_id(1));
    rig.wait_for(|effect| matches!(effect, Effect::ReadPoints { .. }));
    shows(&mut rig, 20.0);
    booked(&mut rig);
    assert_eq!(written(&mut rig), PointValue::Number(72.5));
}

#[test]
fn what_was_asked_of_the_old_point_says_nothing_of_the_new_one_however_late_the_answer() {
    let base = set(plant_target(&[1]), &[(1, 72.5, 1)]);
    let mut rig = Rig::running(plant_target(&[1]));
    rig.offer_and_hold(base.clone());
    shows(&mut rig, 72.5);
    for _ in 0..3 {
        rig.pass(500);
        while rig.verbs().contains(&"report") {
            rig.report_taken();
        }
    }
    rig.wait_for(|effect| matches!(effect, Effect::ReadPoints { .. }));
    // While it is read, the point is redefined.
    let elsewhere = json!({ "dataPoints": [output(1, json!({ "address": 300 }))] });
    let mut redefined = target(2, [changed(1, elsewhere)]);
    redefined.setpoints = base.setpoints;
    rig.offer_and_hold(redefined);
    rig.pass(20);
    let Effect::Update { generation, .. } = rig.take("update") else {
        unreachable!()
    };
    rig.event(Event::Updated {
        sensor: sensor_id(1),
        generation,
        result: Ok(Established::Noted),
    });
    shows(&mut rig, 72.5);
    for _ in 0..3 {
        rig.pass(500);
        while rig.verbs().contains(&"report") {
            let values = rig.report_taken().values;
            let said = values
                .and_then(|values| values.items.get(&point_id(1)).map(|said| said.conformity));
            assert_ne!(
                said,
                Some(Conformity::InSync),
                "nobody has looked at it yet"
            );
        }
    }
    rig.wait_for(|effect| matches!(effect, Effect::ReadPoints { .. }));
}

#[test]
fn while_the_adapter_takes_another_point_nothing_is_written_though_the_old_one_is_wanted_again() {
    let base = set(plant_target(&[1]), &[(1, 72.5, 1)]);
    let mut rig = Rig::running(plant_target(&[1]));
    let elsewhere = json!({ "dataPoints": [output(1, json!({ "address": 300 }))] });
    rig.offer_and_hold(target(2, [changed(1, elsewhere)]));
    assert!(rig.verbs().contains(&"update"), "{:?}", rig.verbs());
    rig.offer_and_hold(TargetState { version: 3, ..base });
    while rig.verbs().contains(&"read") {
        shows(&mut rig, 20.0);
    }
    rig.pass(3_000);
    assert_eq!((rig.count("book"), rig.count("write")), (0, 0));
}

#[test]
fn a_wish_that_ends_while_its_write_settles_is_looked_at_once() {
    let base = plant_target(&[1]);
    let mut wanted = set(base.clone(), &[(1, 72.5, 1)]);
    wanted.setpoints.items[0].valid_for_ms = Some(500);
    let mut rig = Rig::running(base);
    rig.offer_and_hold(wanted);
    shows(&mut rig, 20.0);
    booked(&mut rig);
    rig.take("write");
    rig.pass(450);
    wrote(&mut rig);
    // Each event looks whether all that was due is done.
    rig.pass(5_000);
}

#[test]
fn of_a_point_that_was_redefined_nothing_is_said_that_was_true_before() {
    let base = set(plant_target(&[1]), &[(1, 72.5, 1)]);
    let mut rig = Rig::running(plant_target(&[1]));
    rig.offer_and_hold(base.clone());
    shows(&mut rig, 72.5);
    for _ in 0..3 {
        rig.pass(500);
        while rig.verbs().contains(&"report") {
            rig.report_taken();
        }
    }
    // Its sensor is changed; the setpoint is still bound to what the point was.
    let elsewhere = json!({ "dataPoints": [output(1, json!({ "address": 300 }))] });
    let mut redefined = target(2, [changed(1, elsewhere)]);
    redefined.setpoints = base.setpoints;
    rig.offer_and_hold(redefined);
    rig.pass(200);
    let report = rig.report_taken();
    let item = &report.values.expect("it speaks of outputs").items[&point_id(1)];
    assert_eq!(
        (item.conformity, item.hold),
        (Conformity::Unknown, Hold::Blocked)
    );
}

/// An agent that adopts what is set on site, and reads its output for the first time; and which start of it that is.
fn adopting() -> (Rig, u64) {
    let base = plant_target(&[1]);
    let mut wanted = set(base.clone(), &[(1, 72.5, 1)]);
    wanted.setpoints.items[0].policy = Policy::Adopt;
    let mut rig = Rig::running(base);
    rig.offer_and_hold(wanted);
    let reads = |effect: &Effect| match effect {
        Effect::ReadPoints { generation, .. } => Some(*generation),
        _ => None,
    };
    let generation = rig.open.iter().find_map(reads).expect("a read");
    (rig, generation)
}

#[test]
fn what_an_instrument_shows_after_its_line_broke_between_two_looks_is_put_back() {
    let (mut rig, generation) = adopting();
    shows(&mut rig, 72.5);
    for status in [HealthStatus::Offline, HealthStatus::Online] {
        rig.event(Event::Health {
            sensor: sensor_id(1),
            generation,
            status,
            reason: None,
        });
    }
    rig.wait_for(|effect| matches!(effect, Effect::ReadPoints { .. }));
    shows(&mut rig, 0.0);
    booked(&mut rig);
    assert_eq!(written(&mut rig), PointValue::Number(72.5));
}

#[test]
fn what_an_instrument_shows_after_it_broke_off_is_not_adopted_though_nobody_missed_it() {
    let (mut rig, generation) = adopting();
    rig.pass(10);
    // It is told while a read is under way that was asked for before.
    rig.event(Event::BrokenOff {
        sensor: sensor_id(1),
        generation,
    });
    shows(&mut rig, 72.5);
    rig.wait_for(|effect| matches!(effect, Effect::ReadPoints { .. }));
    shows(&mut rig, 0.0);
    booked(&mut rig);
    assert_eq!(written(&mut rig), PointValue::Number(72.5));
}

#[test]
fn older_setpoints_never_overwrite_newer_ones() {
    let base = plant_target(&[1]);
    let mut rig = Rig::running(set(base.clone(), &[(1, 72.5, 5)]));
    let mut plant = Plant::of(&[(1, 72.5)]);
    run(&mut rig, &mut plant, 10_000);
    rig.offer(set(base, &[(1, 20.0, 4)]));
    assert!(!rig.verbs().contains(&"hold"));
    run(&mut rig, &mut plant, 60_000);
    assert_eq!(plant.writes.len(), 0);
}
