//! Readings to the hub: only what changed, in batches, the newest value of each point, best effort.
//!
//! What is unchanged costs a comparison: no allocation, no map. Memory is bounded by the points that there are: each is
//! kept once, with its newest reading, whether or not it is yet to be sent.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use holdfast_domain::{PointId, PointValue, Quality, SensorId, backoff::Backoff, limits};
use holdfast_ports::{
    clock::Entropy,
    hub_link::{HubError, HubLink},
    readings::{Reading, ReadingSink},
    store::PointRecord,
};
use jiff::Timestamp;
use tokio::{sync::Notify, time::Instant};

use crate::calls::guarded;

/// How long the hub's link may take with one batch before it counts as failed.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// How readings go to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubReadingsSettings {
    /// Most points of one request: 1,000 of them are some 200 KB.
    pub batch: usize,
    /// How long a change waits for others to go with it.
    pub interval: Duration,
    /// Most points kept for one sensor; above, all of them are forgotten and sent anew as they are read.
    pub points_per_sensor: usize,
    /// How a hub out of reach is tried again.
    pub backoff: Backoff,
    /// How long to wait before trying a hub again that says that the device was deleted or revoked.
    pub refused: Duration,
}

impl Default for HubReadingsSettings {
    fn default() -> Self {
        Self {
            batch: 1_000,
            interval: Duration::from_secs(1),
            points_per_sensor: limits::POINTS_PER_SENSOR,
            backoff: Backoff::HUB,
            refused: Duration::from_secs(60),
        }
    }
}

/// A sink that sends changes to the hub.
#[derive(Debug)]
pub struct HubReadings {
    settings: HubReadingsSettings,
    kept: Mutex<Kept>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    sensors: HashMap<SensorId, Points>,
    /// Points to be sent, each once, the longest waiting first.
    changed: VecDeque<(SensorId, PointId)>,
}

/// The points of one sensor, in the order in which its adapter reads them.
#[derive(Debug, Default)]
struct Points {
    entries: Vec<Entry>,
    places: HashMap<PointId, usize>,
}

#[derive(Debug)]
struct Entry {
    point: PointId,
    value: Option<PointValue>,
    quality: Quality,
    at: Timestamp,
    reason: Option<Arc<str>>,
    /// Does it stand in `changed`?
    waits: bool,
}

impl Points {
    /// None yet, and room for so many: there are tens of thousands, and no more come.
    fn of_so_many(count: usize) -> Self {
        Self {
            entries: Vec::with_capacity(count),
            places: HashMap::with_capacity(count),
        }
    }

    /// The entry of `point`, which is most likely at `expected`: an adapter gives its points in the same order each time.
    fn place(&self, point: PointId, expected: usize) -> Option<usize> {
        if self
            .entries
            .get(expected)
            .is_some_and(|entry| entry.point == point)
        {
            return Some(expected);
        }
        self.places.get(&point).copied()
    }
}

impl Entry {
    fn of(reading: &Reading) -> Self {
        let Reading {
            point,
            value,
            quality,
            at,
            reason,
        } = reading.clone();
        Self {
            point,
            value,
            quality,
            at,
            reason,
            waits: false,
        }
    }

    fn says(&self, reading: &Reading) -> bool {
        let Reading {
            point: _,
            value,
            quality,
            at: _,
            reason,
        } = reading;
        self.quality == *quality && self.value == *value && self.reason == *reason
    }

    fn record(&self, sensor: SensorId) -> PointRecord {
        PointRecord {
            point: self.point,
            sensor,
            value: self.value.clone(),
            quality: self.quality,
            at: self.at,
            reason: self.reason.as_deref().map(ToString::to_string),
        }
    }
}

