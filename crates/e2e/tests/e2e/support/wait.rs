//! Waiting for something to become true, with a deadline.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

/// What takes longer than this does not happen. Generous: machines that run tests are busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Looks again and again until `look` gives what is waited for.
///
/// # Panics
/// After [`DEADLINE`], with what it last said instead.
pub(crate) async fn eventually<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let mut every = tokio::time::interval(Duration::from_millis(25));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let started = Instant::now();
    loop {
        every.tick().await;
        match look().await {
            Ok(found) => return found,
            Err(instead) if started.elapsed() > DEADLINE => {
                panic!("{what}: not within {DEADLINE:?}; last seen: {instead}")
            }
            Err(_) => {}
        }
    }
}

/// What a future gives, if it does in time.
///
/// # Panics
/// After [`DEADLINE`].
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(given) => given,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}
