//! What is learned of an instrument, and what is said before anything is known of it.

use holdfast_domain::{
    TargetState,
    document::setpoint::{Conformity, Hold},
    hold::{How, LoopMemory},
};
use serde_json::json;

use crate::{
    holding::{HELD, Mood, Plant, last, output, plant_target, run, set},
    on_site::restarted,
    rig::{Rig, held},
    support::{changed, point_id, sensor_id, target},
};

const DEVIATES: (Conformity, Hold) = (Conformity::Deviates, Hold::Active);

fn wanted() -> TargetState {
    set(plant_target(&[1]), &[(1, 100.0, 1)])
}

/// An instrument that takes 80 at most and is to hold 100, when that is known.
fn limited() -> (Rig, Plant) {
    let mut rig = Rig::running(wanted());
    let mut plant = Plant::of(&[(1, 20.0)]);
    plant.most.insert(point_id(1), 80.0);
    let heard = run(&mut rig, &mut plant, 60_000);
    assert_eq!(last(&heard, 1), DEVIATES);
    assert_eq!(plant.writes.len(), 2);
    (rig, plant)
}

#[test]
fn what_an_instrument_makes_of_a_value_is_known_after_a_restart() {
    let (_, mut plant) = limited();
    let memory: LoopMemory = plant.memory.clone().expect("it was written down");
    let learned = &memory.learned[&point_id(1)];
    assert_eq!((learned.revision, learned.how), (1, How::Limited));
    for _ in 0..10 {
        let mut rig = restarted(wanted(), &mut plant);
        let heard = run(&mut rig, &mut plant, 600_000);
        assert_eq!(last(&heard, 1), DEVIATES);
    }
    assert_eq!(plant.writes.len(), 2, "no restart writes");
    // Another wish for the same point is another matter.
    let mut rig = restarted(set(plant_target(&[1]), &[(1, 60.0, 2)]), &mut plant);
    let heard = run(&mut rig, &mut plant, 60_000);
    assert_eq!(last(&heard, 1), HELD);
    let memory = plant.memory.expect("it was written down");
    assert!(memory.learned.is_empty(), "{memory:?}");
}

#[test]
fn what_is_ignored_is_asked_again_also_after_a_restart_and_it_is_told_when() {
    let mut rig = Rig::running(wanted());
    let mut plant = Plant::of(&[(1, 80.0)]);
    plant.most.insert(point_id(1), 80.0);
    let heard = run(&mut rig, &mut plant, 600_000);
    assert_eq!(last(&heard, 1), DEVIATES);
    assert!((8..=10).contains(&plant.writes.len()), "{:?}", plant.writes);
    let mut said = heard
        .iter()
        .filter_map(|values| values.items.get(&point_id(1)));
    let why = said.next_back().and_then(|item| item.reason.clone());
    assert!(
        why.as_ref()
            .is_some_and(|why| why.contains("; it is asked again at ")),
        "{why:?}"
    );
    // What goes on as it was is told with each try, and in the full reports of these hours, and not with each look.
    let (tries, heard) = (plant.writes.len(), run(&mut rig, &mut plant, 7_200_000));
    let told = heard.iter().filter(|values| !values.items.is_empty());
    let (told, tries) = (told.count(), plant.writes.len() - tries);
    assert!(told <= 2 * tries + 4, "{told} of {tries}");
    // A restart writes nothing at once, and asks within half an hour or so.
    let mut rig = restarted(wanted(), &mut plant);
    let tries = plant.writes.len();
    let heard = run(&mut rig, &mut plant, 900_000);
    assert_eq!((last(&heard, 1), plant.writes.len()), (DEVIATES, tries));
    run(&mut rig, &mut plant, 1_500_000);
    assert_eq!(plant.writes.len(), tries + 1);
    // It is repaired, and nothing of that shows.
    plant.most.clear();
    let heard = run(&mut rig, &mut plant, 5_000_000);
    assert_eq!(last(&heard, 1), HELD);
}

#[test]
fn a_revision_that_is_given_twice_is_another_wish() {
    let base = plant_target(&[1]);
    let mut first = set(base.clone(), &[(1, 72.5, 1)]);
    first.setpoints.items[0].valid_for_ms = Some(10_000);
    let mut rig = Rig::running(first);
    let mut plant = Plant::of(&[(1, 72.5)]);
    let heard = run(&mut rig, &mut plant, 20_000);
    assert_eq!(last(&heard, 1), (Conformity::InSync, Hold::Expired));
    // The hub was restored from a backup, and the same was set again, without an end.
    let mut again = set(base, &[(1, 72.5, 1)]);
    again.setpoints.revision += 1;
    rig.offer_and_hold(again);
    let heard = run(&mut rig, &mut plant, 20_000);
    assert_eq!(last(&heard, 1), HELD);
}

