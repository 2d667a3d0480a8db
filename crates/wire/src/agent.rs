//! The agent's side: registration, what a report answers, last values, a new incarnation.
//!
//! The target and the report themselves are the domain's documents. An agent may be newer than its hub: fields that are
//! not known here are passed over.

use std::collections::BTreeMap;

use holdfast_domain::{
    DeviceId, Fields, Incarnation, Name, Path, PointId, PointValue, Problems, Quality, SensorId,
    not_json,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::request::{labels, name, parsed, timestamp};

/// An agent registers. The provisioning key is the request's bearer token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisterRequest {
    /// What the new device shall be called; the hub finds a name where none is given. Of no effect with a key that is
    /// bound to a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The hash of the token that the agent made for itself, as 64 hexadecimal digits. The secret never leaves the agent.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9a-f]{64}$"))]
    pub token_hash: String,
    /// Labels of the new device.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub labels: BTreeMap<String, String>,
    /// The device whose agent it is, where the hub does not know its token. Then only a key that is bound to a device is good:
    /// any other would make it a new device, of which nothing is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
}

impl RegisterRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_json(document: Value) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let read = Fields::open(document, &Path::ROOT, &mut problems).and_then(|mut fields| {
            let name = fields.optional("name", name);
            let token_hash = fields.required("tokenHash", token_hash, TOKEN_HASH);
            let labels = fields
                .optional("labels", labels)
                .map(Option::unwrap_or_default);
            let device = fields.optional("device", parsed("a device's UUID"));
            fields.rest();
            Some(Self {
                name: name?,
                token_hash: token_hash?,
                labels: labels?,
                device: device?,
            })
        });
        problems.check(read)
    }

    /// The 32 bytes of the hash.
    #[must_use]
    pub fn hash_bytes(&self) -> [u8; 32] {
        hash_bytes(&self.token_hash)
            .expect("a request that was read has a hash of 64 hexadecimal digits")
    }

    /// A hash as a request carries it.
    #[must_use]
    pub fn hash_text(hash: &[u8; 32]) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

const TOKEN_HASH: &str = "the hash of the agent's token: 64 hexadecimal digits";

fn token_hash(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<String> {
    match value {
        Value::String(text) if hash_bytes(&text).is_some() => Some(text.to_ascii_lowercase()),
        _ => {
            problems.add(path, TOKEN_HASH, "something else");
            None
        }
    }
}

fn hash_bytes(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

/// What registration gives. The same request again gets the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisterAnswer {
    /// The device that the agent now is.
    pub device: DeviceId,
    /// The life of its disk.
    pub incarnation: Incarnation,
}

/// What the hub says of a report. It is durable before this is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReportAnswer {
    /// What came of it.
    pub result: ReportResult,
    /// The highest boot that the hub knows; only with `late`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<u64>,
}

/// What came of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ReportResult {
    /// It changed something, which is durable.
    Taken,
    /// It says what is known already.
    Unchanged,
    /// It is older than what is known, and was dropped.
    Late,
    /// It leaves out what the hub does not know: send all.
    FullWanted,
    /// It is of another incarnation than the current one, and was dropped.
    OtherIncarnation,
}

/// Last values, of what changed since the last ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Readings {
    /// The device: the token's own.
    pub device: DeviceId,
    /// What the agent's clock shows when it sends them: so a wrong clock makes no reading look older or newer than it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub sent_at: Option<Timestamp>,
    /// At most [`Readings::MOST`].
    pub readings: Vec<Reading>,
}

/// The last value of one point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reading {
    /// The sensor.
    pub sensor: SensorId,
    /// The point.
    pub point: PointId,
    /// The value; null: it could not be read.
    pub value: Option<PointValue>,
    /// How far to trust it.
    pub quality: Quality,
    /// When it was read.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub at: Timestamp,
    /// Why it is not good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Readings {
    /// The most readings of one request: some seconds of a large device, and bounded in one statement of the store.
    pub const MOST: usize = 10_000;

    /// Reads a request.
    ///
    /// # Errors
    /// Says which fields are wrong.
    pub fn from_slice(body: &[u8]) -> Result<Self, Problems> {
        match serde_json::from_slice::<Self>(body) {
            Ok(read) if read.readings.len() <= Self::MOST => Ok(read),
            Ok(read) => {
                let expected = format!("at most {} readings", Self::MOST);
                Err(Problems::one("readings", expected, read.readings.len()))
            }
            Err(error) => Err(explain(body, &error)),
        }
    }
}

