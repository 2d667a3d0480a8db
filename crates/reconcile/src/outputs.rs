//! The write budget of the fleet that is nearest to its end, as a metric. Known of each device from when it was last looked at,
//! which each is every few minutes, by some reconciler.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use holdfast_domain::{DeviceId, state::DeviceState};
use jiff::{SignedDuration, Timestamp};

/// A device that was not looked at for so long here is another reconciler's, or gone.
const OLD_AFTER: SignedDuration = SignedDuration::from_mins(15);

/// The lowest write budget of each device that was looked at lately, and when that was.
#[derive(Debug, Default)]
pub(crate) struct Budgets(Mutex<BTreeMap<DeviceId, (Timestamp, u64)>>);

impl Budgets {
    /// A device was looked at.
    pub(crate) fn saw(&self, state: &DeviceState, now: Timestamp) {
        let values = state.reported.as_ref().map(|reported| &reported.values);
        let items = values.iter().flat_map(|values| values.items.values());
        let lowest = items.map(|item| item.budget_left).min();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match lowest {
            Some(lowest) => kept.insert(state.record.id, (now, lowest)),
            None => kept.remove(&state.record.id),
        };
    }

    /// The lowest of all; `None`: nothing is set anywhere, as far as is known here.
    pub(crate) fn lowest(&self, now: Timestamp) -> Option<u64> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (at, _)| now.duration_since(*at) < OLD_AFTER);
        kept.values().map(|(_, lowest)| *lowest).min()
    }
}
