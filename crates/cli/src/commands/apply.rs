//! `plan` and `apply`: manifests to targets.
//!
//! All manifests are read and planned before anything is changed. A target is replaced as a whole, guarded by the version
//! that the plan was made on; if someone else was faster, it is planned anew on what they made.

use std::collections::BTreeMap;

use holdfast_domain::Name;
use holdfast_hub_client::Operator;
use holdfast_wire::{Device, DeviceCreate, DeviceUpdate, PlanView};
use serde::Serialize;
use serde_json::Value;

use super::{
    Session,
    merge::merged,
    wait::{self, Goal, Outcome},
};
use crate::{
    CliError, Exit,
    args::{ApplyArgs, PlanArgs},
    manifest::{self, Manifest},
    output::{Out, harmless},
    render,
};

/// How often an edit is planned anew because someone else changed the target meanwhile.
const ATTEMPTS: u32 = 5;

/// What a manifest would make of its device.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Planned {
    name: Name,
    /// None: it would have to be made.
    device: Option<Device>,
    /// The labels that it would get; none: they stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
    /// What would become of its sensors; none for a device that does not exist.
    plan: Option<PlanView>,
    /// The sensors of the manifest.
    declared: usize,
}

impl Planned {
    fn changes(&self) -> bool {
        self.device.is_none()
            || self.labels.is_some()
            || self.plan.as_ref().is_some_and(|plan| plan.changes)
    }
}

#[derive(Debug, Serialize)]
struct PlanDocument<'a> {
    changes: bool,
    devices: &'a [Planned],
}

pub(super) async fn plan(session: Session<'_, '_>, args: PlanArgs) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let manifests = manifest::read_all(&args.files.files)?;
    let planned = plan_all(&hub, &manifests, args.prune).await?;
    let changes = planned.iter().any(Planned::changes);
    if out.is_document() {
        out.document(&PlanDocument {
            changes,
            devices: &planned,
        })?;
    } else {
        for planned in &planned {
            show(out, planned)?;
        }
    }
    Ok(if changes && args.exit_code {
        Exit::NotAsWanted
    } else {
        Exit::Good
    })
}

async fn plan_all(
    hub: &Operator,
    manifests: &[Manifest],
    prune: bool,
) -> Result<Vec<Planned>, CliError> {
    let mut all = Vec::with_capacity(manifests.len());
    for manifest in manifests {
        let device = hub.device_named(&manifest.device).await?;
        let plan = match &device {
            None => None,
            Some(device) => {
                let target = hub.target(device.id).await?.target;
                let list = merged(
                    &target.config.protocol_adapter_devices,
                    &manifest.sensors,
                    prune,
                );
                Some(hub.plan(device.id, &list).await?)
            }
        };
        let has = device.as_ref().map(|device| &device.labels);
        let labels = manifest
            .labels
            .clone()
            .filter(|wanted| has.is_some_and(|has| has != wanted));
        all.push(Planned {
            name: manifest.device.clone(),
            device,
            labels,
            plan,
            declared: manifest.sensors.len(),
        });
    }
    Ok(all)
}

fn show(out: &mut Out<'_>, planned: &Planned) -> Result<(), CliError> {
    let name = &planned.name;
    let (Some(device), Some(plan)) = (&planned.device, &planned.plan) else {
        let sensors = planned.declared;
        out.line(&format!(
            "{name}: no such device; apply --create-devices makes it, with {sensors} sensors"
        ))?;
        return Ok(());
    };
    if !planned.changes() {
        out.line(&format!(
            "{name} (version {}): nothing to change",
            plan.base_version
        ))?;
    } else {
        out.line(&format!(
            "{name} (version {}): {}",
            plan.base_version,
            render::plan::summary(plan)
        ))?;
        if let Some(labels) = &planned.labels {
            out.line(&format!(
                "  labels: {} → {}",
                of_labels(&device.labels),
                of_labels(labels)
            ))?;
        }
        let table = render::plan::plan(plan);
        if !table.is_empty() {
            out.table(table, "")?;
        }
    }
    for doubt in &plan.doubts {
        out.line(&format!("  doubtful: {}", harmless(&doubt.what)))?;
    }
    Ok(())
}

fn of_labels(labels: &BTreeMap<String, String>) -> String {
    if labels.is_empty() {
        return "none".to_owned();
    }
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={}", harmless(value)))
        .collect();
    pairs.join(",")
}

/// What applying a manifest came to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Applied {
    name: Name,
    device: Device,
    /// Was the device made?
    created: bool,
    /// The key that its agent registers with; only of a device just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    provisioning_key: Option<String>,
    /// Did the target change?
    changed: bool,
    /// Its version now.
    version: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApplyDocument<'a> {
    devices: &'a [Applied],
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a Outcome>,
}

