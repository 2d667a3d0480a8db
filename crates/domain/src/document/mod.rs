//! The documents: what operators ask for and what agents say is true.
//!
//! A document that was read is valid: every type here can only be made by a reader that checks it. The form is the same
//! on the wire, in the stores and on the agent's disk.

pub mod changes;
pub mod command;
pub mod hold;
pub mod point;
pub mod report;
pub mod sensor;
pub mod setpoint;
pub mod target;

/// The version of the form of all documents that this code writes.
pub const SCHEMA_VERSION: u32 = 1;
