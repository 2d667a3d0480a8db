//! The network between two programs: a relay of bytes that a test can cut, close and point elsewhere.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// A relay on a port of its own.
pub(crate) struct Gate {
    addr: SocketAddr,
    inner: Arc<Inner>,
    _accepting: JoinSet<()>,
}

struct Inner {
    upstream: Mutex<Option<SocketAddr>>,
    accepted: AtomicU64,
    /// Counts up with each cut; a connection ends when it is not what it was.
    cuts: watch::Sender<u64>,
}

impl Gate {
    /// A gate to `upstream`, open.
    pub(crate) async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let inner = Arc::new(Inner {
            upstream: Mutex::new(Some(upstream)),
            accepted: AtomicU64::new(0),
            cuts: watch::channel(0).0,
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, inner.clone()));
        Self {
            addr,
            inner,
            _accepting: accepting,
        }
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The same as a URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Connections that were accepted in all.
    pub(crate) fn accepted(&self) -> u64 {
        self.inner.accepted.load(Ordering::SeqCst)
    }

    /// Ends all connections; new ones are let through.
    pub(crate) fn cut(&self) {
        self.inner.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Ends all connections and every new one at once.
    pub(crate) fn close(&self) {
        *self
            .inner
            .upstream
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        self.cut();
    }

    /// Lets connections through to `upstream`.
    pub(crate) fn open(&self, upstream: SocketAddr) {
        *self
            .inner
            .upstream
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(upstream);
    }
}

async fn accept(listener: TcpListener, inner: Arc<Inner>) {
    let mut relays = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        inner.accepted.fetch_add(1, Ordering::SeqCst);
        relays.spawn(relay(client, inner.clone()));
        while relays.try_join_next().is_some() {}
    }
}

async fn relay(mut client: TcpStream, inner: Arc<Inner>) {
    let mut cuts = inner.cuts.subscribe();
    let upstream = *inner
        .upstream
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let Some(upstream) = upstream else { return };
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        return;
    };
    // However it ends, both connections close with it.
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = cuts.changed() => {}
    }
}
