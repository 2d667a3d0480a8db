//! Devices as operators see and make them.

use std::collections::BTreeMap;

use holdfast_domain::{
    DeviceId, Fields, Incarnation, Name,
    row::{Audit, DeploymentStatus},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::request::{Request, labels, name};

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Device {
    /// The device.
    pub id: DeviceId,
    /// Unique in the fleet.
    pub name: Name,
    /// Labels for people and filters.
    pub labels: BTreeMap<String, String>,
    /// How it is doing.
    pub status: DeviceStatus,
    /// Version of its target; 0: nothing was ever asked for.
    pub target_version: u64,
    /// Version that its agent has worked through; null before the first report.
    pub current_version: Option<u64>,
    /// When it was last heard of; at most some seconds old.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub last_seen_at: Option<Timestamp>,
    /// How many of its sensors are in each deployment status; those of which there are none are left out.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, u32>))]
    pub sensors: BTreeMap<DeploymentStatus, u32>,
    /// The current life of its agent's disk; null until an agent has registered.
    pub incarnation: Option<Incarnation>,
    /// Who made and last changed it.
    #[serde(flatten)]
    pub audit: Audit,
}

/// How a device is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DeviceStatus {
    /// No report yet.
    New,
    /// Its agent was heard of lately, and all that is wanted runs.
    Reconciled,
    /// Its agent was heard of lately, and something differs.
    Drifting,
    /// Its agent is silent.
    Silent,
}

impl DeviceStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::New, Self::Reconciled, Self::Drifting, Self::Silent];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Reconciled => "reconciled",
            Self::Drifting => "drifting",
            Self::Silent => "silent",
        }
    }
}

/// Makes a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceCreate {
    /// Unique in the fleet.
    pub name: Name,
    /// Labels for people and filters.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub labels: BTreeMap<String, String>,
}

impl Request for DeviceCreate {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.required("name", name, Name::EXPECTED);
        let labels = fields
            .optional("labels", labels)
            .map(Option::unwrap_or_default);
        Some(Self {
            name: name?,
            labels: labels?,
        })
    }
}

/// Changes a device: what is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceUpdate {
    /// Another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Other labels, in place of all that it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

impl Request for DeviceUpdate {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.optional("name", name);
        let labels = fields.optional("labels", labels);
        Some(Self {
            name: name?,
            labels: labels?,
        })
    }
}

/// A device that was just made, with the key that its agent registers with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceCreated {
    /// The device.
    #[serde(flatten)]
    pub device: Device,
    /// The secret of a provisioning key that is bound to the device and can be used once. Shown only here.
    pub provisioning_key: String,
}
