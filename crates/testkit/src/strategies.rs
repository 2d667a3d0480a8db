//! Random documents for property tests: valid sensors of every protocol, targets, edits and reports.
//!
//! What comes out is valid; ids are unique within a target. Names are few, so that they meet.

use std::{collections::BTreeMap, sync::Arc};

use holdfast_domain::{
    Failure, Health, HealthStatus, Item, PointId, Protocol, Report, ReportOrder, Sensor, SensorId,
    document::report::{Outcome, running_fingerprint},
    edit::Edit,
};
use jiff::Timestamp;
use proptest::{collection, option, prelude::*, sample};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::builders::{PROTOCOLS, document, sensor_of, uuid_of};

/// A protocol.
pub fn protocol() -> impl Strategy<Value = Protocol> {
    sample::select(PROTOCOLS.to_vec())
}

/// One of few names, odd ones among them.
pub fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..8_u8).prop_map(|index| format!("s-{index}")),
        1 => sample::select(vec!["Kessel Süd", "°C \"1\"", "a b", "𝄞", "-"]).prop_map(str::to_owned),
    ]
}

/// A UUID.
pub fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(|bits| uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid())
}

/// Any JSON value, not deep.
pub fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1.0e9..1.0e9_f64).prop_map(Value::from),
        "[a-zä\"\\\\ ]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            collection::btree_map("[a-z]{1,3}", inner, 0..3).prop_map(|members| json!(members)),
        ]
    })
}

/// A sensor as an operator writes it, without ids.
pub fn sensor_document() -> impl Strategy<Value = Value> {
    let metadata = collection::btree_map("[a-z]{1,3}", json_value(), 0..3);
    let points = collection::vec(modbus_point(), 0..4);
    (
        protocol(),
        name(),
        10..5_000_u32,
        any::<bool>(),
        metadata,
        points,
    )
        .prop_map(
            |(protocol, name, poll_interval, enabled, metadata, points)| {
                let mut document = document(protocol, &name);
                document["pollInterval"] = json!(poll_interval);
                document["enabled"] = json!(enabled);
                document["metadata"] = json!(metadata);
                if protocol == Protocol::Modbus {
                    let named = points.into_iter().enumerate().map(|(index, mut point)| {
                        point["name"] = json!(format!("p-{index}"));
                        point
                    });
                    document["dataPoints"] = named.collect();
                    document["connection"]["unitId"] = json!(poll_interval % 248);
                }
                document
            },
        )
}

/// A Modbus point without id and name.
pub fn modbus_point() -> impl Strategy<Value = Value> {
    let types = vec![
        "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64",
    ];
    let tables = vec!["holding", "input"];
    let orders = vec!["big", "little"];
    let scale = prop_oneof![Just(1.0), 1.0e-3..1.0e3_f64];
    (sample::select(types), sample::select(tables), sample::select(orders), 0..65_000_u16, scale, -10.0..10.0_f64)
        .prop_map(|(data_type, table, word_order, address, scale, offset)| {
            json!({ "table": table, "address": address, "dataType": data_type, "wordOrder": word_order,
                "scale": scale, "offset": offset })
        })
}

/// A sensor.
pub fn sensor() -> impl Strategy<Value = Sensor> {
    (sensor_document(), uuid()).prop_map(|(mut document, id)| {
        document["id"] = json!(id);
        for point in document["dataPoints"].as_array_mut().into_iter().flatten() {
            let name = format!("{id}/{}", point["name"]);
            point["id"] = json!(PointId(uuid_of(&name)));
        }
        sensor_of(document)
    })
}

/// A sensor in a versioned document.
pub fn item() -> impl Strategy<Value = Item> {
    (sensor(), 1..100_u64).prop_map(|(sensor, config_version)| Item {
        config_version,
        sensor: Arc::new(sensor),
    })
}

