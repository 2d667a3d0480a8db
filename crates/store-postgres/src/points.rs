//! Last values of points: best effort, and not part of any revision.

use std::collections::BTreeMap;

use holdfast_domain::{DeviceId, PointId, SensorId};
use holdfast_ports::{
    page::{Listed, Page},
    store::PointRecord,
};
use uuid::Uuid;

use crate::{
    columns::{Fault, Time, put_opt, take, time, word},
    lists::{after_uuid, limit},
    pool::Pool,
    rows::json,
};

/// Keeps values, all in one statement; a later time wins, and of one time what comes later. Those of a device that is gone are dropped.
pub(crate) async fn save(
    pool: &Pool,
    device: DeviceId,
    points: &[PointRecord],
) -> Result<(), Fault> {
    // Within one statement a row is written once; in the order of its key, so that two writers never wait in a circle.
    let mut latest: BTreeMap<PointId, &PointRecord> = BTreeMap::new();
    for point in points {
        let known = latest.entry(point.point).or_insert(point);
        if known.at <= point.at {
            *known = point;
        }
    }
    let mut columns = PointArrays::default();
    latest.values().try_for_each(|point| columns.push(point))?;
    let saved = sqlx::query!(
        "INSERT INTO device_points AS p (device_uuid, point_uuid, sensor_uuid, value, quality, at, reason)
        SELECT $1, n.point_uuid, n.sensor_uuid, n.value::json, n.quality, n.at, n.reason
        FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[], $7::text[])
            AS n (point_uuid, sensor_uuid, value, quality, at, reason)
        WHERE EXISTS (SELECT FROM devices WHERE uuid = $1)
        ON CONFLICT (device_uuid, point_uuid) DO UPDATE SET
            sensor_uuid = excluded.sensor_uuid, value = excluded.value, quality = excluded.quality,
            at = excluded.at, reason = excluded.reason
        WHERE p.at <= excluded.at",
        device.uuid(),
        &columns.point,
        &columns.sensor,
        &columns.value as _,
        &columns.quality as _,
        &columns.at as _,
        &columns.reason as _,
    )
    .execute(&mut *pool.lend().await?)
    .await;
    match saved {
        Ok(_) => Ok(()),
        // Deleted at this moment: as gone as if it had been before.
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[derive(Default)]
struct PointArrays {
    point: Vec<Uuid>,
    sensor: Vec<Uuid>,
    value: Vec<Option<String>>,
    quality: Vec<&'static str>,
    at: Vec<Time>,
    reason: Vec<Option<String>>,
}

impl PointArrays {
    fn push(&mut self, record: &PointRecord) -> Result<(), Fault> {
        let PointRecord {
            point,
            sensor,
            value,
            quality,
            at,
            reason,
        } = record;
        self.point.push(point.uuid());
        self.sensor.push(sensor.uuid());
        self.value.push(value.as_ref().map(json).transpose()?);
        self.quality.push(quality.as_str());
        self.at.push(time(*at));
        self.reason.push(put_opt(reason.as_deref()));
        Ok(())
    }
}

/// Removes the values of points that are no more.
pub(crate) async fn forget(pool: &Pool, device: DeviceId, points: &[PointId]) -> Result<(), Fault> {
    let points: Vec<Uuid> = points.iter().map(|point| point.uuid()).collect();
    sqlx::query!(
        "DELETE FROM device_points WHERE device_uuid = $1 AND point_uuid = ANY ($2::uuid[])",
        device.uuid(),
        &points,
    )
    .execute(&mut *pool.lend().await?)
    .await?;
    Ok(())
}

/// A page of a device's last values.
pub(crate) async fn list(
    pool: &Pool,
    device: DeviceId,
    page: &Page,
) -> Result<Listed<PointRecord>, Fault> {
    let lines = sqlx::query!(
        "SELECT point_uuid, sensor_uuid, value, quality, at, reason FROM device_points
        WHERE device_uuid = $1 AND point_uuid > $2 ORDER BY point_uuid LIMIT $3",
        device.uuid(),
        after_uuid(page)?,
        limit(page),
    )
    .fetch_all(&mut *pool.lend().await?)
    .await?;
    let mut records = Vec::with_capacity(lines.len());
    for line in lines {
        records.push(PointRecord {
            point: PointId(line.point_uuid),
            sensor: SensorId(line.sensor_uuid),
            value: line.value.map(serde_json::from_value).transpose()?,
            quality: word(&line.quality)?,
            at: line.at.to_jiff(),
            reason: line.reason.map(take),
        });
    }
    Ok(Listed::cut(records, page.limit, |record| {
        record.point.to_string()
    }))
}
