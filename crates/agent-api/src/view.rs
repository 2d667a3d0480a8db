//! What is shown of the loop, as JSON.

use holdfast_domain::{
    DeviceId, Name, PointId, PointValue, SensorId,
    document::{
        hold::{LocalEnd, LocalStop, LoopState, Pause, Scope},
        setpoint::{Conformity, Hold},
    },
    row::Actor,
};
use holdfast_edge::{HubAccess, HubStatus, LoopError, LoopView, OutputView};
use jiff::Timestamp;
use serde::Serialize;

/// How the value loop of this agent runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReconciliationView {
    /// The device.
    pub device: DeviceId,
    /// Whether it runs.
    pub state: LoopState,
    /// The stop on site in force: who, why, and what remains of it; null if there is none.
    pub local: Option<LocalStop>,
    /// How the last stop on site ended.
    pub local_ended: Option<LocalEnd>,
    /// The hub: whether it is in reach, and what it wants.
    pub hub: HubView,
    /// How often outputs are looked at, in ms.
    pub interval_ms: u32,
    /// How often somebody on site wants that; null: as the hub wants.
    pub local_interval_ms: Option<u32>,
    /// The shortest interval that the last passes would have kept up with, in ms.
    pub recommended_interval_ms: Option<u32>,
    /// How long the longest of the sensors' last passes took, in ms.
    pub last_pass_ms: Option<u64>,
    /// Passes that ended, since the agent started.
    pub passes: u64,
    /// Passes that took longer than the interval, since the agent started.
    pub overruns: u64,
    /// Outputs that are to hold a value.
    pub outputs: usize,
    /// Those of them that do not show it, or are not known to.
    pub differing: usize,
    /// The first of those.
    pub points: Vec<PointView>,
    /// The last errors, the newest first.
    pub errors: Vec<ErrorView>,
}

/// The hub, as the agent sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HubView {
    /// Is it in reach?
    pub reachable: bool,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Why not, or what it says of this device.
    pub trouble: Option<String>,
    /// How long it was not heard, in ms.
    pub silent_ms: u64,
    /// How it wants the loop to run, as far as this agent has heard.
    pub wants: LoopState,
    /// How often it wants outputs to be looked at, in ms.
    pub interval_ms: u32,
    /// Its stops and pauses in force.
    pub pauses: Vec<StopView>,
}

/// A stop or pause of the hub.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StopView {
    /// What it is on; left out: everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor_id: Option<SensorId>,
    /// What it is on; left out: everything of the sensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub point_id: Option<PointId>,
    /// By whom.
    pub by: Actor,
    /// Why.
    pub reason: Option<String>,
    /// How long it still lasts, in ms; null: until it is lifted.
    pub remaining_ms: Option<u64>,
}

/// An output that does not show what is wanted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PointView {
    /// The point.
    pub point_id: PointId,
    /// Its name.
    pub name: Option<Name>,
    /// Its sensor.
    pub sensor_id: SensorId,
    /// That one's name.
    pub sensor: Option<Name>,
    /// What it shall show.
    pub wanted: PointValue,
    /// What it showed last; null: it could not be read.
    pub real: Option<PointValue>,
    /// Does it show it?
    pub conformity: Conformity,
    /// Is it being held?
    pub hold: Hold,
    /// Why not.
    pub why: Option<String>,
    /// Since when it stands so.
    pub since: Option<Timestamp>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorView {
    /// When, by the agent's clock.
    pub at: Timestamp,
    /// The point.
    pub point_id: PointId,
    /// Its sensor.
    pub sensor_id: SensorId,
    /// What.
    pub error: String,
}

impl From<LoopView> for ReconciliationView {
    fn from(view: LoopView) -> Self {
        let LoopView {
            device,
            state,
            local,
            local_ended,
            pauses,
            hub_wants,
            hub,
            hub_silent_ms,
            interval_ms,
            hub_interval_ms,
            local_interval_ms,
            recommended_interval_ms,
            last_pass_ms,
            passes,
            overruns,
            outputs,
            differing,
            points,
            errors,
        } = view;
        let HubStatus {
            reachable_since,
            trouble,
            // The trouble says it.
            knows_not: _,
            access,
        } = hub;
        Self {
            device,
            state,
            local,
            local_ended,
            hub: HubView {
                reachable: reachable_since.is_some() && access == HubAccess::Granted,
                since: reachable_since,
                trouble,
                silent_ms: hub_silent_ms,
                wants: hub_wants,
                interval_ms: hub_interval_ms,
                pauses: pauses.into_iter().map(StopView::from).collect(),
            },
            interval_ms,
            local_interval_ms,
            recommended_interval_ms,
            last_pass_ms,
            passes,
            overruns,
            outputs,
            differing,
            points: points.into_iter().map(PointView::from).collect(),
            errors: errors.into_iter().map(ErrorView::from).collect(),
        }
    }
}

impl From<Pause> for StopView {
    fn from(pause: Pause) -> Self {
        let Pause {
            id: _,
            scope,
            by,
            reason,
            remaining_ms,
        } = pause;
        let (sensor_id, point_id) = match scope {
            Scope::Device => (None, None),
            Scope::Sensor(sensor) => (Some(sensor), None),
            Scope::Point(point) => (None, Some(point)),
        };
        Self {
            sensor_id,
            point_id,
            by,
            reason,
            remaining_ms,
        }
    }
}

impl From<OutputView> for PointView {
    fn from(output: OutputView) -> Self {
        let OutputView {
            point,
            name,
            sensor,
            sensor_name,
            wanted,
            real,
            conformity,
            hold,
            reason,
            since,
        } = output;
        Self {
            point_id: point,
            name,
            sensor_id: sensor,
            sensor: sensor_name,
            wanted,
            real,
            conformity,
            hold,
            why: reason,
            since,
        }
    }
}

impl From<LoopError> for ErrorView {
    fn from(error: LoopError) -> Self {
        let LoopError {
            at,
            point,
            sensor,
            error,
        } = error;
        Self {
            at,
            point_id: point,
            sensor_id: sensor,
            error,
        }
    }
}
