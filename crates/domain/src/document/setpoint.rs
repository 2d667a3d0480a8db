//! Setpoints: the values that operators want points to hold, and what an agent says of each.
//!
//! Value, tolerance, policy and validity belong to the setpoint; limits, guards, settle time and the write budget to the
//! point. A setpoint speaks of its point by id, and is bound to the point's write identity: if an edit makes the point
//! another one, nothing is written until someone has armed the setpoint again.

use alloc::{string::String, vec::Vec};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    canonical::Fingerprint,
    document::{
        point::{uuid, value},
        report::fingerprint,
    },
    fields::{Fields, Path, Problems, describe, list, words},
    ids::{PointId, ResetId},
    limits,
    row::Actor,
    value::PointValue,
};

/// The value that an operator wants a writable point to hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Setpoint {
    /// The point.
    pub point_id: PointId,
    /// The write identity that its point had when it was set.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub bound_to: Fingerprint,
    /// The value, in the point's unit.
    pub value: PointValue,
    /// How far the instrument may be off; half a step of the point's resolution where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Tolerance>,
    /// What happens when the instrument shows another value.
    pub policy: Policy,
    /// Who set it.
    pub set_by: Actor,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The revision of the setpoints that it came with: the same value set again is a new wish.
    pub revision: u64,
    /// For how long it is valid from when the agent gets it, in ms; for ever where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_for_ms: Option<u64>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Map<String, Value>,
}

/// How far an instrument may be off the wanted value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Tolerance {
    /// By so much, in the point's unit; 0 or more.
    Absolute(f64),
    /// By this share of the value; 0 to 1.
    Relative(f64),
    /// Not at all, as far as the point can tell values apart.
    #[serde(serialize_with = "as_true")]
    Exact,
}

fn as_true<S: serde::Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(true)
}

/// What happens when the instrument shows another value than the wanted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(rename_all = "lowercase")
)]
pub enum Policy {
    /// The wanted value is put back.
    Enforce,
    /// It is reported, and nothing is ever written.
    Observe,
    /// A change made at the hardware becomes the new wish.
    Adopt,
}
words!(Policy { Enforce => "enforce", Observe => "observe", Adopt => "adopt" });

/// Does the instrument show the wanted value?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(rename_all = "camelCase")
)]
pub enum Conformity {
    /// It was not read lately, or what was read can't be compared.
    Unknown,
    /// It was read back within the tolerance.
    InSync,
    /// It was read outside the tolerance.
    Drifting,
    /// It was written, and took another value: rounded, limited, or kept its own.
    Deviates,
    /// It acknowledged the value, which could not be read back.
    AcknowledgedUnverified,
}
words!(Conformity {
    Unknown => "unknown",
    InSync => "inSync",
    Drifting => "drifting",
    Deviates => "deviates",
    AcknowledgedUnverified => "acknowledgedUnverified",
});

/// Is the value being held?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(rename_all = "camelCase")
)]
pub enum Hold {
    /// Yes.
    Active,
    /// The agent has not got it yet.
    Pending,
    /// A write is under way, or its read-back.
    Writing,
    /// Somebody stopped or paused it.
    Paused,
    /// A guard, a limit or the budget forbids it, or the point was redefined.
    Blocked,
    /// The instrument said no.
    Refused,
    /// The instrument can't be reached.
    Unreachable,
    /// Changed by hand; policy or repetition says not to fight.
    Overridden,
    /// Its time is over.
    Expired,
}
words!(Hold {
    Active => "active",
    Pending => "pending",
    Writing => "writing",
    Paused => "paused",
    Blocked => "blocked",
    Refused => "refused",
    Unreachable => "unreachable",
    Overridden => "overridden",
    Expired => "expired",
});

/// The setpoints of a device, as its agent gets them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Setpoints {
    /// Grows with every change of a setpoint, and with nothing else.
    pub revision: u64,
    /// At most one a point.
    pub items: Vec<Setpoint>,
    /// Resets of write budgets; of each point the last. An agent carries each out once.
    pub resets: Vec<BudgetReset>,
}

/// A reset of a point's write budget: its instrument was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BudgetReset {
    /// The point.
    pub point_id: PointId,
    /// Which reset.
    pub id: ResetId,
}

impl BudgetReset {
    fn read(document: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(document, path, problems)?;
        let point = fields.required("pointId", uuid, "the point's UUID");
        let id = fields.required("id", uuid, "the reset's UUID");
        fields.rest();
        Some(Self {
            point_id: PointId(point?),
            id: ResetId(id?),
        })
    }
}

impl Setpoint {
    /// The same, valid for no longer than `left` ms, if it ends at all.
    #[must_use]
    pub fn with_at_most(mut self, left: Option<u64>) -> Self {
        if let (Some(valid), Some(left)) = (self.valid_for_ms, left) {
            self.valid_for_ms = Some(valid.min(left));
        }
        self
    }

    /// Reads a setpoint as the hub keeps it.
    pub fn read(document: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(document, path, problems)?;
        let point = fields.required("pointId", uuid, "the point's UUID");
        let bound_to = fields.required("boundTo", fingerprint, "the point's write identity");
        let value = fields.required("value", value, "a number, true, false or a text");
        let tolerance = fields.optional("tolerance", Tolerance::read);
        let policy = fields.choice("policy", Some(Policy::Enforce));
        let set_by = fields.text("setBy", "who set it");
        let reason = fields.text_opt("reason", "why it was set");
        let revision = fields.int("revision", &(0..=i64::MAX), Some(0));
        let valid_for_ms = fields.optional("validForMs", duration_ms);
        let extra = fields.rest();
        Some(Self {
            point_id: PointId(point?),
            bound_to: bound_to?,
            value: value?,
            tolerance: tolerance?,
            policy: policy?,
            set_by: Actor::named(&set_by?),
            reason: reason?,
            revision: revision?,
            valid_for_ms: valid_for_ms?,
            extra,
        })
    }
}

