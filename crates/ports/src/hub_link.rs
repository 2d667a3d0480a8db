//! The hub as an agent sees it.

use std::time::Duration;

use async_trait::async_trait;
use holdfast_domain::{DeviceId, Fingerprint, Incarnation, Report, TargetChanges, TargetState};

use crate::store::PointRecord;

/// The hub of one device.
///
/// # Contract
/// - Every call ends, with an answer or an error, within the link's own deadlines (for [`poll`](Self::poll): `wait` and
///   some seconds).
/// - Dropping a call's future abandons it; whether the hub carried it out is unknown then.
/// - No call retries by itself: the agent's loop decides when.
#[async_trait]
pub trait HubLink: Send + Sync {
    /// The target, if it is not the one with entity tag `held`; waits up to `wait` for it to change. `held` is `None` when
    /// no target is held: then the answer is all of one, never "unchanged" and never [changes](Polled::Changes).
    async fn poll(&self, held: Option<&HeldTarget>, wait: Duration) -> Result<Polled, HubError>;

    /// Sends a report.
    async fn report(&self, report: &Report) -> Result<ReportAnswer, HubError>;

    /// Sends last values.
    async fn readings(&self, readings: &[PointRecord]) -> Result<(), HubError>;

    /// Asks for a new incarnation: this disk finds that it speaks with the past of another.
    async fn new_incarnation(&self) -> Result<Incarnation, HubError>;
}

/// Which target an agent holds durably.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldTarget {
    /// Its entity tag.
    pub etag: String,
    /// The identity of its configuration: a hub that gives the very same may leave it out.
    pub config: Fingerprint,
}

impl HeldTarget {
    /// This one.
    #[must_use]
    pub fn of(target: &TargetState) -> Self {
        Self {
            etag: target.etag(),
            config: target.config_fingerprint(),
        }
    }
}

/// What a poll gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Polled {
    /// The target is the one held.
    Unchanged,
    /// Another target, all of it.
    Target(Box<TargetState>),
    /// Another target, with the configuration that is held.
    Changes(Box<TargetChanges>),
}

/// What the hub says of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportAnswer {
    /// It was taken, and is durable.
    Taken,
    /// It is older than what the hub knows.
    Late {
        /// The highest boot that the hub knows.
        boot: u64,
    },
    /// It left out what the hub does not know: send all.
    FullWanted,
    /// It is of another incarnation than the current one.
    OtherIncarnation,
}

/// Why the hub gave no answer that counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// The device was deleted: the answer said so and named it.
    #[error("the hub says that device {0} was deleted")]
    Deleted(DeviceId),
    /// The agent's token was revoked: the answer said so and named the device.
    #[error("the hub says that the access of device {0} was revoked")]
    Revoked(DeviceId),
    /// The hub does not know the agent's token: it was restored from a backup that is older than the registration, say.
    /// Counts as a hub out of reach.
    #[error("{0}")]
    Unknown(String),
    /// The connection was made and the request sent, and then something on the way ended it before the hub answered: a
    /// proxy that allows a silent request less time than the hub was asked to wait, for one.
    #[error("{0}")]
    Cut(String),
    /// Anything else: no connection, a proxy's answer, an error of the hub. Counts as a hub out of reach.
    #[error("{0}")]
    Unreachable(String),
}
