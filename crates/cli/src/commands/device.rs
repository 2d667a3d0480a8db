//! `device`: add, remove, re-key, list.

use holdfast_wire::DeviceCreate;

use super::{Session, get, resolve};
use crate::{CliError, Exit, args::DeviceCommand};

pub(super) async fn device(
    session: Session<'_, '_>,
    command: DeviceCommand,
) -> Result<Exit, CliError> {
    match command {
        DeviceCommand::List(filter) => return get::devices(session, filter).await,
        DeviceCommand::Add { name, labels } => {
            let Session { hub, out } = session;
            let made = hub
                .create_device(&DeviceCreate {
                    name,
                    labels: labels.into_iter().collect(),
                })
                .await?;
            if out.is_document() {
                out.document(&made)?;
            } else {
                out.line(&format!("{} made: {}", made.device.name, made.device.id))?;
                show_key(out, &made.provisioning_key)?;
            }
        }
        DeviceCommand::Rm { device, force } => {
            let Session { hub, out } = session;
            let device = resolve::device(&hub, &device).await?;
            hub.delete_device(device.id, force).await?;
            out.progress(&format!("{} deleted", device.name))?;
        }
        DeviceCommand::Rekey { device } => {
            let Session { hub, out } = session;
            let device = resolve::device(&hub, &device).await?;
            let made = hub.rekey_device(device.id).await?;
            if out.is_document() {
                out.document(&made)?;
            } else {
                out.line(&format!("{}: the agent that registers with this key gets the device; the one before loses its access then", device.name))?;
                show_key(out, &made.secret)?;
            }
        }
    }
    Ok(Exit::Good)
}

/// A key, which is never shown again.
pub(super) fn show_key(out: &mut crate::output::Out<'_>, key: &str) -> Result<(), CliError> {
    out.line(&format!("Provisioning key (shown once): {key}"))?;
    Ok(())
}
