//! How often a point may be written. Field devices keep settings in EEPROM that is good for some 100,000 writes: a loop
//! that fights for a value would destroy the instrument long before anybody notices.
//!
//! An [`Account`] is what the ledger says, a [`Budget`] the same in an agent that runs. A day is 24 hours of a running agent,
//! from its first write: no clock can be trusted that ran while it was off. After a restart the day goes on where it was noted
//! last ([`DayLeft`]); it never begins anew by that.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ids::ResetId;

/// A day in ms.
const DAY_MS: u64 = 86_400_000;

/// What remains of a day is noted in steps of so many ms, rounded up: a restart sets it back by so much at most, and a disk is
/// written to no more often.
const DAY_STEP_MS: u64 = 900_000;

/// How often a point may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WriteBudget {
    /// In a day: 24 hours of a running agent, from the first write on.
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

/// What the ledger says of one point's writes: never less than was made. Writes are booked in blocks ahead; after a crash the
/// rest of a block counts as made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Account {
    /// Writes that count as made to the instrument that is there.
    pub writes: u64,
    /// The number of the day, from 1; 0 before the first write.
    pub day: u64,
    /// Writes that count as made in that day.
    pub today: u32,
    /// What remained of the day when this was booked, in ms.
    pub day_left_ms: u64,
    /// How often the account was begun anew, because the instrument was replaced.
    pub instrument: u64,
    /// The resets by which that was, the newest last: none is carried out twice. Bounded, the oldest are forgotten.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resets: Vec<ResetId>,
}

impl Account {
    /// Resets that are remembered: as many instruments as one place sees in decades.
    const RESETS: usize = 8;

    /// Of two accounts of a point what counts, in whichever order they reach the disk.
    #[must_use]
    pub fn joined(self, other: &Self) -> Self {
        if self.instrument != other.instrument {
            return if self.instrument > other.instrument {
                self
            } else {
                other.clone()
            };
        }
        let writes = self.writes.max(other.writes);
        if self.day != other.day {
            let later = if self.day > other.day {
                self
            } else {
                other.clone()
            };
            return Self { writes, ..later };
        }
        Self {
            writes,
            today: self.today.max(other.today),
            day_left_ms: self.day_left_ms.min(other.day_left_ms),
            ..self
        }
    }
}

/// What remains of an account's day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DayLeft {
    /// The number of the day.
    pub day: u64,
    /// What remains of it, in ms.
    pub ms: u64,
}

/// The account of one point's writes, in an agent that runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Budget {
    /// What the ledger says.
    kept: Account,
    /// Writes that were made, as far as known.
    writes: u64,
    /// The day, and writes in it.
    day: u64,
    today: u32,
    /// When the day is over, in ms of the loop's clock.
    day_ends_ms: u64,
}

impl Budget {
    /// Most writes in a block, where little may be written: a crash costs at most so many, and the disk is written to once for so many.
    pub const BLOCK: u32 = 16;

    /// Where much may be written in the instrument's life, a block is this share of that...
    const SHARE: u64 = 3_125;

    /// ...and no larger than this: so many are made in some ten milliseconds at best, and in longer than a disk needs.
    const LARGEST: u32 = 1_024;

    /// Most writes in a block of a point with this budget.
    fn most(budget: &WriteBudget) -> u32 {
        let share = u32::try_from(budget.lifetime / Self::SHARE).unwrap_or(u32::MAX);
        share.clamp(Self::BLOCK, Self::LARGEST)
    }

    /// The account as it stands in the ledger at `now_ms`, and what of its day was noted last.
    #[must_use]
    pub fn from_ledger(kept: Account, noted: Option<DayLeft>, now_ms: u64) -> Self {
        let noted = noted.filter(|noted| noted.day == kept.day);
        let left = noted.map_or(kept.day_left_ms, |noted| noted.ms.min(kept.day_left_ms));
        Self {
            writes: kept.writes,
            day: kept.day,
            today: kept.today,
            day_ends_ms: now_ms.saturating_add(left),
            kept,
        }
    }

    /// Writes that were made, as far as known.
    #[must_use]
    pub const fn writes(&self) -> u64 {
        self.writes
    }

    /// What is left at `now_ms`.
    #[must_use]
    pub const fn view(&self, budget: &WriteBudget, now_ms: u64) -> BudgetView {
        let today = if self.is_day_over(now_ms) {
            0
        } else {
            self.today
        };
        BudgetView {
            today: budget.per_day.saturating_sub(today),
            lifetime: budget.lifetime.saturating_sub(self.writes),
            reserve: budget.reserve(),
        }
    }

