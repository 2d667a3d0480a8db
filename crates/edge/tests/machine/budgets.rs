//! Write budgets that last: over restarts, kills at every boundary, releases, and the replacement of an instrument.

use holdfast_domain::{
    ResetId, TargetState,
    document::{
        hold::HoldSettings,
        setpoint::{BudgetReset, Hold},
    },
    values::ReportedValues,
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    holding::{Plant, last, output, run, set},
    on_site::restarted,
    rig::Rig,
    support::{changed, point_id, target},
};

const HOUR_MS: u64 = 3_600_000;
const PASS_MS: u64 = 600_000;
const PER_DAY: usize = 12;

/// An output of which somebody turns the knob all the time, with twelve writes a day.
fn wanted() -> TargetState {
    let fields = json!({ "writeBudget": { "perDay": PER_DAY, "lifetime": 10_000 } });
    let sensor = changed(1, json!({ "dataPoints": [output(1, fields)] }));
    let mut target = set(target(1, [sensor]), &[(1, 72.5, 1)]);
    target.hold = HoldSettings {
        revision: 1,
        interval_ms: u32::try_from(PASS_MS).expect("it fits"),
        restores_per_hour: 3_600,
        ..HoldSettings::default()
    };
    target
}

/// The same after the instrument was replaced.
fn replaced(mut target: TargetState, number: u128) -> TargetState {
    target.setpoints.revision += 1;
    target.setpoints.resets = vec![BudgetReset {
        point_id: point_id(1),
        id: ResetId(Uuid::from_u128(number)),
    }];
    target
}

/// An agent, the disk and the instrument; it is started again when it was killed.
struct World {
    rig: Rig,
    plant: Plant,
    target: TargetState,
    heard: Vec<ReportedValues>,
}

impl World {
    fn new(lives: Option<u32>) -> Self {
        let mut plant = Plant::of(&[(1, 0.0)]);
        plant.lives = lives;
        Self {
            rig: Rig::running(wanted()),
            plant,
            target: wanted(),
            heard: Vec::new(),
        }
    }

    fn restart(&mut self) {
        self.plant.lives = None;
        self.rig = restarted(self.target.clone(), &mut self.plant);
    }

    /// Lets the agent run so long; the knob is turned between any two passes.
    fn run(&mut self, ms: u64) {
        for _ in 0..ms / PASS_MS {
            self.pass_time(PASS_MS / 3);
            self.plant.values.insert(point_id(1), 0.0);
            self.pass_time(PASS_MS - PASS_MS / 3);
            if self.plant.lives == Some(0) {
                self.restart();
            }
        }
    }

    fn pass_time(&mut self, ms: u64) {
        let heard = run(&mut self.rig, &mut self.plant, ms);
        self.heard.extend(heard);
    }

    fn offer(&mut self, target: TargetState) {
        self.target = target.clone();
        self.rig.offer_and_hold(target);
    }

    fn writes(&self) -> usize {
        self.plant.writes.len()
    }
}

#[test]
fn a_days_writes_are_counted_over_restarts() {
    let mut world = World::new(None);
    world.run(HOUR_MS);
    assert_eq!(world.writes(), 7, "at once, and each ten minutes");
    for hour in 1..23 {
        world.restart();
        world.run(HOUR_MS);
        assert!(world.writes() <= PER_DAY, "after {hour} h");
    }
    assert_eq!(world.writes(), PER_DAY);
    assert_eq!(last(&world.heard, 1).1, Hold::Blocked);
    // The day ends, a quarter of an hour late at most for each restart.
    world.run(7 * HOUR_MS);
    assert_eq!(world.writes(), 2 * PER_DAY);
}

#[test]
fn a_day_without_restarts_ends_after_24_hours() {
    let mut world = World::new(None);
    world.run(24 * HOUR_MS - PASS_MS);
    assert_eq!(world.writes(), PER_DAY);
    world.run(3 * HOUR_MS);
    assert_eq!(world.writes(), 2 * PER_DAY);
}

