//! Rows of the read model: to arrays of columns for writing many at once, and from columns back.
//!
//! A row's content is spread over columns so that people can query it; put together again it is the sensor's document.
//! Most of what a device runs is what it should run: sensors that are the same are read, checked and kept once ([`Known`]).

use std::{collections::BTreeMap, sync::Arc};

use holdfast_domain::{
    DeviceId, Fingerprint, Item, Sensor, SensorId,
    row::{Audit, SensorRow},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use uuid::Uuid;

use crate::{
    columns::{
        Fault, Time, actor, bigint, instant, natural, put, put_opt, small, take, time, time_opt,
        word,
    },
    parts::arrays,
};

arrays! {
    /// Many rows, of one device or of several.
    RowArrays {
        device_uuid: Uuid,
        sensor_uuid: Uuid,
        name: String,
        protocol: &'static str,
        enabled: bool,
        poll_interval: i64,
        connection: String,
        data_points: String,
        metadata: String,
        extra: String,
        fingerprint: String,
        config_version: i64,
        synced_to_config: bool,
        deployment_status: &'static str,
        last_deployed_at: Option<Time>,
        deployment_error: Option<String>,
        deployment_attempts: i64,
        running_since: Option<Time>,
        health: Option<String>,
        drift: Option<&'static str>,
        drifting_since: Option<Time>,
        created_at: Time,
        created_by: String,
        updated_at: Time,
        updated_by: String,
    }
}

impl RowArrays {
    pub(crate) fn push(&mut self, device: DeviceId, row: &SensorRow) -> Result<(), Fault> {
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
        self.device_uuid.push(device.uuid());
        self.sensor_uuid.push(id.uuid());
        self.name.push(content.name.as_str().to_owned());
        self.protocol.push(content.binding.protocol().as_str());
        self.enabled.push(content.enabled);
        self.poll_interval.push(i64::from(content.poll_interval_ms));
        self.connection.push(content.connection_json().to_string());
        self.data_points
            .push(content.data_points_json().to_string());
        self.metadata.push(json(&content.metadata)?);
        self.extra.push(json(&content.extra)?);
        self.fingerprint.push(shown.fingerprint().to_string());
        self.config_version.push(bigint(*config_version)?);
        self.synced_to_config.push(*synced_to_config);
        self.deployment_status.push(status.as_str());
        self.last_deployed_at.push(time_opt(*last_deployed_at));
        self.deployment_error.push(put_opt(error.as_deref()));
        self.deployment_attempts.push(i64::from(*attempts));
        self.running_since.push(time_opt(*running_since));
        self.health.push(health.as_ref().map(json).transpose()?);
        self.drift.push(drift.map(|kind| kind.as_str()));
        self.drifting_since.push(time_opt(*drifting_since));
        self.created_at.push(time(*created_at));
        self.created_by.push(put(created_by.as_str()).into_owned());
        self.updated_at.push(time(*updated_at));
        self.updated_by.push(put(updated_by.as_str()).into_owned());
        Ok(())
    }
}

/// One row as a query gives it.
#[derive(Debug)]
pub(crate) struct RowColumns {
    pub(crate) sensor_uuid: Uuid,
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) enabled: bool,
    pub(crate) poll_interval: i64,
    pub(crate) connection: String,
    pub(crate) data_points: String,
    pub(crate) metadata: String,
    pub(crate) extra: String,
    pub(crate) fingerprint: String,
    pub(crate) config_version: i64,
    pub(crate) synced_to_config: bool,
    pub(crate) deployment_status: String,
    pub(crate) last_deployed_at: Option<Time>,
    pub(crate) deployment_error: Option<String>,
    pub(crate) deployment_attempts: i64,
    pub(crate) running_since: Option<Time>,
    pub(crate) health: Option<Value>,
    pub(crate) drift: Option<String>,
    pub(crate) drifting_since: Option<Time>,
    pub(crate) created_at: Time,
    pub(crate) created_by: String,
    pub(crate) updated_at: Time,
    pub(crate) updated_by: String,
}

impl RowColumns {
    /// The row; its content is taken from `known` where that has it.
    pub(crate) fn into_row(self, known: &Known) -> Result<SensorRow, Fault> {
        let id = SensorId(self.sensor_uuid);
        let shown = match known.by_content.get(&self.fingerprint.parse()?) {
            Some(sensor) => sensor.clone(),
            None => Arc::new(self.read_content()?),
        };
        Ok(SensorRow {
            id,
            shown,
            running_since: instant(self.running_since),
            config_version: natural(self.config_version)?,
            synced_to_config: self.synced_to_config,
            status: word(&self.deployment_status)?,
            last_deployed_at: instant(self.last_deployed_at),
            error: self.deployment_error.map(take),
            attempts: small(self.deployment_attempts)?,
            health: self.health.map(serde_json::from_value).transpose()?,
            drift: self.drift.as_deref().map(word).transpose()?,
            drifting_since: instant(self.drifting_since),
            audit: Audit {
                created_at: self.created_at.to_jiff(),
                created_by: actor(self.created_by),
                updated_at: self.updated_at.to_jiff(),
                updated_by: actor(self.updated_by),
            },
        })
    }

