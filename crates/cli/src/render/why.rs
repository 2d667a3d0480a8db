//! Why a sensor is as it is, in words: what is wanted, what runs, how they differ, what was tried, what comes next.

use holdfast_domain::{
    Binding, HealthStatus, Item,
    backoff::Backoff,
    drift::{DriftKind, SensorDrift},
    protocol::modbus,
    row::DeploymentStatus,
};
use holdfast_wire::{
    Device, DeviceStatus, HistoryEntry, ReconciliationView, SensorView, SetpointView,
};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    output::harmless,
    render::{
        lists::times,
        time::{lasting, relative, relative_or},
    },
};

/// All that is known of one sensor.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Its device.
    pub device: Device,
    /// Its row of the read model.
    pub sensor: SensorView,
    /// What is wanted; `None`: it is not wanted any more.
    pub wanted: Option<Item>,
    /// The version that last changed what is wanted.
    pub changed_by: Option<HistoryEntry>,
    /// How what runs differs.
    pub drift: Option<SensorDrift>,
    /// What its outputs shall hold, and what became of that.
    pub setpoints: Vec<SetpointView>,
    /// How the device's value loop runs.
    pub reconciliation: ReconciliationView,
}

/// The explanation: a headline, and a few labelled sentences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// `boiler-1 of plant-3 is failed`.
    pub headline: String,
    /// What follows, with its label.
    pub lines: Vec<(&'static str, String)>,
}

impl Explanation {
    /// As text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = self.headline.clone();
        for (label, line) in &self.lines {
            text.push_str(&format!("\n  {label:<8} {line}"));
        }
        text
    }
}

/// Explains.
#[must_use]
pub fn explain(facts: &Facts, now: Timestamp) -> Explanation {
    let Facts { device, sensor, .. } = facts;
    let stale = if sensor.stale {
        ", as far as is known: its agent is silent"
    } else {
        ""
    };
    let lines = [
        Some(("wanted", wanted(facts, now))),
        Some(("runs", runs(facts, now))),
        health(facts, now).map(|text| ("health", text)),
        differs(facts, now).map(|text| ("differs", text)),
        tried(facts).map(|text| ("tried", text)),
        Some(("next", next(facts, now))),
    ];
    Explanation {
        headline: format!(
            "{} of {} is {}{stale}",
            sensor.name,
            device.name,
            status(sensor.deployment_status)
        ),
        lines: lines
            .into_iter()
            .flatten()
            .map(|(label, text)| (label, harmless(&text)))
            .collect(),
    }
}

const fn status(status: DeploymentStatus) -> &'static str {
    match status {
        DeploymentStatus::Pending => "pending: its agent has not got it yet",
        DeploymentStatus::Reconciling => "reconciling: its agent works on it",
        DeploymentStatus::Deployed => "deployed",
        DeploymentStatus::Failed => "failed: its agent could not start it",
        DeploymentStatus::PendingDeletion => {
            "pending deletion: it still runs, and is not wanted any more"
        }
    }
}

fn wanted(facts: &Facts, now: Timestamp) -> String {
    let Some(item) = &facts.wanted else {
        return format!(
            "that it does not run (the target is at version {})",
            facts.device.target_version
        );
    };
    let content = item.sensor.content();
    let points = content.binding.point_count();
    let enabled = if content.enabled { "" } else { ", disabled" };
    let mut text = format!(
        "{} at {}, {points} {}, every {} ms{enabled} (version {}",
        item.sensor.protocol(),
        place(&content.binding),
        if points == 1 { "point" } else { "points" },
        content.poll_interval_ms,
        item.config_version,
    );
    if let Some(entry) = &facts.changed_by {
        text.push_str(&format!(
            ", by {} {}",
            entry.author,
            relative(entry.at, now)
        ));
        if let Some(reason) = &entry.reason {
            text.push_str(&format!(": {reason}"));
        }
    }
    text.push(')');
    text
}

fn place(binding: &Binding) -> String {
    match binding {
        Binding::Modbus { connection, .. } => {
            let unit = connection.unit_id;
            match &connection.link {
                modbus::Link::Tcp { host, port } => format!("{host}:{port} unit {unit}"),
                modbus::Link::RtuOverTcp { host, port } => {
                    format!("{host}:{port} (RTU over TCP) unit {unit}")
                }
                modbus::Link::Rtu { serial_port, line } => {
                    format!("{serial_port} ({} baud) unit {unit}", line.baud_rate)
                }
            }
        }
        Binding::Can { connection, .. } => connection.interface.clone(),
        Binding::Opcua { connection, .. } => connection.endpoint_url.clone(),
        Binding::Mqtt { connection, .. } => format!("{}:{}", connection.host, connection.port),
    }
}

