//! Manifests: what is read, what is refused and how that is said, and the schema that editors check with.

use holdfast_cli::manifest::{ManifestError, read_all, read_text, schema::schema};
use jsonschema::Validator;
use serde_json::{Value, json};

const EXAMPLES: [(&str, &str); 2] = [
    ("plant-3.yaml", include_str!("../manifests/plant-3.yaml")),
    (
        "protocols.yaml",
        include_str!("../manifests/protocols.yaml"),
    ),
];

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).expect("a schema")
}

/// The documents of the examples, as JSON.
fn documents() -> Vec<(String, Value)> {
    use serde::Deserialize as _;
    let of = |(file, text): (&str, &'static str)| {
        let documents: Vec<(String, Value)> = serde_yaml_ng::Deserializer::from_str(text)
            .enumerate()
            .map(|(index, document)| {
                (
                    format!("{file} {}", index + 1),
                    Value::deserialize(document).expect("yaml"),
                )
            })
            .collect();
        documents
    };
    EXAMPLES.into_iter().flat_map(of).collect()
}

fn reads(document: &Value) -> Result<(), ManifestError> {
    read_text("test", &document.to_string()).map(drop)
}

fn refusal(yaml: &str) -> String {
    read_text("plant.yaml", yaml)
        .expect_err("refused")
        .to_string()
}

#[test]
fn the_examples_are_manifests() {
    let manifests: Vec<_> = EXAMPLES
        .into_iter()
        .flat_map(|(file, text)| read_text(file, text).expect(file))
        .collect();
    let names: Vec<&str> = manifests.iter().map(|m| m.device.as_str()).collect();
    assert_eq!(names, ["plant-3", "gateway-1", "vehicle-7"]);
    assert_eq!(manifests[0].sensors.len(), 2);
    assert_eq!(
        manifests[0]
            .labels
            .as_ref()
            .map(|labels| labels["site"].as_str()),
        Some("north")
    );
    assert_eq!(manifests[1].labels, None, "left out is not empty");
    assert_eq!(
        manifests[2].labels.as_ref().map(|labels| labels.len()),
        Some(0)
    );
    assert_eq!(
        manifests[0].sensors[0].get("id"),
        None,
        "sensors stay as they were written"
    );
}

