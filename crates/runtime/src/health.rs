//! A small port for daemons: are they alive, are they ready, and their metrics.

use std::sync::Arc;

use axum::{Router, http::StatusCode, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::Metrics,
    serve::{self, ServeSettings},
};

/// Is the process ready? Says why not.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Serves `/healthz`, `/readyz` and `/metrics` until `cancel` is.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    ready: Ready,
    cancel: CancellationToken,
) {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || std::future::ready(readiness(&ready))),
        )
        .route(
            "/metrics",
            get(move || std::future::ready(metrics.render())),
        );
    serve::serve(listener, router, ServeSettings::HEALTH, cancel).await;
}

fn readiness(ready: &Ready) -> (StatusCode, String) {
    match ready() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {why}\n"),
        ),
    }
}
