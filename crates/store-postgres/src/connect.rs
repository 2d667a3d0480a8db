//! Opening a store, and bringing a database up to date: two things that are never done in one, so that a starting
//! process never changes the tables under others.
//!
//! Read next: `commit.rs`, `wakeups.rs`.

use std::{fmt, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection,
    migrate::{AppliedMigration, Migrate, Migrator},
    postgres::PgConnectOptions,
};

use crate::{
    batch::{Batches, Lane},
    bounds::{CLOSING, within},
    columns::Fault,
    pool::Pool,
    wakeups::Waker,
};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

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
    /// The longest that one statement may run: the server ends it.
    pub statement_timeout: Duration,
    /// The longest wait for the answer to a call, of whatever many statements: longer than `statement_timeout`, for it is
    /// for servers and paths that stand still. The call fails then, and its connection is not used again.
    pub answer_timeout: Duration,
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
            statement_timeout: Duration::from_secs(20),
            answer_timeout: Duration::from_secs(25),
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
        Ok(self.server()?.options([
            ("statement_timeout", milliseconds(self.statement_timeout)),
            ("lock_timeout", milliseconds(self.lock_timeout)),
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
}

pub(crate) fn milliseconds(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// Without the URL: it holds a password.
impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("connections", &self.connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("answer_timeout", &self.answer_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .field("application_name", &self.application_name)
            .finish_non_exhaustive()
    }
}

/// The hub's store on PostgreSQL: devices, tokens, events, the fleet, and wake-ups.
///
/// Share one in a process. Dropping it stops the listening; [`PostgresStore::close`] also waits for connections in use.
///
/// No call takes longer than [`PostgresOptions::answer_timeout`]. One that was given up may have been done all the same:
/// what changes a state is compared and set, so that trying again does no harm.
#[derive(Debug)]
pub struct PostgresStore {
    pub(crate) pool: Pool,
    answer_timeout: Duration,
    pub(crate) batches: Batches,
    pub(crate) waker: Waker,
}

impl PostgresStore {
    /// Connects to a database that was migrated, and listens for wake-ups.
    ///
    /// # Errors
    /// Where the database can't be reached, or its tables are not those of this version. Nothing is changed either way.
    pub async fn connect(options: &PostgresOptions) -> Result<Self, ConnectError> {
        let address = |error| ConnectError::Address {
            source: cause(error),
        };
        let longest = options.answer_timeout;
        let pooled = options.pooled().map_err(address)?;
        let listening = options.server().map_err(address)?;
        let place = place(&listening);
        let unreachable = |error| ConnectError::Unreachable {
            place: place.clone(),
            source: cause(error),
        };
        let checked = async {
            let mut first = pooled.connect().await?;
            let checked = check_tables(&mut first, &place).await;
            if checked.is_ok() {
                warn_if_not_durable(&mut first).await;
            }
            first.close().await?;
            Ok(checked)
        };
        within(longest, checked).await.map_err(unreachable)??;
        let name = format!("{} wake-ups", options.application_name);
        let waker = Waker::start(listening.application_name(&name))
            .await
            .map_err(unreachable)?;
        let life = waker.life();
        let lane = Lane::new(pooled.clone(), options, life.clone());
        let pool = Pool::new(options, pooled, life);
        let batches = Batches::over(lane, pool.clone(), longest);
        Ok(Self {
            pool,
            answer_timeout: longest,
            batches,
            waker,
        })
    }

    /// Gives `work` up if no answer comes; every call of a port goes through here.
    pub(crate) async fn answered<T, E: From<sqlx::Error>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        within(self.answer_timeout, work).await
    }

    /// Waits for connections in use and closes all, for two seconds at most; later calls fail.
    pub async fn close(&self) {
        self.waker.stop();
        let closing = async {
            // Both are closed to later calls at once.
            tokio::join!(self.batches.close(), self.pool.close());
        };
        if tokio::time::timeout(CLOSING, closing).await.is_err() {
            tracing::warn!("the database does not answer: what was under way in it is given up");
        }
    }
}

/// Brings the tables of the database at `url` up to this version; without effect where they are. Processes that migrate
/// at the same time wait for each other.
///
/// A dump that was restored into another server carries transaction ids of the old one, by which the event log is read:
/// they are mended here too.
///
/// Gives how many migrations there were to do (also those that another process did meanwhile).
///
/// # Errors
/// Where the database can't be reached, was migrated by a newer version, or a migration failed (it left nothing behind).
pub async fn migrate(url: &str) -> Result<usize, MigrateError> {
    let options: PgConnectOptions = url.parse().map_err(|error| MigrateError::Address {
        source: cause(error),
    })?;
    let place = place(&options);
    let unreachable = |error| MigrateError::Unreachable {
        place: place.clone(),
        source: cause(error),
    };
    let options = options.application_name("holdfast migrate");
    let mut connection = options.connect().await.map_err(unreachable)?;
    let before = applied(&mut connection).await.map_err(unreachable)?;
    MIGRATIONS
        .run(&mut connection)
        .await
        .map_err(|source| MigrateError::Failed { source })?;
    let after = applied(&mut connection).await.map_err(unreachable)?;
    crate::events::mend_after_restore(&mut connection)
        .await
        .map_err(unreachable)?;
    connection.close().await.map_err(unreachable)?;
    Ok(after.len().saturating_sub(before.len()))
}

/// The migrations that the database has had.
async fn applied(connection: &mut PgConnection) -> Result<Vec<AppliedMigration>, sqlx::Error> {
    let table = &MIGRATIONS.table_name;
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(table.as_ref())
        .fetch_one(&mut *connection)
        .await?;
    if !is_there {
        return Ok(Vec::new());
    }
    connection
        .list_applied_migrations(table)
        .await
        .map_err(|source| sqlx::Error::Migrate(Box::new(source)))
}

async fn check_tables(connection: &mut PgConnection, place: &str) -> Result<(), ConnectError> {
    let unreachable = |error| ConnectError::Unreachable {
        place: place.to_owned(),
        source: cause(error),
    };
    let applied = applied(connection).await.map_err(unreachable)?;
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
    let differs = |done: &AppliedMigration| {
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

/// Which database, and where; without the password.
fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database();
    let database = database.map_or_else(String::new, |name| format!(" {name:?}"));
    match options.get_socket() {
        Some(socket) => format!("the database{database} behind {}", socket.display()),
        None => format!(
            "the database{database} at {}:{}",
            options.get_host(),
            options.get_port()
        ),
    }
}

/// sqlx's error without its wrapping, which says again what the error within it says.
fn cause(error: sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Io(error) => error.into(),
        sqlx::Error::Database(error) => error.into_error(),
        sqlx::Error::Configuration(error) | sqlx::Error::Tls(error) => error,
        sqlx::Error::Migrate(error) => error,
        other => other.into(),
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
        source: Fault,
    },
    /// The server does not answer, or refuses.
    #[error("{place} can't be used")]
    Unreachable {
        /// Which database, and where.
        place: String,
        /// Why.
        source: Fault,
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
    /// The URL is not one.
    #[error("expected an address such as postgres://user:password@host:5432/database")]
    Address {
        /// What is wrong with it.
        source: Fault,
    },
    /// The server does not answer, or refuses.
    #[error("{place} can't be used")]
    Unreachable {
        /// Which database, and where.
        place: String,
        /// Why.
        source: Fault,
    },
    /// A migration failed.
    #[error("the database could not be migrated")]
    Failed {
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
}