impl ReadingSink for HubReadings {
    fn accept(&self, sensor: SensorId, readings: &[Reading]) {
        let mut kept = self.lock();
        let Kept { sensors, changed } = &mut *kept;
        let before = changed.len();
        let most = self.settings.points_per_sensor;
        let points = sensors
            .entry(sensor)
            .or_insert_with(|| Points::of_so_many(readings.len().min(most)));
        for (expected, reading) in readings.iter().enumerate() {
            let place = match points.place(reading.point, expected) {
                Some(place) if points.entries[place].says(reading) => continue,
                Some(place) => {
                    let waits = points.entries[place].waits;
                    points.entries[place] = Entry {
                        waits,
                        ..Entry::of(reading)
                    };
                    place
                }
                None => {
                    if points.entries.len() >= most {
                        *points = Points::default();
                        changed.retain(|(of, _)| *of != sensor);
                    }
                    points.places.insert(reading.point, points.entries.len());
                    points.entries.push(Entry::of(reading));
                    points.entries.len() - 1
                }
            };
            if !std::mem::replace(&mut points.entries[place].waits, true) {
                changed.push_back((sensor, reading.point));
            }
        }
        let after = changed.len();
        drop(kept);
        if (before == 0 && after > 0)
            || (before < self.settings.batch && after >= self.settings.batch)
        {
            self.bell.notify_one();
        }
    }

    fn forget(&self, sensor: SensorId) {
        let mut kept = self.lock();
        kept.sensors.remove(&sensor);
        kept.changed.retain(|(of, _)| *of != sensor);
    }
}

impl HubReadings {
    /// A sink that nobody has filled yet.
    #[must_use]
    pub fn new(settings: HubReadingsSettings) -> Self {
        Self {
            settings,
            kept: Mutex::default(),
            bell: Notify::new(),
        }
    }

    /// Sends what comes, for ever. Dropping the future loses what was not sent.
    ///
    /// What was not taken is sent again in half as large batches, and one alone that was not goes behind the others: so a
    /// reading that the hub never takes does not keep the rest.
    pub async fn run(self: Arc<Self>, hub: Arc<dyn HubLink>, entropy: Arc<dyn Entropy>) {
        let mut failures = 0;
        let mut most = self.settings.batch;
        loop {
            self.batch_is_due().await;
            let batch = self.take_batch(most);
            let call = guarded("the hub's link", CALL_LIMIT, hub.readings(&batch)).await;
            let Err(error) = call.unwrap_or_else(|fault| Err(HubError::Unreachable(fault))) else {
                failures = 0;
                most = self.settings.batch;
                continue;
            };
            self.put_back(&batch);
            most = (batch.len() / 2).max(1);
            failures += 1;
            tracing::debug!(%error, points = batch.len(), "readings were not taken");
            let pause = match error {
                HubError::Deleted(_) | HubError::Revoked(_) => self.settings.refused,
                HubError::Unknown(_) | HubError::Cut(_) | HubError::Unreachable(_) => {
                    Duration::from_millis(
                        self.settings.backoff.delay_ms(failures, entropy.jitter()),
                    )
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// How many points are to be sent.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().changed.len()
    }

    /// Waits until something has changed, and then until a whole batch has or the interval is over.
    async fn batch_is_due(&self) {
        while self.waiting() == 0 {
            self.bell.notified().await;
        }
        let deadline = Instant::now() + self.settings.interval;
        while self.waiting() < self.settings.batch {
            let more = self.bell.notified();
            if tokio::time::timeout_at(deadline, more).await.is_err() {
                return;
            }
        }
    }

    fn take_batch(&self, most: usize) -> Vec<PointRecord> {
        let mut kept = self.lock();
        let Kept { sensors, changed } = &mut *kept;
        let size = changed.len().min(most);
        let record = |(sensor, point)| {
            let points: &mut Points = sensors.get_mut(&sensor)?;
            let entry = &mut points.entries[*points.places.get(&point)?];
            entry.waits = false;
            Some(entry.record(sensor))
        };
        let batch = changed.drain(..size).filter_map(record).collect();
        if changed.is_empty() {
            // At first everything is new; seldom later.
            changed.shrink_to(self.settings.batch);
        }
        batch
    }

    /// What was not taken waits again, unless a newer reading of the point does already.
    fn put_back(&self, batch: &[PointRecord]) {
        let mut kept = self.lock();
        let Kept { sensors, changed } = &mut *kept;
        for record in batch.iter().rev() {
            let Some(points) = sensors.get_mut(&record.sensor) else {
                continue;
            };
            let Some(&place) = points.places.get(&record.point) else {
                continue;
            };
            let waits = std::mem::replace(&mut points.entries[place].waits, true);
            match (waits, batch.len()) {
                (true, _) => {}
                (false, 1) => changed.push_back((record.sensor, record.point)),
                (false, _) => changed.push_front((record.sensor, record.point)),
            }
        }
    }

    /// What a panic leaves behind is at worst a point too many or too few: best effort either way.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
