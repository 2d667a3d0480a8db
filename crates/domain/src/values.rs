//! What is wanted of a device's outputs, as the hub keeps it: the setpoints, and how the value loop shall run. Each has a
//! revision of its own: setting a value makes no sensor look behind.
//!
//! The hub knows when something ends by the calendar; an agent is told how long it still lasts.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    canonical::Fingerprint,
    document::{
        command::{Command, CommandReport, Commands},
        hold::{HoldReport, HoldSettings, Pause, Scope},
        setpoint::{AccountReport, BudgetReset, Setpoint, SetpointReport, Setpoints},
    },
    fields::{Fields, Path, Problems},
    ids::{CommandId, PauseId, PointId, ResetId},
    limits,
    row::Actor,
};

/// What is wanted of a device's outputs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Values {
    /// Grows with every change of a setpoint.
    pub revision: u64,
    /// The setpoints, by point.
    pub wishes: BTreeMap<PointId, Wish>,
    /// The last reset of each point's write budget. They go with the setpoints, and by their revision.
    pub resets: BTreeMap<PointId, ResetWish>,
    /// How the value loop shall run.
    pub hold: HoldWish,
    /// What shall happen once.
    pub commands: CommandWishes,
}

/// The commands of a device, as the hub keeps them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CommandWishes {
    /// Grows with every command and every cancelling.
    pub revision: u64,
    /// In the order in which they were given.
    pub records: Vec<CommandRecord>,
}

/// A command, as the hub keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandRecord {
    /// The command, with its validity from when it was given.
    pub command: Command,
    /// When it was given.
    pub set_at: Timestamp,
    /// Until when it may be begun.
    pub until: Timestamp,
    /// The revision that it came with.
    pub revision: u64,
    /// Sequence of the event by which it came.
    pub event: u64,
    /// Key of the request that gave it, if that had one: the same request again gives nothing.
    pub key: Option<String>,
    /// That somebody asked for it not to be begun.
    pub cancelling: Option<Cancelling>,
}

/// That somebody asked for a command not to be begun. Whether it was, its agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cancelling {
    /// By whom.
    pub by: Actor,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub at: Timestamp,
}

/// A setpoint, as the hub keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The setpoint, without its validity.
    pub setpoint: Setpoint,
    /// When it was set.
    pub set_at: Timestamp,
    /// When it ends.
    pub until: Option<Timestamp>,
    /// The revision that it came with.
    pub revision: u64,
    /// Key of the request that set it, if that had one: the same request again changes nothing.
    pub key: Option<String>,
}

/// A reset of a point's write budget, as the hub keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResetWish {
    /// The point.
    pub point_id: PointId,
    /// Which reset: an agent carries each out once.
    pub id: ResetId,
    /// By whom.
    pub by: Actor,
    /// Why.
    pub reason: String,
    /// When it was asked for.
    pub at: Timestamp,
    /// Key of the request, if that had one: the same request again changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// How a value loop shall run, as the hub keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldWish {
    /// Grows with every change.
    pub revision: u64,
    /// Compute and report, and write nothing.
    pub shadow: bool,
    /// How often outputs are looked at, in ms.
    pub interval_ms: u32,
    /// May the agent lengthen the interval?
    pub dynamic: bool,
    /// How often an hour a value is put back.
    pub restores_per_hour: u32,
    /// Stops and pauses.
    pub interruptions: Vec<Interruption>,
}

/// A stop or pause: who, why and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Interruption {
    /// Which.
    pub id: PauseId,
    /// What it is on.
    pub scope: Scope,
    /// By whom.
    pub by: Actor,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub since: Timestamp,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "date-time"))]
    pub until: Option<Timestamp>,
}

impl Default for HoldWish {
    fn default() -> Self {
        Self {
            revision: 0,
            shadow: false,
            interval_ms: limits::HOLD_INTERVAL_DEFAULT_MS,
            dynamic: true,
            restores_per_hour: limits::RESTORES_PER_HOUR,
            interruptions: Vec::new(),
        }
    }
}

/// What an agent says of its outputs, merged from its reports.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedValues {
    /// The revision of the setpoints that the agent holds.
    #[serde(default)]
    pub held_revision: u64,
    /// What it holds under these revisions of setpoints and settings: [`wishes_fingerprint`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_fingerprint: Option<Fingerprint>,
    /// Its word on each setpoint.
    #[serde(default)]
    pub items: BTreeMap<PointId, SetpointReport>,
    /// What the accounts say of writes to points that nothing is set on: pulses and commands.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accounts: BTreeMap<PointId, AccountReport>,
    /// The resets of write budgets that it has carried out, of those that it is asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resets: BTreeMap<PointId, ResetId>,
    /// How its loop runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldReport>,
    /// The revision of the commands that the agent holds.
    #[serde(default)]
    pub held_commands: u64,
    /// Its word on each command that it has one on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commands: BTreeMap<CommandId, CommandReport>,
}

