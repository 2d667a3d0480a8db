//! The hub's store in memory: a fake of every port of the hub that passes the same contract suite as the real stores,
//! and the model that they are compared with.
//!
//! A clone is another handle to the same data. Here are the data and what a change does to them; `devices.rs` has the
//! port of devices, `rest.rs` the others.

mod devices;
mod notices;
mod rest;

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use holdfast_domain::{
    DeviceId, Item, PointId, TokenId,
    event::Event,
    state::{Change, DeviceState, TargetChangeKind},
};
use holdfast_ports::{
    StoreError,
    clock::Clock,
    store::{CommitError, HistoryEntry, PointRecord},
    tokens::{ProvisioningKey, Revocation, RevocationKind, TokenRecord},
    wakeups::Wake,
};
use jiff::Timestamp;
use tokio::sync::broadcast;

/// Wake-ups that a subscriber may be behind before it is told that it lags.
const WAKES: usize = 1_024;

/// The hub's store, in memory.
#[derive(Clone)]
pub struct MemoryStore {
    data: Arc<Mutex<Data>>,
    wakes: broadcast::Sender<Wake>,
    clock: Option<Arc<dyn Clock>>,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store on the system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self {
            data: Arc::default(),
            wakes: broadcast::Sender::new(WAKES),
            clock: None,
        }
    }

    /// An empty store on another clock; it matters for [`Figures::due`](holdfast_ports::fleet::Figures) alone.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock: Some(clock),
            ..Self::new()
        }
    }

    /// A backup of all that is in it.
    #[must_use]
    pub fn backup(&self) -> Backup {
        Backup(self.data().clone())
    }

    /// Goes back to a backup. Nobody is woken: the processes over a store end when it is restored.
    pub fn restore(&self, backup: &Backup) {
        *self.data() = backup.0.clone();
    }

    fn now(&self) -> Timestamp {
        self.clock
            .as_ref()
            .map_or_else(Timestamp::now, |clock| clock.now())
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        self.data
            .lock()
            .expect("nobody panics while holding the data")
    }

    /// Runs `work` on a copy and keeps it only if that succeeds: all or nothing.
    fn transact<T, E>(&self, work: impl FnOnce(&mut Data) -> Result<T, E>) -> Result<T, E> {
        let mut data = self.data();
        let mut copy = data.clone();
        let result = work(&mut copy)?;
        *data = copy;
        Ok(result)
    }

    fn wake(&self, wake: Wake) {
        // Nobody may be listening.
        let _ = self.wakes.send(wake);
    }
}

/// What a store held once.
#[derive(Clone)]
pub struct Backup(Data);

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backup").finish_non_exhaustive()
    }
}

#[derive(Clone, Default)]
struct Data {
    devices: BTreeMap<DeviceId, Device>,
    /// By position.
    events: BTreeMap<u64, Arc<Event>>,
    last_position: u64,
    /// The last sequence of each device, gone ones too.
    sequences: BTreeMap<DeviceId, u64>,
    tokens: BTreeMap<TokenId, TokenRecord>,
    keys: BTreeMap<TokenId, ProvisioningKey>,
    /// Since when the hub is up, and its last beat.
    hub: Option<(Timestamp, Timestamp)>,
    /// Ways of telling somebody outside.
    notices: BTreeMap<String, notices::Way>,
}

#[derive(Clone)]
struct Device {
    /// Shared, so that the copy that a transaction works on is cheap.
    state: Arc<DeviceState>,
    history: Arc<BTreeMap<u64, (HistoryEntry, Vec<Item>)>>,
    points: BTreeMap<PointId, PointRecord>,
    due_at: Timestamp,
    claimed_until: Option<Timestamp>,
}

impl Data {
    fn create(&mut self, state: &DeviceState, events: &[Event]) -> Result<(), CommitError> {
        let id = state.record.id;
        if self.devices.contains_key(&id) {
            return Err(CommitError::Conflict);
        }
        let mut first = Change::of(state);
        first.events = events.to_vec();
        let due_at = due_time(&first).unwrap_or(state.record.audit.created_at);
        self.refuse_taken_name(state)?;
        self.append(events)?;
        let device = Device {
            state: Arc::new(state.after(first)),
            history: Arc::default(),
            points: BTreeMap::new(),
            due_at,
            claimed_until: None,
        };
        self.devices.insert(id, device);
        Ok(())
    }

