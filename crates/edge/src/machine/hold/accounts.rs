//! The accounts of writes: where each is kept, and how resets of them come about. What an account says is the domain's
//! ([`Budget`]). That of an output is with it, so that a pass looks at one thing; all others are here.
//!
//! A reset comes with the held target, which is durable, and is carried out at once: nothing is booked of the new account
//! then, so that no write can go before its note. It is told when that note is durable.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_domain::{
    PointId, ResetId, TargetState,
    hold::{Account, Budget, DayLeft, LoopMemory},
};

use super::{Effect, Holding, Machine, Now, point::Output};

/// The accounts of a device's points.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// Those of points that no output has.
    others: BTreeMap<PointId, Budget>,
    /// Resets that are carried out, by what the ledger says.
    reset: BTreeMap<PointId, Vec<ResetId>>,
    /// Resets that are to be noted, and those that are being noted.
    due: BTreeSet<PointId>,
    noting: BTreeSet<PointId>,
    not_before: u64,
    failures: u32,
    /// May a day be under way?
    pub(super) days_run: bool,
}

impl Accounts {
    pub(super) fn from_ledger(
        booked: BTreeMap<PointId, Account>,
        memory: &LoopMemory,
        now_ms: u64,
    ) -> Self {
        let reset = booked
            .iter()
            .filter(|(_, account)| !account.resets.is_empty())
            .map(|(point, account)| (*point, account.resets.clone()))
            .collect();
        let others = booked.into_iter().map(|(point, account)| {
            let noted = memory.days.get(&point).copied();
            (point, Budget::from_ledger(account, noted, now_ms))
        });
        Self {
            others: others.collect(),
            reset,
            days_run: true,
            ..Self::default()
        }
    }

    /// The account of a point that becomes an output.
    pub(super) fn take(&mut self, point: PointId) -> Budget {
        self.others.remove(&point).unwrap_or_default()
    }

    /// The account of a point that is no output any more.
    pub(super) fn put(&mut self, point: PointId, budget: Budget) {
        self.others.insert(point, budget);
    }

    /// When a reset is to be noted, in ms.
    pub(super) fn next_at(&self) -> Option<u64> {
        (!self.due.is_empty()).then_some(self.not_before)
    }
}

impl Holding {
    /// The account of a point's writes.
    pub(in crate::machine) fn account(&self, point: PointId) -> Option<&Budget> {
        let output = self.outputs.get(&point).map(|output| &output.budget);
        output.or_else(|| self.accounts.others.get(&point))
    }

    /// The accounts of points that are no outputs.
    pub(in crate::machine) fn other_accounts(&self) -> impl Iterator<Item = (&PointId, &Budget)> {
        self.accounts.others.iter()
    }

    /// The same, to be changed.
    pub(in crate::machine) fn account_mut(&mut self, point: PointId) -> &mut Budget {
        self.accounts.days_run = true;
        match self.outputs.budget_mut(point) {
            Some(budget) => budget,
            None => self.accounts.others.entry(point).or_default(),
        }
    }

    /// This stands in the ledger.
    pub(in crate::machine) fn note_booked(&mut self, point: PointId, booked: &Account, now: Now) {
        self.account_mut(point).booked(booked, now.ms);
        if !booked.resets.is_empty() {
            self.accounts.reset.insert(point, booked.resets.clone());
        }
    }

    /// Carries out the resets that a target asks for; each once.
    pub(super) fn take_resets(&mut self, target: &TargetState) {
        for reset in &target.setpoints.resets {
            let point = reset.point_id;
            let is_news = self.account_mut(point).reset(reset.id);
            let noted = self.accounts.reset.get(&point);
            if is_news || noted.is_none_or(|noted| !noted.contains(&reset.id)) {
                self.accounts.due.insert(point);
            }
            if is_news {
                self.outputs.change(point, Output::look_now);
            }
        }
    }

    /// The resets that this target asks for and that are carried out, durably.
    pub(in crate::machine) fn resets_done(
        &self,
        target: &TargetState,
    ) -> BTreeMap<PointId, ResetId> {
        let asked = target.setpoints.resets.iter();
        let done = asked.filter(|reset| {
            let noted = self.accounts.reset.get(&reset.point_id);
            noted.is_some_and(|noted| noted.contains(&reset.id))
        });
        done.map(|reset| (reset.point_id, reset.id)).collect()
    }

    /// What remains of the days under way, where that is less than when they were booked.
    pub(super) fn days(&self, now: Now) -> BTreeMap<PointId, DayLeft> {
        let outputs = self
            .outputs
            .iter()
            .map(|(point, output)| (*point, &output.budget));
        let others = self.accounts.others.iter();
        let all = outputs.chain(others.map(|(point, budget)| (*point, budget)));
        all.filter_map(|(point, budget)| Some((point, budget.day_left(now.ms)?)))
            .collect()
    }
}

impl Machine {
    /// Has resets noted that are due.
    pub(super) fn note_resets(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.holding.accounts.next_at().is_none_or(|at| at > now.ms) {
            return;
        }
        let due = std::mem::take(&mut self.holding.accounts.due);
        for point in due {
            if let Some(account) = self.holding.account(point) {
                let booked = account.account().clone();
                effects.push(Effect::BookWrites { point, booked });
                self.holding.accounts.noting.insert(point);
            }
        }
    }

    /// The ledger took an account, or not: is a reset of it noted, or to be noted again?
    pub(super) fn reset_noted(
        &mut self,
        point: PointId,
        result: &Result<(), String>,
        now: Now,
        random: u32,
    ) {
        let accounts = &mut self.holding.accounts;
        if !accounts.noting.remove(&point) {
            return;
        }
        match result {
            Ok(()) => {
                accounts.failures = 0;
                accounts.not_before = 0;
                self.reporting.output_changed(point, true);
                self.reporting.header_changed();
            }
            Err(_) => {
                accounts.failures = accounts.failures.saturating_add(1);
                let delay = self
                    .settings
                    .item_backoff
                    .delay_ms(accounts.failures, random);
                accounts.not_before = now.ms + delay.max(1);
                accounts.due.insert(point);
            }
        }
    }
}
