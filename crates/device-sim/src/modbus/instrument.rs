//! The handle of a running instrument: what tests, the demo and a commissioning bench hold. Here its cable,
//! its faults and its counters; its values are `values.rs`.
//!
//! Dropping it closes its sockets and ends its tasks. What a request does is `state.rs`.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpSocket;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::bank::Table;
use super::builder::{BindError, Builder};
use super::cable::Cable;
use super::counts::{RequestRecord, Totals, UnitCounts};
use super::faults::Faults;
use super::frame::Framing;
use super::server::{self, CutRequest};
use super::state::Shared;

/// The cable.
#[derive(Debug)]
enum Plug {
    In {
        cuts: mpsc::Sender<CutRequest>,
        /// The task that serves; alone in a set so that dropping the instrument ends it. A line has no socket to reserve.
        server: JoinSet<io::Result<Option<TcpSocket>>>,
    },
    /// `reserved` keeps the port; none if it could not be taken again, and plugging in tries once more.
    Out { reserved: Option<TcpSocket> },
}

/// Where it is reached.
#[derive(Clone, Debug)]
enum Seat {
    Socket(SocketAddr, Framing),
    /// A path that stands for a serial port.
    Line(PathBuf),
}

/// A running Modbus instrument with one or many units behind one listener, or on one line.
///
/// All that reads or changes it takes effect at once, while clients talk to it.
#[derive(Debug)]
pub struct ModbusInstrument {
    seat: Seat,
    pub(super) shared: Arc<Shared>,
    plug: Mutex<Plug>,
}

/// The cable and the faults.
impl ModbusInstrument {
    /// Unplugged, on an address that `reserved` holds.
    pub(super) fn on_socket(
        addr: SocketAddr,
        framing: Framing,
        shared: Shared,
        reserved: TcpSocket,
    ) -> Self {
        Self::new(Seat::Socket(addr, framing), shared, Some(reserved))
    }

    /// Unplugged; the path is not there yet.
    pub(super) fn on_line(path: PathBuf, shared: Shared) -> Self {
        Self::new(Seat::Line(path), shared, None)
    }

    fn new(seat: Seat, shared: Shared, reserved: Option<TcpSocket>) -> Self {
        Self {
            seat,
            shared: Arc::new(shared),
            plug: Mutex::new(Plug::Out { reserved }),
        }
    }

    /// An instrument without units.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Where it listens, plugged in or not.
    ///
    /// # Panics
    /// It is on a line.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        match &self.seat {
            Seat::Socket(addr, _) => *addr,
            Seat::Line(path) => panic!("on the line {} there are no addresses", path.display()),
        }
    }

    /// Closes all connections and the listener: clients are refused. The port stays taken. On a line: whoever has it open
    /// is hung up on, and its path is gone. Unplugging twice changes nothing.
    ///
    /// # Errors
    /// The port could not be kept; the instrument is unplugged all the same.
    pub async fn unplug(&self) -> Result<(), BindError> {
        let mut plug = self.plug.lock().await;
        if let Plug::In { cuts, mut server } =
            std::mem::replace(&mut *plug, Plug::Out { reserved: None })
        {
            drop(cuts);
            let ended = server.join_next().await.expect("one task was put in");
            let reserved = ended.unwrap_or_else(|error| Err(io::Error::other(error)));
            *plug = Plug::Out {
                reserved: reserved.map_err(|source| self.bind_error(source))?,
            };
        }
        Ok(())
    }

    /// Listens again on the same port, or is on the line of the same path. Plugging in twice changes nothing.
    ///
    /// # Errors
    /// The port can't be listened on, or the path can't be made.
    pub async fn plug(&self) -> Result<(), BindError> {
        let mut plug = self.plug.lock().await;
        let reserved = match &mut *plug {
            Plug::In { .. } => return Ok(()),
            Plug::Out { reserved } => reserved.take(),
        };
        let (cuts, cut_requests) = mpsc::channel(1);
        let mut server = JoinSet::new();
        let shared = Arc::clone(&self.shared);
        match &self.seat {
            Seat::Socket(addr, framing) => {
                let (addr, framing) = (*addr, *framing);
                let reserved = reserved.map_or_else(|| server::reserve(addr), Ok);
                let listener = reserved.and_then(server::listen);
                let listener = listener.map_err(|source| self.bind_error(source))?;
                server.spawn(async move {
                    let served = server::serve(listener, addr, framing, shared, cut_requests);
                    served.await.map(Some)
                });
            }
            Seat::Line(path) => {
                let cable = Cable::lay(path).map_err(|source| self.bind_error(source))?;
                server.spawn(async move {
                    server::serve_line(cable, shared, cut_requests).await;
                    Ok(None)
                });
            }
        }
        *plug = Plug::In { cuts, server };
        Ok(())
    }

    /// Whether it listens.
    pub async fn is_plugged(&self) -> bool {
        matches!(*self.plug.lock().await, Plug::In { .. })
    }

    /// Closes the connections that are open now; new ones are accepted.
    pub async fn cut_connections(&self) {
        let plug = self.plug.lock().await;
        if let Plug::In { cuts, .. } = &*plug {
            let (done, is_done) = oneshot::channel();
            // Both fail only if the accepting task has panicked, and its connections with it.
            let _ = cuts.send(done).await;
            let _ = is_done.await;
        }
    }

    /// Sets what is wrong with the instrument as a whole.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.lock().whole_faults = faults;
        self.shared.faults_changed.send_replace(());
    }

    /// Sets what is wrong with one unit id.
    pub fn set_unit_faults(&self, unit: u8, faults: Faults) {
        self.shared.lock().unit_faults.insert(unit, faults);
        self.shared.faults_changed.send_replace(());
    }

    /// Lifts every fault of the whole and of the units.
    pub fn clear_faults(&self) {
        let mut state = self.shared.lock();
        state.whole_faults = Faults::default();
        state.unit_faults.clear();
        drop(state);
        self.shared.faults_changed.send_replace(());
    }

    fn bind_error(&self, source: io::Error) -> BindError {
        BindError {
            addr: match &self.seat {
                Seat::Socket(addr, _) => addr.to_string(),
                Seat::Line(path) => path.display().to_string(),
            },
            source,
        }
    }
}

