//! `why`: everything that is known of one sensor, put into words.

use holdfast_domain::SensorId;

use super::{Session, resolve};
use crate::{
    CliError, Exit,
    args::WhyArgs,
    render::why::{Facts, explain},
};

/// How far back the version that changed a sensor is looked for: older ones are named without author.
const VERSIONS: usize = 1_000;

pub(super) async fn why(session: Session<'_, '_>, args: WhyArgs) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let (device, sensor) = &args.sensor;
    let device = resolve::device(&hub, device).await?;
    let sensor = resolve::sensor(&hub, &device, sensor).await?;
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
    let facts = Facts {
        device,
        sensor,
        wanted,
        changed_by,
        drift,
    };
    if out.is_document() {
        out.document(&facts)?;
    } else {
        let text = explain(&facts, out.now()).to_text();
        out.line(&text)?;
    }
    Ok(Exit::Good)
}
