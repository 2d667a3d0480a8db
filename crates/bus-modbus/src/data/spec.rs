//! What a unit is polled with, taken from a sensor's document.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use holdfast_domain::document::point::Point;
use holdfast_domain::protocol::modbus::{Address, Link};
use holdfast_domain::{Binding, PointId, PointValue, Sensor, SensorId};
use holdfast_ports::bus::StartError;

use super::Write;
use super::plan::{self, Block, PlannedPoint};

/// What is said of a point that the sensor does not have.
pub(crate) const NO_SUCH_POINT: &str =
    "the sensor, as it runs on this device, has no such point; it may have been removed";

/// The other end of a TCP link. Sensors with the same one share a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

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
    /// It is no Modbus sensor, or on a link that this adapter does not speak.
    pub(crate) fn of(sensor: &Arc<Sensor>) -> Result<(Endpoint, Self), StartError> {
        let content = sensor.content();
        let Binding::Modbus { connection, points } = &content.binding else {
            return Err(StartError::Unsupported(format!(
                "the Modbus adapter was given a sensor of protocol {}",
                sensor.protocol()
            )));
        };
        let unsupported = |what: &str| {
            Err(StartError::Unsupported(format!(
                "this agent does not speak {what} yet; of the Modbus connection types it speaks \"tcp\""
            )))
        };
        let endpoint = match &connection.link {
            // Names are the same in either case; one instrument must not get two connections for it.
            Link::Tcp { host, port } => Endpoint {
                host: host.to_ascii_lowercase(),
                port: *port,
            },
            Link::RtuOverTcp { .. } => return unsupported("Modbus RTU over TCP (\"rtuOverTcp\")"),
            Link::Rtu { .. } => return unsupported("Modbus RTU on a serial line (\"rtu\")"),
        };
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
