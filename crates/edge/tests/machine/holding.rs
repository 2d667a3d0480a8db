//! The value loop of the machine: when outputs are looked at, what is written to them, and what the hub hears.

use std::collections::BTreeMap;

use holdfast_domain::{
    PauseId, PointId, PointValue, Quality, TargetState,
    document::{
        hold::{HoldSettings, LoopState, Pause, Scope},
        setpoint::{Conformity, Hold, Policy, Setpoint, Setpoints},
    },
    hold::{Account, LoopMemory, WriteOutcome},
    row::Actor,
    values::ReportedValues,
};
use holdfast_edge::machine::{Effect, Event, PointsRead};
use holdfast_ports::bus::Fresh;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    rig::{Rig, held},
    support::{changed, point_id, sensor_id, target},
};

/// How an instrument behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// As well, within the same ms.
    Quick,
    /// Reads come back bad after this long, in ms.
    Dead(u64),
}

/// The instruments behind the points.
#[derive(Default)]
pub(crate) struct Plant {
    pub(crate) values: BTreeMap<PointId, f64>,
    pub(crate) moods: BTreeMap<PointId, Mood>,
    pub(crate) most: BTreeMap<PointId, f64>,
    pub(crate) writes: Vec<(PointId, f64)>,
    booked: Vec<(PointId, Account)>,
    /// What the ledger says of writes.
    pub(crate) accounts: BTreeMap<PointId, Account>,
    /// Half steps until the agent is killed: an odd number ends before something is done, an even one after it, with the
    /// answer lost. 0: it is dead.
    pub(crate) lives: Option<u32>,
    /// What the ledger was told to remember, how often, and whether it can.
    pub(crate) memory: Option<LoopMemory>,
    pub(crate) remembered: u64,
    pub(crate) disk_is_full: bool,
    /// What became of orders on site.
    pub(crate) answered: Vec<(u64, Result<(), String>)>,
    /// How long reads take, in ms, in turn; 2 where nothing is said.
    pub(crate) delays: Vec<u64>,
    /// What is on its way back, by when.
    answers: Vec<(u64, Event)>,
}

impl Plant {
    pub(crate) fn of(values: &[(u128, f64)]) -> Self {
        Self {
            values: values
                .iter()
                .map(|(n, value)| (point_id(*n), *value))
                .collect(),
            ..Self::default()
        }
    }

    /// The agent is gone, and with it what it would have heard.
    pub(crate) fn forget_what_is_under_way(&mut self) {
        self.answers.clear();
    }

    fn mood(&self, point: PointId) -> Mood {
        self.moods.get(&point).copied().unwrap_or(Mood::Well)
    }

    fn read(&self, point: PointId) -> Fresh {
        match self.mood(point) {
            Mood::Well | Mood::Quick => Fresh {
                value: self
                    .values
                    .get(&point)
                    .map(|value| PointValue::Number(*value)),
                quality: Quality::Good,
                reason: None,
            },
            Mood::Dead(_) => Fresh {
                value: None,
                quality: Quality::Bad,
                reason: Some("no answer within 1 s".into()),
            },
        }
    }

    /// Does the agent live on, and is this done?
    fn is_done(&mut self, effect: &Effect) -> bool {
        let counts = matches!(
            effect,
            Effect::WritePoint { .. } | Effect::BookWrites { .. } | Effect::Remember(_)
        );
        let Some(lives) = self.lives.as_mut().filter(|lives| counts || **lives == 0) else {
            return true;
        };
        let is_done = *lives > 1;
        *lives = lives.saturating_sub(2);
        is_done
    }

