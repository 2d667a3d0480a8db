//! Every function, against a client that was not written here.

use holdfast_device_sim::modbus::{Function, ModbusInstrument, Table, Unit, UnknownUnit};
use tokio_modbus::ExceptionCode;
use tokio_modbus::client::{Reader, Writer};

use crate::client;
use crate::raw::{READ_ONE, RawClient};

async fn instrument() -> ModbusInstrument {
    let unit = Unit::new()
        .coils(0, &[false; 20])
        .discrete_inputs(100, &[true, false, true])
        .input_registers(0, &[7, 8, 9])
        .holding_registers(0, &[0; 130])
        .holding_registers(65_535, &[0xBEEF]);
    ModbusInstrument::builder()
        .unit(1, unit)
        .bind("127.0.0.1:0")
        .await
        .expect("a free port")
}

#[tokio::test]
async fn all_ten_functions_do_what_the_standard_says() {
    let instrument = instrument().await;
    let mut client = client(instrument.local_addr(), 1).await;

    client.write_single_coil(3, true).await.unwrap().unwrap();
    client
        .write_multiple_coils(
            8,
            &[true, false, true, true, false, false, false, false, true],
        )
        .await
        .unwrap()
        .unwrap();
    let coils = client.read_coils(0, 17).await.unwrap().unwrap();
    let on: Vec<usize> = coils
        .iter()
        .enumerate()
        .filter_map(|(i, on)| on.then_some(i))
        .collect();
    assert_eq!(on, [3, 8, 10, 11, 16]);
    assert_eq!(
        client.read_discrete_inputs(100, 3).await.unwrap().unwrap(),
        [true, false, true]
    );
    assert_eq!(
        client.read_input_registers(1, 2).await.unwrap().unwrap(),
        [8, 9]
    );

    client
        .write_single_register(0, 0x12)
        .await
        .unwrap()
        .unwrap();
    client
        .write_multiple_registers(1, &[1, 2, 3])
        .await
        .unwrap()
        .unwrap();
    // The standard's own example: (0x12 AND 0xF2) OR (0x25 AND NOT 0xF2) = 0x17.
    client
        .masked_write_register(0, 0xF2, 0x25)
        .await
        .unwrap()
        .unwrap();
    // Function 23 writes first, then reads.
    let read = client
        .read_write_multiple_registers(0, 5, 3, &[33, 44])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read, [0x17, 1, 2, 33, 44]);
    assert_eq!(
        client
            .read_holding_registers(65_535, 1)
            .await
            .unwrap()
            .unwrap(),
        [0xBEEF]
    );
    assert_eq!(
        client
            .read_holding_registers(0, 125)
            .await
            .unwrap()
            .unwrap()
            .len(),
        125
    );

    let counts = instrument.unit_counts(1);
    for function in Function::ALL {
        assert!(counts.requests_of(function) > 0, "{function:?} was tried");
    }
    assert_eq!(instrument.totals().exceptions, 0);
}

#[tokio::test]
async fn what_is_not_mapped_is_exception_2_and_nothing_is_half_written() {
    let instrument = instrument().await;
    let mut client = client(instrument.local_addr(), 1).await;

    let refused = client.read_holding_registers(125, 10).await.unwrap();
    assert_eq!(refused, Err(ExceptionCode::IllegalDataAddress));
    let refused = client
        .write_multiple_registers(128, &[5, 5, 5])
        .await
        .unwrap();
    assert_eq!(refused, Err(ExceptionCode::IllegalDataAddress));
    let refused = client
        .read_write_multiple_registers(200, 1, 0, &[5])
        .await
        .unwrap();
    assert_eq!(refused, Err(ExceptionCode::IllegalDataAddress));
    assert_eq!(
        client.read_discrete_inputs(99, 2).await.unwrap(),
        Err(ExceptionCode::IllegalDataAddress)
    );

    assert_eq!(
        instrument.registers(1, Table::Holding, 128, 2),
        Ok(vec![0, 0])
    );
    assert_eq!(instrument.registers(1, Table::Holding, 0, 1), Ok(vec![0]));
    assert_eq!(instrument.reads_of(1, Table::Holding, 125), 0);
    assert_eq!(instrument.writes_of(1, Table::Holding, 128), 0);
    assert_eq!(instrument.totals().exceptions, 4);
    let missing = instrument
        .registers(1, Table::Holding, 129, 2)
        .expect_err("130 is not mapped");
    assert_eq!(missing.address, 130);
}

#[tokio::test]
async fn unknown_functions_and_wrong_quantities_are_exceptions_1_and_3() {
    let instrument = instrument().await;
    let mut raw = RawClient::connect(instrument.local_addr()).await.unwrap();
    for (pdu, answer) in [
        (&[0x2B, 0x0E, 1, 0][..], [0xAB, 1]),
        (&[3, 0, 0, 0, 126], [0x83, 3]),
        (&[3, 0, 0], [0x83, 3]),
        (&[16, 0, 0, 0, 2, 4, 0, 1], [0x90, 3]),
    ] {
        raw.send(9, 1, pdu).await;
        assert_eq!(raw.receive().await.unwrap().pdu, answer, "{pdu:02X?}");
    }
}

#[tokio::test]
async fn units_behind_one_listener_are_apart() {
    let unit = |value| Unit::new().holding_registers(0, &[value]);
    let instrument = ModbusInstrument::builder()
        .unit(1, unit(11))
        .unit(255, unit(22))
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut first = client(instrument.local_addr(), 1).await;
    let mut last = client(instrument.local_addr(), 255).await;
    let mut nobody = client(instrument.local_addr(), 7).await;
    first.write_single_register(0, 12).await.unwrap().unwrap();
    assert_eq!(
        last.read_holding_registers(0, 1).await.unwrap().unwrap(),
        [22]
    );
    assert_eq!(
        nobody.read_holding_registers(0, 1).await.unwrap(),
        Err(ExceptionCode::GatewayTargetDevice)
    );
    instrument.put_unit(7, unit(77));
    assert_eq!(
        nobody.read_holding_registers(0, 1).await.unwrap().unwrap(),
        [77]
    );
    assert!(instrument.remove_unit(7));
    assert_eq!(
        nobody.read_holding_registers(0, 1).await.unwrap(),
        Err(ExceptionCode::GatewayTargetDevice)
    );
    assert_eq!(instrument.unit_counts(7).requests(), 3);
}

#[tokio::test]
async fn an_unknown_unit_can_be_silent_too() {
    let instrument = ModbusInstrument::builder()
        .unit(2, Unit::new().holding_registers(0, &[5]))
        .unknown_unit(UnknownUnit::Silent)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut raw = RawClient::connect(instrument.local_addr()).await.unwrap();
    raw.send(1, 1, &READ_ONE).await;
    raw.send(2, 2, &READ_ONE).await;
    let answer = raw.receive().await.unwrap();
    assert_eq!(
        (answer.transaction_id, answer.unit),
        (2, 2),
        "the first request got no answer"
    );
}
