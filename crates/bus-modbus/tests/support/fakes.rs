//! What the adapter is given in tests: a sink and a listener that remember and can be waited on, randomness that is
//! always the same, and documents.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use holdfast_domain::{HealthStatus, PointId, PointValue, Sensor, SensorId};
use holdfast_ports::bus::HealthListener;
use holdfast_ports::clock::{Clock, Entropy};
use holdfast_ports::readings::{Reading, ReadingSink};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

/// The system's time.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Jitter that never shortens a wait.
pub(crate) struct NoJitter;

impl Entropy for NoJitter {
    fn uuid(&self) -> Uuid {
        unreachable!("the adapter makes no ids")
    }

    fn jitter(&self) -> u32 {
        u32::MAX
    }

    fn secret(&self) -> [u8; 32] {
        unreachable!("the adapter has no secrets")
    }
}

/// What one sensor gave last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Polls that came to the sink.
    pub(crate) polls: u64,
    pub(crate) readings: BTreeMap<PointId, Reading>,
    /// Every health that was told, in order.
    pub(crate) health: Vec<(HealthStatus, Option<String>)>,
    /// How often the other side ended its connection.
    pub(crate) broken_off: u64,
}

/// Takes readings and health, and lets tests wait for them.
#[derive(Default)]
pub(crate) struct Witness {
    seen: Mutex<BTreeMap<SensorId, Seen>>,
    changed: watch::Sender<()>,
}

impl Witness {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn of(&self, sensor: SensorId) -> Seen {
        self.seen
            .lock()
            .unwrap()
            .get(&sensor)
            .cloned()
            .unwrap_or_default()
    }

    fn note(&self, sensor: SensorId, change: impl FnOnce(&mut Seen)) {
        change(self.seen.lock().unwrap().entry(sensor).or_default());
        self.changed.send_replace(());
    }

    /// Waits until `holds` for what came of `sensor`, and answers it.
    pub(crate) async fn wait(&self, sensor: SensorId, holds: impl Fn(&Seen) -> bool) -> Seen {
        let mut changed = self.changed.subscribe();
        loop {
            let seen = self.of(sensor);
            if holds(&seen) {
                return seen;
            }
            changed
                .changed()
                .await
                .expect("this witness holds the sender");
        }
    }

    /// Waits for the next poll that begins after now: two, because one may be under way.
    pub(crate) async fn fresh_poll(&self, sensor: SensorId) -> Seen {
        let polls = self.of(sensor).polls;
        self.wait(sensor, |seen| seen.polls >= polls + 2).await
    }

    /// Waits until the last health that was told is `status`, and answers its reason.
    pub(crate) async fn health(&self, sensor: SensorId, status: HealthStatus) -> String {
        let seen = self
            .wait(sensor, |seen| seen.status() == Some(status))
            .await;
        seen.health
            .last()
            .cloned()
            .and_then(|(_, reason)| reason)
            .unwrap_or_default()
    }
}

impl Seen {
    pub(crate) fn status(&self) -> Option<HealthStatus> {
        self.health.last().map(|(status, _)| *status)
    }

    /// The health that was told, but for how often the unit is polled: a machine that is busy carries fewer polls.
    pub(crate) fn health_at_any_pace(&self) -> Vec<(HealthStatus, Option<String>)> {
        let mut health = self.health.clone();
        for (status, reason) in &mut health {
            if *status == HealthStatus::Online {
                *reason = None;
            }
        }
        health.dedup();
        health
    }

    pub(crate) fn value(&self, point: u64) -> Option<PointValue> {
        self.readings[&point_id(point)].value.clone()
    }

    /// The numbers of the points that are bad, each with its reason.
    pub(crate) fn bad(&self) -> Vec<(u64, String)> {
        let bad = self
            .readings
            .values()
            .filter(|reading| reading.value.is_none());
        bad.map(|reading| {
            let number = u64::try_from(reading.point.uuid().as_u128()).expect("a test's point");
            (
                number,
                reading
                    .reason
                    .as_deref()
                    .expect("a bad reading says why")
                    .to_owned(),
            )
        })
        .collect()
    }
}

