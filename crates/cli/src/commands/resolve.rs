//! Names and UUIDs that people give, to the things that they mean.

use std::collections::BTreeMap;

use holdfast_domain::{DeviceId, Name, SensorId};
use holdfast_hub_client::{Operator, SensorQuery, SensorsView};
use holdfast_wire::{Device, SensorView};

use crate::CliError;

/// The device that `text` names.
pub(crate) async fn device(hub: &Operator, text: &str) -> Result<Device, CliError> {
    if let Ok(id) = text.parse::<DeviceId>() {
        return match hub.device(id).await {
            Err(error) if error.is_status(404) => Err(no_such_device(hub, text).await?),
            other => Ok(other?),
        };
    }
    let found = match Name::new(text) {
        Ok(name) => hub.device_named(&name).await?,
        Err(_) => None,
    };
    match found {
        Some(device) => Ok(device),
        None => Err(no_such_device(hub, text).await?),
    }
}

/// The error that says so, with the devices that there are.
pub(super) async fn no_such_device(hub: &Operator, found: &str) -> Result<CliError, CliError> {
    let devices = hub.devices(&BTreeMap::new(), None).await?;
    let devices = devices
        .into_iter()
        .map(|device| device.name.to_string())
        .collect();
    Ok(CliError::NoSuchDevice {
        found: found.to_owned(),
        devices,
    })
}

/// Every row of a device, what does not run too.
pub(crate) async fn rows(hub: &Operator, device: DeviceId) -> Result<Vec<SensorView>, CliError> {
    let query = SensorQuery {
        view: SensorsView::All,
        ..SensorQuery::default()
    };
    Ok(hub.sensors(device, query).await?)
}

/// The sensor of `device` that `text` names. Rows show the names of what runs; a wanted name counts too.
pub(crate) async fn sensor(
    hub: &Operator,
    device: &Device,
    text: &str,
) -> Result<SensorView, CliError> {
    let rows = rows(hub, device.id).await?;
    let id = text.parse::<SensorId>().ok();
    let is_meant = |row: &&SensorView| row.name.as_str() == text || id == Some(row.id);
    if let Some(row) = rows.iter().find(is_meant) {
        return Ok(row.clone());
    }
    let target = hub.target(device.id).await?.target;
    let renamed = target
        .config
        .protocol_adapter_devices
        .iter()
        .find(|item| item.sensor.name().as_str() == text);
    let renamed = renamed.and_then(|item| rows.iter().find(|row| row.id == item.sensor.id()));
    renamed.cloned().ok_or_else(|| CliError::NoSuchSensor {
        device: device.name.to_string(),
        found: text.to_owned(),
        sensors: rows.iter().map(|row| row.name.to_string()).collect(),
    })
}
