//! What is known of one sensor: what runs, the one step under way, why it failed, how the instrument is.

use holdfast_domain::{Failure, Fingerprint, Health, HealthStatus, Item, SensorId, limits};

/// One sensor that is wanted or runs.
#[derive(Debug, Default)]
pub(super) struct Slot {
    generation: u64,
    running: Option<Item>,
    doing: Option<Doing>,
    failed: Option<Failed>,
    health: Option<Health>,
    /// When its adapter took what it has now, in ms.
    taken_at: u64,
}

/// The one step under way.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Doing {
    /// This is being started; nothing runs meanwhile.
    Starting {
        /// The content.
        item: Item,
        /// Must the instrument answer before it counts as started?
        fresh: bool,
    },
    /// This is being taken; what ran runs on meanwhile.
    Updating(Item),
    /// What runs is being stopped.
    Stopping,
}

/// A content that could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) fingerprint: Fingerprint,
    pub(super) error: String,
    pub(super) attempts: u32,
    /// When it is tried again, in ms; `None`: trying again can't help.
    pub(super) retry_at: Option<u64>,
}

/// How a change reads to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changed {
    No,
    /// Only in what nobody acts on: a count, a reason.
    Detail,
    Yes,
}

impl Slot {
    pub(super) const fn running(&self) -> Option<&Item> {
        self.running.as_ref()
    }

    pub(super) const fn is_busy(&self) -> bool {
        self.doing.is_some()
    }

    /// Is it with an adapter, so that its points can be read and written?
    pub(super) fn is_readable(&self) -> bool {
        let is_stopping = matches!(self.doing, Some(Doing::Stopping));
        !is_stopping
            && self
                .running
                .as_ref()
                .is_some_and(|item| item.sensor.enabled())
    }

    /// What may be with the adapter: what runs, and what it is taking instead.
    pub(super) fn with_adapter(&self) -> impl Iterator<Item = &Item> {
        let taking = match &self.doing {
            Some(Doing::Updating(item)) => Some(item),
            Some(Doing::Starting { .. } | Doing::Stopping) | None => None,
        };
        self.running.iter().chain(taking)
    }

    /// Why its points can't be read, if they can't.
    pub(super) fn why_not_readable(&self) -> Option<String> {
        if self.is_readable() {
            return None;
        }
        Some(match (&self.running, &self.failed) {
            (Some(item), _) if !item.sensor.enabled() => "its sensor is disabled".to_owned(),
            (_, Some(failed)) => format!("its sensor does not run: {}", failed.error),
            (_, None) => "its sensor is being started".to_owned(),
        })
    }

