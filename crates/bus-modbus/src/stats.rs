//! What happened on the links, counted: for the agent's metrics and for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters of one link, or of all; they only grow.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct LinkStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($name: AtomicU64,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> LinkStats {
                LinkStats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl Counts {
            $(pub(crate) fn $name(&self, more: u64) {
                self.link.$name.fetch_add(more, Ordering::Relaxed);
                self.total.$name.fetch_add(more, Ordering::Relaxed);
            })*
        }
    };
}

counters! {
    /// Requests sent.
    requests,
    /// Those of them that write.
    writes,
    /// Requests to write or read on demand that were turned away because too many waited for the line.
    turned_away,
    /// Requests that nobody answered in time.
    timeouts,
    /// Requests whose answer came with a wrong checksum (RTU).
    damaged,
    /// Requests that were answered with an exception.
    exceptions,
    /// Connections that were made.
    connects,
    /// Connections that could not be made.
    connect_failures,
    /// Connections that were dropped because of a time-out, a transport error or an answer that was none.
    drops,
    /// Polls that were worked through.
    polls,
    /// Polls that were left out because the one before, or the line, was not ready.
    skipped_polls,
    /// How often the shortest time between two polls of a unit was adapted to what the line carries.
    adaptations,
}

/// Where one link counts: for itself, and for all links together, also those that are closed by now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) link: Arc<Counters>,
    pub(crate) total: Arc<Counters>,
    /// In ms; 0: none.
    floor_ms: Arc<AtomicU64>,
}

impl Counts {
    /// Counts for a link, and for all of them in `total`.
    pub(crate) fn of_link(total: &Arc<Counters>) -> Self {
        Self {
            total: Arc::clone(total),
            ..Self::default()
        }
    }

    /// The shortest time between two polls was adapted.
    pub(crate) fn paced(&self, floor: Option<Duration>) {
        self.adaptations(1);
        let ms = floor.map_or(0, |floor| {
            u64::try_from(floor.as_millis()).unwrap_or(u64::MAX)
        });
        self.floor_ms.store(ms, Ordering::Relaxed);
    }

    pub(crate) fn view(&self, endpoint: String) -> LinkView {
        LinkView {
            endpoint,
            stats: self.link.snapshot(),
            floor_ms: self.floor_ms.load(Ordering::Relaxed),
        }
    }
}

/// One link that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkView {
    /// `host:port`, or the path of a serial port.
    pub endpoint: String,
    /// Its counters since it came into use.
    pub stats: LinkStats,
    /// Shortest time between two polls of a unit that the line carries, in ms; 0: it carries what is declared.
    pub floor_ms: u64,
}
