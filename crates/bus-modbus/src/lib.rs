//! The Modbus adapter: polls the units of Modbus TCP instruments and gives what it reads to a sink.
//!
//! It only reads: no function code but 1 to 4 exists in this crate. It decides nothing about which sensors run (the
//! agent's loop does) and keeps nothing on disk.
//!
//! Four storeys, each knowing those below it:
//! - data (`data/`): where points are, and how few requests fetch them;
//! - codec (`codec.rs`, `words.rs`): registers to values, codes to words, over slices;
//! - transport (`poll/`, `link/`): the course of one poll, and one task for each connection, which all units behind it
//!   share;
//! - verbs (`bus.rs`): [`ModbusBus`], the [`FieldBus`](holdfast_ports::bus::FieldBus).
//!
//! What holds on every link:
//! - requests go strictly one after the other, each with its unit's deadline; after a time-out, a transport error or an
//!   answer that is none, the connection is dropped and made anew, because an answer that comes late would be taken for
//!   the next one;
//! - a connection that can't be made is one state for all units behind it, with one attempt a backoff period;
//! - a unit that does not answer is asked again once a backoff period, when that disturbs the others least;
//! - units that declare more polls than the line carries are polled as often as it does, with room to spare, and say so;
//! - an address that the instrument refuses makes bad only the points that lie there.
//!
//! Sources: MODBUS Application Protocol Specification V1.1b3; MODBUS Messaging on TCP/IP Implementation Guide V1.0b.
//!
//! Read next: `bus.rs`, then `link/desk.rs`, which takes every decision of a link.

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
