//! What devices should run: targets, plans, versions.

use holdfast_domain::DeviceId;
use holdfast_wire::{EditAnswer, HistoryEntry, PlanView, Rollback, TargetStateView};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::Operator;
use crate::problem::{self, CallError};

/// A target, with the entity tag that guards an edit made from it.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetAnswer {
    /// The target.
    pub target: TargetStateView,
    /// For `If-Match`.
    pub etag: String,
}

/// The body that makes `sensors` a device's list.
fn config(sensors: &[Value]) -> Value {
    json!({ "config": { "protocolAdapterDevices": sensors } })
}

impl Operator {
    /// What a device should run.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn target(&self, device: DeviceId) -> Result<TargetAnswer, CallError> {
        let call = self.get(&["devices", &device.to_string(), "target-state"]);
        let named = call.named();
        let answer = self.send(call).await?;
        let etag = answer.etag().map(str::to_owned);
        let target: TargetStateView = problem::read(named, &answer, "a target")?;
        let etag = etag.unwrap_or_else(|| target.etag());
        Ok(TargetAnswer { target, etag })
    }

    /// What replacing a device's sensors by `sensors` would change.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn plan(&self, device: DeviceId, sensors: &[Value]) -> Result<PlanView, CallError> {
        let call = self.post(&["devices", &device.to_string(), "target-state", "plan"]);
        self.fetch(call.json(&config(sensors)), "a plan").await
    }

    /// Replaces a device's sensors, if its target is still the one with `etag`; `None` if it is not.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn replace_target(
        &self,
        device: DeviceId,
        sensors: &[Value],
        etag: &str,
    ) -> Result<Option<EditAnswer>, CallError> {
        let segments = ["devices", &device.to_string(), "target-state"];
        let call = self
            .reasoned(self.transport.call(Method::PUT, &segments))
            .header(header::IF_MATCH, etag)
            .json(&config(sensors));
        match self.fetch(call, "what came of the edit").await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is_status(StatusCode::PRECONDITION_FAILED.as_u16()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// At most `most` of the versions of a device's target, newest first.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn history(
        &self,
        device: DeviceId,
        most: usize,
    ) -> Result<Vec<HistoryEntry>, CallError> {
        let call = self.get(&["devices", &device.to_string(), "target-state", "history"]);
        self.some(call, "a page of the history", most).await
    }

    /// Goes back to the sensors of an earlier version, as a new version.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn rollback(&self, device: DeviceId, version: u64) -> Result<EditAnswer, CallError> {
        let body = Rollback {
            version,
            reason: self.reason.clone(),
        };
        let call = self.post(&["devices", &device.to_string(), "target-state", "rollback"]);
        self.fetch(call.json(&body), "what came of the rollback")
            .await
    }
}
