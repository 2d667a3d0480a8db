//! Whose turn it is, how much may wait, and for whom nothing is tried.

use holdfast_domain::hold::WriteOutcome;
use holdfast_domain::{HealthStatus, PointValue, Quality};
use tokio::sync::oneshot::error::TryRecvError;

use crate::fakes::sensor_id;
use crate::link::desk::{Command, Next};
use crate::link::stage::Stage;

use super::{add, document, not_sent, polled, values};

#[test]
fn writes_come_before_reads_and_both_before_polls_between_two_requests() {
    let mut stage = Stage::new(1);
    add(&mut stage, &document(1, 5), 1);
    stage.step();
    let (mut read, mut first, mut second) = (
        stage.read(1, &[3]),
        stage.write(1, 2, 42),
        stage.write(1, 1, 43),
    );
    let log = stage.steps(7);
    assert_eq!(
        log,
        [
            "1 writes holding 20 (6)",
            "1 writes holding 10 (6)",
            "1 reads holding 30",
            "1 reads holding 10",
            "1 reads holding 20",
            "1 reads holding 30",
            "1 reads holding 40"
        ]
    );
    assert_eq!(first.try_recv(), Ok(WriteOutcome::Acknowledged));
    assert_eq!(second.try_recv(), Ok(WriteOutcome::Acknowledged));
    let fresh = read.try_recv().expect("it is answered");
    assert_eq!(values(&fresh), [Some(PointValue::Integer(7))]);
    assert_eq!((fresh[0].quality, &fresh[0].reason), (Quality::Good, &None));
    assert_eq!(stage.connects.len(), 1, "nothing was cancelled");
}

#[test]
fn units_take_turns_and_each_is_served_in_order() {
    let mut stage = polled(3, 5);
    let _busy: Vec<_> = (0..4).map(|point| stage.write(1, point, 1)).collect();
    let _later = [
        stage.write(2, 4, 1),
        stage.write(3, 0, 1),
        stage.write(2, 0, 1),
    ];
    assert_eq!(
        stage.steps(7),
        [
            "1 writes holding 0 (6)",
            "2 writes holding 40 (6)",
            "3 writes holding 0 (6)",
            "1 writes holding 10 (6)",
            "2 writes holding 0 (6)",
            "1 writes holding 20 (6)",
            "1 writes holding 30 (6)"
        ]
    );
    // Reads of many requests share the line too.
    let _reads = [stage.read(1, &[0, 1, 2]), stage.read(2, &[0])];
    let log = stage.steps(4);
    assert!(
        log[..2].contains(&"2 reads holding 0".to_owned()),
        "{log:?}"
    );
}

#[test]
fn a_unit_that_asks_again_at_once_keeps_nobody_waiting() {
    let mut stage = polled(3, 2);
    let _many: Vec<_> = (0..6).map(|point| stage.write(3, point % 2, 1)).collect();
    let mut asking = vec![stage.write(1, 0, 1), stage.write(2, 0, 1)];
    let mut served = Vec::new();
    for _ in 0..6 {
        stage.step();
        let (_, unit) = *stage.asked.last().expect("somebody was asked");
        served.push(unit);
        if unit != 3 {
            asking.push(stage.write(unit.into(), 0, 1));
        }
    }
    served.sort_unstable();
    assert_eq!(served, [1, 1, 2, 2, 3, 3]);
}

#[test]
fn a_flood_of_writes_holds_up_polls_and_reads_but_not_for_ever() {
    let mut stage = polled(2, 2);
    stage.run_until(999);
    let mut outcomes: Vec<_> = (0..200).map(|_| stage.write(1, 0, 1)).collect();
    let _read = stage.read(2, &[1]);
    let log = stage.steps(50);
    let polls = log.iter().filter(|line| line.contains("reads")).count();
    assert!((4..=6).contains(&polls), "{log:?}");
    assert!(stage.log[..12].contains(&"2 reads holding 10".to_owned()));
    stage.run_until(3_000);
    assert!(
        outcomes
            .iter_mut()
            .all(|outcome| outcome.try_recv() == Ok(WriteOutcome::Acknowledged))
    );
}

