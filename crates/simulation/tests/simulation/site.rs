//! People on site, at the agent itself: they stop and start its value loop, with no hub in reach too. What an agent has
//! confirmed to them stands, over restarts, until it is lifted or its time is over.

use holdfast_domain::row::Actor;
use holdfast_edge::{LocalOrder, machine::Event};

use crate::{
    arrivals::Delivery,
    world::{AGENTS, World},
};

/// A stop on site that was confirmed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SiteStop {
    /// When it may end at the soonest, in ms.
    ends_at: Option<u64>,
    /// The order.
    number: u64,
    is_confirmed: bool,
}

impl World {
    /// Somebody stops an agent's loop on site, or starts it.
    pub(crate) fn goes_on_site(&mut self, agent: usize) {
        let by = Actor::named("technician");
        let order = match self.below(10) {
            0..6 => {
                let for_ms = self.random.chance(60).then(|| 500 + self.below(60_000));
                let reason = format!("belt {}", self.below(3));
                LocalOrder::Stop { by, reason, for_ms }
            }
            6..9 => LocalOrder::Start { by, reason: None },
            _ => LocalOrder::Interval([None, Some(500), Some(2_000)][self.random.below(3)]),
        };
        self.order(agent, order);
    }

    /// An order reaches an agent, if it is up.
    pub(crate) fn order(&mut self, agent: usize, order: LocalOrder) {
        if self.agents[agent].machine.is_none() {
            return;
        }
        self.reach("orders on site");
        self.observer.orders_on_site += 1;
        let number = self.observer.orders_on_site;
        self.tell(agent, Event::Ordered { number, order });
    }

    /// When things go wrong no more, most stops on site are lifted.
    pub(crate) fn lift_on_site(&mut self) {
        for agent in 0..AGENTS {
            if self.random.chance(80) {
                let (by, delay) = (Actor::named("technician"), 1_000 + self.below(5_000));
                let order = LocalOrder::Start { by, reason: None };
                self.deliver_in(delay, Delivery::Order { agent, order });
            }
        }
    }

    /// An agent is about to hear of an order.
    pub(crate) fn note_ordered(&mut self, agent: usize, number: u64, order: &LocalOrder) {
        match order {
            LocalOrder::Stop { for_ms, .. } => {
                let ends_at = for_ms.map(|ms| self.now + ms);
                self.agents[agent].told.site = Some(ends_at);
                let stop = SiteStop {
                    ends_at,
                    number,
                    is_confirmed: false,
                };
                self.observer.site.insert(agent, stop);
            }
            LocalOrder::Start { .. } => {
                self.agents[agent].told.site = None;
                self.observer.site.remove(&agent);
            }
            LocalOrder::Interval(_) => {}
        }
    }

    /// An agent answers somebody on site: what it confirms is on its disk.
    pub(crate) fn check_answer(&mut self, agent: usize, number: u64, result: &Result<(), String>) {
        let local = self.agents[agent].disk.0.memory.local.clone();
        let now = self.now;
        let Some(stop) = self
            .observer
            .site
            .get_mut(&agent)
            .filter(|stop| stop.number == number)
        else {
            return;
        };
        if result.is_err() || stop.ends_at.is_some_and(|end| end <= now) {
            return;
        }
        stop.is_confirmed = true;
        self.reach("stops on site confirmed");
        if local.is_none() {
            self.broken(
                "17 stop on site",
                format_args!(
                    "agent {agent} confirms order {number}, of which nothing stands on its disk"
                ),
            );
        }
    }

    /// The stop on site that an agent has confirmed and that is in force.
    pub(crate) fn site_stop(&self, agent: usize) -> Option<SiteStop> {
        let stop = self
            .observer
            .site
            .get(&agent)
            .filter(|stop| stop.is_confirmed);
        stop.filter(|stop| stop.ends_at.is_none_or(|end| end > self.now))
            .copied()
    }

    /// An agent is killed: what it has not confirmed may stand, or not.
    pub(crate) fn site_uncertain(&mut self, agent: usize) {
        if self.site_stop(agent).is_none() {
            self.observer.site.remove(&agent);
        }
    }

    /// An agent starts: what it has confirmed is not forgotten.
    pub(crate) fn check_site_kept(&self, agent: usize) {
        if let Some(stop) = self.site_stop(agent)
            && self.agents[agent].disk.0.memory.local.is_none()
        {
            self.broken(
                "17 stop on site",
                format_args!("agent {agent} has forgotten {stop:?}"),
            );
        }
    }
}
