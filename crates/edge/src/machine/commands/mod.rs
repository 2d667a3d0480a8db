//! Commands: what happens once. Which may be begun is decided in the domain ([`Docket`]); here is decided when, and what
//! goes before and after it: guards are read afresh, the id is made durable, then the value is written once and read back
//! once, then the result is made durable, and only then told.
//!
//! While something of a command is under way, nothing else is begun on its point. A stop that comes before the write means
//! that there is none; a write that was sent comes to its end. After a restart what was begun is unknown and never
//! repeated, and what waited has expired.
//!
//! - `io.rs`: what is done for a command, and what comes of it;
//! - `carry.rs`: one command on its way.

mod carry;
mod io;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_domain::{
    CommandId, Item, PointId, PointValue, SensorId,
    docket::{Came, Docket, Ending, Waiting},
    document::command::{Command, CommandOutcome, CommandReport},
    event::whole_micros,
    hold::{Account, Control, Observed, PointRules, WriteOutcome},
};

use super::{Effect, Machine, Now};
pub use io::{CommandEffect, CommandEvent};

/// The commands of a device.
#[derive(Debug, Default)]
pub(in crate::machine) struct Commands {
    docket: Docket,
    /// The revision of the commands held.
    revision: u64,
    /// What is under way; of each point one at most.
    jobs: BTreeMap<CommandId, Job>,
    /// What has ended and is not noted in the ledger yet: nobody is told before.
    noting: BTreeSet<CommandId>,
    /// What ended because of a restart, and is to be noted with the next event.
    recalled: Vec<CommandReport>,
    /// Is the next document the first that this disk sees, or the first since it was put back to an earlier state?
    is_another_disk: bool,
}

/// A command that is under way.
#[derive(Debug)]
struct Job {
    command: Command,
    expires_at: u64,
    sensor: SensorId,
    rules: PointRules,
    /// What its guards showed.
    inputs: BTreeMap<PointId, Observed>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Its guards are read, at these sensors still.
    Guards(BTreeSet<SensorId>),
    /// Its id is being made durable, and writes are booked so far.
    Beginning(Option<Account>),
    Writing {
        since: u64,
    },
    /// It was written, and shows that not before `until`.
    Settling {
        since: u64,
        until: u64,
        wrote: WriteOutcome,
    },
    ReadingBack {
        since: u64,
        wrote: WriteOutcome,
    },
}

/// What became of a command that is not known by a job.
struct End {
    outcome: CommandOutcome,
    reason: Option<String>,
    value: Option<PointValue>,
    took_ms: Option<u64>,
}

impl End {
    fn unwritten(outcome: CommandOutcome, reason: impl Into<String>) -> Self {
        Self {
            outcome,
            reason: Some(reason.into()),
            value: None,
            took_ms: None,
        }
    }
}

impl Commands {
    /// What the ledger holds. `has_target`: it holds a target, so that this disk has seen a document before.
    pub(in crate::machine) fn from_ledger(
        kept: &[(CommandId, Option<CommandReport>)],
        has_target: bool,
    ) -> Self {
        Self {
            docket: Docket::from_ledger(kept),
            is_another_disk: !has_target,
            ..Self::default()
        }
    }

    /// The disk was found to be an earlier state of itself: what it holds and did not begin may have been begun since.
    pub(in crate::machine) fn doubt(&mut self) {
        self.is_another_disk = true;
        let held: Vec<CommandReport> = self.docket.words_on_held().cloned().collect();
        for word in held {
            let was_waiting = matches!(
                word.outcome,
                CommandOutcome::Expired | CommandOutcome::Cancelled
            );
            if was_waiting && word.took_ms.is_none() {
                let reason = "the agent's disk was put back to an earlier state: it may have been begun since";
                let word = CommandReport {
                    outcome: CommandOutcome::OutcomeUnknown,
                    reason: Some(reason.to_owned()),
                    ..word
                };
                self.docket.amend(word.clone());
                self.noting.insert(word.id);
                self.recalled.push(word);
            }
        }
    }

    /// When something is to be looked at, in ms.
    pub(in crate::machine) fn next_at(&self) -> Option<u64> {
        let settled = self.jobs.values().filter_map(|job| match job.stage {
            Stage::Settling { until, .. } => Some(until),
            Stage::Guards(_)
            | Stage::Beginning(_)
            | Stage::Writing { .. }
            | Stage::ReadingBack { .. } => None,
        });
        settled.chain(self.docket.next_end()).min()
    }

    /// Is one under way that was begun, or a word on one on its way to the disk?
    pub(in crate::machine) fn are_under_way(&self) -> bool {
        let is_begun = |job: &Job| !matches!(job.stage, Stage::Guards(_));
        !self.noting.is_empty() || self.jobs.values().any(is_begun)
    }

    /// Is there anything to say of commands?
    pub(in crate::machine) const fn is_used(&self) -> bool {
        self.revision > 0
    }

    pub(in crate::machine) const fn revision(&self) -> u64 {
        self.revision
    }

    /// What is said of these commands, or (`None`) of all that the hub still asks for.
    pub(in crate::machine) fn words(
        &self,
        which: Option<&BTreeSet<CommandId>>,
    ) -> BTreeMap<CommandId, CommandReport> {
        let words: Vec<&CommandReport> = match which {
            None => self.docket.words_on_held().collect(),
            Some(ids) => ids.iter().filter_map(|id| self.docket.word(*id)).collect(),
        };
        let durable = words
            .into_iter()
            .filter(|word| !self.noting.contains(&word.id));
        durable.map(|word| (word.id, word.clone())).collect()
    }
}

