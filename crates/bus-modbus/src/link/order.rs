//! Whose turn it is on a link that several units share:
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
    units: &BTreeMap<Key, Unit>,
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
