//! A hub over a store that counts, and agents that report to it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use holdfast_domain::{
    DeviceId, Item, Name, PointId, Report,
    edit::Edit,
    event::{Event, EventKind},
    row::Actor,
    state::{Change, DeviceState},
};
use holdfast_hub::{
    Hub, HubError, HubParts, HubSettings,
    agents::ReportOutcome,
    edits::{EditRequest, Edited},
    registering::RegisterRequest,
};
use holdfast_ports::{
    StoreError,
    clock::Clock as _,
    events::{EventFilter, EventStore as _},
    page::{Listed, Page},
    store::{
        CommitError, DeviceFilter, DeviceStore, DeviceSummary, Glance, HistoryEntry, PointRecord,
        Registration, Seen, SensorFilter, SensorRecord,
    },
    tokens::{SecretHash, new_secret},
};
use holdfast_testkit::{
    builders::modbus_document,
    memory::MemoryStore,
    world::{FakeAgent, ManualClock, SeededEntropy},
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The store in memory, with what was asked of it counted, and a gate behind its loads.
pub(crate) struct Counted {
    pub(crate) inner: MemoryStore,
    pub(crate) loads: AtomicU64,
    pub(crate) commits: AtomicU64,
    /// How many devices each batch of "last seen" had.
    pub(crate) touches: Mutex<Vec<usize>>,
    pub(crate) touches_fail: AtomicBool,
    /// Can it tell at a glance which state is the newest?
    pub(crate) glances: AtomicBool,
    gate: Mutex<Option<Arc<Gate>>>,
}

/// Holds a load back after it has read.
#[derive(Default)]
pub(crate) struct Gate {
    pub(crate) reached: Notify,
    pub(crate) open: Notify,
}

impl Counted {
    fn new(inner: MemoryStore) -> Self {
        Self {
            inner,
            loads: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            touches: Mutex::default(),
            touches_fail: AtomicBool::new(false),
            glances: AtomicBool::new(false),
            gate: Mutex::default(),
        }
    }

    /// The next load reads, and then waits at this gate.
    pub(crate) fn hold_next_load(&self) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        *self.gate.lock().expect("no panics") = Some(gate.clone());
        gate
    }

    /// Loads and commits so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (
            self.loads.load(Ordering::SeqCst),
            self.commits.load(Ordering::SeqCst),
        )
    }
}

#[async_trait]
impl DeviceStore for Counted {
    async fn create(&self, state: &DeviceState, events: &[Event]) -> Result<(), CommitError> {
        self.inner.create(state, events).await
    }

    async fn load(&self, device: DeviceId) -> Result<Option<DeviceState>, StoreError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let loaded = self.inner.load(device).await;
        let gate = self.gate.lock().expect("no panics").take();
        if let Some(gate) = gate {
            gate.reached.notify_one();
            gate.open.notified().await;
        }
        loaded
    }

    async fn glance(&self, device: DeviceId) -> Result<Option<Glance>, StoreError> {
        if self.glances.load(Ordering::SeqCst) {
            self.inner.glance(device).await
        } else {
            Ok(None)
        }
    }

    async fn commit(&self, change: &Change) -> Result<(), CommitError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        let committed = self.inner.commit(change).await;
        // Who is woken by it may be quicker than who made it.
        settle().await;
        committed
    }

    async fn register(&self, registration: &Registration) -> Result<(), CommitError> {
        self.inner.register(registration).await
    }

    async fn revoke(&self, change: &Change, at: Timestamp) -> Result<(), CommitError> {
        self.inner.revoke(change, at).await
    }

    async fn delete(
        &self,
        device: DeviceId,
        base_revision: u64,
        events: &[Event],
    ) -> Result<(), CommitError> {
        self.inner.delete(device, base_revision, events).await
    }

    async fn find(&self, name: &Name) -> Result<Option<DeviceId>, StoreError> {
        self.inner.find(name).await
    }

    async fn touch(&self, seen: &[Seen]) -> Result<Vec<DeviceId>, StoreError> {
        if self.touches_fail.load(Ordering::SeqCst) {
            return Err(StoreError::new("touching devices", "the store is away"));
        }
        self.touches.lock().expect("no panics").push(seen.len());
        self.inner.touch(seen).await
    }

    async fn devices(
        &self,
        filter: &DeviceFilter,
        page: &Page,
    ) -> Result<Listed<DeviceSummary>, StoreError> {
        self.inner.devices(filter, page).await
    }

    async fn sensors(
        &self,
        filter: &SensorFilter,
        page: &Page,
    ) -> Result<Listed<SensorRecord>, StoreError> {
        self.inner.sensors(filter, page).await
    }

    async fn history(
        &self,
        device: DeviceId,
        page: &Page,
    ) -> Result<Listed<HistoryEntry>, StoreError> {
        self.inner.history(device, page).await
    }

    async fn version(
        &self,
        device: DeviceId,
        version: u64,
    ) -> Result<Option<Vec<Item>>, StoreError> {
        self.inner.version(device, version).await
    }

    async fn save_points(
        &self,
        device: DeviceId,
        points: &[PointRecord],
    ) -> Result<(), StoreError> {
        self.inner.save_points(device, points).await
    }

    async fn forget_points(&self, device: DeviceId, points: &[PointId]) -> Result<(), StoreError> {
        self.inner.forget_points(device, points).await
    }

    async fn prune_history(&self, device: DeviceId, keep: u32) -> Result<u64, StoreError> {
        self.inner.prune_history(device, keep).await
    }

    async fn points(
        &self,
        device: DeviceId,
        page: &Page,
    ) -> Result<Listed<PointRecord>, StoreError> {
        self.inner.points(device, page).await
    }
}

