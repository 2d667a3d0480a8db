//! Commands: values that are written once.

use axum::{Json, extract::State, http::StatusCode};
use holdfast_domain::{CommandId, DeviceId, PointId, shown, state::DeviceState};
use holdfast_hub::commands::{CommandEdit, Commanded};
use holdfast_wire::{CommandSend, CommandView, Listed, Request, SetpointView};

use crate::{
    App,
    auth::{Operator, Viewer},
    extract::{
        CommandPath, DevicePath, IdempotencyKey, JsonDocument, NoBody, PointKey, Query,
        SmallDocument, Wait,
    },
    paged,
    problem::{ApiProblem, ApiResult},
};

/// Send a value to a point
///
/// To a pulse or command: it is written once, as soon as the agent has it, and read back once; at most once, whatever
/// fails, and never later than `validForMs` (100 to 3,600,000; 3,000 unless stated) after this answer was decided. The
/// agent's word on it, `outcome`, is the last: `verified`, `acknowledgedUnverified` (accepted, and not shown since),
/// `refused`, `failed` and `expired` (nothing was written), or `outcomeUnknown` (never repeated). With `Prefer: wait=5` the
/// answer is held back for that, for at most so many seconds (up to 60); where a hundred wait already it comes at once.
///
/// To a level: it is set, as by `PUT` of its setpoint, and held from then on; `id` is null, and `setpoint` says how it
/// stands.
///
/// With an `Idempotency-Key` the same request again gives the same command.
#[utoipa::path(
    post, path = "/api/v1/devices/{uuid}/commands", tag = "values", security(("bearer" = ["operator"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("Idempotency-Key" = Option<String>, Header, description = "The request's key, of 1 to 255 characters"),
        ("Prefer" = Option<String>, Header, description = "`wait=5`: wait so many seconds for the agent's word"),
    ),
    request_body = CommandSend,
    responses(
        (status = 200, description = "Recorded; what became of it so far", body = CommandView),
        (status = 404, description = "No such sensor or point"),
        (status = 409, description = "The point is read-only, it is stopped or paused, or too many commands wait"),
        (status = 412, description = "The point does not show `onlyIfValue`"),
    )
)]
pub(crate) async fn send(
    Operator(caller): Operator,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    query: Query,
    IdempotencyKey(request_key): IdempotencyKey,
    Wait(wait): Wait,
    JsonDocument(body): SmallDocument,
) -> ApiResult<Json<CommandView>> {
    query.finish()?;
    let CommandSend {
        sensor,
        point,
        value,
        valid_for_ms,
        reason,
        only_if_value,
    } = CommandSend::from_json(body).map_err(|problems| ApiProblem::invalid(&problems))?;
    let key = PointKey::of(&sensor, &point)?;
    let point = key.find(&*app.hub.state(device).await?)?;
    let edit = CommandEdit {
        value,
        valid_for_ms,
        key: request_key,
        only_if: only_if_value,
    };
    let commanded = app
        .hub
        .command(device, point, &edit, caller.asks(reason.as_deref()))
        .await?;
    let waiting = async {
        match commanded {
            Commanded::Set => app.hub.settled(device, point, wait).await,
            Commanded::Given(id) => app.hub.word_on(device, id, wait).await,
        }
    };
    let state = match app.held_back(wait, waiting).await {
        Some(state) => state?,
        None => app.hub.state(device).await?,
    };
    answer(&app, &state, point, commanded)
}

fn answer(
    app: &App,
    state: &DeviceState,
    point: PointId,
    commanded: Commanded,
) -> ApiResult<Json<CommandView>> {
    let view = match commanded {
        Commanded::Given(id) => view_of(state, id),
        Commanded::Set => shown::of_point(state, point, app.hub.now()).map(|shown| {
            let silent = state.presence.silent;
            CommandView::of_setpoint(SetpointView::new(state.record.id, shown, silent))
        }),
    };
    // Somebody may have released the point meanwhile.
    let gone = || ApiProblem::not_found(format!("nothing is set on point {point} any more"));
    view.map(Json).ok_or_else(gone)
}

fn view_of(state: &DeviceState, id: CommandId) -> Option<CommandView> {
    let record = state.target.values.commands.get(id)?;
    Some(CommandView::new(state, record))
}

