//! The fleet's figures as metrics.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use holdfast_ports::fleet::{Figures, FleetStore};
use jiff::Timestamp;

/// Devices that failures were told of: when they have none any more, that is told too.
#[derive(Default)]
pub(crate) struct Told(Mutex<BTreeSet<String>>);

/// Publishes the figures; if they can't be had, the old ones stand.
pub(crate) async fn publish(fleet: &dyn FleetStore, told: &Told, now: Timestamp) {
    let figures = match fleet.figures().await {
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
        due,
    } = figures;
    gauge("holdfast_devices", devices);
    gauge("holdfast_devices_silent", silent);
    gauge("holdfast_devices_due", due);
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
    let mut told = told.0.lock().unwrap_or_else(PoisonError::into_inner);
    for device in told.iter().filter(|device| !failed.contains_key(*device)) {
        metrics::gauge!("holdfast_sensors_failed", "device" => device.clone()).set(0.0);
    }
    *told = failed.keys().cloned().collect();
    drop(told);
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
