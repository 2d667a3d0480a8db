//! The port of devices, in memory.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use holdfast_domain::{
    DeviceId, Item, Name, PointId,
    event::Event,
    state::{Change, DeviceState},
};
use holdfast_ports::{
    StoreError,
    page::{Listed, Page},
    store::{
        CommitError, DeviceFilter, DeviceStore, DeviceSummary, Glance, HistoryEntry, PointRecord,
        RegisteredDevice, Registration, Seen, SensorFilter, SensorRecord,
    },
    tokens::RevocationKind,
    wakeups::Wake,
};

use jiff::Timestamp;

use super::{Device, MemoryStore};

#[async_trait]
impl DeviceStore for MemoryStore {
    async fn create(&self, state: &DeviceState, events: &[Event]) -> Result<(), CommitError> {
        self.transact(|data| data.create(state, events))
    }

    async fn load(&self, device: DeviceId) -> Result<Option<DeviceState>, StoreError> {
        Ok(self
            .data()
            .devices
            .get(&device)
            .map(|device| DeviceState::clone(&device.state)))
    }

    async fn glance(&self, device: DeviceId) -> Result<Option<Glance>, StoreError> {
        let data = self.data();
        let state = data.devices.get(&device).map(|device| &device.state);
        Ok(state.map(|state| Glance {
            revision: state.revision,
            last_event: state.last_event,
            last_seen_at: state.presence.last_seen_at,
            seen: state.seen,
        }))
    }

    async fn commit(&self, change: &Change) -> Result<(), CommitError> {
        self.transact(|data| data.commit(change))?;
        if change.changes_desired() {
            self.wake(Wake::Desired(change.device));
        }
        Ok(())
    }

    async fn register(&self, registration: &Registration) -> Result<(), CommitError> {
        let Registration { key, device, token } = registration;
        let revoked = self.transact(|data| {
            let key = data
                .keys
                .get_mut(key)
                .filter(|key| key.revoked_at.is_none() && key.uses_left != Some(0));
            let key = key.ok_or(CommitError::Conflict)?;
            key.uses_left = key.uses_left.map(|left| left - 1);
            let id = match device {
                RegisteredDevice::New(state, events) => {
                    data.create(state, events)?;
                    state.record.id
                }
                RegisteredDevice::Existing(change) => {
                    data.commit(change)?;
                    change.device
                }
            };
            let revoked = data.end_agent_tokens(id, token.created_at, RevocationKind::Revoked);
            data.add_token(token)?;
            Ok::<_, CommitError>(revoked)
        })?;
        if revoked {
            self.wake(Wake::Tokens);
        }
        if let RegisteredDevice::Existing(change) = device
            && change.changes_desired()
        {
            self.wake(Wake::Desired(change.device));
        }
        Ok(())
    }

    async fn revoke(&self, change: &Change, at: Timestamp) -> Result<(), CommitError> {
        self.transact(|data| {
            data.commit(change)?;
            data.end_agent_tokens(change.device, at, RevocationKind::Revoked);
            Ok::<_, CommitError>(())
        })?;
        self.wake(Wake::Tokens);
        Ok(())
    }

    async fn delete(
        &self,
        device: DeviceId,
        base_revision: u64,
        events: &[Event],
    ) -> Result<(), CommitError> {
        let now = self.now();
        self.transact(|data| {
            let found = data
                .devices
                .get(&device)
                .filter(|found| found.state.revision == base_revision);
            found.ok_or(CommitError::Conflict)?;
            data.devices.remove(&device);
            data.append(events)?;
            let at = events.last().map_or(now, |event| event.at);
            data.end_agent_tokens(device, at, RevocationKind::DeviceDeleted);
            Ok::<_, CommitError>(())
        })?;
        self.wake(Wake::Desired(device));
        self.wake(Wake::Tokens);
        Ok(())
    }

    async fn find(&self, name: &Name) -> Result<Option<DeviceId>, StoreError> {
        let data = self.data();
        Ok(data
            .devices
            .values()
            .find(|device| device.state.record.name == *name)
            .map(|device| device.state.record.id))
    }

    async fn touch(&self, seen: &[Seen]) -> Result<Vec<DeviceId>, StoreError> {
        let mut data = self.data();
        let mut silent = Vec::new();
        for Seen { device, at, order } in seen {
            let Some(device) = data.devices.get_mut(device) else {
                continue;
            };
            let mut state = DeviceState::clone(&device.state);
            if state.presence.last_seen_at.is_none_or(|last| last <= *at) {
                state.seen = order.or(state.seen);
            }
            state.presence.last_seen_at = state.presence.last_seen_at.max(Some(*at));
            if state.presence.silent && !silent.contains(&state.record.id) {
                silent.push(state.record.id);
            }
            device.state = state.into();
        }
        Ok(silent)
    }

    async fn devices(
        &self,
        filter: &DeviceFilter,
        page: &Page,
    ) -> Result<Listed<DeviceSummary>, StoreError> {
        let mut found: Vec<DeviceSummary> = self
            .data()
            .devices
            .values()
            .map(summary)
            .filter(|device| device_matches(filter, device))
            .collect();
        found.sort_by(|left, right| left.record.name.cmp(&right.record.name));
        Ok(cut(found, page, |device| device.record.name.to_string()))
    }

