//! Writing to servers that others wrote, with mbpoll as the witness from outside: the registers hold exactly what was
//! written, in every data type and order, and nothing beside it changed.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[allow(
    dead_code,
    reason = "shared with the tests against the simulator, which use all of it"
)]
mod support;

use holdfast_domain::hold::WriteOutcome;
use holdfast_domain::{HealthStatus, PointValue};
use holdfast_ports::bus::RunningSensor;
use holdfast_testkit::peers::{Peer, mbpoll_read, mbpoll_write};
use serde_json::json;
use tokio::time::timeout;

use support::fakes::{Document, Witness, point_id, sensor_id};
use support::{SOON, bus, quick, start};

const NONE: [&str; 0] = [];

fn document(port: u16) -> Document {
    Document::new(1, port)
        .interval_ms(600_000)
        .timeout_ms(2_000)
}

/// The whole map of unit 1, as mbpoll sees it.
fn map(port: u16) -> Vec<u16> {
    [0, 100]
        .into_iter()
        .flat_map(|first| mbpoll_read(port, 1, first, 100))
        .collect()
}

async fn write(sensor: &dyn RunningSensor, point: u64, value: &PointValue) -> WriteOutcome {
    timeout(SOON, sensor.write(point_id(point), value))
        .await
        .unwrap()
}

async fn read(sensor: &dyn RunningSensor, point: u64) -> Option<PointValue> {
    let fresh = timeout(SOON, sensor.read(&[point_id(point)]))
        .await
        .unwrap();
    fresh.into_iter().next().unwrap().value
}

