//! Limits that need a process of their own: the same libraries with nothing of Holdfast around them.

mod http;
mod modbus;
mod output;
mod restore;

use anyhow::{Result, bail};

pub use output::COUNT;

/// The argument that makes a benchmark's program one of these.
pub const PART: &str = "bare";

/// The bare HTTP handlers, which read into plain structures.
pub const HTTP: &str = "http";

/// The same, which read into the domain's types.
pub const HTTP_CHECKING: &str = "http-checking";

/// The bare Modbus loop.
pub const MODBUS: &str = "modbus";

/// The output that is disturbed again and again.
pub const OUTPUT: &str = "output";

/// The bare loop that puts an output back.
pub const RESTORE: &str = "restore";

/// Plays a part until it is killed.
///
/// # Errors
/// If it can't, or there is no such part.
pub fn play(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    match arguments.next().as_deref() {
        Some(HTTP) => http::serve(false),
        Some(HTTP_CHECKING) => http::serve(true),
        Some(MODBUS) => modbus::read(arguments),
        Some(OUTPUT) => output::serve(),
        Some(RESTORE) => restore::run(arguments),
        other => bail!(
            "expected {HTTP}, {HTTP_CHECKING}, {MODBUS}, {OUTPUT} or {RESTORE}, found {other:?}"
        ),
    }
}
