//! A device's whole state, as of one moment.

use std::collections::BTreeMap;

use holdfast_domain::{
    DeviceId,
    document::report::ReportOrder,
    row::SensorRow,
    state::{DeviceRecord, DeviceState, DriftNote, Presence, Reported, Target},
    values::Values,
};
use holdfast_ports::store::Glance;
use sqlx::{SqliteConnection, SqlitePool};

use crate::{
    columns::{Fault, from_json, instant, instant_opt, natural, parsed, parsed_opt},
    rows::{RowColumns, audit, config_items},
};

/// A device with its target and presence, as a query gives it.
struct DeviceColumns {
    name: String,
    labels: String,
    incarnation: Option<String>,
    created_at: i64,
    created_by: String,
    updated_at: i64,
    updated_by: String,
    revision: i64,
    last_event: i64,
    last_seen_at: Option<i64>,
    silent: bool,
    seen_incarnation: Option<String>,
    seen_boot: Option<i64>,
    seen_sequence: Option<i64>,
    drift_since: Option<i64>,
    drift_fingerprint: Option<String>,
    troubles: Option<String>,
    version: i64,
    config: String,
    look_revision: i64,
    setpoints: String,
    hold: String,
    commands: String,
    event: i64,
    target_created_at: i64,
    target_created_by: String,
    target_updated_at: i64,
    target_updated_by: String,
    last_deployed_at: Option<i64>,
    last_deployed_version: Option<i64>,
}

/// What an agent said, as a query gives it.
struct ReportedColumns {
    config: String,
    failures: String,
    health: String,
    outputs: String,
    held_version: i64,
    version: i64,
    incarnation: String,
    boot: i64,
    sequence: i64,
    running_fingerprint: String,
    looked_revision: i64,
    agent_version: Option<String>,
    reported_at: i64,
}

/// What changes without raising a device's revision, and that.
pub(crate) async fn glance(
    readers: &SqlitePool,
    device: DeviceId,
) -> Result<Option<Glance>, Fault> {
    let id = device.to_string();
    let found = sqlx::query!(
        "SELECT revision, last_event, last_seen_at, seen_incarnation, seen_boot, seen_sequence
         FROM device_hot WHERE device_uuid = ?",
        id
    )
    .fetch_optional(readers)
    .await?;
    let Some(found) = found else { return Ok(None) };
    Ok(Some(Glance {
        revision: natural(found.revision)?,
        last_event: natural(found.last_event)?,
        last_seen_at: instant_opt(found.last_seen_at)?,
        seen: order(
            found.seen_incarnation.as_deref(),
            found.seen_boot,
            found.seen_sequence,
        )?,
    }))
}

/// The order of the last report that said nothing new.
fn order(
    incarnation: Option<&str>,
    boot: Option<i64>,
    sequence: Option<i64>,
) -> Result<Option<ReportOrder>, Fault> {
    let (Some(incarnation), Some(boot), Some(sequence)) = (incarnation, boot, sequence) else {
        return Ok(None);
    };
    Ok(Some(ReportOrder {
        incarnation: parsed(incarnation)?,
        boot: natural(boot)?,
        sequence: natural(sequence)?,
    }))
}

