//! One row of the read model: what really runs of one sensor, with its deployment status.
//!
//! A row shows the content that runs; where nothing runs, the content that is wanted.

use alloc::{
    string::{String, ToString},
    sync::Arc,
};
use core::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    document::{report::Health, sensor::Sensor},
    drift::DriftKind,
    fields::words,
    ids::SensorId,
};

/// A sensor as screens show it.
#[derive(Debug, Clone, PartialEq)]
pub struct SensorRow {
    /// The sensor.
    pub id: SensorId,
    /// The content that runs, or, where nothing runs, the wanted one.
    pub shown: Arc<Sensor>,
    /// Since when the shown content runs; `None`: nothing runs.
    pub running_since: Option<Timestamp>,
    /// The version that last changed the shown content.
    pub config_version: u64,
    /// Is that the wanted one?
    pub synced_to_config: bool,
    /// Is the wanted content established?
    pub status: DeploymentStatus,
    /// When wanted content was last found to run.
    pub last_deployed_at: Option<Timestamp>,
    /// Why the wanted content could not be started.
    pub error: Option<String>,
    /// How often that was tried.
    pub attempts: u32,
    /// Does the instrument answer? Only of what runs.
    pub health: Option<Health>,
    /// How what runs differs from what is wanted.
    pub drift: Option<DriftKind>,
    /// Since when it differs.
    pub drifting_since: Option<Timestamp>,
    /// Who made and last changed this row, and when.
    pub audit: Audit,
}

/// Who made and last changed something, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Audit {
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Actor,
    /// When it was last changed.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub updated_at: Timestamp,
    /// By whom.
    pub updated_by: Actor,
}

impl Audit {
    /// Of something made now.
    #[must_use]
    pub fn new(now: Timestamp, actor: &Actor) -> Self {
        Self {
            created_at: now,
            created_by: actor.clone(),
            updated_at: now,
            updated_by: actor.clone(),
        }
    }

    /// Of something changed now.
    #[must_use]
    pub fn touched(&self, now: Timestamp, actor: &Actor) -> Self {
        Self {
            updated_at: now,
            updated_by: actor.clone(),
            ..self.clone()
        }
    }
}

/// Who did something: the name of a token, `agent`, or `reconciler`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct Actor(String);

impl Actor {
    /// A person or program, by the name of its token.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self(name.to_string())
    }

    /// The device's agent.
    #[must_use]
    pub fn agent() -> Self {
        Self::named("agent")
    }

    /// The reconciler.
    #[must_use]
    pub fn reconciler() -> Self {
        Self::named("reconciler")
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Is the wanted content established?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(rename_all = "camelCase")
)]
pub enum DeploymentStatus {
    /// The agent has not got it yet.
    Pending,
    /// The agent has it and works on it.
    Reconciling,
    /// It runs.
    Deployed,
    /// The agent could not start it; it tries again.
    Failed,
    /// It is not wanted any more, and still runs.
    PendingDeletion,
}
words!(DeploymentStatus {
    Pending => "pending",
    Reconciling => "reconciling",
    Deployed => "deployed",
    Failed => "failed",
    PendingDeletion => "pendingDeletion",
});
