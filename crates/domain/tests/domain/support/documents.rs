//! Random sensors of every protocol as people write them, and other spellings of the same JSON.

use holdfast_domain::Protocol;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub(crate) const PROTOCOLS: [Protocol; 4] = [
    Protocol::Modbus,
    Protocol::Can,
    Protocol::Opcua,
    Protocol::Mqtt,
];

/// The UUID with this number.
pub(crate) fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(0x0192_b3a4_0000_7000_8000_0000_0000_0000 | number)
}

type Field = (&'static str, BoxedStrategy<Value>);

fn any<T: Into<Value> + 'static>(
    strategy: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Value> {
    strategy.prop_map(Into::into).boxed()
}

fn word(words: &'static [&'static str]) -> BoxedStrategy<Value> {
    any(select(words))
}

fn always(value: Value) -> BoxedStrategy<Value> {
    Just(value).boxed()
}

/// A number, whole or not, of any of the usual sizes; not 0.
fn number() -> BoxedStrategy<Value> {
    prop_oneof![any(1..1_000_i64), any(-1e6..-1e-3_f64), any(1e-9..1e9_f64)].boxed()
}

/// An object with all of `required`, and each of `optional` given, null, or left out.
fn object(required: Vec<Field>, optional: Vec<Field>) -> BoxedStrategy<Value> {
    let maybe = optional.into_iter().map(|(key, value)| {
        let value = prop_oneof![
            2 => value.prop_map(Some),
            1 => Just(Some(Value::Null)),
            2 => Just(None),
        ];
        (key, value.boxed())
    });
    let required = required
        .into_iter()
        .map(|(key, value)| (key, value.prop_map(Some).boxed()));
    let (keys, values): (Vec<&str>, Vec<_>) = required.chain(maybe).unzip();
    values
        .prop_map(move |values| {
            let given = keys.iter().zip(values);
            let members = given.filter_map(|(key, value)| Some(((*key).to_owned(), value?)));
            Value::Object(members.collect())
        })
        .boxed()
}

fn merged(parts: impl Strategy<Value = (Value, Value)> + 'static) -> BoxedStrategy<Value> {
    let merge = |(left, right)| match (left, right) {
        (Value::Object(mut left), Value::Object(right)) => {
            left.extend(right);
            Value::Object(left)
        }
        (left, _) => left,
    };
    parts.prop_map(merge).boxed()
}

/// A sensor's document with its id and name, of any protocol.
pub(crate) fn sensor() -> BoxedStrategy<Value> {
    let protocol = select(&PROTOCOLS[..]);
    (protocol, 0..1_000_u128)
        .prop_flat_map(|(protocol, number)| numbered_sensor(protocol, number))
        .boxed()
}

/// A sensor's document whose ids and names follow from `number`.
pub(crate) fn numbered_sensor(protocol: Protocol, number: u128) -> BoxedStrategy<Value> {
    let (connection, point) = match protocol {
        Protocol::Modbus => (modbus_connection(), modbus_address()),
        Protocol::Can => (can_connection(), can_address()),
        Protocol::Opcua => (opcua_connection(), opcua_address()),
        Protocol::Mqtt => (mqtt_connection(), mqtt_address()),
    };
    let body = object(
        vec![
            ("id", always(json!(uuid(number)))),
            ("name", always(json!(format!("sensor-{number}")))),
            ("protocol", always(json!(protocol))),
            ("connection", connection),
        ],
        vec![
            ("enabled", any(any_bool())),
            ("pollInterval", any(10..=86_400_000_i64)),
            ("metadata", metadata()),
        ],
    );
    let points = vec(merged((point_head(), point)), 0..4);
    (body, points)
        .prop_map(move |(mut body, mut points)| {
            for (index, point) in points.iter_mut().enumerate() {
                let id = uuid(0x10_0000 + number * 0x100 + index as u128);
                point["id"] = json!(id);
                point["name"] = json!(format!("point-{index}"));
            }
            if !points.is_empty() {
                body["dataPoints"] = Value::Array(points);
            }
            body
        })
        .boxed()
}

fn any_bool() -> impl Strategy<Value = bool> {
    proptest::bool::ANY
}

fn point_head() -> BoxedStrategy<Value> {
    let limits = object(
        vec![],
        vec![
            ("min", any(-100.0..0.0_f64)),
            ("max", any(0..100_i64)),
            ("maxStep", any(0.1..5.0_f64)),
        ],
    );
    object(
        vec![],
        vec![
            ("kind", word(&["level", "pulse", "command"])),
            ("unit", word(&["°C", "kg/m³", "%"])),
            ("limits", limits),
            ("settleMs", any(0..=3_600_000_i64)),
        ],
    )
}

