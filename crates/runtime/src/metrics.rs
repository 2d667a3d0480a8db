//! Metrics in Prometheus' text format.

use std::{sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds in seconds for what takes from a tenth of a millisecond to a minute.
const SECONDS: [f64; 14] = [
    0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0,
];

/// Upper bounds in seconds for what lasts: drift, deployments.
const LONG_SECONDS: [f64; 12] = [
    0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0, 604_800.0,
];

/// Upper bounds for counts of sensors.
const SENSORS: [f64; 8] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0];

/// The process's metrics, for showing.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Starts recording in this process; the second start gives the same metrics.
    #[must_use]
    pub fn start() -> Self {
        static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
        Self(HANDLE.get_or_init(install).clone())
    }

    /// All metrics in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

fn install() -> PrometheusHandle {
    let buckets = |builder: PrometheusBuilder, matcher: Matcher, bounds: &[f64]| {
        builder
            .set_buckets_for_metric(matcher, bounds)
            .expect("the bounds are not empty")
    };
    let mut builder = PrometheusBuilder::new();
    builder = buckets(builder, Matcher::Suffix("_seconds".into()), &SECONDS);
    for long in [
        "holdfast_drift_ended_seconds",
        "holdfast_change_to_deployed_seconds",
        "holdfast_between_reports_seconds",
    ] {
        builder = buckets(builder, Matcher::Full(long.into()), &LONG_SECONDS);
    }
    builder = buckets(
        builder,
        Matcher::Full("holdfast_report_sensors".into()),
        &SENSORS,
    );
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!(
            "another metrics recorder is installed in this process: these metrics stay empty"
        );
    }
    describe();
    keep_small(handle.clone());
    handle
}

const COUNTERS: [(&str, &str); 10] = [
    (
        "holdfast_answers_not_held_total",
        "Answers that were not held back because as many were already as may be",
    ),
    (
        "holdfast_bodies_refused_total",
        "Bodies that were too large or came too slowly",
    ),
    (
        "holdfast_commands_total",
        "Commands that agents gave their word on, by what became of them",
    ),
    (
        "holdfast_connections_refused_total",
        "Connections over the limit, which were answered 503",
    ),
    (
        "holdfast_connections_too_slow_total",
        "Connections that did not send a request in time",
    ),
    (
        "holdfast_pass_overruns_total",
        "Passes that took longer than their interval",
    ),
    (
        "holdfast_notices_total",
        "Notices of trouble, by who was to be told and what came of it",
    ),
    ("holdfast_reports_total", "Reports, by what came of them"),
    (
        "holdfast_setpoint_refusals_total",
        "Setpoints that were not held any more, by how: refused, blocked, overridden",
    ),
    (
        "holdfast_setpoint_writes_total",
        "Writes that agents made to hold values",
    ),
];

const GAUGES: [(&str, &str); 13] = [
    (
        "holdfast_answers_held",
        "Answers that are held back: long polls, event streams, requests to look again",
    ),
    (
        "holdfast_commands_waiting",
        "Commands that agents have not given their word on",
    ),
    ("holdfast_connections", "Open connections"),
    (
        "holdfast_deployments_overdue",
        "Sensors whose deployment takes too long",
    ),
    ("holdfast_devices", "Devices"),
    (
        "holdfast_devices_drifting",
        "Devices with a sensor that differs in this way",
    ),
    (
        "holdfast_devices_due",
        "Devices that wait for the reconciler: its queue",
    ),
    (
        "holdfast_devices_silent",
        "Devices whose agent was not heard of for too long",
    ),
    (
        "holdfast_oldest_drift_seconds",
        "Age of the oldest drift; 0 if there is none",
    ),
    (
        "holdfast_seen_waiting",
        "Devices whose last seen waits to be written: the queue of that",
    ),
    ("holdfast_sensors", "Sensors, by deployment status"),
    (
        "holdfast_sensors_failed",
        "Sensors that can not be started, by device",
    ),
    (
        "holdfast_write_budget_left",
        "Writes that may still be made to the output of the fleet that has the fewest left",
    ),
];

const HISTOGRAMS: [(&str, &str); 8] = [
    (
        "holdfast_between_reports_seconds",
        "Time from one report of a device to its next",
    ),
    (
        "holdfast_change_to_deployed_seconds",
        "Time from a saved change to its deployment",
    ),
    (
        "holdfast_command_to_result_seconds",
        "Time from a command to its agent's word",
    ),
    (
        "holdfast_drift_ended_seconds",
        "How long drifts that ended had lasted",
    ),
    ("holdfast_pass_seconds", "How long passes took"),
    ("holdfast_report_seconds", "Time to take a report, durably"),
    ("holdfast_report_sensors", "Sensors that a report changed"),
    (
        "holdfast_setpoint_to_verified_seconds",
        "Time from setting a value until it was read back",
    ),
];

/// Says what each metric means, to those who look at them.
fn describe() {
    for (name, meaning) in COUNTERS {
        metrics::describe_counter!(name, meaning);
    }
    for (name, meaning) in GAUGES {
        metrics::describe_gauge!(name, meaning);
    }
    for (name, meaning) in HISTOGRAMS {
        metrics::describe_histogram!(name, meaning);
    }
}

/// Samples are kept until they are summed up: that must happen though nobody asks for the metrics.
fn keep_small(handle: PrometheusHandle) {
    const EVERY: Duration = Duration::from_secs(5);
    let upkeep = move || loop {
        std::thread::sleep(EVERY);
        handle.run_upkeep();
    };
    if let Err(error) = std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(upkeep)
    {
        tracing::error!(%error, "metrics are summed up only when they are asked for");
    }
}
