//! The port of devices: what becomes of each call, in which transaction, and who is woken.
//!
//! Read next: `commit.rs` for what is written, `load.rs` and `lists.rs` for what is read.

use async_trait::async_trait;
use holdfast_domain::{
    DeviceId, Item, Name, PointId, SensorId,
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
use serde::Serialize;

use crate::{
    SqliteStore,
    columns::{Fault, integer, json, micros, parsed},
    commit::{self, Refused},
    lists, load,
    open::failed,
    tokens, write,
};

#[async_trait]
impl DeviceStore for SqliteStore {
    async fn create(&self, state: &DeviceState, events: &[Event]) -> Result<(), CommitError> {
        let created = async {
            let mut transaction = self.begin().await?;
            commit::create(&mut transaction, state, events).await?;
            Ok(self.finish(transaction, Vec::new()).await?)
        };
        created.await.map_err(|refused: Refused| {
            refused.error(
                Some(&state.record),
                format!("creating device {}", state.record.id),
            )
        })
    }

    async fn load(&self, device: DeviceId) -> Result<Option<DeviceState>, StoreError> {
        load::load(&self.readers, device)
            .await
            .map_err(failed(format!("loading device {device}")))
    }

    async fn glance(&self, device: DeviceId) -> Result<Option<Glance>, StoreError> {
        load::glance(&self.readers, device)
            .await
            .map_err(failed(format!("looking at device {device}")))
    }

    async fn commit(&self, change: &Change) -> Result<(), CommitError> {
        let committed = async {
            let mut transaction = self.begin().await?;
            commit::apply(&mut transaction, change).await?;
            Ok(self.finish(transaction, wakes_of(change)).await?)
        };
        committed.await.map_err(|refused: Refused| {
            refused.error(
                change.record.as_ref(),
                format!("committing a change of device {}", change.device),
            )
        })
    }

    async fn register(&self, registration: &Registration) -> Result<(), CommitError> {
        let record = match &registration.device {
            RegisteredDevice::New(state, _) => Some(&state.record),
            RegisteredDevice::Existing(change) => change.record.as_ref(),
        };
        let registered = self.try_register(registration).await;
        registered.map_err(|refused| refused.error(record, "registering a device"))
    }

    async fn revoke(&self, change: &Change, at: Timestamp) -> Result<(), CommitError> {
        let revoked = async {
            let mut transaction = self.begin().await?;
            commit::apply(&mut transaction, change).await?;
            let kind = RevocationKind::Revoked;
            tokens::end_agent_tokens(&mut transaction, change.device, at, kind).await?;
            let mut wakes = wakes_of(change);
            wakes.push(Wake::Tokens);
            Ok(self.finish(transaction, wakes).await?)
        };
        revoked.await.map_err(|refused: Refused| {
            refused.error(
                change.record.as_ref(),
                format!("revoking the agent of device {}", change.device),
            )
        })
    }

    async fn delete(
        &self,
        device: DeviceId,
        base_revision: u64,
        events: &[Event],
    ) -> Result<(), CommitError> {
        let deleted = async {
            let id = device.to_string();
            let mut transaction = self.begin().await?;
            if !commit::advance(&mut transaction, &id, base_revision, events.len(), None).await? {
                return Err(Refused::Conflict);
            }
            write::append(&mut transaction, events).await?;
            let at = events.last().map_or_else(Timestamp::now, |event| event.at);
            tokens::end_agent_tokens(&mut transaction, device, at, RevocationKind::DeviceDeleted)
                .await?;
            // What is kept of it but its events goes with it.
            sqlx::query!("DELETE FROM devices WHERE uuid = ?", id)
                .execute(&mut *transaction)
                .await?;
            Ok(self
                .finish(transaction, vec![Wake::Desired(device), Wake::Tokens])
                .await?)
        };
        deleted
            .await
            .map_err(|refused: Refused| refused.error(None, format!("deleting device {device}")))
    }

    async fn find(&self, name: &Name) -> Result<Option<DeviceId>, StoreError> {
        let found = async {
            let name = name.as_str();
            let id = sqlx::query_scalar!("SELECT uuid FROM devices WHERE name = ?", name);
            id.fetch_optional(&self.readers)
                .await?
                .as_deref()
                .map(parsed)
                .transpose()
        };
        found.await.map_err(failed("finding a device by its name"))
    }

    async fn touch(&self, seen: &[Seen]) -> Result<Vec<DeviceId>, StoreError> {
        self.try_touch(seen)
            .await
            .map_err(failed("noting when devices were seen"))
    }

    async fn devices(
        &self,
        filter: &DeviceFilter,
        page: &Page,
    ) -> Result<Listed<DeviceSummary>, StoreError> {
        lists::devices(&self.readers, filter, page)
            .await
            .map_err(failed("listing devices"))
    }

    async fn sensors(
        &self,
        filter: &SensorFilter,
        page: &Page,
    ) -> Result<Listed<SensorRecord>, StoreError> {
        lists::sensors(&self.readers, filter, page)
            .await
            .map_err(failed("listing sensors"))
    }

    async fn history(
        &self,
        device: DeviceId,
        page: &Page,
    ) -> Result<Listed<HistoryEntry>, StoreError> {
        let listed = lists::history(&self.readers, device, page).await;
        listed.map_err(failed(format!("listing the history of device {device}")))
    }

    async fn version(
        &self,
        device: DeviceId,
        version: u64,
    ) -> Result<Option<Vec<Item>>, StoreError> {
        let read = lists::version(&self.readers, device, version).await;
        read.map_err(failed(format!(
            "reading version {version} of device {device}"
        )))
    }

    async fn save_points(
        &self,
        device: DeviceId,
        points: &[PointRecord],
    ) -> Result<(), StoreError> {
        let saved = self.try_save_points(device, points).await;
        saved.map_err(failed(format!("saving values of device {device}")))
    }

    async fn forget_points(&self, device: DeviceId, points: &[PointId]) -> Result<(), StoreError> {
        let forgotten = async {
            let (id, points) = (device.to_string(), json(points)?);
            sqlx::query!(
                "DELETE FROM device_points
                 WHERE device_uuid = ? AND point_uuid IN (SELECT value FROM json_each(?))",
                id,
                points
            )
            .execute(&self.writer)
            .await?;
            Ok(())
        };
        forgotten
            .await
            .map_err(failed(format!("removing values of device {device}")))
    }

    async fn prune_history(&self, device: DeviceId, keep: u32) -> Result<u64, StoreError> {
        let pruned = async {
            let id = device.to_string();
            let removed = sqlx::query!(
                "DELETE FROM device_target_state_history WHERE device_uuid = ?1 AND version <= (
                     SELECT version FROM device_target_state_history WHERE device_uuid = ?1
                     ORDER BY version DESC LIMIT 1 OFFSET ?2)",
                id,
                keep
            )
            .execute(&self.writer)
            .await?;
            Ok(removed.rows_affected())
        };
        pruned
            .await
            .map_err(failed(format!("removing old versions of device {device}")))
    }

    async fn points(
        &self,
        device: DeviceId,
        page: &Page,
    ) -> Result<Listed<PointRecord>, StoreError> {
        let listed = lists::points(&self.readers, device, page).await;
        listed.map_err(failed(format!("listing values of device {device}")))
    }
}

