//! A simulated instrument, seen from outside: through tokio-modbus' client where that can say what is
//! needed, and through bare bytes where it can't.

mod counting;
mod faults;
mod functions;
mod line;
mod living;
mod plugging;
mod raw;

use std::net::SocketAddr;

use tokio_modbus::client::{Context, tcp};
use tokio_modbus::slave::Slave;

/// A client of one unit behind `addr`.
async fn client(addr: SocketAddr, unit: u8) -> Context {
    tcp::connect_slave(addr, Slave(unit))
        .await
        .expect("the instrument accepts")
}
