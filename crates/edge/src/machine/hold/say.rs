//! What the hub is told of the outputs.

use std::collections::BTreeSet;

use holdfast_domain::{PointId, document::hold::HoldReport, values::ReportedValues};

use super::{Holding, Now};

impl Holding {
    /// What is said of these outputs, or of all of them (`None`).
    pub(in crate::machine) fn report(
        &self,
        which: Option<&BTreeSet<PointId>>,
        now: Now,
    ) -> ReportedValues {
        let pass_ms = self.pace.figure.told();
        let items = self
            .outputs
            .iter()
            .filter(|(point, _)| which.is_none_or(|which| which.contains(point)))
            .filter_map(|(point, output)| Some((*point, output.report(now)?)))
            .collect();
        ReportedValues {
            held_revision: self.in_force.0,
            held_fingerprint: self
                .fingerprint
                .filter(|_| self.in_force == (self.revision, self.settings.revision)),
            items,
            hold: Some(HoldReport {
                held_revision: self.in_force.1,
                state: self.state(),
                interval_ms: self.told_interval_ms(),
                pass_ms: pass_ms.map(|ms| u32::try_from(ms).unwrap_or(u32::MAX)),
                recommended_interval_ms: pass_ms.map(|ms| self.pace.recommended(ms)),
                overruns: self.overruns,
                local: self.local.stop().map(|stop| stop.told(now.ms)),
                local_ended: self.local.wanted.ended.clone(),
                // What the hub offers is not known here.
                not_kept: None,
            }),
            ..ReportedValues::default()
        }
    }

    /// Is there anything to say of outputs?
    pub(in crate::machine) fn is_used(&self) -> bool {
        self.revision > 0
            || self.settings.revision > 0
            || self.local.stop().is_some()
            || self.local.wanted.ended.is_some()
    }
}
