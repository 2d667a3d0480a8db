//! How the program ends.

use std::process::ExitCode;

/// How a command ended, for programs that call this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is as wanted.
    Good,
    /// It could not be done.
    Error,
    /// It was done, and something is not as wanted: a sensor failed, something differs.
    NotAsWanted,
    /// It is not known in time.
    TimedOut,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Good => 0,
            Exit::Error => 1,
            Exit::NotAsWanted => 2,
            Exit::TimedOut => 3,
        })
    }
}