/// Finds the fields that are wrong: read again, slowly, because it is wrong anyway.
fn explain(body: &[u8], error: &serde_json::Error) -> Problems {
    let mut problems = Problems::default();
    let path = Path::ROOT;
    let Ok(document) = serde_json::from_slice::<Value>(body) else {
        return Problems::one("", "a JSON document", not_json(error));
    };
    if let Some(mut fields) = Fields::open(document, &path, &mut problems) {
        fields.required(
            "device",
            parsed::<DeviceId>("a device's UUID"),
            "a device's UUID",
        );
        fields.required("readings", explain_list, "a list of readings");
    }
    if problems.is_empty() {
        problems.add("", "a batch of readings", not_json(error));
    }
    problems
}

fn explain_list(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<()> {
    let Value::Array(items) = value else {
        problems.add(path, "a list of readings", crate::request::found(&value));
        return None;
    };
    for (index, item) in items.into_iter().enumerate() {
        let here = path.index(index);
        let Some(mut fields) = Fields::open(item, &here, problems) else {
            continue;
        };
        fields.required(
            "sensor",
            parsed::<SensorId>("a sensor's UUID"),
            "a sensor's UUID",
        );
        fields.required(
            "point",
            parsed::<PointId>("a point's UUID"),
            "a point's UUID",
        );
        fields.required("at", timestamp, "a time such as 2026-11-22T12:00:00Z");
        fields.choice::<Quality>("quality", None);
        if let Some(value @ (Value::Array(_) | Value::Object(_))) = fields.take("value") {
            fields.problem(
                "value",
                "a number, true or false, a text, or null",
                crate::request::found(&value),
            );
        }
        fields.text_opt("reason", "why it is not good, as a text");
    }
    Some(())
}

/// An agent finds that its disk speaks with the past of another, and asks to begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IncarnationRequest {
    /// The device: the token's own.
    pub device: DeviceId,
}

impl IncarnationRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_json(document: Value) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let read = Fields::open(document, &Path::ROOT, &mut problems).and_then(|mut fields| {
            let device = fields.required("device", parsed("a device's UUID"), "a device's UUID");
            fields.rest();
            Some(Self { device: device? })
        });
        problems.check(read)
    }
}

/// The new life of the agent's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IncarnationAnswer {
    /// The incarnation that counts from now on.
    pub incarnation: Incarnation,
}

/// Shapes of the agent's documents, for the OpenAPI description.
#[cfg(feature = "openapi")]
pub mod schemas {
    use std::collections::BTreeMap;

    use holdfast_domain::{
        Failure, Health, Incarnation, PauseId, PointId, ResetId, SensorId,
        document::{
            command::{Command, CommandReport},
            hold::HoldReport,
            setpoint::{AccountReport, BudgetReset, Setpoint, SetpointReport},
        },
    };
    use serde::Serialize;

    use crate::sensor::schemas::SensorItem;

    /// A target: one member, whose key is the device's UUID.
    #[derive(Serialize, utoipa::ToSchema)]
    pub struct TargetDocument(pub BTreeMap<String, TargetBody>);

    /// What a device should run.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "camelCase")]
    pub struct TargetBody {
        /// The form of the documents.
        pub schema_version: u32,
        /// Grows with every change of the configuration, and with nothing else.
        pub version: u64,
        /// Is something of it not yet established? Not part of the entity tag.
        pub needs_deployment: bool,
        /// The sensors. Only for an agent that asked for it (`Prefer: changes`) and holds the very same are they left out.
        pub config: Option<ItemList>,
        /// In place of `config`: the identity of what is left out, which the agent holds.
        #[schema(pattern = "^b3:[0-9a-f]{32}$")]
        pub held_config: Option<String>,
        /// The values that outputs shall hold.
        pub setpoints: WantedSetpoints,
        /// How the value loop shall run.
        pub hold: WantedHold,
        /// What shall happen once.
        pub commands: WantedCommands,
        /// Asks the agent to look at everything again.
        pub look: Look,
    }

    /// The values that outputs shall hold.
    #[derive(Serialize, utoipa::ToSchema)]
    pub struct WantedSetpoints {
        /// Grows with every change of them, and of the resets.
        pub revision: u64,
        /// At most one a point.
        pub items: Vec<Setpoint>,
        /// Resets of write budgets, of each point the last: each is carried out once.
        pub resets: Vec<BudgetReset>,
    }

