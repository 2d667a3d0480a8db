//! Drift, of a device and of the fleet, and what a call to reconcile answers.

use holdfast_domain::{
    DeviceId, Name, SensorId,
    drift::{DriftKind, SensorDrift},
    row::DeploymentStatus,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Every difference between what a device should run and what it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceDrift {
    /// The device.
    pub device: DeviceId,
    /// Its name.
    pub name: Name,
    /// Version of its target.
    pub target_version: u64,
    /// Version that its agent has worked through; null before the first report.
    pub current_version: Option<u64>,
    /// Since when something differs; null: nothing does.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub since: Option<Timestamp>,
    /// Has the agent gone silent? Then this says what was.
    pub stale: bool,
    /// The sensors that differ.
    pub sensors: Vec<SensorDrift>,
}

/// One sensor of the fleet that differs; the device's own drift says where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FleetDrift {
    /// The device.
    pub device: DeviceId,
    /// The sensor.
    pub id: SensorId,
    /// The sensor's name.
    pub name: Name,
    /// How it differs.
    pub kind: DriftKind,
    /// Since when.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub since: Timestamp,
    /// Where its deployment stands.
    pub deployment_status: DeploymentStatus,
    /// Why it failed.
    pub error: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// Has the agent gone silent?
    pub stale: bool,
}

/// What came of asking an agent to look at everything again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReconcileAnswer {
    /// What came of it.
    pub result: ReconcileResult,
    /// The device as it is known now: after the look where the agent answered in time, else before it.
    pub drift: DeviceDrift,
}

/// How far a call to reconcile came within the time that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ReconcileResult {
    /// The agent looked, and all that is wanted runs.
    Reconciled,
    /// The agent looked, and something differs.
    Drifting,
    /// The agent was asked, and has not answered yet.
    Asked,
    /// The agent is silent: it will look when it comes back.
    Silent,
}
