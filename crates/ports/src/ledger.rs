//! The agent's disk: what it must know after any restart, with no hub in reach.

use std::collections::BTreeMap;

use async_trait::async_trait;
use holdfast_domain::{
    CommandId, DeviceId, Fingerprint, Incarnation, PointId, SensorId, TargetState,
    document::command::CommandReport,
    hold::{Account, LoopMemory},
};

use crate::{StoreError, tokens::SecretHash};

/// The agent's ledger.
///
/// # Contract
/// - Everything is durable before a call returns, and survives `kill -9` and a power cut at any instant: after it, the
///   ledger holds either what was before a call or what is after it.
/// - One process at a time: opening a ledger that another process holds is an error that names the file.
/// - [`begin_boot`](Self::begin_boot) counts up before it returns: no two boots share a number.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Counts up the boot, durably, and gives all that is held.
    async fn begin_boot(&self) -> Result<Held, StoreError>;

    /// Keeps who this agent is. A new identity (another device or incarnation) starts its boots anew and keeps nothing else
    /// of the old one if the device is another, but for what was done on site ([`LoopMemory::on_another_device`]). With another token, nobody was turned away.
    async fn set_identity(&self, identity: &Identity) -> Result<(), StoreError>;

    /// Notes that the hub turned this agent away, or (`None`) that it knows it again.
    async fn turned_away(&self, how: Option<TurnedAway>) -> Result<(), StoreError>;

    /// Keeps a target. From now on this is the one held.
    async fn hold(&self, target: &TargetState) -> Result<(), StoreError>;

    /// Notes that a version was worked through.
    async fn worked_through(&self, version: u64) -> Result<(), StoreError>;

    /// Notes which content of each sensor was ever established; replaces what was noted of that sensor.
    async fn established(
        &self,
        sensor: SensorId,
        fingerprint: Fingerprint,
    ) -> Result<(), StoreError>;

    /// Books writes of a point before they are made: so many count as made, whatever happens. What stands there and this are
    /// [joined](Account::joined), so that bookings may overtake one another.
    async fn book_writes(&self, point: PointId, booked: &Account) -> Result<(), StoreError>;

    /// Keeps what the value loop must know after a restart; replaces what was kept.
    async fn remember(&self, memory: &LoopMemory) -> Result<(), StoreError>;

    /// Notes that a command is begun, before anything of it is done: it is never begun again, whatever happens.
    async fn begin_command(&self, id: CommandId) -> Result<(), StoreError>;

    /// Notes what became of a command, begun or not; replaces what was noted of it. Of those that have ended the last
    /// [`COMMANDS_REMEMBERED`](holdfast_domain::limits::COMMANDS_REMEMBERED) are kept.
    async fn end_command(&self, report: &CommandReport) -> Result<(), StoreError>;

    /// Forgets what was established of sensors that are not in `keep`.
    async fn keep_established(&self, keep: &[SensorId]) -> Result<(), StoreError>;
}

/// Who an agent is to its hub.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The device.
    pub device: DeviceId,
    /// The current life of this disk.
    pub incarnation: Incarnation,
    /// The agent's secret token.
    pub token: String,
    /// The provisioning key that it was registered with; `None`: not known.
    pub key: Option<SecretHash>,
}

/// The hub's word that it does not want to hear of this agent. Only its own word counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// The device was deleted.
    Deleted,
    /// The agent's access was revoked, or another agent took over the device.
    Revoked,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            device,
            incarnation,
            token: _,
            key: _,
        } = self;
        f.debug_struct("Identity")
            .field("device", device)
            .field("incarnation", incarnation)
            .finish_non_exhaustive()
    }
}

/// All that a ledger holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Who the agent is; `None`: it has not registered.
    pub identity: Option<Identity>,
    /// How the hub turned it away, if it did.
    pub turned_away: Option<TurnedAway>,
    /// The number of this boot, from 1.
    pub boot: u64,
    /// The target held.
    pub target: Option<TargetState>,
    /// The version worked through; 0 if none.
    pub worked_version: u64,
    /// What was ever established.
    pub established: BTreeMap<SensorId, Fingerprint>,
    /// Writes booked of each point.
    pub booked: BTreeMap<PointId, Account>,
    /// Commands that were begun or have ended, with what became of them where that is known; the oldest first.
    pub commands: Vec<(CommandId, Option<CommandReport>)>,
    /// What the value loop was told to remember.
    pub memory: LoopMemory,
}
