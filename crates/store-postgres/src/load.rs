//! A device's whole state in one statement, and so of one moment: the device's columns stand on the first line only, a
//! row of the read model on each.

use std::collections::BTreeMap;

use holdfast_domain::{
    DeviceId, Failure, Fingerprint, Health, Incarnation, Name, ReportOrder, SensorId,
    row::{Audit, SensorRow},
    state::{DeviceRecord, DeviceState, DriftNote, Presence, Reported, Target},
    values::{ReportedValues, Values},
};
use holdfast_ports::store::Glance;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    columns::{Fault, Time, actor, instant, natural, take},
    pool::Pool,
    rows::{Known, config_items, row_columns},
};

/// Everything known of a device.
pub(crate) async fn load(pool: &Pool, device: DeviceId) -> Result<Option<DeviceState>, Fault> {
    let lines = sqlx::query_file!("src/load.sql", device.uuid())
        .fetch_all(&mut *pool.lend().await?)
        .await?;
    let mut lines = lines.into_iter().peekable();
    let Some(first) = lines.peek_mut() else {
        return Ok(None);
    };
    let device = DeviceColumns {
        name: std::mem::take(&mut first.device_name),
        labels: first.labels.take(),
        incarnation: first.incarnation,
        audit: (
            first.device_created_at,
            std::mem::take(&mut first.device_created_by),
            first.device_updated_at,
            std::mem::take(&mut first.device_updated_by),
        ),
        revision: first.revision,
        last_event: first.last_event,
        last_seen_at: first.last_seen_at,
        silent: first.silent,
        drift: first.drift_since.zip(first.drift_fingerprint.take()),
        troubles: first.troubles.take(),
        seen: match (first.seen_incarnation, first.seen_boot, first.seen_sequence) {
            (Some(incarnation), Some(boot), Some(sequence)) => Some((incarnation, boot, sequence)),
            _ => None,
        },
    }
    .into_state(device)?;
    let mut known = Known::default();
    let target_config = first
        .target_config
        .take()
        .ok_or("the first line of a device has no target")?;
    let target = Target {
        version: natural(first.target_version)?,
        items: config_items(&target_config, &mut known)?,
        look_revision: natural(first.look_revision)?,
        values: values(
            first.setpoints.take(),
            first.hold.take(),
            first.commands.take(),
        )?,
        event: natural(first.event)?,
        audit: audit((
            first.target_created_at,
            std::mem::take(&mut first.target_created_by),
            first.target_updated_at,
            std::mem::take(&mut first.target_updated_by),
        )),
        last_deployed: match (
            instant(first.target_deployed_at),
            first.target_deployed_version,
        ) {
            (Some(at), Some(version)) => Some((at, natural(version)?)),
            _ => None,
        },
    };
    let reported = match first.boot {
        None => None,
        Some(_) => {
            let columns = (|| {
                Some(ReportedColumns {
                    config: first.running_config.take()?,
                    failures: first.failures.take()?,
                    health: first.reported_health.take()?,
                    outputs: first.outputs.take()?,
                    versions: [
                        first.held_version?,
                        first.worked_version?,
                        first.looked_revision?,
                    ],
                    order: (
                        first.reported_incarnation?,
                        first.boot?,
                        first.report_sequence?,
                    ),
                    running_fingerprint: first.running_fingerprint.take()?,
                    agent_version: first.agent_version.take(),
                    reported_at: first.reported_at?,
                })
            })();
            Some(
                columns
                    .ok_or("a column of device_current_state is missing")?
                    .into_reported(&mut known)?,
            )
        }
    };
    let mut rows = BTreeMap::new();
    for line in lines {
        if let Some(columns) = (|| Some(row_columns!(line?)))() {
            let row: SensorRow = columns.into_row(&known)?;
            rows.insert(row.id, row);
        }
    }
    Ok(Some(DeviceState {
        target,
        reported,
        rows,
        ..device
    }))
}

/// What changes without raising a device's revision, and that.
pub(crate) async fn glance(pool: &Pool, device: DeviceId) -> Result<Option<Glance>, Fault> {
    let hot = sqlx::query!(
        "SELECT revision, last_event, last_seen_at, seen_incarnation, seen_boot, seen_sequence
         FROM device_hot WHERE device_uuid = $1",
        device.uuid()
    )
    .fetch_optional(&mut *pool.lend().await?)
    .await?;
    let Some(hot) = hot else { return Ok(None) };
    let seen = match (hot.seen_incarnation, hot.seen_boot, hot.seen_sequence) {
        (Some(incarnation), Some(boot), Some(sequence)) => Some((incarnation, boot, sequence)),
        _ => None,
    };
    Ok(Some(Glance {
        revision: natural(hot.revision)?,
        last_event: natural(hot.last_event)?,
        last_seen_at: instant(hot.last_seen_at),
        seen: seen.map(order).transpose()?,
    }))
}

