//! Bodies: of the media type that is wanted, and not larger than is allowed.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use holdfast_domain::{Problems, not_json};
use holdfast_wire::problem::types;
use serde_json::Value;

use crate::{
    App, BODY_BYTES, SMALL_BODY_BYTES, bounds,
    problem::{ApiProblem, ApiResult},
};

/// So many times what is allowed is read of a body that is too large, and thrown away, so that a caller that is still
/// sending gets the answer and not a broken connection. What goes on after that is cut off.
const THROWN_AWAY: usize = 4;

/// How long a small body may take to come.
const SMALL_PATIENCE: Duration = Duration::from_secs(15);

/// A JSON document's bytes, not looked into; of at most `MOST` bytes.
pub(crate) struct JsonBytes<const MOST: usize = BODY_BYTES>(pub(crate) Bytes);

impl<const MOST: usize> FromRequest<App> for JsonBytes<MOST> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, app: &App) -> ApiResult<Self> {
        let right = is_json(request.headers());
        let found = (!right).then(|| media_type(request.headers()));
        let bytes = read(app, request.into_body(), MOST).await?;
        match found {
            None => Ok(Self(bytes)),
            Some(found) => Err(wrong_type("application/json", &found)),
        }
    }
}

/// A JSON document of at most `MOST` bytes.
pub(crate) struct JsonDocument<const MOST: usize = BODY_BYTES>(pub(crate) Value);

/// One that carries no device's document.
pub(crate) type SmallDocument = JsonDocument<SMALL_BODY_BYTES>;

impl<const MOST: usize> FromRequest<App> for JsonDocument<MOST> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, app: &App) -> ApiResult<Self> {
        let JsonBytes(bytes) = JsonBytes::<MOST>::from_request(request, app).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let problems = Problems::one("", "a JSON document", not_json(&error));
            ApiProblem::bad_parameters(&problems)
        })
    }
}

/// A form that a page sent.
pub(crate) struct Form(pub(crate) Vec<(String, String)>);

impl FromRequest<App> for Form {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, app: &App) -> ApiResult<Self> {
        let found = media_type(request.headers());
        let (parts, body) = request.into_parts();
        let body = read(app, body, SMALL_BODY_BYTES).await?;
        let request = Request::from_parts(parts, Body::from(body));
        match axum::Form::<Vec<(String, String)>>::from_request(request, app).await {
            Ok(axum::Form(fields)) => Ok(Self(fields)),
            Err(error) if error.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Err(wrong_type("application/x-www-form-urlencoded", &found))
            }
            Err(error) => Err(ApiProblem::bad_request("body", "a form", error)),
        }
    }
}

fn media_type(headers: &HeaderMap) -> String {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    given.unwrap_or("nothing").chars().take(64).collect()
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
    else {
        return false;
    };
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn wrong_type(expected: &str, found: &str) -> ApiProblem {
    let title = "The body is of another media type";
    ApiProblem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        types::UNSUPPORTED_MEDIA_TYPE,
        title,
    )
    .because(format!("Content-Type: expected {expected}, found {found}"))
    .field("Content-Type", expected, found)
}

fn too_large(most: usize) -> ApiProblem {
    metrics::counter!(bounds::BODIES_REFUSED, "why" => bounds::TOO_LARGE).increment(1);
    let (expected, found) = (format!("at most {most} bytes"), "more");
    ApiProblem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        types::TOO_LARGE,
        "The body is too large",
    )
    .because(format!("the body: expected {expected}, found {found}"))
    .field("body", expected, found)
}

fn too_slow(patience: Duration) -> ApiProblem {
    metrics::counter!(bounds::BODIES_REFUSED, "why" => bounds::TOO_SLOW).increment(1);
    let title = "The body came too slowly";
    let expected = format!("a whole body within {} s", patience.as_secs());
    ApiProblem::new(StatusCode::REQUEST_TIMEOUT, types::INVALID, title).field(
        "body",
        expected,
        "a part of it",
    )
}

/// The whole body, of at most `most` bytes and within the time that is set.
async fn read(app: &App, body: Body, most: usize) -> ApiResult<Bytes> {
    let patience = if most <= SMALL_BODY_BYTES {
        SMALL_PATIENCE.min(app.settings.body_patience)
    } else {
        app.settings.body_patience
    };
    tokio::time::timeout(patience, read_all(body, most))
        .await
        .map_err(|_| too_slow(patience))?
}

/// The whole body. One that came in one piece is not copied.
async fn read_all(body: Body, most: usize) -> ApiResult<Bytes> {
    let mut stream = body.into_data_stream();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut total = 0_usize;
    while let Some(chunk) = stream.next().await {
        let chunk =
            chunk.map_err(|error| ApiProblem::bad_request("body", "a whole body", error))?;
        total += chunk.len();
        if total > THROWN_AWAY * most {
            break;
        }
        if total > most {
            first = Bytes::new();
            rest = BytesMut::new();
        } else if first.is_empty() {
            first = chunk;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&chunk);
        }
    }
    match (total > most, rest.is_empty()) {
        (true, _) => Err(too_large(most)),
        (false, true) => Ok(first),
        (false, false) => Ok(rest.freeze()),
    }
}
