//! The observer, who knows the truth: it sees every durable intent, every read and every write of every instrument, and
//! ends the run at the first one that breaks a rule. What it knows it knows from what happened, never from the machine's
//! own word. Here is what is done; what is said of it is checked in `words.rs`.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_domain::{
    Fingerprint, HealthStatus, PointId, PointValue, ReportOrder, ResetId, SensorId,
    document::{
        hold::{LoopState, Scope},
        setpoint::{Setpoint, Tolerance},
    },
    hold::{Observed, WriteOutcome},
};
use holdfast_edge::machine::{CommandEffect, CommandEvent, Effect, Event, PointsRead};
use holdfast_ports::hub_link::HubError;

use crate::{
    agent::{Agent, Restores, key_of},
    instrument::{Place, Where},
    once::Once,
    site::SiteStop,
    world::World,
    writes::{Target, rules_of},
};

/// What is known of the truth.
#[derive(Default)]
pub(crate) struct Observer {
    /// What was read of each output since it was written last: of which identity, and the value.
    pub(crate) seen: BTreeMap<(usize, PointId), Vec<(Fingerprint, PointValue)>>,
    /// Writes of each point since the agent's disk was new.
    pub(crate) writes: BTreeMap<(usize, PointId), u64>,
    /// Which instrument these were, as the agent's disk counts them: it was replaced so often.
    pub(crate) instruments: BTreeMap<(usize, PointId), u64>,
    /// Resets of budgets that people asked for.
    pub(crate) resets: BTreeMap<(usize, PointId), BTreeSet<ResetId>>,
    /// When each point was written last, in ms.
    pub(crate) written_at: BTreeMap<(usize, PointId), u64>,
    /// What was made of registers, and by whom: by people and other masters (`None`), or by way of a point.
    pub(crate) by_hand: BTreeSet<(Place, i64, Option<PointId>)>,
    /// Commands: what was asked, and what came of it.
    pub(crate) once: Once,
    /// Stops on site that agents have confirmed.
    pub(crate) site: BTreeMap<usize, SiteStop>,
    /// Orders on site, counted.
    pub(crate) orders_on_site: u64,
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
    /// Did somebody have everything tried once more, after all trouble?
    pub(crate) was_asked_again: bool,
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
            Event::Started { sensor, .. } | Event::Updated { sensor, .. } => {
                let at = one.now(now).ms;
                one.told.changed.insert(*sensor, at);
            }
            // What was asked for before an instrument was away says nothing of what came after.
            Event::Health {
                sensor,
                status: HealthStatus::Offline,
                ..
            } => {
                let at = one.now(now).ms;
                let changed = one.told.changed.entry(*sensor).or_default();
                *changed = (*changed).max(at);
            }
            Event::Booked { point, .. } => {
                one.told.booking.remove(point);
            }
            Event::Wrote { point, outcome } => {
                let at = one.now(now).ms;
                one.told.written.insert(*point, at);
                if matches!(
                    outcome,
                    WriteOutcome::Acknowledged | WriteOutcome::Unknown(_)
                ) {
                    one.told.to_read_back.insert(*point, at);
                }
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
                self.note_restored(agent, read);
            }
            Event::Command(CommandEvent::Read { id, read }) => {
                let inputs = one.told.inputs.entry(*id).or_default();
                for (point, shown) in read.points.iter().zip(&read.shown) {
                    let observed = Observed {
                        value: shown.value.clone(),
                        quality: shown.quality,
                        at_ms: read.asked_at,
                        reason: None,
                    };
                    inputs.insert(*point, observed);
                }
            }
            Event::Ordered { number, order } => self.note_ordered(agent, *number, order),
            Event::Polled(result) => {
                one.told.offered_at = now;
                one.heard(result.as_ref().err(), now);
            }
            Event::Reported(result) => one.heard(result.as_ref().err(), now),
            Event::Reincarnated(result) => one.heard(result.as_ref().err(), now),
            _ => {}
        }
        self.note_left(agent, event);
    }

    /// Notes of which wishes the wanted value was seen, by a read that was begun when the last write had settled: who changes
    /// it then changes it by hand.
    fn note_restored(&mut self, agent: usize, read: &PointsRead) {
        if !self.is_of_what_runs(agent, read) {
            return;
        }
        let points = &read.points;
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
            let point = wish.point_id;
            let settle_ms = rules_of(&held, point).map_or(0, |rules| rules.settle_ms);
            let told = &mut self.agents[agent].told;
            let written = told.written.get(&point);
            let settled_at = written.map_or(0, |at| at.saturating_add(u64::from(settle_ms)));
            let Some(read) = told
                .read
                .get(&point)
                .filter(|read| read.at_ms >= settled_at)
            else {
                continue;
            };
            let Some(value) = &read.value else { continue };
            if is_inside(wish, &at, value) {
                let of = key_of(wish, Some(at.identity));
                let restored = told.restores.entry(point).or_insert(Restores {
                    of,
                    is_shown: true,
                    is_there: true,
                    last: None,
                    at: Vec::new(),
                });
                (restored.is_shown, restored.is_there) = (true, true);
            }
        }
    }

    /// Was it read after the last change of what runs of its sensor, and after it was away?
    pub(crate) fn is_of_what_runs(&self, agent: usize, read: &PointsRead) -> bool {
        let changed = self.agents[agent].told.changed.get(&read.sensor);
        changed.is_none_or(|at| read.asked_at >= *at)
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
                let place = Target {
                    agent,
                    sensor: *sensor,
                    generation: *generation,
                    point: *point,
                };
                self.check_write(place, value);
            }
            Effect::Command(CommandEffect::Write {
                id,
                sensor,
                generation,
                point,
                value,
                begin_within_ms,
            }) => {
                let place = Target {
                    agent,
                    sensor: *sensor,
                    generation: *generation,
                    point: *point,
                };
                self.check_command(place, *id, value, *begin_within_ms);
            }
            Effect::Start { item, .. } | Effect::Update { item, .. } => {
                let sensor = item.sensor.id();
                self.agents[agent].told.changed.insert(sensor, u64::MAX);
            }
            Effect::BookWrites { point, .. } => {
                self.agents[agent].told.booking.insert(*point);
            }
            Effect::Answer { number, result } => self.check_answer(agent, *number, result),
            Effect::Report(report) => self.check_report(agent, report),
            _ => {}
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
        outcome: &WriteOutcome,
    ) {
        self.check_nothing_moves(agent, sensor, point, true);
        self.observer.written_at.insert((agent, point), self.now);
        let (now, register) = (self.now, at.place.register);
        let raw = self.instrument(&at.place.unit).will_show(register, now);
        let by = (at.place.clone(), raw, Some(point));
        self.observer.by_hand.insert(by);
        // Two points can be the same register: then their wishes fight.
        let last = self.observer.last_write.get(&at.place);
        if last.is_some_and(|(_, other, _)| *other != point) {
            self.disturbed(&at.place);
            self.observer.deviated.insert((agent, point), true);
        }
        if !matches!(outcome, WriteOutcome::Refused(_)) {
            self.observer.seen.remove(&(agent, point));
        }
        if is_other {
            self.observer.deviated.insert((agent, point), true);
        }
        self.observer
            .last_write
            .insert(at.place.clone(), (agent, point, self.now));
    }

    /// What an agent has confirmed is in force: a stop, and that nothing is set. `is_level`: it is a write to an output.
    pub(crate) fn check_nothing_moves(
        &self,
        agent: usize,
        sensor: SensorId,
        point: PointId,
        is_level: bool,
    ) {
        if let Some(stop) = self.site_stop(agent) {
            self.broken(
                "17 stop",
                format_args!(
                    "agent {agent} writes {point} after it has confirmed the stop on site {stop:?}"
                ),
            );
        }
        let Some(held) = &self.agents[agent].told.held else {
            return;
        };
        let state = self.hub.state(self.agents[agent].device);
        let Some(said) = state.reported.as_ref().map(|reported| &reported.values) else {
            return;
        };
        // What a restored hub says before it has heard the agent is of another time.
        if !self.observer.taken.contains_key(&agent) {
            return;
        }
        let values = &state.target.values;
        let confirmed = said.hold.as_ref().map_or(0, |hold| hold.held_revision);
        let is_stopped = said
            .hold
            .as_ref()
            .is_some_and(|hold| hold.state == LoopState::Stopped);
        let mut stops = values.hold.interruptions.iter();
        let rules = held
            .items
            .iter()
            .find_map(|item| item.sensor.content().binding.point_rules(point));
        let goes = is_level && rules.is_some_and(|rules| rules.on_stop.is_some());
        let counts = |scope: &Scope| *scope == Scope::Device && is_stopped || !goes;
        let stop = stops.find(|one| {
            one.until.is_none() && one.scope.covers(sensor, point) && counts(&one.scope)
        });
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
        let is_released = is_level && !is_wished && !values.wishes.contains_key(&point);
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
        // What it has confirmed since then it does not know any more.
        self.observer.taken.remove(&agent);
        self.observer.site.remove(&agent);
        // How long the hub was not heard stood on it too.
        self.agents[agent].heard_at = 0;
        // What it is told of anew ends a little sooner: by the time that the request took.
        self.agents[agent].told.pauses.clear();
        self.forgets_commands(agent);
        // What the instruments endured since is forgotten with the disk.
        let disk = &self.agents[agent].disk;
        for ((of, point), writes) in &mut self.observer.writes {
            if *of == agent {
                *writes = (*writes).min(disk.booked(*point));
                let instrument = disk.instrument(*point);
                self.observer
                    .instruments
                    .insert((agent, *point), instrument);
            }
        }
    }

    pub(crate) fn hub_restored(&mut self) {
        self.observer.taken.clear();
        self.observer.versions.clear();
        self.observer.events_checked.clear();
        self.hub_forgets_commands();
    }
}

impl Agent {
    /// An answer of the hub, or none.
    fn heard(&mut self, error: Option<&HubError>, now: u64) {
        match error {
            None => {
                self.told.is_revoked = false;
                self.heard_at = now;
            }
            Some(HubError::Revoked(_) | HubError::Deleted(_)) => self.told.is_revoked = true,
            Some(HubError::Unknown(_) | HubError::Cut(_) | HubError::Unreachable(_)) => {}
        }
    }
}
