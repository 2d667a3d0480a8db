//! The value loop: stopping and starting it, pausing parts of it, and how it runs; of a device, and of the fleet.
//!
//! What was asked for and what agents have confirmed are shown apart.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use futures::{StreamExt as _, stream};
use holdfast_domain::{
    DeviceId, document::hold::Scope, row::Actor, values::Interruption, wish::Tuning,
};
use holdfast_hub::{
    Hub, HubError,
    values::{Asked, InterruptRequest},
};
use holdfast_ports::{page::Page, store::DeviceFilter};
use holdfast_wire::{
    FleetReconciliation, Listed, PauseCreate, ReconciliationUpdate, ReconciliationView, Request,
    Stop, Why,
};

use crate::{
    App,
    auth::{Admin, Caller, Operator, Viewer},
    extract::{DevicePath, GivenWhy, JsonDocument, NoBody, PausePath, Query, SmallDocument, Wait},
    problem::{ApiProblem, ApiResult},
};

/// Get how a device's value loop runs
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}/reconciliation", tag = "values", security(("bearer" = ["viewer"])),
    params(("uuid" = DeviceId, Path, description = "The device")),
    responses((status = 200, description = "What was asked for, and what the agent has confirmed",
        body = ReconciliationView))
)]
pub(crate) async fn get(
    _: Viewer,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    query: Query,
) -> ApiResult<Json<ReconciliationView>> {
    query.finish()?;
    Ok(Json(ReconciliationView::new(
        &*app.hub.state(device).await?,
    )))
}

/// The device's loop, after waiting for its agent to confirm what was asked for.
async fn confirmed(
    app: &App,
    device: DeviceId,
    wait: std::time::Duration,
) -> ApiResult<Json<ReconciliationView>> {
    let confirming = app.hub.confirmed(device, wait);
    let state = match app.held_back(wait, confirming).await {
        Some(state) => state?,
        None => app.hub.state(device).await?,
    };
    Ok(Json(ReconciliationView::new(&state)))
}

/// Change how a device's value loop runs
///
/// What is left out stays.
#[utoipa::path(
    patch, path = "/api/v1/devices/{uuid}/reconciliation", tag = "values", security(("bearer" = ["operator"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("Prefer" = Option<String>, Header, description = "`wait=5`: wait so many seconds for the agent to confirm"),
    ),
    request_body = ReconciliationUpdate,
    responses((status = 200, description = "Recorded, or so already", body = ReconciliationView))
)]
pub(crate) async fn tune(
    Operator(caller): Operator,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    query: Query,
    Wait(wait): Wait,
    JsonDocument(body): SmallDocument,
) -> ApiResult<Json<ReconciliationView>> {
    query.finish()?;
    let update =
        ReconciliationUpdate::from_json(body).map_err(|problems| ApiProblem::invalid(&problems))?;
    app.hub
        .tune(
            device,
            update.tuning(),
            caller.asks(update.reason.as_deref()),
        )
        .await?;
    confirmed(&app, device, wait).await
}

/// Start a device's value loop
///
/// Lifts every stop; the pauses of its sensors and points stay. Already started: nothing changes.
#[utoipa::path(
    post, path = "/api/v1/devices/{uuid}/reconciliation/start", tag = "values",
    security(("bearer" = ["operator"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("reason" = Option<String>, Query, description = "Why, for the events"),
        ("Prefer" = Option<String>, Header, description = "`wait=5`: wait so many seconds for the agent to confirm"),
    ),
    request_body = Option<Why>,
    responses((status = 200, description = "Recorded, or so already", body = ReconciliationView))
)]
pub(crate) async fn start(
    Operator(caller): Operator,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    mut query: Query,
    Wait(wait): Wait,
    why: GivenWhy,
) -> ApiResult<Json<ReconciliationView>> {
    let reason = why.or_of(&mut query);
    query.finish()?;
    app.hub
        .start(device, caller.asks(reason.as_deref()))
        .await?;
    confirmed(&app, device, wait).await
}

/// Stop a device's value loop
///
/// Its agent goes on looking, and writes nothing until it is started, or the time is over. The same stop again changes
/// nothing; another one takes its place.
#[utoipa::path(
    post, path = "/api/v1/devices/{uuid}/reconciliation/stop", tag = "values",
    security(("bearer" = ["operator"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("Prefer" = Option<String>, Header, description = "`wait=5`: wait so many seconds for the agent to confirm"),
    ),
    request_body = Stop,
    responses((status = 200, description = "Recorded, or so already", body = ReconciliationView))
)]
pub(crate) async fn stop(
    Operator(caller): Operator,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    query: Query,
    Wait(wait): Wait,
    JsonDocument(body): SmallDocument,
) -> ApiResult<Json<ReconciliationView>> {
    query.finish()?;
    let stop = Stop::from_json(body).map_err(|problems| ApiProblem::invalid(&problems))?;
    let request = InterruptRequest {
        scope: Scope::Device,
        for_ms: stop.for_ms,
    };
    let asked = caller.asks(Some(&stop.reason));
    app.hub.interrupt(device, request, asked).await?;
    confirmed(&app, device, wait).await
}

