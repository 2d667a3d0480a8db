//! Which devices are due, when they were heard of, and the fleet in figures.
//!
//! Reconcilers share the fleet over `device_hot`: who claims passes over rows that others hold, so that nobody waits.
//! What writes many of those rows first locks them in the order of devices (`locked`), so that none waits in a circle.

use std::collections::BTreeMap;

use async_trait::async_trait;
use holdfast_domain::{DeviceId, drift::DriftKind, row::DeploymentStatus};
use holdfast_ports::{
    StoreError,
    fleet::{Claimed, Figures, FleetStore, HUB_GAP},
    store::Seen,
};
use jiff::{SignedDuration, Timestamp};
use sqlx::Connection as _;
use uuid::Uuid;

use crate::{
    PostgresStore,
    columns::{Fault, Time, bigint, instant, natural, time, word},
    pool::Pool,
};

/// How many devices one statement touches: more at once only holds rows longer.
const AT_ONCE: usize = 1_000;

#[async_trait]
impl FleetStore for PostgresStore {
    async fn claim(
        &self,
        now: Timestamp,
        lease: SignedDuration,
        limit: u32,
    ) -> Result<Vec<Claimed>, StoreError> {
        self.answered(claim(&self.pool, now, lease, limit))
            .await
            .map_err(|fault| StoreError::new("claiming due devices", fault))
    }

    async fn schedule(&self, next: &[(Claimed, Timestamp)]) -> Result<(), StoreError> {
        self.answered(schedule(&self.pool, next))
            .await
            .map_err(|fault| StoreError::new(format!("scheduling {} devices", next.len()), fault))
    }

    async fn beat(&self, now: Timestamp) -> Result<(), StoreError> {
        self.answered(beat(&self.pool, now))
            .await
            .map_err(|fault| StoreError::new("noting that the hub is up", fault))
    }

    async fn hub_up_since(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.answered(hub_up_since(&self.pool, now))
            .await
            .map_err(|fault| StoreError::new("asking since when the hub is up", fault))
    }

    async fn figures(&self, overdue_before: Timestamp) -> Result<Figures, StoreError> {
        self.answered(figures(&self.pool, overdue_before))
            .await
            .map_err(|fault| StoreError::new("counting the fleet", fault))
    }
}

async fn claim(
    pool: &Pool,
    now: Timestamp,
    lease: SignedDuration,
    limit: u32,
) -> Result<Vec<Claimed>, Fault> {
    let until = now.checked_add(lease)?;
    let lines = sqlx::query!(
        "WITH due AS (
            SELECT device_uuid, due_at FROM device_hot
            WHERE due_at <= $1 AND (claimed_until IS NULL OR claimed_until <= $1)
            ORDER BY due_at LIMIT $3
            FOR NO KEY UPDATE SKIP LOCKED
        ), claimed AS (
            UPDATE device_hot h SET claimed_until = $2 FROM due WHERE h.device_uuid = due.device_uuid
            RETURNING h.device_uuid, h.revision, due.due_at
        )
        SELECT device_uuid, revision FROM claimed ORDER BY due_at, device_uuid",
        time(now),
        time(until),
        i64::from(limit),
    )
    .fetch_all(&mut *pool.lend().await?)
    .await?;
    lines
        .into_iter()
        .map(|line| {
            Ok(Claimed {
                device: DeviceId(line.device_uuid),
                revision: natural(line.revision)?,
            })
        })
        .collect()
}

