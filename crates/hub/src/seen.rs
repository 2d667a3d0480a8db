//! When devices were last heard of: gathered in memory, written in batches, so that a report that says nothing new costs
//! the store next to nothing.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use holdfast_domain::{DeviceId, ReportOrder};
use holdfast_ports::{
    StoreError,
    store::{DeviceStore, Seen},
};
use jiff::Timestamp;

/// What was seen since the last batch, by device.
#[derive(Default)]
pub(crate) struct SeenBatch {
    waiting: Mutex<BTreeMap<DeviceId, Seen>>,
}

impl SeenBatch {
    /// Devices of one statement: fast for the store, and short enough that no row is locked for long.
    const BATCH: usize = 1_000;

    pub(crate) fn add(&self, device: DeviceId, at: Timestamp, order: Option<ReportOrder>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = waiting.entry(device).or_insert(Seen { device, at, order });
        seen.at = seen.at.max(at);
        seen.order = order.or(seen.order);
    }

    /// Writes all that waits; what could not be written waits on. Gives the devices that are marked as silent, wrongly as
    /// is clear now.
    pub(crate) async fn write(
        &self,
        devices: &dyn DeviceStore,
    ) -> Result<Vec<DeviceId>, StoreError> {
        let taken =
            std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let batch: Vec<Seen> = taken.into_values().collect();
        #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
        metrics::gauge!("holdfast_seen_waiting").set(batch.len() as f64);
        let mut silent = Vec::new();
        for (index, part) in batch.chunks(Self::BATCH).enumerate() {
            match devices.touch(part).await {
                Ok(mut found) => silent.append(&mut found),
                Err(error) => {
                    for seen in &batch[index * Self::BATCH..] {
                        self.add(seen.device, seen.at, seen.order);
                    }
                    return Err(error);
                }
            }
        }
        Ok(silent)
    }
}
