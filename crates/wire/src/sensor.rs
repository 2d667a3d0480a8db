//! Sensors: rows of the read model, and what an edit of them answers.

use holdfast_domain::{
    DeviceId, Health, Name, Protocol, SensorId,
    drift::DriftKind,
    row::{Audit, DeploymentStatus, SensorRow},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One sensor as screens show it: the content that runs, or, where nothing runs, the wanted one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SensorView {
    /// The sensor.
    pub id: SensorId,
    /// Its device.
    pub device: DeviceId,
    /// Since when the shown content runs; null: nothing of it runs.
    pub running: Option<Running>,
    /// Unique within the device.
    pub name: Name,
    /// What it speaks.
    pub protocol: Protocol,
    /// Shall it run?
    pub enabled: bool,
    /// How often it is read, in ms.
    pub poll_interval: u32,
    /// How it is reached.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::sensor::schemas::Connection))]
    pub connection: Value,
    /// Its points.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::sensor::schemas::DataPoint>))]
    pub data_points: Value,
    /// Labels for people; not interpreted.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub metadata: Map<String, Value>,
    /// The version of the target that last changed the shown content.
    pub config_version: u64,
    /// Is the shown content the wanted one?
    pub synced_to_config: bool,
    /// Is the wanted content established?
    pub deployment_status: DeploymentStatus,
    /// When wanted content was last found to run.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub last_deployed_at: Option<Timestamp>,
    /// Why the wanted content could not be started.
    pub deployment_error: Option<String>,
    /// How often that was tried.
    pub deployment_attempts: u32,
    /// Does the instrument answer? Only of what runs.
    pub health: Option<Health>,
    /// Has the agent gone silent? Then this says what was.
    pub stale: bool,
    /// How what runs differs from what is wanted.
    pub drift: Option<DriftKind>,
    /// Since when it differs.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub drifting_since: Option<Timestamp>,
    /// Who made and last changed this row.
    #[serde(flatten)]
    pub audit: Audit,
}

/// That something runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Running {
    /// Since when.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub since: Timestamp,
}

impl SensorView {
    /// A row of `device`.
    #[must_use]
    pub fn new(device: DeviceId, row: &SensorRow, stale: bool) -> Self {
        let SensorRow {
            id,
            shown,
            running_since,
            config_version,
            synced_to_config,
            status,
            last_deployed_at,
            error,
            attempts,
            health,
            drift,
            drifting_since,
            audit,
        } = row;
        let content = shown.content();
        Self {
            id: *id,
            device,
            running: running_since.map(|since| Running { since }),
            name: content.name.clone(),
            protocol: content.binding.protocol(),
            enabled: content.enabled,
            poll_interval: content.poll_interval_ms,
            connection: content.connection_json(),
            data_points: content.data_points_json(),
            metadata: content.metadata.clone(),
            config_version: *config_version,
            synced_to_config: *synced_to_config,
            deployment_status: *status,
            last_deployed_at: *last_deployed_at,
            deployment_error: error.clone(),
            deployment_attempts: *attempts,
            health: health.clone(),
            stale,
            drift: *drift,
            drifting_since: *drifting_since,
            audit: audit.clone(),
        }
    }
}

/// What came of an edit of a device's target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EditAnswer {
    /// The version of the target now.
    pub version: u64,
    /// Did the edit change anything? If not, the version is the one that was.
    pub changed: bool,
    /// The sensor, where the edit was of one and it is still there.
    pub sensor: Option<SensorView>,
}

/// Shapes of the documents' parts, for the OpenAPI description and the manifests' JSON Schema.
#[cfg(feature = "openapi")]
pub mod schemas {
    use holdfast_domain::{
        Name, Protocol, SensorId,
        document::point::Point,
        protocol::{can, modbus, mqtt, opcua},
    };
    use serde::Serialize;

    /// How to reach an instrument; which form depends on the protocol.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(untagged)]
    pub enum Connection {
        /// Modbus.
        Modbus(modbus::Connection),
        /// CAN.
        Can(can::Connection),
        /// OPC UA.
        Opcua(opcua::Connection),
        /// MQTT.
        Mqtt(mqtt::Connection),
    }

    /// One value of a sensor; which form depends on the protocol.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(untagged)]
    pub enum DataPoint {
        /// Modbus.
        Modbus(Point<modbus::Address>),
        /// CAN.
        Can(Point<can::Address>),
        /// OPC UA.
        Opcua(Point<opcua::Address>),
        /// MQTT.
        Mqtt(Point<mqtt::Address>),
    }

    /// A sensor as people declare it. Left out: `id` (given by the hub, or that of the sensor with this name), the ids of
    /// points, and everything that has a default.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "camelCase")]
    #[schema(as = SensorDocument)]
    pub struct SensorDocument {
        /// The sensor; given by the hub.
        #[schema(required = false)]
        pub id: Option<SensorId>,
        /// Unique within the device.
        pub name: Name,
        /// What it speaks.
        pub protocol: Protocol,
        /// Shall it run?
        #[schema(default = true, required = false)]
        pub enabled: bool,
        /// How often it is read, in ms.
        #[schema(minimum = 10, maximum = 86400000, default = 1000, required = false)]
        pub poll_interval: u32,
        /// How to reach it.
        pub connection: Connection,
        /// Its points.
        #[schema(required = false)]
        pub data_points: Vec<DataPoint>,
        /// Labels for people; not interpreted.
        #[schema(value_type = Object, required = false)]
        pub metadata: serde_json::Map<String, serde_json::Value>,
    }

    /// A sensor in a versioned document.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "camelCase")]
    pub struct SensorItem {
        /// The version of the target that last changed this sensor's content.
        pub config_version: u64,
        /// Its content.
        #[serde(flatten)]
        pub sensor: SensorDocument,
    }
}
