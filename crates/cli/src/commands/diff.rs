//! `diff`: value by value, a manifest against a target or a target against what runs.

use std::collections::BTreeMap;

use holdfast_domain::{Item, Sensor, SensorId};
use holdfast_wire::Device;
use serde::Serialize;
use serde_json::Value;

use super::{Session, merge::is_of, resolve};
use crate::{
    CliError, Exit,
    args::DiffArgs,
    manifest::{self, Manifest},
    output::Out,
    render::plan::{Difference, differences},
};

/// How one sensor differs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SensorDiff {
    device: String,
    sensor: String,
    differences: Vec<Difference>,
}

pub(super) async fn diff(session: Session<'_, '_>, args: DiffArgs) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let mut found = Vec::new();
    let nothing = match &args.device {
        Some(device) => {
            let device = resolve::device(&hub, device).await?;
            let target = hub
                .target(device.id)
                .await?
                .target
                .config
                .protocol_adapter_devices;
            let current = hub.current_state(device.id).await?;
            let running = current
                .map(|state| state.config.protocol_adapter_devices)
                .unwrap_or_default();
            found.append(&mut of_reality(&device, &running, &target));
            format!("{} runs what is wanted.", device.name)
        }
        None => {
            for manifest in manifest::read_all(&args.files)? {
                let device = resolve::device(&hub, manifest.device.as_str()).await?;
                let target = hub
                    .target(device.id)
                    .await?
                    .target
                    .config
                    .protocol_adapter_devices;
                found.append(&mut of_manifest(&manifest, &target, args.prune));
            }
            "The targets are as the manifests say.".to_owned()
        }
    };
    let differs = !found.is_empty();
    if out.is_document() {
        out.document(&serde_json::json!({ "items": found }))?;
    } else if differs {
        show(out, &found)?;
    } else {
        out.line(&nothing)?;
    }
    Ok(if differs && args.exit_code {
        Exit::NotAsWanted
    } else {
        Exit::Good
    })
}

fn show(out: &mut Out<'_>, found: &[SensorDiff]) -> Result<(), CliError> {
    for diff in found {
        out.line(&format!("{}/{}", diff.device, diff.sensor))?;
        for difference in &diff.differences {
            out.line(&format!("  {}", difference.line()))?;
        }
    }
    Ok(())
}

/// What the target is now, against what the manifest would make of it.
fn of_manifest(manifest: &Manifest, target: &[Item], prune: bool) -> Vec<SensorDiff> {
    let device = manifest.device.to_string();
    let diff = |sensor: &str, differences| SensorDiff {
        device: device.clone(),
        sensor: sensor.to_owned(),
        differences,
    };
    let mut found = Vec::new();
    for declared in &manifest.sensors {
        let old = target
            .iter()
            .find(|item| is_of(declared, item))
            .map(|item| item.sensor.to_json());
        let new = spelled_out(declared);
        let name = new["name"].as_str().unwrap_or_default().to_owned();
        let differences = between(old.as_ref(), Some(&new));
        if !differences.is_empty() {
            found.push(diff(&name, differences));
        }
    }
    let is_left = |item: &&Item| {
        prune
            && !manifest
                .sensors
                .iter()
                .any(|declared| is_of(declared, item))
    };
    for item in target.iter().filter(is_left) {
        found.push(diff(
            item.sensor.name().as_str(),
            between(Some(&item.sensor.to_json()), None),
        ));
    }
    found
}

/// A declared sensor with every default in its place, as the hub keeps it.
fn spelled_out(declared: &Value) -> Value {
    let mut list = Value::Array(vec![declared.clone()]);
    manifest::give_ids(&mut list);
    let sensor = match list {
        Value::Array(mut items) => items.swap_remove(0),
        other => other,
    };
    Sensor::from_json(sensor)
        .expect("a manifest that was read has valid sensors")
        .to_json()
}

/// What runs, against what is wanted.
fn of_reality(device: &Device, running: &[Item], target: &[Item]) -> Vec<SensorDiff> {
    let by_id = |items: &'_ [Item]| -> BTreeMap<SensorId, Sensor> {
        items
            .iter()
            .map(|item| (item.sensor.id(), item.sensor.as_ref().clone()))
            .collect()
    };
    let (running, wanted) = (by_id(running), by_id(target));
    let mut ids: Vec<SensorId> = running.keys().chain(wanted.keys()).copied().collect();
    ids.sort();
    ids.dedup();
    ids.into_iter()
        .filter_map(|id| {
            let (old, new) = (running.get(&id), wanted.get(&id));
            let differences = between(
                old.map(Sensor::to_json).as_ref(),
                new.map(Sensor::to_json).as_ref(),
            );
            let named = new.or(old)?;
            let (device, sensor) = (device.name.to_string(), named.name().to_string());
            (!differences.is_empty()).then_some(SensorDiff {
                device,
                sensor,
                differences,
            })
        })
        .collect()
}

fn between(old: Option<&Value>, new: Option<&Value>) -> Vec<Difference> {
    match (old, new) {
        (Some(old), Some(new)) => differences(old, new),
        (old, new) => differences(
            &serde_json::json!({ "the sensor": old }),
            &serde_json::json!({ "the sensor": new }),
        ),
    }
}
