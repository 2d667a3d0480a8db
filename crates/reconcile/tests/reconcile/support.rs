//! A fleet over the store in memory, whose time a test decides.

use std::{collections::BTreeMap, sync::Arc};

use futures::FutureExt as _;
use holdfast_domain::{
    DeviceId, SensorId,
    edit::Edit,
    event::{Event, EventKind},
    rebuild,
    state::{Change, DeviceState},
};
use holdfast_ports::{
    clock::Clock as _,
    events::{EventFilter, EventStore as _},
    fleet::{FleetStore as _, HUB_GAP},
    store::{DeviceStore as _, Seen},
};
use holdfast_reconcile::{Reconciler, ReconcilerParts, ReconcilerSettings};
use holdfast_testkit::{
    builders::modbus_document,
    memory::MemoryStore,
    world::{FakeAgent, ManualClock, World},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub(crate) const fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// Devices with their agents.
pub(crate) struct Fleet {
    pub(crate) store: MemoryStore,
    /// What the reconciler reads the time from.
    pub(crate) clock: Arc<ManualClock>,
    world: World,
    pub(crate) agents: BTreeMap<DeviceId, FakeAgent>,
}

impl Fleet {
    /// `devices` devices whose agents run the two sensors that are wanted.
    pub(crate) async fn new(devices: usize) -> Self {
        let start: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a time");
        let mut fleet = Self {
            store: MemoryStore::new(),
            clock: Arc::new(ManualClock::new(start)),
            world: World::starting(7, start),
            agents: BTreeMap::new(),
        };
        fleet.hub_beats();
        for index in 0..devices {
            let state = fleet.world.device(&format!("gateway-{index}"));
            let created = fleet.world.event(&state, EventKind::DeviceCreated);
            fleet
                .store
                .create(&state, &[created])
                .await
                .expect("a new device");
            let device = state.record.id;
            fleet.agents.insert(device, FakeAgent::of(&state));
            fleet.add(device, "a").await;
            fleet.add(device, "b").await;
            fleet.establish(device).await;
        }
        fleet
    }

    pub(crate) fn first(&self) -> DeviceId {
        *self.agents.keys().next().expect("a device")
    }

    pub(crate) fn parts(&self) -> ReconcilerParts {
        ReconcilerParts {
            devices: Arc::new(self.store.clone()),
            fleet: Arc::new(self.store.clone()),
            events: Arc::new(self.store.clone()),
            tokens: Arc::new(self.store.clone()),
            wakeups: Arc::new(self.store.clone()),
            clock: self.clock.clone(),
        }
    }

    pub(crate) fn reconciler(&self) -> Reconciler {
        Reconciler::new(self.parts(), ReconcilerSettings::default())
    }

    /// Time goes by, for the reconciler and for those who edit and report, while the hub is up.
    pub(crate) fn later(&self, by: SignedDuration) {
        let until = self.clock.now() + by;
        while self.clock.now() < until {
            self.hub_beats();
            let left = until.duration_since(self.clock.now());
            self.clock.advance(left.min(HUB_GAP));
        }
        self.hub_beats();
        self.later_without_hub(SignedDuration::ZERO);
    }

    fn hub_beats(&self) {
        let beat = self.store.beat(self.clock.now()).now_or_never();
        beat.expect("memory answers at once").expect("memory works");
    }

    /// The same while the hub is down.
    pub(crate) fn later_without_hub(&self, by: SignedDuration) {
        let now = self.clock.advance(by);
        let behind = now.duration_since(self.world.clock.now());
        if behind.is_positive() {
            self.world.clock.advance(behind);
        }
    }

    pub(crate) async fn state(&self, device: DeviceId) -> DeviceState {
        self.store
            .load(device)
            .await
            .expect("the store works")
            .expect("the device is there")
    }

    async fn commit(&self, change: Change) {
        self.store
            .commit(&change)
            .await
            .expect("nobody else writes");
        // The world counts a millisecond for each thing done: the reconciler's time is never behind it.
        let behind = self.world.clock.now().duration_since(self.clock.now());
        if behind.is_positive() {
            self.clock.advance(behind);
        }
    }

    pub(crate) async fn add(&self, device: DeviceId, name: &str) -> SensorId {
        let change = self.world.add(
            &self.state(device).await,
            modbus_document(name, "10.0.0.5", 502),
        );
        self.commit(change).await;
        let state = self.state(device).await;
        state.wanted_by_name(name).expect("it was added").id()
    }

    pub(crate) async fn patch(&self, device: DeviceId, sensor: SensorId, patch: Value) {
        let edition = self
            .world
            .edit(&self.state(device).await, Edit::Patch(sensor, patch));
        self.commit(
            edition
                .expect("a valid patch")
                .change
                .expect("it changes something"),
        )
        .await;
    }

    /// The agent makes all that is wanted run, and says so.
    pub(crate) async fn establish(&mut self, device: DeviceId) {
        self.establish_but(device, &[]).await;
    }

    /// The agent makes all that is wanted run but what fails, and says so.
    pub(crate) async fn establish_but(&mut self, device: DeviceId, failing: &[SensorId]) {
        let state = self.state(device).await;
        let agent = self.agents.get_mut(&device).expect("it has an agent");
        agent.establish_but(&state, failing, Timestamp::UNIX_EPOCH);
        let report = agent.full_report();
        if let Some(change) = self.world.report(&state, report) {
            self.commit(change).await;
        }
    }

    /// All devices are heard of now.
    pub(crate) async fn touch(&self) {
        let at = self.clock.now();
        let seen: Vec<Seen> = self
            .agents
            .keys()
            .map(|device| Seen {
                device: *device,
                at,
                order: None,
            })
            .collect();
        self.store.touch(&seen).await.expect("the store works");
    }

    pub(crate) async fn events(&self, device: Option<DeviceId>) -> Vec<Event> {
        let filter = EventFilter {
            device,
            kinds: Vec::new(),
        };
        let mut events = self.store.latest(&filter, 1_000_000).await.expect("events");
        events.reverse();
        events
    }

    pub(crate) async fn count(&self, kind: EventKind) -> usize {
        self.events(None)
            .await
            .iter()
            .filter(|event| event.kind == kind)
            .count()
    }

    /// The revisions of all devices: they move with each commit.
    pub(crate) async fn revisions(&self) -> Vec<u64> {
        let mut revisions = Vec::new();
        for device in self.agents.keys() {
            revisions.push(self.state(*device).await.revision);
        }
        revisions
    }

    /// The rows rebuilt from the log, and the live ones.
    pub(crate) async fn rebuilt_and_live(
        &self,
        device: DeviceId,
    ) -> [BTreeMap<SensorId, Value>; 2] {
        let events = self.events(Some(device)).await;
        let state = self.state(device).await;
        let live = state
            .rows
            .iter()
            .map(|(id, row)| (*id, rebuild::listed_columns(row)))
            .collect();
        [rebuild::rows(&events), live]
    }
}
