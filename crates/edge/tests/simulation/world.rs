//! The world around the machine: what is true, what goes wrong, and the checks on every report.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use holdfast_domain::{
    HealthStatus, ReportOrder, Sensor, SensorId, document::report::running_fingerprint, edit::Edit,
};
use holdfast_edge::{
    AgentStatus,
    machine::{Effect, Event, Machine, MachineSettings, Now},
};
use holdfast_ports::clock::Entropy;
use serde_json::{Value, json};

use crate::{
    delivery::Delivery,
    reached::Reached,
    support::{Random, at, document, hub::HubModel, identity, ledger::Disk},
};

/// Everything there is.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) now: u64,
    pub(crate) hub: HubModel,
    hub_backup: HubModel,
    pub(crate) disk: Disk,
    disk_backup: Disk,
    machine: Machine,
    /// Which process of the agent this is; what is under way for an earlier one is lost.
    pub(crate) life: u64,
    /// When the process began: its clock starts at 0.
    began: u64,
    queue: BTreeMap<(u64, u64), Delivery>,
    queued: u64,
    /// What adapters really keep.
    pub(crate) bus: BTreeMap<SensorId, (u64, Arc<Sensor>)>,
    pub(crate) asleep: BTreeSet<SensorId>,
    /// Do things go wrong?
    pub(crate) storm: bool,
    /// Until when the hub does not want to hear of this device: it was restored without it, say, and then with it.
    refuses_until: u64,
    pub(crate) bus_calls: u64,
    pub(crate) disk_writes: u64,
    orders: BTreeSet<(u128, u64, u64)>,
    disk_was_restored: bool,
    pub(crate) reached: Reached,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut disk = Disk::default();
        disk.set_identity(&identity());
        let hub = HubModel::new();
        let machine = boot(&mut disk, 0);
        let mut world = Self {
            random: Random::new(seed),
            now: 0,
            hub_backup: hub.clone(),
            hub,
            disk_backup: disk.clone(),
            disk,
            machine,
            life: 0,
            began: 0,
            queue: BTreeMap::new(),
            queued: 0,
            bus: BTreeMap::new(),
            asleep: BTreeSet::new(),
            storm: true,
            refuses_until: 0,
            bus_calls: 0,
            disk_writes: 0,
            orders: BTreeSet::new(),
            disk_was_restored: false,
            reached: Reached::default(),
        };
        world.tell(Event::Tick);
        world
    }

    pub(crate) fn status(&self) -> AgentStatus {
        self.machine.status()
    }

    /// Time passes.
    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            let wake = self.machine.next_wake().map(|wake| self.began + wake);
            let delivery = self.queue.first_key_value().map(|((at, _), _)| *at);
            let mischief = self.storm.then(|| self.now + 1 + self.random.below(3_000));
            let Some(next) = [wake, delivery, mischief]
                .into_iter()
                .flatten()
                .min()
                .filter(|next| *next <= end)
            else {
                break;
            };
            self.now = next;
            if delivery == Some(next) {
                let (_, delivery) = self.queue.pop_first().expect("it is there");
                delivery.arrive(self);
            } else if wake == Some(next) {
                self.tell(Event::Tick);
            } else {
                self.mischief();
            }
        }
        self.now = end;
    }

    /// From now on nothing goes wrong, and all instruments are awake.
    pub(crate) fn calm_down(&mut self) {
        self.storm = false;
        for id in std::mem::take(&mut self.asleep) {
            self.say_health(id);
        }
    }

    /// Does the hub say that this device's access was revoked?
    pub(crate) fn refuses(&self) -> bool {
        self.now < self.refuses_until
    }

    /// True in `percent` of cases while things go wrong.
    pub(crate) fn goes_wrong(&self, percent: u64) -> bool {
        self.storm && self.random.chance(percent)
    }

    pub(crate) fn deliver_in(&mut self, ms: u64, delivery: Delivery) {
        self.queued += 1;
        self.queue.insert((self.now + ms, self.queued), delivery);
    }

    pub(crate) fn wall(&self) -> Now {
        at(self.now)
    }

    /// Gives an event to the machine and sends its effects on their way.
    pub(crate) fn tell(&mut self, event: Event) {
        let now = Now {
            ms: self.now - self.began,
            wall: self.wall().wall,
        };
        let effects = self.machine.handle(event, now, self.random.jitter());
        for effect in effects {
            if let Effect::Report(report) = &effect {
                self.reached.reports += 1;
                self.check_truth();
                self.check_order(report.order);
                let status = self.status();
                let running = status
                    .sensors
                    .iter()
                    .filter_map(|sensor| sensor.running.as_ref());
                assert_eq!(report.running_fingerprint, running_fingerprint(running));
                assert_eq!(
                    report.held_version,
                    self.disk_version(),
                    "what is said to be held is durable"
                );
                assert!(
                    status.worked_version == self.disk.0.worked_version,
                    "what was worked through is noted"
                );
            }
            crate::delivery::send(self, effect);
        }
        assert!(
            self.machine.next_wake().is_none_or(|wake| wake > now.ms),
            "a wake-up was not handled"
        );
    }

    fn disk_version(&self) -> u64 {
        self.disk
            .0
            .target
            .as_ref()
            .map_or(0, |target| target.version)
    }

    /// What the machine believes to run is what adapters keep, except where a step is under way.
    pub(crate) fn check_truth(&self) {
        let status = self.status();
        for sensor in status.sensors.iter().filter(|sensor| !sensor.in_progress) {
            let believed = sensor
                .running
                .as_ref()
                .filter(|item| item.sensor.enabled())
                .map(|item| item.sensor.clone());
            let kept = self.bus.get(&sensor.id).map(|(_, sensor)| sensor.clone());
            assert_eq!(believed, kept, "{}", sensor.id);
        }
        let known: BTreeSet<SensorId> = status.sensors.iter().map(|sensor| sensor.id).collect();
        assert!(
            self.bus.keys().all(|id| known.contains(id)),
            "an adapter keeps what the machine has forgotten"
        );
    }

    fn check_order(&mut self, order: ReportOrder) {
        let new = self.orders.insert((
            order.incarnation.uuid().as_u128(),
            order.boot,
            order.sequence,
        ));
        // A disk from the past repeats what it said then; that is what incarnations are for.
        assert!(new || self.disk_was_restored, "{order:?} was used before");
    }

    fn mischief(&mut self) {
        match self.random.below(100) {
            0..54 => self.edit(),
            54 => self.refuses_until = self.now + self.random.below(20_000),
            55..80 => self.turn_over(),
            80..88 => {
                self.kill();
                self.restart();
            }
            88..92 => self.hub.look_again(self.wall().wall),
            92..94 => self.hub_backup = self.hub.clone(),
            94..96 => self.disk_backup = self.disk.clone(),
            96..98 => {
                self.reached.hub_restores += 1;
                self.hub.restore(&self.hub_backup);
            }
            _ => {
                self.reached.disk_restores += 1;
                self.disk_was_restored = true;
                self.kill();
                self.disk = self.disk_backup.clone();
                self.restart();
            }
        }
    }

    /// An operator changes something.
    fn edit(&mut self) {
        self.reached.edits += 1;
        let wanted: Vec<Arc<Sensor>> = self
            .hub
            .state
            .target
            .items
            .iter()
            .map(|item| item.sensor.clone())
            .collect();
        let number = u128::from(self.random.below(1_000_000));
        let one = (!wanted.is_empty())
            .then(|| wanted[self.random.below(wanted.len() as u64) as usize].id());
        let edit = match (self.random.below(10), one) {
            (_, None) | (0..3, _) if wanted.len() < 8 => Edit::Add(new_sensor(number)),
            (0..5, Some(id)) => Edit::Remove(id),
            (5, Some(id)) => Edit::Patch(id, json!({ "enabled": self.random.chance(60) })),
            (6, Some(id)) => Edit::Patch(id, json!({ "connection": { "unitId": number % 200 } })),
            (7, Some(id)) => Edit::Patch(id, json!({ "name": format!("renamed-{number}") })),
            (_, Some(id)) => Edit::Patch(id, json!({ "pollInterval": 100 + number % 5 })),
            (_, None) => return,
        };
        self.hub.edit(edit, self.wall().wall);
    }

    /// An instrument falls asleep or wakes.
    fn turn_over(&mut self) {
        let known: Vec<SensorId> = self
            .hub
            .state
            .target
            .items
            .iter()
            .map(|item| item.sensor.id())
            .collect();
        if known.is_empty() {
            return;
        }
        let id = known[self.random.below(known.len() as u64) as usize];
        if !self.asleep.remove(&id) {
            self.asleep.insert(id);
        }
        self.say_health(id);
    }

    /// The adapter of a sensor says how the instrument is.
    pub(crate) fn say_health(&mut self, sensor: SensorId) {
        let Some((generation, _)) = self.bus.get(&sensor) else {
            return;
        };
        let generation = *generation;
        let event = match self.asleep.contains(&sensor) {
            true => {
                let reason = Some("no answer".to_string());
                Event::Health {
                    sensor,
                    generation,
                    status: HealthStatus::Offline,
                    reason,
                }
            }
            false => Event::Health {
                sensor,
                generation,
                status: HealthStatus::Online,
                reason: None,
            },
        };
        self.deliver_in(
            0,
            Delivery::ToAgent {
                life: self.life,
                event,
            },
        );
    }

    /// `kill -9`: what was being written is written or not, what was on the network stays there.
    fn kill(&mut self) {
        self.reached.crashes += 1;
        let life = self.life;
        for delivery in std::mem::take(&mut self.queue).into_iter() {
            match delivery {
                (
                    _,
                    Delivery::Disk {
                        life: of, write, ..
                    },
                ) if of == life => {
                    // Written in the last instant, or not.
                    let written = self.random.chance(50).then_some(write);
                    written
                        .into_iter()
                        .for_each(|write| write.apply(&mut self.disk));
                }
                (key, delivery) if delivery.outlives_agent() => {
                    self.queue.insert(key, delivery);
                }
                _ => {}
            }
        }
    }

    fn restart(&mut self) {
        self.life += 1;
        self.bus.clear();
        self.began = self.now;
        self.machine = boot(&mut self.disk, self.now);
        self.tell(Event::Tick);
    }
}

fn boot(disk: &mut Disk, now: u64) -> Machine {
    let held = disk.begin_boot();
    // Several times within the calm, as it comes to within a day of a plant.
    let settings = MachineSettings {
        full_report_ms: 120_000,
        ..MachineSettings::default()
    };
    Machine::new(held, settings, Now { ms: 0, ..at(now) }).expect("an identity")
}

/// A sensor as an operator adds it.
fn new_sensor(number: u128) -> Value {
    let mut sensor = document(number);
    sensor["name"] = json!(format!("sensor-{number}"));
    let fields = sensor.as_object_mut().expect("an object");
    fields.remove("id");
    fields["dataPoints"][0]
        .as_object_mut()
        .expect("a point")
        .remove("id");
    sensor
}
