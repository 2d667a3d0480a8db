//! What tokio-modbus does at least for a disturbed output: it reads it, writes it, and reads it back.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use tokio_modbus::{
    client::tcp,
    prelude::{Reader as _, Writer as _},
};

use super::output::DISTURBED;

const WANTED: u16 = 725;

pub(super) fn run(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let addr: SocketAddr = arguments.next().unwrap_or_default().parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut context = tcp::connect(addr).await?;
        loop {
            let found = context.read_holding_registers(0, 1).await??;
            ensure!(found == [DISTURBED], "found {found:?}");
            context.write_single_register(0, WANTED).await??;
            let back = context.read_holding_registers(0, 1).await??;
            ensure!(back == [WANTED], "read back {back:?}");
        }
    })
}
