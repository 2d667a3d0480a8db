//! A small port for daemons: are they alive, are they ready, and their metrics.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, http::StatusCode, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Is the process ready? Says why not.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Binds the port: done apart from serving, so that a port in use is an error at start.
///
/// # Errors
/// If the port can't be had.
pub async fn bind(listen: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(listen).await.map_err(|error| {
        std::io::Error::new(error.kind(), format!("listening on {listen}: {error}"))
    })
}

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
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(cancel.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the health port ended");
    }
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
