//! The time that moving values are evaluated at.
//!
//! An instrument asks its [`Clock`] how long it has been alive. The real one follows the monotonic clock;
//! a [`ManualClock`] moves only when a test says so. Delays on the wire (`modbus/faults.rs`) are not its
//! business: they run on tokio's timer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Says how much time has passed since an instrument was made. Never goes back by itself.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// A clock that starts at zero now and follows the monotonic clock.
    #[must_use]
    pub fn monotonic() -> Self {
        let start = Instant::now();
        Self::from_fn(move || start.elapsed())
    }

    /// A clock that asks `elapsed` each time.
    pub fn from_fn(elapsed: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(elapsed))
    }

    /// The time passed since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.elapsed()).finish()
    }
}

/// A clock that stands still until it is told to move. Clones share the time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    elapsed_ns: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the time on by `by` (at most 584 years in total).
    pub fn advance(&self, by: Duration) {
        let by_ns =
            u64::try_from(by.as_nanos()).expect("a test moves the clock by less than 584 years");
        self.elapsed_ns.fetch_add(by_ns, Ordering::SeqCst);
    }

    /// The view of this clock that an instrument takes.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let elapsed_ns = Arc::clone(&self.elapsed_ns);
        Clock::from_fn(move || Duration::from_nanos(elapsed_ns.load(Ordering::SeqCst)))
    }
}