fn wakes_of(change: &Change) -> Vec<Wake> {
    if change.changes_desired() {
        vec![Wake::Desired(change.device)]
    } else {
        Vec::new()
    }
}

/// When a device was seen, as the statement that notes it takes it.
#[derive(Serialize)]
struct SeenJson {
    device: DeviceId,
    at: i64,
    incarnation: Option<String>,
    boot: Option<i64>,
    sequence: Option<i64>,
}

/// A value as the statement that saves it takes it.
#[derive(Serialize)]
struct PointJson<'a> {
    point: PointId,
    sensor: SensorId,
    value: Option<String>,
    quality: &'a str,
    at: i64,
    reason: Option<&'a str>,
}

impl SqliteStore {
    async fn try_register(&self, registration: &Registration) -> Result<(), Refused> {
        let Registration { key, device, token } = registration;
        let mut transaction = self.begin().await?;
        if !tokens::use_key(&mut transaction, *key).await? {
            return Err(Refused::Conflict);
        }
        let (id, mut wakes) = match device {
            RegisteredDevice::New(state, events) => {
                commit::create(&mut transaction, state, events).await?;
                (state.record.id, Vec::new())
            }
            RegisteredDevice::Existing(change) => {
                commit::apply(&mut transaction, change).await?;
                (change.device, wakes_of(change))
            }
        };
        let revoked = RevocationKind::Revoked;
        if tokens::end_agent_tokens(&mut transaction, id, token.created_at, revoked).await? {
            wakes.push(Wake::Tokens);
        }
        tokens::insert_token(&mut transaction, token).await?;
        Ok(self.finish(transaction, wakes).await?)
    }

