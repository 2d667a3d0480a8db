//! When the outputs of a sensor are read, and how often: how long that takes, and what is told of it.

use std::collections::BTreeSet;

use holdfast_domain::{
    Item, PointId, Quality, SensorId,
    hold::Observed,
    limits,
    pace::{Figure, Slowed, Stretch, kept_interval_ms, with_headroom},
};

use super::{Effect, Holding, Machine, Now, point::Output};
use crate::machine::slot::Slot;

/// The looks at one sensor.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// When the next one begins, in ms.
    next_at: u64,
    /// When the one under way was begun, and whether it was one of the interval.
    begun: Option<Begun>,
    /// What is to be read beside the next one.
    also: BTreeSet<PointId>,
    /// How long the last whole one took, in ms.
    took_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Begun {
    at: u64,
    whole: bool,
}

impl Pass {
    /// Looks at once.
    pub(super) fn hurry(&mut self, now_ms: u64) {
        self.next_at = self.next_at.min(now_ms);
    }

    pub(super) const fn is_busy(&self) -> bool {
        self.begun.is_some()
    }

    pub(super) fn next_at(&self) -> Option<u64> {
        let at = if self.also.is_empty() {
            self.next_at
        } else {
            0
        };
        (!self.is_busy()).then_some(at)
    }

    /// How long the last whole one took, in ms.
    pub(super) const fn took_ms(&self) -> Option<u64> {
        self.took_ms
    }

    /// The reading has ended. How long did it take, in ms, if it was a whole pass?
    pub(super) fn ended(&mut self, now_ms: u64) -> Option<u64> {
        let Begun { at, whole } = self.begun.take()?;
        if !whole {
            return None;
        }
        let took = now_ms.saturating_sub(at);
        self.took_ms = Some(took);
        self.next_at = self.next_at.max(now_ms);
        Some(took)
    }
}

/// What the loop's passes took, and what the machine carries.
#[derive(Debug, Default)]
pub(super) struct Pace {
    pub(super) stretch: Stretch,
    /// How long the longest of the sensors' passes take.
    pub(super) figure: Figure,
    /// Are the longest of them longer than was asked for?
    slowed: Slowed,
}

impl Pace {
    /// The shortest interval, in ms, that passes which take so long, in ms, keep up with.
    pub(super) fn recommended(&self, took_ms: u64) -> u32 {
        within_range(self.stretch.of(with_headroom(took_ms)))
    }
}

/// An interval as it can be set.
pub(super) fn within_range(interval_ms: u64) -> u32 {
    let wanted = i64::try_from(interval_ms).unwrap_or(i64::MAX);
    let range = limits::HOLD_INTERVAL_MS;
    u32::try_from(wanted.clamp(*range.start(), *range.end())).unwrap_or(u32::MAX)
}

impl Holding {
    /// How often the outputs of a sensor are looked at, in ms.
    pub(super) fn kept_interval_ms(&self, sensor: SensorId) -> u64 {
        let took = self.passes.get(&sensor).and_then(Pass::took_ms);
        self.kept_for(took)
    }

    /// How often the outputs of the slowest sensor are looked at, as it is told, in ms.
    pub(super) fn told_interval_ms(&self) -> u32 {
        let took = self.pace.figure.told();
        within_range(self.kept_for(took.filter(|_| self.pace.slowed.is_told())))
    }

    fn kept_for(&self, took_ms: Option<u64>) -> u64 {
        let asked = u64::from(self.interval_ms());
        kept_interval_ms(asked, took_ms, &self.pace.stretch, self.settings.dynamic)
    }

    /// A reading of this sensor has ended. Has what is told of passes changed by it?
    pub(super) fn pass_ended(&mut self, sensor: SensorId, now: Now) -> bool {
        let interval = u64::from(self.interval_ms());
        let Some(pass) = self.passes.get_mut(&sensor) else {
            return false;
        };
        self.passes_ended += 1;
        let Some(took) = pass.ended(now.ms) else {
            return false;
        };
        self.overruns += u64::from(took > interval);
        let longest = self.passes.values().filter_map(Pass::took_ms).max();
        // One slow pass counts once, whichever end next.
        if longest != Some(took) {
            return false;
        }
        let figure_changed = self.pace.figure.note(took);
        self.pace.slowed.note(took > interval) || figure_changed
    }
}