/// Where the revision has moved on, the device stays due; either way its claim ends.
async fn schedule(pool: &Pool, next: &[(Claimed, Timestamp)]) -> Result<(), Fault> {
    let sorted: BTreeMap<DeviceId, (u64, Timestamp)> = next
        .iter()
        .map(|(claimed, at)| (claimed.device, (claimed.revision, *at)))
        .collect();
    let sorted: Vec<_> = sorted.into_iter().collect();
    for some in sorted.chunks(AT_ONCE) {
        let devices: Vec<Uuid> = some.iter().map(|(device, _)| device.uuid()).collect();
        let revisions: Vec<i64> = some
            .iter()
            .map(|(_, (revision, _))| bigint(*revision))
            .collect::<Result<_, _>>()?;
        let times: Vec<Time> = some.iter().map(|(_, (_, at))| time(*at)).collect();
        sqlx::query!(
            "WITH locked AS MATERIALIZED (
                SELECT device_uuid FROM device_hot WHERE device_uuid = ANY ($1::uuid[])
                ORDER BY device_uuid FOR NO KEY UPDATE
            )
            UPDATE device_hot h SET
                due_at = CASE WHEN h.revision = n.revision THEN n.due_at ELSE h.due_at END,
                claimed_until = NULL
            FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[]) AS n (device_uuid, revision, due_at)
            WHERE h.device_uuid = n.device_uuid AND (SELECT count(*) FROM locked) > 0",
            &devices,
            &revisions,
            &times as _,
        )
        .execute(&mut *pool.lend().await?)
        .await?;
    }
    Ok(())
}

/// Notes when devices were last heard of; a later time wins. Touches no indexed column, so that rows stay in place.
/// Gives those that are marked as silent.
pub(crate) async fn touch(pool: &Pool, seen: &[Seen]) -> Result<Vec<DeviceId>, Fault> {
    let mut latest: BTreeMap<DeviceId, &Seen> = BTreeMap::new();
    for seen in seen {
        let known = latest.entry(seen.device).or_insert(seen);
        if known.at <= seen.at {
            *known = seen;
        }
    }
    let sorted: Vec<&Seen> = latest.into_values().collect();
    let mut silent = Vec::new();
    for some in sorted.chunks(AT_ONCE) {
        silent.extend(touch_some(pool, some).await?.into_iter().map(DeviceId));
    }
    Ok(silent)
}

async fn touch_some(pool: &Pool, seen: &[&Seen]) -> Result<Vec<Uuid>, Fault> {
    let devices: Vec<Uuid> = seen.iter().map(|seen| seen.device.uuid()).collect();
    let times: Vec<Time> = seen.iter().map(|seen| time(seen.at)).collect();
    let incarnations: Vec<Option<Uuid>> = seen
        .iter()
        .map(|seen| Some(seen.order?.incarnation.0))
        .collect();
    let of_order = |number: fn(&holdfast_domain::ReportOrder) -> u64| {
        seen.iter()
            .map(|seen| seen.order.as_ref().map(number).map(bigint).transpose())
            .collect::<Result<Vec<_>, _>>()
    };
    let (boots, sequences) = (
        of_order(|order| order.boot)?,
        of_order(|order| order.sequence)?,
    );
    let silent = sqlx::query_scalar!(
        "WITH locked AS MATERIALIZED (
            SELECT device_uuid, silent FROM device_hot WHERE device_uuid = ANY ($1::uuid[])
            ORDER BY device_uuid FOR NO KEY UPDATE
        ), touched AS (
            UPDATE device_hot h SET
                last_seen_at = n.at,
                seen_incarnation = coalesce(n.incarnation, h.seen_incarnation),
                seen_boot = coalesce(n.boot, h.seen_boot),
                seen_sequence = coalesce(n.sequence, h.seen_sequence)
            FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::bigint[], $5::bigint[])
                AS n (device_uuid, at, incarnation, boot, sequence)
            WHERE h.device_uuid = n.device_uuid AND (SELECT count(*) FROM locked) > 0
                AND (h.last_seen_at IS NULL OR h.last_seen_at <= n.at)
        )
        SELECT device_uuid FROM locked WHERE silent ORDER BY device_uuid",
        &devices,
        &times as _,
        &incarnations as _,
        &boots as _,
        &sequences as _,
    )
    .fetch_all(&mut *pool.lend().await?)
    .await?;
    Ok(silent)
}

