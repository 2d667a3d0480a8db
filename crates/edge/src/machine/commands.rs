//! Commands: what happens once. Which may be begun is decided in the domain ([`Docket`]); here is decided when, and what
//! goes before and after it: guards are read afresh, the id is made durable, then the value is written once and read back
//! once, then the result is made durable, and only then told.
//!
//! While something of a command is under way, nothing else is begun on its point. A stop that comes before the write means
//! that there is none; a write that was sent comes to its end. After a restart what was begun is unknown and never
//! repeated, and what waited has expired.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_domain::{
    CommandId, Item, PointId, PointValue, Quality, SensorId,
    docket::{Came, Docket, Ending, Waiting, forbids},
    document::command::{Command, CommandOutcome, CommandReport},
    event::whole_micros,
    hold::{Band, Budget, Control, HoldReason, Observed, PointRules, WriteOutcome, check_guards},
};
use holdfast_ports::bus::Fresh;

use super::{Effect, Machine, Now, PointsRead};

/// What is to be done for a command. Each is answered by the [`CommandEvent`] that it names; none is ever cancelled.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandEffect {
    /// Note, durably, that it is begun; with it, where that is needed, book writes of its point. → [`CommandEvent::Begun`]
    Begin {
        /// Which.
        id: CommandId,
        /// The point, and the writes of it that count as made.
        booking: Option<(PointId, u64)>,
    },
    /// Read points of a running sensor now. → [`CommandEvent::Read`]
    Read {
        /// Which.
        id: CommandId,
        /// The sensor.
        sensor: SensorId,
        /// Which start of it.
        generation: u64,
        /// The points.
        points: Vec<PointId>,
        /// When this was asked for, in ms.
        asked_at: u64,
    },
    /// Write its value to its point, once, if that can be begun in time. → [`CommandEvent::Wrote`]
    Write {
        /// Which.
        id: CommandId,
        /// The sensor.
        sensor: SensorId,
        /// Which start of it.
        generation: u64,
        /// The point.
        point: PointId,
        /// The value.
        value: PointValue,
        /// How long it may wait for its turn, in ms.
        begin_within_ms: u64,
    },
    /// Note, durably, what became of it. → [`CommandEvent::Ended`]
    End(CommandReport),
}

/// What came of a [`CommandEffect`].
#[derive(Debug, Clone, PartialEq)]
pub enum CommandEvent {
    /// That it is begun is durable, or why not.
    Begun {
        /// Which.
        id: CommandId,
        /// Whether it is durable.
        result: Result<(), String>,
    },
    /// Points were read for it.
    Read {
        /// Which.
        id: CommandId,
        /// What they showed.
        read: PointsRead,
    },
    /// It was written, or not.
    Wrote {
        /// Which.
        id: CommandId,
        /// What became of the write.
        outcome: WriteOutcome,
    },
    /// What became of it is durable, or why not.
    Ended {
        /// Which.
        id: CommandId,
        /// Whether it is durable.
        result: Result<(), String>,
    },
}

