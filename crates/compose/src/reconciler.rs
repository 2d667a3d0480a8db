//! The reconciler as a daemon.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use holdfast_domain::watch::Patience;
use holdfast_reconcile::{Reconciler, ReconcilerParts, ReconcilerSettings};
use holdfast_runtime::{clock::SystemClock, health, logs::LogConfig, metrics::Metrics, serve};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    parts::Parts,
    process::RoleConfig,
    stores::{self, StoreConfig, Stores},
};

/// The reconciler's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconcilerConfig {
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    pub listen: SocketAddr,
    /// The store that it shares with the API.
    pub store: StoreConfig,
    /// Its loop.
    pub reconcile: ReconcileConfig,
    /// How it logs.
    pub log: LogConfig,
}

/// How the loop over the fleet runs. Times in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconcileConfig {
    /// How often due devices are looked for.
    pub interval_s: u32,
    /// An agent that was not heard of for so long is silent: three heartbeats.
    pub silent_after_s: u32,
    /// A drift that lasts so long is told of.
    pub drift_after_s: u32,
    /// A deployment that has not come to an end after so long is overdue.
    pub overdue_after_s: u32,
    /// How long events are kept, and tokens and keys that have ended.
    pub keep_events_days: u32,
    /// How many versions of each device's target are kept.
    pub keep_versions: u32,
}

impl Default for ReconcilerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3003)),
            store: StoreConfig::default(),
            reconcile: ReconcileConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Default for ReconcileConfig {
    fn default() -> Self {
        Self {
            interval_s: 1,
            silent_after_s: 90,
            drift_after_s: 10,
            overdue_after_s: 60,
            keep_events_days: 90,
            keep_versions: 1_000,
        }
    }
}

impl RoleConfig for ReconcilerConfig {
    const PREFIX: &'static str = "HOLDFAST_RECONCILER_";

    fn log(&self) -> &LogConfig {
        &self.log
    }
}

impl ReconcileConfig {
    fn settings(&self) -> ReconcilerSettings {
        let defaults = ReconcilerSettings::default();
        ReconcilerSettings {
            interval: Duration::from_secs(u64::from(self.interval_s.max(1))),
            patience: Patience {
                silent_after: SignedDuration::from_secs(i64::from(self.silent_after_s)),
                drift_after: SignedDuration::from_secs(i64::from(self.drift_after_s)),
                ..defaults.patience
            },
            keep_events: SignedDuration::from_hours(24 * i64::from(self.keep_events_days.max(1))),
            keep_versions: self.keep_versions.max(1),
            overdue_after: SignedDuration::from_secs(i64::from(self.overdue_after_s)),
            ..defaults
        }
    }
}

/// A reconciler over these stores.
#[must_use]
pub fn reconciler(stores: Stores, config: &ReconcileConfig) -> Reconciler {
    let Stores {
        devices,
        tokens,
        events,
        fleet,
        wakeups,
    } = stores;
    let parts = ReconcilerParts {
        devices,
        fleet,
        events,
        tokens,
        wakeups,
        clock: Arc::new(SystemClock),
    };
    Reconciler::new(parts, config.settings())
}

/// Runs the daemon until `cancel` is.
///
/// # Errors
/// If the store or the port can't be had, or a part ends by itself.
pub async fn run(config: ReconcilerConfig, cancel: CancellationToken) -> anyhow::Result<()> {
    let metrics = Metrics::start();
    let listener = serve::bind(config.listen).await?;
    let stores = stores::open(&config.store).await?;
    let reconciler = reconciler(stores, &config.reconcile);
    let progress = reconciler.progress();
    let ready = Arc::new(move || match progress.borrow().passes {
        0 => Err("no pass has been completed yet".to_owned()),
        _ => Ok(()),
    });
    println!("listening on http://{}", listener.local_addr()?);
    let mut parts = Parts::new(cancel);
    parts.spawn("the health port", |cancel| async move {
        health::serve(listener, metrics, ready, cancel).await;
        Ok(())
    });
    parts.spawn("the reconciler", |cancel| async move {
        reconciler.run(cancel).await;
        Ok(())
    });
    parts.run().await
}
