//! Last values of points: kept while their point is wanted or runs, and no longer.

use std::collections::BTreeSet;

use holdfast_domain::{
    DeviceId, PointId, SensorId,
    state::{Change, DeviceState},
};
use holdfast_ports::store::PointRecord;
use jiff::{SignedDuration, Timestamp};

use crate::{Hub, HubError};

/// An agent's clock may differ from the hub's by so much: the way between them takes time.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(5);

impl Hub {
    /// Keeps the last values of a device's points. Those of points that are neither wanted nor run are left out.
    ///
    /// Times are put right by how far the agent's clock was off when it sent them (`sent_at`): a clock that is set back
    /// would hide every value that follows. What is still to come after that counts as now, or the value would stand
    /// until then.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn readings(
        &self,
        device: DeviceId,
        points: &[PointRecord],
        sent_at: Option<Timestamp>,
    ) -> Result<(), HubError> {
        let now = self.inner.parts.clock.now();
        self.inner.seen.add(device, now, None);
        let off = sent_at
            .map(|sent| now.duration_since(sent))
            .filter(|off| off.abs() > CLOCKS_DIFFER)
            .unwrap_or_default();
        let known = self.inner.states.get(device).await?;
        let latest = now + CLOCKS_DIFFER;
        let points: Vec<PointRecord> = points
            .iter()
            .filter(|record| known.points().get(&record.point) == Some(&record.sensor))
            .map(|record| PointRecord {
                at: record.at.checked_add(off).unwrap_or(latest).min(latest),
                ..record.clone()
            })
            .collect();
        Ok(self
            .inner
            .parts
            .devices
            .save_points(device, &points)
            .await?)
    }
}

/// The sensors that a change touches.
pub(crate) fn touched(change: &Change) -> BTreeSet<SensorId> {
    let changed = change.upserts.iter().map(|row| row.id);
    changed.chain(change.deletes.iter().copied()).collect()
}

/// The points of these sensors that were wanted or ran, and are not and do not any more.
pub(crate) fn vanished(
    sensors: &BTreeSet<SensorId>,
    before: &DeviceState,
    after: &DeviceState,
) -> Vec<PointId> {
    let mut vanished = Vec::new();
    for sensor in sensors {
        let now = points(after, *sensor);
        vanished.extend(points(before, *sensor).difference(&now));
    }
    vanished
}

fn points(state: &DeviceState, sensor: SensorId) -> BTreeSet<PointId> {
    let shown = state.rows.get(&sensor).map(|row| &row.shown);
    let wanted = state.target.item(sensor).map(|item| &item.sensor);
    let contents = shown.into_iter().chain(wanted);
    contents
        .flat_map(|sensor| sensor.content().binding.point_names())
        .map(|(point, _)| point)
        .collect()
}
