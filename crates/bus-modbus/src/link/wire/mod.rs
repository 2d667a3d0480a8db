//! The wire: one connection at a time, opened, asked, dropped; and what must be remembered from one to the next.
//!
//! "The line failed" ([`Failure`]), "the instrument said no" ([`Answer::Exception`]) and values are three things here;
//! what follows from them is decided in `desk.rs`.
//!
//! Read next: `tcp.rs` (Modbus TCP, through the client library), `rtu/mod.rs` (RTU frames, on a serial line and over TCP).

mod rtu;
mod serial;
mod tcp;

use std::fmt;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_serial::SerialStream;

pub(crate) use self::rtu::{Debts, LATE};
use self::rtu::{RtuLine, Timing};
use self::serial::Opening;
use self::tcp::TcpConnection;
use crate::data::{Endpoint, Place, Write};
use crate::poll::Data;
use crate::words;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) unit_id: u8,
    /// How long the unit may take until it answers.
    pub(crate) deadline: Duration,
    pub(crate) what: What,
}

impl Ask {
    /// Functions 3 and 4.
    const fn reads_registers(&self) -> bool {
        match &self.what {
            What::Read(place) => !place.table.is_bits(),
            What::Write(_) => false,
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Read(Place),
    Write(Write),
}

/// The instrument answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Data(Data),
    /// It says that it wrote what was asked for.
    Written,
    /// It said no, with this code.
    Exception(u8),
}

/// The line failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing came in time.
    TimedOut,
    /// So many bytes came in time, and no whole frame.
    Cut(usize),
    /// The answer came with a wrong checksum.
    Damaged,
    /// The connection ended: "was reset".
    Lost(&'static str),
    /// What came is no answer to what was asked: "9 registers where 10 were asked for".
    NoAnswer(String),
    /// Nothing was sent: the unit may still answer what it was asked before, and that answer would be taken for the one to
    /// this.
    Owing,
    /// Nothing was sent: the connection had ended before, or something had come on it that nobody waits for.
    Stale,
}

impl Failure {
    /// Is the connection not fit for use any more? Modbus TCP's is dropped after each failure, because what comes late
    /// would be in the way of the next answer. RTU knows a frame by its checksum and lets a late one go by; there a socket
    /// is dropped that may be dead, and a serial port when it is gone.
    pub(crate) const fn ends_connection(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Lost(_) | Self::Stale => true,
            Self::TimedOut | Self::Cut(_) => endpoint.is_socket(),
            Self::Damaged | Self::NoAnswer(_) | Self::Owing => endpoint.numbers_requests(),
        }
    }

    /// Did the unit let its time pass?
    pub(crate) const fn is_late(&self) -> bool {
        match self {
            Self::TimedOut | Self::Cut(_) => true,
            Self::Damaged | Self::Lost(_) | Self::NoAnswer(_) | Self::Owing | Self::Stale => false,
        }
    }

    /// For the operator: what was asked of whom, and what came of it.
    pub(crate) fn of(&self, ask: &Ask, endpoint: &Endpoint) -> String {
        let Ask {
            unit_id,
            deadline,
            what,
        } = ask;
        let (deadline, named) = (deadline.as_millis(), endpoint.named());
        match self {
            Self::TimedOut => {
                format!("no answer from unit {unit_id} at {endpoint} within {deadline} ms ({what})")
            }
            Self::Cut(count) => format!(
                "no whole answer from unit {unit_id} at {endpoint} within {deadline} ms, only {count} bytes that are none ({what})"
            ),
            Self::Damaged => format!(
                "the answer of unit {unit_id} at {endpoint} came damaged, with a wrong checksum, when it was {what}"
            ),
            Self::Lost(how) => {
                let how = if endpoint.is_socket() {
                    how
                } else {
                    "was lost"
                };
                format!("{named} {how} when unit {unit_id} was {what}")
            }
            Self::NoAnswer(came) => {
                format!("unit {unit_id} at {endpoint} was {what} and sent {came}")
            }
            Self::Owing => format!(
                "unit {unit_id} at {endpoint} has not answered what it was asked before, and may do so late; it was not {what}"
            ),
            Self::Stale => {
                let how = if endpoint.is_socket() {
                    "was closed by the other side"
                } else {
                    "was gone"
                };
                format!("{named} {how} before unit {unit_id} was {what}")
            }
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(place) => write!(f, "asked for {place}"),
            Self::Write(write) => write!(f, "asked to write {write}"),
        }
    }
}

