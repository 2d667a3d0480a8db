//! When the hub hears what became of a wish: somebody waits for that.

use holdfast_domain::{
    TargetState,
    document::setpoint::{Conformity, Hold},
    values::ReportedValues,
};
use serde_json::json;

use crate::{
    holding::{HELD, Mood, Plant, last, output, run, set},
    rig::Rig,
    support::{changed, point_id, target},
};

/// An output that has to settle for so long, in ms.
fn settling(ms: u32) -> TargetState {
    let points = json!([output(1, json!({ "settleMs": ms }))]);
    target(1, [changed(1, json!({ "dataPoints": points }))])
}

fn is_held(values: &ReportedValues, revision: u64) -> bool {
    values.held_revision == revision
}

#[test]
fn the_end_of_a_wish_is_told_at_once_and_with_one_report() {
    let base = settling(0);
    let mut rig = Rig::running(base.clone());
    let mut plant = Plant::of(&[(1, 20.0)]);
    run(&mut rig, &mut plant, 1_000);
    // Also where one follows the other.
    for (value, revision) in [(72.5, 1), (73.5, 2), (74.5, 3)] {
        rig.offer_and_hold(set(base.clone(), &[(1, value, revision)]));
        let heard = run(&mut rig, &mut plant, 12);
        assert_eq!(last(&heard, 1), HELD, "revision {revision}");
        assert_eq!(heard.len(), 1, "it is held and carried out, in one report");
        assert!(is_held(&heard[0], revision));
        assert_eq!(heard[0].items[&point_id(1)].revision, revision);
    }
}

#[test]
fn a_wish_that_takes_its_time_is_told_of_as_held_before() {
    let base = settling(5_000);
    let mut rig = Rig::running(base.clone());
    let mut plant = Plant::of(&[(1, 20.0)]);
    run(&mut rig, &mut plant, 1_000);
    rig.offer_and_hold(set(base, &[(1, 72.5, 1)]));
    assert!(run(&mut rig, &mut plant, 45).is_empty());
    let heard = run(&mut rig, &mut plant, 10);
    assert!(heard.iter().any(|values| is_held(values, 1)));
    assert_eq!(last(&heard, 1).1, Hold::Writing);
}

#[test]
fn that_a_wish_can_not_be_carried_out_is_told_at_once_too() {
    let base = settling(0);
    let mut rig = Rig::running(base.clone());
    let mut plant = Plant::of(&[(1, 20.0)]);
    plant.moods.insert(point_id(1), Mood::Dead(30));
    run(&mut rig, &mut plant, 1_000);
    rig.offer_and_hold(set(base, &[(1, 72.5, 1)]));
    let heard = run(&mut rig, &mut plant, 40);
    assert_eq!(last(&heard, 1), (Conformity::Unknown, Hold::Unreachable));
    assert_eq!(heard.len(), 1);
}

#[test]
fn what_nobody_waits_for_is_merged() {
    let base = set(settling(0), &[(1, 72.5, 1)]);
    let mut rig = Rig::running(base);
    let mut plant = Plant::of(&[(1, 72.5)]);
    run(&mut rig, &mut plant, 60_000);
    plant.values.insert(point_id(1), 20.0);
    // It is found within one interval, told, put back, and told of after the time for merging.
    let heard = run(&mut rig, &mut plant, 5_200);
    assert_eq!(last(&heard, 1), HELD);
    assert_eq!(heard.len(), 2);
}

/// What was read before a write ended is no read-back, also where all of it happens within one ms: a look too few would cost
/// the time until the next one.
#[test]
fn a_quick_instrument_is_verified_at_once() {
    let base = settling(0);
    let mut rig = Rig::running(base.clone());
    let mut plant = Plant::of(&[(1, 20.0)]);
    plant.moods.insert(point_id(1), Mood::Quick);
    run(&mut rig, &mut plant, 1_000);
    // The first write waits for its booking; those after it don't.
    rig.offer_and_hold(set(base.clone(), &[(1, 72.5, 1)]));
    run(&mut rig, &mut plant, 1_000);
    rig.offer_and_hold(set(base, &[(1, 73.5, 2)]));
    let heard = run(&mut rig, &mut plant, 5);
    assert_eq!(last(&heard, 1), HELD);
    let item = &heard.last().expect("a report").items[&point_id(1)];
    assert_eq!(item.verified_in_ms, Some(0));
}
