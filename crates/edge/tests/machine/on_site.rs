//! Stops on site: they win over the hub, survive restarts, and end by themselves.

use holdfast_domain::{
    PointValue,
    document::hold::{LocalStop, LoopState},
    document::setpoint::{Conformity, Hold},
    hold::{Left, LoopMemory},
    row::Actor,
    values::ReportedValues,
};
use holdfast_edge::{
    LocalOrder,
    machine::{Effect, Event},
};

use crate::{
    holding::{HELD, Mood, Plant, last, plant_target, run, set, stopped},
    rig::{Rig, held},
    support::{at, point_id, sensor_id},
};

pub(crate) fn stop(for_ms: Option<u64>) -> LocalOrder {
    LocalOrder::Stop {
        by: Actor::named("technician"),
        reason: "belt change".into(),
        for_ms,
    }
}

pub(crate) fn start() -> LocalOrder {
    LocalOrder::Start {
        by: Actor::named("technician"),
        reason: Some("done".into()),
    }
}

pub(crate) fn order(rig: &mut Rig, number: u64, order: LocalOrder) {
    rig.event(Event::Ordered { number, order });
}

pub(crate) fn hold_of(heard: &[ReportedValues]) -> holdfast_domain::document::hold::HoldReport {
    let said = heard.iter().rev().find_map(|values| values.hold.clone());
    said.expect("the hub was told how the loop runs")
}

/// An output in sync at 72.5.
pub(crate) fn settled() -> (Rig, Plant) {
    let mut rig = Rig::running(set(plant_target(&[1]), &[(1, 72.5, 1)]));
    let mut plant = Plant::of(&[(1, 72.5)]);
    run(&mut rig, &mut plant, 10_000);
    (rig, plant)
}

/// The same agent after a restart, with what its disk holds.
pub(crate) fn restarted(target: holdfast_domain::TargetState, plant: &mut Plant) -> Rig {
    plant.forget_what_is_under_way();
    let mut disk = held(Some(target));
    disk.memory = plant.memory.clone().unwrap_or_default();
    disk.booked.clone_from(&plant.accounts);
    let mut rig = Rig::boot(disk);
    rig.succeed(sensor_id(1));
    rig
}

#[test]
fn a_stop_on_site_ends_writing_and_not_looking() {
    let (mut rig, mut plant) = settled();
    order(&mut rig, 1, stop(None));
    plant.values.insert(point_id(1), 60.0);
    rig.counts.clear();
    let heard = run(&mut rig, &mut plant, 60_000);
    assert_eq!(plant.answered, [(1, Ok(()))]);
    assert_eq!(last(&heard, 1), (Conformity::Drifting, Hold::Paused));
    let hold = hold_of(&heard);
    assert_eq!(hold.state, LoopState::Stopped);
    let local = hold.local.expect("the hub hears of it");
    assert_eq!(
        (local.by.as_str(), local.reason.as_str()),
        ("technician", "belt change")
    );
    assert!(rig.count("read") >= 10, "looking never stops");
    assert_eq!(plant.writes.len(), 0);

    order(&mut rig, 2, start());
    let heard = run(&mut rig, &mut plant, 1_000);
    assert_eq!(plant.answered.last(), Some(&(2, Ok(()))));
    assert_eq!(plant.writes, [(point_id(1), 72.5)]);
    assert_eq!(last(&heard, 1), HELD);
    let hold = hold_of(&heard);
    assert_eq!((hold.state, hold.local), (LoopState::Active, None));
    let ended = hold.local_ended.expect("the hub hears who lifted it");
    assert_eq!(ended.by, Some(Actor::named("technician")));
}

#[test]
fn the_hub_lifts_no_stop_on_site() {
    let (mut rig, mut plant) = settled();
    let base = set(plant_target(&[1]), &[(1, 72.5, 1)]);
    order(&mut rig, 1, stop(None));
    plant.values.insert(point_id(1), 60.0);
    rig.offer_and_hold(stopped(base.clone(), 1, None));
    run(&mut rig, &mut plant, 10_000);
    let mut lifted = base;
    lifted.hold.revision = 2;
    rig.offer_and_hold(lifted);
    let heard = run(&mut rig, &mut plant, 30_000);
    let hold = hold_of(&heard);
    assert_eq!((hold.held_revision, hold.state), (2, LoopState::Stopped));
    assert_eq!(plant.writes.len(), 0);
}

