//! Write budgets: beginning the account of a point's writes anew, because its instrument was replaced.

use holdfast_domain::{
    DeviceId, Fields, PointId, ResetId, row::Actor, state::DeviceState, values::ResetWish,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::request::{REASON, Request};

/// Begins the account of a point's writes anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BudgetResetCreate {
    /// Why: that the instrument was replaced, and by which, say.
    pub reason: String,
}

impl Request for BudgetResetCreate {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let reason = fields.text("reason", REASON);
        Some(Self { reason: reason? })
    }
}

/// A reset of a point's write budget, and whether the agent has carried it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BudgetResetView {
    /// Which reset.
    pub id: ResetId,
    /// The device.
    pub device: DeviceId,
    /// The point.
    pub point_id: PointId,
    /// By whom.
    pub by: Actor,
    /// Why.
    pub reason: String,
    /// When it was asked for.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub at: Timestamp,
    /// Has the agent begun a new account? It does so once, and says so when that is on its disk.
    pub is_confirmed: bool,
    /// Writes made to the point in its instrument's life, as the agent said last; null: it said nothing of them yet.
    pub writes: Option<u64>,
    /// Writes that may still be made.
    pub budget_left: Option<u64>,
    /// Has the agent gone silent?
    pub stale: bool,
}

impl BudgetResetView {
    /// The last reset of a point; `None`: there was none.
    #[must_use]
    pub fn of(state: &DeviceState, point: PointId) -> Option<Self> {
        let ResetWish {
            point_id,
            id,
            by,
            reason,
            at,
            key: _,
        } = state.target.values.resets.get(&point)?;
        let reported = state.reported.as_ref().map(|reported| &reported.values);
        let done = reported.and_then(|values| values.resets.get(point_id));
        let said = reported.and_then(|values| values.account(*point_id));
        Some(Self {
            id: *id,
            device: state.record.id,
            point_id: *point_id,
            by: by.clone(),
            reason: reason.clone(),
            at: *at,
            is_confirmed: done == Some(id),
            writes: said.map(|said| said.writes),
            budget_left: said.map(|said| said.budget_left),
            stale: state.presence.silent,
        })
    }
}