impl Machine {
    /// After a restart: what was begun is unknown, and what waited has expired.
    pub(in crate::machine) fn recall_commands(&mut self, now: Now) {
        let mut over = self.commands.docket.interrupted();
        if let Some(target) = self.target.held() {
            self.commands.revision = target.commands.revision;
            let found = self
                .commands
                .docket
                .offer(&target.commands, now.ms, Came::AfterRestart);
            over.extend(found);
        }
        let mut effects = Vec::new();
        self.close(over, now, &mut effects);
        let reports = effects.into_iter().filter_map(|effect| match effect {
            Effect::Command(CommandEffect::End(report)) => Some(report),
            _ => None,
        });
        self.commands.recalled.extend(reports);
    }

    /// Makes the commands of the held target those that count.
    pub(in crate::machine) fn take_commands(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(target) = self.target.held() else {
            return;
        };
        let commands = &mut self.commands;
        if commands.revision != target.commands.revision {
            commands.revision = target.commands.revision;
            self.reporting.header_changed();
        }
        let came = if std::mem::take(&mut commands.is_another_disk) {
            Came::ToAnotherDisk
        } else {
            Came::Live
        };
        let over = commands.docket.offer(&target.commands, now.ms, came);
        // The hub asks again for words that it has lost.
        let known: Vec<CommandId> = commands.words(None).into_keys().collect();
        for id in known {
            self.reporting.command_ended(id);
        }
        self.close(over, now, effects);
    }

    /// Does what is due of commands.
    pub(in crate::machine) fn command(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let recalled = self.commands.recalled.drain(..);
        effects.extend(recalled.map(|report| Effect::Command(CommandEffect::End(report))));
        if self.commands.next_at().is_some_and(|at| at <= now.ms) {
            self.end_what_is_over(now, effects);
            self.read_back_what_has_settled(now, effects);
        }
        if self.commands.docket.is_idle() || self.is_ending {
            return;
        }
        let turns: Vec<Waiting> = self.commands.docket.turns().into_iter().cloned().collect();
        for waiting in turns {
            if !self.is_under_way(waiting.command.point_id) {
                self.take_up(&waiting, now, effects);
            }
        }
    }

    fn is_under_way(&self, point: PointId) -> bool {
        let mut jobs = self.commands.jobs.values();
        jobs.any(|job| job.command.point_id == point)
    }

    fn end_what_is_over(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for id in self.commands.docket.lapsed(now.ms) {
            if self.commands.jobs.contains_key(&id) {
                // Its guards are being read: their answer finds it.
                self.commands.jobs.remove(&id);
            }
            let end = End::unwritten(CommandOutcome::Expired, self.why_not_begun(id));
            self.finish(id, end, now, effects);
        }
    }

    /// Why a command that waited was not begun.
    fn why_not_begun(&self, id: CommandId) -> String {
        const OVER: &str = "its time was over before it could be begun";
        let target = self.target.held();
        let command = target
            .as_ref()
            .and_then(|target| target.commands.items.iter().find(|one| one.id == id));
        let sensor = command.and_then(|command| self.place(command.point_id));
        let why = sensor.and_then(|(sensor, _)| self.slots.get(&sensor)?.why_not_readable());
        why.map_or_else(|| OVER.to_owned(), |why| format!("{OVER}: {why}"))
    }

    /// The sensor that a point belongs to, and its rules.
    pub(in crate::machine) fn place(&self, point: PointId) -> Option<(SensorId, PointRules)> {
        self.wanted.values().find_map(|item: &Item| {
            let rules = item.sensor.content().binding.point_rules(point)?;
            Some((item.sensor.id(), rules))
        })
    }

    /// Why nothing may be written to a point now.
    fn forbidden(&self, sensor: SensorId, point: PointId) -> Option<String> {
        match self.holding.control(sensor, point, self.hub.access()) {
            Control::Active => None,
            Control::Shadow => Some("shadow mode: nothing is written".to_owned()),
            Control::Paused(why) => Some(why),
        }
    }

    /// Words on commands that were never begun, or were interrupted.
    fn close(&mut self, over: Vec<Ending>, now: Now, effects: &mut Vec<Effect>) {
        for Ending {
            id,
            outcome,
            reason,
        } in over
        {
            self.finish(id, End::unwritten(outcome, reason), now, effects);
        }
    }

    /// The word on a command: from now on there is no other. It is noted, and told then.
    fn finish(&mut self, id: CommandId, end: End, now: Now, effects: &mut Vec<Effect>) {
        let End {
            outcome,
            reason,
            value,
            took_ms,
        } = end;
        let commands = &mut self.commands;
        if let Some(job) = commands.jobs.remove(&id) {
            // What its account says by now goes with the word.
            let point = job.command.point_id;
            self.reporting.output_changed(point, false);
        }
        let commands = &mut self.commands;
        let report = CommandReport {
            id,
            outcome,
            reason: reason.map(|reason| super::slot::shortened(&reason)),
            value,
            at: whole_micros(now.wall),
            took_ms,
        };
        if commands.docket.end(report.clone()) {
            commands.noting.insert(id);
            effects.push(Effect::Command(CommandEffect::End(report)));
        }
    }
}
