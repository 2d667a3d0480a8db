//! Commands: values that are written once.

use std::time::Duration;

use holdfast_domain::{CommandId, DeviceId};
use holdfast_wire::{CommandSend, CommandView};

use super::Operator;
use crate::problem::CallError;

impl Operator {
    /// Sends a value to a point, and waits up to `wait` for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn command(
        &self,
        device: DeviceId,
        command: &CommandSend,
        wait: Duration,
    ) -> Result<CommandView, CallError> {
        let call = self
            .post(&["devices", &device.to_string(), "commands"])
            .json(command);
        let call = if wait.is_zero() {
            call
        } else {
            call.prefer_wait(wait)
        };
        self.fetch(call, "the command").await
    }

    /// Cancels a command, and waits up to `wait` for its agent's word; the outcome is then `cancelled`, or none yet.
    ///
    /// # Errors
    /// [`CallError`]: that it was begun before, too.
    pub async fn cancel_command(
        &self,
        device: DeviceId,
        command: CommandId,
        wait: Duration,
    ) -> Result<CommandView, CallError> {
        let (device, command) = (device.to_string(), command.to_string());
        let call = self.delete(&["devices", &device, "commands", &command]);
        let call = self.reasoned(call);
        let call = if wait.is_zero() {
            call
        } else {
            call.prefer_wait(wait)
        };
        self.fetch(call, "the command").await
    }

    /// The commands of a device that its hub keeps, the newest first.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn commands(&self, device: DeviceId) -> Result<Vec<CommandView>, CallError> {
        let call = self.get(&["devices", &device.to_string(), "commands"]);
        self.all(call, "a page of commands").await
    }
}
