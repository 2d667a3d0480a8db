//! Bodies: of the media type that is wanted, and not larger than is allowed.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use holdfast_domain::Problems;
use holdfast_wire::problem::types;
use serde_json::Value;

use crate::{
    App, BODY_BYTES,
    problem::{ApiProblem, ApiResult},
};

/// What is read and thrown away of a body that is too large, in bytes, so that a caller that is still sending gets the
/// answer and not a broken connection. What goes on after that is cut off.
const THROWN_AWAY: usize = 4 * BODY_BYTES;

/// A JSON document's bytes, not looked into.
pub(crate) struct JsonBytes(pub(crate) Bytes);

impl FromRequest<App> for JsonBytes {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, _: &App) -> ApiResult<Self> {
        let right = is_json(request.headers());
        let found = (!right).then(|| media_type(request.headers()));
        let bytes = read(request.into_body()).await?;
        match found {
            None => Ok(Self(bytes)),
            Some(found) => Err(wrong_type("application/json", &found)),
        }
    }
}

/// A JSON document.
pub(crate) struct JsonDocument(pub(crate) Value);

impl FromRequest<App> for JsonDocument {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, app: &App) -> ApiResult<Self> {
        let JsonBytes(bytes) = JsonBytes::from_request(request, app).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let problems = Problems::one("", "a JSON document", error);
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

fn too_large() -> ApiProblem {
    let (expected, found) = (format!("at most {BODY_BYTES} bytes"), "more");
    ApiProblem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        types::TOO_LARGE,
        "The body is too large",
    )
    .because(format!("the body: expected {expected}, found {found}"))
    .field("body", expected, found)
}

/// How long a body may take to come: the largest one over a slow mobile link, and no connection held for ever.
const PATIENCE: Duration = Duration::from_secs(120);

async fn read(body: Body) -> ApiResult<Bytes> {
    let late = |_| {
        let title = "The body came too slowly";
        let expected = format!("a whole body within {} s", PATIENCE.as_secs());
        ApiProblem::new(StatusCode::REQUEST_TIMEOUT, types::INVALID, title).field(
            "body",
            expected,
            "a part of it",
        )
    };
    tokio::time::timeout(PATIENCE, read_all(body))
        .await
        .map_err(late)?
}

/// The whole body. One that came in one piece is not copied.
async fn read_all(body: Body) -> ApiResult<Bytes> {
    let mut stream = body.into_data_stream();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut total = 0_usize;
    while let Some(chunk) = stream.next().await {
        let chunk =
            chunk.map_err(|error| ApiProblem::bad_request("body", "a whole body", error))?;
        total += chunk.len();
        if total > THROWN_AWAY {
            break;
        }
        if total > BODY_BYTES {
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
    match (total > BODY_BYTES, rest.is_empty()) {
        (true, _) => Err(too_large()),
        (false, true) => Ok(first),
        (false, false) => Ok(rest.freeze()),
    }
}
