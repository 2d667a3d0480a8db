//! Lists: devices, sensors, history, last values.
//!
//! A list of sensors, whose filters vary, is put together from constant pieces, so that each filter can use its index;
//! everything else is checked against the tables when it is compiled.

use holdfast_domain::{
    DeviceId, Item, PointId, PointValue, SensorId, row::Actor, state::DeviceRecord,
};
use holdfast_ports::{
    page::{Listed, Page},
    store::{DeviceFilter, DeviceSummary, HistoryEntry, PointRecord, SensorFilter, SensorRecord},
};
use sqlx::{QueryBuilder, Sqlite, SqlitePool};

use crate::{
    columns::{
        Fault, from_json, instant, instant_opt, integer, json, natural, parsed, parsed_opt, small,
    },
    rows::{RowColumns, audit, config_items},
};

/// A device in a list, as a query gives it.
struct SummaryColumns {
    uuid: String,
    name: String,
    labels: String,
    incarnation: Option<String>,
    created_at: i64,
    created_by: String,
    updated_at: i64,
    updated_by: String,
    target_version: i64,
    worked_version: Option<i64>,
    last_seen_at: Option<i64>,
    silent: bool,
    drifting: bool,
    statuses: String,
}

/// A page of devices.
pub(crate) async fn devices(
    readers: &SqlitePool,
    filter: &DeviceFilter,
    page: &Page,
) -> Result<Listed<DeviceSummary>, Fault> {
    let DeviceFilter { labels, status } = filter;
    let (labels, status) = (json(labels)?, status.map(|status| status.as_str()));
    let limit = i64::from(page.limit) + 1;
    let found = sqlx::query_as!(
        SummaryColumns,
        r#"SELECT uuid, name, labels, incarnation, created_at, created_by, updated_at, updated_by, target_version,
               worked_version AS "worked_version?", last_seen_at AS "last_seen_at?", silent AS "silent: bool",
               drifting AS "drifting!: bool",
               (SELECT json_group_object(deployment_status, rows)
                FROM (SELECT deployment_status, count(*) AS rows FROM device_sensors
                      WHERE device_uuid = l.uuid GROUP BY deployment_status)) AS "statuses!: String"
           FROM (SELECT d.uuid, d.name, d.labels, d.incarnation, d.created_at, d.created_by, d.updated_at,
                     d.updated_by, t.version AS target_version, c.version AS worked_version, h.last_seen_at, h.silent,
                     EXISTS (SELECT 1 FROM device_sensors AS s
                             WHERE s.device_uuid = d.uuid AND s.drift IS NOT NULL) AS drifting
                 FROM devices AS d
                 JOIN device_hot AS h ON h.device_uuid = d.uuid
                 JOIN device_target_state AS t ON t.device_uuid = d.uuid
                 LEFT JOIN device_current_state AS c ON c.device_uuid = d.uuid
                 WHERE (?1 IS NULL OR d.name > ?1)
                   AND NOT EXISTS (SELECT 1 FROM json_each(?2) AS f WHERE NOT EXISTS (
                       SELECT 1 FROM json_each(d.labels) AS l WHERE l.key = f.key AND l.value = f.value))) AS l
           WHERE ?3 IS NULL OR ?3 = CASE WHEN silent THEN 'silent' WHEN worked_version IS NULL THEN 'new'
                                         WHEN drifting THEN 'drifting' ELSE 'reconciled' END
           ORDER BY name
           LIMIT ?4"#,
        page.after,
        labels,
        status,
        limit
    )
    .fetch_all(readers)
    .await?;
    let found = found.iter().map(summary).collect::<Result<Vec<_>, _>>()?;
    Ok(Listed::cut(found, page.limit, |device| {
        device.record.name.to_string()
    }))
}

