//! Each fault, as it looks on the wire.

use std::time::Duration;

use holdfast_device_sim::modbus::{
    Access, Answering, Exception, Faults, Function, ModbusInstrument, Refusal, Table, Unit,
    WriteRule,
};
use tokio_modbus::ExceptionCode;
use tokio_modbus::client::{Reader, Writer};

use crate::client;
use crate::raw::{READ_ONE, RawClient, frame};

/// Units 1 and 2 with 100 holding registers each, the first of them 0x1234.
async fn instrument() -> ModbusInstrument {
    let mut values = [0; 100];
    values[0] = 0x1234;
    let unit = Unit::new()
        .holding_registers(0, &values)
        .coils(0, &[false; 10]);
    ModbusInstrument::builder()
        .unit(1, unit.clone())
        .unit(2, unit)
        .bind("127.0.0.1:0")
        .await
        .expect("a free port")
}

#[tokio::test]
async fn a_silent_unit_leaves_its_neighbours_alone_and_carries_nothing_out() {
    let instrument = instrument().await;
    instrument.set_unit_faults(1, Faults::silent());
    let mut raw = RawClient::connect(instrument.local_addr()).await.unwrap();
    raw.send(1, 1, &[6, 0, 0, 0, 9]).await;
    raw.send(2, 2, &READ_ONE).await;
    assert_eq!(raw.receive().await.unwrap().transaction_id, 2);
    assert_eq!(
        instrument
            .unit_counts(1)
            .requests_of(Function::WriteSingleRegister),
        1
    );
    assert_eq!(
        instrument.registers(1, Table::Holding, 0, 1),
        Ok(vec![0x1234])
    );

    instrument.clear_faults();
    raw.send(3, 1, &READ_ONE).await;
    assert_eq!(raw.receive().await.unwrap().pdu, [3, 2, 0x12, 0x34]);
}

#[tokio::test]
async fn a_lost_answer_was_carried_out() {
    let instrument = instrument().await;
    instrument.set_faults(Faults::answering(Answering::Lost));
    let mut raw = RawClient::connect(instrument.local_addr()).await.unwrap();
    raw.send(1, 1, &[6, 0, 0, 0, 9]).await;
    instrument.wait_for_requests(1).await;
    assert_eq!(instrument.registers(1, Table::Holding, 0, 1), Ok(vec![9]));
    instrument.clear_faults();
    raw.send(2, 1, &READ_ONE).await;
    assert_eq!(raw.receive().await.unwrap().transaction_id, 2);
}

#[tokio::test]
async fn a_withheld_answer_comes_late_on_the_same_connection() {
    let instrument = instrument().await;
    instrument.set_unit_faults(1, Faults::answering(Answering::Withheld));
    let mut raw = RawClient::connect(instrument.local_addr()).await.unwrap();
    raw.send(1, 1, &READ_ONE).await;
    raw.send(2, 2, &READ_ONE).await;
    assert_eq!(
        raw.receive().await.unwrap().transaction_id,
        2,
        "unit 2 does not wait for unit 1"
    );
    instrument.set_unit_faults(2, Faults::silent());
    raw.send(3, 1, &READ_ONE).await;
    instrument.wait_for_requests(3).await;
    instrument.clear_faults();
    assert_eq!(raw.receive().await.unwrap().transaction_id, 1);
    assert_eq!(raw.receive().await.unwrap().transaction_id, 3);
}

