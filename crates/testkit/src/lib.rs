//! What tests of several crates share, and nothing that runs outside tests: fakes, documents, random inputs, the
//! contract suites, a PostgreSQL cluster for the run, and the instruments that others wrote.
//!
//! - [`world`]: a clock, randomness and agents that a test decides; [`builders`]: documents and tokens;
//!   [`strategies`]: random ones, for proptest; [`stored`]: devices in a store;
//! - [`memory`]: the hub's store in memory;
//! - [`contract`]: what every implementation of a port must do, as tests;
//! - [`postgres`], [`peers`]: servers and instruments of others.

pub mod builders;
pub mod contract;
pub mod memory;
pub mod peers;
pub mod postgres;
pub mod stored;
pub mod strategies;
pub mod world;
