//! `get`: lists.

use std::collections::BTreeMap;

use holdfast_domain::DeviceId;
use holdfast_hub_client::{Operator, SensorQuery, SensorsView};
use holdfast_wire::{Listed, PointView, SensorView};
use serde::Serialize;

use super::{Session, resolve};
use crate::{
    CliError, Exit,
    args::{DevicesFilter, SensorsFilter},
    output::Out,
    render::{lists, time::relative},
};

/// A whole list as the API's document of a page.
pub(super) fn whole<T: Serialize>(out: &mut Out<'_>, items: Vec<T>) -> Result<Exit, CliError> {
    out.document(&Listed { items, next: None })?;
    Ok(Exit::Good)
}

pub(super) async fn devices(
    session: Session<'_, '_>,
    filter: DevicesFilter,
) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let DevicesFilter { labels, status } = filter;
    let devices = hub
        .devices(&labels.into_iter().collect(), status.as_deref())
        .await?;
    if out.is_document() {
        return whole(out, devices);
    }
    let table = lists::devices(&devices, out.now());
    out.table(table, "No devices. `holdfast device add NAME` makes one.")?;
    Ok(Exit::Good)
}

/// The name of every device, by id.
pub(super) async fn names(hub: &Operator) -> Result<BTreeMap<DeviceId, String>, CliError> {
    let devices = hub.devices(&BTreeMap::new(), None).await?;
    Ok(devices
        .into_iter()
        .map(|device| (device.id, device.name.to_string()))
        .collect())
}

/// The name of a device, or its id where it is gone.
pub(super) fn name_of(names: &BTreeMap<DeviceId, String>, device: DeviceId) -> String {
    names
        .get(&device)
        .cloned()
        .unwrap_or_else(|| device.to_string())
}

pub(super) async fn sensors(
    session: Session<'_, '_>,
    filter: SensorsFilter,
) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let SensorsFilter {
        device,
        running,
        protocol,
        enabled,
        status,
    } = filter;
    let view = if running {
        SensorsView::Running
    } else {
        SensorsView::All
    };
    let query = SensorQuery {
        view,
        protocol,
        enabled,
        status,
    };
    let (mut rows, names) = match device {
        Some(device) => {
            let device = resolve::device(&hub, &device).await?;
            (hub.sensors(device.id, query).await?, None)
        }
        None => (hub.fleet_sensors(query).await?, Some(names(&hub).await?)),
    };
    let device_of = |row: &SensorView| names.as_ref().map(|names| name_of(names, row.device));
    rows.sort_by_cached_key(|row| (device_of(row), row.name.clone()));
    if out.is_document() {
        return whole(out, rows);
    }
    let devices: Vec<Option<String>> = rows.iter().map(device_of).collect();
    let rows: Vec<(Option<&str>, &SensorView)> =
        devices.iter().map(Option::as_deref).zip(&rows).collect();
    let table = lists::sensors(&rows, out.now());
    out.table(table, "No sensors.")?;
    Ok(Exit::Good)
}

pub(super) async fn points(
    session: Session<'_, '_>,
    device: &str,
    sensor: Option<&str>,
) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let device = resolve::device(&hub, device).await?;
    let only = match sensor {
        Some(sensor) => Some(resolve::sensor(&hub, &device, sensor).await?.id),
        None => None,
    };
    let mut points = hub.points(device.id).await?;
    points.retain(|point| only.is_none_or(|only| point.sensor == only));
    let key = |point: &PointView| (point.sensor_name.clone(), point.name.clone(), point.point);
    points.sort_by_cached_key(key);
    if out.is_document() {
        return whole(out, points);
    }
    let table = lists::points(&points, out.now());
    out.table(table, "No points.")?;
    Ok(Exit::Good)
}

pub(super) async fn drift(
    session: Session<'_, '_>,
    device: Option<&str>,
) -> Result<Exit, CliError> {
    let Session { hub, out } = session;
    let Some(device) = device else {
        let drift = hub.fleet_drift().await?;
        if out.is_document() {
            return whole(out, drift);
        }
        let names = names(&hub).await?;
        let table = lists::fleet_drift(&drift, |sensor| name_of(&names, sensor.device), out.now());
        out.table(table, "Nothing differs: all devices run what is wanted.")?;
        return Ok(Exit::Good);
    };
    let device = resolve::device(&hub, device).await?;
    let drift = hub.drift(device.id).await?;
    if out.is_document() {
        out.document(&drift)?;
        return Ok(Exit::Good);
    }
    show_drift(out, &drift)?;
    Ok(Exit::Good)
}

/// A device's drift, for a person.
pub(super) fn show_drift(
    out: &mut Out<'_>,
    drift: &holdfast_wire::DeviceDrift,
) -> Result<(), CliError> {
    if drift.stale {
        out.line(&format!(
            "The agent of {} is silent: this is how it was.",
            drift.name
        ))?;
    }
    if let Some(since) = drift.since {
        let current = drift
            .current_version
            .map_or_else(|| "none".to_owned(), |version| version.to_string());
        let since = relative(since, out.now());
        out.line(&format!(
            "Target version {}, worked through {current}; differs since {since}",
            drift.target_version
        ))?;
    }
    let table = lists::device_drift(drift, out.now());
    out.table(
        table,
        &format!("Nothing differs: {} runs what is wanted.", drift.name),
    )?;
    Ok(())
}
