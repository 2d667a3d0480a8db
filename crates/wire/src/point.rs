//! Last values of points.

use holdfast_domain::{
    Name, PointId, PointValue, Quality, SensorId,
    document::setpoint::{Conformity, Hold},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How far the last value of a point is to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PointQuality {
    /// Read from the instrument.
    Good,
    /// Read, but doubtful: the instrument says so itself, or it is old.
    Uncertain,
    /// Not readable, or not a value.
    Bad,
    /// The agent has sent no reading of it yet.
    Unread,
}

impl PointQuality {
    /// As it is on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Uncertain => "uncertain",
            Self::Bad => "bad",
            Self::Unread => "unread",
        }
    }
}

impl From<Quality> for PointQuality {
    fn from(quality: Quality) -> Self {
        match quality {
            Quality::Good => Self::Good,
            Quality::Uncertain => Self::Uncertain,
            Quality::Bad => Self::Bad,
        }
    }
}

/// The last value of a point, and what it shall hold.
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
    pub quality: PointQuality,
    /// When it was read; null: not yet.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub at: Option<Timestamp>,
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
