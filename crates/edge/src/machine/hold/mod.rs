//! The value loop: which outputs are looked at when, and what their looks come to. What is to be done about one output
//! is decided by the domain alone ([`holdfast_domain::hold::decide`]); here is decided when it is asked, and what its
//! answers mean for the others.
//!
//! A pass is made sensor by sensor: each has its own reading under way and its own next time, so that a dead one delays
//! no other. What comes meanwhile only changes what is wanted: nothing is cancelled, nothing is lost.
//!
//! - `point.rs`: one output;
//! - `pass.rs`: when the outputs of a sensor are read;
//! - `say.rs`: what is said of them.

mod pass;
mod point;
mod say;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_domain::{
    Item, PauseId, PointId, SensorId,
    document::hold::HoldSettings,
    hold::{Control, Observed, WriteOutcome, check_guards},
};
use holdfast_ports::bus::Fresh;

use super::{Effect, Machine, Now, PointsRead};
use crate::status::HubAccess;
use pass::Pass;
use point::{Busy, Output};

/// The outputs of a device.
#[derive(Debug)]
pub(super) struct Holding {
    /// The revision of the setpoints held.
    revision: u64,
    settings: HoldSettings,
    /// When the settings' pauses end, in ms.
    ends: BTreeMap<PauseId, u64>,
    outputs: BTreeMap<PointId, Output>,
    /// By sensor; also of sensors that do not run.
    passes: BTreeMap<SensorId, Pass>,
    /// The last readings of points that guards are on.
    guarded_by: BTreeMap<PointId, Observed>,
    /// Writes booked in the ledger, of points without a setpoint too.
    booked: BTreeMap<PointId, u64>,
    /// Passes that took longer than the interval.
    overruns: u64,
    /// Points that a write is under way to, also of wishes that were released since.
    writing: BTreeSet<PointId>,
    /// Those of them whose write was begun before the newest wishes and settings came.
    awaited: BTreeSet<PointId>,
    /// The revisions of setpoints and of settings by which everything goes: no write by earlier ones is under way.
    in_force: (u64, u64),
}

impl Holding {
    pub(super) fn from_ledger(booked: BTreeMap<PointId, u64>) -> Self {
        Self {
            revision: 0,
            settings: HoldSettings::default(),
            ends: BTreeMap::new(),
            outputs: BTreeMap::new(),
            passes: BTreeMap::new(),
            guarded_by: BTreeMap::new(),
            booked,
            overruns: 0,
            writing: BTreeSet::new(),
            awaited: BTreeSet::new(),
            in_force: (0, 0),
        }
    }

    /// The newest wishes and settings are those by which everything goes, once no write by earlier ones is under way: a stop
    /// is not confirmed while something can still move. Is that news?
    fn come_into_force(&mut self) -> bool {
        let newest = (self.revision, self.settings.revision);
        let is_news = self.awaited.is_empty() && self.in_force != newest;
        if is_news {
            self.in_force = newest;
        }
        is_news
    }

    /// When something is to be looked at, in ms.
    pub(super) fn next_at(&self) -> Option<u64> {
        let passes = self.passes.values().filter_map(Pass::next_at);
        let looks = self.outputs.values().filter_map(Output::look_at);
        passes.chain(looks).chain(self.ends.values().copied()).min()
    }

    /// May outputs of this sensor, or this one, be written to?
    fn control(&self, sensor: SensorId, point: PointId, access: HubAccess) -> Control {
        match access {
            HubAccess::Granted => {}
            HubAccess::Deleted => {
                return Control::Paused("the hub says that this device was deleted".into());
            }
            HubAccess::Revoked => {
                return Control::Paused("the hub says that this agent's access was revoked".into());
            }
        }
        let covering = self
            .settings
            .pauses
            .iter()
            .find(|pause| pause.scope.covers(sensor, point));
        match covering {
            Some(pause) => {
                let reason = pause.reason.as_deref().map(|reason| format!(": {reason}"));
                Control::Paused(format!(
                    "stopped by {}{}",
                    pause.by,
                    reason.unwrap_or_default()
                ))
            }
            None if self.settings.shadow => Control::Shadow,
            None => Control::Active,
        }
    }
}

