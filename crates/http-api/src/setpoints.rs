//! Setpoints: the values that points shall hold.

use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
};
use holdfast_domain::{DeviceId, PointId, shown, state::DeviceState};
use holdfast_hub::values::SetpointEdit;
use holdfast_wire::{Listed, Request, SetpointSet, SetpointView};

use crate::{
    App,
    auth::{Operator, Viewer},
    extract::{
        DevicePath, IdempotencyKey, IfRevision, JsonDocument, NoBody, PointPath, Query,
        SmallDocument, Wait,
    },
    paged,
    problem::{ApiProblem, ApiResult},
};

/// A setpoint with its entity tag.
type Tagged = ([(HeaderName, HeaderValue); 1], Json<SetpointView>);

/// List a device's setpoints
///
/// By point id.
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}/setpoints", tag = "values", security(("bearer" = ["viewer"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, description = "The most items, 1 to 1000; 100 unless stated"),
    ),
    responses((status = 200, description = "A page of setpoints", body = Listed<SetpointView>))
)]
pub(crate) async fn list(
    _: Viewer,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    mut query: Query,
) -> ApiResult<Json<Listed<SetpointView>>> {
    let page = query.page();
    query.finish()?;
    let after: Option<PointId> = paged::after(&page)?;
    let state = app.hub.state(device).await?;
    let items = shown::of_device(&state, app.hub.now())
        .into_iter()
        .filter(|shown| after.is_none_or(|after| shown.wish.setpoint.point_id > after))
        .map(|shown| SetpointView::new(device, shown, state.presence.silent));
    Ok(Json(paged::cut(items, &page, |one| {
        one.point_id.to_string()
    })))
}

/// Get a point's setpoint
///
/// What is wanted, whether the instrument shows it, whether it is held, and why not.
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}/setpoints/{sensor}/{point}", tag = "values",
    security(("bearer" = ["viewer"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("sensor" = String, Path, description = "The sensor's UUID or name"),
        ("point" = String, Path, description = "The point's UUID or name"),
    ),
    responses(
        (status = 200, description = "The setpoint", body = SetpointView, headers(("ETag" = String))),
        (status = 404, description = "No such point, or nothing is set there"),
    )
)]
pub(crate) async fn get(
    _: Viewer,
    State(app): State<App>,
    PointPath(device, key): PointPath,
    query: Query,
) -> ApiResult<Tagged> {
    query.finish()?;
    let state = app.hub.state(device).await?;
    let point = key.find(&state)?;
    answer(&app, &state, point)
}

fn answer(app: &App, state: &DeviceState, point: PointId) -> ApiResult<Tagged> {
    let shown = shown::of_point(state, point, app.hub.now());
    let shown = shown.ok_or_else(|| {
        ApiProblem::not_found(format!(
            "nothing is set on point {point}, and nothing acts on it"
        ))
    })?;
    let view = SetpointView::new(state.record.id, shown, state.presence.silent);
    let tag = HeaderValue::try_from(view.etag()).expect("digits and quotes");
    Ok(([(header::ETAG, tag)], Json(view)))
}

/// Set the value that a point shall hold
///
/// The wish is recorded, and the device's agent makes it so, now and from now on: it writes only where the instrument shows
/// something else, and reads back. With `Prefer: wait=5` the answer is held back until the value was read back, or it is
/// clear why it will not be, for at most so many seconds (up to 60); where a hundred wait already it comes at once.
///
/// The same wish again changes nothing; where the agent has given the wish up, it arms it again. With an
/// `Idempotency-Key` the same request again changes nothing at all and is not measured by its `If-Match`, until the point
/// is set by another request. While the device is stopped the wish is recorded, and `hold` is `paused`.
#[utoipa::path(
    put, path = "/api/v1/devices/{uuid}/setpoints/{sensor}/{point}", tag = "values",
    security(("bearer" = ["operator"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("sensor" = String, Path, description = "The sensor's UUID or name"),
        ("point" = String, Path, description = "The point's UUID or name"),
        ("If-Match" = Option<String>, Header, description = "The revision that the setpoint must have: `\"7\"`"),
        ("Idempotency-Key" = Option<String>, Header, description = "The request's key, of 1 to 255 characters"),
        ("Prefer" = Option<String>, Header, description = "`wait=5`: wait so many seconds for the read-back"),
    ),
    request_body = SetpointSet,
    responses(
        (status = 200, description = "Recorded; what became of it so far", body = SetpointView,
            headers(("ETag" = String))),
        (status = 409, description = "The point can't be held: it is read-only, a pulse or a command"),
        (status = 412, description = "The setpoint has another revision, or the point does not show `onlyIfValue`"),
    )
)]
#[allow(clippy::too_many_arguments, reason = "each is a part of the request")]
pub(crate) async fn set(
    Operator(caller): Operator,
    State(app): State<App>,
    PointPath(device, key): PointPath,
    query: Query,
    IfRevision(if_revision): IfRevision,
    IdempotencyKey(request_key): IdempotencyKey,
    Wait(wait): Wait,
    JsonDocument(body): SmallDocument,
) -> ApiResult<Tagged> {
    query.finish()?;
    let SetpointSet {
        value,
        tolerance,
        policy,
        reason,
        valid_for_ms,
        only_if_value,
    } = SetpointSet::from_json(body).map_err(|problems| ApiProblem::invalid(&problems))?;
    let point = key.find(&*app.hub.state(device).await?)?;
    let edit = SetpointEdit {
        value,
        tolerance,
        policy,
        valid_for_ms,
        key: request_key,
        if_revision,
        only_if: only_if_value,
    };
    app.hub
        .set_setpoint(device, point, &edit, caller.asks(reason.as_deref()))
        .await?;
    let settling = app.hub.settled(device, point, wait);
    let state = match app.held_back(wait, settling).await {
        Some(state) => state?,
        None => app.hub.state(device).await?,
    };
    answer(&app, &state, point)
}

/// Release a point
///
/// Nothing is wanted of it any more, and nothing acts on it: the output keeps what it has.
#[utoipa::path(
    delete, path = "/api/v1/devices/{uuid}/setpoints/{sensor}/{point}", tag = "values",
    security(("bearer" = ["operator"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("sensor" = String, Path, description = "The sensor's UUID or name"),
        ("point" = String, Path, description = "The point's UUID or name"),
        ("reason" = Option<String>, Query, description = "Why, for the events"),
        ("If-Match" = Option<String>, Header, description = "The revision that the setpoint must have: `\"7\"`"),
    ),
    responses(
        (status = 204, description = "Released"),
        (status = 404, description = "No such point, or nothing is set there"),
        (status = 412, description = "The setpoint has another revision"),
    )
)]
pub(crate) async fn release(
    Operator(caller): Operator,
    State(app): State<App>,
    PointPath(device, key): PointPath,
    mut query: Query,
    IfRevision(if_revision): IfRevision,
    _: NoBody,
) -> ApiResult<StatusCode> {
    let reason = query.reason();
    query.finish()?;
    let point = key.find(&*app.hub.state(device).await?)?;
    app.hub
        .release_setpoint(device, point, if_revision, caller.asks(reason.as_deref()))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
