//! What the agent knows of itself, for those who look at it: the local API, the log, tests.

use holdfast_domain::{Failure, Health, Incarnation, Item, Name, SensorId};
use holdfast_ports::ledger::TurnedAway;
use jiff::Timestamp;

/// A picture of the agent.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentStatus {
    /// The current life of its disk.
    pub incarnation: Incarnation,
    /// The number of this boot.
    pub boot: u64,
    /// Its hub.
    pub hub: HubStatus,
    /// The target version held durably; 0 if none.
    pub held_version: u64,
    /// The target version worked through; 0 if none.
    pub worked_version: u64,
    /// The last request to look again that was carried out.
    pub looked_revision: u64,
    /// A version that the hub offered and that was not taken: it is older than the one held, or has other content.
    pub refused_version: Option<u64>,
    /// Its sensors, wanted or running, by id.
    pub sensors: Vec<SensorStatus>,
}

/// Is the hub there?
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HubStatus {
    /// Since when it answers; `None`: it does not, or was not asked yet.
    pub reachable_since: Option<Timestamp>,
    /// Why it does not.
    pub trouble: Option<String>,
    /// Does it answer, but not know this agent's token? It was restored from a backup that is older than the agent's
    /// registration, perhaps. Nothing follows of that for instruments: it counts as out of reach.
    pub knows_not: bool,
    /// What it says of this device.
    pub access: HubAccess,
}

/// What the hub says of this device. Only its own word counts: any other refusal is a hub out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HubAccess {
    /// Nothing to the contrary.
    #[default]
    Granted,
    /// The device was deleted. The agent keeps reading, asks now and then, and must not write to instruments.
    Deleted,
    /// The agent's access was revoked. As above.
    Revoked,
}

impl HubAccess {
    /// What follows from what stands in the ledger.
    #[must_use]
    pub const fn after(turned_away: Option<TurnedAway>) -> Self {
        match turned_away {
            None => Self::Granted,
            Some(TurnedAway::Deleted) => Self::Deleted,
            Some(TurnedAway::Revoked) => Self::Revoked,
        }
    }

    /// The same as the ledger keeps it.
    #[must_use]
    pub const fn turned_away(self) -> Option<TurnedAway> {
        match self {
            Self::Granted => None,
            Self::Deleted => Some(TurnedAway::Deleted),
            Self::Revoked => Some(TurnedAway::Revoked),
        }
    }
}

/// One sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct SensorStatus {
    /// The sensor.
    pub id: SensorId,
    /// Its name, as wanted or else as it runs.
    pub name: Option<Name>,
    /// What is wanted; `None`: that it goes.
    pub wanted: Option<Item>,
    /// What runs; `None`: nothing.
    pub running: Option<Item>,
    /// Is a step under way?
    pub in_progress: bool,
    /// Why the wanted content does not run, where it was tried.
    pub failure: Option<Failure>,
    /// How the instrument is, where something runs.
    pub health: Option<Health>,
}
