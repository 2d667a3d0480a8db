//! Which target is taken, when it counts as worked through, and when the hub is asked for another.

use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc};

use holdfast_domain::{Fingerprint, Item, SensorId, TargetState};
use holdfast_ports::hub_link::{HeldTarget, HubError, Polled};

use super::{Effect, Machine, Now, slot::Changed, unkept::Unkept};

/// What is held and how far it was worked through.
#[derive(Debug)]
pub(super) struct Target {
    held: Option<Arc<TargetState>>,
    worked: u64,
    /// Sensors of the held target with a step that was not tried yet.
    untried: BTreeSet<SensorId>,
    /// The version being noted as worked through, and since when, in ms.
    noting: Option<(u64, u64)>,
    note_failures: u32,
    note_not_before: u64,
    looked: u64,
    /// The request to look again that is being carried out.
    looking: Option<u64>,
    refused: Option<u64>,
}

impl Target {
    pub(super) fn from_ledger(held: Option<TargetState>, worked: u64) -> Self {
        // A boot starts everything anew: that is a look at everything.
        let looked = held.as_ref().map_or(0, |target| target.look_revision);
        Self {
            held: held.map(Arc::new),
            worked,
            untried: BTreeSet::new(),
            noting: None,
            note_failures: 0,
            note_not_before: 0,
            looked,
            looking: None,
            refused: None,
        }
    }

    pub(super) fn items(&self) -> &[Item] {
        self.held
            .as_ref()
            .map_or(&[], |target| target.items.as_slice())
    }

    pub(super) fn held(&self) -> Option<Arc<TargetState>> {
        self.held.clone()
    }

    pub(super) fn held_version(&self) -> u64 {
        self.held.as_ref().map_or(0, |target| target.version)
    }

    pub(super) const fn worked_version(&self) -> u64 {
        self.worked
    }

    pub(super) const fn looked_revision(&self) -> u64 {
        self.looked
    }

    pub(super) const fn refused_version(&self) -> Option<u64> {
        self.refused
    }

    pub(super) fn set_untried(&mut self, untried: impl IntoIterator<Item = SensorId>) {
        self.untried = untried.into_iter().collect();
    }

    /// Every step of this sensor that the held target asks for was tried once.
    pub(super) fn tried(&mut self, id: SensorId) {
        self.untried.remove(&id);
    }

    /// Was every step tried once, and is that noted?
    pub(super) fn is_worked_through(&self) -> bool {
        self.untried.is_empty() && self.noting.is_none()
    }

    /// Since when the version worked through is being noted, in ms.
    pub(super) fn noting_since(&self) -> Option<u64> {
        self.noting.map(|(_, since)| since)
    }

    /// When the held version is noted as worked through; `None`: it is not yet, or stands there already.
    pub(super) fn next_note_at(&self) -> Option<u64> {
        (self.is_worked_through() && self.held_version() != self.worked)
            .then_some(self.note_not_before)
    }

    pub(super) fn has_looked(&mut self) {
        if let Some(revision) = self.looking.take() {
            self.looked = revision;
        }
    }

    fn wants_look(&self) -> Option<u64> {
        let wanted = self.held.as_ref()?.look_revision;
        (self.looking.is_none() && wanted != self.looked).then_some(wanted)
    }
}

/// The conversation about targets.
#[derive(Debug, Default)]
pub(super) struct Polling {
    in_flight: bool,
    started_at: u64,
    next_at: u64,
    failures: u32,
    /// The target that is being made durable.
    holding: Option<Arc<TargetState>>,
    /// When that came, in ms.
    offered_at: u64,
    /// The target that could not be made durable.
    unkept: Option<Unkept>,
}

impl Polling {
    pub(super) const fn unkept(&self) -> Option<&Unkept> {
        self.unkept.as_ref()
    }

    /// Asks at `at` if it would only ask later.
    pub(super) fn hurry(&mut self, at: u64) {
        self.next_at = self.next_at.min(at);
    }

    /// Does not ask before `at`.
    pub(super) fn wait_until(&mut self, at: u64) {
        self.next_at = self.next_at.max(at);
    }
}

/// What to do with a target that the hub offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offer {
    /// It is the one held.
    Same,
    /// It is newer, or asks to look again.
    Take,
    /// It is older than the one held, or has its version and other content.
    Refuse,
}

