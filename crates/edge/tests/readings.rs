//! The ways of readings: changes only, in batches, best effort; lines of JSON; several sinks at once.

#[path = "support/mod.rs"]
mod support;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use holdfast_domain::{PointValue, Quality};
use holdfast_edge::readings::{HubReadings, HubReadingsSettings, NdjsonSink, fan_out};
use holdfast_ports::{
    hub_link::HubError,
    readings::{Reading, ReadingSink},
};
use jiff::SignedDuration;

use support::{Random, hub::FakeHub, point_id, sensor_id, start_of_time};

fn reading(point: u128, value: f64, second: i64) -> Reading {
    Reading {
        point: point_id(point),
        value: PointValue::from_f64(value),
        quality: Quality::Good,
        at: start_of_time() + SignedDuration::from_secs(second),
        reason: None,
    }
}

fn bad(point: u128, reason: &str) -> Reading {
    let reason = Some(Arc::from(reason));
    Reading {
        value: None,
        quality: Quality::Bad,
        reason,
        ..reading(point, 0.0, 0)
    }
}

fn sink() -> Arc<HubReadings> {
    Arc::new(HubReadings::new(HubReadingsSettings::default()))
}

/// A sink that sends, and its hub.
fn sending() -> (Arc<HubReadings>, Arc<FakeHub>) {
    let (sink, hub) = (sink(), FakeHub::new());
    tokio::spawn(sink.clone().run(hub.clone(), Arc::new(Random::new(1))));
    (sink, hub)
}

async fn batches(hub: &FakeHub, count: usize) -> Vec<Vec<holdfast_ports::store::PointRecord>> {
    hub.until_called(|hub| hub.readings.lock().expect("no panic").len() >= count)
        .await;
    hub.readings.lock().expect("no panic").clone()
}

