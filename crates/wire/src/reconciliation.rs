//! The value loop of a device, and of the fleet: how it shall run, and how agents say that it does.

use holdfast_domain::{
    DeviceId, Fields, Name, PointId, SensorId,
    document::{
        hold::{HoldReport, LocalEnd, LocalStop, LoopState, Scope},
        setpoint::{Conformity, Hold, SetpointReport, duration_ms},
    },
    limits,
    shown::place,
    state::DeviceState,
    values::{HoldWish, Interruption},
    wish::Tuning,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::request::{REASON, Request, parsed};

/// How a device's value loop shall run, and how its agent says that it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReconciliationView {
    /// The device.
    pub device: DeviceId,
    /// Shall it run? That is, is it not stopped.
    pub active: bool,
    /// What was asked for.
    pub requested: LoopState,
    /// What the agent has confirmed last; null: it has never said.
    pub confirmed: Option<LoopState>,
    /// Has the agent confirmed these very settings?
    pub is_confirmed: bool,
    /// Grows with every change of these settings.
    pub revision: u64,
    /// The revision that the agent holds.
    pub held_revision: Option<u64>,
    /// Shall it compute and report, and write nothing?
    pub shadow: bool,
    /// How often outputs shall be looked at, in ms.
    pub interval_ms: u32,
    /// How often they are, as the agent says, in ms: those of the slowest sensor, rounded up as `passMs` is. Others are
    /// looked at as often as was asked for, where the machine carries that.
    pub actual_interval_ms: Option<u32>,
    /// How long the last passes took at most, in ms, in steps of 1, 2 and 5: agents tell changes, not each pass.
    #[serde(default)]
    pub pass_ms: Option<u32>,
    /// The shortest interval that such passes, on such a machine, would keep up with, in ms.
    #[serde(default)]
    pub recommended_interval_ms: Option<u32>,
    /// May the agent lengthen the interval where the bus or the machine carries no more?
    pub dynamic: bool,
    /// How often an hour a value that was changed by hand is put back.
    pub restores_per_hour: u32,
    /// Passes that took longer than the interval, since the agent started.
    pub overruns: Option<u64>,
    /// Outputs that are in trouble now, with what was said of them last; the newest first, twenty at most.
    #[serde(default)]
    pub last_errors: Vec<LoopTrouble>,
    /// A stop on site, made at the agent itself: it stands until it is lifted there or its time is over, whatever was asked
    /// for here.
    pub local: Option<LocalStop>,
    /// How the last stop on site ended.
    pub local_ended: Option<LocalEnd>,
    /// Why the agent could not keep what it was told last, so that it does not count yet: a full disk, say.
    #[serde(default)]
    pub not_kept: Option<String>,
    /// Setpoints that it is to hold.
    #[serde(default)]
    pub setpoints: u32,
    /// Stops and pauses in force.
    pub pauses: Vec<Interruption>,
    /// Has the agent gone silent? Then what it confirmed is what was.
    pub stale: bool,
}

impl ReconciliationView {
    /// That of a device.
    #[must_use]
    pub fn new(state: &DeviceState) -> Self {
        let HoldWish {
            revision,
            shadow,
            interval_ms,
            dynamic,
            restores_per_hour,
            interruptions,
        } = &state.target.values.hold;
        let active = state.target.values.hold.stops().next().is_none();
        let reported = state.reported.as_ref();
        let said: Option<&HoldReport> = reported.and_then(|reported| reported.values.hold.as_ref());
        Self {
            device: state.record.id,
            active,
            requested: match (active, shadow) {
                (false, _) => LoopState::Stopped,
                (true, true) => LoopState::Shadow,
                (true, false) => LoopState::Active,
            },
            confirmed: said.map(|said| said.state),
            is_confirmed: said.is_some_and(|said| said.is_done_with(*revision)),
            revision: *revision,
            held_revision: said.map(|said| said.held_revision),
            shadow: *shadow,
            interval_ms: *interval_ms,
            actual_interval_ms: said.map(|said| said.interval_ms),
            pass_ms: said.and_then(|said| said.pass_ms),
            recommended_interval_ms: said.and_then(|said| said.recommended_interval_ms),
            dynamic: *dynamic,
            restores_per_hour: *restores_per_hour,
            overruns: said.map(|said| said.overruns),
            last_errors: LoopTrouble::last(state),
            local: said.and_then(|said| said.local.clone()),
            local_ended: said.and_then(|said| said.local_ended.clone()),
            not_kept: state.not_kept().map(str::to_owned),
            setpoints: u32::try_from(state.target.values.wishes.len()).unwrap_or(u32::MAX),
            pauses: interruptions.clone(),
            stale: state.presence.silent,
        }
    }