    async fn sensors(
        &self,
        filter: &SensorFilter,
        page: &Page,
    ) -> Result<Listed<SensorRecord>, StoreError> {
        let mut found: Vec<SensorRecord> = self
            .data()
            .devices
            .values()
            .flat_map(rows)
            .filter(|record| sensor_matches(filter, record))
            .collect();
        found.sort_by_key(|record| (record.row.id, record.device));
        Ok(cut(found, page, |record| {
            format!("{}/{}", record.row.id, record.device)
        }))
    }

    async fn history(
        &self,
        device: DeviceId,
        page: &Page,
    ) -> Result<Listed<HistoryEntry>, StoreError> {
        let before: u64 = page
            .after
            .as_ref()
            .and_then(|after| after.parse().ok())
            .unwrap_or(u64::MAX);
        let data = self.data();
        let entries = data
            .devices
            .get(&device)
            .into_iter()
            .flat_map(|device| device.history.values().rev());
        let entries = entries
            .map(|(entry, _)| entry.clone())
            .filter(|entry| entry.version < before);
        let entries = entries.take(page.limit as usize + 1).collect();
        Ok(Listed::cut(entries, page.limit, |entry: &HistoryEntry| {
            entry.version.to_string()
        }))
    }

    async fn version(
        &self,
        device: DeviceId,
        version: u64,
    ) -> Result<Option<Vec<Item>>, StoreError> {
        let data = self.data();
        let found = data
            .devices
            .get(&device)
            .and_then(|device| device.history.get(&version));
        Ok(found.map(|(_, items)| items.clone()))
    }

    async fn save_points(
        &self,
        device: DeviceId,
        points: &[PointRecord],
    ) -> Result<(), StoreError> {
        if let Some(device) = self.data().devices.get_mut(&device) {
            for point in points {
                if device
                    .points
                    .get(&point.point)
                    .is_none_or(|old| old.at <= point.at)
                {
                    device.points.insert(point.point, point.clone());
                }
            }
        }
        Ok(())
    }

    async fn forget_points(&self, device: DeviceId, points: &[PointId]) -> Result<(), StoreError> {
        if let Some(device) = self.data().devices.get_mut(&device) {
            device.points.retain(|point, _| !points.contains(point));
        }
        Ok(())
    }

    async fn prune_history(&self, device: DeviceId, keep: u32) -> Result<u64, StoreError> {
        let mut data = self.data();
        let Some(device) = data.devices.get_mut(&device) else {
            return Ok(0);
        };
        let history = Arc::make_mut(&mut device.history);
        let goes = history.len().saturating_sub(keep as usize);
        for _ in 0..goes {
            history.pop_first();
        }
        Ok(goes as u64)
    }

    async fn points(
        &self,
        device: DeviceId,
        page: &Page,
    ) -> Result<Listed<PointRecord>, StoreError> {
        let data = self.data();
        let points = data
            .devices
            .get(&device)
            .map(|device| device.points.values().cloned().collect());
        Ok(cut(points.unwrap_or_default(), page, |point| {
            point.point.to_string()
        }))
    }
}

/// A page of what is sorted by the text of its cursor already.
fn cut<T>(items: Vec<T>, page: &Page, cursor: impl Fn(&T) -> String) -> Listed<T> {
    let behind = |item: &T| {
        page.after
            .as_ref()
            .is_none_or(|after| cursor(item) > *after)
    };
    let items = items
        .into_iter()
        .filter(behind)
        .take(page.limit as usize + 1)
        .collect();
    Listed::cut(items, page.limit, cursor)
}

fn summary(device: &Device) -> DeviceSummary {
    let state = &device.state;
    let mut sensors = BTreeMap::new();
    for row in state.rows.values() {
        *sensors.entry(row.status).or_insert(0) += 1;
    }
    let drifting = state.rows.values().any(|row| row.drift.is_some());
    DeviceSummary {
        record: state.record.clone(),
        target_version: state.target.version,
        worked_version: state
            .reported
            .as_ref()
            .map(|reported| reported.worked_version),
        last_seen_at: state.presence.last_seen_at,
        status: DeviceSummary::status_of(state.reported.is_some(), state.presence.silent, drifting),
        sensors,
    }
}

fn device_matches(filter: &DeviceFilter, device: &DeviceSummary) -> bool {
    let DeviceFilter { labels, status } = filter;
    labels
        .iter()
        .all(|(key, value)| device.record.labels.get(key) == Some(value))
        && status.is_none_or(|status| status == device.status)
}

fn rows(device: &Device) -> impl Iterator<Item = SensorRecord> {
    let (id, stale) = (device.state.record.id, device.state.presence.silent);
    device.state.rows.values().map(move |row| SensorRecord {
        device: id,
        row: row.clone(),
        stale,
    })
}

fn sensor_matches(filter: &SensorFilter, record: &SensorRecord) -> bool {
    let SensorFilter {
        device,
        running_only,
        protocol,
        enabled,
        status,
        drifting_only,
        name,
    } = filter;
    let row = &record.row;
    device.is_none_or(|device| device == record.device)
        && (!running_only || row.running_since.is_some())
        && protocol.is_none_or(|protocol| protocol == row.shown.protocol())
        && enabled.is_none_or(|enabled| enabled == row.shown.enabled())
        && status.is_none_or(|status| status == row.status)
        && (!drifting_only || row.drift.is_some())
        && name
            .as_ref()
            .is_none_or(|name| name == row.shown.name().as_str())
}
