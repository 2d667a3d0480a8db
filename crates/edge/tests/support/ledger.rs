//! A ledger in memory, which several lives of an agent share.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use holdfast_domain::{
    CommandId, Fingerprint, PointId, SensorId, TargetState,
    document::command::CommandReport,
    hold::{Account, LoopMemory},
    limits,
};
use holdfast_ports::{
    StoreError,
    ledger::{Held, Identity, Ledger, TurnedAway},
};

/// What a disk holds, with the ledger's rules.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Disk(pub(crate) Held);

impl Default for Disk {
    fn default() -> Self {
        let established = std::collections::BTreeMap::new();
        Self(Held {
            identity: None,
            turned_away: None,
            boot: 0,
            target: None,
            worked_version: 0,
            established,
            booked: std::collections::BTreeMap::new(),
            commands: Vec::new(),
            memory: LoopMemory::default(),
        })
    }
}

impl Disk {
    pub(crate) fn begin_boot(&mut self) -> Held {
        self.0.boot += 1;
        self.0.clone()
    }

    pub(crate) fn set_identity(&mut self, identity: &Identity) {
        let old = self.0.identity.replace(identity.clone());
        if old.as_ref().is_none_or(|old| old.device != identity.device) {
            *self = Self(Held {
                identity: Some(identity.clone()),
                memory: self.0.memory.clone().on_another_device(),
                ..Self::default().0
            });
            return;
        }
        if old
            .as_ref()
            .is_none_or(|old| old.incarnation != identity.incarnation)
        {
            self.0.boot = 0;
        }
        if old.is_none_or(|old| old.token != identity.token) {
            self.0.turned_away = None;
        }
    }

    pub(crate) fn begin_command(&mut self, id: CommandId) {
        self.0.commands.retain(|(other, _)| *other != id);
        self.0.commands.push((id, None));
    }

    pub(crate) fn end_command(&mut self, report: &CommandReport) {
        let commands = &mut self.0.commands;
        commands.retain(|(other, _)| *other != report.id);
        commands.push((report.id, Some(report.clone())));
        let ended = commands.iter().filter(|(_, word)| word.is_some()).count();
        if ended > limits::COMMANDS_REMEMBERED {
            let oldest = commands.iter().position(|(_, word)| word.is_some());
            commands.remove(oldest.expect("there are too many"));
        }
    }

    pub(crate) fn keep_established(&mut self, keep: &[SensorId]) {
        self.0.established.retain(|sensor, _| keep.contains(sensor));
    }
}

/// The port over a [`Disk`].
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryLedger {
    pub(crate) disk: Arc<Mutex<Disk>>,
    /// Fails every write while set.
    pub(crate) broken: Arc<std::sync::atomic::AtomicBool>,
}

impl MemoryLedger {
    /// The ledger of an agent that was registered.
    pub(crate) fn registered() -> Self {
        let ledger = Self::default();
        ledger.disk.lock().unwrap().set_identity(&super::identity());
        ledger
    }

    pub(crate) fn held(&self) -> Held {
        self.disk.lock().unwrap().0.clone()
    }

    fn write<T>(&self, write: impl FnOnce(&mut Disk) -> T) -> Result<T, StoreError> {
        if self.broken.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(StoreError::new("writing", "no space left on device"));
        }
        Ok(write(&mut self.disk.lock().unwrap()))
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn begin_boot(&self) -> Result<Held, StoreError> {
        self.write(Disk::begin_boot)
    }

    async fn set_identity(&self, identity: &Identity) -> Result<(), StoreError> {
        self.write(|disk| disk.set_identity(identity))
    }

    async fn turned_away(&self, how: Option<TurnedAway>) -> Result<(), StoreError> {
        self.write(|disk| disk.0.turned_away = how)
    }

    async fn hold(&self, target: &TargetState) -> Result<(), StoreError> {
        self.write(|disk| disk.0.target = Some(target.clone()))
    }

    async fn worked_through(&self, version: u64) -> Result<(), StoreError> {
        self.write(|disk| disk.0.worked_version = version)
    }

    async fn book_writes(&self, point: PointId, booked: &Account) -> Result<(), StoreError> {
        self.write(|disk| {
            let kept = disk.0.booked.entry(point).or_default();
            *kept = std::mem::take(kept).joined(booked);
        })
    }

    async fn remember(&self, memory: &LoopMemory) -> Result<(), StoreError> {
        self.write(|disk| disk.0.memory = memory.clone())
    }

    async fn begin_command(&self, id: CommandId) -> Result<(), StoreError> {
        self.write(|disk| disk.begin_command(id))
    }

    async fn end_command(&self, report: &CommandReport) -> Result<(), StoreError> {
        self.write(|disk| disk.end_command(report))
    }

    async fn established(
        &self,
        sensor: SensorId,
        fingerprint: Fingerprint,
    ) -> Result<(), StoreError> {
        self.write(|disk| {
            disk.0.established.insert(sensor, fingerprint);
        })
    }

    async fn keep_established(&self, keep: &[SensorId]) -> Result<(), StoreError> {
        self.write(|disk| disk.keep_established(keep))
    }
}
