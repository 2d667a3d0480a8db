//! Writing and reading on demand, over sockets: what arrives at the instrument, and what whoever asked is told.

use std::time::Duration;

use holdfast_device_sim::modbus::{
    Exception, Faults, Function, ModbusInstrument, RequestRecord, Table, Unit,
};
use holdfast_domain::hold::WriteOutcome;
use holdfast_domain::{HealthStatus, PointValue};
use holdfast_ports::bus::RunningSensor;
use tokio::time::timeout;

use crate::support::fakes::{Document, Witness, point_id, sensor_id};
use crate::support::{SOON, at, bus, quick, start};

pub(crate) fn unit() -> Unit {
    let registers: Vec<u16> = (0..200).collect();
    Unit::new()
        .holding_registers(0, &registers)
        .coils(0, &[false; 10])
}

pub(crate) async fn instrument() -> ModbusInstrument {
    ModbusInstrument::builder()
        .unit(1, unit())
        .unit(2, unit())
        .bind("127.0.0.1:0")
        .await
        .unwrap()
}

/// Polled rarely, so that what arrives is what was asked for: a coil, a register, two of them, four, and a bit.
pub(crate) fn outputs(sim: &ModbusInstrument) -> Document {
    at(1, sim.local_addr())
        .interval_ms(600_000)
        .timeout_ms(200)
        .output("coil", 3, "bool")
        .output("holding", 10, "int16")
        .output("holding", 20, "float32")
        .output("holding", 30, "int64")
        .output("holding", 40, "bit(5)")
}

pub(crate) async fn write(
    sensor: &dyn RunningSensor,
    point: u64,
    value: PointValue,
) -> WriteOutcome {
    timeout(SOON, sensor.write(point_id(point), &value))
        .await
        .unwrap()
}

pub(crate) async fn read(sensor: &dyn RunningSensor, points: &[u64]) -> Vec<Option<PointValue>> {
    let points: Vec<_> = points.iter().copied().map(point_id).collect();
    let fresh = timeout(SOON, sensor.read(&points)).await.unwrap();
    fresh.into_iter().map(|fresh| fresh.value).collect()
}

pub(crate) fn integer(value: i64) -> PointValue {
    PointValue::Integer(value)
}

/// The requests that want to write.
fn writes(journal: &[RequestRecord]) -> Vec<(Function, u16)> {
    let of = |request: &RequestRecord| Some((request.function()?, request.address()?));
    let all = journal.iter().filter_map(of);
    all.filter(|(function, _)| function.writes()).collect()
}

#[tokio::test]
async fn each_write_is_one_request_and_what_is_read_back_is_what_was_written() {
    let sim = instrument().await;
    let witness = Witness::new();
    let sensor = start(&bus(quick()), &outputs(&sim), &witness)
        .await
        .unwrap();
    let values = [
        PointValue::Bool(true),
        integer(-300),
        PointValue::Number(72.5),
        integer(1 << 50),
        PointValue::Bool(true),
    ];
    for (point, value) in (0..).zip(&values) {
        assert_eq!(
            write(&*sensor, point, value.clone()).await,
            WriteOutcome::Acknowledged
        );
        assert_eq!(read(&*sensor, &[point]).await, [Some(value.clone())]);
    }
    assert_eq!(
        writes(&sim.take_journal()),
        [
            (Function::WriteSingleCoil, 3),
            (Function::WriteSingleRegister, 10),
            (Function::WriteMultipleRegisters, 20),
            (Function::WriteMultipleRegisters, 30),
            (Function::MaskWriteRegister, 40)
        ]
    );
    assert_eq!(sim.totals().write_requests, 5);
    // The other bits of register 40 are as they were; nothing beside any value was touched.
    assert_eq!(
        sim.registers(1, Table::Holding, 40, 1),
        Ok(vec![40 | 1 << 5])
    );
    for (address, count) in [(9, 1), (11, 9), (22, 8), (34, 6), (41, 9)] {
        let untouched: Vec<u16> = (address..address + count).collect();
        assert_eq!(
            sim.registers(1, Table::Holding, address, count),
            Ok(untouched)
        );
    }
    // The sink has what was read.
    assert_eq!(
        witness.of(sensor_id(1)).value(2),
        Some(PointValue::Number(72.5))
    );
    sensor.stop().await;
}

#[tokio::test]
async fn reading_never_writes_and_takes_few_requests() {
    let sim = instrument().await;
    let witness = Witness::new();
    let document = outputs(&sim).outputs(100..110);
    let sensor = start(&bus(quick()), &document, &witness).await.unwrap();
    timeout(SOON, witness.wait(sensor_id(1), |seen| seen.polls >= 1))
        .await
        .unwrap();
    let _ = sim.take_journal();
    for _ in 0..50 {
        assert_eq!(read(&*sensor, &[14, 5, 0]).await.len(), 3);
        assert_eq!(
            read(&*sensor, &[5, 6, 7, 8]).await,
            [100, 101, 102, 103].map(|value| Some(integer(value)))
        );
    }
    assert_eq!(sim.take_journal().len(), 50 * 4);
    assert_eq!(sim.totals().write_requests, 0);
    sensor.stop().await;
}

