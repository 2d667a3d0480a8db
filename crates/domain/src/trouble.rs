//! Trouble that persists: what somebody should be told of, once, and again when it is over.
//!
//! One thing is told of once: of a device whose agent is silent nothing else is, neither that it came nor that it went, and of
//! an instrument that does not answer none of its setpoints. What was stopped or paused by somebody is no trouble.
//!
//! Read next: `watch.rs`, which looks for it.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    document::{
        report::HealthStatus,
        setpoint::{Conformity, Hold, SetpointReport},
    },
    fields::words,
    ids::{PointId, SensorId},
    row::{DeploymentStatus, SensorRow},
    state::DeviceState,
};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TroubleKind {
    /// The device's agent is not heard of.
    AgentSilent,
    /// A sensor can't be started as it is wanted.
    SensorFailed,
    /// A sensor's instrument does not answer.
    SensorOffline,
    /// An output does not hold its value.
    SetpointNotHeld,
}
words!(TroubleKind {
    AgentSilent => "agentSilent",
    SensorFailed => "sensorFailed",
    SensorOffline => "sensorOffline",
    SetpointNotHeld => "setpointNotHeld",
});

/// A trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// What is wrong.
    pub kind: TroubleKind,
    /// The device, sensor or point.
    pub id: Uuid,
    /// Its name, for people: of a point with that of its sensor.
    pub name: String,
    /// Since when, by the hub's clock: since it was found. Agents' clocks may be wrong.
    pub since: Timestamp,
    /// Why, as far as it is known.
    pub reason: String,
}

/// When trouble persists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerated {
    /// For so long.
    pub for_long: SignedDuration,
    /// Or for so many attempts to start a sensor.
    pub attempts: u32,
}

impl Tolerated {
    /// Where nothing else is set: what ends by itself within minutes wakes nobody.
    pub const USUAL: Self = Self {
        for_long: SignedDuration::from_mins(5),
        attempts: 10,
    };
}

/// Which trouble.
pub type TroubleKey = (TroubleKind, Uuid);

impl Trouble {
    /// Which it is.
    #[must_use]
    pub const fn key(&self) -> TroubleKey {
        (self.kind, self.id)
    }

    /// For the event that it began, or (with when it was found to be over) ended.
    #[must_use]
    pub fn payload(&self, device: &str, over: Option<Timestamp>) -> Value {
        let Self {
            kind,
            id,
            name,
            since,
            reason,
        } = self;
        let mut payload = json!({
            "kind": kind, "device": device, "id": id, "name": name, "since": since, "reason": reason,
        });
        if let Some(over) = over {
            payload["lastedMs"] = json!(over.duration_since(*since).as_millis() as i64);
        }
        payload
    }
}

/// A trouble, as it is noted with its device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Noted {
    /// What.
    #[serde(flatten)]
    pub trouble: Trouble,
    /// Did it persist, and was it told of?
    pub told: bool,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Troubles {
    /// All that is noted from now on.
    pub(crate) noted: Vec<Noted>,
    /// What is to be told of now.
    pub(crate) began: Vec<Trouble>,
    /// What was told of and is over.
    pub(crate) ended: Vec<Trouble>,
    /// When the next one will have persisted long enough.
    pub(crate) next: Option<Timestamp>,
}

/// Compares the trouble there is with what is noted.
pub(crate) fn look(
    state: &DeviceState,
    silent: bool,
    tolerated: &Tolerated,
    now: Timestamp,
) -> Troubles {
    let mut there = if silent {
        of_silent_agent(state).into_iter().collect()
    } else {
        of_device(state, now)
    };
    let mut troubles = Troubles::default();
    for one in &state.presence.troubles {
        // Of a device that is not heard of nothing is known to be over.
        let is_unknown = silent && one.trouble.kind != TroubleKind::AgentSilent;
        match there.remove(&one.trouble.key()) {
            Some(found) if !one.told => {
                let since = one.trouble.since;
                troubles.judge(found.since(since), tolerated, now);
            }
            Some(_) => troubles.noted.push(one.clone()),
            None if is_unknown => troubles.noted.push(one.clone()),
            None if one.told => troubles.ended.push(one.trouble.clone()),
            None => {}
        }
    }
    for (_, found) in there {
        troubles.judge(found, tolerated, now);
    }
    troubles
}

impl Troubles {
    fn judge(&mut self, found: Found, tolerated: &Tolerated, now: Timestamp) {
        let Found {
            trouble,
            attempts,
            is_dated,
        } = found;
        let at = trouble.since + tolerated.for_long;
        let told = at <= now || attempts.is_some_and(|attempts| attempts >= tolerated.attempts);
        if told {
            self.began.push(trouble.clone());
        } else {
            self.next = Some(self.next.map_or(at, |next| next.min(at)));
        }
        if told || !is_dated {
            self.noted.push(Noted { trouble, told });
        }
    }
}

