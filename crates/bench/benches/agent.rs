//! The agent as it is shipped, with 100 Modbus TCP units of 100 registers to read each second: CPU time a point, memory,
//! and how punctually it asks, as the instruments see it; also with ten more units that are dead. Beside it a bare
//! tokio-modbus loop, which throws away what it reads. In turns; agent and loop on one core, the instruments and the hub
//! on the other.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use holdfast_bench::{
    Effort, bare,
    figures::{Pairs, Table, Target, deviation, share},
    http::Connection,
    instruments::{FIRST, Instruments, REGISTERS},
    process::{MEASURED, Memory, OTHER, Process, cpu, memory_mb, program, self_as, stay_on},
    rig::Hub,
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const UNITS: usize = 100;
const DEAD: usize = 10;
const PERIOD_MS: f64 = 1_000.0;

fn main() -> Result<()> {
    holdfast_bench::main_on_one_thread(measure)
}

/// What is added to the 100 units.
struct Case {
    what: &'static str,
    /// All behind one port, as a gateway to a serial line has them, and not each behind its own.
    gateway: bool,
    /// Registers of each unit that have another value each time: those values go to the hub.
    moving: usize,
    dead: Vec<SocketAddr>,
}

impl Case {
    async fn instruments(&self) -> Result<Instruments> {
        let (ports, units) = if self.gateway { (1, UNITS) } else { (UNITS, 1) };
        Instruments::start(ports, units, self.moving).await
    }
}

async fn measure(effort: Effort) -> Result<()> {
    stay_on(OTHER)?;
    let (refusing, silent) = (dead(false).await?, dead(true).await?);
    let addresses = |dead: &[Dead]| dead.iter().map(|dead| dead.addr).collect();
    let cases = [
        Case {
            what: "values stand still",
            gateway: false,
            moving: 0,
            dead: Vec::new(),
        },
        Case {
            what: "10 of 100 values move",
            gateway: false,
            moving: 10,
            dead: Vec::new(),
        },
        Case {
            what: "10 more units refuse",
            gateway: false,
            moving: 0,
            dead: addresses(&refusing),
        },
        Case {
            what: "10 more units are black holes",
            gateway: false,
            moving: 0,
            dead: addresses(&silent),
        },
    ];
    let gateway = Case {
        what: "behind one connection",
        gateway: true,
        moving: 0,
        dead: Vec::new(),
    };
    let hub = Hub::start(Some(OTHER))?;
    let mut table = Table::new("bare tokio-modbus loop");
    let lasting = Duration::from_secs(effort.choose(60, 8));
    for case in cases.into_iter().chain([gateway]) {
        let (ours, limit) = both(&hub, &case, lasting).await?;
        let mut row = |what: &str, unit: &str, of: fn(&Watched) -> f64, target| {
            let what = format!("{}: {what}", case.what);
            table.pair(&what, unit, &Pairs::one(of(&ours), of(&limit)), target);
        };
        row("CPU a point", "µs", |seen| seen.cpu_us, Target::AtMost(1.0));
        row("memory", "MB", |seen| seen.memory_mb, Target::AtMost(30.0));
        row(
            "memory, peak",
            "MB",
            |seen| seen.peak_mb,
            Target::AtMost(30.0),
        );
        row(
            "period, standard deviation",
            "ms",
            |seen| seen.deviation_ms,
            Target::AtMost(1.0),
        );
        row(
            "period, 99 % within",
            "ms",
            |seen| seen.p99_off_ms,
            Target::None,
        );
    }
    table.print();
    Ok(())
}

/// The agent, and then the bare loop.
async fn both(hub: &Hub, case: &Case, lasting: Duration) -> Result<(Watched, Watched)> {
    let instruments = case.instruments().await?;
    let agent = agent(hub, &instruments, &case.dead).await?;
    let ours = watch(&agent.process, &instruments, lasting).await?;
    drop(agent);
    let instruments = case.instruments().await?;
    let places: Vec<String> = instruments
        .places()
        .map(|(addr, unit)| format!("{addr}/{unit}"))
        .collect();
    let mut bare = self_as(&[bare::PART, bare::MODBUS], Some(MEASURED))?;
    bare.args(places);
    let limit = watch(&Process::start(bare)?, &instruments, lasting).await?;
    println!("{}: {ours:?}, bare loop {limit:?}", case.what);
    Ok((ours, limit))
}

/// What was seen of a reader of all units.
#[derive(Debug)]
struct Watched {
    cpu_us: f64,
    memory_mb: f64,
    peak_mb: f64,
    deviation_ms: f64,
    p99_off_ms: f64,
}

/// An address where nobody answers.
struct Dead {
    addr: SocketAddr,
    _socket: Socket,
}

