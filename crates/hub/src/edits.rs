//! Edits of a device's target: one sensor, or all of them.

use holdfast_domain::row::{Actor, SensorRow};
use holdfast_domain::{
    DeviceId, Item, Name, PointId, Problems, SensorId,
    canonical::differing_paths,
    check::{Doubt, doubts},
    document::sensor::Sensor,
    edit::{Edit, edit},
    event::Context,
    limits,
    state::{DeviceState, Target},
};
use serde_json::Value;

use crate::{
    Hub, HubError,
    states::{Decided, Known},
};

/// Who edits, why, and onto what.
#[derive(Debug, Clone, Copy)]
pub struct EditRequest<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// Why, in their words.
    pub reason: Option<&'a str>,
    /// The version that the edit was made on, where it must be that; `None`: any.
    pub if_version: Option<u64>,
    /// The request, for the events.
    pub correlation: Option<&'a str>,
}

/// What an edit came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Edited {
    /// The target's version now.
    pub version: u64,
    /// Did it change anything?
    pub changed: bool,
    /// The row of the sensor that was added, replaced or patched.
    pub sensor: Option<SensorRow>,
}

/// What a new target would change. Nothing was done.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The version that the plan was made on.
    pub version: u64,
    /// Sensor by sensor, by name.
    pub sensors: Vec<PlannedSensor>,
    /// What is doubtful in the new target.
    pub doubts: Vec<Doubt>,
}

/// What a new target would change of one sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedSensor {
    /// The sensor; `None`: it would be new.
    pub id: Option<SensorId>,
    /// Its name.
    pub name: Name,
    /// What would be done.
    pub action: Action,
    /// The fields that would change.
    pub paths: Vec<String>,
}

/// What would be done to a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Add it.
    Add,
    /// Change it.
    Update,
    /// Remove it.
    Remove,
    /// Leave it alone.
    Keep,
}

impl Action {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Update => "update",
            Self::Remove => "remove",
            Self::Keep => "keep",
        }
    }
}

impl Hub {
    /// Everything that is known of a device, from the store: reports that came to another replica wake nobody here.
    ///
    /// # Errors
    /// [`HubError::DeviceGone`] if there is no such device.
    pub async fn state(&self, device: DeviceId) -> Result<std::sync::Arc<DeviceState>, HubError> {
        Ok(self.inner.states.load(device).await?.state.clone())
    }

    /// Edits a device's target.
    ///
    /// # Errors
    /// Says what is wrong with the edit; nothing was changed then.
    pub async fn edit(
        &self,
        device: DeviceId,
        what: &Edit,
        request: EditRequest<'_>,
    ) -> Result<Edited, HubError> {
        check_reason(request.reason)?;
        let context = self.context(request.actor, request.correlation);
        let mut new_id = || self.inner.parts.entropy.uuid();
        self.inner
            .states
            .change(device, |known| {
                decide(known, what.clone(), request, &mut new_id, &context)
            })
            .await
    }

    /// Goes back to the sensors of an earlier version, as a new version.
    ///
    /// # Errors
    /// [`HubError::NotFound`] if there was no such version.
    pub async fn rollback(
        &self,
        device: DeviceId,
        version: u64,
        request: EditRequest<'_>,
    ) -> Result<Edited, HubError> {
        let items = self.inner.parts.devices.version(device, version).await?;
        let items = items
            .ok_or_else(|| HubError::NotFound(format!("version {version} of device {device}")))?;
        self.edit(device, &Edit::Rollback { version, items }, request)
            .await
    }

    /// What the list of sensors `document` would change. Nothing is done.
    ///
    /// # Errors
    /// Says what is wrong with the document.
    pub async fn plan(&self, device: DeviceId, document: Value) -> Result<Planned, HubError> {
        let known = self.inner.states.load(device).await?;
        let context = self.context(&Actor::named("plan"), None);
        let mut new_id = || self.inner.parts.entropy.uuid();
        let edition = edit(
            &known.state,
            Edit::ReplaceAll(document),
            None,
            &mut new_id,
            &context,
        )
        .map_err(|error| HubError::of_edit(&known.state, error))?;
        let old = &known.state.target;
        let new = edition
            .change
            .and_then(|change| change.target)
            .map(|change| change.target);
        Ok(planned(old, new.as_ref().unwrap_or(old)))
    }
}

