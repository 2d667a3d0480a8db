//! RTU: over TCP, asked by a client that others wrote, and on a line that is opened like a file.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use holdfast_device_sim::modbus::{
    Answering, Faults, Framing, ModbusInstrument, Table, Unit, UnknownUnit,
};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio_modbus::Slave;
use tokio_modbus::client::{Reader, Writer, rtu};

/// Read one holding register at 0 of unit 1; the CRC is from outside.
const READ_ONE: [u8; 8] = [1, 3, 0, 0, 0, 1, 0x84, 0x0A];

/// The answer 0x1234.
const ANSWER: [u8; 7] = [1, 3, 2, 0x12, 0x34, 0xB5, 0x33];

fn unit() -> Unit {
    Unit::new()
        .holding_registers(0, &[0x1234, 2, 3])
        .coils(0, &[false; 9])
}

/// What comes for a request, as many bytes as are expected.
async fn exchange(path: &Path, request: &'static [u8], len: usize) -> Vec<u8> {
    let path = path.to_owned();
    let exchanged = spawn_blocking(move || {
        let mut port = File::options().read(true).write(true).open(path)?;
        port.write_all(request)?;
        let mut answer = vec![0; len];
        port.read_exact(&mut answer)?;
        std::io::Result::Ok(answer)
    });
    let answer = exchanged.await.expect("no panic");
    answer.expect("a line that is there answers")
}

#[tokio::test]
async fn rtu_over_tcp_is_understood_by_a_client_that_others_wrote() {
    let instrument = ModbusInstrument::builder()
        .unit(1, unit())
        .framing(Framing::Rtu)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let stream = TcpStream::connect(instrument.local_addr()).await.unwrap();
    let mut client = rtu::attach_slave(stream, Slave(1));
    let registers = client.read_holding_registers(0, 3).await.unwrap().unwrap();
    assert_eq!(registers, [0x1234, 2, 3]);
    client.write_single_register(0, 7).await.unwrap().unwrap();
    client
        .write_multiple_registers(1, &[8, 9])
        .await
        .unwrap()
        .unwrap();
    client
        .masked_write_register(2, 0xFFF0, 0x0004)
        .await
        .unwrap()
        .unwrap();
    client.write_single_coil(0, true).await.unwrap().unwrap();
    client
        .write_multiple_coils(1, &[true; 8])
        .await
        .unwrap()
        .unwrap();
    let read = client
        .read_write_multiple_registers(0, 3, 0, &[6])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read, [6, 8, 4]);
    assert_eq!(client.read_coils(0, 9).await.unwrap().unwrap(), [true; 9]);
    let refused = client.read_input_registers(0, 1).await.unwrap();
    assert_eq!(
        refused,
        Err(tokio_modbus::ExceptionCode::IllegalDataAddress)
    );
}

#[tokio::test]
async fn a_line_is_a_path_that_answers_and_can_be_pulled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ttyUSB0");
    let instrument = ModbusInstrument::builder()
        .unit(1, unit())
        .unknown_unit(UnknownUnit::Silent)
        .on_line(&path)
        .await
        .unwrap();
    assert_eq!(exchange(&path, &READ_ONE, 7).await, ANSWER);
    // Closed and opened again; noise, and a request to another unit, are passed over.
    let mixed: &[u8] = &[
        0xFF, 0x55, 2, 3, 0, 0, 0, 1, 0x84, 0x39, 1, 3, 0, 0, 0, 1, 0x84, 0x0A,
    ];
    assert_eq!(exchange(&path, mixed, 7).await, ANSWER);
    assert_eq!(instrument.unit_counts(2).requests(), 1);
    assert_eq!(instrument.reads_of(1, Table::Holding, 0), 2);

    instrument.unplug().await.unwrap();
    assert!(!path.exists());
    instrument.plug().await.unwrap();
    assert_eq!(exchange(&path, &READ_ONE, 7).await, ANSWER);
    drop(instrument);
}

#[tokio::test]
async fn the_faults_of_a_line_look_as_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line");
    let instrument = ModbusInstrument::builder()
        .unit(1, unit())
        .on_line(&path)
        .await
        .unwrap();
    instrument.set_faults(Faults::answering(Answering::WrongChecksum));
    let damaged = exchange(&path, &READ_ONE, 7).await;
    let differing = damaged.iter().zip(ANSWER).filter(|(a, b)| **a != *b);
    assert_eq!((differing.count(), &damaged[..3]), (1, &ANSWER[..3]));
    instrument.set_faults(Faults::answering(Answering::NoiseBefore));
    let noisy = exchange(&path, &READ_ONE, 14).await;
    assert_eq!((&noisy[4..7], &noisy[7..]), (&ANSWER[..3], &ANSWER[..]));
    instrument.set_faults(Faults::answering(Answering::WrongUnit));
    assert_eq!(exchange(&path, &READ_ONE, 7).await[0], 2);
    instrument.set_faults(Faults::answering(Answering::HalfFrame));
    assert_eq!(exchange(&path, &READ_ONE, 3).await, ANSWER[..3]);
    instrument.set_faults(Faults::answering(Answering::Withheld));
    let late = exchange(&path, &READ_ONE, 7);
    let lift = async {
        instrument.wait_for_requests(5).await;
        instrument.clear_faults();
    };
    assert_eq!(tokio::join!(late, lift).0, ANSWER);
}
