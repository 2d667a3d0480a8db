//! How often a point may be written. Field devices keep settings in EEPROM that is good for some 100,000 writes: a loop
//! that fights for a value would destroy the instrument long before anybody notices.

use serde::{Deserialize, Serialize};

/// A day in ms.
const DAY_MS: u64 = 86_400_000;

/// How often a point may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WriteBudget {
    /// In any 24 hours.
    pub per_day: u32,
    /// In the life of the instrument.
    pub lifetime: u64,
}

impl WriteBudget {
    /// Where nothing is declared: a hundred a day, and half of what a common EEPROM lasts.
    pub const DEFAULT: Self = Self {
        per_day: 100,
        lifetime: 50_000,
    };

    /// Kept of the lifetime for going to the safe value: a hundredth, one at least.
    #[must_use]
    pub const fn reserve(&self) -> u64 {
        let share = self.lifetime / 100;
        if share == 0 { 1 } else { share }
    }
}

impl Default for WriteBudget {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What of a budget is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetView {
    /// Writes that may still be made today.
    pub today: u32,
    /// Writes that may still be made at all, the reserve included.
    pub lifetime: u64,
    /// How much of that is kept for the safe value.
    pub reserve: u64,
}

impl BudgetView {
    /// The same for a write to the safe value: all that is left may be used for it, whatever the day's number.
    #[must_use]
    pub const fn for_safe_value(self) -> Self {
        Self {
            today: u32::MAX,
            lifetime: self.lifetime,
            reserve: 0,
        }
    }

    /// May a write be made? One to the safe value may use the reserve, and is not held up by the day's number.
    #[must_use]
    pub const fn allows(&self, to_safe_value: bool) -> bool {
        if to_safe_value {
            self.lifetime > 0
        } else {
            self.today > 0 && self.lifetime > self.reserve
        }
    }
}

/// The account of one point's writes. Counted durably in blocks reserved ahead: after a crash the rest of a block counts
/// as used, so that the account never says less than was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Writes ever made, as far as they are durable: those of reserved blocks included.
    pub booked: u64,
    /// Writes made of the blocks that were reserved.
    #[serde(skip)]
    used: u64,
    /// Size of those blocks together.
    #[serde(skip)]
    block: u64,
    /// When today's window began, in ms of the loop's clock.
    #[serde(skip)]
    day_began_ms: u64,
    /// Writes in today's window.
    #[serde(skip)]
    today: u32,
}

impl Budget {
    /// Writes in a block: a crash costs at most so many, and the disk is written to once for so many.
    pub const BLOCK: u64 = 16;

    /// Where much may be written, a block is this share of the lifetime...
    const SHARE: u64 = 3_125;

    /// ...and no larger than this: so many are made within some ten milliseconds at best, and for longer than a disk needs.
    const LARGEST: u64 = 1_024;

    /// Writes in a block of a point with this budget.
    const fn block_of(budget: &WriteBudget) -> u64 {
        match budget.lifetime / Self::SHARE {
            ..Self::BLOCK => Self::BLOCK,
            share @ Self::BLOCK..=Self::LARGEST => share,
            _ => Self::LARGEST,
        }
    }

    /// The account as it stands in the ledger.
    #[must_use]
    pub const fn from_ledger(booked: u64) -> Self {
        Self {
            booked,
            used: 0,
            block: 0,
            day_began_ms: 0,
            today: 0,
        }
    }

    /// Writes that were made, as far as known.
    #[must_use]
    pub const fn writes(&self) -> u64 {
        self.booked - self.block + self.used
    }

    /// What is left at `now_ms`.
    #[must_use]
    pub fn view(&self, budget: &WriteBudget, now_ms: u64) -> BudgetView {
        let today = if self.is_another_day(now_ms) {
            0
        } else {
            self.today
        };
        BudgetView {
            today: budget.per_day.saturating_sub(today),
            lifetime: budget.lifetime.saturating_sub(self.writes()),
            reserve: budget.reserve(),
        }
    }

    /// Must a block be reserved, durably, before the next write? Gives what the ledger must say then.
    #[must_use]
    pub const fn to_reserve(&self, budget: &WriteBudget) -> Option<u64> {
        if self.used < self.block {
            None
        } else {
            Some(self.booked.saturating_add(Self::block_of(budget)))
        }
    }

