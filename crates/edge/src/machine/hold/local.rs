//! Stops on site: an input of the machine like the hub's, which wins over it until it is lifted or runs out.
//!
//! A stop is in effect at once, and confirmed when it is on the disk and every output is left. Lifting one, and another
//! interval, are in effect when they are on the disk.

use holdfast_domain::{
    document::hold::{LocalEnd, LocalStop, LoopState},
    hold::LoopMemory,
    row::Actor,
};

use super::{Effect, Machine, Now};
use crate::local::LocalOrder;

/// Most orders that wait for their answer; who is over this is told so.
const TICKETS: usize = 64;

/// What somebody on site wants.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Site {
    pub(super) stop: Option<Stop>,
    pub(super) ended: Option<LocalEnd>,
    pub(super) interval_ms: Option<u32>,
}

/// A stop on site.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stop {
    by: Actor,
    reason: String,
    /// When it ends, in ms.
    ends_at: Option<u64>,
}

impl Stop {
    pub(super) fn why(&self) -> String {
        format!("stopped on site by {}: {}", self.by, self.reason)
    }

    /// With what remains of it.
    pub(super) fn told(&self, now_ms: u64) -> LocalStop {
        LocalStop {
            by: self.by.clone(),
            reason: self.reason.clone(),
            remaining_ms: self.ends_at.map(|end| end.saturating_sub(now_ms)),
            until: None,
        }
    }

    fn is_over(&self, now_ms: u64) -> bool {
        self.ends_at.is_some_and(|end| end <= now_ms)
    }

    fn end(
        &self,
        before: Option<&LocalEnd>,
        by: Option<Actor>,
        reason: Option<String>,
    ) -> LocalEnd {
        LocalEnd {
            stopped_by: self.by.clone(),
            stop_reason: self.reason.clone(),
            by,
            reason,
            count: before.map_or(1, |before| before.count.saturating_add(1)),
        }
    }
}

/// What was wanted on site, and how far it is on the disk.
#[derive(Debug, Default)]
pub(super) struct Local {
    pub(super) wanted: Site,
    pub(super) kept: Site,
    /// Counts the orders.
    pub(super) serial: u64,
    tickets: Vec<Ticket>,
}

/// Somebody who waits for an answer.
#[derive(Debug)]
struct Ticket {
    number: u64,
    serial: u64,
    is_stop: bool,
    is_kept: bool,
}

impl Local {
    pub(super) fn from_ledger(memory: &LoopMemory, now_ms: u64) -> Self {
        let stop = memory.local.as_ref().map(|stop| Stop {
            by: stop.by.clone(),
            reason: stop.reason.clone(),
            ends_at: stop.remaining_ms.map(|left| now_ms.saturating_add(left)),
        });
        let kept = Site {
            stop,
            ended: memory.local_ended.clone(),
            interval_ms: memory.interval_ms,
        };
        Self {
            wanted: kept.clone(),
            kept,
            ..Self::default()
        }
    }

    /// The stop that counts: one that is being lifted does until that is on the disk.
    pub(super) fn stop(&self) -> Option<&Stop> {
        self.wanted.stop.as_ref().or(self.kept.stop.as_ref())
    }

    /// When the stop ends, in ms.
    pub(super) fn ends_at(&self) -> Option<u64> {
        self.stop().and_then(|stop| stop.ends_at)
    }
}

impl Machine {
    /// Takes an order of somebody on site.
    pub(super) fn order(&mut self, order: LocalOrder, now: Now) -> (bool, bool) {
        let local = &mut self.holding.local;
        let before = local.wanted.clone();
        let is_stop = matches!(order, LocalOrder::Stop { .. });
        match order {
            LocalOrder::Stop { by, reason, for_ms } => {
                let ends_at = for_ms.map(|ms| now.ms.saturating_add(ms));
                local.wanted.stop = Some(Stop {
                    by,
                    reason,
                    ends_at,
                });
            }
            LocalOrder::Start { by, reason } => {
                if let Some(stop) = local.wanted.stop.take() {
                    let end = stop.end(local.wanted.ended.as_ref(), Some(by), reason);
                    local.wanted.ended = Some(end);
                }
            }
            LocalOrder::Interval(interval_ms) => local.wanted.interval_ms = interval_ms,
        }
        (is_stop, local.wanted != before)
    }

    pub(in crate::machine) fn on_ordered(
        &mut self,
        number: u64,
        order: LocalOrder,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if self.holding.local.tickets.len() >= TICKETS {
            let result =
                Err("so many orders wait for their answer that this one was not taken".into());
            effects.push(Effect::Answer { number, result });
            return;
        }
        let (is_stop, is_new) = self.order(order, now);
        if is_new {
            self.holding.local.serial += 1;
            self.holding.notes.dirty();
            if is_stop {
                self.holding.local_settled = false;
            }
            self.holding.look_at_all();
            self.reporting.header_changed();
        }
        let local = &mut self.holding.local;
        local.tickets.push(Ticket {
            number,
            serial: local.serial,
            is_stop,
            is_kept: local.wanted == local.kept,
        });
    }

    /// Ends a stop on site whose time is over. That needs no writing down before: it stands there when it ends.
    pub(super) fn end_local(&mut self, now: Now) {
        let local = &mut self.holding.local;
        let is_over = local.stop().is_some_and(|stop| stop.is_over(now.ms));
        if !is_over {
            return;
        }
        if let Some(stop) = local.wanted.stop.take() {
            local.wanted.ended = Some(stop.end(local.wanted.ended.as_ref(), None, None));
        }
        local.kept.stop = None;
        self.holding.notes.dirty();
        self.holding.look_at_all();
        self.reporting.header_changed();
    }

    /// What was wanted on site, up to this order, is on the disk, or could not be written.
    pub(super) fn local_kept(
        &mut self,
        site: Site,
        serial: u64,
        result: &Result<(), String>,
        effects: &mut Vec<Effect>,
    ) {
        let holding = &mut self.holding;
        let local = &mut holding.local;
        let (answered, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut local.tickets)
            .into_iter()
            .partition(|ticket| result.is_err() && ticket.serial <= serial && !ticket.is_kept);
        local.tickets = waiting;
        match result {
            Ok(()) => {
                let changes = local.kept != site;
                local.kept = site;
                for ticket in &mut local.tickets {
                    ticket.is_kept |= ticket.serial <= serial;
                }
                if changes {
                    holding.look_at_all();
                    self.reporting.header_changed();
                }
            }
            Err(error) => {
                local.wanted.interval_ms = local.kept.interval_ms;
                if local.wanted.stop.is_none() && local.kept.stop.is_some() {
                    local.wanted = local.kept.clone();
                }
                for Ticket {
                    number, is_stop, ..
                } in answered
                {
                    let what = if is_stop {
                        "it is stopped now, but that could not be written down, so that a restart of the agent would end it"
                    } else {
                        "it could not be written down, so that nothing was changed"
                    };
                    let result = Err(format!("{what}: {error}"));
                    effects.push(Effect::Answer { number, result });
                }
            }
        }
    }

    /// Answers whoever has waited long enough.
    pub(super) fn answer_orders(&mut self, effects: &mut Vec<Effect>) {
        if self.holding.local.tickets.is_empty() {
            return;
        }
        let is_stopping = self.holding.state() == LoopState::Stopping;
        self.holding.local.tickets.retain(|ticket| {
            let is_done = ticket.is_kept && !(ticket.is_stop && is_stopping);
            if is_done {
                let (number, result) = (ticket.number, Ok(()));
                effects.push(Effect::Answer { number, result });
            }
            !is_done
        });
    }
}
