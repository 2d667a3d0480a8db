//! The hub's side: two processes of the real hub and the real reconciler over the testkit's store in memory, driven to
//! completion call by call. Nothing of it waits: held-back answers are the world's business.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use holdfast_domain::{DeviceId, Name, event::Event, row::Actor, state::DeviceState};
use holdfast_hub::{Hub, HubParts, HubSettings, registering::RegisterRequest};
use holdfast_ports::{
    clock::Clock,
    events::{EventFilter, EventStore as _},
    ledger::Identity,
    store::DeviceStore as _,
    tokens::SecretHash,
    wakeups::{Wake, Wakeups as _},
};
use holdfast_reconcile::{Reconciler, ReconcilerParts, ReconcilerSettings};
use holdfast_testkit::{
    memory::{Backup, MemoryStore},
    world::SeededEntropy,
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast;

/// Processes of the hub.
pub(crate) const PROCESSES: usize = 2;

/// The hub's wall clock, which can jump.
#[derive(Debug)]
pub(crate) struct WallClock(AtomicI64);

impl WallClock {
    fn set(&self, at: Timestamp) {
        self.0.store(at.as_microsecond(), Ordering::Relaxed);
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.0.load(Ordering::Relaxed)).expect("a time of this century")
    }
}

/// The beginning of all time.
pub(crate) fn start_of_time() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().expect("a time")
}

/// The hub, the reconciler and their store.
pub(crate) struct HubSide {
    store: MemoryStore,
    clock: Arc<WallClock>,
    /// How far its wall clock is off, in ms.
    pub(crate) off_ms: i64,
    entropy: Arc<SeededEntropy>,
    processes: [Hub; PROCESSES],
    reconciler: Reconciler,
    wakes: broadcast::Receiver<Wake>,
    backup: Option<Backup>,
    /// Only so that what must not wait would be found waiting at no clock but this paused one.
    runtime: tokio::runtime::Runtime,
}

impl HubSide {
    pub(crate) fn new(seed: u64) -> Self {
        let clock = Arc::new(WallClock(AtomicI64::new(0)));
        clock.set(start_of_time());
        let store = MemoryStore::with_clock(clock.clone());
        let entropy = Arc::new(SeededEntropy::new(seed ^ 0x4855_4221));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O");
        let processes = std::array::from_fn(|_| process(&store, &clock, &entropy));
        let reconciler = reconciler(&store, &clock);
        Self {
            wakes: store.subscribe(),
            store,
            clock,
            off_ms: 0,
            entropy,
            processes,
            reconciler,
            backup: None,
            runtime,
        }
    }

    /// It is `ms` since the beginning.
    pub(crate) fn set_time(&self, ms: u64) {
        let ms = i64::try_from(ms).expect("less than an age") + self.off_ms;
        self.clock
            .set(start_of_time() + SignedDuration::from_millis(ms));
    }

    fn wait<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// A call of one of the hub's processes, to its end.
    pub(crate) fn call<T, F: Future<Output = T>>(
        &self,
        process: usize,
        call: impl FnOnce(Hub) -> F,
    ) -> T {
        self.wait(call(self.processes[process].clone()))
    }

    /// A new device whose agent has registered.
    pub(crate) fn register(&self, name: &str) -> Identity {
        let request = RegisterRequest {
            token_hash: SecretHash::of(name),
            name: Some(Name::new(name).expect("a name")),
            labels: BTreeMap::new(),
            device: None,
        };
        let registered = self.call(0, |hub| async move {
            let by = Actor::named("anna");
            let (key, _) = hub
                .create_key(
                    &request.name.clone().expect("a name").to_string(),
                    None,
                    None,
                    None,
                    &by,
                )
                .await
                .expect("a key");
            hub.register(&key, &request, None)
                .await
                .expect("registered")
        });
        Identity {
            device: registered.device,
            incarnation: registered.incarnation,
            token: name.to_owned(),
            key: None,
        }
    }

    /// One pass of the reconciler.
    pub(crate) fn reconcile(&self) {
        let report = self.wait(self.reconciler.pass());
        assert_eq!(report.failed, 0, "the store never fails here");
    }

    /// What the hub's processes do every two seconds.
    pub(crate) fn beat(&self) {
        for process in 0..PROCESSES {
            self.call(process, |hub| async move { hub.beat().await });
        }
    }

    /// Was a wake-up sent since they were asked for last?
    pub(crate) fn has_woken(&self) -> bool {
        !self.wakes.is_empty()
    }

    /// The wake-ups that were sent since this was asked last.
    pub(crate) fn wakes(&mut self) -> Vec<Wake> {
        std::iter::from_fn(|| self.wakes.try_recv().ok()).collect()
    }

    pub(crate) fn wake(&self, process: usize, wake: Wake) {
        self.processes[process].wake(wake);
    }

    /// What the store says of a device.
    pub(crate) fn state(&self, device: DeviceId) -> DeviceState {
        let state = self.wait(self.store.load(device));
        state.expect("a store in memory").expect("never deleted")
    }

    /// All events of a device, in order.
    pub(crate) fn events(&self, device: DeviceId) -> Vec<Event> {
        let mut events = self.last_events(device, u32::MAX);
        events.reverse();
        events
    }

    /// The last events of a device, the newest first.
    pub(crate) fn last_events(&self, device: DeviceId, most: u32) -> Vec<Event> {
        let filter = EventFilter {
            device: Some(device),
            kinds: Vec::new(),
        };
        self.wait(self.store.latest(&filter, most))
            .expect("a store in memory")
    }

    /// A process of the hub is killed and started again.
    pub(crate) fn restart(&mut self, which: usize) {
        self.processes[which] = process(&self.store, &self.clock, &self.entropy);
    }

    pub(crate) fn back_up(&mut self) {
        self.backup = Some(self.store.backup());
    }

    /// The store goes back to the backup, if there is one; everything over it is started again.
    pub(crate) fn restore(&mut self) -> bool {
        let Some(backup) = &self.backup else {
            return false;
        };
        self.store.restore(backup);
        for which in 0..PROCESSES {
            self.restart(which);
        }
        self.reconciler = reconciler(&self.store, &self.clock);
        true
    }
}

fn process(store: &MemoryStore, clock: &Arc<WallClock>, entropy: &Arc<SeededEntropy>) -> Hub {
    let parts = HubParts {
        devices: Arc::new(store.clone()),
        tokens: Arc::new(store.clone()),
        events: Arc::new(store.clone()),
        fleet: Arc::new(store.clone()),
        wakeups: Arc::new(store.clone()),
        clock: clock.clone(),
        entropy: entropy.clone(),
    };
    Hub::new(parts, HubSettings::default())
}

fn reconciler(store: &MemoryStore, clock: &Arc<WallClock>) -> Reconciler {
    let parts = ReconcilerParts {
        devices: Arc::new(store.clone()),
        fleet: Arc::new(store.clone()),
        events: Arc::new(store.clone()),
        tokens: Arc::new(store.clone()),
        wakeups: Arc::new(store.clone()),
        clock: clock.clone(),
    };
    Reconciler::new(parts, ReconcilerSettings::default())
}

/// A call that must not wait.
pub(crate) const AT_ONCE: Duration = Duration::ZERO;
