//! Every stated range, protocol by protocol: each bound is allowed, one beyond is refused by the name of its field.

#![allow(
    clippy::needless_pass_by_value,
    reason = "a case reads better with its value in it"
)]

use holdfast_domain::{Sensor, limits};
use serde_json::{Value, json};

use crate::support::{documents::uuid, life};

fn sensor(protocol: &str, connection: Value, mut point: Value) -> Value {
    point["id"] = json!(uuid(2));
    point["name"] = json!("p");
    json!({ "id": uuid(1), "name": "s", "protocol": protocol, "connection": connection, "dataPoints": [point] })
}

fn modbus() -> Value {
    life::sensor(1, "s").to_json()
}

fn line() -> Value {
    let connection = json!({ "type": "rtu", "serialPort": "/dev/ttyUSB0", "unitId": 1 });
    sensor(
        "modbus",
        connection,
        json!({ "table": "holding", "address": 1, "dataType": "int16" }),
    )
}

fn can() -> Value {
    let connection = json!({ "type": "socketcan", "interface": "can0" });
    let multiplexer = json!({ "startBit": 0, "length": 8, "value": 1 });
    sensor(
        "can",
        connection,
        json!({ "frameId": 1, "startBit": 0, "length": 8, "multiplexer": multiplexer }),
    )
}

fn opcua() -> Value {
    sensor(
        "opcua",
        json!({ "endpointUrl": "opc.tcp://plc:4840" }),
        json!({ "nodeId": "i=1" }),
    )
}

fn mqtt() -> Value {
    sensor("mqtt", json!({ "host": "broker" }), json!({ "topic": "a" }))
}

/// Sets `path`, and whatever else the case needs, and reads.
fn fields_refused(mut document: Value, changes: &[(&str, Value)]) -> Vec<String> {
    for (path, value) in changes {
        let (parent, key) = path.rsplit_once('/').expect("a path");
        let parent = document
            .pointer_mut(parent)
            .unwrap_or_else(|| panic!("{path}"));
        parent[key] = value.clone();
    }
    match Sensor::from_json(document) {
        Ok(sensor) => {
            assert!(
                sensor.not_understood().is_empty(),
                "{:?}",
                sensor.not_understood()
            );
            Vec::new()
        }
        Err(problems) => problems
            .list()
            .iter()
            .map(|problem| problem.field.clone())
            .collect(),
    }
}

fn as_field(path: &str) -> String {
    path.trim_start_matches('/')
        .replace("/0/", "[0].")
        .replace('/', ".")
}

fn allowed(document: &Value, path: &str, value: Value) {
    let refused = fields_refused(document.clone(), &[(path, value.clone())]);
    assert!(
        refused.is_empty(),
        "{path} = {value} was refused: {refused:?}"
    );
}

fn refused(document: &Value, path: &str, value: Value) {
    let refused = fields_refused(document.clone(), &[(path, value.clone())]);
    assert_eq!(refused, [as_field(path)], "{path} = {value}");
}

fn range(document: &Value, path: &str, lowest: i64, highest: i64) {
    allowed(document, path, json!(lowest));
    allowed(document, path, json!(highest));
    refused(document, path, json!(lowest - 1));
    refused(document, path, json!(highest + 1));
    refused(document, path, json!(lowest as f64 + 0.5));
    refused(document, path, json!(lowest.to_string()));
}

fn words(document: &Value, path: &str, words: &[&str]) {
    for word in words {
        allowed(document, path, json!(word));
    }
    refused(document, path, json!("something"));
    refused(document, path, json!(words[0].to_uppercase() + "x"));
    refused(document, path, json!(1));
}