/// A value of each type, and its registers with both orders big.
fn cases() -> Vec<(&'static str, PointValue, Vec<u16>)> {
    let number = PointValue::Number;
    let integer = PointValue::Integer;
    let words = |bytes: &[u8]| -> Vec<u16> {
        bytes
            .chunks(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect()
    };
    vec![
        (
            "int16",
            integer(-12_345),
            words(&(-12_345_i16).to_be_bytes()),
        ),
        ("uint16", integer(54_321), words(&54_321_u16.to_be_bytes())),
        (
            "int32",
            integer(-123_456_789),
            words(&(-123_456_789_i32).to_be_bytes()),
        ),
        (
            "uint32",
            integer(0x8123_4567),
            words(&0x8123_4567_u32.to_be_bytes()),
        ),
        (
            "int64",
            integer(-0x0012_3456_789A_BCDE),
            words(&(-0x0012_3456_789A_BCDE_i64).to_be_bytes()),
        ),
        (
            "uint64",
            PointValue::from_u64(u64::MAX - 1),
            words(&(u64::MAX - 1).to_be_bytes()),
        ),
        ("float32", number(72.5), words(&72.5_f32.to_be_bytes())),
        ("float64", number(-0.1), words(&(-0.1_f64).to_be_bytes())),
        (
            "string(6)",
            PointValue::Text("Öl 1".into()),
            words("Öl 1\0".as_bytes()),
        ),
        ("bool", PointValue::Bool(true), vec![1]),
    ]
}

#[tokio::test]
async fn every_type_in_every_order_stands_there_as_written_and_nothing_else_does() {
    for peer in [
        Peer::pymodbus(&NONE),
        Peer::libmodbus(&NONE),
        Peer::modbus_serial(&NONE),
    ] {
        let port = peer.port();
        let mut document = document(port);
        let mut expected = Vec::new();
        let mut address = 3;
        for (byte_order, word_order) in [
            ("big", "big"),
            ("big", "little"),
            ("little", "big"),
            ("little", "little"),
        ] {
            for (data_type, value, words) in cases() {
                let more =
                    json!({ "writable": true, "byteOrder": byte_order, "wordOrder": word_order });
                document = document.point_with("holding", address, data_type, &more);
                let mut words: Vec<u16> = words;
                if byte_order == "little" {
                    words.iter_mut().for_each(|word| *word = word.swap_bytes());
                }
                if word_order == "little" {
                    words.reverse();
                }
                let count = u16::try_from(words.len()).unwrap();
                expected.push((address, value, words));
                // A register between two values, that nobody may touch.
                address += count + 1;
            }
        }
        let witness = Witness::new();
        let sensor = start(&bus(quick()), &document, &witness).await.unwrap();
        let mut stands = map(port);
        for (point, (address, value, words)) in (0..).zip(&expected) {
            assert_eq!(
                write(&*sensor, point, value).await,
                WriteOutcome::Acknowledged
            );
            let first = usize::from(*address);
            stands[first..first + words.len()].copy_from_slice(words);
            assert_eq!(
                read(&*sensor, point).await.as_ref(),
                Some(value),
                "point {point}"
            );
        }
        assert_eq!(map(port), stands);
        sensor.stop().await;
        assert_eq!(map(port), stands);
    }
}

#[tokio::test]
async fn every_function_does_on_every_server_what_it_says() {
    for (peer, knows_22) in [
        (Peer::pymodbus(&NONE), true),
        (Peer::libmodbus(&NONE), true),
        (Peer::modbus_serial(&NONE), false),
    ] {
        let port = peer.port();
        let document = document(port)
            .output("coil", 4, "bool")
            .point_with(
                "holding",
                50,
                "int16",
                &json!({ "writable": true, "scale": 0.1 }),
            )
            .output("holding", 60, "float32")
            .output("holding", 70, "bit(3)")
            .output("holding", 70, "bit(12)");
        let witness = Witness::new();
        let (bus, before) = (bus(quick()), map(port));
        let sensor = start(&bus, &document, &witness).await.unwrap();
        // 5: on, and off again.
        for on in [true, false, true] {
            let on = PointValue::Bool(on);
            assert_eq!(write(&*sensor, 0, &on).await, WriteOutcome::Acknowledged);
            assert_eq!(read(&*sensor, 0).await, Some(on));
        }
        // 6 and 16.
        assert_eq!(
            write(&*sensor, 1, &PointValue::Number(72.3)).await,
            WriteOutcome::Acknowledged
        );
        assert_eq!(read(&*sensor, 1).await, Some(PointValue::Number(72.3)));
        assert_eq!(
            write(&*sensor, 2, &PointValue::Number(0.5)).await,
            WriteOutcome::Acknowledged
        );
        let mut stands = before;
        stands[50] = 723;
        stands[60..62].copy_from_slice(&[0x3F00, 0]);
        assert_eq!(map(port), stands);
        // 22: bits alone; what somebody else writes into the same register stays.
        mbpoll_write(port, 1, 70, &[0x0F0F]);
        for (point, on, expected) in [
            (3, false, 0x0F07),
            (4, true, 0x1F07),
            (3, true, 0x1F0F),
            (4, false, 0x0F0F),
        ] {
            match write(&*sensor, point, &PointValue::Bool(on)).await {
                WriteOutcome::Acknowledged if knows_22 => {
                    assert_eq!(mbpoll_read(port, 1, 70, 1), [expected]);
                    assert_eq!(read(&*sensor, point).await, Some(PointValue::Bool(on)));
                }
                WriteOutcome::Refused(reason) if !knows_22 => {
                    assert!(reason.contains("does not know function 22"), "{reason}");
                    assert_eq!(mbpoll_read(port, 1, 70, 1), [0x0F0F]);
                }
                other => panic!("{other:?}"),
            }
        }
        sensor.stop().await;
    }
}

#[tokio::test]
async fn what_they_refuse_is_refused_with_their_reason_and_not_half_written() {
    let refuse = ["--refuse", "50:3"];
    for (peer, is_whole) in [
        (Peer::pymodbus(&refuse), true),
        (Peer::libmodbus(&refuse), true),
        (Peer::modbus_serial(&refuse), false),
    ] {
        let port = peer.port();
        let document = document(port)
            .output("holding", 51, "int16")
            .output("holding", 49, "int32")
            .output("holding", 60, "int16");
        let witness = Witness::new();
        let sensor = start(&bus(quick()), &document, &witness).await.unwrap();
        let refused = |place: &str| {
            WriteOutcome::Refused(format!(
                "unit 1 at 127.0.0.1:{port} refused to write {place}: illegal data address (exception 2)"
            ))
        };
        let one = write(&*sensor, 0, &PointValue::Integer(-1)).await;
        assert_eq!(one, refused("holding 51 (function 6)"));
        let two = write(&*sensor, 1, &PointValue::Integer(-1)).await;
        if is_whole {
            assert_eq!(two, refused("holding 49 to 50 (function 16)"));
            assert_eq!(mbpoll_read(port, 1, 49, 1), [49]);
        } else {
            // This one says yes to what it does by half. Only the read-back tells, and it does.
            assert_eq!(two, WriteOutcome::Acknowledged);
            assert_eq!(mbpoll_read(port, 1, 49, 1), [0xFFFF]);
            assert_eq!(read(&*sensor, 1).await, None);
        }
        assert_eq!(
            write(&*sensor, 2, &PointValue::Integer(-1)).await,
            WriteOutcome::Acknowledged
        );
        assert_eq!(mbpoll_read(port, 1, 60, 1), [0xFFFF]);
        sensor.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_is_frozen_under_a_write_leaves_it_unknown_and_the_read_back_tells() {
    for server in [Peer::libmodbus::<String>, Peer::pymodbus::<String>] {
        let peer = server(&[]);
        let port = peer.port();
        let witness = Witness::new();
        let document = document(port)
            .timeout_ms(200)
            .output("holding", 5, "uint16");
        let sensor = start(&bus(quick()), &document, &witness).await.unwrap();
        timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
            .await
            .unwrap();

        peer.freeze();
        match write(&*sensor, 0, &PointValue::Integer(777)).await {
            WriteOutcome::Unknown(reason) => {
                let expected = format!(
                    "no answer from unit 1 at 127.0.0.1:{port} within 200 ms (asked to write holding 5)"
                );
                assert_eq!(reason, expected);
            }
            other => panic!("{other:?}"),
        }
        // It had come in, and is carried out when the server goes on.
        peer.thaw();
        timeout(SOON, witness.health(sensor_id(1), HealthStatus::Online))
            .await
            .unwrap();
        assert_eq!(read(&*sensor, 0).await, Some(PointValue::Integer(777)));
        assert_eq!(mbpoll_read(port, 1, 5, 1), [777]);

        peer.kill();
        let reason = match write(&*sensor, 0, &PointValue::Integer(778)).await {
            WriteOutcome::NotSent(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            reason,
            format!("connect 127.0.0.1:{port}: connection refused; nothing was sent")
        );
        let peer = server(&["--port".to_owned(), port.to_string()]);
        assert_eq!(
            write(&*sensor, 0, &PointValue::Integer(779)).await,
            WriteOutcome::Acknowledged
        );
        assert_eq!(mbpoll_read(peer.port(), 1, 5, 1), [779]);
        sensor.stop().await;
    }
}

#[tokio::test]
async fn half_frames_leave_a_write_unknown_and_slow_answers_do_not() {
    let peer = Peer::pymodbus(&["--half-frame-every", "2"]);
    let port = peer.port();
    let witness = Witness::new();
    let hasty = document(port)
        .timeout_ms(150)
        .output("holding", 5, "uint16");
    let sensor = start(&bus(quick()), &hasty, &witness).await.unwrap();
    // The first answer was whole, every second is not; each write that is unknown stands there all the same.
    let (mut unknown, mut acknowledged) = (0, 0);
    for value in 500..510 {
        match write(&*sensor, 0, &PointValue::Integer(value.into())).await {
            WriteOutcome::Acknowledged => acknowledged += 1,
            WriteOutcome::Unknown(_) => unknown += 1,
            other => panic!("{other:?}"),
        }
        assert_eq!(mbpoll_read(port, 1, 5, 1), [value]);
    }
    assert!(
        unknown > 0,
        "{unknown} unknown, {acknowledged} acknowledged"
    );
    sensor.stop().await;

    let peer = Peer::libmodbus(&["--delay-ms", "150"]);
    let document = document(peer.port()).output("holding", 5, "uint16");
    let sensor = start(&bus(quick()), &document, &witness).await.unwrap();
    assert_eq!(
        write(&*sensor, 0, &PointValue::Integer(5_000)).await,
        WriteOutcome::Acknowledged
    );
    sensor.stop().await;
}
