//! Who tells somebody outside, and how far that has come.

use holdfast_ports::{events::Cursor, notices::Told};
use jiff::SignedDuration;
use uuid::Uuid;

use super::{Fixture, Scene};

const ONE: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);
const LEASE: SignedDuration = SignedDuration::from_secs(30);

/// Of all reconcilers one has a way, until its lease is over.
pub async fn one_at_a_time_has_a_way(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let now = scene.world.context("one").now;
    let claim = async |other: bool, holder, at| {
        let store = if other { &scene.other } else { &scene.store };
        let claimed = store.claim_notices("mail", holder, at, LEASE).await;
        claimed.expect("works")
    };
    assert_eq!(claim(false, ONE, now).await, Some(Told(None)));
    assert_eq!(claim(true, OTHER, now).await, None, "somebody has it");
    let later = now + SignedDuration::from_secs(20);
    assert_eq!(
        claim(false, ONE, later).await,
        Some(Told(None)),
        "it keeps it"
    );
    let after = now + SignedDuration::from_secs(40);
    assert_eq!(claim(true, OTHER, after).await, None);
    let over = later + LEASE;
    assert_eq!(claim(true, OTHER, over).await, Some(Told(None)));
    assert_eq!(claim(false, ONE, over).await, None);
    let pager = scene.store.claim_notices("pager", ONE, now, LEASE).await;
    assert_eq!(pager.expect("works"), Some(Told(None)), "another way");
}

/// Who lost a way without knowing it sets nothing back.
pub async fn a_place_is_never_set_back(fixture: &dyn Fixture) {
    let scene = Scene::of(fixture);
    let now = scene.world.context("one").now;
    let new = scene.store.claim_notices("mail", ONE, now, LEASE).await;
    let new = new.expect("works").expect("nobody has it");
    let (first, second) = (Cursor("1.1".to_owned()), Cursor("1.2".to_owned()));
    let note = async |from: &Told, to| {
        scene
            .other
            .note_told("mail", from, to)
            .await
            .expect("works")
    };
    assert!(note(&new, &first).await);
    assert!(!note(&new, &second).await, "it is not there any more");
    let at_first = Told(Some(first.clone()));
    assert!(note(&at_first, &second).await);
    assert!(!note(&at_first, &second).await);
    let found = scene
        .other
        .claim_notices("mail", OTHER, now + LEASE, LEASE)
        .await;
    assert_eq!(found.expect("works"), Some(Told(Some(second.clone()))));
    let nobodys = scene.store.note_told("pager", &Told(None), &second).await;
    assert!(!nobodys.expect("works"), "nobody has claimed it");
}
