//! What the hub is told, and when.
//!
//! State, not messages: what changed since the last acknowledged report is marked, and a report says how the marked
//! things are when it is made. So unsent reports merge by themselves. The marks of a report that was not acknowledged
//! come back, since nobody knows whether the hub took it.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_domain::{
    CommandId, Health, Incarnation, Item, Outcome, PointId, Report, ReportOrder, ResetId, SensorId,
    document::{
        report::{REFUSED_VERSION, running_fingerprint},
        setpoint::AccountReport,
    },
    values::ReportedValues,
};
use holdfast_ports::hub_link::{HubError, ReportAnswer};
use serde_json::{Map, json};

use super::{
    Effect, Machine, Now,
    slot::{Changed, Slot},
    target::share,
    unkept::Unkept,
};

/// How long a report waits for the note that a version was worked through, in ms: one write to the disk. So "all of it
/// runs" and "it was worked through" go together.
const WAIT_FOR_NOTE_MS: u64 = 1_000;

/// How long what somebody acts on waits for the end of a wish that is being carried out, in ms: most instruments are written
/// and read back in less, and then one report says both.
const WAIT_FOR_WISH_MS: u64 = 50;

/// The conversation about what is true.
#[derive(Debug)]
pub(super) struct Reporting {
    /// The order of the last report made.
    order: ReportOrder,
    boot_at: u64,
    /// What the next report must say.
    pending: Pending,
    /// What the report under way says.
    in_flight: Option<Pending>,
    /// Was anything said of outputs since the agent started? Then that it is over is said too.
    spoke_of_values: bool,
    last_made_at: Option<u64>,
    heartbeat_at: u64,
    /// From when on the next report is full.
    full_from: u64,
    failures: u32,
    not_before: u64,
    late_in_a_row: u32,
    /// Does the hub know this boot, or was that tried often enough?
    introduced: bool,
    rebirth: Rebirth,
}

/// The way to a new incarnation.
#[derive(Debug, Default)]
struct Rebirth {
    wanted: bool,
    asking: bool,
    not_before: u64,
    failures: u32,
}

/// What changed since the last acknowledged report.
#[derive(Debug, Default)]
struct Pending {
    /// Say everything.
    full: bool,
    /// Versions and revisions.
    header: bool,
    /// What runs and what failed.
    outcome: bool,
    /// Whose health.
    health: BTreeSet<SensorId>,
    /// Which outputs.
    outputs: BTreeSet<PointId>,
    /// On which commands there is a word.
    commands: BTreeSet<CommandId>,
    /// Is there something in it that somebody acts on?
    prompt: bool,
    /// Is there the end of a wish or of a command in it, which somebody waits for? There are no more of those than wishes.
    awaited: bool,
}

impl Pending {
    fn everything() -> Self {
        Self {
            full: true,
            prompt: true,
            ..Self::default()
        }
    }

    fn is_empty(&self) -> bool {
        let Self {
            full,
            header,
            outcome,
            health,
            outputs,
            commands,
            prompt: _,
            awaited: _,
        } = self;
        let says_nothing_of = health.is_empty() && outputs.is_empty() && commands.is_empty();
        !full && !header && !outcome && says_nothing_of
    }

    fn add(&mut self, other: Self) {
        let Self {
            full,
            header,
            outcome,
            mut health,
            mut outputs,
            mut commands,
            prompt,
            awaited,
        } = other;
        self.full |= full;
        self.header |= header;
        self.outcome |= outcome;
        self.health.append(&mut health);
        self.outputs.append(&mut outputs);
        self.commands.append(&mut commands);
        self.prompt |= prompt;
        self.awaited |= awaited;
    }
}

impl Reporting {
    pub(super) fn at_boot(incarnation: Incarnation, boot: u64, now_ms: u64) -> Self {
        Self {
            order: ReportOrder {
                incarnation,
                boot,
                sequence: 0,
            },
            boot_at: now_ms,
            pending: Pending::everything(),
            in_flight: None,
            spoke_of_values: false,
            last_made_at: None,
            heartbeat_at: now_ms,
            full_from: now_ms,
            failures: 0,
            not_before: 0,
            late_in_a_row: 0,
            introduced: false,
            rebirth: Rebirth::default(),
        }
    }