fn runs(facts: &Facts, now: Timestamp) -> String {
    let sensor = &facts.sensor;
    match &sensor.running {
        None => "nothing".to_owned(),
        Some(running) if sensor.synced_to_config => {
            format!(
                "just that, for {} (version {})",
                lasting(running.since, now),
                sensor.config_version
            )
        }
        Some(running) => {
            format!(
                "the content of version {}, for {}",
                sensor.config_version,
                lasting(running.since, now)
            )
        }
    }
}

fn health(facts: &Facts, now: Timestamp) -> Option<String> {
    let health = facts.sensor.health.as_ref()?;
    let reason = health
        .reason
        .as_ref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    Some(format!(
        "{} for {}{reason}",
        health.status,
        lasting(health.since, now)
    ))
}

fn differs(facts: &Facts, now: Timestamp) -> Option<String> {
    let (kind, since) = facts.sensor.drift.zip(facts.sensor.drifting_since)?;
    let paths = facts
        .drift
        .as_ref()
        .map(|drift| drift.paths.join(", "))
        .filter(|paths| !paths.is_empty());
    let what = match kind {
        DriftKind::Missing => "it is wanted, and nothing of it runs".to_owned(),
        DriftKind::Unexpected => "it runs, and is not wanted".to_owned(),
        DriftKind::Changed => format!(
            "it runs with other content ({})",
            paths.as_deref().unwrap_or("see diff")
        ),
        DriftKind::Enabled => {
            "it is enabled where it should be disabled, or the other way round".to_owned()
        }
        DriftKind::VersionBehind => "the content is the same, as an older version of it".to_owned(),
    };
    Some(format!("{what}; for {}", lasting(since, now)))
}

fn tried(facts: &Facts) -> Option<String> {
    let error = facts.sensor.deployment_error.as_ref()?;
    Some(format!(
        "{}; the last error: {error}",
        times(facts.sensor.deployment_attempts)
    ))
}

fn next(facts: &Facts, now: Timestamp) -> String {
    let Facts { device, sensor, .. } = facts;
    let target = device.target_version;
    if device.incarnation.is_none() {
        return format!(
            "no agent has registered as {0} yet: give one its provisioning key (holdfast device rekey {0} prints a new one)",
            device.name
        );
    }
    if sensor.stale || device.status == DeviceStatus::Silent {
        return format!(
            "the agent of {} was last heard of {}; it goes on with what it holds. Once it is back it takes up version {target}. \
             Check its power and network",
            device.name,
            relative_or(device.last_seen_at, now, "long ago"),
        );
    }
    match sensor.deployment_status {
        DeploymentStatus::Deployed => match sensor.health.as_ref().map(|health| health.status) {
            Some(HealthStatus::Offline) => {
                "the agent asks the instrument again and again, with growing pauses; once it answers, all is well by \
                 itself. Check its power, cable and address"
                    .to_owned()
            }
            Some(HealthStatus::Degraded) => {
                "nothing by itself: the instrument answers, but refuses some points. `holdfast get points` says which"
                    .to_owned()
            }
            Some(HealthStatus::Online) | None => "nothing: all is as wanted".to_owned(),
        },
        DeploymentStatus::Pending => format!("the agent fetches version {target} within seconds, while it reaches the hub"),
        DeploymentStatus::Reconciling => "the agent reports how it went within seconds".to_owned(),
        DeploymentStatus::Failed => format!(
            "the agent tries again by itself, after at most {} s; meanwhile its other sensors run. If the error does not \
             go away, correct the sensor and apply it",
            Backoff::ITEM.limit_ms / 1_000,
        ),
        DeploymentStatus::PendingDeletion if sensor.deployment_error.is_some() => format!(
            "the agent tries again by itself, after at most {} s; until then the sensor runs on",
            Backoff::HUB.limit_ms / 1_000,
        ),
        DeploymentStatus::PendingDeletion => format!("the agent stops it when it takes up version {target}"),
    }
}
