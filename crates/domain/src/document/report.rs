//! The report: what an agent says is really running.
//!
//! What a report leaves out is unchanged since the last acknowledged one; `[]` means none. Reports are ordered by
//! incarnation, boot and sequence; an old one never overwrites a new one.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec::Vec,
};
use core::cmp::Ordering;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, ser::SerializeMap};
use serde_json::{Map, Value, json};

use crate::{
    canonical::Fingerprint,
    document::{
        SCHEMA_VERSION,
        command::CommandReport,
        hold::HoldReport,
        point::uuid,
        sensor::{Item, json_of},
        target::{Config, Envelope, open_envelope, read_config},
    },
    event::whole_micros,
    fields::{Fields, Path, Problems, describe, list, text, words},
    ids::{DeviceId, Incarnation, SensorId},
    limits,
    values::ReportedValues,
};

/// When in an agent's life a report was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportOrder {
    /// Given by the hub at registration.
    pub incarnation: Incarnation,
    /// Counted up, durably, at each start of the agent.
    pub boot: u64,
    /// Counted up with each attempt to send a report within a boot, from 1.
    pub sequence: u64,
}

impl ReportOrder {
    /// Is this later than `other`? Reports of different incarnations have no order.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        (self.incarnation == other.incarnation)
            .then(|| (self.boot, self.sequence).cmp(&(other.boot, other.sequence)))
    }
}

/// What an agent says is true.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// When it was made.
    pub order: ReportOrder,
    /// The target version that the agent holds durably; 0 if none.
    pub held_version: u64,
    /// The identity of all that runs, as by [`running_fingerprint`]: the hub asks for a full report if it knows another.
    pub running_fingerprint: Fingerprint,
    /// The last request to look again that the agent has carried out.
    pub looked_revision: u64,
    /// What was worked through; `None`: unchanged.
    pub outcome: Option<Outcome>,
    /// Health of the sensors that changed theirs; `None`: of none.
    pub health: Option<BTreeMap<SensorId, Health>>,
    /// What it says of its outputs; `None`: unchanged. Of the setpoints in it, those that it leaves out are unchanged.
    pub values: Option<ReportedValues>,
    /// The agent's version; `None`: unchanged.
    pub agent_version: Option<String>,
    /// Fields that this version does not know.
    pub extra: Map<String, Value>,
}

/// What came of working through a target: one block, present or absent as a whole.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// The target version that was worked through; 0 if none.
    pub version: u64,
    /// What really runs.
    pub running: Vec<Item>,
    /// What could not be started.
    pub failures: Vec<Failure>,
}

/// A sensor that could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Failure {
    /// The sensor.
    pub id: SensorId,
    /// The content that could not be started.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub fingerprint: Fingerprint,
    /// Why, for the person who can act.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// Does the instrument answer?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// Whether it does.
    pub status: HealthStatus,
    /// Since when.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub since: Timestamp,
    /// Why not, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether an instrument answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(rename_all = "lowercase")
)]
pub enum HealthStatus {
    /// It answers.
    Online,
    /// It answers, but not all of its points can be read.
    Degraded,
    /// It does not answer.
    Offline,
}
words!(HealthStatus { Online => "online", Degraded => "degraded", Offline => "offline" });

/// Field of a report that names the version that the agent refused. Only there where one was, and kept with the fields that
/// are not always there.
pub const REFUSED_VERSION: &str = "refusedVersion";

/// The identity of all that runs: which sensors, with which content, of which version; in no particular order.
#[must_use]
pub fn running_fingerprint<'a>(running: impl IntoIterator<Item = &'a Item>) -> Fingerprint {
    let items: BTreeMap<SensorId, (Fingerprint, u64)> = running
        .into_iter()
        .map(|item| {
            (
                item.sensor.id(),
                (item.sensor.fingerprint(), item.config_version),
            )
        })
        .collect();
    let mut bytes = Vec::with_capacity(items.len() * 40);
    for (id, (fingerprint, version)) in items {
        bytes.extend_from_slice(id.uuid().as_bytes());
        bytes.extend_from_slice(fingerprint.as_bytes());
        bytes.extend_from_slice(&version.to_be_bytes());
    }
    Fingerprint::of_bytes(&bytes)
}

