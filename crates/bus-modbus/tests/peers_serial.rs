//! RTU with servers that others wrote, on a serial line of two pseudo-terminals and over TCP, with mbpoll as the witness on
//! the line after us.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[allow(
    dead_code,
    reason = "shared with the tests against the simulator, which use all of it"
)]
mod support;

use std::path::Path;

use holdfast_domain::hold::WriteOutcome;
use holdfast_domain::{HealthStatus, PointValue};
use holdfast_testkit::peers::{Peer, SerialCable, mbpoll_read_on};
use serde_json::json;
use tokio::time::timeout;

use support::fakes::{Document, Seen, Witness, point_id, sensor_id};
use support::{SOON, bus, quick, resume, start};

const NONE: [&str; 0] = [];

/// A server at the far end of a line, and the near end's path.
struct OnLine {
    cable: SerialCable,
    peer: Peer,
    /// Where the ends' paths are.
    _folder: tempfile::TempDir,
}

impl OnLine {
    fn new(server: fn(&Path, &[&str]) -> Peer, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cable = SerialCable::lay(folder.path());
        let peer = server(cable.ends()[1], arguments);
        Self {
            cable,
            peer,
            _folder: folder,
        }
    }

    fn path(&self) -> &Path {
        self.cable.ends()[0]
    }

    fn document(&self) -> Document {
        Document::new(1, 502).on_line(self.path()).timeout_ms(2_000)
    }
}

const SERVERS: [fn(&Path, &[&str]) -> Peer; 2] = [Peer::pymodbus_on, Peer::libmodbus_on];

/// Reads all tables, in all ways that matter on the wire.
async fn reads_all_tables(document: Document) {
    let (bus, witness) = (bus(quick()), Witness::new());
    let document = document
        .point("holding", 0, "uint16")
        .point("input", 5, "uint16")
        .point("coil", 3, "bool")
        .point("coil", 4, "bool")
        .point("discrete", 6, "bool")
        .point_with("holding", 100, "uint32", &json!({ "wordOrder": "little" }))
        .holdings(0..200);
    let sensor = timeout(SOON, start(&bus, &document, &witness))
        .await
        .unwrap()
        .unwrap();
    let seen = timeout(SOON, witness.wait(sensor_id(1), |seen| seen.polls >= 5))
        .await
        .unwrap();
    sensor.stop().await;
    let (integer, flag) = (PointValue::Integer, PointValue::Bool);
    let values: Vec<PointValue> = (0..6).map(|point| seen.value(point).unwrap()).collect();
    let expected = [
        integer(0),
        integer(10_005),
        flag(true),
        flag(false),
        flag(true),
        integer(100 + (101 << 16)),
    ];
    assert_eq!(values, expected);
    let rest: Vec<PointValue> = (6..206).map(|point| seen.value(point).unwrap()).collect();
    assert_eq!(rest, (0..200).map(PointValue::Integer).collect::<Vec<_>>());
    assert_eq!(seen.health_at_any_pace(), [(HealthStatus::Online, None)]);
    let stats = bus.stats();
    assert_eq!((stats.timeouts, stats.damaged, stats.drops), (0, 0, 0));
}

/// Writes with each function, reads back, and leaves the registers of `WRITTEN`.
async fn writes_with_each_function(document: Document) {
    let (bus, witness) = (bus(quick()), Witness::new());
    let document = document
        .interval_ms(600_000)
        .output("coil", 1, "bool")
        .output("holding", 20, "int16")
        .output("holding", 30, "float32")
        .output("holding", 40, "bit(9)")
        .output("holding", 50, "string(20)");
    let sensor = start(&bus, &document, &witness).await.unwrap();
    let values = [
        PointValue::Bool(true),
        PointValue::Integer(-2),
        PointValue::Number(72.5),
        PointValue::Bool(true),
        PointValue::Text("twenty letters, abcd".into()),
    ];
    for (point, value) in (0..).zip(&values) {
        let outcome = timeout(SOON, sensor.write(point_id(point), value)).await;
        assert_eq!(outcome, Ok(WriteOutcome::Acknowledged), "{value:?}");
        let fresh = timeout(SOON, sensor.read(&[point_id(point)]))
            .await
            .unwrap();
        assert_eq!(fresh[0].value.as_ref(), Some(value));
    }
    sensor.stop().await;
}

#[tokio::test]
async fn servers_on_a_line_are_read() {
    for server in SERVERS {
        let line = OnLine::new(server, &NONE);
        reads_all_tables(line.document()).await;
    }
}

#[tokio::test]
async fn a_server_with_rtu_over_tcp_is_read_and_written() {
    let peer = Peer::pymodbus_rtu(&NONE);
    let document = || {
        let document = Document::new(1, peer.port()).framed_rtu();
        document.timeout_ms(2_000)
    };
    reads_all_tables(document()).await;
    writes_with_each_function(document()).await;
}