async fn beat(pool: &Pool, now: Timestamp) -> Result<(), Fault> {
    sqlx::query!(
        "INSERT INTO hub_uptime AS h (up_since, last_beat_at) VALUES ($1, $1)
        ON CONFLICT (only_row) DO UPDATE SET
            up_since = CASE WHEN h.last_beat_at < $2 THEN excluded.up_since ELSE h.up_since END,
            last_beat_at = greatest(h.last_beat_at, excluded.last_beat_at)",
        time(now),
        time(now.checked_sub(HUB_GAP)?),
    )
    .execute(&mut *pool.lend().await?)
    .await?;
    Ok(())
}

async fn hub_up_since(pool: &Pool, now: Timestamp) -> Result<Option<Timestamp>, Fault> {
    let since = sqlx::query_scalar!(
        "SELECT up_since FROM hub_uptime WHERE last_beat_at >= $1",
        time(now.checked_sub(HUB_GAP)?),
    )
    .fetch_optional(&mut *pool.lend().await?)
    .await?;
    Ok(instant(since))
}

async fn figures(pool: &Pool, overdue_before: Timestamp) -> Result<Figures, Fault> {
    // The devices with the most failures are shown; more lines would only swell the metrics.
    const FAILED_SHOWN: i64 = 100;
    let mut lent = pool.lend().await?;
    let mut transaction = lent
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL plan_cache_mode = force_custom_plan; \
            SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on")
        .await?;
    let devices = sqlx::query!(
        r#"SELECT count(*) AS "devices!", count(*) FILTER (WHERE silent) AS "silent!",
            count(*) FILTER (WHERE due_at <= now() AND (claimed_until IS NULL OR claimed_until <= now())) AS "due!"
        FROM device_hot"#,
    )
    .fetch_one(&mut *transaction)
    .await?;
    let drifting = sqlx::query!(
        r#"SELECT drift AS "drift!", count(DISTINCT device_uuid) AS "devices!", min(drifting_since) AS oldest
        FROM device_sensors WHERE drift IS NOT NULL GROUP BY drift"#,
    )
    .fetch_all(&mut *transaction)
    .await?;
    let sensors = sqlx::query!(
        r#"SELECT deployment_status, count(*) AS "rows!" FROM device_sensors GROUP BY deployment_status"#,
    )
    .fetch_all(&mut *transaction)
    .await?;
    let overdue = sqlx::query_scalar!(
        r#"SELECT count(*) AS "rows!" FROM device_sensors
        WHERE NOT synced_to_config AND deployment_status IN ('pending', 'reconciling') AND drifting_since < $1"#,
        time(overdue_before),
    )
    .fetch_one(&mut *transaction)
    .await?;
    let failed = sqlx::query!(
        r#"SELECT d.name, count(*) AS "rows!" FROM device_sensors s JOIN devices d ON d.uuid = s.device_uuid
        WHERE s.deployment_status = 'failed'
        GROUP BY d.name ORDER BY count(*) DESC, d.name LIMIT $1"#,
        FAILED_SHOWN,
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    let mut figures = Figures {
        devices: natural(devices.devices)?,
        silent: natural(devices.silent)?,
        due: natural(devices.due)?,
        overdue: natural(overdue)?,
        oldest_drift: drifting
            .iter()
            .filter_map(|line| instant(line.oldest))
            .min(),
        ..Figures::default()
    };
    for line in drifting {
        figures
            .drifting
            .insert(word::<DriftKind>(&line.drift)?, natural(line.devices)?);
    }
    for line in sensors {
        figures.sensors.insert(
            word::<DeploymentStatus>(&line.deployment_status)?,
            natural(line.rows)?,
        );
    }
    for line in failed {
        figures.failed.insert(line.name, natural(line.rows)?);
    }
    Ok(figures)
}
