//! The observer of commands: each is carried out at most once, never late, and gets one word on what became of it, which is
//! true.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_domain::{
    CommandId, Fingerprint, PointId, PointValue,
    document::{command::CommandOutcome, point::PointKind},
    hold::WriteOutcome,
    state::DeviceState,
};

use crate::{
    instrument::Where,
    line::Call,
    world::World,
    writes::{Target, guards_refuse, rules_of},
};

/// What is known of commands.
#[derive(Default)]
pub(crate) struct Once {
    given: BTreeMap<CommandId, Given>,
    /// Those that an agent gave to an adapter, and which agent.
    begun: BTreeMap<CommandId, usize>,
    /// Those that came to an instrument, which did not refuse them.
    carried: BTreeSet<CommandId>,
    /// What the hub was told of each.
    words: BTreeMap<CommandId, CommandOutcome>,
    /// Those that a disk has forgotten together with the hub, so that nobody can know.
    unknowable: BTreeSet<CommandId>,
    disks_restored: BTreeSet<usize>,
}

/// A command as somebody gave it.
struct Given {
    agent: usize,
    point: PointId,
    value: PointValue,
    identity: Fingerprint,
    /// When its time is over, in ms; the hub's clock being set back delays that.
    ends_at: u64,
}

impl World {
    /// Somebody has given a command.
    pub(crate) fn was_given(&mut self, agent: usize, id: CommandId, state: &DeviceState) {
        let Some(record) = state.target.values.commands.get(id) else {
            return;
        };
        let command = &record.command;
        let given = Given {
            agent,
            point: command.point_id,
            value: command.value.clone(),
            identity: command.bound_to,
            ends_at: self.now + command.valid_for_ms,
        };
        self.observer.once.given.entry(id).or_insert(given);
    }

    /// The hub's clock was set back: what runs down by it lasts longer.
    pub(crate) fn commands_last_longer(&mut self, ms: u64) {
        for given in self.observer.once.given.values_mut() {
            given.ends_at += ms;
        }
    }

    /// An agent gives a command to an adapter: may it?
    pub(crate) fn check_command(
        &mut self,
        target: Target,
        id: CommandId,
        value: &PointValue,
        begin_within_ms: u64,
    ) {
        let Target {
            agent,
            sensor,
            generation,
            point,
        } = target;
        self.reach("commands begun");
        let Some(given) = self.observer.once.given.get(&id) else {
            self.broken(
                "1 unset never acts",
                format_args!("agent {agent} begins {id}, which nobody gave"),
            );
        };
        if (given.agent, given.point, &given.value) != (agent, point, value) {
            self.broken(
                "1 unset never acts",
                format_args!(
                    "agent {agent} writes {value} to {point} for {id}: {} was to go to {}",
                    given.value, given.point
                ),
            );
        }
        if self.now + begin_within_ms > given.ends_at {
            self.broken(
                "7 never late",
                format_args!(
                    "agent {agent} gives {id} {begin_within_ms} ms; its time is over at {}",
                    given.ends_at
                ),
            );
        }
        let one = &self.agents[agent];
        if !one.disk.knows(id) {
            self.broken(
                "7 durable first",
                format_args!("agent {agent} begins {id}, which does not stand on its disk"),
            );
        }
        if one.told.is_revoked {
            self.broken(
                "14 revoked",
                format_args!("agent {agent} carries out {id} although the hub turned it away"),
            );
        }
        let held = one.told.held.clone().expect("commands come with a target");
        if held.hold.shadow || one.is_stopped(self.now, |scope| scope.covers(sensor, point)) {
            self.broken(
                "17 stop",
                format_args!("agent {agent} carries out {id} although it is stopped"),
            );
        }
        let rules = rules_of(&held, point);
        let Some(rules) = rules
            .filter(|rules| rules.identity == given.identity && rules.kind != PointKind::Level)
        else {
            self.broken(
                "1 redefined",
                format_args!("agent {agent} carries out {id} at {point}, which is another one now"),
            );
        };
        let real = one
            .sensor_on_bus(sensor, generation)
            .and_then(|content| Where::of(agent, content, point));
        if real.is_some_and(|real| real.identity != given.identity) {
            self.broken(
                "1 redefined",
                format_args!("agent {agent} writes {id} to another point"),
            );
        }
        let none = BTreeMap::new();
        let inputs = one.told.inputs.get(&id).unwrap_or(&none);
        let now = one.now(self.now).ms;
        if let Some(why) = guards_refuse(&rules.guards, |point| inputs.get(&point), now) {
            self.broken(
                "guards",
                format_args!("agent {agent} carries out {id}: {why}"),
            );
        }
        self.count_write(agent, point, &rules, false);
        if self.observer.once.begun.insert(id, agent).is_some() {
            self.must_be_unknowable(agent, id, "begins it again");
        }
    }

