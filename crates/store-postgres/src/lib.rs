//! The hub's store on PostgreSQL (15 or newer), for any number of API and reconciler processes over one database.
//!
//! - `connect.rs`: opening a store and migrating a database; the pool's settings.
//! - `commit.rs` with `commit.sql`: the one statement that commits changes; `parts.rs`: what it is given; `batch.rs`:
//!   changes that share one; `lifecycle.rs`: making, registering and deleting devices around it.
//! - `load.rs`: a device's whole state in one statement; `rows.rs`: rows of the read model to columns and back;
//!   `columns.rs`: times, numbers and texts.
//! - `lists.rs`, `points.rs`, `events.rs`, `tokens.rs`, `fleet.rs`, `notices.rs`: the rest of the ports; `devices.rs` puts the port of
//!   devices together.
//! - `wakeups.rs`: LISTEN and NOTIFY. `pool.rs`: the connections. `bounds.rs`: no call waits for ever for a server that
//!   stands still.
//!
//! What is decided is decided in the domain; this crate only keeps it. Locks are taken in one order, so that nothing
//! waits in a circle: whoever changes devices takes their `device_hot` rows first, by device, and then only what is theirs.

mod batch;
mod bounds;
mod columns;
mod commit;
mod connect;
mod devices;
mod events;
mod fleet;
mod lifecycle;
mod lists;
mod load;
mod notices;
mod parts;
mod points;
mod pool;
mod rows;
mod tokens;
mod wakeups;

pub use connect::{ConnectError, MigrateError, PostgresOptions, PostgresStore, migrate};
