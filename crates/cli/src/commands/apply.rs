//! `apply`: manifests to targets.
//!
//! All manifests are read and planned before anything is changed. A target is replaced as a whole, guarded by the version
//! that the plan was made on; if someone else was faster, it is planned anew on what they made.

use holdfast_domain::{Item, Name, SensorId};
use holdfast_hub_client::Operator;
use holdfast_wire::{Device, DeviceCreate, DeviceUpdate};
use serde::Serialize;
use serde_json::Value;

use super::{
    Session,
    merge::{is_of, merged},
    plan::{Planned, plan_all, show},
    resolve,
    wait::{self, Goal, Outcome},
};
use crate::{
    CliError, Exit,
    args::ApplyArgs,
    manifest::{self, Manifest},
    output::Out,
};

/// How often an edit is planned anew because someone else changed the target meanwhile.
const ATTEMPTS: u32 = 5;

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
        return Err(resolve::no_such_device(&hub, missing.name.as_str()).await?);
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
    removed: Vec<(SensorId, Name)>,
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
        let goes = |item: &&Item| prune && !sensors.iter().any(|s| is_of(s, item));
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
    removed: Vec<(SensorId, Name)>,
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
        .filter(|item| sensors.iter().any(|sensor| is_of(sensor, item)))
        .map(|item| goal(item.sensor.id(), item.sensor.name(), true))
        .collect();
    goals.extend(removed.iter().map(|(id, name)| goal(*id, name, false)));
    Ok(goals)
}
