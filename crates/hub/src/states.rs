//! The states of devices: a cache, and the one way to change a device.
//!
//! A cached state may be used because whoever changes what a device should do wakes every process, and because an agent
//! numbers its reports without gaps ([`crate::agents`] loads anew when a number is missing). A change is in any case
//! committed only onto the revision that it was decided on.

use std::{
    cmp,
    collections::HashMap,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use holdfast_domain::{
    DeviceId, Fingerprint, PointId, ReportOrder, SensorId,
    document::report::running_fingerprint,
    state::{Change, DeviceState},
};
use holdfast_ports::{
    store::{CommitError, DeviceStore, Glance},
    wakeups::Wakeups,
};
use jiff::Timestamp;
use moka::sync::Cache;
use tokio::{
    sync::{Mutex, Notify},
    time::Instant,
};

use crate::{HubError, readings, same_again::SameAgain};

/// A device's state as this process last knew it, with what is made of it again and again.
pub(crate) struct Known {
    /// What was counted of what makes a state old, when this one was the newest.
    generation: u64,
    pub(crate) state: Arc<DeviceState>,
    /// Entity tag of the target.
    pub(crate) etag: String,
    /// The target document, made when first asked for; not where what it says depends on the time.
    document: OnceLock<Bytes>,
    /// The sensor of each point, made when first asked for.
    points: OnceLock<Arc<HashMap<PointId, SensorId>>>,
    /// The last report that said nothing new.
    pub(crate) seen: Arc<std::sync::Mutex<Seen>>,
}

/// What is remembered of the reports that said nothing new since the state was stored.
#[derive(Default, Clone)]
pub(crate) struct Seen {
    pub(crate) order: Option<ReportOrder>,
    /// Its bytes, and the revision of the state that they say nothing new to.
    pub(crate) same: Option<(u64, SameAgain)>,
    /// When the last report of all came to this process.
    pub(crate) last_at: Option<Instant>,
}

impl Known {
    fn new(state: DeviceState, slot: &Slot, generation: u64) -> Self {
        Self {
            generation,
            etag: state.target.etag(),
            state: Arc::new(state),
            document: OnceLock::new(),
            points: OnceLock::new(),
            seen: slot.seen.clone(),
        }
    }

    /// The same state, which may be old: never used before it is [renewed](Self::renewed).
    fn in_doubt(&self) -> Self {
        /// No slot counts that far.
        const NEVER: u64 = u64::MAX;
        Self {
            generation: NEVER,
            state: self.state.clone(),
            etag: self.etag.clone(),
            document: self.document.clone(),
            points: self.points.clone(),
            seen: self.seen.clone(),
        }
    }

    /// The same state, found to be the newest still; what was made of it is kept.
    fn renewed(&self, glance: &Glance, generation: u64) -> Self {
        let state = if glance.is_of(&self.state) {
            self.state.clone()
        } else {
            let mut state = DeviceState::clone(&self.state);
            state.presence.last_seen_at = glance.last_seen_at;
            state.seen = glance.seen;
            Arc::new(state)
        };
        Self {
            generation,
            state,
            ..self.in_doubt()
        }
    }

    /// The target document as its agent gets it at `now`: the same at any time, unless something of it ends by itself.
    pub(crate) fn document(&self, now: Timestamp) -> Bytes {
        let state = &self.state;
        let make = || {
            let target = state.target_state(now);
            let text = serde_json::to_vec(&target.document(state.record.id));
            Bytes::from(text.expect("documents have text keys and finite numbers"))
        };
        if state.has_ends() {
            return make();
        }
        self.document.get_or_init(make).clone()
    }

    /// The target document at `now` without the configuration, for an agent that holds that; `None` if it holds another.
    pub(crate) fn changes(&self, held: Option<Fingerprint>, now: Timestamp) -> Option<Bytes> {
        let wanted = &self.state.target.items;
        if held? != running_fingerprint(wanted) {
            return None;
        }
        let target = self.state.target_state(now);
        let text = serde_json::to_vec(&target.changes(self.state.record.id));
        Some(
            text.expect("documents have text keys and finite numbers")
                .into(),
        )
    }

    /// What is remembered of the last reports.
    pub(crate) fn last_seen(&self) -> Seen {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A report came: gives how long after the one before, if that came to this process too.
    pub(crate) fn since_last_report(&self, now: Instant) -> Option<Duration> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let last = seen.last_at.replace(now)?;
        Some(now.saturating_duration_since(last))
    }

    /// The order of the last report that said nothing new, here or, as far as it is written down, at another process.
    pub(crate) fn seen_order(&self) -> Option<ReportOrder> {
        later(self.last_seen().order, self.state.seen)
    }

    /// The order of the last report, told anything new or not.
    pub(crate) fn last_order(&self) -> Option<ReportOrder> {
        let stored = self.state.reported.as_ref().map(|reported| reported.order);
        stored.map(|stored| later(Some(stored), self.seen_order()).unwrap_or(stored))
    }

    /// The sensor that each point belongs to which is wanted, or runs.
    pub(crate) fn points(&self) -> &HashMap<PointId, SensorId> {
        self.points.get_or_init(|| {
            let wanted = self.state.target.items.iter();
            let running = self
                .state
                .reported
                .iter()
                .flat_map(|reported| &reported.running);
            wanted
                .chain(running)
                .flat_map(|item| {
                    let points = item.sensor.content().binding.point_names();
                    points
                        .into_iter()
                        .map(|(point, _)| (point, item.sensor.id()))
                })
                .collect::<HashMap<_, _>>()
                .into()
        })
    }
}

/// The later of two orders of the same life; else the first, if there is one.
fn later(one: Option<ReportOrder>, other: Option<ReportOrder>) -> Option<ReportOrder> {
    match (one, other) {
        (Some(one), Some(other)) if other.compare(&one) == Some(cmp::Ordering::Greater) => {
            Some(other)
        }
        (one, other) => one.or(other),
    }
}

/// What stays of a device in memory while its state comes and goes.
#[derive(Default)]
pub(crate) struct Slot {
    /// One change at a time within this process.
    writing: Mutex<()>,
    /// Counts everything that makes a loaded state old.
    generation: AtomicU64,
    /// The last report that said nothing new; outlives the state that it said nothing new to.
    seen: Arc<std::sync::Mutex<Seen>>,
    /// What the device should do was changed.
    pub(crate) desired: Notify,
    /// The device reported something new to this process.
    pub(crate) reported: Notify,
}

/// All states.
pub(crate) struct States {
    devices: Arc<dyn DeviceStore>,
    wakeups: Arc<dyn Wakeups>,
    /// Counts how often all was forgotten.
    epoch: AtomicU64,
    slots: RwLock<HashMap<DeviceId, Arc<Slot>>>,
    known: Cache<DeviceId, Arc<Known>>,
}

/// What a decision comes to.
pub(crate) struct Decided<T> {
    /// What to commit; `None`: nothing.
    pub(crate) change: Option<Change>,
    /// What to tell the caller once it is committed.
    pub(crate) answer: T,
}

impl States {
    /// How often a change is decided anew because another process was faster: each time, somebody made progress.
    const ATTEMPTS: u32 = 50;

    pub(crate) fn new(
        devices: Arc<dyn DeviceStore>,
        wakeups: Arc<dyn Wakeups>,
        cached_sensors: u64,
    ) -> Self {
        let weight = |_: &DeviceId, known: &Arc<Known>| {
            let state = &known.state;
            let wishes = state.target.values.wishes.len();
            u32::try_from(state.target.items.len() + state.rows.len() + wishes)
                .unwrap_or(u32::MAX)
                .max(1)
        };
        let known = Cache::builder()
            .max_capacity(cached_sensors.saturating_mul(2))
            .weigher(weight)
            .build();
        Self {
            devices,
            wakeups,
            epoch: AtomicU64::new(0),
            slots: RwLock::default(),
            known,
        }
    }

    /// The slot of a device that exists.
    pub(crate) fn slot(&self, device: DeviceId) -> Arc<Slot> {
        if let Some(slot) = self
            .slots
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&device)
        {
            return slot.clone();
        }
        self.slots
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(device)
            .or_default()
            .clone()
    }

    /// What is known of a device may be old: the next one who asks looks whether it is, and who waits looks again.
    pub(crate) fn forget(&self, device: DeviceId) {
        let slot = self
            .slots
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&device)
            .cloned();
        if let Some(slot) = slot {
            slot.generation.fetch_add(1, Ordering::SeqCst);
            slot.desired.notify_waiters();
        }
    }

    /// Everything may be old, and nothing may be what it seems: the store may be another one now.
    pub(crate) fn forget_all(&self) {
        let devices: Vec<DeviceId> = self
            .slots
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .copied()
            .collect();
        self.epoch.fetch_add(1, Ordering::SeqCst);
        for device in devices {
            self.forget(device);
        }
        self.known.invalidate_all();
    }

    /// The device is gone.
    pub(crate) fn remove(&self, device: DeviceId) {
        self.forget(device);
        self.known.invalidate(&device);
        self.slots
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&device);
    }

    /// The state of a device, from memory where that may be used.
    pub(crate) async fn get(&self, device: DeviceId) -> Result<Arc<Known>, HubError> {
        match self.in_memory(device) {
            Some(known) => Ok(known),
            None => self.load(device).await,
        }
    }

    /// The state in memory, if that may be used.
    fn in_memory(&self, device: DeviceId) -> Option<Arc<Known>> {
        let generation = self.slot(device).generation.load(Ordering::SeqCst);
        let is_good = |known: &Arc<Known>| known.generation == generation;
        let known = self.known.get(&device).filter(is_good);
        known.filter(|_| self.wakeups.is_connected())
    }

    /// The state of a device as it is in the store; the one in memory, if the store has no other.
    pub(crate) async fn load(&self, device: DeviceId) -> Result<Arc<Known>, HubError> {
        let slot = self.slot(device);
        let epoch = self.epoch.load(Ordering::SeqCst);
        let generation = slot.generation.load(Ordering::SeqCst);
        if let Some(known) = self.renewed(device, generation).await? {
            let known = Arc::new(known);
            self.remember(device, &slot, known.clone(), epoch);
            return Ok(known);
        }
        // What the store has may have been committed here a moment ago, or be on its way: then it need not be loaded.
        let _one_at_a_time = slot.writing.lock().await;
        self.load_in_turn(device).await
    }

    /// The same, for who holds the lock of the slot.
    async fn load_in_turn(&self, device: DeviceId) -> Result<Arc<Known>, HubError> {
        let slot = self.slot(device);
        let epoch = self.epoch.load(Ordering::SeqCst);
        let generation = slot.generation.load(Ordering::SeqCst);
        let known = match self.renewed(device, generation).await? {
            Some(known) => known,
            None => {
                let Some(state) = self.devices.load(device).await? else {
                    self.remove(device);
                    return Err(HubError::DeviceGone(device));
                };
                Known::new(state, &slot, generation)
            }
        };
        let known = Arc::new(known);
        self.remember(device, &slot, known.clone(), epoch);
        Ok(known)
    }

    /// What is in memory, if that is the newest. A large device's documents are a megabyte, which takes a tenth of a second
    /// to load; to look whether they are others now takes a thousandth of that.
    async fn renewed(&self, device: DeviceId, generation: u64) -> Result<Option<Known>, HubError> {
        let Some(known) = self.known.get(&device) else {
            return Ok(None);
        };
        let glance = self.devices.glance(device).await?;
        let glance = glance.filter(|glance| glance.renews(&known.state));
        Ok(glance.map(|glance| known.renewed(&glance, generation)))
    }

    /// Keeps a state. If something may have made it old since, it is looked at whether it is before it is used: one's own
    /// commit wakes this process too, mostly before its state is kept.
    fn remember(&self, device: DeviceId, slot: &Slot, known: Arc<Known>, epoch: u64) {
        let generation = known.generation;
        let is_old = || slot.generation.load(Ordering::SeqCst) != generation;
        let is_of_another_store = || self.epoch.load(Ordering::SeqCst) != epoch;
        let revision = known.state.revision;
        let has_newer = |kept: Arc<Known>| kept.state.revision > revision;
        if is_of_another_store() {
            return;
        }
        if !self.known.get(&device).is_some_and(has_newer) {
            let kept = if is_old() {
                Arc::new(known.in_doubt())
            } else {
                known
            };
            self.known.insert(device, kept);
        }
        if is_of_another_store() {
            self.known.invalidate(&device);
        }
        if is_old() {
            // Who was woken in between may have found this one, and waits again.
            slot.desired.notify_waiters();
        }
    }

    /// Changes a device: `decide` says what, on the newest state, again if another process was faster. What it refuses, or
    /// finds to be so already, is true of the store and not only of this process's memory.
    pub(crate) async fn change<T>(
        &self,
        device: DeviceId,
        decide: impl FnMut(&Known) -> Result<Decided<T>, HubError>,
    ) -> Result<T, HubError> {
        let slot = self.slot(device);
        let _one_at_a_time = slot.writing.lock().await;
        let known = self.load_in_turn(device).await?;
        self.change_from(device, &slot, known, decide).await
    }

    /// The same, beginning with the state in memory: for who knows that nothing was missed.
    pub(crate) async fn change_from_memory<T>(
        &self,
        device: DeviceId,
        decide: impl FnMut(&Known) -> Result<Decided<T>, HubError>,
    ) -> Result<T, HubError> {
        let slot = self.slot(device);
        let _one_at_a_time = slot.writing.lock().await;
        let known = match self.in_memory(device) {
            Some(known) => known,
            None => self.load_in_turn(device).await?,
        };
        self.change_from(device, &slot, known, decide).await
    }

    async fn change_from<T>(
        &self,
        device: DeviceId,
        slot: &Slot,
        mut known: Arc<Known>,
        mut decide: impl FnMut(&Known) -> Result<Decided<T>, HubError>,
    ) -> Result<T, HubError> {
        for attempt in 0..Self::ATTEMPTS {
            let Decided { change, answer } = decide(&known)?;
            let Some(change) = change else {
                return Ok(answer);
            };
            let wakes = change.changes_desired();
            let reports = change.reported.is_some();
            match self.commit(device, &known, change).await {
                Ok(()) => {
                    if wakes {
                        slot.desired.notify_waiters();
                    }
                    if reports {
                        slot.reported.notify_waiters();
                    }
                    return Ok(answer);
                }
                Err(CommitError::Conflict) => {
                    tokio::time::sleep(Duration::from_millis(u64::from(attempt.min(20)))).await;
                    known = self.load_in_turn(device).await?;
                }
                Err(other) => return Err(other.into()),
            }
        }
        Err(HubError::Busy)
    }

    /// Commits and remembers what came of it. If the caller goes away in the middle, nothing is remembered.
    async fn commit(
        &self,
        device: DeviceId,
        known: &Known,
        change: Change,
    ) -> Result<(), CommitError> {
        let slot = self.slot(device);
        let epoch = self.epoch.load(Ordering::SeqCst);
        let generation = slot.generation.load(Ordering::SeqCst);
        let mut unsure = ForgetUnlessSure {
            states: self,
            device,
            sure: false,
        };
        self.devices.commit(&change).await?;
        let touched = readings::touched(&change);
        let after = known.state.after(change);
        let vanished = readings::vanished(&touched, &known.state, &after);
        self.remember(
            device,
            &slot,
            Arc::new(Known::new(after, &slot, generation)),
            epoch,
        );
        unsure.sure = true;
        if !vanished.is_empty()
            && let Err(error) = self.devices.forget_points(device, &vanished).await
        {
            tracing::warn!(%device, error = &error as &dyn std::error::Error,
                "last values of points that are gone could not be removed");
        }
        Ok(())
    }
}

struct ForgetUnlessSure<'a> {
    states: &'a States,
    device: DeviceId,
    sure: bool,
}

impl Drop for ForgetUnlessSure<'_> {
    fn drop(&mut self) {
        if !self.sure {
            self.states.forget(self.device);
        }
    }
}
