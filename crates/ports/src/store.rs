//! The hub's store of devices: one revisioned state a device, changed as a whole.

use std::collections::BTreeMap;

use async_trait::async_trait;
use holdfast_domain::{
    DeviceId, Item, Name, PointId, PointValue, Protocol, Quality, SensorId,
    document::report::ReportOrder,
    event::Event,
    row::{Actor, DeploymentStatus, SensorRow},
    state::{Change, DeviceRecord, DeviceState},
};
use jiff::Timestamp;

use crate::{
    StoreError,
    page::{Listed, Page},
    tokens::{TokenId, TokenRecord},
};

/// Devices, their targets, what their agents reported, and the read model.
///
/// # Contract
///
/// - **Atomic and durable.** A change is committed whole, with its events, before the call returns `Ok`; otherwise
///   nothing of it is ever seen. Dropping the future of a call leaves either all or nothing of it.
/// - **Compare and set.** [`commit`](Self::commit) succeeds only if the device still has the revision that the change was
///   decided on ([`Change::base_revision`]); otherwise it is a [`CommitError::Conflict`] and the caller decides anew on
///   what [`load`](Self::load) gives. So no edit and no report is ever lost, however many processes write.
/// - **Exact.** What is loaded equals what was committed (times to the microsecond), and
///   `load(commit(change)) == state.after(change)`.
/// - **Old never overwrites new.** A change that takes a report over ([`Change::reported`]) is a
///   [`CommitError::Conflict`] too if a report that is not earlier was [seen](Self::touch) meanwhile.
/// - **Set-based.** A commit takes a fixed number of statements, however many sensors it has.
/// - **Wakes.** After a commit whose [`Change::changes_desired`] is true, all processes of the hub get a
///   [`Wake::Desired`](crate::wakeups::Wake) of that device.
/// - Lists are in a stable order and their pages neither skip nor repeat what does not change meanwhile.
#[async_trait]
pub trait DeviceStore: Send + Sync {
    /// Adds a device in its first state (revision 0 in, stored as revision 1) with its first events.
    ///
    /// # Errors
    /// [`CommitError::NameTaken`], [`CommitError::Conflict`] if the id exists.
    async fn create(&self, state: &DeviceState, events: &[Event]) -> Result<(), CommitError>;

    /// Everything known of a device; `None` if there is none.
    async fn load(&self, device: DeviceId) -> Result<Option<DeviceState>, StoreError>;

    /// Whether a state that was loaded or committed before is still the newest, and what of it may be another without that:
    /// with [`Glance::renews`] it is as if it were loaded now. Costs the same however many sensors there are. `None`: there is
    /// no such device, or this store can't tell; then load it.
    async fn glance(&self, _device: DeviceId) -> Result<Option<Glance>, StoreError> {
        Ok(None)
    }

    /// Commits a change.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] if the device has another revision by now or is gone; nothing was changed then.
    async fn commit(&self, change: &Change) -> Result<(), CommitError>;

    /// Commits what a registration changes: the device (new, or changed), its agent's token, one use of the
    /// provisioning key, and, where the device had one, the end of its old token.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] also if the key has no use left or was revoked.
    async fn register(&self, registration: &Registration) -> Result<(), CommitError>;

    /// Commits a change of a device and ends the tokens of its agents, as
    /// [`RevocationKind::Revoked`](crate::tokens::RevocationKind) at `at`, in one transaction.
    async fn revoke(&self, change: &Change, at: Timestamp) -> Result<(), CommitError>;

    /// Removes a device with all that is kept of it but its events, and ends its tokens as
    /// [`RevocationKind::DeviceDeleted`](crate::tokens::RevocationKind). `events` are the last ones.
    async fn delete(
        &self,
        device: DeviceId,
        base_revision: u64,
        events: &[Event],
    ) -> Result<(), CommitError>;

    /// The device of this name.
    async fn find(&self, name: &Name) -> Result<Option<DeviceId>, StoreError>;

    /// Notes when devices were last heard of. Does not raise revisions; never sets an earlier time. A device that is
    /// gone is left out. What was seen of a report's order comes back as [`DeviceState::seen`]. Gives those of them that are marked as silent
    /// ([`Presence::silent`](holdfast_domain::state::Presence)): the caller takes that back with a change.
    async fn touch(&self, seen: &[Seen]) -> Result<Vec<DeviceId>, StoreError>;

    /// Devices by name.
    async fn devices(
        &self,
        filter: &DeviceFilter,
        page: &Page,
    ) -> Result<Listed<DeviceSummary>, StoreError>;

    /// Rows of the read model, of one device or of the fleet, by sensor id.
    async fn sensors(
        &self,
        filter: &SensorFilter,
        page: &Page,
    ) -> Result<Listed<SensorRecord>, StoreError>;

    /// Every version of a device's target, newest first.
    async fn history(
        &self,
        device: DeviceId,
        page: &Page,
    ) -> Result<Listed<HistoryEntry>, StoreError>;

    /// The sensors of one version of a device's target.
    async fn version(
        &self,
        device: DeviceId,
        version: u64,
    ) -> Result<Option<Vec<Item>>, StoreError>;

    /// Keeps the last values of points; a later time wins. Best effort: not part of any revision.
    async fn save_points(&self, device: DeviceId, points: &[PointRecord])
    -> Result<(), StoreError>;

    /// Removes the last values of points that are no more.
    async fn forget_points(&self, device: DeviceId, points: &[PointId]) -> Result<(), StoreError>;

