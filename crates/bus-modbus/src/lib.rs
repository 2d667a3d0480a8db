//! The Modbus adapter: polls the units of Modbus instruments (TCP, RTU on serial lines, RTU over TCP), gives what it reads
//! to a sink, and reads and writes points when it is asked to.
//!
//! It writes only what [`RunningSensor::write`](holdfast_ports::bus::RunningSensor::write) was called with: neither a
//! poll nor a read on demand has a function code that writes. It decides nothing about which sensors run and what they are
//! to hold (the agent's loops do), and keeps nothing on disk.
//!
//! Four storeys, each knowing those below it:
//! - data (`data/`): where points are, and how few requests fetch them;
//! - codec (`codec/`, `words.rs`): registers to values and back, codes to words, over slices;
//! - transport (`poll/`, `link/`): the course of one poll, what is asked for on demand, and one task for each connection,
//!   which all units behind it share;
//! - verbs (`bus.rs`): [`ModbusBus`], the [`FieldBus`](holdfast_ports::bus::FieldBus).
//!
//! What holds on every link:
//! - requests go strictly one after the other, each with its unit's deadline; over Modbus TCP, after a
//!   time-out, a transport error or an answer that is none, the connection is dropped and made anew, because an answer
//!   that comes late would be in the way of the next one; with RTU frames see `link/wire/rtu/mod.rs`;
//! - a connection that can't be made is one state for all units behind it, with one attempt a backoff period;
//! - a unit that does not answer is asked again once a backoff period, when that disturbs the others least;
//! - units that declare more polls than the line carries are polled as often as it does, with room to spare, and say so;
//! - what is written on demand comes before what is read on demand, and that before polls, always between two requests;
//! - a write is one request, sent at most once, and only on a connection that is in order: without an answer it is unknown;
//! - an address that the instrument refuses makes bad only the points that lie there.
//!
//! Sources: MODBUS Application Protocol Specification V1.1b3; MODBUS Messaging on TCP/IP Implementation Guide V1.0b;
//! MODBUS over Serial Line V1.02.
//!
//! Read next: `bus.rs`, then `link/desk.rs`, which takes every decision of a link, and `data/write.rs`.

mod bus;
mod codec;
mod data;
#[cfg(test)]
#[path = "../tests/support/fakes.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests over sockets, which use all of it"
)]
mod fakes;
mod link;
mod poll;
mod settings;
mod stats;
mod words;

pub use bus::ModbusBus;
pub use settings::Settings;
pub use stats::{LinkStats, LinkView};
