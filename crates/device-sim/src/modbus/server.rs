//! The sockets: one task that accepts, one for each connection. All of them end with the task that accepts. A serial line
//! is a connection that is always there.
//!
//! What an answer is comes from `state.rs`; here it is sent, delayed, halved, withheld or spoilt as the
//! faults want.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::cable::Cable;
use super::faults::Answering;
use super::frame::{Frame, Framing};
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
    framing: Framing,
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
                    connections.spawn(converse_on_socket(stream, framing, open));
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

/// Answers on a line until `cuts` is closed. There is nothing to cut: a line stays.
pub(super) async fn serve_line(
    mut cable: Cable,
    shared: Arc<Shared>,
    mut cuts: mpsc::Receiver<CutRequest>,
) {
    let answering = async {
        while let Some(open) = OpenConnection::count(&shared) {
            match converse(cable.stream(), Framing::Rtu, &open).await {
                // A fault of an instrument on a line ends its answer, not the line.
                Ended::ByFault => {}
                Ended::ByClient => break,
            }
        }
        std::future::pending::<()>().await;
    };
    let cutting = async {
        while let Some(done) = cuts.recv().await {
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
    };
    tokio::select! {
        () = answering => {}
        () = cutting => {}
    }
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

/// How a conversation ended.
enum Ended {
    /// The client left, or spoke no Modbus.
    ByClient,
    ByFault,
}

async fn converse_on_socket(mut stream: TcpStream, framing: Framing, open: OpenConnection) {
    // An answer of a few bytes must not wait for the one before it to be acknowledged.
    let _ = stream.set_nodelay(true);
    converse(&mut stream, framing, &open).await;
}

/// Answers requests one after the other until the client leaves, a fault ends it, or it isn't Modbus.
async fn converse(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    framing: Framing,
    open: &OpenConnection,
) -> Ended {
    enum Next {
        Read(io::Result<usize>),
        FaultsChanged,
    }
    let shared = &open.shared;
    let mut faults_changed = shared.faults_changed.subscribe();
    let mut inbox = BytesMut::with_capacity(1024);
    let mut withheld: Vec<Withheld> = Vec::new();
    let mut served = 0;
    loop {
        loop {
            let frame = match framing.take(&mut inbox) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => {
                    shared.count(|totals| totals.malformed += 1);
                    return Ended::ByClient;
                }
            };
            served += 1;
            let reply = shared.handle(&frame, open.number, served);
            match deliver(stream, framing, &frame, reply, &mut withheld).await {
                Ok(Then::GoOn) => {}
                Ok(Then::Close) => return Ended::ByFault,
                Err(_) => return Ended::ByClient,
            }
        }
        let next = tokio::select! {
            read = stream.read_buf(&mut inbox) => Next::Read(read),
            _ = faults_changed.changed(), if !withheld.is_empty() => Next::FaultsChanged,
        };
        match next {
            Next::Read(Ok(0) | Err(_)) => return Ended::ByClient,
            Next::Read(Ok(_)) => {}
            Next::FaultsChanged => {
                let due = withheld.extract_if(.., |late| {
                    shared.answering(late.unit) != Answering::Withheld
                });
                let late: Vec<u8> = due.flat_map(|late| late.bytes).collect();
                if stream.write_all(&late).await.is_err() {
                    return Ended::ByClient;
                }
            }
        }
    }
}

/// Sends one answer, or what the faults make of it.
async fn deliver(
    stream: &mut (impl AsyncWrite + Unpin),
    framing: Framing,
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
        Answering::Healthy | Answering::Exception(_) => (framing.encode(id, unit, &pdu), then),
        Answering::Silent | Answering::Lost => return Ok(then),
        Answering::Withheld => {
            if withheld.len() < MAX_WITHHELD {
                withheld.push(Withheld {
                    unit,
                    bytes: framing.encode(id, unit, &pdu),
                });
            }
            return Ok(then);
        }
        Answering::HalfFrame => (first_half(framing.encode(id, unit, &pdu)), then),
        Answering::HalfFrameThenClose => (first_half(framing.encode(id, unit, &pdu)), Then::Close),
        Answering::Close => return Ok(Then::Close),
        Answering::Garbage => (GARBAGE.to_vec(), then),
        Answering::WrongChecksum => (damaged(framing, framing.encode(id, unit, &pdu)), then),
        Answering::NoiseBefore => {
            let mut bytes = noise(framing, unit, &pdu);
            bytes.extend(framing.encode(id, unit, &pdu));
            (bytes, then)
        }
        Answering::WrongTransactionId => (framing.encode(id.wrapping_sub(1), unit, &pdu), then),
        Answering::WrongUnit => (framing.encode(id, unit.wrapping_add(1), &pdu), then),
        Answering::OtherEcho => {
            name_next_address(&mut pdu);
            (framing.encode(id, unit, &pdu), then)
        }
        Answering::TooFewValues => {
            drop_last_value(&mut pdu);
            (framing.encode(id, unit, &pdu), then)
        }
    };
    stream.write_all(&bytes).await?;
    Ok(then)
}

/// Turns a bit over in the middle of an RTU frame, behind unit, function and count.
fn damaged(framing: Framing, mut bytes: Vec<u8>) -> Vec<u8> {
    if framing == Framing::Rtu {
        let middle = (bytes.len() / 2).max(3);
        bytes[middle] ^= 0x04;
    }
    bytes
}

/// What stands before an RTU answer on a bad line.
fn noise(framing: Framing, unit: u8, pdu: &[u8]) -> Vec<u8> {
    match framing {
        Framing::Tcp => Vec::new(),
        Framing::Rtu => [&[0x00, 0xFF, 0x7F, 0x00, unit], &pdu[..2]].concat(),
    }
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
