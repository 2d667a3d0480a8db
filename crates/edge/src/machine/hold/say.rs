//! What the hub is told of the outputs.

use std::collections::BTreeSet;

use holdfast_domain::{
    PointId,
    document::hold::{HoldReport, LoopState},
    values::ReportedValues,
};

use super::{Holding, Now};

impl Holding {
    /// What is said of these outputs, or of all of them (`None`).
    pub(in crate::machine) fn report(
        &self,
        which: Option<&BTreeSet<PointId>>,
        now: Now,
    ) -> ReportedValues {
        let items = self
            .outputs
            .iter()
            .filter(|(point, _)| which.is_none_or(|which| which.contains(point)))
            .filter_map(|(point, output)| Some((*point, output.report(now)?)))
            .collect();
        let state = if !self.settings.is_active() {
            LoopState::Stopped
        } else if self.settings.shadow {
            LoopState::Shadow
        } else {
            LoopState::Active
        };
        ReportedValues {
            held_revision: self.in_force.0,
            items,
            hold: Some(HoldReport {
                held_revision: self.in_force.1,
                state,
                interval_ms: self.settings.interval_ms,
                overruns: self.overruns,
            }),
        }
    }

    /// Is there anything to say of outputs?
    pub(in crate::machine) fn is_used(&self) -> bool {
        self.revision > 0 || self.settings.revision > 0
    }
}
