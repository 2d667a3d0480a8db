//! Path parameters.

use std::str::FromStr;

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use holdfast_domain::{
    CommandId, DeviceId, Name, PauseId, PointId, Problems, SensorId, TokenId, state::DeviceState,
};

use crate::{
    App,
    problem::{ApiProblem, ApiResult},
};

/// `{uuid}`: a device.
pub(crate) struct DevicePath(pub(crate) DeviceId);

impl FromRequestParts<App> for DevicePath {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let params = params(parts, app).await?;
        Ok(Self(read(&params, "uuid", "a device's UUID")?))
    }
}

/// `{id}`: a token or provisioning key.
pub(crate) struct TokenPath(pub(crate) TokenId);

impl FromRequestParts<App> for TokenPath {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let params = params(parts, app).await?;
        Ok(Self(read(&params, "id", "a UUID")?))
    }
}

/// `{uuid}` and `{sensor}`: a device and one of its sensors.
pub(crate) struct SensorPath(pub(crate) DeviceId, pub(crate) SensorKey);

/// How a sensor is named in a path. A name is never in the form of a UUID, so this is never ambiguous.
pub(crate) enum SensorKey {
    Id(SensorId),
    Name(Name),
}

impl FromRequestParts<App> for SensorPath {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let params = params(parts, app).await?;
        let device = read(&params, "uuid", "a device's UUID")?;
        let key = value(&params, "sensor");
        let key = match key.parse() {
            Ok(id) => SensorKey::Id(id),
            Err(_) => SensorKey::Name(read(&params, "sensor", "a sensor's UUID or name")?),
        };
        Ok(Self(device, key))
    }
}

impl SensorKey {
    /// The sensor that is meant: the wanted one of this name, else the one that still runs under it.
    pub(crate) fn find(&self, state: &DeviceState) -> ApiResult<SensorId> {
        let found = match self {
            Self::Id(id) => state.rows.contains_key(id).then_some(*id),
            Self::Name(name) => {
                let wanted = state
                    .wanted_by_name(name.as_str())
                    .map(|sensor| sensor.id());
                wanted.or_else(|| {
                    state
                        .rows
                        .values()
                        .find(|row| row.shown.name() == name)
                        .map(|row| row.id)
                })
            }
        };
        found.ok_or_else(|| {
            let key = match self {
                Self::Id(id) => id.to_string(),
                Self::Name(name) => format!("named {name:?}"),
            };
            ApiProblem::not_found(format!("device {} has no sensor {key}", state.record.id))
        })
    }
}

/// `{uuid}`, `{sensor}` and `{point}`: a device and one of its points.
pub(crate) struct PointPath(pub(crate) DeviceId, pub(crate) PointKey);

/// How a point is named in a path.
pub(crate) struct PointKey {
    sensor: SensorKey,
    point: PointName,
}

enum PointName {
    Id(PointId),
    Name(Name),
}

impl FromRequestParts<App> for PointPath {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let SensorPath(device, sensor) = SensorPath::from_request_parts(parts, app).await?;
        let params = params(parts, app).await?;
        let point = match value(&params, "point").parse() {
            Ok(id) => PointName::Id(id),
            Err(_) => PointName::Name(read(&params, "point", "a point's UUID or name")?),
        };
        Ok(Self(device, PointKey { sensor, point }))
    }
}

impl PointKey {
    /// A point that is named in a body.
    pub(crate) fn of(sensor: &str, point: &str) -> ApiResult<Self> {
        let name = |field: &str, text: &str| {
            let shown: String = text.chars().take(64).collect();
            let expected = format!("a {field}'s name or UUID");
            let wrong =
                || ApiProblem::invalid(&Problems::one(field, expected, format!("{shown:?}")));
            Name::new(text).map_err(|_| wrong())
        };
        let sensor = match sensor.parse() {
            Ok(id) => SensorKey::Id(id),
            Err(_) => SensorKey::Name(name("sensor", sensor)?),
        };
        let point = match point.parse() {
            Ok(id) => PointName::Id(id),
            Err(_) => PointName::Name(name("point", point)?),
        };
        Ok(Self { sensor, point })
    }

    /// The point that is meant: one of the target.
    pub(crate) fn find(&self, state: &DeviceState) -> ApiResult<PointId> {
        let sensor = self.sensor.find(state)?;
        let item = state.target.item(sensor).ok_or_else(|| {
            ApiProblem::not_found(format!(
                "sensor {sensor} still runs, but the target has it no more: nothing can be set there"
            ))
        })?;
        let points = item.sensor.content().binding.point_names();
        let is_meant = |(id, name): &(PointId, &Name)| match &self.point {
            PointName::Id(wanted) => id == wanted,
            PointName::Name(wanted) => *name == wanted,
        };
        let found = points.into_iter().find(is_meant).map(|(id, _)| id);
        found.ok_or_else(|| {
            let key = match &self.point {
                PointName::Id(id) => id.to_string(),
                PointName::Name(name) => format!("named {name:?}"),
            };
            let sensor = item.sensor.name();
            ApiProblem::not_found(format!("sensor {sensor} has no point {key}"))
        })
    }
}

/// `{uuid}` and `{id}`: a device and one of its commands.
pub(crate) struct CommandPath(pub(crate) DeviceId, pub(crate) CommandId);

impl FromRequestParts<App> for CommandPath {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let params = params(parts, app).await?;
        Ok(Self(
            read(&params, "uuid", "a device's UUID")?,
            read(&params, "id", "a UUID")?,
        ))
    }
}

/// `{uuid}` and `{id}`: a device and one of its pauses.
pub(crate) struct PausePath(pub(crate) DeviceId, pub(crate) PauseId);

impl FromRequestParts<App> for PausePath {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let params = params(parts, app).await?;
        Ok(Self(
            read(&params, "uuid", "a device's UUID")?,
            read(&params, "id", "a UUID")?,
        ))
    }
}

async fn params(parts: &mut Parts, app: &App) -> ApiResult<RawPathParams> {
    RawPathParams::from_request_parts(parts, app)
        .await
        .map_err(|error| ApiProblem::bad_request("path", "a path in UTF-8", error))
}

fn value<'a>(params: &'a RawPathParams, name: &str) -> &'a str {
    params
        .iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .unwrap_or_default()
}

fn read<T: FromStr>(params: &RawPathParams, name: &str, expected: &str) -> ApiResult<T> {
    let value = value(params, name);
    value.parse().map_err(|_| {
        let shown: String = value.chars().take(64).collect();
        ApiProblem::bad_request(name, expected, format!("{shown:?}"))
    })
}
