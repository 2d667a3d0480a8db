//! The store that a URL names, as the ports that a role needs.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use holdfast_ports::{
    events::EventStore, fleet::FleetStore, notices::NoticeStore, store::DeviceStore,
    tokens::TokenStore, wakeups::Wakeups,
};
use holdfast_runtime::config::ConfigError;
use holdfast_store_postgres::{PostgresOptions, PostgresStore};
use holdfast_store_sqlite::SqliteStore;
use serde::{Deserialize, Serialize};

/// Which store, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// `postgres://user:password@host:port/database`, or `sqlite:PATH` for a single process.
    pub url: String,
    /// Most connections to PostgreSQL.
    pub max_connections: u32,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: "postgres://localhost/holdfast".to_owned(),
            max_connections: 16,
        }
    }
}

/// The ports of one store.
#[derive(Clone)]
pub struct Stores {
    /// Devices.
    pub devices: Arc<dyn DeviceStore>,
    /// Tokens and keys.
    pub tokens: Arc<dyn TokenStore>,
    /// Events.
    pub events: Arc<dyn EventStore>,
    /// The fleet.
    pub fleet: Arc<dyn FleetStore>,
    /// How far notices have come.
    pub notices: Arc<dyn NoticeStore>,
    /// Wake-ups.
    pub wakeups: Arc<dyn Wakeups>,
}

enum Kind<'a> {
    Postgres(&'a str),
    Sqlite(&'a Path),
}

fn kind(config: &StoreConfig) -> Result<Kind<'_>, ConfigError> {
    const EXPECTED: &str = "postgres://user:password@host:port/database or sqlite:PATH";
    if config.url.starts_with("postgres://") || config.url.starts_with("postgresql://") {
        return Ok(Kind::Postgres(&config.url));
    }
    match config.url.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() => Ok(Kind::Sqlite(Path::new(path))),
        _ => {
            let scheme = config.url.split(':').next().unwrap_or_default();
            Err(ConfigError::key(
                "store.url",
                EXPECTED,
                &format!("a URL of scheme {scheme:?}"),
            ))
        }
    }
}

/// Opens the store; its schema must be current.
///
/// # Errors
/// If it can't be reached, or must be migrated first.
pub async fn open(config: &StoreConfig) -> anyhow::Result<Stores> {
    match kind(config)? {
        Kind::Postgres(url) => {
            let options = PostgresOptions {
                connections: config.max_connections,
                ..PostgresOptions::new(url)
            };
            let store = PostgresStore::connect(&options)
                .await
                .context("opening PostgreSQL")?;
            Ok(Stores::of(Arc::new(store)))
        }
        Kind::Sqlite(path) => {
            let store = SqliteStore::open(path)
                .await
                .with_context(|| format!("opening {}", path.display()))?;
            Ok(Stores::of(Arc::new(store)))
        }
    }
}

/// Brings the store's schema up to date; gives how many migrations there were to do.
///
/// # Errors
/// If it can't be reached or a migration fails; each migration is applied whole or not at all.
pub async fn migrate(config: &StoreConfig) -> anyhow::Result<usize> {
    match kind(config)? {
        Kind::Postgres(url) => holdfast_store_postgres::migrate(url)
            .await
            .context("migrating PostgreSQL"),
        Kind::Sqlite(path) => holdfast_store_sqlite::migrate(path)
            .await
            .with_context(|| format!("migrating {}", path.display())),
    }
}

/// The store that a command names: by its URL, or as that of a data folder of `up`.
#[must_use]
pub fn named(url: Option<String>, data: &Path) -> StoreConfig {
    let url = url.unwrap_or_else(|| format!("sqlite:{}", data.join(SQLITE_FILE).display()));
    StoreConfig {
        url,
        ..StoreConfig::default()
    }
}

/// The hub's database within a data folder.
pub const SQLITE_FILE: &str = "hub.sqlite";

impl Stores {
    fn of<S>(store: Arc<S>) -> Self
    where
        S: DeviceStore + TokenStore + EventStore + FleetStore + NoticeStore + Wakeups + 'static,
    {
        Self {
            devices: store.clone(),
            tokens: store.clone(),
            events: store.clone(),
            fleet: store.clone(),
            notices: store.clone(),
            wakeups: store,
        }
    }
}