    async fn try_touch(&self, seen: &[Seen]) -> Result<Vec<DeviceId>, Fault> {
        if seen.is_empty() {
            return Ok(Vec::new());
        }
        let mut list = Vec::with_capacity(seen.len());
        for Seen { device, at, order } in seen {
            list.push(SeenJson {
                device: *device,
                at: micros(*at),
                incarnation: order.map(|order| order.incarnation.to_string()),
                boot: order.map(|order| integer(order.boot)).transpose()?,
                sequence: order.map(|order| integer(order.sequence)).transpose()?,
            });
        }
        let list = json(&list)?;
        // Of several times of one device the latest counts: beside max(), the other columns are those of its row.
        let touched = sqlx::query!(
            r#"UPDATE device_hot AS h
             SET last_seen_at = max(s.at, coalesce(h.last_seen_at, s.at)),
                 seen_incarnation = iif(s.has_order AND s.at >= coalesce(h.last_seen_at, s.at), s.incarnation, h.seen_incarnation),
                 seen_boot = iif(s.has_order AND s.at >= coalesce(h.last_seen_at, s.at), s.boot, h.seen_boot),
                 seen_sequence = iif(s.has_order AND s.at >= coalesce(h.last_seen_at, s.at), s.sequence, h.seen_sequence)
             FROM (SELECT value ->> 'device' AS device, max(value ->> 'at') AS at,
                       value ->> 'incarnation' IS NOT NULL AS has_order,
                       value ->> 'incarnation' AS incarnation, value ->> 'boot' AS boot, value ->> 'sequence' AS sequence
                   FROM json_each(?)
                   GROUP BY 1) AS s
             WHERE h.device_uuid = s.device
             RETURNING device_uuid, silent AS "silent: bool""#,
            list
        )
        .fetch_all(&self.writer)
        .await?;
        touched
            .iter()
            .filter(|device| device.silent)
            .map(|device| parsed(&device.device_uuid))
            .collect()
    }

    async fn try_save_points(&self, device: DeviceId, points: &[PointRecord]) -> Result<(), Fault> {
        if points.is_empty() {
            return Ok(());
        }
        let mut list = Vec::with_capacity(points.len());
        for PointRecord {
            point,
            sensor,
            value,
            quality,
            at,
            reason,
        } in points
        {
            list.push(PointJson {
                point: *point,
                sensor: *sensor,
                value: value.as_ref().map(json).transpose()?,
                quality: quality.as_str(),
                at: micros(*at),
                reason: reason.as_deref(),
            });
        }
        let (id, list) = (device.to_string(), json(&list)?);
        sqlx::query!(
            "INSERT INTO device_points (device_uuid, sensor_uuid, point_uuid, value, quality, at, reason)
             SELECT d.uuid, p.value ->> 'sensor', p.value ->> 'point', p.value ->> 'value', p.value ->> 'quality',
                 p.value ->> 'at', p.value ->> 'reason'
             FROM devices AS d, json_each(?2) AS p
             WHERE d.uuid = ?1
             ON CONFLICT (device_uuid, point_uuid) DO UPDATE
             SET sensor_uuid = excluded.sensor_uuid, value = excluded.value, quality = excluded.quality,
                 at = excluded.at, reason = excluded.reason
             WHERE excluded.at >= device_points.at",
            id,
            list
        )
        .execute(&self.writer)
        .await?;
        Ok(())
    }
}
