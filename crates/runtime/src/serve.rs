//! Serving HTTP/1.1, with bounds: the one place where the project's servers listen.
//!
//! What is bounded, and why: connections (each costs memory and a file descriptor), the time until a request's head is
//! there (who sends it drop by drop holds a connection for nothing), the time that a connection may lie idle, the size of
//! a head, and how long a peer may leave sent bytes unacknowledged. Bodies are bounded by who reads them, answers by who
//! makes them. HTTP/2 and TLS are left to a proxy in front.

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long answers under way may take after the end was asked for.
const GRACE: Duration = Duration::from_secs(2);

/// How long a process that serves may take to end: [`serve`] itself, and a little for what else ends beside it.
pub const ENDING: Duration = Duration::from_millis(2_250);

/// The largest head of a request, in bytes: many times what any client of ours sends, and what one connection may cost.
const HEAD_BYTES: usize = 64 * 1024;

/// A peer that leaves sent bytes unacknowledged, or unread, for so long is gone: a gateway without power says nothing.
const UNREAD: Duration = Duration::from_secs(60);

/// Connections over the limit that are told so at the same time; what is over this too is closed without a word.
const TOLD_AT_ONCE: usize = 64;

/// How long one that is over the limit may take to hear it.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// The pause after a connection could not be accepted for want of something (file descriptors, memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

const REFUSED: &str = "holdfast_connections_refused_total";
const TOO_SLOW: &str = "holdfast_connections_too_slow_total";

/// The bounds of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServeSettings {
    /// What the listener is called in metrics and logs.
    pub name: &'static str,
    /// Most connections at the same time; one more is answered 503 and closed.
    pub connections: usize,
    /// How long a new connection may take to send the whole head of its first request.
    pub first_head: Duration,
    /// How long a connection may take from one answer to the whole head of the next request, idle time included.
    pub idle: Duration,
}

impl ServeSettings {
    /// For a small port that is asked now and then: health and metrics.
    pub const HEALTH: Self = Self {
        name: "health",
        connections: 64,
        first_head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
    };
}

/// Binds a port: done apart from serving, so that a port in use is an error at start.
///
/// # Errors
/// If the port can't be had.
pub async fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(listen)
        .await
        .map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "expected a free address, found it in use: end what listens there, or choose another".to_owned()
                }
                io::ErrorKind::AddrNotAvailable => {
                    "expected an address of this machine, found another".to_owned()
                }
                io::ErrorKind::PermissionDenied => {
                    "this user may not: ports below 1024 need a right of their own".to_owned()
                }
                _ => error.to_string(),
            };
            io::Error::new(error.kind(), format!("listening on {listen}: {why}"))
        })
}

/// Serves `router` until `cancel` is, and up to two seconds more, so that what is being answered is answered.
///
/// Does not end by itself: a connection that can't be accepted is logged and passed over.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: ServeSettings,
    cancel: CancellationToken,
) {
    // What has never happened is shown as 0.
    metrics::counter!(REFUSED, "listener" => settings.name).increment(0);
    metrics::counter!(TOO_SLOW, "listener" => settings.name).increment(0);
    let over = CancellationToken::new();
    let _over = over.clone().drop_guard();
    let server = Arc::new(Server {
        router,
        settings,
        cancel: cancel.clone(),
        over: over.clone(),
    });
    let places = Arc::new(Semaphore::new(settings.connections));
    let telling = Arc::new(Semaphore::new(TOLD_AT_ONCE));
    let full = Seldom::default();
    let tasks = TaskTracker::new();
    while let Some(accepted) = cancel.run_until_cancelled(listener.accept()).await {
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                cancel
                    .run_until_cancelled(after_failure(&settings, &error))
                    .await;
                continue;
            }
        };
        if let Ok(place) = places.clone().try_acquire_owned() {
            tasks.spawn(server.clone().connection(stream, place));
            continue;
        }
        metrics::counter!(REFUSED, "listener" => settings.name).increment(1);
        if full.is_time() {
            tracing::warn!(
                listener = settings.name,
                connections = settings.connections,
                "the limit on connections is reached: more are answered 503 until others end"
            );
        }
        if let Ok(telling) = telling.clone().try_acquire_owned() {
            tasks.spawn(tell_full(stream, telling));
        }
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
        tracing::warn!(
            listener = settings.name,
            left = tasks.len(),
            "connections are cut off"
        );
        over.cancel();
        tasks.wait().await;
    }
}

/// Connections come and go by themselves; a want of file descriptors needs a pause, or this would turn on the spot.
async fn after_failure(settings: &ServeSettings, error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        return;
    }
    tracing::error!(listener = settings.name, %error, "a connection could not be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Tells one that is over the limit. It may have sent something, which is read so that the answer is not lost.
async fn tell_full(mut stream: TcpStream, _telling: OwnedSemaphorePermit) {
    const BODY: &str = r#"{"type":"about:blank","title":"Not now","status":503,"detail":"there are too many connections: try later"}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\n\
         content-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let tell = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut unread = [0; 1024];
        while stream.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    };
    // One that does not listen is closed all the same.
    let _ = tokio::time::timeout(TOLD_WITHIN, tell).await;
}

struct Server {
    router: Router,
    settings: ServeSettings,
    cancel: CancellationToken,
    /// Nothing is waited for any more.
    over: CancellationToken,
}

enum Next {
    Ended,
    /// The time for the first head is up.
    FirstHead,
    Ending,
    Over,
}

impl Server {
    /// One connection, to its end.
    async fn connection(self: Arc<Self>, stream: TcpStream, _place: OwnedSemaphorePermit) {
        let settings = self.settings;
        let _open = Gauge::one_more("holdfast_connections", settings.name);
        prepare(&stream);
        let asked = Arc::new(AtomicBool::new(false));
        let service = TowerToHyperService::new(self.router.clone());
        let service = service_fn({
            let asked = asked.clone();
            move |request: Request<Incoming>| {
                asked.store(true, Ordering::Relaxed);
                hyper::service::Service::call(&service, request.map(Body::new))
            }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(settings.idle)
            .max_buf_size(HEAD_BYTES);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let first_head = Instant::now() + settings.first_head;
        let (mut first, mut ending) = (true, false);
        loop {
            let next = tokio::select! {
                // How a connection ends is its client's business.
                _ = connection.as_mut() => Next::Ended,
                () = tokio::time::sleep_until(first_head), if first => Next::FirstHead,
                () = self.cancel.cancelled(), if !ending => Next::Ending,
                () = self.over.cancelled() => Next::Over,
            };
            match next {
                Next::Ended | Next::Over => return,
                Next::FirstHead => {
                    first = false;
                    if !asked.load(Ordering::Relaxed) {
                        metrics::counter!(TOO_SLOW, "listener" => settings.name).increment(1);
                        return;
                    }
                }
                Next::Ending => {
                    ending = true;
                    if !asked.load(Ordering::Relaxed) {
                        return;
                    }
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Small answers go out at once, and a peer that is gone is found out. Where that can't be set, both take longer.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(UNREAD));
}

/// One of something that is there now, in a metric.
struct Gauge(metrics::Gauge);

impl Gauge {
    fn one_more(metric: &'static str, listener: &'static str) -> Self {
        let gauge = metrics::gauge!(metric, "listener" => listener);
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Says when it is time to log again what may happen a thousand times a second.
#[derive(Default)]
struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    const EVERY: Duration = Duration::from_secs(60);

    fn is_time(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = last.is_none_or(|last| last.elapsed() >= Self::EVERY);
        if is_time {
            *last = Some(Instant::now());
        }
        is_time
    }
}