#[test]
fn killed_at_every_boundary_no_day_has_more_writes_than_it_may() {
    // Each write is booked and made, and what remains of the day is noted each quarter of an hour.
    for lives in 1..30 {
        let mut world = World::new(Some(lives));
        world.run(24 * HOUR_MS - PASS_MS);
        assert!(
            world.writes() <= PER_DAY,
            "killed after {lives}: {}",
            world.writes()
        );
        assert!(
            world.writes() >= PER_DAY - 2,
            "killed after {lives}: a block is lost at most"
        );
        world.run(3 * HOUR_MS);
        assert!(
            world.writes() > PER_DAY,
            "killed after {lives}: the next day came"
        );
        assert!(world.writes() <= 2 * PER_DAY, "killed after {lives}");
    }
}

#[test]
fn a_value_that_is_released_and_set_again_has_no_new_day() {
    let mut world = World::new(None);
    world.run(3 * HOUR_MS);
    assert_eq!(world.writes(), PER_DAY);
    for revision in 0..10 {
        let mut released = world.target.clone();
        released.setpoints.items.clear();
        released.setpoints.revision += 1;
        world.offer(released);
        world.run(PASS_MS);
        let before = world.target.clone();
        let mut again = set(before, &[(1, 72.5, 10 + 2 * revision)]);
        again.hold = world.target.hold.clone();
        world.offer(again);
        world.run(PASS_MS);
    }
    assert_eq!(world.writes(), PER_DAY);
}

#[test]
fn a_replaced_instrument_has_a_budget_of_its_own_once() {
    let mut world = World::new(None);
    world.run(3 * HOUR_MS);
    assert_eq!(world.writes(), PER_DAY);
    world.offer(replaced(world.target.clone(), 7));
    world.run(3 * HOUR_MS);
    assert_eq!(world.writes(), 2 * PER_DAY);
    let said = world
        .heard
        .iter()
        .rev()
        .find(|values| !values.resets.is_empty());
    let said = said.expect("it is told");
    assert_eq!(said.resets[&point_id(1)], ResetId(Uuid::from_u128(7)));
    let item = world
        .heard
        .last()
        .expect("a report")
        .items
        .get(&point_id(1));
    assert!(item.is_none_or(|item| item.writes <= PER_DAY as u64));
    // The same again, after restarts, in another target, or from a hub that was restored.
    world.restart();
    world.run(HOUR_MS);
    let mut later = world.target.clone();
    later.setpoints.revision += 1;
    world.offer(later);
    world.run(HOUR_MS);
    world.restart();
    world.run(PASS_MS);
    world.offer(replaced(world.target.clone(), 8));
    world.run(3 * HOUR_MS);
    assert_eq!(world.writes(), 3 * PER_DAY);
    world.offer(replaced(world.target.clone(), 7));
    world.run(3 * HOUR_MS);
    assert_eq!(world.writes(), 3 * PER_DAY);
}

#[test]
fn killed_at_every_boundary_a_reset_acts_once() {
    for lives in 1..30 {
        let mut world = World::new(None);
        world.run(3 * HOUR_MS);
        world.plant.lives = Some(lives);
        world.offer(replaced(world.target.clone(), 7));
        world.run(5 * HOUR_MS);
        world.restart();
        world.run(5 * HOUR_MS);
        let writes = world.writes();
        assert!(writes <= 2 * PER_DAY, "killed after {lives}: {writes}");
        assert!(writes >= 2 * PER_DAY - 2, "killed after {lives}: {writes}");
        let said = world
            .heard
            .iter()
            .rev()
            .find(|values| !values.resets.is_empty());
        assert!(said.is_some(), "killed after {lives}");
    }
}

#[test]
fn a_reset_is_told_when_it_is_on_the_disk() {
    let mut world = World::new(None);
    world.run(HOUR_MS);
    world.plant.disk_is_full = true;
    world.heard.clear();
    world.offer(replaced(world.target.clone(), 7));
    world.run(HOUR_MS);
    let is_told = |world: &World| world.heard.iter().any(|values| !values.resets.is_empty());
    assert!(!is_told(&world));
    assert_eq!(world.writes(), 7, "nothing is written that can't be booked");
    world.plant.disk_is_full = false;
    world.run(HOUR_MS);
    assert!(is_told(&world));
    assert!(world.writes() > 6);
}
