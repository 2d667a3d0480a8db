//! The event log.

use holdfast_domain::DeviceId;
use holdfast_wire::{EventView, Listed, page::MOST};

use super::Operator;
use crate::{follow::Follower, problem::CallError, transport::Call};

/// Which events are wanted: all that match everything given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventQuery {
    /// Of this device.
    pub device: Option<DeviceId>,
    /// Of these types, such as `sensor.failed`; empty: of all.
    pub kinds: Vec<String>,
}

impl EventQuery {
    fn of(&self, call: Call) -> Call {
        let Self { device, kinds } = self;
        let call = call.query_opt("device", *device);
        kinds
            .iter()
            .fold(call, |call, kind| call.query("type", kind))
    }
}

impl Operator {
    /// At most `limit` events behind `after`, oldest first; without `after` from the log's beginning.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn events(
        &self,
        query: &EventQuery,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Listed<EventView>, CallError> {
        let call = query.of(self.get(&["events"])).query_opt("after", after);
        let call = call.query("limit", &limit.min(MOST).to_string());
        self.fetch(call, "a page of events").await
    }

    /// The last `limit` events, newest first.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn latest_events(
        &self,
        query: &EventQuery,
        limit: u32,
    ) -> Result<Vec<EventView>, CallError> {
        let call = query.of(self.get(&["events"])).query("order", "newest");
        let call = call.query("limit", &limit.min(MOST).to_string());
        let listed: Listed<EventView> = self.fetch(call, "a page of events").await?;
        Ok(listed.items)
    }

    /// Follows the log behind `after`; without it, from now on.
    #[must_use]
    pub fn follow(&self, query: &EventQuery, after: Option<&str>) -> Follower {
        let call = query.of(self.get(&["events", "stream"]));
        Follower::new(self.transport.clone(), call, after.map(str::to_owned))
    }
}
