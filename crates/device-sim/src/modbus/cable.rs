//! A serial cable without a port: a pseudo-terminal. One end is a path that any program opens as it would a serial port,
//! the other is ours. Speeds and parities are taken and mean nothing.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::{AsyncRead, AsyncWrite, Join};
use tokio::net::unix::pipe;

/// Our end. Dropping it hangs up on whoever has the other one open, and takes the path away, as a USB adapter does that is
/// pulled.
#[derive(Debug)]
pub(super) struct Cable {
    /// A pseudo-terminal is read and written as pipes are; their types do all that is needed.
    end: Join<pipe::Receiver, pipe::Sender>,
    /// The other end, kept open: with nobody there, our end would be at its end.
    _held: OwnedFd,
    path: PathBuf,
}

impl Cable {
    /// Lays a cable to `path`, which must not be there yet.
    pub(super) fn lay(path: &Path) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let end = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&end)?;
        rustix::pty::unlockpt(&end)?;
        let held = rustix::pty::ioctl_tiocgptpeer(&end, flags)?;
        // Bytes are bytes: no echo, no line ends.
        let mut settings = tcgetattr(&held)?;
        settings.make_raw();
        tcsetattr(&held, OptionalActions::Now, &settings)?;
        rustix::io::ioctl_fionbio(&end, true)?;
        let name = rustix::pty::ptsname(&end, Vec::new())?;
        let name = name.into_string().map_err(io::Error::other)?;
        let sender = pipe::Sender::from_owned_fd_unchecked(end.try_clone()?)?;
        let receiver = pipe::Receiver::from_owned_fd_unchecked(end)?;
        std::os::unix::fs::symlink(name, path)?;
        Ok(Self {
            end: tokio::io::join(receiver, sender),
            _held: held,
            path: path.to_owned(),
        })
    }

    /// What goes over it.
    pub(super) fn stream(&mut self) -> &mut (impl AsyncRead + AsyncWrite + Unpin + use<>) {
        &mut self.end
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // Somebody may have taken it away before.
        let _ = std::fs::remove_file(&self.path);
    }
}