/// The counters.
impl ModbusInstrument {
    /// The counters of the whole.
    #[must_use]
    pub fn totals(&self) -> Totals {
        *self.shared.totals.borrow()
    }

    /// The counters of the whole, to wait on: `watch_totals().wait_for(|totals| totals.requests >= 5)`.
    #[must_use]
    pub fn watch_totals(&self) -> watch::Receiver<Totals> {
        self.shared.totals.subscribe()
    }

    /// The counters of one unit id; zero for one that was never asked.
    #[must_use]
    pub fn unit_counts(&self, unit: u8) -> UnitCounts {
        self.shared
            .lock()
            .counts
            .units
            .get(&unit)
            .cloned()
            .unwrap_or_default()
    }

    /// How often clients read this address with success; 0 where nothing is mapped.
    #[must_use]
    pub fn reads_of(&self, unit: u8, table: Table, address: u16) -> u64 {
        self.reads_and_writes(unit, table, address).0
    }

    /// How many writes to this address were acknowledged (carried out or, by a fault, dropped); 0 where
    /// nothing is mapped. Refused ones are in [`Totals::write_requests`] alone.
    #[must_use]
    pub fn writes_of(&self, unit: u8, table: Table, address: u16) -> u64 {
        self.reads_and_writes(unit, table, address).1
    }

    fn reads_and_writes(&self, unit: u8, table: Table, address: u16) -> (u64, u64) {
        let state = self.shared.lock();
        state
            .units
            .get(&unit)
            .and_then(|unit| unit.reads_and_writes(table, address))
            .unwrap_or_default()
    }

    /// Takes out the requests that arrived since the last time, oldest first; the latest 4096 at most.
    #[must_use]
    pub fn take_journal(&self) -> Vec<RequestRecord> {
        self.shared.lock().counts.take_journal()
    }

    /// Waits until `holds`. It is asked now and after each connection, request and exception.
    pub async fn wait_until(&self, mut holds: impl FnMut(&Self) -> bool) {
        let mut totals = self.shared.totals.subscribe();
        while !holds(self) {
            totals
                .changed()
                .await
                .expect("this instrument holds the sender");
        }
    }

    /// Waits until `count` requests have arrived in all since it was made.
    pub async fn wait_for_requests(&self, count: u64) {
        self.wait_until(|instrument| instrument.totals().requests >= count)
            .await;
    }

    /// Waits until `count` more requests than now have arrived for `unit`.
    pub async fn wait_for_more_requests(&self, unit: u8, count: u64) {
        let wanted = self.unit_counts(unit).requests() + count;
        self.wait_until(|instrument| instrument.unit_counts(unit).requests() >= wanted)
            .await;
    }
}
