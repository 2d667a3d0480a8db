//! Opening a store, and bringing a database up to date: two things that are never done in one, so that a starting
//! process never changes the tables under others.
//!
//! Read next: `commit.rs`, `wakeups.rs`.

use std::{fmt, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool,
    migrate::{Migrate, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    batch::{Batches, LOCK_TIMEOUT},
    wakeups::Waker,
};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// A connection that was idle for so long is tried before it is used: its server may have gone meanwhile.
const TRY_AFTER_IDLE: Duration = Duration::from_secs(5);

/// A transaction that its process forgot is ended after so long: until then it holds back every reader of the event log.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);

/// How to reach the database and how hard to use it.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// The most connections, besides one for reports and one that listens. More than the server has cores for gain
    /// little.
    pub connections: u32,
    /// The longest wait for a free connection.
    pub acquire_timeout: Duration,
    /// The longest that one statement may run.
    pub statement_timeout: Duration,
    /// The longest wait for a row that another transaction holds.
    pub lock_timeout: Duration,
    /// What the server's views of activity call this process.
    pub application_name: String,
}

impl PostgresOptions {
    /// The defaults for the database at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections: 20,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(10),
            application_name: "holdfast".to_owned(),
        }
    }

    fn server(&self) -> Result<PgConnectOptions, sqlx::Error> {
        let options: PgConnectOptions = self.url.parse()?;
        Ok(options
            .application_name(&self.application_name)
            .disable_statement_logging())
    }

    fn pooled(&self) -> Result<PgConnectOptions, sqlx::Error> {
        let milliseconds = |duration: Duration| duration.as_millis().to_string();
        Ok(self.server()?.options([
            ("statement_timeout", milliseconds(self.statement_timeout)),
            lock_timeout(self.lock_timeout),
            // Everything but what counts the whole fleet is found by a key. Plans are kept for as long as a connection,
            // and those made while tables were small must serve when they are large.
            ("enable_seqscan", "off".to_owned()),
            ("enable_hashjoin", "off".to_owned()),
            ("enable_mergejoin", "off".to_owned()),
            (
                "idle_in_transaction_session_timeout",
                milliseconds(IDLE_IN_TRANSACTION),
            ),
        ]))
    }

    fn pool_of(&self, connections: u32, server: PgConnectOptions) -> PgPool {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(self.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for >= TRY_AFTER_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(server)
    }
}

/// Of settings given twice the later one counts.
fn lock_timeout(wait: Duration) -> (&'static str, String) {
    ("lock_timeout", wait.as_millis().to_string())
}

/// Without the URL: it holds a password.
impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("connections", &self.connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .field("application_name", &self.application_name)
            .finish_non_exhaustive()
    }
}

/// The hub's store on PostgreSQL: devices, tokens, events, the fleet, and wake-ups.
///
/// Share one in a process. Dropping it stops the listening; [`PostgresStore::close`] also waits for connections in use.
#[derive(Debug)]
pub struct PostgresStore {
    pub(crate) pool: PgPool,
    pub(crate) batches: Batches,
    pub(crate) waker: Waker,
}

impl PostgresStore {
    /// Connects to a database that was migrated, and listens for wake-ups.
    ///
    /// # Errors
    /// Where the database can't be reached, or its tables are not those of this version. Nothing is changed either way.
    pub async fn connect(options: &PostgresOptions) -> Result<Self, ConnectError> {
        let address = |source| ConnectError::Address { source };
        let unreachable = |source| ConnectError::Unreachable { source };
        let pooled = options.pooled().map_err(address)?;
        let mut first = pooled.connect().await.map_err(unreachable)?;
        check_tables(&mut first).await?;
        warn_if_not_durable(&mut first).await;
        first.close().await.map_err(unreachable)?;
        let lane = options.pool_of(1, pooled.clone().options([lock_timeout(LOCK_TIMEOUT)]));
        let pool = options.pool_of(options.connections, pooled);
        let listening = options.server().map_err(address)?;
        let name = format!("{} wake-ups", options.application_name);
        let waker = Waker::start(listening.application_name(&name))
            .await
            .map_err(unreachable)?;
        let batches = Batches::over(lane, pool.clone());
        Ok(Self {
            pool,
            batches,
            waker,
        })
    }

    /// Waits for connections in use and closes all; later calls fail.
    pub async fn close(&self) {
        self.waker.stop();
        self.batches.close().await;
        self.pool.close().await;
    }
}

