//! The connections that all calls share. sqlx's pool, but for one thing: it asks each connection that comes back for a sign
//! of life, and would wait for that without bound. Where the way to the server falls silent just then, the connection's
//! place in the pool would be lost until the system gives the connection up, if it ever does.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{
    PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    PostgresOptions,
    bounds::{SIGN_OF_LIFE, come_back, none_free},
    wakeups::Life,
};

/// A connection that was idle for so long is tried before it is used: its server may have gone meanwhile.
pub(crate) const TRY_AFTER_IDLE: Duration = Duration::from_secs(5);

/// A call that waits so long for a connection is told of.
const LONG: Duration = Duration::from_secs(2);

/// Lends connections.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    connections: PgPool,
    told: Arc<Mutex<Option<Instant>>>,
}

impl Pool {
    /// Connects when first asked. A connection that was idle, or that is used while the server gives the listening one no
    /// sign of life, is tried before it is lent.
    pub(crate) fn new(
        options: &PostgresOptions,
        server: PgConnectOptions,
        life: Arc<Life>,
    ) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(options.connections)
            .acquire_timeout(options.acquire_timeout)
            // We tell of it ourselves.
            .acquire_slow_threshold(Duration::MAX)
            .test_before_acquire(false)
            .before_acquire(move |connection, meta| {
                let is_doubtful = meta.idle_for >= TRY_AFTER_IDLE || !life.is_alive();
                Box::pin(async move {
                    if is_doubtful {
                        come_back(connection).await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(server);
        Self {
            connections: pool,
            told: Arc::default(),
        }
    }

    pub(crate) async fn lend(&self) -> Result<Lent, sqlx::Error> {
        let asked = Instant::now();
        let lent = self.connections.acquire().await;
        let waited = asked.elapsed();
        match lent {
            Ok(connection) => {
                if waited >= LONG {
                    self.tell(waited);
                }
                Ok(Lent(connection))
            }
            Err(sqlx::Error::PoolTimedOut) => {
                let options = self.connections.options();
                let (most, longest) =
                    (options.get_max_connections(), options.get_acquire_timeout());
                Err(none_free(most, longest))
            }
            Err(other) => Err(other),
        }
    }

    /// Logs once a minute what may happen to every call.
    fn tell(&self, waited: Duration) {
        const EVERY: Duration = Duration::from_secs(60);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= EVERY) {
            *told = Some(Instant::now());
            let most = self.connections.options().get_max_connections();
            tracing::warn!(
                waited_ms = waited.as_millis(),
                most,
                "a call waited long for a free connection to the database: it is slow, or store.max_connections is too few"
            );
        }
    }

    /// Waits for those that are lent; later calls fail.
    pub(crate) async fn close(&self) {
        self.connections.close().await;
    }
}

/// A connection that goes back when it is dropped, once it has shown that it lives: its call may have been given up. If it
/// does not in time, it is closed.
#[derive(Debug)]
pub(crate) struct Lent(PoolConnection<Postgres>);

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let returning = self.0.return_to_pool();
        tokio::spawn(async move {
            if tokio::time::timeout(SIGN_OF_LIFE, returning).await.is_err() {
                tracing::debug!("a connection came back without a sign of life and was closed");
            }
        });
    }
}