fn metadata() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any(any_bool()),
        any(proptest::num::i64::ANY),
        any(-1e18..1e18_f64),
        any("[a-zäß\"\\\\ ]{0,8}"),
    ];
    let value = leaf.prop_recursive(2, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::Array),
            proptest::collection::btree_map("[a-c]", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    proptest::collection::btree_map("[a-e]{1,3}", value, 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>()))
        .boxed()
}

fn modbus_connection() -> BoxedStrategy<Value> {
    let shared = || {
        object(
            vec![],
            vec![
                ("timeoutMs", any(10..=60_000_i64)),
                ("maxGap", any(0..=124_i64)),
            ],
        )
    };
    let tcp = object(
        vec![
            ("type", always(json!("tcp"))),
            ("host", word(&["10.0.0.5", "plc"])),
            ("unitId", any(0..=255_i64)),
        ],
        vec![("port", any(1..=65_535_i64))],
    );
    let serial_server = object(
        vec![
            ("type", always(json!("rtuOverTcp"))),
            ("host", word(&["10.0.0.9"])),
            ("unitId", any(1..=247_i64)),
        ],
        vec![("port", any(1..=65_535_i64))],
    );
    let line = object(
        vec![
            ("type", always(json!("rtu"))),
            ("serialPort", word(&["/dev/ttyUSB0", "COM3"])),
            ("unitId", any(1..=247_i64)),
        ],
        vec![
            ("baudRate", any(300..=4_000_000_i64)),
            ("dataBits", always(json!(8))),
            ("parity", word(&["even", "odd", "none"])),
            ("stopBits", any(1..=2_i64)),
        ],
    );
    merged((prop_oneof![tcp, serial_server, line], shared()))
}

fn modbus_address() -> BoxedStrategy<Value> {
    let orders = || {
        vec![
            ("byteOrder", word(&["big", "little"])),
            ("wordOrder", word(&["big", "little"])),
        ]
    };
    let bit = object(
        vec![
            ("table", word(&["coil", "discrete"])),
            ("address", any(0..=65_535_i64)),
            ("dataType", always(json!("bool"))),
        ],
        orders(),
    );
    let text = object(
        vec![
            ("table", word(&["input", "holding"])),
            ("address", any(0..=65_411_i64)),
            (
                "dataType",
                word(&["bool", "string(1)", "string(250)", "bit(0)", "bit(15)"]),
            ),
        ],
        orders(),
    );
    let scalable = object(
        vec![
            ("table", word(&["input", "holding"])),
            ("address", any(0..=65_532_i64)),
            (
                "dataType",
                word(&[
                    "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64",
                ]),
            ),
        ],
        vec![("scale", number()), ("offset", number())],
    );
    let writable = object(
        vec![
            ("table", word(&["holding"])),
            ("address", any(0..=65_535_i64)),
            ("dataType", word(&["int16"])),
            ("writable", always(json!(true))),
        ],
        vec![("scale", number())],
    );
    prop_oneof![bit, text, scalable, writable].boxed()
}

fn can_connection() -> BoxedStrategy<Value> {
    object(
        vec![
            ("type", always(json!("socketcan"))),
            ("interface", word(&["can0", "vcan12"])),
        ],
        vec![("dbc", word(&["motor.dbc"])), ("fd", any(any_bool()))],
    )
}

fn can_address() -> BoxedStrategy<Value> {
    let times = || {
        vec![
            ("timeoutMs", any(0..=86_400_000_i64)),
            ("cycleMs", any(0..=86_400_000_i64)),
            ("writable", any(any_bool())),
        ]
    };
    let named = object(
        vec![("message", word(&["Motor"])), ("signal", word(&["Torque"]))],
        times(),
    );
    let multiplexer = object(
        vec![
            ("startBit", any(0..=511_i64)),
            ("length", any(1..=32_i64)),
            ("value", any(0..=i64::from(u32::MAX))),
        ],
        vec![],
    );
    let mut optional = times();
    optional.extend([
        ("byteOrder", word(&["big", "little"])),
        ("signed", any(any_bool())),
        ("scale", number()),
        ("offset", number()),
        ("multiplexer", multiplexer),
    ]);
    let bits = object(
        vec![
            ("frameId", any(0..=0x7FF_i64)),
            ("startBit", any(0..=440_i64)),
            ("length", any(1..=64_i64)),
        ],
        optional.clone(),
    );
    let extended = object(
        vec![
            ("frameId", any(0..=0x1FFF_FFFF_i64)),
            ("extended", always(json!(true))),
            ("startBit", any(0..=440_i64)),
            ("length", any(1..=64_i64)),
        ],
        optional,
    );
    prop_oneof![named, bits, extended].boxed()
}

fn secret() -> BoxedStrategy<Value> {
    any(select(&["env:PLC_PASSWORD", "plc.key"][..]))
        .prop_map(|name| json!({ "secret": name }))
        .boxed()
}

