//! The loop over the fleet: what time alone brings about.
//!
//! It finds agents that went silent, drift that lasts and drift that has ended, and asks agents whose device drifts to
//! look again. It never touches hardware and never writes what a report or an edit would write. Any number of reconcilers
//! share the fleet through the store.
//!
//! Where to look: [`pacer`] (when is the next pass?), [`pass`] (what is done in one), [`retention`] (how long events are
//! kept), [`notices`] (who is told of trouble), `figures` and `outputs` (the fleet's metrics); what is decided of one device is [`holdfast_domain::watch`].

mod figures;
pub mod notices;
mod outputs;
pub mod pacer;
pub mod pass;
pub mod retention;

use std::{sync::Arc, time::Duration};

use holdfast_domain::{trouble::Tolerated, watch::Patience};
use holdfast_ports::{
    clock::Clock,
    events::EventStore,
    fleet::{FleetStore, OVERDUE_AFTER},
    store::DeviceStore,
    tokens::TokenStore,
    wakeups::{Wake, Wakeups},
};
use jiff::SignedDuration;
use tokio::{
    sync::{broadcast::error::RecvError, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    outputs::Outputs,
    pacer::{Command, Pacer},
    pass::PassReport,
};

/// What a reconciler is built of.
#[derive(Clone)]
pub struct ReconcilerParts {
    /// Devices.
    pub devices: Arc<dyn DeviceStore>,
    /// Which are due.
    pub fleet: Arc<dyn FleetStore>,
    /// The event log, for retention.
    pub events: Arc<dyn EventStore>,
    /// Tokens and keys, for retention.
    pub tokens: Arc<dyn TokenStore>,
    /// Wake-ups.
    pub wakeups: Arc<dyn Wakeups>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconcilerSettings {
    /// How often due devices are looked for.
    pub interval: Duration,
    /// How patient it is with devices.
    pub patience: Patience,
    /// Devices claimed at once.
    pub batch: u32,
    /// Devices looked at at once.
    pub at_once: usize,
    /// After so long a claimed device that was not dealt with is due again.
    pub lease: SignedDuration,
    /// How long events are kept, and tokens and keys that have ended.
    pub keep_events: SignedDuration,
    /// How many versions of a device's target are kept.
    pub keep_versions: u32,
    /// A deployment that has not come to an end after so long is overdue.
    pub overdue_after: SignedDuration,
    /// How often the fleet's figures are published.
    pub figures_every: Duration,
}

impl Default for ReconcilerSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            patience: Patience {
                silent_after: SignedDuration::from_secs(90),
                drift_after: SignedDuration::from_secs(10),
                tolerated: Tolerated::USUAL,
                at_least_every: SignedDuration::from_secs(300),
            },
            batch: 100,
            at_once: 8,
            lease: SignedDuration::from_secs(60),
            keep_events: SignedDuration::from_hours(24 * 90),
            keep_versions: 1_000,
            overdue_after: OVERDUE_AFTER,
            figures_every: Duration::from_secs(10),
        }
    }
}

/// What a reconciler has done so far; for its health page and for tests, which count completed passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Passes that ran to their end.
    pub passes: u64,
    /// Passes that took longer than the interval.
    pub overruns: u64,
    /// What the last pass did.
    pub last: PassReport,
}

/// The reconciler.
#[derive(Clone)]
pub struct Reconciler {
    parts: ReconcilerParts,
    settings: ReconcilerSettings,
    progress: watch::Sender<Progress>,
    outputs: Arc<Outputs>,
}

impl Reconciler {
    /// A reconciler of these parts.
    #[must_use]
    pub fn new(parts: ReconcilerParts, settings: ReconcilerSettings) -> Self {
        Self {
            parts,
            settings,
            progress: watch::Sender::new(Progress::default()),
            outputs: Arc::default(),
        }
    }

    /// What it has done so far.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Runs until `cancel` is; a pass that is under way then runs to its end.
    pub async fn run(&self, cancel: CancellationToken) {
        let mut wakes = self.parts.wakeups.subscribe();
        metrics::counter!("holdfast_pass_overruns_total", "loop" => "configuration").increment(0);
        let mut pacer = Pacer::new(self.settings.interval, Instant::now());
        let mut running: Option<JoinHandle<PassReport>> = None;
        let retention = retention::spawn(self.parts.clone(), self.settings, cancel.clone());
        let figures = figures::spawn(
            self.parts.clone(),
            self.settings,
            self.outputs.clone(),
            cancel.clone(),
        );
        loop {
            if let Some(Command::StartPass) = pacer.next(Instant::now()) {
                running = Some(self.start_pass());
            }
            let next = tokio::select! {
                wake = wakes.recv() => Next::Wake(wake),
                report = finished(&mut running) => Next::Finished(report),
                () = tokio::time::sleep_until(pacer.tick_at()), if !pacer.is_running() => Next::Tick,
                () = cancel.cancelled() => Next::End,
            };
            match next {
                Next::Wake(Ok(Wake::Tokens)) | Next::Tick => {}
                Next::Wake(Ok(Wake::Desired(_) | Wake::Everything) | Err(RecvError::Lagged(_))) => {
                    pacer.wake();
                }
                Next::Finished(report) => {
                    running = None;
                    let overrun = pacer.finished(Instant::now());
                    self.note(report, overrun);
                }
                Next::Wake(Err(RecvError::Closed)) | Next::End => break,
            }
        }
        if let Some(handle) = running {
            let _ = handle.await;
        }
        for background in [retention, figures] {
            if let Err(error) = background.await {
                tracing::error!(%error, "a background task of the reconciler ended in a panic");
            }
        }
    }

    fn start_pass(&self) -> JoinHandle<PassReport> {
        let this = self.clone();
        tokio::spawn(async move { this.pass().await })
    }

    fn note(&self, report: Option<PassReport>, overrun: bool) {
        if overrun {
            metrics::counter!("holdfast_pass_overruns_total", "loop" => "configuration")
                .increment(1);
        }
        self.progress.send_modify(|progress| {
            progress.passes += 1;
            progress.overruns += u64::from(overrun);
            progress.last = report.unwrap_or(PassReport {
                cut_short: true,
                ..PassReport::default()
            });
        });
    }
}

enum Next {
    Wake(Result<Wake, RecvError>),
    Finished(Option<PassReport>),
    Tick,
    End,
}

/// The pass under way, when it ends; `None` if it panicked. Never ends while none is under way.
async fn finished(running: &mut Option<JoinHandle<PassReport>>) -> Option<PassReport> {
    match running {
        None => std::future::pending().await,
        Some(handle) => match handle.await {
            Ok(report) => Some(report),
            Err(error) => {
                tracing::error!(%error, "a pass ended in a panic: its devices are due again when their lease ends");
                None
            }
        },
    }
}
