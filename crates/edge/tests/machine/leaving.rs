//! Going to the safe value: once, before a stop is confirmed, then nothing; and when the hub is lost.

use holdfast_domain::{
    TargetState,
    document::hold::LoopState,
    document::setpoint::{Conformity, Hold, Policy},
};
use holdfast_edge::machine::Event;
use holdfast_ports::{hub_link::Polled, ledger::TurnedAway};
use serde_json::{Value, json};

use crate::{
    holding::{HELD, Mood, Plant, last, output, run, set, stopped},
    on_site::{hold_of, order, restarted, start, stop},
    rig::{Rig, away, held},
    support::{at, changed, point_id, sensor_id, target},
};

/// An output that is to hold 72.5, with these fields of its point.
#[allow(clippy::needless_pass_by_value, reason = "called with json!")]
fn wanted(fields: Value) -> TargetState {
    let sensor = changed(1, json!({ "dataPoints": [output(1, fields)] }));
    set(target(1, [sensor]), &[(1, 72.5, 1)])
}

fn to_20_on_stop() -> TargetState {
    wanted(json!({ "safeValue": 20.0, "onStop": "safeValue" }))
}

fn settled(target: TargetState) -> (Rig, Plant) {
    let mut rig = Rig::running(target);
    let mut plant = Plant::of(&[(1, 72.5)]);
    run(&mut rig, &mut plant, 10_000);
    assert_eq!(plant.writes.len(), 0);
    (rig, plant)
}

#[test]
fn an_output_goes_to_its_safe_value_once_before_the_stop_is_confirmed() {
    let (mut rig, mut plant) = settled(to_20_on_stop());
    order(&mut rig, 1, stop(None));
    run(&mut rig, &mut plant, 50);
    assert_eq!(plant.answered, []);
    assert_eq!(
        rig.machine.loop_view(at(rig.now)).state,
        LoopState::Stopping
    );
    let heard = run(&mut rig, &mut plant, 1_000);
    assert_eq!(plant.writes, [(point_id(1), 20.0)]);
    assert_eq!(plant.answered, [(1, Ok(()))]);
    assert_eq!(hold_of(&heard).state, LoopState::Stopped);
    // Then nothing, whatever it shows.
    plant.values.insert(point_id(1), 55.0);
    run(&mut rig, &mut plant, 600_000);
    assert_eq!(plant.writes.len(), 1);
    // Nor after a restart.
    let mut rig = restarted(to_20_on_stop(), &mut plant);
    run(&mut rig, &mut plant, 600_000);
    assert_eq!(plant.writes.len(), 1);
    order(&mut rig, 2, start());
    let heard = run(&mut rig, &mut plant, 1_000);
    assert_eq!(plant.writes, [(point_id(1), 20.0), (point_id(1), 72.5)]);
    assert_eq!(last(&heard, 1), HELD);
    let item = &heard.last().expect("a report").items[&point_id(1)];
    assert_eq!(item.changes, 0, "nobody turned a knob");
}

#[test]
fn a_stop_of_the_hub_sends_it_there_too_and_is_confirmed_after_that() {
    let (mut rig, mut plant) = settled(to_20_on_stop());
    rig.offer_and_hold(stopped(to_20_on_stop(), 1, None));
    let heard = run(&mut rig, &mut plant, 2_000);
    let states: Vec<LoopState> = heard
        .iter()
        .filter_map(|values| Some(values.hold.as_ref()?.state))
        .collect();
    assert_eq!(states.first(), Some(&LoopState::Stopping));
    assert_eq!(states.last(), Some(&LoopState::Stopped));
    assert_eq!(plant.writes, [(point_id(1), 20.0)]);
    // A stop on site on top of it sends nothing anywhere.
    plant.values.insert(point_id(1), 55.0);
    order(&mut rig, 1, stop(None));
    run(&mut rig, &mut plant, 60_000);
    assert_eq!(plant.writes.len(), 1);
    assert_eq!(plant.answered, [(1, Ok(()))]);
}

