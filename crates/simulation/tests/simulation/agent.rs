//! An agent: the real machine, its disk, and what its adapters keep.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use holdfast_domain::{
    CommandId, DeviceId, Fingerprint, PauseId, PointId, PointValue, Sensor, SensorId, TargetState,
    document::setpoint::Setpoint,
    hold::{Interruption, Observed},
};
use holdfast_edge::machine::{Machine, MachineSettings, Now};
use jiff::SignedDuration;

use crate::{disk::Disk, hub::start_of_time, writes::rules_of};

/// One agent and its surroundings.
pub(crate) struct Agent {
    pub(crate) device: DeviceId,
    pub(crate) disk: Disk,
    pub(crate) disk_backup: Disk,
    /// `None` while it is down.
    pub(crate) machine: Option<Machine>,
    /// Which process it is; what is under way for an earlier one is lost.
    pub(crate) life: u64,
    /// When the process began, in ms: its clock starts at 0.
    pub(crate) began: u64,
    /// When it is started again, while it is down.
    pub(crate) restart_at: u64,
    /// How far its wall clock is off, in ms.
    pub(crate) off_ms: i64,
    /// What adapters really keep.
    pub(crate) bus: BTreeMap<SensorId, (u64, Arc<Sensor>)>,
    /// When the line of a sensor is free again, in ms.
    pub(crate) line_free: BTreeMap<SensorId, u64>,
    /// Nothing goes to the hub or comes from it until then, in ms.
    pub(crate) cut_until: u64,
    /// The hub says that its access was revoked until then, in ms.
    pub(crate) revoked_until: u64,
    /// When its machine heard its hub last, in ms, in whichever life.
    pub(crate) heard_at: u64,
    /// What this process was told and has read.
    pub(crate) told: Told,
}

/// What an agent's process was told, kept by the observer's own bookkeeping.
#[derive(Default)]
pub(crate) struct Told {
    /// The target that is durable, and that the machine knows to be.
    pub(crate) held: Option<Arc<TargetState>>,
    /// Did the hub say last that it does not want to hear of this agent?
    pub(crate) is_revoked: bool,
    /// When the target that is being made durable was offered, in ms of the world: from then on what remains runs down.
    pub(crate) offered_at: u64,
    /// When pauses end at the soonest, in ms of the world; the time in which no process runs does not count, so it may be later.
    pub(crate) pauses: BTreeMap<PauseId, u64>,
    /// When wishes end, in ms of the world.
    pub(crate) wishes: BTreeMap<WishKey, u64>,
    /// Points whose writes are being booked: that is waited for before anything else.
    pub(crate) booking: BTreeSet<PointId>,
    /// When changes of what runs of sensors ended, in ms of the agent's clock; `u64::MAX`: one is under way, and nobody knows
    /// which point is read.
    pub(crate) changed: BTreeMap<SensorId, u64>,
    /// When writes ended by which something may have moved, in ms of the agent's clock.
    pub(crate) to_read_back: BTreeMap<PointId, u64>,
    /// When writes ended, in ms of the agent's clock; `u64::MAX`: it is under way.
    pub(crate) written: BTreeMap<PointId, u64>,
    /// What was read last of each point.
    pub(crate) read: BTreeMap<PointId, Observed>,
    /// How often each point was put back.
    pub(crate) restores: BTreeMap<PointId, Restores>,
    /// The stop on site that was ordered last; when it ends, in ms of the world, if it ends.
    pub(crate) site: Option<Option<u64>>,
    /// Outputs that may not be held: why, since when, in ms of the world, and writes on the way to their safe value.
    pub(crate) off: BTreeMap<PointId, Off>,
    /// After how long without the hub outputs go to their safe value, in ms.
    pub(crate) lost_after: BTreeMap<PointId, u64>,
    /// What was read for commands.
    pub(crate) inputs: BTreeMap<CommandId, BTreeMap<PointId, Observed>>,
}

/// A wish, and the write identity of its point: a hub that was restored gives a revision twice.
pub(crate) type WishKey = (PointId, String);

/// The key of a wish for a point of this identity.
pub(crate) fn key_of(wish: &Setpoint, identity: Option<Fingerprint>) -> WishKey {
    let lasting = Setpoint {
        valid_for_ms: wish.valid_for_ms.map(|_| 0),
        ..wish.clone()
    };
    (wish.point_id, format!("{lasting:?} {identity:?}"))
}

/// How often changes by others were put back at a point.
#[derive(Debug)]
pub(crate) struct Restores {
    /// Of which wish the wanted value was seen.
    pub(crate) of: WishKey,
    /// Was it seen since the output was left?
    pub(crate) is_shown: bool,
    /// Was it seen since it was written last?
    pub(crate) is_there: bool,
    /// What it showed before it was written last, and what was written.
    pub(crate) last: Option<(PointValue, PointValue)>,
    /// When changes were put back since, in ms.
    pub(crate) at: Vec<u64>,
}

