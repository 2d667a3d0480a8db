//! The agent's side: registration, the target, reports, last values. Hot: nothing here reads a body twice or logs.

use std::time::{Duration, Instant};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use holdfast_domain::{DeviceId, Fingerprint};
use holdfast_hub::{
    HubError,
    agents::{PolledTarget, ReportOutcome},
    registering::RegisterRequest as Registration,
};
use holdfast_ports::{store::PointRecord, tokens::SecretHash};
use holdfast_wire::{
    IncarnationAnswer, IncarnationRequest, ProblemDetails, Readings, RegisterAnswer,
    RegisterRequest, ReportAnswer, ReportResult,
    agent::schemas,
    routes::{CHANGES, HELD_MS},
};

use crate::{
    App,
    auth::{Agent, Key},
    extract::{DevicePath, HeldConfig, IfNoneMatch, JsonBytes, JsonDocument, SmallDocument, Wait},
    problem::{ApiProblem, ApiResult},
};

/// Register an agent
///
/// With a provisioning key as bearer token. The agent makes its own 256-bit token and sends the token's hash. The same
/// request again gets the same answer. A key that is bound to a device gives the agent that device, and ends the access
/// of the one that had it. An agent that this hub does not know any more says by
/// `device` whose it is; then only a bound key is good.
#[utoipa::path(
    post, path = "/api/v1/device/register", tag = "agent", security(("provisioningKey" = [])),
    request_body = RegisterRequest,
    responses((status = 200, description = "Registered", body = RegisterAnswer))
)]
pub(crate) async fn register(
    key: Key,
    State(app): State<App>,
    JsonDocument(body): SmallDocument,
) -> ApiResult<Json<RegisterAnswer>> {
    let request =
        RegisterRequest::from_json(body).map_err(|problems| ApiProblem::invalid(&problems))?;
    let token_hash = SecretHash(request.hash_bytes());
    let registration = Registration {
        token_hash,
        name: request.name,
        labels: request.labels,
        device: request.device,
    };
    let registered = app
        .hub
        .register(&key.secret, &registration, Some(key.request.as_str()))
        .await;
    let registered = registered.map_err(|error| match error {
        HubError::DeviceGone(device) => ApiProblem::deleted(device),
        other => other.into(),
    })?;
    Ok(Json(RegisterAnswer {
        device: registered.device,
        incarnation: registered.incarnation,
    }))
}

/// Get the target
///
/// With `If-None-Match`, 304 if the agent holds it already; with `Prefer: wait=30` the answer is held back until the
/// target changes, for at most so many seconds (up to 60). If too many answers are held back already, it is 503 with
/// `Retry-After` instead; a target that the agent does not hold is answered in any case.
///
/// With `Prefer: changes="b3:…"`, the identity of the configuration that the agent holds, a target with that very
/// configuration comes without it: in place of `config` it has `heldConfig`, which is that identity. All the rest, and the
/// entity tag, is of the whole.
#[utoipa::path(
    get, path = "/api/v1/device/{uuid}/state", tag = "agent", security(("bearer" = ["agent"])),
    params(
        ("uuid" = DeviceId, Path, description = "The token's own device"),
        ("If-None-Match" = Option<String>, Header, description = "Entity tag of the target that the agent holds durably"),
        ("Prefer" = Option<String>, Header, description = "`wait=30`: wait so many seconds for a change. \
            `changes=\"b3:…\"`: the configuration of this identity, which the agent holds durably, may be left out"),
    ),
    responses(
        (status = 200, description = "The target", body = schemas::TargetDocument,
            headers(
                ("ETag" = String, description = "Made from the version and the revisions"),
                ("Preference-Applied" = Option<String>, description = "`changes`: the configuration is left out"),
                ("holdfast-held-ms" = u64, description = "For how many whole ms the answer was held back: what lasts some \
                    time in it does so from its end"),
            )),
        (status = 304, description = "The agent holds it already"),
        (status = 410, description = "The device was deleted", body = ProblemDetails,
            content_type = "application/problem+json"),
        (status = 503, description = "Too many answers are held back already: come back later", body = ProblemDetails,
            content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "In seconds"))),
    )
)]
pub(crate) async fn poll(
    agent: Agent,
    State(app): State<App>,
    DevicePath(device): DevicePath,
    held: IfNoneMatch,
    HeldConfig(config): HeldConfig,
    Wait(wait): Wait,
) -> ApiResult<Response> {
    let began = Instant::now();
    agent.must_be(device, "uuid")?;
    let (polled, held_ms) = if wait.is_zero() {
        let polled = app.hub.poll_target(device, held.tag(), config, wait).await;
        (polled, began.elapsed().as_millis())
    } else {
        let polled = wait_for_target(&app, device, held.tag(), config, wait).await?;
        // What the target says lasts from here on.
        let held_ms = began.elapsed().as_millis();
        agent.still_may(&app).await?;
        (polled, held_ms)
    };
    let polled = polled.map_err(|error| gone(device, error))?;
    Ok(answer(polled, held_ms))
}

