//! `why`: everything that is known of one sensor, and of what its outputs shall hold, put into words.

use holdfast_domain::{Name, PointId, SensorId};

use super::{Session, resolve};
use crate::{
    CliError, Exit,
    args::WhyArgs,
    output::harmless,
    render::{
        why::{Facts, explain},
        why_held,
    },
};

/// How far back the version that changed a sensor is looked for: older ones are named without author.
const VERSIONS: usize = 1_000;

pub(super) async fn why(session: Session<'_, '_>, args: WhyArgs) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let path = args.part;
    let device = resolve::device(&hub, &path.device).await?;
    let sensor = resolve::sensor(&hub, &device, &path.sensor).await?;
    let id: SensorId = sensor.id;
    let target = hub.target(device.id).await?.target;
    let wanted = target
        .config
        .protocol_adapter_devices
        .into_iter()
        .find(|item| item.sensor.id() == id);
    let changed_by = match &wanted {
        None => None,
        Some(item) => {
            let history = hub.history(device.id, VERSIONS).await?;
            history
                .into_iter()
                .find(|entry| entry.version == item.config_version)
        }
    };
    let drift = hub
        .drift(device.id)
        .await?
        .sensors
        .into_iter()
        .find(|drift| drift.id == id);
    let mut setpoints = hub.setpoints(device.id).await?;
    setpoints.retain(|one| one.sensor_id == Some(id));
    setpoints.sort_by(|left, right| left.point.cmp(&right.point));
    let reconciliation = hub.reconciliation(device.id).await?;
    let mut facts = Facts {
        device,
        sensor,
        wanted,
        changed_by,
        drift,
        setpoints,
        reconciliation,
    };
    if let Some(point) = &path.point {
        let point = point_of(&facts, point)?;
        facts.setpoints.retain(|one| one.point_id == point.0);
        if !out.is_document() {
            let text = match facts.setpoints.first() {
                Some(setpoint) => why_held::explain(&facts, setpoint, out.now()).to_text(),
                None => harmless(&format!(
                    "nothing is set on {}/{} of {}: nothing acts on it",
                    facts.sensor.name, point.1, facts.device.name
                )),
            };
            out.line(&text)?;
            return Ok(Exit::Good);
        }
    }
    if out.is_document() {
        out.document(&facts)?;
        return Ok(Exit::Good);
    }
    out.line(&explain(&facts, out.now()).to_text())?;
    for setpoint in &facts.setpoints {
        let text = why_held::explain(&facts, setpoint, out.now()).to_text();
        out.line(&format!("\n{text}"))?;
    }
    Ok(Exit::Good)
}

/// The wanted sensor's point that `text` names.
fn point_of(facts: &Facts, text: &str) -> Result<(PointId, String), CliError> {
    let item = facts.wanted.as_ref();
    let points = item.map(|item| item.sensor.content().binding.point_names());
    let points = points.unwrap_or_default();
    let is_meant = |(id, name): &&(PointId, &Name)| name.as_str() == text || id.to_string() == text;
    let found = points.iter().find(is_meant);
    found
        .map(|(id, name)| (*id, name.to_string()))
        .ok_or_else(|| CliError::NoSuchPoint {
            sensor: facts.sensor.name.to_string(),
            found: text.to_owned(),
            points: points.iter().map(|(_, name)| name.to_string()).collect(),
        })
}
