//! Values that move with a clock that the test owns.

use std::time::Duration;

use holdfast_device_sim::modbus::{DataType, Encoding, ModbusInstrument, Order, Table, Unit};
use holdfast_device_sim::{ManualClock, Signal, demo};
use tokio_modbus::client::{Reader, Writer};

use crate::client;

const FLOAT: Encoding = Encoding::new(DataType::Float32).word_order(Order::Little);

#[tokio::test]
async fn signals_follow_the_clock_and_nothing_else() {
    let time = ManualClock::new();
    let ramp = Signal::Ramp {
        from: 0.0,
        to: 100.0,
        period: Duration::from_secs(100),
    };
    let unit = Unit::new()
        .holding_registers(0, &[0; 10])
        .signal(Table::Holding, 4, FLOAT, ramp)
        .bit_signal(
            Table::Discrete,
            3,
            Signal::Ramp {
                from: 0.0,
                to: 1.0,
                period: Duration::from_secs(100),
            },
        );
    let instrument = ModbusInstrument::builder()
        .unit(1, unit)
        .clock(time.clock())
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut client = client(instrument.local_addr(), 1).await;
    for (advance, value, on) in [
        (0, 0.0, false),
        (25, 25.0, false),
        (50, 75.0, true),
        (35, 10.0, false),
    ] {
        time.advance(Duration::from_secs(advance));
        let registers = client.read_holding_registers(0, 10).await.unwrap().unwrap();
        assert!(
            (FLOAT.decode(&registers[4..6]) - value).abs() < 1e-5,
            "{registers:?}"
        );
        assert_eq!(
            client.read_discrete_inputs(3, 1).await.unwrap().unwrap(),
            [on]
        );
        assert_eq!(instrument.bit(1, Table::Discrete, 3), Ok(on));
        // Its second half alone is of the same time.
        let half = client.read_holding_registers(5, 1).await.unwrap().unwrap();
        assert_eq!(half, registers[5..6]);
    }
    client
        .write_multiple_registers(4, &[1, 1])
        .await
        .unwrap()
        .unwrap();
    let read = client.read_holding_registers(4, 2).await.unwrap().unwrap();
    assert!(
        (FLOAT.decode(&read) - 10.0).abs() < 1e-5,
        "a write to a moving value does not last"
    );
    instrument
        .set_value(1, Table::Holding, 4, &FLOAT, 55.5)
        .unwrap();
    instrument.set_bit(1, Table::Discrete, 3, true).unwrap();
    time.advance(Duration::from_secs(10));
    assert_eq!(
        instrument.value(1, Table::Holding, 4, &FLOAT),
        Ok(55.5),
        "set from the inside, it stands still"
    );
    assert_eq!(
        client.read_discrete_inputs(3, 1).await.unwrap().unwrap(),
        [true]
    );
}

#[tokio::test]
async fn a_value_that_loses_a_register_to_another_stands_still() {
    let time = ManualClock::new();
    let counter = Signal::Counter {
        start: 0.0,
        per_second: 1.0,
        wraps_at: 0.0,
    };
    let wide = Encoding::new(DataType::Uint32);
    let unit = Unit::new()
        .signal(Table::Input, 4, wide, counter)
        .signal(Table::Input, 5, wide, counter)
        .bit_signal(Table::Coil, 0, counter)
        .coils(0, &[false]);
    let instrument = ModbusInstrument::builder()
        .unit(1, unit)
        .clock(time.clock())
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    time.advance(Duration::from_secs(3));
    assert_eq!(
        instrument.registers(1, Table::Input, 4, 3),
        Ok(vec![0, 0, 3])
    );
    assert_eq!(instrument.bit(1, Table::Coil, 0), Ok(false));
}

#[tokio::test]
async fn a_hundred_boilers_answer_with_sensible_temperatures() {
    let builder = (1..=100).fold(ModbusInstrument::builder(), |builder, id| {
        builder.unit(id, demo::boiler(id.into()))
    });
    let instrument = builder.bind("127.0.0.1:0").await.unwrap();
    for id in [1, 50, 100] {
        let mut client = client(instrument.local_addr(), id).await;
        let registers = client.read_input_registers(0, 8).await.unwrap().unwrap();
        let flow = Encoding::new(DataType::Float32).decode(&registers[0..2]);
        assert!(
            (60.0..=84.0).contains(&flow),
            "flow of boiler {id}: {flow} °C"
        );
        let target = client
            .read_holding_registers(200, 2)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(target, [650, 40]);
    }
}
