//! 10,000 setpoints on 100 Modbus TCP units of 100 registers, looked at each second: what a pass costs when all is in
//! sync (and that it writes nothing), by the difference to the same agent without setpoints, which polls the same
//! registers each second; and how long it takes until 1,000 that were disturbed at once are put back and read back. The agent on one core, the instruments and the hub on
//! the other.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use holdfast_bench::{
    Effort,
    figures::{Pairs, Table, Target, median},
    instruments::FIRST,
    lone_hub::{self, Wish},
    outputs::{CALM, Outputs},
    plant::{self, unit},
    process::{MEASURED, Memory, OTHER, Process, cpu, memory_mb, stay_on},
};
use serde_json::Value;
use tempfile::TempDir;

const UNITS: usize = 100;
const POINTS: f64 = 10_000.0;
const POLL_MS: u32 = 1_000;
const INTERVAL_MS: u64 = 1_000;

/// Registers of each unit that are disturbed at once.
const DISTURBED: u16 = 10;

fn main() -> Result<()> {
    holdfast_bench::main_on_one_thread(measure)
}

async fn measure(effort: Effort) -> Result<()> {
    stay_on(OTHER)?;
    let outputs = Outputs::start(UNITS).await?;
    let lasting = Duration::from_secs(effort.choose(30, 6));
    let sensors: Vec<Value> = outputs
        .places()
        .enumerate()
        .map(|(number, addr)| unit(number, addr, 1, POLL_MS, |_| true))
        .collect();

    let (polls, reader) = started(&sensors, None, &outputs, lasting).await?;
    drop(reader);
    let wish = Wish {
        value: CALM,
        interval_ms: INTERVAL_MS,
    };
    let (holds, holder) = started(&sensors, Some(wish), &outputs, lasting).await?;
    println!(
        "without setpoints {polls:?}; with them {holds:?}; {:.1} MB",
        memory_mb(holder.process.id(), Memory::Now)
    );
    ensure!(
        holds.writes == 0,
        "{} writes with all in sync",
        holds.writes
    );

    let passes = (holds.reads - polls.reads) as f64 / UNITS as f64;
    let reading = polls.cpu_us / (polls.reads as f64 / UNITS as f64 * POINTS);
    let pass = (holds.cpu_us - polls.cpu_us) / (passes * POINTS);
    let mut table = Table::new("a poll of the same agent");
    table.pair(
        "a pass, with its reading: CPU a point",
        "µs",
        &Pairs::one(pass, reading),
        Target::None,
    );
    table.pair(
        "a pass, beyond its reading: CPU a point",
        "µs",
        &Pairs::one(pass - reading, reading),
        Target::AtMost(1.0),
    );

    let mut took = Vec::new();
    for turn in 0..effort.choose(5, 2) {
        let ms = restore(&outputs, turn).await?;
        println!("1,000 disturbed: put back and read back in {ms:.0} ms");
        took.push(ms);
    }
    let two_passes = 2.0 * INTERVAL_MS as f64;
    table.pair(
        "1,000 disturbed at once: until all are verified",
        "ms",
        &Pairs::one(median(&took), two_passes),
        Target::AtMost(two_passes),
    );
    table.print();
    Ok(())
}

struct Agent {
    process: Process,
    _disk: TempDir,
}

/// An agent in its stride, and what it did.
async fn started(
    sensors: &[Value],
    wish: Option<Wish>,
    outputs: &Outputs,
    lasting: Duration,
) -> Result<(Watched, Agent)> {
    let hub = lone_hub::start(sensors.to_vec(), wish).await?;
    let disk = tempfile::tempdir()?;
    let key = "hfp_lone-hub-takes-any-key-0123456789";
    let process = plant::agent(hub, key, "gateway", disk.path(), Some(MEASURED))?;
    in_stride(outputs).await?;
    let watched = watch(process.id(), outputs, lasting).await?;
    let _disk = disk;
    Ok((watched, Agent { process, _disk }))
}

/// What an agent did.
#[derive(Debug)]
struct Watched {
    cpu_us: f64,
    reads: usize,
    writes: usize,
}

async fn watch(agent: u32, outputs: &Outputs, lasting: Duration) -> Result<Watched> {
    let (before, used) = (outputs.seen(), cpu(agent));
    tokio::time::sleep(lasting).await;
    let (after, used) = (outputs.seen(), cpu(agent).saturating_sub(used));
    Ok(Watched {
        cpu_us: used.as_secs_f64() * 1e6,
        reads: after.reads - before.reads,
        writes: after.writes - before.writes,
    })
}

/// Waits until what is done only once is done: every unit was read some times, and what the first looks found was told, which
/// takes ten seconds.
async fn in_stride(outputs: &Outputs) -> Result<()> {
    const TOLD: Duration = Duration::from_secs(12);
    const READS: usize = 12 * UNITS;
    let before = outputs.seen().reads;
    let until = Instant::now() + Duration::from_secs(60);
    while outputs.seen().reads - before < READS {
        ensure!(
            Instant::now() < until,
            "not every unit was read: {:?}",
            outputs.seen()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(TOLD).await;
    Ok(())
}

/// Disturbs 1,000 registers, and gives the ms until all are put back and were read.
async fn restore(outputs: &Outputs, turn: u16) -> Result<f64> {
    let (before, began) = (outputs.seen(), Instant::now());
    let addresses = || FIRST + turn * DISTURBED..FIRST + (turn + 1) * DISTURBED;
    for unit in 0..UNITS {
        addresses().for_each(|address| outputs.disturb(unit, address, 111));
    }
    let wanted = before.verified + UNITS * usize::from(DISTURBED);
    let until = began + Duration::from_secs(60);
    let is_calm = |unit| addresses().all(|address| outputs.shows(unit, address) == CALM);
    while outputs.seen().verified < wanted {
        ensure!(
            Instant::now() < until,
            "not all were put back: {:?}",
            outputs.seen()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let seen = outputs.seen();
    ensure!((0..UNITS).all(is_calm), "some show another value");
    ensure!(
        seen.writes - before.writes == wanted - before.verified,
        "{seen:?} after {before:?}"
    );
    let last = seen.last.unwrap_or(began);
    // What the agent does later than the instruments see, it does in the next turn's time.
    tokio::time::sleep(Duration::from_millis(3 * INTERVAL_MS)).await;
    Ok(last.duration_since(began).as_secs_f64() * 1e3)
}
