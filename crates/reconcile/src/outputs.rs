//! The write budget of the fleet that is nearest to its end, the commands that wait for their agents' word, and how long passes
//! of value loops take, as metrics. Known of each device from when it was last looked at, which each is every few minutes, by
//! some reconciler.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use holdfast_domain::{DeviceId, state::DeviceState};
use jiff::{SignedDuration, Timestamp};

/// A device that was not looked at for so long here is another reconciler's, or gone.
const OLD_AFTER: SignedDuration = SignedDuration::from_mins(15);

/// What is known of one device.
#[derive(Debug)]
struct Known {
    at: Timestamp,
    /// Writes that are left of its lowest budget.
    lowest: Option<u64>,
    /// Commands that wait.
    waiting: u64,
}

/// What the fleet's outputs come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutputFigures {
    /// The lowest write budget of all; `None`: nothing was ever written, as far as is known here.
    pub(crate) lowest_budget: Option<u64>,
    /// Commands on which agents have not given their word.
    pub(crate) commands_waiting: u64,
}

/// What is known of each device that was looked at lately.
#[derive(Debug, Default)]
pub(crate) struct Outputs(Mutex<BTreeMap<DeviceId, Known>>);

impl Outputs {
    /// A device was looked at.
    pub(crate) fn saw(&self, state: &DeviceState, now: Timestamp) {
        let values = state.reported.as_ref().map(|reported| &reported.values);
        let hold = values.and_then(|values| values.hold.as_ref());
        let is_heard_of = !state.presence.silent;
        if let Some(ms) = hold.and_then(|hold| hold.pass_ms).filter(|_| is_heard_of) {
            metrics::histogram!("holdfast_pass_seconds", "loop" => "values")
                .record(f64::from(ms) / 1_000.0);
        }
        let levels = values.iter().flat_map(|values| values.items.values());
        let levels = levels.map(|item| item.budget_left);
        let others = values.iter().flat_map(|values| values.accounts.values());
        let known = Known {
            at: now,
            lowest: levels
                .chain(others.map(|account| account.budget_left))
                .min(),
            waiting: u64::try_from(state.commands_waiting().count()).unwrap_or(u64::MAX),
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.lowest.is_some() || known.waiting > 0 {
            kept.insert(state.record.id, known);
        } else {
            kept.remove(&state.record.id);
        }
    }

    pub(crate) fn figures(&self, now: Timestamp) -> OutputFigures {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, known| now.duration_since(known.at) < OLD_AFTER);
        OutputFigures {
            lowest_budget: kept.values().filter_map(|known| known.lowest).min(),
            commands_waiting: kept.values().map(|known| known.waiting).sum(),
        }
    }
}
