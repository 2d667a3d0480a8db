//! Resetting a point's write budget: its instrument was replaced, and the new one has no writes behind it.

use alloc::string::String;

use serde_json::json;
use uuid::Uuid;

use super::{WishError, changed, name_of, sensor_of};
use crate::{
    event::{Context, EventKind},
    fields::Problems,
    ids::{PointId, ResetId},
    limits,
    state::{Change, DeviceState},
    values::ResetWish,
};

/// A reset that an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetRequest {
    /// A new id.
    pub id: Uuid,
    /// Why.
    pub reason: String,
    /// Key of the request, if it has one.
    pub key: Option<String>,
}

/// Begins the account of a point's writes anew. The same request again gives nothing new: it is the reset that it gave.
///
/// # Errors
/// Says why that can't be.
pub fn reset_budget(
    state: &DeviceState,
    point: PointId,
    request: ResetRequest,
    context: &Context,
) -> Result<Option<Change>, WishError> {
    let ResetRequest { id, reason, key } = request;
    let mut before = state.target.values.resets.values();
    if let Some(same) = before.find(|reset| key.is_some() && reset.key == key) {
        if (same.point_id, &same.reason) == (point, &reason) {
            return Ok(None);
        }
        return Err(WishError::Invalid(Problems::one(
            "Idempotency-Key",
            "a key of its own for each request",
            "one that another request came with",
        )));
    }
    let sensor = sensor_of(state, point).ok_or(WishError::NoSuchPoint(point))?;
    let rules = sensor.content().binding.point_rules(point);
    if !rules.ok_or(WishError::NoSuchPoint(point))?.writable {
        return Err(WishError::NotWritable(name_of(state, point)));
    }
    let mut values = state.target.values.clone();
    let is_there = |point: &PointId| sensor_of(state, *point).is_some();
    values.resets.retain(|point, _| is_there(point));
    if values.resets.len() >= limits::SETPOINTS_PER_DEVICE && !values.resets.contains_key(&point) {
        return Err(WishError::TooManyResets(limits::SETPOINTS_PER_DEVICE));
    }
    values.revision += 1;
    let said = state.reported.as_ref();
    let said = said.and_then(|reported| reported.values.items.get(&point));
    let payload = json!({
        "id": id,
        "pointId": point,
        "sensorId": sensor.id(),
        "reason": reason,
        "writes": said.map(|said| said.writes),
        "revision": values.revision,
    });
    let reset = ResetWish {
        point_id: point,
        id: ResetId(id),
        by: context.actor.clone(),
        reason,
        at: context.now,
        key,
    };
    values.resets.insert(point, reset);
    Ok(Some(changed(
        state,
        values,
        EventKind::BudgetReset,
        payload,
        context,
    )))
}
