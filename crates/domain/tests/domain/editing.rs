//! What edits come to: the same content changes nothing, versions only grow, and no edit is lost.

use holdfast_domain::{
    Item, SensorId,
    edit::{Edit, EditError, look_again},
    event::EventKind,
    state::TargetChangeKind,
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use crate::support::{
    documents::{Numbers, respelled, uuid},
    life::{Agent, Life, document},
};

/// The whole target as a person gets and puts it.
fn whole(life: &Life) -> Value {
    life.state
        .target
        .items
        .iter()
        .map(|item| item.sensor.to_json())
        .collect()
}

fn names(items: &[Item]) -> Vec<(SensorId, String)> {
    items
        .iter()
        .map(|item| (item.sensor.id(), item.sensor.name().to_string()))
        .collect()
}

fn without_ids(mut document: Value) -> Value {
    let object = document.as_object_mut().expect("an object");
    object.remove("id");
    for point in object["dataPoints"].as_array_mut().into_iter().flatten() {
        point.as_object_mut().expect("an object").remove("id");
    }
    document
}

proptest! {
    #[test]
    fn an_edit_that_comes_to_the_same_changes_nothing(seed: u64, count in 1..5_usize) {
        let mut life = Life::new();
        let ids: Vec<SensorId> = (0..count).map(|index| life.add(&format!("s{index}"))).collect();
        let before = life.state.clone();
        let parse = |value: &Value| -> Value { serde_json::from_str(&respelled(value, seed)).expect("JSON") };
        let mut list: Vec<Value> = whole(&life).as_array().expect("a list").clone();
        Numbers(seed).shuffle(&mut list);
        let first = life.state.target.item(ids[0]).expect("it was added").sensor.to_json();
        let as_written = document("s0");
        for same in [
            Edit::Replace(ids[0], parse(&first)),
            Edit::Replace(ids[0], as_written),
            Edit::Patch(ids[0], json!({})),
            Edit::Patch(ids[0], json!({ "pollInterval": 1e3, "metadata": { "unheard": null } })),
            Edit::ReplaceAll(parse(&Value::Array(list.clone()))),
            Edit::ReplaceAll(Value::Array(list.into_iter().map(without_ids).collect())),
            Edit::Rollback { version: 1, items: before.target.items.clone() },
        ] {
            let (changed, _) = life.edit(same.clone()).expect("a valid edit");
            prop_assert!(!changed, "{same:?}");
        }
        prop_assert_eq!(&life.state, &before);
    }

    #[test]
    fn versions_only_grow_and_items_say_which_changed_them(steps in vec((0..6_u8, 0..4_usize, 10..20_u32), 1..25)) {
        let mut life = Life::new();
        let mut agent = Agent::new();
        for (what, which, poll) in steps {
            let before = life.state.target.clone();
            let nth = before.items.get(which).map(|item| item.sensor.id());
            let edit = match (what, nth) {
                (0 | 1, _) => Edit::Add(document(&format!("s{}", life.log.len()))),
                (2, Some(id)) => Edit::Patch(id, json!({ "pollInterval": poll })),
                (3, Some(id)) => Edit::Remove(id),
                (4, _) => Edit::ReplaceAll(json!([document(&format!("r{poll}"))])),
                _ => {
                    // The agent of a hub that was restored: it holds what this hub never gave.
                    agent.work(&life, |_| false);
                    agent.held += u64::from(poll);
                    life.report(agent.full());
                    prop_assert!(life.state.target.version > agent.held);
                    continue;
                }
            };
            let (changed, _) = life.edit(edit).expect("a valid edit");
            let after = &life.state.target;
            prop_assert_eq!(after.version > before.version, changed);
            for item in &after.items {
                let unchanged = before.item(item.sensor.id()).filter(|old| old.sensor == item.sensor);
                let expected = unchanged.map_or(after.version, |old| old.config_version);
                prop_assert_eq!(item.config_version, expected);
            }
        }
    }

    #[test]
    fn concurrent_edits_are_not_lost(turns in vec((0..5_usize, proptest::bool::ANY), 0..60)) {
        let mut life = Life::new();
        // Five people who each add sensors, on what they saw last; whoever was overtaken decides anew.
        let mut decided = vec![None; 5];
        let mut added = 0;
        for (person, commits) in turns {
            let name = format!("p{person}-{added}");
            let stale = decided[person].take();
            let change = match stale {
                Some(change) if commits => change,
                _ => {
                    decided[person] = life.decide(Edit::Add(document(&name))).expect("valid").change;
                    continue;
                }
            };
            let is_current = change.base_revision == life.state.revision;
            let change = if is_current {
                change
            } else {
                life.decide(Edit::Add(document(&name))).expect("valid").change.expect("a change")
            };
            life.commit(change);
            added += 1;
        }
        prop_assert_eq!(life.state.target.items.len(), added);
        prop_assert_eq!(life.state.rows.len(), added);
        prop_assert_eq!(life.state.target.version, added as u64);
    }
}

#[test]
#[should_panic(expected = "a change applies to the revision it was decided on")]
fn a_change_is_never_applied_to_another_revision() {
    let mut life = Life::new();
    let [first, second] = ["a", "b"].map(|name| {
        life.decide(Edit::Add(document(name)))
            .expect("valid")
            .change
    });
    life.commit(first.expect("a change"));
    life.commit(second.expect("a change"));
}

#[test]
fn a_patch_is_a_merge_patch() {
    let mut life = Life::new();
    let id = life.add("a");
    let point = life.state.target.items[0].sensor.to_json()["dataPoints"][0]["id"].clone();
    let patch = json!({ "connection": { "host": "10.0.0.9", "timeoutMs": null }, "metadata": null,
        "dataPoints": [{ "name": "t", "table": "holding", "address": 7, "dataType": "int16" }] });
    life.edit(Edit::Patch(id, patch)).expect("a valid patch");
    let now = life.state.target.items[0].sensor.to_json();
    assert_eq!(now["connection"]["host"], json!("10.0.0.9"));
    assert_eq!(
        now["connection"]["unitId"],
        json!(1),
        "what is not spoken of stays"
    );
    assert_eq!(now["metadata"], json!({}));
    assert_eq!(
        now["dataPoints"][0]["id"], point,
        "a point of the same name is the same point"
    );
    assert_eq!(
        life.edit(Edit::Remove(SensorId(uuid(99)))),
        Err(EditError::NoSuchSensor(SensorId(uuid(99))))
    );
}

#[test]
fn two_sensors_swap_names() {
    let mut life = Life::new();
    let (a, b) = (life.add("a"), life.add("b"));
    let mut list = whole(&life);
    list[0]["name"] = json!("b");
    list[1]["name"] = json!("a");
    life.edit(Edit::ReplaceAll(list)).expect("a valid document");
    assert_eq!(
        names(&life.state.target.items),
        [(a, "b".into()), (b, "a".into())]
    );
    assert_eq!(
        life.kinds_since(life.log.len() - 2),
        [EventKind::SensorUpdated; 2]
    );
}

#[test]
fn a_name_that_became_free_in_the_same_document_is_that_of_a_new_sensor() {
    let mut life = Life::new();
    let a = life.add("a");
    let mut renamed = life.state.target.items[0].sensor.to_json();
    renamed["name"] = json!("old-a");
    life.edit(Edit::ReplaceAll(json!([renamed, document("a")])))
        .expect("a valid document");
    let [first, second] = &names(&life.state.target.items)[..] else {
        panic!("two sensors")
    };
    assert_eq!(*first, (a, "old-a".into()));
    assert_eq!(second.1, "a");
    assert_ne!(second.0, a);
}

#[test]
fn a_sensor_that_is_deleted_and_created_again_is_another() {
    let mut life = Life::new();
    let mut agent = Agent::new();
    let old = life.add("a");
    agent.work(&life, |_| false);
    life.report(agent.full());
    life.edit(Edit::Remove(old)).expect("it is there");
    let new = life.add("a");
    assert_ne!(old, new);
    assert_eq!(
        life.state.rows.len(),
        2,
        "the old one still runs, the new one is not yet"
    );
    let from = life.log.len();
    agent.work(&life, |_| false);
    life.report(agent.full());
    assert_eq!(life.state.rows.keys().copied().collect::<Vec<_>>(), [new]);
    assert_eq!(
        life.kinds_since(from),
        [EventKind::SensorRemoved, EventKind::SensorDeployed]
    );
}

#[test]
fn going_back_is_a_new_version_that_touches_what_differs_only() {
    let mut life = Life::new();
    let (a, _) = (life.add("a"), life.add("b"));
    let earlier = life.state.target.clone();
    life.edit(Edit::Patch(a, json!({ "pollInterval": 50 })))
        .expect("a valid patch");
    let c = life.add("c");
    let from = life.log.len();
    let back = Edit::Rollback {
        version: earlier.version,
        items: earlier.items.clone(),
    };
    assert_eq!(life.edit(back), Ok((true, None)));
    let now = &life.state.target;
    assert_eq!(names(&now.items), names(&earlier.items));
    assert_eq!(now.version, 5);
    assert_eq!(
        now.items
            .iter()
            .map(|item| item.config_version)
            .collect::<Vec<_>>(),
        [5, 2]
    );
    let kinds = [
        EventKind::TargetRolledBack,
        EventKind::SensorUpdated,
        EventKind::SensorDeleted,
        EventKind::SensorRemoved,
    ];
    let found = life.kinds_since(from);
    assert_eq!(found, kinds, "{c} never ran, so it goes at once");
    assert_eq!(life.log[from].payload["rolledBackTo"], json!(2));
}

#[test]
fn deleting_the_last_sensor_is_a_version_like_any_other() {
    let mut life = Life::new();
    let mut agent = Agent::new();
    let id = life.add("a");
    agent.work(&life, |_| false);
    life.report(agent.full());
    life.edit(Edit::Remove(id)).expect("it is there");
    assert!(life.state.needs_deployment());
    agent.work(&life, |_| false);
    life.report(agent.full());
    assert!(life.state.rows.is_empty() && !life.state.needs_deployment());
    assert_eq!(
        life.state.target.last_deployed.map(|(_, version)| version),
        Some(2)
    );
}

#[test]
fn looking_again_is_no_version() {
    let mut life = Life::new();
    life.add("a");
    let before = life.state.target.clone();
    let context = life.context("anna");
    let change = look_again(&life.state, Some("after the storm"), &context);
    assert!(change.changes_desired());
    life.commit(change);
    assert_eq!(life.state.target.version, before.version);
    assert_eq!(life.state.target.items, before.items);
    assert_ne!(life.state.target.etag(), before.etag());
}

#[test]
fn what_was_done_says_who_and_why() {
    let mut life = Life::new();
    let id = life.add("a");
    let change = life
        .decide(Edit::Patch(id, json!({ "enabled": false })))
        .expect("valid")
        .change
        .expect("a change");
    let target = change.target.as_ref().expect("a target");
    assert_eq!(
        (target.kind, target.reason.as_deref()),
        (TargetChangeKind::NewVersion, Some("because"))
    );
    let event = &change.events[0];
    assert_eq!(
        (event.kind, event.actor.as_str()),
        (EventKind::TargetUpdated, "anna")
    );
    assert_eq!(event.payload["reason"], json!("because"));
    assert_eq!(
        event.payload["sensors"],
        json!([{ "id": id, "name": "a", "change": "updated" }])
    );
    assert_eq!(
        change.events[1].causation,
        Some(event.sequence),
        "what came of it points to it"
    );
}
