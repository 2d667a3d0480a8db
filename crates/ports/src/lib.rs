//! The traits to the outside. Each trait's documentation is its contract: what is guaranteed, which errors there are,
//! what is bounded, and what cancelling a call does. The contract suites in the testkit check every implementation.
//!
//! On the hub: [`store`], [`tokens`], [`events`], [`fleet`], [`notices`],
//! [`wakeups`]. On the agent: [`bus`], [`readings`],
//! [`ledger`], [`hub_link`], [`load`]. On both: [`clock`].

pub mod bus;
pub mod clock;
pub mod events;
pub mod fleet;
pub mod hub_link;
pub mod ledger;
pub mod load;
pub mod notices;
pub mod page;
pub mod readings;
pub mod store;
pub mod tokens;
pub mod wakeups;

use std::{error::Error, fmt};

/// A store that can't be used now, or holds what it should not.
#[derive(Debug)]
pub struct StoreError {
    /// What was being done: "loading device 0192…".
    pub doing: String,
    /// What went wrong.
    pub source: Box<dyn Error + Send + Sync>,
}

impl StoreError {
    /// An error while `doing` something.
    pub fn new(doing: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            doing: doing.into(),
            source: source.into(),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store failed while {}", self.doing)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source.as_ref())
    }
}