impl Machine {
    /// Makes the held setpoints and settings those that count.
    pub(super) fn take_wishes(&mut self, now: Now) {
        let Some(target) = self.target.held() else {
            return;
        };
        let holding = &mut self.holding;
        if holding.settings != target.hold {
            let new = |id: &PauseId| !holding.ends.contains_key(id);
            let ends: BTreeMap<PauseId, u64> = target
                .hold
                .pauses
                .iter()
                .filter_map(|pause| Some((pause.id, now.ms.saturating_add(pause.remaining_ms?))))
                .map(|(id, end)| {
                    if new(&id) {
                        (id, end)
                    } else {
                        (id, holding.ends[&id])
                    }
                })
                .collect();
            holding.ends = ends;
            holding.settings = target.hold.clone();
            holding.awaited.clone_from(&holding.writing);
            self.reporting.header_changed();
            for output in holding.outputs.values_mut() {
                output.look_now();
            }
        }
        if holding.revision != target.setpoints.revision {
            holding.revision = target.setpoints.revision;
            holding.awaited.clone_from(&holding.writing);
            self.reporting.header_changed();
        }
        holding.come_into_force();
        let mut outputs = BTreeMap::new();
        for setpoint in &target.setpoints.items {
            let point = setpoint.point_id;
            let place = target.items.iter().find_map(|item| {
                let rules = item.sensor.content().binding.point_rules(point)?;
                Some((item.sensor.id(), rules))
            });
            // The hub keeps points that something is set on; one that is not there can't be held.
            let Some((sensor, rules)) = place else {
                continue;
            };
            let before = holding.outputs.remove(&point);
            let booked = holding.booked.get(&point).copied().unwrap_or(0);
            let is_writing = holding.writing.contains(&point);
            let (output, is_new) =
                Output::of(before, setpoint, sensor, rules, booked, is_writing, now);
            if is_new {
                holding.passes.entry(sensor).or_default().hurry(now.ms);
                self.reporting.output_changed(point, true);
            }
            outputs.insert(point, output);
        }
        holding.outputs = outputs;
        let guarding = self.guarding_sensors();
        let holding = &mut self.holding;
        for sensor in &guarding {
            holding.passes.entry(*sensor).or_default().hurry(now.ms);
        }
        holding.passes.retain(|sensor, pass| {
            let has_output = |output: &Output| output.sensor() == *sensor;
            pass.is_busy() || guarding.contains(sensor) || holding.outputs.values().any(has_output)
        });
    }

    /// Does what is due in the value loop.
    pub(super) fn hold(&mut self, now: Now, random: u32, effects: &mut Vec<Effect>) {
        self.end_pauses(now);
        self.begin_passes(now, effects);
        let due: Vec<PointId> = self
            .holding
            .outputs
            .iter()
            .filter(|(_, output)| output.look_at().is_some_and(|at| at <= now.ms))
            .map(|(point, _)| *point)
            .collect();
        for point in due {
            self.look_at_output(point, now, random, effects);
        }
    }

    fn end_pauses(&mut self, now: Now) {
        let holding = &mut self.holding;
        let over: Vec<PauseId> = holding
            .ends
            .iter()
            .filter(|(_, end)| **end <= now.ms)
            .map(|(id, _)| *id)
            .collect();
        if over.is_empty() {
            return;
        }
        holding.ends.retain(|id, _| !over.contains(id));
        holding
            .settings
            .pauses
            .retain(|pause| !over.contains(&pause.id));
        for output in holding.outputs.values_mut() {
            output.look_now();
        }
        self.reporting.header_changed();
    }

    /// Decides about one output, and begins what is to be done.
    fn look_at_output(&mut self, point: PointId, now: Now, random: u32, effects: &mut Vec<Effect>) {
        let access = self.hub.access();
        let holding = &mut self.holding;
        let Some(output) = holding.outputs.get(&point) else {
            return;
        };
        if output.is_writing() {
            return;
        }
        let sensor = output.sensor();
        let control = holding.control(sensor, point, access);
        let guards = check_guards(
            output.guards(),
            |guard| holding.guarded_by.get(&guard),
            now.ms,
        );
        let interval_ms = u64::from(holding.settings.interval_ms);
        let restores = holding.settings.restores_per_hour;
        let absent = self.why_not_readable(sensor, point);
        let output = self
            .holding
            .outputs
            .get_mut(&point)
            .expect("it was there a moment ago");
        if let Some(why) = absent {
            output.can_not_be_read(why, now);
        }
        let next = output.decide(&control, &guards, interval_ms, restores, now, random);
        self.reporting.output_changed_as(point, next.changed);
        match next.busy {
            None => {}
            Some(Busy::Reading) => self.read_now(sensor, &[point], now, effects),
            Some(Busy::Booking { booked }) => effects.push(Effect::BookWrites { point, booked }),
            Some(Busy::Writing { value }) => match self.generation_of(sensor) {
                Some(generation) => {
                    self.holding.writing.insert(point);
                    effects.push(Effect::WritePoint {
                        sensor,
                        generation,
                        point,
                        value,
                    });
                }
                None => self.on_wrote(
                    point,
                    WriteOutcome::NotSent("its sensor does not run".into()),
                    now,
                    random,
                    effects,
                ),
            },
        }
    }

