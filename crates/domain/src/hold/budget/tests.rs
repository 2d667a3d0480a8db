//! What an account never forgets, through crashes and days.

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
        // What is booked ahead stands in the ledger, and is known of later, or never.
        if let Some(booking) = self.account.to_book_ahead(&self.budget, self.now) {
            self.ledger = self.ledger.clone().joined(&booking);
            if self.ever.is_multiple_of(2) {
                self.account.booked(&booking, self.now);
            }
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
        per_day in prop_oneof![1u32..60, 100u32..5_000],
        lifetime in prop_oneof![1u64..200, 60_000u64..400_000],
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
fn where_much_may_be_written_blocks_are_large_and_booked_ahead() {
    let lasts = |lifetime| WriteBudget {
        per_day: 1_000_000,
        lifetime,
    };
    for (lifetime, block) in [(50_000, 16), (1_000_000, 320), (u64::MAX, 1_024)] {
        let budget = lasts(lifetime);
        let mut account = Budget::default();
        for _ in 0..block / 2 {
            assert_eq!(account.to_book_ahead(&budget, 0), None);
            write(&mut account, &budget, 0);
        }
        assert_eq!(account.account().writes, block);
        let ahead = account.to_book_ahead(&budget, 0);
        let writes = ahead.as_ref().map(|ahead| ahead.writes);
        assert_eq!(writes, (block > 16).then_some(2 * block));
        // While that is on its way to the disk, writes go on.
        write(&mut account, &budget, 0);
        account.booked(&ahead.unwrap_or_default(), 0);
        assert_eq!(account.writes(), block / 2 + 1);
        assert!(account.is_booked(0));
    }
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