impl ReportedValues {
    /// What the account of a point's writes says; `None`: the agent said nothing of it.
    #[must_use]
    pub fn account(&self, point: PointId) -> Option<AccountReport> {
        let said = self.items.get(&point).map(|said| AccountReport {
            writes: said.writes,
            budget_left: said.budget_left,
        });
        said.or_else(|| self.accounts.get(&point).copied())
    }
}

/// The fingerprint of setpoints and settings of the value loop, with their revisions and without what runs down: a hub that was
/// restored from a backup may give a revision a second time, with other content.
#[must_use]
pub fn wishes_fingerprint(setpoints: &Setpoints, hold: &HoldSettings) -> Fingerprint {
    let mut items: Vec<&Setpoint> = setpoints.items.iter().collect();
    items.sort_by_key(|setpoint| setpoint.point_id);
    let items: Vec<Value> = items
        .into_iter()
        .map(|setpoint| {
            json!([
                setpoint.point_id,
                setpoint.bound_to,
                setpoint.value,
                setpoint.tolerance,
                setpoint.policy,
                setpoint.revision,
            ])
        })
        .collect();
    let mut resets: Vec<(PointId, ResetId)> = setpoints
        .resets
        .iter()
        .map(|reset| (reset.point_id, reset.id))
        .collect();
    resets.sort();
    let mut pauses: Vec<(PauseId, Scope)> = hold
        .pauses
        .iter()
        .map(|pause| (pause.id, pause.scope))
        .collect();
    pauses.sort();
    Fingerprint::of_value(&json!({
        "setpoints": [setpoints.revision, items, resets],
        "hold": [hold.revision, hold.shadow, hold.interval_ms, hold.dynamic, hold.restores_per_hour, pauses],
    }))
}

/// How long something still lasts that ends at `until`: 1 ms at least, for what has just ended and was not taken away yet.
fn remaining_ms(until: Option<Timestamp>, now: Timestamp) -> Option<u64> {
    let left = until?.duration_since(now).as_millis();
    Some(
        u64::try_from(left)
            .unwrap_or(0)
            .clamp(1, limits::DURATION_MAX_MS),
    )
}

impl Values {
    /// As an agent that holds these says: [`wishes_fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        // At whichever time: what runs down is not in it.
        let at = Timestamp::UNIX_EPOCH;
        wishes_fingerprint(&self.setpoints(at), &self.hold.settings(at))
    }

    /// Does anything of it end by itself? What an agent is told then depends on when it is told.
    #[must_use]
    pub fn has_ends(&self) -> bool {
        self.wishes.values().any(|wish| wish.until.is_some())
            || self
                .hold
                .interruptions
                .iter()
                .any(|one| one.until.is_some())
    }

    /// The setpoints as the agent gets them at `now`.
    #[must_use]
    pub fn setpoints(&self, now: Timestamp) -> Setpoints {
        let told = |wish: &Wish| Setpoint {
            revision: wish.revision,
            valid_for_ms: remaining_ms(wish.until, now),
            ..wish.setpoint.clone()
        };
        Setpoints {
            revision: self.revision,
            items: self.wishes.values().map(told).collect(),
            resets: self
                .resets
                .values()
                .map(|reset| BudgetReset {
                    point_id: reset.point_id,
                    id: reset.id,
                })
                .collect(),
        }
    }

    /// The setpoints as the stores keep them.
    #[must_use]
    pub fn wishes_to_json(&self) -> Value {
        let items: Vec<Value> = self.wishes.values().map(Wish::to_json).collect();
        let resets: Vec<&ResetWish> = self.resets.values().collect();
        json!({ "revision": self.revision, "items": items, "resets": resets })
    }

    /// Reads what [`Values::wishes_to_json`], the JSON of [`HoldWish`] and [`CommandWishes::to_json`] say.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_json(wishes: Value, hold: Value, commands: Value) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let commands = CommandWishes::read(commands, &Path::ROOT, &mut problems);
        let values =
            commands.and_then(|commands| Self::read(wishes, hold, commands, &mut problems));
        problems.check(values)
    }

    fn read(
        wishes: Value,
        hold: Value,
        commands: CommandWishes,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut fields = Fields::open(wishes, &Path::ROOT, problems)?;
        let revision = fields.int("revision", &(0..=i64::MAX), Some(0));
        let items = fields.optional("items", |value, path, problems| {
            crate::fields::list(
                value,
                limits::SETPOINTS_PER_DEVICE,
                path,
                problems,
                Wish::read,
            )
        });
        let resets = match fields.take("resets") {
            None => Some(Vec::new()),
            Some(resets) => serde_json::from_value::<Vec<ResetWish>>(resets)
                .map_err(|error| fields.problem("resets", "resets of write budgets", error))
                .ok(),
        };
        let hold = match hold {
            Value::Object(members) if members.is_empty() => Some(HoldWish::default()),
            hold => serde_json::from_value(hold)
                .map_err(|error| fields.problem("hold", "how the value loop shall run", error))
                .ok(),
        };
        let items = items?.unwrap_or_default();
        Some(Self {
            revision: revision?,
            wishes: items
                .into_iter()
                .map(|wish| (wish.setpoint.point_id, wish))
                .collect(),
            resets: resets?
                .into_iter()
                .map(|reset| (reset.point_id, reset))
                .collect(),
            hold: hold?,
            commands,
        })
    }
}