    fn take(&mut self, effect: Effect, now: u64) {
        if !self.is_done(&effect) {
            return;
        }
        match effect {
            Effect::ReadPoints {
                sensor,
                points,
                asked_at,
                ..
            } => {
                let usual = self.delays.first().copied().unwrap_or(2);
                if !self.delays.is_empty() {
                    self.delays.rotate_left(1);
                }
                let slow = |point: &PointId| match self.mood(*point) {
                    Mood::Well => usual,
                    Mood::Quick => 0,
                    Mood::Dead(ms) => ms,
                };
                let delay = points.iter().map(slow).max().unwrap_or(0);
                let shown = points.iter().map(|point| self.read(*point)).collect();
                let answer = Event::Read(PointsRead {
                    sensor,
                    points,
                    asked_at,
                    shown,
                });
                self.answers.push((now + delay, answer));
            }
            Effect::WritePoint { point, value, .. } => {
                let PointValue::Number(value) = value else {
                    panic!("a number was set, {value} is written")
                };
                self.writes.push((point, value));
                let outcome = match self.mood(point) {
                    Mood::Well | Mood::Quick => {
                        let most = self.most.get(&point).copied().unwrap_or(f64::MAX);
                        self.values.insert(point, value.min(most));
                        WriteOutcome::Acknowledged
                    }
                    Mood::Dead(_) => WriteOutcome::NotSent("no answer within 1 s".into()),
                };
                let ends = now + 3 * u64::from(self.mood(point) != Mood::Quick);
                self.answers.push((ends, Event::Wrote { point, outcome }));
            }
            Effect::BookWrites { point, booked } => {
                self.booked.push((point, booked.clone()));
                let result = if self.disk_is_full {
                    Err("no space left on device".to_owned())
                } else {
                    let kept = self.accounts.entry(point).or_default();
                    *kept = std::mem::take(kept).joined(&booked);
                    Ok(())
                };
                self.answers.push((
                    now + 1,
                    Event::Booked {
                        point,
                        booked,
                        result,
                    },
                ));
            }
            Effect::Remember(memory) => {
                self.remembered += 1;
                let result = if self.disk_is_full {
                    Err("no space left on device".to_owned())
                } else {
                    self.memory = Some(*memory);
                    Ok(())
                };
                self.answers.push((now + 1, Event::Remembered(result)));
            }
            Effect::Answer { number, result } => self.answered.push((number, result)),
            _ => {}
        }
        if self.lives == Some(0) {
            self.answers.clear();
        }
    }
}

fn is_of_the_plant(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::ReadPoints { .. }
            | Effect::WritePoint { .. }
            | Effect::BookWrites { .. }
            | Effect::Remember(_)
            | Effect::Answer { .. }
    )
}

/// Lets `ms` go by; the instruments, the ledger and the hub answer. Gives what the hub heard of outputs, in order.
pub(crate) fn run(rig: &mut Rig, plant: &mut Plant, ms: u64) -> Vec<ReportedValues> {
    go(rig, plant, ms, true)
}

/// The same, but for the hub.
pub(crate) fn run_without_hub(rig: &mut Rig, plant: &mut Plant, ms: u64) {
    go(rig, plant, ms, false);
}

