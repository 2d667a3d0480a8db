//! What whoever wrote is answered, and that nothing is sent twice.

use holdfast_domain::hold::WriteOutcome;
use holdfast_domain::{HealthStatus, PointValue};
use tokio::sync::oneshot::{self};

use crate::data::Spec;
use crate::fakes::{Document, point_id, sensor_id};
use crate::link::desk::{Command, Next};
use crate::link::stage::Stage;
use crate::link::wire::{Answer, Failure};

use super::{add, document, not_sent, polled, values};

#[test]
fn a_write_that_nobody_answers_is_unknown_and_never_sent_again() {
    let mut stage = polled(2, 2);
    stage.script = [Err(Failure::TimedOut)].into();
    let (mut first, mut waiting, mut other) = (
        stage.write(1, 0, 1),
        stage.write(1, 1, 2),
        stage.write(2, 0, 3),
    );
    stage.steps(1);
    let unknown = "no answer from unit 1 at plc:502 within 1000 ms (asked to write holding 0)";
    assert_eq!(first.try_recv(), Ok(WriteOutcome::Unknown(unknown.into())));
    let reason = not_sent(waiting.try_recv());
    assert!(
        reason.starts_with(unknown) && reason.contains("asked again"),
        "{reason}"
    );
    stage.steps(1);
    assert_eq!(other.try_recv(), Ok(WriteOutcome::Acknowledged));
    assert_eq!(stage.connects.len(), 2, "on a new connection");
    assert_eq!(
        stage.witness.of(sensor_id(1)).status(),
        Some(HealthStatus::Offline)
    );
    stage.run_until(60_000);
    let to_first = stage.log.iter().filter(|line| line.starts_with("1 writes"));
    assert_eq!(to_first.count(), 1);
}

#[test]
fn a_connection_that_ends_under_a_write_leaves_it_unknown_and_one_that_had_ended_does_not() {
    let mut stage = polled(1, 2);
    stage.script = [Err(Failure::Lost("was reset"))].into();
    let (mut lost, mut next) = (stage.write(1, 0, 1), stage.write(1, 1, 1));
    let log = stage.steps(2);
    assert_eq!(log, ["1 writes holding 0 (6)", "1 writes holding 10 (6)"]);
    let expected = "the connection to plc:502 was reset when unit 1 was asked to write holding 0";
    assert_eq!(lost.try_recv(), Ok(WriteOutcome::Unknown(expected.into())));
    assert_eq!(
        next.try_recv(),
        Ok(WriteOutcome::Acknowledged),
        "the unit may be well"
    );

    // Nothing was sent, so it is sent on a new connection; but not for ever.
    stage.script = [Err(Failure::Stale)].into();
    let mut outcome = stage.write(1, 0, 1);
    stage.steps(2);
    assert_eq!(outcome.try_recv(), Ok(WriteOutcome::Acknowledged));
    stage.script = [Err(Failure::Stale), Err(Failure::Stale)].into();
    let mut outcome = stage.write(1, 0, 1);
    stage.steps(2);
    assert!(not_sent(outcome.try_recv()).contains("before unit 1 was asked to write"));
}

#[test]
fn a_write_that_nobody_answers_ends_no_poll_of_another_unit() {
    let mut stage = polled(2, 3);
    stage.run_until(1_000);
    stage.steps(4);
    assert_eq!(stage.log[3..], ["2 reads holding 0"]);
    stage.script = [Err(Failure::TimedOut)].into();
    let _outcome = stage.write(1, 0, 1);
    let log = stage.steps(3);
    assert_eq!(
        log,
        [
            "1 writes holding 0 (6)",
            "2 reads holding 10",
            "2 reads holding 20"
        ]
    );
}

#[test]
fn another_answer_than_the_one_to_this_is_unknown() {
    let mut stage = polled(1, 2);
    stage.script = [Err(Failure::NoAnswer(
        "an answer that is not to that".into(),
    ))]
    .into();
    let mut outcome = stage.write(1, 0, 1);
    stage.steps(1);
    let expected =
        "unit 1 at plc:502 was asked to write holding 0 and sent an answer that is not to that";
    assert_eq!(
        outcome.try_recv(),
        Ok(WriteOutcome::Unknown(expected.into()))
    );
}

#[test]
fn exceptions_are_refusals_unless_they_say_something_else() {
    let cases = [
        (
            2,
            "unit 1 at plc:502 refused to write holding 0 (function 6): illegal data address (exception 2)",
        ),
        (
            3,
            "unit 1 at plc:502 refused to write holding 0 (function 6): illegal data value (exception 3)",
        ),
        (
            4,
            "unit 1 at plc:502 refused to write holding 0 (function 6): server device failure (exception 4)",
        ),
        (
            6,
            "unit 1 at plc:502 refused to write holding 0 (function 6): server device busy (exception 6)",
        ),
    ];
    for (code, expected) in cases {
        let mut stage = polled(1, 1);
        stage.script = [Ok(Answer::Exception(code))].into();
        let mut outcome = stage.write(1, 0, 1);
        stage.steps(1);
        assert_eq!(
            outcome.try_recv(),
            Ok(WriteOutcome::Refused(expected.into()))
        );
        assert_eq!(
            stage.witness.of(sensor_id(1)).status(),
            Some(HealthStatus::Online)
        );
    }
    // Taken and not done yet; sent on by a gateway that heard nothing; not sent on.
    for code in [5, 10, 11] {
        let mut stage = polled(1, 1);
        stage.script = [Ok(Answer::Exception(code))].into();
        let mut outcome = stage.write(1, 0, 1);
        stage.steps(1);
        match (code, outcome.try_recv().expect("it is answered")) {
            (10, WriteOutcome::NotSent(_)) | (5 | 11, WriteOutcome::Unknown(_)) => {}
            other => panic!("{other:?}"),
        }
        let silent = code != 5;
        let status = stage.witness.of(sensor_id(1)).status();
        assert_eq!(status == Some(HealthStatus::Offline), silent);
    }
}