impl CommandWishes {
    /// The commands as the agent gets them at `now`: those that wait for its word, also when their time is over.
    #[must_use]
    pub fn told(&self, now: Timestamp, waits: impl Fn(CommandId) -> bool) -> Commands {
        let waiting = self
            .records
            .iter()
            .filter(|record| waits(record.command.id));
        let told = |record: &CommandRecord| Command {
            valid_for_ms: record.remaining_ms(now),
            cancelled: record.cancelling.is_some(),
            ..record.command.clone()
        };
        Commands {
            revision: self.revision,
            items: waiting.map(told).collect(),
        }
    }

    /// A command of the device.
    #[must_use]
    pub fn get(&self, id: CommandId) -> Option<&CommandRecord> {
        self.records.iter().find(|record| record.command.id == id)
    }

    /// As the stores keep them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let items: Vec<Value> = self.records.iter().map(CommandRecord::to_json).collect();
        json!({ "revision": self.revision, "items": items })
    }

    fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(value, path, problems)?;
        let revision = fields.int("revision", &(0..=i64::MAX), Some(0));
        let records = fields.optional("items", |value, path, problems| {
            let most = limits::COMMANDS_KEPT;
            crate::fields::list(value, most, path, problems, CommandRecord::read)
        });
        Some(Self {
            revision: revision?,
            records: records?.unwrap_or_default(),
        })
    }
}

impl CommandRecord {
    /// How long it may still be begun at `now`, in ms, rounded down; 0: not any more. Never more than it was given, whatever
    /// clocks do.
    fn remaining_ms(&self, now: Timestamp) -> u64 {
        let left = u64::try_from(self.until.duration_since(now).as_millis()).unwrap_or(0);
        left.min(self.command.valid_for_ms)
    }

    fn to_json(&self) -> Value {
        json!({
            "command": self.command,
            "setAt": self.set_at,
            "until": self.until,
            "revision": self.revision,
            "event": self.event,
            "key": self.key,
            "cancelling": self.cancelling,
        })
    }

    fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(value, path, problems)?;
        let command = fields.required("command", Command::read, "a command");
        let set_at = fields.required("setAt", time, "when it was given");
        let until = fields.required("until", time, "until when it may be begun");
        let revision = fields.int("revision", &(0..=i64::MAX), None);
        let event = fields.int("event", &(0..=i64::MAX), Some(0));
        let key = fields.text_opt("key", "the key of a request");
        let cancelling = match fields.take("cancelling") {
            None => Some(None),
            Some(given) => serde_json::from_value(given)
                .map_err(|error| fields.problem("cancelling", "who cancelled it", error))
                .ok(),
        };
        Some(Self {
            command: command?,
            set_at: set_at?,
            until: until?,
            revision: revision?,
            event: event?,
            key: key?,
            cancelling: cancelling?,
        })
    }
}

impl Wish {
    fn to_json(&self) -> Value {
        json!({
            "setpoint": self.setpoint,
            "setAt": self.set_at,
            "until": self.until,
            "revision": self.revision,
            "key": self.key,
        })
    }

    fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(value, path, problems)?;
        let setpoint = fields.required("setpoint", Setpoint::read, "a setpoint");
        let set_at = fields.required("setAt", time, "when it was set");
        let until = fields.optional("until", time);
        let revision = fields.int("revision", &(0..=i64::MAX), None);
        let key = fields.text_opt("key", "the key of a request");
        Some(Self {
            setpoint: setpoint?,
            set_at: set_at?,
            until: until?,
            revision: revision?,
            key: key?,
        })
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the form of every reader")]
fn time(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Timestamp> {
    let time = value.as_str().and_then(|text| text.parse().ok());
    if time.is_none() {
        problems.add(
            path,
            "a time as by RFC 3339",
            crate::fields::describe(&value),
        );
    }
    time
}

impl HoldWish {
    /// The stops and pauses that cover everything of the device.
    pub fn stops(&self) -> impl Iterator<Item = &Interruption> {
        self.interruptions
            .iter()
            .filter(|one| one.scope == Scope::Device)
    }

    /// The settings as the agent gets them at `now`.
    #[must_use]
    pub fn settings(&self, now: Timestamp) -> HoldSettings {
        let told = |one: &Interruption| Pause {
            id: one.id,
            scope: one.scope,
            by: one.by.clone(),
            reason: one.reason.clone(),
            remaining_ms: remaining_ms(one.until, now),
        };
        HoldSettings {
            revision: self.revision,
            shadow: self.shadow,
            interval_ms: self.interval_ms,
            dynamic: self.dynamic,
            restores_per_hour: self.restores_per_hour,
            pauses: self.interruptions.iter().map(told).collect(),
            extra: serde_json::Map::new(),
        }
    }
}
