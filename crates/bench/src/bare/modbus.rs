//! What tokio-modbus does at least: a task a unit, which reads 100 registers each second and throws them away.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    sync::Mutex,
    time::{Instant, MissedTickBehavior},
};
use tokio_modbus::{
    client::{Context, tcp},
    prelude::{Reader as _, SlaveContext as _},
    slave::Slave,
};

use crate::instruments::{FIRST, REGISTERS};

const PERIOD: Duration = Duration::from_secs(1);

/// `HOST:PORT/UNIT` of each unit. Those of one port share a connection.
pub(super) fn read(places: impl Iterator<Item = String>) -> Result<()> {
    let mut ports = BTreeMap::<SocketAddr, Vec<Slave>>::new();
    for place in places {
        let (addr, unit) = place.split_once('/').context("expected HOST:PORT/UNIT")?;
        let units = ports.entry(addr.parse()?).or_default();
        units.push(Slave(unit.parse()?));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        let began = Instant::now();
        for (addr, units) in ports {
            let context = Arc::new(Mutex::new(tcp::connect(addr).await?));
            for slave in units {
                // All at once: spread over the second it would cost ten times as much, a wake-up for each.
                let first = began + PERIOD;
                tasks.spawn(unit(context.clone(), slave, first));
            }
        }
        match tasks.join_next().await {
            Some(ended) => ended?,
            None => Ok(()),
        }
    })
}

async fn unit(context: Arc<Mutex<Context>>, slave: Slave, first: Instant) -> Result<()> {
    let mut ticks = tokio::time::interval_at(first, PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let mut context = context.lock().await;
        context.set_slave(slave);
        let read = context.read_holding_registers(FIRST, REGISTERS);
        let read = tokio::time::timeout(PERIOD, read).await;
        let registers = read.context("no answer within 1 s")???;
        std::hint::black_box(registers);
    }
}