    /// Can its points not be read only because it is being started or stopped? That passes by itself.
    pub(super) fn is_coming(&self) -> bool {
        let is_enabled = |item: &Item| item.sensor.enabled();
        !self.is_readable() && self.failed.is_none() && self.running.as_ref().is_none_or(is_enabled)
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Health of what runs.
    pub(super) fn health(&self) -> Option<&Health> {
        self.running.as_ref().and(self.health.as_ref())
    }

    pub(super) fn failure_report(&self, id: SensorId) -> Option<Failure> {
        let Failed {
            fingerprint,
            error,
            attempts,
            retry_at: _,
        } = self.failed.clone()?;
        Some(Failure {
            id,
            fingerprint,
            error,
            attempts,
        })
    }

    /// Does nothing hold this slot any more?
    pub(super) const fn is_empty(&self) -> bool {
        self.running.is_none() && self.doing.is_none()
    }

    /// A step begins. Before a fresh start, nothing is known of the instrument.
    pub(super) fn begin(&mut self, doing: Doing, generation: u64) {
        assert!(self.doing.is_none(), "never two steps of a sensor at once");
        if matches!(doing, Doing::Starting { fresh: true, .. }) {
            self.health = None;
        }
        self.generation = generation;
        self.doing = Some(doing);
    }

    /// Ends the step under way, if it is the one of `generation` and of the kind that `is` says.
    pub(super) fn end(&mut self, generation: u64, is: impl Fn(&Doing) -> bool) -> Option<Doing> {
        let same_start = self.generation == generation;
        self.doing.take_if(|doing| same_start && is(doing))
    }

    /// Its adapter took something.
    pub(super) const fn took(&mut self, now_ms: u64) {
        self.taken_at = now_ms;
    }

    /// When its adapter took what it has now, in ms: what was asked of it before may have been of another point.
    pub(super) const fn taken_at(&self) -> u64 {
        self.taken_at
    }

    /// `item` runs from now on. Health of a disabled sensor means nothing.
    pub(super) fn run(&mut self, item: Item) {
        if !item.sensor.enabled() {
            self.health = None;
        }
        self.failed = None;
        self.running = Some(item);
    }

    /// Nothing runs from now on. What was known of the instrument is kept for the next start.
    pub(super) fn gone(&mut self) {
        self.running = None;
    }

    /// Starting `fingerprint` failed once more.
    pub(super) fn fail(
        &mut self,
        fingerprint: Fingerprint,
        error: &str,
        retry_at: Option<u64>,
    ) -> Changed {
        let error = shortened(error);
        let before = self
            .failed
            .take()
            .filter(|failed| failed.fingerprint == fingerprint);
        let attempts = before
            .as_ref()
            .map_or(0, |failed| failed.attempts)
            .saturating_add(1)
            .min(limits::ATTEMPTS);
        let changed = match before {
            Some(before) if before.error == error => Changed::Detail,
            _ => Changed::Yes,
        };
        if self.running.is_none() {
            self.health = None;
        }
        self.failed = Some(Failed {
            fingerprint,
            error,
            attempts,
            retry_at,
        });
        changed
    }

    /// Forgets a failure of other content than `wanted`.
    pub(super) fn forget_failure_but_of(&mut self, wanted: Option<Fingerprint>) -> Changed {
        if self
            .failed
            .as_ref()
            .is_some_and(|failed| wanted != Some(failed.fingerprint))
        {
            self.failed = None;
            return Changed::Yes;
        }
        Changed::No
    }

    /// Tries again at `at`, if it failed and trying again can help.
    pub(super) fn retry_at(&mut self, at: u64) -> bool {
        let again = self
            .failed
            .as_mut()
            .and_then(|failed| failed.retry_at.as_mut());
        if let Some(retry_at) = again {
            *retry_at = at;
            return true;
        }
        false
    }

    /// Has `fingerprint` been tried, in vain?
    pub(super) fn has_failed(&self, fingerprint: Fingerprint) -> bool {
        self.failed
            .as_ref()
            .is_some_and(|failed| failed.fingerprint == fingerprint)
    }

    /// Must `fingerprint` wait because it failed lately?
    pub(super) fn waits(&self, fingerprint: Fingerprint, now_ms: u64) -> bool {
        let failed = self
            .failed
            .as_ref()
            .filter(|failed| failed.fingerprint == fingerprint);
        failed.is_some_and(|failed| failed.retry_at.is_none_or(|at| at > now_ms))
    }

    /// An adapter says how the instrument is.
    pub(super) fn set_health(
        &mut self,
        status: HealthStatus,
        reason: Option<String>,
        now: jiff::Timestamp,
    ) -> Changed {
        let reason = reason
            .filter(|reason| !reason.trim().is_empty())
            .map(|reason| shortened(&reason));
        let new = |reason| Health {
            status,
            since: holdfast_domain::event::whole_micros(now),
            reason,
        };
        match &mut self.health {
            Some(health) if health.status == status && health.reason == reason => Changed::No,
            Some(health) if health.status == status => {
                health.reason = reason;
                Changed::Detail
            }
            health => {
                *health = Some(new(reason));
                Changed::Yes
            }
        }
    }

    pub(super) const fn knows_health(&self) -> bool {
        self.health.is_some()
    }
}

/// A text from outside as documents may carry it: one line, bounded, never empty.
pub(super) fn shortened(text: &str) -> String {
    let mut line: String = text
        .chars()
        .take(limits::ERROR_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(limits::ERROR_CHARS).is_some() {
        line.pop();
        line.push('…');
    }
    if line.trim().is_empty() {
        "failed without saying why".to_string()
    } else {
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_error_is_cut_to_what_documents_carry() {
        let text = shortened(&"ä".repeat(limits::ERROR_CHARS + 5));
        assert_eq!(text.chars().count(), limits::ERROR_CHARS);
        assert!(text.ends_with('…'));
        assert_eq!(
            shortened(&"ä".repeat(limits::ERROR_CHARS)).chars().count(),
            limits::ERROR_CHARS
        );
        assert_eq!(shortened("two\nlines\0"), "two lines ");
        assert_eq!(shortened(""), "failed without saying why");
    }
}
