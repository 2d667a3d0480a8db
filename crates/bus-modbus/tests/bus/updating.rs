//! Content that is taken while the sensor runs.

use holdfast_device_sim::modbus::{Exception, Faults, ModbusInstrument, Table, Unit};
use holdfast_domain::{HealthStatus, PointValue};
use holdfast_ports::bus::StartError;
use serde_json::json;
use tokio::time::timeout;

use crate::support::fakes::{Witness, sensor_id};
use crate::support::{SOON, at, bus, quick, start};

async fn instrument() -> ModbusInstrument {
    let registers: Vec<u16> = (0..200).collect();
    ModbusInstrument::builder()
        .unit(1, Unit::new().holding_registers(0, &registers))
        .bind("127.0.0.1:0")
        .await
        .unwrap()
}

#[tokio::test]
async fn points_interval_and_name_change_without_a_new_connection() {
    let sim = instrument().await;
    let witness = Witness::new();
    let slow = at(1, sim.local_addr()).interval_ms(3_600_000);
    let sensor = start(&bus(quick()), &slow.clone().holdings(0..2), &witness)
        .await
        .unwrap();
    timeout(SOON, witness.wait(sensor_id(1), |seen| seen.polls == 1))
        .await
        .unwrap();

    // A new point is read at once, although the next poll is an hour away.
    sensor
        .update(slow.clone().holdings(0..2).holdings(50..51).sensor())
        .await
        .unwrap();
    let seen = timeout(
        SOON,
        witness.wait(sensor_id(1), |seen| seen.readings.len() == 3),
    )
    .await
    .unwrap();
    assert_eq!(seen.value(2), Some(PointValue::Integer(50)));

    let quick = slow
        .holdings(7..9)
        .interval_ms(20)
        .with("name", json!("another"));
    sensor.update(quick.sensor()).await.unwrap();
    let polls = witness.of(sensor_id(1)).polls;
    let seen = timeout(
        SOON,
        witness.wait(sensor_id(1), |seen| seen.polls >= polls + 5),
    )
    .await
    .unwrap();
    assert_eq!(
        (seen.value(0), seen.value(1)),
        (Some(PointValue::Integer(7)), Some(PointValue::Integer(8)))
    );
    assert_eq!(seen.health_at_any_pace(), [(HealthStatus::Online, None)]);
    sensor.stop().await;
    assert_eq!(sim.totals().connections_accepted, 1);
}

#[tokio::test]
async fn an_update_in_the_midst_of_a_poll_mixes_nothing_up() {
    let sim = instrument().await;
    let witness = Witness::new();
    let base = at(1, sim.local_addr()).interval_ms(10);
    let [old, new] = [base.clone().holdings(0..20), base.holdings(100..120)];
    let sensor = start(&bus(quick()), &old, &witness).await.unwrap();
    for _ in 0..20 {
        for (document, first) in [(&new, 100), (&old, 0)] {
            timeout(SOON, sim.wait_for_more_requests(1, 1))
                .await
                .unwrap();
            sensor.update(document.sensor()).await.unwrap();
            let seen = timeout(SOON, witness.fresh_poll(sensor_id(1)))
                .await
                .unwrap();
            let values: Vec<_> = (0..20).map(|point| seen.value(point).unwrap()).collect();
            assert_eq!(
                values,
                (first..first + 20)
                    .map(PointValue::Integer)
                    .collect::<Vec<_>>()
            );
        }
    }
    sensor.stop().await;
    assert_eq!(sim.totals().connections_accepted, 1);
}

#[tokio::test]
async fn what_was_learned_about_the_same_points_is_kept() {
    let sim = instrument().await;
    sim.set_faults(Faults::refusing(
        Table::Holding,
        3..=3,
        Exception::IllegalDataAddress,
    ));
    let witness = Witness::new();
    let settings = holdfast_bus_modbus::Settings {
        refused: holdfast_domain::backoff::Backoff {
            base_ms: 3_600_000,
            limit_ms: 3_600_000,
        },
        ..quick()
    };
    let document = at(1, sim.local_addr()).holdings(0..10);
    let sensor = start(&bus(settings), &document, &witness).await.unwrap();
    timeout(SOON, witness.fresh_poll(sensor_id(1)))
        .await
        .unwrap();
    let exceptions = sim.totals().exceptions;
    sensor
        .update(document.interval_ms(15).sensor())
        .await
        .unwrap();
    timeout(SOON, witness.fresh_poll(sensor_id(1)))
        .await
        .unwrap();
    assert_eq!(sim.totals().exceptions, exceptions);
    sensor.stop().await;
}

#[tokio::test]
async fn another_connection_is_not_taken_while_running() {
    let sim = instrument().await;
    let witness = Witness::new();
    let document = at(1, sim.local_addr()).holdings(0..1);
    let sensor = start(&bus(quick()), &document, &witness).await.unwrap();
    let error = sensor
        .update(document.connection("host", json!("127.0.0.2")).sensor())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, StartError::Unsupported(text) if text.contains("restart")),
        "{error}"
    );
    timeout(SOON, witness.fresh_poll(sensor_id(1)))
        .await
        .unwrap();
    sensor.stop().await;
}