    /// Has the agent confirmed these settings, and does its loop run as they say?
    #[must_use]
    pub fn is_as_requested(&self) -> bool {
        self.is_confirmed && self.confirmed == Some(self.requested)
    }

    /// Was nothing ever asked of it? Then there is nothing for its agent to confirm.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.setpoints == 0 && self.revision == 0 && self.confirmed.is_none()
    }

    /// The stops in force: what covers the whole device.
    pub fn stops(&self) -> impl Iterator<Item = &Interruption> {
        self.pauses.iter().filter(|one| one.scope == Scope::Device)
    }
}

/// An output that is in trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoopTrouble {
    /// The point.
    pub point_id: PointId,
    /// The sensor's name.
    pub sensor: Option<Name>,
    /// The point's name.
    pub point: Option<Name>,
    /// Does the instrument show what is wanted?
    pub conformity: Conformity,
    /// Is it being held?
    pub hold: Hold,
    /// What is wrong.
    pub error: String,
    /// Since when conformity and hold are so.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub since: Timestamp,
}

impl LoopTrouble {
    /// Those that are told of.
    const MOST: usize = 20;

    /// A device's, the newest first.
    fn last(state: &DeviceState) -> Vec<Self> {
        let values = state.reported.as_ref().map(|reported| &reported.values);
        let wishes = &state.target.values.wishes;
        let mut troubles: Vec<(PointId, &SetpointReport)> = values
            .iter()
            .flat_map(|values| &values.items)
            .filter(|(point, said)| wishes.contains_key(point) && is_trouble(said))
            .map(|(point, said)| (*point, said))
            .collect();
        troubles.sort_by_key(|(_, said)| std::cmp::Reverse(said.since));
        troubles.truncate(Self::MOST);
        let told = |(point, said): (PointId, &SetpointReport)| {
            let place = place(state, point);
            Some(Self {
                point_id: point,
                sensor: place.as_ref().map(|place| place.sensor_name.clone()),
                point: place.map(|place| place.point_name),
                conformity: said.conformity,
                hold: said.hold,
                error: said.reason.clone()?,
                since: said.since,
            })
        };
        troubles.into_iter().filter_map(told).collect()
    }
}

fn is_trouble(said: &SetpointReport) -> bool {
    let is_error = matches!(
        said.hold,
        Hold::Refused | Hold::Unreachable | Hold::Overridden | Hold::Blocked
    ) || matches!(
        said.conformity,
        Conformity::Deviates | Conformity::AcknowledgedUnverified
    );
    is_error && said.reason.is_some()
}

/// The value loops of the fleet in figures: what was asked for, and what agents have confirmed, apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FleetReconciliation {
    /// Devices.
    pub devices: u32,
    /// What was asked of them.
    pub requested: LoopCounts,
    /// What their agents have confirmed; those that never said anything are in none of these.
    pub confirmed: LoopCounts,
    /// Of what was asked, what agents have confirmed to be just so: "47 of 50 devices have stopped" is 47 here, 50 in
    /// `requested`.
    #[serde(default)]
    pub as_requested: LoopCounts,
    /// Devices whose agents have not confirmed what was asked for.
    pub unconfirmed: u32,
    /// Devices that were stopped on site.
    #[serde(default)]
    pub stopped_on_site: u32,
    /// Devices of which nothing was ever asked: they are in `requested` as active, and there is nothing to confirm.
    #[serde(default)]
    pub idle: u32,
    /// Devices whose agents are silent.
    pub silent: u32,
    /// Devices that could not be asked: ask again.
    pub failed: u32,
}

/// How many value loops are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoopCounts {
    /// They hold.
    pub active: u32,
    /// They were stopped, and outputs are still on their way to their safe values.
    #[serde(default)]
    pub stopping: u32,
    /// They look, and write nothing.
    pub stopped: u32,
    /// They compute what they would do, and write nothing.
    pub shadow: u32,
}

impl LoopCounts {
    fn count(&mut self, state: LoopState) {
        match state {
            LoopState::Active => self.active += 1,
            LoopState::Stopping => self.stopping += 1,
            LoopState::Stopped => self.stopped += 1,
            LoopState::Shadow => self.shadow += 1,
        }
    }
}

