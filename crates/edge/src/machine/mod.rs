//! Every decision of the agent's configuration loop, without I/O: an event and the time go in, effects come out.
//!
//! The machine owns what is held, what runs, what failed and when it is tried again, how the instruments are, and what
//! the hub has acknowledged. It never waits and never cancels: each sensor has at most one step under way; whatever
//! comes meanwhile only changes what is wanted, and the next look at the sensor goes from what then runs to what is then
//! wanted. So wake-ups merge by themselves and none is lost.
//!
//! - `io.rs`: events, effects, settings;
//! - `slot.rs`: what is known of one sensor;
//! - `sensors.rs`: from wanted and running to steps, and what comes of them;
//! - `target.rs`: which target is taken, when it is worked through;
//! - `reporting.rs`: what the hub is told, and when;
//! - `hub.rs`: whether the hub is there;
//! - `hold/`: the value loop: what outputs hold;
//! - `commands.rs`: what happens once.
//!
//! How many effects can be under way is bounded by the number of sensors
//! ([`limits::SENSORS_PER_DEVICE`](holdfast_domain::limits::SENSORS_PER_DEVICE)) and one each of the others.

mod commands;
mod hold;
mod hub;
mod io;
mod reporting;
mod sensors;
mod slot;
mod target;
mod unkept;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_domain::{Fingerprint, Item, SensorId};
use holdfast_ports::ledger::{Held, Identity};

use crate::status::{AgentStatus, SensorStatus};
use commands::Commands;
pub use commands::{CommandEffect, CommandEvent};
use hold::Holding;
use hub::HubView;
pub use io::{Effect, Established, Event, MachineSettings, Now, PointsRead, UpdateFailure};
use reporting::Reporting;
use slot::Slot;
use target::{Polling, Target};

/// The agent's decisions.
#[derive(Debug)]
pub struct Machine {
    settings: MachineSettings,
    /// What is held, and how far it was worked through.
    target: Target,
    /// The items of the held target.
    wanted: BTreeMap<SensorId, Item>,
    /// What is known of each sensor that is wanted or runs.
    slots: BTreeMap<SensorId, Slot>,
    /// What stands in the ledger as established.
    established: BTreeMap<SensorId, Fingerprint>,
    /// Sensors to look at before this event is done with.
    awake: BTreeSet<SensorId>,
    /// When failed sensors are tried again; an entry counts only if the sensor still says so.
    retries: BTreeSet<(u64, SensorId)>,
    /// Number of the last start.
    generation: u64,
    polling: Polling,
    reporting: Reporting,
    hub: HubView,
    holding: Holding,
    commands: Commands,
    /// Nothing is begun any more: the agent is about to end.
    is_ending: bool,
}

/// The agent has no identity: it must be registered first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ledger holds no identity: register the agent at its hub first")]
pub struct NotRegistered;

impl Machine {
    /// An agent that starts from its ledger at `now`. Its first effects come with the first [`Event::Tick`].
    ///
    /// # Errors
    /// The ledger holds no identity.
    pub fn new(held: Held, settings: MachineSettings, now: Now) -> Result<Self, NotRegistered> {
        let Held {
            identity,
            turned_away,
            boot,
            target,
            worked_version,
            established,
            booked,
            commands,
            memory,
        } = held;
        let Identity {
            device,
            incarnation,
            token: _,
            key: _,
        } = identity.ok_or(NotRegistered)?;
        let commands = Commands::from_ledger(&commands, target.is_some());
        let mut machine = Self {
            target: Target::from_ledger(target, worked_version),
            wanted: BTreeMap::new(),
            slots: BTreeMap::new(),
            established,
            awake: BTreeSet::new(),
            retries: BTreeSet::new(),
            generation: 0,
            polling: Polling::default(),
            reporting: Reporting::at_boot(incarnation, boot, now.ms),
            hub: HubView::of(device, turned_away, memory.hub_silent_ms, now.ms),
            holding: Holding::from_ledger(booked, memory, now.ms),
            commands,
            is_ending: false,
            settings,
        };
        machine.retarget();
        machine.take_wishes(now, true);
        machine.recall_commands(now);
        Ok(machine)
    }