/// What is wanted of outputs.
fn values(
    setpoints: Option<Value>,
    hold: Option<Value>,
    commands: Option<Value>,
) -> Result<Values, Fault> {
    let ((setpoints, hold), commands) = setpoints
        .zip(hold)
        .zip(commands)
        .ok_or("the first line of a device has no setpoints")?;
    Values::from_json(setpoints, hold, commands)
        .map_err(|problems| format!("stored setpoints are not valid: {problems}").into())
}

/// Who made and last changed something, as columns.
pub(crate) type AuditColumns = (Time, String, Time, String);

pub(crate) fn audit((created_at, created_by, updated_at, updated_by): AuditColumns) -> Audit {
    Audit {
        created_at: created_at.to_jiff(),
        created_by: actor(created_by),
        updated_at: updated_at.to_jiff(),
        updated_by: actor(updated_by),
    }
}

/// A device's record out of its columns.
pub(crate) fn record(
    id: DeviceId,
    name: &str,
    labels: Option<Value>,
    incarnation: Option<Uuid>,
    audit: Audit,
) -> Result<DeviceRecord, Fault> {
    let labels: BTreeMap<String, String> = labels
        .map(serde_json::from_value)
        .transpose()?
        .unwrap_or_default();
    Ok(DeviceRecord {
        id,
        name: Name::new(name)?,
        labels: labels
            .into_iter()
            .map(|(key, value)| (take(key), take(value)))
            .collect(),
        incarnation: incarnation.map(Incarnation),
        audit,
    })
}

/// Incarnation, boot and sequence of a report.
type OrderColumns = (Uuid, i64, i64);

fn order((incarnation, boot, sequence): OrderColumns) -> Result<ReportOrder, Fault> {
    Ok(ReportOrder {
        incarnation: Incarnation(incarnation),
        boot: natural(boot)?,
        sequence: natural(sequence)?,
    })
}

struct DeviceColumns {
    name: String,
    labels: Option<Value>,
    incarnation: Option<Uuid>,
    audit: AuditColumns,
    revision: i64,
    last_event: i64,
    last_seen_at: Option<Time>,
    silent: bool,
    drift: Option<(Time, String)>,
    troubles: Option<String>,
    seen: Option<OrderColumns>,
}

impl DeviceColumns {
    /// A state without target, report and rows.
    fn into_state(self, id: DeviceId) -> Result<DeviceState, Fault> {
        let record = record(
            id,
            &self.name,
            self.labels,
            self.incarnation,
            audit(self.audit),
        )?;
        let drift = match self.drift {
            None => None,
            Some((since, fingerprint)) => Some(DriftNote {
                since: since.to_jiff(),
                fingerprint: fingerprint.parse::<Fingerprint>()?,
            }),
        };
        Ok(DeviceState {
            revision: natural(self.revision)?,
            last_event: natural(self.last_event)?,
            presence: Presence {
                last_seen_at: instant(self.last_seen_at),
                silent: self.silent,
                drift,
                troubles: match &self.troubles {
                    Some(troubles) => serde_json::from_str(troubles)?,
                    None => Vec::new(),
                },
            },
            seen: self.seen.map(order).transpose()?,
            ..DeviceState::new(record)
        })
    }
}

struct ReportedColumns {
    config: String,
    failures: Value,
    health: Value,
    outputs: String,
    /// Held, worked through, looked.
    versions: [i64; 3],
    order: OrderColumns,
    running_fingerprint: String,
    agent_version: Option<String>,
    reported_at: Time,
}

impl ReportedColumns {
    fn into_reported(self, known: &mut Known) -> Result<Reported, Fault> {
        let [held_version, worked_version, looked_revision] = self.versions;
        let failures: Vec<Failure> = serde_json::from_value(self.failures)?;
        let health: BTreeMap<SensorId, Health> = serde_json::from_value(self.health)?;
        Ok(Reported {
            order: order(self.order)?,
            held_version: natural(held_version)?,
            worked_version: natural(worked_version)?,
            running: config_items(&self.config, known)?,
            failures,
            health,
            running_fingerprint: self.running_fingerprint.parse()?,
            looked_revision: natural(looked_revision)?,
            values: serde_json::from_str::<ReportedValues>(&self.outputs)?,
            agent_version: self.agent_version.map(take),
            reported_at: self.reported_at.to_jiff(),
        })
    }
}
