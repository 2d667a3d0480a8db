//! The adapter against servers that others wrote: values, exceptions, slow answers, half frames, a server that is killed
//! and comes back; and mbpoll, from outside, that nothing was written.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[allow(
    dead_code,
    reason = "shared with the tests against the simulator, which use all of it"
)]
mod support;

use holdfast_domain::{HealthStatus, PointValue};
use holdfast_testkit::peers::{Peer, mbpoll_read};
use serde_json::json;
use tokio::time::timeout;

use support::fakes::{Document, Seen, Witness, sensor_id};
use support::{SOON, bus, quick, start};

const NONE: [&str; 0] = [];

fn document(port: u16) -> Document {
    Document::new(1, port).timeout_ms(2_000)
}

fn bad(seen: &Seen) -> Vec<u64> {
    seen.bad().iter().map(|(point, _)| *point).collect()
}

/// The whole map of unit 1, as mbpoll sees it.
fn map(port: u16) -> Vec<u16> {
    [0, 100]
        .into_iter()
        .flat_map(|first| mbpoll_read(port, 1, first, 100))
        .collect()
}

#[tokio::test]
async fn all_tables_of_all_servers_are_read_and_nothing_is_written() {
    for peer in [
        Peer::pymodbus(&NONE),
        Peer::libmodbus(&NONE),
        Peer::modbus_serial(&NONE),
    ] {
        let before = map(peer.port());
        let (bus, witness) = (bus(quick()), Witness::new());
        let document = document(peer.port())
            .point("holding", 0, "uint16")
            .point("holding", 199, "int16")
            .point("input", 5, "uint16")
            .point("coil", 3, "bool")
            .point("coil", 4, "bool")
            .point("discrete", 6, "bool")
            .point("discrete", 7, "bool")
            .point_with("holding", 100, "uint32", &json!({ "wordOrder": "little" }))
            .point_with(
                "holding",
                72,
                "int16",
                &json!({ "scale": 0.1, "offset": -1 }),
            )
            .point("holding", 9, "bit(3)")
            .holdings(10..130);
        let sensor = timeout(SOON, start(&bus, &document, &witness))
            .await
            .unwrap()
            .unwrap();
        let seen = timeout(SOON, witness.wait(sensor_id(1), |seen| seen.polls >= 5))
            .await
            .unwrap();
        sensor.stop().await;

        let values: Vec<PointValue> = (0..10).map(|point| seen.value(point).unwrap()).collect();
        let (integer, flag) = (PointValue::Integer, PointValue::Bool);
        let expected = [
            integer(0),
            integer(199),
            integer(10_005),
            flag(true),
            flag(false),
            flag(true),
            flag(false),
            integer(100 + (101 << 16)),
            PointValue::Number(6.2),
            flag(true),
        ];
        assert_eq!(values, expected);
        let rest: Vec<PointValue> = (10..130).map(|point| seen.value(point).unwrap()).collect();
        assert_eq!(rest, (10..130).map(PointValue::Integer).collect::<Vec<_>>());
        assert_eq!(seen.health_at_any_pace(), [(HealthStatus::Online, None)]);
        assert_eq!(map(peer.port()), before);
    }
}

#[tokio::test]
async fn refused_addresses_cost_only_their_points() {
    let refuse = ["--refuse", "50:3"];
    for peer in [
        Peer::pymodbus(&refuse),
        Peer::libmodbus(&refuse),
        Peer::modbus_serial(&refuse),
    ] {
        let witness = Witness::new();
        let sensor = start(
            &bus(quick()),
            &document(peer.port()).holdings(0..200),
            &witness,
        )
        .await
        .unwrap();
        let seen = timeout(
            SOON,
            witness.wait(sensor_id(1), |seen| bad(seen) == [50, 51, 52]),
        )
        .await
        .unwrap();
        assert_eq!(
            seen.bad()[1].1,
            "illegal data address (exception 2) at holding 51"
        );
        let reason = timeout(SOON, witness.health(sensor_id(1), HealthStatus::Degraded))
            .await
            .unwrap();
        assert!(
            reason.starts_with("point-50: ") && reason.ends_with("3 of 200 points are bad"),
            "{reason}"
        );
        sensor.stop().await;
    }
}

