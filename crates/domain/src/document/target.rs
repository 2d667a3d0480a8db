//! The target state: the versioned document of all that a device should run.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde::{Serialize, ser::SerializeMap};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    document::{
        SCHEMA_VERSION,
        changes::HELD_CONFIG,
        command::Commands,
        hold::HoldSettings,
        point,
        sensor::{Item, json_of},
        setpoint::Setpoints,
    },
    fields::{Fields, Path, Problems, list},
    ids::DeviceId,
    limits, not_json,
};

/// The member of a target that is the configuration.
pub(crate) const CONFIG: &str = "config";

/// The list of sensors in a configuration.
const SENSORS: &str = "protocolAdapterDevices";

/// The members of an object, not read yet.
pub(crate) type Members<'a> = BTreeMap<String, &'a RawValue>;

/// What a device should run, as its agent gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetState {
    /// Grows with every change of the configuration, and with nothing else.
    pub version: u64,
    /// Is something of it not yet established? Derived by the hub; not part of the [`ETag`](TargetState::etag).
    pub needs_deployment: bool,
    /// The sensors.
    pub items: Vec<Item>,
    /// Grows when the hub asks the agent to look at everything again and report in full.
    pub look_revision: u64,
    /// The values that outputs shall hold.
    pub setpoints: Setpoints,
    /// How the value loop shall run.
    pub hold: HoldSettings,
    /// What shall happen once.
    pub commands: Commands,
    /// Fields that this version does not know.
    pub extra: Map<String, Value>,
}

impl TargetState {
    /// The entity tag: made from the version and the revisions, never from bytes.
    #[must_use]
    pub fn etag(&self) -> String {
        etag(
            self.version,
            self.setpoints.revision,
            self.hold.revision,
            self.commands.revision,
            self.look_revision,
        )
    }

    /// Does anything of it end by itself?
    #[must_use]
    pub fn has_ends(&self) -> bool {
        let setpoints = self.setpoints.items.iter();
        let pauses = self.hold.pauses.iter();
        setpoints
            .map(|one| one.valid_for_ms)
            .any(|left| left.is_some())
            || pauses
                .map(|one| one.remaining_ms)
                .any(|left| left.is_some())
            || !self.commands.items.is_empty()
    }

    /// Takes `ms` that have gone by since the hub said it off everything that ends by itself. What is over by that ends
    /// within a millisecond; a command that is over says so.
    pub fn age(&mut self, ms: u64) {
        let shorter = |left: &mut u64| *left = left.saturating_sub(ms).max(1);
        for setpoint in &mut self.setpoints.items {
            setpoint.valid_for_ms.as_mut().map(shorter);
        }
        for pause in &mut self.hold.pauses {
            pause.remaining_ms.as_mut().map(shorter);
        }
        for command in &mut self.commands.items {
            command.valid_for_ms = command.valid_for_ms.saturating_sub(ms);
        }
    }

    /// The document for `device`, as a tree of values.
    #[must_use]
    pub fn to_json(&self, device: DeviceId) -> Value {
        json_of(&self.document(device))
    }