/// The commands of a device.
#[derive(Debug, Default)]
pub(super) struct Commands {
    docket: Docket,
    /// The revision of the commands held.
    revision: u64,
    /// What is under way; of each point one at most.
    jobs: BTreeMap<CommandId, Job>,
    /// What has ended and is not noted in the ledger yet: nobody is told before.
    noting: BTreeSet<CommandId>,
    /// The accounts of points that were written to.
    budgets: BTreeMap<PointId, Budget>,
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
    Beginning(Option<u64>),
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
    pub(super) fn from_ledger(
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
    pub(super) fn doubt(&mut self) {
        self.is_another_disk = true;
        let held: Vec<CommandReport> = self.docket.words_on_held().cloned().collect();
        for word in held {
            if word.outcome == CommandOutcome::Expired && word.took_ms.is_none() {
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
    pub(super) fn next_at(&self) -> Option<u64> {
        let settled = self.jobs.values().filter_map(|job| match job.stage {
            Stage::Settling { until, .. } => Some(until),
            Stage::Guards(_)
            | Stage::Beginning(_)
            | Stage::Writing { .. }
            | Stage::ReadingBack { .. } => None,
        });
        settled.chain(self.docket.next_end()).min()
    }

    /// Is there anything to say of commands?
    pub(super) const fn is_used(&self) -> bool {
        self.revision > 0
    }

    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// What is said of these commands, or (`None`) of all that the hub still asks for.
    pub(super) fn words(
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
    pub(super) fn recall_commands(&mut self, now: Now) {
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
    pub(super) fn take_commands(&mut self, now: Now, effects: &mut Vec<Effect>) {
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
    pub(super) fn command(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let recalled = self.commands.recalled.drain(..);
        effects.extend(recalled.map(|report| Effect::Command(CommandEffect::End(report))));
        if self.commands.next_at().is_some_and(|at| at <= now.ms) {
            self.end_what_is_over(now, effects);
            self.read_back_what_has_settled(now, effects);
        }
        if self.commands.docket.is_idle() {
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
    fn place(&self, point: PointId) -> Option<(SensorId, PointRules)> {
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

    /// A command whose turn it is: it is refused, or its guards are read, or it is begun. One whose sensor does not run
    /// waits.
    fn take_up(&mut self, waiting: &Waiting, now: Now, effects: &mut Vec<Effect>) {
        let Waiting {
            command,
            expires_at_ms,
        } = waiting;
        let (id, point) = (command.id, command.point_id);
        let refused = match self.place(point) {
            None => Err("the device has no such point any more".to_owned()),
            Some((sensor, rules)) => match forbids(&rules, command) {
                Some(why) => Err(why),
                None => match self.forbidden(sensor, point) {
                    Some(why) => Err(why),
                    None => Ok((sensor, rules)),
                },
            },
        };
        let (sensor, rules) = match refused {
            Ok(place) => place,
            Err(why) => {
                let end = End::unwritten(CommandOutcome::Refused, why);
                return self.finish(id, end, now, effects);
            }
        };
        if self.generation_of(sensor).is_none() {
            return;
        }
        let job = Job {
            command: command.clone(),
            expires_at: *expires_at_ms,
            sensor,
            rules,
            inputs: BTreeMap::new(),
            stage: Stage::Guards(BTreeSet::new()),
        };
        self.commands.jobs.insert(id, job);
        self.read_guards(id, now, effects);
    }

    fn read_guards(&mut self, id: CommandId, now: Now, effects: &mut Vec<Effect>) {
        let Some(job) = self.commands.jobs.get(&id) else {
            return;
        };
        let mut by_sensor: BTreeMap<SensorId, Vec<PointId>> = BTreeMap::new();
        for guard in &job.rules.guards {
            // A guard on a point that is not there was never read, and does not hold.
            if let Some((sensor, _)) = self.place(guard.point_id) {
                let points = by_sensor.entry(sensor).or_default();
                if !points.contains(&guard.point_id) {
                    points.push(guard.point_id);
                }
            }
        }
        let mut asked = BTreeSet::new();
        for (sensor, points) in by_sensor {
            if let Some(generation) = self.generation_of(sensor) {
                asked.insert(sensor);
                effects.push(Effect::Command(CommandEffect::Read {
                    id,
                    sensor,
                    generation,
                    points,
                    asked_at: now.ms,
                }));
            }
        }
        let is_read = asked.is_empty();
        if let Some(job) = self.commands.jobs.get_mut(&id) {
            job.stage = Stage::Guards(asked);
        }
        if is_read {
            self.begin(id, now, effects);
        }
    }

    /// Why a command may not be written now, if it may not.
    fn objection(&self, job: &Job, now: Now) -> Option<End> {
        let refused = |why| Some(End::unwritten(CommandOutcome::Refused, why));
        if job.expires_at <= now.ms {
            let why = "its time was over before it could be written";
            return Some(End::unwritten(CommandOutcome::Expired, why));
        }
        if let Some(why) = self.forbidden(job.sensor, job.command.point_id) {
            return refused(why);
        }
        // An edit may have made it another point meanwhile.
        match self.place(job.command.point_id) {
            None => return refused("the device has no such point any more".to_owned()),
            Some((_, rules)) => {
                if let Some(why) = forbids(&rules, &job.command) {
                    return refused(why);
                }
            }
        }
        let guards = check_guards(&job.rules.guards, |point| job.inputs.get(&point), now.ms);
        guards
            .err()
            .and_then(|failure| refused(HoldReason::Guard(failure).to_string()))
    }

    /// All guards are read: its id is made durable, if it may be written.
    fn begin(&mut self, id: CommandId, now: Now, effects: &mut Vec<Effect>) {
        let Some(job) = self.commands.jobs.get(&id) else {
            return;
        };
        let point = job.command.point_id;
        let objection = self.objection(job, now).or_else(|| {
            let left = self.account(point).view(&job.rules.budget, now.ms);
            (!left.allows(false)).then(|| {
                let reason = HoldReason::Budget {
                    today: left.today,
                    lifetime: left.lifetime,
                    reserve: left.reserve,
                };
                End::unwritten(CommandOutcome::Refused, reason.to_string())
            })
        });
        if let Some(end) = objection {
            return self.finish(id, end, now, effects);
        }
        let booked = self.account(point).to_reserve();
        let commands = &mut self.commands;
        if commands.docket.begin(id, now.ms).is_none() {
            // It has ended, or is not wanted any more.
            commands.jobs.remove(&id);
            return;
        }
        if let Some(job) = commands.jobs.get_mut(&id) {
            job.stage = Stage::Beginning(booked);
        }
        let booking = booked.map(|booked| (point, booked));
        effects.push(Effect::Command(CommandEffect::Begin { id, booking }));
    }

    /// The account of a point's writes; the value loop may have written to it when it was a level.
    fn account(&self, point: PointId) -> Budget {
        let booked = self.holding.booked(point);
        let own = self.commands.budgets.get(&point).copied();
        own.filter(|own| own.booked >= booked)
            .unwrap_or_else(|| Budget::from_ledger(booked))
    }

    pub(super) fn on_command(&mut self, event: CommandEvent, now: Now, effects: &mut Vec<Effect>) {
        match event {
            CommandEvent::Begun { id, result } => self.on_command_begun(id, result, now, effects),
            CommandEvent::Read { id, read } => self.on_command_read(id, read, now, effects),
            CommandEvent::Wrote { id, outcome } => {
                self.on_command_wrote(id, outcome, now, effects);
            }
            // What could not be noted is said all the same: after a restart it is unknown, and the first word stands.
            CommandEvent::Ended { id, result: _ } => {
                if self.commands.noting.remove(&id) {
                    self.reporting.command_ended(id);
                }
            }
        }
    }

    fn on_command_begun(
        &mut self,
        id: CommandId,
        result: Result<(), String>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(job) = self.commands.jobs.get(&id) else {
            return;
        };
        let Stage::Beginning(booked) = job.stage else {
            return;
        };
        let point = job.command.point_id;
        if let Err(error) = result {
            let why =
                format!("nothing was written, because it could not be noted on the disk: {error}");
            return self.finish(
                id,
                End::unwritten(CommandOutcome::Failed, why),
                now,
                effects,
            );
        }
        let mut account = self.account(point);
        if let Some(booked) = booked {
            account.reserved(booked);
            self.holding.note_booked(point, booked);
        }
        self.commands.budgets.insert(point, account);
        if let Some(end) = self.objection(job, now) {
            return self.finish(id, end, now, effects);
        }
        let sensor = job.sensor;
        let Some(generation) = self.generation_of(sensor) else {
            let end = End::unwritten(CommandOutcome::Failed, "its sensor does not run any more");
            return self.finish(id, end, now, effects);
        };
        account.spend(now.ms);
        self.commands.budgets.insert(point, account);
        let Some(job) = self.commands.jobs.get_mut(&id) else {
            return;
        };
        job.stage = Stage::Writing { since: now.ms };
        effects.push(Effect::Command(CommandEffect::Write {
            id,
            sensor,
            generation,
            point,
            value: job.command.value.clone(),
            begin_within_ms: job.expires_at.saturating_sub(now.ms),
        }));
    }

    fn on_command_wrote(
        &mut self,
        id: CommandId,
        outcome: WriteOutcome,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(job) = self.commands.jobs.get_mut(&id) else {
            return;
        };
        let Stage::Writing { since } = job.stage else {
            return;
        };
        let end = match outcome {
            WriteOutcome::Refused(why) => End::unwritten(CommandOutcome::Refused, why),
            WriteOutcome::NotSent(why) if job.expires_at <= now.ms => {
                let why = format!("its time was over before it could be sent: {why}");
                End::unwritten(CommandOutcome::Expired, why)
            }
            WriteOutcome::NotSent(why) => End::unwritten(CommandOutcome::Failed, why),
            wrote @ (WriteOutcome::Acknowledged | WriteOutcome::Unknown(_)) => {
                let until = now.ms.saturating_add(u64::from(job.rules.settle_ms));
                job.stage = Stage::Settling {
                    since,
                    until,
                    wrote,
                };
                return self.read_back_what_has_settled(now, effects);
            }
        };
        self.finish(id, end, now, effects);
    }

    fn read_back_what_has_settled(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let settled = self.commands.jobs.iter().filter(
            |(_, job)| matches!(job.stage, Stage::Settling { until, .. } if until <= now.ms),
        );
        let settled: Vec<(CommandId, SensorId)> =
            settled.map(|(id, job)| (*id, job.sensor)).collect();
        for (id, sensor) in settled {
            let generation = self.generation_of(sensor);
            let Some(job) = self.commands.jobs.get_mut(&id) else {
                continue;
            };
            let Stage::Settling { since, wrote, .. } = &job.stage else {
                continue;
            };
            let (since, wrote, point) = (*since, wrote.clone(), job.command.point_id);
            job.stage = Stage::ReadingBack { since, wrote };
            match generation {
                Some(generation) => effects.push(Effect::Command(CommandEffect::Read {
                    id,
                    sensor,
                    generation,
                    points: vec![point],
                    asked_at: now.ms,
                })),
                None => {
                    let gone = Fresh {
                        value: None,
                        quality: Quality::Bad,
                        reason: Some("its sensor does not run any more".into()),
                    };
                    self.on_read_back(id, gone, now, effects);
                }
            }
        }
    }

    fn on_command_read(
        &mut self,
        id: CommandId,
        read: PointsRead,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(job) = self.commands.jobs.get_mut(&id) else {
            return;
        };
        let PointsRead {
            sensor,
            points,
            asked_at,
            shown,
        } = read;
        match &mut job.stage {
            Stage::Guards(asked) => {
                for (point, fresh) in points.into_iter().zip(shown) {
                    let Fresh {
                        value,
                        quality,
                        reason,
                    } = fresh;
                    let observed = Observed {
                        value,
                        quality,
                        at_ms: asked_at,
                        reason,
                    };
                    job.inputs.insert(point, observed);
                }
                if asked.remove(&sensor) && asked.is_empty() {
                    self.begin(id, now, effects);
                }
            }
            Stage::ReadingBack { .. } => {
                if let Some(fresh) = shown.into_iter().next() {
                    self.on_read_back(id, fresh, now, effects);
                }
            }
            Stage::Beginning(_) | Stage::Writing { .. } | Stage::Settling { .. } => {}
        }
    }

    /// What the instrument shows after the write. A value that is not shown is no failure: a pulse may have fallen back.
    fn on_read_back(&mut self, id: CommandId, fresh: Fresh, now: Now, effects: &mut Vec<Effect>) {
        let Some(job) = self.commands.jobs.get(&id) else {
            return;
        };
        let Stage::ReadingBack { since, wrote } = &job.stage else {
            return;
        };
        let Fresh {
            value,
            quality,
            reason,
        } = fresh;
        let value = value.filter(|_| quality == Quality::Good);
        let band = Band::of(job.command.value.clone(), None, job.rules.resolution);
        let is_shown = value
            .as_ref()
            .is_some_and(|value| band.holds(value) == Some(true));
        let shows = match &value {
            Some(value) => format!("it shows {value}"),
            None => {
                let why = reason.unwrap_or_else(|| "no good reading".to_owned());
                format!("it can't be read back: {why}")
            }
        };
        let (outcome, reason) = match wrote {
            WriteOutcome::Unknown(why) => (
                CommandOutcome::OutcomeUnknown,
                Some(format!("{why}; {shows}")),
            ),
            _ if is_shown => (CommandOutcome::Verified, None),
            _ => {
                let why = format!("the instrument accepted {}; {shows}", job.command.value);
                (CommandOutcome::AcknowledgedUnverified, Some(why))
            }
        };
        let end = End {
            outcome,
            reason,
            value,
            took_ms: Some(now.ms.saturating_sub(*since)),
        };
        self.finish(id, end, now, effects);
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
        commands.jobs.remove(&id);
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