    fn read_content(&self) -> Result<Sensor, Fault> {
        let id = self.sensor_uuid;
        let mut content: Map<String, Value> = serde_json::from_str(&self.extra)?;
        let mut put = |key: &str, value: Value| content.insert(key.to_owned(), value);
        put("id", Value::String(id.to_string()));
        put("name", Value::String(self.name.clone()));
        put("protocol", Value::String(self.protocol.clone()));
        put("enabled", Value::Bool(self.enabled));
        put("pollInterval", Value::Number(self.poll_interval.into()));
        put("connection", serde_json::from_str(&self.connection)?);
        put("dataPoints", serde_json::from_str(&self.data_points)?);
        put("metadata", serde_json::from_str(&self.metadata)?);
        Sensor::from_json(Value::Object(content)).map_err(|problems| {
            format!("sensor {id} in device_sensors is not valid: {problems}").into()
        })
    }
}

/// [`RowColumns`] out of a record with the same fields; with `?` after it, the fields are those of an outer join, and
/// the value is `None` where there is no row.
macro_rules! row_columns {
    ($record:ident $($optional:tt)?) => {
        $crate::rows::RowColumns {
            sensor_uuid: $record.sensor_uuid $($optional)?,
            name: $record.sensor_name $($optional)?,
            protocol: $record.protocol $($optional)?,
            enabled: $record.enabled $($optional)?,
            poll_interval: $record.poll_interval $($optional)?,
            connection: $record.connection $($optional)?,
            data_points: $record.data_points $($optional)?,
            metadata: $record.metadata $($optional)?,
            extra: $record.extra $($optional)?,
            fingerprint: $record.fingerprint $($optional)?,
            config_version: $record.config_version $($optional)?,
            synced_to_config: $record.synced_to_config $($optional)?,
            deployment_status: $record.deployment_status $($optional)?,
            last_deployed_at: $record.last_deployed_at,
            deployment_error: $record.deployment_error,
            deployment_attempts: $record.deployment_attempts $($optional)?,
            running_since: $record.running_since,
            health: $record.health,
            drift: $record.drift,
            drifting_since: $record.drifting_since,
            created_at: $record.created_at $($optional)?,
            created_by: $record.created_by $($optional)?,
            updated_at: $record.updated_at $($optional)?,
            updated_by: $record.updated_by $($optional)?,
        }
    };
}
pub(crate) use row_columns;

/// A configuration as its column holds it: the form that it has on the wire.
#[derive(Serialize)]
struct ConfigRef<'a> {
    #[serde(rename = "protocolAdapterDevices")]
    items: &'a [Item],
}

#[derive(Deserialize)]
struct Config<'a> {
    #[serde(borrow, rename = "protocolAdapterDevices")]
    items: Vec<&'a RawValue>,
}

/// What was read of one device already.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// By the text of the document. Both configurations of a device are written by the same code, so that the same item
    /// is the same text.
    by_text: BTreeMap<String, Item>,
    by_content: BTreeMap<Fingerprint, Arc<Sensor>>,
}

impl Known {
    fn item(&mut self, text: &str) -> Result<Item, Fault> {
        if let Some(item) = self.by_text.get(text) {
            return Ok(item.clone());
        }
        let mut item: Item = serde_json::from_str(text)
            .map_err(|problem| format!("a stored configuration is not valid: {problem}"))?;
        let sensor = self
            .by_content
            .entry(item.sensor.fingerprint())
            .or_insert_with(|| item.sensor.clone());
        item.sensor = sensor.clone();
        self.by_text.insert(text.to_owned(), item.clone());
        Ok(item)
    }
}

pub(crate) fn config_json(items: &[Item]) -> Result<String, Fault> {
    json(&ConfigRef { items })
}

pub(crate) fn config_items(config: &str, known: &mut Known) -> Result<Vec<Item>, Fault> {
    let config: Config<'_> = serde_json::from_str(config)?;
    config
        .items
        .into_iter()
        .map(|item| known.item(item.get()))
        .collect()
}

pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(Into::into)
}