/// The way to an endpoint, with its connection if there is one.
pub(crate) struct Wire {
    endpoint: Endpoint,
    /// How long opening may take.
    deadline: Duration,
    connection: Option<Connection>,
    /// Answers that may still come, on this connection or the next one.
    debts: Debts,
    /// A serial port that the system has not yet opened.
    opening: Opening,
}

/// A connection that is open.
enum Connection {
    Tcp(TcpConnection),
    RtuOverTcp(RtuLine<TcpStream>),
    Serial(RtuLine<SerialStream>),
}

impl Wire {
    pub(crate) fn new(endpoint: Endpoint, deadline: Duration, debts: Debts) -> Self {
        Self {
            endpoint,
            deadline,
            connection: None,
            debts,
            opening: Opening::default(),
        }
    }

    /// Opens a connection in place of the one there was.
    ///
    /// # Errors
    /// Why not: "connection refused".
    pub(crate) async fn open(&mut self) -> Result<(), String> {
        self.connection = None;
        self.connection = Some(match &self.endpoint {
            Endpoint::Tcp { host, port } => {
                let stream = connect(host, *port, self.deadline).await?;
                let opened = TcpConnection::over(stream);
                Connection::Tcp(opened.map_err(|error| words::connect_error(&error))?)
            }
            Endpoint::RtuOverTcp { host, port } => {
                let stream = connect(host, *port, self.deadline).await?;
                Connection::RtuOverTcp(RtuLine::new(stream, Timing::default()))
            }
            Endpoint::Serial { path, line } => {
                let port = self.opening.open(path, *line, self.deadline).await?;
                Connection::Serial(RtuLine::new(port, Timing::of(*line)))
            }
        });
        Ok(())
    }

    /// Asks, and waits for the answer until the deadline. After a failure that ends the connection it must be closed, or
    /// opened anew.
    ///
    /// What is to be written is sent only on a connection that is known to be in order: instruments close idle ones, and a
    /// write into one of those would be a write of which nobody knows.
    pub(crate) async fn ask(&mut self, ask: &Ask) -> Result<Answer, Failure> {
        match &mut self.connection {
            None => Err(Failure::Stale),
            Some(Connection::Tcp(connection)) => connection.ask(ask).await,
            Some(Connection::RtuOverTcp(line)) => line.ask(ask, &self.debts).await,
            Some(Connection::Serial(line)) => line.ask(ask, &self.debts).await,
        }
    }

    /// Must a request that is under way be let come to its end, although nobody waits for it? Where nothing tells its
    /// answer from the one to the next request, if it can be had soon.
    pub(crate) const fn outlives_its_asker(&self) -> bool {
        !self.endpoint.numbers_requests()
    }

    pub(crate) fn close(&mut self) {
        self.connection = None;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        match self {
            // The system would let the close wait until all is sent, which at a low speed takes seconds.
            Self::Serial(line) => serial::discard_output(line.stream()),
            Self::Tcp(_) | Self::RtuOverTcp(_) => {}
        }
    }
}

async fn connect(host: &str, port: u16, deadline: Duration) -> Result<TcpStream, String> {
    let stream = match timeout(deadline, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(words::connect_error(&error)),
        Err(_) => return Err(format!("no answer within {} ms", deadline.as_millis())),
    };
    // A request of a few bytes must not wait for the one before it to be acknowledged. Where the system does not
    // grant it, all goes on, slower.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
