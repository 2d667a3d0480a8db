//! What is said of bad input: the field, what is expected there, and what was found. Everything at once, bounded, and
//! nothing is changed.

use holdfast_domain::{
    Problem, Sensor, TargetState,
    edit::{Edit, EditError},
    limits,
};
use serde_json::{Value, json};

use crate::support::{
    documents::uuid,
    life::{self, Life, document},
};

/// What is said of an edit that is refused; the device stays what it was.
fn refused(life: &mut Life, what: Edit) -> Vec<Problem> {
    let before = life.state.clone();
    let error = life.edit(what).expect_err("it is refused");
    assert_eq!(life.state, before);
    match error {
        EditError::Invalid(problems) | EditError::NameTaken(problems) => problems.list().to_vec(),
        EditError::NoSuchSensor(id) => panic!("expected problems, found no sensor {id}"),
        EditError::HasSetpoint(id) => panic!("expected problems, found a value set on {id}"),
    }
}

fn one(mut problems: Vec<Problem>) -> Problem {
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

fn changed(path: &str, value: Value) -> Value {
    let mut document = document("boiler-1");
    let (parent, key) = path.rsplit_once('/').expect("a path");
    document.pointer_mut(parent).expect("a place")[key] = value;
    document
}

#[test]
fn each_slip_is_named_with_what_is_expected_and_found() {
    let protocols = "one of modbus, can, opcua, mqtt";
    let known = "one of the fields id, name, kind, unit, writable, limits, settleMs, guards, safeValue, onStop, onHubLost, writeBudget, table, address, dataType, byteOrder, \
                 wordOrder, scale, offset";
    for (path, value, field, expected, found) in [
        (
            "/pollInterval",
            json!(-5),
            "pollInterval",
            "an integer from 10 to 86400000",
            "-5",
        ),
        (
            "/protocol",
            json!("profibus"),
            "protocol",
            protocols,
            "\"profibus\"",
        ),
        ("/protocol", json!(null), "protocol", protocols, "nothing"),
        (
            "/dataPoints/0/adress",
            json!(5),
            "dataPoints[0].adress",
            known,
            "an unknown field",
        ),
        (
            "/connection/unitId",
            json!(256),
            "connection.unitId",
            "an integer from 0 to 255",
            "256",
        ),
        (
            "/enabled",
            json!([]),
            "enabled",
            "true or false",
            "a list of 0 items",
        ),
        (
            "/connection",
            json!({}),
            "connection.type",
            "one of tcp, rtu, rtuOverTcp",
            "nothing",
        ),
        (
            "/dataPoints",
            json!({}),
            "dataPoints",
            "a list",
            "an object with 0 members",
        ),
    ] {
        let mut life = Life::new();
        let problems = refused(&mut life, Edit::Add(changed(path, value)));
        let problem = problems.iter().find(|problem| problem.field == field);
        let problem = problem.unwrap_or_else(|| panic!("{field} in {problems:?}"));
        assert_eq!(
            (problem.expected.as_str(), problem.found.as_str()),
            (expected, found),
            "{field}"
        );
    }
}

#[test]
fn a_name_used_twice_is_refused_wherever_it_comes_from() {
    let mut life = Life::new();
    life.add("boiler-1");
    let other = life.add("boiler-2");
    let expected = (
        "name",
        "a name that no other sensor of the device has",
        "boiler-1",
    );
    for what in [
        Edit::Add(document("boiler-1")),
        Edit::Replace(other, document("boiler-1")),
        Edit::Patch(other, json!({ "name": "boiler-1" })),
    ] {
        let problem = one(refused(&mut life, what));
        assert_eq!(
            (
                problem.field.as_str(),
                problem.expected.as_str(),
                problem.found.as_str()
            ),
            expected
        );
    }
    let both = json!([document("new"), document("new")]);
    assert_eq!(
        one(refused(&mut life, Edit::ReplaceAll(both))).field,
        "protocolAdapterDevices[1].name"
    );

    let point = document("x")["dataPoints"][0].clone();
    let twice = changed("/dataPoints", json!([point, point]));
    assert_eq!(
        one(refused(&mut Life::new(), Edit::Add(twice))).field,
        "dataPoints[1].name"
    );
}

#[test]
fn every_problem_is_named_at_once_up_to_a_bound() {
    let bad = json!({ "name": "", "protocol": "modbus", "pollInterval": 0, "enabled": 1,
        "connection": { "type": "tcp", "unitId": -1, "port": 0 }, "colour": "red" });
    let fields: Vec<String> = refused(&mut Life::new(), Edit::Add(bad))
        .into_iter()
        .map(|problem| problem.field)
        .collect();
    let expected = [
        "name",
        "enabled",
        "pollInterval",
        "connection.host",
        "connection.port",
        "connection.unitId",
        "colour",
    ];
    assert_eq!(fields, expected);

    let many: Vec<Value> = (0..200).map(|_| json!({})).collect();
    let Err(EditError::Invalid(problems)) = Life::new().decide(Edit::ReplaceAll(json!(many)))
    else {
        panic!("200 empty sensors are refused");
    };
    assert_eq!(problems.list().len(), limits::PROBLEMS);
    assert!(problems.to_string().ends_with("and 350 more"), "{problems}");
}

#[test]
fn an_input_is_never_echoed_whole() {
    let long = "x".repeat(100_000);
    for path in [
        "/name",
        "/protocol",
        "/connection/type",
        "/dataPoints/0/dataType",
    ] {
        for problem in refused(&mut Life::new(), Edit::Add(changed(path, json!(long)))) {
            assert!(
                problem.found.len() < 100,
                "{}: {} bytes",
                problem.field,
                problem.found.len()
            );
        }
    }
}

#[test]
fn ids_are_the_hubs_to_give() {
    let mut life = Life::new();
    let id = life.add("a");
    let with_id = |id: Value| changed("/id", id);
    assert_eq!(
        one(refused(&mut life, Edit::Add(with_id(json!(uuid(5)))))).field,
        "id"
    );
    assert_eq!(
        one(refused(
            &mut life,
            Edit::Replace(id, with_id(json!(uuid(5))))
        ))
        .field,
        "id"
    );
    let problems = refused(
        &mut life,
        Edit::ReplaceAll(json!([with_id(json!(uuid(5)))])),
    );
    assert_eq!(one(problems).field, "protocolAdapterDevices[0].id");
    let shouted = with_id(json!(id.to_string().to_uppercase()));
    assert!(
        life.edit(Edit::Replace(id, shouted.clone())).is_ok(),
        "the same id in another spelling"
    );
    assert!(life.edit(Edit::ReplaceAll(json!([shouted]))).is_ok());
}

#[test]
fn a_point_belongs_to_one_sensor() {
    let mut life = Life::new();
    let first = life.add("a");
    let mut copy = life
        .state
        .wanted_by_name("a")
        .expect("it was added")
        .to_json();
    copy.as_object_mut().expect("an object").remove("id");
    copy["name"] = json!("b");
    let problem = one(refused(&mut life, Edit::Add(copy.clone())));
    assert_eq!(problem.field, "dataPoints[0].id");
    assert!(
        problem
            .expected
            .starts_with("an id that no other point of the device has"),
        "{problem}"
    );

    let second = life.add("b");
    let points = json!({ "dataPoints": copy["dataPoints"] });
    assert_eq!(
        one(refused(&mut life, Edit::Patch(second, points))).field,
        "dataPoints[0].id"
    );
    let both = json!([
        life.state
            .wanted_by_name("a")
            .expect("it is there")
            .to_json(),
        copy
    ]);
    let problem = one(refused(&mut life, Edit::ReplaceAll(both)));
    assert_eq!(problem.field, "protocolAdapterDevices[1].dataPoints[0].id");
    assert!(life.edit(Edit::Remove(first)).is_ok());
    assert!(
        life.edit(Edit::Patch(
            second,
            json!({ "dataPoints": copy["dataPoints"] })
        ))
        .is_ok(),
        "it is free now"
    );
}

#[test]
fn a_device_has_room_for_so_many_sensors() {
    let list = |count: usize| {
        Value::Array(
            (0..count)
                .map(|index| document(&format!("s{index}")))
                .collect(),
        )
    };
    let mut life = Life::new();
    let problem = one(refused(
        &mut life,
        Edit::ReplaceAll(list(limits::SENSORS_PER_DEVICE + 1)),
    ));
    assert_eq!(problem.expected, "a list of at most 2000 items");
    life.edit(Edit::ReplaceAll(list(limits::SENSORS_PER_DEVICE)))
        .expect("just as many as may be");
    let problem = one(refused(&mut life, Edit::Add(document("one-more"))));
    assert_eq!(
        (problem.field.as_str(), problem.found.as_str()),
        ("protocolAdapterDevices", "2001")
    );
}

#[test]
fn a_document_is_of_one_device_and_of_a_known_form() {
    for (document, field) in [
        (json!([]), ""),
        (json!({}), ""),
        (json!({ "gateway": {} }), ""),
        (
            json!({ uuid(1).to_string(): {}, uuid(2).to_string(): {} }),
            "",
        ),
    ] {
        let problems = TargetState::from_json(document).expect_err("no target");
        assert_eq!(problems.list()[0].field, field);
    }
    let key = uuid(1).to_string();
    let of = |body: Value| {
        let read = TargetState::from_json(json!({ uuid(1).to_string(): body }));
        read.err().map(|problems| problems.list()[0].field.clone())
    };
    let config = json!({ "protocolAdapterDevices": [] });
    assert_eq!(of(json!({ "version": 1, "config": config })), None);
    assert_eq!(
        of(json!({ "version": 1, "config": config, "schemaVersion": 2 })),
        Some(format!("{key}.schemaVersion"))
    );
    assert_eq!(
        of(json!({ "version": -1, "config": config })),
        Some(format!("{key}.version"))
    );
    assert_eq!(of(json!({ "version": 1 })), Some(format!("{key}.config")));
    let nameless = json!({ "protocolAdapterDevices": [{ "protocol": "modbus" }] });
    let field = of(json!({ "version": 1, "config": nameless }));
    assert_eq!(
        field,
        Some(format!("{key}.config.protocolAdapterDevices[0].id"))
    );
}

#[test]
fn nothing_that_is_read_can_make_a_reader_panic() {
    let shapes = [
        json!(null),
        json!(1),
        json!("x"),
        json!([]),
        json!({}),
        json!([[]]),
        json!({ "id": {} }),
    ];
    for shape in &shapes {
        assert!(Sensor::from_json(shape.clone()).is_err());
        for edit in [Edit::Add(shape.clone()), Edit::ReplaceAll(json!([shape]))] {
            assert!(Life::new().edit(edit).is_err());
        }
        let full = life::sensor(1, "a").to_json();
        for key in full.as_object().expect("an object").keys() {
            let mut document = full.clone();
            document[key] = shape.clone();
            if let Err(problems) = Sensor::from_json(document) {
                assert!(!problems.list().is_empty());
            }
        }
    }
}
