//! One command on its way: guards, the durable id, the write, the read-back. Each step begins with the answer to the one
//! before, and looks again at what may have changed meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_domain::{
    CommandId, PointId, Quality, SensorId,
    docket::{Waiting, forbids, needs_shown, too_far},
    document::command::CommandOutcome,
    hold::{Band, Budget, HoldReason, Observed, WriteOutcome, check_guards},
};
use holdfast_ports::bus::Fresh;

use super::{CommandEffect, CommandEvent, End, Job, Stage};
use crate::machine::{Effect, Machine, Now, PointsRead};

impl Machine {
    /// A command whose turn it is: it is refused, or its guards are read, or it is begun. One whose sensor does not run
    /// waits.
    pub(super) fn take_up(&mut self, waiting: &Waiting, now: Now, effects: &mut Vec<Effect>) {
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
        if needs_shown(&job.rules, &job.command) {
            let points = by_sensor.entry(job.sensor).or_default();
            if !points.contains(&job.command.point_id) {
                points.push(job.command.point_id);
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
        if let Err(failure) = guards {
            return refused(HoldReason::Guard(failure).to_string());
        }
        let shown = job.inputs.get(&job.command.point_id);
        too_far(&job.rules, &job.command, shown).and_then(refused)
    }

    /// All guards are read: its id is made durable, if it may be written.
    fn begin(&mut self, id: CommandId, now: Now, effects: &mut Vec<Effect>) {
        let Some(job) = self.commands.jobs.get(&id) else {
            return;
        };
        let point = job.command.point_id;
        if self.is_ending {
            // It was not begun, and will not be.
            self.commands.jobs.remove(&id);
            return;
        }
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
        let booked = self.account(point).to_book(&job.rules.budget, now.ms);
        let commands = &mut self.commands;
        if commands.docket.begin(id, now.ms).is_none() {
            // It has ended, or is not wanted any more.
            commands.jobs.remove(&id);
            return;
        }
        if let Some(job) = commands.jobs.get_mut(&id) {
            job.stage = Stage::Beginning(booked.clone());
        }
        let booking = booked.map(|booked| (point, booked));
        effects.push(Effect::Command(CommandEffect::Begin { id, booking }));
    }

    /// The account of a point's writes; the value loop may have written to it when it was a level.
    fn account(&self, point: PointId) -> Budget {
        self.holding.account(point).cloned().unwrap_or_default()
    }

    pub(in crate::machine) fn on_command(
        &mut self,
        event: CommandEvent,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
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
        let Stage::Beginning(booked) = &job.stage else {
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
        if let Some(booked) = booked {
            self.holding.note_booked(point, booked, now);
        }
        if let Some(end) = self.objection(job, now) {
            return self.finish(id, end, now, effects);
        }
        let sensor = job.sensor;
        let Some(generation) = self.generation_of(sensor) else {
            let end = End::unwritten(CommandOutcome::Failed, "its sensor does not run any more");
            return self.finish(id, end, now, effects);
        };
        let account = self.holding.account_mut(point);
        if !account.is_booked(now.ms) {
            // The day has ended meanwhile, or the instrument was replaced.
            let why = "nothing was written, because its write had to be booked anew";
            let end = End::unwritten(CommandOutcome::Failed, why);
            return self.finish(id, end, now, effects);
        }
        account.spend(now.ms);
        let Some(job) = self.commands.jobs.get_mut(&id) else {
            return;
        };
        job.stage = Stage::Writing { since: now.ms };
        // No stop is confirmed while it is under way.
        self.holding.note_writing(point);
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
        let point = job.command.point_id;
        self.on_wrote(point, outcome.clone(), now, 0, effects);
        let Some(job) = self.commands.jobs.get_mut(&id) else {
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

    pub(super) fn read_back_what_has_settled(&mut self, now: Now, effects: &mut Vec<Effect>) {
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
}
