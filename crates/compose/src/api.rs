//! The API as a server.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use holdfast_domain::row::Actor;
use holdfast_http_api::{ApiSettings, SecureCookies};
use holdfast_hub::{Hub, HubParts, HubSettings};
use holdfast_ports::tokens::Role;
use holdfast_runtime::{
    clock::{SystemClock, SystemEntropy},
    config::{self, ConfigError},
    files,
    logs::LogConfig,
    metrics::Metrics,
    serve::{self, ServeSettings},
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    parts::Parts,
    process::RoleConfig,
    stores::{self, StoreConfig, Stores},
};

/// The API's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Where the API and the page are served.
    #[serde(deserialize_with = "config::listen")]
    pub listen: SocketAddr,
    /// The store, shared by all replicas.
    pub store: StoreConfig,
    /// May the pages' session cookie be sent over plain HTTP?
    pub secure_cookies: Cookies,
    /// What is bounded, and how.
    pub limits: Limits,
    /// How it logs.
    pub log: LogConfig,
}

/// When the pages' session cookie is for HTTPS alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cookies {
    /// If the browser signed in over HTTPS.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Bounds of one API process. Times in whole seconds, 1 to 3,600.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Most connections at the same time, 10 to 1,000,000: two for each agent that comes here, and those of people.
    pub connections: u32,
    /// Most long polls at the same time, 1 to 1,000,000: one for each agent that comes here.
    pub long_polls: u32,
    /// How long a new connection may take to send the head of its first request.
    pub head_timeout_s: u32,
    /// How long a connection may lie idle between two requests: longer than proxies keep theirs (nginx: 60 s), so that
    /// never both sides act at once.
    pub idle_timeout_s: u32,
    /// How long a body may take to come: the largest document over a slow mobile link.
    pub body_timeout_s: u32,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3002)),
            store: StoreConfig::default(),
            secure_cookies: Cookies::Auto,
            limits: Limits::default(),
            log: LogConfig::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            long_polls: 5_000,
            head_timeout_s: 10,
            idle_timeout_s: 75,
            body_timeout_s: 120,
        }
    }
}

impl Limits {
    fn check(&self) -> Result<(), ConfigError> {
        const MOST: u32 = 1_000_000;
        let Self {
            connections,
            long_polls,
            head_timeout_s,
            idle_timeout_s,
            body_timeout_s,
        } = *self;
        for (key, value, least, most) in [
            ("limits.connections", connections, 10, MOST),
            ("limits.long_polls", long_polls, 1, MOST),
            ("limits.head_timeout_s", head_timeout_s, 1, 3_600),
            ("limits.idle_timeout_s", idle_timeout_s, 1, 3_600),
            ("limits.body_timeout_s", body_timeout_s, 1, 3_600),
        ] {
            if !(least..=most).contains(&value) {
                return Err(ConfigError::key(key, format!("{least} to {most}"), &value));
            }
        }
        Ok(())
    }

    fn serve_settings(&self) -> ServeSettings {
        ServeSettings {
            name: "api",
            connections: connections_that_fit(self.connections as usize),
            first_head: seconds(self.head_timeout_s),
            idle: seconds(self.idle_timeout_s),
        }
    }
}

/// As many connections as are wished for and the system's limit of open files allows.
fn connections_that_fit(wanted: usize) -> usize {
    /// Files that are no connections of clients: the store's, the program's own.
    const OTHERS: usize = 200;
    let files = files::allow_open((wanted + OTHERS) as u64);
    let fit = usize::try_from(files)
        .unwrap_or(usize::MAX)
        .saturating_sub(OTHERS);
    if fit < wanted {
        tracing::warn!(
            wanted,
            files,
            "the system allows fewer open files than limits.connections needs (raise LimitNOFILE or ulimit -Hn): \
             {fit} connections it is"
        );
    }
    fit.min(wanted).max(1)
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

impl RoleConfig for ApiConfig {
    const PREFIX: &'static str = "HOLDFAST_API_";
    const ABOUT: &'static str =
        "Serves the hub's API and pages over a store that any number of such processes share.";

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
        notices: _,
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
    config.limits.check()?;
    let listener = serve::bind(config.listen).await?;
    let opening = cancel.run_until_cancelled(Box::pin(stores::open(&config.store)));
    let Some(stores) = opening.await else {
        return Ok(());
    };
    let hub = hub(stores?);
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, hub, &config, cancel).await
}

/// Serves a hub, and does its background work, until `cancel` is.
///
/// `config` says how; where it listens and on which store is decided already.
///
/// # Errors
/// If one of the two ends by itself.
pub async fn serve(
    listener: TcpListener,
    hub: Hub,
    config: &ApiConfig,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let metrics = Metrics::start();
    let settings = ApiSettings {
        render_metrics: Arc::new(move || metrics.render()),
        secure_cookies: match config.secure_cookies {
            Cookies::Auto => SecureCookies::Auto,
            Cookies::Always => SecureCookies::Always,
            Cookies::Never => SecureCookies::Never,
        },
        long_polls: config.limits.long_polls as usize,
        body_patience: seconds(config.limits.body_timeout_s),
        ending: cancel.clone(),
    };
    let router = holdfast_http_api::router(hub.clone(), settings);
    let mut parts = Parts::new(cancel).that_end_within(serve::ENDING);
    parts.spawn("the server", |cancel| {
        let serving = serve::serve(listener, router, config.limits.serve_settings(), cancel);
        async move {
            serving.await;
            Ok(())
        }
    });
    parts.spawn("the hub's background work", |cancel| async move {
        hub.run(cancel).await;
        Ok(())
    });
    parts.run().await
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
