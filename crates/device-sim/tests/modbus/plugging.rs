//! The cable: pulled, put back, cut; and nothing left when the instrument is dropped.

use std::io::ErrorKind;

use holdfast_device_sim::modbus::{ModbusInstrument, Unit};

use crate::raw::{READ_ONE, RawClient};

fn unit() -> Unit {
    Unit::new().holding_registers(0, &[1])
}

#[tokio::test]
async fn unplugged_clients_are_cut_and_refused_and_the_same_port_comes_back() {
    let instrument = ModbusInstrument::builder()
        .unit(1, unit())
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let addr = instrument.local_addr();
    for round in 1..=20 {
        let mut raw = RawClient::connect(addr).await.unwrap();
        raw.send(round, 1, &READ_ONE).await;
        assert_eq!(raw.receive().await.unwrap().transaction_id, round);
        instrument.unplug().await.unwrap();
        instrument.unplug().await.unwrap();
        assert!(!instrument.is_plugged().await);
        assert!(raw.receive_to_end().await.is_empty());
        let refused = RawClient::connect(addr)
            .await
            .err()
            .map(|error| error.kind());
        assert_eq!(refused, Some(ErrorKind::ConnectionRefused));
        instrument.plug().await.unwrap();
        instrument.plug().await.unwrap();
    }
    assert_eq!(instrument.totals().connections_accepted, 20);
    assert_eq!(instrument.local_addr(), addr);
}

#[tokio::test]
async fn an_unplugged_instrument_keeps_its_port() {
    let instrument = ModbusInstrument::builder()
        .unit(1, unit())
        .bind_unplugged("127.0.0.1:0")
        .await
        .unwrap();
    let addr = instrument.local_addr();
    assert!(RawClient::connect(addr).await.is_err());
    instrument.plug().await.unwrap();
    let taken = ModbusInstrument::builder()
        .bind(addr)
        .await
        .expect_err("the port is taken");
    assert!(taken.to_string().contains(&addr.to_string()), "{taken}");
    let mut raw = RawClient::connect(addr).await.unwrap();
    raw.send(1, 1, &READ_ONE).await;
    assert!(raw.receive().await.is_ok());
}

#[tokio::test]
async fn cut_connections_can_come_again_at_once() {
    let instrument = ModbusInstrument::builder()
        .unit(1, unit())
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut raw = RawClient::connect(instrument.local_addr()).await.unwrap();
    instrument
        .wait_until(|instrument| instrument.totals().connections_open == 1)
        .await;
    instrument.cut_connections().await;
    assert_eq!(instrument.totals().connections_open, 0);
    assert!(raw.receive_to_end().await.is_empty());
    let mut raw = RawClient::connect(instrument.local_addr()).await.unwrap();
    raw.send(1, 1, &READ_ONE).await;
    assert!(raw.receive().await.is_ok());
    instrument.unplug().await.unwrap();
    instrument.cut_connections().await;
}

#[tokio::test]
async fn dropping_it_closes_its_sockets_and_ends_its_tasks() {
    let instrument = ModbusInstrument::builder()
        .unit(1, unit())
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let addr = instrument.local_addr();
    let mut raw = RawClient::connect(addr).await.unwrap();
    let mut idle = RawClient::connect(addr).await.unwrap();
    raw.send(1, 1, &READ_ONE).await;
    raw.receive().await.unwrap();
    instrument
        .wait_until(|instrument| instrument.totals().connections_open == 2)
        .await;
    drop(instrument);
    assert!(raw.receive_to_end().await.is_empty());
    assert!(idle.receive_to_end().await.is_empty());
    let tasks = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    assert_eq!(tasks, 0, "no task is left");
    std::net::TcpListener::bind(addr).expect("the port is free again");
}