#[test]
fn a_start_on_site_lifts_no_stop_of_the_hub() {
    let (mut rig, mut plant) = settled();
    order(&mut rig, 1, stop(None));
    rig.offer_and_hold(stopped(set(plant_target(&[1]), &[(1, 72.5, 1)]), 1, None));
    plant.values.insert(point_id(1), 60.0);
    run(&mut rig, &mut plant, 10_000);
    order(&mut rig, 2, start());
    run(&mut rig, &mut plant, 30_000);
    assert_eq!(plant.answered.last(), Some(&(2, Ok(()))));
    assert_eq!(plant.writes.len(), 0);
    let view = rig.machine.loop_view(at(rig.now));
    assert_eq!(
        (view.state, view.local, view.pauses.len()),
        (LoopState::Stopped, None, 1)
    );
}

#[test]
fn a_stop_on_site_ends_by_itself_and_says_so() {
    let (mut rig, mut plant) = settled();
    order(&mut rig, 1, stop(Some(60_000)));
    plant.values.insert(point_id(1), 60.0);
    run(&mut rig, &mut plant, 59_000);
    assert_eq!(plant.writes.len(), 0);
    let heard = run(&mut rig, &mut plant, 2_000);
    assert_eq!(plant.writes, [(point_id(1), 72.5)]);
    let ended = hold_of(&heard).local_ended.expect("it says so");
    assert_eq!((ended.by, ended.stopped_by.as_str()), (None, "technician"));
    let memory = plant.memory.expect("it was written down");
    assert_eq!(memory.local, None);
}

#[test]
fn a_stop_goes_on_after_a_restart_with_what_remained() {
    let target = set(plant_target(&[1]), &[(1, 72.5, 1)]);
    let (mut rig, mut plant) = settled();
    order(&mut rig, 1, stop(Some(600_000)));
    run(&mut rig, &mut plant, 190_000);
    // However long the agent is off: what remains is written down each minute.
    plant.values.insert(point_id(1), 60.0);
    let mut rig = restarted(target.clone(), &mut plant);
    let left = rig
        .machine
        .loop_view(at(rig.now))
        .local
        .expect("it goes on")
        .remaining_ms;
    assert!(
        (410_000..=480_000).contains(&left.expect("it ends")),
        "{left:?}"
    );
    run(&mut rig, &mut plant, 400_000);
    assert_eq!(plant.writes.len(), 0);
    run(&mut rig, &mut plant, 90_000);
    assert_eq!(plant.writes, [(point_id(1), 72.5)]);
    // What is over stays over.
    let rig = restarted(target, &mut plant);
    assert_eq!(rig.machine.loop_view(at(rig.now)).local, None);
}

#[test]
fn a_stop_is_confirmed_when_it_is_on_the_disk() {
    let (mut rig, mut plant) = settled();
    plant.disk_is_full = true;
    order(&mut rig, 1, stop(None));
    plant.values.insert(point_id(1), 60.0);
    run(&mut rig, &mut plant, 20_000);
    let (number, result) = plant.answered.first().expect("it is answered");
    let error = result.clone().expect_err("it is not on the disk");
    assert_eq!(*number, 1);
    assert!(
        error.contains("stopped now") && error.contains("no space left"),
        "{error}"
    );
    assert_eq!(plant.writes.len(), 0, "it is stopped all the same");
    plant.disk_is_full = false;
    run(&mut rig, &mut plant, 600_000);
    assert!(
        plant
            .memory
            .as_ref()
            .expect("there is room")
            .local
            .is_some()
    );
    assert_eq!(plant.writes.len(), 0);
}