    pub(super) const fn order(&self) -> ReportOrder {
        self.order
    }

    pub(super) const fn is_introduced(&self) -> bool {
        self.introduced
    }

    pub(super) fn outcome_changed(&mut self, changed: Changed) {
        self.pending.outcome |= changed != Changed::No;
        self.pending.prompt |= changed == Changed::Yes;
    }

    pub(super) fn health_changed(&mut self, id: SensorId, changed: Changed) {
        if changed != Changed::No {
            self.pending.health.insert(id);
        }
        self.pending.prompt |= changed == Changed::Yes;
    }

    pub(super) fn output_changed(&mut self, point: PointId, prompt: bool) {
        self.pending.outputs.insert(point);
        self.pending.prompt |= prompt;
    }

    pub(super) fn output_changed_as(&mut self, point: PointId, changed: Changed) {
        if changed != Changed::No {
            self.output_changed(point, changed == Changed::Yes);
        }
    }

    /// There is a word on a command, and it is durable: somebody waits for it.
    pub(super) fn command_ended(&mut self, command: CommandId) {
        self.pending.commands.insert(command);
        self.pending.prompt = true;
        self.pending.awaited = true;
    }

    /// A wish was carried out, or it is clear why it was not: somebody waits for that.
    pub(super) fn wish_ended(&mut self, point: PointId) {
        self.output_changed(point, true);
        self.pending.awaited = true;
    }

    /// Is there a word on a command that the hub was not told, and could be?
    pub(super) fn owes_a_word(&self) -> bool {
        let of = |pending: &Pending| !pending.commands.is_empty();
        let owes = of(&self.pending) || self.in_flight.as_ref().is_some_and(of);
        owes && self.failures == 0
    }

    pub(super) const fn header_changed(&mut self) {
        self.pending.header = true;
        self.pending.prompt = true;
    }

    /// Something changed that nobody acts on at once.
    pub(super) const fn header_detail(&mut self) {
        self.pending.header = true;
    }

    pub(super) fn want_full(&mut self) {
        self.pending.add(Pending::everything());
    }

    /// Tries again at `at` if it would only try later.
    pub(super) fn hurry(&mut self, at: u64) {
        self.not_before = self.not_before.min(at);
    }

    /// Does not try before `at`, neither a report nor a new incarnation.
    pub(super) fn wait_until(&mut self, at: u64) {
        self.not_before = self.not_before.max(at);
        self.rebirth.not_before = self.rebirth.not_before.max(at);
    }

    /// The report under way was not taken, or nobody knows: all that it said is to be said again.
    fn take_back(&mut self) -> bool {
        let sent = self.in_flight.take().unwrap_or_default();
        let was_full = sent.full;
        self.pending.add(sent);
        was_full
    }
}

impl Machine {
    /// Is nothing said to a hub that does not want to hear of this device? It is asked by polls alone then; but before
    /// there are polls, a boot's first report is what asks.
    fn is_silenced(&self) -> bool {
        self.hub.refuses() && self.reporting.introduced
    }

    /// When the next report is due.
    pub(super) fn next_report_at(&self) -> Option<u64> {
        let Reporting {
            pending,
            in_flight,
            last_made_at,
            heartbeat_at,
            not_before,
            rebirth,
            boot_at,
            ..
        } = &self.reporting;
        if in_flight.is_some() || rebirth.wanted || self.is_silenced() {
            return None;
        }
        let after = |pause: u64| last_made_at.map_or(0, |at| at + pause);
        let due = match last_made_at {
            None if self.target.is_worked_through() => *boot_at,
            None => boot_at + self.settings.boot_report_ms,
            Some(at) if pending.awaited => *at,
            Some(_) if pending.prompt => {
                let noted = self
                    .target
                    .noting_since()
                    .map_or(0, |since| since + WAIT_FOR_NOTE_MS);
                let wish = self
                    .holding
                    .wishes_in_hand_since()
                    .map_or(0, |since| since + WAIT_FOR_WISH_MS);
                after(self.settings.report_merge_ms).max(noted).max(wish)
            }
            Some(_) if !pending.is_empty() => {
                after(self.settings.report_lazy_ms).min(*heartbeat_at)
            }
            Some(_) => *heartbeat_at,
        };
        Some(due.max(*not_before))
    }

