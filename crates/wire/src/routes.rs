//! Where the API is, for server and clients alike.

use holdfast_domain::DeviceId;

/// Path under which all of the API's versions one lives.
pub const BASE: &str = "/api/v1";

/// `POST`: an agent registers, with a provisioning key as bearer token.
pub const REGISTER: &str = "/api/v1/device/register";
/// `PATCH`: an agent reports.
pub const REPORT: &str = "/api/v1/device/state";
/// `POST`: an agent sends last values.
pub const READINGS: &str = "/api/v1/device/readings";
/// `POST`: an agent asks for a new incarnation.
pub const INCARNATION: &str = "/api/v1/device/incarnation";
/// `GET`: the event log.
pub const EVENTS: &str = "/api/v1/events";
/// `GET`: the event log as server-sent events.
pub const EVENT_STREAM: &str = "/api/v1/events/stream";
/// Name of the server-sent event that carries one event of the log.
pub const STREAM_EVENT: &str = "event";
/// The request's id, in requests and answers; it is the correlation id of the events that come of the request.
pub const REQUEST_ID: &str = "x-request-id";
/// The value loops of the fleet.
pub const RECONCILIATION: &str = "/api/v1/reconciliation";
/// `PUT` of a setpoint: the request's key, so that the same request again changes nothing.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Answers that hold a target: for how many whole ms the hub held the answer back. What is in the answer lasts from the
/// moment that it was given: what the way took is to be taken off.
pub const HELD_MS: &str = "holdfast-held-ms";
/// The preference (RFC 7240) of an agent that takes a target without its configuration; its value is the identity of the
/// configuration that the agent holds. `Preference-Applied` says that it is left out.
pub const CHANGES: &str = "changes";
/// The longest long poll, in s: below what proxies cut off.
pub const MAX_WAIT_S: u32 = 60;

/// `GET`: the target of an agent's device.
#[must_use]
pub fn agent_state(device: DeviceId) -> String {
    format!("/api/v1/device/{device}/state")
}

/// A device, for operators.
#[must_use]
pub fn device(device: DeviceId) -> String {
    format!("/api/v1/devices/{device}")
}
