//! A client that sends and takes bare frames, and so sees what a proper client hides.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Read one holding register at 0.
pub(crate) const READ_ONE: [u8; 5] = [3, 0, 0, 0, 1];

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) transaction_id: u16,
    pub(crate) unit: u8,
    pub(crate) pdu: Vec<u8>,
}

/// A connection.
pub(crate) struct RawClient {
    stream: TcpStream,
}

impl RawClient {
    pub(crate) async fn connect(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            stream: TcpStream::connect(addr).await?,
        })
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .await
            .expect("the connection takes bytes");
    }

    pub(crate) async fn send(&mut self, transaction_id: u16, unit: u8, pdu: &[u8]) {
        self.send_bytes(&frame(transaction_id, unit, pdu)).await;
    }

    /// The next whole answer; an error if the connection ends first.
    pub(crate) async fn receive(&mut self) -> io::Result<Answer> {
        let header = self.receive_bytes::<7>().await?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        assert_eq!(word(2), 0, "protocol id in {header:02X?}");
        let mut pdu = vec![0; usize::from(word(4)) - 1];
        self.stream.read_exact(&mut pdu).await?;
        Ok(Answer {
            transaction_id: word(0),
            unit: header[6],
            pdu,
        })
    }

    pub(crate) async fn receive_bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn receive_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is an end as well.
        let _ = self.stream.read_to_end(&mut bytes).await;
        bytes
    }

    /// The two ways, for sending and receiving at once.
    pub(crate) fn split(
        &mut self,
    ) -> (
        tokio::net::tcp::ReadHalf<'_>,
        tokio::net::tcp::WriteHalf<'_>,
    ) {
        self.stream.split()
    }
}

/// The bytes of one request.
pub(crate) fn frame(transaction_id: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let length = u16::try_from(pdu.len() + 1).expect("a short PDU");
    let mut bytes = Vec::new();
    bytes.extend(transaction_id.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(length.to_be_bytes());
    bytes.push(unit);
    bytes.extend(pdu);
    bytes
}
