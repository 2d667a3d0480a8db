//! What the value loop must know after a restart that neither the target nor the account of writes says.

use alloc::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::instead::How;
use crate::{
    document::hold::{LocalEnd, LocalStop},
    hold::DayLeft,
    ids::{PauseId, PointId},
    value::PointValue,
};

/// What stands on the agent's disk of its value loop. What it counts in ms goes on from there after a restart: there is no
/// clock to be trusted that ran meanwhile.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoopMemory {
    /// The stop on site that is in force, with what remains of it.
    pub local: Option<LocalStop>,
    /// How the last one ended.
    pub local_ended: Option<LocalEnd>,
    /// The interval set on site, in ms.
    pub interval_ms: Option<u32>,
    /// What remains of setpoints that end; 0 for those that have ended.
    pub setpoints: BTreeMap<PointId, Left>,
    /// What instruments are known to make of the values that are set: it is not learned anew by writes after each restart.
    pub learned: BTreeMap<PointId, Learned>,
    /// What remains of the hub's stops and pauses, in ms; 0 for those that have ended.
    pub pauses: BTreeMap<PauseId, u64>,
    /// How long the hub had not been heard, in ms.
    pub hub_silent_ms: u64,
    /// Stops and pauses of the hub whose outputs are all left: nothing is written any more on their account.
    pub settled: BTreeSet<PauseId>,
    /// The same of the stop on site.
    pub local_settled: bool,
    /// The same of the hub's absence.
    pub hub_lost_settled: bool,
    /// What remains of the days that write budgets count by, where that is less than a whole one.
    pub days: BTreeMap<PointId, DayLeft>,
}

/// What an instrument made of a setpoint's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Learned {
    /// Which wish for the point it was.
    pub revision: u64,
    /// What it shows instead.
    pub found: PointValue,
    /// How that differs.
    pub how: How,
}

/// What remains of a setpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// Which wish for the point it was.
    pub revision: u64,
    /// What remains, in ms.
    pub ms: u64,
}

impl LoopMemory {
    /// What of it counts for another device on the same disk: whoever stopped the loop on site stopped what stands there,
    /// whatever the hub calls it.
    #[must_use]
    pub fn on_another_device(self) -> Self {
        Self {
            local: self.local,
            interval_ms: self.interval_ms,
            local_settled: self.local_settled,
            ..Self::default()
        }
    }
}
