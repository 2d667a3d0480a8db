//! A connection of Modbus TCP. The only place that knows the client library; what it keeps to itself (RTU with a line's
//! timing) is `rtu/`.

use std::borrow::Cow;
use std::io::ErrorKind;

use holdfast_domain::protocol::modbus::Table;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_modbus::client::{Client, Context, tcp};
use tokio_modbus::slave::SlaveContext;
use tokio_modbus::{Error, ProtocolError, Slave};

use super::{Answer, Ask, Failure, What};
use crate::data::{Place, Write};
use crate::poll::Data;
use crate::words;

/// A connection that is open.
pub(super) struct TcpConnection {
    context: Context,
    /// The same connection, to look at what the library holds.
    look: std::net::TcpStream,
}

impl TcpConnection {
    pub(super) fn over(stream: TcpStream) -> std::io::Result<Self> {
        let (look, stream) = two(stream)?;
        Ok(Self {
            context: tcp::attach(stream),
            look,
        })
    }

    pub(super) async fn ask(&mut self, ask: &Ask) -> Result<Answer, Failure> {
        let request = match &ask.what {
            What::Read(place) => read_request(*place),
            What::Write(_) if !self.is_in_order() => return Err(Failure::Stale),
            What::Write(write) => write_request(write),
        };
        self.context.set_slave(Slave(ask.unit_id));
        match timeout(ask.deadline, self.context.call(request)).await {
            Err(_) => Err(Failure::TimedOut),
            Ok(Ok(Ok(response))) => match &ask.what {
                What::Read(place) => data(*place, response).map(Answer::Data),
                What::Write(write) => written(write, &response).map(|()| Answer::Written),
            },
            Ok(Ok(Err(exception))) => Ok(Answer::Exception(exception.into())),
            Ok(Err(Error::Transport(error))) => Err(transport_failure(&error)),
            Ok(Err(Error::Protocol(error))) => Err(Failure::NoAnswer(protocol_failure(&error))),
        }
    }

    /// Is it open, as far as the system knows, and silent?
    fn is_in_order(&self) -> bool {
        let looked = self.look.peek(&mut [0]);
        looked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// A second handle of a connection.
fn two(stream: TcpStream) -> std::io::Result<(std::net::TcpStream, TcpStream)> {
    let stream = stream.into_std()?;
    Ok((stream.try_clone()?, TcpStream::from_std(stream)?))
}

fn read_request(place: Place) -> tokio_modbus::Request<'static> {
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

fn write_request(write: &Write) -> tokio_modbus::Request<'_> {
    use tokio_modbus::Request::{
        MaskWriteRegister, WriteMultipleRegisters, WriteSingleCoil, WriteSingleRegister,
    };
    match write {
        Write::Coil { address, on } => WriteSingleCoil(*address, *on),
        Write::Register { address, word } => WriteSingleRegister(*address, *word),
        Write::Registers { first, words } => WriteMultipleRegisters(*first, Cow::Borrowed(words)),
        Write::Bits {
            address,
            mask,
            bits,
        } => MaskWriteRegister(*address, !mask, *bits),
    }
}

/// Does the answer say that just this was written?
fn written(write: &Write, response: &tokio_modbus::Response) -> Result<(), Failure> {
    use tokio_modbus::Response::{
        MaskWriteRegister, WriteMultipleRegisters, WriteSingleCoil, WriteSingleRegister,
    };
    let says_so = match (write, response) {
        (Write::Coil { address, on }, WriteSingleCoil(at, now)) => (address, on) == (at, now),
        (Write::Register { address, word }, WriteSingleRegister(at, now)) => {
            (address, word) == (at, now)
        }
        (Write::Registers { first, words }, WriteMultipleRegisters(at, count)) => {
            first == at && words.len() == usize::from(*count)
        }
        (
            Write::Bits {
                address,
                mask,
                bits,
            },
            MaskWriteRegister(at, and, or),
        ) => (*address, !mask, *bits) == (*at, *and, *or),
        (
            Write::Coil { .. }
            | Write::Register { .. }
            | Write::Registers { .. }
            | Write::Bits { .. },
            _,
        ) => false,
    };
    if says_so {
        Ok(())
    } else {
        Err(Failure::NoAnswer(format!(
            "an answer that is not to that: {response:?}"
        )))
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