fn go(rig: &mut Rig, plant: &mut Plant, ms: u64, hub_answers: bool) -> Vec<ReportedValues> {
    let end = rig.now + ms;
    let mut heard = Vec::new();
    loop {
        while let Some(effect) = rig.find(is_of_the_plant) {
            plant.take(effect, rig.now);
        }
        while hub_answers
            && rig
                .open
                .iter()
                .any(|effect| matches!(effect, Effect::Report(_)))
        {
            heard.extend(rig.report_taken().values);
        }
        let answer = plant.answers.iter().map(|(at, _)| *at).min();
        let wake = rig.machine.next_wake();
        let next = [answer, wake].into_iter().flatten().min().unwrap_or(end);
        if next > end {
            rig.now = end;
            return heard;
        }
        rig.now = next.max(rig.now);
        match plant.answers.iter().position(|(at, _)| *at <= rig.now) {
            Some(place) => {
                let (_, event) = plant.answers.remove(place);
                rig.event(event);
            }
            None => rig.event(Event::Tick),
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "called with json!")]
pub(crate) fn output(number: u128, fields: Value) -> Value {
    let mut point = json!({
        "id": point_id(number), "name": format!("output-{number}"), "table": "holding", "address": 200 + number,
        "dataType": "int16", "scale": 0.1, "writable": true, "settleMs": 100,
    });
    for (key, value) in fields.as_object().expect("fields") {
        point[key] = value.clone();
    }
    point
}

/// A target of sensors with an output each.
pub(crate) fn plant_target(numbers: &[u128]) -> TargetState {
    let sensors = numbers.iter().map(|number| {
        changed(
            *number,
            json!({ "dataPoints": [output(*number, json!({}))] }),
        )
    });
    target(1, sensors)
}

fn wish(target: &TargetState, number: u128, value: f64, revision: u64) -> Setpoint {
    let point = point_id(number);
    let rules = target
        .items
        .iter()
        .find_map(|item| item.sensor.content().binding.point_rules(point))
        .expect("the point is there");
    Setpoint {
        point_id: point,
        bound_to: rules.identity,
        value: PointValue::Number(value),
        tolerance: None,
        policy: Policy::Enforce,
        set_by: Actor::named("anna"),
        reason: None,
        revision,
        valid_for_ms: None,
        extra: serde_json::Map::new(),
    }
}

/// The target with these values set; the revision is the highest of them.
pub(crate) fn set(mut target: TargetState, wishes: &[(u128, f64, u64)]) -> TargetState {
    let items: Vec<Setpoint> = wishes
        .iter()
        .map(|(number, value, revision)| wish(&target, *number, *value, *revision))
        .collect();
    let revision = items
        .iter()
        .map(|item| item.revision)
        .max()
        .unwrap_or(target.setpoints.revision + 1);
    target.setpoints = Setpoints {
        revision,
        items,
        ..target.setpoints
    };
    target
}

pub(crate) fn stopped(
    mut target: TargetState,
    revision: u64,
    remaining_ms: Option<u64>,
) -> TargetState {
    target.hold = HoldSettings {
        revision,
        pauses: vec![Pause {
            id: PauseId(Uuid::from_u128(u128::from(revision))),
            scope: Scope::Device,
            by: Actor::named("ben"),
            reason: Some("belt change".into()),
            remaining_ms,
        }],
        ..HoldSettings::default()
    };
    target
}

pub(crate) fn last(heard: &[ReportedValues], number: u128) -> (Conformity, Hold) {
    let item = heard
        .iter()
        .rev()
        .find_map(|values| values.items.get(&point_id(number)));
    let item = item.expect("it was spoken of");
    (item.conformity, item.hold)
}

pub(crate) const HELD: (Conformity, Hold) = (Conformity::InSync, Hold::Active);

#[test]
fn without_a_setpoint_nothing_is_read_or_written() {
    let mut rig = Rig::running(plant_target(&[1, 2]));
    let mut plant = Plant::of(&[(1, 0.0), (2, 0.0)]);
    run(&mut rig, &mut plant, 3_600_000);
    assert_eq!(
        (rig.count("read"), rig.count("write"), rig.count("book")),
        (0, 0, 0)
    );
}

#[test]
fn a_value_is_written_at_once_verified_and_told() {
    let base = plant_target(&[1]);
    let mut rig = Rig::running(base.clone());
    let mut plant = Plant::of(&[(1, 20.0)]);
    let before = rig.now;
    rig.offer_and_hold(set(base, &[(1, 72.5, 1)]));
    let heard = run(&mut rig, &mut plant, 400);
    assert_eq!(plant.writes, [(point_id(1), 72.5)]);
    assert_eq!(last(&heard, 1), HELD);
    assert!(rig.now - before <= 1_000, "not at the next tick");
    let item = &heard.last().expect("a report").items[&point_id(1)];
    assert_eq!(item.value, Some(PointValue::Number(72.5)));
    assert!(item.verified_in_ms.expect("it was verified") >= 100);
    assert_eq!((item.revision, item.writes), (1, 1));
    assert_eq!(plant.booked.len(), 1, "counted before it was made");
    // From then on it is looked at, and nothing else happens.
    rig.counts.clear();
    run(&mut rig, &mut plant, 3_600_000);
    assert_eq!((rig.count("write"), rig.count("book")), (0, 0));
    assert_eq!(rig.count("read"), 720, "each 5 s");
}

#[test]
fn a_disturbed_value_is_put_back_within_one_pass_and_the_hub_hears_of_it() {
    let base = plant_target(&[1]);
    let mut rig = Rig::running(set(base, &[(1, 72.5, 1)]));
    let mut plant = Plant::of(&[(1, 72.5)]);
    run(&mut rig, &mut plant, 10_000);
    plant.values.insert(point_id(1), 60.0);
    let heard = run(&mut rig, &mut plant, 6_000);
    assert_eq!(plant.writes, [(point_id(1), 72.5)]);
    assert_eq!(last(&heard, 1), HELD);
    let item = &heard.last().expect("a report").items[&point_id(1)];
    let change = item.last_change.as_ref().expect("it was changed by hand");
    assert_eq!(
        (&change.before, &change.after),
        (&PointValue::Number(72.5), &PointValue::Number(60.0))
    );
    assert_eq!(item.changes, 1);
}

#[test]
fn a_restart_looks_before_it_acts() {
    let target = set(plant_target(&[1]), &[(1, 72.5, 1)]);
    let mut rig = Rig::boot(held(Some(target)));
    let mut plant = Plant::of(&[(1, 72.5)]);
    rig.succeed(sensor_id(1));
    run(&mut rig, &mut plant, 60_000);
    assert!(rig.count("read") > 5);
    assert_eq!(rig.count("write"), 0);
}

#[test]
fn one_dead_instrument_delays_no_other() {
    let numbers: Vec<u128> = (1..=20).collect();
    let base = plant_target(&numbers);
    let wishes: Vec<_> = numbers.iter().map(|number| (*number, 50.0, 1)).collect();
    let mut rig = Rig::running(base.clone());
    let mut plant = Plant::of(
        &numbers
            .iter()
            .map(|number| (*number, 20.0))
            .collect::<Vec<_>>(),
    );
    plant.moods.insert(point_id(7), Mood::Dead(10_000));
    rig.offer_and_hold(set(base, &wishes));
    let heard = run(&mut rig, &mut plant, 500);
    assert_eq!(plant.writes.len(), 19);
    for number in numbers.iter().filter(|number| **number != 7) {
        assert_eq!(last(&heard, *number), HELD);
    }
    let heard = run(&mut rig, &mut plant, 30_000);
    assert_eq!(last(&heard, 7), (Conformity::Unknown, Hold::Unreachable));
    plant.moods.clear();
    let heard = run(&mut rig, &mut plant, 30_000);
    assert_eq!(last(&heard, 7), HELD);
}

#[test]
fn a_stop_ends_writing_and_not_looking_and_ends_by_itself() {
    let base = set(plant_target(&[1]), &[(1, 72.5, 1)]);
    let mut rig = Rig::running(base.clone());
    let mut plant = Plant::of(&[(1, 72.5)]);
    run(&mut rig, &mut plant, 10_000);
    rig.offer_and_hold(stopped(base.clone(), 1, Some(60_000)));
    plant.values.insert(point_id(1), 60.0);
    let heard = run(&mut rig, &mut plant, 30_000);
    assert_eq!(last(&heard, 1), (Conformity::Drifting, Hold::Paused));
    let hold = heard
        .iter()
        .rev()
        .find_map(|values| values.hold.clone())
        .expect("it is told");
    assert_eq!((hold.state, hold.held_revision), (LoopState::Stopped, 1));
    assert_eq!(plant.writes.len(), 0);
    // A value that is set meanwhile is recorded and not written.
    let newer = stopped(set(base, &[(1, 80.0, 2)]), 1, Some(30_000));
    rig.offer_and_hold(newer);
    let heard = run(&mut rig, &mut plant, 10_000);
    assert_eq!(last(&heard, 1), (Conformity::Drifting, Hold::Paused));
    assert_eq!(plant.writes.len(), 0);
    let heard = run(&mut rig, &mut plant, 30_000);
    assert_eq!(plant.writes, [(point_id(1), 80.0)]);
    assert_eq!(last(&heard, 1), HELD);
    let hold = heard
        .iter()
        .rev()
        .find_map(|values| values.hold.clone())
        .expect("it is told");
    assert_eq!(hold.state, LoopState::Active);
}

#[test]
fn a_guard_is_read_and_holds_back() {
    let pump = output(
        2,
        json!({ "writable": false, "dataType": "uint16", "scale": 1.0 }),
    );
    let guarded = output(
        1,
        json!({ "guards": [{ "pointId": point_id(2), "atLeast": 3 }] }),
    );
    let sensors = [
        changed(1, json!({ "dataPoints": [guarded] })),
        changed(2, json!({ "dataPoints": [pump] })),
    ];
    let base = target(1, sensors);
    let mut rig = Rig::running(base.clone());
    let mut plant = Plant::of(&[(1, 20.0), (2, 1.0)]);
    rig.offer_and_hold(set(base, &[(1, 72.5, 1)]));
    let heard = run(&mut rig, &mut plant, 20_000);
    assert_eq!(last(&heard, 1), (Conformity::Drifting, Hold::Blocked));
    assert_eq!(plant.writes.len(), 0);
    plant.values.insert(point_id(2), 5.0);
    let heard = run(&mut rig, &mut plant, 20_000);
    assert_eq!(last(&heard, 1), HELD);
    assert_eq!(plant.writes.len(), 1);
}

#[test]
fn an_address_edited_under_a_setpoint_is_not_written() {
    let base = plant_target(&[1]);
    let mut rig = Rig::running(set(base.clone(), &[(1, 72.5, 1)]));
    let mut plant = Plant::of(&[(1, 72.5)]);
    run(&mut rig, &mut plant, 10_000);
    let moved = changed(
        1,
        json!({ "dataPoints": [output(1, json!({ "address": 300 }))] }),
    );
    let mut edited = target(2, [moved]);
    edited.setpoints = set(base, &[(1, 72.5, 1)]).setpoints;
    rig.offer_and_hold(edited.clone());
    rig.succeed(sensor_id(1));
    plant.values.insert(point_id(1), 0.0);
    let heard = run(&mut rig, &mut plant, 30_000);
    assert_eq!(last(&heard, 1), (Conformity::Drifting, Hold::Blocked));
    assert_eq!(plant.writes.len(), 0);
    // Set again, it is armed.
    rig.offer_and_hold(set(edited, &[(1, 72.5, 2)]));
    let heard = run(&mut rig, &mut plant, 10_000);
    assert_eq!(last(&heard, 1), HELD);
}

#[test]
fn a_released_point_is_left_alone() {
    let base = plant_target(&[1]);
    let with = set(base.clone(), &[(1, 72.5, 1)]);
    let mut rig = Rig::running(with);
    let mut plant = Plant::of(&[(1, 72.5)]);
    run(&mut rig, &mut plant, 10_000);
    let mut without = base;
    without.setpoints.revision = 2;
    rig.offer_and_hold(without);
    let heard = run(&mut rig, &mut plant, 10_000);
    assert_eq!(heard.last().expect("it is told").held_revision, 2);
    plant.values.insert(point_id(1), 0.0);
    rig.counts.clear();
    run(&mut rig, &mut plant, 3_600_000);
    assert_eq!((rig.count("read"), rig.count("write")), (0, 0));
}

#[test]
fn a_device_that_was_deleted_writes_nothing_more() {
    let target = set(plant_target(&[1]), &[(1, 72.5, 1)]);
    let mut rig = Rig::running(target);
    let mut plant = Plant::of(&[(1, 72.5)]);
    run(&mut rig, &mut plant, 10_000);
    rig.take("poll");
    let device = crate::support::DEVICE;
    rig.event(Event::Polled(Err(
        holdfast_ports::hub_link::HubError::Deleted(device),
    )));
    plant.values.insert(point_id(1), 0.0);
    rig.counts.clear();
    run(&mut rig, &mut plant, 600_000);
    assert!(rig.count("read") > 100, "looking never stops");
    assert_eq!(plant.writes.len(), 0);
}

#[test]
fn a_pass_that_outlasts_the_interval_is_counted_and_the_interval_adapts() {
    let base = set(plant_target(&[1]), &[(1, 72.5, 1)]);
    let mut rig = Rig::running(base);
    let mut plant = Plant::of(&[(1, 72.5)]);
    plant.moods.insert(point_id(1), Mood::Dead(8_000));
    rig.counts.clear();
    let heard = run(&mut rig, &mut plant, 100_000);
    let reads = rig.count("read");
    assert!(
        (9..=11).contains(&reads),
        "{reads} passes of 8 s, each 10 s"
    );
    let overruns = heard
        .iter()
        .filter_map(|values| values.hold.as_ref())
        .map(|hold| hold.overruns)
        .max();
    assert!(overruns > Some(0) || heard.is_empty());
}

#[test]
fn a_thousand_passes_over_a_hundred_units_in_sync_write_nothing() {
    let numbers: Vec<u128> = (1..=100).collect();
    let wishes: Vec<_> = numbers.iter().map(|number| (*number, 50.0, 1)).collect();
    let mut rig = Rig::running(set(plant_target(&numbers), &wishes));
    let mut plant = Plant::of(
        &numbers
            .iter()
            .map(|number| (*number, 50.0))
            .collect::<Vec<_>>(),
    );
    run(&mut rig, &mut plant, 30_000);
    rig.counts.clear();
    let heard = run(&mut rig, &mut plant, 5_000 * 100);
    assert_eq!((rig.count("write"), rig.count("book")), (0, 0));
    assert_eq!(rig.count("read"), 100 * 100);
    assert!(heard.is_empty(), "nothing changed: {heard:?}");
}