#[test]
fn a_start_that_is_not_on_the_disk_starts_nothing() {
    let (mut rig, mut plant) = settled();
    order(&mut rig, 1, stop(None));
    plant.values.insert(point_id(1), 60.0);
    run(&mut rig, &mut plant, 10_000);
    plant.disk_is_full = true;
    order(&mut rig, 2, start());
    run(&mut rig, &mut plant, 60_000);
    let (_, result) = plant.answered.last().expect("it is answered");
    assert!(result.is_err());
    assert_eq!(plant.writes.len(), 0);
    plant.disk_is_full = false;
    run(&mut rig, &mut plant, 600_000);
    assert_eq!(
        plant.writes.len(),
        0,
        "a refused order is not carried out later"
    );
    order(&mut rig, 3, start());
    run(&mut rig, &mut plant, 1_000);
    assert_eq!(plant.writes.len(), 1);
}

#[test]
fn a_write_under_way_ends_and_is_read_back_before_the_stop_is_confirmed() {
    let (mut rig, mut plant) = settled();
    plant.values.insert(point_id(1), 60.0);
    // Up to the moment at which the write is given to the adapter.
    while rig.count("write") == 0 {
        run(&mut rig, &mut plant, 1);
    }
    order(&mut rig, 1, stop(None));
    run(&mut rig, &mut plant, 50);
    assert_eq!(plant.answered, [], "it is not read back yet");
    assert_eq!(
        rig.machine.loop_view(at(rig.now)).state,
        LoopState::Stopping
    );
    let heard = run(&mut rig, &mut plant, 400);
    assert_eq!(plant.answered, [(1, Ok(()))]);
    assert_eq!(plant.writes, [(point_id(1), 72.5)]);
    assert_eq!(last(&heard, 1), (Conformity::InSync, Hold::Paused));
    assert_eq!(hold_of(&heard).state, LoopState::Stopped);
    plant.values.insert(point_id(1), 60.0);
    run(&mut rig, &mut plant, 60_000);
    assert_eq!(plant.writes.len(), 1, "nothing new begins");
}

#[test]
fn a_booked_write_is_not_made_after_a_stop() {
    let base = plant_target(&[1]);
    let mut rig = Rig::running(base.clone());
    let mut plant = Plant::of(&[(1, 20.0)]);
    rig.offer_and_hold(set(base, &[(1, 72.5, 1)]));
    while rig.count("book") == 0 {
        run(&mut rig, &mut plant, 1);
    }
    assert_eq!(rig.count("write"), 0);
    order(&mut rig, 1, stop(None));
    run(&mut rig, &mut plant, 60_000);
    assert_eq!(plant.answered, [(1, Ok(()))]);
    assert_eq!(plant.writes.len(), 0);
}

#[test]
fn starting_what_runs_and_stopping_the_same_again_is_answered_at_once() {
    let (mut rig, mut plant) = settled();
    order(&mut rig, 1, start());
    let answer = Effect::Answer {
        number: 1,
        result: Ok(()),
    };
    assert!(rig.open.contains(&answer), "{:?}", rig.open);
    order(&mut rig, 2, stop(None));
    run(&mut rig, &mut plant, 1_000);
    rig.counts.clear();
    order(&mut rig, 3, stop(None));
    assert!(
        rig.open
            .iter()
            .any(|effect| matches!(effect, Effect::Answer { number: 3, .. }))
    );
    run(&mut rig, &mut plant, 600_000);
    assert_eq!(rig.count("remember"), 0, "nothing changed");
}

#[test]
fn an_interval_set_on_site_counts_until_it_is_taken_back() {
    let target = set(plant_target(&[1]), &[(1, 72.5, 1)]);
    let (mut rig, mut plant) = settled();
    order(&mut rig, 1, LocalOrder::Interval(Some(1_000)));
    run(&mut rig, &mut plant, 10_000);
    rig.counts.clear();
    run(&mut rig, &mut plant, 60_000);
    assert_eq!(rig.count("read"), 60);
    let mut rig = restarted(target, &mut plant);
    assert_eq!(rig.machine.loop_view(at(rig.now)).interval_ms, 1_000);
    order(&mut rig, 2, LocalOrder::Interval(None));
    run(&mut rig, &mut plant, 1_000);
    assert_eq!(rig.machine.loop_view(at(rig.now)).interval_ms, 5_000);
}