/// The members of the document.
impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            order,
            held_version,
            running_fingerprint,
            looked_revision,
            outcome,
            health,
            values,
            agent_version,
            extra,
        } = self;
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("schemaVersion", &SCHEMA_VERSION)?;
        members.serialize_entry("incarnation", &order.incarnation)?;
        members.serialize_entry("boot", &order.boot)?;
        members.serialize_entry("sequence", &order.sequence)?;
        members.serialize_entry("heldVersion", held_version)?;
        members.serialize_entry("runningFingerprint", running_fingerprint)?;
        members.serialize_entry("lookedRevision", looked_revision)?;
        if let Some(outcome) = outcome {
            let items = &outcome.running;
            members.serialize_entry("version", &outcome.version)?;
            members.serialize_entry("config", &Config { items })?;
            members.serialize_entry("failures", &outcome.failures)?;
        }
        if let Some(health) = health {
            members.serialize_entry("health", health)?;
        }
        if let Some(ReportedValues {
            held_revision,
            held_fingerprint,
            items,
            accounts,
            resets,
            hold,
            held_commands,
            commands,
        }) = values
        {
            let mut setpoints = json!({ "heldRevision": held_revision, "items": items });
            if let Some(fingerprint) = held_fingerprint {
                setpoints["heldFingerprint"] = json!(fingerprint);
            }
            if !accounts.is_empty() {
                setpoints["accounts"] = json!(accounts);
            }
            if !resets.is_empty() {
                setpoints["resets"] = json!(resets);
            }
            members.serialize_entry("setpoints", &setpoints)?;
            if let Some(hold) = hold {
                members.serialize_entry("hold", hold)?;
            }
            members.serialize_entry("commands", &json!({ "heldRevision": held_commands }))?;
            if !commands.is_empty() {
                let results: Vec<&CommandReport> = commands.values().collect();
                members.serialize_entry("commandResults", &results)?;
            }
        }
        if let Some(agent_version) = agent_version {
            members.serialize_entry("agentVersion", agent_version)?;
        }
        for (key, value) in extra {
            members.serialize_entry(key, value)?;
        }
        members.end()
    }
}