/// A trouble that is there.
struct Found {
    trouble: Trouble,
    /// Attempts that were made, where they count as well as time.
    attempts: Option<u32>,
    /// Does the hub know since when without a note?
    is_dated: bool,
}

impl Found {
    /// It is there since it was noted first.
    fn since(mut self, since: Timestamp) -> Self {
        self.trouble.since = since;
        self
    }
}

fn found(trouble: Trouble, attempts: Option<u32>) -> (TroubleKey, Found) {
    let is_dated = match trouble.kind {
        TroubleKind::AgentSilent | TroubleKind::SensorFailed => true,
        TroubleKind::SensorOffline | TroubleKind::SetpointNotHeld => false,
    };
    let found = Found {
        trouble,
        attempts,
        is_dated,
    };
    (found.trouble.key(), found)
}

fn of_silent_agent(state: &DeviceState) -> Option<(TroubleKey, Found)> {
    let trouble = Trouble {
        kind: TroubleKind::AgentSilent,
        id: state.record.id.uuid(),
        name: state.record.name.to_string(),
        since: state.presence.last_seen_at?,
        reason: "nothing was heard of its agent".to_string(),
    };
    Some(found(trouble, None))
}

fn of_device(state: &DeviceState, now: Timestamp) -> BTreeMap<TroubleKey, Found> {
    let sensors = state.rows.values().filter_map(|row| of_sensor(row, now));
    let mut there: BTreeMap<TroubleKey, Found> = sensors.collect();
    let said = state.reported.as_ref().map(|reported| &reported.values);
    for (point, report) in said.into_iter().flat_map(|values| &values.items) {
        let wish = state.target.values.wishes.get(point);
        // It speaks of an earlier wish: the agent has not got this one yet.
        let is_current = wish.is_some_and(|wish| wish.revision <= report.revision);
        let Some((sensor, name)) = place(state, *point).filter(|_| is_current) else {
            continue;
        };
        let is_of_sensor = [TroubleKind::SensorFailed, TroubleKind::SensorOffline]
            .iter()
            .any(|kind| there.contains_key(&(*kind, sensor.uuid())));
        if let Some((key, found)) = of_setpoint(*point, name, report, now).filter(|_| !is_of_sensor)
        {
            there.insert(key, found);
        }
    }
    there
}

fn of_sensor(row: &SensorRow, now: Timestamp) -> Option<(TroubleKey, Found)> {
    let trouble = |kind, since, reason: Option<&String>| Trouble {
        kind,
        id: row.id.uuid(),
        name: row.shown.name().to_string(),
        since,
        reason: reason.cloned().unwrap_or_default(),
    };
    if row.status == DeploymentStatus::Failed {
        let since = row.drifting_since?;
        let failed = trouble(TroubleKind::SensorFailed, since, row.error.as_ref());
        return Some(found(failed, Some(row.attempts)));
    }
    let health = row
        .health
        .as_ref()
        .filter(|_| row.running_since.is_some())?;
    let is_offline = health.status == HealthStatus::Offline;
    is_offline.then(|| {
        let offline = trouble(TroubleKind::SensorOffline, now, health.reason.as_ref());
        found(offline, None)
    })
}

fn of_setpoint(
    point: PointId,
    name: String,
    report: &SetpointReport,
    now: Timestamp,
) -> Option<(TroubleKey, Found)> {
    let is_off = report.conformity != Conformity::InSync;
    let (is_trouble, attempts) = match report.hold {
        // Nobody tries any more: waiting would change nothing.
        Hold::Overridden | Hold::Refused => (true, Some(u32::MAX)),
        Hold::Active | Hold::Writing | Hold::Blocked | Hold::Unreachable => (is_off, None),
        Hold::Pending | Hold::Paused | Hold::Expired => (false, None),
    };
    is_trouble.then(|| {
        let why = match &report.reason {
            Some(reason) => reason.clone(),
            None => report.conformity.as_str().to_string(),
        };
        let trouble = Trouble {
            kind: TroubleKind::SetpointNotHeld,
            id: point.0,
            name,
            since: now,
            reason: why,
        };
        found(trouble, attempts)
    })
}

/// The sensor of a point, and what the two are called.
fn place(state: &DeviceState, point: PointId) -> Option<(SensorId, String)> {
    state.target.items.iter().find_map(|item| {
        let names = item.sensor.content().binding.point_names();
        let (_, name) = names.into_iter().find(|(id, _)| *id == point)?;
        let place = alloc::format!("{}/{name}", item.sensor.name());
        Some((item.sensor.id(), place))
    })
}
