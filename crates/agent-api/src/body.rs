//! Reading the bodies of requests, within bounds.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use bytes::BytesMut;
use futures::StreamExt as _;
use holdfast_domain::not_json;
use holdfast_wire::{Request, problem::types};
use serde_json::Value;

use crate::{BODY_BYTES, problem::Refused};

/// How long a body may take to come: it comes from this very machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is too large is read on for a while and thrown away, so that the answer arrives: so many times the bound.
const THROWN_AWAY: usize = 64;

/// A request's body as JSON.
pub(crate) async fn read<T: Request>(headers: &HeaderMap, body: Body) -> Result<T, Refused> {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| {
            let essence = kind.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json")
        });
    let bytes = tokio::time::timeout(PATIENCE, read_all(body))
        .await
        .map_err(|_| {
            let why = format!("expected a whole body within {} s", PATIENCE.as_secs());
            let status = StatusCode::REQUEST_TIMEOUT;
            Refused::new(status, types::INVALID, "The body came too slowly", why)
        })??;
    if !is_json {
        return Err(Refused::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            types::UNSUPPORTED_MEDIA_TYPE,
            "The body is of another media type",
            "Content-Type: expected application/json",
        ));
    }
    let document: Value = serde_json::from_slice(&bytes).map_err(|error| {
        let status = StatusCode::BAD_REQUEST;
        let why = format!("the body: expected JSON, found {}", not_json(&error));
        Refused::new(status, types::INVALID, "The request is not valid", why)
    })?;
    T::from_json(document).map_err(|problems| Refused::invalid(&problems))
}

async fn read_all(body: Body) -> Result<BytesMut, Refused> {
    let mut stream = body.into_data_stream();
    let mut kept = BytesMut::new();
    let mut total = 0_usize;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| {
            let status = StatusCode::BAD_REQUEST;
            let why = format!("the body did not come whole: {error}");
            Refused::new(status, types::INVALID, "The request is not valid", why)
        })?;
        total += chunk.len();
        if total > THROWN_AWAY * BODY_BYTES {
            break;
        }
        if total > BODY_BYTES {
            kept = BytesMut::new();
        } else {
            kept.extend_from_slice(&chunk);
        }
    }
    if total > BODY_BYTES {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        let why = format!("the body: expected at most {BODY_BYTES} bytes, found more");
        return Err(Refused::new(
            status,
            types::TOO_LARGE,
            "The body is too large",
            why,
        ));
    }
    Ok(kept)
}
