//! One TCP connection: opened, asked, dropped. The only place that knows the client library.
//!
//! "The line failed" ([`Failure`]), "the instrument said no" ([`Answer::Exception`]) and values are three things here;
//! what follows from them is decided in `desk.rs`.

use std::time::Duration;

use holdfast_domain::protocol::modbus::Table;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_modbus::client::{Client, Context, tcp};
use tokio_modbus::slave::SlaveContext;
use tokio_modbus::{Error, ProtocolError, Slave};

use crate::data::{Endpoint, Place};
use crate::poll::Data;
use crate::words;

/// A request that reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) unit_id: u8,
    pub(crate) place: Place,
    pub(crate) deadline: Duration,
}

/// The instrument answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Data(Data),
    /// It said no, with this code.
    Exception(u8),
}

/// The line failed. The connection is not fit for use any more: an answer that comes late would be taken for the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing came in time.
    TimedOut,
    /// The connection ended: "was reset".
    Lost(&'static str),
    /// What came is no answer to what was asked: "9 registers where 10 were asked for".
    NoAnswer(String),
}

impl Failure {
    /// For the operator: what was asked of whom, and what came of it.
    pub(crate) fn of(&self, read: &Read, endpoint: &Endpoint) -> String {
        let Read {
            unit_id,
            place,
            deadline,
        } = read;
        match self {
            Self::TimedOut => {
                let deadline = deadline.as_millis();
                format!(
                    "no answer from unit {unit_id} at {endpoint} within {deadline} ms (asked for {place})"
                )
            }
            Self::Lost(how) => format!(
                "the connection to {endpoint} {how} when unit {unit_id} was asked for {place}"
            ),
            Self::NoAnswer(what) => {
                format!("unit {unit_id} at {endpoint} was asked for {place} and sent {what}")
            }
        }
    }
}

/// A connection that is open.
pub(crate) struct Connection {
    context: Context,
}

impl Connection {
    /// Connects, within `deadline`.
    ///
    /// # Errors
    /// Why not: "connection refused".
    pub(crate) async fn open(endpoint: &Endpoint, deadline: Duration) -> Result<Self, String> {
        let connecting = TcpStream::connect((endpoint.host.as_str(), endpoint.port));
        let stream = match timeout(deadline, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(words::connect_error(&error)),
            Err(_) => return Err(format!("no answer within {} ms", deadline.as_millis())),
        };
        // A request of a few bytes must not wait for the one before it to be acknowledged. Where the system does not
        // grant it, all goes on, slower.
        let _ = stream.set_nodelay(true);
        Ok(Self {
            context: tcp::attach(stream),
        })
    }

    /// Asks, and waits for the answer until the deadline. After a failure the connection must be dropped.
    pub(crate) async fn read(&mut self, read: Read) -> Result<Answer, Failure> {
        let Read {
            unit_id,
            place,
            deadline,
        } = read;
        self.context.set_slave(Slave(unit_id));
        match timeout(deadline, self.context.call(request(place))).await {
            Err(_) => Err(Failure::TimedOut),
            Ok(Ok(Ok(response))) => data(place, response).map(Answer::Data),
            Ok(Ok(Err(exception))) => Ok(Answer::Exception(exception.into())),
            Ok(Err(Error::Transport(error))) => Err(transport_failure(&error)),
            Ok(Err(Error::Protocol(error))) => Err(Failure::NoAnswer(protocol_failure(&error))),
        }
    }
}

fn request(place: Place) -> tokio_modbus::Request<'static> {
    let Place {
        table,
        first,
        count,
    } = place;
    match table {
        Table::Coil => tokio_modbus::Request::ReadCoils(first, count),
        Table::Discrete => tokio_modbus::Request::ReadDiscreteInputs(first, count),
        Table::Input => tokio_modbus::Request::ReadInputRegisters(first, count),
        Table::Holding => tokio_modbus::Request::ReadHoldingRegisters(first, count),
    }
}

/// The answer's values, if there are as many as were asked for. The library checks the function code alone.
fn data(place: Place, response: tokio_modbus::Response) -> Result<Data, Failure> {
    use tokio_modbus::Response::{
        ReadCoils, ReadDiscreteInputs, ReadHoldingRegisters, ReadInputRegisters,
    };
    let wanted = usize::from(place.count);
    match response {
        // Bits come in whole bytes.
        ReadCoils(bits) | ReadDiscreteInputs(bits) if bits.len() == wanted.next_multiple_of(8) => {
            Ok(Data::Bits(bits))
        }
        ReadCoils(bits) | ReadDiscreteInputs(bits) => Err(Failure::NoAnswer(format!(
            "{} bits where {wanted} were asked for",
            bits.len()
        ))),
        ReadHoldingRegisters(words) | ReadInputRegisters(words) if words.len() == wanted => {
            Ok(Data::Words(words))
        }
        ReadHoldingRegisters(words) | ReadInputRegisters(words) => Err(Failure::NoAnswer(format!(
            "{} registers where {wanted} were asked for",
            words.len()
        ))),
        other => Err(Failure::NoAnswer(format!(
            "an answer to function {}",
            other.function_code()
        ))),
    }
}

fn transport_failure(error: &std::io::Error) -> Failure {
    match error.kind() {
        // The library's decoder reports so what is no Modbus frame.
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput => {
            Failure::NoAnswer(format!("bytes that are no Modbus TCP frame ({error})"))
        }
        std::io::ErrorKind::UnexpectedEof => {
            Failure::NoAnswer("a frame that is too short".to_owned())
        }
        _ => Failure::Lost(words::lost(error)),
    }
}

fn protocol_failure(error: &ProtocolError) -> String {
    match error {
        ProtocolError::HeaderMismatch { message, .. } => {
            format!("an answer to another request or of another unit ({message})")
        }
        ProtocolError::FunctionCodeMismatch { request, .. } => {
            format!("an answer that is not to function {request}")
        }
    }
}
