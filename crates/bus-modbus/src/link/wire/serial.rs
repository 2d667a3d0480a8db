//! Serial ports: opened with a line's settings, and what the system says if it won't.
//!
//! The port is taken for this process alone (`TIOCEXCL` and a file lock), also against itself under another name.

use std::time::Duration;

use holdfast_domain::protocol::modbus::{Parity, SerialLine};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tokio_serial::{
    ClearBuffer, DataBits, Error, ErrorKind, FlowControl, SerialPort as _, SerialStream, StopBits,
};

/// What the library says of ENOTTY.
const NO_PORT: &str = "Not a typewriter";

/// A port that is being opened. The call can hang in a driver, so it has a thread of its own; it is waited for by the
/// next attempt too, so that no port ever hangs more than one thread.
#[derive(Default)]
pub(super) struct Opening {
    call: Option<JoinHandle<Result<SerialStream, String>>>,
}

impl Opening {
    /// Opens the port, within `deadline`.
    ///
    /// # Errors
    /// Why not, in the system's words and with what to do: "no such file or directory; is the adapter plugged in?"
    pub(super) async fn open(
        &mut self,
        path: &str,
        line: SerialLine,
        deadline: Duration,
    ) -> Result<SerialStream, String> {
        let path = path.to_owned();
        let call = self
            .call
            .get_or_insert_with(|| spawn_blocking(move || open(&path, line)));
        match timeout(deadline, &mut *call).await {
            Ok(opened) => {
                self.call = None;
                opened.unwrap_or_else(|panicked| Err(panicked.to_string()))
            }
            Err(_) => Err(format!(
                "the system has not opened it within {} ms",
                deadline.as_millis()
            )),
        }
    }
}

/// Throws away what was not yet sent.
pub(super) fn discard_output(port: &SerialStream) {
    // A port that is gone has nothing to send.
    let _ = port.clear(ClearBuffer::Output);
}

fn open(path: &str, line: SerialLine) -> Result<SerialStream, String> {
    let SerialLine {
        baud_rate,
        data_bits,
        parity,
        stop_bits,
    } = line;
    let builder = tokio_serial::new(path, baud_rate)
        .data_bits(if data_bits == 7 {
            DataBits::Seven
        } else {
            DataBits::Eight
        })
        .parity(match parity {
            Parity::Even => tokio_serial::Parity::Even,
            Parity::Odd => tokio_serial::Parity::Odd,
            Parity::None => tokio_serial::Parity::None,
        })
        .stop_bits(if stop_bits == 2 {
            StopBits::Two
        } else {
            StopBits::One
        })
        .flow_control(FlowControl::None);
    let port = SerialStream::open(&builder).map_err(|error| in_words(&error))?;
    // A driver takes the nearest speed that it has; one that is off by more than a few in a hundred garbles everything.
    if let Ok(speed) = port.baud_rate()
        && speed.abs_diff(baud_rate) > baud_rate / 32
    {
        return Err(format!(
            "the port runs at {speed} baud, not at {baud_rate}: it can't do that speed"
        ));
    }
    // What came with other settings is no frame.
    port.clear(ClearBuffer::Input)
        .map_err(|error| in_words(&error))?;
    Ok(port)
}

fn in_words(error: &Error) -> String {
    let hint = match error.kind() {
        ErrorKind::Io(std::io::ErrorKind::NotFound) => "; is the adapter plugged in?",
        ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => {
            "; the agent's user must be in the group of the port, often \"dialout\""
        }
        ErrorKind::NoDevice => {
            "; does another program hold it, or another sensor under another name?"
        }
        ErrorKind::Unknown if error.description == NO_PORT => "; it is no serial port",
        ErrorKind::Io(_) | ErrorKind::InvalidInput | ErrorKind::Unknown => "",
    };
    format!("{}{hint}", error.description)
}