#[test]
fn an_instrument_that_knows_only_one_of_two_functions_is_written_with_that() {
    let mut stage = polled(1, 2);
    stage.unknown_functions = [6].into();
    let (mut first, mut second) = (stage.write(1, 0, 1), stage.write(1, 1, 1));
    let log = stage.steps(3);
    assert_eq!(
        log,
        [
            "1 writes holding 0 (6)",
            "1 writes holding 0 (16)",
            "1 writes holding 10 (16)"
        ]
    );
    assert_eq!(first.try_recv(), Ok(WriteOutcome::Acknowledged));
    assert_eq!(second.try_recv(), Ok(WriteOutcome::Acknowledged));
    // Another instrument in its place.
    stage.unknown_functions = [16].into();
    let mut outcome = stage.write(1, 0, 1);
    assert_eq!(
        stage.steps(2),
        ["1 writes holding 0 (16)", "1 writes holding 0 (6)"]
    );
    assert_eq!(outcome.try_recv(), Ok(WriteOutcome::Acknowledged));
    let _again = stage.write(1, 0, 1);
    assert_eq!(stage.steps(1), ["1 writes holding 0 (6)"]);
    // One that knows neither is asked no third time.
    stage.unknown_functions = [6, 16].into();
    let mut outcome = stage.write(1, 0, 1);
    stage.steps(2);
    let expected = "unit 1 at plc:502 takes neither function 6 nor 16 for holding 0: illegal function (exception 1)";
    assert_eq!(
        outcome.try_recv(),
        Ok(WriteOutcome::Refused(expected.into()))
    );
    stage.run_until(990);
    assert_eq!(stage.log.len(), 8);
}

#[test]
fn a_bit_is_never_written_by_reading_its_register_first() {
    let mut stage = Stage::new(1);
    let document = document(1, 0).output("holding", 5, "bit(3)");
    add(&mut stage, &document, 1);
    stage.run_until(500);
    stage.unknown_functions = [22].into();
    let (answer, mut outcome) = oneshot::channel();
    let command = Command::Write(1, point_id(0), PointValue::Bool(true), answer);
    stage.desk.obey(command, stage.now);
    assert_eq!(stage.steps(1), ["1 writes holding 5 (22)"]);
    match outcome.try_recv() {
        Ok(WriteOutcome::Refused(reason)) => {
            let begin =
                "unit 1 at plc:502 does not know function 22, the only one that changes one bit";
            assert!(reason.starts_with(begin), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_sent_for_a_sensor_that_was_stopped_or_for_nobody() {
    let mut stage = polled(2, 2);
    let (mut write, mut read) = (stage.write(1, 0, 1), stage.read(1, &[0]));
    let deserted = stage.write(2, 0, 1);
    drop(deserted);
    stage.desk.obey(Command::Remove(1, None), stage.now);
    assert_eq!(not_sent(write.try_recv()), "the sensor was stopped");
    assert_eq!(values(&read.try_recv().expect("it is answered")), [None]);
    assert_eq!(
        not_sent(stage.write(1, 0, 1).try_recv()),
        "the sensor was stopped"
    );
    stage.run_until(990);
    assert_eq!(stage.log, [""; 0]);
    // What is under way is told as it ends, and not tried with another function.
    let mut write = stage.write(2, 0, 1);
    let Next::Ask(ask) = stage.desk.next(stage.now) else {
        panic!("a write waits")
    };
    stage.unknown_functions = [6].into();
    add(&mut stage, &document(3, 1), 3);
    stage.desk.obey(Command::Remove(2, None), stage.now);
    stage.answer(&ask);
    assert!(matches!(write.try_recv(), Ok(WriteOutcome::Refused(_))));
    stage.run_until(5_000);
    assert_eq!(
        stage
            .log
            .iter()
            .filter(|line| line.contains("writes"))
            .count(),
        1
    );
}

#[test]
fn other_content_is_taken_into_account_by_what_waits() {
    let mut stage = polled(1, 3);
    let (mut read, mut gone, mut moved) = (
        stage.read(1, &[0, 1]),
        stage.write(1, 2, 2),
        stage.write(1, 1, 44),
    );
    let Next::Ask(ask) = stage.desk.next(stage.now) else {
        panic!("a write waits")
    };
    let (done, _is_done) = oneshot::channel();
    let document = Document::new(1, 502).interval_ms(1_000).outputs([50, 51]);
    let (_, spec) = Spec::of(&document.sensor()).expect("a Modbus sensor");
    stage
        .desk
        .obey(Command::Update(1, Box::new(spec), done), stage.now);
    stage.answer(&ask);
    stage.steps(2);
    assert_eq!(
        gone.try_recv(),
        Ok(WriteOutcome::Acknowledged),
        "it was under way"
    );
    assert_eq!(moved.try_recv(), Ok(WriteOutcome::Acknowledged));
    assert_eq!(
        stage.log[1..],
        ["1 reads holding 50 to 51", "1 writes holding 51 (6)"]
    );
    let _ = read.try_recv().expect("it is answered");
    assert!(matches!(
        stage.write(1, 2, 2).try_recv(),
        Ok(WriteOutcome::Refused(_))
    ));
}
