//! Bounds in time at this side of a connection. The server's own (`statement_timeout`, `lock_timeout`) hold only while it
//! and the way to it live: one that stands still, or a path that swallows what is sent, would be waited for until the
//! system gives the connection up, which takes minutes.
//!
//! A call that was given up leaves its connection in the middle of something. It does not come back into the pool
//! ([`come_back`]), so that the next call gets another.

use std::{io, time::Duration};

use sqlx::{Connection as _, PgConnection};

/// How long an idle connection may take to show that it lives, before it is used and when it comes back. A server that is
/// alive answers this without looking at anything.
pub(crate) const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// How long closing may take: what is under way then is given up.
pub(crate) const CLOSING: Duration = Duration::from_secs(2);

/// Gives `work` up after so long. Whether the server has done it is not known then, as with any connection that breaks.
pub(crate) async fn within<T, E: From<sqlx::Error>>(
    longest: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match tokio::time::timeout(longest, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(no_answer(longest).into()),
    }
}

/// Asks a connection for a sign of life; an error if none comes. Whoever was before it in the connection is answered
/// first, so that one whose call was given up passes too if its answer has come meanwhile.
pub(crate) async fn come_back(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    within(SIGN_OF_LIFE, connection.ping()).await
}

/// All connections were in use for as long as a call waits for one.
pub(crate) fn none_free(most: u32, longest: Duration) -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        format!(
            "expected one of {most} connections to the database to be free within {longest:?}, found all in use: it is \
             slow, or store.max_connections is too few"
        ),
    ))
}

fn no_answer(longest: Duration) -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        format!(
            "expected an answer of the database within {longest:?}, got none: it stands still, or the way to it does"
        ),
    ))
}
