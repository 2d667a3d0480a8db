//! The target and current state as operators see them; plan, history, rollback.

use std::collections::BTreeMap;

use holdfast_domain::{
    Failure, Fields, Health, Incarnation, Item, Name, SensorId,
    check::Doubt,
    row::{Actor, Audit},
    state::{DeviceState, Reported},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::request::{REASON, Request};

/// What a device should run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TargetStateView {
    /// The form of the documents.
    pub schema_version: u32,
    /// Grows with every change; 0: nothing was ever asked for.
    pub version: u64,
    /// Is something of it not yet established?
    pub needs_deployment: bool,
    /// The sensors.
    pub config: Config,
    /// When all of a version was last found to run.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub last_deployed_at: Option<Timestamp>,
    /// Which version that was.
    pub last_deployed_version: Option<u64>,
    /// Who made the first and the last version.
    #[serde(flatten)]
    pub audit: Audit,
}

/// The sensors of a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Config {
    /// The sensors.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::sensor::schemas::SensorItem>))]
    pub protocol_adapter_devices: Vec<Item>,
}

impl TargetStateView {
    /// The target of a device.
    #[must_use]
    pub fn new(state: &DeviceState) -> Self {
        let target = &state.target;
        Self {
            schema_version: holdfast_domain::document::SCHEMA_VERSION,
            version: target.version,
            needs_deployment: state.needs_deployment(),
            config: Config {
                protocol_adapter_devices: target.items.clone(),
            },
            last_deployed_at: target.last_deployed.map(|(at, _)| at),
            last_deployed_version: target.last_deployed.map(|(_, version)| version),
            audit: target.audit.clone(),
        }
    }

    /// The entity tag for `If-Match`.
    #[must_use]
    pub fn etag(&self) -> String {
        etag(self.version)
    }
}

/// The entity tag of a target's configuration, for `If-Match`: `"v43"`.
#[must_use]
pub fn etag(version: u64) -> String {
    format!("\"v{version}\"")
}

/// What a device's agent says is true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CurrentStateView {
    /// The life of the agent's disk that reported.
    pub incarnation: Incarnation,
    /// The agent's boot that reported.
    pub boot: u64,
    /// The report's number within the boot.
    pub sequence: u64,
    /// The target version that the agent holds durably.
    pub held_version: u64,
    /// The target version that it has worked through.
    pub version: u64,
    /// What really runs.
    pub config: Config,
    /// What could not be started.
    pub failures: Vec<Failure>,
    /// Health of what runs, by sensor.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, Health>))]
    pub health: BTreeMap<SensorId, Health>,
    /// The agent's version.
    pub agent_version: Option<String>,
    /// When the last report came that changed something.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub reported_at: Timestamp,
    /// When the device was last heard of.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub last_seen_at: Option<Timestamp>,
    /// Has the agent gone silent? Then this says what was.
    pub stale: bool,
}

impl CurrentStateView {
    /// What the agent of a device said; `None` before its first report.
    #[must_use]
    pub fn new(state: &DeviceState) -> Option<Self> {
        let reported = state.reported.as_ref()?;
        let Reported {
            order,
            held_version,
            worked_version,
            running,
            failures,
            health,
            running_fingerprint: _,
            looked_revision: _,
            values: _,
            agent_version,
            reported_at,
        } = reported;
        Some(Self {
            incarnation: order.incarnation,
            boot: order.boot,
            sequence: order.sequence,
            held_version: *held_version,
            version: *worked_version,
            config: Config {
                protocol_adapter_devices: running.clone(),
            },
            failures: failures.clone(),
            health: health.clone(),
            agent_version: agent_version.clone(),
            reported_at: *reported_at,
            last_seen_at: state.presence.last_seen_at,
            stale: state.presence.silent,
        })
    }
}

/// What an edit would change. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlanView {
    /// The version that the plan was made on: give it as `If-Match` to carry out exactly this plan.
    pub base_version: u64,
    /// Would anything change?
    pub changes: bool,
    /// What would become of each sensor, by name.
    pub sensors: Vec<PlannedSensor>,
    /// What is doubtful in the target that would come of it.
    pub doubts: Vec<Doubt>,
}

/// What would become of one sensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlannedSensor {
    /// The sensor; null for one that does not exist yet.
    pub id: Option<SensorId>,
    /// Its name, after the edit.
    pub name: Name,
    /// What would be done.
    pub action: PlanAction,
    /// Where its content would change: `connection.host`. Only of updates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

/// What would be done to a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PlanAction {
    /// It is new.
    Add,
    /// Its content changes.
    Update,
    /// It goes.
    Remove,
    /// Nothing.
    Unchanged,
}

/// One version of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HistoryEntry {
    /// The version.
    pub version: u64,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub at: Timestamp,
    /// By whom.
    pub author: Actor,
    /// Why, in their words.
    pub reason: Option<String>,
    /// How many sensors it has.
    pub sensors: u32,
}

/// Goes back to the sensors of an earlier version, as a new version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rollback {
    /// That version.
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub version: u64,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Request for Rollback {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let version = fields.int("version", &(1..=i64::MAX), None);
        let reason = fields.text_opt("reason", REASON);
        Some(Self {
            version: version?,
            reason: reason?,
        })
    }
}

/// Shapes of requests that are read as documents, for the OpenAPI description.
#[cfg(feature = "openapi")]
pub mod schemas {
    use serde::Serialize;

    use crate::sensor::schemas::SensorDocument;

    /// A target as people write it.
    #[derive(Serialize, utoipa::ToSchema)]
    pub struct TargetInput {
        /// The sensors.
        pub config: ConfigInput,
    }

    /// The sensors of a target as people write it.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "camelCase")]
    pub struct ConfigInput {
        /// The sensors; those without an id are those of the same name.
        pub protocol_adapter_devices: Vec<SensorDocument>,
    }
}
