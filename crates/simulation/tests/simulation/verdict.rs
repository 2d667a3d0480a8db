//! What must be so when nothing has gone wrong for long: all is as it was asked for, or it is said why not, and that is
//! true; and then nothing more happens.

use holdfast_domain::{
    document::setpoint::{Conformity, Hold, Policy, SetpointReport},
    hold::{Guard, PointRules},
    plan::plan,
    row::DeploymentStatus,
    state::DeviceState,
    values::Wish,
};

use crate::{
    instrument::Where,
    observer::is_inside,
    world::{AGENTS, World},
    writes::number,
};

/// So long after somebody asked for a look, what was tried once more is read back, and told in full, in ms.
const ASKED_MS: u64 = 200_000;

impl World {
    /// Everything is as wanted.
    pub(crate) fn check_converged(&mut self) {
        for agent in 0..AGENTS {
            let state = self.hub.state(self.agents[agent].device);
            self.check_configuration(agent, &state);
            let said = &state.reported.as_ref().expect("it reported").values;
            for (point, reset) in &state.target.values.resets {
                if state
                    .target
                    .items
                    .iter()
                    .any(|item| Where::of(agent, &item.sensor, *point).is_some())
                {
                    assert_eq!(
                        said.resets.get(point),
                        Some(&reset.id),
                        "the new instrument of {point} at agent {agent}"
                    );
                }
            }
            let wishes = state.target.values.wishes.clone();
            for wish in wishes.values() {
                self.check_wish(agent, &state, wish);
            }
            let values = &state.reported.as_ref().expect("it reported").values;
            assert_eq!(
                values.held_revision, state.target.values.revision,
                "setpoints held by agent {agent}"
            );
            self.check_all_said(agent, &state);
            let local = values.hold.as_ref().and_then(|hold| hold.local.as_ref());
            assert_eq!(
                local.map(|stop| &stop.reason),
                self.agents[agent]
                    .disk
                    .0
                    .memory
                    .local
                    .as_ref()
                    .map(|stop| &stop.reason),
                "the hub knows of the stop on site of agent {agent}"
            );
            let held = values.hold.as_ref().map_or(0, |hold| hold.held_revision);
            assert_eq!(
                held, state.target.values.hold.revision,
                "settings held by agent {agent}"
            );
            let unset = values
                .items
                .keys()
                .find(|point| !wishes.contains_key(point));
            assert_eq!(unset, None, "nothing is kept of what is not set");
        }
        self.check_events();
    }

    fn check_configuration(&self, agent: usize, hub: &DeviceState) {
        let machine = self.agents[agent].machine.as_ref().expect("all are up");
        let status = machine.status();
        assert_eq!(
            status.held_version, hub.target.version,
            "held by agent {agent}"
        );
        assert_eq!(
            status.worked_version, hub.target.version,
            "worked through by agent {agent}"
        );
        assert_eq!(
            status.looked_revision, hub.target.look_revision,
            "looked at by agent {agent}"
        );
        let running = status
            .sensors
            .iter()
            .filter_map(|sensor| Some((sensor.id, sensor.running.clone()?)))
            .collect();
        assert_eq!(
            plan(&hub.target.items, &running),
            [],
            "one more plan of agent {agent} is empty"
        );
        let is_done =
            |sensor: &holdfast_edge::SensorStatus| sensor.failure.is_none() && !sensor.in_progress;
        assert!(
            status.sensors.iter().all(is_done),
            "agent {agent}: {status:#?}"
        );
        self.check_truth(agent);
        let reported = hub.reported.as_ref().expect("it reported");
        let running: Vec<_> = running.into_values().collect();
        assert_eq!(
            reported.running, running,
            "the hub knows what runs at agent {agent}"
        );
        assert_eq!(reported.worked_version, hub.target.version);
        assert_eq!(reported.failures, []);
        assert!(!hub.presence.silent, "agent {agent} was heard of");
        for (id, row) in &hub.rows {
            assert_eq!(
                row.status,
                DeploymentStatus::Deployed,
                "{id} of agent {agent}"
            );
        }
        for sensor in &status.sensors {
            if sensor
                .running
                .as_ref()
                .is_some_and(|item| item.sensor.enabled())
            {
                let told = reported.health.get(&sensor.id);
                assert_eq!(
                    told,
                    sensor.health.as_ref(),
                    "health of {} of agent {agent}",
                    sensor.id
                );
            }
        }
    }