/// What keeps it so.
#[allow(dead_code, reason = "held, so that nobody else gets the address")]
enum Socket {
    /// Bound, not listening: connections are refused.
    Refusing(TcpSocket),
    /// Listening, with as many connections as it takes before somebody accepts them: the kernel says nothing to more.
    Silent(TcpListener, Vec<TcpStream>),
}

async fn dead(silent: bool) -> Result<Vec<Dead>> {
    const BACKLOG: u32 = 1;
    const SOON: Duration = Duration::from_millis(50);
    let mut dead = Vec::new();
    for _ in 0..DEAD {
        let socket = TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse()?)?;
        let addr = socket.local_addr()?;
        if !silent {
            let _socket = Socket::Refusing(socket);
            dead.push(Dead { addr, _socket });
            continue;
        }
        let listener = socket.listen(BACKLOG)?;
        let mut waiting = Vec::new();
        while let Ok(stream) = tokio::time::timeout(SOON, TcpStream::connect(addr)).await {
            waiting.push(stream?);
        }
        let _socket = Socket::Silent(listener, waiting);
        dead.push(Dead { addr, _socket });
    }
    Ok(dead)
}

/// Waits until the reader is in its stride, and watches it for so long.
async fn watch(reader: &Process, instruments: &Instruments, lasting: Duration) -> Result<Watched> {
    /// From here on nothing is done any more that is done only once.
    const STRIDE: usize = 4;
    const PATIENCE: Duration = Duration::from_secs(30);
    let in_stride = async {
        while instruments.asked().any(|times| times < STRIDE) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, in_stride).await;
    ensure!(came.is_ok(), "not every unit was asked within {PATIENCE:?}");
    instruments.forget();
    let before = cpu(reader.id());
    tokio::time::sleep(lasting).await;
    let used = cpu(reader.id()) - before;
    let requests: usize = instruments.asked().sum();
    let wanted = UNITS as f64 * lasting.as_secs_f64();
    ensure!(
        (requests as f64 - wanted).abs() <= 0.02 * wanted,
        "expected {wanted} requests, one a unit and second; got {requests}"
    );
    let off = instruments.off(PERIOD_MS);
    let sizes: Vec<f64> = off.iter().map(|ms| ms.abs()).collect();
    Ok(Watched {
        cpu_us: used.as_secs_f64() * 1e6 / (requests as f64 * f64::from(REGISTERS)),
        memory_mb: memory_mb(reader.id(), Memory::Now),
        peak_mb: memory_mb(reader.id(), Memory::Peak),
        deviation_ms: deviation(&off),
        p99_off_ms: share(&sizes, 0.99),
    })
}

struct Agent {
    process: Process,
    _disk: tempfile::TempDir,
}

/// The agent of a new device that has all these units as sensors.
async fn agent(hub: &Hub, instruments: &Instruments, dead: &[SocketAddr]) -> Result<Agent> {
    let mut operator = Connection::to(hub.addr()).await?;
    let disk = tempfile::tempdir()?;
    let name = format!(
        "gateway-{}",
        disk.path().file_name().unwrap_or_default().display()
    );
    let (id, key) = hub.device(&mut operator, &name).await?;
    let places = instruments
        .places()
        .chain(dead.iter().map(|addr| (*addr, 1)));
    let sensors: Vec<Value> = (0..)
        .zip(places)
        .map(|(number, (addr, unit))| sensor(number, addr, unit))
        .collect();
    let target = json!({ "config": { "protocolAdapterDevices": sensors } });
    let path = format!("/api/v1/devices/{id}/target-state");
    operator.json("PUT", &path, &hub.token, &target).await?;
    let mut agent = program("holdfast-agent", Some(MEASURED))?;
    agent
        .env("HOLDFAST_AGENT_HUB", format!("http://{}", hub.addr()))
        .env("HOLDFAST_AGENT_DATA_DIR", disk.path())
        .env("HOLDFAST_AGENT_PROVISIONING_KEY", key)
        .env("HOLDFAST_AGENT_NAME", name);
    Ok(Agent {
        process: Process::start(agent)?,
        _disk: disk,
    })
}

fn sensor(number: usize, addr: SocketAddr, unit: usize) -> Value {
    let point = |address: u16| json!({ "name": format!("r-{address}"), "table": "holding", "address": address, "dataType": "uint16" });
    json!({
        "name": format!("unit-{number}"), "protocol": "modbus", "pollInterval": PERIOD_MS as u32,
        "connection": { "type": "tcp", "host": addr.ip(), "port": addr.port(), "unitId": unit },
        "dataPoints": (FIRST..FIRST + REGISTERS).map(point).collect::<Vec<_>>(),
    })
}
