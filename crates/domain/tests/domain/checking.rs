//! What is doubtful in a target.

use holdfast_domain::{Item, Sensor, check::doubts};
use serde_json::{Value, json};

use crate::support::{documents::uuid, life};

fn writer(number: u128, connection: Value, points: &[(u16, &str)]) -> Item {
    let mut document = life::sensor(number, &format!("s{number}")).to_json();
    document["connection"] = connection;
    let points = points.iter().enumerate().map(|(index, (address, data_type))| {
        json!({ "id": uuid(number * 100 + index as u128), "name": format!("p{index}"), "table": "holding",
            "address": address, "dataType": data_type, "writable": true })
    });
    document["dataPoints"] = points.collect();
    life::item(1, &Sensor::from_json(document).expect("a valid sensor"))
}

fn tcp(unit: u8) -> Value {
    json!({ "type": "tcp", "host": "plc", "unitId": unit })
}

#[test]
fn two_points_that_write_one_register_are_doubtful() {
    let of = |items: &[Item]| doubts(items).len();
    let one = writer(1, tcp(1), &[(10, "float32")]);
    assert_eq!(of(&[one.clone(), writer(2, tcp(1), &[(11, "int16")])]), 1);
    assert_eq!(
        of(&[one.clone(), writer(2, tcp(1), &[(12, "int16")])]),
        0,
        "the next register"
    );
    assert_eq!(
        of(&[one.clone(), writer(2, tcp(2), &[(11, "int16")])]),
        0,
        "another unit"
    );
    assert_eq!(
        of(&[writer(1, tcp(1), &[(10, "int16"), (10, "uint16")])]),
        1,
        "within one sensor"
    );
    let disabled = one.sensor.with_enabled(false);
    assert_eq!(
        of(&[
            life::item(1, &disabled),
            writer(2, tcp(1), &[(10, "int16")])
        ]),
        0,
        "it does not run"
    );
}

#[test]
fn a_long_range_is_compared_with_all_that_lie_in_it() {
    let items = [writer(
        1,
        tcp(1),
        &[(0, "string(20)"), (1, "int16"), (5, "int16"), (20, "int16")],
    )];
    let found = doubts(&items);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[1].what.contains("s1/p0 and s1/p2"),
        "{}",
        found[1].what
    );
}

#[test]
fn other_bits_of_one_register_do_not_undo_each_other() {
    let of = |points: &[(u16, &str)]| doubts(&[writer(1, tcp(1), points)]).len();
    assert_eq!(of(&[(7, "bit(0)"), (7, "bit(1)")]), 0);
    assert_eq!(of(&[(7, "bit(0)"), (7, "bit(1)"), (7, "bit(0)")]), 1);
    assert_eq!(of(&[(7, "bit(0)"), (7, "int16")]), 1);
}

#[test]
fn sensors_on_one_link_must_agree_on_its_settings() {
    let line = |unit: u8, baud: u32| json!({ "type": "rtu", "serialPort": "/dev/ttyUSB0", "unitId": unit, "baudRate": baud });
    let found = doubts(&[
        writer(1, line(1, 9_600), &[]),
        writer(2, line(2, 19_200), &[]),
    ]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].sensors.len(), 2);
    for part in ["s1 and s2", "/dev/ttyUSB0", "9600 baud", "19200 baud"] {
        assert!(
            found[0].what.contains(part),
            "{} in {}",
            part,
            found[0].what
        );
    }
    assert_eq!(
        doubts(&[
            writer(1, line(1, 9_600), &[]),
            writer(2, line(2, 9_600), &[])
        ])
        .len(),
        0
    );
    let framed = json!({ "type": "rtuOverTcp", "host": "plc", "unitId": 1 });
    assert_eq!(
        doubts(&[writer(1, framed, &[]), writer(2, tcp(2), &[])]).len(),
        1,
        "RTU frames and Modbus TCP"
    );
}

#[test]
fn very_many_doubts_are_cut_short() {
    let items: Vec<Item> = (0..500)
        .map(|number| writer(number, tcp(1), &[(10, "int16")]))
        .collect();
    let found = doubts(&items).len();
    assert!((100..1_000).contains(&found), "{found}");
}