/// List a device's stops and pauses
///
/// The oldest first.
#[utoipa::path(
    get, path = "/api/v1/devices/{uuid}/pauses", tag = "values", security(("bearer" = ["viewer"])),
    params(("uuid" = DeviceId, Path, description = "The device")),
    responses((status = 200, description = "All of them: there are a thousand at most",
        body = Listed<Interruption>))
)]
pub(crate) async fn pauses(
    _: Viewer,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    query: Query,
) -> ApiResult<Json<Listed<Interruption>>> {
    query.finish()?;
    let state = app.hub.state(device).await?;
    let items = state.target.values.hold.interruptions.clone();
    Ok(Json(Listed { items, next: None }))
}

/// Pause a sensor or a point
///
/// Nothing is written there until the pause is lifted or over; it is still looked at. Another pause of the same takes its
/// place.
#[utoipa::path(
    post, path = "/api/v1/devices/{uuid}/pauses", tag = "values", security(("bearer" = ["operator"])),
    params(("uuid" = DeviceId, Path, description = "The device")),
    request_body = PauseCreate,
    responses((status = 201, description = "Recorded, or so already", body = Interruption))
)]
pub(crate) async fn pause(
    Operator(caller): Operator,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    query: Query,
    JsonDocument(body): SmallDocument,
) -> ApiResult<(StatusCode, Json<Interruption>)> {
    query.finish()?;
    let pause = PauseCreate::from_json(body).map_err(|problems| ApiProblem::invalid(&problems))?;
    let scope = pause.scope().ok_or_else(ApiProblem::internal)?;
    let request = InterruptRequest {
        scope,
        for_ms: pause.for_ms,
    };
    let asked = caller.asks(Some(&pause.reason));
    let made = app.hub.interrupt(device, request, asked).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Lift a stop or pause
#[utoipa::path(
    delete, path = "/api/v1/devices/{uuid}/pauses/{id}", tag = "values", security(("bearer" = ["operator"])),
    params(
        ("uuid" = DeviceId, Path, description = "The device"),
        ("id" = String, Path, description = "The stop or pause"),
        ("reason" = Option<String>, Query, description = "Why, for the events"),
    ),
    responses((status = 204, description = "Lifted"))
)]
pub(crate) async fn lift(
    Operator(caller): Operator,
    State(app): State<App>,
    PausePath(device, pause): PausePath,
    mut query: Query,
    _: NoBody,
) -> ApiResult<StatusCode> {
    let reason = query.reason();
    query.finish()?;
    app.hub
        .lift(device, pause, caller.asks(reason.as_deref()))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get how the fleet's value loops run
///
/// In figures: what was asked for, and what agents have confirmed. Looks at every device; who asks while that goes on shares
/// the next look.
#[utoipa::path(
    get, path = "/api/v1/reconciliation", tag = "values", security(("bearer" = ["viewer"])),
    responses((status = 200, description = "The fleet in figures", body = FleetReconciliation))
)]
pub(crate) async fn fleet(
    Viewer(caller): Viewer,
    State(app): State<App>,
    query: Query,
) -> ApiResult<Json<FleetReconciliation>> {
    query.finish()?;
    let look = look_at_all(&app, &caller);
    app.fleet_loops.now(look).await.map(Json)
}

/// How the fleet's loops run.
pub(crate) async fn look_at_all(app: &App, caller: &Caller) -> ApiResult<FleetReconciliation> {
    each_device(app, FleetOrder::new(FleetAct::Look, caller, None)).await
}

/// Change how the fleet's value loops run
///
/// Device by device: what was done of it stays done if the rest fails. Devices that are made later have the defaults.
#[utoipa::path(
    patch, path = "/api/v1/reconciliation", tag = "values", security(("bearer" = ["admin"])),
    request_body = ReconciliationUpdate,
    responses((status = 200, description = "The fleet in figures", body = FleetReconciliation))
)]
pub(crate) async fn tune_fleet(
    Admin(caller): Admin,
    State(app): State<App>,
    query: Query,
    JsonDocument(body): SmallDocument,
) -> ApiResult<Json<FleetReconciliation>> {
    query.finish()?;
    let update =
        ReconciliationUpdate::from_json(body).map_err(|problems| ApiProblem::invalid(&problems))?;
    let what = FleetAct::Tune(update.tuning());
    let order = FleetOrder::new(what, &caller, update.reason);
    each_device(&app, order).await.map(Json)
}