impl FleetReconciliation {
    /// Counts a device.
    pub fn count(&mut self, view: &ReconciliationView) {
        self.devices += 1;
        self.requested.count(view.requested);
        if let Some(confirmed) = view.confirmed {
            self.confirmed.count(confirmed);
        }
        if view.is_as_requested() {
            self.as_requested.count(view.requested);
        }
        self.unconfirmed += u32::from(!view.is_confirmed && !view.is_idle());
        self.idle += u32::from(view.is_idle());
        self.stopped_on_site += u32::from(view.local.is_some());
        self.silent += u32::from(view.stale);
    }
}

/// Changes how value loops run: what is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReconciliationUpdate {
    /// How often outputs are looked at, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 100, maximum = 3_600_000))]
    pub interval_ms: Option<u32>,
    /// May the agent lengthen the interval?
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic: Option<bool>,
    /// Compute and report, and write nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<bool>,
    /// How often an hour a value that was changed by hand is put back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(maximum = 3_600))]
    pub restores_per_hour: Option<u32>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ReconciliationUpdate {
    /// The settings to change.
    #[must_use]
    pub const fn tuning(&self) -> Tuning {
        Tuning {
            interval_ms: self.interval_ms,
            dynamic: self.dynamic,
            shadow: self.shadow,
            restores_per_hour: self.restores_per_hour,
        }
    }
}

/// A field that may be left out: read only if it is there. The outer `None` means that it is wrong.
fn if_there<'a, T>(
    fields: &mut Fields<'a>,
    key: &'static str,
    read: impl FnOnce(&mut Fields<'a>) -> Option<T>,
) -> Option<Option<T>> {
    if fields.has(key) {
        read(fields).map(Some)
    } else {
        // Taken all the same, so that the field counts as known.
        fields.take(key);
        Some(None)
    }
}

impl Request for ReconciliationUpdate {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let interval_ms = if_there(fields, "intervalMs", |fields| {
            fields.int("intervalMs", &limits::HOLD_INTERVAL_MS, None)
        });
        let dynamic = if_there(fields, "dynamic", |fields| fields.flag("dynamic", true));
        let shadow = if_there(fields, "shadow", |fields| fields.flag("shadow", false));
        let restores_per_hour = if_there(fields, "restoresPerHour", |fields| {
            fields.int("restoresPerHour", &(0..=3_600), None)
        });
        let reason = fields.text_opt("reason", REASON);
        Some(Self {
            interval_ms: interval_ms?,
            dynamic: dynamic?,
            shadow: shadow?,
            restores_per_hour: restores_per_hour?,
            reason: reason?,
        })
    }
}

/// Stops value loops: agents go on looking, and write nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Stop {
    /// Why: whoever finds it stopped must know.
    pub reason: String,
    /// For how long, in ms; until it is started, unless stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub for_ms: Option<u64>,
}

impl Request for Stop {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let reason = fields.text("reason", REASON);
        let for_ms = fields.optional("forMs", duration_ms);
        Some(Self {
            reason: reason?,
            for_ms: for_ms?,
        })
    }
}

/// Pauses a sensor or a point: nothing is written there until the pause is lifted or over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PauseCreate {
    /// The sensor; this or `pointId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor_id: Option<SensorId>,
    /// The point; this or `sensorId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub point_id: Option<PointId>,
    /// Why: whoever finds it paused must know.
    pub reason: String,
    /// For how long, in ms; until it is lifted, unless stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub for_ms: Option<u64>,
}

impl PauseCreate {
    /// What it is on.
    #[must_use]
    pub fn scope(&self) -> Option<Scope> {
        match (self.sensor_id, self.point_id) {
            (Some(sensor), None) => Some(Scope::Sensor(sensor)),
            (None, Some(point)) => Some(Scope::Point(point)),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }
}

impl Request for PauseCreate {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let sensor_id = fields.optional("sensorId", parsed("the sensor's UUID"));
        let point_id = fields.optional("pointId", parsed("the point's UUID"));
        let reason = fields.text("reason", REASON);
        let for_ms = fields.optional("forMs", duration_ms);
        let (sensor_id, point_id) = (sensor_id?, point_id?);
        if sensor_id.is_some() == point_id.is_some() {
            let found = if sensor_id.is_some() {
                "both"
            } else {
                "neither"
            };
            fields.problem("pointId", "either sensorId or pointId", found);
            return None;
        }
        Some(Self {
            sensor_id,
            point_id,
            reason: reason?,
            for_ms: for_ms?,
        })
    }
}
