//! Instruments that do not answer, or not as they should, and come back.

use std::sync::Arc;
use std::time::Duration;

use holdfast_device_sim::modbus::{Answering, Faults, ModbusInstrument, Table, Unit};
use holdfast_domain::{HealthStatus, PointValue, SensorId};
use holdfast_ports::bus::FieldBus;
use holdfast_ports::readings::{Reading, ReadingSink};
use tokio::time::timeout;

use crate::support::fakes::{Seen, Witness, sensor_id};
use crate::support::{SOON, at, bus, quick, request, start};

async fn instrument() -> ModbusInstrument {
    let registers: Vec<u16> = (0..200).collect();
    ModbusInstrument::builder()
        .unit(1, Unit::new().holding_registers(0, &registers))
        .bind("127.0.0.1:0")
        .await
        .unwrap()
}

#[tokio::test]
async fn every_kind_of_bad_answer_is_offline_and_ends_with_it() {
    let cases = [
        (Answering::Silent, "no answer from unit 1 at "),
        (Answering::Lost, "no answer from unit 1 at "),
        (Answering::HalfFrame, "no answer from unit 1 at "),
        (Answering::Garbage, "no answer from unit 1 at "),
        (Answering::HalfFrameThenClose, "the connection to "),
        (Answering::Close, "the connection to "),
        (Answering::WrongTransactionId, "unit 1 at "),
        (Answering::WrongUnit, "unit 1 at "),
        (Answering::TooFewValues, "unit 1 at "),
    ];
    let sim = instrument().await;
    let witness = Witness::new();
    let bus = bus(quick());
    let document = at(1, sim.local_addr()).timeout_ms(60).holdings(0..10);
    let sensor = start(&bus, &document, &witness).await.unwrap();
    for (answering, begin) in cases {
        timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
            .await
            .unwrap();
        sim.set_faults(Faults::answering(answering));
        let reason = timeout(SOON, witness.health(sensor_id(1), HealthStatus::Offline))
            .await
            .unwrap();
        assert!(reason.starts_with(begin), "{answering:?}: {reason}");
        let bad = witness.of(sensor_id(1)).bad();
        assert!(
            bad.len() == 10 && bad[0].1 == reason,
            "{answering:?}: {bad:?}"
        );
        sim.clear_faults();
        timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
            .await
            .unwrap();
        assert!(witness.of(sensor_id(1)).bad().is_empty());
    }
    sensor.stop().await;
    let stats = bus.stats();
    assert!(stats.drops >= 9 && stats.timeouts >= 4, "{stats:?}");
    assert_eq!(sim.totals().write_requests, 0);
}

#[tokio::test]
async fn an_answer_that_comes_late_is_nobodys_answer() {
    let sim = instrument().await;
    let witness = Witness::new();
    let document = at(1, sim.local_addr())
        .timeout_ms(40)
        .holdings(0..1)
        .holdings(50..51)
        .holdings(100..101);
    let sensor = start(&bus(quick()), &document, &witness).await.unwrap();
    for _ in 0..3 {
        sim.set_faults(Faults::answering(Answering::Withheld));
        timeout(SOON, witness.health(sensor_id(1), HealthStatus::Offline))
            .await
            .unwrap();
        sim.clear_faults();
        timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
            .await
            .unwrap();
        let seen = timeout(SOON, witness.fresh_poll(sensor_id(1)))
            .await
            .unwrap();
        let values = [0, 1, 2].map(|point| seen.value(point).unwrap());
        assert_eq!(values, [0, 50, 100].map(PointValue::Integer));
    }
    sensor.stop().await;
}

#[tokio::test]
async fn an_instrument_that_is_slow_but_in_time_is_well_and_polled_as_it_can() {
    let sim = instrument().await;
    sim.set_faults(Faults::slow(Duration::from_millis(50)));
    let witness = Witness::new();
    let bus = bus(quick());
    let document = at(1, sim.local_addr()).timeout_ms(5_000).holdings(0..10);
    let sensor = start(&bus, &document, &witness).await.unwrap();
    // A poll takes two intervals and more: what is missed is left out, and counted; then the interval is adapted.
    let is_slowed = |seen: &Seen| {
        seen.health
            .last()
            .is_some_and(|(_, reason)| reason.is_some())
    };
    let seen = timeout(SOON, witness.wait(sensor_id(1), is_slowed))
        .await
        .unwrap();
    let (status, reason) = seen.health.last().cloned().unwrap();
    let reason = reason.unwrap();
    assert_eq!(status, HealthStatus::Online);
    assert!(
        reason.starts_with("polled every ")
            && reason.ends_with(" instead of 20 ms: the line carries no more"),
        "{reason}"
    );
    let stats = bus.stats();
    assert!(stats.skipped_polls >= 5, "{stats:?}");
    let floor = bus.links()[0].floor_ms;
    assert!(floor >= 60, "{floor} ms for polls of 50 ms");
    assert!(reason.contains(&format!(" {floor} ms ")), "{reason}");

    // Evenly from now on: never two of them in a burst.
    let _ = sim.take_journal();
    let polls = witness.of(sensor_id(1)).polls;
    timeout(
        SOON,
        witness.wait(sensor_id(1), |seen| seen.polls >= polls + 8),
    )
    .await
    .unwrap();
    let asked: Vec<Duration> = sim
        .take_journal()
        .iter()
        .map(|request| request.at)
        .collect();
    let shortest = asked.windows(2).map(|two| two[1] - two[0]).min().unwrap();
    assert!(shortest >= Duration::from_millis(50), "{shortest:?}");
    let stats = bus.stats();
    assert_eq!(
        (
            stats.timeouts,
            stats.drops,
            sim.totals().connections_accepted
        ),
        (0, 0, 1)
    );

    // Fast again: as declared.
    sim.clear_faults();
    let seen = timeout(SOON, witness.wait(sensor_id(1), |seen| !is_slowed(seen)))
        .await
        .unwrap();
    assert_eq!(seen.health.last(), Some(&(HealthStatus::Online, None)));
    sensor.stop().await;
}

