//! After all: what people count on, with nothing going wrong. A stop on site brings every output that has a safe value to
//! it, once, and then nothing moves; so does a hub that is away for long; and afterwards everything is held again.

use std::collections::BTreeSet;

use holdfast_domain::{
    PointId,
    document::setpoint::{Conformity, Hold, Policy, Setpoint},
    hold::{Interruption, PointRules},
    row::Actor,
};
use holdfast_edge::LocalOrder;

use crate::{
    instrument::Where,
    observer::is_inside,
    world::{AGENTS, World},
};

/// So long after an order, or after the last time-out, everything has come to its place, in ms.
const SETTLES_MS: u64 = 30_000;
/// The hub is away for so long, in ms: longer than any output is to be held without it.
const AWAY_MS: u64 = 120_000;
/// And so long after it, all is as it was: the longest backoff, and an agent that asks again.
const BACK_MS: u64 = 200_000;

/// An output that is held.
struct Held {
    agent: usize,
    wish: Setpoint,
    rules: PointRules,
    at: Where,
}

impl World {
    /// Everybody stops, and starts again; then the hub is away, and comes back.
    pub(crate) fn epilogue(&mut self) {
        self.stops_everywhere();
        self.hub_is_away();
        self.check_converged();
    }

    fn stops_everywhere(&mut self) {
        self.say(format_args!("everybody stops on site"));
        let held = self.held();
        let far = self.far();
        let by = Actor::named("technician");
        for agent in 0..AGENTS {
            let (by, reason) = (by.clone(), "the end".to_owned());
            let order = LocalOrder::Stop {
                by,
                reason,
                for_ms: None,
            };
            self.order(agent, order);
        }
        self.run(SETTLES_MS);
        self.check_left(&held, Interruption::Stopped);
        for agent in 0..AGENTS {
            let is_worn = held
                .iter()
                .any(|one| one.agent == agent && self.has_no_write_left(one));
            if self.site_stop(agent).is_none() && !is_worn && !far.contains(&agent) {
                let one = &self.agents[agent];
                let view = one
                    .machine
                    .as_ref()
                    .map(|machine| machine.loop_view(one.now(self.now)));
                self.broken(
                    "17 stop on site",
                    format_args!("agent {agent} does not confirm it: {view:?}"),
                );
            }
        }
        let writes = self.observer.hardware_writes;
        for one in &held {
            self.turn(&one.at, 77);
        }
        self.run(SETTLES_MS);
        if self.observer.hardware_writes != writes
            && held.iter().all(|one| !self.has_no_write_left(one))
            && far.is_empty()
        {
            self.broken(
                "17 stop",
                format_args!("something is written after everybody has stopped"),
            );
        }
        self.say(format_args!("everybody starts on site"));
        for agent in 0..AGENTS {
            let order = LocalOrder::Start {
                by: by.clone(),
                reason: None,
            };
            self.order(agent, order);
        }
        self.run(BACK_MS);
        self.check_converged();
    }

    fn hub_is_away(&mut self) {
        self.say(format_args!("the hub is away"));
        let held = self.held();
        for agent in &mut self.agents {
            agent.cut_until = self.now + AWAY_MS;
        }
        self.run(AWAY_MS - 1_000);
        self.check_left(&held, Interruption::HubLost);
        self.run(BACK_MS);
    }

    /// The agents with outputs that can't come to their safe value by themselves: that stop is not confirmed.
    fn far(&mut self) -> BTreeSet<usize> {
        let mut far = BTreeSet::new();
        for agent in 0..AGENTS {
            let target = self.hub.state(self.agents[agent].device).target;
            for item in &target.items {
                for point in target.values.wishes.keys() {
                    let rules = item.sensor.content().binding.point_rules(*point);
                    let at = Where::of(agent, &item.sensor, *point);
                    if let Some((at, rules)) = at.zip(rules)
                        && rules.on_stop.is_some()
                        && self.is_far(&at, &rules)
                    {
                        far.insert(agent);
                    }
                }
            }
        }
        far
    }

    /// The outputs that are held, as their agents say and as it is.
    fn held(&self) -> Vec<Held> {
        let mut held = Vec::new();
        for agent in 0..AGENTS {
            let state = self.hub.state(self.agents[agent].device);
            let Some(said) = &state.reported else {
                continue;
            };
            let is_held = |point: &PointId| {
                let item = said.values.items.get(point);
                item.is_some_and(|item| {
                    (item.conformity, item.hold) == (Conformity::InSync, Hold::Active)
                })
            };
            if state.target.values.hold.shadow {
                // There nothing is written, to a safe value neither.
                continue;
            }
            for wish in state.target.values.wishes.values() {
                let (setpoint, point) = (&wish.setpoint, wish.setpoint.point_id);
                let mut sensors = state.target.items.iter().map(|item| &item.sensor);
                let place = sensors.find_map(|sensor| {
                    let rules = sensor.content().binding.point_rules(point)?;
                    Some((Where::of(agent, sensor, point)?, rules)).filter(|_| sensor.enabled())
                });
                if let Some((at, rules)) = place.filter(|_| is_held(&point)) {
                    held.push(Held {
                        agent,
                        wish: setpoint.clone(),
                        rules,
                        at,
                    });
                }
            }
        }
        held
    }

    /// Those that have a safe value to go to are there; those that are to be held are held.
    fn check_left(&mut self, held: &[Held], why: Interruption) {
        for one in held {
            let is_shared = self.outputs_at(one) > 1;
            if is_shared || self.has_no_write_left(one) {
                continue;
            }
            let safe = match why {
                Interruption::Stopped => one.rules.on_stop.clone(),
                Interruption::HubLost => one.rules.on_hub_lost.clone().map(|(_, value)| value),
            };
            let safe = safe.filter(|_| one.wish.policy != Policy::Observe);
            let wanted = safe.unwrap_or_else(|| one.wish.value.clone());
            let now = self.now;
            let raw = self
                .instrument(&one.at.place.unit)
                .raw(one.at.place.register, now);
            let wish = Setpoint {
                value: wanted,
                ..one.wish.clone()
            };
            if !is_inside(&wish, &one.at, &one.at.value(raw)) {
                self.broken(
                    "17 safe value",
                    format_args!(
                        "agent {}: {why:?}: {} was to be at {}, and is at {raw}",
                        one.agent, wish.point_id, wish.value
                    ),
                );
            }
            self.reach(match why {
                Interruption::Stopped => "outputs left on a stop",
                Interruption::HubLost => "outputs left without a hub",
            });
        }
    }

    /// The outputs at its register, held or not.
    fn outputs_at(&self, one: &Held) -> usize {
        let target = self.hub.state(self.agents[one.agent].device).target;
        let points = target.values.wishes.keys();
        let is_there = |point: &&PointId| {
            let mut sensors = target.items.iter().map(|item| &item.sensor);
            let at = sensors.find_map(|sensor| Where::of(one.agent, sensor, **point));
            at.is_some_and(|at| at.place == one.at.place)
        };
        points.filter(is_there).count()
    }

    /// Is the life of its budget used up, or nearly so?
    fn has_no_write_left(&self, one: &Held) -> bool {
        self.agents[one.agent].disk.booked(one.wish.point_id) + 32 >= one.rules.budget.lifetime
    }

    fn turn(&mut self, at: &Where, raw: i64) {
        self.instrument(&at.place.unit).turn(at.place.register, raw);
        self.observer.by_hand.insert((at.place.clone(), raw, None));
        self.disturbed(&at.place);
    }
}
