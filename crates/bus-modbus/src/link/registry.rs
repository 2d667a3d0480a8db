//! Which links there are: made with the first sensor behind them, gone with the last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use holdfast_ports::clock::Clock;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::desk::{Command, Desk};
use super::wire::{Debts, Wire};
use crate::data::Endpoint;
use crate::settings::Waits;
use crate::stats::{Counters, Counts, LinkStats, LinkView};

/// All links of an adapter.
pub(crate) struct Registry {
    clock: Arc<dyn Clock>,
    waits: Waits,
    /// By their place.
    links: Mutex<BTreeMap<String, Weak<Link>>>,
    /// What units behind RTU lines may still answer, by the line's place; kept while they may.
    debts: Mutex<BTreeMap<String, Debts>>,
    total: Arc<Counters>,
}

/// A link in use; each sensor behind it holds one of these, and when the last is dropped the link's task ends.
pub(crate) struct Link {
    endpoint: Endpoint,
    /// Unbounded as a type. The task takes commands out also while it waits for an answer, and those that read or write
    /// into a queue that is bounded; of others, callers have one under way for each sensor.
    commands: UnboundedSender<Command>,
    counts: Counts,
    registry: Arc<Registry>,
}

impl Registry {
    pub(crate) fn new(clock: Arc<dyn Clock>, waits: Waits) -> Arc<Self> {
        Arc::new(Self {
            clock,
            waits,
            links: Mutex::default(),
            debts: Mutex::default(),
            total: Arc::default(),
        })
    }

    /// The link to `endpoint`, made if there is none. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// Sensors use its place with other settings: what is there, and what was wanted.
    pub(crate) fn link(self: &Arc<Self>, endpoint: &Endpoint) -> Result<Arc<Link>, String> {
        let place = endpoint.to_string();
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(&place).and_then(Weak::upgrade) {
            // Dropping the link locks the map; what is not given out is dropped after it is free.
            drop(links);
            return if link.endpoint == *endpoint {
                Ok(link)
            } else {
                let (there, wanted) = (link.endpoint.in_full(), endpoint.in_full());
                Err(format!(
                    "{wanted}: other sensors use {there}; sensors that share a line must have the same settings"
                ))
            };
        }
        let counts = Counts::of_link(&self.total);
        let desk = Desk::new(
            endpoint.clone(),
            Arc::clone(&self.clock),
            self.waits.clone(),
            counts.clone(),
        );
        let (commands, to_task) = unbounded_channel();
        let deadline = self.waits.settings.connect_deadline;
        let wire = Wire::new(endpoint.clone(), deadline, self.debts(&place));
        tokio::spawn(super::run(desk, wire, to_task));
        let link = Arc::new(Link {
            endpoint: endpoint.clone(),
            commands,
            counts,
            registry: Arc::clone(self),
        });
        links.insert(place, Arc::downgrade(&link));
        Ok(link)
    }

    /// What is owed at a place.
    fn debts(&self, place: &str) -> Debts {
        let mut debts = self.debts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        debts.retain(|_, debts| debts.are_of_use(now));
        debts.entry(place.to_owned()).or_default().clone()
    }

    /// The counters of all links that there are or ever were.
    pub(crate) fn total(&self) -> LinkStats {
        self.total.snapshot()
    }

    /// The links in use.
    pub(crate) fn views(&self) -> Vec<LinkView> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = links.iter().filter_map(|(endpoint, link)| {
            let link = link.upgrade()?;
            // Dropping the last of them locks the map; so only what is needed of it leaves this closure.
            Some((endpoint.clone(), link.counts.clone(), link))
        });
        let held: Vec<_> = counters.collect();
        drop(links);
        held.into_iter()
            .map(|(endpoint, counts, _)| counts.view(endpoint))
            .collect()
    }
}

impl Link {
    /// Passes a command on; false if the link's task has failed.
    pub(crate) fn send(&self, command: Command) -> bool {
        self.commands.send(command).is_ok()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let place = self.endpoint.to_string();
        let mut links = self
            .registry
            .links
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Another one may have been made for the same endpoint since the last handle was dropped.
        if links
            .get(&place)
            .is_some_and(|link| link.strong_count() == 0)
        {
            links.remove(&place);
        }
    }
}
