//! Starts the Modbus servers that others wrote, on sockets and serial lines, and asks them from outside with mbpoll.
//!
//! The programs are in `peers/` and their README says what each holds; `cargo xtask peers` installs them. This file
//! only runs them: it knows no protocol. Everything here panics rather than returning errors, because a test without
//! its peer has nothing to say.
//!
//! Read next: `peers/README.md`.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

/// Where `cargo xtask peers` installs, when it is not the workspace's own target folder.
const INSTALLED_VAR: &str = "HOLDFAST_PEERS_DIR";

/// A Modbus TCP server that someone else wrote, listening on 127.0.0.1. Dropping it kills the process.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    port: u16,
    /// The servers end when this pipe closes, so that none outlives a test process that was killed.
    _lifeline: ChildStdin,
}

impl Peer {
    /// Starts the pymodbus server: units 1 and 2, holding registers 0..199. Unknown units get exception 4.
    ///
    /// `arguments` are its own, such as `["--refuse", "50:3"]`, `["--delay-ms", "300"]`,
    /// `["--half-frame-every", "2"]`, `["--set", JSON]`, or `["--port", "1502"]` to come back on a known port.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    pub fn pymodbus<S: AsRef<str>>(arguments: &[S]) -> Self {
        let mut command = Command::new(installed("venv/bin/python"));
        command.arg(source("modbus_tcp_server.py"));
        Self::start(command, arguments)
    }

    /// Starts the libmodbus server: any unit, holding registers 0..199; takes `--port`, `--refuse`, `--delay-ms`.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    pub fn libmodbus<S: AsRef<str>>(arguments: &[S]) -> Self {
        Self::start(Command::new(installed("libmodbus_server")), arguments)
    }

    /// The same, with RTU at one end of a serial line, as unit 1 alone: others get no answer.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    pub fn libmodbus_on(port: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(installed("libmodbus_server"));
        command.arg("--serial").arg(port);
        Self::start(command, arguments)
    }

    /// Starts the modbus-serial server: any unit, holding registers 0..199; takes `--port`, `--refuse`.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    pub fn modbus_serial<S: AsRef<str>>(arguments: &[S]) -> Self {
        let mut command = Command::new("node");
        command.arg(source("modbus_serial_server.js"));
        command.env("NODE_PATH", installed("node/node_modules"));
        Self::start(command, arguments)
    }

    /// The same, with RTU frames over TCP.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    pub fn pymodbus_rtu<S: AsRef<str>>(arguments: &[S]) -> Self {
        let mut command = Command::new(installed("venv/bin/python"));
        command.arg(source("modbus_tcp_server.py")).arg("--rtu");
        Self::start(command, arguments)
    }

    /// The same, with RTU at one end of a serial line.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    pub fn pymodbus_on(port: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(installed("venv/bin/python"));
        command.arg(source("modbus_tcp_server.py"));
        command.arg("--serial").arg(port);
        Self::start(command, arguments)
    }

    fn start<S: AsRef<str>>(mut command: Command, arguments: &[S]) -> Self {
        command.args(arguments.iter().map(AsRef::as_ref));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("cannot start {command:?} ({error}): run `cargo xtask peers`")
        });
        let lifeline = child.stdin.take().expect("stdin was asked for as a pipe");
        let stdout = child.stdout.take().expect("stdout was asked for as a pipe");

        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("a pipe of our own child can be read");
        let Some(port) = line
            .strip_prefix("PORT ")
            .and_then(|port| port.trim().parse().ok())
        else {
            let _ = child.kill();
            let status = child.wait();
            panic!(
                "{command:?} said {line:?} and not `PORT n` ({status:?}): run `cargo xtask peers`, see its error above"
            );
        };
        Self {
            child,
            port,
            _lifeline: lifeline,
        }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, always on loopback.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Kills it at once (SIGKILL) and answers the port that it had, for one that comes back there.
    pub fn kill(self) -> u16 {
        self.port
    }

    /// Freezes it: connections stay open and the kernel accepts new ones, but nothing answers. See [`Peer::thaw`].
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets a frozen peer go on; it then answers what has piled up.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status()
            .expect("every Unix has kill(1)");
        assert!(
            status.success(),
            "kill -{name} {}: {status}",
            self.child.id()
        );
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A serial line without ports: two pseudo-terminals that socat joins. Dropping it is pulling both plugs.
#[derive(Debug)]
pub struct SerialCable {
    socat: Child,
    ends: [PathBuf; 2],
}

