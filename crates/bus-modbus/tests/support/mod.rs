//! An adapter with short waits, and what starts sensors on it.

pub(crate) mod fakes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_bus_modbus::{ModbusBus, Settings};
use holdfast_domain::backoff::Backoff;
use holdfast_ports::bus::{FieldBus, RunningSensor, StartError, StartRequest};

use fakes::{Document, NoJitter, SystemClock, Witness};

/// Nothing in a test takes longer, unless it hangs.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Waits of some 10 ms, so that tests need not wait.
pub(crate) fn quick() -> Settings {
    let short = Backoff {
        base_ms: 10,
        limit_ms: 40,
    };
    Settings {
        connect_deadline: Duration::from_secs(2),
        reconnect: short,
        dead_unit: short,
        refused: short,
        patience: Duration::from_millis(50),
        ..Settings::default()
    }
}

pub(crate) fn bus(settings: Settings) -> ModbusBus {
    ModbusBus::new(Arc::new(SystemClock), Arc::new(NoJitter), settings)
}

pub(crate) fn request(
    document: &Document,
    witness: &Arc<Witness>,
    was_established: bool,
) -> StartRequest {
    StartRequest {
        sensor: document.sensor(),
        was_established,
        readings: Arc::<Witness>::clone(witness),
        health: Arc::<Witness>::clone(witness),
    }
}

/// Starts a sensor that was never established.
pub(crate) async fn start(
    bus: &ModbusBus,
    document: &Document,
    witness: &Arc<Witness>,
) -> Result<Box<dyn RunningSensor>, StartError> {
    bus.start(request(document, witness, false)).await
}

/// Starts a sensor that was established in an earlier life.
pub(crate) async fn resume(
    bus: &ModbusBus,
    document: &Document,
    witness: &Arc<Witness>,
) -> Box<dyn RunningSensor> {
    bus.start(request(document, witness, true))
        .await
        .expect("what was established starts")
}

/// A document for a sensor at `addr`.
pub(crate) fn at(number: u64, addr: SocketAddr) -> Document {
    Document::new(number, addr.port())
}