#[tokio::test]
async fn what_was_written_over_a_line_stands_there() {
    for server in SERVERS {
        let line = OnLine::new(server, &NONE);
        let before = mbpoll_read_on(line.path(), 1, 0, 100);
        writes_with_each_function(line.document()).await;
        let mut expected = before;
        expected[20] = 0xFFFE;
        expected[30..32].copy_from_slice(&[0x4291, 0]);
        expected[40] |= 1 << 9;
        for (register, pair) in expected[50..]
            .iter_mut()
            .zip(b"twenty letters, abcd".chunks(2))
        {
            *register = u16::from_be_bytes([pair[0], pair[1]]);
        }
        assert_eq!(mbpoll_read_on(line.path(), 1, 0, 100), expected);
    }
}

#[tokio::test]
async fn refused_addresses_cost_only_their_points_on_a_line_too() {
    for server in SERVERS {
        let line = OnLine::new(server, &["--refuse", "50:3"]);
        let witness = Witness::new();
        let document = line.document().holdings(0..100);
        let sensor = start(&bus(quick()), &document, &witness).await.unwrap();
        let bad = |seen: &Seen| {
            let bad = seen.bad().into_iter().map(|(point, _)| point);
            bad.collect::<Vec<_>>() == [50, 51, 52]
        };
        timeout(SOON, witness.wait(sensor_id(1), bad))
            .await
            .unwrap();
        sensor.stop().await;
    }
}

#[tokio::test]
async fn a_unit_that_is_not_there_is_silent_and_the_one_that_is_has_no_harm() {
    let line = OnLine::new(Peer::libmodbus_on, &NONE);
    let (bus, witness) = (bus(quick()), Witness::new());
    let there = start(&bus, &line.document().holdings(0..5), &witness)
        .await
        .unwrap();
    let document = Document::new(9, 502).on_line(line.path()).unit(9);
    // Longer than libmodbus waits for what another unit answers: what came in that time it would pass over.
    let document = document.timeout_ms(700).holdings(0..5);
    let error = start(&bus, &document, &witness).await.err().unwrap();
    let place = line.path().display();
    assert_eq!(
        error.to_string(),
        format!("no answer from unit 9 at {place} within 700 ms (asked for holding 0 to 4)")
    );
    let missing = resume(&bus, &document, &witness).await;
    timeout(SOON, witness.health(sensor_id(9), HealthStatus::Offline))
        .await
        .unwrap();
    let seen = timeout(SOON, witness.fresh_poll(sensor_id(1)))
        .await
        .unwrap();
    assert_eq!(seen.health_at_any_pace(), [(HealthStatus::Online, None)]);
    missing.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn half_frames_on_a_line_are_no_values_and_answers_that_come_late_none_either() {
    let line = OnLine::new(Peer::pymodbus_on, &["--half-frame-every", "3"]);
    let (bus, witness) = (bus(quick()), Witness::new());
    let document = line.document().timeout_ms(100).holdings(0..20);
    let sensor = resume(&bus, &document, &witness).await;
    let offline = |seen: &Seen| {
        let offline = seen.health.iter().filter(|(status, reason)| {
            let cut = |reason: &String| reason.starts_with("no whole answer from unit 1 at ");
            *status == HealthStatus::Offline && reason.as_ref().is_some_and(cut)
        });
        offline.count() >= 3
    };
    timeout(SOON, witness.wait(sensor_id(1), offline))
        .await
        .unwrap();
    let seen = timeout(
        SOON,
        witness.wait(sensor_id(1), |seen| seen.bad().is_empty()),
    )
    .await
    .unwrap();
    for (point, value) in (0..20).zip(0..) {
        assert_eq!(seen.value(point), Some(PointValue::Integer(value)));
    }
    sensor.stop().await;
}

#[tokio::test]
async fn a_server_that_is_frozen_is_offline_and_what_it_answers_late_is_dropped() {
    for server in SERVERS {
        let line = OnLine::new(server, &NONE);
        let (bus, witness) = (bus(quick()), Witness::new());
        let document = (0..6).fold(line.document().timeout_ms(100), |document, point| {
            document.point("holding", point * 10, "uint16")
        });
        let sensor = start(&bus, &document, &witness).await.unwrap();
        for _ in 0..3 {
            timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
                .await
                .unwrap();
            line.peer.freeze();
            timeout(SOON, witness.health(sensor_id(1), HealthStatus::Offline))
                .await
                .unwrap();
            line.peer.thaw();
        }
        timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
            .await
            .unwrap();
        let seen = timeout(SOON, witness.fresh_poll(sensor_id(1)))
            .await
            .unwrap();
        for (point, value) in (0..6).zip(0..) {
            assert_eq!(seen.value(point), Some(PointValue::Integer(value * 10)));
        }
        sensor.stop().await;
    }
}
