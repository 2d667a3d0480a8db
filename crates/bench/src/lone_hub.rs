//! A hub of one device that never changes its mind: it registers any agent, gives it the target and takes every report. For
//! measuring an agent with more setpoints than a run has time to set.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, patch, post},
};
use holdfast_domain::{DeviceId, Incarnation, TargetState};
use holdfast_wire::{RegisterAnswer, ReportAnswer, ReportResult};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

/// How long a poll is held back that says that the agent holds the target.
const HELD_BACK: Duration = Duration::from_secs(20);

const DEVICE: DeviceId = DeviceId(Uuid::from_u128(1));

/// What every point holds, each second; `None`: nothing is set.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// The value.
    pub value: u16,
    /// How often it is looked at, in ms.
    pub interval_ms: u64,
}

/// Starts one on the runtime of its caller, with these sensors, and says where it listens. Sensors and points get ids.
///
/// # Errors
/// If the sensors are not valid, or there is no port left.
pub async fn start(mut sensors: Vec<Value>, wish: Option<Wish>) -> Result<SocketAddr> {
    let mut ids = (1_u128..).map(Uuid::from_u128);
    let mut id = || json!(ids.next());
    for sensor in &mut sensors {
        sensor["id"] = id();
        sensor["configVersion"] = json!(1);
        for point in sensor["dataPoints"].as_array_mut().into_iter().flatten() {
            point["id"] = id();
        }
    }
    let mut body = json!({
        "schemaVersion": 1, "version": 1, "config": { "protocolAdapterDevices": sensors },
    });
    let read = |body: &Value| TargetState::from_json(json!({ DEVICE.to_string(): body }));
    let (_, mut target) = read(&body)?;
    if let Some(wish) = wish {
        body["hold"] = json!({ "revision": 1, "intervalMs": wish.interval_ms, "dynamic": false, "restoresPerHour": 3_600 });
        body["setpoints"] = json!({ "revision": 1, "items": wishes(&target, wish)? });
        (_, target) = read(&body)?;
    }
    let known = Arc::new((target.etag(), serde_json::to_vec(&target.document(DEVICE))?));
    let router = Router::new()
        .route("/api/v1/device/register", post(register))
        .route("/api/v1/device/{uuid}/state", get(poll))
        .route("/api/v1/device/state", patch(report))
        .route("/api/v1/device/readings", post(readings))
        .layer(DefaultBodyLimit::disable())
        .with_state(known);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(addr)
}

fn wishes(target: &TargetState, wish: Wish) -> Result<Vec<Value>> {
    let mut wishes = Vec::new();
    for item in &target.items {
        let binding = &item.sensor.content().binding;
        for (point, _) in binding.point_names() {
            let rules = binding.point_rules(point).context("a point has rules")?;
            wishes.push(
                json!({ "pointId": point, "boundTo": rules.identity, "value": wish.value,
                                "setBy": "anna", "revision": 1 }),
            );
        }
    }
    Ok(wishes)
}

async fn register() -> Json<RegisterAnswer> {
    Json(RegisterAnswer {
        device: DEVICE,
        incarnation: Incarnation(Uuid::from_u128(2)),
    })
}

async fn poll(State(known): State<Arc<(String, Vec<u8>)>>, headers: HeaderMap) -> Response {
    let (etag, document) = &*known;
    let held = headers.get(header::IF_NONE_MATCH);
    if held.is_some_and(|held| held.as_bytes() == etag.as_bytes()) {
        tokio::time::sleep(HELD_BACK).await;
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag.clone())]).into_response();
    }
    let kind = "application/json".to_owned();
    let headers = [(header::ETAG, etag.clone()), (header::CONTENT_TYPE, kind)];
    (headers, document.clone()).into_response()
}

/// Reads what it is told to its end, as a hub does: an agent that is cut off would tell it again and again.
async fn report(_told: Bytes) -> Json<ReportAnswer> {
    let (result, boot) = (ReportResult::Taken, None);
    Json(ReportAnswer { result, boot })
}

async fn readings(_told: Bytes) -> StatusCode {
    StatusCode::NO_CONTENT
}