#[tokio::test]
async fn a_map_that_ends_within_a_block_is_no_loss() {
    let peer = Peer::libmodbus(&NONE);
    let witness = Witness::new();
    let sensor = start(
        &bus(quick()),
        &document(peer.port()).holdings(190..210),
        &witness,
    )
    .await
    .unwrap();
    let ends = |seen: &Seen| bad(seen) == (10..20).collect::<Vec<_>>();
    timeout(SOON, witness.wait(sensor_id(1), ends))
        .await
        .unwrap();
    sensor.stop().await;
}

#[tokio::test]
async fn slow_answers_are_waited_for_and_late_ones_are_not_taken() {
    let peer = Peer::pymodbus(&["--delay-ms", "150"]);
    let (bus, witness) = (bus(quick()), Witness::new());
    let sensor = start(&bus, &document(peer.port()).holdings(0..5), &witness)
        .await
        .unwrap();
    timeout(SOON, witness.wait(sensor_id(1), |seen| seen.polls >= 4))
        .await
        .unwrap();
    assert_eq!(bus.stats().timeouts, 0);
    sensor.stop().await;

    let hasty = document(peer.port()).timeout_ms(60).holdings(0..5);
    let error = start(&bus, &hasty, &witness).await.err().unwrap();
    assert!(
        error
            .to_string()
            .starts_with("no answer from unit 1 at 127.0.0.1:"),
        "{error}"
    );
}

#[tokio::test]
async fn half_frames_are_no_values() {
    let peer = Peer::pymodbus(&["--half-frame-every", "3"]);
    let (bus, witness) = (bus(quick()), Witness::new());
    let sensor = start(
        &bus,
        &document(peer.port()).timeout_ms(100).holdings(0..20),
        &witness,
    )
    .await
    .unwrap();
    let enough = |seen: &Seen| {
        seen.health
            .iter()
            .filter(|(status, _)| *status == HealthStatus::Offline)
            .count()
            >= 3
    };
    timeout(SOON, witness.wait(sensor_id(1), enough))
        .await
        .unwrap();
    timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
        .await
        .unwrap();
    let seen = timeout(
        SOON,
        witness.wait(sensor_id(1), |seen| seen.bad().is_empty()),
    )
    .await
    .unwrap();
    assert!(
        (0..20)
            .all(|point| seen.value(point) == Some(PointValue::Integer(point.try_into().unwrap())))
    );
    sensor.stop().await;
}

#[tokio::test]
async fn a_server_that_is_killed_or_frozen_is_offline_and_comes_back() {
    for server in [Peer::libmodbus::<String>, Peer::pymodbus::<String>] {
        let peer = server(&[]);
        let before = map(peer.port());
        let (bus, witness) = (bus(quick()), Witness::new());
        let document = document(peer.port()).timeout_ms(200).holdings(0..50);
        let sensor = start(&bus, &document, &witness).await.unwrap();
        timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
            .await
            .unwrap();

        let port = peer.kill();
        let reason = timeout(SOON, witness.health(sensor_id(1), HealthStatus::Offline))
            .await
            .unwrap();
        assert_eq!(
            reason,
            format!("connect 127.0.0.1:{port}: connection refused")
        );
        let peer = server(&["--port".to_owned(), port.to_string()]);
        timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
            .await
            .unwrap();

        peer.freeze();
        let reason = timeout(SOON, witness.health(sensor_id(1), HealthStatus::Offline))
            .await
            .unwrap();
        assert!(reason.starts_with("no answer from unit 1 at "), "{reason}");
        peer.thaw();
        timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
            .await
            .unwrap();
        sensor.stop().await;
        assert_eq!(map(port), before);
    }
}

#[tokio::test]
async fn two_units_of_one_server_are_told_apart() {
    let peer = Peer::pymodbus(&NONE);
    let (bus, witness) = (bus(quick()), Witness::new());
    let mut sensors = Vec::new();
    for unit in [1, 2_u8] {
        let document = Document::new(unit.into(), peer.port())
            .unit(unit)
            .holdings(7..9);
        sensors.push(start(&bus, &document, &witness).await.unwrap());
    }
    for (unit, value) in [(1, 7), (2, 1_007)] {
        let seen = timeout(SOON, witness.wait(sensor_id(unit), |seen| seen.polls >= 3))
            .await
            .unwrap();
        assert_eq!(seen.value(0), Some(PointValue::Integer(value)));
    }
    assert_eq!(bus.links().len(), 1);
    for sensor in sensors {
        sensor.stop().await;
    }
}
