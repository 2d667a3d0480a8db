//! What says nothing new: a report whose content the hub knows, and a poll by an agent that holds the target. Beside each
//! a bare axum handler in a process of its own: one that reads the same body (into plain structures; and, to compare, into
//! the domain's types, which check every field), one that answers 304. In turns, by the same client; the server that is asked on one core, the client on the other.
//!
//! Two figures of each: answers a second, which a slow client would make more alike than they are, and the server's CPU
//! time for an answer.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use holdfast_bench::{
    Effort, bare,
    figures::{Pairs, Table, Target},
    http::Connection,
    load::{Script, Speaker, run},
    process::{MEASURED, OTHER, Process, cpu, self_as, stay_on},
    rig::{Device, Hub, SENSORS, small_sensor},
};

const CONNECTIONS: usize = 32;

fn main() -> Result<()> {
    holdfast_bench::main_on_one_thread(measure)
}

async fn measure(effort: Effort) -> Result<()> {
    stay_on(OTHER)?;
    let hub = Hub::start(Some(MEASURED))?;
    let bare = |part| Process::server(self_as(&[bare::PART, part], Some(MEASURED))?);
    let (plain, checking) = (bare(bare::HTTP)?, bare(bare::HTTP_CHECKING)?);
    let mut operator = Connection::to(hub.addr()).await?;
    let mut devices = Vec::new();
    for number in 0..CONNECTIONS {
        let sensors = (0..SENSORS).map(small_sensor).collect();
        let name = format!("gateway-{number}");
        devices.push(hub.running_device(&mut operator, &name, sensors).await?);
    }
    let reports: Vec<Script> = devices.iter().map(Device::unchanging).collect();
    let polls: Vec<Script> = devices.iter().map(Device::holding).collect();

    let mut table = Table::new("bare axum handler");
    let lasting = Duration::from_secs(effort.choose(5, 1));
    let turns = effort.choose(7, 2);
    let (least, most) = (Target::RatioAtLeast(0.3), Target::RatioAtMost(1.0 / 0.3));
    let (asked, nothing) = ((least, most), (Target::None, Target::None));
    let groups = [
        (
            reports,
            vec![
                ("report, nothing new", &plain, asked),
                ("the same, beside one that checks", &checking, nothing),
            ],
        ),
        (polls, vec![("poll answered 304", &plain, asked)]),
    ];
    for (scripts, rows) in groups {
        let mut ours = Side::new(hub.addr(), hub.server().id(), &scripts).await?;
        for (what, bare, targets) in rows {
            let mut limit = Side::new(bare.1, bare.0.id(), &scripts).await?;
            let (mut rates, mut costs) = (Pairs::default(), Pairs::default());
            for turn in 0..=turns {
                let (a, b) = (ours.run(lasting).await?, limit.run(lasting).await?);
                // The first turn warms both up.
                if turn > 0 {
                    rates.push(a.0, b.0);
                    costs.push(a.1, b.1);
                }
            }
            table.pair(&format!("{what}: answers"), "/s", &rates, targets.0);
            table.pair(&format!("{what}: server's CPU"), "µs", &costs, targets.1);
        }
    }
    table.print();
    Ok(())
}

struct Side {
    speakers: Vec<Speaker>,
    server: u32,
}

impl Side {
    async fn new(addr: SocketAddr, server: u32, scripts: &[Script]) -> Result<Self> {
        let mut speakers = Vec::with_capacity(scripts.len());
        for script in scripts {
            let connection = Connection::to(addr).await?;
            speakers.push(Speaker::new(connection, vec![script.clone()]));
        }
        Ok(Self { speakers, server })
    }

    /// Answers a second, and µs of the server's CPU for each.
    async fn run(&mut self, lasting: Duration) -> Result<(f64, f64)> {
        let before = cpu(self.server);
        let ran = run(&mut self.speakers, lasting).await?;
        let used = (cpu(self.server) - before).as_secs_f64() * 1e6;
        Ok((ran.rate, used / ran.count))
    }
}
