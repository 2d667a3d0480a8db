//! The fleet: which devices are due, for whom, and in figures.

use std::collections::BTreeMap;

use holdfast_domain::{
    DeviceId,
    drift::DriftKind,
    row::DeploymentStatus,
    state::{Change, DeviceState, Presence},
};
use holdfast_ports::fleet::{Claimed, Figures, HUB_GAP};
use jiff::{SignedDuration, Timestamp};

use super::{Fixture, Scene};
use crate::world::FakeAgent;

const LEASE: SignedDuration = SignedDuration::from_mins(1);

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

impl Scene {
    async fn claim(&self, at: Timestamp) -> Vec<DeviceId> {
        let claimed = self.store.claim(at, LEASE, 100).await.expect("works");
        claimed.iter().map(|claimed| claimed.device).collect()
    }

    async fn claim_one(&self, at: Timestamp) -> Claimed {
        let claimed = self.store.claim(at, LEASE, 100).await.expect("works");
        let [one] = claimed[..] else {
            panic!("expected one device that is due, found {claimed:?}")
        };
        one
    }
}

/// New, edited or otherwise reported: due at once; else when its time comes.
pub async fn a_changed_device_is_due_at_once(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device("gateway-1").await;
    let start = scene.world.clock.now_plus(hours(1));
    let claimed = scene.claim_one(start).await;
    assert_eq!(
        claimed,
        Claimed {
            device: state.record.id,
            revision: state.revision
        }
    );
    scene
        .store
        .schedule(&[(claimed, start + hours(2))])
        .await
        .expect("works");
    assert_eq!(scene.claim(start + hours(1)).await, []);

    let state = scene.add(&state, "s-1").await;
    let claimed = scene.claim_one(start + hours(1)).await;
    assert_eq!(claimed.revision, state.revision);
    scene
        .store
        .schedule(&[(claimed, start + hours(3))])
        .await
        .expect("works");

    let mut agent = FakeAgent::of(&state);
    agent.establish(&state);
    let change = scene
        .world
        .report(&state, agent.full_report())
        .expect("all is new");
    scene.commit(&state, change).await;
    let claimed = scene.claim_one(start + hours(2)).await;
    scene
        .store
        .schedule(&[(claimed, start + hours(4))])
        .await
        .expect("works");
    assert_eq!(scene.claim(start + hours(3)).await, []);
    assert_eq!(scene.claim(start + hours(4)).await, [state.record.id]);
}

/// Many reconcilers at once: each due device goes to one of them.
pub async fn a_device_is_claimed_once(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let mut expected = Vec::new();
    for index in 0..20 {
        expected.push(scene.device(&format!("gateway-{index}")).await.record.id);
    }
    let at = scene.world.clock.now_plus(hours(1));
    let mut reconcilers = tokio::task::JoinSet::new();
    for index in 0..6 {
        let store = if index % 2 == 0 {
            scene.store.clone()
        } else {
            scene.other.clone()
        };
        reconcilers.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let claimed = store.claim(at, LEASE, 3).await.expect("works");
                assert!(claimed.len() <= 3);
                if claimed.is_empty() {
                    return mine;
                }
                mine.extend(claimed.iter().map(|claimed| claimed.device));
            }
        });
    }
    let mut all: Vec<DeviceId> = reconcilers.join_all().await.concat();
    all.extend(scene.claim(at).await);
    all.sort_unstable();
    expected.sort_unstable();
    assert_eq!(all, expected);
}

/// Nobody waits for ever behind others.
pub async fn the_longest_due_come_first(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let start = scene.world.clock.now_plus(hours(1));
    let mut expected = Vec::new();
    for index in 0..6 {
        expected.push(scene.device(&format!("gateway-{index}")).await.record.id);
    }
    let claimed = scene.store.claim(start, LEASE, 100).await.expect("works");
    let due = |claimed: &Claimed| {
        expected
            .iter()
            .position(|id| *id == claimed.device)
            .expect("it is one of them")
    };
    let next: Vec<_> = claimed
        .iter()
        .map(|claimed| {
            (
                *claimed,
                start + SignedDuration::from_secs(due(claimed) as i64),
            )
        })
        .collect();
    scene.store.schedule(&next).await.expect("works");
    for ids in expected.chunks(2) {
        let mut found = scene
            .store
            .claim(start + hours(1), LEASE, 2)
            .await
            .expect("works");
        found.sort_by_key(|claimed| expected.iter().position(|id| *id == claimed.device));
        assert_eq!(
            found
                .iter()
                .map(|claimed| claimed.device)
                .collect::<Vec<_>>(),
            ids
        );
    }
}

/// What a killed reconciler had claimed is due again after the lease, not before.
pub async fn a_lease_runs_out(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let id = scene.device("gateway-1").await.record.id;
    let at = scene.world.clock.now_plus(hours(1));
    assert_eq!(scene.claim(at).await, [id]);
    assert_eq!(
        scene.claim(at + LEASE - SignedDuration::from_secs(1)).await,
        []
    );
    assert_eq!(
        scene.claim(at + LEASE + SignedDuration::from_secs(1)).await,
        [id]
    );
}

