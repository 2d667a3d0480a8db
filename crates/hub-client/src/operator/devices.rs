//! Devices, and what is true of them: sensors, values, drift.

use std::{collections::BTreeMap, time::Duration};

use holdfast_domain::{DeviceId, Name, Protocol, SensorId, row::DeploymentStatus};
use holdfast_wire::{
    CurrentStateView, Device, DeviceCreate, DeviceCreated, DeviceDrift, DeviceUpdate, FleetDrift,
    Listed, PointView, ProvisioningKeyCreated, ReconcileAnswer, SensorView,
};
use reqwest::Method;

use super::Operator;
use crate::{problem::CallError, transport::Call};

/// Which rows of the sensors' list are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SensorsView {
    /// What really runs.
    #[default]
    Running,
    /// What runs and what is wanted.
    All,
}

/// Which sensors are wanted: all that match everything given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SensorQuery {
    /// What really runs, or all.
    pub view: SensorsView,
    /// Of this protocol.
    pub protocol: Option<Protocol>,
    /// Enabled, or not.
    pub enabled: Option<bool>,
    /// In this status.
    pub status: Option<DeploymentStatus>,
}

impl SensorQuery {
    fn of(self, call: Call) -> Call {
        let Self {
            view,
            protocol,
            enabled,
            status,
        } = self;
        let view = match view {
            SensorsView::Running => None,
            SensorsView::All => Some("all"),
        };
        call.query_opt("view", view)
            .query_opt("protocol", protocol)
            .query_opt("enabled", enabled)
            .query_opt("deploymentStatus", status)
    }
}

impl Operator {
    /// Every device that has all `labels` and this status, by name.
    ///
    /// # Errors
    /// [`CallError`], as every call.
    pub async fn devices(
        &self,
        labels: &BTreeMap<String, String>,
        status: Option<&str>,
    ) -> Result<Vec<Device>, CallError> {
        let mut call = self.get(&["devices"]).query_opt("status", status);
        for (key, value) in labels {
            call = call.query("label", &format!("{key}={value}"));
        }
        self.all(call, "a page of devices").await
    }

    /// One device.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn device(&self, device: DeviceId) -> Result<Device, CallError> {
        self.fetch(self.get(&["devices", &device.to_string()]), "a device")
            .await
    }

    /// The device of this name; `None` if there is none.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn device_named(&self, name: &Name) -> Result<Option<Device>, CallError> {
        let call = self.get(&["devices"]).query("name", name.as_str());
        let listed: Listed<Device> = self.fetch(call, "a page of devices").await?;
        Ok(listed.items.into_iter().find(|device| device.name == *name))
    }

    /// Makes a device, with a provisioning key for its agent.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_device(&self, device: &DeviceCreate) -> Result<DeviceCreated, CallError> {
        self.fetch(self.post(&["devices"]).json(device), "the device made")
            .await
    }

    /// Changes a device's name or labels.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn update_device(
        &self,
        device: DeviceId,
        update: &DeviceUpdate,
    ) -> Result<Device, CallError> {
        let call = self
            .transport
            .call(Method::PATCH, &["devices", &device.to_string()]);
        self.fetch(call.json(update), "the device changed").await
    }

    /// Deletes a device; `force`: also while its agent may still run or hold something.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_device(&self, device: DeviceId, force: bool) -> Result<(), CallError> {
        let call = self.delete(&["devices", &device.to_string()]);
        self.send(call.query_opt("force", force.then_some(true)))
            .await
            .map(drop)
    }

    /// A provisioning key that is bound to a device, so that another agent can take it over.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn rekey_device(
        &self,
        device: DeviceId,
    ) -> Result<ProvisioningKeyCreated, CallError> {
        let call = self.post(&["devices", &device.to_string(), "rekey"]);
        self.fetch(call, "a provisioning key").await
    }

    /// Every sensor of a device that matches.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn sensors(
        &self,
        device: DeviceId,
        query: SensorQuery,
    ) -> Result<Vec<SensorView>, CallError> {
        let call = self.get(&["devices", &device.to_string(), "sensors"]);
        self.all(query.of(call), "a page of sensors").await
    }

    /// Every sensor of the fleet that matches.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn fleet_sensors(&self, query: SensorQuery) -> Result<Vec<SensorView>, CallError> {
        self.all(query.of(self.get(&["sensors"])), "a page of sensors")
            .await
    }

    /// One sensor of a device.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn sensor(
        &self,
        device: DeviceId,
        sensor: SensorId,
    ) -> Result<SensorView, CallError> {
        let (device, sensor) = (device.to_string(), sensor.to_string());
        self.fetch(
            self.get(&["devices", &device, "sensors", &sensor]),
            "a sensor",
        )
        .await
    }

    /// What the agent says is true; `None` before its first report.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn current_state(
        &self,
        device: DeviceId,
    ) -> Result<Option<CurrentStateView>, CallError> {
        let call = self.get(&["devices", &device.to_string(), "current-state"]);
        match self.fetch(call, "the current state").await {
            Ok(state) => Ok(Some(state)),
            // No report yet, or no such device: the device itself says which.
            Err(error) if error.is_status(404) => self.device(device).await.map(|_| None),
            Err(error) => Err(error),
        }
    }

    /// Last values of a device's points.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn points(&self, device: DeviceId) -> Result<Vec<PointView>, CallError> {
        let call = self.get(&["devices", &device.to_string(), "points"]);
        self.all(call, "a page of points").await
    }

    /// What differs on a device.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn drift(&self, device: DeviceId) -> Result<DeviceDrift, CallError> {
        let call = self.get(&["devices", &device.to_string(), "drift"]);
        self.fetch(call, "the device's drift").await
    }

    /// What differs in the fleet.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn fleet_drift(&self) -> Result<Vec<FleetDrift>, CallError> {
        self.all(self.get(&["drift"]), "a page of drift").await
    }

    /// Asks a device's agent to look at everything again, and waits up to `wait` for what it says.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn reconcile(
        &self,
        device: DeviceId,
        wait: Duration,
    ) -> Result<ReconcileAnswer, CallError> {
        let call = self.post(&["devices", &device.to_string(), "reconcile"]);
        self.fetch(
            self.reasoned(call).prefer_wait(wait),
            "what came of the look",
        )
        .await
    }
}
