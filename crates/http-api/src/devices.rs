//! Devices as operators manage them.

use std::{collections::BTreeMap, str::FromStr};

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use holdfast_domain::{DeviceId, Name, row::DeploymentStatus, state::DeviceState};
use holdfast_hub::devices::DeviceEdit;
use holdfast_ports::{
    page::{Listed as Page, Page as Wanted},
    store::{DeviceFilter, DeviceStatus as Status, DeviceSummary},
};
use holdfast_wire::{
    Device, DeviceCreate, DeviceCreated, DeviceStatus, DeviceUpdate, Listed,
    ProvisioningKeyCreated, Request,
};

use crate::{
    App,
    auth::{Admin, Viewer},
    extract::{DevicePath, JsonDocument, NoBody, Query, SmallDocument},
    problem::{ApiProblem, ApiResult},
    tokens,
};

/// List devices
///
/// By name.
#[utoipa::path(
    get, path = "/api/v1/devices", tag = "devices", security(("bearer" = ["viewer"])),
    params(
        ("status" = Option<DeviceStatus>, Query, description = "Only devices in this state"),
        ("label" = Option<Vec<String>>, Query, description = "Only devices with this label: `site=north`; may be repeated"),
        ("name" = Option<String>, Query, description = "Only the device of this name"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, description = "The most items, 1 to 1000; 100 unless stated"),
    ),
    responses((status = 200, description = "A page of devices", body = Listed<Device>))
)]
pub(crate) async fn list(
    _: Viewer,
    State(app): State<App>,
    mut query: Query,
) -> ApiResult<Json<Listed<Device>>> {
    let page = query.page();
    let name = query.parsed::<Name>("name", Name::EXPECTED);
    let filter = filter(&mut query);
    query.finish()?;
    let devices = match name {
        None => app.hub.parts().devices.devices(&filter, &page).await?,
        Some(name) => of_name(&app, &name, &filter).await?,
    };
    Ok(Json(Listed {
        items: devices.items.into_iter().map(of_summary).collect(),
        next: devices.next,
    }))
}

/// Reads `status` and `label`.
pub(crate) fn filter(query: &mut Query) -> DeviceFilter {
    let status = query.one(
        "status",
        "one of new, reconciled, drifting, silent",
        |word| {
            Status::ALL
                .into_iter()
                .find(|status| status.as_str() == word)
        },
    );
    let mut labels = BTreeMap::new();
    for label in query.many("label") {
        match label.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                labels.insert(key.to_owned(), value.to_owned());
            }
            _ => query.problem("label", "key=value", &label),
        }
    }
    DeviceFilter { labels, status }
}

async fn of_name(app: &App, name: &Name, filter: &DeviceFilter) -> ApiResult<Page<DeviceSummary>> {
    let mut items = Vec::new();
    if let Some(id) = app.hub.parts().devices.find(name).await? {
        items.push(summary(&*app.hub.state(id).await?));
    }
    items.retain(|device| {
        let labels = &device.record.labels;
        filter.status.is_none_or(|status| status == device.status)
            && filter
                .labels
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
    });
    Ok(Page { items, next: None })
}

/// Make a device
///
/// No agent speaks for it yet: one registers with the provisioning key that the answer shows once.
#[utoipa::path(
    post, path = "/api/v1/devices", tag = "devices", security(("bearer" = ["admin"])),
    request_body = DeviceCreate,
    responses((status = 201, description = "Made", body = DeviceCreated, headers(("Location" = String))))
)]
pub(crate) async fn create(
    Admin(caller): Admin,
    State(app): State<App>,
    query: Query,
    JsonDocument(body): SmallDocument,
) -> ApiResult<impl IntoResponse> {
    query.finish()?;
    let DeviceCreate { name, labels } =
        DeviceCreate::from_json(body).map_err(|problems| ApiProblem::invalid(&problems))?;
    let state = app
        .hub
        .create_device(name, labels, caller.actor(), caller.correlation())
        .await?;
    let id = state.record.id;
    let key_name = format!("first agent of {}", state.record.name);
    let (provisioning_key, _) = app
        .hub
        .create_key(&key_name, Some(id), Some(1), None, caller.actor())
        .await?;
    let location =
        HeaderValue::try_from(holdfast_wire::routes::device(id)).expect("a path of ASCII");
    let created = DeviceCreated {
        device: of_state(&state),
        provisioning_key,
    };
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(created),
    ))
}

/// Get a device
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}", tag = "devices", security(("bearer" = ["viewer"])),
    params(("uuid" = DeviceId, Path, description = "The device")),
    responses((status = 200, description = "The device", body = Device))
)]
pub(crate) async fn get(
    _: Viewer,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    query: Query,
) -> ApiResult<Json<Device>> {
    query.finish()?;
    Ok(Json(of_state(&*app.hub.state(device).await?)))
}