#[test]
fn what_waits_is_bounded_and_no_unit_takes_the_place_of_all() {
    let mut stage = polled(4, 2);
    let mut flood: Vec<_> = (0..600).map(|_| stage.write(1, 0, 1)).collect();
    let turned_away = not_sent(flood[512].try_recv());
    assert!(
        turned_away.starts_with("512 requests wait for plc:502"),
        "{turned_away}"
    );
    assert_eq!(flood[511].try_recv(), Err(TryRecvError::Empty));
    let mut others: Vec<_> = (0..140).map(|_| stage.read(2, &[0])).collect();
    let mut refused = others.iter_mut().filter_map(|fresh| fresh.try_recv().ok());
    let reason = refused.next().expect("a refusal")[0]
        .reason
        .clone()
        .expect("a reason");
    assert!(reason.starts_with("640 requests wait"), "{reason}");
    assert_eq!(refused.count(), 11, "a quarter of 512 for one of four");
    assert_eq!(stage.stats().turned_away, 88 + 12);
    assert_eq!(stage.write(3, 0, 1).try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn a_silent_unit_is_not_asked_for_an_errand_where_others_would_wait() {
    let mut stage = polled(2, 2);
    stage.dead = [1].into();
    stage.run_until(2_500);
    let reason = not_sent(stage.write(1, 0, 1).try_recv());
    let begin = "no answer from unit 1 at plc:502 within 1000 ms (asked for holding 0); it is asked again in ";
    assert!(reason.starts_with(begin), "{reason}");
    let fresh = stage.read(1, &[0, 1]).try_recv().expect("it is answered");
    assert_eq!(values(&fresh), [None, None]);
    assert!(
        fresh[1]
            .reason
            .as_ref()
            .expect("a reason")
            .starts_with(begin)
    );
    assert_eq!(fresh[1].quality, Quality::Bad);
    // Alone on its line it is tried: nobody else waits.
    stage.desk.obey(Command::Remove(2, None), stage.now);
    stage.dead.clear();
    let mut outcome = stage.write(1, 0, 1);
    stage.step();
    assert_eq!(outcome.try_recv(), Ok(WriteOutcome::Acknowledged));
    // And who answers is polled at once.
    stage.steps(2);
    stage.run_until(stage.elapsed() + 1);
    let health = stage.witness.of(sensor_id(1)).status();
    assert_eq!(health, Some(HealthStatus::Online));
}

#[test]
fn a_line_that_is_down_is_said_at_once_or_tried_for_one_that_is_alone() {
    let mut stage = Stage::new(1);
    stage.refused = true;
    add(&mut stage, &document(1, 2), 1);
    add(&mut stage, &document(2, 2), 2);
    stage.run_until(5_000);
    let attempts = stage.connects.len();
    let reason = not_sent(stage.write(1, 0, 1).try_recv());
    let begin = "connect plc:502: connection refused; the next attempt is in ";
    assert!(reason.starts_with(begin), "{reason}");
    assert_eq!(stage.connects.len(), attempts);

    stage.desk.obey(Command::Remove(2, None), stage.now);
    let (mut outcome, mut fresh) = (stage.write(1, 0, 1), stage.read(1, &[0]));
    stage.run_until(stage.elapsed() + 1);
    assert_eq!(stage.connects.len(), attempts + 1);
    let reason = not_sent(outcome.try_recv());
    assert_eq!(
        reason,
        "connect plc:502: connection refused; nothing was sent"
    );
    assert_eq!(values(&fresh.try_recv().expect("it is answered")), [None]);
    stage.refused = false;
    let mut outcome = stage.write(1, 0, 1);
    stage.step();
    assert_eq!(outcome.try_recv(), Ok(WriteOutcome::Acknowledged));
    assert!(stage.asked.len() == 1, "before anything else");
}

#[test]
fn a_write_waits_for_what_was_to_be_read_there_before_it() {
    let mut stage = polled(1, 4);
    let (mut before, mut outcome, mut after) = (
        stage.read(1, &[0, 1]),
        stage.write(1, 1, 42),
        stage.read(1, &[1]),
    );
    let mut elsewhere = stage.write(1, 3, 43);
    let log = stage.steps(5);
    assert_eq!(
        log,
        [
            "1 reads holding 0",
            "1 reads holding 10",
            "1 writes holding 10 (6)",
            "1 writes holding 30 (6)",
            "1 reads holding 10"
        ]
    );
    let number = |number| Some(PointValue::Integer(number));
    assert_eq!(
        values(&before.try_recv().expect("it is answered")),
        [number(7), number(7)]
    );
    assert_eq!(
        values(&after.try_recv().expect("it is answered")),
        [number(42)]
    );
    assert_eq!(outcome.try_recv(), Ok(WriteOutcome::Acknowledged));
    assert_eq!(elsewhere.try_recv(), Ok(WriteOutcome::Acknowledged));

    // Also if the read is under way.
    let mut before = stage.read(1, &[2, 3]);
    let Next::Ask(ask) = stage.desk.next(stage.now) else {
        panic!("a read waits")
    };
    let _outcome = stage.write(1, 3, 44);
    stage.answer(&ask);
    stage.step();
    assert_eq!(
        values(&before.try_recv().expect("it is answered")),
        [number(7), number(43)]
    );
}

#[test]
fn what_must_not_come_late_is_not_sent_when_its_turn_comes_too_late() {
    let mut stage = polled(1, 3);
    // Each request takes its time: what waits behind two of them is late, what has the time is not.
    let before = (stage.write(1, 0, 1), stage.write(1, 1, 2));
    let mut late = stage.write_within(1, 2, 3, 1);
    let mut in_time = stage.write_within(1, 2, 4, 60_000);
    assert_eq!(
        stage.steps(3),
        [
            "1 writes holding 0 (6)",
            "1 writes holding 10 (6)",
            "1 writes holding 20 (6)"
        ]
    );
    drop(before);
    assert_eq!(in_time.try_recv(), Ok(WriteOutcome::Acknowledged));
    assert_eq!(
        not_sent(late.try_recv()),
        "it waited for its turn until its time was over"
    );
}