    pub(super) fn report(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.incarnation_at().is_some_and(|at| at <= now.ms) {
            self.reporting.rebirth.asking = true;
            effects.push(Effect::Reincarnate);
        }
        if self.next_report_at().is_some_and(|at| at <= now.ms) {
            let mut pending = std::mem::take(&mut self.reporting.pending);
            pending.full |= self.reporting.full_from <= now.ms;
            self.reporting.order.sequence += 1;
            self.reporting.last_made_at = Some(now.ms);
            let report = self.make_report(&pending, now);
            self.reporting.spoke_of_values |= report.values.is_some();
            effects.push(Effect::Report(Box::new(report)));
            self.reporting.in_flight = Some(pending);
        }
    }

    fn make_report(&self, pending: &Pending, now: Now) -> Report {
        let health: BTreeMap<SensorId, Health> = self
            .slots
            .iter()
            .filter(|(id, _)| pending.full || pending.health.contains(id))
            .filter_map(|(id, slot)| Some((*id, slot.health()?.clone())))
            .collect();
        let mut extra = Map::new();
        if let Some(version) = self.target.refused_version() {
            extra.insert(REFUSED_VERSION.to_string(), json!(version));
        }
        Report {
            order: self.reporting.order,
            held_version: self.target.held_version(),
            running_fingerprint: running_fingerprint(self.running()),
            looked_revision: self.target.looked_revision(),
            outcome: (pending.full || pending.outcome).then(|| self.outcome()),
            health: (pending.full || !health.is_empty()).then_some(health),
            values: self.values(pending, now),
            agent_version: pending.full.then(|| self.settings.agent_version.clone()),
            extra,
        }
    }

    /// What is said of outputs, if anything is: with every word on one of them, and with every change of what is held.
    fn values(&self, pending: &Pending, now: Now) -> Option<ReportedValues> {
        let Pending {
            full,
            header,
            outputs,
            commands,
            ..
        } = pending;
        let says = *full || *header || !outputs.is_empty() || !commands.is_empty();
        let unkept = self.polling.unkept().map(Unkept::error);
        let is_used = self.holding.is_used()
            || self.commands.is_used()
            || unkept.is_some()
            || self.reporting.spoke_of_values;
        (says && is_used).then(|| {
            let which = (!full).then_some(outputs);
            let mut values = ReportedValues {
                held_commands: self.commands.revision(),
                commands: self.commands.words((!full).then_some(commands)),
                accounts: self.accounts(which, now),
                resets: self.resets_done(*full || *header),
                ..self.holding.report(which, now)
            };
            if let Some(hold) = &mut values.hold {
                hold.not_kept = unkept.map(str::to_owned);
            }
            values
        })
    }

    /// What the accounts say of points that are no outputs: of these, or of all that were ever written.
    fn accounts(
        &self,
        which: Option<&BTreeSet<PointId>>,
        now: Now,
    ) -> BTreeMap<PointId, AccountReport> {
        let is_said =
            |point: &PointId, writes: u64| which.map_or(writes > 0, |which| which.contains(point));
        let accounts = self.holding.other_accounts();
        accounts
            .filter(|(point, budget)| is_said(point, budget.writes()))
            .filter_map(|(point, budget)| {
                let (_, rules) = self.place(*point)?;
                let report = AccountReport {
                    writes: budget.writes(),
                    budget_left: budget.view(&rules.budget, now.ms).lifetime,
                };
                Some((*point, report))
            })
            .collect()
    }

    /// The resets of write budgets that are carried out. They come with what is held.
    fn resets_done(&self, is_said: bool) -> BTreeMap<PointId, ResetId> {
        let target = self.target.held().filter(|_| is_said);
        target.map_or_else(BTreeMap::new, |target| self.holding.resets_done(&target))
    }

    fn running(&self) -> impl Iterator<Item = &Item> {
        self.slots.values().filter_map(Slot::running)
    }

