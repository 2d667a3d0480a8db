//! Last values of points.

use holdfast_domain::{Name, PointId, PointValue, Quality, SensorId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The last value of a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PointView {
    /// Its sensor.
    pub sensor: SensorId,
    /// The point.
    pub point: PointId,
    /// The sensor's name; null if the sensor is gone.
    pub sensor_name: Option<Name>,
    /// The point's name; null if the point is gone.
    pub name: Option<Name>,
    /// Unit of the value.
    pub unit: Option<String>,
    /// The value; null: it could not be read.
    pub value: Option<PointValue>,
    /// How far to trust it.
    pub quality: Quality,
    /// When it was read.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub at: Timestamp,
    /// Why it is not good.
    pub reason: Option<String>,
}
