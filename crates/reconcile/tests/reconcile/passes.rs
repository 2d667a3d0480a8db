//! What one pass does: nothing where nothing is due, and each thing once, however many reconcilers share the fleet.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast_domain::{event::EventKind, row::DeploymentStatus};
use holdfast_ports::{
    StoreError,
    clock::Clock as _,
    fleet::{Claimed, Figures, FleetStore},
    page::Page,
    store::{DeviceStore as _, SensorFilter},
};
use holdfast_reconcile::{Reconciler, ReconcilerParts, ReconcilerSettings, pass::PassReport};
use holdfast_testkit::memory::MemoryStore;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::support::{Fleet, seconds};

#[tokio::test]
async fn a_thousand_passes_over_a_quiet_fleet_write_nothing() {
    let fleet = Fleet::new(20).await;
    let reconciler = fleet.reconciler();
    reconciler.pass().await;
    let (revisions, events) = (fleet.revisions().await, fleet.events(None).await.len());
    let mut looked_at = 0;
    for pass in 0..1_000 {
        fleet.later(seconds(1));
        if pass % 30 == 0 {
            fleet.touch().await;
        }
        let PassReport {
            looked_at: looked,
            changed,
            failed,
            cut_short,
        } = reconciler.pass().await;
        assert_eq!((changed, failed, cut_short), (0, 0, false));
        looked_at += looked;
    }
    assert_eq!(
        (fleet.revisions().await, fleet.events(None).await.len()),
        (revisions, events)
    );
    assert!(
        looked_at >= 20 * 10,
        "they were looked at when they might have been silent: {looked_at}"
    );
    assert!(
        looked_at <= 20 * 1_000 / 60,
        "and not at every pass: {looked_at}"
    );
}

#[tokio::test]
async fn a_silent_agent_is_told_of_once_and_its_rows_are_stale() {
    let mut fleet = Fleet::new(2).await;
    let reconciler = fleet.reconciler();
    let silent = fleet.first();
    reconciler.pass().await;
    for _ in 0..300 {
        fleet.later(seconds(1));
        let now = fleet.clock.now();
        for device in fleet.agents.keys().filter(|device| **device != silent) {
            let seen = holdfast_ports::store::Seen {
                device: *device,
                at: now,
                order: None,
            };
            fleet.store.touch(&[seen]).await.expect("the store works");
        }
        reconciler.pass().await;
    }
    assert_eq!(fleet.count(EventKind::DeviceOffline).await, 1);
    assert_eq!(fleet.count(EventKind::TroubleBegan).await, 1);
    let events = fleet.events(Some(silent)).await;
    let told: Vec<_> = events[events.len() - 2..]
        .iter()
        .map(|event| (event.kind, event.actor.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (EventKind::DeviceOffline, "reconciler"),
            (EventKind::TroubleBegan, "reconciler")
        ]
    );
    let rows = fleet
        .store
        .sensors(&SensorFilter::default(), &Page::first(100))
        .await
        .expect("rows");
    for record in rows.items {
        assert_eq!(record.stale, record.device == silent);
        assert_eq!(
            record.row.status,
            DeploymentStatus::Deployed,
            "silence says nothing of what was established"
        );
    }
    assert_eq!(
        fleet
            .store
            .figures(fleet.clock.now())
            .await
            .expect("figures")
            .silent,
        1
    );

    fleet.establish(silent).await;
    assert_eq!(fleet.count(EventKind::DeviceOnline).await, 1);
    reconciler.pass().await;
    assert_eq!(
        fleet
            .store
            .figures(fleet.clock.now())
            .await
            .expect("figures")
            .silent,
        0
    );
}

#[tokio::test]
async fn nobody_is_silent_for_the_time_that_the_hub_was_down() {
    let fleet = Fleet::new(3).await;
    let reconciler = fleet.reconciler();
    for _ in 0..360 {
        fleet.later_without_hub(seconds(10));
        assert_eq!(reconciler.pass().await.changed, 0);
    }
    for _ in 0..89 {
        fleet.later(seconds(1));
        assert_eq!(reconciler.pass().await.changed, 0);
    }
    fleet.later(seconds(1));
    reconciler.pass().await;
    assert_eq!(fleet.count(EventKind::DeviceOffline).await, 3);
}

#[tokio::test]
async fn drift_is_told_after_the_patience_and_again_when_it_is_over() {
    let mut fleet = Fleet::new(2).await;
    let reconciler = fleet.reconciler();
    let device = fleet.first();
    reconciler.pass().await;
    let sensor = fleet.state(device).await.target.items[0].sensor.id();
    fleet
        .patch(device, sensor, json!({ "pollInterval": 50 }))
        .await;
    let look = fleet.state(device).await.target.look_revision;
    fleet.later(seconds(1));
    for _ in 0..8 {
        assert_eq!(
            reconciler.pass().await.changed,
            0,
            "an ordinary deployment takes a while"
        );
        fleet.later(seconds(1));
    }
    fleet.later(seconds(2));
    assert_eq!(
        reconciler.pass().await,
        PassReport {
            looked_at: 1,
            changed: 1,
            failed: 0,
            cut_short: false,
        }
    );
    let told = fleet.events(Some(device)).await;
    let drift = told
        .iter()
        .find(|event| event.kind == EventKind::DeviceConfigDrift)
        .expect("it is told");
    assert_eq!(drift.payload["sensors"][0]["id"], json!(sensor));
    assert_eq!(
        fleet.state(device).await.target.look_revision,
        look + 1,
        "the agent is asked to look again"
    );
    for _ in 0..50 {
        fleet.later(seconds(1));
        fleet.touch().await;
        assert_eq!(reconciler.pass().await.changed, 0, "once");
    }
    fleet.establish(device).await;
    assert_eq!(reconciler.pass().await.changed, 1);
    assert_eq!(fleet.count(EventKind::DeviceReconciled).await, 1);
    assert_eq!(fleet.count(EventKind::DeviceConfigDrift).await, 1);
}

