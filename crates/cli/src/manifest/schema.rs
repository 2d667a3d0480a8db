//! The JSON Schema of manifests (draft 2020-12), made from the schemas of the domain's documents.
//!
//! What the domain derives describes documents as the hub writes them: everything spelled out, parts put together with
//! `allOf`. People leave out what has a default, and an editor must mark a slip: so the parts are put into one closed
//! object for each form, and what may be left out is not required. A test holds this against the domain's readers.

use std::collections::BTreeMap;

use holdfast_domain::{
    Name, Protocol,
    document::point::Point,
    limits,
    protocol::{can, modbus, mqtt, opcua},
};
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema, openapi::RefOr};

/// Fields that may be left out, because they have a default or are given by the hub; wherever they occur.
const OPTIONAL: &[&str] = &[
    "baudRate",
    "byteOrder",
    "cycleMs",
    "dataBits",
    "deadband",
    "enabled",
    "extended",
    "fd",
    "guards",
    "id",
    "identity",
    "kind",
    "lifetime",
    "maxAgeMs",
    "maxGap",
    "offset",
    "onStop",
    "parity",
    "payload",
    "perDay",
    "port",
    "protocolVersion",
    "qos",
    "retain",
    "scale",
    "securityMode",
    "securityPolicy",
    "settleMs",
    "signed",
    "stopBits",
    "template",
    "then",
    "timeoutMs",
    "tls",
    "trust",
    "wordOrder",
    "writable",
];

/// The schema.
#[must_use]
pub fn schema() -> Value {
    let mut parts = Parts::default();
    let sensors = [
        parts.sensor::<modbus::Connection, modbus::Address>(Protocol::Modbus),
        parts.sensor::<can::Connection, can::Address>(Protocol::Can),
        parts.sensor::<opcua::Connection, opcua::Address>(Protocol::Opcua),
        parts.sensor::<mqtt::Connection, mqtt::Address>(Protocol::Mqtt),
    ];
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Holdfast manifest",
        "description": "What a device shall run.",
        "type": "object",
        "required": ["apiVersion", "device", "sensors"],
        "additionalProperties": false,
        "properties": {
            "apiVersion": { "const": super::API_VERSION },
            "device": parts.of::<Name>("The device, by name."),
            "labels": {
                "description": "The labels that the device shall have; left out: whatever it has.",
                "type": "object",
                "maxProperties": holdfast_wire::request::LABELS,
                "additionalProperties": { "type": "string", "maxLength": 256 },
            },
            "sensors": {
                "description": "The sensors.",
                "type": "array",
                "maxItems": limits::SENSORS_PER_DEVICE,
                "items": { "oneOf": sensors },
            },
        },
    })
}

/// The schemas that others refer to, by name.
#[derive(Default)]
struct Parts {
    named: BTreeMap<String, Value>,
}

/// One form of an object: its members, and which must be there.
#[derive(Clone, Default)]
struct Form {
    description: Option<String>,
    properties: Map<String, Value>,
    required: Vec<String>,
}

impl Parts {
    fn sensor<C: ToSchema, A: ToSchema>(&mut self, protocol: Protocol) -> Value
    where
        Point<A>: ToSchema,
    {
        // A point's own list of parts leaves out the address, which is a parameter of its type.
        self.named
            .insert(A::name().into_owned(), json_of(&A::schema()));
        json!({
            "description": format!("A sensor that speaks {protocol}."),
            "type": "object",
            "required": ["name", "protocol", "connection"],
            "additionalProperties": false,
            "properties": {
                "id": {
                    "description": "The sensor's UUID, to give it another name; usually left out.",
                    "type": "string",
                    "format": "uuid",
                },
                "name": self.of::<Name>("Unique within the device."),
                "protocol": { "const": protocol.as_str() },
                "enabled": { "description": "Shall it run?", "type": "boolean", "default": true },
                "pollInterval": {
                    "description": "How often it is read, in ms.",
                    "type": "integer",
                    "minimum": limits::POLL_INTERVAL_MIN_MS,
                    "maximum": limits::POLL_INTERVAL_MAX_MS,
                    "default": limits::POLL_INTERVAL_DEFAULT_MS,
                },
                "connection": self.of::<C>("How to reach it."),
                "dataPoints": {
                    "description": "Its points.",
                    "type": "array",
                    "maxItems": limits::POINTS_PER_SENSOR,
                    "items": self.of::<Point<A>>("A point."),
                },
                "metadata": { "description": "Labels for people; not interpreted.", "type": "object" },
            },
        })
    }

    /// The closed schema of `T`.
    fn of<T: ToSchema>(&mut self, description: &str) -> Value {
        let mut named: Vec<(String, RefOr<utoipa::openapi::Schema>)> = Vec::new();
        T::schemas(&mut named);
        for (name, schema) in named {
            self.named.entry(name).or_insert_with(|| json_of(&schema));
        }
        let mut closed = self.closed(&json_of(&<T as PartialSchema>::schema()));
        if let Value::Object(members) = &mut closed {
            members.insert("description".to_owned(), description.into());
        }
        closed
    }

