//! A hub, a disk, an instrument that counts its writes, and the agent between them, which tests kill at will.

use std::collections::{BTreeMap, VecDeque};

use holdfast_domain::{
    CommandId, PauseId, PointId, PointValue, Quality, TargetState,
    document::{
        command::{Command, CommandOutcome, CommandReport, Commands},
        hold::{HoldSettings, Pause, Scope},
        setpoint::AccountReport,
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
pub(super) const START: u128 = 1;
pub(super) const READY: u128 = 2;

pub(super) fn id(number: u128) -> CommandId {
    CommandId(Uuid::from_u128(0xc000 + number))
}

#[allow(clippy::needless_pass_by_value, reason = "called with json!")]
pub(super) fn plant(pulse: Value) -> TargetState {
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

pub(super) fn guarded() -> TargetState {
    plant(json!({ "guards": [{ "pointId": point_id(READY), "equals": true }] }))
}

/// A hub, a disk, an instrument, and the agent between them, killed and started again as a test likes.
pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) now: u64,
    /// Boots count their time from here.
    pub(super) began: u64,
    pub(super) disk: Disk,
    pub(super) open: VecDeque<Effect>,
    pub(super) target: TargetState,
    /// Until when each command of the target may be begun.
    pub(super) until: BTreeMap<CommandId, u64>,
    pub(super) words: BTreeMap<CommandId, CommandReport>,
    /// What every report ever said, in order.
    pub(super) said: Vec<CommandReport>,
    /// What reports said last of accounts.
    pub(super) accounts: BTreeMap<PointId, AccountReport>,
    pub(super) values: BTreeMap<PointId, PointValue>,
    /// Each write that reached the instrument, and when.
    pub(super) writes: Vec<(CommandId, u64)>,
    /// What the instrument makes of a write.
    pub(super) answer: WriteOutcome,
    /// The disk takes nothing any more.
    pub(super) is_full: bool,
    pub(super) half_steps: u64,
    /// The agent is killed at these half steps.
    pub(super) kills: Vec<u64>,
    pub(super) hub_is_away: bool,
    /// How long the disk takes to keep a target, in ms.
    pub(super) hold_takes: u64,
    /// Nothing can be started before.
    pub(super) start_fails_until: u64,
}

impl World {
    /// An agent that holds this target and runs it.
    pub(super) fn of(target: TargetState) -> Self {
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
            accounts: BTreeMap::new(),
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

    pub(super) fn give(&mut self, number: u128, valid_for_ms: u64) {
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
            cancelled: false,
            extra: serde_json::Map::new(),
        });
    }

    pub(super) fn cancel(&mut self, number: u128) {
        self.target.commands.revision += 1;
        let mut items = self.target.commands.items.iter_mut();
        let command = items.find(|command| command.id == id(number));
        command.expect("it was given").cancelled = true;
    }

    pub(super) fn rules(&self) -> PointRules {
        let binding = &self.target.items[0].sensor.content().binding;
        binding
            .point_rules(point_id(START))
            .expect("the point is there")
    }

    pub(super) fn stop(&mut self) {
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
    pub(super) fn document(&self) -> TargetState {
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

    pub(super) fn tell(&mut self, event: Event) {
        let effects = self.machine.handle(event, at(self.now - self.began), 7);
        self.open.extend(effects);
    }

    /// Is the agent killed here?
    pub(super) fn is_killed(&mut self) -> bool {
        let is_killed = self.kills.contains(&self.half_steps);
        self.half_steps += 1;
        if is_killed {
            self.restart();
        }
        is_killed
    }

    pub(super) fn restart(&mut self) {
        self.open.clear();
        self.began = self.now;
        self.machine = boot(&mut self.disk, 0);
        self.tell(Event::Tick);
    }

    /// Lets `ms` go by: everybody answers, each within a millisecond.
    pub(super) fn run(&mut self, ms: u64) {
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

    pub(super) fn carry_out(&mut self, effect: Effect) -> Option<Event> {
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
                let is_held = held.is_some_and(|held| held.etag == document.etag());
                Event::Polled(Ok(if is_held {
                    Polled::Unchanged
                } else {
                    Polled::Target(Box::new(document))
                }))
            }
            Effect::Report(report) => {
                if let Some(values) = report.values {
                    self.accounts.extend(values.accounts);
                    for word in values.commands.into_values() {
                        self.said.push(word.clone());
                        self.words.entry(word.id).or_insert(word);
                    }
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
                        let kept = self.disk.0.booked.entry(point).or_default();
                        *kept = std::mem::take(kept).joined(&booked);
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
            Effect::Remember(_) => Event::Remembered(Ok(())),
            Effect::KeepEstablished(_) | Effect::Forget(_) => return None,
            other => panic!("unexpected {other:?}"),
        })
    }

    pub(super) fn word(&self, number: u128) -> (CommandOutcome, &str) {
        let word = self.words.get(&id(number)).expect("it has a word");
        (word.outcome, word.reason.as_deref().unwrap_or_default())
    }
}

pub(super) fn boot(disk: &mut Disk, now: u64) -> Machine {
    Machine::new(disk.begin_boot(), MachineSettings::default(), at(now)).expect("an identity")
}
