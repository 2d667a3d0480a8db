//! What a unit is polled with, taken from a sensor's document.

use std::sync::Arc;
use std::time::Duration;

use holdfast_domain::document::point::Point;
use holdfast_domain::protocol::modbus::Address;
use holdfast_domain::{Binding, PointId, PointValue, Sensor, SensorId};
use holdfast_ports::bus::StartError;

use super::Write;
use super::endpoint::Endpoint;
use super::plan::{self, Block, PlannedPoint};

/// What is said of a point that the sensor does not have.
pub(crate) const NO_SUCH_POINT: &str =
    "the sensor, as it runs on this device, has no such point; it may have been removed";

/// What a unit is polled with.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) sensor: Arc<Sensor>,
    pub(crate) unit_id: u8,
    pub(crate) timeout: Duration,
    pub(crate) interval: Duration,
    pub(crate) max_gap: u16,
    /// In the order of their addresses.
    pub(crate) points: Vec<PlannedPoint>,
    pub(crate) blocks: Vec<Block>,
}

impl Spec {
    /// Reads a sensor's document.
    ///
    /// # Errors
    /// It is no Modbus sensor.
    pub(crate) fn of(sensor: &Arc<Sensor>) -> Result<(Endpoint, Self), StartError> {
        let content = sensor.content();
        let Binding::Modbus { connection, points } = &content.binding else {
            return Err(StartError::Unsupported(format!(
                "the Modbus adapter was given a sensor of protocol {}",
                sensor.protocol()
            )));
        };
        let endpoint = Endpoint::of(&connection.link);
        let points = plan::in_order(points);
        let blocks = plan::blocks(&points, connection.max_gap);
        let spec = Self {
            sensor: Arc::clone(sensor),
            unit_id: connection.unit_id,
            timeout: Duration::from_millis(connection.timeout_ms.into()),
            interval: Duration::from_millis(content.poll_interval_ms.into()),
            max_gap: connection.max_gap,
            points,
            blocks,
        };
        Ok((endpoint, spec))
    }

    pub(crate) fn id(&self) -> SensorId {
        self.sensor.id()
    }

    /// Does the other one read the same, in the same way? Then what was learned about it still holds.
    pub(crate) fn reads_the_same(&self, other: &Self) -> bool {
        self.points == other.points && self.blocks == other.blocks
    }

    /// The name of a point, by its order in the plan.
    pub(crate) fn point_name(&self, index: usize) -> &str {
        self.document()[self.points[index].document_index]
            .name
            .as_str()
    }

    /// The request that writes `value` to a point.
    ///
    /// # Errors
    /// Why nothing can be sent: for the operator.
    pub(crate) fn write(&self, point: PointId, value: &PointValue) -> Result<Write, String> {
        let found = self.document().iter().find(|found| found.id == point);
        Write::of(found.ok_or(NO_SUCH_POINT)?, value)
    }

    /// The points as the document has them.
    fn document(&self) -> &[Point<Address>] {
        match &self.sensor.content().binding {
            Binding::Modbus { points, .. } => points,
            Binding::Can { .. } | Binding::Opcua { .. } | Binding::Mqtt { .. } => {
                unreachable!("only Modbus sensors become a spec")
            }
        }
    }
}
