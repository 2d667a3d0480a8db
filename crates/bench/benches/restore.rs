//! One setpoint that is disturbed on Modbus TCP again and again: read, written, read back, its writes counted on the disk, and
//! what became of it reported. The disturber is the output itself, which takes another value as soon as what was
//! written was read; so the loop is closed and goes as fast as it can. Beside it a bare tokio-modbus loop that reads, writes
//! and reads. In turns, both ends on one core, each in a process of its own.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use holdfast_bench::{
    Effort, bare,
    figures::{Pairs, Table, Target},
    process::{MEASURED, OTHER, Process, cpu, self_as, stay_on},
    restoring,
};

fn main() -> Result<()> {
    holdfast_bench::main(measure)
}

fn measure(effort: Effort) -> Result<()> {
    stay_on(OTHER)?;
    let mut rate = Pairs::default();
    let mut cost = Pairs::default();
    let lasting = Duration::from_secs(effort.choose(5, 2));
    for turn in 0..effort.choose(9, 3) {
        let ours = run(&[restoring::PART], lasting)?;
        let limit = run(&[bare::PART, bare::RESTORE], lasting)?;
        println!("turn {}: {ours:?}, bare loop {limit:?}", turn + 1);
        rate.push(ours.rate, limit.rate);
        cost.push(ours.cpu_us, limit.cpu_us);
    }
    let mut table = Table::new("bare tokio-modbus loop");
    table.pair("restored", "/s", &rate, Target::RatioAtLeast(0.6));
    table.pair("CPU time for one", "µs", &cost, Target::None);
    table.print();
    Ok(())
}

#[derive(Debug)]
struct Ran {
    rate: f64,
    /// Of the loop alone.
    cpu_us: f64,
}

fn run(part: &[&str], lasting: Duration) -> Result<Ran> {
    let output = self_as(&[bare::PART, bare::OUTPUT], Some(MEASURED))?;
    let (_output, addr) = Process::server(output)?;
    let mut counting = TcpStream::connect(addr)?;
    let looping = self_as(&[part, &[&addr.to_string()]].concat(), Some(MEASURED))?;
    let mut looping = Process::start(looping)?;
    let patience = Instant::now() + Duration::from_secs(20);
    // Until it is in its stride.
    while restored(&mut counting)? < 1_000 {
        ensure!(
            Instant::now() < patience,
            "the loop at {addr} does not put it back: {}",
            looping.said()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let (count, used, began) = (restored(&mut counting)?, cpu(looping.id()), Instant::now());
    std::thread::sleep(lasting);
    let (count, used, took) = (
        (restored(&mut counting)? - count) as f64,
        cpu(looping.id()).saturating_sub(used),
        began.elapsed(),
    );
    Ok(Ran {
        rate: count / took.as_secs_f64(),
        cpu_us: used.as_secs_f64() * 1e6 / count,
    })
}

fn restored(counting: &mut TcpStream) -> Result<u64> {
    let mut request = [0; 12];
    request[7] = bare::COUNT;
    counting.write_all(&request)?;
    let mut count = [0; 8];
    counting.read_exact(&mut count)?;
    Ok(u64::from_be_bytes(count))
}
