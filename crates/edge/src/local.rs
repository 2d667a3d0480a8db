//! The value loop as it is seen and ordered about on site, at the agent itself: with no hub in reach too.
//!
//! What an order means is decided by the machine; here is the way to it and back. How it is offered to people (HTTP, a page)
//! is left to others.

use std::sync::Arc;

use holdfast_domain::{
    DeviceId, Name, PointId, PointValue, SensorId,
    document::{
        hold::{LocalEnd, LocalStop, LoopState, Pause},
        setpoint::{Conformity, Hold},
    },
    row::Actor,
};
use jiff::Timestamp;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::status::HubStatus;

/// Orders that wait for the loop at the same time: a technician gives one.
const WAITING: usize = 16;

/// What somebody on site wants of the value loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalOrder {
    /// Stop it: nothing is written any more, whatever the hub wants, until it is started here or the time is over.
    Stop {
        /// Who.
        by: Actor,
        /// Why.
        reason: String,
        /// For how long, in ms; `None`: until it is started.
        for_ms: Option<u64>,
    },
    /// Lift the stop on site. What the hub has stopped stays stopped.
    Start {
        /// Who.
        by: Actor,
        /// Why.
        reason: Option<String>,
    },
    /// Look at outputs this often, in ms, whatever the hub wants; `None`: as the hub wants.
    Interval(Option<u32>),
}

/// How the value loop runs.
#[derive(Debug, Clone, PartialEq)]
pub struct LoopView {
    /// Whose outputs these are.
    pub device: DeviceId,
    /// Whether it runs.
    pub state: LoopState,
    /// The stop on site in force, with what remains of it.
    pub local: Option<LocalStop>,
    /// How the last stop on site ended.
    pub local_ended: Option<LocalEnd>,
    /// Stops and pauses of the hub in force, with what remains of them.
    pub pauses: Vec<Pause>,
    /// Does the hub want it to run? As far as this agent has heard.
    pub hub_wants: LoopState,
    /// Is the hub there?
    pub hub: HubStatus,
    /// How long it was not heard, in ms.
    pub hub_silent_ms: u64,
    /// How often outputs are looked at, in ms.
    pub interval_ms: u32,
    /// How often the hub wants them to be.
    pub hub_interval_ms: u32,
    /// How often somebody on site wants them to be.
    pub local_interval_ms: Option<u32>,
    /// The shortest interval that the last passes would have kept up with, in ms; `None`: nothing was looked at yet.
    pub recommended_interval_ms: Option<u32>,
    /// How long the longest of the sensors' last passes took, in ms.
    pub last_pass_ms: Option<u64>,
    /// Passes that ended, since the agent started.
    pub passes: u64,
    /// Passes that took longer than the interval, since the agent started.
    pub overruns: u64,
    /// Outputs that are to hold a value.
    pub outputs: usize,
    /// Those of them that do not show it, or are not known to.
    pub differing: usize,
    /// The first of those, and of those that are on their way to their safe value.
    pub points: Vec<OutputView>,
    /// The last errors, the newest first.
    pub errors: Vec<LoopError>,
}

/// An output that does not show what is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputView {
    /// The point.
    pub point: PointId,
    /// Its name.
    pub name: Option<Name>,
    /// Its sensor.
    pub sensor: SensorId,
    /// That one's name.
    pub sensor_name: Option<Name>,
    /// What it shall show.
    pub wanted: PointValue,
    /// What it showed last; `None`: it could not be read.
    pub real: Option<PointValue>,
    /// Does it show it?
    pub conformity: Conformity,
    /// Is it being held?
    pub hold: Hold,
    /// Why not.
    pub reason: Option<String>,
    /// Since when it stands so.
    pub since: Option<Timestamp>,
}

/// Something that went wrong with an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopError {
    /// When.
    pub at: Timestamp,
    /// The point.
    pub point: PointId,
    /// Its sensor.
    pub sensor: SensorId,
    /// What.
    pub error: String,
}

/// Something is asked of the loop.
pub(crate) enum Asked {
    Look(oneshot::Sender<LoopView>),
    Order(LocalOrder, oneshot::Sender<Result<(), String>>),
}

/// The way to the value loop of the agent that runs in this process. While none runs, who asks waits.
#[derive(Debug, Clone)]
pub struct LocalLoop {
    asked: mpsc::Sender<Asked>,
    /// Held by the agent that runs: when it ends, the next one answers.
    waiting: Arc<Mutex<mpsc::Receiver<Asked>>>,
}

/// An order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocalError {
    /// The agent ended before it could answer.
    #[error("the agent ended before it could answer: ask again")]
    Ended,
    /// It could not be written down.
    #[error("{0}")]
    NotKept(String),
}

impl Default for LocalLoop {
    fn default() -> Self {
        let (asked, waiting) = mpsc::channel(WAITING);
        Self {
            asked,
            waiting: Arc::new(Mutex::new(waiting)),
        }
    }
}

impl LocalLoop {
    /// How the loop runs now.
    ///
    /// # Errors
    /// If the agent ends meanwhile.
    pub async fn look(&self) -> Result<LoopView, LocalError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Asked::Look(answer)).await?;
        answered.await.map_err(|_| LocalError::Ended)
    }

    /// Gives an order, and waits until it is on the agent's disk and carried out: a stop, until what is under way has ended
    /// and every output that goes to its safe value is there. That may take as long as an instrument is out of reach; who
    /// does not want to wait drops this, and the order stands.
    ///
    /// # Errors
    /// If it could not be written down, or the agent ends meanwhile.
    pub async fn order(&self, order: LocalOrder) -> Result<(), LocalError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Asked::Order(order, answer)).await?;
        let done = answered.await.map_err(|_| LocalError::Ended)?;
        done.map_err(LocalError::NotKept)
    }

    async fn ask(&self, asked: Asked) -> Result<(), LocalError> {
        self.asked.send(asked).await.map_err(|_| LocalError::Ended)
    }

    /// What is asked, for the agent that runs.
    pub(crate) fn waiting(&self) -> Arc<Mutex<mpsc::Receiver<Asked>>> {
        self.waiting.clone()
    }
}
