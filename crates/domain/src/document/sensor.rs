//! One sensor as operators declare it and as agents run it.
//!
//! A [`Sensor`] is content: checked, immutable, with its fingerprint. An [`Item`] is a sensor in a versioned document:
//! the content and the version that last changed it.

use alloc::{
    collections::BTreeSet,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use serde::{Deserialize, Serialize, ser::SerializeMap};
use serde_json::{Map, Value, json};

use crate::{
    canonical::Fingerprint,
    document::point::{Point, name, uuid},
    fields::{Fields, Path, Problem, Problems, describe, list},
    hold::{NotRepresentable, PointRules},
    ids::{Name, PointId, SensorId},
    limits,
    protocol::{Protocol, can, modbus, mqtt, opcua},
    value::PointValue,
};

/// The content of one sensor, checked.
#[derive(Debug, Clone)]
pub struct Sensor {
    content: Content,
    fingerprint: Fingerprint,
    bytes: usize,
    not_understood: Vec<Problem>,
}

/// What a sensor's content consists of.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// Given by the hub.
    pub id: SensorId,
    /// Unique within the device.
    pub name: Name,
    /// Shall it run?
    pub enabled: bool,
    /// How often it is read, in ms.
    pub poll_interval_ms: u32,
    /// How to reach it, and its points.
    pub binding: Binding,
    /// Labels for people; not interpreted.
    pub metadata: Map<String, Value>,
    /// Fields that this version does not know.
    pub extra: Map<String, Value>,
}

/// Connection and points, of one protocol.
#[derive(Debug, Clone, PartialEq)]
pub enum Binding {
    /// Modbus.
    Modbus {
        /// The unit.
        connection: modbus::Connection,
        /// Its points.
        points: Vec<Point<modbus::Address>>,
    },
    /// CAN.
    Can {
        /// The bus.
        connection: can::Connection,
        /// Its points.
        points: Vec<Point<can::Address>>,
    },
    /// OPC UA.
    Opcua {
        /// The server.
        connection: opcua::Connection,
        /// Its points.
        points: Vec<Point<opcua::Address>>,
    },
    /// MQTT.
    Mqtt {
        /// The broker.
        connection: mqtt::Connection,
        /// Its points.
        points: Vec<Point<mqtt::Address>>,
    },
}

/// Runs the same expression on the connection and points of any protocol.
macro_rules! each_binding {
    ($binding:expr, $connection:pat, $points:pat => $result:expr) => {
        match $binding {
            Binding::Modbus {
                connection: $connection,
                points: $points,
            } => $result,
            Binding::Can {
                connection: $connection,
                points: $points,
            } => $result,
            Binding::Opcua {
                connection: $connection,
                points: $points,
            } => $result,
            Binding::Mqtt {
                connection: $connection,
                points: $points,
            } => $result,
        }
    };
}

impl Binding {
    /// The protocol.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Modbus { .. } => Protocol::Modbus,
            Self::Can { .. } => Protocol::Can,
            Self::Opcua { .. } => Protocol::Opcua,
            Self::Mqtt { .. } => Protocol::Mqtt,
        }
    }

    /// Ids and names of the points, in the order of the document.
    #[must_use]
    pub fn point_names(&self) -> Vec<(PointId, &Name)> {
        each_binding!(self, _, points => points.iter().map(|point| (point.id, &point.name)).collect())
    }

    /// Ids, names and units of the points, in the order of the document.
    #[must_use]
    pub fn point_labels(&self) -> Vec<(PointId, &Name, Option<&str>)> {
        each_binding!(self, _, points => points
            .iter()
            .map(|point| (point.id, &point.name, point.unit.as_deref()))
            .collect())
    }

    /// What a point's document says of writing it.
    #[must_use]
    pub fn point_rules(&self, id: PointId) -> Option<PointRules> {
        each_binding!(self, connection, points => {
            let point = points.iter().find(|point| point.id == id)?;
            Some(rules_of(self.protocol(), connection, point))
        })
    }

    /// Can a point hold this value?
    ///
    /// # Errors
    /// Says what it can hold, if not this; `None`: there is no such point.
    pub fn check_value(
        &self,
        id: PointId,
        value: &PointValue,
    ) -> Option<Result<(), NotRepresentable>> {
        each_binding!(self, _, points => {
            let point = points.iter().find(|point| point.id == id)?;
            Some(crate::document::point::PointAddress::check_value(&point.address, value))
        })
    }

    /// How many points there are.
    #[must_use]
    pub const fn point_count(&self) -> usize {
        each_binding!(self, _, points => points.len())
    }
}