/// Start the fleet's value loops
///
/// Device by device. Those that run already are left alone.
#[utoipa::path(
    post, path = "/api/v1/reconciliation/start", tag = "values", security(("bearer" = ["admin"])),
    params(("reason" = Option<String>, Query, description = "Why, for the events")),
    request_body = Option<Why>,
    responses((status = 200, description = "The fleet in figures", body = FleetReconciliation))
)]
pub(crate) async fn start_fleet(
    Admin(caller): Admin,
    State(app): State<App>,
    mut query: Query,
    why: GivenWhy,
) -> ApiResult<Json<FleetReconciliation>> {
    let reason = why.or_of(&mut query);
    query.finish()?;
    start_all(&app, &caller, reason).await.map(Json)
}

/// Starts every device's loop.
pub(crate) async fn start_all(
    app: &App,
    caller: &Caller,
    reason: Option<String>,
) -> ApiResult<FleetReconciliation> {
    let order = FleetOrder::new(FleetAct::Start, caller, reason);
    let figures = each_device(app, order).await;
    app.fleet_loops.forget();
    figures
}

/// Stop the fleet's value loops
///
/// Device by device; ask again for how many agents have confirmed it. Devices that are made later are not stopped.
#[utoipa::path(
    post, path = "/api/v1/reconciliation/stop", tag = "values", security(("bearer" = ["admin"])),
    request_body = Stop,
    responses((status = 200, description = "The fleet in figures", body = FleetReconciliation))
)]
pub(crate) async fn stop_fleet(
    Admin(caller): Admin,
    State(app): State<App>,
    query: Query,
    JsonDocument(body): SmallDocument,
) -> ApiResult<Json<FleetReconciliation>> {
    query.finish()?;
    let stop = Stop::from_json(body).map_err(|problems| ApiProblem::invalid(&problems))?;
    stop_all(&app, &caller, stop).await.map(Json)
}

/// Stops every device's loop.
pub(crate) async fn stop_all(
    app: &App,
    caller: &Caller,
    stop: Stop,
) -> ApiResult<FleetReconciliation> {
    let Stop { reason, for_ms } = stop;
    let what = FleetAct::Stop { for_ms };
    let figures = each_device(app, FleetOrder::new(what, caller, Some(reason))).await;
    app.fleet_loops.forget();
    figures
}

/// What is asked of every device.
struct FleetOrder {
    what: FleetAct,
    actor: Actor,
    reason: Option<String>,
    correlation: Option<String>,
}

enum FleetAct {
    Look,
    Tune(Tuning),
    Start,
    Stop { for_ms: Option<u64> },
}

impl FleetOrder {
    fn new(what: FleetAct, caller: &Caller, reason: Option<String>) -> Self {
        Self {
            what,
            actor: caller.actor().clone(),
            reason,
            correlation: caller.correlation().map(str::to_owned),
        }
    }

    /// Carries it out on one device, and gives how its loop runs then.
    async fn carry_out(&self, hub: &Hub, device: DeviceId) -> Result<ReconciliationView, HubError> {
        let asked = Asked {
            actor: &self.actor,
            reason: self.reason.as_deref(),
            correlation: self.correlation.as_deref(),
        };
        match self.what {
            FleetAct::Look => {}
            FleetAct::Tune(tuning) => hub.tune(device, tuning, asked).await?,
            FleetAct::Start => hub.start(device, asked).await?,
            FleetAct::Stop { for_ms } => {
                let scope = Scope::Device;
                let request = InterruptRequest { scope, for_ms };
                hub.interrupt(device, request, asked).await?;
            }
        }
        Ok(ReconciliationView::new(&*hub.state(device).await?))
    }
}

/// Carries out an order on every device, some at a time, and counts the fleet as it is then. A device that fails is counted
/// and logged; one that is gone meanwhile is none.
async fn each_device(app: &App, order: FleetOrder) -> ApiResult<FleetReconciliation> {
    /// Devices at the same time: few enough that everything else gets its turn at the store.
    const AT_ONCE: usize = 8;
    let order = Arc::new(order);
    let mut figures = FleetReconciliation::default();
    let mut page = Page::first(Page::MOST);
    loop {
        let devices = &app.hub.parts().devices;
        let listed = devices.devices(&DeviceFilter::default(), &page).await?;
        let ids: Vec<DeviceId> = listed.items.iter().map(|device| device.record.id).collect();
        let one = |device| {
            let (hub, order) = (app.hub.clone(), order.clone());
            async move { (device, order.carry_out(&hub, device).await) }
        };
        let mut done = stream::iter(ids.into_iter().map(one)).buffer_unordered(AT_ONCE);
        while let Some((device, view)) = done.next().await {
            match view {
                Ok(view) => figures.count(&view),
                Err(HubError::DeviceGone(_)) => {}
                Err(error @ HubError::Invalid(_)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%device, error = &error as &dyn std::error::Error,
                        "the device's value loop could not be asked");
                    figures.failed += 1;
                }
            }
        }
        let Some(next) = listed.next else {
            return Ok(figures);
        };
        page.after = Some(next);
    }
}
