//! What axum does at least: reads a report and answers; answers 304. A report is read into plain structures, as serde derives
//! them, or into the domain's types, which check every field and give every sensor its fingerprint.

use std::collections::BTreeMap;

use anyhow::Result;
use axum::{
    Json, Router,
    body::Bytes,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, patch},
};
use holdfast_domain::Report;
use holdfast_wire::{ReportAnswer, ReportResult};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;

pub(super) fn serve(checking: bool) -> Result<()> {
    // The same runtime as the hub's; its threads are as many as it has cores.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let router = Router::new()
            .route(
                "/api/v1/device/state",
                if checking {
                    patch(checked)
                } else {
                    patch(plain)
                },
            )
            .route("/api/v1/device/{uuid}/state", get(poll));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on http://{}", listener.local_addr()?);
        Ok(axum::serve(listener, router).await?)
    })
}

async fn checked(body: Bytes) -> Response {
    let read = serde_json::from_slice(&body).ok().map(Report::from_json);
    answer(matches!(read, Some(Ok(_))))
}

async fn plain(body: Bytes) -> Response {
    let read = serde_json::from_slice::<BTreeMap<String, Plain>>(&body);
    answer(read.is_ok_and(|read| !std::hint::black_box(read).is_empty()))
}

fn answer(read: bool) -> Response {
    if !read {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let (result, boot) = (ReportResult::Unchanged, None);
    Json(ReportAnswer { result, boot }).into_response()
}

/// A report of Modbus sensors.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "read, and no more")]
struct Plain {
    schema_version: u32,
    incarnation: String,
    boot: u64,
    sequence: u64,
    held_version: u64,
    version: u64,
    running_fingerprint: String,
    config: PlainConfig,
    failures: Vec<Value>,
    #[serde(default)]
    health: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "read, and no more")]
struct PlainConfig {
    protocol_adapter_devices: Vec<PlainSensor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "read, and no more")]
struct PlainSensor {
    id: String,
    config_version: u64,
    name: String,
    protocol: String,
    enabled: bool,
    poll_interval: u32,
    connection: PlainConnection,
    data_points: Vec<Value>,
    metadata: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "read, and no more")]
struct PlainConnection {
    r#type: String,
    host: String,
    port: u16,
    unit_id: u8,
    timeout_ms: u32,
}

async fn poll(headers: HeaderMap) -> Response {
    match headers.get(header::IF_NONE_MATCH) {
        Some(held) => (StatusCode::NOT_MODIFIED, [(header::ETAG, held.clone())]).into_response(),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}