    fn outcome(&self) -> Outcome {
        let mut failures = self
            .slots
            .iter()
            .filter_map(|(id, slot)| Some((*id, slot.failure_report(*id)?)))
            .collect();
        if let Some(unkept) = self.polling.unkept() {
            let running = self.running();
            let running = running.map(|item| (item.sensor.id(), item.sensor.fingerprint()));
            unkept.add_to(&mut failures, &running.collect());
        }
        Outcome {
            version: self.target.worked_version(),
            running: self.running().cloned().collect(),
            failures: failures.into_values().collect(),
        }
    }

    pub(super) fn on_reported(
        &mut self,
        result: Result<ReportAnswer, HubError>,
        now: Now,
        random: u32,
    ) {
        match result {
            Ok(answer) => {
                self.hub_answered(now);
                self.on_report_answer(answer, now, random);
            }
            Err(error) => {
                self.reporting.take_back();
                self.report_later(now, random);
                self.hub_failed(&error, now);
            }
        }
    }

    fn on_report_answer(&mut self, answer: ReportAnswer, now: Now, random: u32) {
        if !matches!(answer, ReportAnswer::Late { .. }) {
            self.reporting.late_in_a_row = 0;
        }
        match answer {
            ReportAnswer::Taken => {
                let (interval, full_interval) =
                    (self.settings.heartbeat_ms, self.settings.full_report_ms);
                let reporting = &mut self.reporting;
                if reporting.in_flight.take().is_some_and(|sent| sent.full) {
                    reporting.full_from =
                        now.ms + full_interval - share(full_interval / 10, random);
                }
                reporting.failures = 0;
                reporting.not_before = 0;
                reporting.introduced = true;
                reporting.heartbeat_at = now.ms + interval - share(interval / 10, random);
            }
            ReportAnswer::Late { boot } => {
                self.reporting.take_back();
                self.reporting.late_in_a_row += 1;
                // The same boot, once: something on the way repeated the request, and this is the answer to the
                // repetition. A fresh sequence settles it. Else the hub knows a future of this disk.
                if boot > self.reporting.order.boot || self.reporting.late_in_a_row > 1 {
                    self.reporting.rebirth.wanted = true;
                }
            }
            ReportAnswer::FullWanted => {
                if self.reporting.take_back() {
                    self.report_later(now, random);
                }
                self.reporting.want_full();
            }
            ReportAnswer::OtherIncarnation => {
                self.reporting.take_back();
                self.reporting.rebirth.wanted = true;
            }
        }
    }

    fn report_later(&mut self, now: Now, random: u32) {
        let reporting = &mut self.reporting;
        reporting.failures = reporting.failures.saturating_add(1);
        reporting.not_before = now.ms
            + self
                .settings
                .hub_backoff
                .delay_ms(reporting.failures, random)
                .max(1);
        reporting.introduced |= reporting.failures >= self.settings.boot_report_attempts;
    }

    /// When a new incarnation is asked for, if one is needed.
    pub(super) fn incarnation_at(&self) -> Option<u64> {
        let Rebirth {
            wanted,
            asking,
            not_before,
            failures: _,
        } = self.reporting.rebirth;
        (wanted && !asking && !self.is_silenced()).then_some(not_before)
    }

    pub(super) fn on_reincarnated(
        &mut self,
        result: Result<(Incarnation, u64), HubError>,
        now: Now,
        random: u32,
    ) {
        let rebirth = &mut self.reporting.rebirth;
        rebirth.asking = false;
        match result {
            Ok((incarnation, boot)) => {
                let not_before = now.ms + self.settings.incarnation_pause_ms;
                *rebirth = Rebirth {
                    not_before,
                    ..Rebirth::default()
                };
                self.reporting.order = ReportOrder {
                    incarnation,
                    boot,
                    sequence: 0,
                };
                self.reporting.late_in_a_row = 0;
                self.reporting.want_full();
                self.commands.doubt();
                self.hub_answered(now);
            }
            Err(error) => {
                rebirth.failures = rebirth.failures.saturating_add(1);
                rebirth.not_before = now.ms
                    + self
                        .settings
                        .hub_backoff
                        .delay_ms(rebirth.failures, random)
                        .max(1);
                self.reporting.introduced |=
                    self.reporting.rebirth.failures >= self.settings.boot_report_attempts;
                self.hub_failed(&error, now);
            }
        }
    }
}