/// One process of the hub: the hub, its background work, and what it asked of the store.
pub(crate) struct Process {
    pub(crate) hub: Hub,
    pub(crate) store: Arc<Counted>,
    pub(crate) cancel: CancellationToken,
    pub(crate) running: tokio::task::JoinHandle<()>,
}

/// A store and a clock, over which any number of processes of the hub run.
pub(crate) struct Fleet {
    pub(crate) store: MemoryStore,
    pub(crate) clock: Arc<ManualClock>,
    entropy: Arc<SeededEntropy>,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let start = "2026-11-22T12:00:00Z".parse().expect("a time");
        Self {
            store: MemoryStore::new(),
            clock: Arc::new(ManualClock::new(start)),
            entropy: Arc::new(SeededEntropy::new(7)),
        }
    }

    /// Starts a process of the hub.
    pub(crate) async fn process(&self) -> Process {
        let store = Arc::new(Counted::new(self.store.clone()));
        let parts = HubParts {
            devices: store.clone(),
            tokens: Arc::new(self.store.clone()),
            events: Arc::new(self.store.clone()),
            fleet: Arc::new(self.store.clone()),
            wakeups: Arc::new(self.store.clone()),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
        };
        let hub = Hub::new(parts, HubSettings::default());
        let cancel = CancellationToken::new();
        let work = (hub.clone(), cancel.clone());
        let running = tokio::spawn(async move { work.0.run(work.1).await });
        settle().await;
        Process {
            hub,
            store,
            cancel,
            running,
        }
    }

    /// Kinds of all events of a device, in order.
    pub(crate) async fn kinds(&self, device: DeviceId) -> Vec<EventKind> {
        let filter = EventFilter {
            device: Some(device),
            kinds: Vec::new(),
        };
        let events = self.store.latest(&filter, 100_000).await.expect("events");
        events.iter().rev().map(|event| event.kind).collect()
    }

    pub(crate) async fn stored(&self, device: DeviceId) -> DeviceState {
        self.store
            .load(device)
            .await
            .expect("the store works")
            .expect("the device is there")
    }

    pub(crate) fn later(&self, seconds: i64) {
        self.clock.advance(jiff::SignedDuration::from_secs(seconds));
    }

    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }
}

/// Lets every task that can go on do so. Tests run on one thread, so that each of these lets all others run once.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn anna() -> Actor {
    Actor::named("anna")
}

/// An agent that has registered, with the secret of its token.
pub(crate) struct Agent {
    pub(crate) device: DeviceId,
    pub(crate) secret: String,
    pub(crate) says: FakeAgent,
}

impl Process {
    /// Ends the background work as a process does that is told to end.
    pub(crate) async fn end(self) {
        self.cancel.cancel();
        self.running.await.expect("it ends without a panic");
    }

    pub(crate) async fn edit(&self, device: DeviceId, what: Edit) -> Result<Edited, HubError> {
        self.hub.edit(device, &what, request(&anna())).await
    }

    pub(crate) async fn add(&self, device: DeviceId, name: &str) -> Edited {
        let document = modbus_document(name, "10.0.0.5", 502);
        self.edit(device, Edit::Add(document))
            .await
            .expect("a valid sensor")
    }

    /// A new device whose agent has registered.
    pub(crate) async fn register(&self, name: &str) -> Agent {
        let (key, _) = self
            .hub
            .create_key(name, None, None, None, &anna())
            .await
            .expect("a key");
        let secret = secret_of(name);
        let request = RegisterRequest {
            token_hash: SecretHash::of(&secret),
            name: Some(Name::new(name).expect("a name")),
            labels: BTreeMap::new(),
            device: None,
        };
        let registered = self
            .hub
            .register(&key, &request, None)
            .await
            .expect("it may register");
        let state = self
            .hub
            .state(registered.device)
            .await
            .expect("it is there");
        Agent {
            device: registered.device,
            secret,
            says: FakeAgent::of(&state),
        }
    }

    pub(crate) async fn report(
        &self,
        device: DeviceId,
        report: &Report,
    ) -> Result<ReportOutcome, HubError> {
        let body = report.to_json(device).to_string();
        self.hub.report(device, body.as_bytes(), None).await
    }

    /// A device with these sensors, whose agent has told that they run.
    pub(crate) async fn established(&self, name: &str, sensors: &[&str]) -> Agent {
        let mut agent = self.register(name).await;
        for sensor in sensors {
            self.add(agent.device, sensor).await;
        }
        self.work(&mut agent).await;
        let report = agent.says.full_report();
        let outcome = self
            .report(agent.device, &report)
            .await
            .expect("a valid report");
        assert_eq!(outcome, ReportOutcome::Taken);
        agent
    }

    /// The agent fetches its target and makes all of it run.
    pub(crate) async fn work(&self, agent: &mut Agent) {
        let state = self
            .hub
            .parts()
            .devices
            .load(agent.device)
            .await
            .expect("the store works");
        agent.says.establish(&state.expect("the device is there"));
    }
}

pub(crate) fn secret_of(name: &str) -> String {
    new_secret(
        "hfa",
        *SecretHash::of(name)
            .0
            .first_chunk::<32>()
            .expect("32 bytes"),
    )
}

pub(crate) const fn request(actor: &Actor) -> EditRequest<'_> {
    EditRequest {
        actor,
        reason: None,
        if_version: None,
        correlation: None,
    }
}

/// A wait that no test reaches: time stands still while anything can go on.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// The target in a poll's answer.
pub(crate) fn version_of(body: &[u8]) -> Value {
    let document: Value = serde_json::from_slice(body).expect("JSON");
    let body = document
        .as_object()
        .and_then(|all| all.values().next())
        .expect("one device");
    body["version"].clone()
}