impl Sensor {
    /// Reads a sensor. Unknown fields are kept with it and listed by [`Sensor::not_understood`].
    pub fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        Item::read(value, path, problems).map(|item| Arc::unwrap_or_clone(item.sensor))
    }

    /// A sensor out of its JSON object.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_json(value: Value) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let sensor = Self::read(value, &Path::ROOT, &mut problems);
        problems.check(sensor)
    }

    fn new(content: Content, not_understood: Vec<Problem>) -> Self {
        let (fingerprint, bytes) = Fingerprint::of_members(&content.to_members());
        Self {
            content,
            fingerprint,
            bytes,
            not_understood,
        }
    }

    /// The same sensor with other content.
    #[must_use]
    pub fn with_enabled(&self, enabled: bool) -> Self {
        Self::new(
            Content {
                enabled,
                ..self.content.clone()
            },
            self.not_understood.clone(),
        )
    }

    /// What it consists of.
    #[must_use]
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// Given by the hub.
    #[must_use]
    pub const fn id(&self) -> SensorId {
        self.content.id
    }

    /// Unique within the device.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.content.name
    }

    /// Shall it run?
    #[must_use]
    pub const fn enabled(&self) -> bool {
        self.content.enabled
    }

    /// The protocol.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.content.binding.protocol()
    }

    /// The identity of the content, `configVersion` left out.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// How many bytes it has as JSON.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Fields that this version does not know: an agent fails such a sensor instead of half doing what it says.
    #[must_use]
    pub fn not_understood(&self) -> &[Problem] {
        &self.not_understood
    }

    /// As its JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Object(self.content.to_members())
    }
}

impl PartialEq for Sensor {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Content {
    /// The members of the JSON object, defaults filled in.
    #[must_use]
    pub fn to_members(&self) -> Map<String, Value> {
        match json_of(self) {
            Value::Object(members) => members,
            other => unreachable!("a sensor is written as an object, not {other}"),
        }
    }

    fn put_into<M: SerializeMap>(&self, members: &mut M) -> Result<(), M::Error> {
        each_binding!(&self.binding, connection, points => {
            members.serialize_entry("connection", connection)?;
            members.serialize_entry("dataPoints", points)?;
        });
        members.serialize_entry("enabled", &self.enabled)?;
        members.serialize_entry("id", &self.id)?;
        members.serialize_entry("metadata", &self.metadata)?;
        members.serialize_entry("name", &self.name)?;
        members.serialize_entry("pollInterval", &self.poll_interval_ms)?;
        members.serialize_entry("protocol", &self.binding.protocol())?;
        self.extra
            .iter()
            .try_for_each(|(key, value)| members.serialize_entry(key, value))
    }

    /// The connection alone.
    #[must_use]
    pub fn connection_json(&self) -> Value {
        each_binding!(&self.binding, connection, _ => json_of(connection))
    }

    /// The points alone.
    #[must_use]
    pub fn data_points_json(&self) -> Value {
        each_binding!(&self.binding, _, points => json_of(points))
    }

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        const POLL_MS: core::ops::RangeInclusive<i64> =
            limits::POLL_INTERVAL_MIN_MS as i64..=limits::POLL_INTERVAL_MAX_MS as i64;
        let id = fields.required("id", uuid, "a UUID").map(SensorId);
        let name = fields.required("name", name, Name::EXPECTED);
        let protocol = fields.choice::<Protocol>("protocol", None);
        let enabled = fields.flag("enabled", true);
        let poll_interval_ms = fields.int(
            "pollInterval",
            &POLL_MS,
            Some(limits::POLL_INTERVAL_DEFAULT_MS),
        );
        let metadata = fields
            .optional("metadata", metadata)
            .map(Option::unwrap_or_default);
        let binding = protocol.and_then(|protocol| match protocol {
            Protocol::Modbus => binding(fields, modbus::Connection::read)
                .map(|(connection, points)| Binding::Modbus { connection, points }),
            Protocol::Can => binding(fields, can::Connection::read)
                .map(|(connection, points)| Binding::Can { connection, points }),
            Protocol::Opcua => binding(fields, opcua::Connection::read)
                .map(|(connection, points)| Binding::Opcua { connection, points }),
            Protocol::Mqtt => binding(fields, mqtt::Connection::read)
                .map(|(connection, points)| Binding::Mqtt { connection, points }),
        });
        Some(Self {
            id: id?,
            name: name?,
            enabled: enabled?,
            poll_interval_ms: poll_interval_ms?,
            binding: binding?,
            metadata: metadata?,
            extra: Map::new(),
        })
    }
}

/// How requests are made to an instrument, not which instrument it is.
const NOT_OF_THE_IDENTITY: [&str; 2] = ["timeoutMs", "maxGap"];

