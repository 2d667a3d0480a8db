//! What starting stopped value loops would move: read only, writes nothing anywhere.

use axum::{Json, extract::State};
use holdfast_domain::{DeviceId, PointId, resume::of_start};
use holdfast_hub::HubError;
use holdfast_ports::store::DeviceFilter;
use holdfast_wire::{Listed, StartMove, StartPlan};

use crate::{
    App,
    auth::Viewer,
    extract::{DevicePath, Query},
    paged,
    problem::ApiResult,
};

/// List what a start of a device would move
///
/// By point id: wanted beside real, and what a start would do, as far as the agent has said how its outputs stand. The agent
/// looks at each again before it writes. Of a device that is not stopped: nothing.
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}/reconciliation/plan", tag = "values", security(("bearer" = ["viewer"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, description = "The most items, 1 to 1000; 100 unless stated"),
    ),
    responses((status = 200, description = "A page of outputs", body = Listed<StartMove>))
)]
pub(crate) async fn of_device(
    _: Viewer,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    mut query: Query,
) -> ApiResult<Json<Listed<StartMove>>> {
    let page = query.page();
    query.finish()?;
    let after: Option<PointId> = paged::after(&page)?;
    let state = app.hub.state(device).await?;
    let items = of_start(&state, app.hub.now())
        .into_iter()
        .map(|forecast| StartMove::new(device, forecast))
        .filter(|one| after.is_none_or(|after| one.point_id > after));
    Ok(Json(paged::cut(items, &page, |one| {
        one.point_id.to_string()
    })))
}

/// List what a start of the fleet would move
///
/// The stopped devices among the next `limit` ones, in figures; a page can be empty and not the last.
#[utoipa::path(
    get, path = "/api/v1/reconciliation/plan", tag = "values", security(("bearer" = ["viewer"])),
    params(
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, description = "The most devices looked at, 1 to 1000; 100 unless stated"),
    ),
    responses((status = 200, description = "A page of devices", body = Listed<StartPlan>))
)]
pub(crate) async fn of_fleet(
    _: Viewer,
    State(app): State<App>,
    mut query: Query,
) -> ApiResult<Json<Listed<StartPlan>>> {
    let page = query.page();
    query.finish()?;
    let devices = &app.hub.parts().devices;
    let listed = devices.devices(&DeviceFilter::default(), &page).await?;
    let mut items = Vec::new();
    for device in listed.items {
        match app.hub.state(device.record.id).await {
            Ok(state) => items.extend(StartPlan::new(&state, app.hub.now())),
            Err(HubError::DeviceGone(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Json(Listed {
        items,
        next: listed.next,
    }))
}