#[test]
fn a_stop_is_not_confirmed_before_it_stands_on_the_disk_that_outputs_are_left() {
    for of_the_hub in [false, true] {
        let (mut rig, mut plant) = settled(to_20_on_stop());
        if of_the_hub {
            rig.offer_and_hold(stopped(to_20_on_stop(), 1, None));
        } else {
            order(&mut rig, 1, stop(None));
        }
        run(&mut rig, &mut plant, 5);
        plant.disk_is_full = true;
        run(&mut rig, &mut plant, 10_000);
        assert_eq!(plant.writes, [(point_id(1), 20.0)]);
        let state = rig.machine.loop_view(at(rig.now)).state;
        assert_eq!((state, plant.answered.len()), (LoopState::Stopping, 0));
        plant.disk_is_full = false;
        let heard = run(&mut rig, &mut plant, 600_000);
        assert_eq!(hold_of(&heard).state, LoopState::Stopped);
        assert_eq!(plant.answered.len(), usize::from(!of_the_hub));
        // So what was confirmed is not gone to again.
        plant.values.insert(point_id(1), 55.0);
        let target = if of_the_hub {
            stopped(to_20_on_stop(), 1, None)
        } else {
            to_20_on_stop()
        };
        let mut rig = restarted(target, &mut plant);
        run(&mut rig, &mut plant, 60_000);
        assert_eq!(plant.writes.len(), 1);
    }
}

#[test]
fn what_is_wanted_on_the_way_to_the_safe_value_counts() {
    let (mut rig, mut plant) = settled(to_20_on_stop());
    plant.moods.insert(point_id(1), Mood::Dead(1_000));
    order(&mut rig, 1, stop(None));
    run(&mut rig, &mut plant, 5_000);
    let mut observed = to_20_on_stop();
    observed.setpoints.items[0].policy = Policy::Observe;
    observed.setpoints.items[0].revision = 2;
    observed.setpoints.revision = 2;
    rig.offer_and_hold(observed);
    plant.moods.clear();
    run(&mut rig, &mut plant, 60_000);
    assert_eq!(plant.writes.len(), 0, "what is only observed goes nowhere");
    assert_eq!(plant.answered, [(1, Ok(()))]);
}

#[test]
fn what_was_left_is_left_also_when_the_hub_had_turned_the_agent_away() {
    let (mut rig, mut plant) = settled(to_20_on_stop());
    order(&mut rig, 1, stop(None));
    run(&mut rig, &mut plant, 1_000);
    assert_eq!((plant.writes.len(), plant.answered.len()), (1, 1));
    plant.values.insert(point_id(1), 55.0);
    plant.forget_what_is_under_way();
    let mut disk = held(Some(to_20_on_stop()));
    disk.memory = plant.memory.clone().expect("it was kept");
    disk.turned_away = Some(TurnedAway::Revoked);
    let mut rig = Rig::boot(disk);
    rig.succeed(sensor_id(1));
    run(&mut rig, &mut plant, 300_000);
    assert_eq!(plant.writes.len(), 1);
}

#[test]
fn a_sensor_that_is_disabled_holds_up_no_stop() {
    let (mut rig, mut plant) = settled(to_20_on_stop());
    let fields = json!({
        "enabled": false,
        "dataPoints": [output(1, json!({ "safeValue": 20.0, "onStop": "safeValue" }))],
    });
    rig.offer_and_hold(set(target(2, [changed(1, fields)]), &[(1, 72.5, 1)]));
    run(&mut rig, &mut plant, 1_000);
    order(&mut rig, 1, stop(None));
    run(&mut rig, &mut plant, 10_000);
    assert_eq!(plant.answered, [(1, Ok(()))]);
    assert_eq!(plant.writes.len(), 0);
}

#[test]
fn what_it_showed_before_it_went_to_the_safe_value_is_not_said_to_be_in_sync() {
    let (mut rig, mut plant) = settled(to_20_on_stop());
    order(&mut rig, 1, stop(None));
    while rig.count("write") == 0 {
        run(&mut rig, &mut plant, 1);
    }
    let view = rig.machine.loop_view(at(rig.now));
    assert_eq!(view.points[0].conformity, Conformity::Unknown);
}