/// Items whose ids and names are unique, as in a target.
pub fn items() -> impl Strategy<Value = Vec<Item>> {
    collection::vec(item(), 0..8).prop_map(|items| {
        let mut names = std::collections::BTreeSet::new();
        items
            .into_iter()
            .filter(|item| names.insert(item.sensor.name().clone()))
            .collect()
    })
}

/// What may run where `wanted` is wanted: some of it, some of it with other content, and something else.
pub fn running(wanted: Vec<Item>) -> impl Strategy<Value = Vec<Item>> {
    let fates = collection::vec(0..4_u8, wanted.len());
    (fates, option::of(item())).prop_map(move |(fates, other)| {
        let mut running: Vec<Item> = wanted
            .iter()
            .zip(fates)
            .filter_map(|(item, fate)| match fate {
                0 => None,
                1 => {
                    let sensor = Arc::new(item.sensor.with_enabled(!item.sensor.enabled()));
                    Some(Item {
                        config_version: item.config_version,
                        sensor,
                    })
                }
                _ => Some(item.clone()),
            })
            .collect();
        let is_new = |other: &Item| {
            running
                .iter()
                .all(|item| item.sensor.name() != other.sensor.name())
        };
        if let Some(other) = other.filter(is_new) {
            running.push(other);
        }
        running
    })
}

/// An edit of a target with these items; some are refused.
pub fn edit(items: &[Item]) -> BoxedStrategy<Edit> {
    let add = sensor_document().prop_map(Edit::Add);
    let replace_all = collection::vec(sensor_document(), 0..4)
        .prop_map(|documents| Edit::ReplaceAll(json!(documents)));
    if items.is_empty() {
        return prop_oneof![3 => add, 1 => replace_all].boxed();
    }
    let ids: Vec<SensorId> = items.iter().map(|item| item.sensor.id()).collect();
    let id = sample::select(ids);
    let patch = prop_oneof![
        (10..5_000_u32).prop_map(|interval| json!({ "pollInterval": interval })),
        any::<bool>().prop_map(|enabled| json!({ "enabled": enabled })),
        name().prop_map(|name| json!({ "name": name })),
        Just(json!({})),
    ];
    prop_oneof![
        3 => add,
        1 => replace_all,
        2 => (id.clone(), sensor_document()).prop_map(|(id, document)| Edit::Replace(id, document)),
        3 => (id.clone(), patch).prop_map(|(id, patch)| Edit::Patch(id, patch)),
        2 => id.prop_map(Edit::Remove),
    ]
    .boxed()
}

/// A report that leaves nothing out, of an agent that works on `wanted` at `version`.
pub fn full_report(
    order: ReportOrder,
    version: u64,
    wanted: Vec<Item>,
) -> impl Strategy<Value = Report> {
    (
        running(wanted.clone()),
        0..=version,
        any::<bool>(),
        collection::vec(1..5_u32, wanted.len()),
    )
        .prop_map(move |(running, worked, is_healthy, attempts)| {
            let runs = |item: &&Item| running.iter().any(|other| other.sensor == item.sensor);
            let failures = wanted
                .iter()
                .zip(&attempts)
                .filter(|(item, _)| !runs(item))
                .map(|(item, attempts)| Failure {
                    id: item.sensor.id(),
                    fingerprint: item.sensor.fingerprint(),
                    error: "connection refused".to_owned(),
                    attempts: *attempts,
                })
                .collect();
            let status = if is_healthy {
                HealthStatus::Online
            } else {
                HealthStatus::Offline
            };
            let health = |item: &Item| {
                (
                    item.sensor.id(),
                    Health {
                        status,
                        since: Timestamp::UNIX_EPOCH,
                        reason: None,
                    },
                )
            };
            Report {
                order,
                held_version: version,
                running_fingerprint: running_fingerprint(&running),
                looked_revision: 0,
                health: Some(running.iter().map(health).collect::<BTreeMap<_, _>>()),
                outcome: Some(Outcome {
                    version: worked,
                    running,
                    failures,
                }),
                values: None,
                agent_version: None,
                extra: Map::new(),
            }
        })
}