fn summary(found: &SummaryColumns) -> Result<DeviceSummary, Fault> {
    Ok(DeviceSummary {
        record: DeviceRecord {
            id: parsed(&found.uuid)?,
            name: parsed(&found.name)?,
            labels: from_json(&found.labels)?,
            incarnation: parsed_opt(found.incarnation.as_deref())?,
            audit: audit(
                found.created_at,
                &found.created_by,
                found.updated_at,
                &found.updated_by,
            )?,
        },
        target_version: natural(found.target_version)?,
        worked_version: found.worked_version.map(natural).transpose()?,
        last_seen_at: instant_opt(found.last_seen_at)?,
        status: DeviceSummary::status_of(
            found.worked_version.is_some(),
            found.silent,
            found.drifting,
        ),
        sensors: from_json(&found.statuses)?,
    })
}

/// The query for a page of rows.
pub(crate) fn sensors_query(filter: &SensorFilter, page: &Page) -> QueryBuilder<Sqlite> {
    let SensorFilter {
        device,
        running_only,
        protocol,
        enabled,
        status,
        drifting_only,
        name,
    } = filter;
    let mut query = QueryBuilder::new("SELECT * FROM device_sensors WHERE true");
    if let Some(device) = device {
        query
            .push(" AND device_uuid = ")
            .push_bind(device.to_string());
    }
    if *running_only {
        query.push(" AND running_since IS NOT NULL");
    }
    if let Some(protocol) = protocol {
        query.push(" AND protocol = ").push_bind(protocol.as_str());
    }
    if let Some(enabled) = enabled {
        query.push(" AND enabled = ").push_bind(*enabled);
    }
    if let Some(status) = status {
        query
            .push(" AND deployment_status = ")
            .push_bind(status.as_str());
    }
    if *drifting_only {
        query.push(" AND drift IS NOT NULL");
    }
    if let Some(name) = name {
        query.push(" AND name = ").push_bind(name.clone());
    }
    if let Some((sensor, device)) = page.after.as_ref().and_then(|after| after.split_once('/')) {
        query
            .push(" AND (sensor_uuid, device_uuid) > (")
            .push_bind(sensor.to_owned());
        query.push(", ").push_bind(device.to_owned()).push(")");
    }
    query
        .push(" ORDER BY sensor_uuid, device_uuid LIMIT ")
        .push_bind(i64::from(page.limit) + 1);
    query
}

/// A page of rows.
pub(crate) async fn sensors(
    readers: &SqlitePool,
    filter: &SensorFilter,
    page: &Page,
) -> Result<Listed<SensorRecord>, Fault> {
    let mut query = sensors_query(filter, page);
    let found: Vec<RowColumns> = query.build_query_as().fetch_all(readers).await?;
    let mut records = Vec::with_capacity(found.len());
    for columns in found {
        let (device, stale) = (parsed(&columns.device_uuid)?, columns.stale);
        records.push(SensorRecord {
            device,
            row: columns.into_row()?,
            stale,
        });
    }
    Ok(Listed::cut(records, page.limit, |record| {
        format!("{}/{}", record.row.id, record.device)
    }))
}

/// A page of a device's history.
pub(crate) async fn history(
    readers: &SqlitePool,
    device: DeviceId,
    page: &Page,
) -> Result<Listed<HistoryEntry>, Fault> {
    let id = device.to_string();
    let before: i64 = page
        .after
        .as_ref()
        .and_then(|after| after.parse().ok())
        .unwrap_or(i64::MAX);
    let limit = i64::from(page.limit) + 1;
    let found = sqlx::query!(
        "SELECT version, created_at, author, reason, sensors FROM device_target_state_history
         WHERE device_uuid = ? AND version < ? ORDER BY version DESC LIMIT ?",
        id,
        before,
        limit
    )
    .fetch_all(readers)
    .await?;
    let mut entries = Vec::with_capacity(found.len());
    for entry in found {
        entries.push(HistoryEntry {
            version: natural(entry.version)?,
            at: instant(entry.created_at)?,
            author: Actor::named(&entry.author),
            reason: entry.reason,
            sensors: small(entry.sensors)?,
        });
    }
    Ok(Listed::cut(entries, page.limit, |entry| {
        entry.version.to_string()
    }))
}