#[test]
fn what_shows_the_safe_value_already_is_not_written() {
    let at_it = wanted(json!({ "safeValue": 72.5, "onStop": "safeValue" }));
    let (mut rig, mut plant) = settled(at_it);
    order(&mut rig, 1, stop(None));
    run(&mut rig, &mut plant, 1_000);
    assert_eq!((plant.writes.len(), plant.answered.len()), (0, 1));
}

#[test]
fn what_keeps_its_value_or_is_only_observed_is_not_written() {
    let keeps = wanted(json!({ "safeValue": 20.0 }));
    let mut observed = to_20_on_stop();
    observed.setpoints.items[0].policy = Policy::Observe;
    for target in [keeps, observed] {
        let (mut rig, mut plant) = settled(target);
        order(&mut rig, 1, stop(None));
        run(&mut rig, &mut plant, 60_000);
        assert_eq!((plant.writes.len(), plant.answered.len()), (0, 1));
    }
}

#[test]
fn a_stop_is_not_confirmed_while_an_instrument_is_out_of_reach() {
    let (mut rig, mut plant) = settled(to_20_on_stop());
    plant.moods.insert(point_id(1), Mood::Dead(1_000));
    order(&mut rig, 1, stop(None));
    let heard = run(&mut rig, &mut plant, 600_000);
    assert_eq!(plant.answered, []);
    assert_eq!(hold_of(&heard).state, LoopState::Stopping);
    let view = rig.machine.loop_view(at(rig.now));
    let why = view.points[0].reason.clone().expect("it says why");
    assert!(
        why.contains("safe value 20") && why.contains("no answer"),
        "{why}"
    );
    plant.moods.clear();
    let heard = run(&mut rig, &mut plant, 10_000);
    assert_eq!(plant.writes, [(point_id(1), 20.0)]);
    assert_eq!(plant.answered, [(1, Ok(()))]);
    assert_eq!(hold_of(&heard).state, LoopState::Stopped);
}

#[test]
fn a_start_on_the_way_to_the_safe_value_turns_back() {
    let (mut rig, mut plant) = settled(to_20_on_stop());
    order(&mut rig, 1, stop(None));
    while rig.count("write") == 0 {
        run(&mut rig, &mut plant, 1);
    }
    order(&mut rig, 2, start());
    let heard = run(&mut rig, &mut plant, 2_000);
    assert_eq!(plant.answered.len(), 2);
    assert_eq!(plant.writes, [(point_id(1), 20.0), (point_id(1), 72.5)]);
    assert_eq!(last(&heard, 1), HELD);
}

#[test]
fn a_used_up_budget_leaves_a_share_for_the_safe_value() {
    let fields = json!({
        "safeValue": 20.0, "onStop": "safeValue", "writeBudget": { "perDay": 0, "lifetime": 100 },
    });
    let (mut rig, mut plant) = settled(wanted(fields));
    plant.values.insert(point_id(1), 60.0);
    let heard = run(&mut rig, &mut plant, 10_000);
    assert_eq!(last(&heard, 1).1, Hold::Blocked);
    order(&mut rig, 1, stop(None));
    run(&mut rig, &mut plant, 2_000);
    assert_eq!(plant.writes, [(point_id(1), 20.0)]);
}

#[test]
fn a_value_that_is_set_while_it_is_stopped_moves_nothing() {
    let sensor = changed(
        1,
        json!({ "dataPoints": [output(1, json!({ "safeValue": 20.0, "onStop": "safeValue" }))] }),
    );
    let base = target(1, [sensor]);
    let mut rig = Rig::running(base.clone());
    let mut plant = Plant::of(&[(1, 50.0)]);
    order(&mut rig, 1, stop(None));
    run(&mut rig, &mut plant, 1_000);
    rig.offer_and_hold(set(base, &[(1, 72.5, 1)]));
    let heard = run(&mut rig, &mut plant, 60_000);
    assert_eq!(last(&heard, 1).1, Hold::Paused);
    assert_eq!(plant.writes.len(), 0);
}