impl Report {
    /// Does it leave nothing out? A boot's first report must be full.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.outcome.is_some() && self.health.is_some()
    }

    /// The version that the hub gave and the agent refused, because it holds other content under that version.
    #[must_use]
    pub fn refused_version(&self) -> Option<u64> {
        self.extra.get(REFUSED_VERSION).and_then(Value::as_u64)
    }

    /// The document of `device`, as a tree of values.
    #[must_use]
    pub fn to_json(&self, device: DeviceId) -> Value {
        json_of(&self.document(device))
    }

    /// The document of `device`, to be written as JSON.
    #[must_use]
    pub const fn document(&self, device: DeviceId) -> impl Serialize + '_ {
        Envelope(device, self)
    }

    /// Reads the document and the device that it speaks of.
    ///
    /// # Errors
    /// Everything that is wrong with it: a report is taken whole or not at all.
    pub fn from_json(document: Value) -> Result<(DeviceId, Self), Problems> {
        let mut problems = Problems::default();
        let report = open_envelope(document, &mut problems).and_then(|(device, body)| {
            let key = device.to_string();
            let report = Self::read(body, &Path::ROOT.key(&key), &mut problems)?;
            Some((device, report))
        });
        problems.check(report)
    }

    fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let any = 0..=i64::MAX;
        let mut fields = Fields::open(value, path, problems)?;
        fields.int(
            "schemaVersion",
            &(1..=i64::from(SCHEMA_VERSION)),
            Some(SCHEMA_VERSION),
        );
        let incarnation =
            fields.required("incarnation", uuid, "the incarnation given at registration");
        let boot = fields.int("boot", &(1..=i64::MAX), None);
        let sequence = fields.int("sequence", &(1..=i64::MAX), None);
        let held_version = fields.int("heldVersion", &(0..=limits::HELD_VERSION), None);
        let running_fingerprint = fields.required(
            "runningFingerprint",
            fingerprint,
            "the fingerprint of all that runs",
        );
        let looked_revision = fields.int("lookedRevision", &any, Some(0));
        let outcome = Outcome::read(&mut fields);
        let health = fields.optional("health", health_map);
        let setpoints = fields.optional("setpoints", |value, path, problems| {
            let values: ReportedValues = by_serde(value, path, problems)?;
            can_go_above(values.held_revision, path, problems).then_some(values)
        });
        let hold = fields.optional("hold", |value, path, problems| {
            let hold: HoldReport = by_serde(value, path, problems)?;
            can_go_above(hold.held_revision, path, problems).then_some(hold)
        });
        let commands = fields.optional("commands", held_commands);
        let results = fields.optional("commandResults", |value, path, problems| {
            let most = limits::COMMANDS_REMEMBERED;
            list(value, most, path, problems, CommandReport::read)
        });
        let agent_version = fields.text_opt("agentVersion", "the agent's version");
        let extra = fields.rest();
        let order = ReportOrder {
            incarnation: Incarnation(incarnation?),
            boot: boot?,
            sequence: sequence?,
        };
        Some(Self {
            order,
            held_version: held_version?,
            running_fingerprint: running_fingerprint?,
            looked_revision: looked_revision?,
            outcome: outcome?,
            health: health?,
            values: match (setpoints?, hold?, commands?, results?) {
                (None, None, None, None) => None,
                (setpoints, hold, commands, results) => Some(ReportedValues {
                    hold,
                    held_commands: commands.unwrap_or_default(),
                    commands: results
                        .unwrap_or_default()
                        .into_iter()
                        .map(|result| (result.id, result))
                        .collect(),
                    ..setpoints.unwrap_or_default()
                }),
            },
            agent_version: agent_version?,
            extra,
        })
    }
}

