//! When a sensor counts as started, what the operator is told if not, and that nothing stays behind.

use std::time::Duration;

use holdfast_device_sim::modbus::{Exception, Faults, ModbusInstrument, Table, Unit};
use holdfast_domain::HealthStatus;
use holdfast_ports::bus::StartError;
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::support::fakes::{Document, Witness, sensor_id};
use crate::support::{SOON, at, bus, quick, resume, start};

async fn instrument() -> ModbusInstrument {
    let unit = Unit::new().holding_registers(0, &[1, 2, 3]);
    ModbusInstrument::builder()
        .unit(1, unit.clone())
        .unit(3, unit)
        .bind("127.0.0.1:0")
        .await
        .unwrap()
}

#[tokio::test]
async fn nobody_there_is_said_at_once() {
    let sim = instrument().await;
    sim.unplug().await.unwrap();
    let bus = bus(quick());
    let witness = Witness::new();
    let error = start(&bus, &at(1, sim.local_addr()).holdings(0..2), &witness)
        .await
        .err()
        .unwrap();
    let expected = format!("connect {}: connection refused", sim.local_addr());
    assert_eq!(error, StartError::Unreachable(expected));
    assert!(
        witness.of(sensor_id(1)).health.is_empty(),
        "nothing of it runs"
    );
    assert!(bus.links().is_empty());

    sim.plug().await.unwrap();
    start(&bus, &at(1, sim.local_addr()).holdings(0..2), &witness)
        .await
        .unwrap()
        .stop()
        .await;
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_said_with_the_name() {
    let document = Document::new(1, 502)
        .connection("host", json!("no-such-host.invalid"))
        .holdings(0..1);
    let error = start(&bus(quick()), &document, &Witness::new())
        .await
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .starts_with("connect no-such-host.invalid:502: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_silent_unit_is_said_within_its_own_time_out() {
    let sim = instrument().await;
    sim.set_unit_faults(3, Faults::silent());
    let document = at(1, sim.local_addr())
        .unit(3)
        .timeout_ms(80)
        .holdings(0..2);
    let asked = Instant::now();
    let error = start(&bus(quick()), &document, &Witness::new())
        .await
        .err()
        .unwrap();
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    let addr = sim.local_addr();
    let expected =
        format!("no answer from unit 3 at {addr} within 80 ms (asked for holding 0 to 1)");
    assert_eq!(error, StartError::Unreachable(expected));
}

#[tokio::test]
async fn a_gateway_that_does_not_reach_the_unit_is_no_answer_of_the_unit() {
    let sim = instrument().await;
    let document = at(1, sim.local_addr()).unit(9).holdings(0..2);
    let error = start(&bus(quick()), &document, &Witness::new())
        .await
        .err()
        .unwrap();
    let expected = format!(
        "unit 9 at {}: gateway target device failed to respond (exception 11)",
        sim.local_addr()
    );
    assert_eq!(error, StartError::Unreachable(expected));
}

#[tokio::test]
async fn an_exception_is_an_answer() {
    let sim = instrument().await;
    sim.set_unit_faults(
        1,
        Faults::refusing(Table::Holding, 0..=9, Exception::ServerDeviceFailure),
    );
    let witness = Witness::new();
    let sensor = start(
        &bus(quick()),
        &at(1, sim.local_addr()).holdings(0..3),
        &witness,
    )
    .await
    .unwrap();
    let reason = timeout(SOON, witness.health(sensor_id(1), HealthStatus::Degraded))
        .await
        .unwrap();
    let expected =
        "point-0: server device failure (exception 4) at holding 0 to 2; 3 of 3 points are bad";
    assert_eq!(reason, expected);
    sensor.stop().await;
}

#[tokio::test]
async fn what_was_established_starts_without_its_instrument() {
    let sim = instrument().await;
    sim.unplug().await.unwrap();
    let witness = Witness::new();
    let sensor = resume(
        &bus(quick()),
        &at(1, sim.local_addr()).holdings(0..3),
        &witness,
    )
    .await;
    let reason = timeout(SOON, witness.health(sensor_id(1), HealthStatus::Offline))
        .await
        .unwrap();
    assert_eq!(
        reason,
        format!("connect {}: connection refused", sim.local_addr())
    );
    let seen = witness.of(sensor_id(1));
    assert_eq!(seen.bad().len(), 3);
    assert_eq!(seen.bad()[0].1, reason);

    sim.plug().await.unwrap();
    timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
        .await
        .unwrap();
    sensor.stop().await;
}

#[tokio::test]
async fn dropping_a_start_leaves_nothing_running() {
    let sim = instrument().await;
    sim.set_faults(Faults::silent());
    let bus = bus(quick());
    let witness = Witness::new();
    let document = at(1, sim.local_addr()).timeout_ms(60_000).holdings(0..3);
    {
        let starting = start(&bus, &document, &witness);
        tokio::select! {
            _ = starting => panic!("nobody answers"),
            () = sim.wait_for_requests(1) => {}
        }
    }
    timeout(
        SOON,
        sim.wait_until(|sim| sim.totals().connections_open == 0),
    )
    .await
    .unwrap();
    assert!(bus.links().is_empty());
    assert!(witness.of(sensor_id(1)).health.is_empty());
}

#[tokio::test]
async fn after_a_stop_nothing_is_sent_and_the_connection_is_closed() {
    let sim = instrument().await;
    let bus = bus(quick());
    let witness = Witness::new();
    let document = at(1, sim.local_addr()).timeout_ms(60_000).holdings(0..3);
    let sensor = start(&bus, &document, &witness).await.unwrap();
    timeout(SOON, witness.wait(sensor_id(1), |seen| seen.polls >= 2))
        .await
        .unwrap();
    // Stopped in the midst of a question that stays open.
    sim.set_faults(Faults::silent());
    timeout(SOON, sim.wait_for_more_requests(1, 1))
        .await
        .unwrap();
    timeout(SOON, sensor.stop())
        .await
        .expect("a stop does not wait for the instrument");
    let before = witness.of(sensor_id(1));
    timeout(
        SOON,
        sim.wait_until(|sim| sim.totals().connections_open == 0),
    )
    .await
    .unwrap();
    let requests = sim.totals().requests;

    // What shows that time passes: another sensor, many polls long.
    sim.clear_faults();
    let other = Witness::new();
    let second = start(
        &bus,
        &at(2, sim.local_addr()).unit(3).holdings(0..3),
        &other,
    )
    .await
    .unwrap();
    timeout(SOON, other.wait(sensor_id(2), |seen| seen.polls >= 5))
        .await
        .unwrap();
    second.stop().await;
    let after = witness.of(sensor_id(1));
    assert_eq!(
        (after.polls, after.health.len()),
        (before.polls, before.health.len())
    );
    assert_eq!(sim.unit_counts(1).requests(), requests);
}