/// A change that comes while a device is claimed is not lost when that claim is scheduled.
pub async fn a_device_that_changes_while_claimed_stays_due(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device("gateway-1").await;
    let gone = scene.device("gateway-2").await;
    let at = scene.world.clock.now_plus(hours(1));
    let claimed = scene.store.claim(at, LEASE, 100).await.expect("works");
    assert_eq!(claimed.len(), 2);
    let state = scene.add(&state, "s-1").await;
    scene
        .store
        .delete(gone.record.id, gone.revision, &[])
        .await
        .expect("nobody else changes it");
    let next: Vec<_> = claimed
        .iter()
        .map(|claimed| (*claimed, at + hours(9)))
        .collect();
    scene.store.schedule(&next).await.expect("works");
    scene.store.schedule(&[]).await.expect("works");
    let again = scene.claim_one(at).await;
    assert_eq!(
        again,
        Claimed {
            device: state.record.id,
            revision: state.revision
        }
    );
    scene
        .store
        .schedule(&[(again, at + hours(1))])
        .await
        .expect("works");
    assert_eq!(scene.claim(at).await, []);
}

/// The figures of an empty fleet, and of one that has something of everything.
pub async fn the_fleet_in_figures(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    assert_eq!(
        scene
            .store
            .figures(scene.world.context("anna").now)
            .await
            .expect("works"),
        Figures::default()
    );
    let healthy = deployed(&scene, "healthy", &[]).await;
    let failing = deployed(&scene, "failing", &["s-1", "s-2"]).await;
    let silent = deployed(&scene, "silent", &["s-0"]).await;
    let mut change = Change::of(&silent);
    change.presence = Some(Presence {
        silent: true,
        ..silent.presence.clone()
    });
    let silent = scene.commit(&silent, change).await;
    let waiting = scene.device_with("waiting", 1).await;

    let all = [&healthy, &failing, &silent, &waiting];
    let oldest = all
        .iter()
        .flat_map(|state| state.rows.values())
        .filter_map(|row| row.drifting_since)
        .min();
    let mut found = scene
        .other
        .figures(scene.world.context("anna").now)
        .await
        .expect("works");
    assert!(found.due <= 4);
    found.due = 0;
    let expected = Figures {
        devices: 4,
        silent: 1,
        drifting: BTreeMap::from([(DriftKind::Missing, 3)]),
        oldest_drift: oldest,
        sensors: BTreeMap::from([
            (DeploymentStatus::Deployed, 6),
            (DeploymentStatus::Failed, 3),
            (DeploymentStatus::Pending, 1),
        ]),
        failed: BTreeMap::from([("failing".to_owned(), 2), ("silent".to_owned(), 1)]),
        overdue: 1,
        due: 0,
    };
    assert_eq!(found, expected);

    let at = scene.world.clock.now_plus(hours(1));
    let claimed = scene.store.claim(at, LEASE, 100).await.expect("works");
    assert_eq!(claimed.len(), 4);
    let next: Vec<_> = claimed
        .iter()
        .map(|claimed| (*claimed, at + hours(24)))
        .collect();
    scene.store.schedule(&next).await.expect("works");
    assert_eq!(
        scene
            .store
            .figures(scene.world.context("anna").now)
            .await
            .expect("works")
            .due,
        0
    );
}

/// A device of three sensors, of which some fail.
async fn deployed(scene: &Scene, name: &str, failing: &[&str]) -> DeviceState {
    let state = scene.device_with(name, 3).await;
    let failing: Vec<_> = failing
        .iter()
        .map(|name| state.wanted_by_name(name).expect("it is wanted").id())
        .collect();
    let mut agent = FakeAgent::of(&state);
    agent.establish_but(&state, &failing, state.record.audit.created_at);
    let change = scene
        .world
        .report(&state, agent.full_report())
        .expect("all is new");
    scene.commit(&state, change).await
}

/// The hub is up since its first beat after a gap, and not while it does not beat.
pub async fn the_hub_is_up_while_it_beats(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let start = scene.world.context("anna").now;
    let at = |seconds: i64| start + SignedDuration::from_secs(seconds);
    let gap = HUB_GAP.as_secs();
    let up_since = async |at| scene.other.hub_up_since(at).await.expect("works");
    assert_eq!(up_since(start).await, None);
    for beat in [0, gap, gap - 1, 2 * gap - 1] {
        scene.store.beat(at(beat)).await.expect("works");
        assert_eq!(up_since(at(beat)).await, Some(start), "{beat}");
    }
    assert_eq!(up_since(at(3 * gap - 1)).await, Some(start));
    assert_eq!(up_since(at(3 * gap)).await, None);
    scene.store.beat(at(3 * gap)).await.expect("works");
    assert_eq!(up_since(at(3 * gap)).await, Some(at(3 * gap)));
}
