//! Documents, sensors and tokens for tests: the least that is valid, with something of everything in it.
//!
//! What is made from a name alone has ids made from that name, so that two calls give the same.

use std::sync::Arc;

use holdfast_domain::{
    DeviceId, Item, Protocol, Sensor, TargetState, TokenId,
    document::{command::Commands, hold::HoldSettings, setpoint::Setpoints},
    row::Actor,
};
use holdfast_ports::tokens::{Grant, ProvisioningKey, Role, SecretHash, TokenRecord};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// All protocols.
pub const PROTOCOLS: [Protocol; 4] = [
    Protocol::Modbus,
    Protocol::Can,
    Protocol::Opcua,
    Protocol::Mqtt,
];

/// A UUID made from a name: the same name, the same UUID.
#[must_use]
pub fn uuid_of(name: &str) -> Uuid {
    let hash = |start: u64| {
        name.bytes().fold(start, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        })
    };
    let bits =
        u128::from(hash(0xCBF2_9CE4_8422_2325)) << 64 | u128::from(hash(0x8422_2325_CBF2_9CE4));
    uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid()
}

/// A sensor as an operator writes it, without ids.
#[must_use]
pub fn document(protocol: Protocol, name: &str) -> Value {
    match protocol {
        Protocol::Modbus => modbus_document(name, "10.0.0.5", 502),
        Protocol::Can => json!({
            "name": name, "protocol": "can", "pollInterval": 100,
            "connection": { "type": "socketcan", "interface": "can0", "fd": true },
            "dataPoints": [
                { "name": "speed", "frameId": 0x123, "startBit": 8, "length": 16, "scale": 0.01, "unit": "m/s" },
                { "name": "torque", "message": "Motor", "signal": "Torque", "timeoutMs": 500 } ],
        }),
        Protocol::Opcua => json!({
            "name": name, "protocol": "opcua", "pollInterval": 500,
            "connection": { "endpointUrl": "opc.tcp://plc-1:4840/path", "securityPolicy": "Basic256Sha256",
                "securityMode": "SignAndEncrypt",
                "identity": { "type": "user", "username": "agent", "password": { "secret": "env:PLC_PASSWORD" } } },
            "dataPoints": [
                { "name": "level", "nodeId": "ns=2;s=Tank.Level", "samplingIntervalMs": 250, "deadband": 0.1 } ],
        }),
        Protocol::Mqtt => json!({
            "name": name, "protocol": "mqtt",
            "connection": { "host": "broker", "tls": true, "protocolVersion": "3.1.1" },
            "dataPoints": [
                { "name": "state", "topic": "plant/+/state", "payload": "json", "pointer": "/value", "qos": 2,
                  "writable": true, "command": { "topic": "plant/1/set", "template": "{\"v\":{value}}" } },
                { "name": "reset", "topic": "plant/1/alarm", "payload": "json", "kind": "pulse", "writable": true,
                  "command": { "topic": "plant/1/reset", "template": "{value}" } } ],
        }),
    }
}

/// A Modbus TCP sensor as an operator writes it: a float to read and a set temperature to write.
#[must_use]
pub fn modbus_document(name: &str, host: &str, port: u16) -> Value {
    json!({
        "name": name, "protocol": "modbus", "pollInterval": 1000,
        "connection": { "type": "tcp", "host": host, "port": port, "unitId": 1 },
        "dataPoints": [
            { "name": "temperature", "table": "holding", "address": 100, "dataType": "float32", "unit": "°C" },
            { "name": "target-temperature", "table": "holding", "address": 200, "dataType": "int16", "scale": 0.1,
              "unit": "°C", "writable": true, "limits": { "min": 20, "max": 90 }, "settleMs": 200 } ],
        "metadata": { "line": 3, "note": "Kessel \"Süd\" \\ 1" },
    })
}

/// A Modbus TCP sensor without points, for tests that need very many.
#[must_use]
pub fn small_document(name: &str) -> Value {
    json!({
        "name": name, "protocol": "modbus",
        "connection": { "type": "tcp", "host": "10.0.0.5", "unitId": 1 },
    })
}

/// The sensor of a document, with ids made from names where there are none.
///
/// # Panics
/// If the document is not valid: tests that want that use [`Sensor::from_json`].
#[must_use]
pub fn sensor_of(mut document: Value) -> Sensor {
    let name = document["name"].as_str().unwrap_or_default().to_owned();
    give_id(&mut document, || uuid_of(&name));
    for point in document["dataPoints"].as_array_mut().into_iter().flatten() {
        let path = format!("{name}/{}", point["name"].as_str().unwrap_or_default());
        give_id(point, || uuid_of(&path));
    }
    Sensor::from_json(document)
        .unwrap_or_else(|problems| panic!("expected a valid sensor, found {problems}"))
}

fn give_id(document: &mut Value, id: impl FnOnce() -> Uuid) {
    if document["id"].is_null() {
        document["id"] = json!(id().to_string());
    }
}

/// A sensor of a protocol.
#[must_use]
pub fn sensor(protocol: Protocol, name: &str) -> Sensor {
    sensor_of(document(protocol, name))
}

/// A Modbus TCP sensor.
#[must_use]
pub fn modbus_sensor(name: &str) -> Sensor {
    sensor(Protocol::Modbus, name)
}

/// A sensor in a versioned document.
#[must_use]
pub fn item(config_version: u64, sensor: Sensor) -> Item {
    Item {
        config_version,
        sensor: Arc::new(sensor),
    }
}

/// A target of these sensors, as an agent gets it.
#[must_use]
pub fn target(version: u64, items: Vec<Item>) -> TargetState {
    TargetState {
        version,
        needs_deployment: true,
        items,
        look_revision: 0,
        setpoints: Setpoints::default(),
        hold: HoldSettings::default(),
        commands: Commands::default(),
        extra: Map::new(),
    }
}

/// An operator's token, whose hash is made from its name.
#[must_use]
pub fn operator_token(name: &str, role: Role, now: Timestamp) -> TokenRecord {
    token(name, Grant::Operator(role), now)
}

/// An agent's token, whose hash is made from its name.
#[must_use]
pub fn agent_token(name: &str, device: DeviceId, now: Timestamp) -> TokenRecord {
    token(name, Grant::Agent(device), now)
}

fn token(name: &str, grant: Grant, now: Timestamp) -> TokenRecord {
    TokenRecord {
        id: TokenId(uuid_of(name)),
        name: name.to_owned(),
        hash: hash_of(name),
        grant,
        created_at: now,
        created_by: Actor::named("anna"),
        expires_at: None,
        revoked: None,
    }
}

/// A provisioning key for any device, whose hash is made from its name.
#[must_use]
pub fn provisioning_key(name: &str, uses_left: Option<u32>, now: Timestamp) -> ProvisioningKey {
    ProvisioningKey {
        id: TokenId(uuid_of(name)),
        name: name.to_owned(),
        hash: hash_of(name),
        device: None,
        uses_left,
        created_at: now,
        created_by: Actor::named("anna"),
        expires_at: None,
        revoked_at: None,
    }
}

/// A stand-in for the hash of a secret.
#[must_use]
pub fn hash_of(name: &str) -> SecretHash {
    let (id, other) = (uuid_of(name), uuid_of(&format!("{name} again")));
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(id.as_bytes());
    hash[16..].copy_from_slice(other.as_bytes());
    SecretHash(hash)
}
