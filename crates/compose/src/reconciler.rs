//! The reconciler as a daemon.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use holdfast_domain::{trouble::Tolerated, watch::Patience};
use holdfast_reconcile::{Progress, Reconciler, ReconcilerParts, ReconcilerSettings};
use holdfast_runtime::{
    clock::SystemClock,
    config::{self, ConfigError},
    health,
    logs::LogConfig,
    metrics::Metrics,
    serve,
};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    notices::{self, NotifyConfig},
    parts::Parts,
    process::RoleConfig,
    stores::{self, StoreConfig, Stores},
};

/// The reconciler's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconcilerConfig {
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    #[serde(deserialize_with = "config::listen")]
    pub listen: SocketAddr,
    /// The store that it shares with the API.
    pub store: StoreConfig,
    /// Its loop.
    pub reconcile: ReconcileConfig,
    /// Who is told of trouble that persists.
    pub notify: NotifyConfig,
    /// How it logs.
    pub log: LogConfig,
}

/// How the loop over the fleet runs. Times in whole seconds. What is out of its range is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconcileConfig {
    /// How often due devices are looked for, 1 to 3,600.
    pub interval_s: u32,
    /// An agent that was not heard of for so long is silent: three heartbeats. 20 to 86,400: a hub that was away for less
    /// than its gap of 15 s counts as having been up, and that must make nobody silent.
    pub silent_after_s: u32,
    /// A drift that lasts so long is told of, 1 to 86,400.
    pub drift_after_s: u32,
    /// A deployment that has not come to an end after so long is overdue, 1 to 86,400.
    pub overdue_after_s: u32,
    /// Trouble (a silent agent, a failed sensor, a dead instrument, a value that is not held) that lasts so long is told of, 1 to
    /// 86,400.
    pub trouble_after_s: u32,
    /// A sensor that could not be started so often is told of before that, 1 to 1,000,000.
    pub trouble_after_attempts: u32,
    /// How long events are kept, and tokens and keys that have ended: 1 to 36,500.
    pub keep_events_days: u32,
    /// How many versions of each device's target are kept, 1 to 1,000,000: the last one is always kept.
    pub keep_versions: u32,
}

impl Default for ReconcilerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3003)),
            store: StoreConfig::default(),
            reconcile: ReconcileConfig::default(),
            notify: NotifyConfig::default(),
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
            trouble_after_s: 300,
            trouble_after_attempts: 10,
            keep_events_days: 90,
            keep_versions: 1_000,
        }
    }
}

impl RoleConfig for ReconcilerConfig {
    const PREFIX: &'static str = "HOLDFAST_RECONCILER_";
    const ABOUT: &'static str = "Watches over the fleet: tells of silent agents, of drift that lasts and of overdue changes, and removes what is old.";

    fn log(&self) -> &LogConfig {
        &self.log
    }
}

impl ReconcileConfig {
    fn check(&self) -> Result<(), ConfigError> {
        const DAY_S: u32 = 86_400;
        let Self {
            interval_s,
            silent_after_s,
            drift_after_s,
            overdue_after_s,
            trouble_after_s,
            trouble_after_attempts,
            keep_events_days,
            keep_versions,
        } = *self;
        for (key, value, least, most) in [
            ("reconcile.interval_s", interval_s, 1, 3_600),
            ("reconcile.silent_after_s", silent_after_s, 20, DAY_S),
            ("reconcile.drift_after_s", drift_after_s, 1, DAY_S),
            ("reconcile.overdue_after_s", overdue_after_s, 1, DAY_S),
            ("reconcile.trouble_after_s", trouble_after_s, 1, DAY_S),
            (
                "reconcile.trouble_after_attempts",
                trouble_after_attempts,
                1,
                1_000_000,
            ),
            ("reconcile.keep_events_days", keep_events_days, 1, 36_500),
            ("reconcile.keep_versions", keep_versions, 1, 1_000_000),
        ] {
            if !(least..=most).contains(&value) {
                return Err(ConfigError::key(key, format!("{least} to {most}"), &value));
            }
        }
        Ok(())
    }

