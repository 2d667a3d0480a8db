//! Modbus TCP instruments whose 100 holding registers can be read and written, and disturbed from here. As lean as
//! [`instruments`](crate::instruments), so that what is measured is the other end; they count what is asked of them, and
//! know when the last register that was disturbed was put back and read.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use crate::instruments::{FIRST, REGISTERS};

/// What a register shows that nobody disturbed.
pub const CALM: u16 = 500;

/// Units, each behind a port of its own.
#[derive(Debug)]
pub struct Outputs {
    units: Vec<Unit>,
}

#[derive(Debug)]
struct Unit {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Rings when a value that was written was read.
    verified: Notify,
}

#[derive(Debug)]
struct State {
    registers: [u16; REGISTERS as usize],
    /// Written since they were read last.
    written: BTreeSet<u16>,
    seen: Seen,
}

/// What was asked of one unit, or of all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// Requests that read.
    pub reads: usize,
    /// Requests that wrote.
    pub writes: usize,
    /// Registers that were read after they had been written.
    pub verified: usize,
    /// When the last of those was.
    pub last: Option<Instant>,
}

impl Outputs {
    /// Starts so many. All registers are [`CALM`].
    ///
    /// # Errors
    /// If there is no port left.
    pub async fn start(count: usize) -> Result<Self> {
        let mut units = Vec::with_capacity(count);
        for _ in 0..count {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let addr = listener.local_addr()?;
            let shared = Arc::new(Shared {
                state: Mutex::new(State {
                    registers: [CALM; REGISTERS as usize],
                    written: BTreeSet::new(),
                    seen: Seen::default(),
                }),
                verified: Notify::new(),
            });
            tokio::spawn(accept(listener, shared.clone()));
            units.push(Unit { addr, shared });
        }
        Ok(Self { units })
    }

    /// Where each is; the unit's number is 1.
    pub fn places(&self) -> impl Iterator<Item = SocketAddr> {
        self.units.iter().map(|unit| unit.addr)
    }

    /// Turns the knob of a register on site.
    pub fn disturb(&self, unit: usize, address: u16, value: u16) {
        self.units[unit].shared.lock().registers[usize::from(address - FIRST)] = value;
    }

    /// What a register shows.
    pub fn shows(&self, unit: usize, address: u16) -> u16 {
        self.units[unit].shared.lock().registers[usize::from(address - FIRST)]
    }

    /// What was asked of all of them so far.
    pub fn seen(&self) -> Seen {
        let all = self.units.iter().map(|unit| unit.shared.lock().seen);
        all.fold(Seen::default(), |sum, one| Seen {
            reads: sum.reads + one.reads,
            writes: sum.writes + one.writes,
            verified: sum.verified + one.verified,
            last: sum.last.max(one.last),
        })
    }

    /// Waits until a value that was written to this unit is read.
    pub async fn verified(&self, unit: usize) {
        self.units[unit].shared.verified.notified().await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, shared.clone()));
    }
}

/// Answers until the other end leaves or asks for something else.
async fn converse(mut stream: TcpStream, shared: Arc<Shared>) {
    /// Transaction, protocol, length, unit; function, address, count or value.
    const REQUEST: usize = 12;
    let _ = stream.set_nodelay(true);
    let mut request = [0; REQUEST];
    let mut answer = Vec::new();
    while stream.read_exact(&mut request).await.is_ok() {
        let was_verified = shared.lock().answer(&request, &mut answer);
        if answer.is_empty() || stream.write_all(&answer).await.is_err() {
            return;
        }
        if was_verified {
            shared.verified.notify_one();
        }
    }
}

impl State {
    /// Answers a request for registers that there are; nothing to any other. Was something read that had been written?
    fn answer(&mut self, request: &[u8; 12], answer: &mut Vec<u8>) -> bool {
        const READ: u8 = 3;
        const WRITE_ONE: u8 = 6;
        answer.clear();
        let word = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
        let (first, second) = (word(8), word(10));
        let place = usize::from(first.wrapping_sub(FIRST));
        match request[7] {
            READ if second <= 125 && place + usize::from(second) <= self.registers.len() => {
                let bytes = (second * 2) as u8;
                answer.extend_from_slice(&request[..4]);
                answer.extend_from_slice(&(u16::from(bytes) + 3).to_be_bytes());
                answer.extend_from_slice(&[request[6], READ, bytes]);
                for value in &self.registers[place..place + usize::from(second)] {
                    answer.extend_from_slice(&value.to_be_bytes());
                }
                self.seen.reads += 1;
                let before = self.written.len();
                if before > 0 {
                    self.written
                        .retain(|at| !(first..first + second).contains(at));
                }
                let verified = before - self.written.len();
                self.seen.verified += verified;
                if verified > 0 {
                    self.seen.last = Some(Instant::now());
                }
                verified > 0
            }
            WRITE_ONE if place < self.registers.len() => {
                answer.extend_from_slice(request);
                self.registers[place] = second;
                self.written.insert(first);
                self.seen.writes += 1;
                false
            }
            _ => false,
        }
    }
}
