//! Reports that change something: 32 connections, devices with ten sensors of which one fails or recovers with each
//! report, durable before the answer. Beside it pgbench with 32 clients, each writing one row with a document of 2 kB a
//! transaction. In turns, all over both cores.

use std::time::Duration;

use anyhow::Result;
use holdfast_bench::{
    Effort,
    figures::{Pairs, Table, Target},
    http::Connection,
    load::{Speaker, run},
    postgres::{Upserts, fdatasyncs, server_cpu},
    process::cpu,
    rig::{Hub, SENSORS, small_sensor},
};

const CONNECTIONS: usize = 32;

/// What is asked of the ratio.
const WANTED: Target = Target::RatioAtLeast(0.3);

fn main() -> Result<()> {
    holdfast_bench::main_on_one_thread(measure)
}

async fn measure(effort: Effort) -> Result<()> {
    let hub = Hub::start(None)?;
    println!(
        "pg_test_fsync: fdatasync {:.0}/s",
        fdatasyncs(&hub.cluster)?
    );
    let mut table = Table::new("pgbench");
    for devices in [CONNECTIONS, 10 * CONNECTIONS] {
        let upserts = Upserts::prepare(&hub.cluster, CONNECTIONS, devices)?;
        let mut speakers = speakers(&hub, devices).await?;
        let mut pairs = Pairs::default();
        // What is cold is not what is measured; and a connection that says nothing for long is closed.
        run(&mut speakers, Duration::from_secs(1)).await?;
        let lasting = Duration::from_secs(effort.choose(10, 2));
        for turn in 0..effort.choose(5, 2) {
            let limit = upserts.run(lasting)?;
            let (api, server) = (cpu(hub.server().id()), server_cpu(&hub.cluster)?);
            let ran = run(&mut speakers, lasting).await?;
            let api = (cpu(hub.server().id()) - api).as_secs_f64() * 1e6 / ran.count;
            let server = server_cpu(&hub.cluster)?.saturating_sub(server);
            let server = server.as_secs_f64() * 1e6 / ran.count;
            pairs.push(ran.rate, limit);
            println!(
                "{devices} devices, turn {}: {:.0}/s (p50 {:.1} ms, p99 {:.1} ms; CPU a report: api {api:.0} µs, \
                 PostgreSQL {server:.0} µs), pgbench {limit:.0}/s",
                turn + 1,
                ran.rate,
                ran.p50_us / 1e3,
                ran.p99_us / 1e3,
            );
        }
        table.pair(&format!("reports, {devices} devices"), "/s", &pairs, WANTED);
    }
    table.print();
    Ok(())
}

async fn speakers(hub: &Hub, devices: usize) -> Result<Vec<Speaker>> {
    let mut operator = Connection::to(hub.addr()).await?;
    let mut scripts = Vec::with_capacity(devices);
    for number in 0..devices {
        let sensors = (0..SENSORS).map(small_sensor).collect();
        let name = format!("gateway-{devices}-{number}");
        let device = hub.running_device(&mut operator, &name, sensors).await?;
        scripts.push(device.changing());
    }
    let mut speakers = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mine = scripts.split_off(scripts.len() - devices / CONNECTIONS);
        speakers.push(Speaker::new(Connection::to(hub.addr()).await?, mine));
    }
    Ok(speakers)
}
