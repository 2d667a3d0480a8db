//! A server that reads requests and answers each with bytes that were written down before.

use std::sync::{Arc, Mutex};

use holdfast_hub_client::{Connection, HubAddress};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What the server does with one request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Sends these bytes and closes the connection.
    Bytes(String),
    /// Keeps the connection open and says nothing.
    Silence,
}

/// The server; it ends with its test.
pub(crate) struct Stub {
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stub {
    /// A server that answers one request after the other with `replies`, and then no more.
    pub(crate) async fn with(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (log, replies) = (seen.clone(), replies.into_iter().collect::<Vec<_>>());
        let task = tokio::spawn(async move {
            let mut silent = Vec::new();
            for reply in replies {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let request = read_request(&mut stream).await;
                log.lock().expect("no panic").push(request);
                match reply {
                    Reply::Silence => silent.push(stream),
                    Reply::Bytes(bytes) => {
                        // The client may have hung up: that is its business.
                        let _ = stream.write_all(bytes.as_bytes()).await;
                        let _ = stream.shutdown().await;
                    }
                }
            }
            std::future::pending::<()>().await;
        });
        Self {
            address,
            seen,
            task,
        }
    }

    /// A server that answers one request.
    pub(crate) async fn once(reply: Reply) -> Self {
        Self::with([reply]).await
    }

    /// How to reach it.
    pub(crate) fn connection(&self) -> Connection {
        Connection::to(HubAddress::new(&self.address, false).expect("loopback"))
    }

    /// Its address.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The requests so far, whole.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").clone()
    }
}

/// Head and body, as far as `content-length` says.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await.expect("a request");
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(count > 0, "a whole head");
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
        if body.len() >= length || count == 0 {
            return text;
        }
    }
}

/// An answer of HTTP/1.1 with a body.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::Bytes(format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

/// A good answer of JSON.
pub(crate) fn json(body: &str) -> Reply {
    answer("200 OK", "content-type: application/json\r\n", body)
}

/// A problem.
pub(crate) fn problem(status: &str, body: &str) -> Reply {
    answer(status, "content-type: application/problem+json\r\n", body)
}

/// An answer that holds back its end: a stream.
pub(crate) fn stream(events: &str) -> Reply {
    Reply::Bytes(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n\r\n{events}"
    ))
}
