//! When passes come: each interval, at once after a wake-up, never two at a time, and none is cut short.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use holdfast_domain::event::EventKind;
use holdfast_ports::{
    StoreError,
    fleet::{Claimed, Figures, FleetStore},
};
use holdfast_reconcile::{Reconciler, ReconcilerParts, ReconcilerSettings};
use holdfast_testkit::memory::MemoryStore;
use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::support::{Fleet, seconds};

/// A fleet whose claims wait until a test lets them through.
struct Gated {
    inner: MemoryStore,
    gate: Semaphore,
    begun: AtomicU64,
    at_once: AtomicU64,
}

#[async_trait]
impl FleetStore for Gated {
    async fn claim(
        &self,
        now: Timestamp,
        lease: SignedDuration,
        limit: u32,
    ) -> Result<Vec<Claimed>, StoreError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        assert_eq!(
            self.at_once.fetch_add(1, Ordering::SeqCst),
            0,
            "never two passes at a time"
        );
        self.gate
            .acquire()
            .await
            .expect("it is never closed")
            .forget();
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        self.inner.claim(now, lease, limit).await
    }

    async fn schedule(&self, next: &[(Claimed, Timestamp)]) -> Result<(), StoreError> {
        self.inner.schedule(next).await
    }

    async fn beat(&self, now: Timestamp) -> Result<(), StoreError> {
        self.inner.beat(now).await
    }

    async fn hub_up_since(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.inner.hub_up_since(now).await
    }

    async fn figures(&self, overdue_before: Timestamp) -> Result<Figures, StoreError> {
        self.inner.figures(overdue_before).await
    }
}

fn gated(fleet: &Fleet) -> (Arc<Gated>, ReconcilerParts) {
    let gated = Arc::new(Gated {
        inner: fleet.store.clone(),
        gate: Semaphore::new(0),
        begun: AtomicU64::new(0),
        at_once: AtomicU64::new(0),
    });
    let parts = ReconcilerParts {
        fleet: gated.clone(),
        ..fleet.parts()
    };
    (gated, parts)
}

struct Running {
    reconciler: Reconciler,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(reconciler: Reconciler) -> Self {
        let cancel = CancellationToken::new();
        let work = (reconciler.clone(), cancel.clone());
        let task = tokio::spawn(async move { work.0.run(work.1).await });
        Self {
            reconciler,
            cancel,
            task,
        }
    }

    async fn passes(&self, count: u64) {
        let mut progress = self.reconciler.progress();
        progress
            .wait_for(|progress| progress.passes >= count)
            .await
            .expect("it runs");
    }

    async fn end(self) {
        self.cancel.cancel();
        self.task.await.expect("it ends without a panic");
    }
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_passes_over_a_quiet_fleet_come_each_interval() {
    let fleet = Fleet::new(3).await;
    let begun = Instant::now();
    let running = Running::start(fleet.reconciler());
    running.passes(2).await;
    let (revisions, events) = (fleet.revisions().await, fleet.events(None).await.len());
    running.passes(1_001).await;
    let took = begun.elapsed();
    assert!(
        (Duration::from_secs(999)..Duration::from_secs(1_003)).contains(&took),
        "{took:?}"
    );
    let progress = *running.reconciler.progress().borrow();
    assert_eq!(progress.overruns, 0);
    assert_eq!(
        (fleet.revisions().await, fleet.events(None).await.len()),
        (revisions, events)
    );
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_wakes_it_long_before_the_interval() {
    let fleet = Fleet::new(1).await;
    let interval = Duration::from_secs(3_600);
    let settings = ReconcilerSettings {
        interval,
        ..ReconcilerSettings::default()
    };
    let running = Running::start(Reconciler::new(fleet.parts(), settings));
    running.passes(1).await;
    let begun = Instant::now();
    fleet.add(fleet.first(), "c").await;
    running.passes(2).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_outlasts_the_interval_runs_to_its_end_and_is_counted() {
    let fleet = Fleet::new(2).await;
    let (gated, parts) = gated(&fleet);
    fleet.later_without_hub(seconds(3_600));
    let running = Running::start(Reconciler::new(parts, ReconcilerSettings::default()));
    settle().await;
    assert_eq!(gated.begun.load(Ordering::SeqCst), 1);
    // Ten intervals go by, and many changes come.
    for index in 0..10 {
        tokio::time::advance(Duration::from_secs(1)).await;
        fleet.add(fleet.first(), &format!("more-{index}")).await;
        settle().await;
    }
    assert_eq!(
        gated.begun.load(Ordering::SeqCst),
        1,
        "the pass under way is left alone"
    );
    gated.gate.add_permits(1);
    running.passes(1).await;
    let progress = *running.reconciler.progress().borrow();
    assert_eq!(
        (progress.overruns, progress.last.looked_at),
        (1, 2),
        "no work was lost"
    );

    settle().await;
    assert_eq!(
        gated.begun.load(Ordering::SeqCst),
        2,
        "what woke it meanwhile leads to one more pass"
    );
    gated.gate.add_permits(1);
    running.passes(2).await;
    settle().await;
    assert_eq!(gated.begun.load(Ordering::SeqCst), 2, "and to one only");
    running.cancel.cancel();
    gated.gate.add_permits(100);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_the_pass_under_way_has_ended() {
    let fleet = Fleet::new(2).await;
    let (gated, parts) = gated(&fleet);
    fleet.later(seconds(3_600));
    let up_long_ago = Reconciler::new(parts, ReconcilerSettings::default());
    let running = Running::start(up_long_ago);
    settle().await;
    fleet.later(seconds(120));
    running.cancel.cancel();
    settle().await;
    assert!(!running.task.is_finished(), "a pass is under way");
    gated.gate.add_permits(1);
    running.end().await;
    assert_eq!(
        fleet.count(EventKind::DeviceOffline).await,
        2,
        "it ran to its end"
    );
}
