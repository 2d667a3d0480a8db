//! Devices that were seen, that went silent, that were deleted.

use holdfast_domain::{
    Incarnation, Report, ReportOrder,
    event::EventKind,
    state::{Change, DeviceState, Presence, TargetChange, TargetChangeKind},
};
use holdfast_ports::{
    clock::Entropy as _,
    page::Page,
    store::{CommitError, Seen, SensorFilter},
    tokens::{Revocation, RevocationKind},
};
use jiff::SignedDuration;
use serde_json::json;

use super::{Fixture, Scene};
use crate::{builders::agent_token, world::FakeAgent};

/// Of a deleted device only its events stay; its tokens are ended as such.
pub async fn a_deleted_device_leaves_its_events(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device_with("gateway-1", 2).await;
    let id = state.record.id;
    let token = agent_token("agent of gateway-1", id, state.record.audit.created_at);
    scene.store.add_token(&token).await.expect("it is new");
    let mut change = Change::of(&state);
    let context = scene.world.context("anna");
    change.event(&state, &context, EventKind::DeviceDeleted, None, json!({}));

    let refused = scene
        .store
        .delete(id, state.revision - 1, &change.events)
        .await;
    assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    assert_eq!(scene.load(id).await, state);

    scene
        .store
        .delete(id, state.revision, &change.events)
        .await
        .expect("nobody else changes it");
    let page = Page::first(10);
    assert_eq!(scene.other.load(id).await.expect("works"), None);
    assert_eq!(
        scene.store.find(&state.record.name).await.expect("works"),
        None
    );
    assert_eq!(
        scene.store.history(id, &page).await.expect("works").items,
        []
    );
    assert_eq!(scene.store.version(id, 1).await.expect("works"), None);
    assert_eq!(
        scene
            .store
            .sensors(&SensorFilter::default(), &page)
            .await
            .expect("works")
            .items,
        []
    );
    assert_eq!(
        scene.store.points(id, &page).await.expect("works").items,
        []
    );
    let kinds: Vec<EventKind> = scene
        .events(id)
        .await
        .iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(kinds.first(), Some(&EventKind::DeviceCreated));
    assert_eq!(kinds.last(), Some(&EventKind::DeviceDeleted));
    let ended = scene
        .store
        .find_token(&token.hash)
        .await
        .expect("works")
        .expect("it is still found");
    assert_eq!(
        ended.revoked,
        Some(Revocation {
            at: context.now,
            kind: RevocationKind::DeviceDeleted
        })
    );

    let refused = scene.store.delete(id, state.revision, &[]).await;
    assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    let again = scene.device("gateway-1").await;
    assert_ne!(again.record.id, id, "the name is free again");
}

/// A glance tells whether a state is the newest, and what of it is another without that.
pub async fn a_glance_tells_which_state_is_the_newest(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device("gateway-1").await;
    let id = state.record.id;
    let glance = async || {
        let glance = scene.other.glance(id).await.expect("works");
        glance.expect("there is such a device")
    };
    assert!(glance().await.is_of(&state));

    let at = scene.world.context("agent").now;
    let order = Some(FakeAgent::of(&state).heartbeat().order);
    let seen = Seen {
        device: id,
        at,
        order,
    };
    scene.store.touch(&[seen]).await.expect("works");
    let heard = glance().await;
    assert!(heard.renews(&state) && !heard.is_of(&state));
    assert_eq!((heard.last_seen_at, heard.seen), (Some(at), order));
    let loaded = scene.store.load(id).await.expect("works");
    let loaded = loaded.expect("it is there");
    assert!(heard.is_of(&loaded));

    let mut change = Change::of(&loaded);
    change.presence = Some(Presence {
        silent: true,
        ..loaded.presence.clone()
    });
    let after = scene.commit(&loaded, change).await;
    let newest = glance().await;
    assert!(newest.is_of(&after) && !newest.renews(&loaded));

    let gone = scene.world.device("gone").record.id;
    assert_eq!(scene.store.glance(gone).await.expect("works"), None);
}

