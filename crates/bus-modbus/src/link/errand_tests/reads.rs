//! What is read on demand, and what the sink is told.

use holdfast_domain::{HealthStatus, PointValue};
use tokio::sync::oneshot;

use crate::data::Spec;
use crate::fakes::{Document, sensor_id};
use crate::link::desk::{Command, Next};
use crate::link::stage::Stage;
use crate::link::wire::Failure;

use super::{add, document, polled, values};

#[test]
fn what_a_poll_read_before_a_write_is_not_told_after_it() {
    let mut stage = Stage::new(1);
    add(&mut stage, &document(1, 3), 1);
    stage.run_until(999);
    // What the poll finds and nobody is to be told, because it is overwritten before the poll ends.
    stage.registers.insert((1, 0), 8);
    stage.registers.insert((1, 10), 9);
    stage.steps(2);
    // The poll has read the first two registers; both are written, and one of them read back.
    let _writes = [
        stage.write(1, 0, 42),
        stage.write(1, 1, 43),
        stage.write(1, 2, 44),
    ];
    stage.steps(3);
    let _read = stage.read(1, &[1]);
    stage.steps(1);
    let told = stage.witness.of(sensor_id(1));
    assert_eq!(told.value(1), Some(PointValue::Integer(43)));
    stage.steps(1);
    stage.run_until(stage.elapsed() + 1);
    let seen = stage.witness.of(sensor_id(1));
    let values = [0, 1, 2].map(|point| seen.value(point));
    // Of the first, the last that was told is of the poll before.
    assert_eq!(
        values,
        [7, 43, 44].map(|value| Some(PointValue::Integer(value)))
    );
    assert_eq!(seen.polls, told.polls + 1);
    stage.run_until(2_500);
    assert_eq!(
        stage.witness.of(sensor_id(1)).value(0),
        Some(PointValue::Integer(42))
    );
}

#[test]
fn what_is_read_on_demand_is_read_in_few_requests_and_told_if_it_is_new() {
    let mut stage = Stage::new(1);
    let document = Document::new(1, 502)
        .interval_ms(60_000)
        .outputs(0..20)
        .outputs(40..42);
    add(&mut stage, &document, 1);
    stage.run_until(500);
    let polls = stage.witness.of(sensor_id(1)).polls;
    stage.registers.insert((1, 3), 99);
    stage.log.clear();
    let mut fresh = stage.read(1, &[21, 3, 2, 20, 4, 3, 12]);
    let log = stage.steps(3);
    assert_eq!(
        log,
        [
            "1 reads holding 2 to 4",
            "1 reads holding 12",
            "1 reads holding 40 to 41"
        ]
    );
    let number = |number| Some(PointValue::Integer(number));
    let expected = [7, 99, 7, 7, 7, 99, 7].map(number);
    assert_eq!(values(&fresh.try_recv().expect("it is answered")), expected);
    let seen = stage.witness.of(sensor_id(1));
    assert_eq!((seen.polls, seen.value(3)), (polls + 1, number(99)));
    let _again = stage.read(1, &[3]);
    stage.steps(1);
    assert_eq!(
        stage.witness.of(sensor_id(1)).polls,
        polls + 1,
        "nothing new"
    );
    // Points that are not there cost nothing, and neither does nothing.
    let fresh = stage.read(1, &[77]);
    let none = stage.read(1, &[]);
    stage.run_until(stage.elapsed() + 1);
    assert_eq!(stage.log.len(), 4);
    for (mut fresh, count) in [(fresh, 1), (none, 0)] {
        let fresh = fresh.try_recv().expect("it is answered");
        assert_eq!(values(&fresh), vec![None; count]);
        assert!(fresh.iter().all(|fresh| {
            fresh
                .reason
                .as_ref()
                .expect("a reason")
                .contains("no such point")
        }));
    }
}

