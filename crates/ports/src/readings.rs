//! Readings: what was read from points, on its way from an adapter to whoever wants it. Best effort, never a brake.

use holdfast_domain::{PointId, PointValue, Quality, SensorId};
use jiff::Timestamp;

/// One point, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The point.
    pub point: PointId,
    /// The value; `None`: it could not be read, or was no value (NaN).
    pub value: Option<PointValue>,
    /// How far to trust it.
    pub quality: Quality,
    /// When it was read.
    pub at: Timestamp,
    /// Why it is not good: the instrument's exception, the time-out.
    pub reason: Option<std::sync::Arc<str>>,
}

/// Takes readings.
///
/// # Contract
/// - [`accept`](Self::accept) never blocks and never fails: what can't be passed on is merged (a point's newer reading
///   replaces its older one) or dropped and counted. It is called from an adapter's task, once for each poll of a sensor.
pub trait ReadingSink: Send + Sync {
    /// Takes what one poll of `sensor` gave.
    fn accept(&self, sensor: SensorId, readings: &[Reading]);

    /// `sensor` is gone for good: what is kept of it can go.
    fn forget(&self, _sensor: SensorId) {}
}