#[test]
fn a_look_that_is_asked_for_tries_once_more() {
    let (mut rig, mut plant) = limited();
    let mut look = wanted();
    look.look_revision += 1;
    rig.offer_and_hold(look);
    rig.take("verify");
    let alive = [(sensor_id(1), 1)].into();
    rig.event(holdfast_edge::machine::Event::Verified(alive));
    let heard = run(&mut rig, &mut plant, 600_000);
    assert_eq!(plant.writes.len(), 3);
    assert_eq!(last(&heard, 1), DEVIATES);
}

#[test]
fn an_instrument_whose_sensor_is_being_started_is_not_said_to_be_unreachable() {
    let mut rig = Rig::boot(held(Some(set(plant_target(&[1]), &[(1, 72.5, 1)]))));
    let mut plant = Plant::of(&[(1, 20.0)]);
    let mut heard = run(&mut rig, &mut plant, 12_000);
    rig.succeed(sensor_id(1));
    let before = rig.now;
    heard.extend(run(&mut rig, &mut plant, 1_000));
    assert_eq!(
        plant.writes.len(),
        1,
        "it is looked at as soon as it can be"
    );
    assert!(rig.now - before <= 1_000);
    let said = heard
        .iter()
        .filter_map(|values| values.items.get(&point_id(1)));
    let said: Vec<Hold> = said.map(|item| item.hold).collect();
    assert!(!said.contains(&Hold::Unreachable), "{said:?}");
    assert_eq!(last(&heard, 1), HELD);
}

#[test]
fn a_sensor_that_can_not_be_started_is_unreachable() {
    let mut rig = Rig::boot(held(Some(set(plant_target(&[1]), &[(1, 72.5, 1)]))));
    let mut plant = Plant::of(&[(1, 20.0)]);
    rig.fail(sensor_id(1), "no answer within 1 s");
    let heard = run(&mut rig, &mut plant, 10_000);
    assert_eq!(last(&heard, 1), (Conformity::Unknown, Hold::Unreachable));
}

#[test]
fn what_was_seen_before_a_wish_is_no_answer_to_it() {
    let base = plant_target(&[1]);
    let mut rig = Rig::running(set(base.clone(), &[(1, 72.5, 1)]));
    let mut plant = Plant::of(&[(1, 72.5)]);
    plant.moods.insert(point_id(1), Mood::Dead(100));
    let heard = run(&mut rig, &mut plant, 10_000);
    assert_eq!(last(&heard, 1), (Conformity::Unknown, Hold::Unreachable));
    // It comes back, and a new value is set before it was looked at again.
    plant.moods.clear();
    rig.offer_and_hold(set(base, &[(1, 80.0, 2)]));
    let heard = run(&mut rig, &mut plant, 2_000);
    let of_this = heard
        .iter()
        .filter_map(|values| values.items.get(&point_id(1)))
        .filter(|item| item.revision == 2);
    let said: Vec<Hold> = of_this.map(|item| item.hold).collect();
    assert!(!said.contains(&Hold::Unreachable), "{said:?}");
    assert_eq!(last(&heard, 1), HELD);
}

#[test]
fn a_guard_that_was_not_looked_at_yet_blocks_nothing_for_good() {
    let guards = json!([{ "pointId": point_id(2), "atLeast": 3.0 }]);
    let guarded = changed(
        1,
        json!({ "dataPoints": [output(1, json!({ "guards": guards }))] }),
    );
    let other = changed(2, json!({ "dataPoints": [output(2, json!({}))] }));
    let wanted = set(target(1, [guarded, other]), &[(1, 72.5, 1)]);
    let mut rig = Rig::boot(held(Some(wanted)));
    let mut plant = Plant::of(&[(1, 20.0), (2, 5.0)]);
    rig.succeed(sensor_id(1));
    let mut heard = run(&mut rig, &mut plant, 7_000);
    assert_eq!(plant.writes.len(), 0, "nothing is written on a guess");
    rig.succeed(sensor_id(2));
    heard.extend(run(&mut rig, &mut plant, 6_000));
    let said = heard
        .iter()
        .filter_map(|values| values.items.get(&point_id(1)));
    let said: Vec<Hold> = said.map(|item| item.hold).collect();
    assert!(!said.contains(&Hold::Blocked), "{said:?}");
    assert_eq!(last(&heard, 1), HELD);
    // A guard on an instrument whose sensor can't be started is not good.
    let guarded = changed(
        1,
        json!({ "dataPoints": [output(1, json!({ "guards": guards }))] }),
    );
    let other = changed(2, json!({ "dataPoints": [output(2, json!({}))] }));
    let wanted = set(target(1, [guarded, other]), &[(1, 72.5, 1)]);
    let mut rig = Rig::boot(held(Some(wanted)));
    let mut plant = Plant::of(&[(1, 20.0), (2, 5.0)]);
    rig.succeed(sensor_id(1));
    rig.fail(sensor_id(2), "no answer within 1 s");
    let heard = run(&mut rig, &mut plant, 12_000);
    assert_eq!(last(&heard, 1), (Conformity::Drifting, Hold::Blocked));
}
