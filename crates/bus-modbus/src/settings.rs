//! The adapter's own waits and bounds, each with its reason. What belongs to a sensor (time-out, interval, gap) is in its
//! document.

use std::sync::Arc;
use std::time::Duration;

use holdfast_domain::backoff::Backoff;
use holdfast_ports::clock::Entropy;

/// Waits and bounds of all links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long making a connection may take, name look-up included. Default 3 s: a lost first packet is sent
    /// again after one.
    pub connect_deadline: Duration,
    /// Wait between attempts to make a connection. Default 0.25 s, up to 10 s: an attempt costs a packet, and an
    /// instrument that was plugged in is awaited.
    pub reconnect: Backoff,
    /// Wait between questions to a unit that does not answer. Default 1 s, up to 30 s; on a link with units that do
    /// answer, longer if need be, so that all the silent ones together take at most a tenth of its time.
    pub dead_unit: Backoff,
    /// Wait between attempts to read again what the instrument refused. Default 10 s, up to 10 min: only a change of the
    /// instrument can help.
    pub refused: Backoff,
    /// How long a question to a unit that may not answer is held back for those that do. Default 2 s.
    pub patience: Duration,
    /// Most requests that one poll spends on finding out which addresses are refused; the search goes on in the next
    /// one. Default 16: enough to find one bad address of 125.
    pub search_requests: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_deadline: Duration::from_secs(3),
            reconnect: Backoff {
                base_ms: 250,
                limit_ms: 10_000,
            },
            dead_unit: Backoff {
                base_ms: 1_000,
                limit_ms: 30_000,
            },
            refused: Backoff {
                base_ms: 10_000,
                limit_ms: 600_000,
            },
            patience: Duration::from_secs(2),
            search_requests: 16,
        }
    }
}

/// The settings with the randomness that backoff needs.
#[derive(Clone)]
pub(crate) struct Waits {
    pub(crate) settings: Settings,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl Waits {
    /// The wait after so many failures in a row.
    pub(crate) fn after(&self, backoff: Backoff, failures: u32) -> Duration {
        Duration::from_millis(backoff.delay_ms(failures, self.entropy.jitter()))
    }
}