/// Lets time go by without a hub.
fn without_hub(rig: &mut Rig, plant: &mut Plant, ms: u64) {
    let end = rig.now + ms;
    while rig.now < end {
        for verb in ["poll", "report"] {
            while rig.verbs().contains(&verb) {
                rig.take(verb);
                let failed = match verb {
                    "poll" => Event::Polled(Err(away())),
                    _ => Event::Reported(Err(away())),
                };
                rig.event(failed);
            }
        }
        crate::holding::run_without_hub(rig, plant, 200.min(end - rig.now));
    }
}

fn lost_after_a_minute() -> TargetState {
    wanted(json!({ "safeValue": 20.0, "onHubLost": { "afterMs": 60_000, "then": "safeValue" } }))
}

#[test]
fn a_lost_hub_sends_an_output_to_its_safe_value_once_until_it_is_heard() {
    let (mut rig, mut plant) = settled(lost_after_a_minute());
    without_hub(&mut rig, &mut plant, 40_000);
    assert_eq!(plant.writes.len(), 0, "not yet");
    plant.values.insert(point_id(1), 60.0);
    without_hub(&mut rig, &mut plant, 6_000);
    assert_eq!(plant.writes, [(point_id(1), 72.5)], "it is held until then");
    without_hub(&mut rig, &mut plant, 30_000);
    assert_eq!(plant.writes.last(), Some(&(point_id(1), 20.0)));
    plant.values.insert(point_id(1), 33.0);
    without_hub(&mut rig, &mut plant, 300_000);
    assert_eq!(plant.writes.len(), 2, "then nothing");
    rig.wait_for(|effect| matches!(effect, holdfast_edge::machine::Effect::Poll { .. }));
    rig.take("poll");
    rig.event(Event::Polled(Ok(Polled::Unchanged)));
    let heard = run(&mut rig, &mut plant, 10_000);
    assert_eq!(plant.writes.last(), Some(&(point_id(1), 72.5)));
    assert_eq!(last(&heard, 1), HELD);
}

#[test]
fn the_time_without_a_hub_goes_on_after_a_restart() {
    let fields =
        json!({ "safeValue": 20.0, "onHubLost": { "afterMs": 600_000, "then": "safeValue" } });
    let target = wanted(fields);
    let (mut rig, mut plant) = settled(target.clone());
    without_hub(&mut rig, &mut plant, 400_000);
    assert_eq!(plant.writes.len(), 0);
    let mut rig = restarted(target.clone(), &mut plant);
    without_hub(&mut rig, &mut plant, 300_000);
    assert_eq!(
        plant.writes,
        [(point_id(1), 20.0)],
        "6 and 5 minutes are more than 10"
    );
    // Left is left.
    plant.values.insert(point_id(1), 33.0);
    let mut rig = restarted(target, &mut plant);
    without_hub(&mut rig, &mut plant, 300_000);
    assert_eq!(plant.writes.len(), 1);
}

#[test]
fn a_hub_that_answers_slowly_is_not_lost() {
    let fields =
        json!({ "safeValue": 20.0, "onHubLost": { "afterMs": 10_000, "then": "safeValue" } });
    let mut rig = Rig::running(wanted(fields));
    let mut plant = Plant::of(&[(1, 72.5)]);
    // Each poll is held as long as it asks for.
    for _ in 0..200 {
        rig.wait_for(|effect| matches!(effect, holdfast_edge::machine::Effect::Poll { .. }));
        let holdfast_edge::machine::Effect::Poll { wait_ms, .. } = rig.take("poll") else {
            unreachable!()
        };
        assert!(wait_ms < 5_000, "{wait_ms}");
        crate::holding::run_without_hub(&mut rig, &mut plant, wait_ms);
        rig.event(Event::Polled(Ok(Polled::Unchanged)));
    }
    assert_eq!(plant.writes.len(), 0);
}

#[test]
fn nothing_moves_at_a_technicians_hands_because_the_hub_is_lost() {
    let (mut rig, mut plant) = settled(lost_after_a_minute());
    order(&mut rig, 1, stop(None));
    without_hub(&mut rig, &mut plant, 600_000);
    assert_eq!(plant.writes.len(), 0);
    // Started again, with the hub still lost, it goes where it is to be then.
    order(&mut rig, 2, start());
    without_hub(&mut rig, &mut plant, 10_000);
    assert_eq!(plant.writes, [(point_id(1), 20.0)]);
}
