//! An instrument under construction: its units, its limits, its clock, and then its address.
//!
//! What it does once it runs is `instrument.rs`.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::{TcpSocket, ToSocketAddrs, lookup_host};

use super::counts::Counts;
use super::faults::Faults;
use super::frame::Framing;
use super::instrument::ModbusInstrument;
use super::server;
use super::state::{Shared, State, UnknownUnit};
use super::unit::Unit;
use crate::clock::Clock;

/// Connections that an instrument holds at a time unless told otherwise; far more than any client needs.
const DEFAULT_MAX_CONNECTIONS: u64 = 1024;

/// An instrument could not take or open its address.
#[derive(Debug, thiserror::Error)]
#[error(
    "a simulated instrument can't listen on {addr}: is the port or path taken, or the address not this machine's?"
)]
pub struct BindError {
    pub(super) addr: String,
    pub(super) source: io::Error,
}

/// An instrument under construction.
#[derive(Debug)]
pub struct Builder {
    units: BTreeMap<u8, Unit>,
    unknown_unit: UnknownUnit,
    max_connections: u64,
    clock: Clock,
    framing: Framing,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            units: BTreeMap::new(),
            unknown_unit: UnknownUnit::default(),
            max_connections: DEFAULT_MAX_CONNECTIONS,
            clock: Clock::monotonic(),
            framing: Framing::default(),
        }
    }

    /// Puts a unit behind the listener; the same id again replaces it.
    #[must_use]
    pub fn unit(mut self, id: u8, unit: Unit) -> Self {
        self.units.insert(id, unit);
        self
    }

    /// What becomes of requests to other units (default: exception 0x0B).
    #[must_use]
    pub fn unknown_unit(mut self, unknown_unit: UnknownUnit) -> Self {
        self.unknown_unit = unknown_unit;
        self
    }

    /// How many connections are held at a time; more are closed as soon as accepted (default 1024; real
    /// instruments often take 1 to 8).
    #[must_use]
    pub fn max_connections(mut self, max_connections: u64) -> Self {
        self.max_connections = max_connections;
        self
    }

    /// The time that signals follow (default: the monotonic clock, from now on).
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How the socket's requests are framed (default: Modbus TCP). A line is always RTU.
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Speaks RTU on a serial line without a port: a pseudo-terminal with the name `path`, which must not be there yet.
    /// Units that aren't there should be [`UnknownUnit::Silent`], as on any line. Broadcasts (unit 0) are not simulated.
    ///
    /// # Errors
    /// The system gives no pseudo-terminal, or `path` can't be made. Must run inside a tokio runtime.
    pub async fn on_line(self, path: impl Into<PathBuf>) -> Result<ModbusInstrument, BindError> {
        let (shared, _) = self.build();
        let instrument = ModbusInstrument::on_line(path.into(), shared);
        instrument.plug().await?;
        Ok(instrument)
    }

    /// Takes the address (port 0: one that the kernel chooses) and starts to answer.
    ///
    /// # Errors
    /// The address can't be resolved or taken. Must run inside a tokio runtime.
    pub async fn bind(
        self,
        addr: impl ToSocketAddrs + std::fmt::Debug,
    ) -> Result<ModbusInstrument, BindError> {
        let instrument = self.bind_unplugged(addr).await?;
        instrument.plug().await?;
        Ok(instrument)
    }

    /// Takes the address and refuses connections until [`ModbusInstrument::plug`].
    ///
    /// # Errors
    /// As [`Builder::bind`].
    pub async fn bind_unplugged(
        self,
        addr: impl ToSocketAddrs + std::fmt::Debug,
    ) -> Result<ModbusInstrument, BindError> {
        let named = format!("{addr:?}");
        let (socket, addr) = reserve_first(addr).await.map_err(|source| BindError {
            addr: named,
            source,
        })?;
        let (shared, framing) = self.build();
        Ok(ModbusInstrument::on_socket(addr, framing, shared, socket))
    }

    fn build(self) -> (Shared, Framing) {
        let Self {
            units,
            unknown_unit,
            max_connections,
            clock,
            framing,
        } = self;
        let state = State {
            clock,
            units,
            unknown_unit,
            whole_faults: Faults::default(),
            unit_faults: BTreeMap::new(),
            counts: Counts::default(),
        };
        (Shared::new(state, max_connections), framing)
    }
}

/// Takes the first of the addresses that can be taken.
async fn reserve_first(addr: impl ToSocketAddrs) -> io::Result<(TcpSocket, SocketAddr)> {
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for candidate in lookup_host(addr).await? {
        match server::reserve(candidate)
            .and_then(|socket| socket.local_addr().map(|addr| (socket, addr)))
        {
            Ok(taken) => return Ok(taken),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
