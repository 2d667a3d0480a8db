//! The adapter against instruments that misbehave on request, over real sockets.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod lines;
mod reading;
mod refusals;
mod serial;
mod serial_faults;
mod serial_port;
mod starting;
mod trouble;
mod updating;
mod writing;
mod writing_trouble;