impl Machine {
    /// Begins every pass that is due.
    pub(super) fn begin_passes(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let due: Vec<SensorId> = self
            .holding
            .passes
            .iter()
            .filter(|(_, pass)| pass.next_at().is_some_and(|at| at <= now.ms))
            .map(|(sensor, _)| *sensor)
            .collect();
        for sensor in due {
            self.begin_pass(sensor, now, effects);
        }
    }

    fn begin_pass(&mut self, sensor: SensorId, now: Now, effects: &mut Vec<Effect>) {
        let generation = self.generation_of(sensor);
        let interval = self.holding.kept_interval_ms(sensor);
        let holding = &mut self.holding;
        let Some(pass) = holding.passes.get_mut(&sensor) else {
            return;
        };
        let whole = pass.next_at <= now.ms;
        let mut also = std::mem::take(&mut pass.also);
        let mut points = Vec::new();
        if whole {
            // A late pass is not made up for: the next one is an interval later.
            pass.next_at = now.ms + interval;
            points.extend(holding.outputs.of_sensor(sensor));
            if generation.is_none() {
                for point in &points {
                    holding.outputs.change(*point, Output::look_now);
                }
            }
        }
        let Some(generation) = generation else {
            self.can_not_read_guards(sensor, now);
            return;
        };
        also.extend(self.guards_of(sensor));
        if !also.is_empty() {
            also.extend(&points);
            points = also.into_iter().collect();
        }
        if points.is_empty() {
            return;
        }
        if let Some(pass) = self.holding.passes.get_mut(&sensor) {
            pass.begun = Some(Begun { at: now.ms, whole });
        }
        effects.push(Effect::ReadPoints {
            sensor,
            generation,
            points,
            asked_at: now.ms,
        });
    }

    /// The points of this sensor that guards of any output are on. They are known from now on, as not read yet.
    fn guards_of(&mut self, sensor: SensorId) -> Vec<PointId> {
        let holding = &mut self.holding;
        if holding.outputs.guards().next().is_none() {
            return Vec::new();
        }
        let Some(item) = self.wanted.get(&sensor) else {
            return Vec::new();
        };
        let names = item.sensor.content().binding.point_names();
        let own = names.into_iter().map(|(point, _)| point);
        let guards: Vec<PointId> = own
            .filter(|point| holding.outputs.is_guard(*point))
            .collect();
        for point in &guards {
            holding.guarded_by.entry(*point).or_default();
        }
        guards
    }

    /// A sensor that does not run can't be looked at: what guards are on there is not good. One that is being started will be.
    fn can_not_read_guards(&mut self, sensor: SensorId, now: Now) {
        let slot = self.slots.get(&sensor);
        if slot.is_some_and(Slot::is_coming) {
            return;
        }
        let reason = slot.and_then(Slot::why_not_readable);
        for point in self.guards_of(sensor) {
            let observed = Observed {
                value: None,
                quality: Quality::Bad,
                at_ms: now.ms,
                reason: reason.clone(),
            };
            self.holding.guarded_by.insert(point, Some(observed));
        }
    }

    /// Reads these points as soon as nothing of their sensor is being read.
    pub(super) fn read_now(
        &mut self,
        sensor: SensorId,
        points: &[PointId],
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let pass = self.holding.passes.entry(sensor).or_default();
        pass.also.extend(points);
        if !pass.is_busy() {
            self.begin_pass(sensor, now, effects);
        }
    }

    /// The sensors of the points that guards are on.
    pub(super) fn guarding_sensors(&self) -> BTreeSet<SensorId> {
        let guards: BTreeSet<PointId> = self.holding.outputs.guards().collect();
        if guards.is_empty() {
            return BTreeSet::new();
        }
        let has = |item: &&Item| {
            let names = item.sensor.content().binding.point_names();
            names.iter().any(|(point, _)| guards.contains(point))
        };
        let items = self.wanted.values().filter(has);
        items.map(|item| item.sensor.id()).collect()
    }
}
