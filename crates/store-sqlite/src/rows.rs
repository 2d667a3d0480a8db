//! Rows of the read model: to JSON for the statement that writes many at once, and from columns back; and the
//! configurations of targets and reports.
//!
//! A row's content is spread over columns so that people can query it; put together again it is the sensor's document.
//! Within the JSON of many rows, documents are texts: they arrive in their columns as they were written.

use std::sync::Arc;

use holdfast_domain::{
    Item, Sensor, SensorId,
    row::{Actor, Audit, SensorRow},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::FromRow;

use crate::columns::{
    Fault, from_json, instant, instant_opt, integer, json, micros, micros_opt, natural, parsed,
    parsed_opt, small,
};

/// One row as the statement that writes takes it.
#[derive(Serialize)]
struct RowJson<'a> {
    sensor_uuid: String,
    name: &'a str,
    protocol: &'a str,
    enabled: bool,
    poll_interval: u32,
    connection: String,
    data_points: String,
    metadata: String,
    extra: String,
    config_version: i64,
    synced_to_config: bool,
    deployment_status: &'a str,
    last_deployed_at: Option<i64>,
    deployment_error: Option<&'a str>,
    deployment_attempts: u32,
    running_since: Option<i64>,
    health: Option<String>,
    drift: Option<&'a str>,
    drifting_since: Option<i64>,
    created_at: i64,
    created_by: &'a str,
    updated_at: i64,
    updated_by: &'a str,
}

/// Many rows as one JSON array.
pub(crate) fn rows_json(rows: &[SensorRow]) -> Result<String, Fault> {
    let rows: Vec<RowJson<'_>> = rows.iter().map(row_json).collect::<Result<_, _>>()?;
    json(&rows)
}

fn row_json(row: &SensorRow) -> Result<RowJson<'_>, Fault> {
    let SensorRow {
        id,
        shown,
        running_since,
        config_version,
        synced_to_config,
        status,
        last_deployed_at,
        error,
        attempts,
        health,
        drift,
        drifting_since,
        audit:
            Audit {
                created_at,
                created_by,
                updated_at,
                updated_by,
            },
    } = row;
    let content = shown.content();
    Ok(RowJson {
        sensor_uuid: id.to_string(),
        name: content.name.as_str(),
        protocol: content.binding.protocol().as_str(),
        enabled: content.enabled,
        poll_interval: content.poll_interval_ms,
        connection: json(&content.connection_json())?,
        data_points: json(&content.data_points_json())?,
        metadata: json(&content.metadata)?,
        extra: json(&content.extra)?,
        config_version: integer(*config_version)?,
        synced_to_config: *synced_to_config,
        deployment_status: status.as_str(),
        last_deployed_at: micros_opt(*last_deployed_at),
        deployment_error: error.as_deref(),
        deployment_attempts: *attempts,
        running_since: micros_opt(*running_since),
        health: health.as_ref().map(json).transpose()?,
        drift: drift.map(|kind| kind.as_str()),
        drifting_since: micros_opt(*drifting_since),
        created_at: micros(*created_at),
        created_by: created_by.as_str(),
        updated_at: micros(*updated_at),
        updated_by: updated_by.as_str(),
    })
}

/// One row as a query gives it.
#[derive(Debug, FromRow)]
pub(crate) struct RowColumns {
    pub(crate) device_uuid: String,
    pub(crate) sensor_uuid: String,
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) enabled: bool,
    pub(crate) poll_interval: i64,
    pub(crate) connection: String,
    pub(crate) data_points: String,
    pub(crate) metadata: String,
    pub(crate) extra: String,
    pub(crate) config_version: i64,
    pub(crate) synced_to_config: bool,
    pub(crate) deployment_status: String,
    pub(crate) last_deployed_at: Option<i64>,
    pub(crate) deployment_error: Option<String>,
    pub(crate) deployment_attempts: i64,
    pub(crate) running_since: Option<i64>,
    pub(crate) health: Option<String>,
    pub(crate) drift: Option<String>,
    pub(crate) drifting_since: Option<i64>,
    pub(crate) stale: bool,
    pub(crate) created_at: i64,
    pub(crate) created_by: String,
    pub(crate) updated_at: i64,
    pub(crate) updated_by: String,
}

impl RowColumns {
    pub(crate) fn into_row(self) -> Result<SensorRow, Fault> {
        let id: SensorId = parsed(&self.sensor_uuid)?;
        let mut content: Map<String, Value> = from_json(&self.extra)?;
        let mut put = |key: &str, value: Value| content.insert(key.to_owned(), value);
        put("id", Value::String(self.sensor_uuid));
        put("name", Value::String(self.name));
        put("protocol", Value::String(self.protocol));
        put("enabled", Value::Bool(self.enabled));
        put("pollInterval", Value::Number(self.poll_interval.into()));
        put("connection", from_json(&self.connection)?);
        put("dataPoints", from_json(&self.data_points)?);
        put("metadata", from_json(&self.metadata)?);
        let shown = Sensor::from_json(Value::Object(content)).map_err(|problems| {
            format!("sensor {id} in device_sensors is not valid: {problems}")
        })?;
        Ok(SensorRow {
            id,
            shown: Arc::new(shown),
            running_since: instant_opt(self.running_since)?,
            config_version: natural(self.config_version)?,
            synced_to_config: self.synced_to_config,
            status: parsed(&self.deployment_status)?,
            last_deployed_at: instant_opt(self.last_deployed_at)?,
            error: self.deployment_error,
            attempts: small(self.deployment_attempts)?,
            health: self.health.as_deref().map(from_json).transpose()?,
            drift: parsed_opt(self.drift.as_deref())?,
            drifting_since: instant_opt(self.drifting_since)?,
            audit: audit(
                self.created_at,
                &self.created_by,
                self.updated_at,
                &self.updated_by,
            )?,
        })
    }
}

pub(crate) fn audit(
    created_at: i64,
    created_by: &str,
    updated_at: i64,
    updated_by: &str,
) -> Result<Audit, Fault> {
    Ok(Audit {
        created_at: instant(created_at)?,
        created_by: Actor::named(created_by),
        updated_at: instant(updated_at)?,
        updated_by: Actor::named(updated_by),
    })
}

/// A configuration as its column holds it: the form that it has on the wire.
#[derive(Serialize)]
struct ConfigRef<'a> {
    #[serde(rename = "protocolAdapterDevices")]
    items: &'a [Item],
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "protocolAdapterDevices")]
    items: Vec<Item>,
}

pub(crate) fn config_json(items: &[Item]) -> Result<String, Fault> {
    json(&ConfigRef { items })
}

pub(crate) fn config_items(config: &str) -> Result<Vec<Item>, Fault> {
    let config: Config = serde_json::from_str(config)
        .map_err(|problem| format!("a stored configuration is not valid: {problem}"))?;
    Ok(config.items)
}
