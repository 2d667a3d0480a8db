//! Many units: on one connection and on many, with dead ones among them.

use std::time::Duration;

use holdfast_bus_modbus::Settings;
use holdfast_device_sim::modbus::{Faults, ModbusInstrument, Unit, UnknownUnit};
use holdfast_domain::HealthStatus;
use holdfast_domain::backoff::Backoff;
use tokio::time::{Instant, timeout};

use crate::support::fakes::{Witness, sensor_id};
use crate::support::{SOON, at, bus, quick, resume, start};

fn unit() -> Unit {
    Unit::new().holding_registers(0, &[0; 20])
}

#[tokio::test]
async fn units_behind_one_address_share_one_connection_until_the_last_is_gone() {
    let mut builder = ModbusInstrument::builder().max_connections(1);
    for id in 1..=20 {
        builder = builder.unit(id, unit());
    }
    let sim = builder.bind("127.0.0.1:0").await.unwrap();
    let (bus, witness) = (bus(quick()), Witness::new());
    let mut sensors = Vec::new();
    for id in 1..=20_u8 {
        let document = at(id.into(), sim.local_addr()).unit(id).holdings(0..10);
        sensors.push(start(&bus, &document, &witness).await.unwrap());
    }
    for id in 1..=20 {
        timeout(SOON, witness.wait(sensor_id(id), |seen| seen.polls >= 3))
            .await
            .unwrap();
    }
    let links = bus.links();
    assert_eq!(
        (links.len(), links[0].endpoint.clone()),
        (1, sim.local_addr().to_string())
    );
    let last = sensors.pop().unwrap();
    for sensor in sensors {
        sensor.stop().await;
    }
    timeout(SOON, witness.fresh_poll(sensor_id(20)))
        .await
        .unwrap();
    assert_eq!(sim.totals().connections_open, 1);
    last.stop().await;
    timeout(
        SOON,
        sim.wait_until(|sim| sim.totals().connections_open == 0),
    )
    .await
    .unwrap();
    assert_eq!(
        (sim.totals().connections_accepted, bus.links().len()),
        (1, 0)
    );
    // The next one makes a new one.
    start(&bus, &at(1, sim.local_addr()).holdings(0..1), &witness)
        .await
        .unwrap()
        .stop()
        .await;
    assert_eq!(sim.totals().connections_accepted, 2);
}

#[tokio::test]
async fn each_unit_of_a_link_has_its_own_time_out() {
    let sim = ModbusInstrument::builder()
        .unit(1, unit())
        .unit(2, unit())
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    sim.set_faults(Faults::slow(Duration::from_millis(120)));
    let (bus, witness) = (bus(quick()), Witness::new());
    let patient = resume(
        &bus,
        &at(1, sim.local_addr()).timeout_ms(5_000).holdings(0..5),
        &witness,
    )
    .await;
    let hasty = resume(
        &bus,
        &at(2, sim.local_addr())
            .unit(2)
            .timeout_ms(30)
            .holdings(0..5),
        &witness,
    )
    .await;
    timeout(SOON, witness.health(sensor_id(2), HealthStatus::Offline))
        .await
        .unwrap();
    timeout(SOON, witness.wait(sensor_id(1), |seen| seen.polls >= 5))
        .await
        .unwrap();
    let health = witness.of(sensor_id(1)).health;
    assert!(
        health
            .iter()
            .all(|(status, _)| *status == HealthStatus::Online),
        "{health:?}"
    );
    hasty.stop().await;
    patient.stop().await;
}

#[tokio::test]
async fn a_dead_unit_is_probed_rarely_and_the_others_keep_their_polls() {
    let sim = ModbusInstrument::builder()
        .unit(1, unit())
        .unit(2, unit())
        .unknown_unit(UnknownUnit::Silent)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let settings = Settings {
        dead_unit: Backoff {
            base_ms: 300,
            limit_ms: 300,
        },
        ..quick()
    };
    let (bus, witness) = (bus(settings), Witness::new());
    let mut sensors = Vec::new();
    for id in [1, 2, 3_u8] {
        let document = at(id.into(), sim.local_addr())
            .unit(id)
            .timeout_ms(30)
            .interval_ms(20)
            .holdings(0..5);
        sensors.push(resume(&bus, &document, &witness).await);
    }
    timeout(SOON, witness.health(sensor_id(3), HealthStatus::Offline))
        .await
        .unwrap();
    let (dead, begun) = (sim.unit_counts(3).requests(), Instant::now());
    timeout(SOON, sim.wait_for_more_requests(1, 50))
        .await
        .unwrap();
    let probes = u128::from(sim.unit_counts(3).requests() - dead);
    let periods = begun.elapsed().as_millis() / 300;
    assert!(
        probes >= 1 && probes <= periods + 1,
        "{probes} probes in {periods} periods"
    );
    assert_eq!(
        witness.of(sensor_id(1)).health_at_any_pace(),
        [(HealthStatus::Online, None)]
    );
    assert_eq!(
        witness.of(sensor_id(2)).health_at_any_pace(),
        [(HealthStatus::Online, None)]
    );

    sim.put_unit(3, unit());
    timeout(SOON, witness.health(sensor_id(3), HealthStatus::Online))
        .await
        .unwrap();
    for sensor in sensors {
        sensor.stop().await;
    }
}

