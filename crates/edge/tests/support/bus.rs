//! A fieldbus in memory: what runs on it, what was called, and instruments that can be made to fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use holdfast_domain::{
    HealthStatus, PointId, PointValue, Protocol, Quality, Sensor, SensorId, hold::WriteOutcome,
};
use holdfast_ports::bus::{FieldBus, Fresh, RunningSensor, StartError, StartRequest};
use tokio::sync::watch;

/// How an instrument behaves from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It can't be reached.
    Refuses(&'static str),
    /// The adapter panics when it starts or updates it.
    Panics,
    /// Nothing ever comes back.
    Hangs,
}

/// What is on the bus.
#[derive(Debug, Default)]
pub(crate) struct Bus {
    pub(crate) running: BTreeMap<SensorId, Arc<Sensor>>,
    pub(crate) moods: BTreeMap<SensorId, Mood>,
    /// Every call, in order: "start sensor-1", "update …", "stop …".
    pub(crate) calls: Vec<String>,
    /// Sensors that have a call under way: never two at once.
    busy: BTreeSet<SensorId>,
    pub(crate) requests: BTreeMap<SensorId, bool>,
    /// What points show.
    pub(crate) values: BTreeMap<PointId, PointValue>,
}

/// The port over a [`Bus`].
#[derive(Clone)]
pub(crate) struct FakeBus {
    shared: Arc<Shared>,
}

struct Shared {
    bus: Mutex<Bus>,
    changed: watch::Sender<u64>,
}

impl FakeBus {
    pub(crate) fn new() -> Self {
        let shared = Shared {
            bus: Mutex::default(),
            changed: watch::Sender::new(0),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Bus) -> T) -> T {
        let result = act(&mut self.shared.bus.lock().unwrap());
        self.shared.changed.send_modify(|count| *count += 1);
        result
    }

    pub(crate) fn set_mood(&self, sensor: SensorId, mood: Option<Mood>) {
        self.with(|bus| match mood {
            Some(mood) => drop(bus.moods.insert(sensor, mood)),
            None => drop(bus.moods.remove(&sensor)),
        });
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.with(|bus| bus.calls.clone())
    }

    pub(crate) async fn until(&self, mut wanted: impl FnMut(&Bus) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        while !wanted(&self.shared.bus.lock().unwrap()) {
            changed.changed().await.expect("the bus is there");
        }
    }

    fn begin(&self, verb: &str, sensor: &Sensor) -> Option<Mood> {
        self.with(|bus| {
            bus.calls.push(format!("{verb} {}", sensor.name()));
            assert!(
                bus.busy.insert(sensor.id()),
                "two calls of {} at once",
                sensor.name()
            );
            bus.moods.get(&sensor.id()).cloned()
        })
    }

    async fn act(&self, verb: &str, sensor: &Arc<Sensor>) -> Result<(), StartError> {
        let mood = self.begin(verb, sensor);
        let _idle = Idle {
            bus: self.clone(),
            sensor: sensor.id(),
        };
        // An instrument takes its time; whatever can happen meanwhile, happens.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        match mood {
            None => Ok(()),
            Some(Mood::Refuses(why)) => Err(StartError::Unreachable(why.to_string())),
            Some(Mood::Panics) => panic!("a bug in the adapter"),
            Some(Mood::Hangs) => std::future::pending().await,
        }
    }
}

struct Idle {
    bus: FakeBus,
    sensor: SensorId,
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.bus.with(|bus| bus.busy.remove(&self.sensor));
    }
}

#[async_trait]
impl FieldBus for FakeBus {
    fn protocol(&self) -> Protocol {
        Protocol::Modbus
    }

    async fn start(&self, request: StartRequest) -> Result<Box<dyn RunningSensor>, StartError> {
        let StartRequest {
            sensor,
            was_established,
            readings: _,
            health,
        } = request;
        assert!(
            sensor.enabled(),
            "a disabled sensor is never given to an adapter"
        );
        self.with(|bus| bus.requests.insert(sensor.id(), was_established));
        match self.act("start", &sensor).await {
            Ok(()) => health.health(sensor.id(), HealthStatus::Online, None),
            Err(error) if was_established => {
                health.health(sensor.id(), HealthStatus::Offline, Some(error.to_string()));
            }
            Err(error) => return Err(error),
        }
        self.with(|bus| bus.running.insert(sensor.id(), sensor.clone()));
        Ok(Box::new(Started {
            bus: self.clone(),
            sensor: Mutex::new(sensor),
        }))
    }
}

struct Started {
    bus: FakeBus,
    sensor: Mutex<Arc<Sensor>>,
}

#[async_trait]
impl RunningSensor for Started {
    async fn update(&self, sensor: Arc<Sensor>) -> Result<(), StartError> {
        self.bus.act("update", &sensor).await?;
        *self.sensor.lock().unwrap() = sensor.clone();
        self.bus.with(|bus| bus.running.insert(sensor.id(), sensor));
        Ok(())
    }

    async fn read(&self, points: &[PointId]) -> Vec<Fresh> {
        self.bus.with(|bus| {
            let shown = |point: &PointId| Fresh {
                value: bus.values.get(point).cloned(),
                quality: Quality::Good,
                reason: None,
            };
            points.iter().map(shown).collect()
        })
    }

    async fn write(&self, point: PointId, value: &PointValue) -> WriteOutcome {
        self.bus.with(|bus| {
            bus.calls.push(format!("write {value}"));
            bus.values.insert(point, value.clone());
        });
        WriteOutcome::Acknowledged
    }

    async fn stop(self: Box<Self>) {
        let sensor = self.sensor.lock().unwrap().clone();
        let _ = self.bus.act("stop", &sensor).await;
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let id = self.sensor.lock().unwrap().id();
        self.bus.with(|bus| bus.running.remove(&id));
    }
}