    /// A setpoint is held, or what is said against it is true.
    fn check_wish(&mut self, agent: usize, state: &DeviceState, wish: &Wish) {
        let point = wish.setpoint.point_id;
        let said = state
            .reported
            .as_ref()
            .and_then(|reported| reported.values.items.get(&point));
        let Some(said) = said.filter(|said| said.revision == wish.revision).cloned() else {
            self.broken(
                "convergence",
                format_args!("agent {agent} has not spoken of {wish:?}, but {said:?}"),
            );
        };
        let sensors = state.target.items.iter().map(|item| item.sensor.clone());
        let found = sensors
            .filter_map(|sensor| Some((Where::of(agent, &sensor, point)?, sensor)))
            .next();
        let Some((at, sensor)) = found else {
            self.broken(
                "convergence",
                format_args!("a value is set on {point}, which is not there"),
            );
        };
        if !sensor.enabled() {
            return;
        }
        let now = self.now;
        let raw = self.instrument(&at.place.unit).raw(at.place.register, now);
        let is_true = is_inside(&wish.setpoint, &at, &at.value(raw));
        let is_paused = state.target.values.hold.shadow
            || self.agents[agent].disk.0.memory.local.is_some()
            || state
                .target
                .values
                .hold
                .interruptions
                .iter()
                .any(|one| one.scope.covers(sensor.id(), point));
        let has_deviated = self.observer.deviated.contains_key(&(agent, point));
        let disturbances = self
            .observer
            .disturbances
            .get(&at.place)
            .copied()
            .unwrap_or(0);
        let is_redefined = wish.setpoint.bound_to != at.identity;
        let rules = sensor
            .content()
            .binding
            .point_rules(point)
            .expect("it is there");
        let limits = rules.limits.as_ref();
        let is_outside = limits.is_some_and(|limits| !limits.hold(number(&wish.setpoint.value)));
        let is_far = self.is_far(&at, &rules);
        let is_guarded = self.is_guarded(agent, state, &rules.guards);
        let is_worn = self.is_worn(agent, &sensor, point);
        let SetpointReport {
            conformity, hold, ..
        } = said;
        let is_so = match (conformity, hold) {
            (Conformity::InSync, Hold::Active) => is_true,
            (Conformity::Deviates, Hold::Active) => {
                !is_true && has_deviated && !self.observer.was_asked_again
            }
            (Conformity::Drifting, Hold::Active) => {
                // In shadow mode nothing is adopted either.
                let is_shadow = state.target.values.hold.shadow;
                let policy = wish.setpoint.policy;
                !is_true && (policy == Policy::Observe || policy == Policy::Adopt && is_shadow)
            }
            (conformity, Hold::Paused) => {
                is_paused && (conformity == Conformity::InSync) == is_true
            }
            (conformity, Hold::Blocked) => {
                (is_redefined || is_worn || is_outside || is_far || is_guarded)
                    && (conformity == Conformity::InSync) == is_true
            }
            (_, Hold::Overridden) => disturbances >= 1,
            (_, _) => false,
        };
        if !is_so {
            self.broken(
                "convergence",
                format_args!(
                    "agent {agent} says of {wish:?}: {said:?}; true is {raw} at {:?}",
                    at.place
                ),
            );
        }
    }

    /// Does it stand outside its limits, so that no step leads inside? Then somebody must bring it there by hand.
    pub(crate) fn is_far(&mut self, at: &Where, rules: &PointRules) -> bool {
        let now = self.now;
        let raw = self.instrument(&at.place.unit).raw(at.place.register, now);
        let limits = rules.limits.as_ref();
        limits
            .is_some_and(|limits| limits.max_step.is_some() && !limits.hold(number(&at.value(raw))))
    }

    /// Does a guard not hold, or is its point not there or not read?
    fn is_guarded(&mut self, agent: usize, state: &DeviceState, guards: &[Guard]) -> bool {
        let interval = u64::from(state.target.values.hold.interval_ms);
        guards.iter().any(|guard| {
            let mut sensors = state
                .target
                .items
                .iter()
                .filter(|item| item.sensor.enabled());
            let place = sensors.find_map(|item| Where::of(agent, &item.sensor, guard.point_id));
            let Some(at) = place else { return true };
            let now = self.now;
            let raw = self.instrument(&at.place.unit).raw(at.place.register, now);
            let is_open = guard
                .at_most
                .is_some_and(|most| number(&at.value(raw)) > most);
            is_open || u64::from(guard.max_age_ms) < interval + 1_000
        })
    }

    /// Is no write left of a point's budget?
    fn is_worn(
        &self,
        agent: usize,
        sensor: &holdfast_domain::Sensor,
        point: holdfast_domain::PointId,
    ) -> bool {
        let Some(rules) = sensor.content().binding.point_rules(point) else {
            return false;
        };
        let one = &self.agents[agent];
        let account = one.disk.0.booked.get(&point);
        account.is_some_and(|account| account.today >= rules.budget.per_day)
            || one.disk.booked(point) + rules.budget.reserve() + 16 >= rules.budget.lifetime
    }

    /// What instruments ignored, limited or rounded is tried once more when somebody asks: they take everything by now.
    pub(crate) fn check_asked_again(&mut self) {
        let deviates = |world: &Self, agent: usize| {
            let state = world.hub.state(world.agents[agent].device);
            let said = state
                .reported
                .as_ref()
                .map(|reported| &reported.values.items);
            said.is_some_and(|items| {
                items
                    .values()
                    .any(|item| item.conformity == Conformity::Deviates)
            })
        };
        let agents: Vec<usize> = (0..AGENTS).filter(|agent| deviates(self, *agent)).collect();
        for agent in &agents {
            self.reach("asked once more");
            self.looks_again(*agent);
        }
        if agents.is_empty() {
            return;
        }
        self.run(ASKED_MS);
        self.observer.was_asked_again = true;
        self.check_converged();
        self.observer.was_asked_again = false;
    }

    /// Nothing changed, nothing happens.
    pub(crate) fn check_quiet(&mut self, ms: u64) {
        let count = |world: &Self| {
            let hub = |agent: usize| {
                let device = world.agents[agent].device;
                (
                    world.hub.state(device).revision,
                    world.hub.events(device).len(),
                )
            };
            let Self { observer, .. } = world;
            let agents = (
                observer.adapter_calls,
                observer.disk_writes,
                observer.hardware_writes,
            );
            (agents, (0..AGENTS).map(hub).collect::<Vec<_>>())
        };
        let before = count(self);
        self.run(ms);
        assert_eq!(
            count(self),
            before,
            "rule 3: nothing changed, nothing happens"
        );
    }
}