/// List a device's commands
///
/// The newest first: those that wait for the agent's word, and of the others as many as make a hundred with them. The
/// event log has them all.
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}/commands", tag = "values", security(("bearer" = ["viewer"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, description = "The most items, 1 to 1000; 100 unless stated"),
    ),
    responses((status = 200, description = "A page of commands", body = Listed<CommandView>))
)]
pub(crate) async fn list(
    _: Viewer,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    mut query: Query,
) -> ApiResult<Json<Listed<CommandView>>> {
    let page = query.page();
    query.finish()?;
    let before: Option<u64> = paged::after(&page)?;
    let state = app.hub.state(device).await?;
    let records = state.target.values.commands.records.iter().rev();
    let records = records.filter(|record| before.is_none_or(|before| record.revision < before));
    let Listed { items, next } = paged::cut(records, &page, |one| one.revision.to_string());
    let items = items
        .into_iter()
        .map(|record| CommandView::new(&state, record))
        .collect();
    Ok(Json(Listed { items, next }))
}

/// Get a command
///
/// What was sent, and the agent's word on it.
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}/commands/{id}", tag = "values", security(("bearer" = ["viewer"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("id" = CommandId, Path, description = "The command"),
        ("Prefer" = Option<String>, Header, description = "`wait=5`: wait so many seconds for the agent's word"),
    ),
    responses(
        (status = 200, description = "The command", body = CommandView),
        (status = 404, description = "No such command, or it is older than those that are kept: see the event log"),
    )
)]
pub(crate) async fn get(
    _: Viewer,
    State(app): State<App>,
    CommandPath(device, id): CommandPath,
    query: Query,
    Wait(wait): Wait,
) -> ApiResult<Json<CommandView>> {
    query.finish()?;
    let mut state = app.hub.state(device).await?;
    if !wait.is_zero() && view_of(&state, id).is_some_and(|view| view.outcome.is_none()) {
        let waiting = app.hub.word_on(device, id, wait);
        if let Some(said) = app.held_back(wait, waiting).await {
            state = said?;
        }
    }
    let view = view_of(&state, id);
    view.map(Json)
        .ok_or_else(|| ApiProblem::not_found(format!("command {id} of device {device}")))
}

/// Cancel a command
///
/// One that its agent has not begun is never carried out: its agent's word is `cancelled` then. What was begun can't be taken
/// back, and is not broken off. Only the agent knows which it is: with `Prefer: wait=5` the answer is held back for its word, for
/// at most so many seconds (up to 60); where a hundred wait already it comes at once.
#[utoipa::path(
    delete, path = "/api/v1/devices/{uuid}/commands/{id}", tag = "values", security(("bearer" = ["operator"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("id" = CommandId, Path, description = "The command"),
        ("reason" = Option<String>, Query, description = "Why, for the events"),
        ("Prefer" = Option<String>, Header, description = "`wait=5`: wait so many seconds for the agent's word"),
    ),
    responses(
        (status = 200, description = "It is cancelled, and was not begun", body = CommandView),
        (status = 202, description = "Cancelling is recorded; its agent has not said yet whether it had begun it",
            body = CommandView),
        (status = 404, description = "No such command, or it is older than those that are kept: see the event log"),
        (status = 409, description = "It was begun before, or has ended: what became of it is said"),
    )
)]
pub(crate) async fn cancel(
    Operator(caller): Operator,
    State(app): State<App>,
    CommandPath(device, id): CommandPath,
    mut query: Query,
    Wait(wait): Wait,
    _: NoBody,
) -> ApiResult<(StatusCode, Json<CommandView>)> {
    let reason = query.reason();
    query.finish()?;
    let asked = caller.asks(reason.as_deref());
    app.hub.cancel_command(device, id, asked).await?;
    let waiting = app.hub.word_on(device, id, wait);
    let state = match app.held_back(wait, waiting).await {
        Some(state) => state?,
        None => app.hub.state(device).await?,
    };
    let view = view_of(&state, id);
    let view =
        view.ok_or_else(|| ApiProblem::not_found(format!("command {id} of device {device}")))?;
    match view.outcome {
        // It may have ended in another way while that was on its way to the agent: nothing was written all the same.
        Some(outcome) if outcome.is_unwritten() => Ok((StatusCode::OK, Json(view))),
        None => Ok((StatusCode::ACCEPTED, Json(view))),
        Some(outcome) => {
            let why = view.why.map_or_else(String::new, |why| format!(": {why}"));
            Err(ApiProblem::conflict(format!(
                "the command was not cancelled: its agent had begun or ended it before ({outcome}{why})"
            )))
        }
    }
}
