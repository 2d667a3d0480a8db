//! The observer, who knows the truth: it sees every durable intent, every read and every write of every instrument, and
//! ends the run at the first one that breaks a rule. What it knows it knows from what happened, never from the machine's
//! own word. Here is what is done; what is said of it is checked in `words.rs`.

use std::collections::BTreeMap;

use holdfast_domain::{
    Fingerprint, PointId, PointValue, Quality, ReportOrder, SensorId,
    document::setpoint::{Setpoint, Tolerance},
    hold::Observed,
};
use holdfast_edge::machine::{Effect, Event};
use holdfast_ports::hub_link::HubError;

use crate::{
    instrument::{Place, Where},
    world::World,
};

/// A value is written only if it was read so shortly before, in ms.
const FRESH_MS: u64 = 1_000;
const HOUR_MS: u64 = 3_600_000;

/// What is known of the truth.
#[derive(Default)]
pub(crate) struct Observer {
    /// What was read of each output since it was written last: of which identity, and the value.
    pub(crate) seen: BTreeMap<(usize, PointId), Vec<(Fingerprint, PointValue)>>,
    /// Writes of each output since the agent's disk was new.
    writes: BTreeMap<(usize, PointId), u64>,
    /// Changes by others of each register.
    pub(crate) disturbances: BTreeMap<Place, u64>,
    /// Outputs whose instrument took another value than the one written, or was changed by others so soon after that no
    /// one can tell.
    pub(crate) deviated: BTreeMap<(usize, PointId), bool>,
    last_write: BTreeMap<Place, (usize, PointId, u64)>,
    /// The last report that the hub took of each agent.
    pub(crate) taken: BTreeMap<usize, ReportOrder>,
    /// The orders of all reports ever made.
    pub(crate) orders: BTreeMap<(u128, u64, u64), u64>,
    pub(crate) disk_was_restored: bool,
    /// Versions and revisions of the targets.
    pub(crate) versions: BTreeMap<usize, (u64, u64, u64)>,
    pub(crate) events_checked: BTreeMap<usize, u64>,
    pub(crate) adapter_calls: u64,
    pub(crate) disk_writes: u64,
    pub(crate) hardware_writes: u64,
}

/// Is `value` one that counts as the wanted one? Written down here a second time, on purpose.
pub(crate) fn is_inside(wish: &Setpoint, at: &Where, value: &PointValue) -> bool {
    let number = |value: &PointValue| match value {
        PointValue::Integer(value) => *value as f64,
        PointValue::Number(value) => *value,
        PointValue::Bool(_) | PointValue::Text(_) => f64::NAN,
    };
    let width = match wish.tolerance {
        Some(Tolerance::Absolute(width)) => width,
        Some(Tolerance::Relative(_) | Tolerance::Exact) => unreachable!("never set here"),
        None => at.step() / 2.0,
    };
    (number(value) - number(&wish.value)).abs() <= width + 1e-9
}

impl World {
    /// An agent is about to be told of an event.
    pub(crate) fn before_event(&mut self, agent: usize, event: &Event) {
        let now = self.now;
        let one = &mut self.agents[agent];
        match event {
            Event::Held(Ok(())) => {
                let held = one.disk.0.target.clone().expect("it was made durable");
                one.told.holds(std::sync::Arc::new(held), now);
            }
            Event::Read(read) => {
                for (point, shown) in read.points.iter().zip(&read.shown) {
                    let observed = Observed {
                        value: shown.value.clone(),
                        quality: shown.quality,
                        at_ms: read.asked_at,
                        reason: None,
                    };
                    one.told.read.insert(*point, observed);
                }
                self.note_restored(agent, &read.points);
            }
            Event::Polled(result) => {
                one.told.offered_at = now;
                one.told.heard(result.as_ref().err());
            }
            Event::Reported(result) => one.told.heard(result.as_ref().err()),
            Event::Reincarnated(result) => one.told.heard(result.as_ref().err()),
            _ => {}
        }
    }

    /// Notes of which wishes the wanted value was seen: who changes it then changes it by hand.
    fn note_restored(&mut self, agent: usize, points: &[PointId]) {
        let told = &self.agents[agent].told;
        let Some(held) = told.held.clone() else {
            return;
        };
        for wish in held
            .setpoints
            .items
            .iter()
            .filter(|wish| points.contains(&wish.point_id))
        {
            let Some(at) = self.wanted_place(agent, wish.point_id) else {
                continue;
            };
            let told = &mut self.agents[agent].told;
            let value = told
                .read
                .get(&wish.point_id)
                .and_then(|read| read.value.clone());
            if value.is_some_and(|value| is_inside(wish, &at, &value)) {
                let restored = told.restores.entry(wish.point_id).or_default();
                if restored.0 != wish.revision {
                    *restored = (wish.revision, Vec::new());
                }
            }
        }
    }

