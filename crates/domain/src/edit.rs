//! What an operator's edit changes of a device's target.
//!
//! An edit that comes to the same content changes nothing: no version, no event. Edits of one sensor do not need to know
//! of others, so that many people can edit at once; a whole document is guarded by the version that it was made from.

mod bounds;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    document::{
        sensor::{Item, Sensor},
        target::read_items,
    },
    event::{Context, EventKind},
    fields::{Path, Problems},
    ids::{Name, PointId, SensorId},
    project::{Edited, project},
    state::{Change, DeviceState, TargetChange, TargetChangeKind},
};

/// What an operator wants changed. Documents are as people write them: ids may be left out, and are then found by name
/// or newly given; unknown fields are refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Add a sensor.
    Add(Value),
    /// Replace a sensor's content.
    Replace(SensorId, Value),
    /// Change some of a sensor's fields: a JSON merge patch (RFC 7396).
    Patch(SensorId, Value),
    /// Remove a sensor.
    Remove(SensorId),
    /// Replace the list of sensors.
    ReplaceAll(Value),
    /// Go back to the sensors of an earlier version.
    Rollback {
        /// That version.
        version: u64,
        /// Its sensors.
        items: Vec<Item>,
    },
}

/// Why an edit was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EditError {
    /// The document is not valid.
    #[error("{0}")]
    Invalid(Problems),
    /// A sensor of this name exists already.
    #[error("{0}")]
    NameTaken(Problems),
    /// The target has no such sensor.
    #[error("the target has no sensor {0}")]
    NoSuchSensor(SensorId),
    /// A value is set on a point that would go.
    #[error("a value is set on point {0}, which would go: release it first")]
    HasSetpoint(PointId),
}

/// What an edit comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Edition {
    /// What to commit; `None` if the edit changes nothing.
    pub change: Option<Change>,
    /// The sensor that was added, replaced or patched.
    pub sensor: Option<SensorId>,
}

/// Decides what `edit` changes. `new_id` gives an id for each new sensor and point.
///
/// # Errors
/// Says everything that is wrong with the edit; nothing is changed then.
pub fn edit(
    state: &DeviceState,
    edit: Edit,
    reason: Option<&str>,
    new_id: &mut dyn FnMut() -> Uuid,
    context: &Context,
) -> Result<Edition, EditError> {
    let kind = match &edit {
        Edit::Rollback { .. } => EventKind::TargetRolledBack,
        _ => EventKind::TargetUpdated,
    };
    let from = match &edit {
        Edit::Rollback { version, .. } => Some(*version),
        _ => None,
    };
    let adds = !matches!(edit, Edit::Remove(_) | Edit::Rollback { .. });
    let (items, sensor) = edited_items(state, edit, new_id)?;
    keep_what_is_set(state, &items)?;
    if adds {
        bounds::refuse_too_much(&items)?;
        bounds::refuse_shared_points(&items, sensor)?;
    }
    Ok(Edition {
        change: retarget(state, items, kind, from, reason, context),
        sensor,
    })
}

/// A point that a value is set on does not go before the value.
fn keep_what_is_set(state: &DeviceState, items: &[Item]) -> Result<(), EditError> {
    let wishes = &state.target.values.wishes;
    if wishes.is_empty() {
        return Ok(());
    }
    let kept: BTreeSet<_> = items
        .iter()
        .flat_map(|item| item.sensor.content().binding.point_names())
        .map(|(point, _)| point)
        .collect();
    let gone = wishes.keys().find(|point| !kept.contains(point));
    gone.map_or(Ok(()), |point| Err(EditError::HasSetpoint(*point)))
}

fn edited_items(
    state: &DeviceState,
    edit: Edit,
    new_id: &mut dyn FnMut() -> Uuid,
) -> Result<(Vec<Item>, Option<SensorId>), EditError> {
    let mut items = state.target.items.clone();
    let position = |id: SensorId| {
        state
            .target
            .items
            .iter()
            .position(|item| item.sensor.id() == id)
            .ok_or(EditError::NoSuchSensor(id))
    };
    match edit {
        Edit::Add(mut document) => {
            if document.get("id").is_some_and(|id| !id.is_null()) {
                let expected = "no id: the hub gives one to a new sensor";
                return Err(EditError::Invalid(Problems::one("id", expected, "an id")));
            }
            give_ids(&mut document, None, new_id);
            let sensor = read_strictly(document)?;
            refuse_taken_name(state, &sensor, None)?;
            let id = sensor.id();
            items.push(Item {
                config_version: 0,
                sensor: Arc::new(sensor),
            });
            Ok((items, Some(id)))
        }
        Edit::Replace(id, document) => {
            let at = position(id)?;
            items[at].sensor = Arc::new(replaced(state, &items[at].sensor, document, new_id)?);
            Ok((items, Some(id)))
        }
        Edit::Patch(id, patch) => {
            let at = position(id)?;
            let mut document = items[at].sensor.to_json();
            merge_patch(&mut document, patch);
            items[at].sensor = Arc::new(replaced(state, &items[at].sensor, document, new_id)?);
            Ok((items, Some(id)))
        }
        Edit::Remove(id) => {
            items.remove(position(id)?);
            Ok((items, None))
        }
        Edit::ReplaceAll(document) => Ok((all_replaced(state, document, new_id)?, None)),
        Edit::Rollback { items, .. } => Ok((items, None)),
    }
}

