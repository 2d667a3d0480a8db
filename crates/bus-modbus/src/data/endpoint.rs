//! Where a link goes: what sensors must have in common to share one.

use std::fmt;

use holdfast_domain::protocol::modbus::{Link, SerialLine};

/// The other end of a link. `Display` gives its place, which only one link can have at a time: "plc:502",
/// "/dev/ttyUSB0".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Modbus TCP.
    Tcp { host: String, port: u16 },
    /// RTU frames over TCP, to a serial server.
    RtuOverTcp { host: String, port: u16 },
    /// RTU on a serial line.
    Serial { path: String, line: SerialLine },
}

impl Endpoint {
    /// Reads a document's.
    pub(crate) fn of(link: &Link) -> Self {
        match link {
            // Names are the same in either case; one instrument must not get two connections for it.
            Link::Tcp { host, port } => Self::Tcp {
                host: host.to_ascii_lowercase(),
                port: *port,
            },
            Link::RtuOverTcp { host, port } => Self::RtuOverTcp {
                host: host.to_ascii_lowercase(),
                port: *port,
            },
            Link::Rtu { serial_port, line } => Self::Serial {
                path: serial_port.clone(),
                line: *line,
            },
        }
    }

    /// Whether it is a socket, which can be made anew at no cost: a serial port that is opened again may reset its
    /// adapter, and what was under way on the line is under way still.
    pub(crate) const fn is_socket(&self) -> bool {
        match self {
            Self::Tcp { .. } | Self::RtuOverTcp { .. } => true,
            Self::Serial { .. } => false,
        }
    }

    /// Whether frames carry the number of their request, so that a late answer is known for one.
    pub(crate) const fn numbers_requests(&self) -> bool {
        match self {
            Self::Tcp { .. } => true,
            Self::RtuOverTcp { .. } | Self::Serial { .. } => false,
        }
    }

    /// What is tried: "connect plc:502", "open /dev/ttyUSB0".
    pub(crate) fn attempt(&self) -> String {
        let verb = if self.is_socket() { "connect" } else { "open" };
        format!("{verb} {self}")
    }

    /// For sentences: "the connection to plc:502", "the serial port /dev/ttyUSB0".
    pub(crate) fn named(&self) -> String {
        match self {
            Self::Tcp { .. } | Self::RtuOverTcp { .. } => format!("the connection to {self}"),
            Self::Serial { .. } => format!("the serial port {self}"),
        }
    }

    /// With what is spoken there: "plc:502 (Modbus TCP)".
    pub(crate) fn in_full(&self) -> String {
        match self {
            Self::Tcp { .. } => format!("{self} (Modbus TCP)"),
            Self::RtuOverTcp { .. } => format!("{self} (RTU over TCP)"),
            Self::Serial { line, .. } => {
                let SerialLine {
                    baud_rate,
                    data_bits,
                    parity,
                    stop_bits,
                } = line;
                format!(
                    "{self} ({baud_rate} baud, {data_bits} data bits, parity {parity}, {stop_bits} stop bits)"
                )
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } | Self::RtuOverTcp { host, port } if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            Self::Tcp { host, port } | Self::RtuOverTcp { host, port } => {
                write!(f, "{host}:{port}")
            }
            Self::Serial { path, .. } => f.write_str(path),
        }
    }
}
