//! Sensors: the read model, and edits of one sensor at a time.

use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
};
use holdfast_domain::{DeviceId, Protocol, edit::Edit, row::DeploymentStatus};
use holdfast_hub::edits::Edited;
use holdfast_wire::{EditAnswer, Listed, SensorView, sensor::schemas::SensorDocument};

use crate::{
    App,
    auth::{Operator, Viewer},
    extract::{DevicePath, IfMatch, JsonDocument, NoBody, Query, SensorPath},
    problem::ApiResult,
    rows,
};

/// List a device's sensors
///
/// What really runs; with `view=all` also what does not, with its status and reason; with `view=desired` the target, each
/// sensor as it is wanted. By id.
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}/sensors", tag = "sensors", security(("bearer" = ["viewer"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("view" = Option<String>, Query, description = "`running` (unless stated), `all` or `desired`"),
        ("protocol" = Option<Protocol>, Query, description = "Only sensors of this protocol"),
        ("enabled" = Option<bool>, Query, description = "Only sensors that are enabled, or that are not"),
        ("deploymentStatus" = Option<DeploymentStatus>, Query, description = "Only sensors in this status"),
        ("name" = Option<String>, Query, description = "Only the sensor of this name"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, description = "The most items, 1 to 1000; 100 unless stated"),
    ),
    responses((status = 200, description = "A page of sensors", body = Listed<SensorView>))
)]
pub(crate) async fn list(
    _: Viewer,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    mut query: Query,
) -> ApiResult<Json<Listed<SensorView>>> {
    let page = query.page();
    let (view, mut filter) = rows::filter(&mut query);
    query.finish()?;
    filter.device = Some(device);
    let state = app.hub.state(device).await?;
    if view == rows::View::Desired {
        return Ok(Json(rows::desired(&state, &filter, &page)));
    }
    Ok(Json(rows::page_of(&app, &filter, &page).await?))
}

/// Add a sensor
///
/// The hub gives it its id, and one to each point that has none.
#[utoipa::path(
    post, path = "/api/v1/devices/{uuid}/sensors", tag = "sensors", security(("bearer" = ["operator"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("reason" = Option<String>, Query, description = "Why, for the history and the events"),
        ("If-Match" = Option<String>, Header, description = "The target's version that the edit was made on: `\"v43\"`"),
    ),
    request_body = SensorDocument,
    responses((status = 201, description = "Added", body = EditAnswer, headers(("ETag" = String), ("Location" = String))))
)]
pub(crate) async fn add(
    Operator(caller): Operator,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    mut query: Query,
    IfMatch(version): IfMatch,
    JsonDocument(body): JsonDocument,
) -> ApiResult<(StatusCode, [(HeaderName, HeaderValue); 2], Json<EditAnswer>)> {
    let reason = query.reason();
    query.finish()?;
    let edited = app
        .hub
        .edit(
            device,
            &Edit::Add(body),
            caller.edit(reason.as_deref(), version),
        )
        .await?;
    let id = edited
        .sensor
        .as_ref()
        .map(|row| row.id.to_string())
        .unwrap_or_default();
    let location = format!("{}/sensors/{id}", holdfast_wire::routes::device(device));
    let location = HeaderValue::try_from(location).expect("a path of ASCII");
    let [etag] = etag(&edited);
    let answer = answer(&app, device, edited).await;
    Ok((
        StatusCode::CREATED,
        [etag, (header::LOCATION, location)],
        answer,
    ))
}

/// Get a sensor
///
/// By id, or by name: the wanted one of that name, else the one that still runs under it.
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}/sensors/{sensor}", tag = "sensors", security(("bearer" = ["viewer"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("sensor" = String, Path, description = "The sensor's UUID or name"),
    ),
    responses((status = 200, description = "The sensor", body = SensorView))
)]
pub(crate) async fn get(
    _: Viewer,
    State(app): State<App>,
    SensorPath(device, key): SensorPath,
    query: Query,
) -> ApiResult<Json<SensorView>> {
    query.finish()?;
    let state = app.hub.state(device).await?;
    let id = key.find(&state)?;
    Ok(Json(SensorView::new(
        device,
        &state.rows[&id],
        state.presence.silent,
    )))
}