#[test]
fn only_changes_wait_to_be_sent() {
    let sink = sink();
    sink.accept(sensor_id(1), &[reading(1, 1.0, 0), reading(2, 2.0, 0)]);
    assert_eq!(sink.waiting(), 2);
    for second in 1..100 {
        sink.accept(
            sensor_id(1),
            &[reading(1, 1.0, second), reading(2, 2.0, second)],
        );
    }
    assert_eq!(sink.waiting(), 2);
    sink.accept(
        sensor_id(1),
        &[
            bad(1, "illegal data address (exception 2)"),
            reading(2, 2.0, 0),
        ],
    );
    assert_eq!(
        sink.waiting(),
        2,
        "a newer reading replaces the one that waits"
    );
    sink.forget(sensor_id(1));
    assert_eq!(sink.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn changes_of_a_second_go_together_and_the_newest_counts() {
    let (sink, hub) = sending();
    for tenth in 0..10 {
        sink.accept(
            sensor_id(1),
            &[reading(1, f64::from(tenth), 0), reading(2, 2.0, 0)],
        );
        support::pass(Duration::from_millis(50)).await;
    }
    let sent = batches(&hub, 1).await;
    assert_eq!(sent.len(), 1);
    let values: Vec<_> = sent[0]
        .iter()
        .map(|record| (record.point, record.value.clone()))
        .collect();
    assert_eq!(
        values,
        [
            (point_id(1), PointValue::from_f64(9.0)),
            (point_id(2), PointValue::from_f64(2.0))
        ]
    );
    sink.accept(sensor_id(1), &[reading(1, 9.0, 5), reading(2, 2.5, 5)]);
    let sent = batches(&hub, 2).await;
    assert_eq!(
        sent[1]
            .iter()
            .map(|record| record.point)
            .collect::<Vec<_>>(),
        [point_id(2)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_a_thousand_points_at_most() {
    let (sink, hub) = sending();
    let many: Vec<Reading> = (0..2_500).map(|point| reading(point, 1.0, 0)).collect();
    sink.accept(sensor_id(1), &many);
    let sizes: Vec<usize> = batches(&hub, 3).await.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1_000, 1_000, 500]);
}

#[tokio::test(start_paused = true)]
async fn what_the_hub_did_not_take_is_merged_with_what_follows() {
    let (sink, hub) = sending();
    hub.goes_down(Some(HubError::Unreachable("connection refused".into())));
    for second in 0..600 {
        sink.accept(
            sensor_id(1),
            &[reading(1, f64::from(second), 0), reading(2, 2.0, 0)],
        );
        support::pass(Duration::from_secs(1)).await;
    }
    assert_eq!(sink.waiting(), 2, "bounded by the points that there are");
    hub.goes_down(None);
    // One alone first: perhaps it was the batch that the hub did not like.
    let sent = batches(&hub, 2).await.concat();
    let values: Vec<_> = sent
        .iter()
        .map(|record| (record.point, record.value.clone()))
        .collect();
    assert!(
        values.contains(&(point_id(1), PointValue::from_f64(599.0))),
        "{values:?}"
    );
    assert_eq!(values.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reading_that_the_hub_never_takes_does_not_keep_the_others() {
    let (sink, hub) = sending();
    *hub.unwanted.lock().unwrap() = Some(point_id(3));
    let all: Vec<Reading> = (0..500).map(|point| reading(point, 1.0, 0)).collect();
    sink.accept(sensor_id(1), &all);
    while sink.waiting() > 1 {
        support::pass(Duration::from_secs(1)).await;
    }
    // Newer readings of the others come through too.
    let again: Vec<Reading> = (0..500).map(|point| reading(point, 2.0, 0)).collect();
    sink.accept(sensor_id(1), &again);
    while sink.waiting() > 1 {
        support::pass(Duration::from_secs(1)).await;
    }
    let sent = hub.readings.lock().unwrap().concat();
    let newest = PointValue::from_f64(2.0);
    let new = sent.iter().filter(|record| record.value == newest).count();
    assert_eq!(new, 499);
    *hub.unwanted.lock().unwrap() = None;
    while sink.waiting() > 0 {
        support::pass(Duration::from_secs(1)).await;
    }
}

#[test]
fn points_are_found_in_whatever_order_they_come() {
    let sink = sink();
    let all: Vec<Reading> = (0..10).map(|point| reading(point, 1.0, 0)).collect();
    sink.accept(sensor_id(1), &all);
    let backwards: Vec<Reading> = all.iter().rev().cloned().collect();
    sink.accept(sensor_id(1), &backwards);
    sink.accept(sensor_id(1), &all[3..7]);
    assert_eq!(sink.waiting(), 10);
}

#[test]
fn points_that_are_gone_do_not_pile_up() {
    let settings = HubReadingsSettings {
        points_per_sensor: 100,
        ..HubReadingsSettings::default()
    };
    let sink = HubReadings::new(settings);
    for point in 0..100_000 {
        sink.accept(sensor_id(1), &[reading(point, 1.0, 0)]);
    }
    assert!(sink.waiting() <= 100);
}

/// 100 units of 100 registers each second make 10,000 points; nearly all of them unchanged.
#[test]
fn what_is_unchanged_costs_next_to_nothing() {
    const POLLS: u32 = 2_000;
    let sink = sink();
    let all: Vec<Reading> = (0..100).map(|point| reading(point, 1.0, 0)).collect();
    sink.accept(sensor_id(1), &all);
    let before = Instant::now();
    for _ in 0..POLLS {
        sink.accept(sensor_id(1), &all);
    }
    let each = before.elapsed() / (POLLS * 100);
    println!("{each:?} a point, without optimisation");
    assert!(each < Duration::from_micros(2), "{each:?} a point");
    assert_eq!(sink.waiting(), 100);
}

/// Memory that a test can look at.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn every_reading_is_a_line() {
    let paper = Paper::default();
    let sink = NdjsonSink::new(paper.clone()).expect("a thread");
    sink.accept(
        sensor_id(1),
        &[reading(1, 20.5, 0), bad(2, "no \"answer\"")],
    );
    sink.accept(sensor_id(1), &[reading(1, 20.5, 1)]);
    drop(sink);
    let text = String::from_utf8(paper.0.lock().expect("no panic").clone()).expect("text");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 3);
    let (sensor, point) = (sensor_id(1), point_id(1));
    let expected = serde_json::json!({
        "at": "2026-11-22T12:00:00Z", "sensor": sensor, "point": point, "value": 20.5, "quality": "good",
    });
    assert_eq!(lines[0], expected);
    assert_eq!(
        (&lines[1]["value"], &lines[1]["quality"]),
        (&serde_json::Value::Null, &"bad".into())
    );
    assert_eq!(lines[1]["reason"], "no \"answer\"");
}

/// A pipe that nobody reads.
struct Stuck(std::sync::mpsc::Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Err(io::Error::other("closed"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_is_stuck_holds_nobody_up() {
    let (closed, stuck) = std::sync::mpsc::channel();
    let sink = NdjsonSink::new(Stuck(stuck)).expect("a thread");
    let many: Vec<Reading> = (0..1_000).map(|point| reading(point, 1.0, 0)).collect();
    for _ in 0..200 {
        sink.accept(sensor_id(1), &many);
    }
    assert!(sink.dropped() > 0, "what can't be written is counted");
    drop(closed);
}

#[test]
fn every_sink_gets_everything() {
    let (one, two) = (sink(), sink());
    let both = fan_out(vec![one.clone(), two.clone()]);
    both.accept(sensor_id(1), &[reading(1, 1.0, 0)]);
    assert_eq!((one.waiting(), two.waiting()), (1, 1));
    both.forget(sensor_id(1));
    assert_eq!((one.waiting(), two.waiting()), (0, 0));
    fan_out(Vec::new()).accept(sensor_id(1), &[reading(1, 1.0, 0)]);
}
