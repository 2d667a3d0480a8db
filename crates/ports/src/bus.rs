//! A fieldbus: starts, updates and stops sensors of one protocol.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use holdfast_domain::{
    HealthStatus, PointId, PointValue, Protocol, Quality, Sensor, SensorId, hold::WriteOutcome,
};

use crate::readings::ReadingSink;

/// An adapter of one protocol.
///
/// # Contract
/// - [`start`](Self::start) returns as soon as the sensor is *established* (Modbus: the first answer of the unit, an
///   exception included; OPC UA: the items created; MQTT: the subscription acknowledged; CAN: the socket bound), or at
///   once if [`StartRequest::was_established`]: then the instrument may be silent, which is a matter of health. It
///   returns an error if the sensor could not be established within its own deadlines; nothing of it runs then.
/// - From then on it polls (or listens) by itself, gives readings to the sink and health to the listener, and reconnects
///   with backoff for ever. One sensor's trouble delays no other beyond what a shared line forces.
/// - A disabled sensor is never given to an adapter.
/// - Dropping the future of `start` leaves nothing running.
#[async_trait]
pub trait FieldBus: Send + Sync {
    /// The protocol it speaks.
    fn protocol(&self) -> Protocol;

    /// Starts a sensor.
    async fn start(&self, request: StartRequest) -> Result<Box<dyn RunningSensor>, StartError>;
}

/// What a sensor is started with.
#[derive(Clone)]
pub struct StartRequest {
    /// Its content.
    pub sensor: Arc<Sensor>,
    /// Was this very content established before, in this or an earlier life of the agent?
    pub was_established: bool,
    /// Where readings go.
    pub readings: Arc<dyn ReadingSink>,
    /// Where changes of health go.
    pub health: Arc<dyn HealthListener>,
}

/// A sensor that runs.
///
/// # Contract
/// - [`update`](Self::update) is given content that differs only in what can be taken while running
///   ([`Difference::TakenRunning`](holdfast_domain::plan::Difference)); it never breaks the connection.
/// - [`read`](Self::read) and [`write`](Self::write) overtake what is polled on the same line, writes before reads and each
///   among themselves in the order of their calls, and have deadlines of their own. A write does not overtake a read of the
///   same place that was called before. Dropping their futures leaves a request that was begun to end by itself; its
///   outcome is lost; what was not begun is not sent.
/// - A write is one request, so that a value of several registers is never torn, and is made at most once: what was sent
///   and not answered is [`WriteOutcome::Unknown`], and never sent again.
/// - After [`stop`](Self::stop) returns, the adapter sends nothing more for this sensor, neither to the instrument nor to
///   the sinks. Dropping a running sensor stops it too, soon.
#[async_trait]
pub trait RunningSensor: Send + Sync {
    /// Reads points now. Gives one reading a point, in the order of `points`; what can't be read is a bad reading.
    async fn read(&self, points: &[PointId]) -> Vec<Fresh>;

    /// Writes a value to a point now.
    async fn write(&self, point: PointId, value: &PointValue) -> WriteOutcome;

    /// Writes a value to a point, if that can be begun within `begin_within`: what waits longer for its turn is never sent,
    /// and is [`WriteOutcome::NotSent`]. For what must not come late. As it stands here, for an adapter on which nothing
    /// waits.
    async fn write_within(
        &self,
        point: PointId,
        value: &PointValue,
        begin_within: Duration,
    ) -> WriteOutcome {
        if begin_within.is_zero() {
            return WriteOutcome::NotSent("its time was over".into());
        }
        self.write(point, value).await
    }

    /// Takes other content while running.
    async fn update(&self, sensor: Arc<Sensor>) -> Result<(), StartError>;

    /// Stops.
    async fn stop(self: Box<Self>);
}

/// What a point showed when it was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Fresh {
    /// The value; `None`: it could not be read.
    pub value: Option<PointValue>,
    /// How far to trust it.
    pub quality: Quality,
    /// Why it is not good.
    pub reason: Option<String>,
}

/// Takes changes of health. Never blocks.
pub trait HealthListener: Send + Sync {
    /// `sensor` now has this status, for this reason. Called on every change and possibly again without one.
    fn health(&self, sensor: SensorId, status: HealthStatus, reason: Option<String>);

    /// The other side ended the connection to `sensor`. That alone is no change of health, because it can be made again
    /// before anybody misses it; but meanwhile the instrument may have been without power, so that what it shows from now on
    /// may be what it starts with. Called before anything is read on another connection.
    fn broken_off(&self, sensor: SensorId);
}

/// Why a sensor could not be started or updated. The text goes to the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The line failed: nobody there, refused, no answer in time.
    #[error("{0}")]
    Unreachable(String),
    /// The instrument answered, and said no.
    #[error("{0}")]
    Refused(String),
    /// This agent can't do that: no such interface, a missing secret, an option it does not support.
    #[error("{0}")]
    Unsupported(String),
}