#[tokio::test]
async fn a_connection_that_was_closed_between_two_polls_is_no_trouble() {
    let sim = instrument().await;
    sim.set_faults(Faults {
        close_after: Some(1),
        ..Faults::default()
    });
    let witness = Witness::new();
    let document = at(1, sim.local_addr()).holdings(0..10);
    let sensor = start(&bus(quick()), &document, &witness).await.unwrap();
    let seen = timeout(SOON, witness.wait(sensor_id(1), |seen| seen.polls >= 5))
        .await
        .unwrap();
    sim.cut_connections().await;
    timeout(SOON, witness.fresh_poll(sensor_id(1)))
        .await
        .unwrap();
    sensor.stop().await;
    assert_eq!(seen.health_at_any_pace(), [(HealthStatus::Online, None)]);
    assert_eq!(witness.of(sensor_id(1)).health_at_any_pace().len(), 1);
    // But it is told: meanwhile the instrument may have been without power.
    assert!(seen.broken_off >= 4, "{seen:?}");
}

#[tokio::test]
async fn unplugged_is_offline_with_its_reason_and_plugged_in_recovers() {
    let sim = instrument().await;
    let witness = Witness::new();
    let bus = bus(quick());
    let document = at(1, sim.local_addr()).holdings(0..10);
    let sensor = start(&bus, &document, &witness).await.unwrap();
    timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
        .await
        .unwrap();
    for round in 1..=3_u16 {
        sim.unplug().await.unwrap();
        let reason = timeout(SOON, witness.health(sensor_id(1), HealthStatus::Offline))
            .await
            .unwrap();
        assert_eq!(
            reason,
            format!("connect {}: connection refused", sim.local_addr())
        );
        let polls = witness.of(sensor_id(1)).polls;
        timeout(
            SOON,
            witness.wait(sensor_id(1), |seen| seen.polls >= polls + 2),
        )
        .await
        .unwrap();
        sim.set_registers(1, Table::Holding, 0, &[700 + round])
            .unwrap();
        sim.plug().await.unwrap();
        timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
            .await
            .unwrap();
        assert_eq!(
            witness.of(sensor_id(1)).value(0),
            Some(PointValue::Integer((700 + round).into()))
        );
    }
    sensor.stop().await;
    assert_eq!(
        witness.of(sensor_id(1)).health.len(),
        7,
        "one change at a time, told once"
    );
    assert!(bus.stats().connect_failures >= 6);
}

/// Panics when something comes.
struct Broken;

impl ReadingSink for Broken {
    fn accept(&self, _: SensorId, _: &[Reading]) {
        panic!("a bug, made for this test");
    }
}

#[tokio::test]
async fn a_bug_in_a_sink_is_seen_and_stays_on_its_link() {
    let (sim, other) = (instrument().await, instrument().await);
    let (bus, witness) = (bus(quick()), Witness::new());
    let well = start(&bus, &at(2, other.local_addr()).holdings(0..5), &witness)
        .await
        .unwrap();
    let mut request = request(&at(1, sim.local_addr()).holdings(0..5), &witness, false);
    request.readings = Arc::new(Broken);
    let sensor = bus.start(request).await.unwrap();

    let reason = timeout(SOON, witness.health(sensor_id(1), HealthStatus::Offline))
        .await
        .unwrap();
    assert!(reason.contains("a bug"), "{reason}");
    timeout(SOON, witness.fresh_poll(sensor_id(2)))
        .await
        .unwrap();
    assert!(
        sensor
            .update(at(1, sim.local_addr()).holdings(0..6).sensor())
            .await
            .is_err()
    );
    timeout(SOON, sensor.stop()).await.unwrap();
    timeout(SOON, well.stop()).await.unwrap();
}
