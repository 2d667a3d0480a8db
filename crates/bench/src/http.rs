//! HTTP/1.1 over one connection kept open, with as little work as possible: requests are bytes that were made before, of
//! an answer only what is needed is looked at.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

/// An answer, as it stands in the connection's buffer.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The head, with the status line.
    pub head: &'a str,
    /// The body.
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn to(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr)
            .await
            .with_context(|| format!("connecting to {addr}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; 16 * 1024],
            filled: 0,
        })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// If the connection breaks, or what comes is no HTTP/1.1 with a length.
    pub async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.filled = 0;
        let head_len = loop {
            self.more().await?;
            if let Some(at) = end_of_head(&self.buffer[..self.filled]) {
                break at;
            }
        };
        let head = std::str::from_utf8(&self.buffer[..head_len])?;
        let status: u16 = head.get(9..12).context("no status line")?.parse()?;
        let len = match status {
            204 | 304 => 0,
            _ => body_len(head)?,
        };
        while self.filled < head_len + len {
            self.more().await?;
        }
        let (head, rest) = self.buffer.split_at(head_len);
        Ok(Answer {
            status,
            head: std::str::from_utf8(head)?,
            body: &rest[..len],
        })
    }

    async fn more(&mut self) -> Result<()> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        match self.stream.read(&mut self.buffer[self.filled..]).await? {
            0 => bail!("the server closed the connection"),
            read => {
                self.filled += read;
                Ok(())
            }
        }
    }

    /// Asks with a JSON body (none if null) and gives a good answer's body.
    ///
    /// # Errors
    /// If it is no good answer; with what it says.
    pub async fn json(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        body: &Value,
    ) -> Result<Value> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let answer = self.ask(&request(method, path, token, "", &body)).await?;
        if !(200..300).contains(&answer.status) {
            let said = String::from_utf8_lossy(answer.body);
            bail!("{method} {path}: {} {said}", answer.status);
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(answer.body)?)
    }
}

/// The bytes of a request. `headers` are whole lines, each with its end.
pub fn request(method: &str, path: &str, token: &str, headers: &str, body: &str) -> Vec<u8> {
    let content = if body.is_empty() {
        String::new()
    } else {
        let len = body.len();
        format!("content-type: application/json\r\ncontent-length: {len}\r\n")
    };
    format!("{method} {path} HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {token}\r\n{headers}{content}\r\n{body}")
        .into_bytes()
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(at + 4)
}

fn body_len(head: &str) -> Result<usize> {
    let line = head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case("content-length")
            .then(|| value.trim())
    });
    Ok(line.context("an answer without content-length")?.parse()?)
}
