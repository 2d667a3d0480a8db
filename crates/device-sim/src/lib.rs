//! Instruments that speak real field protocols over real sockets, and serial lines without ports.
//!
//! For the demo, for commissioning without a plant, and for tests that ask hard questions: *how many
//! writes reached this register, what happens when the cable is pulled, when an answer comes late, when
//! half of it comes?* An instrument counts everything that arrives, misbehaves on request while it runs,
//! and shows values that move with a clock that the caller owns.
//!
//! What it leaves to others: deciding anything. It knows no hub, no agent and no document, and depends on
//! no other crate of the project, so that it can be a witness against all of them. A simulator of our own
//! is still never the only witness: the adapters are tested against independent servers too.
//!
//! Read next: [`modbus::ModbusInstrument`]; then `modbus/faults.rs` for what can go wrong, and
//! `modbus/server.rs` for how it goes over the wire.
//!
//! ```
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! use holdfast_device_sim::modbus::{Faults, ModbusInstrument, Unit};
//!
//! let instrument = ModbusInstrument::builder()
//!     .unit(1, Unit::new().holding_registers(100, &[215, 220]))
//!     .bind("127.0.0.1:0")
//!     .await?;
//! println!("poll {}", instrument.local_addr());
//! instrument.wait_for_requests(3).await;
//! instrument.set_unit_faults(1, Faults::silent());
//! instrument.unplug().await?;
//! instrument.plug().await?;
//! # Ok(())
//! # }
//! ```

pub mod clock;
pub mod demo;
pub mod modbus;
pub mod signal;

pub use clock::{Clock, ManualClock};
pub use signal::Signal;
