//! The API as a server.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use holdfast_domain::row::Actor;
use holdfast_http_api::ApiSettings;
use holdfast_hub::{Hub, HubParts, HubSettings};
use holdfast_ports::tokens::Role;
use holdfast_runtime::{
    clock::{SystemClock, SystemEntropy},
    health,
    logs::LogConfig,
    metrics::Metrics,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    process::RoleConfig,
    stores::{self, StoreConfig, Stores},
};

/// The API's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Where the API and the page are served.
    pub listen: SocketAddr,
    /// The store, shared by all replicas.
    pub store: StoreConfig,
    /// How it logs.
    pub log: LogConfig,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3002)),
            store: StoreConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl RoleConfig for ApiConfig {
    const PREFIX: &'static str = "HOLDFAST_API_";

    fn log(&self) -> &LogConfig {
        &self.log
    }
}

/// A hub over these stores.
#[must_use]
pub fn hub(stores: Stores) -> Hub {
    let Stores {
        devices,
        tokens,
        events,
        fleet,
        wakeups,
    } = stores;
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    Hub::new(
        HubParts {
            devices,
            tokens,
            events,
            fleet,
            wakeups,
            clock,
            entropy,
        },
        HubSettings::default(),
    )
}

/// Runs the server until `cancel` is.
///
/// # Errors
/// If the store or the port can't be had.
pub async fn run(config: ApiConfig, cancel: CancellationToken) -> anyhow::Result<()> {
    let listener = health::bind(config.listen).await?;
    let hub = hub(stores::open(&config.store).await?);
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, hub, cancel).await
}

/// Serves a hub, and does its background work, until `cancel` is.
///
/// # Errors
/// If the server fails.
pub async fn serve(
    listener: TcpListener,
    hub: Hub,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let metrics = Metrics::start();
    let settings = ApiSettings {
        render_metrics: Arc::new(move || metrics.render()),
        ..ApiSettings::default()
    };
    let router = holdfast_http_api::router(hub.clone(), settings);
    let background = tokio::spawn({
        let cancel = cancel.clone();
        async move { hub.run(cancel).await }
    });
    holdfast_http_api::serve(listener, router, cancel)
        .await
        .context("serving")?;
    Ok(background.await?)
}

/// Makes an operator's token on the store itself, with no API running: how the first one comes about.
///
/// # Errors
/// If the store can't be used.
pub async fn bootstrap_token(
    store: &StoreConfig,
    name: &str,
    role: Role,
) -> anyhow::Result<String> {
    let hub = hub(stores::open(store).await?);
    let (secret, _) = hub
        .create_token(name, role, None, &Actor::named("bootstrap"))
        .await?;
    Ok(secret)
}

/// The OpenAPI description of the API, as JSON.
///
/// # Panics
/// If it can't be written as JSON, which a test would show.
#[must_use]
pub fn openapi() -> String {
    holdfast_http_api::openapi()
        .to_pretty_json()
        .expect("a description is JSON")
}
