//! Wires adapters into the roles: `api`, `reconciler`, `agent`, and all of them in one process (`up`). A cargo feature
//! for each, so that an agent carries no SQL. Nothing is decided here but which piece is plugged into which.

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "api")]
pub mod api;
#[cfg(feature = "reconciler")]
mod notices;
#[cfg(feature = "stores")]
mod parts;
pub mod process;
#[cfg(feature = "reconciler")]
pub mod reconciler;
#[cfg(feature = "stores")]
pub mod stores;
#[cfg(feature = "up")]
pub mod up;

#[cfg(feature = "stores")]
pub use holdfast_ports::tokens::Role;
