//! The use cases behind the API: what operators and agents ask of the hub.
//!
//! Every use case has the same course: take the device's state (from the cache, or from the store), let the domain decide
//! what changes, commit that with a compare-and-set, and decide anew if someone else was faster. This crate adds nothing
//! to what the domain decides; it knows of tokens, caches, waiting, and nothing of HTTP or SQL.
//!
//! Where to look: [`auth`] (who is it?), [`registering`] and [`agents`] (the agent's side), [`edits`] (targets and sensors), [`devices`]
//! (devices, their registration keys, "look again"), [`values`] (setpoints, stops and pauses), [`commands`] (what happens once),
//! `readings` (last values), [`states`] (the cache and the one way to change a device).

pub mod agents;
mod applied;
pub mod auth;
pub mod commands;
pub mod devices;
pub mod edits;
mod error;
mod readings;
pub mod registering;
mod same_again;
mod seen;
mod states;
pub mod values;
mod waiting;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use holdfast_domain::{DeviceId, event::Context, row::Actor, watch::heard};
use holdfast_ports::{
    clock::{Clock, Entropy},
    events::EventStore,
    fleet::FleetStore,
    store::DeviceStore,
    tokens::TokenStore,
    wakeups::{Wake, Wakeups},
};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

pub use error::{AuthError, HubError};

/// What the hub is built of.
#[derive(Clone)]
pub struct HubParts {
    /// Devices.
    pub devices: Arc<dyn DeviceStore>,
    /// Tokens and keys.
    pub tokens: Arc<dyn TokenStore>,
    /// The event log.
    pub events: Arc<dyn EventStore>,
    /// The fleet's figures.
    pub fleet: Arc<dyn FleetStore>,
    /// Wake-ups between processes.
    pub wakeups: Arc<dyn Wakeups>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids and secrets.
    pub entropy: Arc<dyn Entropy>,
}

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubSettings {
    /// Most sensors, over all devices, whose states are kept in memory.
    pub cached_sensors: u64,
    /// How often "last seen" is written; at most 5 s, so that nobody is taken for silent wrongly.
    pub seen_every: Duration,
    /// How long a token that was found good is trusted without asking the store again: the longest that a revocation
    /// can take to be in force.
    pub token_trust: Duration,
    /// How long an answer may be held back for a long poll or `Prefer: wait`.
    pub longest_wait: Duration,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            cached_sensors: 200_000,
            seen_every: Duration::from_secs(2),
            token_trust: Duration::from_millis(900),
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// The hub. Cheap to clone; all clones are the same hub.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    parts: HubParts,
    settings: HubSettings,
    states: states::States,
    tokens: auth::TokenCache,
    seen: seen::SeenBatch,
    /// Did the last beat fail?
    is_unwritable: AtomicBool,
}

impl Hub {
    /// A hub of these parts. Its background work must be [run](Self::run) too.
    #[must_use]
    pub fn new(parts: HubParts, settings: HubSettings) -> Self {
        let inner = Inner {
            states: states::States::new(
                parts.devices.clone(),
                parts.wakeups.clone(),
                settings.cached_sensors,
            ),
            tokens: auth::TokenCache::new(settings.token_trust),
            seen: seen::SeenBatch::default(),
            is_unwritable: AtomicBool::new(false),
            parts,
            settings,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// What it is built of: lists are read from the stores directly.
    #[must_use]
    pub fn parts(&self) -> &HubParts {
        &self.inner.parts
    }

    /// Could the store not be written when that was last tried? It is every [`HubSettings::seen_every`] while the background
    /// work [runs](Self::run).
    #[must_use]
    pub fn is_unwritable(&self) -> bool {
        self.inner.is_unwritable.load(Ordering::Relaxed)
    }

    /// The background work: takes wake-ups, and writes "last seen" in batches. Ends when `cancel` is; what was seen until
    /// then is written.
    pub async fn run(&self, cancel: CancellationToken) {
        // Apart from each other: a slow store holds back no wake-up.
        tokio::join!(self.take_wakeups(&cancel), self.write_what_is_seen(&cancel));
    }

    async fn take_wakeups(&self, cancel: &CancellationToken) {
        let mut wakes = self.inner.parts.wakeups.subscribe();
        self.inner.states.forget_all();
        while let Some(wake) = cancel.run_until_cancelled(wakes.recv()).await {
            match wake {
                Ok(wake) => self.wake(wake),
                Err(RecvError::Lagged(_)) => self.wake(Wake::Everything),
                Err(RecvError::Closed) => break,
            }
        }
    }

    /// Takes a wake-up: what it may have made old is asked of the store again. For who does not [run](Self::run) the
    /// background work but drives it.
    pub fn wake(&self, wake: Wake) {
        match wake {
            Wake::Desired(device) => self.inner.states.forget(device),
            Wake::Tokens => self.inner.tokens.forget_all(),
            Wake::Everything => {
                self.inner.tokens.forget_all();
                self.inner.states.forget_all();
            }
        }
    }

    async fn write_what_is_seen(&self, cancel: &CancellationToken) {
        let mut every = tokio::time::interval(self.inner.settings.seen_every);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while cancel.run_until_cancelled(every.tick()).await.is_some() {
            self.beat().await;
        }
        self.beat().await;
    }

    /// Writes when devices were seen, and that this hub is up: the second only after the first, so that nobody is taken for
    /// silent whose sign of life is not written yet. Background work, as [`wake`](Self::wake) is.
    pub async fn beat(&self) {
        let parts = &self.inner.parts;
        let written = match self.inner.seen.write(parts.devices.as_ref()).await {
            Ok(silent) => parts.fleet.beat(parts.clock.now()).await.map(|()| silent),
            Err(error) => Err(error),
        };
        let is_unwritable = &self.inner.is_unwritable;
        is_unwritable.store(written.is_err(), Ordering::Relaxed);
        let silent = written.unwrap_or_else(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "\"last seen\" could not be written; it is kept"
            );
            Vec::new()
        });
        for device in silent {
            if let Err(error) = self.take_back_silence(device).await {
                tracing::warn!(%device, error = &error as &dyn std::error::Error, "the device stays marked as silent");
            }
        }
    }

    /// The reconciler marked a device as silent, in another process perhaps; it was heard of here.
    async fn take_back_silence(&self, device: DeviceId) -> Result<(), HubError> {
        let context = self.context(&Actor::agent(), None);
        self.inner.states.forget(device);
        let decide = |known: &states::Known| {
            Ok(states::Decided {
                change: heard(&known.state, &context),
                answer: (),
            })
        };
        self.inner.states.change(device, decide).await
    }

    fn context(&self, actor: &Actor, correlation: Option<&str>) -> Context {
        let context = Context::new(self.inner.parts.clock.now(), actor.clone());
        match correlation {
            Some(correlation) => context.during(correlation),
            None => context,
        }
    }
}
