//! The fleet: which devices are due, and figures.

use async_trait::async_trait;
use holdfast_domain::DeviceId;
use holdfast_ports::{
    StoreError,
    fleet::{Claimed, Figures, FleetStore, HUB_GAP},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    SqliteStore,
    columns::{Fault, instant_opt, integer, json, micros, natural, parsed},
    open::failed,
};

/// Failed rows are counted for at most so many devices: the names become labels of a metric.
const FAILED_DEVICES: i64 = 100;

/// When a claimed device is due next, as the statement that notes it takes it.
#[derive(Serialize)]
struct NextJson {
    device: DeviceId,
    revision: i64,
    at: i64,
}

impl SqliteStore {
    async fn try_claim(
        &self,
        now: Timestamp,
        lease: SignedDuration,
        limit: u32,
    ) -> Result<Vec<Claimed>, Fault> {
        let (until, now, limit) = (micros(now + lease), micros(now), i64::from(limit));
        let mut claimed = sqlx::query!(
            "UPDATE device_hot SET claimed_until = ?2
             WHERE device_uuid IN (SELECT device_uuid FROM device_hot
                                   WHERE due_at <= ?1 AND (claimed_until IS NULL OR claimed_until <= ?1)
                                   ORDER BY due_at, device_uuid
                                   LIMIT ?3)
             RETURNING due_at, device_uuid, revision",
            now,
            until,
            limit
        )
        .fetch_all(&self.writer)
        .await?;
        claimed.sort_by(|left, right| {
            (left.due_at, &left.device_uuid).cmp(&(right.due_at, &right.device_uuid))
        });
        let claimed = claimed.iter().map(|device| {
            Ok(Claimed {
                device: parsed(&device.device_uuid)?,
                revision: natural(device.revision)?,
            })
        });
        claimed.collect()
    }

    /// A device that changed since it was claimed stays due; its claim ends all the same.
    async fn try_schedule(&self, next: &[(Claimed, Timestamp)]) -> Result<(), Fault> {
        if next.is_empty() {
            return Ok(());
        }
        let mut list = Vec::with_capacity(next.len());
        for (Claimed { device, revision }, at) in next {
            list.push(NextJson {
                device: *device,
                revision: integer(*revision)?,
                at: micros(*at),
            });
        }
        let list = json(&list)?;
        sqlx::query!(
            "UPDATE device_hot AS h
             SET due_at = iif(h.revision = n.value ->> 'revision', n.value ->> 'at', h.due_at), claimed_until = NULL
             FROM json_each(?) AS n
             WHERE h.device_uuid = n.value ->> 'device'",
            list
        )
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    async fn try_beat(&self, now: Timestamp) -> Result<(), Fault> {
        let gap = micros(now - HUB_GAP);
        let now = micros(now);
        sqlx::query!(
            "INSERT INTO hub_uptime (only_row, up_since, last_beat_at) VALUES (1, ?1, ?1)
             ON CONFLICT (only_row) DO UPDATE
             SET up_since = iif(last_beat_at < ?2, excluded.up_since, up_since),
                 last_beat_at = max(last_beat_at, excluded.last_beat_at)",
            now,
            gap
        )
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    async fn try_hub_up_since(&self, now: Timestamp) -> Result<Option<Timestamp>, Fault> {
        let gap = micros(now - HUB_GAP);
        let since = sqlx::query_scalar!(
            "SELECT up_since FROM hub_uptime WHERE last_beat_at >= ?",
            gap
        )
        .fetch_optional(&self.readers)
        .await?;
        instant_opt(since)
    }

    async fn try_figures(&self, overdue_before: Timestamp) -> Result<Figures, Fault> {
        let overdue_before = micros(overdue_before);
        let now = micros(Timestamp::now());
        let mut figures = Figures::default();
        let mut transaction = self.readers.begin().await?;
        let totals = sqlx::query!(
            r#"SELECT count(*) AS "devices!: i64", coalesce(sum(silent), 0) AS "silent!: i64",
                   count(*) FILTER (WHERE due_at <= ?1 AND (claimed_until IS NULL OR claimed_until <= ?1)) AS "due!: i64",
                   (SELECT min(drifting_since) FROM device_sensors) AS "oldest: i64",
                   (SELECT count(*) FROM device_sensors
                    WHERE NOT synced_to_config AND deployment_status IN ('pending', 'reconciling')
                        AND drifting_since < ?2) AS "overdue!: i64"
               FROM device_hot"#,
            now,
            overdue_before
        )
        .fetch_one(&mut *transaction)
        .await?;
        figures.devices = natural(totals.devices)?;
        figures.silent = natural(totals.silent)?;
        figures.due = natural(totals.due)?;
        figures.overdue = natural(totals.overdue)?;
        figures.oldest_drift = instant_opt(totals.oldest)?;
        let drifting = sqlx::query!(
            r#"SELECT drift AS "kind!", count(DISTINCT device_uuid) AS "devices!: i64"
               FROM device_sensors WHERE drift IS NOT NULL GROUP BY drift"#
        )
        .fetch_all(&mut *transaction)
        .await?;
        for counted in drifting {
            figures
                .drifting
                .insert(parsed(&counted.kind)?, natural(counted.devices)?);
        }
        let statuses = sqlx::query!(
            r#"SELECT deployment_status, count(*) AS "sensors!: i64" FROM device_sensors GROUP BY deployment_status"#
        )
        .fetch_all(&mut *transaction)
        .await?;
        for counted in statuses {
            figures.sensors.insert(
                parsed(&counted.deployment_status)?,
                natural(counted.sensors)?,
            );
        }
        let failures = sqlx::query!(
            r#"SELECT d.name AS "name!", count(*) AS "sensors!: i64"
               FROM device_sensors AS s JOIN devices AS d ON d.uuid = s.device_uuid
               WHERE s.deployment_status = 'failed'
               GROUP BY d.uuid
               ORDER BY count(*) DESC, d.name
               LIMIT ?"#,
            FAILED_DEVICES
        )
        .fetch_all(&mut *transaction)
        .await?;
        for counted in failures {
            figures
                .failed
                .insert(counted.name, natural(counted.sensors)?);
        }
        transaction.rollback().await?;
        Ok(figures)
    }
}

#[async_trait]
impl FleetStore for SqliteStore {
    async fn claim(
        &self,
        now: Timestamp,
        lease: SignedDuration,
        limit: u32,
    ) -> Result<Vec<Claimed>, StoreError> {
        self.try_claim(now, lease, limit)
            .await
            .map_err(failed("claiming due devices"))
    }

    async fn schedule(&self, next: &[(Claimed, Timestamp)]) -> Result<(), StoreError> {
        self.try_schedule(next)
            .await
            .map_err(failed("scheduling devices"))
    }

    async fn beat(&self, now: Timestamp) -> Result<(), StoreError> {
        self.try_beat(now)
            .await
            .map_err(failed("noting that the hub is up"))
    }

    async fn hub_up_since(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.try_hub_up_since(now)
            .await
            .map_err(failed("asking since when the hub is up"))
    }

    async fn figures(&self, overdue_before: Timestamp) -> Result<Figures, StoreError> {
        self.try_figures(overdue_before)
            .await
            .map_err(failed("counting the fleet"))
    }
}