impl SerialCable {
    /// Lays one; its ends are made in `folder`.
    ///
    /// # Panics
    /// When socat is not installed, or makes none.
    pub fn lay(folder: &Path) -> Self {
        let ends = ["near", "far"].map(|name| folder.join(name));
        let end = |path: &Path| format!("pty,raw,echo=0,link={}", path.display());
        // Twice -d: it says when it begins to join them.
        let mut socat = Command::new("socat")
            .args(["-d", "-d"])
            .args(ends.iter().map(|path| end(path)))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start socat ({error}): run `cargo xtask peers`")
            });
        let said = socat.stderr.take().expect("stderr was asked for as a pipe");
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        assert!(
            lines.any(|line| line.contains("starting data transfer loop")),
            "socat ended before it joined {ends:?}"
        );
        // What it says later must not make it wait.
        std::thread::spawn(move || lines.for_each(drop));
        Self { socat, ends }
    }

    /// The paths of its two ends.
    pub fn ends(&self) -> [&Path; 2] {
        [&self.ends[0], &self.ends[1]]
    }
}

impl Drop for SerialCable {
    fn drop(&mut self) {
        let _ = self.socat.kill();
        let _ = self.socat.wait();
        for end in &self.ends {
            let _ = std::fs::remove_file(end);
        }
    }
}

/// Reads `count` (1 to 125) holding registers of `unit` from a server on 127.0.0.1, with mbpoll.
///
/// # Panics
/// When mbpoll is not installed, or the server answers an exception or nothing; the message has mbpoll's words.
pub fn mbpoll_read(port: u16, unit: u8, address: u16, count: u16) -> Vec<u16> {
    let output = mbpoll(port, unit, address, &["-c", &count.to_string()], &[]);
    read_of(
        &output,
        count,
        &format!("unit {unit}, {count} registers from {address} on port {port}"),
    )
}

/// The same on a serial line (19200 baud, 8N1) that nobody else holds.
///
/// # Panics
/// As [`mbpoll_read`].
pub fn mbpoll_read_on(port: &Path, unit: u8, address: u16, count: u16) -> Vec<u16> {
    let (unit, from) = (unit.to_string(), address.to_string());
    let output = Command::new("mbpoll")
        .args(["-m", "rtu", "-b", "19200", "-P", "none", "-0", "-1", "-q"])
        .args(["-t", "4", "-o", "5", "-a", &unit, "-r", &from])
        .args(["-c", &count.to_string()])
        .arg(port)
        .output()
        .unwrap_or_else(|error| panic!("cannot start mbpoll ({error}): run `cargo xtask peers`"));
    read_of(
        &output,
        count,
        &format!(
            "unit {unit}, {count} registers from {address} on {}",
            port.display()
        ),
    )
}

fn read_of(output: &Output, count: u16, what: &str) -> Vec<u16> {
    let text = String::from_utf8_lossy(&output.stdout);
    let values = parse_mbpoll(&text);
    assert!(
        output.status.success() && values.len() == usize::from(count),
        "mbpoll read {what}: {}{text}",
        String::from_utf8_lossy(&output.stderr),
    );
    values
}

