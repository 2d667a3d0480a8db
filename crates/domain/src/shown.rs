//! A setpoint as screens show it: what is wanted beside what its agent says of it.
//!
//! What an agent says counts for the wish that it speaks of. Of a wish that it has not spoken of yet nothing is known, so
//! that no screen shows the last wish's success for this one.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

use jiff::Timestamp;

use crate::{
    document::{
        sensor::Sensor,
        setpoint::{Conformity, Hold, Policy, SetpointReport},
    },
    ids::{Name, PointId, SensorId},
    state::DeviceState,
    values::{Interruption, Wish},
};

/// A setpoint as screens show it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Sensor and names of the point; `None`: the target has it no more.
    pub place: Option<Place>,
    /// What is wanted.
    pub wish: Wish,
    /// Does the instrument show it?
    pub conformity: Conformity,
    /// Is it being held?
    pub hold: Hold,
    /// Why it is not held or not shown.
    pub why: Option<String>,
    /// What the agent said of the point last, of this wish or of one before.
    pub said: Option<SetpointReport>,
}

/// Where a point is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its sensor.
    pub sensor: SensorId,
    /// The sensor's name.
    pub sensor_name: Name,
    /// The point's name.
    pub point_name: Name,
    /// Unit of its value.
    pub unit: Option<String>,
}

impl Shown {
    /// Has the agent spoken of this very wish?
    #[must_use]
    pub fn is_spoken_of(&self) -> bool {
        self.said
            .as_ref()
            .is_some_and(|said| said.revision >= self.wish.revision)
    }

    /// Is there nothing more to wait for: the value was read back, or it is said why it will not be?
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self.hold {
            Hold::Paused
            | Hold::Blocked
            | Hold::Refused
            | Hold::Unreachable
            | Hold::Overridden
            | Hold::Expired => true,
            Hold::Pending | Hold::Writing => false,
            Hold::Active => match self.conformity {
                // What an instrument makes of a value is said when a second write has ended so too.
                Conformity::InSync | Conformity::Deviates => true,
                Conformity::Drifting => self.wish.setpoint.policy == Policy::Observe,
                Conformity::Unknown | Conformity::AcknowledgedUnverified => false,
            },
        }
    }
}

/// Where a point is; `None`: the target has it not, or no more.
#[must_use]
pub fn place(state: &DeviceState, point: PointId) -> Option<Place> {
    let mut sensors = state.target.items.iter().map(|item| &*item.sensor);
    sensors.find_map(|sensor| {
        places(sensor, |id| id == point)
            .next()
            .map(|(_, place)| place)
    })
}

/// The setpoint of a point; `None`: nothing is set there.
#[must_use]
pub fn of_point(state: &DeviceState, point: PointId, now: Timestamp) -> Option<Shown> {
    let wish = state.target.values.wishes.get(&point)?;
    Some(shown(state, wish, place(state, point), now))
}

/// Every setpoint of a device, by point id.
#[must_use]
pub fn of_device(state: &DeviceState, now: Timestamp) -> Vec<Shown> {
    let wishes = &state.target.values.wishes;
    if wishes.is_empty() {
        // Most devices: their points need not be gone through.
        return Vec::new();
    }
    let sensors = state.target.items.iter().map(|item| &*item.sensor);
    let mut known: BTreeMap<PointId, Place> = sensors
        .flat_map(|sensor| places(sensor, |point| wishes.contains_key(&point)))
        .collect();
    wishes
        .iter()
        .map(|(point, wish)| shown(state, wish, known.remove(point), now))
        .collect()
}

/// Where those of a sensor's points are that are meant.
fn places(
    sensor: &Sensor,
    is_meant: impl Fn(PointId) -> bool,
) -> impl Iterator<Item = (PointId, Place)> {
    let points = sensor.content().binding.point_labels();
    let points = points
        .into_iter()
        .filter(move |(point, _, _)| is_meant(*point));
    points.map(|(point, name, unit)| {
        let place = Place {
            sensor: sensor.id(),
            sensor_name: sensor.name().clone(),
            point_name: name.clone(),
            unit: unit.map(ToString::to_string),
        };
        (point, place)
    })
}

fn shown(state: &DeviceState, wish: &Wish, place: Option<Place>, now: Timestamp) -> Shown {
    let reported = state.reported.as_ref().map(|reported| &reported.values);
    let said = reported.and_then(|values| values.items.get(&wish.setpoint.point_id));
    let is_held = reported.is_some_and(|values| values.held_revision >= wish.revision);
    let of_this = said.filter(|said| said.revision >= wish.revision);
    let is_over = wish.until.is_some_and(|until| until <= now);
    let conformity = of_this.map_or(Conformity::Unknown, |said| said.conformity);
    let (hold, why) = match of_this {
        _ if is_over => (Hold::Expired, Some("its time is over".to_string())),
        Some(said) => (said.hold, said.reason.clone()),
        None => match interruption(state, wish, place.as_ref()) {
            Some(one) => (Hold::Paused, Some(told(one))),
            None => (Hold::Pending, Some(waiting(state, is_held))),
        },
    };
    Shown {
        place,
        wish: wish.clone(),
        conformity,
        hold,
        why,
        said: said.cloned(),
    }
}

/// The stop or pause that the point is under.
fn interruption<'a>(
    state: &'a DeviceState,
    wish: &Wish,
    place: Option<&Place>,
) -> Option<&'a Interruption> {
    let sensor = place?.sensor;
    let all = &state.target.values.hold.interruptions;
    all.iter()
        .find(|one| one.scope.covers(sensor, wish.setpoint.point_id))
}

fn told(one: &Interruption) -> String {
    let what = if one.scope == crate::document::hold::Scope::Device {
        "stopped"
    } else {
        "paused"
    };
    match &one.reason {
        Some(reason) => format!("recorded; {what} by {}: {reason}", one.by.as_str()),
        None => format!("recorded; {what} by {}", one.by.as_str()),
    }
}

fn waiting(state: &DeviceState, is_held: bool) -> String {
    let told = match (state.presence.silent, is_held) {
        (true, false) => "the agent is silent, and has not got it yet",
        (true, true) => "the agent is silent: it has got it, and has said nothing of it yet",
        (false, false) => "the agent has not got it yet",
        (false, true) => "the agent has got it, and has said nothing of it yet",
    };
    match state.not_kept().filter(|_| !is_held) {
        Some(why) => format!("{told}: {why}"),
        None => told.to_string(),
    }
}