    /// Where an agent's held target says that a point is.
    pub(crate) fn wanted_place(&self, agent: usize, point: PointId) -> Option<Where> {
        let held = self.agents[agent].told.held.as_ref()?;
        let mut sensors = held.items.iter().map(|item| &item.sensor);
        sensors.find_map(|sensor| Where::of(agent, sensor, point))
    }

    /// What an agent wants done: may it?
    pub(crate) fn check_effect(&mut self, agent: usize, effect: &Effect) {
        match effect {
            Effect::WritePoint {
                sensor,
                generation,
                point,
                value,
            } => {
                self.check_write(agent, *sensor, *generation, *point, value);
            }
            Effect::Report(report) => self.check_report(agent, report),
            _ => {}
        }
    }

    /// No write that nobody asked for, ever.
    fn check_write(
        &mut self,
        agent: usize,
        sensor: SensorId,
        generation: u64,
        point: PointId,
        value: &PointValue,
    ) {
        let now = self.now;
        let one = &self.agents[agent];
        let Some(held) = one.told.held.clone() else {
            self.broken(
                "1 unset never acts",
                format_args!("agent {agent} holds nothing and writes {point}"),
            );
        };
        let Some(wish) = held
            .setpoints
            .items
            .iter()
            .find(|wish| wish.point_id == point)
        else {
            self.broken(
                "1 unset never acts",
                format_args!("agent {agent} writes {value} to {point}: nothing is set there"),
            );
        };
        if wish.value != *value {
            self.broken(
                "1 unset never acts",
                format_args!(
                    "agent {agent} writes {value} to {point}: {} is set",
                    wish.value
                ),
            );
        }
        if wish.policy == holdfast_domain::document::setpoint::Policy::Observe {
            self.broken(
                "1 unset never acts",
                format_args!("agent {agent} writes {point}, which is only observed"),
            );
        }
        if one.told.is_revoked {
            self.broken(
                "14 revoked",
                format_args!("agent {agent} writes {point} although the hub turned it away"),
            );
        }
        if held.hold.shadow {
            self.broken(
                "17 stop",
                format_args!("agent {agent} writes {point} in shadow mode"),
            );
        }
        let is_in_force = |id| one.told.pauses.get(id).is_none_or(|end| *end > now);
        let mut pauses = held
            .hold
            .pauses
            .iter()
            .filter(|pause| is_in_force(&pause.id));
        if let Some(pause) = pauses.find(|pause| pause.scope.covers(sensor, point)) {
            self.broken(
                "17 stop",
                format_args!("agent {agent} writes {point} although stopped: {pause:?}"),
            );
        }
        let end = one.told.wishes.get(&(point, wish.revision));
        if end.is_some_and(|end| *end <= now) {
            self.broken(
                "17 until when",
                format_args!("agent {agent} writes {point}: its time is over since {end:?}"),
            );
        }
        let wanted = self.wanted_place(agent, point);
        let real = one
            .sensor_on_bus(sensor, generation)
            .and_then(|content| Where::of(agent, content, point));
        let bound = |at: &Where| at.identity == wish.bound_to;
        if !wanted.as_ref().is_some_and(bound) || !real.as_ref().is_none_or(bound) {
            self.broken("1 redefined", format_args!("agent {agent} writes {point}, which is not what {value} was set for: {wanted:?}, {real:?}"));
        }
        let at = wanted.expect("bound");
        let read = one.told.read.get(&point);
        let Some(read) = read.filter(|read| read.quality == Quality::Good) else {
            self.broken(
                "5 compare",
                format_args!("agent {agent} writes {point} without a good reading"),
            );
        };
        let age = one.now(now).ms.saturating_sub(read.at_ms);
        if age > FRESH_MS {
            self.broken(
                "5 compare",
                format_args!("agent {agent} writes {point} on a reading {age} ms old"),
            );
        }
        if read
            .value
            .as_ref()
            .is_some_and(|shown| is_inside(wish, &at, shown))
        {
            self.broken(
                "5 compare",
                format_args!(
                    "agent {agent} writes {value} to {point}, which shows {:?}",
                    read.value
                ),
            );
        }
        let (per_day, lifetime) = budget(&held, point);
        let disk_says = one.disk.booked(point);
        let (limit, revision) = (held.hold.restores_per_hour, wish.revision);
        self.count_write(agent, point, disk_says, per_day, lifetime);
        self.count_restore(agent, point, revision, limit);
    }

    /// Every write was booked before it is made, and there is budget for it.
    fn count_write(
        &mut self,
        agent: usize,
        point: PointId,
        booked: u64,
        per_day: u64,
        lifetime: u64,
    ) {
        let writes = self.observer.writes.entry((agent, point)).or_default();
        *writes += 1;
        let writes = *writes;
        let today = self.agents[agent].told.writes.entry(point).or_default();
        *today += 1;
        let today = *today;
        if writes > booked {
            self.broken(
                "5 budget",
                format_args!("agent {agent}: write {writes} of {point}, {booked} are booked"),
            );
        }
        if today > per_day || writes > lifetime {
            self.broken("5 budget", format_args!("agent {agent}: write {writes} of {point}, {today} today; allowed: {lifetime}, {per_day}"));
        }
    }

