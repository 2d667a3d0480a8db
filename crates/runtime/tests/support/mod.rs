//! A server with small bounds, and a client that may send half of what it should. Time is virtual: it goes on when both
//! sides wait.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use holdfast_runtime::serve::{ServeSettings, bind, serve};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub(crate) const SETTINGS: ServeSettings = ServeSettings {
    name: "test",
    connections: 2,
    first_head: Duration::from_secs(10),
    idle: Duration::from_secs(75),
};

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) cancel: CancellationToken,
    /// Lets the handler of `/held` go on.
    pub(crate) go_on: Arc<Notify>,
    /// The handler of `/held` has begun.
    pub(crate) begun: Arc<Notify>,
    pub(crate) serving: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let (go_on, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let held = {
            let (go_on, begun) = (go_on.clone(), begun.clone());
            async move || {
                begun.notify_one();
                go_on.notified().await;
                "held"
            }
        };
        let router = Router::new()
            .route("/", get(async || "good"))
            .route("/held", get(held));
        let cancel = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, router, SETTINGS, cancel.clone()));
        Self {
            addr,
            cancel,
            go_on,
            begun,
            serving,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client(TcpStream::connect(self.addr).await.expect("it listens"))
    }
}

pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("open");
    }

    pub(crate) async fn ask(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .await;
    }

    /// Reads until the text ends so.
    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        self.read_until_one_of(&[end]).await
    }

    pub(crate) async fn read_until_one_of(&mut self, ends: &[&str]) -> String {
        let mut text = String::new();
        let mut piece = [0; 1024];
        while !ends.iter().any(|end| text.ends_with(end)) {
            let count = self.0.read(&mut piece).await.expect("open");
            assert!(count > 0, "closed after {text:?}");
            text += std::str::from_utf8(&piece[..count]).expect("UTF-8");
        }
        text
    }

    /// Reads until it is closed, while `piece` is sent again and again.
    pub(crate) async fn read_while_sending(self, piece: &str, every: Duration) -> String {
        let (mut read, mut write) = self.0.into_split();
        let send = async {
            while write.write_all(piece.as_bytes()).await.is_ok() {
                tokio::time::sleep(every).await;
            }
            std::future::pending::<()>().await;
        };
        let mut answer = Vec::new();
        tokio::select! {
            _ = read.read_to_end(&mut answer) => {}
            () = send => {}
        }
        String::from_utf8(answer).expect("UTF-8")
    }

    /// Reads until it is closed; gives what was read. Being cut off is being closed.
    pub(crate) async fn read_to_the_end(&mut self) -> String {
        let mut bytes = Vec::new();
        let _ = self.0.read_to_end(&mut bytes).await;
        String::from_utf8(bytes).expect("UTF-8")
    }
}

/// Is it as long as that, but for the grain of the timer?
#[track_caller]
pub(crate) fn assert_took(since: Instant, wanted: Duration) {
    let took = since.elapsed();
    let grain = Duration::from_millis(5);
    assert!(
        took + grain >= wanted && took <= wanted + grain,
        "{took:?} instead of {wanted:?}"
    );
}

/// Lets virtual time go on.
pub(crate) async fn time_passes(time: Duration) {
    tokio::time::sleep(time).await;
}
