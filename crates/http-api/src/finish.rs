//! Around every request: its id, its problem as `application/problem+json`, and panics.
//!
//! The one layer that all routes share, the hot ones too: it does as little as it can where nothing is wrong.

use std::{
    hash::{BuildHasher as _, RandomState},
    panic::AssertUnwindSafe,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt as _;

use crate::problem::ApiProblem;

const REQUEST_ID: HeaderName = HeaderName::from_static(holdfast_wire::routes::REQUEST_ID);

/// The id of a request: given by the caller, or made here. It is the correlation id of the events that come of it.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// Characters of an id: a trace id fits, and it is written into events.
    const MOST: usize = 128;

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().expect("checked when it was made")
    }

    fn of(headers: &HeaderMap) -> Self {
        match headers.get(REQUEST_ID) {
            Some(given) if is_sane(given) => Self(given.clone()),
            _ => Self::made_up(),
        }
    }

    fn made_up() -> Self {
        static PROCESS: LazyLock<u64> =
            LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let id = format!(
            "{:016x}-{}",
            *PROCESS,
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        Self(HeaderValue::try_from(id).expect("hexadecimal digits and a hyphen"))
    }
}

fn is_sane(id: &HeaderValue) -> bool {
    (1..=RequestId::MOST).contains(&id.len())
        && id
            .as_bytes()
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
}

/// The layer.
pub(crate) async fn finish(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let uri = request.uri().clone();
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        tracing::error!(
            request = id.as_str(),
            path = uri.path(),
            what,
            "a handler panicked"
        );
        ApiProblem::internal().into_response()
    });
    if response.status().is_client_error() || response.status().is_server_error() {
        response = explained(response, uri.path(), &id);
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id.0);
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// The same answer with the problem as its body. Pages for people are left as they are.
fn explained(response: Response, path: &str, id: &RequestId) -> Response {
    let (mut parts, body) = response.into_parts();
    let is_page = parts
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page {
        return Response::from_parts(parts, body);
    }
    let problem = parts
        .extensions
        .remove::<ApiProblem>()
        .unwrap_or_else(|| ApiProblem::of_status(parts.status));
    tracing::debug!(
        request = id.as_str(),
        path,
        status = parts.status.as_u16(),
        detail = problem.detail(),
        "refused"
    );
    let details = problem.details(path);
    let json = serde_json::to_vec(&details).expect("a problem is JSON");
    parts.headers.remove(header::CONTENT_LENGTH);
    let kind = HeaderValue::from_static(holdfast_wire::problem::MEDIA_TYPE);
    parts.headers.insert(header::CONTENT_TYPE, kind);
    Response::from_parts(parts, Body::from(json))
}
