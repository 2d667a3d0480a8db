//! Lists for people: devices, rows of the read model, the history of a target. Each page is one statement that reads on
//! from the last item's key.

use std::collections::BTreeMap;

use holdfast_domain::{DeviceId, Item, Name, row::DeploymentStatus};
use holdfast_ports::{
    page::{Listed, Page},
    store::{DeviceFilter, DeviceSummary, HistoryEntry, SensorFilter, SensorRecord},
};
use serde_json::{Map, Value};
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use uuid::Uuid;

use crate::{
    columns::{Fault, Time, actor, bigint, instant, natural, put, take},
    load::{audit, record},
    pool::Pool,
    rows::{Known, config_items, row_columns},
};

/// The id that a page of a list by id begins behind.
pub(crate) fn after_uuid(page: &Page) -> Result<Uuid, Fault> {
    match page.after.as_deref() {
        None => Ok(Uuid::nil()),
        Some(text) => text.parse().map_err(|_| not_a_page(text)),
    }
}

fn not_a_page(text: &str) -> Fault {
    format!("expected the beginning of a page as an earlier answer gave it, found {text:?}").into()
}

/// One more than wanted: it says that there are more pages.
pub(crate) fn limit(page: &Page) -> i64 {
    i64::from(page.limit) + 1
}

/// A transaction whose statements are planned for the very filters given: a plan that fits all filters fits none.
async fn planned_anew(
    connection: &mut PgConnection,
) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    connection.begin_with("BEGIN READ ONLY; SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = on; \
        SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on")
        .await
}

pub(crate) async fn find(pool: &Pool, name: &Name) -> Result<Option<DeviceId>, Fault> {
    let uuid = sqlx::query_scalar!("SELECT uuid FROM devices WHERE name = $1", name.as_str())
        .fetch_optional(&mut *pool.lend().await?)
        .await?;
    Ok(uuid.map(DeviceId))
}