fn replaced(
    state: &DeviceState,
    old: &Sensor,
    mut document: Value,
    new_id: &mut dyn FnMut() -> Uuid,
) -> Result<Sensor, EditError> {
    let id = Value::String(old.id().to_string());
    let is_other = |given: &Value| !given.is_null() && sensor_id(given) != Some(old.id());
    if document.get("id").is_some_and(is_other) {
        return Err(EditError::Invalid(Problems::one(
            "id",
            "the sensor's own id, or none",
            "another id",
        )));
    }
    if let Value::Object(members) = &mut document {
        members.insert("id".to_string(), id);
    }
    give_ids(&mut document, Some(old), new_id);
    let sensor = read_strictly(document)?;
    refuse_taken_name(state, &sensor, Some(old.id()))?;
    Ok(sensor)
}

fn refuse_taken_name(
    state: &DeviceState,
    sensor: &Sensor,
    except: Option<SensorId>,
) -> Result<(), EditError> {
    match state.wanted_by_name(sensor.name().as_str()) {
        Some(other) if Some(other.id()) != except => {
            let expected = "a name that no other sensor of the device has";
            Err(EditError::NameTaken(Problems::one(
                "name",
                expected,
                sensor.name(),
            )))
        }
        _ => Ok(()),
    }
}

fn read_strictly(document: Value) -> Result<Sensor, EditError> {
    let mut problems = Problems::default();
    let sensor = Sensor::read(document, &Path::ROOT, &mut problems);
    problems.refuse_unknown();
    problems.check(sensor).map_err(EditError::Invalid)
}

/// Reads a whole list of sensors. Items without an id are those of the same name; a new name is a new sensor.
fn all_replaced(
    state: &DeviceState,
    mut document: Value,
    new_id: &mut dyn FnMut() -> Uuid,
) -> Result<Vec<Item>, EditError> {
    const LIST: &str = "protocolAdapterDevices";
    let mut problems = Problems::default();
    let sensors = || state.target.items.iter().map(|item| &item.sensor);
    let by_id: BTreeMap<SensorId, &Arc<Sensor>> =
        sensors().map(|sensor| (sensor.id(), sensor)).collect();
    let by_name: BTreeMap<&str, &Arc<Sensor>> = sensors()
        .map(|sensor| (sensor.name().as_str(), sensor))
        .collect();
    let root = Path::ROOT;
    let list = root.key(LIST);
    // A sensor that is spoken of by its id may have a new name here, and its old name may be that of a new sensor.
    let spoken_of: BTreeSet<SensorId> = document
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| sensor_id(item.get("id")?))
        .collect();
    for (index, item) in document.as_array_mut().into_iter().flatten().enumerate() {
        let given = item.get("id").filter(|id| !id.is_null());
        let old = match given {
            Some(id) => sensor_id(id).and_then(|id| by_id.get(&id)),
            None => item
                .get("name")
                .and_then(Value::as_str)
                .and_then(|name| by_name.get(name))
                .filter(|sensor| !spoken_of.contains(&sensor.id())),
        };
        if given.is_some() && old.is_none() {
            let expected = "the id of a sensor that the device has, or none for a new one";
            problems.add(list.index(index).key("id"), expected, "another id");
        }
        let old = old.copied();
        give_ids(item, old.map(AsRef::as_ref), new_id);
    }
    let items = read_items(document, &list, &mut problems);
    problems.refuse_unknown();
    problems.check(items).map_err(EditError::Invalid)
}

fn sensor_id(value: &Value) -> Option<SensorId> {
    value.as_str()?.parse().ok()
}