/// Everything known of a device, as of one moment.
pub(crate) async fn load(
    readers: &SqlitePool,
    device: DeviceId,
) -> Result<Option<DeviceState>, Fault> {
    let id = device.to_string();
    let mut transaction = readers.begin().await?;
    let found = sqlx::query_as!(
        DeviceColumns,
        r#"SELECT d.name, d.labels, d.incarnation, d.created_at, d.created_by, d.updated_at, d.updated_by,
               h.revision, h.last_event, h.last_seen_at, h.silent AS "silent: bool", h.seen_incarnation,
               h.seen_boot, h.seen_sequence, h.drift_since,
               h.drift_fingerprint, h.troubles, t.version, t.config, t.look_revision, t.setpoints, t.hold,
               t.commands, t.event,
               t.created_at AS target_created_at, t.created_by AS target_created_by,
               t.updated_at AS target_updated_at, t.updated_by AS target_updated_by,
               t.last_deployed_at, t.last_deployed_version
           FROM devices AS d
           JOIN device_hot AS h ON h.device_uuid = d.uuid
           JOIN device_target_state AS t ON t.device_uuid = d.uuid
           WHERE d.uuid = ?"#,
        id
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let reported = sqlx::query_as!(
        ReportedColumns,
        "SELECT config, failures, health, outputs, held_version, version, incarnation, boot, sequence, running_fingerprint,
             looked_revision, agent_version, reported_at
         FROM device_current_state WHERE device_uuid = ?",
        id
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let rows = rows_of(&mut transaction, &id).await?;
    transaction.rollback().await?;
    Ok(Some(state(device, &found, reported, rows)?))
}

async fn rows_of(connection: &mut SqliteConnection, id: &str) -> Result<Vec<RowColumns>, Fault> {
    let rows = sqlx::query_as!(
        RowColumns,
        r#"SELECT device_uuid, sensor_uuid, name, protocol, enabled AS "enabled: bool", poll_interval, connection,
               data_points, metadata, extra, config_version, synced_to_config AS "synced_to_config: bool",
               deployment_status, last_deployed_at, deployment_error, deployment_attempts, running_since, health, drift,
               drifting_since, stale AS "stale: bool", created_at, created_by, updated_at, updated_by
           FROM device_sensors WHERE device_uuid = ?"#,
        id
    )
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

fn state(
    device: DeviceId,
    found: &DeviceColumns,
    reported: Option<ReportedColumns>,
    rows: Vec<RowColumns>,
) -> Result<DeviceState, Fault> {
    let mut by_id = BTreeMap::new();
    for row in rows {
        let row: SensorRow = row.into_row()?;
        by_id.insert(row.id, row);
    }
    let last_deployed = instant_opt(found.last_deployed_at)?.zip(found.last_deployed_version);
    let drift_fingerprint = parsed_opt(found.drift_fingerprint.as_deref())?;
    Ok(DeviceState {
        revision: natural(found.revision)?,
        last_event: natural(found.last_event)?,
        record: DeviceRecord {
            id: device,
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
        target: Target {
            version: natural(found.version)?,
            items: config_items(&found.config)?,
            look_revision: natural(found.look_revision)?,
            values: Values::from_json(
                from_json(&found.setpoints)?,
                from_json(&found.hold)?,
                from_json(&found.commands)?,
            )
            .map_err(|problems| format!("stored setpoints are not valid: {problems}"))?,
            event: natural(found.event)?,
            audit: audit(
                found.target_created_at,
                &found.target_created_by,
                found.target_updated_at,
                &found.target_updated_by,
            )?,
            last_deployed: last_deployed
                .map(|(at, version)| natural(version).map(|version| (at, version)))
                .transpose()?,
        },
        reported: reported.map(what_was_reported).transpose()?,
        presence: Presence {
            last_seen_at: instant_opt(found.last_seen_at)?,
            silent: found.silent,
            drift: instant_opt(found.drift_since)?
                .zip(drift_fingerprint)
                .map(|(since, fingerprint)| DriftNote { since, fingerprint }),
            troubles: found
                .troubles
                .as_deref()
                .map(from_json)
                .transpose()?
                .unwrap_or_default(),
        },
        seen: order(
            found.seen_incarnation.as_deref(),
            found.seen_boot,
            found.seen_sequence,
        )?,
        rows: by_id,
    })
}

fn what_was_reported(found: ReportedColumns) -> Result<Reported, Fault> {
    Ok(Reported {
        order: ReportOrder {
            incarnation: parsed(&found.incarnation)?,
            boot: natural(found.boot)?,
            sequence: natural(found.sequence)?,
        },
        held_version: natural(found.held_version)?,
        worked_version: natural(found.version)?,
        running: config_items(&found.config)?,
        failures: from_json(&found.failures)?,
        health: from_json(&found.health)?,
        running_fingerprint: parsed(&found.running_fingerprint)?,
        looked_revision: natural(found.looked_revision)?,
        values: from_json(&found.outputs)?,
        agent_version: found.agent_version,
        reported_at: instant(found.reported_at)?,
    })
}