    /// The document for `device`, to be written as JSON.
    #[must_use]
    pub const fn document(&self, device: DeviceId) -> impl Serialize + '_ {
        Envelope(device, self)
    }

    /// Its members without the configuration, with the identity of that in its place.
    pub(crate) fn without_config(&self) -> impl Serialize + '_ {
        WithoutConfig(self)
    }

    /// Reads the document and the device that it is for.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_json(document: Value) -> Result<(DeviceId, Self), Problems> {
        let mut problems = Problems::default();
        let target = open_envelope(document, &mut problems).and_then(|(device, body)| {
            let key = device.to_string();
            let target = Self::read(body, &Path::ROOT.key(&key), &mut problems)?;
            Some((device, target))
        });
        problems.check(target)
    }

    /// Reads the text of a document and the device that it is for; sensor by sensor, since a tree of values of all of them
    /// takes ten times the text in memory.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_slice(text: &[u8]) -> Result<(DeviceId, Self), Problems> {
        if let Some(read) = Self::sensor_by_sensor(text) {
            return Ok(read);
        }
        // Something is wrong: what, is found out on the whole.
        let document = serde_json::from_slice(text).map_err(|error| {
            Problems::one("", "a target state as a JSON document", not_json(&error))
        })?;
        Self::from_json(document)
    }

    fn sensor_by_sensor(text: &[u8]) -> Option<(DeviceId, Self)> {
        let document: Members<'_> = serde_json::from_slice(text).ok()?;
        let (key, body) = document.first_key_value().filter(|_| document.len() == 1)?;
        let device = DeviceId(uuid::Uuid::parse_str(key).ok()?);
        let mut members: Members<'_> = serde_json::from_str(body.get()).ok()?;
        let key = device.to_string();
        let (root, mut problems) = (Path::ROOT, Problems::default());
        let path = root.key(&key);
        let config = members.remove(CONFIG)?.get().as_bytes();
        let items = one_by_one(config, &path.key(CONFIG), &mut problems)?;
        let rest = members
            .into_iter()
            .map(|(key, value)| Some((key, serde_json::from_str(value.get()).ok()?)));
        let mut rest = rest.collect::<Option<Map<String, Value>>>()?;
        rest.insert(CONFIG.to_string(), empty_config());
        let target = Self::read(Value::Object(rest), &path, &mut problems)?;
        let is_valid = problems.is_empty();
        is_valid.then_some((device, Self { items, ..target }))
    }

    pub(crate) fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(value, path, problems)?;
        fields.int(
            "schemaVersion",
            &(1..=i64::from(SCHEMA_VERSION)),
            Some(SCHEMA_VERSION),
        );
        let version = fields.int("version", &(0..=i64::MAX), None);
        let needs_deployment = fields.flag("needsDeployment", false);
        let items = fields.required(CONFIG, read_config, "the configuration");
        let setpoints = fields.optional("setpoints", Setpoints::read);
        let hold = fields.optional("hold", HoldSettings::read);
        let commands = fields.optional("commands", Commands::read);
        let look_revision = fields
            .optional("look", revision)
            .map(Option::unwrap_or_default);
        if fields.take(HELD_CONFIG).is_some() {
            fields.problem(HELD_CONFIG, "nothing beside a configuration", "a member");
        }
        let extra = fields.rest();
        Some(Self {
            version: version?,
            needs_deployment: needs_deployment?,
            items: items?,
            look_revision: look_revision?,
            setpoints: setpoints?.unwrap_or_default(),
            hold: hold?.unwrap_or_default(),
            commands: commands?.unwrap_or_default(),
            extra,
        })
    }
}

/// The entity tag of a target with this version and these revisions.
#[must_use]
pub fn etag(version: u64, setpoints: u64, hold: u64, commands: u64, look: u64) -> String {
    format!("\"v{version}.s{setpoints}.h{hold}.c{commands}.l{look}\"")
}

fn revision(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<u64> {
    let mut fields = Fields::open(value, path, problems)?;
    let revision = fields.int("revision", &(0..=i64::MAX), Some(0));
    fields.rest();
    revision
}

/// The members of the document.
impl Serialize for TargetState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let items = &self.items;
        self.serialize_with(serializer, CONFIG, &Config { items })
    }
}

struct WithoutConfig<'a>(&'a TargetState);

impl Serialize for WithoutConfig<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(target) = self;
        target.serialize_with(serializer, HELD_CONFIG, &target.config_fingerprint())
    }
}

impl TargetState {
    /// The members of the document; `config` is the one called `name`.
    fn serialize_with<S: serde::Serializer>(
        &self,
        serializer: S,
        name: &str,
        config: &impl Serialize,
    ) -> Result<S::Ok, S::Error> {
        let Self {
            version,
            needs_deployment,
            items: _,
            look_revision,
            setpoints,
            hold,
            commands,
            extra,
        } = self;
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("schemaVersion", &SCHEMA_VERSION)?;
        members.serialize_entry("version", version)?;
        members.serialize_entry("needsDeployment", needs_deployment)?;
        members.serialize_entry(name, config)?;
        members.serialize_entry("setpoints", &setpoints.to_json())?;
        members.serialize_entry("hold", &hold.to_json())?;
        members.serialize_entry("commands", &commands.to_json())?;
        members.serialize_entry("look", &object("revision", (*look_revision).into()))?;
        for (key, value) in extra {
            members.serialize_entry(key, value)?;
        }
        members.end()
    }
}

/// A document of a device: what [`open_envelope`] opens.
pub(crate) struct Envelope<T>(pub(crate) DeviceId, pub(crate) T);

impl<T: Serialize> Serialize for Envelope<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut envelope = serializer.serialize_map(Some(1))?;
        envelope.serialize_entry(&self.0, &self.1)?;
        envelope.end()
    }
}