fn judge(held: Option<&TargetState>, offered: &TargetState) -> Offer {
    let Some(held) = held else { return Offer::Take };
    match offered.version.cmp(&held.version) {
        std::cmp::Ordering::Greater => Offer::Take,
        std::cmp::Ordering::Less => Offer::Refuse,
        std::cmp::Ordering::Equal if contents(held) != contents(offered) => Offer::Refuse,
        std::cmp::Ordering::Equal if is_older(held, offered) => Offer::Refuse,
        std::cmp::Ordering::Equal if held.etag() != offered.etag() => Offer::Take,
        std::cmp::Ordering::Equal => Offer::Same,
    }
}

/// Does it give setpoints, settings of the value loop or commands that are older than those held? Old never overwrites new.
fn is_older(held: &TargetState, offered: &TargetState) -> bool {
    offered.setpoints.revision < held.setpoints.revision
        || offered.hold.revision < held.hold.revision
        || offered.commands.revision < held.commands.revision
}

fn contents(target: &TargetState) -> BTreeMap<SensorId, Fingerprint> {
    target
        .items
        .iter()
        .map(|item| (item.sensor.id(), item.sensor.fingerprint()))
        .collect()
}

impl Machine {
    /// When the hub is asked next. A boot's first report goes before: the hub shall know what runs before that changes.
    pub(super) fn next_poll_at(&self) -> Option<u64> {
        let busy = self.polling.in_flight
            || self.polling.holding.is_some()
            || !self.reporting.is_introduced();
        (!busy).then_some(self.polling.next_at)
    }

    pub(super) fn poll(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.next_poll_at().is_some_and(|at| at <= now.ms) {
            self.polling.in_flight = true;
            self.polling.started_at = now.ms;
            let held = self.target.held.as_deref().map(HeldTarget::of);
            effects.push(Effect::Poll {
                held,
                wait_ms: self.poll_wait_ms(),
            });
        }
        if let Some(revision) = self.target.wants_look() {
            self.target.looking = Some(revision);
            effects.push(Effect::Verify);
        }
    }

    pub(super) fn on_polled(
        &mut self,
        result: Result<Polled, HubError>,
        now: Now,
        random: u32,
        effects: &mut Vec<Effect>,
    ) {
        self.polling.in_flight = false;
        match result {
            Ok(Polled::Unchanged) => {
                self.hub_answered(now);
                self.set_refused(None);
                self.forget_unkept();
                self.poll_after_nothing_new(now, random);
            }
            Ok(Polled::Target(target)) => {
                self.hub_answered(now);
                self.offered(*target, now, random, effects);
            }
            Ok(Polled::Changes(changes)) => {
                let held = self.target.held.as_deref();
                match held.and_then(|held| changes.onto(&held.items)) {
                    Some(target) => {
                        self.hub_answered(now);
                        self.offered(target, now, random, effects);
                    }
                    None => {
                        let error =
                            "the hub's target leaves out another configuration than the one held";
                        self.poll_later(now, random);
                        self.hub_failed(&HubError::Unreachable(error.to_owned()), now);
                    }
                }
            }
            Err(HubError::Cut(_)) if self.was_held_long(now) => {
                self.polling.failures = 0;
                let delay = self.settings.hub_backoff.delay_ms(1, random);
                self.polling.next_at = now.ms + delay.max(1);
            }
            Err(error) => {
                self.poll_later(now, random);
                self.hub_failed(&error, now);
            }
        }
    }

    /// Had the hub held the poll that has just ended for a while? Only one that says what is held can be.
    fn was_held_long(&self, now: Now) -> bool {
        self.target.held.is_some() && now.ms >= self.polling.started_at + self.settings.poll_cut_ms
    }

    fn offered(&mut self, target: TargetState, now: Now, random: u32, effects: &mut Vec<Effect>) {
        match judge(self.target.held.as_deref(), &target) {
            Offer::Same => {
                self.set_refused(None);
                self.forget_unkept();
                self.poll_after_nothing_new(now, random);
            }
            Offer::Take => {
                let target = Arc::new(target);
                self.polling.holding = Some(target.clone());
                self.polling.offered_at = now.ms;
                effects.push(Effect::Hold(target));
            }
            Offer::Refuse => {
                if self.set_refused(Some(target.version)) {
                    // A hub that gives what it gave before was restored from a backup: who knows what else it lost.
                    self.reporting.want_full();
                }
                // The hub goes on above what is held once it has heard of it; until then it would answer at once.
                self.poll_later(now, random);
            }
        }
    }

    /// There is no target any more that could not be kept.
    fn forget_unkept(&mut self) {
        if self.polling.unkept.take().is_some() {
            self.reporting.outcome_changed(Changed::Yes);
            self.reporting.header_changed();
        }
    }