    /// A command came to an instrument.
    pub(crate) fn carried_out(
        &mut self,
        call: Call,
        id: CommandId,
        point: PointId,
        at: &Where,
        outcome: &WriteOutcome,
    ) {
        let Call { agent, sensor, .. } = call;
        self.disturbed(&at.place);
        let (now, register) = (self.now, at.place.register);
        let raw = self.instrument(&at.place.unit).will_show(register, now);
        self.observer
            .by_hand
            .insert((at.place.clone(), raw, Some(point)));
        self.check_nothing_moves(agent, sensor, point, false);
        let given = &self.observer.once.given[&id];
        if self.now > given.ends_at {
            self.broken(
                "7 never late",
                format_args!("{id} comes to its instrument after {}", given.ends_at),
            );
        }
        if given.identity != at.identity {
            self.broken("1 redefined", format_args!("{id} comes to another point"));
        }
        if matches!(outcome, WriteOutcome::Refused(_)) {
            return;
        }
        self.reach("commands carried out");
        if !self.observer.once.carried.insert(id) {
            self.must_be_unknowable(agent, id, "carries it out again");
        }
        if let Some(word) = self
            .observer
            .once
            .words
            .get(&id)
            .filter(|word| word.is_unwritten())
        {
            self.broken(
                "7 its word is true",
                format_args!("agent {agent} carries out {id}, of which it said {word:?}"),
            );
        }
    }

    fn must_be_unknowable(&mut self, agent: usize, id: CommandId, what: &str) {
        if !self.observer.once.unknowable.contains(&id) {
            self.broken("7 at most once", format_args!("agent {agent} {what}: {id}"));
        }
        self.reach("commands that nobody could know of");
    }

    /// The disk of an agent was put back. Where its hub has heard of no later boot, nobody can know what it has forgotten.
    pub(crate) fn forgets_commands(&mut self, agent: usize) {
        let disk = &self.agents[agent].disk;
        let identity = disk.0.identity.as_ref().expect("it has registered");
        let state = self.hub.state(self.agents[agent].device);
        let heard = state.reported.as_ref().map(|reported| reported.order);
        let is_noticed = heard.is_some_and(|order| {
            order.incarnation != identity.incarnation || order.boot > disk.0.boot
        });
        if !is_noticed {
            self.nobody_can_know(agent);
        }
        self.observer.once.disks_restored.insert(agent);
    }

    /// The hub was restored: of a disk that was put back it may not notice that any more.
    pub(crate) fn hub_forgets_commands(&mut self) {
        self.observer.once.words.clear();
        for agent in self.observer.once.disks_restored.clone() {
            self.nobody_can_know(agent);
        }
    }

    fn nobody_can_know(&mut self, agent: usize) {
        let Once {
            begun, unknowable, ..
        } = &mut self.observer.once;
        unknowable.extend(
            begun
                .iter()
                .filter(|(_, of)| **of == agent)
                .map(|(id, _)| *id),
        );
    }

    /// What the hub was told of commands: the first word stands, and is true.
    pub(crate) fn check_command_words(&mut self, agent: usize, state: &DeviceState) {
        let Some(reported) = &state.reported else {
            return;
        };
        for (id, word) in &reported.values.commands {
            let Once {
                words,
                carried,
                unknowable,
                ..
            } = &mut self.observer.once;
            let before = words.insert(*id, word.outcome);
            let (is_carried, is_unknowable) = (carried.contains(id), unknowable.contains(id));
            if before == Some(word.outcome) {
                continue;
            }
            if let Some(before) = before {
                self.broken(
                    "7 one word",
                    format_args!("agent {agent} said {before:?} of {id}, and then {word:?}"),
                );
            }
            let is_false = match word.outcome {
                CommandOutcome::Verified => !is_carried,
                outcome if outcome.is_unwritten() => is_carried,
                _ => false,
            };
            if is_false && !is_unknowable {
                self.broken(
                    "7 its word is true",
                    format_args!("agent {agent} says {word:?}; it was carried out: {is_carried}"),
                );
            }
            self.reach(match word.outcome {
                CommandOutcome::Verified => "commands verified",
                CommandOutcome::AcknowledgedUnverified => "commands acknowledged",
                CommandOutcome::Refused => "commands refused",
                CommandOutcome::Failed => "commands failed",
                CommandOutcome::Expired => "commands expired",
                CommandOutcome::Cancelled => "commands cancelled",
                CommandOutcome::OutcomeUnknown => "commands with unknown outcome",
            });
        }
    }

    /// There is a word on every command.
    pub(crate) fn check_all_said(&self, agent: usize, state: &DeviceState) {
        let waiting: Vec<_> = state.commands_waiting().collect();
        if !waiting.is_empty() {
            self.broken(
                "convergence",
                format_args!("agent {agent} has not given its word on {waiting:?}"),
            );
        }
    }
}
