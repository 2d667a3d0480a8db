//! Old events go, and the read model can still be rebuilt from what is left.

use holdfast_domain::event::EventKind;
use holdfast_ports::{clock::Clock as _, page::Page, store::DeviceStore as _};
use holdfast_reconcile::{
    ReconcilerSettings,
    retention::{Swept, sweep},
};
use jiff::SignedDuration;
use serde_json::json;

use crate::support::{Fleet, seconds};

const KEEP: SignedDuration = SignedDuration::from_hours(24 * 90);
const DAY: SignedDuration = SignedDuration::from_hours(24);

fn settings() -> ReconcilerSettings {
    ReconcilerSettings {
        keep_events: KEEP,
        keep_versions: 30,
        ..ReconcilerSettings::default()
    }
}

#[tokio::test]
async fn what_is_left_rebuilds_the_read_model() {
    let mut fleet = Fleet::new(3).await;
    let parts = fleet.parts();
    let devices: Vec<_> = fleet.agents.keys().copied().collect();
    for day in 0..250 {
        fleet.later(DAY);
        let device = devices[day % 2];
        let sensor = fleet.state(device).await.target.items[day % 2].sensor.id();
        fleet
            .patch(device, sensor, json!({ "pollInterval": 100 + day }))
            .await;
        if day % 3 == 0 {
            fleet.establish(device).await;
        }
        if day % 10 == 0 {
            sweep(&parts, &settings()).await.expect("the store works");
            for device in &devices {
                let [rebuilt, live] = fleet.rebuilt_and_live(*device).await;
                assert_eq!(rebuilt, live, "day {day}");
            }
        }
    }
    let now = fleet.clock.now();
    let events = fleet.events(None).await;
    let oldest = events.iter().map(|event| event.at).min().expect("events");
    assert!(
        now.duration_since(oldest) < KEEP + KEEP / 2 + DAY * 20,
        "the log is bounded: {oldest}"
    );
    assert!(
        events
            .iter()
            .any(|event| now.duration_since(event.at) > KEEP - DAY * 10),
        "and not shorter than it says"
    );
    for device in devices {
        let page = Page::first(100);
        let versions = fleet.store.history(device, &page).await;
        let kept = versions.expect("the store works").items.len();
        assert!(kept <= 30 + 10, "the history is bounded: {kept}");
    }
}

#[tokio::test]
async fn a_sweep_with_nothing_old_removes_nothing_and_snapshots_once() {
    let fleet = Fleet::new(2).await;
    let parts = fleet.parts();
    let before = fleet.events(None).await.len();
    sweep(&parts, &settings()).await.expect("the store works");
    assert_eq!(fleet.events(None).await.len(), before, "they are young");
    fleet.later(KEEP / 2);
    for _ in 0..5 {
        let swept = sweep(&parts, &settings()).await.expect("the store works");
        assert_eq!(swept, Swept::default());
        fleet.later(seconds(3_600));
    }
    assert_eq!(fleet.count(EventKind::DeviceSnapshot).await, 2);
    assert_eq!(fleet.events(None).await.len(), before + 2);
}
