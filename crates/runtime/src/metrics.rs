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
    keep_small(handle.clone());
    handle
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
