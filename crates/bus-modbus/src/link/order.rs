//! Whose turn it is on a link that several units share. What is written on demand comes before what is read on demand,
//! and that before polls, but nothing waits for ever: what was passed over so many times in a row gets one request. Which
//! unit's errand it is stands in `queue.rs`; whose poll it is:
//! 1. units that answer, the one that is due the longest first;
//! 2. units that were not asked yet;
//! 3. units that do not answer, one question a backoff period each, and at a moment when no poll falls into their
//!    time-out, if there is one.
//!
//! A question of 2 or 3 is not held back for longer than the patience of the settings; but after one that nobody
//! answered, the next is held back as long again, so that polls that are due get their turn in between. Knows no
//! requests: a unit's turn is a whole poll.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::desk::Key;
use super::unit::{Presence, Unit};

/// After so many requests of higher rank in a row, one of those that wait behind them is made: a flood of writes delays
/// polls to a tenth of their pace, and costs the writes less than a tenth of theirs.
const PASSED_OVER: u32 = 10;

/// What requests are made for, the first first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Write,
    Read,
    Poll,
}

/// How often reads and polls were passed over in a row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PassedOver {
    reads: u32,
    polls: u32,
}

impl PassedOver {
    /// What the next request is for, of what waits.
    pub(crate) fn choose(self, writes: bool, reads: bool, polls: bool) -> Option<Rank> {
        let is_due = |passed_over: u32| passed_over >= PASSED_OVER;
        [
            (polls && is_due(self.polls), Rank::Poll),
            (reads && is_due(self.reads), Rank::Read),
            (writes, Rank::Write),
            (reads, Rank::Read),
            (polls, Rank::Poll),
        ]
        .into_iter()
        .find_map(|(has_turn, rank)| has_turn.then_some(rank))
    }

    /// A request is made for that, while others wait.
    pub(crate) fn made(&mut self, rank: Rank, reads: bool, polls: bool) {
        let count = |passed_over: &mut u32, own: Rank, wait: bool| {
            if rank == own || !wait {
                *passed_over = 0;
            } else if rank < own {
                *passed_over = passed_over.saturating_add(1);
            }
        };
        count(&mut self.reads, Rank::Read, reads);
        count(&mut self.polls, Rank::Poll, polls);
    }
}

/// Which unit is asked next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    Now(Key),
    /// None before then.
    Later(Option<Instant>),
}

/// Chooses by the order that stands at the top of this file. `failed_last`: when a unit last did not
/// answer.
pub(crate) fn choose(
    units: &BTreeMap<Key, Box<Unit>>,
    patience: Duration,
    failed_last: Option<Instant>,
    now: Instant,
) -> Choice {
    let answering = units
        .values()
        .filter(|unit| unit.presence == Presence::Answering);
    let next_poll = answering.map(|unit| unit.due).min();
    let free = next_poll.map_or(Duration::MAX, |due| due.saturating_duration_since(now));
    let let_through = |since: Instant| failed_last.map_or(since, |last| last.max(since)) + patience;
    let mut first: Option<(u8, Instant, Key)> = None;
    let mut later: Option<Instant> = None;
    for (key, unit) in units {
        let (rank, since, ready_at) = match unit.presence {
            Presence::Answering => (0, unit.due, unit.due),
            Presence::Unknown => (1, unit.due, unit.due),
            Presence::Silent { probe_at, .. } if free >= unit.spec.timeout => {
                (2, probe_at, probe_at)
            }
            Presence::Silent { probe_at, .. } => (2, probe_at, let_through(probe_at)),
        };
        if ready_at > now {
            later = Some(later.map_or(ready_at, |later| later.min(ready_at)));
            continue;
        }
        let rank = if let_through(since) <= now { 0 } else { rank };
        let place = (rank, since, *key);
        if first.is_none_or(|first| place < first) {
            first = Some(place);
        }
    }
    first.map_or(Choice::Later(later), |(_, _, key)| Choice::Now(key))
}