/// Gives ids where a person left them out: the old one of a sensor or of a point with the same name, else a new one.
fn give_ids(document: &mut Value, old: Option<&Sensor>, new_id: &mut dyn FnMut() -> Uuid) {
    let Value::Object(members) = document else {
        return;
    };
    give_id(members, || {
        old.map_or_else(&mut *new_id, |old| old.id().uuid())
    });
    let old_points: BTreeMap<&str, Uuid> = old
        .map(|old| old.content().binding.point_names())
        .into_iter()
        .flatten()
        .map(|(id, name)| (name.as_str(), id.uuid()))
        .collect();
    for point in members
        .get_mut("dataPoints")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let Value::Object(point) = point else {
            continue;
        };
        let known = point
            .get("name")
            .and_then(Value::as_str)
            .and_then(|name| old_points.get(name))
            .copied();
        give_id(point, || known.unwrap_or_else(&mut *new_id));
    }
}

fn give_id(members: &mut Map<String, Value>, id: impl FnOnce() -> Uuid) {
    if members.get("id").is_none_or(Value::is_null) {
        members.insert("id".to_string(), Value::String(id().to_string()));
    }
}

/// JSON Merge Patch (RFC 7396, section 2).
fn merge_patch(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            members.remove(&key);
        } else {
            merge_patch(members.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// The change that makes `items` the device's target: a new version above all that the hub gave or the agent holds.
/// `None` if that is what it is already.
fn retarget(
    state: &DeviceState,
    items: Vec<Item>,
    kind: EventKind,
    from: Option<u64>,
    reason: Option<&str>,
    context: &Context,
) -> Option<Change> {
    let old: BTreeMap<SensorId, &Item> = state
        .target
        .items
        .iter()
        .map(|item| (item.sensor.id(), item))
        .collect();
    let held = state
        .reported
        .as_ref()
        .map_or(0, |reported| reported.held_version);
    let version = state.target.version.max(held) + 1;
    let mut edited = BTreeMap::new();
    let mut new_items = Vec::with_capacity(items.len());
    for item in items {
        let id = item.sensor.id();
        let same = old.get(&id).filter(|before| before.sensor == item.sensor);
        if same.is_none() {
            edited.insert(
                id,
                if old.contains_key(&id) {
                    Edited::Updated
                } else {
                    Edited::Added
                },
            );
        }
        let config_version = same.map_or(version, |before| before.config_version);
        new_items.push(Item {
            config_version,
            sensor: item.sensor,
        });
    }
    let kept: BTreeSet<SensorId> = new_items.iter().map(|item| item.sensor.id()).collect();
    for id in old.keys().filter(|id| !kept.contains(id)) {
        edited.insert(*id, Edited::Deleted);
    }
    if edited.is_empty() {
        return None;
    }
    let mut change = Change::of(state);
    let both = old.values().copied().chain(&new_items);
    let names: BTreeMap<SensorId, &Name> = both
        .map(|item| (item.sensor.id(), item.sensor.name()))
        .collect();
    let sensors = edited
        .iter()
        .map(|(id, what)| json!({ "id": id, "name": names.get(id), "change": word(*what) }));
    let payload = json!({
        "version": version,
        "previousVersion": state.target.version,
        "rolledBackTo": from,
        "reason": reason,
        "sensors": sensors.collect::<Vec<_>>(),
    });
    let event = change.event(state, context, kind, None, payload);
    let mut target = state.target.clone();
    target.version = version;
    target.items = new_items;
    target.event = event;
    target.audit = target.audit.touched(context.now, &context.actor);
    project(
        &mut change,
        state,
        &target,
        state.reported.as_ref(),
        &edited,
        context,
    );
    change.target = Some(TargetChange {
        target,
        reason: reason.map(ToString::to_string),
        kind: TargetChangeKind::NewVersion,
    });
    Some(change)
}

const fn word(edited: Edited) -> &'static str {
    match edited {
        Edited::Added => "added",
        Edited::Updated => "updated",
        Edited::Deleted => "deleted",
    }
}

/// The change that asks the agent to look at everything again and report in full.
#[must_use]
pub fn look_again(state: &DeviceState, reason: Option<&str>, context: &Context) -> Change {
    let mut change = Change::of(state);
    let mut target = state.target.clone();
    target.look_revision += 1;
    let payload = json!({ "revision": target.look_revision, "reason": reason });
    change.event(state, context, EventKind::DeviceLook, None, payload);
    change.target = Some(TargetChange {
        target,
        reason: None,
        kind: TargetChangeKind::Look,
    });
    change
}
