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
    /// Most writes in a block: a crash costs at most so many, and the disk is written to once for so many.
    pub const BLOCK: u32 = 16;

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
            .min(Self::BLOCK)
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
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    /// What happens to an account.
    #[derive(Debug, Clone)]
    enum Step {
        /// The loop wants to write; killed after so many of: booked, spent.
        Write {
            killed_after: Option<u8>,
        },
        /// Time passes, and what remains of the day is noted.
        Pass {
            ms: u64,
            is_noted: bool,
        },
        Crash,
        /// The instrument is replaced, by this order; the document with it is durable.
        Replace(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => proptest::option::weighted(0.2, 0u8..3).prop_map(|killed_after| Step::Write { killed_after }),
            3 => (0..DAY_MS / 3, any::<bool>()).prop_map(|(ms, is_noted)| Step::Pass { ms, is_noted }),
            1 => Just(Step::Crash),
            1 => (0u8..4).prop_map(Step::Replace),
        ]
    }

    struct World {
        budget: WriteBudget,
        account: Budget,
        ledger: Account,
        noted: Option<DayLeft>,
        /// The reset that the durable document asks for.
        wanted: Option<ResetId>,
        /// Of the agent's clock, which begins anew; and in all that it ran.
        now: u64,
        ran: u64,
        written: u64,
        ever: u64,
        replaced: Vec<ResetId>,
    }

    impl World {
        fn crash(&mut self) {
            self.now = 0;
            self.account = Budget::from_ledger(self.ledger.clone(), self.noted, 0);
            self.take_wish();
        }

        /// A reset is written down at once.
        fn take_wish(&mut self) {
            if self.wanted.is_some_and(|id| self.account.reset(id)) {
                self.ledger = self.ledger.clone().joined(self.account.account());
            }
        }

        fn write(&mut self, killed_after: Option<u8>) {
            if !self.account.view(&self.budget, self.now).allows(false) {
                return;
            }
            if killed_after == Some(0) {
                return self.crash();
            }
            if let Some(booking) = self.account.to_book(&self.budget, self.now) {
                self.ledger = self.ledger.clone().joined(&booking);
                if killed_after == Some(1) {
                    return self.crash();
                }
                self.account.booked(&booking, self.now);
            }
            self.account.spend(self.now);
            self.written += 1;
            self.ever += 1;
            if killed_after.is_some() {
                self.crash();
            }
        }
    }

    proptest! {
        /// However often the agent is killed, and wherever: the account never says less than was written, no day has more
        /// writes than it may, and no restart begins a day anew.
        #[test]
        fn no_write_is_forgotten(
            per_day in 1u32..60,
            lifetime in 1u64..200,
            steps in proptest::collection::vec(step(), 0..400),
        ) {
            let mut world = World {
                budget: WriteBudget { per_day, lifetime },
                account: Budget::default(),
                ledger: Account::default(),
                noted: None,
                wanted: None,
                now: 0,
                ran: 0,
                written: 0,
                ever: 0,
                replaced: Vec::new(),
            };
            for step in steps {
                match step {
                    Step::Write { killed_after } => world.write(killed_after),
                    Step::Pass { ms, is_noted } => {
                        world.now += ms;
                        world.ran += ms;
                        if is_noted {
                            world.noted = world.account.day_left(world.now);
                        }
                    }
                    Step::Crash => world.crash(),
                    Step::Replace(number) => {
                        let id = ResetId(Uuid::from_u128(number.into()));
                        world.wanted = Some(id);
                        if !world.replaced.contains(&id) {
                            world.replaced.push(id);
                            world.written = 0;
                        }
                        world.take_wish();
                    }
                }
                prop_assert!(world.account.writes() >= world.written);
                prop_assert!(world.written <= lifetime - world.budget.reserve().min(lifetime));
                let days = world.ran / DAY_MS + 1 + world.replaced.len() as u64;
                prop_assert!(world.ever <= days * u64::from(per_day), "{} in {days} days", world.ever);
                // What is kept for the safe value outlasts every crash.
                let left = world.account.view(&world.budget, world.now);
                prop_assert!(lifetime < world.budget.reserve() || left.lifetime >= left.reserve);
            }
        }

        /// Bookings that overtake one another on the way to the disk.
        #[test]
        fn what_is_booked_counts_in_whichever_order(
            parts in proptest::collection::vec((0u64..3, 0u64..3, 0u64..50, 0u32..20, 0u64..DAY_MS), 2..6),
            turn in any::<prop::sample::Index>(),
        ) {
            let accounts: Vec<Account> = parts
                .into_iter()
                .map(|(instrument, day, writes, today, day_left_ms)| Account {
                    writes, day, today, day_left_ms, instrument, resets: Vec::new(),
                })
                .collect();
            let join = |accounts: &[Account]| {
                let none = Account { day_left_ms: DAY_MS, ..Account::default() };
                accounts.iter().fold(none, |sum, one| sum.joined(one))
            };
            let mut turned = accounts.clone();
            turned.rotate_left(turn.index(accounts.len()));
            prop_assert_eq!(join(&accounts), join(&turned));
            turned.extend(accounts.clone());
            prop_assert_eq!(join(&accounts), join(&turned), "twice is once");
        }
    }

    fn write(account: &mut Budget, budget: &WriteBudget, now_ms: u64) {
        if let Some(booking) = account.to_book(budget, now_ms) {
            account.booked(&booking, now_ms);
        }
        account.spend(now_ms);
    }

    #[test]
    fn a_days_number_comes_back_and_a_lifes_does_not() {
        let budget = WriteBudget {
            per_day: 2,
            lifetime: 5,
        };
        let mut account = Budget::default();
        for _ in 0..2 {
            assert!(account.view(&budget, 0).allows(false));
            write(&mut account, &budget, 0);
        }
        assert!(!account.view(&budget, DAY_MS - 1).allows(false));
        assert!(
            account.view(&budget, DAY_MS - 1).allows(true),
            "the safe value is always reached"
        );
        for _ in 0..2 {
            assert!(account.view(&budget, DAY_MS).allows(false));
            write(&mut account, &budget, DAY_MS);
        }
        let left = account.view(&budget, 3 * DAY_MS);
        assert!(!left.allows(false), "the last one is kept");
        assert!(left.allows(true));
        write(&mut account, &budget, 3 * DAY_MS);
        assert!(!account.view(&budget, 9 * DAY_MS).allows(true));
    }

    #[test]
    fn a_day_goes_on_where_it_was_noted_last() {
        let budget = WriteBudget {
            per_day: 1,
            lifetime: 50_000,
        };
        let mut account = Budget::default();
        let booking = account.to_book(&budget, 5).expect("nothing is booked");
        account.booked(&booking, 5);
        account.spend(5);
        // Twenty hours later what remains is noted; the agent is killed an hour after, and is off for a week.
        let noted = account.day_left(72_000_000 + 5);
        assert_eq!(
            noted,
            Some(DayLeft {
                day: 1,
                ms: 14_400_000
            })
        );
        let again = Budget::from_ledger(booking.clone(), noted, 0);
        assert!(!again.view(&budget, 14_399_999).allows(false));
        assert!(again.view(&budget, 14_400_000).allows(false));
        // Without a note it goes on where it was booked.
        let again = Budget::from_ledger(booking, None, 0);
        assert!(!again.view(&budget, DAY_MS - 1).allows(false));
        assert!(again.view(&budget, DAY_MS).allows(false));
    }

    #[test]
    fn a_reset_acts_once() {
        let budget = WriteBudget {
            per_day: 1,
            lifetime: 10,
        };
        let (first, second) = (ResetId(Uuid::from_u128(1)), ResetId(Uuid::from_u128(2)));
        let mut account = Budget::default();
        write(&mut account, &budget, 0);
        assert!(!account.view(&budget, 1).allows(false));
        assert!(account.reset(first));
        assert!(account.view(&budget, 1).allows(false));
        assert_eq!(account.writes(), 0);
        assert!(account.to_book(&budget, 1).is_some(), "it is booked anew");
        write(&mut account, &budget, 1);
        assert!(!account.reset(first), "the same again");
        assert_eq!(account.writes(), 1);
        assert!(account.reset(second));
        assert!(!account.reset(first), "one from before, of a restored hub");
        // What was booked for the old instrument comes late.
        let late = Account {
            writes: 9,
            day: 1,
            today: 9,
            ..Account::default()
        };
        account.booked(&late, 2);
        assert!(!account.is_booked(2));
        assert_eq!(account.writes(), 0);
        for number in 10..100 {
            assert!(account.reset(ResetId(Uuid::from_u128(number))));
        }
        assert_eq!(account.account().resets.len(), Account::RESETS);
    }
}
