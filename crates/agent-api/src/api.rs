//! The routes: how the loop runs, start, stop, the interval.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use holdfast_domain::{
    Fields, document::hold::LoopState, document::setpoint::duration_ms, limits, row::Actor,
};
use holdfast_edge::{LocalError, LocalOrder};
use holdfast_wire::Request;

use crate::{App, body, problem::Refused, view::ReconciliationView};

/// Who it was, where nobody says.
const SOMEBODY: &str = "technician";

const WHO: &str = "who it is, in 1 to 128 characters";

const WHY: &str = "why, in 1 to 1,024 characters";

/// A stop.
struct Stop {
    by: Actor,
    reason: String,
    for_ms: Option<u64>,
}

/// A start.
struct Start {
    by: Actor,
    reason: Option<String>,
}

/// Another interval.
struct Tune {
    interval_ms: Option<u32>,
}

/// Who it says that it is. The outer `None` means that it is wrong.
fn by(fields: &mut Fields<'_>) -> Option<Actor> {
    let by = fields.text_opt("by", WHO)?;
    let by = by.unwrap_or_else(|| SOMEBODY.to_owned());
    let by = by.trim();
    let count = by.chars().count();
    if count == 0 || count > limits::NAME_CHARS || by.chars().any(char::is_control) {
        fields.problem(
            "by",
            WHO,
            format_args!("{count} characters, or some that can't be shown"),
        );
        return None;
    }
    Some(Actor::named(by))
}

impl Request for Stop {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (by, reason) = (by(fields), fields.text("reason", WHY));
        let for_ms = fields.optional("forMs", duration_ms);
        Some(Self {
            by: by?,
            reason: reason?,
            for_ms: for_ms?,
        })
    }
}

impl Request for Start {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (by, reason) = (by(fields), fields.text_opt("reason", WHY));
        Some(Self {
            by: by?,
            reason: reason?,
        })
    }
}

impl Request for Tune {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        // Null, or left out, is: as the hub wants.
        let interval_ms = fields.optional("intervalMs", |value, path, problems| {
            let range = limits::HOLD_INTERVAL_MS;
            let given = value.as_i64().filter(|ms| range.contains(ms));
            let given = given.and_then(|ms| u32::try_from(ms).ok());
            if given.is_none() {
                let expected = format_args!("{} to {}, or null", range.start(), range.end());
                problems.add(path, expected, value);
            }
            given
        });
        Some(Self {
            interval_ms: interval_ms?,
        })
    }
}

/// How the loop runs.
pub(crate) async fn show(State(app): State<App>) -> Result<Response, Refused> {
    Ok(json(StatusCode::OK, &look(&app).await?))
}

/// Stops it. Answered when it is confirmed; if that takes long, with 202 and how far it is.
pub(crate) async fn stop(
    State(app): State<App>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Refused> {
    let Stop { by, reason, for_ms } = body::read(&headers, sent).await?;
    carry_out(&app, LocalOrder::Stop { by, reason, for_ms }).await
}

/// Lifts the stop on site.
pub(crate) async fn start(
    State(app): State<App>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Refused> {
    let Start { by, reason } = body::read(&headers, sent).await?;
    carry_out(&app, LocalOrder::Start { by, reason }).await
}

/// Sets the interval on site.
pub(crate) async fn tune(
    State(app): State<App>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Refused> {
    let Tune { interval_ms } = body::read(&headers, sent).await?;
    carry_out(&app, LocalOrder::Interval(interval_ms)).await
}

async fn look(app: &App) -> Result<ReconciliationView, Refused> {
    match tokio::time::timeout(app.settings.patience, app.local.look()).await {
        Ok(Ok(view)) => Ok(view.into()),
        Ok(Err(error)) => Err(Refused::unavailable(error.to_string())),
        Err(_) => Err(Refused::unavailable(
            "the agent is not up yet, or about to end: try again",
        )),
    }
}

async fn carry_out(app: &App, order: LocalOrder) -> Result<Response, Refused> {
    // The order stands, also if whoever gave it goes away.
    let order = app.local.order(order);
    let done = tokio::time::timeout(app.settings.patience, order).await;
    match done {
        Ok(Ok(())) => {}
        Ok(Err(error @ (LocalError::NotKept(_) | LocalError::Ended))) => {
            return Err(Refused::unavailable(error.to_string()));
        }
        Err(_) => {}
    }
    let view = look(app).await?;
    let status = if done.is_err() || view.state == LoopState::Stopping {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    Ok(json(status, &view))
}

fn json(status: StatusCode, view: &ReconciliationView) -> Response {
    let body = serde_json::to_vec(view).expect("a view has text keys and finite numbers");
    let mut response = (status, body).into_response();
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