    /// Nobody is fought for ever.
    fn count_restore(&mut self, agent: usize, point: PointId, revision: u64, limit: u32) {
        let now = self.now;
        let Some((of, restores)) = self.agents[agent].told.restores.get_mut(&point) else {
            return;
        };
        if *of != revision {
            return;
        }
        restores.retain(|at| now - *at < HOUR_MS);
        restores.push(now);
        let count = restores.len();
        if count > limit as usize {
            self.broken(
                "by hand",
                format_args!("agent {agent} puts {point} back {count} times an hour"),
            );
        }
    }

    /// An output was read.
    pub(crate) fn saw(&mut self, agent: usize, point: PointId, at: &Where, value: &PointValue) {
        let seen = self.observer.seen.entry((agent, point)).or_default();
        let entry = (at.identity, value.clone());
        if !seen.contains(&entry) {
            seen.push(entry);
        }
    }

    /// An output was written, in this instant.
    pub(crate) fn wrote(
        &mut self,
        agent: usize,
        sensor: SensorId,
        point: PointId,
        at: &Where,
        is_other: bool,
    ) {
        self.check_nothing_moves(agent, sensor, point);
        // Two points can be the same register: then their wishes fight.
        let last = self.observer.last_write.get(&at.place);
        if last.is_some_and(|(_, other, _)| *other != point) {
            self.disturbed(&at.place);
            self.observer.deviated.insert((agent, point), true);
        }
        self.observer.seen.remove(&(agent, point));
        if is_other {
            self.observer.deviated.insert((agent, point), true);
        }
        self.observer
            .last_write
            .insert(at.place.clone(), (agent, point, self.now));
    }

    /// What an agent holds, and its hub says that it has confirmed, is in force: a stop, and that nothing is set.
    fn check_nothing_moves(&self, agent: usize, sensor: SensorId, point: PointId) {
        let Some(held) = &self.agents[agent].told.held else {
            return;
        };
        let state = self.hub.state(self.agents[agent].device);
        let Some(said) = state.reported.as_ref().map(|reported| &reported.values) else {
            return;
        };
        let values = &state.target.values;
        let confirmed = said.hold.as_ref().map_or(0, |hold| hold.held_revision);
        let mut stops = values.hold.interruptions.iter();
        let stop = stops.find(|one| one.until.is_none() && one.scope.covers(sensor, point));
        if let Some(stop) = stop.filter(|_| confirmed >= values.hold.revision) {
            self.broken(
                "17 stop",
                format_args!("agent {agent} writes {point} after it has confirmed {stop:?}"),
            );
        }
        let is_wished = held
            .setpoints
            .items
            .iter()
            .any(|wish| wish.point_id == point);
        let is_released = !is_wished && !values.wishes.contains_key(&point);
        if is_released && said.held_revision >= values.revision {
            self.broken(
                "1 unset never acts",
                format_args!(
                    "agent {agent} writes {point} after it has confirmed that nothing is set there"
                ),
            );
        }
    }

    /// Somebody else changed a register.
    pub(crate) fn disturbed(&mut self, place: &Place) {
        *self.observer.disturbances.entry(place.clone()).or_default() += 1;
        if let Some((agent, point, at)) = self.observer.last_write.get(place)
            && self.now - at < 10_000
        {
            self.observer.deviated.insert((*agent, *point), true);
        }
    }

    pub(crate) fn disk_restored(&mut self, agent: usize) {
        self.observer.disk_was_restored = true;
        // What the instruments endured since is forgotten with the disk.
        let disk = &self.agents[agent].disk;
        for ((of, point), writes) in &mut self.observer.writes {
            if *of == agent {
                *writes = (*writes).min(disk.booked(*point));
            }
        }
    }

    pub(crate) fn hub_restored(&mut self) {
        self.observer.taken.clear();
        self.observer.versions.clear();
        self.observer.events_checked.clear();
    }
}

impl crate::agent::Told {
    /// An answer of the hub, or none.
    fn heard(&mut self, error: Option<&HubError>) {
        match error {
            None => self.is_revoked = false,
            Some(HubError::Revoked(_) | HubError::Deleted(_)) => self.is_revoked = true,
            Some(HubError::Unknown(_) | HubError::Cut(_) | HubError::Unreachable(_)) => {}
        }
    }
}

/// How often a point may be written: a day, and at all.
fn budget(held: &holdfast_domain::TargetState, point: PointId) -> (u64, u64) {
    let mut sensors = held.items.iter().map(|item| &item.sensor);
    let rules = sensors.find_map(|sensor| sensor.content().binding.point_rules(point));
    rules.map_or((0, 0), |rules| {
        (u64::from(rules.budget.per_day), rules.budget.lifetime)
    })
}