#[tokio::test]
async fn a_write_overtakes_a_long_poll_between_two_requests() {
    let sim = instrument().await;
    sim.set_faults(Faults::slow(Duration::from_millis(20)));
    let witness = Witness::new();
    // Thirty requests a poll, one poll after the other.
    let document = at(1, sim.local_addr())
        .timeout_ms(2_000)
        .outputs((0..30).map(|point| point * 5));
    let sensor = start(&bus(quick()), &document, &witness).await.unwrap();
    for round in 0..3 {
        timeout(SOON, sim.wait_for_more_requests(1, 7))
            .await
            .unwrap();
        let _ = sim.take_journal();
        assert_eq!(
            write(&*sensor, 9, integer(1_000 + round)).await,
            WriteOutcome::Acknowledged
        );
        assert_eq!(read(&*sensor, &[9]).await, [Some(integer(1_000 + round))]);
        let journal = sim.take_journal();
        let wrote = journal
            .iter()
            .position(|request| request.function() == Some(Function::WriteSingleRegister));
        // At most the one that was under way, and the one that was begun as the task woke.
        assert!(wrote.unwrap() <= 2, "{journal:?}");
        let read_back = &journal[wrote.unwrap() + 1..];
        assert!(
            read_back
                .iter()
                .take(3)
                .any(|request| request.address() == Some(45)),
            "{journal:?}"
        );
    }
    let health = witness.of(sensor_id(1)).health;
    let is_well = |(status, _): &(HealthStatus, _)| *status == HealthStatus::Online;
    assert!(health.iter().all(is_well), "nothing was cut: {health:?}");
    assert_eq!(sim.totals().connections_accepted, 1);
    sensor.stop().await;
}

#[tokio::test]
async fn exceptions_are_refusals_in_words_and_change_nothing() {
    let sim = instrument().await;
    let witness = Witness::new();
    let sensor = start(&bus(quick()), &outputs(&sim), &witness)
        .await
        .unwrap();
    let cases = [
        (
            Exception::IllegalDataAddress,
            "illegal data address (exception 2)",
        ),
        (
            Exception::IllegalDataValue,
            "illegal data value (exception 3)",
        ),
        (
            Exception::ServerDeviceBusy,
            "server device busy (exception 6)",
        ),
    ];
    for (exception, words) in cases {
        sim.set_faults(Faults::refusing(Table::Holding, 20..=21, exception));
        let expected = format!(
            "unit 1 at {} refused to write holding 20 to 21 (function 16): {words}",
            sim.local_addr()
        );
        let outcome = write(&*sensor, 2, PointValue::Number(1.0)).await;
        assert_eq!(outcome, WriteOutcome::Refused(expected));
        assert_eq!(
            write(&*sensor, 1, integer(5)).await,
            WriteOutcome::Acknowledged
        );
    }
    assert_eq!(sim.registers(1, Table::Holding, 20, 2), Ok(vec![20, 21]));
    assert_eq!(sim.totals().write_requests, 6);
    // What can't be sent at all does not arrive.
    for (point, value) in [
        (1, integer(70_000)),
        (1, PointValue::Bool(true)),
        (77, integer(1)),
    ] {
        assert!(matches!(
            write(&*sensor, point, value).await,
            WriteOutcome::Refused(_)
        ));
    }
    assert_eq!(sim.totals().write_requests, 6);
    sensor.stop().await;
}

#[tokio::test]
async fn an_instrument_without_a_function_is_written_with_the_other_or_says_so() {
    let sim = instrument().await;
    let witness = Witness::new();
    let sensor = start(&bus(quick()), &outputs(&sim), &witness)
        .await
        .unwrap();
    sim.set_faults(Faults::without(&[
        Function::WriteSingleRegister,
        Function::MaskWriteRegister,
    ]));
    for value in [5, 6] {
        assert_eq!(
            write(&*sensor, 1, integer(value)).await,
            WriteOutcome::Acknowledged
        );
        assert_eq!(read(&*sensor, &[1]).await, [Some(integer(value))]);
    }
    let expected = [
        (Function::WriteSingleRegister, 10),
        (Function::WriteMultipleRegisters, 10),
        (Function::WriteMultipleRegisters, 10),
    ];
    assert_eq!(writes(&sim.take_journal()), expected);
    assert_eq!(sim.writes_of(1, Table::Holding, 10), 2);
    match write(&*sensor, 4, PointValue::Bool(false)).await {
        WriteOutcome::Refused(reason) => {
            assert!(reason.contains("does not know function 22"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(sim.registers(1, Table::Holding, 40, 1), Ok(vec![40]));

    sim.set_faults(Faults::without(&[Function::WriteMultipleRegisters]));
    assert_eq!(
        write(&*sensor, 1, integer(7)).await,
        WriteOutcome::Acknowledged
    );
    assert!(matches!(
        write(&*sensor, 2, PointValue::Number(1.0)).await,
        WriteOutcome::Refused(_)
    ));
    assert_eq!(sim.registers(1, Table::Holding, 20, 2), Ok(vec![20, 21]));
    sensor.stop().await;
}
