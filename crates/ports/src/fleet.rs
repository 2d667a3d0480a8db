//! The reconciler's view of the fleet.

use std::collections::BTreeMap;

use async_trait::async_trait;
use holdfast_domain::{DeviceId, drift::DriftKind, row::DeploymentStatus};
use jiff::{SignedDuration, Timestamp};

use crate::StoreError;

/// A hub that did not [beat](FleetStore::beat) for so long was down, and nobody could be heard of. Several times the period
/// of its beats, so that a slow store is no outage; shorter than what an agent may be silent for.
pub const HUB_GAP: SignedDuration = SignedDuration::from_secs(15);

/// A deployment that has not come to an end after so long is overdue, where nothing else is set.
pub const OVERDUE_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// Which devices are due, shared among any number of reconcilers, and the fleet's figures.
///
/// # Contract
/// - A device becomes due at once when a commit changes its rows or its target, and when its time comes.
/// - [`claim`](Self::claim) gives each due device to one caller only; if that caller does not
///   [`schedule`](Self::schedule) it within `lease`, it is due again. So a killed reconciler loses nothing.
/// - A device that becomes due while it is claimed stays due: scheduling it does not lose the change
///   ([`Claimed::revision`] tells).
#[async_trait]
pub trait FleetStore: Send + Sync {
    /// Takes up to `limit` due devices, the longest due first.
    async fn claim(
        &self,
        now: Timestamp,
        lease: SignedDuration,
        limit: u32,
    ) -> Result<Vec<Claimed>, StoreError>;

    /// Says when claimed devices are due next; without effect on one that has become due again meanwhile.
    async fn schedule(&self, next: &[(Claimed, Timestamp)]) -> Result<(), StoreError>;

    /// A process of the hub takes reports now, and what it has seen of agents is written down.
    async fn beat(&self, now: Timestamp) -> Result<(), StoreError>;

    /// Since when some process of the hub has beaten without a gap of [`HUB_GAP`]; `None` if none does now.
    async fn hub_up_since(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// The fleet in figures. Deployments that began before `overdue_before` are overdue.
    async fn figures(&self, overdue_before: Timestamp) -> Result<Figures, StoreError>;
}

/// A claimed device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// The device.
    pub device: DeviceId,
    /// Its revision when it was claimed.
    pub revision: u64,
}

/// The fleet in figures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// How many devices there are.
    pub devices: u64,
    /// How many of them are silent.
    pub silent: u64,
    /// How many have at least one row that drifts in this way.
    pub drifting: BTreeMap<DriftKind, u64>,
    /// Since when the oldest drift lasts.
    pub oldest_drift: Option<Timestamp>,
    /// Rows by status.
    pub sensors: BTreeMap<DeploymentStatus, u64>,
    /// Rows that are failed, by device name; at most 100 devices, those with the most.
    pub failed: BTreeMap<String, u64>,
    /// Rows whose wanted content has been pending or reconciling for too long.
    pub overdue: u64,
    /// How many devices are due now.
    pub due: u64,
}