fn rules_of<C: Serialize, A: crate::document::point::PointAddress + Serialize>(
    protocol: Protocol,
    connection: &C,
    point: &Point<A>,
) -> PointRules {
    let mut connection = json_of(connection);
    if let Value::Object(members) = &mut connection {
        members.retain(|key, _| !NOT_OF_THE_IDENTITY.contains(&key.as_str()));
    }
    let identity = json!({
        "protocol": protocol,
        "connection": connection,
        "address": json_of(&point.address),
    });
    PointRules {
        identity: Fingerprint::of_value(&identity),
        kind: point.kind,
        writable: point.writable,
        resolution: point.address.resolution(),
        limits: point.limits.as_deref().cloned(),
        settle_ms: point.settle_ms,
        guards: point.guards.clone(),
        budget: point.write_budget.unwrap_or_default(),
        on_stop: point.leaves_on_stop().cloned(),
        on_hub_lost: point
            .leaves_without_hub()
            .map(|(after_ms, value)| (after_ms, value.clone())),
    }
}

pub(crate) fn json_of<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("documents have text keys and finite numbers")
}

fn binding<C, A: crate::document::point::PointAddress>(
    fields: &mut Fields<'_>,
    connection: fn(Value, &Path<'_>, &mut Problems) -> Option<C>,
) -> Option<(C, Vec<Point<A>>)> {
    let connection = fields.required("connection", connection, "how to reach the instrument");
    let points = fields
        .optional("dataPoints", points)
        .map(Option::unwrap_or_default);
    Some((connection?, points?))
}

fn points<A: crate::document::point::PointAddress>(
    value: Value,
    path: &Path<'_>,
    problems: &mut Problems,
) -> Option<Vec<Point<A>>> {
    let points = list(
        value,
        limits::POINTS_PER_SENSOR,
        path,
        problems,
        Point::<A>::read,
    )?;
    let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
    let mut fits = true;
    for (index, point) in points.iter().enumerate() {
        let here = path.index(index);
        if !names.insert(&point.name) {
            problems.add(
                here.key("name"),
                "a name that no other point of the sensor has",
                &point.name,
            );
            fits = false;
        }
        if !ids.insert(point.id) {
            problems.add(
                here.key("id"),
                "an id that no other point of the sensor has",
                point.id,
            );
            fits = false;
        }
    }
    fits.then_some(points)
}

fn metadata(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Map<String, Value>> {
    match value {
        Value::Object(members) => {
            let bytes = json_of(&members).to_string().len();
            if bytes > limits::METADATA_BYTES {
                problems.add(
                    path,
                    format_args!("at most {} bytes", limits::METADATA_BYTES),
                    format_args!("{bytes}"),
                );
                return None;
            }
            Some(members)
        }
        other => {
            problems.add(path, "an object", describe(&other));
            None
        }
    }
}

/// A sensor in a versioned document.
#[derive(Debug, Clone)]
pub struct Item {
    /// The version of the target that last changed this sensor's content.
    pub config_version: u64,
    /// Its content.
    pub sensor: Arc<Sensor>,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.config_version == other.config_version && self.sensor == other.sensor
    }
}

impl Item {
    /// As its JSON object: the sensor's members and `configVersion`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json_of(self)
    }

    /// Reads an item: a sensor's fields and `configVersion` (0 where it is left out).
    pub fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut inner = Problems::default();
        let read = Self::read_fields(value, path, &mut inner);
        let not_understood = inner.unknown().to_vec();
        problems.append(inner);
        let (config_version, content) = read?;
        Some(Self {
            config_version,
            sensor: Arc::new(Sensor::new(content, not_understood)),
        })
    }

    fn read_fields(
        value: Value,
        path: &Path<'_>,
        problems: &mut Problems,
    ) -> Option<(u64, Content)> {
        let mut fields = Fields::open(value, path, problems)?;
        let config_version = fields.int("configVersion", &(0..=i64::MAX), Some(0_u64));
        let content = Content::read(&mut fields);
        let extra = fields.rest();
        Some((config_version?, Content { extra, ..content? }))
    }
}

/// Member by member: a document of many sensors, built as a tree of values first, takes ten times its text in memory.
impl Serialize for Content {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        self.put_into(&mut members)?;
        members.end()
    }
}

impl Serialize for Sensor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.content.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sensor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Item {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("configVersion", &self.config_version)?;
        self.sensor.content.put_into(&mut members)?;
        members.end()
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let mut problems = Problems::default();
        let item = Self::read(value, &Path::ROOT, &mut problems);
        problems.check(item).map_err(serde::de::Error::custom)
    }
}
