//! The port of devices, put together from the files that do the work; here each failure gets its words.

use std::fmt::Display;

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
        Registration, Seen, SensorFilter, SensorRecord,
    },
};
use jiff::Timestamp;

use crate::{PostgresStore, columns::Fault, commit, fleet, lifecycle, lists, load, points};

fn failed(doing: &'static str, of: impl Display) -> impl FnOnce(Fault) -> StoreError {
    move |fault| StoreError::new(format!("{doing} {of}"), fault)
}

#[async_trait]
impl DeviceStore for PostgresStore {
    async fn create(&self, state: &DeviceState, events: &[Event]) -> Result<(), CommitError> {
        lifecycle::create(self, state, events).await
    }

    async fn load(&self, device: DeviceId) -> Result<Option<DeviceState>, StoreError> {
        self.answered(load::load(&self.pool, device))
            .await
            .map_err(failed("loading device", device))
    }

    async fn glance(&self, device: DeviceId) -> Result<Option<Glance>, StoreError> {
        self.answered(load::glance(&self.pool, device))
            .await
            .map_err(failed("looking at device", device))
    }

    async fn commit(&self, change: &Change) -> Result<(), CommitError> {
        commit::commit(self, change).await
    }

    async fn register(&self, registration: &Registration) -> Result<(), CommitError> {
        lifecycle::register(self, registration).await
    }

    async fn revoke(&self, change: &Change, at: Timestamp) -> Result<(), CommitError> {
        lifecycle::revoke(self, change, at).await
    }

    async fn delete(
        &self,
        device: DeviceId,
        base_revision: u64,
        events: &[Event],
    ) -> Result<(), CommitError> {
        lifecycle::delete(self, device, base_revision, events).await
    }

    async fn find(&self, name: &Name) -> Result<Option<DeviceId>, StoreError> {
        self.answered(lists::find(&self.pool, name))
            .await
            .map_err(failed("looking up the device named", name))
    }

    async fn touch(&self, seen: &[Seen]) -> Result<Vec<DeviceId>, StoreError> {
        self.answered(fleet::touch(&self.pool, seen))
            .await
            .map_err(failed("noting when devices were heard of:", seen.len()))
    }

    async fn devices(
        &self,
        filter: &DeviceFilter,
        page: &Page,
    ) -> Result<Listed<DeviceSummary>, StoreError> {
        self.answered(lists::devices(&self.pool, filter, page))
            .await
            .map_err(failed("listing", "devices"))
    }

    async fn sensors(
        &self,
        filter: &SensorFilter,
        page: &Page,
    ) -> Result<Listed<SensorRecord>, StoreError> {
        self.answered(lists::sensors(&self.pool, filter, page))
            .await
            .map_err(failed("listing", "sensors"))
    }

    async fn history(
        &self,
        device: DeviceId,
        page: &Page,
    ) -> Result<Listed<HistoryEntry>, StoreError> {
        self.answered(lists::history(&self.pool, device, page))
            .await
            .map_err(failed("listing the versions of device", device))
    }

    async fn version(
        &self,
        device: DeviceId,
        version: u64,
    ) -> Result<Option<Vec<Item>>, StoreError> {
        self.answered(lists::version(&self.pool, device, version))
            .await
            .map_err(failed("loading an earlier version of device", device))
    }

    async fn save_points(
        &self,
        device: DeviceId,
        points: &[PointRecord],
    ) -> Result<(), StoreError> {
        self.answered(points::save(&self.pool, device, points))
            .await
            .map_err(failed("keeping the values of device", device))
    }

    async fn forget_points(&self, device: DeviceId, points: &[PointId]) -> Result<(), StoreError> {
        self.answered(points::forget(&self.pool, device, points))
            .await
            .map_err(failed("removing values of device", device))
    }

    async fn prune_history(&self, device: DeviceId, keep: u32) -> Result<u64, StoreError> {
        self.answered(lists::prune_history(&self.pool, device, keep))
            .await
            .map_err(failed("removing old versions of device", device))
    }

    async fn points(
        &self,
        device: DeviceId,
        page: &Page,
    ) -> Result<Listed<PointRecord>, StoreError> {
        self.answered(points::list(&self.pool, device, page))
            .await
            .map_err(failed("listing the values of device", device))
    }
}
