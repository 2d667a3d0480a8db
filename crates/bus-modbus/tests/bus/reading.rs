//! What is read, with which requests.

use holdfast_device_sim::modbus::{Function, ModbusInstrument, Table, Unit};
use holdfast_domain::{HealthStatus, PointValue, Quality};
use serde_json::json;
use tokio::time::timeout;

use crate::support::fakes::{Witness, point_id, sensor_id};
use crate::support::{SOON, at, bus, quick, start};

async fn instrument() -> ModbusInstrument {
    let unit = Unit::new()
        .coils(0, &[true, false, true])
        .discrete_inputs(10, &[false, true])
        .input_registers(0, &[725, 0xFFFE])
        .holding_registers(100, &[0x41AD, 0x999A, 7, 8, 0x6669, 0x7368, 0])
        .holding_registers(200, &[0x7FC0, 0]);
    ModbusInstrument::builder()
        .unit(1, unit)
        .bind("127.0.0.1:0")
        .await
        .unwrap()
}

#[tokio::test]
async fn every_table_is_read_with_one_request_and_none_that_writes() {
    let sim = instrument().await;
    let witness = Witness::new();
    let document = at(1, sim.local_addr())
        .point("coil", 0, "bool")
        .point("coil", 2, "bool")
        .point("discrete", 11, "bool")
        .point_with("input", 0, "int16", &json!({ "scale": 0.1 }))
        .point("input", 1, "int16")
        .point("holding", 100, "float32")
        .point("holding", 102, "bit(0)")
        .point("holding", 103, "uint16")
        .point("holding", 104, "string(5)")
        .connection("maxGap", json!(1));
    let bus = bus(quick());
    let sensor = timeout(SOON, start(&bus, &document, &witness))
        .await
        .unwrap()
        .unwrap();

    let seen = timeout(SOON, witness.wait(sensor_id(1), |seen| seen.polls >= 3))
        .await
        .unwrap();
    let value = |number| seen.value(number).unwrap();
    assert_eq!(
        (value(0), value(1), value(2)),
        (
            PointValue::Bool(true),
            PointValue::Bool(true),
            PointValue::Bool(true)
        )
    );
    assert_eq!(
        (value(3), value(4)),
        (PointValue::Number(72.5), PointValue::Integer(-2))
    );
    assert_eq!(value(5), PointValue::Number(f64::from(21.7_f32)));
    assert_eq!(
        (value(6), value(7)),
        (PointValue::Bool(true), PointValue::Integer(8))
    );
    assert_eq!(value(8), PointValue::Text("fish".into()));
    assert!(
        seen.readings
            .values()
            .all(|reading| reading.quality == Quality::Good && reading.reason.is_none())
    );
    assert_eq!(seen.health_at_any_pace(), [(HealthStatus::Online, None)]);

    sensor.stop().await;
    let polls = witness.of(sensor_id(1)).polls;
    let counts = sim.unit_counts(1);
    for function in [
        Function::ReadCoils,
        Function::ReadDiscreteInputs,
        Function::ReadInputRegisters,
        Function::ReadHoldingRegisters,
    ] {
        assert!(
            (polls..=polls + 1).contains(&counts.requests_of(function)),
            "{function:?}: {counts:?}, {polls} polls"
        );
    }
    assert!(
        counts
            .requests_by_code
            .keys()
            .all(|code| (1..=4).contains(code))
    );
    assert_eq!(sim.totals().write_requests, 0);
    let stats = bus.stats();
    assert_eq!(
        (stats.polls, stats.requests),
        (polls, sim.totals().requests)
    );
}

#[tokio::test]
async fn registers_that_nobody_asked_for_are_not_read() {
    let sim = instrument().await;
    let witness = Witness::new();
    let document = at(1, sim.local_addr())
        .point("holding", 100, "uint16")
        .point("holding", 102, "uint16");
    let sensor = start(&bus(quick()), &document, &witness).await.unwrap();
    timeout(SOON, witness.wait(sensor_id(1), |seen| seen.polls >= 2))
        .await
        .unwrap();
    sensor.stop().await;
    assert_eq!(sim.reads_of(1, Table::Holding, 101), 0);
    assert!(sim.reads_of(1, Table::Holding, 102) >= 2);
}

#[tokio::test]
async fn what_is_no_number_is_a_bad_reading_and_degrades() {
    let sim = instrument().await;
    let witness = Witness::new();
    let document = at(1, sim.local_addr())
        .point("holding", 100, "float32")
        .point("holding", 200, "float32");
    let sensor = start(&bus(quick()), &document, &witness).await.unwrap();
    let reason = timeout(SOON, witness.health(sensor_id(1), HealthStatus::Degraded))
        .await
        .unwrap();
    assert_eq!(reason, "point-1: not a number (NaN)");
    let reading = witness.of(sensor_id(1)).readings[&point_id(1)].clone();
    assert_eq!((reading.value, reading.quality), (None, Quality::Bad));

    sim.set_registers(1, Table::Holding, 200, &[0x3F80, 0])
        .unwrap();
    timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
        .await
        .unwrap();
    assert_eq!(
        witness.of(sensor_id(1)).value(1),
        Some(PointValue::Number(1.0))
    );
    sensor.stop().await;
}

#[tokio::test]
async fn a_sensor_without_points_is_established_by_the_connection() {
    let sim = instrument().await;
    let witness = Witness::new();
    let sensor = start(&bus(quick()), &at(1, sim.local_addr()), &witness)
        .await
        .unwrap();
    timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
        .await
        .unwrap();
    sensor.stop().await;
    assert_eq!(
        (sim.totals().requests, sim.totals().connections_accepted),
        (0, 1)
    );
}
