//! Value loops: how they run, stopping and starting them, pausing parts of them.

use std::time::Duration;

use holdfast_domain::{DeviceId, PauseId, values::Interruption};
use holdfast_wire::{
    FleetReconciliation, PauseCreate, ReconciliationView, StartMove, StartPlan, Stop,
};

use super::Operator;
use crate::{problem::CallError, transport::Call};

impl Operator {
    /// How a device's value loop runs.
    ///
    /// # Errors
    /// [`CallError`], as every call.
    pub async fn reconciliation(&self, device: DeviceId) -> Result<ReconciliationView, CallError> {
        let call = self.get(&["devices", &device.to_string(), "reconciliation"]);
        self.fetch(call, LOOP).await
    }

    /// Starts a device's value loop, and waits up to `wait` for its agent to confirm it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn start(
        &self,
        device: DeviceId,
        wait: Duration,
    ) -> Result<ReconciliationView, CallError> {
        let call = self.post(&["devices", &device.to_string(), "reconciliation", "start"]);
        self.fetch(patient(self.reasoned(call), wait), LOOP).await
    }

    /// Stops a device's value loop, and waits up to `wait` for its agent to confirm it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn stop(
        &self,
        device: DeviceId,
        stop: &Stop,
        wait: Duration,
    ) -> Result<ReconciliationView, CallError> {
        let call = self.post(&["devices", &device.to_string(), "reconciliation", "stop"]);
        self.fetch(patient(call.json(stop), wait), LOOP).await
    }

    /// Every output of a device with what a start of its stopped loop would do to it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn start_moves(&self, device: DeviceId) -> Result<Vec<StartMove>, CallError> {
        let call = self.get(&["devices", &device.to_string(), "reconciliation", "plan"]);
        self.all(call, "a page of what a start would move").await
    }

    /// Pauses a sensor or a point of a device.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn pause(
        &self,
        device: DeviceId,
        pause: &PauseCreate,
    ) -> Result<Interruption, CallError> {
        let call = self.post(&["devices", &device.to_string(), "pauses"]);
        self.fetch(call.json(pause), "the pause made").await
    }

    /// Lifts one stop or pause.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn lift(&self, device: DeviceId, pause: PauseId) -> Result<(), CallError> {
        let (device, pause) = (device.to_string(), pause.to_string());
        let call = self.delete(&["devices", &device, "pauses", &pause]);
        self.send(self.reasoned(call)).await.map(drop)
    }

    /// How the fleet's value loops run, in figures.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn fleet_reconciliation(&self) -> Result<FleetReconciliation, CallError> {
        self.fetch(self.get(&["reconciliation"]), FLEET).await
    }

    /// Starts the fleet's value loops.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn start_fleet(&self) -> Result<FleetReconciliation, CallError> {
        let call = self.post(&["reconciliation", "start"]);
        self.fetch(self.reasoned(call), FLEET).await
    }

    /// Stops the fleet's value loops.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn stop_fleet(&self, stop: &Stop) -> Result<FleetReconciliation, CallError> {
        let call = self.post(&["reconciliation", "stop"]);
        self.fetch(call.json(stop), FLEET).await
    }

    /// Every stopped device, with what starting it would move in figures.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn start_plans(&self) -> Result<Vec<StartPlan>, CallError> {
        let call = self.get(&["reconciliation", "plan"]);
        self.all(call, "a page of what a start would move").await
    }
}

const LOOP: &str = "how the value loop runs";
const FLEET: &str = "how the fleet's value loops run";

fn patient(call: Call, wait: Duration) -> Call {
    if wait.is_zero() {
        call
    } else {
        call.prefer_wait(wait)
    }
}