    /// Is that news?
    fn set_refused(&mut self, version: Option<u64>) -> bool {
        let changed = self.target.refused != version;
        if changed {
            self.target.refused = version;
            self.reporting.header_changed();
        }
        changed
    }

    fn poll_after_nothing_new(&mut self, now: Now, random: u32) {
        self.polling.failures = 0;
        let pause = self.settings.poll_pause_ms;
        let early = now.ms < self.polling.started_at + pause;
        let not_before = self.polling.started_at + pause + share(pause, random);
        self.polling.next_at = if early { not_before } else { now.ms };
    }

    fn poll_later(&mut self, now: Now, random: u32) {
        self.polling.failures = self.polling.failures.saturating_add(1);
        let delay = self
            .settings
            .hub_backoff
            .delay_ms(self.polling.failures, random);
        self.polling.next_at = now.ms + delay.max(1);
    }

    /// The target is durable, or not.
    pub(super) fn on_held(
        &mut self,
        result: &Result<(), String>,
        now: Now,
        random: u32,
        effects: &mut Vec<Effect>,
    ) {
        let Some(target) = self.polling.holding.take() else {
            return;
        };
        if let Err(error) = result {
            // The hub gives it again.
            let (unkept, changed) = Unkept::after(self.polling.unkept.take(), target, error);
            self.polling.unkept = Some(unkept);
            self.reporting.outcome_changed(changed);
            if changed == Changed::Yes {
                self.reporting.header_changed();
            }
            self.poll_later(now, random);
            return;
        }
        self.forget_unkept();
        self.polling.failures = 0;
        self.polling.next_at = now.ms;
        let first = self.target.held.is_none();
        if first || target.version != self.target.held_version() {
            self.reporting.header_changed();
        }
        if first {
            self.target.looked = target.look_revision;
        }
        self.set_refused(None);
        let before = self.target.held.take();
        let is_configured = before.is_some_and(|before| has_same_items(&before, &target));
        self.target.held = Some(aged(target, now.ms - self.polling.offered_at));
        if !is_configured {
            self.retarget();
        }
        self.take_wishes(now, false);
        self.take_commands(now, effects);
        if is_configured {
            return;
        }
        let before = self.established.len();
        self.established
            .retain(|id, _| self.wanted.contains_key(id));
        if self.established.len() < before {
            effects.push(Effect::KeepEstablished(
                self.established.keys().copied().collect(),
            ));
        }
    }

    /// Has the held target noted as worked through once every step of it was tried.
    pub(super) fn note_worked(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.target.next_note_at().is_some_and(|at| at <= now.ms) {
            let version = self.target.held_version();
            self.target.noting = Some((version, now.ms));
            effects.push(Effect::NoteWorked(version));
        }
    }

    pub(super) fn on_work_noted(
        &mut self,
        version: u64,
        result: &Result<(), String>,
        now: Now,
        random: u32,
    ) {
        let target = &mut self.target;
        target.noting = None;
        match result {
            Ok(()) => {
                target.note_failures = 0;
                target.worked = version;
                self.reporting.outcome_changed(Changed::Yes);
            }
            Err(_) => {
                target.note_failures = target.note_failures.saturating_add(1);
                let delay = self
                    .settings
                    .item_backoff
                    .delay_ms(target.note_failures, random)
                    .max(1);
                target.note_not_before = now.ms + delay;
            }
        }
    }
}

/// Are the sensors of a target those of the one held, because it came without them? Then nothing is to be done for it.
fn has_same_items(held: &TargetState, target: &TargetState) -> bool {
    let pairs = held.items.iter().zip(&target.items);
    held.items.len() == target.items.len()
        && pairs.into_iter().all(|(held, item)| {
            Arc::ptr_eq(&held.sensor, &item.sensor) && held.config_version == item.config_version
        })
}

/// A target `ms` after the hub gave it: what ends by itself does so sooner by that. The time in which it was made durable
/// counts.
fn aged(target: Arc<TargetState>, ms: u64) -> Arc<TargetState> {
    if ms == 0 || !target.has_ends() {
        return target;
    }
    let mut target = Arc::unwrap_or_clone(target);
    target.age(ms);
    Arc::new(target)
}

/// A random part of `whole`.
pub(super) fn share(whole: u64, random: u32) -> u64 {
    ((u128::from(whole) * u128::from(random)) >> 32) as u64
}
