//! Addresses that the instrument refuses: found, kept, and tried again.

use holdfast_device_sim::modbus::{
    Exception, Faults, ModbusInstrument, RequestRecord, Table, Unit,
};
use holdfast_domain::HealthStatus;
use holdfast_domain::backoff::Backoff;
use serde_json::json;
use tokio::time::timeout;

use crate::support::fakes::{Witness, sensor_id};
use crate::support::{SOON, at, bus, quick, start};
use holdfast_bus_modbus::Settings;

/// Refused addresses are not tried again while a test looks.
fn patient() -> Settings {
    Settings {
        refused: Backoff {
            base_ms: 3_600_000,
            limit_ms: 3_600_000,
        },
        ..quick()
    }
}

async fn instrument() -> ModbusInstrument {
    let registers: Vec<u16> = (0..200).collect();
    let unit = Unit::new().holding_registers(0, &registers);
    ModbusInstrument::builder()
        .unit(1, unit)
        .bind("127.0.0.1:0")
        .await
        .unwrap()
}

fn places(records: &[RequestRecord]) -> Vec<(u16, u16)> {
    records
        .iter()
        .map(|record| (record.address().unwrap(), record.quantity().unwrap()))
        .collect()
}

#[tokio::test]
async fn only_the_point_at_the_bad_address_is_bad_and_the_split_is_kept() {
    let sim = instrument().await;
    sim.set_faults(Faults::refusing(
        Table::Holding,
        37..=37,
        Exception::IllegalDataAddress,
    ));
    let witness = Witness::new();
    let sensor = start(
        &bus(patient()),
        &at(1, sim.local_addr()).holdings(0..100),
        &witness,
    )
    .await
    .unwrap();
    let reason = timeout(SOON, witness.health(sensor_id(1), HealthStatus::Degraded))
        .await
        .unwrap();
    assert_eq!(
        reason,
        "point-37: illegal data address (exception 2) at holding 37"
    );
    let seen = witness.of(sensor_id(1));
    assert_eq!(
        seen.bad(),
        [(
            37,
            "illegal data address (exception 2) at holding 37".to_owned()
        )]
    );
    assert_eq!(seen.polls, 1, "found in the first poll");

    timeout(SOON, witness.fresh_poll(sensor_id(1)))
        .await
        .unwrap();
    let _ = sim.take_journal();
    timeout(SOON, witness.fresh_poll(sensor_id(1)))
        .await
        .unwrap();
    sensor.stop().await;
    let asked = places(&sim.take_journal());
    assert!(
        asked.len() >= 2
            && asked
                .iter()
                .all(|place| [(0, 37), (38, 62)].contains(place)),
        "{asked:?}"
    );
    assert_eq!(witness.of(sensor_id(1)).health.len(), 1, "told once");
}

#[tokio::test]
async fn several_bad_addresses_are_found_and_mended_ones_recover() {
    let sim = instrument().await;
    let mut faults = Faults::refusing(Table::Holding, 5..=6, Exception::IllegalDataAddress);
    faults
        .refusals
        .extend(Faults::refusing(Table::Holding, 90..=90, Exception::IllegalDataAddress).refusals);
    sim.set_faults(faults.clone());
    let witness = Witness::new();
    let sensor = start(
        &bus(quick()),
        &at(1, sim.local_addr()).holdings(0..100),
        &witness,
    )
    .await
    .unwrap();
    let bad = |seen: &crate::support::fakes::Seen| {
        seen.bad()
            .iter()
            .map(|(point, _)| *point)
            .collect::<Vec<_>>()
    };
    timeout(
        SOON,
        witness.wait(sensor_id(1), |seen| bad(seen) == [5, 6, 90]),
    )
    .await
    .unwrap();

    // Half of it is mended: the whole is still refused.
    faults.refusals.remove(0);
    sim.set_faults(faults);
    timeout(SOON, witness.wait(sensor_id(1), |seen| bad(seen) == [90]))
        .await
        .unwrap();
    sim.clear_faults();
    timeout(
        SOON,
        witness.wait(sensor_id(1), |seen| bad(seen).is_empty()),
    )
    .await
    .unwrap();
    timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
        .await
        .unwrap();
    timeout(SOON, witness.fresh_poll(sensor_id(1)))
        .await
        .unwrap();
    let _ = sim.take_journal();
    timeout(SOON, witness.fresh_poll(sensor_id(1)))
        .await
        .unwrap();
    sensor.stop().await;
    assert!(
        places(&sim.take_journal())
            .iter()
            .all(|place| *place == (0, 100)),
        "whole again"
    );
}

