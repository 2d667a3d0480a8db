//! The sockets: one task that accepts, one for each connection. All of them end with the task that accepts.
//!
//! What an answer is comes from `state.rs`; here it is sent, delayed, halved, withheld or spoilt as the
//! faults want.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::faults::Answering;
use super::frame::{self, Frame};
use super::state::{Reply, Shared};

/// Connections that the kernel keeps for us before we accept them.
const BACKLOG: u32 = 128;

/// The pause after a failed accept (out of file handles, say), so that it doesn't spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(10);

/// Withheld answers that one connection keeps; what is more is lost.
const MAX_WITHHELD: usize = 64;

/// No Modbus frame starts like this: neither the protocol id nor the length is one.
const GARBAGE: [u8; 16] = [
    0x5A, 0xC3, 0x99, 0x07, 0xFE, 0x12, 0xB4, 0x61, 0x3D, 0xE8, 0x70, 0x2F, 0xA5, 0x0C, 0xD6, 0x8B,
];

/// Asks the accepting task to close all connections; it says when that is done.
pub(super) type CutRequest = oneshot::Sender<()>;

/// A socket that holds `addr` and doesn't listen: clients are refused, and the kernel gives the port to nobody
/// who asks for any (a client that got it as its own would connect to itself).
pub(super) fn reserve(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Connections that were cut linger in TIME_WAIT; they must not keep the port from being used again.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

/// Starts to listen on a reserved address.
pub(super) fn listen(reserved: TcpSocket) -> io::Result<TcpListener> {
    reserved.listen(BACKLOG)
}

/// Accepts until `cuts` is closed; then closes everything and answers with the address reserved again.
pub(super) async fn serve(
    listener: TcpListener,
    addr: SocketAddr,
    shared: Arc<Shared>,
    mut cuts: mpsc::Receiver<CutRequest>,
) -> io::Result<TcpSocket> {
    enum Next {
        Accepted(io::Result<(TcpStream, SocketAddr)>),
        Cut(Option<CutRequest>),
        ConnectionEnded,
    }
    let mut connections = JoinSet::new();
    loop {
        let next = tokio::select! {
            accepted = listener.accept() => Next::Accepted(accepted),
            cut = cuts.recv() => Next::Cut(cut),
            Some(_) = connections.join_next() => Next::ConnectionEnded,
        };
        match next {
            Next::Accepted(Ok((stream, _))) => {
                if let Some(open) = OpenConnection::count(&shared) {
                    connections.spawn(converse(stream, open));
                }
            }
            Next::Accepted(Err(_)) => tokio::time::sleep(ACCEPT_RETRY).await,
            Next::Cut(Some(done)) => {
                connections.shutdown().await;
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
            Next::Cut(None) => break,
            Next::ConnectionEnded => {}
        }
    }
    // The port is taken again at once, so that no other program's socket gets it meanwhile.
    drop(listener);
    let reserved = reserve(addr);
    connections.shutdown().await;
    reserved
}

/// A connection that is counted as open as long as this lives.
struct OpenConnection {
    shared: Arc<Shared>,
    number: u64,
}

impl OpenConnection {
    /// Counts an accepted connection; none if as many as allowed are open.
    fn count(shared: &Arc<Shared>) -> Option<Self> {
        let number = shared.count(|totals| {
            totals.connections_accepted += 1;
            if totals.connections_open >= shared.max_connections {
                totals.connections_refused += 1;
                return None;
            }
            totals.connections_open += 1;
            Some(totals.connections_accepted)
        })?;
        Some(Self {
            shared: Arc::clone(shared),
            number,
        })
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.shared.count(|totals| totals.connections_open -= 1);
    }
}

/// An answer that waits for its fault to be lifted.
struct Withheld {
    unit: u8,
    bytes: Vec<u8>,
}

/// Whether a connection goes on.
#[derive(PartialEq)]
enum Then {
    GoOn,
    Close,
}

/// Answers requests one after the other until the client leaves, a fault ends it, or it isn't Modbus.
async fn converse(mut stream: TcpStream, open: OpenConnection) {
    enum Next {
        Read(io::Result<usize>),
        FaultsChanged,
    }
    let shared = &open.shared;
    // An answer of a few bytes must not wait for the one before it to be acknowledged.
    let _ = stream.set_nodelay(true);
    let mut faults_changed = shared.faults_changed.subscribe();
    let mut inbox = BytesMut::with_capacity(1024);
    let mut withheld: Vec<Withheld> = Vec::new();
    let mut served = 0;
    loop {
        loop {
            let frame = match frame::take_frame(&mut inbox) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return shared.count(|totals| totals.malformed += 1),
            };
            served += 1;
            let reply = shared.handle(&frame, open.number, served);
            match deliver(&mut stream, &frame, reply, &mut withheld).await {
                Ok(Then::GoOn) => {}
                Ok(Then::Close) | Err(_) => return,
            }
        }
        let next = tokio::select! {
            read = stream.read_buf(&mut inbox) => Next::Read(read),
            _ = faults_changed.changed(), if !withheld.is_empty() => Next::FaultsChanged,
        };
        match next {
            Next::Read(Ok(0) | Err(_)) => return,
            Next::Read(Ok(_)) => {}
            Next::FaultsChanged => {
                let due = withheld.extract_if(.., |late| {
                    shared.answering(late.unit) != Answering::Withheld
                });
                let late: Vec<u8> = due.flat_map(|late| late.bytes).collect();
                if stream.write_all(&late).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Sends one answer, or what the faults make of it.
async fn deliver(
    stream: &mut TcpStream,
    frame: &Frame,
    reply: Reply,
    withheld: &mut Vec<Withheld>,
) -> io::Result<Then> {
    let Reply {
        pdu,
        answering,
        delay,
        last,
    } = reply;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let then = if last { Then::Close } else { Then::GoOn };
    let Some(mut pdu) = pdu else { return Ok(then) };
    let (id, unit) = (frame.transaction_id, frame.unit);
    let (bytes, then) = match answering {
        Answering::Healthy | Answering::Exception(_) => (frame::encode_frame(id, unit, &pdu), then),
        Answering::Silent | Answering::Lost => return Ok(then),
        Answering::Withheld => {
            if withheld.len() < MAX_WITHHELD {
                withheld.push(Withheld {
                    unit,
                    bytes: frame::encode_frame(id, unit, &pdu),
                });
            }
            return Ok(then);
        }
        Answering::HalfFrame => (first_half(frame::encode_frame(id, unit, &pdu)), then),
        Answering::HalfFrameThenClose => {
            (first_half(frame::encode_frame(id, unit, &pdu)), Then::Close)
        }
        Answering::Close => return Ok(Then::Close),
        Answering::Garbage => (GARBAGE.to_vec(), then),
        Answering::WrongTransactionId => {
            (frame::encode_frame(id.wrapping_sub(1), unit, &pdu), then)
        }
        Answering::WrongUnit => (frame::encode_frame(id, unit.wrapping_add(1), &pdu), then),
        Answering::OtherEcho => {
            name_next_address(&mut pdu);
            (frame::encode_frame(id, unit, &pdu), then)
        }
        Answering::TooFewValues => {
            drop_last_value(&mut pdu);
            (frame::encode_frame(id, unit, &pdu), then)
        }
    };
    stream.write_all(&bytes).await?;
    Ok(then)
}

fn first_half(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// Adds one to the address in the answer to a write.
fn name_next_address(pdu: &mut [u8]) {
    if let [5 | 6 | 15 | 16 | 22, high, low, ..] = pdu {
        [*high, *low] = u16::from_be_bytes([*high, *low])
            .wrapping_add(1)
            .to_be_bytes();
    }
}

/// Takes the last register (or byte of bits) out of the answer to a read, and sets its byte count right.
fn drop_last_value(pdu: &mut Vec<u8>) {
    let value_len = match pdu[0] {
        1 | 2 => 1,
        3 | 4 | 23 => 2,
        _ => return,
    };
    pdu.truncate(pdu.len() - value_len);
    pdu[1] = u8::try_from(pdu.len() - 2).expect("a PDU is at most 253 bytes");
}
