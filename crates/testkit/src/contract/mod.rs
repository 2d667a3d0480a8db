//! The contract suites: what every implementation of a port must do, whatever it is made of.
//!
//! A suite is a set of plain async functions over a fixture; a macro makes a test of each, so that an implementation's
//! test file is the fixture and one line. Fakes pass the same suites.

pub mod store;
