//! Bodies: of the media type that is wanted, and not larger than is allowed. What is sent where nothing is taken is refused:
//! whoever sent it meant something by it.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use holdfast_domain::{Problems, not_json};
use holdfast_wire::{Request as _, Why, problem::types};
use serde_json::Value;

use crate::{
    App, BODY_BYTES, SMALL_BODY_BYTES, bounds,
    extract::Query,
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
        document(&bytes).map(Self)
    }
}

fn document(bytes: &[u8]) -> ApiResult<Value> {
    serde_json::from_slice(bytes).map_err(|error| {
        let problems = Problems::one("", "a JSON document", not_json(&error));
        ApiProblem::bad_parameters(&problems)
    })
}

impl<const MOST: usize> JsonBytes<MOST> {
    /// These bytes were found to be wrong by whoever looked into them: no JSON at all, or a document with `problems`. They
    /// are read once more for that, because they are wrong anyway.
    pub(crate) fn wrong(&self, problems: &Problems) -> ApiProblem {
        match document(&self.0) {
            Ok(_) => ApiProblem::invalid(problems),
            Err(no_json) => no_json,
        }
    }
}

/// No body, or one that says nothing (`{}`).
pub(crate) struct NoBody;

impl FromRequest<App> for NoBody {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, app: &App) -> ApiResult<Self> {
        let bytes = read(app, request.into_body(), SMALL_BODY_BYTES).await?;
        let is_empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
        if bytes.trim_ascii().is_empty() || document(&bytes).as_ref().is_ok_and(is_empty) {
            return Ok(Self);
        }
        let expected = "no body: all that is taken here stands in the path and the parameters";
        let found = format!("{} bytes", bytes.len());
        Err(ApiProblem::bad_request("body", expected, found))
    }
}

/// Why, in a body that need not be there.
pub(crate) struct GivenWhy(Why);

impl FromRequest<App> for GivenWhy {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, app: &App) -> ApiResult<Self> {
        let right = is_json(request.headers());
        let found = media_type(request.headers());
        let bytes = read(app, request.into_body(), SMALL_BODY_BYTES).await?;
        if bytes.trim_ascii().is_empty() {
            return Ok(Self(Why::default()));
        }
        if !right {
            return Err(wrong_type("application/json", &found));
        }
        let why = Why::from_json(document(&bytes)?);
        why.map(Self)
            .map_err(|problems| ApiProblem::invalid(&problems))
    }
}

impl GivenWhy {
    /// The reason of the body, else that of the parameter; only one of them may be there.
    pub(crate) fn or_of(self, query: &mut Query) -> Option<String> {
        let Self(Why { reason: given }) = self;
        let asked = query.reason();
        if let (Some(_), Some(asked)) = (&given, &asked) {
            query.problem("reason", "the reason once: in the body, or here", asked);
        }
        given.or(asked)
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