/// Replace a sensor
///
/// Its content becomes what the body says; what the body leaves out gets its default. Points without an id are those of
/// the same name.
#[utoipa::path(
    put, path = "/api/v1/devices/{uuid}/sensors/{sensor}", tag = "sensors", security(("bearer" = ["operator"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("sensor" = String, Path, description = "The sensor's UUID or name"),
        ("reason" = Option<String>, Query, description = "Why, for the history and the events"),
        ("If-Match" = Option<String>, Header, description = "The target's version that the edit was made on: `\"v43\"`"),
    ),
    request_body = SensorDocument,
    responses((status = 200, description = "Replaced", body = EditAnswer, headers(("ETag" = String))))
)]
pub(crate) async fn replace(
    Operator(caller): Operator,
    State(app): State<App>,
    SensorPath(device, key): SensorPath,
    mut query: Query,
    IfMatch(version): IfMatch,
    JsonDocument(body): JsonDocument,
) -> ApiResult<([(HeaderName, HeaderValue); 1], Json<EditAnswer>)> {
    let reason = query.reason();
    query.finish()?;
    let id = key.find(&*app.hub.state(device).await?)?;
    let edited = app
        .hub
        .edit(
            device,
            &Edit::Replace(id, body),
            caller.edit(reason.as_deref(), version),
        )
        .await?;
    Ok((etag(&edited), answer(&app, device, edited).await))
}

/// Change some of a sensor's fields
///
/// A JSON merge patch (RFC 7396): what is left out stays, null takes a field away, a list is replaced as a whole.
#[utoipa::path(
    patch, path = "/api/v1/devices/{uuid}/sensors/{sensor}", tag = "sensors", security(("bearer" = ["operator"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("sensor" = String, Path, description = "The sensor's UUID or name"),
        ("reason" = Option<String>, Query, description = "Why, for the history and the events"),
        ("If-Match" = Option<String>, Header, description = "The target's version that the edit was made on: `\"v43\"`"),
    ),
    request_body(content = Object, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = EditAnswer, headers(("ETag" = String))))
)]
pub(crate) async fn patch(
    Operator(caller): Operator,
    State(app): State<App>,
    SensorPath(device, key): SensorPath,
    mut query: Query,
    IfMatch(version): IfMatch,
    JsonDocument(body): JsonDocument,
) -> ApiResult<([(HeaderName, HeaderValue); 1], Json<EditAnswer>)> {
    let reason = query.reason();
    query.finish()?;
    let id = key.find(&*app.hub.state(device).await?)?;
    let edited = app
        .hub
        .edit(
            device,
            &Edit::Patch(id, body),
            caller.edit(reason.as_deref(), version),
        )
        .await?;
    Ok((etag(&edited), answer(&app, device, edited).await))
}

/// Remove a sensor
///
/// It stays in the read model as `pendingDeletion` for as long as it runs.
#[utoipa::path(
    delete, path = "/api/v1/devices/{uuid}/sensors/{sensor}", tag = "sensors", security(("bearer" = ["operator"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("sensor" = String, Path, description = "The sensor's UUID or name"),
        ("reason" = Option<String>, Query, description = "Why, for the history and the events"),
        ("If-Match" = Option<String>, Header, description = "The target's version that the edit was made on: `\"v43\"`"),
    ),
    responses((status = 200, description = "Removed from the target", body = EditAnswer, headers(("ETag" = String))))
)]
pub(crate) async fn remove(
    Operator(caller): Operator,
    State(app): State<App>,
    SensorPath(device, key): SensorPath,
    mut query: Query,
    IfMatch(version): IfMatch,
    _: NoBody,
) -> ApiResult<([(HeaderName, HeaderValue); 1], Json<EditAnswer>)> {
    let reason = query.reason();
    query.finish()?;
    let id = key.find(&*app.hub.state(device).await?)?;
    let edited = app
        .hub
        .edit(
            device,
            &Edit::Remove(id),
            caller.edit(reason.as_deref(), version),
        )
        .await?;
    Ok((etag(&edited), answer(&app, device, edited).await))
}

/// The target's new entity tag.
pub(crate) fn etag(edited: &Edited) -> [(HeaderName, HeaderValue); 1] {
    let tag = holdfast_wire::target::etag(edited.version);
    [(
        header::ETAG,
        HeaderValue::try_from(tag).expect("a letter, digits and quotes"),
    )]
}

/// What an edit came to.
pub(crate) async fn answer(app: &App, device: DeviceId, edited: Edited) -> Json<EditAnswer> {
    let Edited {
        version,
        changed,
        sensor,
    } = edited;
    let stale = app
        .hub
        .state(device)
        .await
        .is_ok_and(|state| state.presence.silent);
    let sensor = sensor.map(|row| SensorView::new(device, &row, stale));
    Json(EditAnswer {
        version,
        changed,
        sensor,
    })
}