    /// Why this point can't be read or written, if it can't: its sensor does not run, or what runs of it still is another
    /// point than the one wanted.
    fn why_not_readable(&self, sensor: SensorId, point: PointId) -> Option<String> {
        let (Some(slot), Some(wanted)) = (self.slots.get(&sensor), self.wanted.get(&sensor)) else {
            return Some("its sensor is not wanted any more".to_owned());
        };
        if let Some(why) = slot.why_not_readable() {
            return Some(why);
        }
        let identity = |item: &Item| {
            let rules = item.sensor.content().binding.point_rules(point);
            rules.map(|rules| rules.identity)
        };
        let is_another = |item: &Item| {
            item.sensor.fingerprint() != wanted.sensor.fingerprint()
                && identity(item) != identity(wanted)
        };
        let mut there = slot.with_adapter();
        there
            .any(is_another)
            .then(|| "its sensor is being changed".to_owned())
    }

    /// The number of the start of a sensor that is with an adapter.
    fn generation_of(&self, sensor: SensorId) -> Option<u64> {
        let slot = self.slots.get(&sensor)?;
        slot.is_readable().then(|| slot.generation())
    }

    /// The adapter lost an instrument, if only between two looks: what it shows next may be what it starts with.
    pub(in crate::machine) fn lost_touch(&mut self, sensor: SensorId, now: Now) {
        for output in self.holding.outputs.values_mut() {
            if output.sensor() == sensor {
                output.lost_touch(now);
            }
        }
    }

    /// What a write came to.
    pub(super) fn on_wrote(
        &mut self,
        point: PointId,
        outcome: WriteOutcome,
        now: Now,
        random: u32,
        effects: &mut Vec<Effect>,
    ) {
        let holding = &mut self.holding;
        holding.writing.remove(&point);
        holding.awaited.remove(&point);
        if holding.come_into_force() {
            self.reporting.header_changed();
        }
        if let Some(output) = self.holding.outputs.get_mut(&point) {
            output.wrote(outcome, now, random);
            self.look_at_output(point, now, random, effects);
        }
    }

    /// A block of writes is booked in the ledger, or could not be.
    pub(super) fn on_booked(
        &mut self,
        point: PointId,
        booked: u64,
        result: &Result<(), String>,
        now: Now,
        random: u32,
        effects: &mut Vec<Effect>,
    ) {
        if result.is_ok() {
            self.holding.booked.insert(point, booked);
        }
        if let Some(output) = self.holding.outputs.get_mut(&point) {
            output.booked(booked, result, now, random);
            self.look_at_output(point, now, random, effects);
        }
    }

    /// What points showed that were read on demand.
    pub(super) fn on_read(
        &mut self,
        read: PointsRead,
        now: Now,
        random: u32,
        effects: &mut Vec<Effect>,
    ) {
        let PointsRead {
            sensor,
            points,
            asked_at,
            shown,
        } = read;
        if let Some(pass) = self.holding.passes.get_mut(&sensor) {
            let interval = u64::from(self.holding.settings.interval_ms);
            let over = pass.ended(now.ms, interval, self.holding.settings.dynamic);
            self.holding.overruns += u64::from(over);
        }
        for (
            point,
            Fresh {
                value,
                quality,
                reason,
            },
        ) in points.iter().zip(shown)
        {
            if self.why_not_readable(sensor, *point).is_some() {
                // Perhaps it was another point that was read.
                continue;
            }
            let observed = Observed {
                value,
                quality,
                at_ms: asked_at,
                reason,
            };
            if self.holding.guarded_by.contains_key(point) {
                self.holding.guarded_by.insert(*point, observed.clone());
            }
            if let Some(output) = self.holding.outputs.get_mut(point) {
                output.read(observed);
            }
        }
        let holding = &self.holding;
        let guarded = |output: &Output| {
            let guards = output.guards().iter();
            guards
                .into_iter()
                .any(|guard| points.contains(&guard.point_id))
        };
        let concerned: Vec<PointId> = holding
            .outputs
            .iter()
            .filter(|(point, output)| points.contains(point) || guarded(output))
            .map(|(point, _)| *point)
            .collect();
        for point in concerned {
            self.look_at_output(point, now, random, effects);
        }
    }
}
