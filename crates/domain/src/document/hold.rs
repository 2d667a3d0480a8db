//! How a device's value loop shall run, and how it says that it does.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    document::{point::uuid, setpoint::duration_ms},
    fields::{Fields, Path, Problems, list, words},
    ids::{PauseId, PointId, SensorId},
    limits,
    row::Actor,
};

/// What a pause is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Scope {
    /// Every output of the device: the value loop is stopped.
    Device,
    /// Every output of a sensor.
    #[serde(rename = "sensorId")]
    Sensor(SensorId),
    /// One output.
    #[serde(rename = "pointId")]
    Point(PointId),
}

impl Scope {
    /// Is this point of this sensor under it?
    #[must_use]
    pub fn covers(&self, sensor: SensorId, point: PointId) -> bool {
        match self {
            Self::Device => true,
            Self::Sensor(of) => *of == sensor,
            Self::Point(of) => *of == point,
        }
    }
}

/// A stop or pause, as the agent gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Which.
    pub id: PauseId,
    /// What it is on.
    pub scope: Scope,
    /// By whom.
    pub by: Actor,
    /// Why.
    pub reason: Option<String>,
    /// How long it still lasts, in ms; `None`: until it is lifted.
    pub remaining_ms: Option<u64>,
}

/// How a device's value loop shall run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldSettings {
    /// Grows with every change of these settings, and with nothing else.
    pub revision: u64,
    /// Compute and report, and write nothing.
    pub shadow: bool,
    /// How often outputs are looked at, in ms (100 to 3,600,000).
    pub interval_ms: u32,
    /// May the agent lengthen the interval where the bus carries no more?
    pub dynamic: bool,
    /// How often an hour a value that was changed by hand is put back (0 to 3,600).
    pub restores_per_hour: u32,
    /// Stops and pauses in force.
    pub pauses: Vec<Pause>,
    /// Fields that this version does not know.
    pub extra: Map<String, Value>,
}

impl Default for HoldSettings {
    fn default() -> Self {
        Self {
            revision: 0,
            shadow: false,
            interval_ms: limits::HOLD_INTERVAL_DEFAULT_MS,
            dynamic: true,
            restores_per_hour: limits::RESTORES_PER_HOUR,
            pauses: Vec::new(),
            extra: Map::new(),
        }
    }
}

impl HoldSettings {
    /// Is the loop not stopped?
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.pauses.iter().all(|pause| pause.scope != Scope::Device)
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut members = self.extra.clone();
        let mut put = |key: &str, value: Value| members.insert(key.to_string(), value);
        put("revision", json!(self.revision));
        put("active", json!(self.is_active()));
        put("shadow", json!(self.shadow));
        put("intervalMs", json!(self.interval_ms));
        put("dynamic", json!(self.dynamic));
        put("restoresPerHour", json!(self.restores_per_hour));
        put("pauses", self.pauses.iter().map(Pause::to_json).collect());
        Value::Object(members)
    }

    /// Reads what [`HoldSettings::to_json`] writes.
    pub fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(value, path, problems)?;
        let revision = fields.int("revision", &(0..=i64::MAX), Some(0));
        // Derived from the pauses.
        fields.flag("active", true);
        let shadow = fields.flag("shadow", false);
        let interval_ms = fields.int(
            "intervalMs",
            &limits::HOLD_INTERVAL_MS,
            Some(limits::HOLD_INTERVAL_DEFAULT_MS),
        );
        let dynamic = fields.flag("dynamic", true);
        let restores_per_hour = fields.int(
            "restoresPerHour",
            &(0..=3_600),
            Some(limits::RESTORES_PER_HOUR),
        );
        let pauses = fields.optional("pauses", |value, path, problems| {
            list(
                value,
                limits::PAUSES_PER_DEVICE,
                path,
                problems,
                Pause::read,
            )
        });
        let extra = fields.rest();
        Some(Self {
            revision: revision?,
            shadow: shadow?,
            interval_ms: interval_ms?,
            dynamic: dynamic?,
            restores_per_hour: restores_per_hour?,
            pauses: pauses?.unwrap_or_default(),
            extra,
        })
    }
}