fn opcua_connection() -> BoxedStrategy<Value> {
    let anonymous = object(vec![("type", always(json!("anonymous")))], vec![]);
    let user = object(
        vec![
            ("type", always(json!("user"))),
            ("username", word(&["agent"])),
            ("password", secret()),
        ],
        vec![],
    );
    let certificate = object(
        vec![
            ("type", always(json!("certificate"))),
            ("certificate", secret()),
            ("privateKey", secret()),
        ],
        vec![],
    );
    let identity = || prop_oneof![anonymous.clone(), user.clone(), certificate.clone()].boxed();
    let base = |security: Vec<Field>| {
        let mut required = vec![("endpointUrl", word(&["opc.tcp://plc:4840/path"]))];
        required.extend(security);
        object(
            required,
            vec![
                ("identity", identity()),
                ("trust", word(&["listed", "onFirstUse", "any"])),
            ],
        )
    };
    let open = base(vec![]);
    let safe = base(vec![
        (
            "securityPolicy",
            word(&[
                "Basic256Sha256",
                "Aes128Sha256RsaOaep",
                "Aes256Sha256RsaPss",
            ]),
        ),
        ("securityMode", word(&["Sign", "SignAndEncrypt"])),
    ]);
    prop_oneof![open, safe].boxed()
}

fn opcua_address() -> BoxedStrategy<Value> {
    object(
        vec![(
            "nodeId",
            word(&["ns=2;s=Tank.Level", "i=2258", "ns=65535;b=AA==", "s=x;y"]),
        )],
        vec![
            ("samplingIntervalMs", any(0..=86_400_000_i64)),
            ("deadband", any(0.0..10.0_f64)),
            ("writable", any(any_bool())),
        ],
    )
}

fn mqtt_connection() -> BoxedStrategy<Value> {
    object(
        vec![("host", word(&["broker"]))],
        vec![
            ("port", any(1..=65_535_i64)),
            ("tls", any(any_bool())),
            ("ca", secret()),
            ("username", word(&["agent"])),
            ("password", secret()),
            ("protocolVersion", word(&["3.1.1", "5"])),
            ("clientId", word(&["agent-1"])),
        ],
    )
}

fn mqtt_address() -> BoxedStrategy<Value> {
    let command = object(
        vec![("topic", word(&["plant/1/set"]))],
        vec![
            ("template", word(&["{value}", "{\"v\":{value}}"])),
            ("stateTopic", word(&["plant/1/state", "plant/+/state"])),
            ("retain", any(any_bool())),
        ],
    );
    let topic = || ("topic", word(&["plant/+/state", "#", "a/b/#", "/x"]));
    let raw = object(
        vec![topic()],
        vec![("qos", any(0..=2_i64)), ("payload", word(&["raw"]))],
    );
    let json = object(
        vec![
            topic(),
            ("payload", always(json!("json"))),
            ("command", command),
            ("writable", always(json!(true))),
        ],
        vec![
            ("pointer", word(&["/value", "/a/0"])),
            ("qos", any(0..=2_i64)),
        ],
    );
    prop_oneof![raw, json].boxed()
}

/// The same JSON as another text: members in another order, numbers spelled otherwise, white space anywhere.
pub(crate) fn respelled(value: &Value, seed: u64) -> String {
    let mut text = String::new();
    spell(&mut text, value, &mut Numbers(seed));
    text
}

fn spell(text: &mut String, value: &Value, numbers: &mut Numbers) {
    if numbers.below(4) == 0 {
        text.push_str("\n  ");
    }
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => text.push_str(&value.to_string()),
        Value::Number(number) => spell_number(text, number, numbers),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                spell(text, item, numbers);
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            numbers.shuffle(&mut members);
            text.push('{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                text.push_str(&json!(key).to_string());
                text.push(':');
                spell(text, value, numbers);
            }
            text.push('}');
        }
    }
}

fn spell_number(text: &mut String, number: &serde_json::Number, numbers: &mut Numbers) {
    // Up to here, a whole number read as a float is still the same number.
    let whole = number.as_i64().filter(|whole| whole.abs() <= 1 << 53);
    let spelled = match (whole, number.as_f64(), numbers.below(3)) {
        (Some(whole), _, 1) => format!("{whole}.0"),
        (Some(whole), _, 2) => format!("{whole}e0"),
        (None, Some(number), 1) if number.fract() != 0.0 => format!("{number:e}"),
        (None, Some(float), 1) if !number.is_i64() && float.abs() < 9e18 => format!("{float:.0}"),
        _ => number.to_string(),
    };
    text.push_str(&spelled);
}

/// Reproducible numbers (SplitMix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("below a usize")
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
