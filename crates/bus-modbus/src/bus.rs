//! The verbs: the adapter as the agent knows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_domain::hold::WriteOutcome;
use holdfast_domain::{PointId, PointValue, Protocol, Sensor};
use holdfast_ports::bus::{FieldBus, Fresh, RunningSensor, StartError, StartRequest};
use holdfast_ports::clock::{Clock, Entropy};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::data::{Endpoint, Spec};
use crate::link::{Command, Key, Link, NewUnit, Registry, TASK_FAILED, unread};
use crate::settings::{Settings, Waits};
use crate::stats::{LinkStats, LinkView};

/// The Modbus adapter: Modbus TCP, RTU on serial lines, RTU over TCP.
///
/// `start` ends well with the first answer of the unit, an exception included; with two exceptions that say that the
/// unit was not reached (10 and 11, from a gateway) it does not. It ends with an error after the deadline for connecting
/// and the unit's own for the answer, and after what other units on a shared line take before it. Behind a link that is
/// known to be down it fails at once, and on a line that other sensors use with other settings. A sensor without points is established by the connection.
pub struct ModbusBus {
    registry: Arc<Registry>,
    next_key: AtomicU64,
}

impl ModbusBus {
    /// An adapter without sensors. `entropy` is for jitter, `clock` for the time that readings carry.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, settings: Settings) -> Self {
        let registry = Registry::new(clock, Waits { settings, entropy });
        Self {
            registry,
            next_key: AtomicU64::new(0),
        }
    }

    /// The counters of all links that there are or ever were.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        self.registry.total()
    }

    /// The links in use, each with its counters.
    #[must_use]
    pub fn links(&self) -> Vec<LinkView> {
        self.registry.views()
    }
}

#[async_trait]
impl FieldBus for ModbusBus {
    fn protocol(&self) -> Protocol {
        Protocol::Modbus
    }

    async fn start(&self, request: StartRequest) -> Result<Box<dyn RunningSensor>, StartError> {
        let StartRequest {
            sensor,
            was_established,
            readings,
            health,
        } = request;
        let (endpoint, spec) = Spec::of(&sensor)?;
        let link = self.registry.link(&endpoint);
        let link = link.map_err(StartError::Unsupported)?;
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let (starting, answer) = oneshot::channel();
        let starting = (!was_established).then_some(starting);
        // From here on, dropping it (and so this future) removes the unit.
        let running = RunningUnit {
            endpoint,
            link,
            key,
        };
        running.link.send(Command::Add(
            key,
            Box::new(NewUnit {
                spec,
                readings,
                health,
                starting,
            }),
        ));
        if !was_established {
            answer
                .await
                .unwrap_or_else(|_| Err(running.task_failed()))?;
        }
        Ok(Box::new(running))
    }
}

/// A unit that is polled.
struct RunningUnit {
    endpoint: Endpoint,
    link: Arc<Link>,
    key: Key,
}

#[async_trait]
impl RunningSensor for RunningUnit {
    async fn read(&self, points: &[PointId]) -> Vec<Fresh> {
        let (answer, fresh) = oneshot::channel();
        self.link
            .send(Command::Read(self.key, points.to_vec(), answer));
        fresh
            .await
            .unwrap_or_else(|_| unread(points.len(), TASK_FAILED))
    }

    async fn write(&self, point: PointId, value: &PointValue) -> WriteOutcome {
        self.write_by(|answer| Command::Write(self.key, point, value.clone(), answer))
            .await
    }

    async fn write_within(
        &self,
        point: PointId,
        value: &PointValue,
        begin_within: Duration,
    ) -> WriteOutcome {
        let by = Instant::now() + begin_within;
        let write = |answer| Command::WriteBy(by, self.key, point, value.clone(), answer);
        self.write_by(write).await
    }

    async fn update(&self, sensor: Arc<Sensor>) -> Result<(), StartError> {
        let (endpoint, spec) = Spec::of(&sensor)?;
        if endpoint != self.endpoint {
            let (old, new) = (self.endpoint.in_full(), endpoint.in_full());
            return Err(StartError::Unsupported(format!(
                "moving from {old} to {new} needs a restart of the sensor"
            )));
        }
        let (done, is_done) = oneshot::channel();
        self.link
            .send(Command::Update(self.key, Box::new(spec), done));
        is_done.await.map_err(|_| self.task_failed())
    }

    async fn stop(self: Box<Self>) {
        let (done, is_done) = oneshot::channel();
        self.link.send(Command::Remove(self.key, Some(done)));
        // If the task has failed, nothing is sent either.
        let _ = is_done.await;
    }
}

impl RunningUnit {
    async fn write_by(
        &self,
        command: impl FnOnce(oneshot::Sender<WriteOutcome>) -> Command,
    ) -> WriteOutcome {
        let (answer, outcome) = oneshot::channel();
        if !self.link.send(command(answer)) {
            return WriteOutcome::NotSent(TASK_FAILED.to_owned());
        }
        let failed = |_| WriteOutcome::Unknown(TASK_FAILED.to_owned());
        outcome.await.unwrap_or_else(failed)
    }

    fn task_failed(&self) -> StartError {
        StartError::Unsupported(format!("{}: {TASK_FAILED}", self.endpoint))
    }
}

impl Drop for RunningUnit {
    fn drop(&mut self) {
        // After a stop there is nothing to remove any more.
        self.link.send(Command::Remove(self.key, None));
    }
}