/// Rename or relabel a device
///
/// What is left out stays as it is.
#[utoipa::path(
    patch, path = "/api/v1/devices/{uuid}", tag = "devices", security(("bearer" = ["admin"])),
    params(("uuid" = DeviceId, Path, description = "The device")),
    request_body = DeviceUpdate,
    responses((status = 200, description = "The device now", body = Device))
)]
pub(crate) async fn update(
    Admin(caller): Admin,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    query: Query,
    JsonDocument(body): SmallDocument,
) -> ApiResult<Json<Device>> {
    query.finish()?;
    let DeviceUpdate { name, labels } =
        DeviceUpdate::from_json(body).map_err(|problems| ApiProblem::invalid(&problems))?;
    let edit = DeviceEdit { name, labels };
    let state = app
        .hub
        .update_device(device, &edit, caller.actor(), caller.correlation())
        .await?;
    Ok(Json(of_state(&state)))
}

/// Delete a device
///
/// Refused while its agent may still run or hold something: empty its target first, and wait until the agent has
/// confirmed that; or force it.
#[utoipa::path(
    delete, path = "/api/v1/devices/{uuid}", tag = "devices", security(("bearer" = ["admin"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("force" = Option<bool>, Query, description = "Delete it although its agent may still run or hold something"),
    ),
    responses((status = 204, description = "Deleted"))
)]
pub(crate) async fn delete(
    Admin(caller): Admin,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    mut query: Query,
    _: NoBody,
) -> ApiResult<StatusCode> {
    let force = query.flag("force").unwrap_or(false);
    query.finish()?;
    app.hub
        .delete_device(device, force, caller.actor(), caller.correlation())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a provisioning key that is bound to the device
///
/// For a gateway that was replaced: the agent that registers with it gets the device, and the old one loses its access.
#[utoipa::path(
    post, path = "/api/v1/devices/{uuid}/rekey", tag = "devices", security(("bearer" = ["admin"])),
    params(("uuid" = DeviceId, Path, description = "The device")),
    responses((status = 201, description = "The key, shown once", body = ProvisioningKeyCreated))
)]
pub(crate) async fn rekey(
    Admin(caller): Admin,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    query: Query,
    _: NoBody,
) -> ApiResult<(StatusCode, Json<ProvisioningKeyCreated>)> {
    query.finish()?;
    let state = app.hub.state(device).await?;
    let name = format!("next agent of {}", state.record.name);
    let (secret, key) = app
        .hub
        .create_key(&name, Some(device), Some(1), None, caller.actor())
        .await?;
    Ok((
        StatusCode::CREATED,
        Json(ProvisioningKeyCreated {
            key: tokens::key_view(key),
            secret,
        }),
    ))
}

/// A page of what `query` says, for the pages.
pub(crate) async fn page_of(
    app: &App,
    filter: &DeviceFilter,
    page: &Wanted,
) -> ApiResult<Listed<Device>> {
    let devices = app.hub.parts().devices.devices(filter, page).await?;
    Ok(Listed {
        items: devices.items.into_iter().map(of_summary).collect(),
        next: devices.next,
    })
}

pub(crate) fn of_summary(summary: DeviceSummary) -> Device {
    let DeviceSummary {
        record,
        target_version,
        worked_version,
        last_seen_at,
        status,
        sensors,
    } = summary;
    Device {
        id: record.id,
        name: record.name,
        labels: record.labels,
        status: match status {
            Status::New => DeviceStatus::New,
            Status::Reconciled => DeviceStatus::Reconciled,
            Status::Drifting => DeviceStatus::Drifting,
            Status::Silent => DeviceStatus::Silent,
        },
        target_version,
        current_version: worked_version,
        last_seen_at,
        sensors,
        incarnation: record.incarnation,
        audit: record.audit,
    }
}

pub(crate) fn of_state(state: &DeviceState) -> Device {
    of_summary(summary(state))
}

fn summary(state: &DeviceState) -> DeviceSummary {
    let mut sensors: BTreeMap<DeploymentStatus, u32> = BTreeMap::new();
    for row in state.rows.values() {
        *sensors.entry(row.status).or_default() += 1;
    }
    let drifting = state.rows.values().any(|row| row.drift.is_some());
    DeviceSummary {
        record: state.record.clone(),
        target_version: state.target.version,
        worked_version: state
            .reported
            .as_ref()
            .map(|reported| reported.worked_version),
        last_seen_at: state.presence.last_seen_at,
        status: DeviceSummary::status_of(state.reported.is_some(), state.presence.silent, drifting),
        sensors,
    }
}

/// A word of a closed list in a query.
pub(crate) fn word<T: FromStr<Err = String> + holdfast_domain::Choice>(
    query: &mut Query,
    name: &'static str,
) -> Option<T> {
    query.one(name, &T::words(), |word| word.parse().ok())
}