    /// How the value loop shall run.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "camelCase")]
    pub struct WantedHold {
        /// Grows with every change of these settings.
        pub revision: u64,
        /// Is it not stopped? Derived from the pauses.
        pub active: bool,
        /// Compute and report, and write nothing.
        pub shadow: bool,
        /// How often outputs are looked at, in ms.
        #[schema(minimum = 100, maximum = 3600000)]
        pub interval_ms: u32,
        /// May the agent lengthen the interval?
        pub dynamic: bool,
        /// How often an hour a value that was changed by hand is put back.
        #[schema(maximum = 3600)]
        pub restores_per_hour: u32,
        /// Stops and pauses in force.
        pub pauses: Vec<WantedPause>,
    }

    /// A stop or pause: of a point, of a sensor, or, with neither, of the device.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "camelCase")]
    pub struct WantedPause {
        /// Which.
        pub id: PauseId,
        /// The sensor.
        pub sensor_id: Option<SensorId>,
        /// The point.
        pub point_id: Option<PointId>,
        /// By whom.
        pub by: String,
        /// Why.
        pub reason: Option<String>,
        /// How long it still lasts, in ms; without it: until it is lifted.
        pub remaining_ms: Option<u64>,
    }

    /// What shall happen once.
    #[derive(Serialize, utoipa::ToSchema)]
    pub struct WantedCommands {
        /// Grows with every command.
        pub revision: u64,
        /// Those that wait for the agent's word, in the order in which they were given.
        pub items: Vec<Command>,
    }

    /// A list of sensors.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "camelCase")]
    pub struct ItemList {
        /// The sensors.
        pub protocol_adapter_devices: Vec<SensorItem>,
    }

    /// Asks the agent to look at everything again.
    #[derive(Serialize, utoipa::ToSchema)]
    pub struct Look {
        /// Grows with every request to look again.
        pub revision: u64,
    }

    /// A report: one member, whose key is the device's UUID.
    #[derive(Serialize, utoipa::ToSchema)]
    pub struct ReportDocument(pub BTreeMap<String, ReportBody>);

    /// What an agent says is true. `version`, `config` and `failures` are one block, present or absent together.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "camelCase")]
    pub struct ReportBody {
        /// The form of the documents.
        #[schema(required = false)]
        pub schema_version: u32,
        /// Given by the hub at registration.
        pub incarnation: Incarnation,
        /// Counted up, durably, at each start of the agent.
        #[schema(minimum = 1)]
        pub boot: u64,
        /// Counted up with each attempt to report within a boot.
        #[schema(minimum = 1)]
        pub sequence: u64,
        /// The target version that the agent holds durably; 0 if none.
        pub held_version: u64,
        /// The identity of all that runs.
        #[schema(pattern = "^b3:[0-9a-f]{32}$")]
        pub running_fingerprint: String,
        /// The last request to look again that was carried out.
        #[schema(required = false)]
        pub looked_revision: u64,
        /// The target version that was worked through.
        pub version: Option<u64>,
        /// What really runs.
        pub config: Option<ItemList>,
        /// What could not be started.
        pub failures: Option<Vec<Failure>>,
        /// Health by sensor, of those that changed theirs.
        pub health: Option<BTreeMap<String, Health>>,
        /// How setpoints stand.
        pub setpoints: Option<ReportedSetpoints>,
        /// How the value loop runs.
        pub hold: Option<HoldReport>,
        /// Which commands the agent holds.
        pub commands: Option<HeldCommands>,
        /// What became of commands.
        pub command_results: Option<Vec<CommandReport>>,
        /// The agent's version.
        pub agent_version: Option<String>,
    }

    /// How setpoints stand, of those that changed.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "camelCase")]
    pub struct ReportedSetpoints {
        /// The revision of the setpoints that the agent holds.
        pub held_revision: u64,
        /// The identity of the setpoints and settings that it holds.
        #[schema(pattern = "^b3:[0-9a-f]{32}$")]
        pub held_fingerprint: Option<String>,
        /// By point.
        pub items: BTreeMap<String, SetpointReport>,
        /// What the accounts say of writes to points that nothing is set on, by point.
        pub accounts: Option<BTreeMap<String, AccountReport>>,
        /// The resets of write budgets that are carried out, by point.
        pub resets: Option<BTreeMap<String, ResetId>>,
    }

    /// Which commands the agent holds.
    #[derive(Serialize, utoipa::ToSchema)]
    #[serde(rename_all = "camelCase")]
    pub struct HeldCommands {
        /// Their revision.
        pub held_revision: u64,
    }
}
