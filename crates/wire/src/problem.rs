//! What every error looks like: problem details (RFC 9457), with the fields that are wrong.

use holdfast_domain::{DeviceId, Problem};
use serde::{Deserialize, Serialize};

/// Media type of a [`ProblemDetails`].
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error as the API answers it (RFC 9457, section 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProblemDetails {
    /// What kind of problem, as a URI: one of [`types`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words; the same for every problem of the kind.
    pub title: String,
    /// The HTTP status.
    #[cfg_attr(feature = "openapi", schema(minimum = 400, maximum = 599))]
    pub status: u16,
    /// What is wrong this time, for a person, with what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The request that it concerns: its path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The fields, parameters or headers that are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Problem>,
    /// The device that was deleted or whose access was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
}

impl ProblemDetails {
    /// The device that this says is deleted.
    #[must_use]
    pub fn deleted_device(&self) -> Option<DeviceId> {
        self.device.filter(|_| self.kind == types::DEVICE_DELETED)
    }

    /// The device that this says has lost its access.
    #[must_use]
    pub fn revoked_device(&self) -> Option<DeviceId> {
        self.device.filter(|_| self.kind == types::DEVICE_REVOKED)
    }
}

/// The kinds of problems.
pub mod types {
    /// The agent's device was deleted: only this and [`DEVICE_REVOKED`] end an agent's right to act.
    pub const DEVICE_DELETED: &str = "urn:holdfast:problem:device-deleted";
    /// The agent's access was revoked: an operator did so, or another agent took over the device.
    pub const DEVICE_REVOKED: &str = "urn:holdfast:problem:device-revoked";
    /// The token of an agent's request is not known to this hub, which may have been restored from an older backup. Counts as
    /// a hub out of reach; an agent that has a provisioning key may ask to be registered again.
    pub const TOKEN_UNKNOWN: &str = "urn:holdfast:problem:token-unknown";
    /// No token, or one that is unknown, revoked or expired.
    pub const UNAUTHENTICATED: &str = "urn:holdfast:problem:unauthenticated";
    /// The token does not allow this.
    pub const FORBIDDEN: &str = "urn:holdfast:problem:forbidden";
    /// There is no such thing.
    pub const NOT_FOUND: &str = "urn:holdfast:problem:not-found";
    /// The path does not take this method.
    pub const METHOD_NOT_ALLOWED: &str = "urn:holdfast:problem:method-not-allowed";
    /// A field, parameter or header is wrong: `errors` says which.
    pub const INVALID: &str = "urn:holdfast:problem:invalid";
    /// The body is not of the media type that is wanted.
    pub const UNSUPPORTED_MEDIA_TYPE: &str = "urn:holdfast:problem:unsupported-media-type";
    /// The body is larger than is allowed.
    pub const TOO_LARGE: &str = "urn:holdfast:problem:too-large";
    /// It can't be done as things stand: a name is taken, a device may still hold outputs.
    pub const CONFLICT: &str = "urn:holdfast:problem:conflict";
    /// `If-Match` names another version than the current one.
    pub const PRECONDITION_FAILED: &str = "urn:holdfast:problem:precondition-failed";
    /// A bug of the hub: the request id finds it in the log.
    pub const INTERNAL: &str = "urn:holdfast:problem:internal";
    /// The hub can't do it now: its store is out of reach. Try again.
    pub const UNAVAILABLE: &str = "urn:holdfast:problem:unavailable";
}