#[test]
fn what_all_sensors_have() {
    range(&modbus(), "/pollInterval", 10, 86_400_000);
    refused(&modbus(), "/pollInterval", json!(-5));
    refused(&modbus(), "/enabled", json!("yes"));
    words(
        &modbus(),
        "/dataPoints/0/kind",
        &["level", "pulse", "command"],
    );
    range(&modbus(), "/dataPoints/0/settleMs", 0, 3_600_000);
    let mut leaves = modbus();
    leaves["dataPoints"][0]["onHubLost"] = serde_json::json!({ "afterMs": 60_000, "then": "keep" });
    range(
        &leaves,
        "/dataPoints/0/onHubLost/afterMs",
        10_000,
        315_360_000_000,
    );
    for (path, most) in [
        ("/name", limits::NAME_CHARS),
        ("/dataPoints/0/name", limits::NAME_CHARS),
    ] {
        allowed(&modbus(), path, json!("ä".repeat(most)));
        refused(&modbus(), path, json!("ä".repeat(most + 1)));
        for bad in [
            "",
            " ",
            "a/b",
            "..",
            "a\u{7}",
            "0192b3a4-0000-7000-8000-000000000000",
        ] {
            refused(&modbus(), path, json!(bad));
        }
    }
    for path in ["/connection/host", "/dataPoints/0/unit"] {
        allowed(&modbus(), path, json!("ä".repeat(limits::TEXT_CHARS)));
        refused(&modbus(), path, json!("ä".repeat(limits::TEXT_CHARS + 1)));
        refused(&modbus(), path, json!(""));
        refused(&modbus(), path, json!("a\0"));
    }
    let around = |bytes: usize| json!({ "k": "x".repeat(bytes - r#"{"k":""}"#.len()) });
    allowed(&modbus(), "/metadata", around(limits::METADATA_BYTES));
    refused(&modbus(), "/metadata", around(limits::METADATA_BYTES + 1));
    refused(&modbus(), "/metadata", json!([]));
}

#[test]
fn what_may_be_written() {
    let path = "/dataPoints/0/limits";
    allowed(
        &modbus(),
        path,
        json!({ "min": 20, "max": 20, "maxStep": 0.1 }),
    );
    for (limits, field) in [
        (json!({ "min": 21, "max": 20 }), "max"),
        (json!({ "maxStep": 0 }), "maxStep"),
        (json!({ "min": "20" }), "min"),
    ] {
        let refused = fields_refused(modbus(), &[(path, limits)]);
        assert_eq!(refused, [format!("dataPoints[0].limits.{field}")]);
    }
    for (table, data_type, is_writable) in [
        ("coil", "bool", true),
        ("holding", "int16", true),
        ("discrete", "bool", false),
        ("input", "int16", false),
    ] {
        let changes = [
            ("/dataPoints/0/table", json!(table)),
            ("/dataPoints/0/dataType", json!(data_type)),
            ("/dataPoints/0/writable", json!(true)),
        ];
        assert_eq!(
            fields_refused(modbus(), &changes).is_empty(),
            is_writable,
            "{table}"
        );
    }
    refused(&mqtt(), "/dataPoints/0/writable", json!(true));
}

#[test]
fn modbus_connections() {
    range(&modbus(), "/connection/port", 1, 65_535);
    range(&modbus(), "/connection/unitId", 0, 255);
    range(&line(), "/connection/unitId", 1, 247);
    let framed = fields_refused(
        modbus(),
        &[
            ("/connection/type", json!("rtuOverTcp")),
            ("/connection/unitId", json!(0)),
        ],
    );
    assert_eq!(framed, ["connection.unitId"], "0 is broadcast on a line");
    range(&modbus(), "/connection/timeoutMs", 10, 60_000);
    range(&modbus(), "/connection/maxGap", 0, 124);
    range(&line(), "/connection/baudRate", 300, 4_000_000);
    refused(&line(), "/connection/dataBits", json!(7));
    refused(&line(), "/connection/dataBits", json!(9));
    range(&line(), "/connection/stopBits", 1, 2);
    words(&line(), "/connection/parity", &["even", "odd", "none"]);
    refused(&modbus(), "/connection/type", json!("udp"));
    refused(&modbus(), "/connection/host", json!(5));
    refused(&modbus(), "/connection", json!("10.0.0.5:502"));
}

#[test]
fn modbus_points() {
    let address = "/dataPoints/0/address";
    for (data_type, registers) in [
        ("bool", 1),
        ("int16", 1),
        ("uint16", 1),
        ("int32", 2),
        ("uint32", 2),
        ("int64", 4),
        ("uint64", 4),
        ("float32", 2),
        ("float64", 4),
        ("bit(0)", 1),
        ("bit(15)", 1),
        ("string(1)", 1),
        ("string(250)", 125),
    ] {
        let with = |first: i64| {
            fields_refused(
                modbus(),
                &[
                    ("/dataPoints/0/dataType", json!(data_type)),
                    (address, json!(first)),
                ],
            )
        };
        assert!(with(0).is_empty(), "{data_type}");
        assert!(with(65_536 - registers).is_empty(), "{data_type}");
        assert_eq!(
            with(65_537 - registers),
            ["dataPoints[0].address"],
            "{data_type}"
        );
        assert_eq!(with(-1), ["dataPoints[0].address"], "{data_type}");
    }
    for bad in [
        "int8",
        "bit(16)",
        "bit",
        "string(0)",
        "string(251)",
        "string",
        "Int16",
        "",
    ] {
        refused(&modbus(), "/dataPoints/0/dataType", json!(bad));
    }
    words(&modbus(), "/dataPoints/0/wordOrder", &["big", "little"]);
    words(&modbus(), "/dataPoints/0/byteOrder", &["big", "little"]);
    refused(&modbus(), "/dataPoints/0/table", json!("holdings"));
    refused(&modbus(), "/dataPoints/0/scale", json!(0));
    allowed(&modbus(), "/dataPoints/0/scale", json!(-0.1));
    for (table, data_type, field) in [
        ("coil", "int16", "dataType"),
        ("discrete", "bit(1)", "dataType"),
        ("input", "float32", ""),
    ] {
        let changes = [
            ("/dataPoints/0/table", json!(table)),
            ("/dataPoints/0/dataType", json!(data_type)),
        ];
        let expected: Vec<String> = (!field.is_empty())
            .then(|| format!("dataPoints[0].{field}"))
            .into_iter()
            .collect();
        assert_eq!(
            fields_refused(modbus(), &changes),
            expected,
            "{table} {data_type}"
        );
    }
    for data_type in ["bool", "bit(3)", "string(4)"] {
        let changes = [
            ("/dataPoints/0/dataType", json!(data_type)),
            ("/dataPoints/0/offset", json!(1)),
        ];
        assert_eq!(
            fields_refused(modbus(), &changes),
            ["dataPoints[0].scale"],
            "{data_type}"
        );
    }
}

#[test]
fn can_sensors() {
    words(&can(), "/connection/type", &["socketcan"]);
    allowed(&can(), "/connection/interface", json!("x".repeat(15)));
    refused(&can(), "/connection/interface", json!("x".repeat(16)));
    refused(&can(), "/connection/interface", json!("a/b"));
    range(&can(), "/dataPoints/0/frameId", 0, 0x7FF);
    let mut extended = can();
    extended["dataPoints"][0]["extended"] = json!(true);
    range(&extended, "/dataPoints/0/frameId", 0, 0x1FFF_FFFF);
    range(&can(), "/dataPoints/0/length", 1, 64);
    let mut one_bit = can();
    one_bit["dataPoints"][0]["length"] = json!(1);
    range(&one_bit, "/dataPoints/0/startBit", 0, 511);
    range(&can(), "/dataPoints/0/timeoutMs", 0, 86_400_000);
    range(&can(), "/dataPoints/0/cycleMs", 0, 86_400_000);
    range(&can(), "/dataPoints/0/multiplexer/startBit", 0, 511);
    range(&can(), "/dataPoints/0/multiplexer/length", 1, 32);
    range(
        &can(),
        "/dataPoints/0/multiplexer/value",
        0,
        i64::from(u32::MAX),
    );
    refused(&can(), "/dataPoints/0/scale", json!(0));
    words(&can(), "/dataPoints/0/byteOrder", &["big", "little"]);
}

#[test]
fn a_can_signal_ends_within_the_longest_frame() {
    // Motorola order starts with the highest bit: bit 7 is the first of a byte, 0 the last.
    for (order, start, most) in [
        ("little", 448, 64),
        ("little", 449, 63),
        ("little", 511, 1),
        ("big", 455, 64),
        ("big", 454, 63),
        ("big", 504, 1),
    ] {
        for (length, is_good) in [(most, true), (most + 1, false)] {
            let changes = [
                ("/dataPoints/0/byteOrder", json!(order)),
                ("/dataPoints/0/startBit", json!(start)),
                ("/dataPoints/0/length", json!(length)),
            ];
            let refused = fields_refused(can(), &changes);
            let expected: &[&str] = if is_good {
                &[]
            } else {
                &["dataPoints[0].length"]
            };
            assert_eq!(refused, expected, "{order} {start} {length}");
        }
    }
}

#[test]
fn a_can_signal_has_bits_or_names() {
    let connection = json!({ "type": "socketcan", "interface": "can0", "dbc": "motor.dbc" });
    let of = |point: Value| fields_refused(sensor("can", connection.clone(), point), &[]);
    assert!(of(json!({ "message": "Motor", "signal": "Torque" })).is_empty());
    assert_eq!(of(json!({ "message": "Motor" })), ["dataPoints[0].signal"]);
    assert_eq!(of(json!({ "signal": "Torque" })), ["dataPoints[0].message"]);
    assert_eq!(
        of(json!({ "startBit": 1, "length": 1 })),
        ["dataPoints[0].frameId"]
    );
}

#[test]
fn opcua_sensors() {
    for good in ["opc.tcp://plc:4840/path", "opc.tcp://10.0.0.1"] {
        allowed(&opcua(), "/connection/endpointUrl", json!(good));
    }
    for bad in ["http://plc", "opc.tcp://", "plc:4840"] {
        refused(&opcua(), "/connection/endpointUrl", json!(bad));
    }
    let secured = |policy: &str, mode: &str| {
        let changes = [
            ("/connection/securityPolicy", json!(policy)),
            ("/connection/securityMode", json!(mode)),
        ];
        fields_refused(opcua(), &changes)
    };
    assert!(secured("None", "None").is_empty());
    for policy in [
        "Basic256Sha256",
        "Aes128Sha256RsaOaep",
        "Aes256Sha256RsaPss",
    ] {
        assert!(secured(policy, "Sign").is_empty());
        assert!(secured(policy, "SignAndEncrypt").is_empty());
        assert_eq!(secured(policy, "None"), ["connection.securityMode"]);
    }
    assert_eq!(secured("None", "Sign"), ["connection.securityMode"]);
    assert_eq!(
        secured("Basic128Rsa15", "Sign"),
        ["connection.securityPolicy"],
        "deprecated"
    );
    words(
        &opcua(),
        "/connection/trust",
        &["listed", "onFirstUse", "any"],
    );
    for good in [
        "i=0",
        "i=4294967295",
        "ns=65535;s=a=b;c",
        "g=0192b3a4-0000-7000-8000-000000000000",
        "ns=1;b=AA==",
    ] {
        allowed(&opcua(), "/dataPoints/0/nodeId", json!(good));
    }
    for bad in [
        "i=4294967296",
        "ns=65536;i=1",
        "s=",
        "ns=1;",
        "x=1",
        "2258",
        "g=1",
    ] {
        refused(&opcua(), "/dataPoints/0/nodeId", json!(bad));
    }
    range(&opcua(), "/dataPoints/0/samplingIntervalMs", 0, 86_400_000);
    allowed(&opcua(), "/dataPoints/0/deadband", json!(0));
    refused(&opcua(), "/dataPoints/0/deadband", json!(-0.1));
}

#[test]
fn opcua_identities() {
    let path = "/connection/identity";
    let secret = json!({ "secret": "env:PW" });
    allowed(&opcua(), path, json!({ "type": "anonymous" }));
    allowed(
        &opcua(),
        path,
        json!({ "type": "user", "username": "u", "password": secret }),
    );
    allowed(
        &opcua(),
        path,
        json!({ "type": "certificate", "certificate": secret, "privateKey": secret }),
    );
    for (identity, field) in [
        (json!({ "type": "nobody" }), "type"),
        (json!({ "type": "user", "username": "u" }), "password"),
        (
            json!({ "type": "user", "username": "u", "password": "hunter2" }),
            "password",
        ),
        (
            json!({ "type": "certificate", "certificate": secret }),
            "privateKey",
        ),
    ] {
        let refused = fields_refused(opcua(), &[(path, identity)]);
        assert_eq!(refused, [format!("connection.identity.{field}")]);
    }
}

#[test]
fn a_secret_is_a_reference_that_leads_nowhere_else() {
    let path = "/connection/password";
    for good in ["env:PLC_PASSWORD", "plc.key", "a-b_c.1"] {
        allowed(&mqtt(), path, json!({ "secret": good }));
    }
    for bad in [
        "", "env:", "../key", ".hidden", "a/b", "a\\b", "env:A B", "env:.x",
    ] {
        let refused = fields_refused(mqtt(), &[(path, json!({ "secret": bad }))]);
        assert_eq!(refused, ["connection.password.secret"], "{bad:?}");
    }
    let mut document = mqtt();
    document["connection"]["password"] = json!("hunter2");
    let problems = Sensor::from_json(document).expect_err("the secret itself");
    assert!(
        !problems.to_string().contains("hunter2"),
        "a secret is not echoed: {problems}"
    );
}

#[test]
fn mqtt_sensors() {
    range(&mqtt(), "/connection/port", 1, 65_535);
    words(&mqtt(), "/connection/protocolVersion", &["3.1.1", "5"]);
    range(&mqtt(), "/dataPoints/0/qos", 0, 2);
    for good in ["a", "a/b", "/a", "a//b", "+", "#", "a/+/b", "a/#"] {
        allowed(&mqtt(), "/dataPoints/0/topic", json!(good));
    }
    for bad in ["", "a+", "a/b#", "#/a", "a/#/b", "a\0b"] {
        refused(&mqtt(), "/dataPoints/0/topic", json!(bad));
    }
    refused(&mqtt(), "/dataPoints/0/pointer", json!("/a"));
    let json = [
        ("/dataPoints/0/payload", json!("json")),
        ("/dataPoints/0/pointer", json!("/a")),
    ];
    assert!(fields_refused(mqtt(), &json).is_empty());
    let port = |tls: bool| {
        let mut document = mqtt();
        document["connection"]["tls"] = json!(tls);
        Sensor::from_json(document).expect("a sensor").to_json()["connection"]["port"].clone()
    };
    assert_eq!((port(false), port(true)), (json!(1_883), json!(8_883)));
}

#[test]
fn mqtt_commands() {
    let path = "/dataPoints/0/command";
    allowed(&mqtt(), path, json!({ "topic": "a/set" }));
    allowed(
        &mqtt(),
        path,
        json!({ "topic": "a/set", "template": "v={value}", "stateTopic": "a/+", "retain": true }),
    );
    for (command, field) in [
        (json!({}), "topic"),
        (json!({ "topic": "a/#" }), "topic"),
        (json!({ "topic": "a", "template": "value" }), "template"),
        (json!({ "topic": "a", "stateTopic": "a#" }), "stateTopic"),
        (json!({ "topic": "a", "retain": 1 }), "retain"),
    ] {
        let refused = fields_refused(mqtt(), &[(path, command)]);
        assert_eq!(refused, [format!("dataPoints[0].command.{field}")]);
    }
}
