//! The counters, and waiting on them.

use holdfast_device_sim::modbus::{Function, ModbusInstrument, Table, Unit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_modbus::client::{Reader, Writer};

use crate::client;
use crate::raw::{RawClient, frame};

#[tokio::test]
async fn reads_and_writes_are_counted_by_unit_function_and_address() {
    let unit = Unit::new()
        .holding_registers(0, &[0; 10])
        .coils(0, &[false]);
    let instrument = ModbusInstrument::builder()
        .unit(1, unit.clone())
        .unit(2, unit)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut one = client(instrument.local_addr(), 1).await;
    let mut two = client(instrument.local_addr(), 2).await;
    for _ in 0..3 {
        one.read_holding_registers(0, 4).await.unwrap().unwrap();
    }
    two.write_multiple_registers(2, &[1, 2])
        .await
        .unwrap()
        .unwrap();
    two.write_single_coil(0, true).await.unwrap().unwrap();
    two.write_single_register(99, 1)
        .await
        .unwrap()
        .expect_err("not mapped");

    let totals = instrument.totals();
    assert_eq!(
        (totals.requests, totals.write_requests, totals.exceptions),
        (6, 3, 1)
    );
    assert_eq!(
        (totals.connections_accepted, totals.connections_open),
        (2, 2)
    );
    assert_eq!(
        instrument
            .unit_counts(1)
            .requests_of(Function::ReadHoldingRegisters),
        3
    );
    assert_eq!(instrument.unit_counts(1).write_requests(), 0);
    assert_eq!(instrument.unit_counts(2).write_requests(), 3);
    assert_eq!(instrument.unit_counts(3).requests(), 0);
    let reads: Vec<u64> = (0..5)
        .map(|address| instrument.reads_of(1, Table::Holding, address))
        .collect();
    assert_eq!(reads, [3, 3, 3, 3, 0]);
    let writes: Vec<u64> = (0..5)
        .map(|address| instrument.writes_of(2, Table::Holding, address))
        .collect();
    assert_eq!(writes, [0, 0, 1, 1, 0]);
    assert_eq!(instrument.writes_of(2, Table::Coil, 0), 1);

    drop((one, two));
    instrument
        .wait_until(|instrument| instrument.totals().connections_open == 0)
        .await;
}

#[tokio::test]
async fn the_journal_tells_which_requests_came_on_which_connection() {
    let unit = Unit::new().holding_registers(0, &[0; 50]);
    let instrument = ModbusInstrument::builder()
        .unit(1, unit)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut first = client(instrument.local_addr(), 1).await;
    first.read_holding_registers(10, 40).await.unwrap().unwrap();
    let mut second = client(instrument.local_addr(), 1).await;
    second.write_single_register(7, 9).await.unwrap().unwrap();
    let seen: Vec<_> = instrument
        .take_journal()
        .into_iter()
        .map(|record| {
            (
                record.connection,
                record.function(),
                record.address(),
                record.quantity(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (1, Some(Function::ReadHoldingRegisters), Some(10), Some(40)),
            (2, Some(Function::WriteSingleRegister), Some(7), Some(1)),
        ]
    );
    assert!(instrument.take_journal().is_empty(), "taken is taken");
}

#[tokio::test]
async fn a_test_waits_for_the_thing_itself() {
    let unit = Unit::new().holding_registers(0, &[0; 2]);
    let instrument = ModbusInstrument::builder()
        .unit(1, unit)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut totals = instrument.watch_totals();
    let mut client = client(instrument.local_addr(), 1).await;
    let written = instrument
        .wait_until(|instrument| instrument.registers(1, Table::Holding, 1, 1) == Ok(vec![5]));
    let writes = async {
        for value in 0..=5 {
            client
                .write_single_register(1, value)
                .await
                .unwrap()
                .unwrap();
        }
    };
    tokio::join!(written, writes, instrument.wait_for_requests(6));
    assert_eq!(
        totals
            .wait_for(|totals| totals.requests >= 6)
            .await
            .unwrap()
            .write_requests,
        6
    );
    let more = instrument.wait_for_more_requests(1, 2);
    let reads = async {
        client.read_holding_registers(0, 1).await.unwrap().unwrap();
        client.read_holding_registers(0, 1).await.unwrap().unwrap();
    };
    tokio::join!(more, reads);
    assert_eq!(instrument.unit_counts(1).requests(), 8);
}

#[tokio::test]
async fn ten_thousand_requests_sent_at_once_are_all_answered_in_order_and_counted() {
    const REQUESTS: u64 = 10_000;
    let unit = Unit::new().holding_registers(0, &[0xABCD; 100]);
    let instrument = ModbusInstrument::builder()
        .unit(1, unit)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut raw = RawClient::connect(instrument.local_addr()).await.unwrap();
    let (mut reader, mut writer) = raw.split();
    let send = async {
        let id = |i: u64| u16::try_from(i % 65_536).expect("it fits");
        let all: Vec<u8> = (0..REQUESTS)
            .flat_map(|i| frame(id(i), 1, &[3, 0, 0, 0, 100]))
            .collect();
        writer.write_all(&all).await.unwrap();
    };
    let receive = async {
        let mut answer = [0; 7 + 2 + 200];
        for i in 0..REQUESTS {
            reader.read_exact(&mut answer).await.unwrap();
            assert_eq!(u64::from(u16::from_be_bytes([answer[0], answer[1]])), i);
        }
    };
    tokio::join!(send, receive);
    assert_eq!(instrument.totals().requests, REQUESTS);
    assert_eq!(instrument.reads_of(1, Table::Holding, 99), REQUESTS);
    assert_eq!(
        instrument.take_journal().len(),
        4096,
        "the journal is bounded, the counters are not"
    );
}
