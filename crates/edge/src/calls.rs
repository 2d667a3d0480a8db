//! Calls of the ports as tasks: each ends with a [`Done`], whatever the adapter does, also if it panics or never ends.

use std::{
    any::Any, collections::BTreeMap, future::Future, panic::AssertUnwindSafe, sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use holdfast_domain::{Item, Protocol, Report, SensorId, TargetState};
use holdfast_ports::{
    StoreError,
    bus::{FieldBus, RunningSensor, StartRequest},
    hub_link::{HubError, HubLink, Polled, ReportAnswer},
    ledger::{Identity, Ledger, TurnedAway},
    readings::ReadingSink,
};

use crate::{
    health::HealthBox,
    machine::{Established, UpdateFailure},
};

/// A call has ended.
pub(crate) enum Done {
    Polled(Result<Polled, HubError>),
    Held(Result<(), String>),
    Started {
        sensor: SensorId,
        generation: u64,
        result: Result<(Box<dyn RunningSensor>, Established), String>,
    },
    Updated {
        sensor: SensorId,
        generation: u64,
        result: Result<Established, UpdateFailure>,
        handle: Option<Box<dyn RunningSensor>>,
    },
    Stopped {
        sensor: SensorId,
        generation: u64,
        result: Result<(), String>,
    },
    WorkNoted {
        version: u64,
        result: Result<(), String>,
    },
    EstablishedKept(Result<(), String>),
    TurnedAwayNoted(Result<(), String>),
    Reported(Result<ReportAnswer, HubError>),
    Reincarnated(Result<(Identity, u64), HubError>),
}

/// The ports, as tasks need them.
#[derive(Clone)]
pub(crate) struct Calls {
    pub(crate) hub: Arc<dyn HubLink>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) buses: Arc<BTreeMap<Protocol, Arc<dyn FieldBus>>>,
    pub(crate) readings: Arc<dyn ReadingSink>,
    pub(crate) health: Arc<HealthBox>,
    /// How long a call of a port may take beyond what it was asked to wait. The ports promise to end by themselves; this
    /// is for those that don't.
    pub(crate) limit: Duration,
}

impl Calls {
    pub(crate) async fn poll(self, held: Option<String>, wait_ms: u64) -> Done {
        let wait = Duration::from_millis(wait_ms);
        let answer = guarded(
            "the hub's link",
            self.limit + wait,
            self.hub.poll(held.as_deref(), wait),
        )
        .await;
        Done::Polled(answer.unwrap_or_else(|fault| Err(HubError::Unreachable(fault))))
    }

    pub(crate) async fn report(self, report: Report) -> Done {
        let answer = guarded("the hub's link", self.limit, self.hub.report(&report)).await;
        Done::Reported(answer.unwrap_or_else(|fault| Err(HubError::Unreachable(fault))))
    }

    /// A new life: given by the hub, kept on the disk, its first boot counted.
    pub(crate) async fn reincarnate(self, identity: Identity) -> Done {
        let Self {
            hub, ledger, limit, ..
        } = self;
        let reborn = async {
            let incarnation = hub.new_incarnation().await?;
            let identity = Identity {
                incarnation,
                ..identity
            };
            let unwritten = |error: StoreError| HubError::Unreachable(with_source(&error));
            ledger.set_identity(&identity).await.map_err(unwritten)?;
            let boot = ledger.begin_boot().await.map_err(unwritten)?.boot;
            Ok((identity, boot))
        };
        let answer = guarded("the way to a new incarnation", limit, reborn).await;
        Done::Reincarnated(answer.unwrap_or_else(|fault| Err(HubError::Unreachable(fault))))
    }

    pub(crate) async fn hold(self, target: Arc<TargetState>) -> Done {
        Done::Held(self.written(self.ledger.hold(&target)).await)
    }

    pub(crate) async fn note_worked(self, version: u64) -> Done {
        Done::WorkNoted {
            version,
            result: self.written(self.ledger.worked_through(version)).await,
        }
    }