/// Writes holding registers of `unit` from `address` on, with mbpoll: a hand on the hardware behind our back.
///
/// # Panics
/// When mbpoll is not installed, or the server refuses.
pub fn mbpoll_write(port: u16, unit: u8, address: u16, values: &[u16]) {
    let values: Vec<String> = values.iter().map(u16::to_string).collect();
    let output = mbpoll(port, unit, address, &[], &values);
    assert!(
        output.status.success(),
        "mbpoll write unit {unit}, {values:?} from {address} on port {port}: {}",
        String::from_utf8_lossy(&output.stderr),
    );
}

fn mbpoll(port: u16, unit: u8, address: u16, options: &[&str], values: &[String]) -> Output {
    Command::new("mbpoll")
        .args(["-m", "tcp", "-0", "-1", "-q", "-t", "4", "-o", "5"])
        .args([
            "-p",
            &port.to_string(),
            "-a",
            &unit.to_string(),
            "-r",
            &address.to_string(),
        ])
        .args(options)
        .arg("127.0.0.1")
        .args(values)
        .output()
        .unwrap_or_else(|error| panic!("cannot start mbpoll ({error}): run `cargo xtask peers`"))
}

/// The values in lines such as `[20]: <tab>65535 (-1)`, in order.
fn parse_mbpoll(text: &str) -> Vec<u16> {
    text.lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once("]:"))
        .filter_map(|(_, value)| value.split_whitespace().next()?.parse().ok())
        .collect()
}

/// The path of something that `cargo xtask peers` installs; panics with what to do when it is not there.
///
/// Other tests use it for what they start themselves, as `installed("node/node_modules/playwright-core")`.
pub fn installed(name: &str) -> PathBuf {
    let folder = match std::env::var_os(INSTALLED_VAR) {
        Some(folder) => PathBuf::from(folder),
        None => workspace().join("target/peers"),
    };
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is not there: run `cargo xtask peers`",
        path.display()
    );
    path
}

fn source(name: &str) -> PathBuf {
    workspace().join("peers").join(name)
}

fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    const NONE: [&str; 0] = [];

    /// Function 3, unit 1, ten registers from 0; the raw answer.
    fn ask(addr: SocketAddr) -> Vec<u8> {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        stream
            .write_all(&[0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 10])
            .unwrap();
        let mut answer = [0; 64];
        let length = stream.read(&mut answer).unwrap_or(0);
        answer[..length].to_vec()
    }

    #[test]
    fn mbpolls_words_are_understood() {
        let text = "-- Polling slave 1...\n[20]: \t4711\n[21]: \t65535 (-1)\n\n";
        assert_eq!(parse_mbpoll(text), [4711, 65535]);
    }

    #[test]
    fn every_peer_serves_its_map_and_keeps_what_is_written() {
        for peer in [
            Peer::pymodbus(&NONE),
            Peer::libmodbus(&NONE),
            Peer::modbus_serial(&NONE),
        ] {
            assert_eq!(mbpoll_read(peer.port(), 1, 100, 3), [100, 101, 102]);
            mbpoll_write(peer.port(), 1, 100, &[7, 65535]);
            assert_eq!(mbpoll_read(peer.port(), 1, 100, 3), [7, 65535, 102]);
        }
    }

    #[test]
    fn a_killed_peer_is_gone_and_comes_back_on_its_port() {
        let port = Peer::libmodbus(&NONE).kill();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
        let peer = Peer::libmodbus(&["--port", &port.to_string()]);
        assert_eq!(mbpoll_read(peer.port(), 1, 5, 1), [5]);
    }

    #[test]
    fn a_frozen_peer_says_nothing_and_a_thawed_one_answers() {
        let peer = Peer::libmodbus(&NONE);
        peer.freeze();
        assert!(ask(peer.addr()).is_empty());
        peer.thaw();
        assert_eq!(ask(peer.addr()).len(), 29);
    }

    #[test]
    fn a_half_frame_is_half_a_frame() {
        let peer = Peer::pymodbus(&["--half-frame-every", "2"]);
        assert_eq!(ask(peer.addr()).len(), 29);
        assert_eq!(ask(peer.addr()).len(), 14);
    }
}
