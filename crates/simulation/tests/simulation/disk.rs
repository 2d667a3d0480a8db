//! The disk of an agent: what the ledger's contract says, and how far a write has got when the agent is killed.

use std::collections::BTreeMap;

use holdfast_domain::{
    CommandId, Fingerprint, PointId, SensorId, TargetState,
    document::command::CommandReport,
    hold::{Account, LoopMemory},
};
use holdfast_ports::ledger::{Held, Identity, TurnedAway};

/// What a disk holds.
#[derive(Debug, Clone)]
pub(crate) struct Disk(pub(crate) Held);

impl Disk {
    /// The disk of an agent that has just registered.
    pub(crate) fn of(identity: Identity) -> Self {
        Self(Held {
            identity: Some(identity),
            turned_away: None,
            boot: 0,
            target: None,
            worked_version: 0,
            established: BTreeMap::new(),
            booked: BTreeMap::new(),
            memory: LoopMemory::default(),
            commands: Vec::new(),
        })
    }

    pub(crate) fn begin_boot(&mut self) -> Held {
        self.0.boot += 1;
        self.0.clone()
    }

    /// A new life of the same device's agent: its boots are counted anew.
    pub(crate) fn begin_life(&mut self, incarnation: holdfast_domain::Incarnation) -> u64 {
        if let Some(identity) = &mut self.0.identity {
            identity.incarnation = incarnation;
        }
        self.0.boot = 1;
        self.0.boot
    }

    pub(crate) fn target_version(&self) -> u64 {
        self.0.target.as_ref().map_or(0, |target| target.version)
    }

    pub(crate) fn booked(&self, point: PointId) -> u64 {
        self.0
            .booked
            .get(&point)
            .map_or(0, |account| account.writes)
    }

    /// How often a point's instrument was replaced, as far as it knows.
    pub(crate) fn instrument(&self, point: PointId) -> u64 {
        let account = self.0.booked.get(&point);
        account.map_or(0, |account| account.instrument)
    }

    /// Does it know this command?
    pub(crate) fn knows(&self, command: CommandId) -> bool {
        self.0.commands.iter().any(|(id, _)| *id == command)
    }
}

/// A write to the ledger.
#[derive(Debug, Clone)]
pub(crate) enum DiskWrite {
    Hold(Box<TargetState>),
    Worked(u64),
    Keep(Vec<SensorId>),
    Established(SensorId, Fingerprint),
    TurnedAway(Option<TurnedAway>),
    Book(PointId, Account),
    Remember(Box<LoopMemory>),
    /// A command is begun, and writes of its point may have to be booked before.
    Begin(CommandId, Option<(PointId, Account)>),
    End(Box<CommandReport>),
}

impl DiskWrite {
    /// How far it got when the agent was killed, if it got anywhere: one of two writes, or all.
    pub(crate) fn cut_short(self, first_only: bool) -> Self {
        match self {
            Self::Begin(_, Some((point, booked))) if first_only => Self::Book(point, booked),
            whole => whole,
        }
    }

    pub(crate) fn apply(self, disk: &mut Disk) {
        let held = &mut disk.0;
        match self {
            Self::Hold(target) => held.target = Some(*target),
            Self::Worked(version) => held.worked_version = version,
            Self::Keep(keep) => held.established.retain(|sensor, _| keep.contains(sensor)),
            Self::TurnedAway(how) => held.turned_away = how,
            Self::Established(sensor, fingerprint) => {
                held.established.insert(sensor, fingerprint);
            }
            Self::Remember(memory) => held.memory = *memory,
            Self::Book(point, booked) => {
                let kept = held.booked.entry(point).or_default();
                *kept = std::mem::take(kept).joined(&booked);
            }
            Self::Begin(id, booking) => {
                if let Some((point, booked)) = booking {
                    let kept = held.booked.entry(point).or_default();
                    *kept = std::mem::take(kept).joined(&booked);
                }
                if !held.commands.iter().any(|(known, _)| *known == id) {
                    held.commands.push((id, None));
                }
            }
            Self::End(report) => {
                held.commands.retain(|(known, _)| *known != report.id);
                held.commands.push((report.id, Some(*report)));
            }
        }
    }
}
