//! What somebody on site is shown of the value loop.

use std::collections::VecDeque;

use holdfast_domain::{
    Name, PointId, SensorId,
    document::{
        hold::{LoopState, Pause},
        setpoint::{Conformity, Hold},
    },
};

use super::{Machine, Now, leaving::Place, pass::Pass, point::Output};
use crate::local::{LoopError, LoopView, OutputView};

/// Outputs that are listed: who has more of them in trouble has one trouble.
const LISTED: usize = 100;

/// Errors that are kept.
const ERRORS: usize = 20;

/// The last errors.
#[derive(Debug, Default)]
pub(super) struct Errors(VecDeque<LoopError>);

impl Errors {
    /// Keeps what is wrong with an output, if that is news.
    pub(super) fn note(&mut self, point: PointId, output: &Output, now: Now) {
        let said = &output.said;
        let is_error = matches!(
            said.hold,
            Hold::Refused | Hold::Unreachable | Hold::Overridden
        ) || matches!(
            said.conformity,
            Conformity::Deviates | Conformity::AcknowledgedUnverified
        );
        let Some(error) = said.reason.clone().filter(|_| is_error) else {
            return;
        };
        let last = self.0.iter().find(|last| last.point == point);
        if last.is_some_and(|last| last.error == error) {
            return;
        }
        self.0.truncate(ERRORS - 1);
        self.0.push_front(LoopError {
            at: now.wall,
            point,
            sensor: output.sensor(),
            error,
        });
    }
}

impl Machine {
    /// How the value loop runs.
    #[must_use]
    pub fn loop_view(&self, now: Now) -> LoopView {
        let holding = &self.holding;
        let is_listed = |output: &Output| {
            output.said.conformity != Conformity::InSync
                || matches!(output.place, Place::Leaving(_))
        };
        let points = holding
            .outputs
            .iter()
            .filter(|(_, output)| is_listed(output))
            .take(LISTED)
            .map(|(point, output)| self.output_view(*point, output))
            .collect();
        let last_pass_ms = holding.passes.values().filter_map(Pass::took_ms).max();
        let pauses = holding.settings.pauses.iter().map(|pause| Pause {
            remaining_ms: holding
                .ends
                .get(&pause.id)
                .map(|end| end.saturating_sub(now.ms)),
            ..pause.clone()
        });
        let hub_wants = match (holding.settings.is_active(), holding.settings.shadow) {
            (false, _) => LoopState::Stopped,
            (true, true) => LoopState::Shadow,
            (true, false) => LoopState::Active,
        };
        let differs = |output: &&Output| output.said.conformity != Conformity::InSync;
        LoopView {
            device: self.hub.device(),
            state: holding.state(),
            local: holding.local.stop().map(|stop| stop.told(now.ms)),
            local_ended: holding.local.wanted.ended.clone(),
            pauses: pauses.collect(),
            hub_wants,
            hub: self.hub.status(),
            hub_silent_ms: self.hub.silent_ms(now.ms),
            interval_ms: holding.interval_ms(),
            hub_interval_ms: holding.settings.interval_ms,
            local_interval_ms: holding.local.wanted.interval_ms,
            recommended_interval_ms: last_pass_ms.map(|took| holding.pace.recommended(took)),
            last_pass_ms,
            passes: holding.passes_ended,
            overruns: holding.overruns,
            outputs: holding.outputs.len(),
            differing: holding.outputs.values().filter(differs).count(),
            points,
            errors: holding.errors.0.iter().cloned().collect(),
        }
    }

    fn output_view(&self, point: PointId, output: &Output) -> OutputView {
        let sensor = output.sensor();
        let (name, sensor_name) = self.names(sensor, point);
        OutputView {
            point,
            name,
            sensor,
            sensor_name,
            wanted: output.setpoint.value.clone(),
            real: output
                .reading
                .as_ref()
                .and_then(|reading| reading.value.clone()),
            conformity: output.said.conformity,
            hold: output.said.hold,
            reason: output.said.reason.clone(),
            since: output.said.since,
        }
    }

    fn names(&self, sensor: SensorId, point: PointId) -> (Option<Name>, Option<Name>) {
        let Some(item) = self.wanted.get(&sensor) else {
            return (None, None);
        };
        let names = item.sensor.content().binding.point_names();
        let name = names.into_iter().find(|(id, _)| *id == point);
        (
            name.map(|(_, name)| name.clone()),
            Some(item.sensor.name().clone()),
        )
    }
}