    /// Takes an event and says what is to be done. `random` is uniform and fresh for each call; it is for jitter.
    pub fn handle(&mut self, event: Event, now: Now, random: u32) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Tick => {}
            // What comes now is for the agent's next life.
            Event::Polled(_) if self.is_ending => {}
            Event::Polled(result) => self.on_polled(result, now, random, &mut effects),
            Event::Held(result) => self.on_held(&result, now, random, &mut effects),
            Event::Started {
                sensor,
                generation,
                result,
            } => self.on_started(sensor, generation, result, now, random),
            Event::Updated {
                sensor,
                generation,
                result,
            } => self.on_updated(sensor, generation, result, now, random),
            Event::Stopped { sensor, generation } => self.on_stopped(sensor, generation),
            Event::BrokenOff { sensor, generation } => self.on_broken_off(sensor, generation, now),
            Event::Health {
                sensor,
                generation,
                status,
                reason,
            } => {
                self.on_health(sensor, generation, status, reason, now);
            }
            Event::Verified(alive) => self.on_verified(&alive, now),
            Event::WorkNoted { version, result } => {
                self.on_work_noted(version, &result, now, random);
            }
            Event::Reported(result) => self.on_reported(result, now, random),
            Event::Reincarnated(result) => self.on_reincarnated(result, now, random),
            Event::TurnedAwayNoted(result) => self.on_turned_away_noted(&result, now, random),
            Event::Read(read) => self.on_read(read, now, random, &mut effects),
            Event::Wrote { point, outcome } => {
                self.on_wrote(point, outcome, now, random, &mut effects);
            }
            Event::Booked {
                point,
                booked,
                result,
            } => self.on_booked(point, &booked, &result, now, random, &mut effects),
            Event::Command(event) => self.on_command(event, now, &mut effects),
            Event::Ordered { number, order } => {
                self.on_ordered(number, order, now, &mut effects);
            }
            Event::Pressure(pressure) => self.on_pressure(pressure),
            Event::Remembered(result) => self.on_remembered(&result, now, random, &mut effects),
        }
        self.drive(now, random, &mut effects);
        effects
    }

    /// Does whatever is due.
    fn drive(&mut self, now: Now, random: u32, effects: &mut Vec<Effect>) {
        if self.is_ending {
            self.command(now, effects);
            return self.report(now, effects);
        }
        while let Some(&(at, sensor)) = self.retries.first()
            && at <= now.ms
        {
            self.retries.pop_first();
            self.awake.insert(sensor);
        }
        self.look_at_sensors(now, effects);
        self.note_worked(now, effects);
        self.note_access(now, effects);
        self.poll(now, effects);
        self.hold(now, random, effects);
        self.command(now, effects);
        self.report(now, effects);
    }

    /// When the next [`Event::Tick`] is due, in ms; `None`: only another event can bring something to do. Always later
    /// than the event handled last.
    #[must_use]
    pub fn next_wake(&self) -> Option<u64> {
        if self.is_ending {
            let wakes = [self.next_report_at(), self.commands.next_at()];
            return wakes.into_iter().flatten().min();
        }
        let retry = self.retries.first().map(|(at, _)| *at);
        let wakes = [
            retry,
            self.target.next_note_at(),
            self.hub.next_note_at(),
            self.next_poll_at(),
            self.next_report_at(),
            self.incarnation_at(),
            self.holding.next_at(),
            self.commands.next_at(),
            self.next_hub_lost_at(),
        ];
        wakes.into_iter().flatten().min()
    }

    /// The agent is about to end: from now on nothing is begun. Commands that were begun are carried through; what only
    /// waited is left to the next life, in which it has expired.
    pub fn wind_down(&mut self) {
        self.is_ending = true;
    }

    /// Can the agent end, so that of no command it is unknown what became of it? Not while one that was begun is under way
    /// or its word is not durable; nor, as long as the hub can be reached, while it was not told.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        !self.commands.are_under_way() && !self.reporting.owes_a_word()
    }

    /// What the agent knows of itself.
    #[must_use]
    pub fn status(&self) -> AgentStatus {
        let order = self.reporting.order();
        AgentStatus {
            incarnation: order.incarnation,
            boot: order.boot,
            hub: self.hub.status(),
            held_version: self.target.held_version(),
            worked_version: self.target.worked_version(),
            looked_revision: self.target.looked_revision(),
            refused_version: self.target.refused_version(),
            sensors: self
                .slots
                .iter()
                .map(|(id, slot)| self.sensor_status(*id, slot))
                .collect(),
        }
    }

    /// Is this [`Machine::status`]? Asked after every event, so nothing is made for it.
    pub(crate) fn is_as(&self, status: &AgentStatus) -> bool {
        let AgentStatus {
            incarnation,
            boot,
            hub,
            held_version,
            worked_version,
            looked_revision,
            refused_version,
            sensors,
        } = status;
        let order = self.reporting.order();
        let is_sensor = |((id, slot), sensor): ((&SensorId, &Slot), &SensorStatus)| {
            self.is_sensor_as(*id, slot, sensor)
        };
        (*incarnation, *boot) == (order.incarnation, order.boot)
            && *held_version == self.target.held_version()
            && *worked_version == self.target.worked_version()
            && *looked_revision == self.target.looked_revision()
            && *refused_version == self.target.refused_version()
            && *hub == self.hub.status()
            && sensors.len() == self.slots.len()
            && self.slots.iter().zip(sensors).all(is_sensor)
    }

    fn is_sensor_as(&self, of: SensorId, slot: &Slot, status: &SensorStatus) -> bool {
        let SensorStatus {
            id,
            name,
            wanted: wants,
            running,
            in_progress,
            failure,
            health,
        } = status;
        let wanted = self.wanted.get(&of);
        let named = wanted.or(slot.running()).map(|item| item.sensor.name());
        *id == of
            && name.as_ref() == named
            && wants.as_ref() == wanted
            && running.as_ref() == slot.running()
            && *in_progress == slot.is_busy()
            && health.as_ref() == slot.health()
            && *failure == slot.failure_report(of)
    }

    fn sensor_status(&self, id: SensorId, slot: &Slot) -> SensorStatus {
        let wanted = self.wanted.get(&id);
        SensorStatus {
            id,
            name: wanted
                .or(slot.running())
                .map(|item| item.sensor.name().clone()),
            wanted: wanted.cloned(),
            running: slot.running().cloned(),
            in_progress: slot.is_busy(),
            failure: slot.failure_report(id),
            health: slot.health().cloned(),
        }
    }
}
