//! Reading requests, strictly: what is wrong is named with its field, what was expected and what was found.
//!
//! [`body`] bodies, [`query`] query parameters, [`path`] path parameters, [`headers`] conditions and preferences.

mod body;
mod headers;
mod path;
mod query;

pub(crate) use body::{Form, GivenWhy, JsonBytes, JsonDocument, NoBody, SmallDocument};
pub(crate) use headers::{HeldConfig, IdempotencyKey, IfMatch, IfNoneMatch, IfRevision, Wait};
pub(crate) use path::{
    CommandPath, DevicePath, PausePath, PointKey, PointPath, SensorPath, TokenPath,
};
pub(crate) use query::Query;
