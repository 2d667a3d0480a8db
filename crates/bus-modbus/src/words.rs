//! What the codes of the protocol and of the system mean, in words that an operator reads.

use std::io::{self, ErrorKind};
use std::time::Duration;

use holdfast_domain::without_numbers;

/// The exception codes that are decided on (Application Protocol, section 7).
pub(crate) mod code {
    pub(crate) const ILLEGAL_FUNCTION: u8 = 1;
    pub(crate) const ILLEGAL_DATA_ADDRESS: u8 = 2;
    pub(crate) const ILLEGAL_DATA_VALUE: u8 = 3;
    pub(crate) const ACKNOWLEDGE: u8 = 5;
    pub(crate) const GATEWAY_PATH_UNAVAILABLE: u8 = 10;
    pub(crate) const GATEWAY_TARGET_SILENT: u8 = 11;
}

/// `illegal data address (exception 2)`.
pub(crate) fn exception(code: u8) -> String {
    let name = match code {
        code::ILLEGAL_FUNCTION => "illegal function",
        code::ILLEGAL_DATA_ADDRESS => "illegal data address",
        code::ILLEGAL_DATA_VALUE => "illegal data value",
        4 => "server device failure",
        code::ACKNOWLEDGE => "acknowledge",
        6 => "server device busy",
        8 => "memory parity error",
        code::GATEWAY_PATH_UNAVAILABLE => "gateway path unavailable",
        code::GATEWAY_TARGET_SILENT => "gateway target device failed to respond",
        _ => return format!("exception {code}, which the standard does not name"),
    };
    format!("{name} (exception {code})")
}

/// Does this exception say that the unit itself was not reached?
pub(crate) const fn is_unit_silent(exception: u8) -> bool {
    matches!(
        exception,
        code::GATEWAY_PATH_UNAVAILABLE | code::GATEWAY_TARGET_SILENT
    )
}

/// Does this exception say that fewer or other addresses might be readable?
pub(crate) const fn is_about_addresses(exception: u8) -> bool {
    matches!(
        exception,
        code::ILLEGAL_DATA_ADDRESS | code::ILLEGAL_DATA_VALUE
    )
}

/// How long from now, for people: "40 ms", "3.2 s", "12 s".
pub(crate) fn about(wait: Duration) -> String {
    match wait.as_millis() {
        ms @ ..1_000 => format!("{ms} ms"),
        ms @ 1_000..10_000 => format!("{}.{} s", ms / 1_000, ms / 100 % 10),
        ms => format!("{} s", ms / 1_000),
    }
}

/// Why a connection could not be made.
pub(crate) fn connect_error(error: &io::Error) -> String {
    // Kinds read "connection refused"; what has no kind of its own (a name that can't be resolved) says it itself.
    match error.kind() {
        ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::TimedOut
        | ErrorKind::PermissionDenied
        | ErrorKind::AddrNotAvailable => error.kind().to_string(),
        _ => without_numbers(&error.to_string()),
    }
}

/// How a connection ended.
pub(crate) fn lost(error: &io::Error) -> &'static str {
    // At the end of the stream the library reports whatever error the system had last, so only those are believed
    // that end a connection.
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => "was reset",
        ErrorKind::BrokenPipe => "was broken",
        ErrorKind::TimedOut => "timed out",
        ErrorKind::HostUnreachable => "lost its host",
        ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => "lost its network",
        _ => "was closed by the other side",
    }
}
