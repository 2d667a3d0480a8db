//! What people call the sensor and the point that an event is about.
//!
//! An event refers to them by id. Whoever reads the log, its stream or a notification wants their names, and those of that
//! time: so `sensor`, `point` and `unit` stand in the particulars beside the ids. Programs go by the ids.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec::Vec,
};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    document::sensor::Item,
    ids::{PointId, SensorId},
    state::{Change, DeviceState},
};

/// What an event is about.
#[derive(Clone, Copy)]
enum Subject {
    Sensor(SensorId),
    Point(PointId),
}

impl Subject {
    fn of(payload: &Value) -> Option<Self> {
        if payload.get("name").is_some() {
            return None;
        }
        // A stop or pause names it within its scope; those that are lifted are told of whole.
        let lifted = payload.get("lifted").and_then(Value::as_array);
        let one = lifted
            .filter(|all| all.len() == 1)
            .and_then(|all| all.first());
        let scope = one.unwrap_or(payload).get("scope");
        let place = scope.unwrap_or(payload);
        let point = id(place, "pointId").map(|id| Self::Point(PointId(id)));
        point.or_else(|| id(place, "sensorId").map(|id| Self::Sensor(SensorId(id))))
    }
}

fn id(place: &Value, key: &str) -> Option<Uuid> {
    Uuid::parse_str(place.get(key)?.as_str()?).ok()
}

/// Puts names into the particulars of a change's events: those of the target, and of what still runs where it is not wanted
/// any more. One look at the points for all events together.
pub(crate) fn call_by_name(change: &mut Change, state: &DeviceState) {
    let subjects: Vec<Option<Subject>> = change
        .events
        .iter()
        .map(|event| Subject::of(&event.payload))
        .collect();
    let mut sensors = BTreeSet::new();
    let mut points = BTreeSet::new();
    for subject in subjects.iter().flatten() {
        match *subject {
            Subject::Sensor(id) => drop(sensors.insert(id)),
            Subject::Point(id) => drop(points.insert(id)),
        }
    }
    let running = state.reported.iter().flat_map(|reported| &reported.running);
    let mut called = Called::default();
    for item in state.target.items.iter().chain(running) {
        if sensors.is_empty() && points.is_empty() {
            break;
        }
        called.look_at(item, &mut sensors, &mut points);
    }
    for (event, subject) in change.events.iter_mut().zip(subjects) {
        if let (Some(subject), Value::Object(members)) = (subject, &mut event.payload) {
            for (key, name) in called.members(subject) {
                members.entry(key).or_insert(name);
            }
        }
    }
}

/// The names that were found.
#[derive(Default)]
struct Called {
    sensors: BTreeMap<SensorId, Value>,
    points: BTreeMap<PointId, [Value; 3]>,
}

impl Called {
    fn look_at(
        &mut self,
        item: &Item,
        sensors: &mut BTreeSet<SensorId>,
        points: &mut BTreeSet<PointId>,
    ) {
        let name = item.sensor.name();
        if sensors.remove(&item.sensor.id()) {
            self.sensors.insert(item.sensor.id(), json!(name));
        }
        if points.is_empty() {
            return;
        }
        for (id, point, unit) in item.sensor.content().binding.point_labels() {
            if points.remove(&id) {
                self.points
                    .insert(id, [json!(name), json!(point), json!(unit)]);
            }
        }
    }

    fn members(&self, subject: Subject) -> impl Iterator<Item = (String, Value)> {
        let names: &[Value] = match subject {
            Subject::Sensor(id) => self.sensors.get(&id).map_or(&[], core::slice::from_ref),
            Subject::Point(id) => self.points.get(&id).map_or(&[], |names| &names[..]),
        };
        let members = ["sensor", "point", "unit"].into_iter().zip(names);
        members
            .filter(|(_, name)| !name.is_null())
            .map(|(key, name)| (key.to_string(), name.clone()))
    }
}
