//! What is read is what was written: spelling, order and defaults do not matter, and nothing unknown is lost.

use std::collections::BTreeMap;

use holdfast_domain::{
    DeviceId, Failure, Fingerprint, Health, HealthStatus, Incarnation, Item, Outcome, Path,
    PointValue, Problems, Report, ReportOrder, Sensor, SensorId, TargetDocument, TargetState,
    canonical::differing_paths,
    document::{
        command::Commands,
        hold::HoldSettings,
        report::running_fingerprint,
        setpoint::Setpoints,
        target::{config_document, config_from_slice},
    },
};
use jiff::{SignedDuration, Timestamp};
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Map, Value, json};

use crate::support::{
    documents::{self, PROTOCOLS, numbered_sensor, respelled, uuid},
    life::start,
};

fn read(document: Value) -> Sensor {
    Sensor::from_json(document)
        .unwrap_or_else(|problems| panic!("expected a valid sensor, found {problems}"))
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// Up to six sensors of any protocols, in versions.
fn items() -> impl Strategy<Value = Vec<Item>> {
    vec((0..4_usize, 0..100_u64), 0..6).prop_flat_map(|chosen| {
        let items: Vec<_> = chosen
            .into_iter()
            .enumerate()
            .map(|(number, (protocol, version))| {
                numbered_sensor(PROTOCOLS[protocol], number as u128).prop_map(move |document| {
                    Item {
                        config_version: version,
                        sensor: read(document).into(),
                    }
                })
            })
            .collect();
        items
    })
}

fn health() -> impl Strategy<Value = Health> {
    let status = prop::sample::select(
        &[
            HealthStatus::Online,
            HealthStatus::Degraded,
            HealthStatus::Offline,
        ][..],
    );
    let since = (0..2_000_000_000_000_000_i64)
        .prop_map(|micros| Timestamp::from_microsecond(micros).expect("a time"));
    (status, since, proptest::option::of("[a-z äß\"\\\\]{1,20}")).prop_map(
        |(status, since, reason)| Health {
            status,
            since,
            reason,
        },
    )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let failure = (
        "[a-z \"\n]{1,30}",
        1..1_000_000_u32,
        proptest::num::u64::ANY,
    );
    (0..1_000_u64, items(), vec(failure, 0..4)).prop_map(|(version, running, failures)| Outcome {
        version,
        running,
        failures: failures
            .into_iter()
            .enumerate()
            .map(|(index, (error, attempts, content))| Failure {
                id: SensorId(uuid(100 + index as u128)),
                fingerprint: Fingerprint::of_bytes(&content.to_be_bytes()),
                error,
                attempts,
            })
            .collect(),
    })
}

prop_compose! {
    fn report()(
        order in (1..100_u64, 1..1_000_u64),
        versions in (0..1_000_u64, 0..10_u64),
        outcome in proptest::option::of(outcome()),
        health in proptest::option::of(proptest::collection::btree_map(0..9_u128, health(), 0..4)),
        agent_version in proptest::option::of("[0-9.]{1,8}"),
        is_newer in proptest::bool::ANY,
    ) -> Report {
        Report {
            order: ReportOrder { incarnation: Incarnation(uuid(9)), boot: order.0, sequence: order.1 },
            held_version: versions.0,
            running_fingerprint: running_fingerprint(outcome.iter().flat_map(|outcome| &outcome.running)),
            looked_revision: versions.1,
            outcome,
            health: health.map(|all| all.into_iter().map(|(id, health)| (SensorId(uuid(id)), health)).collect()),
            values: None,
            agent_version,
            extra: if is_newer { newer_field() } else { Map::new() },
        }
    }
}

fn newer_field() -> Map<String, Value> {
    Map::from_iter([("somethingNewer".to_owned(), json!({ "a": ["b", null] }))])
}

/// Every object of a sensor's document whose fields have a meaning, by its path; `metadata` is people's own.
fn objects(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.push(path.to_owned());
            for (key, value) in members.iter().filter(|(key, _)| *key != "metadata") {
                objects(value, &format!("{path}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                objects(item, &format!("{path}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// `/dataPoints/0/limits` as problems name it: `dataPoints[0].limits.`.
fn as_field(pointer: &str) -> String {
    let segments = pointer.split('/').skip(1);
    segments.fold(String::new(), |path, segment| {
        match segment.parse::<usize>() {
            Ok(index) => format!("{}[{index}].", path.trim_end_matches('.')),
            Err(_) => format!("{path}{segment}."),
        }
    })
}

proptest! {
    #[test]
    fn a_sensor_is_the_same_however_it_is_written(document in documents::sensor(), seed: u64) {
        let sensor = read(document.clone());
        prop_assert!(sensor.not_understood().is_empty(), "{:?}", sensor.not_understood());
        let other = read(parse(&respelled(&document, seed)));
        prop_assert_eq!(sensor.fingerprint(), other.fingerprint());
    }

    #[test]
    fn what_is_written_is_read_as_the_same_and_has_every_default(document in documents::sensor(), seed: u64) {
        let sensor = read(document);
        let written = sensor.to_json();
        for field in ["enabled", "pollInterval", "dataPoints", "metadata"] {
            prop_assert!(!written[field].is_null(), "{field} is written");
        }
        let again = read(parse(&respelled(&written, seed)));
        prop_assert_eq!(&sensor, &again);
        prop_assert_eq!(differing_paths(&written, &again.to_json(), 9), Vec::<String>::new());
        let again = read(parse(&written.to_string()));
        prop_assert_eq!(sensor.content(), again.content());
        prop_assert_eq!(&written, &again.to_json());
        prop_assert_eq!(differing_paths(&written, &again.to_json(), 9), Vec::<String>::new());
        let from_serde: Sensor = serde_json::from_value(written).expect("a sensor");
        prop_assert_eq!(&sensor, &from_serde);
    }

    #[test]
    fn another_content_has_another_fingerprint(document in documents::sensor(), poll in 10..86_400_000_u32) {
        let sensor = read(document.clone());
        let mut other = document;
        other["pollInterval"] = json!(poll);
        prop_assert_eq!(sensor == read(other), sensor.content().poll_interval_ms == poll);
        let toggled = sensor.with_enabled(!sensor.enabled());
        prop_assert_ne!(&toggled, &sensor);
        prop_assert_eq!(&toggled.with_enabled(sensor.enabled()), &sensor);
    }

    #[test]
    fn a_field_that_is_not_known_is_kept_and_named(document in documents::sensor(), place: Index, value: u8) {
        let plain = read(document.clone());
        let mut places = Vec::new();
        objects(&plain.to_json(), "", &mut places);
        let place = place.get(&places);
        let mut newer = plain.to_json();
        newer.pointer_mut(place).expect("it was found there")["someThingNewer"] = json!({ "v": value });

        let sensor = read(newer.clone());
        let field = format!("{}someThingNewer", as_field(place));
        prop_assert_eq!(sensor.not_understood().len(), 1);
        prop_assert_eq!(&sensor.not_understood()[0].field, &field);
        prop_assert_ne!(&sensor, &plain);
        let again = read(sensor.to_json());
        prop_assert_eq!(&again, &sensor, "it survives being stored");
        prop_assert_eq!(again.not_understood(), sensor.not_understood());
        prop_assert_eq!(sensor.to_json().pointer(place).map(|object| object["someThingNewer"]["v"].clone()), Some(json!(value)));

        let mut problems = Problems::default();
        Sensor::read(newer, &Path::ROOT, &mut problems).expect("it can be read");
        prop_assert!(problems.is_empty());
        problems.refuse_unknown();
        prop_assert_eq!(problems.list().len(), 1);
        prop_assert_eq!(&problems.list()[0].field, &field);
        prop_assert_eq!(&problems.list()[0].found, "an unknown field");
    }

    #[test]
    fn a_target_is_read_as_it_was_written(
        items in items(),
        version: u32,
        look_revision in 0..100_u64,
        needs_deployment: bool,
        is_newer: bool,
        seed: u64,
    ) {
        let extra = if is_newer { newer_field() } else { Map::new() };
        let target = TargetState { version: version.into(), needs_deployment, items, look_revision, setpoints: Setpoints::default(), hold: HoldSettings::default(), commands: Commands::default(), extra };
        let device = DeviceId(uuid(7));
        let text = respelled(&target.to_json(device), seed);
        prop_assert_eq!(TargetState::from_json(parse(&text)), Ok((device, target.clone())));
        prop_assert_eq!(TargetState::from_slice(text.as_bytes()), Ok((device, target.clone())));
        prop_assert_eq!(TargetDocument::from_slice(text.as_bytes()), Ok((device, TargetDocument::Whole(target.clone()))));
        let config = serde_json::to_vec(&config_document(&target.items)).expect("JSON");
        prop_assert_eq!(config_from_slice(&config), Ok(target.items.clone()));

        let text = serde_json::to_vec(&target.changes(device)).expect("JSON");
        let Ok((_, TargetDocument::Changes(changes))) = TargetDocument::from_slice(&text) else {
            return Err(TestCaseError::fail("it is without its configuration"));
        };
        prop_assert_eq!(changes.held_config(), target.config_fingerprint());
        prop_assert_eq!(changes.clone().onto(&target.items), Some(target.clone()));
        prop_assert!(TargetState::from_slice(&text).is_err(), "absent is not empty");
        if let Some(first) = target.items.first() {
            prop_assert_eq!(changes.clone().onto(&target.items[1..]), None);
            let other = Item { config_version: first.config_version + 1, ..first.clone() };
            let others: Vec<Item> = [other].into_iter().chain(target.items[1..].iter().cloned()).collect();
            prop_assert_eq!(changes.onto(&others), None);
        }
        let other = TargetState { needs_deployment: !needs_deployment, ..target.clone() };
        prop_assert_eq!(other.etag(), target.etag(), "derived, so outside the entity tag");
    }

    #[test]
    fn a_report_is_read_as_it_was_written(report in report(), seed: u64) {
        let device = DeviceId(uuid(7));
        let text = respelled(&report.to_json(device), seed);
        prop_assert_eq!(Report::from_json(parse(&text)), Ok((device, report)));
    }

    #[test]
    fn what_runs_has_the_same_identity_in_any_order(items in items(), seed: u64) {
        let mut shuffled = items.clone();
        documents::Numbers(seed).shuffle(&mut shuffled);
        prop_assert_eq!(running_fingerprint(&items), running_fingerprint(&shuffled));
        if let Some(first) = shuffled.first_mut() {
            first.config_version += 1;
            prop_assert_ne!(running_fingerprint(&items), running_fingerprint(&shuffled));
        }
    }

    #[test]
    fn a_value_keeps_its_last_digit(integer: i64, unsigned: u64, float in -1e300..1e300_f64) {
        for value in [PointValue::from_i64(integer), PointValue::from_u64(unsigned), PointValue::Number(float)] {
            let text = serde_json::to_string(&value).expect("JSON");
            prop_assert_eq!(&serde_json::from_str::<PointValue>(&text).expect("a value"), &value);
            prop_assert_eq!(&serde_json::from_value::<PointValue>(value.to_json()).expect("a value"), &value);
        }
        let as_number: PointValue = serde_json::from_str(&unsigned.to_string()).expect("a value");
        prop_assert_eq!(as_number, PointValue::from_u64(unsigned), "beyond 2^53 it becomes text, not another number");
    }
}

#[test]
fn a_value_is_a_number_a_truth_or_a_text() {
    for (text, value) in [
        ("true", PointValue::Bool(true)),
        ("-3", PointValue::Integer(-3)),
        ("1.5", PointValue::Number(1.5)),
        ("\"on\"", PointValue::Text("on".into())),
        (
            "9007199254740993",
            PointValue::Text("9007199254740993".into()),
        ),
    ] {
        assert_eq!(serde_json::from_str::<PointValue>(text).expect(text), value);
    }
    for bad in ["null", "[]", "{}", "1e999"] {
        assert!(serde_json::from_str::<PointValue>(bad).is_err(), "{bad}");
    }
    assert_eq!(PointValue::from_f64(f64::NAN), None);
    assert_eq!(PointValue::from_f64(f64::INFINITY), None);
}

#[test]
fn a_whole_number_is_the_same_however_large_it_is_spelled() {
    let of = |text: &str| Fingerprint::of_value(&parse(text));
    for (one, other) in [
        ("1e16", "10000000000000000"),
        ("1e19", "10000000000000000000"),
        ("-0.0", "0"),
        ("9.2e18", "9200000000000000000"),
        ("100e-2", "1"),
    ] {
        assert_eq!(of(one), of(other), "{one} and {other}");
    }
    assert_ne!(of("9007199254740993"), of("9007199254740992"));
    assert_ne!(of("1e300"), of("2e300"));
}

#[test]
fn elements_in_another_order_are_a_difference_that_is_named() {
    let list =
        |ids: [&str; 2]| json!({ "dataPoints": ids.map(|id| json!({ "id": id, "name": id })) });
    let paths = differing_paths(&list(["a", "b"]), &list(["b", "a"]), 9);
    assert_eq!(paths, ["dataPoints"]);
}

#[test]
fn limits_that_limit_nothing_are_none() {
    let mut document = crate::support::life::sensor(1, "a").to_json();
    let plain = read(document.clone());
    document["dataPoints"][0]["limits"] = json!({ "min": null });
    assert_eq!(read(document), plain);
}

fn full_report() -> Value {
    let sensor = crate::support::life::sensor(1, "a");
    let running = [Item {
        config_version: 3,
        sensor: sensor.into(),
    }];
    let report = Report {
        order: ReportOrder {
            incarnation: Incarnation(uuid(9)),
            boot: 1,
            sequence: 1,
        },
        held_version: 3,
        running_fingerprint: running_fingerprint(&running),
        looked_revision: 0,
        outcome: Some(Outcome {
            version: 3,
            running: running.to_vec(),
            failures: Vec::new(),
        }),
        health: Some(BTreeMap::new()),
        values: None,
        agent_version: None,
        extra: Map::new(),
    };
    report.to_json(DeviceId(uuid(7)))
}

#[test]
fn absent_is_not_empty() {
    let key = uuid(7).to_string();
    let read = |document: &Value| Report::from_json(document.clone()).map(|(_, report)| report);
    let mut document = full_report();
    let empty = json!({ "protocolAdapterDevices": [] });
    document[&key]["config"] = empty;
    let report = read(&document).expect("a report");
    assert_eq!(
        report.outcome.map(|outcome| outcome.running.len()),
        Some(0),
        "none run"
    );

    for gone in ["version", "config", "failures"] {
        document[&key][gone] = Value::Null;
    }
    document[&key]["health"] = Value::Null;
    let report = read(&document).expect("a report");
    assert_eq!(
        (report.outcome, report.health),
        (None, None),
        "nothing is said of it"
    );

    for some in [
        ["version", "config"],
        ["config", "failures"],
        ["version", "failures"],
    ] {
        let mut document = full_report();
        for gone in ["version", "config", "failures"]
            .into_iter()
            .filter(|gone| !some.contains(gone))
        {
            document[&key]
                .as_object_mut()
                .expect("an object")
                .remove(gone);
        }
        let problems = read(&document).expect_err("a half block");
        assert_eq!(problems.list()[0].field, format!("{key}.config"));
    }
}

#[test]
fn a_report_is_ordered_or_refused() {
    let key = uuid(7).to_string();
    for field in [
        "incarnation",
        "boot",
        "sequence",
        "heldVersion",
        "runningFingerprint",
    ] {
        let mut document = full_report();
        document[&key]
            .as_object_mut()
            .expect("an object")
            .remove(field);
        let problems = Report::from_json(document).expect_err(field);
        assert_eq!(problems.list()[0].field, format!("{key}.{field}"));
        assert_eq!(problems.list()[0].found, "nothing");
    }
}

#[test]
fn one_sensor_is_spoken_of_once() {
    let key = uuid(7).to_string();
    let health = json!({ "status": "online", "since": start() });
    let sensor = uuid(0xabc).to_string();
    let mut document = full_report();
    document[&key]["health"] =
        json!({ sensor.to_uppercase(): health.clone(), sensor.clone(): health });
    let problems = Report::from_json(document).expect_err("one sensor in two spellings");
    assert!(
        problems.list()[0]
            .field
            .starts_with(&format!("{key}.health.")),
        "{problems}"
    );

    let failure = json!({ "id": sensor, "fingerprint": Fingerprint::of_bytes(b""), "error": "x", "attempts": 1 });
    let mut document = full_report();
    document[&key]["failures"] = json!([failure.clone(), failure]);
    let problems = Report::from_json(document).expect_err("one sensor twice");
    assert_eq!(problems.list()[0].field, format!("{key}.failures[1].id"));
}

#[test]
fn what_no_store_can_hold_is_mended_in_reports() {
    let key = uuid(7).to_string();
    let mut document = full_report();
    let failure = json!({ "id": uuid(5), "fingerprint": Fingerprint::of_bytes(b""), "error": "answer \0\0", "attempts": 1 });
    document[&key]["failures"] = json!([failure]);
    let since = start() + SignedDuration::from_nanos(1_500);
    document[&key]["health"] =
        json!({ uuid(1).to_string(): { "status": "offline", "since": since, "reason": "\0" } });
    let (_, report) = Report::from_json(document).expect("a report");
    let outcome = report.outcome.expect("an outcome");
    assert_eq!(outcome.failures[0].error, "answer \u{FFFD}\u{FFFD}");
    let health = &report.health.expect("health")[&SensorId(uuid(1))];
    assert_eq!(
        health.since,
        start() + SignedDuration::from_micros(1),
        "in whole microseconds"
    );
    assert_eq!(health.reason.as_deref(), Some("\u{FFFD}"));
}

#[test]
fn a_text_that_is_wrong_is_wrong_in_the_same_way_read_either_way() {
    let device = DeviceId(uuid(7));
    let sensor = json!({
        "id": uuid(1), "name": "a", "protocol": "modbus", "connection": { "type": "tcp", "host": "h", "unitId": 1 },
    });
    let config = |sensors: Value| json!({ "protocolAdapterDevices": sensors });
    let newer = json!({ "id": uuid(2), "name": "b", "protocol": "modbus", "newer": 1,
        "connection": { "type": "tcp", "host": "h", "unitId": 1 } });
    let bodies = [
        json!({ "version": 1, "config": config(json!([sensor, newer])) }),
        json!({ "version": 1, "config": config(json!([sensor, sensor])) }),
        json!({ "version": 1, "config": config(json!([{ "id": 5 }])) }),
        json!({ "version": 1, "config": config(json!({})) }),
        json!({ "version": 1, "config": { "other": [] } }),
        json!({ "version": 1, "config": { "protocolAdapterDevices": [], "other": 1 } }),
        json!({ "version": -1, "config": config(json!([])) }),
        json!({ "config": config(json!([])), "setpoints": { "revision": "x" } }),
        json!([]),
    ];
    for body in bodies {
        for document in [
            json!({ device.to_string(): body }),
            body.clone(),
            json!({ "no uuid": body }),
        ] {
            let text = document.to_string();
            let (slow, fast) = (
                TargetState::from_json(document),
                TargetState::from_slice(text.as_bytes()),
            );
            assert_eq!(fast, slow, "{text}");
        }
    }
    assert!(TargetState::from_slice(b"{").is_err());
}