    /// Removes all versions of a device's history but the newest `keep`, and says how many went.
    async fn prune_history(&self, device: DeviceId, keep: u32) -> Result<u64, StoreError>;

    /// Last values of a device's points, by point id.
    async fn points(
        &self,
        device: DeviceId,
        page: &Page,
    ) -> Result<Listed<PointRecord>, StoreError>;
}

/// Why a commit did not happen. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The device has another revision than the change was decided on, or is gone.
    #[error("the device was changed by someone else meanwhile")]
    Conflict,
    /// Another device has that name.
    #[error("another device is named {0}")]
    NameTaken(Name),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a registration commits.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// The provisioning key that allows it.
    pub key: TokenId,
    /// The device.
    pub device: RegisteredDevice,
    /// The agent's token. All other agent tokens of the device are revoked.
    pub token: TokenRecord,
}

/// The device of a registration.
#[derive(Debug, Clone, PartialEq)]
pub enum RegisteredDevice {
    /// A new one, with its first events.
    New(Box<DeviceState>, Vec<Event>),
    /// One that exists: it gets a new incarnation.
    Existing(Box<Change>),
}

/// What tells whether a state is the newest, and what of a state changes without raising its revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// [`DeviceState::revision`].
    pub revision: u64,
    /// [`DeviceState::last_event`]. A store that was restored from a backup comes to the same revision again, hardly to both.
    pub last_event: u64,
    /// When it was last heard of.
    pub last_seen_at: Option<Timestamp>,
    /// [`DeviceState::seen`].
    pub seen: Option<ReportOrder>,
}

impl Glance {
    /// Is `state` the newest, but for when the device was heard of?
    #[must_use]
    pub const fn renews(&self, state: &DeviceState) -> bool {
        self.revision == state.revision && self.last_event == state.last_event
    }

    /// Is `state` the newest in everything?
    #[must_use]
    pub fn is_of(&self, state: &DeviceState) -> bool {
        let heard = (state.presence.last_seen_at, state.seen);
        self.renews(state) && heard == (self.last_seen_at, self.seen)
    }
}

/// When a device was heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The device.
    pub device: DeviceId,
    /// When.
    pub at: Timestamp,
    /// The order of its last report that said nothing new.
    pub order: Option<ReportOrder>,
}

/// Which devices are wanted: all that match everything given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// Labels that it must have.
    pub labels: BTreeMap<String, String>,
    /// In this state.
    pub status: Option<DeviceStatus>,
}

/// How a device is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceStatus {
    /// No report yet.
    New,
    /// Its agent was heard of lately, and all that is wanted runs.
    Reconciled,
    /// Its agent was heard of lately, and something differs.
    Drifting,
    /// Its agent is silent.
    Silent,
}

impl DeviceStatus {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Reconciled => "reconciled",
            Self::Drifting => "drifting",
            Self::Silent => "silent",
        }
    }

    /// All of them.
    pub const ALL: [Self; 4] = [Self::New, Self::Reconciled, Self::Drifting, Self::Silent];
}

/// A device in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceSummary {
    /// The device.
    pub record: DeviceRecord,
    /// Version of its target.
    pub target_version: u64,
    /// Version that its agent has worked through; `None` before the first report.
    pub worked_version: Option<u64>,
    /// When it was last heard of.
    pub last_seen_at: Option<Timestamp>,
    /// How it is doing.
    pub status: DeviceStatus,
    /// Rows by deployment status.
    pub sensors: BTreeMap<DeploymentStatus, u32>,
}

impl DeviceSummary {
    /// How a device with these facts is doing.
    #[must_use]
    pub const fn status_of(has_reported: bool, silent: bool, drifting: bool) -> DeviceStatus {
        match (silent, has_reported, drifting) {
            (true, _, _) => DeviceStatus::Silent,
            (false, false, _) => DeviceStatus::New,
            (false, true, true) => DeviceStatus::Drifting,
            (false, true, false) => DeviceStatus::Reconciled,
        }
    }
}

/// Which rows of the read model are wanted: all that match everything given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SensorFilter {
    /// Of this device.
    pub device: Option<DeviceId>,
    /// Only those of which something runs.
    pub running_only: bool,
    /// Of this protocol.
    pub protocol: Option<Protocol>,
    /// Enabled, or not.
    pub enabled: Option<bool>,
    /// In this status.
    pub status: Option<DeploymentStatus>,
    /// Only those that drift.
    pub drifting_only: bool,
    /// Of this name.
    pub name: Option<String>,
}

/// A row of the read model in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct SensorRecord {
    /// The device.
    pub device: DeviceId,
    /// The row.
    pub row: SensorRow,
    /// Has its agent gone silent? Then the row says what was.
    pub stale: bool,
}

/// One version of a target in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The version.
    pub version: u64,
    /// When it was made.
    pub at: Timestamp,
    /// By whom.
    pub author: Actor,
    /// Why, in their words.
    pub reason: Option<String>,
    /// How many sensors it has.
    pub sensors: u32,
}

/// The last value of a point.
#[derive(Debug, Clone, PartialEq)]
pub struct PointRecord {
    /// The point.
    pub point: PointId,
    /// Its sensor.
    pub sensor: SensorId,
    /// The value; `None`: it could not be read.
    pub value: Option<PointValue>,
    /// How far to trust it.
    pub quality: Quality,
    /// When it was read.
    pub at: Timestamp,
    /// Why it is not good.
    pub reason: Option<String>,
}