impl ReadingSink for Witness {
    fn accept(&self, sensor: SensorId, readings: &[Reading]) {
        self.note(sensor, |seen| {
            seen.polls += 1;
            seen.readings.extend(
                readings
                    .iter()
                    .map(|reading| (reading.point, reading.clone())),
            );
        });
    }
}

impl HealthListener for Witness {
    fn health(&self, sensor: SensorId, status: HealthStatus, reason: Option<String>) {
        self.note(sensor, |seen| seen.health.push((status, reason)));
    }

    fn broken_off(&self, sensor: SensorId) {
        self.note(sensor, |seen| seen.broken_off += 1);
    }
}

pub(crate) fn sensor_id(number: u64) -> SensorId {
    SensorId(Uuid::from_u128(number.into()))
}

pub(crate) fn point_id(number: u64) -> PointId {
    PointId(Uuid::from_u128(number.into()))
}

/// A sensor under construction: Modbus TCP, unit 1, every 20 ms, a time-out of a second.
#[derive(Clone)]
pub(crate) struct Document(Value);

impl Document {
    pub(crate) fn new(number: u64, port: u16) -> Self {
        Self(json!({
            "id": sensor_id(number), "name": format!("sensor-{number}"), "protocol": "modbus", "pollInterval": 20,
            "connection": { "type": "tcp", "host": "127.0.0.1", "port": port, "unitId": 1 }, "dataPoints": [],
        }))
    }

    /// On a serial line, at the settings that the standard asks for (19200 baud, 8E1); its unit is named next.
    pub(crate) fn on_line(self, path: &std::path::Path) -> Self {
        let path = path.to_str().expect("a test's path");
        let line = json!({ "type": "rtu", "serialPort": path, "unitId": 1 });
        self.with("connection", line)
    }

    /// With RTU frames over TCP; its unit is named next.
    pub(crate) fn framed_rtu(self) -> Self {
        self.connection("type", json!("rtuOverTcp"))
    }

    pub(crate) fn unit(self, unit: u8) -> Self {
        self.connection("unitId", json!(unit))
    }

    pub(crate) fn timeout_ms(self, timeout: u32) -> Self {
        self.connection("timeoutMs", json!(timeout))
    }

    pub(crate) fn connection(mut self, key: &str, value: Value) -> Self {
        self.0["connection"][key] = value;
        self
    }

    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        self.0[key] = value;
        self
    }

    pub(crate) fn interval_ms(self, interval: u32) -> Self {
        self.with("pollInterval", json!(interval))
    }

    /// Adds a point; its number is its order.
    pub(crate) fn point(self, table: &str, address: u16, data_type: &str) -> Self {
        self.point_with(table, address, data_type, &json!({}))
    }

    /// Adds a point with more fields.
    pub(crate) fn point_with(
        mut self,
        table: &str,
        address: u16,
        data_type: &str,
        more: &Value,
    ) -> Self {
        let points = self.0["dataPoints"]
            .as_array_mut()
            .expect("a document has points");
        let number = points.len() as u64;
        let mut point = json!({
            "id": point_id(number), "name": format!("point-{number}"), "table": table, "address": address,
            "dataType": data_type,
        });
        let more = more.as_object().expect("more fields").clone();
        point.as_object_mut().expect("a point").extend(more);
        points.push(point);
        self
    }

    /// Adds holding registers as unsigned points, numbered by their order.
    pub(crate) fn holdings(self, addresses: std::ops::Range<u16>) -> Self {
        addresses.fold(self, |document, address| {
            document.point("holding", address, "uint16")
        })
    }

    /// Adds a point that can be written.
    pub(crate) fn output(self, table: &str, address: u16, data_type: &str) -> Self {
        self.point_with(table, address, data_type, &json!({ "writable": true }))
    }

    /// Adds holding registers as unsigned points that can be written, numbered by their order.
    pub(crate) fn outputs(self, addresses: impl IntoIterator<Item = u16>) -> Self {
        addresses.into_iter().fold(self, |document, address| {
            document.output("holding", address, "uint16")
        })
    }

    pub(crate) fn sensor(&self) -> Arc<Sensor> {
        Arc::new(Sensor::from_json(self.0.clone()).expect("a valid document"))
    }
}
