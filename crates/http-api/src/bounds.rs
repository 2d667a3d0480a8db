//! What is bounded here, beside the sizes of bodies: answers that are held back. Each kind has a number of places; reaching
//! it is told to the caller, logged and counted.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::App;

/// Event streams at the same time: each reads the log for itself.
const EVENT_STREAMS: usize = 1_000;

/// Requests that wait for an agent to look again, at the same time: each looks at the store some times a second.
const LOOKS: usize = 100;

/// Counts bodies that were refused, by why.
pub(crate) const BODIES_REFUSED: &str = "holdfast_bodies_refused_total";
/// Why: larger than is allowed.
pub(crate) const TOO_LARGE: &str = "tooLarge";
/// Why: not there in time.
pub(crate) const TOO_SLOW: &str = "tooSlow";

const HELD: &str = "holdfast_answers_held";
const NOT_HELD: &str = "holdfast_answers_not_held_total";

/// The places of this process.
pub(crate) struct Bounds {
    pub(crate) long_polls: Places,
    pub(crate) event_streams: Places,
    pub(crate) looks: Places,
}

impl Bounds {
    pub(crate) fn new(long_polls: usize) -> Self {
        // What has never happened is shown as 0.
        for why in [TOO_LARGE, TOO_SLOW] {
            metrics::counter!(BODIES_REFUSED, "why" => why).increment(0);
        }
        Self {
            long_polls: Places::new("longPoll", long_polls),
            event_streams: Places::new("eventStream", EVENT_STREAMS),
            looks: Places::new("look", LOOKS),
        }
    }
}

impl App {
    /// What a request waits for that is held back for it, for at most `wait`. `None`: it need not wait, as many wait already as
    /// may, or the process ends; it is answered with what is so far.
    pub(crate) async fn held_back<T>(
        &self,
        wait: Duration,
        waiting: impl Future<Output = T>,
    ) -> Option<T> {
        let place = self.bounds.looks.take().filter(|_| !wait.is_zero());
        place.as_ref()?;
        self.settings.ending.run_until_cancelled(waiting).await
    }
}

/// Places for one kind of answers that are held back.
pub(crate) struct Places {
    kind: &'static str,
    most: usize,
    free: Arc<Semaphore>,
    told: Mutex<Option<Instant>>,
}

impl Places {
    fn new(kind: &'static str, most: usize) -> Self {
        metrics::gauge!(HELD, "kind" => kind).set(0.0);
        metrics::counter!(NOT_HELD, "kind" => kind).increment(0);
        Self {
            kind,
            most,
            free: Arc::new(Semaphore::new(most)),
            told: Mutex::default(),
        }
    }

    pub(crate) const fn most(&self) -> usize {
        self.most
    }

    /// A place, for as long as it is kept; `None` if all are taken.
    pub(crate) fn take(&self) -> Option<Place> {
        let Ok(permit) = self.free.clone().try_acquire_owned() else {
            self.tell();
            return None;
        };
        let held = metrics::gauge!(HELD, "kind" => self.kind);
        held.increment(1.0);
        Some(Place {
            held,
            _permit: permit,
        })
    }

    /// Logs once a minute what may happen a thousand times a second.
    fn tell(&self) {
        const EVERY: Duration = Duration::from_secs(60);
        metrics::counter!(NOT_HELD, "kind" => self.kind).increment(1);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= EVERY) {
            *told = Some(Instant::now());
            let (kind, most) = (self.kind, self.most);
            tracing::warn!(
                kind,
                most,
                "as many answers are held back as may be: more are not"
            );
        }
    }
}

/// One answer that is held back.
pub(crate) struct Place {
    held: metrics::Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.held.decrement(1.0);
    }
}