pub(super) async fn apply(session: Session<'_, '_>, args: ApplyArgs) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let hub = hub.because(args.reason.as_deref());
    let manifests = manifest::read_all(&args.files.files)?;
    let planned = plan_all(&hub, &manifests, args.prune).await?;
    if let Some(missing) = planned
        .iter()
        .find(|planned| planned.device.is_none())
        .filter(|_| !args.create_devices)
    {
        out.note("apply makes devices only with --create-devices")?;
        return Err(no_device(&hub, &missing.name).await?);
    }
    if !out.is_document() {
        for planned in &planned {
            show(out, planned)?;
        }
    }
    let mut applied = Vec::with_capacity(manifests.len());
    let mut goals = Vec::new();
    for (manifest, planned) in manifests.iter().zip(planned) {
        let (done, mut of_device) = apply_one(&hub, out, manifest, planned, args.prune).await?;
        applied.push(done);
        goals.append(&mut of_device);
    }
    let outcome = if args.wait {
        Some(wait::until_settled(&hub, out, goals, args.timeout).await?)
    } else {
        None
    };
    if out.is_document() {
        out.document(&ApplyDocument {
            devices: &applied,
            outcome: outcome.as_ref(),
        })?;
    }
    Ok(outcome.map_or(Exit::Good, |outcome| outcome.exit()))
}

async fn no_device(hub: &Operator, name: &Name) -> Result<CliError, CliError> {
    let devices = hub.devices(&BTreeMap::new(), None).await?;
    let devices = devices
        .into_iter()
        .map(|device| device.name.to_string())
        .collect();
    Ok(CliError::NoSuchDevice {
        found: name.to_string(),
        devices,
    })
}

async fn apply_one(
    hub: &Operator,
    out: &mut Out<'_>,
    manifest: &Manifest,
    planned: Planned,
    prune: bool,
) -> Result<(Applied, Vec<Goal>), CliError> {
    let name = planned.name;
    let mut provisioning_key = None;
    let created = planned.device.is_none();
    let mut device = match planned.device {
        Some(device) => device,
        None => {
            let labels = manifest.labels.clone().unwrap_or_default();
            let made = hub
                .create_device(&DeviceCreate {
                    name: name.clone(),
                    labels,
                })
                .await?;
            out.progress(&format!(
                "{name}: made; its agent registers with the key {}",
                made.provisioning_key
            ))?;
            provisioning_key = Some(made.provisioning_key);
            made.device
        }
    };
    if let Some(labels) = planned.labels {
        device = hub
            .update_device(
                device.id,
                &DeviceUpdate {
                    name: None,
                    labels: Some(labels),
                },
            )
            .await?;
    }
    let edited = replace(hub, &device, &manifest.sensors, prune).await?;
    if edited.changed {
        out.progress(&format!("{name}: now at version {}", edited.version))?;
    }
    let goals = goals(hub, &device, &manifest.sensors, edited.removed).await?;
    let Replaced {
        changed, version, ..
    } = edited;
    Ok((
        Applied {
            name,
            device,
            created,
            provisioning_key,
            changed,
            version,
        },
        goals,
    ))
}

/// What replacing a target came to.
struct Replaced {
    changed: bool,
    version: u64,
    /// Sensors that went, with their names.
    removed: Vec<(holdfast_domain::SensorId, Name)>,
}

async fn replace(
    hub: &Operator,
    device: &Device,
    sensors: &[Value],
    prune: bool,
) -> Result<Replaced, CliError> {
    for _ in 0..ATTEMPTS {
        let current = hub.target(device.id).await?;
        let items = &current.target.config.protocol_adapter_devices;
        let list = merged(items, sensors, prune);
        let Some(edited) = hub.replace_target(device.id, &list, &current.etag).await? else {
            continue;
        };
        let goes = |item: &&holdfast_domain::Item| {
            prune && !sensors.iter().any(|s| super::merge::is_of(s, item))
        };
        let removed = items
            .iter()
            .filter(goes)
            .map(|item| (item.sensor.id(), item.sensor.name().clone()))
            .collect();
        return Ok(Replaced {
            changed: edited.changed,
            version: edited.version,
            removed,
        });
    }
    Err(CliError::Contended {
        device: device.name.to_string(),
        attempts: ATTEMPTS,
    })
}

/// What there is to wait for: every sensor of the manifest runs, and what was removed is gone.
async fn goals(
    hub: &Operator,
    device: &Device,
    sensors: &[Value],
    removed: Vec<(holdfast_domain::SensorId, Name)>,
) -> Result<Vec<Goal>, CliError> {
    let target = hub.target(device.id).await?.target;
    let goal = |sensor, name: &Name, wanted| Goal {
        device: device.id,
        device_name: device.name.clone(),
        sensor,
        name: name.clone(),
        wanted,
    };
    let mut goals: Vec<Goal> = target
        .config
        .protocol_adapter_devices
        .iter()
        .filter(|item| {
            sensors
                .iter()
                .any(|sensor| super::merge::is_of(sensor, item))
        })
        .map(|item| goal(item.sensor.id(), item.sensor.name(), true))
        .collect();
    goals.extend(removed.iter().map(|(id, name)| goal(*id, name, false)));
    Ok(goals)
}