#[test]
fn a_read_on_demand_that_fails_says_why_and_is_not_repeated_but_for_a_closed_connection() {
    let mut stage = polled(2, 3);
    stage.dead = [1].into();
    let mut fresh = stage.read(1, &[0, 1]);
    assert_eq!(stage.steps(1), ["1 reads holding 0"]);
    let fresh = fresh.try_recv().expect("it is answered");
    assert!(fresh.iter().all(|fresh| {
        fresh
            .reason
            .as_ref()
            .expect("a reason")
            .starts_with("no answer from unit 1")
    }));
    let seen = stage.witness.of(sensor_id(1));
    assert_eq!(
        (seen.bad().len(), seen.status()),
        (3, Some(HealthStatus::Offline))
    );

    let mut fresh = stage.read(2, &[0]);
    let Next::Connect = stage.desk.next(stage.now) else {
        panic!("the line was dropped")
    };
    stage.desk.connected(Ok(()), stage.now);
    for lost_and_used in [false, true] {
        let Next::Ask(ask) = stage.desk.next(stage.now) else {
            panic!("a read waits")
        };
        if !lost_and_used {
            stage.answer(&ask);
            fresh = stage.read(2, &[0]);
            continue;
        }
        assert!(
            !stage
                .desk
                .answered(Err(Failure::Lost("was reset")), stage.now)
        );
    }
    stage.steps(1);
    assert_eq!(
        values(&fresh.try_recv().expect("it is answered")),
        [Some(PointValue::Integer(7))]
    );
}

/// Reads these points of unit 1 alone, and gives the requests and the values.
fn read_alone(stage: &mut Stage, points: &[u64]) -> (Vec<String>, Vec<Option<PointValue>>) {
    stage.log.clear();
    let mut fresh = stage.read(1, points);
    let fresh = loop {
        match fresh.try_recv() {
            Ok(fresh) => break fresh,
            Err(_) => stage.step(),
        }
    };
    (stage.log.clone(), values(&fresh))
}

fn number(number: i64) -> Option<PointValue> {
    Some(PointValue::Integer(number))
}

#[test]
fn the_same_points_are_read_in_the_same_way_until_the_sensor_is_edited() {
    let mut stage = Stage::new(1);
    let document = |addresses: [u16; 2]| {
        let document = Document::new(1, 502).interval_ms(60_000);
        document.outputs(addresses)
    };
    add(&mut stage, &document([10, 11]), 1);
    stage.run_until(500);
    for (address, value) in [(10, 1), (11, 2), (50, 3), (51, 4)] {
        stage.registers.insert((1, address), value);
    }
    for value in [2, 22] {
        stage.registers.insert((1, 11), value);
        let shown = read_alone(&mut stage, &[1, 0]);
        let values = vec![number(value.into()), number(1)];
        assert_eq!(shown, (vec!["1 reads holding 10 to 11".to_owned()], values));
    }
    let (done, _is_done) = oneshot::channel();
    let (_, spec) = Spec::of(&document([50, 51]).sensor()).expect("a Modbus sensor");
    let update = Command::Update(1, Box::new(spec), done);
    stage.desk.obey(update, stage.now);
    stage.run_until(1_000);
    let shown = read_alone(&mut stage, &[1, 0]);
    let values = vec![number(4), number(3)];
    assert_eq!(shown, (vec!["1 reads holding 50 to 51".to_owned()], values));
}

#[test]
fn what_a_poll_has_found_to_be_refused_since_is_not_asked_for_with_others() {
    let mut stage = Stage::new(1);
    add(
        &mut stage,
        &Document::new(1, 502).interval_ms(1_000).outputs(0..4),
        1,
    );
    stage.run_until(500);
    let (log, _) = read_alone(&mut stage, &[0, 1, 2, 3]);
    assert_eq!(log, ["1 reads holding 0 to 3"]);
    stage.no_such = [2].into();
    stage.run_until(1_500);
    let (log, values) = read_alone(&mut stage, &[0, 1, 2, 3]);
    assert_eq!(
        log,
        [
            "1 reads holding 0 to 1",
            "1 reads holding 2",
            "1 reads holding 3"
        ]
    );
    assert_eq!(values, [number(7), number(7), None, number(7)]);
}

#[test]
fn what_a_read_on_demand_has_found_to_be_refused_is_asked_for_again_by_the_next() {
    let mut stage = Stage::new(1);
    add(
        &mut stage,
        &Document::new(1, 502).interval_ms(60_000).outputs(0..4),
        1,
    );
    stage.run_until(500);
    stage.no_such = [2].into();
    let (_, values) = read_alone(&mut stage, &[0, 1, 2, 3]);
    assert_eq!(values, [number(7), number(7), None, number(7)]);
    stage.no_such.clear();
    let (log, values) = read_alone(&mut stage, &[0, 1, 2, 3]);
    assert_eq!(log, ["1 reads holding 0 to 3"]);
    assert_eq!(values, vec![number(7); 4]);
}
