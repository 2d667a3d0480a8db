//! Wake-ups between processes, over LISTEN and NOTIFY on one channel. What is sent is only a device's UUID or `tokens`.
//!
//! NOTIFY takes a lock over the whole server at commit, so it is sent for changes of what agents should do and for
//! revocations, never for reports. One's own commits also wake at once, without the way over the server; being woken
//! twice does no harm.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use holdfast_domain::DeviceId;
use holdfast_ports::wakeups::{Wake, Wakeups};
use sqlx::{
    Executor,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::{
    sync::broadcast,
    task::AbortHandle,
    time::{Instant, timeout},
};

use crate::{PostgresStore, bounds::within};

/// The channel; commit.rs and tokens.rs send to it by name.
const CHANNEL: &str = "holdfast";

/// What a subscriber may fall behind before it is told that it lost some.
const QUEUE: usize = 1_024;

/// The server is asked for a sign of life so often.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Without a sign of life for so long, wake-ups count as not arriving: a revocation must be in force within a second.
const HEARD_WITHIN: Duration = Duration::from_millis(750);

/// Without an answer for so long, the connection is given up.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(5);

/// The first and the longest wait before connecting anew.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Sends wake-ups within this process, and passes on those of others.
#[derive(Debug)]
pub(crate) struct Waker {
    sender: broadcast::Sender<Wake>,
    life: Arc<Life>,
    listening: AbortHandle,
}

impl Waker {
    /// Listens from now on; where that fails at first, it fails.
    pub(crate) async fn start(server: PgConnectOptions) -> Result<Self, sqlx::Error> {
        let (sender, _) = broadcast::channel(QUEUE);
        let life = Arc::new(Life {
            started: Instant::now(),
            heard: AtomicU64::new(0),
        });
        let listener = listen(&server).await?;
        life.sign();
        let listening = tokio::spawn(keep_listening(
            server,
            listener,
            sender.clone(),
            life.clone(),
        ))
        .abort_handle();
        Ok(Self {
            sender,
            life,
            listening,
        })
    }

    /// Wakes those who wait in this process.
    pub(crate) fn wake(&self, wake: Wake) {
        // Nobody waiting is no error.
        let _ = self.sender.send(wake);
    }

    /// When the server last gave a sign of life.
    pub(crate) fn life(&self) -> Arc<Life> {
        self.life.clone()
    }

    pub(crate) fn stop(&self) {
        self.listening.abort();
        self.life.end();
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Wakeups for PostgresStore {
    fn subscribe(&self) -> broadcast::Receiver<Wake> {
        self.waker.sender.subscribe()
    }

    fn is_connected(&self) -> bool {
        self.waker.life.is_alive()
    }
}

/// When the listening connection last showed that it works.
#[derive(Debug)]
pub(crate) struct Life {
    started: Instant,
    /// Milliseconds after `started`, plus one; 0: there is no connection.
    heard: AtomicU64,
}

impl Life {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }

    fn sign(&self) {
        self.heard.store(self.now(), Ordering::Release);
    }

    fn end(&self) {
        self.heard.store(0, Ordering::Release);
    }

    pub(crate) fn is_alive(&self) -> bool {
        let heard = self.heard.load(Ordering::Acquire);
        heard > 0 && u128::from(self.now() - heard.min(self.now())) <= HEARD_WITHIN.as_millis()
    }
}

async fn listen(server: &PgConnectOptions) -> Result<PgListener, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(GIVEN_UP_AFTER)
        .connect_lazy_with(server.clone());
    let connected = async {
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.ignore_pool_close_event(true);
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    };
    within(GIVEN_UP_AFTER, connected).await
}

async fn keep_listening(
    server: PgConnectOptions,
    mut listener: PgListener,
    sender: broadcast::Sender<Wake>,
    life: Arc<Life>,
) {
    loop {
        pass_on(&mut listener, &sender, &life).await;
        life.end();
        drop(listener);
        tracing::warn!("the connection that listens for wake-ups was lost; connecting anew");
        listener = connect_anew(&server).await;
        life.sign();
        // Listens first, then wakes: whatever comes from here on is heard, whatever came before is looked at now.
        let _ = sender.send(Wake::Everything);
        tracing::info!("listening for wake-ups again");
    }
}

/// Passes wake-ups on until the connection is lost.
async fn pass_on(listener: &mut PgListener, sender: &broadcast::Sender<Wake>, life: &Life) {
    loop {
        match timeout(ASK_EVERY, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                life.sign();
                let _ = sender.send(read(notification.payload()));
            }
            Ok(Ok(None) | Err(_)) => return,
            Err(_silence) => match timeout(GIVEN_UP_AFTER, listener.execute("SELECT 1")).await {
                Ok(Ok(_)) => life.sign(),
                Ok(Err(_)) | Err(_) => return,
            },
        }
    }
}

/// What one does not understand (a newer version's) may mean anything.
fn read(payload: &str) -> Wake {
    match payload {
        "tokens" => Wake::Tokens,
        other => other
            .parse()
            .map_or(Wake::Everything, |uuid| Wake::Desired(DeviceId(uuid))),
    }
}

async fn connect_anew(server: &PgConnectOptions) -> PgListener {
    let (mut wait, longest) = RETRY;
    loop {
        match listen(server).await {
            Ok(listener) => return listener,
            Err(error) => {
                tracing::debug!(%error, "could not listen for wake-ups; trying again in {wait:?}");
            }
        }
        // Every process starts again at another moment, without needing randomness of its own.
        let jitter = wait.mul_f64(f64::from(std::process::id() % 64) / 256.0);
        tokio::time::sleep(wait + jitter).await;
        wait = (wait * 2).min(longest);
    }
}