/// A configuration without sensors.
pub(crate) fn empty_config() -> Value {
    object(SENSORS, Value::Array(Vec::new()))
}

fn object(key: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(key.to_string(), value)]))
}

/// The one member of a document whose key is a device's UUID.
pub(crate) fn open_envelope(document: Value, problems: &mut Problems) -> Option<(DeviceId, Value)> {
    const EXPECTED: &str = "an object with one member, whose key is the device's UUID";
    match document {
        Value::Object(members) if members.len() == 1 => {
            let (key, body) = members.into_iter().next()?;
            let device = point::uuid(Value::String(key), &Path::ROOT, problems)?;
            Some((DeviceId(device), body))
        }
        other => {
            problems.add(Path::ROOT, EXPECTED, crate::fields::describe(&other));
            None
        }
    }
}

/// `{"protocolAdapterDevices": [ … ]}`.
#[must_use]
pub fn config_to_json(items: &[Item]) -> Value {
    json_of(&Config { items })
}

/// The same, to be written as JSON.
#[derive(Serialize)]
pub(crate) struct Config<'a> {
    #[serde(rename = "protocolAdapterDevices")]
    pub(crate) items: &'a [Item],
}

/// The same, to be written as JSON.
#[must_use]
pub const fn config_document(items: &[Item]) -> impl Serialize + '_ {
    Config { items }
}

/// Reads the text of `{"protocolAdapterDevices": [ … ]}`, sensor by sensor: every one valid, ids and names unique.
///
/// # Errors
/// Everything that is wrong with it.
pub fn config_from_slice(text: &[u8]) -> Result<Vec<Item>, Problems> {
    let mut problems = Problems::default();
    if let Some(items) = one_by_one(text, &Path::ROOT, &mut problems)
        && problems.is_empty()
    {
        return Ok(items);
    }
    // Something is wrong: what, is found out on the whole.
    let config = serde_json::from_slice(text)
        .map_err(|error| Problems::one("", "a configuration as JSON", not_json(&error)))?;
    let mut problems = Problems::default();
    let items = read_config(config, &Path::ROOT, &mut problems);
    problems.check(items)
}

/// The same, without a word on what is wrong with the text as a whole.
fn one_by_one(text: &[u8], path: &Path<'_>, problems: &mut Problems) -> Option<Vec<Item>> {
    let config: Members<'_> = serde_json::from_slice(text).ok()?;
    let sensors = config.get(SENSORS).filter(|_| config.len() == 1)?;
    let sensors: Vec<&RawValue> = serde_json::from_str(sensors.get()).ok()?;
    let path = path.key(SENSORS);
    let mut items = Vec::with_capacity(sensors.len().min(limits::SENSORS_PER_DEVICE));
    for (index, sensor) in sensors.into_iter().enumerate() {
        let sensor = serde_json::from_str(sensor.get()).ok()?;
        items.push(Item::read(sensor, &path.index(index), problems)?);
    }
    let fits = items.len() <= limits::SENSORS_PER_DEVICE && are_unique(&items, &path, problems);
    fits.then_some(items)
}

/// Reads `{"protocolAdapterDevices": [ … ]}`: every sensor valid, ids and names unique.
pub fn read_config(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Vec<Item>> {
    let mut fields = Fields::open(value, path, problems)?;
    let items = fields.required("protocolAdapterDevices", read_items, "the list of sensors");
    fields.rest();
    items
}

/// Reads a list of sensors: every one valid, ids and names unique.
pub fn read_items(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Vec<Item>> {
    let items = list(
        value,
        limits::SENSORS_PER_DEVICE,
        path,
        problems,
        Item::read,
    )?;
    are_unique(&items, path, problems).then_some(items)
}

/// Has each sensor an id and a name of its own?
fn are_unique(items: &[Item], path: &Path<'_>, problems: &mut Problems) -> bool {
    let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
    let mut fits = true;
    for (index, item) in items.iter().enumerate() {
        let here = path.index(index);
        if !names.insert(item.sensor.name()) {
            problems.add(
                here.key("name"),
                "a name that no other sensor of the device has",
                item.sensor.name(),
            );
            fits = false;
        }
        if !ids.insert(item.sensor.id()) {
            problems.add(
                here.key("id"),
                "an id that no other sensor of the device has",
                item.sensor.id(),
            );
            fits = false;
        }
    }
    fits
}
