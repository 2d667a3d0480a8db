//! Last values of points.

use holdfast_domain::{
    Name, PointId, PointValue, Quality, SensorId,
    document::setpoint::{Conformity, Hold},
};
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
    /// The value that it shall hold; null: nothing is set.
    #[serde(default)]
    pub desired: Option<PointValue>,
    /// Does the instrument show that value?
    #[serde(default)]
    pub conformity: Option<Conformity>,
    /// Is it being held?
    #[serde(default)]
    pub hold: Option<Hold>,
    /// Since when conformity and hold are so.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub since: Option<Timestamp>,
    /// Writes made to the point in its instrument's life.
    #[serde(default)]
    pub writes: Option<u64>,
    /// Writes that may still be made.
    #[serde(default)]
    pub budget_left: Option<u64>,
}