fn held_commands(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<u64> {
    let mut fields = Fields::open(value, path, problems)?;
    let revision = fields.int("heldRevision", &(0..=limits::HELD_VERSION), Some(0));
    fields.rest();
    revision
}

/// The hub must be able to go on above a revision that an agent claims to hold.
fn can_go_above(revision: u64, path: &Path<'_>, problems: &mut Problems) -> bool {
    let fits = revision <= limits::HELD_VERSION.unsigned_abs();
    if !fits {
        let expected = format_args!("at most {}", limits::HELD_VERSION);
        problems.add(path.key("heldRevision"), expected, revision);
    }
    fits
}

/// What has no reader of its own, by serde: one problem at a time.
fn by_serde<T: serde::de::DeserializeOwned>(
    value: Value,
    path: &Path<'_>,
    problems: &mut Problems,
) -> Option<T> {
    serde_json::from_value(value)
        .map_err(|error| problems.add(path, "what an agent says of its outputs", error))
        .ok()
}

impl Outcome {
    /// The outer `None` means that something was wrong.
    fn read(fields: &mut Fields<'_>) -> Option<Option<Self>> {
        const TOGETHER: &str = "version, config and failures together, or none of them";
        let present = ["version", "config", "failures"].map(|key| fields.has(key));
        if present == [false; 3] {
            for key in ["version", "config", "failures"] {
                fields.take(key);
            }
            return Some(None);
        }
        if present != [true; 3] {
            fields.problem("config", TOGETHER, "only some of them");
            return None;
        }
        let version = fields.int("version", &(0..=i64::MAX), None);
        let running = fields.required("config", read_config, TOGETHER);
        let failures = fields.required("failures", failures, TOGETHER);
        Some(Some(Self {
            version: version?,
            running: running?,
            failures: failures?,
        }))
    }
}

fn failures(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Vec<Failure>> {
    let failures = list(
        value,
        limits::SENSORS_PER_DEVICE,
        path,
        problems,
        |value, path, problems| {
            let mut fields = Fields::open(value, path, problems)?;
            let id = fields
                .required("id", uuid, "the sensor's UUID")
                .map(SensorId);
            let fingerprint =
                fields.required("fingerprint", fingerprint, "the fingerprint of what failed");
            let error = fields.required("error", told, "why it failed");
            let attempts = fields.int("attempts", &(1..=i64::from(limits::ATTEMPTS)), None);
            fields.rest();
            Some(Failure {
                id: id?,
                fingerprint: fingerprint?,
                error: error?,
                attempts: attempts?,
            })
        },
    )?;
    let mut ids = BTreeSet::new();
    let twice = failures.iter().position(|failure| !ids.insert(failure.id));
    if let Some(index) = twice {
        let expected = "a sensor that no other failure is of";
        problems.add(path.index(index).key("id"), expected, failures[index].id);
        return None;
    }
    Some(failures)
}

/// What an agent tells of the outside: an error's or a reason's text. An instrument's answer may be in it, and no text is
/// worth refusing a report for: what PostgreSQL's texts can't hold is replaced.
pub(crate) fn told(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<String> {
    let value = match value {
        Value::String(text) if text.contains('\0') => Value::String(text.replace('\0', "\u{FFFD}")),
        value => value,
    };
    text(
        value,
        "a text of 1 to 1024 characters that says why",
        path,
        problems,
    )
}

fn health_map(
    value: Value,
    path: &Path<'_>,
    problems: &mut Problems,
) -> Option<BTreeMap<SensorId, Health>> {
    let Value::Object(members) = value else {
        problems.add(
            path,
            "an object with a member for each sensor",
            describe(&value),
        );
        return None;
    };
    if members.len() > limits::SENSORS_PER_DEVICE {
        problems.add(
            path,
            format_args!("at most {} sensors", limits::SENSORS_PER_DEVICE),
            members.len(),
        );
        return None;
    }
    let mut all = BTreeMap::new();
    let mut fits = true;
    for (key, value) in members {
        let here = path.key(&key);
        let id = uuid(Value::String(key.clone()), &here, problems).map(SensorId);
        let (Some(id), Some(health)) = (id, health(value, &here, problems)) else {
            fits = false;
            continue;
        };
        if all.insert(id, health).is_some() {
            // A UUID can be spelled in several ways.
            problems.add(here, "a sensor that no other member is of", id);
            fits = false;
        }
    }
    fits.then_some(all)
}

fn health(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Health> {
    let mut fields = Fields::open(value, path, problems)?;
    let status = fields.choice("status", None);
    let since = fields.required("since", timestamp, "a time such as 2026-11-22T12:00:00Z");
    let reason = fields.optional("reason", told);
    fields.rest();
    Some(Health {
        status: status?,
        since: whole_micros(since?),
        reason: reason?,
    })
}

#[allow(clippy::needless_pass_by_value, reason = "the form of every reader")]
pub(crate) fn timestamp(
    value: Value,
    path: &Path<'_>,
    problems: &mut Problems,
) -> Option<Timestamp> {
    let time = value.as_str().and_then(|text| text.parse().ok());
    if time.is_none() {
        problems.add(
            path,
            "a time such as 2026-11-22T12:00:00Z",
            describe(&value),
        );
    }
    time
}

#[allow(clippy::needless_pass_by_value, reason = "the form of every reader")]
pub(crate) fn fingerprint(
    value: Value,
    path: &Path<'_>,
    problems: &mut Problems,
) -> Option<Fingerprint> {
    let fingerprint = value.as_str().and_then(|text| text.parse().ok());
    if fingerprint.is_none() {
        problems.add(
            path,
            "a fingerprint (b3: and 32 hexadecimal digits)",
            describe(&value),
        );
    }
    fingerprint
}
