//! Commands of the machine: each is written at most once, never late, whatever is killed when; and every one gets a word.

use std::collections::{BTreeMap, VecDeque};

use holdfast_domain::{
    CommandId, PauseId, PointId, PointValue, Quality, TargetState,
    document::{
        command::{Command, CommandOutcome, CommandReport, Commands},
        hold::{HoldSettings, Pause, Scope},
    },
    hold::{PointRules, WriteOutcome},
    row::Actor,
};
use holdfast_edge::machine::{
    CommandEffect, CommandEvent, Effect, Established, Event, Machine, MachineSettings, PointsRead,
};
use holdfast_ports::{
    bus::Fresh,
    hub_link::{Polled, ReportAnswer},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{at, changed, identity, ledger::Disk, point_id, target};

/// The pulse, and the point that its guard is on.
const START: u128 = 1;
const READY: u128 = 2;

fn id(number: u128) -> CommandId {
    CommandId(Uuid::from_u128(0xc000 + number))
}

#[allow(clippy::needless_pass_by_value, reason = "called with json!")]
fn plant(pulse: Value) -> TargetState {
    let mut start = json!({
        "id": point_id(START), "name": "start", "kind": "pulse", "table": "coil", "address": 1, "dataType": "bool",
        "writable": true, "settleMs": 100,
    });
    for (key, value) in pulse.as_object().expect("fields") {
        start[key] = value.clone();
    }
    let other = json!({
        "id": point_id(READY), "name": "ready", "table": "discrete", "address": 1, "dataType": "bool",
    });
    target(1, [changed(1, json!({ "dataPoints": [start, other] }))])
}

fn guarded() -> TargetState {
    plant(json!({ "guards": [{ "pointId": point_id(READY), "equals": true }] }))
}

/// A hub, a disk, an instrument, and the agent between them, killed and started again as a test likes.
struct World {
    machine: Machine,
    now: u64,
    /// Boots count their time from here.
    began: u64,
    disk: Disk,
    open: VecDeque<Effect>,
    target: TargetState,
    /// Until when each command of the target may be begun.
    until: BTreeMap<CommandId, u64>,
    words: BTreeMap<CommandId, CommandReport>,
    /// What every report ever said, in order.
    said: Vec<CommandReport>,
    values: BTreeMap<PointId, PointValue>,
    /// Each write that reached the instrument, and when.
    writes: Vec<(CommandId, u64)>,
    /// What the instrument makes of a write.
    answer: WriteOutcome,
    /// The disk takes nothing any more.
    is_full: bool,
    half_steps: u64,
    /// The agent is killed at these half steps.
    kills: Vec<u64>,
    hub_is_away: bool,
    /// How long the disk takes to keep a target, in ms.
    hold_takes: u64,
    /// Nothing can be started before.
    start_fails_until: u64,
}

impl World {
    /// An agent that holds this target and runs it.
    fn of(target: TargetState) -> Self {
        let mut disk = Disk::default();
        disk.set_identity(&identity());
        disk.0.target = Some(target.clone());
        disk.0.worked_version = target.version;
        let machine = boot(&mut disk, 0);
        let values = [
            (point_id(START), PointValue::Bool(false)),
            (point_id(READY), PointValue::Bool(true)),
        ];
        let mut world = Self {
            machine,
            now: 0,
            began: 0,
            disk,
            open: VecDeque::new(),
            target,
            until: BTreeMap::new(),
            words: BTreeMap::new(),
            said: Vec::new(),
            values: values.into(),
            writes: Vec::new(),
            answer: WriteOutcome::Acknowledged,
            is_full: false,
            half_steps: 0,
            kills: Vec::new(),
            hub_is_away: false,
            hold_takes: 0,
            start_fails_until: 0,
        };
        world.tell(Event::Tick);
        world.run(2_000);
        world.half_steps = 0;
        world
    }

    fn give(&mut self, number: u128, valid_for_ms: u64) {
        let bound_to = self.rules().identity;
        self.target.commands.revision += 1;
        self.until.insert(id(number), self.now + valid_for_ms);
        self.target.commands.items.push(Command {
            id: id(number),
            point_id: point_id(START),
            bound_to,
            value: PointValue::Bool(true),
            valid_for_ms,
            set_by: Actor::named("anna"),
            reason: None,
            extra: serde_json::Map::new(),
        });
    }

    fn rules(&self) -> PointRules {
        let binding = &self.target.items[0].sensor.content().binding;
        binding
            .point_rules(point_id(START))
            .expect("the point is there")
    }

    fn stop(&mut self) {
        self.target.hold = HoldSettings {
            revision: self.target.hold.revision + 1,
            pauses: vec![Pause {
                id: PauseId(Uuid::from_u128(1)),
                scope: Scope::Device,
                by: Actor::named("ben"),
                reason: Some("belt change".into()),
                remaining_ms: None,
            }],
            ..HoldSettings::default()
        };
    }

    /// What the hub tells now.
    fn document(&self) -> TargetState {
        let waiting = self.target.commands.items.iter();
        let waiting = waiting.filter(|command| !self.words.contains_key(&command.id));
        let items = waiting.map(|command| Command {
            valid_for_ms: self.until[&command.id].saturating_sub(self.now),
            ..command.clone()
        });
        TargetState {
            commands: Commands {
                revision: self.target.commands.revision,
                items: items.collect(),
            },
            ..self.target.clone()
        }
    }

    fn tell(&mut self, event: Event) {
        let effects = self.machine.handle(event, at(self.now - self.began), 7);
        self.open.extend(effects);
    }

    /// Is the agent killed here?
    fn is_killed(&mut self) -> bool {
        let is_killed = self.kills.contains(&self.half_steps);
        self.half_steps += 1;
        if is_killed {
            self.restart();
        }
        is_killed
    }

    fn restart(&mut self) {
        self.open.clear();
        self.began = self.now;
        self.machine = boot(&mut self.disk, 0);
        self.tell(Event::Tick);
    }

    /// Lets `ms` go by: everybody answers, each within a millisecond.
    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            if let Some(effect) = self.open.pop_front() {
                if !self.is_killed() {
                    let event = self.carry_out(effect);
                    if !self.is_killed()
                        && let Some(event) = event
                    {
                        self.now += 1;
                        self.tell(event);
                    }
                }
                continue;
            }
            let wake = self.machine.next_wake().map(|wake| wake + self.began);
            match wake.filter(|wake| *wake <= end) {
                Some(wake) => {
                    self.now = self.now.max(wake);
                    self.tell(Event::Tick);
                }
                None => self.now = end,
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        let noted = if self.is_full {
            Err("no space left on device".to_owned())
        } else {
            Ok(())
        };
        Some(match effect {
            Effect::Poll { .. } if self.hub_is_away => Event::Polled(Err(crate::rig::away())),
            Effect::Report(_) if self.hub_is_away => Event::Reported(Err(crate::rig::away())),
            Effect::Poll { held, .. } => {
                let document = self.document();
                let is_held = held == Some(document.etag());
                Event::Polled(Ok(if is_held {
                    Polled::Unchanged
                } else {
                    Polled::Target(Box::new(document))
                }))
            }
            Effect::Report(report) => {
                for word in report
                    .values
                    .into_iter()
                    .flat_map(|values| values.commands.into_values())
                {
                    self.said.push(word.clone());
                    self.words.entry(word.id).or_insert(word);
                }
                Event::Reported(Ok(ReportAnswer::Taken))
            }
            Effect::Hold(target) => {
                self.disk.0.target = Some(TargetState::clone(&target));
                self.now += self.hold_takes;
                Event::Held(Ok(()))
            }
            Effect::NoteWorked(version) => {
                self.disk.0.worked_version = version;
                Event::WorkNoted {
                    version,
                    result: Ok(()),
                }
            }
            Effect::Start {
                item, generation, ..
            } => Event::Started {
                sensor: item.sensor.id(),
                generation,
                result: if self.now < self.start_fails_until {
                    Err("no answer within 1 s".to_owned())
                } else {
                    Ok(Established::Noted)
                },
            },
            Effect::Command(CommandEffect::Begin { id, booking }) => {
                if !self.is_full {
                    if let Some((point, booked)) = booking {
                        self.disk.0.booked.insert(point, booked);
                    }
                    self.disk.begin_command(id);
                }
                Event::Command(CommandEvent::Begun { id, result: noted })
            }
            Effect::Command(CommandEffect::End(report)) => {
                if !self.is_full {
                    self.disk.end_command(&report);
                }
                Event::Command(CommandEvent::Ended {
                    id: report.id,
                    result: noted,
                })
            }
            Effect::Command(CommandEffect::Read {
                id,
                sensor,
                points,
                asked_at,
                ..
            }) => {
                let shown = points.iter().map(|point| Fresh {
                    value: self.values.get(point).cloned(),
                    quality: if self.values.contains_key(point) {
                        Quality::Good
                    } else {
                        Quality::Bad
                    },
                    reason: None,
                });
                let shown = shown.collect();
                let read = PointsRead {
                    sensor,
                    points,
                    asked_at,
                    shown,
                };
                Event::Command(CommandEvent::Read { id, read })
            }
            Effect::Command(CommandEffect::Write {
                id, point, value, ..
            }) => {
                let outcome = self.answer.clone();
                if matches!(
                    outcome,
                    WriteOutcome::Acknowledged | WriteOutcome::Unknown(_)
                ) {
                    self.writes.push((id, self.now));
                    self.values.insert(point, value);
                }
                Event::Command(CommandEvent::Wrote { id, outcome })
            }
            Effect::Stop { sensor, generation } => Event::Stopped { sensor, generation },
            Effect::KeepEstablished(_) | Effect::Forget(_) => return None,
            other => panic!("unexpected {other:?}"),
        })
    }

    fn word(&self, number: u128) -> (CommandOutcome, &str) {
        let word = self.words.get(&id(number)).expect("it has a word");
        (word.outcome, word.reason.as_deref().unwrap_or_default())
    }
}

fn boot(disk: &mut Disk, now: u64) -> Machine {
    Machine::new(disk.begin_boot(), MachineSettings::default(), at(now)).expect("an identity")
}

#[test]
fn a_pulse_is_written_once_read_back_and_told() {
    let mut world = World::of(plant(json!({})));
    world.give(1, 3_000);
    world.run(5_000);
    assert_eq!(world.writes.len(), 1);
    let word = &world.words[&id(1)];
    assert_eq!(
        (word.outcome, &word.value),
        (CommandOutcome::Verified, &Some(PointValue::Bool(true)))
    );
    assert!(
        word.took_ms.expect("it was written") >= 100,
        "after the settle time"
    );
    assert_eq!(
        world.disk.0.booked[&point_id(START)],
        16,
        "counted before it was made"
    );
    // From then on nothing of it happens: it is no state.
    world
        .values
        .insert(point_id(START), PointValue::Bool(false));
    let said = world.said.len();
    world.run(3_500_000);
    assert_eq!((world.writes.len(), world.said.len()), (1, said));
}

#[test]
fn what_a_pulse_comes_to_is_told_apart() {
    let no = |text: &str| text.to_owned();
    for (answer, outcome, writes) in [
        (
            WriteOutcome::Refused(no("illegal data value")),
            CommandOutcome::Refused,
            0,
        ),
        (
            WriteOutcome::NotSent(no("connection refused")),
            CommandOutcome::Failed,
            0,
        ),
        (
            WriteOutcome::Unknown(no("no answer within 1 s")),
            CommandOutcome::OutcomeUnknown,
            1,
        ),
    ] {
        let mut world = World::of(plant(json!({})));
        world.answer = answer;
        world.give(1, 3_000);
        world.run(60_000);
        assert_eq!((world.word(1).0, world.writes.len()), (outcome, writes));
    }
    let mut world = World::of(plant(json!({})));
    world.give(1, 3_000);
    world.values.remove(&point_id(READY));
    while world.writes.is_empty() {
        world.run(1);
    }
    world
        .values
        .insert(point_id(START), PointValue::Bool(false));
    world.run(1_000);
    let (outcome, why) = world.word(1);
    assert_eq!(outcome, CommandOutcome::AcknowledgedUnverified);
    assert!(why.contains("it shows false"), "{why}");
}

#[test]
fn rules_are_looked_at_before_it_is_begun() {
    let refused = |target: TargetState, change: fn(&mut World), part: &str| {
        let mut world = World::of(target);
        world.give(1, 3_000);
        change(&mut world);
        world.run(5_000);
        let (outcome, why) = world.word(1);
        assert_eq!(outcome, CommandOutcome::Refused, "{part}");
        assert!(why.contains(part), "{why}");
        assert_eq!(world.writes, [], "{part}");
    };
    let not_ready = |world: &mut World| {
        world
            .values
            .insert(point_id(READY), PointValue::Bool(false));
    };
    refused(guarded(), not_ready, "it must be true, and is false");
    let unread = |world: &mut World| {
        world.values.remove(&point_id(READY));
    };
    refused(guarded(), unread, "not good");
    refused(plant(json!({})), World::stop, "stopped by ben: belt change");
    let shadow = |world: &mut World| {
        world.target.hold = HoldSettings {
            revision: 1,
            shadow: true,
            ..HoldSettings::default()
        };
    };
    refused(plant(json!({})), shadow, "shadow mode");
    let budget = json!({ "writeBudget": { "perDay": 0, "lifetime": 100 } });
    refused(plant(budget), |_| {}, "write budget is used up");
    let redefined = |world: &mut World| {
        world.target.commands.items[0].bound_to = holdfast_domain::Fingerprint::of_bytes(b"other");
    };
    refused(plant(json!({})), redefined, "pointRedefined");
    let mut world = World::of(guarded());
    world.give(1, 3_000);
    world.run(5_000);
    assert_eq!(world.word(1).0, CommandOutcome::Verified, "the guard holds");
}

#[test]
fn what_can_not_be_noted_is_not_written() {
    let mut world = World::of(plant(json!({})));
    world.give(1, 3_000);
    world.is_full = true;
    world.run(60_000);
    let (outcome, why) = world.word(1);
    assert_eq!((outcome, world.writes.len()), (CommandOutcome::Failed, 0));
    assert!(why.contains("no space left on device"), "{why}");
}

#[test]
fn a_command_that_comes_late_is_never_begun() {
    let mut world = World::of(plant(json!({})));
    world.hub_is_away = true;
    world.run(60_000);
    world.give(1, 3_000);
    world.give(2, 3_600_000);
    world.run(60_000);
    world.hub_is_away = false;
    world.run(120_000);
    let (outcome, why) = world.word(1);
    assert_eq!(outcome, CommandOutcome::Expired);
    assert!(why.contains("before the agent got it"), "{why}");
    assert_eq!(world.word(2).0, CommandOutcome::Verified);
    assert_eq!(world.writes.len(), 1);
}

#[test]
fn the_time_in_which_it_is_made_durable_counts() {
    for (hold_takes, outcome) in [
        (2_000, CommandOutcome::Verified),
        (3_500, CommandOutcome::Expired),
    ] {
        let mut world = World::of(plant(json!({})));
        world.hold_takes = hold_takes;
        world.give(1, 3_000);
        world.run(20_000);
        assert_eq!(world.word(1).0, outcome, "{hold_takes} ms");
        assert!(world.writes.iter().all(|(_, at)| *at < world.until[&id(1)]));
    }
}

#[test]
fn commands_of_a_point_are_carried_out_in_order_one_at_a_time() {
    let mut world = World::of(plant(json!({})));
    for number in [3, 1, 2] {
        world.give(number, 10_000);
    }
    world.give(4, 150);
    world.run(20_000);
    let order: Vec<CommandId> = world.writes.iter().map(|(id, _)| *id).collect();
    assert_eq!(order, [id(3), id(1), id(2)]);
    assert!(
        world
            .writes
            .windows(2)
            .all(|pair| pair[1].1 >= pair[0].1 + 100),
        "{:?}",
        world.writes
    );
    let (outcome, why) = world.word(4);
    assert_eq!(outcome, CommandOutcome::Expired, "its turn came too late");
    assert!(why.contains("before it could be begun"), "{why}");
}

#[test]
fn a_command_of_a_point_that_is_gone_is_refused() {
    let mut world = World::of(plant(json!({})));
    world.give(1, 3_000);
    world.target.items.clear();
    world.target.version = 2;
    world.run(10_000);
    let (outcome, why) = world.word(1);
    assert_eq!((outcome, world.writes.len()), (CommandOutcome::Refused, 0));
    assert!(why.contains("no such point"), "{why}");
}

#[test]
fn a_command_waits_for_its_sensor_no_longer_than_it_is_valid() {
    for (valid_for_ms, outcome) in [
        (3_000, CommandOutcome::Expired),
        (30_000, CommandOutcome::Verified),
    ] {
        let mut world = World::of(plant(json!({})));
        world.start_fails_until = world.now + 10_000;
        world.give(1, valid_for_ms);
        // Another instrument is to be started in its place.
        let other = changed(
            1,
            json!({ "pollInterval": 500, "connection": { "type": "tcp", "host": "10.0.0.6", "unitId": 1 },
            "dataPoints": document_points(&world.target) }),
        );
        world.target.items = target(2, [other]).items;
        world.target.version = 2;
        let identity = world.rules().identity;
        world.target.commands.items[0].bound_to = identity;
        world.run(40_000);
        let (found, why) = world.word(1);
        assert_eq!(found, outcome, "{why}");
        let is_told = why.contains("its sensor does not run: no answer");
        assert_eq!(is_told, outcome == CommandOutcome::Expired, "{why}");
    }
}

fn document_points(target: &TargetState) -> Value {
    let document = serde_json::to_value(&*target.items[0].sensor).expect("JSON");
    document["dataPoints"].clone()
}

#[test]
fn a_hub_restored_from_a_backup_offers_in_vain() {
    let mut world = World::of(plant(json!({})));
    world.give(1, 3_600_000);
    world.run(5_000);
    assert_eq!(world.word(1).0, CommandOutcome::Verified);
    // It has lost the word, and goes on above what the agent holds.
    world.words.clear();
    world.target.commands.revision += 5;
    world.run(60_000);
    assert_eq!(
        world.word(1).0,
        CommandOutcome::Verified,
        "the word is said again"
    );
    world.words.clear();
    world.target.commands.revision += 5;
    world.restart();
    world.run(60_000);
    assert_eq!(
        world.word(1).0,
        CommandOutcome::Verified,
        "also after a restart"
    );
    assert_eq!(world.writes.len(), 1);
}

#[test]
fn a_disk_that_is_new_begins_nothing_that_was_given_before() {
    let mut world = World::of(plant(json!({})));
    world.disk = Disk::default();
    world.disk.set_identity(&identity());
    world.give(1, 3_600_000);
    world.restart();
    world.run(10_000);
    assert_eq!(
        (world.word(1).0, world.writes.len()),
        (CommandOutcome::OutcomeUnknown, 0)
    );
    world.give(2, 3_000);
    world.run(10_000);
    assert_eq!(
        (world.word(2).0, world.writes.len()),
        (CommandOutcome::Verified, 1)
    );
}

/// Two commands, a stop between them on the way, and kills at these half steps. Whatever they hit, nothing is written
/// twice, nothing late, and each command gets a word that fits what was done.
fn killed_at(kills: &[u64]) -> u64 {
    let mut world = World::of(guarded());
    world.kills = kills.to_vec();
    world.give(1, 3_000);
    world.give(2, 10_000);
    world.run(400);
    world.give(3, 2_000);
    world.run(40_000);
    for number in 1..=3 {
        let writes: Vec<u64> = world
            .writes
            .iter()
            .filter(|(of, _)| *of == id(number))
            .map(|(_, at)| *at)
            .collect();
        assert!(
            writes.len() <= 1,
            "killed at {kills:?}: {number} was written {} times",
            writes.len()
        );
        assert!(
            writes.iter().all(|at| *at < world.until[&id(number)]),
            "killed at {kills:?}: late"
        );
        let word = world
            .words
            .get(&id(number))
            .unwrap_or_else(|| panic!("killed at {kills:?}: no word on {number}"));
        let fits = if writes.is_empty() {
            word.outcome.is_unwritten() || word.outcome == CommandOutcome::OutcomeUnknown
        } else {
            !word.outcome.is_unwritten()
        };
        assert!(
            fits,
            "killed at {kills:?}: {number} was written {} times: {word:?}",
            writes.len()
        );
        let said = world.said.iter().filter(|said| said.id == id(number));
        assert!(
            said.clone().all(|said| said.outcome == word.outcome),
            "killed at {kills:?}: two words"
        );
    }
    world.half_steps
}

#[test]
fn killed_at_every_boundary_nothing_is_written_twice() {
    // Beyond so many half steps nothing of the commands happens any more.
    const INTERESTING: u64 = 90;
    assert!(killed_at(&[]) > INTERESTING);
    for first in 0..INTERESTING {
        killed_at(&[first]);
        for second in (first + 1..INTERESTING).step_by(4) {
            killed_at(&[first, second]);
        }
    }
}