pub(crate) async fn devices(
    pool: &Pool,
    filter: &DeviceFilter,
    page: &Page,
) -> Result<Listed<DeviceSummary>, Fault> {
    let DeviceFilter { labels, status } = filter;
    let labels: Map<String, Value> = labels
        .iter()
        .map(|(key, value)| {
            (
                put(key).into_owned(),
                Value::String(put(value).into_owned()),
            )
        })
        .collect();
    let mut lent = pool.lend().await?;
    let mut transaction = planned_anew(&mut lent).await?;
    let lines = sqlx::query_as!(
        DeviceColumns,
        r#"SELECT d.uuid, d.name, d.labels, d.incarnation, d.created_at, d.created_by, d.updated_at, d.updated_by,
            t.version, c.version AS "worked_version?", h.last_seen_at, h.silent, s.counts AS "counts?",
            coalesce(s.drifting, false) AS "drifting!"
        FROM devices d
        JOIN device_hot h ON h.device_uuid = d.uuid
        JOIN device_target_state t ON t.device_uuid = d.uuid
        LEFT JOIN device_current_state c ON c.device_uuid = d.uuid
        LEFT JOIN LATERAL (
            SELECT json_object_agg(g.deployment_status, g.rows) AS counts, bool_or(g.drifting) AS drifting
            FROM (
                SELECT deployment_status, count(*) AS rows, bool_or(drift IS NOT NULL) AS drifting
                FROM device_sensors WHERE device_uuid = d.uuid GROUP BY deployment_status
            ) g
        ) s ON true
        WHERE ($1::text IS NULL OR d.name > $1)
            AND d.labels @> $2
            AND ($3::text IS NULL OR $3 = CASE
                WHEN h.silent THEN 'silent'
                WHEN c.device_uuid IS NULL THEN 'new'
                WHEN s.drifting THEN 'drifting'
                ELSE 'reconciled'
            END)
        ORDER BY d.name LIMIT $4"#,
        page.after.as_deref(),
        Value::Object(labels),
        status.map(|status| status.as_str()),
        limit(page),
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    let summaries = lines
        .into_iter()
        .map(DeviceColumns::into_summary)
        .collect::<Result<_, _>>()?;
    Ok(Listed::cut(summaries, page.limit, |summary| {
        summary.record.name.as_str().to_owned()
    }))
}

struct DeviceColumns {
    uuid: Uuid,
    name: String,
    labels: Value,
    incarnation: Option<Uuid>,
    created_at: Time,
    created_by: String,
    updated_at: Time,
    updated_by: String,
    version: i64,
    worked_version: Option<i64>,
    last_seen_at: Option<Time>,
    silent: bool,
    counts: Option<Value>,
    drifting: bool,
}

impl DeviceColumns {
    fn into_summary(self) -> Result<DeviceSummary, Fault> {
        let counts: Option<BTreeMap<DeploymentStatus, u32>> =
            self.counts.map(serde_json::from_value).transpose()?;
        let worked_version = self.worked_version.map(natural).transpose()?;
        Ok(DeviceSummary {
            record: record(
                DeviceId(self.uuid),
                &self.name,
                Some(self.labels),
                self.incarnation,
                audit((
                    self.created_at,
                    self.created_by,
                    self.updated_at,
                    self.updated_by,
                )),
            )?,
            target_version: natural(self.version)?,
            worked_version,
            last_seen_at: instant(self.last_seen_at),
            status: DeviceSummary::status_of(worked_version.is_some(), self.silent, self.drifting),
            sensors: counts.unwrap_or_default(),
        })
    }
}

pub(crate) async fn sensors(
    pool: &Pool,
    filter: &SensorFilter,
    page: &Page,
) -> Result<Listed<SensorRecord>, Fault> {
    let SensorFilter {
        device,
        running_only,
        protocol,
        enabled,
        status,
        drifting_only,
        name,
    } = filter;
    let (after_sensor, after_device) = after_row(page)?;
    let name = name.as_deref().map(put);
    let mut lent = pool.lend().await?;
    let mut transaction = planned_anew(&mut lent).await?;
    let lines = sqlx::query!(
        r#"SELECT device_uuid, sensor_uuid, name AS sensor_name, protocol, enabled, poll_interval,
            connection::text AS "connection!", data_points::text AS "data_points!", metadata::text AS "metadata!",
            extra::text AS "extra!", fingerprint, config_version, synced_to_config, deployment_status, last_deployed_at,
            deployment_error, deployment_attempts, running_since, health, drift, drifting_since, stale,
            created_at, created_by, updated_at, updated_by
        FROM device_sensors
        WHERE (sensor_uuid, device_uuid) > ($1::uuid, $2::uuid)
            AND ($3::uuid IS NULL OR device_uuid = $3)
            AND ($4::text IS NULL OR protocol = $4)
            AND ($5::boolean IS NULL OR enabled = $5)
            -- Both values: so that the index on sync and status serves.
            AND ($6::text IS NULL OR (synced_to_config IN (true, false) AND deployment_status = $6))
            AND ($7::text IS NULL OR name = $7)
            AND (NOT $8::boolean OR running_since IS NOT NULL)
            AND (NOT $9::boolean OR drift IS NOT NULL)
        ORDER BY sensor_uuid, device_uuid LIMIT $10"#,
        after_sensor,
        after_device,
        device.map(DeviceId::uuid),
        protocol.map(|protocol| protocol.as_str()),
        *enabled,
        status.map(|status| status.as_str()),
        name.as_deref(),
        running_only,
        drifting_only,
        limit(page),
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    let mut records = Vec::with_capacity(lines.len());
    for line in lines {
        let (device, stale) = (DeviceId(line.device_uuid), line.stale);
        records.push(SensorRecord {
            device,
            row: row_columns!(line).into_row(&Known::default())?,
            stale,
        });
    }
    Ok(Listed::cut(records, page.limit, |record| {
        format!("{}.{}", record.row.id, record.device)
    }))
}

/// Two devices can show the same sensor: one of them where it is wanted, the other where it still runs.
fn after_row(page: &Page) -> Result<(Uuid, Uuid), Fault> {
    let Some(text) = page.after.as_deref() else {
        return Ok((Uuid::nil(), Uuid::nil()));
    };
    let parts = text
        .split_once('.')
        .and_then(|(sensor, device)| Some((sensor.parse().ok()?, device.parse().ok()?)));
    parts.ok_or_else(|| not_a_page(text))
}

pub(crate) async fn history(
    pool: &Pool,
    device: DeviceId,
    page: &Page,
) -> Result<Listed<HistoryEntry>, Fault> {
    let before = match page.after.as_deref() {
        None => i64::MAX,
        Some(text) => text.parse().map_err(|_| not_a_page(text))?,
    };
    let lines = sqlx::query!(
        "SELECT version, created_at, author, reason, sensors FROM device_target_state_history
        WHERE device_uuid = $1 AND version < $2 ORDER BY version DESC LIMIT $3",
        device.uuid(),
        before,
        limit(page),
    )
    .fetch_all(&mut *pool.lend().await?)
    .await?;
    let mut entries = Vec::with_capacity(lines.len());
    for line in lines {
        entries.push(HistoryEntry {
            version: natural(line.version)?,
            at: line.created_at.to_jiff(),
            author: actor(line.author),
            reason: line.reason.map(take),
            sensors: u32::try_from(line.sensors)?,
        });
    }
    Ok(Listed::cut(entries, page.limit, |entry| {
        entry.version.to_string()
    }))
}

pub(crate) async fn version(
    pool: &Pool,
    device: DeviceId,
    version: u64,
) -> Result<Option<Vec<Item>>, Fault> {
    let config = sqlx::query_scalar!(
        "SELECT config::text AS \"config!\" FROM device_target_state_history WHERE device_uuid = $1 AND version = $2",
        device.uuid(),
        bigint(version)?,
    )
    .fetch_optional(&mut *pool.lend().await?)
    .await?;
    config
        .map(|config| config_items(&config, &mut Known::default()))
        .transpose()
}

/// Removes all versions of a device but the newest `keep`.
pub(crate) async fn prune_history(pool: &Pool, device: DeviceId, keep: u32) -> Result<u64, Fault> {
    let removed = sqlx::query!(
        "DELETE FROM device_target_state_history WHERE device_uuid = $1 AND version <= (
            SELECT version FROM device_target_state_history WHERE device_uuid = $1
            ORDER BY version DESC OFFSET $2 LIMIT 1
        )",
        device.uuid(),
        i64::from(keep),
    )
    .execute(&mut *pool.lend().await?)
    .await?;
    Ok(removed.rows_affected())
}
