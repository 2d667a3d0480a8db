//! How long to wait before trying again.
//!
//! Exponential with full jitter over the upper half ("equal jitter"), so that many devices that lost the same thing do not
//! come back at the same moment, and none comes back at once.

/// A rule for waiting: 1, 2, 4 … times the base, up to a limit, each shortened by up to a half at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after the first failure, in ms.
    pub base_ms: u64,
    /// Longest wait, in ms.
    pub limit_ms: u64,
}

impl Backoff {
    /// For an item that failed to start: 1 s, up to a minute.
    pub const ITEM: Self = Self {
        base_ms: 1_000,
        limit_ms: 60_000,
    };

    /// For a hub that can't be reached: half a second, up to half a minute.
    pub const HUB: Self = Self {
        base_ms: 500,
        limit_ms: 30_000,
    };

    /// The wait in ms after `failures` failures in a row; `random` is uniform in 0..=`u32::MAX`.
    #[must_use]
    pub fn delay_ms(&self, failures: u32, random: u32) -> u64 {
        if failures == 0 {
            return 0;
        }
        let doublings = (failures - 1).min(32);
        let full = self
            .base_ms
            .saturating_mul(1 << doublings)
            .min(self.limit_ms);
        let half = full / 2;
        half + (u128::from(full - half) * u128::from(random) / u128::from(u32::MAX)) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_is_within_its_bounds(failures in 1u32.., random: u32, base in 1u64..10_000, limit in 1u64..1_000_000) {
            let backoff = Backoff { base_ms: base, limit_ms: limit };
            let delay = backoff.delay_ms(failures, random);
            prop_assert!(delay <= limit);
            prop_assert!(delay >= base.min(limit) / 2);
        }

        #[test]
        fn a_wait_grows_until_the_limit(failures in 1u32..10, random: u32) {
            let backoff = Backoff { base_ms: 100, limit_ms: 1_000_000 };
            prop_assert!(backoff.delay_ms(failures + 1, random) >= backoff.delay_ms(failures, random));
        }
    }

    #[test]
    fn no_failure_no_wait() {
        assert_eq!(Backoff::ITEM.delay_ms(0, u32::MAX), 0);
    }
}