/// What people call a point that is wanted: `sensor/point`.
pub(crate) fn place_of(state: &DeviceState, point: PointId) -> String {
    let sensors = state.target.items.iter().map(|item| &item.sensor);
    let mut names = sensors.flat_map(|sensor| {
        let points = sensor.content().binding.point_names();
        points
            .into_iter()
            .map(|(id, name)| (id, sensor.name(), name))
    });
    names.find(|(id, _, _)| *id == point).map_or_else(
        || point.to_string(),
        |(_, sensor, name)| format!("{sensor}/{name}"),
    )
}

/// Why, in somebody's words: a line or two, of characters that every store keeps.
pub(crate) fn check_reason(reason: Option<&str>) -> Result<(), HubError> {
    const EXPECTED: &str = "at most 1024 characters, none of them U+0000";
    match reason {
        Some(reason) if reason.chars().count() > limits::TEXT_CHARS || reason.contains('\0') => {
            Err(HubError::Invalid(Problems::one(
                "reason",
                EXPECTED,
                "another text",
            )))
        }
        _ => Ok(()),
    }
}

fn decide(
    known: &Known,
    what: Edit,
    request: EditRequest<'_>,
    new_id: &mut dyn FnMut() -> uuid::Uuid,
    context: &Context,
) -> Result<Decided<Edited>, HubError> {
    let state = &known.state;
    if request
        .if_version
        .is_some_and(|version| version != state.target.version)
    {
        return Err(HubError::PreconditionFailed {
            found: state.target.version,
        });
    }
    let edition = edit(state, what, request.reason, new_id, context)
        .map_err(|error| HubError::of_edit(state, error))?;
    let row = |id: SensorId| {
        let upserts = edition
            .change
            .as_ref()
            .map(|change| change.upserts.as_slice())
            .unwrap_or_default();
        upserts
            .iter()
            .find(|row| row.id == id)
            .or_else(|| state.rows.get(&id))
            .cloned()
    };
    let target = edition
        .change
        .as_ref()
        .and_then(|change| change.target.as_ref());
    let answer = Edited {
        version: target.map_or(state.target.version, |change| change.target.version),
        changed: edition.change.is_some(),
        sensor: edition.sensor.and_then(row),
    };
    Ok(Decided {
        change: edition.change,
        answer,
    })
}

fn planned(old: &Target, new: &Target) -> Planned {
    /// Paths beyond this tell a person nothing more.
    const PATHS: usize = 50;
    let entry = |item: &Item, id: Option<SensorId>, action: Action, before: Option<&Sensor>| {
        PlannedSensor {
            id,
            name: item.sensor.name().clone(),
            action,
            paths: before
                .map(|before| differing_paths(&before.to_json(), &item.sensor.to_json(), PATHS))
                .unwrap_or_default(),
        }
    };
    let mut sensors: Vec<PlannedSensor> = new
        .items
        .iter()
        .map(|item| match old.item(item.sensor.id()) {
            None => entry(item, None, Action::Add, None),
            Some(before) if before.sensor == item.sensor => {
                entry(item, Some(item.sensor.id()), Action::Keep, None)
            }
            Some(before) => entry(
                item,
                Some(item.sensor.id()),
                Action::Update,
                Some(&before.sensor),
            ),
        })
        .collect();
    let gone = old
        .items
        .iter()
        .filter(|item| new.item(item.sensor.id()).is_none());
    sensors.extend(gone.map(|item| entry(item, Some(item.sensor.id()), Action::Remove, None)));
    sensors.sort_by(|left, right| left.name.cmp(&right.name));
    Planned {
        version: old.version,
        sensors,
        doubts: doubts(&new.items),
    }
}
