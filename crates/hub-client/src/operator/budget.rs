//! Write budgets of points.

use std::time::Duration;

use holdfast_wire::{BudgetResetCreate, BudgetResetView};
use reqwest::Method;

use super::{Operator, PointRef};
use crate::problem::CallError;

impl Operator {
    /// Begins the account of a point's writes anew, and waits up to `wait` for the agent to do so.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn reset_budget(
        &self,
        point: &PointRef,
        reset: &BudgetResetCreate,
        wait: Duration,
    ) -> Result<BudgetResetView, CallError> {
        let PointRef {
            device,
            sensor,
            point,
        } = point;
        let device = device.to_string();
        let path = [
            "devices",
            &device,
            "points",
            sensor,
            point,
            "write-budget",
            "reset",
        ];
        let call = self.transport.call(Method::POST, &path).json(reset);
        let call = if wait.is_zero() {
            call
        } else {
            call.prefer_wait(wait)
        };
        self.fetch(call, "the reset").await
    }
}