    fn closed(&self, schema: &Value) -> Value {
        if self.is_object(schema) {
            let mut forms: Vec<Value> = self
                .forms(schema)
                .into_iter()
                .map(|form| self.object(form))
                .collect();
            return match forms.len() {
                1 => forms.remove(0),
                _ => json!({ "oneOf": forms }),
            };
        }
        if let Some(inner) = without_null(schema) {
            return self.closed(&inner);
        }
        let mut members = self.resolved(schema);
        members.retain(|key, value| !(key == "format" && value.as_str() != Some("uuid")));
        if let Some(description) = members
            .get("description")
            .and_then(Value::as_str)
            .map(plain)
        {
            members.insert("description".to_owned(), description.into());
        }
        if let Some(items) = members.get("items").map(|items| self.closed(items)) {
            members.insert("items".to_owned(), items);
        }
        if let Some(types) = self.plain_types(&members) {
            members.remove("oneOf");
            members.insert("type".to_owned(), types);
        }
        match members
            .get("enum")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
        {
            Some([only]) => json!({ "const": only }),
            _ => Value::Object(members),
        }
    }

    /// The types of a choice among plain values, where a whole number is a number too: `oneOf` would then fit twice.
    fn plain_types(&self, members: &Map<String, Value>) -> Option<Value> {
        let choices = members.get("oneOf")?.as_array()?;
        let mut types: Vec<String> = Vec::new();
        for choice in choices {
            let choice = self.resolved(choice);
            let kind = match choice.get("type")?.as_str()? {
                "integer" => "number",
                "object" | "array" => return None,
                other => other,
            };
            if !types.iter().any(|known| known == kind) {
                types.push(kind.to_owned());
            }
        }
        Some(json!(types))
    }

    fn object(&self, form: Form) -> Value {
        let Form {
            description,
            properties,
            required,
        } = form;
        let properties: Map<String, Value> = properties
            .iter()
            .map(|(key, schema)| (key.clone(), self.closed(schema)))
            .collect();
        let mut required: Vec<String> = required
            .into_iter()
            .filter(|key| !OPTIONAL.contains(&key.as_str()))
            .collect();
        required.sort();
        let mut object = json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        });
        if let (Value::Object(members), Some(description)) = (&mut object, description) {
            members.insert("description".to_owned(), plain(&description).into());
        }
        object
    }

    /// The schema with its references followed; what stands beside a reference goes before what it refers to.
    fn resolved(&self, schema: &Value) -> Map<String, Value> {
        let Value::Object(members) = schema else {
            return Map::new();
        };
        let Some(reference) = members.get("$ref").and_then(Value::as_str) else {
            return members.clone();
        };
        let name = reference.rsplit('/').next().unwrap_or(reference);
        let mut resolved = self.resolved(
            self.named
                .get(name)
                .unwrap_or_else(|| panic!("no schema refers to one that is not there, as {name}")),
        );
        resolved.extend(
            members
                .iter()
                .filter(|(key, _)| *key != "$ref")
                .map(|(k, v)| (k.clone(), v.clone())),
        );
        resolved
    }

    fn is_object(&self, schema: &Value) -> bool {
        let members = self.resolved(schema);
        let all = |key: &str| {
            members
                .get(key)
                .and_then(Value::as_array)
                .is_some_and(|parts| parts.iter().all(|part| self.is_object(part)))
        };
        members.contains_key("properties") || all("allOf") || all("oneOf")
    }

    /// Every form that an object can have: parts multiplied out, choices side by side.
    fn forms(&self, schema: &Value) -> Vec<Form> {
        let members = self.resolved(schema);
        let parts = |key: &str| members.get(key).and_then(Value::as_array).cloned();
        if let Some(choices) = parts("oneOf") {
            return choices
                .iter()
                .flat_map(|choice| self.forms(choice))
                .collect();
        }
        if let Some(parts) = parts("allOf") {
            return parts.iter().fold(vec![Form::default()], |forms, part| {
                let more = self.forms(part);
                forms
                    .iter()
                    .flat_map(|form| more.iter().map(|other| form.and(other)))
                    .collect()
            });
        }
        let texts = |value: &Value| value.as_str().map(ToOwned::to_owned);
        vec![Form {
            description: members.get("description").and_then(texts),
            properties: members
                .get("properties")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default(),
            required: members
                .get("required")
                .and_then(Value::as_array)
                .map(|keys| keys.iter().filter_map(texts).collect())
                .unwrap_or_default(),
        }]
    }
}

impl Form {
    fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.properties.extend(other.properties.clone());
        both.required.extend(other.required.iter().cloned());
        both.description = both.description.or_else(|| other.description.clone());
        both
    }
}

/// The schema of what may also be null, without that: null is the same as left out.
fn without_null(schema: &Value) -> Option<Value> {
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
        let rest: Vec<&Value> = choices
            .iter()
            .filter(|choice| choice["type"] != "null")
            .collect();
        return match rest.as_slice() {
            [only] if choices.len() > 1 => Some((*only).clone()),
            _ => None,
        };
    }
    let types = schema.get("type").and_then(Value::as_array)?;
    let only = types.iter().find(|kind| *kind != "null")?;
    let mut members = schema.as_object()?.clone();
    members.insert("type".to_owned(), only.clone());
    Some(Value::Object(members))
}

/// A documentation text for people: no links into the code, no line breaks within a paragraph.
fn plain(text: &str) -> String {
    text.replace("[`", "`")
        .replace("`]", "`")
        .replace("\n\n", "¶")
        .replace('\n', " ")
        .replace('¶', "\n\n")
}

fn json_of(schema: &impl serde::Serialize) -> Value {
    serde_json::to_value(schema).expect("schemas have text keys")
}
