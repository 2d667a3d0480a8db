//! Events: what happened, who did it, and what it came from. Append-only, with an order per device.

pub(crate) mod called;

use alloc::string::{String, ToString};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{fields::words, ids::DeviceId, row::Actor};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[allow(missing_docs, reason = "the words are the names")]
pub enum EventKind {
    DeviceCreated,
    DeviceUpdated,
    DeviceDeleted,
    DeviceRegistered,
    DeviceIncarnation,
    DeviceOnline,
    DeviceOffline,
    DeviceRevoked,
    DeviceConfigDrift,
    DeviceReconciled,
    DeviceSnapshot,
    DeviceLook,
    TargetUpdated,
    TargetRolledBack,
    TargetConflict,
    SensorAdded,
    SensorUpdated,
    SensorDeleted,
    SensorPending,
    SensorReconciling,
    SensorDeployed,
    SensorFailed,
    SensorRecovered,
    SensorPendingDeletion,
    SensorRemoved,
    SetpointSet,
    SetpointReleased,
    SetpointDrifted,
    SetpointWritten,
    SetpointVerified,
    SetpointRefused,
    SetpointOverridden,
    SetpointAdopted,
    SetpointExpired,
    BudgetReset,
    BudgetRenewed,
    CommandRequested,
    CommandVerified,
    CommandAcknowledged,
    CommandRefused,
    CommandFailed,
    CommandExpired,
    CommandCancelRequested,
    CommandCancelled,
    CommandUnknown,
    TroubleBegan,
    TroubleEnded,
    ReconciliationStarted,
    ReconciliationStopped,
    ReconciliationPaused,
    ReconciliationResumed,
    ReconciliationUpdated,
}
words!(EventKind {
    DeviceCreated => "device.created",
    DeviceUpdated => "device.updated",
    DeviceDeleted => "device.deleted",
    DeviceRegistered => "device.registered",
    DeviceIncarnation => "device.incarnation",
    DeviceOnline => "device.online",
    DeviceOffline => "device.offline",
    DeviceRevoked => "device.revoked",
    DeviceConfigDrift => "device.config_drift",
    DeviceReconciled => "device.reconciled",
    DeviceSnapshot => "device.snapshot",
    DeviceLook => "device.look",
    TargetUpdated => "target_state.updated",
    TargetRolledBack => "target_state.rolled_back",
    TargetConflict => "target_state.conflict",
    SensorAdded => "sensor.added",
    SensorUpdated => "sensor.updated",
    SensorDeleted => "sensor.deleted",
    SensorPending => "sensor.pending",
    SensorReconciling => "sensor.reconciling",
    SensorDeployed => "sensor.deployed",
    SensorFailed => "sensor.failed",
    SensorRecovered => "sensor.recovered",
    SensorPendingDeletion => "sensor.pending_deletion",
    SensorRemoved => "sensor.removed",
    SetpointSet => "setpoint.set",
    SetpointReleased => "setpoint.released",
    SetpointDrifted => "setpoint.drifted",
    SetpointWritten => "setpoint.written",
    SetpointVerified => "setpoint.verified",
    SetpointRefused => "setpoint.refused",
    SetpointOverridden => "setpoint.overridden",
    SetpointAdopted => "setpoint.adopted",
    SetpointExpired => "setpoint.expired",
    BudgetReset => "write_budget.reset",
    BudgetRenewed => "write_budget.renewed",
    CommandRequested => "command.requested",
    CommandVerified => "command.verified",
    CommandAcknowledged => "command.acknowledged_unverified",
    CommandRefused => "command.refused",
    CommandFailed => "command.failed",
    CommandExpired => "command.expired",
    CommandCancelRequested => "command.cancel_requested",
    CommandCancelled => "command.cancelled",
    CommandUnknown => "command.outcome_unknown",
    TroubleBegan => "trouble.began",
    TroubleEnded => "trouble.ended",
    ReconciliationStarted => "reconciliation.started",
    ReconciliationStopped => "reconciliation.stopped",
    ReconciliationPaused => "reconciliation.paused",
    ReconciliationResumed => "reconciliation.resumed",
    ReconciliationUpdated => "reconciliation.updated",
});

/// One event of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// The device.
    pub device: DeviceId,
    /// Its place among the device's events, from 1, without gaps. Device and sequence identify an event.
    pub sequence: u64,
    /// What happened.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub kind: EventKind,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "date-time"))]
    pub at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// Shared by all that came of one request.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub correlation: Option<String>,
    /// The sequence of the device's event that this one came of.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub causation: Option<u64>,
    /// The particulars.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub payload: Value,
}

/// Who changes something, when, and in the course of which request.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// The time, in whole microseconds (what every store keeps).
    pub now: Timestamp,
    /// Who.
    pub actor: Actor,
    /// The request.
    pub correlation: Option<String>,
}

impl Context {
    /// A change by `actor` at `now`; finer than a microsecond is cut off.
    #[must_use]
    pub fn new(now: Timestamp, actor: Actor) -> Self {
        Self {
            now: whole_micros(now),
            actor,
            correlation: None,
        }
    }

    /// In the course of `request`.
    #[must_use]
    pub fn during(self, request: &str) -> Self {
        Self {
            correlation: Some(request.to_string()),
            ..self
        }
    }
}

/// `time` without what is finer than a microsecond: PostgreSQL keeps no more, and all stores must agree.
#[must_use]
pub fn whole_micros(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond())
        .expect("a timestamp's microseconds are in range")
}