/// Brings the tables of the database at `url` up to this version; without effect where they are. Processes that migrate
/// at the same time wait for each other.
///
/// A dump that was restored into another server carries transaction ids of the old one, by which the event log is read:
/// they are mended here too.
///
/// # Errors
/// Where the database can't be reached, was migrated by a newer version, or a migration failed (it left nothing behind).
pub async fn migrate(url: &str) -> Result<(), MigrateError> {
    let unreachable = |source| MigrateError::Unreachable { source };
    let options: PgConnectOptions = url.parse().map_err(unreachable)?;
    let options = options.application_name("holdfast migrate");
    let mut connection = options.connect().await.map_err(unreachable)?;
    MIGRATIONS
        .run(&mut connection)
        .await
        .map_err(|source| MigrateError::Failed { source })?;
    crate::events::mend_after_restore(&mut connection)
        .await
        .map_err(unreachable)?;
    connection.close().await.map_err(unreachable)
}

async fn check_tables(connection: &mut PgConnection) -> Result<(), ConnectError> {
    let unreachable = |source| ConnectError::Unreachable { source };
    let table = &MIGRATIONS.table_name;
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(table.as_ref())
        .fetch_one(&mut *connection)
        .await
        .map_err(unreachable)?;
    let mut applied = Vec::new();
    if is_there {
        applied = connection
            .list_applied_migrations(table)
            .await
            .map_err(|source| ConnectError::Unreachable {
                source: sqlx::Error::Migrate(Box::new(source)),
            })?;
    }
    let expected = MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or_default();
    let found = applied
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or_default();
    if let Some(newer) = applied
        .iter()
        .find(|applied| !MIGRATIONS.version_exists(applied.version))
    {
        return Err(ConnectError::Newer {
            expected,
            found: newer.version,
        });
    }
    if MIGRATIONS
        .iter()
        .any(|migration| !applied.iter().any(|done| done.version == migration.version))
    {
        return Err(ConnectError::NotMigrated { expected, found });
    }
    let differs = |done: &sqlx::migrate::AppliedMigration| {
        MIGRATIONS
            .iter()
            .any(|known| known.version == done.version && known.checksum != done.checksum)
    };
    if let Some(other) = applied.iter().find(|done| differs(done)) {
        return Err(ConnectError::Different {
            version: other.version,
        });
    }
    if crate::events::is_of_another_server(connection)
        .await
        .map_err(unreachable)?
    {
        return Err(ConnectError::Restored);
    }
    Ok(())
}

/// The server's administrator may have chosen speed over durability; that is theirs to choose, but not in silence.
async fn warn_if_not_durable(connection: &mut PgConnection) {
    for setting in ["synchronous_commit", "fsync"] {
        let value: Result<String, _> = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(&mut *connection)
            .await;
        if value.is_ok_and(|value| value == "off") {
            tracing::warn!(
                setting,
                "the server does not keep commits over a power cut: {setting} is off"
            );
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not one.
    #[error("expected an address such as postgres://user:password@host:5432/database")]
    Address {
        /// What is wrong with it.
        source: sqlx::Error,
    },
    /// The server does not answer, or refuses.
    #[error("the database can't be used")]
    Unreachable {
        /// Why.
        source: sqlx::Error,
    },
    /// The tables are not there, or of an older version.
    #[error("expected the database at version {expected}, found {found}: run `holdfast migrate`")]
    NotMigrated {
        /// The version of the tables that this program needs.
        expected: i64,
        /// The one that the database has; 0: none.
        found: i64,
    },
    /// The tables are of a newer version.
    #[error(
        "expected the database at version {expected}, found {found}: use the newer holdfast that migrated it"
    )]
    Newer {
        /// The version of the tables that this program needs.
        expected: i64,
        /// The one that the database has.
        found: i64,
    },
    /// A migration was applied that had another text.
    #[error(
        "migration {version} of the database was made by another build: use that one, or start with an empty database"
    )]
    Different {
        /// Which.
        version: i64,
    },
    /// The database was restored from a dump into another server.
    #[error(
        "the database was restored from a dump of another server: run `holdfast migrate` to mend its event log"
    )]
    Restored,
}

/// Why a database could not be migrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The server does not answer, or refuses.
    #[error("the database can't be used")]
    Unreachable {
        /// Why.
        source: sqlx::Error,
    },
    /// A migration failed.
    #[error("the database could not be migrated")]
    Failed {
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
}