#[test]
fn what_remains_of_setpoints_and_pauses_goes_on_after_a_restart() {
    let mut target = stopped(
        set(plant_target(&[1, 2]), &[(1, 72.5, 1), (2, 30.0, 1)]),
        1,
        Some(300_000),
    );
    target.setpoints.items[1].valid_for_ms = Some(600_000);
    let mut rig = Rig::running(target.clone());
    let mut plant = Plant::of(&[(1, 72.5), (2, 30.0)]);
    run(&mut rig, &mut plant, 200_000);
    let memory = plant.memory.clone().expect("it is written down");
    let Left { revision, ms } = memory.setpoints[&point_id(2)];
    assert!(
        revision == 1 && (395_000..=460_000).contains(&ms),
        "{memory:?}"
    );
    // Three restarts, each after a while: the time goes on, it does not begin anew.
    for _ in 0..3 {
        plant.forget_what_is_under_way();
        let mut disk = held(Some(target.clone()));
        disk.memory = plant.memory.clone().expect("a memory");
        rig = Rig::boot(disk);
        rig.succeed(sensor_id(1));
        rig.succeed(sensor_id(2));
        run(&mut rig, &mut plant, 90_000);
    }
    let view = rig.machine.loop_view(at(rig.now));
    assert_eq!((view.state, view.pauses.len()), (LoopState::Active, 0));
    plant.values.insert(point_id(2), 0.0);
    let heard = run(&mut rig, &mut plant, 300_000);
    assert_eq!(last(&heard, 2).1, Hold::Expired);
    let writes = plant.writes.len();
    let mut disk = held(Some(target));
    disk.memory = plant.memory.clone().expect("a memory");
    assert_eq!(disk.memory.setpoints[&point_id(2)].ms, 0);
    rig = Rig::boot(disk);
    rig.succeed(sensor_id(1));
    rig.succeed(sensor_id(2));
    plant.values.insert(point_id(2), 1.0);
    run(&mut rig, &mut plant, 60_000);
    assert_eq!(
        plant.writes.len(),
        writes,
        "what has ended does not begin anew"
    );
}

#[test]
fn nothing_is_written_down_where_nothing_runs_down() {
    let (mut rig, mut plant) = settled();
    run(&mut rig, &mut plant, 3_600_000);
    assert_eq!(plant.remembered, 0);
    order(&mut rig, 1, stop(None));
    run(&mut rig, &mut plant, 3_600_000);
    assert!(
        plant.remembered <= 2,
        "a stop without an end runs down nowhere: {}",
        plant.remembered
    );
}

#[test]
fn what_is_seen_on_site_says_what_differs_and_why() {
    let (mut rig, mut plant) = settled();
    order(&mut rig, 1, stop(Some(60_000)));
    plant.values.insert(point_id(1), 60.0);
    run(&mut rig, &mut plant, 10_000);
    let view = rig.machine.loop_view(at(rig.now));
    assert_eq!((view.outputs, view.differing), (1, 1));
    let point = &view.points[0];
    assert_eq!(
        point.name.as_ref().map(|name| name.as_str()),
        Some("output-1")
    );
    assert_eq!(
        point.sensor_name.as_ref().map(|name| name.as_str()),
        Some("sensor-1")
    );
    assert_eq!(
        (&point.wanted, &point.real),
        (&PointValue::Number(72.5), &Some(PointValue::Number(60.0)))
    );
    assert!(
        point
            .reason
            .as_ref()
            .expect("a reason")
            .contains("on site by technician: belt change")
    );
    assert_eq!(
        (view.last_pass_ms, view.recommended_interval_ms),
        (Some(2), Some(100))
    );
    plant.moods.insert(point_id(1), Mood::Dead(8_000));
    run(&mut rig, &mut plant, 90_000);
    let view = rig.machine.loop_view(at(rig.now));
    assert!(
        view.overruns > 0 && view.recommended_interval_ms == Some(10_000),
        "{view:?}"
    );
    assert!(
        view.errors[0].error.contains("no answer"),
        "{:?}",
        view.errors
    );
}

#[test]
fn a_disk_that_says_nothing_of_the_loop_is_one_on_which_nothing_was_done() {
    let memory: LoopMemory = serde_json::from_str("{}").expect("every field may be left out");
    assert_eq!(memory, LoopMemory::default());
    let stop: LocalStop = serde_json::from_str(r#"{ "by": "x", "reason": "y" }"#).expect("a stop");
    assert_eq!(stop.remaining_ms, None);
}
