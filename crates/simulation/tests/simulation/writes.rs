//! The observer's rules of writes to outputs: each is by a wish, or the way to the safe value that was declared for it.

use holdfast_domain::{
    PointId, PointValue, Quality, SensorId, TargetState,
    document::{
        hold::Scope,
        setpoint::{Policy, Setpoint},
    },
    hold::{Guard, Interruption, Observed, PointRules},
};
use holdfast_edge::machine::Event;

use crate::{
    agent::{Agent, Off, key_of},
    instrument::Where,
    observer::is_inside,
    world::World,
};

/// A value is written only if it was read so shortly before, in ms.
const FRESH_MS: u64 = 1_000;
const HOUR_MS: u64 = 3_600_000;
/// Writes on one way to a safe value.
const WAY_WRITES: u32 = 10;

/// What is written to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) agent: usize,
    pub(crate) sensor: SensorId,
    pub(crate) generation: u64,
    pub(crate) point: PointId,
}

/// A rule that is broken, and how.
type Objection = (&'static str, String);

impl World {
    /// No write that nobody asked for, ever.
    pub(crate) fn check_write(&mut self, target: Target, value: &PointValue) {
        let Target {
            agent,
            sensor,
            point,
            ..
        } = target;
        let one = &self.agents[agent];
        let Some(held) = one.told.held.clone() else {
            self.broken(
                "1 unset never acts",
                format_args!("agent {agent} holds nothing and writes {point}"),
            );
        };
        let found = held
            .setpoints
            .items
            .iter()
            .find(|wish| wish.point_id == point);
        let Some((wish, rules)) = found.zip(rules_of(&held, point)) else {
            self.broken(
                "1 unset never acts",
                format_args!("agent {agent} writes {value} to {point}: nothing is set there"),
            );
        };
        let at = self.check_any_write(target, wish, &held);
        let read = self.check_fresh(agent, point);
        let way = self.safe_value(agent, sensor, point, wish, &rules);
        let held_up = self.objection_to_hold(target, wish, &rules, &at, value, &read);
        let is_safe = match (held_up, way) {
            (None, _) => false,
            (Some((rule, why)), None) => self.broken(
                rule,
                format_args!("agent {agent} writes {value} to {point}: {why}"),
            ),
            (Some((rule, why)), Some(safe)) => {
                if !reaches(&safe, value, &read, &rules) {
                    self.broken(rule, format_args!("agent {agent} writes {value} to {point}, whose safe value is {safe}: {why}"));
                }
                if let Some((rule, why)) = self.objection_to_leave(target, wish, &at, &safe, &read)
                {
                    self.broken(
                        rule,
                        format_args!(
                            "agent {agent} writes the safe value {value} to {point}: {why}"
                        ),
                    );
                }
                true
            }
        };
        if is_safe {
            self.reach("safe values written");
            if let Some(off) = self.agents[agent].told.off.get_mut(&point) {
                off.writes += 1;
            }
        } else {
            self.count_restore(
                &at,
                (agent, wish),
                (value, &read),
                held.hold.restores_per_hour,
            );
        }
        self.agents[agent].told.written.insert(point, u64::MAX);
        self.count_write(agent, point, &rules, is_safe);
    }

    /// What holds for every write to an output. Gives where it is.
    fn check_any_write(&self, target: Target, wish: &Setpoint, held: &TargetState) -> Where {
        let Target {
            agent,
            sensor,
            generation,
            point,
        } = target;
        let one = &self.agents[agent];
        if one.told.is_revoked {
            self.broken(
                "14 revoked",
                format_args!("agent {agent} writes {point} although the hub turned it away"),
            );
        }
        if wish.policy == Policy::Observe {
            self.broken(
                "1 unset never acts",
                format_args!("agent {agent} writes {point}, which is only observed"),
            );
        }
        if held.hold.shadow {
            self.broken(
                "17 stop",
                format_args!("agent {agent} writes {point} in shadow mode"),
            );
        }
        let wanted = self.wanted_place(agent, point);
        let real = one
            .sensor_on_bus(sensor, generation)
            .and_then(|content| Where::of(agent, content, point));
        let bound = |at: &Where| at.identity == wish.bound_to;
        if !wanted.as_ref().is_some_and(bound) || !real.as_ref().is_none_or(bound) {
            self.broken("1 redefined", format_args!("agent {agent} writes {point}, which is not what {} was set for: {wanted:?}, {real:?}", wish.value));
        }
        wanted.expect("bound")
    }

    /// A write follows a good reading of a moment ago. Gives what it showed.
    fn check_fresh(&self, agent: usize, point: PointId) -> PointValue {
        let one = &self.agents[agent];
        let read = one.told.read.get(&point);
        let good = read.filter(|read| read.quality == Quality::Good);
        let Some((read, value)) = good.and_then(|read| Some((read, read.value.clone()?))) else {
            self.broken(
                "5 compare",
                format_args!("agent {agent} writes {point} without a good reading"),
            );
        };
        let age = one.now(self.now).ms.saturating_sub(read.at_ms);
        if age > FRESH_MS {
            self.broken(
                "5 compare",
                format_args!("agent {agent} writes {point} on a reading {age} ms old"),
            );
        }
        let written = one.told.to_read_back.get(&point);
        if let Some(at) = written.filter(|at| read.at_ms < **at) {
            self.broken(
                "5 compare",
                format_args!(
                    "agent {agent} writes {point}, and has not read back what it wrote until {at}"
                ),
            );
        }
        value
    }

    /// What speaks against a write by the wish?
    fn objection_to_hold(
        &self,
        target: Target,
        wish: &Setpoint,
        rules: &PointRules,
        at: &Where,
        value: &PointValue,
        read: &PointValue,
    ) -> Option<Objection> {
        let Target {
            agent,
            sensor,
            point,
            ..
        } = target;
        let one = &self.agents[agent];
        if !reaches(&wish.value, value, read, rules) {
            return Some(("1 unset never acts", format!("{} is set", wish.value)));
        }
        if let Some(why) = self.interruption(agent, sensor, point) {
            return Some(("17 stop", format!("it may not be held: {why:?}")));
        }
        let end = one.told.wishes.get(&key_of(wish, None));
        if end.is_some_and(|end| *end <= self.now) {
            return Some(("17 until when", format!("its time is over since {end:?}")));
        }
        if is_inside(wish, at, read) {
            return Some(("5 compare", format!("it shows {read}")));
        }
        let limits = rules.limits.as_ref();
        if limits.is_some_and(|limits| !limits.hold(number(value))) {
            return Some(("limits", format!("its limits are {limits:?}")));
        }
        let now = one.now(self.now).ms;
        guards_refuse(&rules.guards, |point| one.told.read.get(&point), now)
            .map(|why| ("guards", why))
    }

    /// What speaks against a write to the safe value?
    fn objection_to_leave(
        &self,
        target: Target,
        wish: &Setpoint,
        at: &Where,
        safe: &PointValue,
        read: &PointValue,
    ) -> Option<Objection> {
        let wish = Setpoint {
            value: safe.clone(),
            ..wish.clone()
        };
        if is_inside(&wish, at, read) {
            return Some(("5 compare", format!("it shows {read}")));
        }
        match self.agents[target.agent].told.off.get(&target.point) {
            Some(off) if off.is_left => {
                Some(("17 safe value once", format!("it was there: {off:?}")))
            }
            Some(off) if off.writes >= WAY_WRITES => {
                Some(("17 safe value once", format!("so often: {off:?}")))
            }
            _ => None,
        }
    }

    /// Where an output may go that may not be held, if it may go anywhere. A stop can last longer than it must, because
    /// what remains of it is written down now and then.
    fn safe_value(
        &self,
        agent: usize,
        sensor: SensorId,
        point: PointId,
        wish: &Setpoint,
        rules: &PointRules,
    ) -> Option<PointValue> {
        let one = &self.agents[agent];
        let held = one.told.held.as_ref()?;
        let is_stopped = held
            .hold
            .pauses
            .iter()
            .any(|pause| pause.scope.covers(sensor, point))
            || one.told.site.is_some()
            || one.disk.0.memory.local.is_some();
        let lost = rules.on_hub_lost.as_ref();
        let is_lost = lost.is_some_and(|(after, _)| one.heard_at + after <= self.now);
        let lost = lost.filter(|_| is_lost).map(|(_, value)| value);
        let safe = rules.on_stop.as_ref().filter(|_| is_stopped).or(lost);
        safe.filter(|_| wish.policy != Policy::Observe).cloned()
    }

    /// Why an output may not be held now, for certain.
    pub(crate) fn interruption(
        &self,
        agent: usize,
        sensor: SensorId,
        point: PointId,
    ) -> Option<Interruption> {
        let one = &self.agents[agent];
        if one.is_stopped(self.now, |scope| scope.covers(sensor, point)) {
            return Some(Interruption::Stopped);
        }
        // What was not measured does not count: only if it runs since it heard its hub last, it knows.
        let is_lost = |after: &u64| one.heard_at >= one.began && one.heard_at + after <= self.now;
        let is_shadow = one.told.held.as_ref().is_some_and(|held| held.hold.shadow);
        let lost = one.told.lost_after.get(&point).filter(|_| !is_shadow);
        lost.is_some_and(is_lost).then_some(Interruption::HubLost)
    }

    /// Notes which outputs may not be held, and which of them have come to their safe value.
    pub(crate) fn note_left(&mut self, agent: usize, event: &Event) {
        let Some(held) = self.agents[agent].told.held.clone() else {
            return;
        };
        let one = &self.agents[agent];
        let is_calm = held.hold.pauses.is_empty()
            && one.told.site.is_none()
            && one.told.lost_after.is_empty();
        if is_calm {
            self.agents[agent].told.off.clear();
            return;
        }
        for wish in &held.setpoints.items {
            let point = wish.point_id;
            let Some((sensor, rules)) = held.items.iter().find_map(|item| {
                Some((
                    item.sensor.id(),
                    item.sensor.content().binding.point_rules(point)?,
                ))
            }) else {
                continue;
            };
            let now = self.now;
            let why = self.interruption(agent, sensor, point);
            let told = &mut self.agents[agent].told;
            let Some(why) = why else {
                told.off.remove(&point);
                continue;
            };
            let safe = match why {
                Interruption::Stopped => rules.on_stop.as_ref(),
                Interruption::HubLost => rules.on_hub_lost.as_ref().map(|(_, value)| value),
            };
            let Some(safe) = safe else {
                told.off.remove(&point);
                continue;
            };
            if let Some(restored) = told.restores.get_mut(&point) {
                restored.is_shown = false;
            }
            let off = told.off.entry(point).or_insert(Off {
                why,
                since: now,
                is_left: false,
                writes: 0,
            });
            if off.why != why {
                *off = Off {
                    why,
                    since: now,
                    is_left: false,
                    writes: 0,
                };
            }
            // What is read before the last write has settled says nothing.
            let settle_ms = u64::from(rules.settle_ms);
            let written_at = self.observer.written_at.get(&(agent, point));
            let since = off.since.max(written_at.map_or(0, |at| at + settle_ms));
            let written = told.written.get(&point);
            let settled_at = written.map_or(0, |at| at.saturating_add(settle_ms));
            if let Event::Read(read) = event
                && read.points.contains(&point)
                && !self.agents[agent].told.booking.contains(&point)
                && self.is_of_what_runs(agent, read)
                && !self.agents[agent].told.is_revoked
                && read.asked_at >= settled_at
                && self.agents[agent].began + read.asked_at >= since
            {
                let shown = self.agents[agent]
                    .told
                    .read
                    .get(&point)
                    .and_then(|read| read.value.clone());
                let wish = Setpoint {
                    value: safe.clone(),
                    ..wish.clone()
                };
                let at = self.wanted_place(agent, point);
                let is_there = at.zip(shown).is_some_and(|(at, shown)| {
                    at.identity == wish.bound_to && is_inside(&wish, &at, &shown)
                });
                if is_there && let Some(off) = self.agents[agent].told.off.get_mut(&point) {
                    off.is_left = true;
                }
            }
        }
    }

    /// Every write was booked before it is made, and there is budget for it.
    pub(crate) fn count_write(
        &mut self,
        agent: usize,
        point: PointId,
        rules: &PointRules,
        is_safe: bool,
    ) {
        let disk = &self.agents[agent].disk;
        let (booked, instrument) = (disk.booked(point), disk.instrument(point));
        let resets = self.observer.resets.get(&(agent, point));
        let resets = resets.map_or(0, |resets| resets.len() as u64);
        if instrument > resets {
            self.broken(
                "5 budget",
                format_args!("agent {agent}: {point} has its {instrument}. new instrument; people say {resets}"),
            );
        }
        let writes = self.observer.writes.entry((agent, point)).or_default();
        let known = self.observer.instruments.insert((agent, point), instrument);
        if known.unwrap_or(0) < instrument {
            *writes = 0;
        }
        *writes += 1;
        let writes = *writes;
        if writes > booked {
            self.broken(
                "5 budget",
                format_args!("agent {agent}: write {writes} of {point}, {booked} are booked"),
            );
        }
        let budget = rules.budget;
        let kept = if is_safe { 0 } else { budget.reserve() };
        // A run is shorter than a day, and no restart begins another.
        let is_over_today = !is_safe && writes > u64::from(budget.per_day);
        if is_over_today || writes + kept > budget.lifetime {
            self.broken(
                "5 budget",
                format_args!("agent {agent}: write {writes} of {point}; allowed: {budget:?}"),
            );
        }
    }

    /// Nobody is fought for ever: a write after the wanted value was seen, or after the instrument came to show what was not
    /// written, puts back what somebody did. What is tried again at an instrument that ignores it does not.
    fn count_restore(
        &mut self,
        at: &Where,
        (agent, wish): (usize, &Setpoint),
        (value, read): (&PointValue, &PointValue),
        limit: u32,
    ) {
        let (now, point) = (self.now, wish.point_id);
        let Some(restores) = self.agents[agent].told.restores.get_mut(&point) else {
            return;
        };
        let is_near = |shown: &PointValue| {
            let wish = Setpoint {
                value: shown.clone(),
                ..wish.clone()
            };
            is_inside(&wish, at, read)
        };
        let is_moved = restores
            .last
            .as_ref()
            .is_some_and(|(before, written)| !is_near(before) && !is_near(written));
        let is_restore = restores.is_shown && (restores.is_there || is_moved);
        restores.is_there = false;
        restores.last = Some((read.clone(), value.clone()));
        if !is_restore {
            return;
        }
        restores.at.retain(|at| now - *at < HOUR_MS);
        restores.at.push(now);
        let count = restores.at.len();
        if count > limit as usize {
            self.broken(
                "by hand",
                format_args!("agent {agent} puts {point} back {count} times an hour"),
            );
        }
    }
}

impl Agent {
    /// Is there a stop in force for certain, by the hub or on site?
    pub(crate) fn is_stopped(&self, now: u64, covers: impl Fn(&Scope) -> bool) -> bool {
        let on_site = self
            .told
            .site
            .is_some_and(|end| end.is_none_or(|end| end > now));
        let Some(held) = self.told.held.as_ref().filter(|_| !on_site) else {
            return on_site;
        };
        let is_in_force = |id| self.told.pauses.get(id).is_none_or(|end| *end > now);
        let mut pauses = held.hold.pauses.iter();
        pauses.any(|pause| is_in_force(&pause.id) && covers(&pause.scope))
    }
}

/// The rules of a point, as a target says them.
pub(crate) fn rules_of(target: &TargetState, point: PointId) -> Option<PointRules> {
    let mut sensors = target.items.iter().map(|item| &item.sensor);
    sensors.find_map(|sensor| sensor.content().binding.point_rules(point))
}

/// Does a write of `value` lead to `goal`, at once or by a step?
fn reaches(goal: &PointValue, value: &PointValue, read: &PointValue, rules: &PointRules) -> bool {
    let step = rules.limits.as_ref().and_then(|limits| limits.max_step);
    let (to, next, from) = (number(goal), number(value), number(read));
    let is_far = step.is_some_and(|step| (to - from).abs() > step + 1e-9);
    match step {
        Some(step) if is_far => {
            (next - from).abs() <= step + 1e-9 && (next - from) * (to - next) >= 0.0
        }
        _ => goal == value,
    }
}

/// Why guards do not hold, if they don't. Written down here a second time, on purpose.
pub(crate) fn guards_refuse<'a>(
    guards: &[Guard],
    reading: impl Fn(PointId) -> Option<&'a Observed>,
    now: u64,
) -> Option<String> {
    guards.iter().find_map(|guard| {
        let read = reading(guard.point_id).filter(|read| read.quality == Quality::Good);
        let Some((read, value)) = read.and_then(|read| Some((read, read.value.as_ref()?))) else {
            return Some(format!("nothing good was read of {}", guard.point_id));
        };
        let age = now.saturating_sub(read.at_ms);
        if age > u64::from(guard.max_age_ms) {
            return Some(format!("{} was read {age} ms ago", guard.point_id));
        }
        let most = guard.at_most.unwrap_or(f64::INFINITY);
        (number(value) > most).then(|| format!("{} shows {value}", guard.point_id))
    })
}

/// A value as a number.
pub(crate) fn number(value: &PointValue) -> f64 {
    match value {
        PointValue::Integer(value) => *value as f64,
        PointValue::Number(value) => *value,
        PointValue::Bool(_) | PointValue::Text(_) => f64::NAN,
    }
}