    fn settings(&self) -> ReconcilerSettings {
        let seconds = |seconds: u32| SignedDuration::from_secs(i64::from(seconds));
        let defaults = ReconcilerSettings::default();
        ReconcilerSettings {
            interval: Duration::from_secs(u64::from(self.interval_s)),
            patience: Patience {
                silent_after: seconds(self.silent_after_s),
                drift_after: seconds(self.drift_after_s),
                tolerated: Tolerated {
                    for_long: seconds(self.trouble_after_s),
                    attempts: self.trouble_after_attempts,
                },
                ..defaults.patience
            },
            keep_events: SignedDuration::from_hours(24 * i64::from(self.keep_events_days)),
            keep_versions: self.keep_versions,
            overdue_after: seconds(self.overdue_after_s),
            ..defaults
        }
    }
}

/// A reconciler over these stores.
///
/// # Errors
/// Names the first key that is out of its range.
pub fn reconciler(stores: Stores, config: &ReconcileConfig) -> Result<Reconciler, ConfigError> {
    config.check()?;
    let Stores {
        devices,
        tokens,
        events,
        fleet,
        notices: _,
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
    Ok(Reconciler::new(parts, config.settings()))
}

/// Runs the daemon until `cancel` is.
///
/// # Errors
/// If the store or the port can't be had, or a part ends by itself.
pub async fn run(config: ReconcilerConfig, cancel: CancellationToken) -> anyhow::Result<()> {
    config.reconcile.check()?;
    config.notify.check()?;
    let metrics = Metrics::start();
    let listener = serve::bind(config.listen).await?;
    let opening = cancel.run_until_cancelled(Box::pin(stores::open(&config.store)));
    let Some(stores) = opening.await else {
        return Ok(());
    };
    let stores = stores?;
    let ways = notices::ways(&stores, &config.notify)?;
    let reconciler = reconciler(stores, &config.reconcile)?;
    let progress = reconciler.progress();
    let ready = Arc::new(move || readiness(&progress.borrow()));
    println!("listening on http://{}", listener.local_addr()?);
    let mut parts = Parts::new(cancel).that_end_within(serve::ENDING);
    parts.spawn("the health port", |cancel| async move {
        health::serve(listener, metrics, ready, cancel).await;
        Ok(())
    });
    parts.spawn("the reconciler", |cancel| async move {
        reconciler.run(cancel).await;
        Ok(())
    });
    for way in ways {
        parts.spawn("telling of trouble", |cancel| async move {
            way.run(cancel).await;
            Ok(())
        });
    }
    parts.run().await
}

/// A reconciler is ready if its last pass came to its end.
fn readiness(progress: &Progress) -> Result<(), String> {
    match progress {
        Progress { passes: 0, .. } => Err("no pass has been completed yet".to_owned()),
        Progress { last, .. } if last.cut_short => Err(
            "the store could not be reached in the last pass: see the log; it is tried again at each pass".to_owned(),
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_its_range_is_refused_by_name() {
        ReconcileConfig::default()
            .check()
            .expect("the defaults fit");
        type Set = fn(&mut ReconcileConfig);
        let wrong: [(Set, &str); 9] = [
            (
                |c| c.interval_s = 0,
                "interval_s (as configured): expected 1 to 3600, found 0",
            ),
            (
                |c| c.interval_s = 3_601,
                "interval_s (as configured): expected 1 to 3600, found 3601",
            ),
            (
                |c| c.silent_after_s = 0,
                "silent_after_s (as configured): expected 20 to 86400, found 0",
            ),
            (
                |c| c.silent_after_s = 19,
                "silent_after_s (as configured): expected 20 to 86400, found 19",
            ),
            (
                |c| c.drift_after_s = 0,
                "drift_after_s (as configured): expected 1 to 86400, found 0",
            ),
            (
                |c| c.drift_after_s = u32::MAX,
                "drift_after_s (as configured): expected 1 to 86400, found 4294967295",
            ),
            (
                |c| c.overdue_after_s = 0,
                "overdue_after_s (as configured): expected 1 to 86400, found 0",
            ),
            (
                |c| c.keep_events_days = 0,
                "keep_events_days (as configured): expected 1 to 36500, found 0",
            ),
            (
                |c| c.keep_versions = 0,
                "keep_versions (as configured): expected 1 to 1000000, found 0",
            ),
        ];
        for (set, expected) in wrong {
            let mut config = ReconcileConfig::default();
            set(&mut config);
            let error = config.check().expect_err(expected).to_string();
            assert_eq!(error, format!("configuration key reconcile.{expected}"));
        }
    }
}
