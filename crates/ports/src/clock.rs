//! The time, and randomness: the two things that the core takes as parameters.

use jiff::Timestamp;
use uuid::Uuid;

/// Wall-clock time.
///
/// Guarantees nothing about jumps: deadlines run on the runtime's monotonic clock, not on this.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Ids and randomness.
pub trait Entropy: Send + Sync {
    /// A new UUID, version 7: later ones sort behind earlier ones of the same process.
    fn uuid(&self) -> Uuid;

    /// 32 bits, uniform; for jitter, not for secrets.
    fn jitter(&self) -> u32;

    /// 256 bits from the system's source of secrets.
    fn secret(&self) -> [u8; 32];
}
