//! What the sensors of a target must not be together, however each of them is.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
};

use super::EditError;
use crate::{
    document::sensor::Item,
    fields::Problems,
    ids::{PointId, SensorId},
    limits::{SENSORS_PER_DEVICE, TARGET_BYTES},
};

/// Refuses more sensors, or longer ones, than a device may have.
pub(super) fn refuse_too_much(items: &[Item]) -> Result<(), EditError> {
    let refuse = |expected: String, found: String| {
        Err(EditError::Invalid(Problems::one(
            "protocolAdapterDevices",
            expected,
            found,
        )))
    };
    if items.len() > SENSORS_PER_DEVICE {
        return refuse(
            format!("at most {SENSORS_PER_DEVICE} sensors on a device"),
            format!("{}", items.len()),
        );
    }
    let bytes: usize = items.iter().map(|item| item.sensor.bytes()).sum();
    if bytes > TARGET_BYTES {
        return refuse(
            format!("at most {TARGET_BYTES} bytes of JSON for all sensors of a device"),
            format!("{bytes} bytes"),
        );
    }
    Ok(())
}

/// Setpoints and commands speak of a point by its id alone: it is unique on the device. `edited` is the only sensor that
/// was edited; `None`: the whole document was.
pub(super) fn refuse_shared_points(
    items: &[Item],
    edited: Option<SensorId>,
) -> Result<(), EditError> {
    let edited_one = edited.and_then(|id| items.iter().find(|item| item.sensor.id() == id));
    let mut problems = Problems::default();
    let mut add = |place: String, id: PointId| {
        problems.add(
            place,
            "an id that no other point of the device has, or none for a new one",
            id,
        );
    };
    match edited_one {
        Some(edited) => {
            let points = edited.sensor.content().binding.point_names();
            let mut own: BTreeMap<PointId, usize> = points
                .iter()
                .enumerate()
                .map(|(index, (id, _))| (*id, index))
                .collect();
            for other in items
                .iter()
                .filter(|item| item.sensor.id() != edited.sensor.id())
            {
                for (id, _) in other.sensor.content().binding.point_names() {
                    if let Some(index) = own.remove(&id) {
                        add(format!("dataPoints[{index}].id"), id);
                    }
                }
            }
        }
        None => {
            let mut all = BTreeSet::new();
            for (at, item) in items.iter().enumerate() {
                for (index, (id, _)) in item
                    .sensor
                    .content()
                    .binding
                    .point_names()
                    .into_iter()
                    .enumerate()
                {
                    if !all.insert(id) {
                        add(
                            format!("protocolAdapterDevices[{at}].dataPoints[{index}].id"),
                            id,
                        );
                    }
                }
            }
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(EditError::Invalid(problems))
    }
}