impl Pause {
    fn to_json(&self) -> Value {
        let mut members = Map::new();
        let mut put = |key: &str, value: Value| members.insert(key.to_string(), value);
        put("id", json!(self.id));
        match self.scope {
            Scope::Device => None,
            Scope::Sensor(sensor) => put("sensorId", json!(sensor)),
            Scope::Point(point) => put("pointId", json!(point)),
        };
        put("by", json!(self.by));
        if let Some(reason) = &self.reason {
            put("reason", json!(reason));
        }
        if let Some(remaining) = self.remaining_ms {
            put("remainingMs", json!(remaining));
        }
        Value::Object(members)
    }

    fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(value, path, problems)?;
        let id = fields.required("id", uuid, "the UUID of the pause");
        let sensor = fields.optional("sensorId", uuid);
        let point = fields.optional("pointId", uuid);
        let by = fields.text("by", "who paused it");
        let reason = fields.text_opt("reason", "why it was paused");
        let remaining_ms = fields.optional("remainingMs", duration_ms);
        fields.rest();
        let scope = match (sensor?, point?) {
            (_, Some(point)) => Scope::Point(PointId(point)),
            (Some(sensor), None) => Scope::Sensor(SensorId(sensor)),
            (None, None) => Scope::Device,
        };
        Some(Self {
            id: PauseId(id?),
            scope,
            by: Actor::named(&by?),
            reason: reason?,
            remaining_ms: remaining_ms?,
        })
    }
}

/// Does a value loop run?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(rename_all = "lowercase")
)]
pub enum LoopState {
    /// It holds what it is asked to.
    Active,
    /// It was stopped: nothing new is written; what is under way ends, and outputs go to their safe values.
    Stopping,
    /// It looks, and writes nothing.
    Stopped,
    /// It computes what it would do, and writes nothing.
    Shadow,
}
words!(LoopState { Active => "active", Stopping => "stopping", Stopped => "stopped", Shadow => "shadow" });

/// How an agent says that its value loop runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HoldReport {
    /// The revision of the settings that it holds.
    pub held_revision: u64,
    /// Whether it runs.
    pub state: LoopState,
    /// How often it looks, in ms: what it was asked for, or longer where the bus or the machine carries no more. Each
    /// sensor has its own; this is that of the slowest, rounded up as `passMs` is, so that a loop that goes on as it was says
    /// nothing.
    pub interval_ms: u32,
    /// How long the last passes took at most, in ms, in steps of 1, 2 and 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass_ms: Option<u32>,
    /// The shortest interval that such passes, on such a machine, would keep up with, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommended_interval_ms: Option<u32>,
    /// Passes that took longer than the interval, since the agent started.
    #[serde(default)]
    pub overruns: u64,
    /// A stop on site; it stands until it is lifted there or its time is over, whatever the hub wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalStop>,
    /// How the last stop on site ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_ended: Option<LocalEnd>,
    /// Why what the hub told last could not be kept, so that it does not count yet: a full disk, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_kept: Option<String>,
}

impl HoldReport {
    /// Has the agent got these settings, and are they so? A stop is when every output is left.
    #[must_use]
    pub const fn is_done_with(&self, revision: u64) -> bool {
        self.held_revision >= revision && !matches!(self.state, LoopState::Stopping)
    }
}

/// A stop on site, made at the agent itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LocalStop {
    /// By whom, as they call themselves: nobody checks it but the one who gave them the agent's token.
    pub by: Actor,
    /// Why.
    pub reason: String,
    /// How long it still lasted when the agent spoke, in ms; without it: until it is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_ms: Option<u64>,
    /// When it ends by the hub's clock. The hub notes it when it hears of the stop; what an agent says here does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub until: Option<Timestamp>,
}

/// How a stop on site ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LocalEnd {
    /// Whose stop it was.
    pub stopped_by: Actor,
    /// Why that was.
    pub stop_reason: String,
    /// Who lifted it; without it: its time was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which stop of this disk it was, counted up: two that say the same are told apart.
    #[serde(default)]
    pub count: u64,
}
