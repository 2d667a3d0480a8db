//! When the outputs of a sensor are read.

use std::collections::BTreeSet;

use holdfast_domain::{Item, PointId, Quality, SensorId, hold::Observed};

use super::{Effect, Machine, Now, point::Output};

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
    /// How often it is looked at, where the bus carries no more, in ms.
    slowed_to: u64,
}

#[derive(Debug, Clone, Copy)]
struct Begun {
    at: u64,
    whole: bool,
}

impl Pass {
    /// The interval is lengthened to this much more than a pass takes, in hundredths.
    const HEADROOM: u64 = 125;

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

    /// An interval in ms that passes which take so long, in ms, keep up with.
    pub(super) const fn with_headroom(took_ms: u64) -> u64 {
        took_ms.saturating_mul(Self::HEADROOM) / 100
    }

    /// The reading has ended. Did a whole pass outlast the interval?
    pub(super) fn ended(&mut self, now_ms: u64, interval_ms: u64, dynamic: bool) -> bool {
        let Some(Begun { at, whole }) = self.begun.take() else {
            return false;
        };
        if !whole {
            return false;
        }
        let took = now_ms.saturating_sub(at);
        self.took_ms = Some(took);
        let is_over = took > interval_ms;
        self.slowed_to = if is_over && dynamic {
            Self::with_headroom(took)
        } else {
            0
        };
        self.next_at = self.next_at.max(now_ms);
        is_over
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
        let interval = u64::from(self.holding.interval_ms());
        let holding = &mut self.holding;
        let Some(pass) = holding.passes.get_mut(&sensor) else {
            return;
        };
        let whole = pass.next_at <= now.ms;
        let mut points = std::mem::take(&mut pass.also);
        if whole {
            // A late pass is not made up for: the next one is an interval later.
            pass.next_at = now.ms + interval.max(pass.slowed_to);
            let outputs: Vec<PointId> = holding.outputs.of_sensor(sensor).collect();
            for point in &outputs {
                if generation.is_none() {
                    holding.outputs.change(*point, Output::look_now);
                }
            }
            points.extend(outputs);
        }
        let Some(generation) = generation else { return };
        points.extend(self.guards_of(sensor));
        if points.is_empty() {
            return;
        }
        if let Some(pass) = self.holding.passes.get_mut(&sensor) {
            pass.begun = Some(super::pass::Begun { at: now.ms, whole });
        }
        effects.push(Effect::ReadPoints {
            sensor,
            generation,
            points: points.into_iter().collect(),
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
            holding
                .guarded_by
                .entry(*point)
                .or_insert_with(|| Observed {
                    value: None,
                    quality: Quality::Bad,
                    at_ms: 0,
                    reason: Some("it was not read yet".into()),
                });
        }
        guards
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