#[test]
fn the_schema_takes_the_examples() {
    let validator = validator();
    for (name, document) in documents() {
        let errors: Vec<String> = validator
            .iter_errors(&document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert_eq!(errors, [""; 0], "{name}");
    }
}

/// Every member of the examples taken away, and an unknown one put beside it: the schema and the domain's readers say the
/// same of each. (Rules between two members are the readers' alone.)
#[test]
fn the_schema_and_the_readers_agree() {
    let validator = validator();
    let mut tried = 0;
    for (name, document) in documents() {
        for pointer in members(&document) {
            let mut without = document.clone();
            remove(&mut without, &pointer);
            let read = reads(&without);
            let is_missed = match &read {
                Ok(()) => false,
                Err(ManifestError::Invalid { problems, .. }) => problems
                    .list()
                    .iter()
                    .any(|problem| problem.found == "nothing"),
                Err(error) => panic!("{name} without {pointer}: {error}"),
            };
            let is_valid = validator.is_valid(&without);
            assert_eq!(is_valid, !is_missed, "{name} without {pointer}: {read:?}");
            tried += 1;
            let (parent, _) = pointer.rsplit_once('/').expect("a member has a parent");
            if parent.ends_with("metadata") || parent.ends_with("labels") {
                continue;
            }
            let mut with = document.clone();
            with.pointer_mut(parent).expect("the parent")["surplus"] = json!(1);
            assert!(reads(&with).is_err(), "{name} with {parent}/surplus");
            assert!(!validator.is_valid(&with), "{name} with {parent}/surplus");
        }
    }
    assert!(tried > 100, "only {tried} members");
}

fn members(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(value, "", &mut found);
    found
}

fn collect(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let here = format!("{at}/{key}");
                found.push(here.clone());
                collect(value, &here, found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                collect(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

fn remove(document: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').expect("a member has a parent");
    document
        .pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .expect("the parent")
        .remove(key);
}

#[test]
fn wrong_values_are_wrong_in_the_schema_too() {
    let validator = validator();
    let (_, plant) = documents().swap_remove(0);
    for (pointer, value) in [
        ("/apiVersion", json!("holdfast/v2")),
        ("/device", json!("a/b")),
        ("/sensors/0/protocol", json!("profibus")),
        ("/sensors/0/pollInterval", json!(-5)),
        ("/sensors/0/connection/port", json!(0)),
        ("/sensors/0/connection/type", json!("udp")),
        ("/sensors/0/dataPoints/0/dataType", json!("float16")),
        ("/sensors/0/dataPoints/0/table", json!("register")),
        ("/sensors/1/dataPoints/2/dataType", json!("bit(16)")),
        ("/sensors/1/connection/parity", json!("mark")),
    ] {
        let mut document = plant.clone();
        *document.pointer_mut(pointer).expect(pointer) = value;
        assert!(!validator.is_valid(&document), "{pointer}");
        assert!(reads(&document).is_err(), "{pointer}");
    }
}

#[test]
fn what_is_wrong_is_said_with_file_document_field_expected_and_found() {
    let two = "apiVersion: holdfast/v1\ndevice: a\nsensors: []\n---\napiVersion: holdfast/v1\ndevice: b\nsensors:\n- name: s\n  protocol: modbus\n  pollInterval: -5\n  connection: {type: tcp, host: h, unitId: 1}\n";
    assert_eq!(
        refusal(two),
        "plant.yaml, document 2: sensors[0].pollInterval: expected an integer from 10 to 86400000, found -5"
    );
    let many = refusal(
        "apiVersion: holdfast/v1\nsensors:\n- name: s\n  protocol: profibus\n  pollIntervall: 5\n",
    );
    for said in [
        "plant.yaml, document 1:\n",
        "\n  device: expected a name",
        "found nothing",
        "\n  sensors[0].protocol: expected one of modbus, can, opcua, mqtt, found \"profibus\"",
        "\n  sensors[0].pollIntervall: expected one of the fields",
    ] {
        assert!(many.contains(said), "{said:?} in {many}");
    }
}

#[test]
fn what_yaml_hides_is_refused() {
    let head = "apiVersion: holdfast/v1\ndevice: a\n";
    for (yaml, said) in [
        ("sensors: []\nsensors: []", "duplicate"),
        (
            "sensors: [{1: x}]",
            "sensors[0]: expected keys that are texts (quote them), found a number",
        ),
        ("sensors: !list []", "sensors: expected no tag"),
        (
            "labels: {a: .nan}\nsensors: []",
            "labels.a: expected a number",
        ),
        ("labels: {a: 1}\nsensors: []", "labels.a: expected a text"),
        ("sensors: [", "line"),
        ("", "sensors: expected the list of sensors"),
        (
            "sensors: []\nsensor: []",
            "sensor: expected one of the fields",
        ),
    ] {
        let refused = refusal(&format!("{head}{yaml}"));
        assert!(refused.contains(said), "{said:?} in {refused}");
        assert!(refused.starts_with("plant.yaml, document 1"), "{refused}");
    }
    assert!(refusal("").contains("at least one manifest"));
    assert!(refusal("# nothing\n---\n").contains("at least one manifest"));
    assert!(
        refusal("apiVersion: v1\ndevice: a\nsensors: []")
            .contains("expected \"holdfast/v1\", found \"v1\"")
    );
}

#[test]
fn names_are_used_once() {
    let sensor = "{name: s, protocol: can, connection: {type: socketcan, interface: can0}}";
    let twice = format!("apiVersion: holdfast/v1\ndevice: a\nsensors: [{sensor}, {sensor}]");
    assert!(
        refusal(&twice).contains("sensors[1].name: expected a name that no other sensor"),
        "{}",
        refusal(&twice)
    );
}

#[test]
fn folders_are_read_by_name_and_each_device_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    let manifest =
        |device: &str| format!("apiVersion: holdfast/v1\ndevice: {device}\nsensors: []\n");
    let places = [folder.path().to_owned()];
    assert!(matches!(
        read_all(&places),
        Err(ManifestError::Empty { .. })
    ));
    write("b.yml", &manifest("two"));
    write("a.yaml", &manifest("one"));
    write(
        "c.json",
        r#"{"apiVersion":"holdfast/v1","device":"three","sensors":[]}"#,
    );
    write("notes.txt", "not a manifest");
    let names: Vec<String> = read_all(&places)
        .expect("read")
        .iter()
        .map(|manifest| manifest.device.to_string())
        .collect();
    assert_eq!(names, ["one", "two", "three"]);
    write("d.yaml", &manifest("two"));
    let error = read_all(&places).expect_err("twice").to_string();
    assert!(
        error.contains("d.yaml, document 1") && error.contains("b.yml, document 1"),
        "{error}"
    );
    assert!(matches!(
        read_all(&["/nonexistent/x.yaml".into()]),
        Err(ManifestError::Read { .. })
    ));
}