    pub(crate) async fn keep_established(self, keep: Vec<SensorId>) -> Done {
        Done::EstablishedKept(self.written(self.ledger.keep_established(&keep)).await)
    }

    pub(crate) async fn note_turned_away(self, how: Option<TurnedAway>) -> Done {
        Done::TurnedAwayNoted(self.written(self.ledger.turned_away(how)).await)
    }

    /// Starts a sensor; it counts as started once it stands in the ledger that it was established.
    pub(crate) async fn start(self, item: Item, generation: u64, was_established: bool) -> Done {
        let sensor = item.sensor.id();
        let result = match self
            .start_with_adapter(&item, generation, was_established)
            .await
        {
            Ok(handle) if was_established => Ok((handle, Established::Noted)),
            Ok(handle) => Ok((handle, self.note_established(&item).await)),
            Err(error) => Err(error),
        };
        Done::Started {
            sensor,
            generation,
            result,
        }
    }

    async fn start_with_adapter(
        &self,
        item: &Item,
        generation: u64,
        was_established: bool,
    ) -> Result<Box<dyn RunningSensor>, String> {
        let protocol = item.sensor.protocol();
        let bus = self
            .buses
            .get(&protocol)
            .ok_or_else(|| format!("this agent does not speak {protocol}"))?;
        let request = StartRequest {
            sensor: item.sensor.clone(),
            was_established,
            readings: self.readings.clone(),
            health: self.health.listener(generation),
        };
        let started = guarded(
            &format!("the {protocol} adapter"),
            self.limit,
            bus.start(request),
        )
        .await?;
        started.map_err(|error| error.to_string())
    }

    pub(crate) async fn update(
        self,
        handle: Box<dyn RunningSensor>,
        item: Item,
        generation: u64,
    ) -> Done {
        let sensor = item.sensor.id();
        let adapter = format!("the {} adapter", item.sensor.protocol());
        let taken = guarded(&adapter, self.limit, handle.update(item.sensor.clone())).await;
        let (result, handle) = match taken {
            Ok(Ok(())) => (Ok(self.note_established(&item).await), Some(handle)),
            Ok(Err(error)) => (
                Err(UpdateFailure {
                    error: error.to_string(),
                    lost: false,
                }),
                Some(handle),
            ),
            Err(fault) => {
                // What it left behind can't be trusted: dropping it stops it. That may panic too.
                let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(handle)));
                (
                    Err(UpdateFailure {
                        error: fault,
                        lost: true,
                    }),
                    None,
                )
            }
        };
        Done::Updated {
            sensor,
            generation,
            result,
            handle,
        }
    }

    pub(crate) async fn stop(
        self,
        handle: Option<Box<dyn RunningSensor>>,
        sensor: SensorId,
        generation: u64,
    ) -> Done {
        let result = match handle {
            Some(handle) => guarded("the adapter", self.limit, handle.stop()).await,
            None => Ok(()),
        };
        Done::Stopped {
            sensor,
            generation,
            result,
        }
    }

    async fn note_established(&self, item: &Item) -> Established {
        let note = self
            .ledger
            .established(item.sensor.id(), item.sensor.fingerprint());
        match self.written(note).await {
            Ok(()) => Established::Noted,
            Err(error) => {
                tracing::error!(sensor = %item.sensor.name(), error, "could not note that a sensor was established");
                Established::NotNoted
            }
        }
    }

    async fn written(
        &self,
        write: impl Future<Output = Result<(), StoreError>>,
    ) -> Result<(), String> {
        guarded("the ledger", self.limit, write)
            .await?
            .map_err(|error| with_source(&error))
    }
}

/// Runs a call of a port; says so if it panics or does not end within `limit`.
pub(crate) async fn guarded<T>(
    who: &str,
    limit: Duration,
    call: impl Future<Output = T>,
) -> Result<T, String> {
    match tokio::time::timeout(limit, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(panic)) => Err(format!("{who} has a fault: {}", panic_text(panic.as_ref()))),
        Err(_) => Err(format!("{who} gave no answer within {} s", limit.as_secs())),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words")
}

/// An error and what it comes from, on one line.
fn with_source(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