fn answer(polled: PolledTarget, held_ms: u128) -> Response {
    const APPLIED: HeaderName = HeaderName::from_static("preference-applied");
    let is_without_config = matches!(polled, PolledTarget::Changes { .. });
    let (status, etag, body) = match polled {
        PolledTarget::Unchanged { etag } => (StatusCode::NOT_MODIFIED, etag, None),
        PolledTarget::Target { etag, body } | PolledTarget::Changes { etag, body } => {
            (StatusCode::OK, etag, Some(body))
        }
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::ETAG,
        HeaderValue::try_from(etag).expect("letters, digits, a point and quotes"),
    );
    if let Some(body) = body {
        let held_ms = HeaderValue::try_from(held_ms.to_string()).expect("digits");
        headers.insert(HELD_MS, held_ms);
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if is_without_config {
            headers.insert(APPLIED, HeaderValue::from_static(CHANGES));
        }
        *response.body_mut() = Body::from(body);
    }
    response
}

/// Waits for a target that is not `held`, if there is a place for that. When the process ends, nobody is made to wait for it.
async fn wait_for_target(
    app: &App,
    device: DeviceId,
    held: Option<&str>,
    config: Option<Fingerprint>,
    wait: Duration,
) -> ApiResult<Result<PolledTarget, HubError>> {
    let now = || app.hub.poll_target(device, held, config, Duration::ZERO);
    let places = &app.bounds.long_polls;
    let Some(_place) = places.take() else {
        let polled = now().await;
        return if matches!(polled, Ok(PolledTarget::Unchanged { .. })) {
            Err(ApiProblem::full(format!(
                "{} agents wait for a change already, which is the limit: ask again later",
                places.most()
            )))
        } else {
            Ok(polled)
        };
    };
    let waited = app.hub.poll_target(device, held, config, wait);
    Ok(
        match app.settings.ending.run_until_cancelled(waited).await {
            Some(polled) => polled,
            None => now().await,
        },
    )
}

/// Report the current state
///
/// What is true on the device: transitions only. What a report leaves out is unchanged since the last acknowledged one;
/// `version`, `config` and `failures` are one block. It is durable before the answer.
#[utoipa::path(
    patch, path = "/api/v1/device/state", tag = "agent", security(("bearer" = ["agent"])),
    request_body = schemas::ReportDocument,
    responses((status = 200, description = "What came of it", body = ReportAnswer))
)]
pub(crate) async fn report(
    agent: Agent,
    State(app): State<App>,
    body: JsonBytes,
) -> ApiResult<Json<ReportAnswer>> {
    let outcome = app
        .hub
        .report(agent.device, &body.0, Some(agent.request.as_str()))
        .await;
    let outcome = outcome.map_err(|error| match error {
        HubError::Invalid(problems) => body.wrong(&problems),
        other => gone(agent.device, other),
    });
    let (result, boot) = match outcome? {
        ReportOutcome::Taken => (ReportResult::Taken, None),
        ReportOutcome::Unchanged => (ReportResult::Unchanged, None),
        ReportOutcome::Late { boot } => (ReportResult::Late, Some(boot)),
        ReportOutcome::FullWanted => (ReportResult::FullWanted, None),
        ReportOutcome::OtherIncarnation => (ReportResult::OtherIncarnation, None),
    };
    Ok(Json(ReportAnswer { result, boot }))
}

/// Send last values
///
/// Best effort, of what changed; a later time wins.
#[utoipa::path(
    post, path = "/api/v1/device/readings", tag = "agent", security(("bearer" = ["agent"])),
    request_body = Readings,
    responses((status = 204, description = "Kept"))
)]
pub(crate) async fn readings(
    agent: Agent,
    State(app): State<App>,
    body: JsonBytes,
) -> ApiResult<StatusCode> {
    let Readings {
        device,
        sent_at,
        readings,
    } = Readings::from_slice(&body.0).map_err(|problems| body.wrong(&problems))?;
    agent.must_be(device, "device")?;
    let records: Vec<PointRecord> = readings
        .into_iter()
        .map(|reading| PointRecord {
            point: reading.point,
            sensor: reading.sensor,
            value: reading.value,
            quality: reading.quality,
            at: holdfast_domain::event::whole_micros(reading.at),
            reason: reading.reason,
        })
        .collect();
    app.hub
        .readings(device, &records, sent_at)
        .await
        .map_err(|error| gone(device, error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ask for a new incarnation
///
/// For an agent that finds that its disk speaks with the past of another: only the current incarnation counts.
#[utoipa::path(
    post, path = "/api/v1/device/incarnation", tag = "agent", security(("bearer" = ["agent"])),
    request_body = IncarnationRequest,
    responses((status = 200, description = "The incarnation that counts from now on", body = IncarnationAnswer))
)]
pub(crate) async fn incarnation(
    agent: Agent,
    State(app): State<App>,
    JsonDocument(body): SmallDocument,
) -> ApiResult<Json<IncarnationAnswer>> {
    let request =
        IncarnationRequest::from_json(body).map_err(|problems| ApiProblem::invalid(&problems))?;
    agent.must_be(request.device, "device")?;
    let given = app
        .hub
        .new_incarnation(agent.device, Some(agent.request.as_str()))
        .await;
    let incarnation = given.map_err(|error| gone(agent.device, error))?;
    Ok(Json(IncarnationAnswer { incarnation }))
}

/// An agent whose token was good a moment ago, and whose device is gone, learns that it was deleted.
fn gone(own: DeviceId, error: HubError) -> ApiProblem {
    match error {
        HubError::DeviceGone(device) if device == own => ApiProblem::deleted(device),
        other => other.into(),
    }
}