/// An output that may not be held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Off {
    pub(crate) why: Interruption,
    pub(crate) since: u64,
    /// Was it at its safe value since then?
    pub(crate) is_left: bool,
    pub(crate) writes: u32,
}

impl Agent {
    pub(crate) fn new(disk: Disk) -> Self {
        let identity = disk.0.identity.as_ref().expect("it has registered");
        Self {
            device: identity.device,
            disk_backup: disk.clone(),
            disk,
            machine: None,
            life: 0,
            began: 0,
            restart_at: 0,
            off_ms: 0,
            bus: BTreeMap::new(),
            line_free: BTreeMap::new(),
            cut_until: 0,
            revoked_until: 0,
            heard_at: 0,
            told: Told::default(),
        }
    }

    /// The time as its machine is given it.
    pub(crate) fn now(&self, world_ms: u64) -> Now {
        let wall = i64::try_from(world_ms).expect("less than an age") + self.off_ms;
        Now {
            ms: world_ms - self.began,
            wall: start_of_time() + SignedDuration::from_millis(wall),
        }
    }

    /// Starts the process from what is on the disk.
    pub(crate) fn boot(&mut self, world_ms: u64) {
        self.life += 1;
        self.began = world_ms;
        let held = self.disk.begin_boot();
        self.told = Told {
            is_revoked: held.turned_away.is_some(),
            offered_at: world_ms,
            pauses: std::mem::take(&mut self.told.pauses),
            site: held
                .memory
                .local
                .as_ref()
                .map(|stop| Some(world_ms.saturating_add(stop.remaining_ms?))),
            ..Told::default()
        };
        // Several times within the calm, as it comes to within a day of a plant.
        let settings = MachineSettings {
            full_report_ms: 120_000,
            ..MachineSettings::default()
        };
        let target = held.target.clone();
        let machine = Machine::new(held, settings, self.now(world_ms)).expect("an identity");
        self.machine = Some(machine);
        if let Some(target) = target {
            self.told.holds(Arc::new(target), world_ms);
        }
    }

    /// When its machine wants to be woken, in ms of the world.
    pub(crate) fn next_wake(&self) -> Option<u64> {
        match &self.machine {
            Some(machine) => machine.next_wake().map(|wake| self.began + wake),
            None => Some(self.restart_at),
        }
    }

    /// Writes of a point that wore it out so far, as far as the disk says.
    pub(crate) fn sensor_on_bus(&self, sensor: SensorId, generation: u64) -> Option<&Arc<Sensor>> {
        let (started, content) = self.bus.get(&sensor)?;
        (*started == generation).then_some(content)
    }
}

impl Told {
    /// A target is durable, and the machine is told so.
    pub(crate) fn holds(&mut self, target: Arc<TargetState>, world_ms: u64) {
        let is_boot = self.held.is_none();
        let ends = target.hold.pauses.iter().filter_map(|pause| {
            let end = self.offered_at.saturating_add(pause.remaining_ms?);
            // An agent goes on with its own; where the hub's clock jumped, what the hub says is another. After a restart the
            // lesser counts.
            let end = match self.pauses.get(&pause.id).copied() {
                Some(before) if is_boot => before.min(end),
                Some(before) => before,
                None => end,
            };
            Some((pause.id, end))
        });
        self.pauses = ends.collect();
        let ends = target.setpoints.items.iter().filter_map(|wish| {
            let key = key_of(wish, None);
            let end = world_ms.saturating_add(wish.valid_for_ms?);
            let end = self.wishes.get(&key).copied().unwrap_or(end);
            Some((key, end))
        });
        self.wishes = ends.collect();
        // What is released and set again is another wish, whatever its revision; and so is one of a point that was redefined.
        let wishes = target.setpoints.items.iter();
        let keys: BTreeSet<WishKey> = wishes
            .map(|wish| {
                let identity = rules_of(&target, wish.point_id).map(|rules| rules.identity);
                key_of(wish, identity)
            })
            .collect();
        self.restores
            .retain(|_, restored| keys.contains(&restored.of));
        let rules = target.setpoints.items.iter().filter_map(|wish| {
            let mut sensors = target.items.iter().map(|item| item.sensor.content());
            let rules = sensors.find_map(|content| content.binding.point_rules(wish.point_id))?;
            Some((wish.point_id, rules.on_hub_lost?.0))
        });
        self.lost_after = rules.collect();
        self.held = Some(target);
    }
}
