//! Modbus instruments: TCP, RTU over TCP, RTU on a serial line.
//!
//! The storeys, from the bottom: data (`bank.rs`, `encoding.rs`, `unit.rs`), codec over byte slices
//! (`frame.rs`, `rtu.rs`, `pdu.rs`, `codes.rs`), sockets and lines (`server.rs`, `cable.rs`), and the handle that a test or the demo holds
//! (`builder.rs`, `instrument.rs`, `values.rs`). `state.rs` ties a request to the unit, the faults (`faults.rs`) and the counters
//! (`counts.rs`). Clients are not its business.
//!
//! The standard's two documents are cited as "Application Protocol" (MODBUS Application Protocol
//! Specification V1.1b3) and "Messaging Guide" (MODBUS Messaging on TCP/IP Implementation Guide V1.0b).

mod bank;
mod builder;
mod cable;
mod codes;
mod counts;
mod encoding;
mod faults;
mod frame;
mod instrument;
mod pdu;
mod rtu;
mod server;
mod state;
mod unit;
mod values;

pub use bank::Table;
pub use builder::{BindError, Builder};
pub use codes::{Exception, Function};
pub use counts::{RequestRecord, Totals, UnitCounts};
pub use encoding::{DataType, Encoding, Order};

pub use faults::{Access, Answering, Faults, Refusal, WriteRule};
pub use frame::Framing;
pub use instrument::ModbusInstrument;
pub use state::UnknownUnit;
pub use unit::Unit;
pub use values::NotMapped;
