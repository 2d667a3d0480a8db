//! The observer's other half: what agents and the hub say is held against the truth.

use std::cmp::Ordering;

use holdfast_domain::{
    Fingerprint, PointValue, ReportOrder, SensorId,
    document::{report::running_fingerprint, setpoint::Conformity},
    event::EventKind,
    rebuild,
    state::DeviceState,
};
use holdfast_hub::agents::ReportOutcome;

use crate::{
    instrument::Where,
    observer::is_inside,
    world::{AGENTS, World},
};

impl World {
    /// Old never overwrites new.
    pub(crate) fn check_order_at_hub(
        &mut self,
        agent: usize,
        order: ReportOrder,
        outcome: ReportOutcome,
    ) {
        if !matches!(outcome, ReportOutcome::Taken | ReportOutcome::Unchanged) {
            return;
        }
        // One that changes nothing may be late: another process of the hub may not have heard of its successor yet.
        if outcome == ReportOutcome::Taken {
            let before = self.observer.taken.insert(agent, order);
            if before.is_some_and(|before| order.compare(&before) == Some(Ordering::Less)) {
                self.broken(
                    "10 old over new",
                    format_args!("the hub takes {order:?} after {before:?}"),
                );
            }
        }
    }

    /// What an agent says is true.
    pub(crate) fn check_report(&mut self, agent: usize, report: &holdfast_domain::Report) {
        self.reach("reports");
        self.check_truth(agent);
        let one = &self.agents[agent];
        let status = one.machine.as_ref().expect("it speaks").status();
        let running = status
            .sensors
            .iter()
            .filter_map(|sensor| sensor.running.as_ref());
        assert_eq!(
            report.running_fingerprint,
            running_fingerprint(running),
            "rule 8"
        );
        assert_eq!(
            report.held_version,
            one.disk.target_version(),
            "rule 11: what is said to be held is durable"
        );
        assert_eq!(
            status.worked_version, one.disk.0.worked_version,
            "rule 11: what was worked through is noted"
        );
        let life = one.life;
        let before = self.observer.orders.insert(key(report.order), life);
        if before.is_some() && !self.observer.disk_was_restored {
            self.broken(
                "10 old over new",
                format_args!("{:?} was used before", report.order),
            );
        }
        let Some(values) = &report.values else { return };
        let held = self.agents[agent].told.held.clone();
        let wishes = held
            .as_ref()
            .map_or(&[][..], |held| &held.setpoints.items[..]);
        for (point, item) in &values.items {
            if item.conformity != Conformity::InSync {
                continue;
            }
            let wish = wishes
                .iter()
                .find(|wish| wish.point_id == *point && wish.revision == item.revision);
            let Some(wish) = wish else {
                self.broken(
                    "6 done means read back",
                    format_args!("agent {agent} says that {point} is in sync with what is not set"),
                );
            };
            let place = self.wanted_place(agent, *point);
            let seen = self.observer.seen.get(&(agent, *point));
            let is_seen = |(identity, value): &(Fingerprint, PointValue)| {
                place
                    .as_ref()
                    .is_some_and(|at| at.identity == *identity && is_inside(wish, at, value))
            };
            if !seen.is_some_and(|seen| seen.iter().any(is_seen)) {
                self.broken("6 done means read back", format_args!("agent {agent} says that {point} is in sync with {}; since the last write it showed {seen:?}", wish.value));
            }
        }
    }

    /// What a machine believes to run is what adapters keep, except where a step is under way.
    pub(crate) fn check_truth(&self, agent: usize) {
        let one = &self.agents[agent];
        let Some(machine) = &one.machine else { return };
        let status = machine.status();
        for sensor in status.sensors.iter().filter(|sensor| !sensor.in_progress) {
            let running = sensor.running.as_ref().filter(|item| item.sensor.enabled());
            let believed = running.map(|item| &item.sensor);
            let kept = one.bus.get(&sensor.id).map(|(_, sensor)| sensor);
            assert_eq!(
                believed, kept,
                "rule 8: what runs of {} at agent {agent}",
                sensor.id
            );
        }
        let is_known = |id: &SensorId| status.sensors.iter().any(|sensor| sensor.id == *id);
        assert!(
            one.bus.keys().all(is_known),
            "rule 8: an adapter keeps what the machine has forgotten"
        );
    }

    /// What the hub's store says after each step of the hub: versions only grow, and state and events agree.
    pub(crate) fn check_hub(&mut self) {
        for agent in 0..AGENTS {
            let state = self.hub.state(self.agents[agent].device);
            if self.observer.events_checked.insert(agent, state.revision) == Some(state.revision) {
                continue;
            }
            self.check_adopted(agent, &state);
            self.check_command_words(agent, &state);
            let values = &state.target.values;
            let now = (state.target.version, values.revision, values.hold.revision);
            let before = self
                .observer
                .versions
                .insert(agent, now)
                .unwrap_or_default();
            if now.0 < before.0 || now.1 < before.1 || now.2 < before.2 {
                self.broken(
                    "10 versions grow",
                    format_args!("agent {agent}: {now:?} after {before:?}"),
                );
            }
        }
    }

    /// Only what somebody did at the hardware becomes a wish: not what an instrument starts with, nor what it made of a
    /// value by itself.
    fn check_adopted(&mut self, agent: usize, state: &DeviceState) {
        let mut events = self
            .hub
            .last_events(self.agents[agent].device, 20)
            .into_iter();
        let adopted = events.find(|event| event.kind == EventKind::SetpointAdopted);
        let Some(event) = adopted else { return };
        self.reach("values adopted");
        let mut wishes = state.target.values.wishes.values();
        let revision = event.payload["revision"].as_u64();
        let Some(wish) = wishes.find(|wish| Some(wish.revision) == revision) else {
            return;
        };
        let (setpoint, sensors) = (&wish.setpoint, &state.target.items);
        let mut places = sensors
            .iter()
            .filter_map(|item| Where::of(agent, &item.sensor, setpoint.point_id));
        let Some(at) = places.next().filter(|at| at.identity == setpoint.bound_to) else {
            return;
        };
        let own = Some(setpoint.point_id);
        let mut done = self
            .observer
            .by_hand
            .iter()
            .filter(|(place, _, by)| *place == at.place && *by != own);
        if !done.any(|(_, raw, _)| is_inside(setpoint, &at, &at.value(*raw))) {
            self.broken(
                "adopt",
                format_args!("agent {agent}: nobody did {}", event.payload),
            );
        }
    }

    /// The read model is what the events make it.
    pub(crate) fn check_events(&self) {
        for agent in 0..AGENTS {
            let device = self.agents[agent].device;
            let (state, events) = (self.hub.state(device), self.hub.events(device));
            let rebuilt = rebuild::rows(&events);
            let rows = state
                .rows
                .iter()
                .map(|(id, row)| (*id, rebuild::listed_columns(row)))
                .collect();
            assert_eq!(
                rebuilt, rows,
                "rule 15: state and events agree, of agent {agent}"
            );
            let numbers: Vec<u64> = events.iter().map(|event| event.sequence).collect();
            let wanted: Vec<u64> = (1..=numbers.len() as u64).collect();
            assert_eq!(
                numbers, wanted,
                "rule 15: events without gaps, of agent {agent}"
            );
        }
    }
}

const fn key(order: ReportOrder) -> (u128, u64, u64) {
    (order.incarnation.0.as_u128(), order.boot, order.sequence)
}