    fn commit(&mut self, change: &Change) -> Result<(), CommitError> {
        let device = self
            .devices
            .get(&change.device)
            .filter(|device| device.state.revision == change.base_revision);
        let mut device = device.ok_or(CommitError::Conflict)?.clone();
        if let (Some(reported), Some(seen)) = (&change.reported, device.state.seen)
            && matches!(
                reported.order.compare(&seen),
                Some(Ordering::Less | Ordering::Equal)
            )
        {
            return Err(CommitError::Conflict);
        }
        let seen = device.state.presence.last_seen_at;
        let mut state = device.state.after(change.clone());
        if change
            .presence
            .as_ref()
            .is_some_and(|presence| presence.last_seen_at.is_some())
        {
            state.presence.last_seen_at = state.presence.last_seen_at.max(seen);
        }
        self.refuse_taken_name(&state)?;
        if let Some(new) = change
            .target
            .as_ref()
            .filter(|new| new.kind == TargetChangeKind::NewVersion)
        {
            let entry = HistoryEntry {
                version: new.target.version,
                at: new.target.audit.updated_at,
                author: new.target.audit.updated_by.clone(),
                reason: new.reason.clone(),
                sensors: u32::try_from(new.target.items.len())
                    .expect("sensors of a device are bounded"),
            };
            let history = Arc::make_mut(&mut device.history);
            if history
                .insert(entry.version, (entry.clone(), new.target.items.clone()))
                .is_some()
            {
                return Err(broken(
                    "writing the history",
                    format!("version {} exists", entry.version),
                )
                .into());
            }
        }
        self.append(&change.events)?;
        if change.makes_due() {
            device.due_at = due_time(change).map_or(device.due_at, |at| at.min(device.due_at));
        }
        device.state = Arc::new(state);
        self.devices.insert(change.device, device);
        Ok(())
    }

    fn refuse_taken_name(&self, state: &DeviceState) -> Result<(), CommitError> {
        let taken = |device: &&Device| {
            device.state.record.name == state.record.name
                && device.state.record.id != state.record.id
        };
        match self.devices.values().find(taken) {
            Some(_) => Err(CommitError::NameTaken(state.record.name.clone())),
            None => Ok(()),
        }
    }

    fn append(&mut self, events: &[Event]) -> Result<(), StoreError> {
        for event in events {
            let last = self.sequences.entry(event.device).or_default();
            if event.sequence <= *last {
                let what = format!("event {} of device {} exists", event.sequence, event.device);
                return Err(broken("appending events", what));
            }
            *last = event.sequence;
            self.last_position += 1;
            self.events
                .insert(self.last_position, Arc::new(event.clone()));
        }
        Ok(())
    }

    /// Ends the tokens of a device's agents; says whether there were any.
    fn end_agent_tokens(&mut self, device: DeviceId, at: Timestamp, kind: RevocationKind) -> bool {
        let mut any = false;
        for token in self.tokens.values_mut() {
            if token.grant == holdfast_ports::tokens::Grant::Agent(device)
                && token.revoked.is_none()
            {
                token.revoked = Some(Revocation { at, kind });
                any = true;
            }
        }
        any
    }

    fn add_token(&mut self, token: &TokenRecord) -> Result<(), StoreError> {
        if self
            .tokens
            .values()
            .any(|other| other.id == token.id || other.hash == token.hash)
        {
            return Err(broken("adding a token", "its id or hash exists".to_owned()));
        }
        self.tokens.insert(token.id, token.clone());
        Ok(())
    }
}

/// When the device becomes due through `change`, by the times that are in it.
fn due_time(change: &Change) -> Option<Timestamp> {
    let events = change.events.iter().map(|event| event.at);
    let rows = change.upserts.iter().map(|row| row.audit.updated_at);
    events.chain(rows).max()
}

fn broken(doing: &str, what: String) -> StoreError {
    StoreError::new(doing, what)
}
