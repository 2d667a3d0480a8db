//! Polls one unit, for commissioning and for comparison with other programs: what comes, how punctually, and what it
//! costs.
//!
//! `poll HOST PORT[-LAST] UNIT[-LAST] FIRST COUNT INTERVAL_MS [SECONDS]` reads COUNT holding registers (uint16) from FIRST
//! on, of each of the units on each of the ports. Prints the counters, the deviation of the period of the units that
//! answer, and the CPU of this process a point.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast_bus_modbus::{ModbusBus, Settings};
use holdfast_domain::{HealthStatus, Sensor, SensorId};
use holdfast_ports::bus::{FieldBus, HealthListener, StartRequest};
use holdfast_ports::clock::{Clock, Entropy};
use holdfast_ports::readings::{Reading, ReadingSink};
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

impl Entropy for System {
    fn uuid(&self) -> Uuid {
        unreachable!("the adapter makes no ids")
    }

    fn jitter(&self) -> u32 {
        Timestamp::now().subsec_nanosecond().unsigned_abs()
    }

    fn secret(&self) -> [u8; 32] {
        unreachable!("the adapter has no secrets")
    }
}

/// When each poll of each unit came, and how many points were good.
#[derive(Default)]
struct Log(Mutex<BTreeMap<SensorId, (Vec<Instant>, u64)>>);

impl ReadingSink for Log {
    fn accept(&self, sensor: SensorId, readings: &[Reading]) {
        let good = readings
            .iter()
            .filter(|reading| reading.value.is_some())
            .count();
        let mut log = self.0.lock().expect("no holder panics");
        let (times, points) = log.entry(sensor).or_default();
        times.push(Instant::now());
        *points += good as u64;
    }
}

impl HealthListener for Log {
    fn health(&self, sensor: SensorId, status: HealthStatus, reason: Option<String>) {
        if status != HealthStatus::Online {
            println!("{sensor} is {status}: {}", reason.unwrap_or_default());
        }
    }
}

struct Arguments {
    host: String,
    ports: std::ops::RangeInclusive<u16>,
    units: std::ops::RangeInclusive<u8>,
    first: u16,
    count: u16,
    interval_ms: u32,
    seconds: u64,
}

fn arguments() -> Option<Arguments> {
    fn range<T: std::str::FromStr>(word: &str) -> Option<std::ops::RangeInclusive<T>> {
        let (from, to) = word.split_once('-').unwrap_or((word, word));
        Some(from.parse().ok()?..=to.parse().ok()?)
    }
    let mut words = std::env::args().skip(1);
    Some(Arguments {
        host: words.next()?,
        ports: range(&words.next()?)?,
        units: range(&words.next()?)?,
        first: words.next()?.parse().ok()?,
        count: words.next()?.parse().ok()?,
        interval_ms: words.next()?.parse().ok()?,
        seconds: words.next().map_or(Some(10), |word| word.parse().ok())?,
    })
}

fn sensor(arguments: &Arguments, port: u16, unit: u8) -> Sensor {
    let Arguments {
        host,
        first,
        count,
        interval_ms,
        ..
    } = arguments;
    let point = |address: u16| {
        json!({ "id": Uuid::from_u128(address.into()), "name": format!("holding-{address}"), "table": "holding",
                "address": address, "dataType": "uint16" })
    };
    let document = json!({
        "id": Uuid::from_u128(u128::from(port) << 8 | u128::from(unit)), "name": format!("unit-{unit}-port-{port}"),
        "protocol": "modbus", "pollInterval": interval_ms,
        "connection": { "type": "tcp", "host": host, "port": port, "unitId": unit },
        "dataPoints": (*first..first + count).map(point).collect::<Vec<_>>(),
    });
    Sensor::from_json(document).unwrap_or_else(|problems| panic!("{problems}"))
}

/// CPU time of this process so far; utime and stime would miss short bursts.
fn cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    let nanoseconds = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Some(arguments) = arguments() else {
        eprintln!("poll HOST PORT[-LAST] UNIT[-LAST] FIRST COUNT INTERVAL_MS [SECONDS]");
        std::process::exit(2);
    };
    let bus = ModbusBus::new(Arc::new(System), Arc::new(System), Settings::default());
    let log = Arc::new(Log::default());
    let mut running = Vec::new();
    let places = arguments
        .ports
        .clone()
        .flat_map(|port| arguments.units.clone().map(move |unit| (port, unit)));
    for (port, unit) in places {
        let request = StartRequest {
            sensor: Arc::new(sensor(&arguments, port, unit)),
            was_established: true,
            readings: Arc::<Log>::clone(&log),
            health: Arc::<Log>::clone(&log),
        };
        running.push(
            bus.start(request)
                .await
                .unwrap_or_else(|error| panic!("{error}")),
        );
    }
    // What is done once (connecting, the first reading) is not what a point costs.
    tokio::time::sleep(Duration::from_secs(1)).await;
    log.0.lock().expect("no holder panics").clear();
    let before = cpu();
    tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
    let spent = cpu() - before;
    report(&log, &arguments, spent);
    println!("{:?}", bus.stats());
    for sensor in running {
        sensor.stop().await;
    }
}

fn report(log: &Log, arguments: &Arguments, spent: Duration) {
    let log = log.0.lock().expect("no holder panics");
    let points: u64 = log.values().map(|(_, points)| points).sum();
    let wanted = f64::from(arguments.interval_ms);
    let off = log
        .values()
        .filter(|(_, points)| *points > 0)
        .flat_map(|(times, _)| {
            times
                .windows(2)
                .map(move |pair| (pair[1] - pair[0]).as_secs_f64() * 1_000.0 - wanted)
        });
    let mut off: Vec<f64> = off.map(f64::abs).collect();
    off.sort_by(f64::total_cmp);
    let variance = off.iter().map(|off| off * off).sum::<f64>() / off.len().max(1) as f64;
    let p99 = off.get(off.len() * 99 / 100).copied().unwrap_or_default();
    println!("{points} points in {} s", arguments.seconds);
    println!(
        "period: standard deviation {:.3} ms, p99 {p99:.3} ms",
        variance.sqrt()
    );
    println!(
        "CPU: {:.3} µs a point",
        spent.as_secs_f64() * 1e6 / points.max(1) as f64
    );
}