/// The sensors of one version.
pub(crate) async fn version(
    readers: &SqlitePool,
    device: DeviceId,
    version: u64,
) -> Result<Option<Vec<Item>>, Fault> {
    let (id, Ok(version)) = (device.to_string(), integer(version)) else {
        return Ok(None);
    };
    let config = sqlx::query_scalar!(
        "SELECT config FROM device_target_state_history WHERE device_uuid = ? AND version = ?",
        id,
        version
    )
    .fetch_optional(readers)
    .await?;
    config.as_deref().map(config_items).transpose()
}

/// A page of a device's last values.
pub(crate) async fn points(
    readers: &SqlitePool,
    device: DeviceId,
    page: &Page,
) -> Result<Listed<PointRecord>, Fault> {
    let id = device.to_string();
    let limit = i64::from(page.limit) + 1;
    let found = sqlx::query!(
        "SELECT point_uuid, sensor_uuid, value, quality, at, reason FROM device_points
         WHERE device_uuid = ?1 AND (?2 IS NULL OR point_uuid > ?2) ORDER BY point_uuid LIMIT ?3",
        id,
        page.after,
        limit
    )
    .fetch_all(readers)
    .await?;
    let mut points = Vec::with_capacity(found.len());
    for point in found {
        points.push(PointRecord {
            point: parsed::<PointId>(&point.point_uuid)?,
            sensor: parsed::<SensorId>(&point.sensor_uuid)?,
            value: point
                .value
                .as_deref()
                .map(from_json::<PointValue>)
                .transpose()?,
            quality: parsed(&point.quality)?,
            at: instant(point.at)?,
            reason: point.reason,
        });
    }
    Ok(Listed::cut(points, page.limit, |point| {
        point.point.to_string()
    }))
}

#[cfg(test)]
mod tests {
    use holdfast_domain::{DeviceId, Protocol, row::DeploymentStatus};
    use holdfast_ports::{page::Page, store::SensorFilter};
    use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

    use super::sensors_query;

    /// How SQLite would go about a list.
    async fn plan(connection: &mut SqliteConnection, filter: SensorFilter) -> String {
        let page = Page {
            after: Some("a/b".to_owned()),
            limit: 10,
        };
        let sql = sensors_query(&filter, &page).into_string();
        let explained = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
            .fetch_all(connection)
            .await;
        let steps = explained.expect("the statement is valid");
        steps
            .iter()
            .map(|step| step.get::<String, _>("detail"))
            .collect::<Vec<_>>()
            .join("; ")
    }

    #[tokio::test]
    async fn every_filter_goes_by_an_index_in_the_order_of_the_list() {
        let mut connection = SqliteConnection::connect("sqlite::memory:")
            .await
            .expect("works");
        crate::open::MIGRATIONS
            .run(&mut connection)
            .await
            .expect("the migrations are valid");
        let all = SensorFilter::default;
        let device = Some(DeviceId(uuid::Uuid::nil()));
        let protocol = Some(Protocol::Modbus);
        for filter in [
            all(),
            SensorFilter { device, ..all() },
            SensorFilter { protocol, ..all() },
            SensorFilter {
                enabled: Some(false),
                ..all()
            },
            SensorFilter {
                status: Some(DeploymentStatus::Failed),
                ..all()
            },
            SensorFilter {
                device,
                protocol,
                enabled: Some(true),
                running_only: true,
                ..all()
            },
        ] {
            let plan = plan(&mut connection, filter.clone()).await;
            assert!(plan.contains("USING INDEX"), "{filter:?}: {plan}");
            let sorts = plan.contains("TEMP B-TREE") && filter.device.is_none();
            assert!(!sorts, "{filter:?}: {plan}");
        }
    }
}
