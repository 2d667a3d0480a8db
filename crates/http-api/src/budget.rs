//! Write budgets: how often points may be written, and beginning to count anew.

use axum::{Json, extract::State};
use holdfast_domain::{DeviceId, PointId, state::DeviceState};
use holdfast_wire::{BudgetResetCreate, BudgetResetView, Request};

use crate::{
    App,
    auth::{Operator, Viewer},
    extract::{IdempotencyKey, JsonDocument, PointPath, Query, SmallDocument, Wait},
    problem::{ApiProblem, ApiResult},
};

/// Reset a point's write budget
///
/// Its instrument was replaced: the writes made to the old one say nothing of the new one. The agent begins the account anew,
/// once, whatever is lost or restored, and confirms it. With `Prefer: wait=5` the answer is held back for that, for at most
/// so many seconds (up to 60); where a hundred wait already it comes at once.
///
/// Each request is an act of its own; with an `Idempotency-Key` the same request again changes nothing.
#[utoipa::path(
    post, path = "/api/v1/devices/{uuid}/points/{sensor}/{point}/write-budget/reset", tag = "values",
    security(("bearer" = ["operator"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("sensor" = String, Path, description = "The sensor's UUID or name"),
        ("point" = String, Path, description = "The point's UUID or name"),
        ("Idempotency-Key" = Option<String>, Header, description = "The request's key, of 1 to 255 characters"),
        ("Prefer" = Option<String>, Header, description = "`wait=5`: wait so many seconds for the agent"),
    ),
    request_body = BudgetResetCreate,
    responses(
        (status = 200, description = "Recorded; what became of it so far", body = BudgetResetView),
        (status = 404, description = "No such sensor or point"),
        (status = 409, description = "The point is read-only: it has no write budget"),
    )
)]
pub(crate) async fn reset(
    Operator(caller): Operator,
    State(app): State<App>,
    PointPath(device, key): PointPath,
    query: Query,
    IdempotencyKey(request_key): IdempotencyKey,
    Wait(wait): Wait,
    JsonDocument(body): SmallDocument,
) -> ApiResult<Json<BudgetResetView>> {
    query.finish()?;
    let BudgetResetCreate { reason } =
        BudgetResetCreate::from_json(body).map_err(|problems| ApiProblem::invalid(&problems))?;
    let point = key.find(&*app.hub.state(device).await?)?;
    app.hub
        .reset_budget(device, point, request_key, caller.asks(Some(&reason)))
        .await?;
    let waiting = app.hub.budget_reset(device, point, wait);
    let state = match app.held_back(wait, waiting).await {
        Some(state) => state?,
        None => app.hub.state(device).await?,
    };
    answer(&state, point)
}

/// Get the last reset of a point's write budget
///
/// Who reset it, why, and whether the agent has carried it out.
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}/points/{sensor}/{point}/write-budget/reset", tag = "values",
    security(("bearer" = ["viewer"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("sensor" = String, Path, description = "The sensor's UUID or name"),
        ("point" = String, Path, description = "The point's UUID or name"),
    ),
    responses(
        (status = 200, description = "The last reset", body = BudgetResetView),
        (status = 404, description = "No such point, or its budget was never reset"),
    )
)]
pub(crate) async fn last_reset(
    _: Viewer,
    State(app): State<App>,
    PointPath(device, key): PointPath,
    query: Query,
) -> ApiResult<Json<BudgetResetView>> {
    query.finish()?;
    let state = app.hub.state(device).await?;
    let point = key.find(&state)?;
    answer(&state, point)
}

fn answer(state: &DeviceState, point: PointId) -> ApiResult<Json<BudgetResetView>> {
    let view = BudgetResetView::of(state, point);
    let never =
        || ApiProblem::not_found(format!("the write budget of point {point} was never reset"));
    view.map(Json).ok_or_else(never)
}