#[tokio::test]
async fn a_failed_sensor_drifts_until_it_recovers() {
    let mut fleet = Fleet::new(1).await;
    let reconciler = fleet.reconciler();
    let device = fleet.first();
    let third = fleet.add(device, "c").await;
    fleet.establish_but(device, &[third]).await;
    fleet.later(seconds(15));
    reconciler.pass().await;
    let drift = fleet.events(Some(device)).await;
    let drift = drift
        .iter()
        .find(|event| event.kind == EventKind::DeviceConfigDrift)
        .expect("it is told");
    assert_eq!(drift.payload["sensors"].as_array().map(Vec::len), Some(1));
    assert_eq!(drift.payload["sensors"][0]["name"], json!("c"));
    assert_eq!(
        drift.payload["sensors"][0]["deploymentStatus"],
        json!("failed")
    );
    let figures = fleet
        .store
        .figures(fleet.clock.now())
        .await
        .expect("figures");
    assert_eq!(figures.failed["gateway-0"], 1);
    fleet.establish(device).await;
    reconciler.pass().await;
    assert_eq!(fleet.count(EventKind::DeviceReconciled).await, 1);
}

/// A fleet that lets others go first: the store in memory answers at once, so that nobody else would get a turn.
struct Polite(MemoryStore);

#[async_trait]
impl FleetStore for Polite {
    async fn claim(
        &self,
        now: Timestamp,
        lease: SignedDuration,
        limit: u32,
    ) -> Result<Vec<Claimed>, StoreError> {
        tokio::task::yield_now().await;
        self.0.claim(now, lease, limit).await
    }

    async fn schedule(&self, next: &[(Claimed, Timestamp)]) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        self.0.schedule(next).await
    }

    async fn beat(&self, now: Timestamp) -> Result<(), StoreError> {
        self.0.beat(now).await
    }

    async fn hub_up_since(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.0.hub_up_since(now).await
    }

    async fn figures(&self, overdue_before: Timestamp) -> Result<Figures, StoreError> {
        self.0.figures(overdue_before).await
    }
}

#[tokio::test]
async fn two_reconcilers_share_the_fleet() {
    let fleet = Fleet::new(40).await;
    fleet.later(seconds(3_600));
    let polite = || {
        let parts = ReconcilerParts {
            fleet: Arc::new(Polite(fleet.store.clone())),
            ..fleet.parts()
        };
        Reconciler::new(
            parts,
            ReconcilerSettings {
                batch: 5,
                ..ReconcilerSettings::default()
            },
        )
    };
    let (one, other) = (polite(), polite());
    let (one, other) = tokio::join!(one.pass(), other.pass());
    assert_eq!(
        one.looked_at + other.looked_at,
        40,
        "each device is of one of them: {one:?} {other:?}"
    );
    assert!(
        one.looked_at > 0 && other.looked_at > 0,
        "{one:?} {other:?}"
    );
    assert_eq!((one.failed, other.failed), (0, 0));
    assert_eq!(fleet.count(EventKind::DeviceOffline).await, 40);
}

#[tokio::test]
async fn what_a_killed_reconciler_had_claimed_is_due_again() {
    let fleet = Fleet::new(5).await;
    fleet.later(seconds(3_600));
    let claimed = fleet
        .store
        .claim(fleet.clock.now(), seconds(60), 100)
        .await
        .expect("due devices");
    assert_eq!(claimed.len(), 5);
    let reconciler = fleet.reconciler();
    assert_eq!(reconciler.pass().await.looked_at, 0, "they are another's");
    fleet.later(seconds(61));
    assert_eq!(reconciler.pass().await.changed, 5);
}

#[tokio::test]
async fn a_change_while_a_device_is_claimed_keeps_it_due() {
    let fleet = Fleet::new(1).await;
    let device = fleet.first();
    let claimed = fleet
        .store
        .claim(fleet.clock.now(), seconds(60), 10)
        .await
        .expect("due devices");
    fleet.add(device, "c").await;
    let next = fleet.clock.now() + seconds(300);
    fleet
        .store
        .schedule(&[(claimed[0], next)])
        .await
        .expect("the store works");
    fleet.later(seconds(12));
    fleet.reconciler().pass().await;
    assert_eq!(
        fleet.count(EventKind::DeviceConfigDrift).await,
        1,
        "the edit was not scheduled away"
    );
}
