//! The hub's store on SQLite: the embedded default, for the one process that a hub of this kind is.
//!
//! - `open.rs`: opening a store and migrating a file; the connections and their settings.
//! - `devices.rs`: the port of devices; `commit.rs`, `write.rs`: what a change does to the tables, in a fixed number of
//!   statements; `load.rs`: a device's whole state; `lists.rs`; `rows.rs`, `columns.rs`: values to columns and back.
//! - `events.rs`, `tokens.rs`, `fleet.rs`, `notices.rs`: the other ports.
//!
//! What is decided is decided in the domain; this crate only keeps it. One connection writes (`BEGIN IMMEDIATE`), a few
//! read beside it (WAL): a reader never waits for the writer, nor the writer for a reader. Many rows go into one
//! statement as a JSON array that the statement takes apart.

mod columns;
mod commit;
mod devices;
mod events;
mod fleet;
#[cfg(test)]
mod full_disk;
mod lists;
mod load;
mod notices;
mod open;
mod rows;
mod tokens;
mod write;

pub use open::{MigrateError, OpenError, SqliteStore, migrate};
