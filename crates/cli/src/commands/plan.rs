//! `plan`: what manifests would change. Leaves to [`super::apply`] to change it.

use std::collections::BTreeMap;

use holdfast_domain::Name;
use holdfast_hub_client::Operator;
use holdfast_wire::{Device, PlanView};
use serde::Serialize;

use super::{Session, merge::merged};
use crate::{
    CliError, Exit,
    args::PlanArgs,
    manifest::{self, Manifest},
    output::{Out, harmless},
    render,
};

/// What a manifest would make of its device.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Planned {
    pub(super) name: Name,
    /// None: it would have to be made.
    pub(super) device: Option<Device>,
    /// The labels that it would get; none: they stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) labels: Option<BTreeMap<String, String>>,
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

pub(super) async fn plan_all(
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

pub(super) fn show(out: &mut Out<'_>, planned: &Planned) -> Result<(), CliError> {
    let name = &planned.name;
    let (Some(device), Some(plan)) = (&planned.device, &planned.plan) else {
        let sensors = planned.declared;
        out.line(&format!(
            "{name}: no such device; apply --create-devices makes it, with {sensors} sensor{}",
            if sensors == 1 { "" } else { "s" }
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