#[tokio::test]
async fn an_instrument_that_takes_few_registers_at_a_time_is_read_in_pieces() {
    let sim = instrument().await;
    sim.set_faults(Faults {
        max_read_registers: Some(16),
        ..Faults::default()
    });
    let witness = Witness::new();
    let sensor = start(
        &bus(patient()),
        &at(1, sim.local_addr()).holdings(0..100),
        &witness,
    )
    .await
    .unwrap();
    timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
        .await
        .unwrap();
    timeout(SOON, witness.fresh_poll(sensor_id(1)))
        .await
        .unwrap();
    let exceptions = sim.totals().exceptions;
    timeout(SOON, witness.fresh_poll(sensor_id(1)))
        .await
        .unwrap();
    sensor.stop().await;
    assert_eq!(sim.totals().exceptions, exceptions, "not searched again");
    assert!(witness.of(sensor_id(1)).bad().is_empty());
}

#[tokio::test]
async fn a_gap_that_can_not_be_read_costs_no_point() {
    let unit = Unit::new()
        .holding_registers(0, &[1, 2])
        .holding_registers(4, &[5, 6]);
    let sim = ModbusInstrument::builder()
        .unit(1, unit)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let witness = Witness::new();
    let document = at(1, sim.local_addr())
        .holdings(0..2)
        .holdings(4..6)
        .connection("maxGap", json!(10));
    let sensor = start(&bus(patient()), &document, &witness).await.unwrap();
    timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
        .await
        .unwrap();
    let _ = sim.take_journal();
    timeout(SOON, witness.fresh_poll(sensor_id(1)))
        .await
        .unwrap();
    sensor.stop().await;
    let asked = places(&sim.take_journal());
    assert!(
        asked.iter().all(|place| [(0, 2), (4, 2)].contains(place)),
        "{asked:?}"
    );
}

#[tokio::test]
async fn where_all_is_refused_the_search_is_bounded_in_each_poll() {
    let sim = instrument().await;
    sim.set_faults(Faults::refusing(
        Table::Holding,
        0..=199,
        Exception::IllegalDataAddress,
    ));
    let witness = Witness::new();
    let settings = Settings {
        search_requests: 8,
        ..patient()
    };
    let sensor = start(
        &bus(settings),
        &at(1, sim.local_addr()).holdings(0..100),
        &witness,
    )
    .await
    .unwrap();
    let first = timeout(SOON, witness.wait(sensor_id(1), |seen| seen.polls == 1))
        .await
        .unwrap();
    assert_eq!(first.bad().len(), 100);
    assert!(sim.totals().requests <= 1 + 8 + 1 + 8, "{:?}", sim.totals());
    // In the end nothing is asked any more.
    timeout(SOON, witness.wait(sensor_id(1), |seen| seen.polls >= 30))
        .await
        .unwrap();
    let requests = sim.totals().requests;
    timeout(SOON, witness.fresh_poll(sensor_id(1)))
        .await
        .unwrap();
    assert_eq!(sim.totals().requests, requests);
    sensor.stop().await;
}

#[tokio::test]
async fn an_instrument_that_comes_back_is_tried_whole_at_once() {
    let sim = instrument().await;
    let broken = Faults::refusing(Table::Holding, 5..=5, Exception::IllegalDataAddress);
    let witness = Witness::new();
    let document = at(1, sim.local_addr()).timeout_ms(60).holdings(0..10);
    let sensor = start(&bus(patient()), &document, &witness).await.unwrap();
    for silent in [false, true] {
        sim.set_faults(broken.clone());
        timeout(SOON, witness.health(sensor_id(1), HealthStatus::Degraded))
            .await
            .unwrap();
        if silent {
            sim.set_faults(Faults::silent());
        } else {
            sim.unplug().await.unwrap();
        }
        timeout(SOON, witness.health(sensor_id(1), HealthStatus::Offline))
            .await
            .unwrap();
        sim.clear_faults();
        sim.plug().await.unwrap();
        timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
            .await
            .unwrap();
    }
    sensor.stop().await;
}
