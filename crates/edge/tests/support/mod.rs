//! What the tests of this crate share: documents, a ledger in memory, a bus, a hub, clocks; and a random source.
//!
//! Each fake keeps the contract of its port; the ledger passes the same suite as the real one.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test binary uses a part; a panic here is a test's report"
)]

pub(crate) mod bus;
pub(crate) mod hub;
pub(crate) mod ledger;

use std::{
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
};

use holdfast_domain::{
    DeviceId, Incarnation, Item, Name, PointId, Sensor, SensorId, TargetState,
    document::{command::Commands, hold::HoldSettings, setpoint::Setpoints},
    row::{Actor, Audit},
    state::{DeviceRecord, DeviceState},
};
use holdfast_edge::machine::Now;
use holdfast_ports::{
    clock::{Clock, Entropy},
    ledger::Identity,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) const DEVICE: DeviceId = DeviceId(Uuid::from_u128(0xd));
pub(crate) const FIRST_LIFE: Incarnation = Incarnation(Uuid::from_u128(0x1f));

pub(crate) fn sensor_id(number: u128) -> SensorId {
    SensorId(Uuid::from_u128(0x5000 + number))
}

pub(crate) fn point_id(number: u128) -> PointId {
    PointId(Uuid::from_u128(0x9000 + number))
}

/// A Modbus sensor as a document.
pub(crate) fn document(number: u128) -> Value {
    json!({
        "id": sensor_id(number), "name": format!("sensor-{number}"), "protocol": "modbus",
        "connection": { "type": "tcp", "host": "10.0.0.5", "port": 502, "unitId": number % 200 },
        "dataPoints": [{
            "id": point_id(number), "name": "temperature", "table": "holding", "address": 100, "dataType": "int16",
        }],
    })
}

pub(crate) fn sensor_of(document: Value) -> Arc<Sensor> {
    Arc::new(Sensor::from_json(document).expect("a sensor"))
}

/// `document(number)` with some fields changed.
#[allow(clippy::needless_pass_by_value, reason = "called with json!")]
pub(crate) fn changed(number: u128, fields: Value) -> Arc<Sensor> {
    let mut document = document(number);
    for (key, value) in fields.as_object().expect("fields") {
        document[key] = value.clone();
    }
    sensor_of(document)
}

pub(crate) fn sensor(number: u128) -> Arc<Sensor> {
    sensor_of(document(number))
}

pub(crate) fn item(config_version: u64, sensor: Arc<Sensor>) -> Item {
    Item {
        config_version,
        sensor,
    }
}

/// A target whose items all have its version.
pub(crate) fn target(version: u64, sensors: impl IntoIterator<Item = Arc<Sensor>>) -> TargetState {
    let items = sensors
        .into_iter()
        .map(|sensor| item(version, sensor))
        .collect();
    TargetState {
        version,
        needs_deployment: true,
        items,
        setpoints: Setpoints::default(),
        hold: HoldSettings::default(),
        commands: Commands::default(),
        look_revision: 0,
        extra: serde_json::Map::new(),
    }
}

pub(crate) fn identity() -> Identity {
    Identity {
        device: DEVICE,
        incarnation: FIRST_LIFE,
        token: "token".into(),
        key: None,
    }
}

pub(crate) fn start_of_time() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().expect("a time")
}

pub(crate) fn at(ms: u64) -> Now {
    Now {
        ms,
        wall: start_of_time() + SignedDuration::from_millis(ms as i64),
    }
}

/// A device that an agent has registered.
pub(crate) fn device() -> DeviceState {
    DeviceState::new(DeviceRecord {
        id: DEVICE,
        name: Name::new("gateway").expect("a name"),
        labels: std::collections::BTreeMap::new(),
        incarnation: Some(FIRST_LIFE),
        audit: Audit::new(start_of_time(), &Actor::named("anna")),
    })
}

/// Lets so much of a paused runtime's time pass; everything that is due within it happens. No real time does.
pub(crate) async fn pass(time: std::time::Duration) {
    tokio::time::sleep(time).await;
}

/// A wall clock that stands still.
pub(crate) struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        start_of_time()
    }
}

/// Numbers that look random and are the same each time (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Debug)]
pub(crate) struct Random(AtomicU64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        let state = self
            .0
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
            .wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True in `percent` of cases.
    pub(crate) fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Entropy for Random {
    fn uuid(&self) -> Uuid {
        Uuid::from_u64_pair(self.next(), self.next())
    }

    fn jitter(&self) -> u32 {
        (self.next() >> 32) as u32
    }

    fn secret(&self) -> [u8; 32] {
        [7; 32]
    }
}