#[tokio::test]
async fn ten_dead_of_a_hundred_on_links_of_their_own_delay_no_other() {
    let (bus, witness) = (bus(quick()), Witness::new());
    let mut sims = Vec::new();
    let mut sensors = Vec::new();
    for number in 0..100_u64 {
        let sim = ModbusInstrument::builder()
            .unit(1, unit())
            .bind("127.0.0.1:0")
            .await
            .unwrap();
        match number {
            0..5 => sim.unplug().await.unwrap(),
            5..10 => sim.set_faults(Faults::silent()),
            _ => {}
        }
        let document = at(number, sim.local_addr())
            .interval_ms(100)
            .holdings(0..20);
        sensors.push(resume(&bus, &document, &witness).await);
        sims.push(sim);
    }
    for number in 10..100 {
        timeout(
            SOON,
            witness.wait(sensor_id(number), |seen| seen.polls >= 10),
        )
        .await
        .unwrap();
    }
    for number in 10..100 {
        assert_eq!(
            witness.of(sensor_id(number)).health_at_any_pace(),
            [(HealthStatus::Online, None)]
        );
    }
    for number in 0..5 {
        assert_eq!(
            witness.of(sensor_id(number)).status(),
            Some(HealthStatus::Offline)
        );
    }
    for number in 5..10 {
        timeout(
            SOON,
            witness.health(sensor_id(number), HealthStatus::Offline),
        )
        .await
        .unwrap();
    }
    assert_eq!(bus.links().len(), 100);
    drop(sensors);
    for sim in &sims {
        timeout(
            SOON,
            sim.wait_until(|sim| sim.totals().connections_open == 0),
        )
        .await
        .unwrap();
    }
    assert!(bus.links().is_empty(), "dropping stops too");
}

#[tokio::test]
async fn a_line_that_is_down_is_tried_once_for_all_its_units() {
    let sim = ModbusInstrument::builder()
        .unit(1, unit())
        .unit(2, unit())
        .bind_unplugged("127.0.0.1:0")
        .await
        .unwrap();
    let settings = Settings {
        reconnect: Backoff {
            base_ms: 60_000,
            limit_ms: 60_000,
        },
        ..quick()
    };
    let (bus, witness) = (bus(settings), Witness::new());
    let mut sensors = Vec::new();
    for id in [1, 2_u8] {
        sensors.push(
            resume(
                &bus,
                &at(id.into(), sim.local_addr()).unit(id).holdings(0..5),
                &witness,
            )
            .await,
        );
    }
    for id in [1, 2] {
        timeout(SOON, witness.health(sensor_id(id), HealthStatus::Offline))
            .await
            .unwrap();
    }
    // A third one is told at once, without an attempt of its own.
    let document = at(3, sim.local_addr()).unit(2).holdings(0..5);
    let error = timeout(SOON, start(&bus, &document, &witness))
        .await
        .unwrap()
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        format!("connect {}: connection refused", sim.local_addr())
    );
    assert_eq!(bus.stats().connect_failures, 1);
    for sensor in sensors {
        sensor.stop().await;
    }
}

#[tokio::test]
async fn dropping_one_sensor_of_a_shared_link_stops_that_one() {
    let sim = ModbusInstrument::builder()
        .unit(1, unit())
        .unit(2, unit())
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let (bus, witness) = (bus(quick()), Witness::new());
    let dropped = start(&bus, &at(1, sim.local_addr()).holdings(0..5), &witness)
        .await
        .unwrap();
    let kept = start(
        &bus,
        &at(2, sim.local_addr()).unit(2).holdings(0..5),
        &witness,
    )
    .await
    .unwrap();
    drop(dropped);
    timeout(SOON, witness.fresh_poll(sensor_id(2)))
        .await
        .unwrap();
    let requests = sim.unit_counts(1).requests();
    timeout(SOON, sim.wait_for_more_requests(2, 5))
        .await
        .unwrap();
    assert_eq!(sim.unit_counts(1).requests(), requests);
    kept.stop().await;
}
