//! What the pages' buttons do: stopping and starting value loops, of a device and of the fleet.
//!
//! A form counts only if it comes from a page of this server: the session's cookie is SameSite=Strict, and the extractors of
//! roles ([`crate::auth`]) ask the browser for the origin besides. Then the page is shown anew.

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use holdfast_domain::{Problems, document::hold::Scope};
use holdfast_hub::{HubError, values::InterruptRequest};
use holdfast_wire::{FleetReconciliation, Request as _, Stop};
use serde_json::{Map, Value, json};

use crate::{
    App,
    auth::{Admin, Operator},
    extract::{DevicePath, Form, PausePath},
    problem::{ApiProblem, ApiResult},
    reconciliation,
    ui::PageError,
};

/// What the form says: why, and until when.
fn stop_of(fields: &[(String, String)]) -> ApiResult<Stop> {
    let mut body = Map::new();
    if let Some(reason) = field(fields, "reason") {
        body.insert("reason".to_owned(), json!(reason));
    }
    if let Some(time) = field(fields, "for") {
        let ms = time
            .parse::<u64>()
            .map_or_else(|_| json!(time), Value::from);
        body.insert("forMs".to_owned(), ms);
    }
    Stop::from_json(Value::Object(body)).map_err(|problems| ApiProblem::invalid(&problems))
}

/// A field that was filled in.
fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = fields.iter().find(|(key, _)| key == name);
    found
        .map(|(_, value)| value.trim())
        .filter(|value| !value.is_empty())
}

pub(super) async fn stop_device(
    operator: ApiResult<Operator>,
    State(app): State<App>,
    path: ApiResult<DevicePath>,
    form: ApiResult<Form>,
) -> Result<Response, PageError> {
    on_device(path, async |device| {
        let Operator(caller) = operator?;
        let Form(fields) = form?;
        let stop = stop_of(&fields)?;
        let request = InterruptRequest {
            scope: Scope::Device,
            for_ms: stop.for_ms,
        };
        let asked = caller.asks(Some(&stop.reason));
        app.hub.interrupt(device, request, asked).await?;
        Ok(())
    })
    .await
}

pub(super) async fn start_device(
    operator: ApiResult<Operator>,
    State(app): State<App>,
    path: ApiResult<DevicePath>,
    form: ApiResult<Form>,
) -> Result<Response, PageError> {
    on_device(path, async |device| {
        let Operator(caller) = operator?;
        let Form(fields) = form?;
        let reason = field(&fields, "reason");
        app.hub.start(device, caller.asks(reason)).await?;
        Ok(())
    })
    .await
}

/// Lifts the pause of a sensor or a point. One that is over already is no error: the page shows so.
pub(super) async fn lift(
    operator: ApiResult<Operator>,
    State(app): State<App>,
    path: ApiResult<PausePath>,
    form: ApiResult<Form>,
) -> Result<Response, PageError> {
    let PausePath(device, pause) = path.map_err(|problem| PageError::at(&problem, "/"))?;
    on_device(Ok(DevicePath(device)), async |device| {
        let Operator(caller) = operator?;
        let Form(fields) = form?;
        let reason = field(&fields, "reason").ok_or_else(|| {
            ApiProblem::invalid(&Problems::one("reason", "why it is lifted", "nothing"))
        })?;
        match app.hub.lift(device, pause, caller.asks(Some(reason))).await {
            Err(HubError::NotFound(_)) => Ok(()),
            other => Ok(other?),
        }
    })
    .await
}

async fn on_device(
    path: ApiResult<DevicePath>,
    act: impl AsyncFnOnce(holdfast_domain::DeviceId) -> ApiResult<()>,
) -> Result<Response, PageError> {
    let DevicePath(device) = path.map_err(|problem| PageError::at(&problem, "/"))?;
    let page = format!("/devices/{device}");
    act(device)
        .await
        .map_err(|problem| PageError::at(&problem, &page))?;
    Ok(Redirect::to(&page).into_response())
}

pub(super) async fn stop_fleet(
    admin: ApiResult<Admin>,
    State(app): State<App>,
    form: ApiResult<Form>,
) -> Result<Response, PageError> {
    on_fleet(async || {
        let Admin(caller) = admin?;
        let Form(fields) = form?;
        reconciliation::stop_all(&app, &caller, stop_of(&fields)?).await
    })
    .await
}

pub(super) async fn start_fleet(
    admin: ApiResult<Admin>,
    State(app): State<App>,
    form: ApiResult<Form>,
) -> Result<Response, PageError> {
    on_fleet(async || {
        let Admin(caller) = admin?;
        let Form(fields) = form?;
        let reason = field(&fields, "reason").map(str::to_owned);
        reconciliation::start_all(&app, &caller, reason).await
    })
    .await
}

async fn on_fleet(
    act: impl AsyncFnOnce() -> ApiResult<FleetReconciliation>,
) -> Result<Response, PageError> {
    act()
        .await
        .map_err(|problem| PageError::at(&problem, "/"))?;
    Ok(Redirect::to("/").into_response())
}
