//! Looks at outputs: what their points showed, what the domain decides about it, and what is begun then.
//!
//! A pass looks at all outputs of a sensor, and there may be ten thousand on a device: what is the same for all of a sensor
//! is found out once, and each output is looked up once.

use std::collections::BTreeMap;

use holdfast_domain::{
    Item, PointId, SensorId,
    hold::{GuardFailure, Observed, WriteOutcome, check_guards},
};
use holdfast_ports::bus::Fresh;

use super::{
    Effect, Holding, Machine, Now,
    absent::{Absent, Reach},
    leaving::Stops,
    point::{Ask, Busy, Next},
};
use crate::{
    machine::{PointsRead, slot::Slot},
    status::HubAccess,
};

/// What a look goes by that is the same for all outputs of a sensor.
struct Surroundings {
    sensor: SensorId,
    access: HubAccess,
    hub_silent_ms: u64,
    interval_ms: u64,
    /// They go to no safe value.
    stay: bool,
    reach: Reach,
}

/// What came of a look at an output that nothing is under way for.
struct Looked {
    next: Next,
    ahead: Option<Effect>,
    /// Is it known what became of its wish?
    is_answered: bool,
}

impl Machine {
    /// What points showed that were read on demand.
    pub(in crate::machine) fn on_read(
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
        if self.holding.pass_ended(sensor, now) {
            self.reporting.header_detail();
        }
        let around = self.surroundings(sensor, now);
        let taken_at = self.slots.get(&sensor).map_or(0, Slot::taken_at);
        let observed = |fresh: Fresh| Observed {
            value: fresh.value,
            quality: fresh.quality,
            at_ms: asked_at,
            reason: fresh.reason,
        };
        // Before that, perhaps it was another point that was read.
        let is_of_it = |machine: &Self, point| {
            asked_at >= taken_at && machine.why_absent(&around, point).is_none()
        };
        // First what guards are on, which outputs of the same sensor may have.
        if !self.holding.guarded_by.is_empty() {
            for (point, fresh) in points.iter().zip(&shown) {
                if self.holding.guarded_by.contains_key(point) && is_of_it(self, *point) {
                    let observed = observed(fresh.clone());
                    self.holding.guarded_by.insert(*point, Some(observed));
                }
            }
        }
        for (point, fresh) in points.iter().zip(shown) {
            let observed = is_of_it(self, *point).then(|| observed(fresh));
            self.look(&around, *point, observed, now, random, effects);
        }
        for point in self.holding.outputs.guarded_beside(&points) {
            self.look_at_output(point, now, random, effects);
        }
    }

    /// Decides about one output, and begins what is to be done.
    pub(super) fn look_at_output(
        &mut self,
        point: PointId,
        now: Now,
        random: u32,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(output) = self.holding.outputs.get(&point) {
            let around = self.surroundings(output.sensor(), now);
            self.look(&around, point, None, now, random, effects);
        }
    }

    fn surroundings(&self, sensor: SensorId, now: Now) -> Surroundings {
        let is_enabled = |item: &Item| item.sensor.enabled();
        let is_disabled = !self.wanted.get(&sensor).is_some_and(is_enabled);
        Surroundings {
            sensor,
            access: self.hub.access(),
            hub_silent_ms: self.hub.silent_ms(now.ms),
            interval_ms: self.holding.kept_interval_ms(sensor),
            stay: self.holding.settings.shadow || is_disabled,
            reach: self.reach(sensor),
        }
    }

    /// Why this point can't be read or written, if it can't.
    fn why_absent(&self, around: &Surroundings, point: PointId) -> Option<Absent> {
        match &around.reach {
            Reach::All => None,
            Reach::None(why) => Some(why.clone()),
            Reach::WhatStays => self
                .is_being_changed(around.sensor, point)
                .then_some(Absent::NotYet),
        }
    }

    /// Takes what an output showed, if that is known anew, decides about it, and begins what is to be done.
    fn look(
        &mut self,
        around: &Surroundings,
        point: PointId,
        observed: Option<Observed>,
        now: Now,
        random: u32,
        effects: &mut Vec<Effect>,
    ) {
        let absent = self.why_absent(around, point);
        let is_absent = absent.is_some();
        let looked = self.decide(around, point, (observed, absent), now, random);
        let Some(Looked {
            next,
            ahead,
            is_answered,
        }) = looked
        else {
            return;
        };
        self.reporting.output_changed_as(point, next.changed);
        if is_answered && self.holding.in_hand.remove(&point).is_some() {
            self.reporting.wish_ended(point);
        }
        effects.extend(ahead);
        let sensor = around.sensor;
        match next.busy {
            None => {}
            // It is looked at as soon as it is there.
            Some(Busy::Reading) if is_absent => {}
            Some(Busy::Reading) => self.read_now(sensor, &[point], now, effects),
            Some(Busy::Booking { booked }) => effects.push(Effect::BookWrites { point, booked }),
            Some(Busy::Writing { value }) => match self.generation_of(sensor) {
                Some(generation) => {
                    self.holding.writing.insert(point);
                    self.holding.accounts.days_run = true;
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

    /// What comes of a look at this point, if it is an output for which nothing is under way.
    fn decide(
        &mut self,
        around: &Surroundings,
        point: PointId,
        (observed, absent): (Option<Observed>, Option<Absent>),
        now: Now,
        random: u32,
    ) -> Option<Looked> {
        let Holding {
            outputs,
            settings,
            local,
            guarded_by,
            errors,
            notes,
            ..
        } = &mut self.holding;
        let mut output = outputs.get_mut(&point)?;
        if let Some(observed) = observed {
            output.read(observed);
        }
        if self.is_ending || output.is_writing() {
            return None;
        }
        match absent {
            None => {}
            Some(Absent::NotYet) => output.is_not_there_yet(),
            Some(Absent::Because(why)) => output.can_not_be_read(why, now),
        }
        let stops = Stops {
            settings,
            local,
            access: around.access,
            hub_silent_ms: around.hub_silent_ms,
        };
        let standing = stops.standing(around.sensor, point, output.lost_after_ms());
        let guards = check_guards(
            output.guards(),
            |guard| guarded_by.get(&guard)?.as_ref(),
            now.ms,
        );
        // A point that is not there will not be looked at.
        let guards = guards.map_err(|failure| GuardFailure {
            is_unread: failure.is_unread && is_wanted(&self.wanted, failure.point),
            ..failure
        });
        let next = output.look(&Ask {
            standing: &standing,
            guards: &guards,
            stays: around.stay,
            interval_ms: around.interval_ms,
            restores_per_hour: settings.restores_per_hour,
            now,
            random,
        });
        errors.note(point, &output, now);
        if output.has_just_expired() | output.has_just_learned() {
            notes.dirty();
        }
        let booked = match next.busy {
            Some(Busy::Writing { .. }) => output.book_ahead(now),
            Some(Busy::Reading | Busy::Booking { .. }) | None => None,
        };
        Some(Looked {
            ahead: booked.map(|booked| Effect::BookWrites { point, booked }),
            is_answered: next.busy.is_none() && output.is_wish_answered(),
            next,
        })
    }
}

/// Does the target have this point?
fn is_wanted(wanted: &BTreeMap<SensorId, Item>, point: PointId) -> bool {
    let has = |item: &Item| {
        let names = item.sensor.content().binding.point_names();
        names.iter().any(|(id, _)| *id == point)
    };
    wanted.values().any(has)
}
