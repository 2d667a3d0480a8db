//! Whether the hub is there, and whether it still knows this device. That it does not is kept on the disk: a restart does
//! not give back what the hub took away.

use holdfast_domain::DeviceId;
use holdfast_ports::{hub_link::HubError, ledger::TurnedAway};
use jiff::Timestamp;

use super::{Effect, Machine, Now};
use crate::status::{HubAccess, HubStatus};

/// What is known of the hub.
#[derive(Debug)]
pub(super) struct HubView {
    /// Whose agent this is: only what the hub says of this very device counts.
    device: DeviceId,
    reachable_since: Option<Timestamp>,
    /// When it was heard last, in ms; how long it had been silent when the agent started, until it is heard.
    heard_at: u64,
    silent_before: u64,
    trouble: Option<String>,
    /// Did it say last that it does not know the agent's token?
    knows_not: bool,
    access: HubAccess,
    /// What stands in the ledger of it.
    noted: HubAccess,
    /// What is being noted there.
    noting: Option<HubAccess>,
    note_failures: u32,
    note_not_before: u64,
}

impl HubView {
    pub(super) const fn of(
        device: DeviceId,
        turned_away: Option<TurnedAway>,
        silent_ms: u64,
        now_ms: u64,
    ) -> Self {
        let access = HubAccess::after(turned_away);
        Self {
            device,
            reachable_since: None,
            heard_at: now_ms,
            silent_before: silent_ms,
            trouble: None,
            knows_not: false,
            access,
            noted: access,
            noting: None,
            note_failures: 0,
            note_not_before: 0,
        }
    }

    pub(super) fn status(&self) -> HubStatus {
        HubStatus {
            reachable_since: self.reachable_since,
            trouble: self.trouble.clone(),
            knows_not: self.knows_not,
            access: self.access,
        }
    }

    pub(super) const fn device(&self) -> DeviceId {
        self.device
    }

    /// How long it was not heard, in ms. What the agent did not run does not count: nothing measured it.
    pub(super) const fn silent_ms(&self, now_ms: u64) -> u64 {
        self.silent_before
            .saturating_add(now_ms.saturating_sub(self.heard_at))
    }

    /// When it will not have been heard for so long, in ms.
    pub(super) const fn silent_until(&self, silent_ms: u64) -> u64 {
        (self.heard_at.saturating_add(silent_ms)).saturating_sub(self.silent_before)
    }

    pub(super) const fn access(&self) -> HubAccess {
        self.access
    }

    /// Has the hub said that it does not want to hear of this device?
    pub(super) fn refuses(&self) -> bool {
        self.access != HubAccess::Granted
    }

    /// When the ledger is told what the hub says of this device; `None`: it knows, or is being told.
    pub(super) fn next_note_at(&self) -> Option<u64> {
        (self.noting.is_none() && self.noted != self.access).then_some(self.note_not_before)
    }

    fn access_by(&self, error: &HubError) -> Option<HubAccess> {
        match error {
            HubError::Deleted(device) if *device == self.device => Some(HubAccess::Deleted),
            HubError::Revoked(device) if *device == self.device => Some(HubAccess::Revoked),
            HubError::Deleted(_)
            | HubError::Revoked(_)
            | HubError::Unknown(_)
            | HubError::Cut(_)
            | HubError::Unreachable(_) => None,
        }
    }
}

impl Machine {
    /// An answer came. Whatever waits for a hub that was out of reach need not wait any longer.
    pub(super) fn hub_answered(&mut self, now: Now) {
        let was_away = self.hub.trouble.take().is_some() || self.hub.refuses();
        self.hub.access = HubAccess::Granted;
        self.hub.knows_not = false;
        (self.hub.heard_at, self.hub.silent_before) = (now.ms, 0);
        self.hub.reachable_since.get_or_insert(now.wall);
        if was_away {
            self.reporting.hurry(now.ms);
            self.polling.hurry(now.ms);
        }
    }

    /// No answer came that counts.
    pub(super) fn hub_failed(&mut self, error: &HubError, now: Now) {
        self.hub.trouble = Some(error.to_string());
        self.hub.knows_not = matches!(error, HubError::Unknown(_));
        match self.hub.access_by(error) {
            Some(access) => {
                self.hub.access = access;
                let later = now.ms + self.settings.poll_refused_ms;
                self.polling.wait_until(later);
                self.reporting.wait_until(later);
            }
            None => self.hub.reachable_since = None,
        }
    }

    /// Has it noted what the hub says of this device, where that is news.
    pub(super) fn note_access(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.hub.next_note_at().is_some_and(|at| at <= now.ms) {
            let access = self.hub.access;
            self.hub.noting = Some(access);
            effects.push(Effect::NoteTurnedAway(access.turned_away()));
        }
    }

    pub(super) fn on_turned_away_noted(
        &mut self,
        result: &Result<(), String>,
        now: Now,
        random: u32,
    ) {
        let hub = &mut self.hub;
        let Some(access) = hub.noting.take() else {
            return;
        };
        match result {
            Ok(()) => {
                hub.noted = access;
                hub.note_failures = 0;
                hub.note_not_before = 0;
            }
            Err(_) => {
                hub.note_failures = hub.note_failures.saturating_add(1);
                let delay = self
                    .settings
                    .item_backoff
                    .delay_ms(hub.note_failures, random);
                hub.note_not_before = now.ms + delay.max(1);
            }
        }
    }
}
