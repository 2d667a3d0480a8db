//! Opening a store, and bringing a file up to date: two things that are never done in one, so that a program that starts
//! never changes the tables behind its owner's back.
//!
//! Read next: `commit.rs`.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use holdfast_ports::{
    StoreError,
    wakeups::{Wake, Wakeups},
};
use sqlx::{
    ConnectOptions, Connection, Sqlite, SqliteConnection, SqlitePool, Transaction,
    migrate::{AppliedMigration, Migrate, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::broadcast;

use crate::columns::Fault;

pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// Connections that read. Reading is done by threads of their own; more than a small machine has cores gain nothing.
const READERS: u32 = 4;

/// How long a call waits for the writing connection, or, should another program have the file open, for the file.
const PATIENCE: Duration = Duration::from_secs(30);

/// Wake-ups that a subscriber may be behind before it is told that it lags.
const WAKES: usize = 1_024;

/// The hub's store on SQLite: devices, tokens, events, the fleet, and wake-ups. A clone is the same store.
///
/// It is for one process: wake-ups reach the subscribers of this store and its clones only.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pub(crate) writer: SqlitePool,
    pub(crate) readers: SqlitePool,
    wakes: broadcast::Sender<Wake>,
}

impl SqliteStore {
    /// Opens a file that was migrated.
    ///
    /// # Errors
    /// Where the file can't be used, or its tables are not those of this version. Nothing is changed either way.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let unusable = |error| OpenError::Unusable {
            path: path.to_owned(),
            source: cause(error),
        };
        if !path.exists() {
            return Err(OpenError::NotMigrated {
                path: path.to_owned(),
                expected: newest(),
                found: 0,
            });
        }
        let options = settings(path);
        let mut first = options.connect().await.map_err(unusable)?;
        check_tables(path, &mut first).await?;
        first.close().await.map_err(unusable)?;
        let writer = pool(1).connect_lazy_with(options.clone());
        let readers = pool(READERS).connect_lazy_with(options.pragma("query_only", "on"));
        Ok(Self {
            writer,
            readers,
            wakes: broadcast::Sender::new(WAKES),
        })
    }

    /// Waits for what is under way and closes the file; later calls fail.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// A transaction that writes. Dropped, it leaves nothing.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        let begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
        begun.map_err(|error| match error {
            sqlx::Error::PoolTimedOut => sqlx::Error::Io(io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "expected its turn to write within {PATIENCE:?}, found those before it still at it: the disk is slow, or \
                     stands still"
                ),
            )),
            other => other,
        })
    }

    /// Commits and wakes, as a task of its own: a caller that goes away meanwhile must not leave a change that nobody was
    /// woken for.
    pub(crate) async fn finish(
        &self,
        transaction: Transaction<'static, Sqlite>,
        wakes: Vec<Wake>,
    ) -> Result<(), Fault> {
        let sender = self.wakes.clone();
        let task = tokio::spawn(async move {
            transaction.commit().await?;
            for wake in wakes {
                // Nobody may be listening.
                let _ = sender.send(wake);
            }
            Ok::<(), sqlx::Error>(())
        });
        Ok(task.await??)
    }
}

impl Wakeups for SqliteStore {
    fn subscribe(&self) -> broadcast::Receiver<Wake> {
        self.wakes.subscribe()
    }

    fn is_connected(&self) -> bool {
        true
    }
}

/// An error while `doing` something.
pub(crate) fn failed(doing: impl Into<String>) -> impl FnOnce(Fault) -> StoreError {
    let doing = doing.into();
    move |fault| StoreError::new(doing, fault)
}

fn settings(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
        .disable_statement_logging()
}

/// Connections stay open: a file does not go away as a server does. But one that takes itself to be within a transaction
/// that nobody has is closed, and another one opened: when the disk is full, SQLite rolls back by itself, the rollback
/// after that fails, and the connection would refuse every transaction from then on.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        // That changes wait for each other is no news: what takes too long is an error.
        .acquire_slow_threshold(Duration::MAX)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .before_acquire(|connection, _| {
            let is_free = !connection.is_in_transaction();
            Box::pin(std::future::ready(Ok(is_free)))
        })
}

/// Brings the tables of the file at `path` up to this version, and makes it where there is none; without effect where
/// they are. Gives how many migrations there were to do.
///
/// # Errors
/// Where the file can't be used, was migrated by a newer version, or a migration failed (it left nothing behind).
pub async fn migrate(path: &Path) -> Result<usize, MigrateError> {
    let unusable = |error| MigrateError::Unusable {
        path: path.to_owned(),
        source: cause(error),
    };
    let mut connection = settings(path)
        .create_if_missing(true)
        .connect()
        .await
        .map_err(unusable)?;
    let before = applied(&mut connection).await.map_err(unusable)?;
    let migrated = MIGRATIONS.run(&mut connection).await;
    migrated.map_err(|source| MigrateError::Failed {
        path: path.to_owned(),
        source,
    })?;
    let after = applied(&mut connection).await.map_err(unusable)?;
    connection.close().await.map_err(unusable)?;
    Ok(after.len().saturating_sub(before.len()))
}

/// The migrations that the file has had.
async fn applied(connection: &mut SqliteConnection) -> Result<Vec<AppliedMigration>, sqlx::Error> {
    let table = &MIGRATIONS.table_name;
    let is_there: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?)")
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

fn newest() -> i64 {
    MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or_default()
}

async fn check_tables(path: &Path, connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let path = || path.to_owned();
    let unusable = |error| OpenError::Unusable {
        path: path(),
        source: cause(error),
    };
    let applied = applied(connection).await.map_err(unusable)?;
    let (expected, found) = (
        newest(),
        applied
            .iter()
            .map(|done| done.version)
            .max()
            .unwrap_or_default(),
    );
    if applied
        .iter()
        .any(|done| !MIGRATIONS.version_exists(done.version))
    {
        return Err(OpenError::Newer {
            path: path(),
            expected,
            found,
        });
    }
    for known in MIGRATIONS.iter() {
        match applied.iter().find(|done| done.version == known.version) {
            None => {
                return Err(OpenError::NotMigrated {
                    path: path(),
                    expected,
                    found,
                });
            }
            Some(done) if done.checksum != known.checksum => {
                return Err(OpenError::Different {
                    path: path(),
                    version: known.version,
                });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// sqlx's error without its wrapping, which says again what the error within it says.
fn cause(error: sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Io(error) => error.into(),
        sqlx::Error::Database(error) => error.message().to_owned().into(),
        other => other.into(),
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file can't be read or written, or is no database.
    #[error("{} can't be used as a database", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Fault,
    },
    /// The file or its tables are not there, or of an older version.
    #[error("expected {} at version {expected}, found {found}: run `holdfast migrate`", path.display())]
    NotMigrated {
        /// The file.
        path: PathBuf,
        /// The version of the tables that this program needs.
        expected: i64,
        /// The one that the file has; 0: none.
        found: i64,
    },
    /// The tables are of a newer version.
    #[error(
        "expected {} at version {expected}, found {found}: use the newer holdfast that migrated it", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of the tables that this program needs.
        expected: i64,
        /// The one that the file has.
        found: i64,
    },
    /// A migration was applied that had another text.
    #[error(
        "migration {version} of {} was made by another build: use that one, or start with a new file", path.display()
    )]
    Different {
        /// The file.
        path: PathBuf,
        /// Which.
        version: i64,
    },
}

/// Why a file could not be migrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The file can't be read or written, or is no database.
    #[error("{} can't be used as a database", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Fault,
    },
    /// A migration failed.
    #[error("{} could not be migrated", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
}
