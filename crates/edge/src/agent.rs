//! The agent as others see it: what it is made of, how it behaves, and how it is run.
//!
//! How it goes about it stands in `shell.rs` and [`crate::machine`].

use std::{sync::Arc, time::Duration};

use holdfast_ports::{
    StoreError,
    bus::FieldBus,
    clock::{Clock, Entropy},
    hub_link::HubLink,
    ledger::Ledger,
    load::MachineLoad,
    readings::ReadingSink,
};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    calls::Calls,
    health::HealthBox,
    local::LocalLoop,
    machine::{Machine, MachineSettings, NotRegistered, Now},
    readings::{HubReadings, HubReadingsSettings, fan_out},
    shell::Shell,
    status::AgentStatus,
};

/// What an agent is made of.
pub struct AgentParts {
    /// Its hub.
    pub hub: Arc<dyn HubLink>,
    /// Its disk. It must hold an identity.
    pub ledger: Arc<dyn Ledger>,
    /// The protocols that it speaks, one adapter each.
    pub buses: Vec<Arc<dyn FieldBus>>,
    /// Where readings go besides the hub.
    pub readings: Vec<Arc<dyn ReadingSink>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// How an agent behaves.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// How long it waits for what.
    pub machine: MachineSettings,
    /// How readings go to the hub.
    pub readings: HubReadingsSettings,
    /// How long a call of an adapter may take before it counts as failed. The longest time-out of a document is a minute.
    pub call_limit: Duration,
    /// How long sensors may take to stop when the agent ends.
    pub stop_limit: Duration,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            machine: MachineSettings::default(),
            readings: HubReadingsSettings::default(),
            call_limit: Duration::from_secs(180),
            stop_limit: Duration::from_secs(5),
        }
    }
}

/// Why an agent could not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its ledger can't be used.
    #[error(transparent)]
    Ledger(#[from] StoreError),
    /// It has no identity.
    #[error(transparent)]
    NotRegistered(#[from] NotRegistered),
}

/// An agent.
pub struct Agent {
    parts: AgentParts,
    settings: AgentSettings,
    status: watch::Sender<Option<Arc<AgentStatus>>>,
    local: LocalLoop,
    load: Option<Arc<dyn MachineLoad>>,
}

impl Agent {
    /// An agent that does not run yet.
    #[must_use]
    pub fn new(parts: AgentParts, settings: AgentSettings) -> Self {
        Self {
            parts,
            settings,
            status: watch::Sender::new(None),
            local: LocalLoop::default(),
            load: None,
        }
    }

    /// The same, which answers what comes this way. Where several agents have the same way, the one that runs answers.
    #[must_use]
    pub fn answering(self, local: LocalLoop) -> Self {
        Self { local, ..self }
    }

    /// The same, which looks less often while the machine is busy.
    #[must_use]
    pub fn measuring(self, load: Arc<dyn MachineLoad>) -> Self {
        Self {
            load: Some(load),
            ..self
        }
    }

    /// What the agent knows of itself, from now on; `None` until it runs.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Option<Arc<AgentStatus>>> {
        self.status.subscribe()
    }

    /// Runs until `cancel`, then stops every sensor and ends; nothing is told to the hub about that, since what the hub
    /// knows stays the last truth that the agent can vouch for.
    ///
    /// # Errors
    /// The ledger can't be read, or holds no identity. Once it runs, nothing ends it but `cancel`.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), AgentError> {
        let Self {
            parts,
            settings,
            status,
            local,
            load,
        } = self;
        let asked = local.waiting().lock_owned().await;
        let AgentParts {
            hub,
            ledger,
            buses,
            readings,
            clock,
            entropy,
        } = parts;
        let held = ledger.begin_boot().await?;
        let identity = held.identity.clone().ok_or(NotRegistered)?;
        let began = Instant::now();
        let machine = Machine::new(
            held,
            settings.machine,
            Now {
                ms: 0,
                wall: clock.now(),
            },
        )?;
        let to_hub = Arc::new(HubReadings::new(settings.readings));
        // Ends with this function, however that ends.
        let mut beside = JoinSet::new();
        beside.spawn(to_hub.clone().run(hub.clone(), entropy.clone()));
        let mut sinks: Vec<Arc<dyn ReadingSink>> = vec![to_hub];
        sinks.extend(readings);
        let calls = Calls {
            hub,
            ledger,
            buses: Arc::new(buses.into_iter().map(|bus| (bus.protocol(), bus)).collect()),
            readings: fan_out(sinks),
            health: Arc::new(HealthBox::default()),
            limit: settings.call_limit,
        };
        let shell =
            Shell::new(machine, calls, identity, clock, entropy, began, asked).measuring(load);
        shell.run(&cancel, &status, settings.stop_limit).await;
        Ok(())
    }
}