    /// Must a block be booked, durably, before the next write? Gives what the ledger must say then. A block is a tenth of a
    /// day's writes at most, and takes nothing of what is kept for the safe value: else a crash could.
    #[must_use]
    pub fn to_book(&self, budget: &WriteBudget, now_ms: u64) -> Option<Account> {
        if self.is_booked(now_ms) {
            return None;
        }
        let BudgetView {
            today: left_today,
            lifetime,
            reserve,
        } = self.view(budget, now_ms);
        let free = u32::try_from(lifetime.saturating_sub(reserve)).unwrap_or(u32::MAX);
        let block = (budget.per_day / 10)
            .min(Self::most(budget))
            .min(left_today)
            .min(free)
            .max(1);
        let (day, today, day_left_ms) = if self.is_day_over(now_ms) {
            (self.day + 1, 0, DAY_MS)
        } else {
            (self.day, self.today, self.day_ends_ms - now_ms)
        };
        Some(Account {
            writes: self.kept.writes.max(self.writes + u64::from(block)),
            day,
            today: today.saturating_add(block),
            day_left_ms,
            instrument: self.kept.instrument,
            resets: self.kept.resets.clone(),
        })
    }

    /// Is the next block to be booked by now, while writes go on? Only where blocks are large: there writes may follow each
    /// other faster than a disk answers. Gives what the ledger must say then.
    #[must_use]
    pub fn to_book_ahead(&self, budget: &WriteBudget, now_ms: u64) -> Option<Account> {
        let block = (budget.per_day / 10).min(Self::most(budget));
        let is_large = block > Self::BLOCK;
        if !is_large || !self.is_booked(now_ms) || self.kept.today - self.today > block / 2 {
            return None;
        }
        let account = Account {
            writes: self.kept.writes.checked_add(u64::from(block))?,
            day: self.day,
            today: self.kept.today.checked_add(block)?,
            day_left_ms: self.day_ends_ms.saturating_sub(now_ms),
            instrument: self.kept.instrument,
            resets: self.kept.resets.clone(),
        };
        let most = budget.lifetime.saturating_sub(budget.reserve());
        let is_allowed = account.today <= budget.per_day && account.writes <= most;
        is_allowed.then_some(account)
    }

    /// This stands in the ledger.
    pub fn booked(&mut self, account: &Account, now_ms: u64) {
        self.kept = core::mem::take(&mut self.kept).joined(account);
        if self.kept.day > self.day {
            self.day = self.kept.day;
            self.today = 0;
            self.day_ends_ms = now_ms.saturating_add(self.kept.day_left_ms);
        }
    }

    /// Is the next write booked?
    #[must_use]
    pub const fn is_booked(&self, now_ms: u64) -> bool {
        let is_of_today = self.kept.day == self.day && self.today < self.kept.today;
        !self.is_day_over(now_ms) && is_of_today && self.writes < self.kept.writes
    }

    /// A write is about to be made.
    ///
    /// # Panics
    /// If it is not booked: it would not be counted after a crash.
    pub fn spend(&mut self, now_ms: u64) {
        assert!(
            self.is_booked(now_ms),
            "a write is booked before it is made"
        );
        self.writes += 1;
        self.today += 1;
    }

    /// The instrument was replaced: nothing was written to the new one. Is that news? A reset that was carried out before is
    /// none. What is booked of the old one does not count any more, so that the next write books the new account.
    pub fn reset(&mut self, id: ResetId) -> bool {
        let is_news = !self.kept.resets.contains(&id);
        if is_news {
            let kept = &mut self.kept;
            kept.resets.push(id);
            let excess = kept.resets.len().saturating_sub(Account::RESETS);
            kept.resets.drain(..excess);
            kept.instrument += 1;
            (kept.writes, kept.today, self.writes, self.today) = (0, 0, 0, 0);
        }
        is_news
    }

    /// What the ledger shall say of a reset.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.kept
    }

    /// What remains of the day at `now_ms`, in steps: as it is noted. `None`: there was no write yet.
    #[must_use]
    pub fn day_left(&self, now_ms: u64) -> Option<DayLeft> {
        let left = self.day_ends_ms.saturating_sub(now_ms);
        let ms = left.div_ceil(DAY_STEP_MS) * DAY_STEP_MS;
        (self.day > 0).then_some(DayLeft { day: self.day, ms })
    }

    const fn is_day_over(&self, now_ms: u64) -> bool {
        now_ms >= self.day_ends_ms
    }
}

#[cfg(test)]
mod tests;
