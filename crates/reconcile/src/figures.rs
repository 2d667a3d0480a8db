//! The fleet's figures as metrics.

use std::{collections::BTreeSet, sync::Arc};

use holdfast_ports::fleet::{Figures, FleetStore};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{ReconcilerParts, ReconcilerSettings, outputs::Outputs};

/// What was told: what is over is told too.
#[derive(Default)]
struct Told {
    /// Devices with failures.
    failing: BTreeSet<String>,
    /// Deployments that were overdue.
    overdue: u64,
}

impl Told {
    fn of_overdue(&mut self, overdue: u64, after: SignedDuration) {
        if overdue > self.overdue {
            let after_s = after.as_secs();
            tracing::warn!(
                overdue,
                after_s,
                "deployments are overdue: `holdfast get drift` lists them"
            );
        } else if overdue == 0 && self.overdue > 0 {
            tracing::info!("no deployment is overdue any more");
        }
        self.overdue = overdue;
    }
}

/// Publishes the figures again and again until `cancel` is: they are counted over the whole fleet, and so not in each pass.
pub(crate) fn spawn(
    parts: ReconcilerParts,
    settings: ReconcilerSettings,
    outputs: Arc<Outputs>,
    cancel: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut told = Told::default();
        let mut every = tokio::time::interval(settings.figures_every);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while cancel.run_until_cancelled(every.tick()).await.is_some() {
            let now = parts.clock.now();
            publish(parts.fleet.as_ref(), &mut told, now, settings.overdue_after).await;
            let known = outputs.figures(now);
            if let Some(lowest) = known.lowest_budget {
                gauge("holdfast_write_budget_left", lowest);
            }
            gauge("holdfast_commands_waiting", known.commands_waiting);
        }
    })
}

/// Publishes the figures; if they can't be had, the old ones stand.
async fn publish(
    fleet: &dyn FleetStore,
    told: &mut Told,
    now: Timestamp,
    overdue_after: SignedDuration,
) {
    let figures = match fleet.figures(now - overdue_after).await {
        Ok(figures) => figures,
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the fleet's figures could not be had"
            );
            return;
        }
    };
    let Figures {
        devices,
        silent,
        drifting,
        oldest_drift,
        sensors,
        failed,
        overdue,
        due,
    } = figures;
    gauge("holdfast_devices", devices);
    gauge("holdfast_devices_silent", silent);
    gauge("holdfast_devices_due", due);
    gauge("holdfast_deployments_overdue", overdue);
    told.of_overdue(overdue, overdue_after);
    for kind in [
        "missing",
        "unexpected",
        "changed",
        "enabled",
        "versionBehind",
    ] {
        let count = drifting
            .iter()
            .find(|(of, _)| of.as_str() == kind)
            .map_or(0, |(_, count)| *count);
        metrics::gauge!("holdfast_devices_drifting", "kind" => kind).set(as_f64(count));
    }
    for status in [
        "pending",
        "reconciling",
        "deployed",
        "failed",
        "pendingDeletion",
    ] {
        let count = sensors
            .iter()
            .find(|(of, _)| of.as_str() == status)
            .map_or(0, |(_, count)| *count);
        metrics::gauge!("holdfast_sensors", "status" => status).set(as_f64(count));
    }
    for device in &told.failing {
        if !failed.contains_key(device) {
            metrics::gauge!("holdfast_sensors_failed", "device" => device.clone()).set(0.0);
        }
    }
    told.failing = failed.keys().cloned().collect();
    for (device, count) in failed {
        metrics::gauge!("holdfast_sensors_failed", "device" => device).set(as_f64(count));
    }
    let age = oldest_drift.map_or(0.0, |since| {
        now.duration_since(since).as_secs_f64().max(0.0)
    });
    metrics::gauge!("holdfast_oldest_drift_seconds").set(age);
}

fn gauge(name: &'static str, value: u64) {
    metrics::gauge!(name).set(as_f64(value));
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts of devices and sensors are far below 2^53"
)]
const fn as_f64(value: u64) -> f64 {
    value as f64
}
