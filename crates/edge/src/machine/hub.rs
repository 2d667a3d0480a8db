//! Whether the hub is there, and whether it still knows this device.

use holdfast_domain::DeviceId;
use holdfast_ports::hub_link::HubError;
use jiff::Timestamp;

use super::{Machine, Now};
use crate::status::{HubAccess, HubStatus};

/// What is known of the hub.
#[derive(Debug)]
pub(super) struct HubView {
    /// Whose agent this is: only what the hub says of this very device counts.
    device: DeviceId,
    reachable_since: Option<Timestamp>,
    trouble: Option<String>,
    access: HubAccess,
}

impl HubView {
    pub(super) const fn of(device: DeviceId) -> Self {
        Self {
            device,
            reachable_since: None,
            trouble: None,
            access: HubAccess::Granted,
        }
    }

    pub(super) fn status(&self) -> HubStatus {
        let Self {
            device: _,
            reachable_since,
            trouble,
            access,
        } = self;
        HubStatus {
            reachable_since: *reachable_since,
            trouble: trouble.clone(),
            access: *access,
        }
    }

    /// Has the hub said that it does not want to hear of this device?
    pub(super) fn refuses(&self) -> bool {
        self.access != HubAccess::Granted
    }

    fn access_by(&self, error: &HubError) -> Option<HubAccess> {
        match error {
            HubError::Deleted(device) if *device == self.device => Some(HubAccess::Deleted),
            HubError::Revoked(device) if *device == self.device => Some(HubAccess::Revoked),
            HubError::Deleted(_) | HubError::Revoked(_) | HubError::Unreachable(_) => None,
        }
    }
}

impl Machine {
    /// An answer came. Whatever waits for a hub that was out of reach need not wait any longer.
    pub(super) fn hub_answered(&mut self, now: Now) {
        let was_away = self.hub.trouble.take().is_some();
        self.hub.access = HubAccess::Granted;
        self.hub.reachable_since.get_or_insert(now.wall);
        if was_away {
            self.reporting.hurry(now.ms);
            self.polling.hurry(now.ms);
        }
    }

    /// No answer came that counts.
    pub(super) fn hub_failed(&mut self, error: &HubError, now: Now) {
        self.hub.trouble = Some(error.to_string());
        match self.hub.access_by(error) {
            Some(access) => {
                self.hub.access = access;
                self.polling
                    .wait_until(now.ms + self.settings.poll_refused_ms);
            }
            None => self.hub.reachable_since = None,
        }
    }
}
