//! Instruments as a small heating plant has them, with values that live. For the demo and for commissioning.

use std::time::Duration;

use crate::modbus::{DataType, Encoding, Order, Table, Unit};
use crate::signal::Signal;

/// A boiler: temperatures that wander, a pressure that breathes, counters that count, setpoints to write.
///
/// | table | address | value |
/// |---|---|---|
/// | input | 0 | flow temperature, float32, °C |
/// | input | 2 | return temperature, float32, words little-endian, °C |
/// | input | 4 | pressure, uint16, 0.01 bar |
/// | input | 5 | burner hours, uint32, h |
/// | input | 7 | outside temperature, int16, 0.1 °C |
/// | holding | 100 | room temperature, float32, °C |
/// | holding | 200 | target temperature, int16, 0.1 °C (writable) |
/// | holding | 201 | pump speed, uint16, % (writable) |
/// | holding | 300 to 399 | spare registers, zero (writable) |
/// | coil | 0 | burner enabled (writable) |
/// | discrete | 0 | flame: a minute on, a minute off |
/// | discrete | 1 | fault: off |
///
/// Boilers of different seeds show different values.
#[must_use]
pub fn boiler(seed: u64) -> Unit {
    let float = Encoding::new(DataType::Float32);
    let tenths = Encoding::new(DataType::Int16).scaled(0.1, 0.0);
    let wander = |salt: u64, mean: f64, amplitude: f64, step_s: u64| Signal::RandomWalk {
        seed: seed.wrapping_mul(31).wrapping_add(salt),
        mean,
        amplitude,
        step: Duration::from_secs(step_s),
    };
    let shift = Duration::from_secs(seed % 60 * 7);
    Unit::new()
        .signal(Table::Input, 0, float, wander(1, 72.0, 12.0, 4))
        .signal(
            Table::Input,
            2,
            float.word_order(Order::Little),
            wander(2, 55.0, 8.0, 6),
        )
        .signal(
            Table::Input,
            4,
            Encoding::new(DataType::Uint16).scaled(0.01, 0.0),
            Signal::Sine {
                mean: 1.6,
                amplitude: 0.15,
                period: Duration::from_secs(60),
                shift,
            },
        )
        .signal(
            Table::Input,
            5,
            Encoding::new(DataType::Uint32),
            Signal::Counter {
                start: 1200.0,
                per_second: 1.0 / 3600.0,
                wraps_at: 0.0,
            },
        )
        .signal(Table::Input, 7, tenths, wander(3, 4.0, 9.0, 60))
        .signal(Table::Holding, 100, float, wander(4, 20.5, 1.5, 10))
        .value(Table::Holding, 200, tenths, 65.0)
        .holding_registers(201, &[40])
        .holding_registers(300, &[0; 100])
        .coils(0, &[true])
        .bit_signal(
            Table::Discrete,
            0,
            Signal::Sine {
                mean: 0.5,
                amplitude: 1.0,
                period: Duration::from_secs(120),
                shift,
            },
        )
        .discrete_inputs(1, &[false])
}
