//! Setpoints: the values that points shall hold.

use std::time::Duration;

use holdfast_domain::DeviceId;
use holdfast_wire::{SetpointSet, SetpointView};
use reqwest::Method;

use super::Operator;
use crate::{problem::CallError, transport::Call};

/// A point of a device: sensor and point by name or UUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointRef {
    /// The device.
    pub device: DeviceId,
    /// The sensor's name or UUID; not `.` or `..`.
    pub sensor: String,
    /// The point's name or UUID; not `.` or `..`.
    pub point: String,
}

impl Operator {
    /// Every setpoint of a device, by point id.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn setpoints(&self, device: DeviceId) -> Result<Vec<SetpointView>, CallError> {
        let call = self.get(&["devices", &device.to_string(), "setpoints"]);
        self.all(call, "a page of setpoints").await
    }

    /// The setpoint of a point; `None`: nothing is set there, or there is no such point.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn setpoint(&self, point: &PointRef) -> Result<Option<SetpointView>, CallError> {
        let call = self.of_point(Method::GET, point);
        match self.fetch(call, "a setpoint").await {
            Ok(setpoint) => Ok(Some(setpoint)),
            Err(error) if error.is_status(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets the value that a point shall hold, and waits up to `wait` for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set_setpoint(
        &self,
        point: &PointRef,
        set: &SetpointSet,
        wait: Duration,
    ) -> Result<SetpointView, CallError> {
        let call = self.of_point(Method::PUT, point).json(set);
        let call = if wait.is_zero() {
            call
        } else {
            call.prefer_wait(wait)
        };
        self.fetch(call, "the setpoint").await
    }

    /// Releases a point: nothing is wanted of it any more.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn release_setpoint(&self, point: &PointRef) -> Result<(), CallError> {
        let call = self.of_point(Method::DELETE, point);
        self.send(self.reasoned(call)).await.map(drop)
    }

    fn of_point(&self, method: Method, point: &PointRef) -> Call {
        let PointRef {
            device,
            sensor,
            point,
        } = point;
        let device = device.to_string();
        let path = ["devices", &device, "setpoints", sensor, point];
        self.transport.call(method, &path)
    }
}
