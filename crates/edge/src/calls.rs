//! Calls of the ports as tasks: each ends with a [`Done`], whatever the adapter does, also if it panics or never ends.

use std::{
    any::Any, collections::BTreeMap, future::Future, panic::AssertUnwindSafe, sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use holdfast_domain::{
    CommandId, Item, PointId, PointValue, Protocol, Quality, Report, SensorId, TargetState,
    document::command::CommandReport,
    hold::{Account, LoopMemory, WriteOutcome},
    in_words,
};
use holdfast_ports::{
    StoreError,
    bus::{FieldBus, Fresh, RunningSensor, StartError, StartRequest},
    hub_link::{HeldTarget, HubError, HubLink, Polled, ReportAnswer},
    ledger::{Identity, Ledger, TurnedAway},
    readings::ReadingSink,
};
use tokio::{sync::RwLock, time::Instant};

use crate::{
    health::HealthBox,
    machine::{CommandEvent, Established, PointsRead, UpdateFailure},
};

/// A call has ended.
pub(crate) enum Done {
    /// The answer, and when it came.
    Polled(Result<Polled, HubError>, Instant),
    Command(CommandEvent),
    Held(Result<(), String>),
    Started {
        sensor: SensorId,
        generation: u64,
        result: Result<(Handle, Established), String>,
    },
    Updated {
        sensor: SensorId,
        generation: u64,
        result: Result<Established, UpdateFailure>,
    },
    Read(PointsRead),
    Wrote {
        point: PointId,
        outcome: WriteOutcome,
    },
    Booked {
        point: PointId,
        booked: Account,
        result: Result<(), String>,
    },
    Remembered(Result<(), String>),
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

/// A sensor that runs. Whoever uses it holds it for reading; who stops it waits for them, each of whom has a deadline, and
/// takes it away.
pub(crate) type Handle = Arc<RwLock<Option<Box<dyn RunningSensor>>>>;

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
    pub(crate) async fn poll(self, held: Option<HeldTarget>, wait_ms: u64) -> Done {
        let wait = Duration::from_millis(wait_ms);
        let answer = guarded(
            "the hub's link",
            self.limit + wait,
            self.hub.poll(held.as_ref(), wait),
        )
        .await;
        let answer = answer.unwrap_or_else(|fault| Err(HubError::Unreachable(fault)));
        Done::Polled(answer, Instant::now())
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
            let unwritten = |error: StoreError| HubError::Unreachable(in_words(&error));
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

    pub(crate) async fn remember(self, memory: Box<LoopMemory>) -> Done {
        Done::Remembered(self.written(self.ledger.remember(&memory)).await)
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
    ) -> Result<Handle, String> {
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
        let handle = started.map_err(|error| error.to_string())?;
        Ok(Arc::new(RwLock::new(Some(handle))))
    }

    pub(crate) async fn update(self, handle: Handle, item: Item, generation: u64) -> Done {
        let sensor = item.sensor.id();
        let adapter = format!("the {} adapter", item.sensor.protocol());
        let update = async {
            match &*handle.read().await {
                Some(running) => running.update(item.sensor.clone()).await,
                None => Err(StartError::Unreachable("it is stopped".into())),
            }
        };
        let result = match guarded(&adapter, self.limit, update).await {
            Ok(Ok(())) => Ok(self.note_established(&item).await),
            Ok(Err(error)) => Err(UpdateFailure {
                error: error.to_string(),
                lost: false,
            }),
            Err(fault) => {
                // What it left behind can't be trusted: dropping it stops it. That may panic too.
                let left = handle.write().await.take();
                let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(left)));
                Err(UpdateFailure {
                    error: fault,
                    lost: true,
                })
            }
        };
        Done::Updated {
            sensor,
            generation,
            result,
        }
    }

    pub(crate) async fn stop(
        self,
        handle: Option<Handle>,
        sensor: SensorId,
        generation: u64,
    ) -> Done {
        let stop = async {
            let running = match &handle {
                Some(handle) => handle.write().await.take(),
                None => None,
            };
            if let Some(running) = running {
                running.stop().await;
            }
        };
        Done::Stopped {
            sensor,
            generation,
            result: guarded("the adapter", self.limit, stop).await,
        }
    }

    pub(crate) async fn read(
        self,
        handle: Option<Handle>,
        sensor: SensorId,
        points: Vec<PointId>,
        asked_at: u64,
    ) -> Done {
        let read = async {
            let running = match &handle {
                Some(handle) => handle.read().await,
                None => return None,
            };
            match &*running {
                Some(running) => Some(running.read(&points).await),
                None => None,
            }
        };
        let shown = match guarded("the adapter", self.limit, read).await {
            Ok(Some(shown)) if shown.len() == points.len() => Ok(shown),
            Ok(Some(_)) => Err("the adapter gave too few readings".to_owned()),
            Ok(None) => Err("its sensor does not run".to_owned()),
            Err(fault) => Err(fault),
        };
        let shown = shown.unwrap_or_else(|why| vec![not_read(why); points.len()]);
        Done::Read(PointsRead {
            sensor,
            points,
            asked_at,
            shown,
        })
    }

    pub(crate) async fn write(
        self,
        handle: Option<Handle>,
        point: PointId,
        value: PointValue,
    ) -> Done {
        let write = async {
            let gone = || WriteOutcome::NotSent("its sensor does not run".into());
            let Some(handle) = &handle else { return gone() };
            match &*handle.read().await {
                Some(running) => running.write(point, &value).await,
                None => gone(),
            }
        };
        let outcome = guarded("the adapter", self.limit, write).await;
        Done::Wrote {
            point,
            outcome: outcome.unwrap_or_else(WriteOutcome::Unknown),
        }
    }

    pub(crate) async fn book_writes(self, point: PointId, booked: Account) -> Done {
        let result = self.written(self.ledger.book_writes(point, &booked)).await;
        Done::Booked {
            point,
            booked,
            result,
        }
    }

    /// Books writes where that is needed, and notes that a command is begun.
    pub(crate) async fn begin_command(
        self,
        id: CommandId,
        booking: Option<(PointId, Account)>,
    ) -> Done {
        let note = async {
            if let Some((point, booked)) = booking {
                self.written(self.ledger.book_writes(point, &booked))
                    .await?;
            }
            self.written(self.ledger.begin_command(id)).await
        };
        let result = note.await;
        Done::Command(CommandEvent::Begun { id, result })
    }

    pub(crate) async fn read_for_command(
        self,
        id: CommandId,
        handle: Option<Handle>,
        sensor: SensorId,
        points: Vec<PointId>,
        asked_at: u64,
    ) -> Done {
        match self.read(handle, sensor, points, asked_at).await {
            Done::Read(read) => Done::Command(CommandEvent::Read { id, read }),
            other => other,
        }
    }

    pub(crate) async fn write_for_command(
        self,
        id: CommandId,
        handle: Option<Handle>,
        point: PointId,
        value: PointValue,
        begin_by: Instant,
    ) -> Done {
        let write = async {
            let gone = || WriteOutcome::NotSent("its sensor does not run".into());
            let Some(handle) = &handle else { return gone() };
            let running = handle.read().await;
            let left = begin_by.saturating_duration_since(Instant::now());
            match &*running {
                Some(running) => running.write_within(point, &value, left).await,
                None => gone(),
            }
        };
        let outcome = guarded("the adapter", self.limit, write).await;
        let outcome = outcome.unwrap_or_else(WriteOutcome::Unknown);
        Done::Command(CommandEvent::Wrote { id, outcome })
    }

    pub(crate) async fn end_command(self, report: CommandReport) -> Done {
        let result = self.written(self.ledger.end_command(&report)).await;
        let id = report.id;
        Done::Command(CommandEvent::Ended { id, result })
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
            .map_err(|error| in_words(&error))
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

/// What is said of a point that could not even be asked for.
fn not_read(why: String) -> Fresh {
    Fresh {
        value: None,
        quality: Quality::Bad,
        reason: Some(why),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words")
}
