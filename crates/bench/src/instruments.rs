//! Modbus TCP instruments that write down when they were asked. As lean as they can be, so that what is measured is the
//! other end: they answer nothing but a read of holding registers.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// The first register.
pub const FIRST: u16 = 0;

/// Registers of a unit.
pub const REGISTERS: u16 = 100;

/// Units, numbered from 1 within their port.
#[derive(Debug)]
pub struct Instruments {
    ports: Vec<Port>,
}

#[derive(Debug)]
struct Port {
    addr: SocketAddr,
    units: Arc<[Log]>,
}

/// What one unit was asked.
#[derive(Debug, Default)]
struct Log {
    asked: Mutex<Vec<Instant>>,
}

impl Instruments {
    /// Starts `ports` with so many units behind each. Of the registers of a unit, the first `moving` have another value in
    /// each answer.
    ///
    /// # Errors
    /// If there is no port left.
    pub async fn start(ports: usize, units: usize, moving: usize) -> Result<Self> {
        let mut all = Vec::with_capacity(ports);
        for _ in 0..ports {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let addr = listener.local_addr()?;
            let units: Arc<[Log]> = (0..units).map(|_| Log::default()).collect();
            tokio::spawn(accept(listener, units.clone(), moving));
            all.push(Port { addr, units });
        }
        Ok(Self { ports: all })
    }

    /// Where each unit is, and its number there.
    pub fn places(&self) -> impl Iterator<Item = (SocketAddr, usize)> {
        let places = |port: &Port| {
            let addr = port.addr;
            (1..=port.units.len()).map(move |unit| (addr, unit))
        };
        self.ports.iter().flat_map(places)
    }

    fn units(&self) -> impl Iterator<Item = &Log> {
        self.ports.iter().flat_map(|port| port.units.iter())
    }

    /// Forgets what they were asked up to now.
    pub fn forget(&self) {
        self.units().for_each(|unit| unit.lock().clear());
    }

    /// How often each was asked since.
    pub fn asked(&self) -> impl Iterator<Item = usize> {
        self.units().map(|unit| unit.lock().len())
    }

    /// By how many ms the times between two requests to the same unit were off `period_ms`.
    pub fn off(&self, period_ms: f64) -> Vec<f64> {
        let off = self.units().flat_map(|unit| {
            let asked = unit.lock();
            let between = asked
                .windows(2)
                .map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3);
            between.map(|ms| ms - period_ms).collect::<Vec<_>>()
        });
        off.collect()
    }
}

impl Log {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, units: Arc<[Log]>, moving: usize) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, units.clone(), moving));
    }
}

/// Answers until the other end leaves or asks for something else.
async fn converse(mut stream: TcpStream, units: Arc<[Log]>, moving: usize) {
    /// Transaction, protocol, length, unit; function, address, count.
    const REQUEST: usize = 12;
    const READ_HOLDING: u8 = 3;
    let _ = stream.set_nodelay(true);
    let mut request = [0; REQUEST];
    let mut answer = Vec::new();
    let mut turn = 0_u16;
    while stream.read_exact(&mut request).await.is_ok() {
        let now = Instant::now();
        let Some(unit) = units.get(usize::from(request[6]).wrapping_sub(1)) else {
            return;
        };
        unit.lock().push(now);
        let count = u16::from_be_bytes([request[10], request[11]]).min(125);
        if request[7] != READ_HOLDING {
            return;
        }
        turn = turn.wrapping_add(1);
        let bytes = (count * 2) as u8;
        answer.clear();
        answer.extend_from_slice(&request[..4]);
        answer.extend_from_slice(&(u16::from(bytes) + 3).to_be_bytes());
        answer.extend_from_slice(&[request[6], READ_HOLDING, bytes]);
        for register in 0..count {
            let value = if usize::from(register) < moving {
                turn
            } else {
                register
            };
            answer.extend_from_slice(&value.to_be_bytes());
        }
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}