    /// Should the next block be reserved by now, while writes go on? Only where blocks are large: there writes may follow each
    /// other faster than a disk answers. Gives what the ledger must say then.
    #[must_use]
    pub const fn to_reserve_ahead(&self, budget: &WriteBudget) -> Option<u64> {
        let block = Self::block_of(budget);
        if block == Self::BLOCK || self.block - self.used > block / 2 {
            None
        } else {
            Some(self.booked.saturating_add(block))
        }
    }

    /// So many stand in the ledger as booked.
    pub const fn reserved(&mut self, booked: u64) {
        if booked > self.booked {
            self.block += booked - self.booked;
            self.booked = booked;
        }
    }

    /// A write is about to be made.
    ///
    /// # Panics
    /// If no block is reserved: the write would not be counted after a crash.
    pub fn spend(&mut self, now_ms: u64) {
        assert!(self.used < self.block, "a block is reserved before a write");
        if self.is_another_day(now_ms) {
            self.day_began_ms = now_ms;
            self.today = 0;
        }
        self.used += 1;
        self.today += 1;
    }

    const fn is_another_day(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.day_began_ms) >= DAY_MS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However often the agent crashes, the account never says less than was written.
        #[test]
        fn no_write_is_forgotten(steps in proptest::collection::vec(0u8..10, 0..500), lifetime in 0u64..200_000) {
            let budget = WriteBudget { per_day: 100, lifetime };
            let (mut ledger, mut written) = (0u64, 0u64);
            let mut account = Budget::from_ledger(ledger);
            for (now, step) in steps.into_iter().enumerate() {
                if step == 0 {
                    account = Budget::from_ledger(ledger);
                } else {
                    // What is reserved ahead stands in the ledger at once, and is known of later or never.
                    if let Some(booked) = account.to_reserve_ahead(&budget) {
                        ledger = ledger.max(booked);
                        if step == 1 {
                            account.reserved(booked);
                        }
                    }
                    if let Some(booked) = account.to_reserve(&budget) {
                        ledger = ledger.max(booked);
                        account.reserved(booked);
                    }
                    account.spend(now as u64);
                    written += 1;
                }
                prop_assert!(account.writes() >= written);
                prop_assert!(ledger >= written);
                prop_assert!(account.booked <= ledger);
            }
        }
    }

    #[test]
    fn a_block_is_a_small_share_of_what_may_be_written() {
        let lasts = |lifetime| WriteBudget {
            lifetime,
            ..WriteBudget::DEFAULT
        };
        for (lifetime, block) in [(10, 16), (50_000, 16), (1_000_000, 320), (u64::MAX, 1_024)] {
            let mut account = Budget::from_ledger(5);
            assert_eq!(account.to_reserve(&lasts(lifetime)), Some(5 + block));
            account.reserved(5 + block);
            for _ in 0..block / 2 - 1 {
                account.spend(0);
            }
            assert_eq!(account.to_reserve_ahead(&lasts(lifetime)), None);
            account.spend(0);
            let ahead = account.to_reserve_ahead(&lasts(lifetime));
            assert_eq!(ahead, (block > 16).then_some(5 + 2 * block));
            assert_eq!(account.writes(), 5 + block / 2);
            account.reserved(5 + 2 * block);
            assert_eq!(account.writes(), 5 + block / 2);
        }
    }

    #[test]
    fn a_days_number_comes_back_and_a_lifes_does_not() {
        let budget = WriteBudget {
            per_day: 2,
            lifetime: 5,
        };
        let mut account = Budget::from_ledger(0);
        account.reserved(16);
        for _ in 0..2 {
            assert!(account.view(&budget, 0).allows(false));
            account.spend(0);
        }
        assert!(!account.view(&budget, DAY_MS - 1).allows(false));
        assert!(
            account.view(&budget, DAY_MS - 1).allows(true),
            "the safe value is always reached"
        );
        for _ in 0..2 {
            assert!(account.view(&budget, DAY_MS).allows(false));
            account.spend(DAY_MS);
        }
        let left = account.view(&budget, 3 * DAY_MS);
        assert!(!left.allows(false), "the last one is kept");
        assert!(left.allows(true));
        account.spend(3 * DAY_MS);
        assert!(!account.view(&budget, 9 * DAY_MS).allows(true));
    }
}
