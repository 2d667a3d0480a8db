//! The commands against a real hub on an empty store, with an agent that says what a test wants.

mod access;
mod apply;
mod control;
mod look;
mod plant;
mod values;