#[tokio::test]
async fn a_client_that_gave_up_gets_the_answer_to_the_request_before() {
    let instrument = instrument().await;
    instrument.set_faults(Faults::answering(Answering::Withheld));
    let mut client = client(instrument.local_addr(), 1).await;
    tokio::select! {
        _ = client.read_holding_registers(0, 1) => panic!("it is withheld"),
        () = instrument.wait_for_requests(1) => {}
    }
    instrument.clear_faults();
    let next = client.read_holding_registers(5, 1).await;
    assert!(
        matches!(next, Err(tokio_modbus::Error::Protocol(_))),
        "{next:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_unit_takes_its_time_and_the_connection_waits() {
    let instrument = instrument().await;
    instrument.set_unit_faults(1, Faults::slow(Duration::from_secs(30)));
    let start = tokio::time::Instant::now();
    let mut raw = RawClient::connect(instrument.local_addr()).await.unwrap();
    raw.send(1, 1, &READ_ONE).await;
    raw.send(2, 2, &READ_ONE).await;
    assert_eq!(raw.receive().await.unwrap().transaction_id, 1);
    assert!(start.elapsed() >= Duration::from_secs(30));
    assert_eq!(raw.receive().await.unwrap().transaction_id, 2);
}

#[tokio::test]
async fn half_frames_end_in_silence_or_with_the_connection() {
    let instrument = instrument().await;
    let whole = frame(1, 1, &[3, 2, 0x12, 0x34]);
    instrument.set_faults(Faults::answering(Answering::HalfFrameThenClose));
    let mut raw = RawClient::connect(instrument.local_addr()).await.unwrap();
    raw.send(1, 1, &READ_ONE).await;
    assert_eq!(raw.receive_to_end().await, whole[..whole.len() / 2]);

    instrument.set_faults(Faults::answering(Answering::HalfFrame));
    let mut raw = RawClient::connect(instrument.local_addr()).await.unwrap();
    raw.send(1, 1, &READ_ONE).await;
    assert_eq!(raw.receive_bytes::<5>().await.unwrap(), whole[..5]);
    instrument.clear_faults();
    raw.send(2, 1, &READ_ONE).await;
    assert_eq!(
        raw.receive().await.unwrap().transaction_id,
        2,
        "the other half never comes"
    );
}

#[tokio::test]
async fn spoilt_answers_are_spoilt_in_the_way_that_was_asked_for() {
    let instrument = instrument().await;
    let mut raw = RawClient::connect(instrument.local_addr()).await.unwrap();
    let read_two = [3, 0, 0, 0, 2];

    instrument.set_faults(Faults::answering(Answering::WrongTransactionId));
    raw.send(8, 1, &read_two).await;
    assert_eq!(raw.receive().await.unwrap().transaction_id, 7);
    instrument.set_faults(Faults::answering(Answering::WrongUnit));
    raw.send(9, 1, &read_two).await;
    assert_eq!(raw.receive().await.unwrap().unit, 2);
    instrument.set_faults(Faults::answering(Answering::TooFewValues));
    raw.send(10, 1, &read_two).await;
    assert_eq!(raw.receive().await.unwrap().pdu, [3, 2, 0x12, 0x34]);
    raw.send(11, 1, &[1, 0, 0, 0, 9]).await;
    assert_eq!(raw.receive().await.unwrap().pdu, [1, 1, 0]);
    instrument.set_faults(Faults::answering(Answering::Exception(
        Exception::ServerDeviceBusy,
    )));
    raw.send(12, 1, &[6, 0, 0, 0, 9]).await;
    assert_eq!(raw.receive().await.unwrap().pdu, [0x86, 6]);
    assert_eq!(
        instrument.registers(1, Table::Holding, 0, 1),
        Ok(vec![0x1234]),
        "not carried out"
    );

    instrument.set_faults(Faults::answering(Answering::Garbage));
    raw.send(13, 1, &read_two).await;
    let garbage = raw.receive_bytes::<16>().await.unwrap();
    assert_ne!(garbage[2..4], [0, 0], "no protocol id of Modbus");
    instrument.set_faults(Faults::answering(Answering::Close));
    raw.send(14, 1, &read_two).await;
    assert!(raw.receive_to_end().await.is_empty());
}

#[tokio::test]
async fn chosen_addresses_answer_with_a_chosen_exception() {
    let instrument = instrument().await;
    instrument.set_unit_faults(
        1,
        Faults::refusing(Table::Holding, 50..=59, Exception::ServerDeviceFailure),
    );
    let mut client = client(instrument.local_addr(), 1).await;
    assert_eq!(
        client.read_holding_registers(40, 20).await.unwrap(),
        Err(ExceptionCode::ServerDeviceFailure)
    );
    assert_eq!(
        client.write_single_register(50, 1).await.unwrap(),
        Err(ExceptionCode::ServerDeviceFailure)
    );
    assert!(client.read_holding_registers(40, 10).await.unwrap().is_ok());
    assert!(client.read_holding_registers(60, 10).await.unwrap().is_ok());
    assert!(
        client.write_single_coil(5, true).await.unwrap().is_ok(),
        "another table"
    );

    let refusals = vec![Refusal {
        access: Access::Write,
        table: Table::Holding,
        addresses: 0..=u16::MAX,
        exception: Exception::IllegalFunction,
    }];
    instrument.set_unit_faults(
        1,
        Faults {
            refusals,
            max_read_registers: Some(16),
            ..Faults::default()
        },
    );
    assert_eq!(
        client.write_single_register(1, 1).await.unwrap(),
        Err(ExceptionCode::IllegalFunction)
    );
    assert_eq!(
        client.read_holding_registers(0, 17).await.unwrap(),
        Err(ExceptionCode::IllegalDataValue)
    );
    assert_eq!(
        client
            .read_holding_registers(0, 16)
            .await
            .unwrap()
            .unwrap()
            .len(),
        16
    );
}

#[tokio::test]
async fn connections_end_after_so_many_requests_and_above_the_limit() {
    let instrument = instrument().await;
    instrument.set_faults(Faults {
        close_after: Some(2),
        ..Faults::default()
    });
    let mut raw = RawClient::connect(instrument.local_addr()).await.unwrap();
    for id in 1..=2 {
        raw.send(id, 1, &READ_ONE).await;
        assert_eq!(raw.receive().await.unwrap().transaction_id, id);
    }
    assert!(raw.receive_to_end().await.is_empty());

    let narrow = ModbusInstrument::builder()
        .unit(1, Unit::new().holding_registers(0, &[1]))
        .max_connections(1)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut first = RawClient::connect(narrow.local_addr()).await.unwrap();
    narrow
        .wait_until(|narrow| narrow.totals().connections_open == 1)
        .await;
    let mut second = RawClient::connect(narrow.local_addr()).await.unwrap();
    assert!(second.receive_to_end().await.is_empty());
    first.send(1, 1, &READ_ONE).await;
    assert_eq!(first.receive().await.unwrap().transaction_id, 1);
    assert_eq!(narrow.totals().connections_refused, 1);
}

#[tokio::test]
async fn written_values_can_be_dropped_rounded_or_limited_although_acknowledged() {
    let instrument = instrument().await;
    let mut client = client(instrument.local_addr(), 1).await;
    for (write_rule, written, kept) in [
        (WriteRule::Ignore, 77, 0),
        (WriteRule::RoundDownTo(10), 77, 70),
        (WriteRule::RoundDownTo(0), 77, 77),
        (WriteRule::Limit(100..=200), 250, 200),
        (WriteRule::Limit(100..=200), 50, 100),
        (WriteRule::Obey, 55, 55),
    ] {
        instrument
            .set_registers(1, Table::Holding, 3, &[0])
            .unwrap();
        instrument.set_unit_faults(1, Faults::writing(write_rule.clone()));
        client
            .write_single_register(3, written)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            client.read_holding_registers(3, 1).await.unwrap().unwrap(),
            [kept],
            "{write_rule:?}"
        );
    }
    assert_eq!(
        instrument.writes_of(1, Table::Holding, 3),
        6,
        "acknowledged is counted"
    );
    instrument.restore_factory_values();
    assert_eq!(
        client.read_holding_registers(3, 1).await.unwrap().unwrap(),
        [0]
    );
}