/// "Last seen" only moves forward, moves no revision, and a gone device is left out. The silent ones are named.
pub async fn touch_notes_the_latest_time(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let (one, two) = (
        scene.device("gateway-1").await,
        scene.device("gateway-2").await,
    );
    let mut change = Change::of(&two);
    change.presence = Some(Presence {
        silent: true,
        ..Presence::default()
    });
    let two = scene.commit(&two, change).await;
    let gone = scene.world.device("gone");
    let early = scene.world.context("agent").now;
    let late = early + SignedDuration::from_secs(5);
    let agent = FakeAgent::of(&one).heartbeat();
    let seen = |device: &DeviceState, at| Seen {
        device: device.record.id,
        at,
        order: Some(agent.order),
    };
    let first = [seen(&two, early), seen(&gone, late), seen(&one, late)];
    let silent = scene.store.touch(&first).await.expect("works");
    assert_eq!(silent, [two.record.id]);
    let unordered = Seen {
        order: None,
        ..seen(&two, late)
    };
    let twice = [
        seen(&two, early),
        unordered,
        seen(&one, early),
        seen(&two, early),
    ];
    let silent = scene.other.touch(&twice).await.expect("works");
    assert_eq!(silent, [two.record.id], "each is named once");
    assert_eq!(scene.store.touch(&[]).await.expect("works"), []);
    for state in [one, two] {
        let mut expected = state;
        expected.presence.last_seen_at = Some(late);
        expected.seen = Some(agent.order);
        assert_eq!(scene.load(expected.record.id).await, expected);
    }
}

/// Rows are stale exactly while their device is silent, those that come meanwhile too.
pub async fn a_silent_device_makes_its_rows_stale(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device_with("gateway-1", 2).await;
    let neighbour = scene.device_with("gateway-2", 1).await;
    let stale = async || {
        let filter = SensorFilter {
            device: Some(state.record.id),
            ..SensorFilter::default()
        };
        let rows = scene
            .other
            .sensors(&filter, &Page::first(10))
            .await
            .expect("works")
            .items;
        rows.iter().map(|record| record.stale).collect::<Vec<_>>()
    };
    assert_eq!(stale().await, [false, false]);
    let mut change = Change::of(&state);
    change.presence = Some(Presence {
        silent: true,
        ..state.presence.clone()
    });
    let now = scene.commit(&state, change).await;
    assert_eq!(stale().await, [true, true]);
    let now = scene.add(&now, "one-more").await;
    assert_eq!(stale().await, [true, true, true]);
    let mut change = Change::of(&now);
    change.presence = Some(Presence {
        silent: false,
        ..now.presence.clone()
    });
    change.target = Some(TargetChange {
        target: now.target.clone(),
        reason: None,
        kind: TargetChangeKind::Look,
    });
    scene.commit(&now, change).await;
    assert_eq!(stale().await, [false, false, false]);
    assert_eq!(scene.load(neighbour.record.id).await, neighbour);
}

/// A report is not taken over one that was seen after it; one of another life of the disk is.
pub async fn a_report_that_was_overtaken_is_a_conflict(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let state = scene.device_with("gateway-1", 1).await;
    let mut agent = FakeAgent::of(&state);
    let state = {
        let first = agent.full_report();
        let change = scene.world.report(&state, first).expect("it is the first");
        scene.commit(&state, change).await
    };
    agent.establish(&state);
    let late = agent.full_report();
    let seen = agent.heartbeat();
    agent.establish(&state);
    let next = agent.full_report();
    let taken = |report| {
        scene
            .world
            .report(&state, report)
            .expect("it says something new")
    };
    let (late, same, next) = (
        taken(late),
        taken(Report {
            order: seen.order,
            ..next.clone()
        }),
        taken(next),
    );
    let at = scene.world.context("agent").now;
    let silent = scene
        .other
        .touch(&[Seen {
            device: state.record.id,
            at,
            order: Some(seen.order),
        }])
        .await
        .expect("works");
    assert_eq!(silent, []);
    for overtaken in [late, same] {
        let refused = scene.store.commit(&overtaken).await;
        assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    }
    let loaded = scene.load(state.record.id).await;
    assert_eq!(loaded.seen, Some(seen.order));
    assert_eq!(loaded.rows, state.rows);
    let reborn = Incarnation(scene.world.entropy.uuid());
    let mut other_life = next.clone();
    if let Some(reported) = &mut other_life.reported {
        reported.order = ReportOrder {
            incarnation: reborn,
            boot: 1,
            sequence: 1,
        };
    }
    scene.store.commit(&next).await.expect("it is later");
    other_life.base_revision += 1;
    for event in &mut other_life.events {
        event.sequence += next.events.len() as u64;
    }
    scene
        .store
        .commit(&other_life)
        .await
        .expect("it is not comparable");
}
