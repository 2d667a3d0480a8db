//! Waiting for what an agent says.

use std::{sync::Arc, time::Duration};

use holdfast_domain::{DeviceId, state::DeviceState};
use tokio::time::Instant;

use crate::{Hub, HubError};

impl Hub {
    /// The device's state, as soon as `is_enough` of it; at the latest when `wait` is over. The store is looked at some
    /// times a second, because a report may come to another replica, which wakes nobody here.
    pub(crate) async fn wait_for_report(
        &self,
        device: DeviceId,
        wait: Duration,
        is_enough: impl Fn(&DeviceState) -> bool,
    ) -> Result<Arc<DeviceState>, HubError> {
        const LOOK_AT_THE_STORE_EVERY: Duration = Duration::from_millis(250);
        let deadline = Instant::now() + wait.min(self.inner.settings.longest_wait);
        let slot = self.inner.states.slot(device);
        loop {
            let reported = slot.reported.notified();
            tokio::pin!(reported);
            reported.as_mut().enable();
            let state = self.inner.states.load(device).await?.state.clone();
            let left = deadline.saturating_duration_since(Instant::now());
            if is_enough(&state) || left.is_zero() {
                return Ok(state);
            }
            let _ = tokio::time::timeout(left.min(LOOK_AT_THE_STORE_EVERY), reported).await;
        }
    }
}
