//! Instruments that agents read. At its end each checks that nobody wrote to it but where a test sets values: reading never
//! writes, and without a setpoint nothing is written, whatever happens.

use std::ops::Deref;

use holdfast_device_sim::modbus::{ModbusInstrument, Table, Unit, UnknownUnit};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::wait::in_time;

/// The name of a line's port.
const PORT: &str = "ttyUSB0";

/// The register of the point "target".
const TARGET: u16 = 101;

/// A Modbus instrument with one unit, id 1.
pub(crate) struct Instrument {
    modbus: ModbusInstrument,
    /// It is on a serial line; where that has its path.
    line: Option<TempDir>,
    /// Values are set on it.
    is_set: bool,
}

impl Instrument {
    /// One that is plugged in.
    pub(crate) async fn start() -> Self {
        let builder = ModbusInstrument::builder().unit(1, unit());
        Self::of(builder.bind("127.0.0.1:0").await.expect("a free port"))
    }

    /// One whose port refuses connections until it is plugged in.
    pub(crate) async fn unplugged() -> Self {
        let builder = ModbusInstrument::builder().unit(1, unit());
        let unplugged = builder.bind_unplugged("127.0.0.1:0").await;
        Self::of(unplugged.expect("a free port"))
    }

    /// One on a serial line.
    pub(crate) async fn on_line() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the line");
        let builder = ModbusInstrument::builder().unit(1, unit());
        let builder = builder.unknown_unit(UnknownUnit::Silent);
        let laid = builder.on_line(folder.path().join(PORT)).await;
        let mut this = Self::of(laid.expect("a pseudo-terminal"));
        this.line = Some(folder);
        this
    }

    /// One with several units behind one connection.
    pub(crate) async fn with_units(units: &[u8]) -> Self {
        let builder = units
            .iter()
            .fold(ModbusInstrument::builder(), |builder, id| {
                builder.unit(*id, unit())
            });
        Self::of(builder.bind("127.0.0.1:0").await.expect("a free port"))
    }

    const fn of(modbus: ModbusInstrument) -> Self {
        Self {
            modbus,
            line: None,
            is_set: false,
        }
    }

    /// The same, and values are set on it.
    pub(crate) const fn that_is_set(self) -> Self {
        // A value with a destructor can't be taken apart.
        let mut this = self;
        this.is_set = true;
        this
    }

    /// What its register for the set temperature holds.
    pub(crate) fn target(&self) -> u16 {
        self.modbus
            .registers(1, Table::Holding, TARGET, 1)
            .expect("the register is there")[0]
    }

    /// Somebody turns the knob.
    pub(crate) fn turn(&self, register: u16) {
        self.modbus
            .set_registers(1, Table::Holding, TARGET, &[register])
            .expect("the register is there");
    }

    /// How often its register for the set temperature was written to over the wire.
    pub(crate) fn writes(&self) -> u64 {
        self.modbus.writes_of(1, Table::Holding, TARGET)
    }

    /// A sensor that is this instrument's unit 1, as an operator declares it. One of its points could be written.
    pub(crate) fn sensor(&self, name: &str) -> Value {
        self.sensor_of_unit(name, 1)
    }

    /// A sensor that is one of this instrument's units.
    pub(crate) fn sensor_of_unit(&self, name: &str, unit: u8) -> Value {
        json!({
            "name": name,
            "protocol": "modbus",
            "pollInterval": 100,
            "connection": self.connection(unit),
            "dataPoints": [
                { "name": "temperature", "table": "holding", "address": 100, "dataType": "int16", "scale": 0.1, "unit": "°C" },
                { "name": "target", "table": "holding", "address": 101, "dataType": "int16", "scale": 0.1, "unit": "°C",
                  "writable": true, "limits": { "min": 20, "max": 90 } },
            ],
        })
    }

    fn connection(&self, unit: u8) -> Value {
        match &self.line {
            None => json!({
                "type": "tcp", "host": "127.0.0.1", "port": self.local_addr().port(), "unitId": unit, "timeoutMs": 1000,
            }),
            Some(folder) => json!({
                "type": "rtu", "serialPort": folder.path().join(PORT), "baudRate": 115_200, "parity": "none",
                "unitId": unit, "timeoutMs": 200,
            }),
        }
    }

    /// Connections that were made to it.
    pub(crate) fn connections(&self) -> u64 {
        self.totals().connections_accepted
    }

    /// Waits until it was read `times` more.
    pub(crate) async fn is_read(&self, times: u64) {
        let wanted = self.totals().requests + times;
        in_time("the instrument is read", self.wait_for_requests(wanted)).await;
    }
}

/// Registers 100 to 109 with their own address as value.
fn unit() -> Unit {
    Unit::new().holding_registers(100, &[100, 101, 102, 103, 104, 105, 106, 107, 108, 109])
}

/// A sensor that no instrument is needed for: an address that tests of the hub alone put into documents.
pub(crate) fn made_up_sensor(name: &str) -> Value {
    json!({
        "name": name,
        "protocol": "modbus",
        "connection": { "type": "tcp", "host": "192.0.2.1", "unitId": 1 },
        "dataPoints": [{ "name": "temperature", "table": "input", "address": 0, "dataType": "float32", "unit": "°C" }],
    })
}

impl Deref for Instrument {
    type Target = ModbusInstrument;

    fn deref(&self) -> &ModbusInstrument {
        &self.modbus
    }
}

impl Drop for Instrument {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.is_set {
            let totals = self.totals();
            assert_eq!(
                totals.write_requests, 0,
                "somebody wrote to an instrument that was only to be read"
            );
        }
    }
}
