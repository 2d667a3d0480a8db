//! The client against servers that say what a test wants, down to the bytes. Against a real hub it is tested with the
//! command line.

mod agent;
mod follow;
mod operator;
mod stub;
