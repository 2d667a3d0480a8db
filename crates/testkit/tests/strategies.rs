//! What the strategies give is valid, and survives the way over JSON text that every document takes.

use holdfast_domain::{
    Incarnation, Item, Report, ReportOrder, Sensor,
    edit::{Edit, EditError},
    receive::{Received, receive},
    state::{Change, TargetChange, TargetChangeKind},
};
use holdfast_testkit::{strategies, world::World};
use proptest::prelude::*;
use serde_json::json;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_sensor_is_the_same_after_any_number_of_readers(sensor in strategies::sensor()) {
        let mut read = sensor.clone();
        for _ in 0..3 {
            let text = read.to_json().to_string();
            let value = serde_json::from_str(&text).expect("it was JSON");
            read = Sensor::from_json(value).expect("it was valid");
            prop_assert_eq!(read.fingerprint(), sensor.fingerprint());
        }
    }

    #[test]
    fn documents_can_be_added((document, world) in (strategies::sensor_document(), any::<u64>().prop_map(World::new))) {
        let edition = world.edit(&world.device("gateway-1"), Edit::Add(document)).expect("it is valid");
        prop_assert!(edition.change.is_some());
    }

    #[test]
    fn edits_are_decided((items, edit) in strategies::items().prop_flat_map(|items| {
        let edit = strategies::edit(&items);
        (Just(items), edit)
    })) {
        let world = World::new(1);
        match world.edit(&wanting(&world, items), edit) {
            Ok(_) | Err(EditError::NameTaken(_)) => {}
            // A list may name a sensor twice.
            Err(EditError::Invalid(problems)) => prop_assert!(problems.to_string().contains("name")),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn reports_are_taken((items, report) in strategies::items().prop_flat_map(|items| {
        let order = ReportOrder { incarnation: Incarnation(uuid::Uuid::nil()), boot: 1, sequence: 1 };
        let report = strategies::full_report(order, 1, items.clone());
        (Just(items), report)
    })) {
        let world = World::new(1);
        let mut state = wanting(&world, items);
        state.record.incarnation = Some(report.order.incarnation);
        let (_, read) = Report::from_json(report.to_json(state.record.id)).expect("it is valid");
        prop_assert_eq!(&read, &report);
        let received = receive(&state, report, None, &world.context("agent"));
        prop_assert!(matches!(received, Received::Changed(_)), "{received:?}");
    }
}

/// A device that wants these items, as its version 1.
fn wanting(world: &World, items: Vec<Item>) -> holdfast_domain::state::DeviceState {
    let state = world.device("gateway-1");
    let mut change = Change::of(&state);
    let mut target = state.target.clone();
    (target.version, target.items) = (1, items);
    let kind = TargetChangeKind::NewVersion;
    change.target = Some(TargetChange {
        target,
        reason: None,
        kind,
    });
    state.after(change)
}

#[test]
fn one_seed_gives_one_world() {
    let ids = |seed| World::starting(seed, jiff::Timestamp::UNIX_EPOCH).device("gateway-1");
    assert_eq!(json!(ids(1).record), json!(ids(1).record));
    assert_ne!(ids(1).record.id, ids(2).record.id);
}