#[tokio::test]
async fn what_is_no_modbus_ends_the_connection_and_is_counted() {
    let instrument = instrument().await;
    let mut raw = RawClient::connect(instrument.local_addr()).await.unwrap();
    raw.send_bytes(b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(raw.receive_to_end().await.is_empty());
    assert_eq!(
        (instrument.totals().malformed, instrument.totals().requests),
        (1, 0)
    );
}

#[tokio::test]
async fn a_function_that_is_not_known_is_exception_1_and_does_nothing() {
    let instrument = instrument().await;
    instrument.set_unit_faults(1, Faults::without(&[Function::WriteSingleRegister]));
    let mut client = client(instrument.local_addr(), 1).await;
    let before = instrument.registers(1, Table::Holding, 0, 1);
    let refused = client.write_single_register(0, 77).await.unwrap();
    assert_eq!(refused, Err(tokio_modbus::ExceptionCode::IllegalFunction));
    assert_eq!(instrument.registers(1, Table::Holding, 0, 1), before);
    client
        .write_multiple_registers(0, &[77])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(instrument.registers(1, Table::Holding, 0, 1), Ok(vec![77]));
}

#[tokio::test]
async fn the_answer_to_another_write_names_another_address() {
    let instrument = instrument().await;
    instrument.set_faults(Faults::answering(Answering::OtherEcho));
    let mut raw = RawClient::connect(instrument.local_addr()).await.unwrap();
    raw.send(1, 1, &[6, 0, 0, 0, 9]).await;
    assert_eq!(raw.receive().await.unwrap().pdu, [6, 0, 1, 0, 9]);
    assert_eq!(instrument.registers(1, Table::Holding, 0, 1), Ok(vec![9]));
}

#[tokio::test]
async fn a_value_can_come_late_or_be_hidden_once_it_is_written() {
    let instrument = instrument().await;
    instrument.set_unit_faults(1, Faults::writing(WriteRule::Late(2)));
    let mut client = client(instrument.local_addr(), 1).await;
    client.write_single_register(0, 77).await.unwrap().unwrap();
    let before = client.read_holding_registers(0, 1).await.unwrap().unwrap();
    assert_ne!(before, [77]);
    for expected in [before, vec![77], vec![77]] {
        let shown = client.read_holding_registers(0, 1).await.unwrap().unwrap();
        assert_eq!(shown, expected);
    }

    instrument.set_unit_faults(1, Faults::writing(WriteRule::Hide));
    client.write_single_register(0, 78).await.unwrap().unwrap();
    let hidden = client.read_holding_registers(0, 2).await.unwrap();
    assert_eq!(
        hidden,
        Err(tokio_modbus::ExceptionCode::ServerDeviceFailure)
    );
    client.read_holding_registers(1, 1).await.unwrap().unwrap();
    assert_eq!(instrument.registers(1, Table::Holding, 0, 1), Ok(vec![78]));
    instrument.restore_factory_values();
    client.read_holding_registers(0, 1).await.unwrap().unwrap();
}