impl<'de> serde::Deserialize<'de> for Tolerance {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Value::deserialize(deserializer)?;
        let mut problems = Problems::default();
        let tolerance = Self::read(document, &Path::ROOT, &mut problems);
        problems.check(tolerance).map_err(serde::de::Error::custom)
    }
}

impl Tolerance {
    #[allow(clippy::needless_pass_by_value, reason = "the form of every reader")]
    /// Reads `{"absolute": 0.1}`, `{"relative": 0.01}` or `{"exact": true}`.
    pub fn read(document: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        const EXPECTED: &str =
            "one of {\"absolute\": number}, {\"relative\": 0 to 1} and {\"exact\": true}";
        let found = describe(&document);
        let tolerance = match document.as_object() {
            Some(members) if members.len() == 1 => {
                let number = |key: &str| members.get(key).and_then(Value::as_f64);
                let fits = |number: &f64| number.is_finite() && *number >= 0.0;
                if members.get("exact") == Some(&Value::Bool(true)) {
                    Some(Self::Exact)
                } else if let Some(width) = number("absolute").filter(fits) {
                    Some(Self::Absolute(width))
                } else {
                    let share = number("relative")
                        .filter(fits)
                        .filter(|share| *share <= 1.0);
                    share.map(Self::Relative)
                }
            }
            _ => None,
        };
        if tolerance.is_none() {
            problems.add(path, EXPECTED, found);
        }
        tolerance
    }
}

/// Reads a duration in ms: 1 to ten years.
#[allow(clippy::needless_pass_by_value, reason = "the form of every reader")]
pub fn duration_ms(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<u64> {
    let fits = |ms: &u64| (1..=limits::DURATION_MAX_MS).contains(ms);
    let duration = value.as_u64().filter(fits);
    if duration.is_none() {
        let expected = alloc::format!("an integer from 1 to {}", limits::DURATION_MAX_MS);
        problems.add(path, expected, describe(&value));
    }
    duration
}

impl Setpoints {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self {
            revision,
            items,
            resets,
        } = self;
        json!({ "revision": revision, "items": items, "resets": resets })
    }

    /// Reads what [`Setpoints::to_json`] writes.
    pub fn read(document: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(document, path, problems)?;
        let revision = fields.int("revision", &(0..=i64::MAX), Some(0));
        let items = fields.optional("items", |value, path, problems| {
            list(
                value,
                limits::SETPOINTS_PER_DEVICE,
                path,
                problems,
                Setpoint::read,
            )
        });
        let resets = fields.optional("resets", |value, path, problems| {
            let most = limits::SETPOINTS_PER_DEVICE;
            list(value, most, path, problems, BudgetReset::read)
        });
        fields.rest();
        let items = items?.unwrap_or_default();
        let mut seen = alloc::collections::BTreeSet::new();
        if let Some(twice) = items.iter().position(|item| !seen.insert(item.point_id)) {
            let place = path.key("items");
            let expected = "a point that no other setpoint is of";
            problems.add(
                place.index(twice).key("pointId"),
                expected,
                items[twice].point_id,
            );
            return None;
        }
        Some(Self {
            revision: revision?,
            items,
            resets: resets?.unwrap_or_default(),
        })
    }

    /// The setpoint of a point.
    #[must_use]
    pub fn of(&self, point: PointId) -> Option<&Setpoint> {
        self.items.iter().find(|item| item.point_id == point)
    }
}

/// What an agent says of a setpoint.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetpointReport {
    /// Does the instrument show the wanted value?
    pub conformity: Conformity,
    /// Is it being held?
    pub hold: Hold,
    /// What the instrument shows; `None`: it was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<PointValue>,
    /// Why it is not held, or not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when conformity and hold are what they are.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub since: jiff::Timestamp,
    /// The revision of the setpoints that this speaks of.
    pub revision: u64,
    /// Writes made to the point in its instrument's life.
    #[serde(default)]
    pub writes: u64,
    /// Writes that may still be made.
    #[serde(default)]
    pub budget_left: u64,
    /// Writes that the instrument acknowledged for this revision since the agent started. Unlike
    /// [`writes`](Self::writes), which after a restart counts what was booked ahead, each of these was made.
    #[serde(default, skip_serializing_if = "is_none_at_all")]
    pub written: u64,
    /// From the last write to its read-back, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_in_ms: Option<u64>,
    /// How often it was changed at the hardware since the agent started.
    #[serde(default)]
    pub changes: u64,
    /// The last of these changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change: Option<HandChange>,
    /// The value at the hardware that shall become the new wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<PointValue>,
}

/// What the account of a point's writes says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountReport {
    /// Writes made to the point in its instrument's life.
    pub writes: u64,
    /// Writes that may still be made.
    pub budget_left: u64,
}

impl SetpointReport {
    /// Writes made since the agent said `before`; `None`: it said nothing in this boot.
    #[must_use]
    pub const fn written_since(&self, before: Option<&Self>) -> u64 {
        match before {
            Some(before) if before.revision == self.revision && before.written <= self.written => {
                self.written - before.written
            }
            // One that was set anew counts from nothing.
            Some(_) | None => self.written,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
const fn is_none_at_all(count: &u64) -> bool {
    *count == 0
}

/// A change that was made at the hardware.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HandChange {
    /// What the instrument showed before.
    pub before: PointValue,
    /// What it showed then.
    pub after: PointValue,
    /// When it was found.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub at: jiff::Timestamp,
}
