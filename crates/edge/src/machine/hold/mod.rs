//! The value loop: which outputs are looked at when, and what their looks come to. What is to be done about one output
//! is decided by the domain alone ([`holdfast_domain::hold::decide`]); here is decided when it is asked, and what its
//! answers mean for the others.
//!
//! A pass is made sensor by sensor: each has its own reading under way and its own next time, so that a dead one delays
//! no other. What comes meanwhile only changes what is wanted: nothing is cancelled, nothing is lost.
//!
//! - `outputs.rs`: which there are; `point.rs`: one output; `leaving.rs`: leaving it, when the loop is stopped or the hub is lost;
//! - `local.rs`: stops on site; `notes.rs`: what is written down of the loop; `view.rs`: what is shown of it on site;
//! - `accounts.rs`: how often each point was written to;
//! - `pass.rs`: when the outputs of a sensor are read; `look.rs`: what they showed, and what is done about it;
//! - `written.rs`: what came of writes;
//! - `absent.rs`: why a point can't be looked at;
//! - `say.rs`: what is said of them.

mod absent;
mod accounts;
mod leaving;
mod local;
mod look;
mod notes;
mod outputs;
mod pass;
mod point;
mod say;
mod view;
mod written;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_domain::{
    Fingerprint, PauseId, PointId, SensorId,
    document::hold::{HoldSettings, LoopState},
    hold::{Account, Control, LoopMemory, Observed},
    pace::Pressure,
    values::wishes_fingerprint,
};

use super::{Effect, Machine, Now};
use crate::status::HubAccess;
use accounts::Accounts;
use local::Local;
use notes::Notes;
use outputs::{Outputs, places_of};
use pass::{Pace, Pass};
use point::Output;
use view::Errors;

/// The outputs of a device.
#[derive(Debug)]
pub(super) struct Holding {
    /// The revision of the setpoints held.
    revision: u64,
    settings: HoldSettings,
    /// When the settings' pauses end, in ms.
    ends: BTreeMap<PauseId, u64>,
    outputs: Outputs,
    /// By sensor; also of sensors that do not run.
    passes: BTreeMap<SensorId, Pass>,
    /// The last readings of points that guards are on; `None`: not looked at yet.
    guarded_by: BTreeMap<PointId, Option<Observed>>,
    /// Writes to points, of those without a setpoint too.
    accounts: Accounts,
    pace: Pace,
    /// Passes that took longer than the interval.
    overruns: u64,
    /// Passes that ended.
    passes_ended: u64,
    local: Local,
    notes: Notes,
    /// Times in ms without the hub that mean something to an output, and how many of them are over.
    hub_limits: BTreeSet<u64>,
    lost_level: usize,
    /// Stops and pauses of the hub whose outputs are all left; the same of the stop on site, and of the hub's absence.
    settled: BTreeSet<PauseId>,
    local_settled: bool,
    hub_lost_settled: bool,
    /// What the hub was told of how it runs.
    said_state: LoopState,
    errors: Errors,
    /// Points that a write is under way to, also of wishes that were released since.
    writing: BTreeSet<PointId>,
    /// Those of them whose write was begun before the newest wishes and settings came.
    awaited: BTreeSet<PointId>,
    /// Outputs whose newest wish is being carried out, since when, in ms.
    in_hand: BTreeMap<PointId, u64>,
    /// The revisions of setpoints and of settings by which everything goes: no write by earlier ones is under way.
    in_force: (u64, u64),
    /// What is held, for the hub to see whether it is what it gave.
    fingerprint: Option<Fingerprint>,
}

impl Holding {
    pub(super) fn from_ledger(
        booked: BTreeMap<PointId, Account>,
        memory: LoopMemory,
        now_ms: u64,
    ) -> Self {
        Self {
            passes_ended: 0,
            local: Local::from_ledger(&memory, now_ms),
            hub_limits: BTreeSet::new(),
            lost_level: 0,
            settled: memory.settled.clone(),
            local_settled: memory.local_settled,
            hub_lost_settled: memory.hub_lost_settled,
            said_state: LoopState::Active,
            errors: Errors::default(),
            accounts: Accounts::from_ledger(booked, &memory, now_ms),
            notes: Notes::from_ledger(memory, now_ms),
            revision: 0,
            settings: HoldSettings::default(),
            ends: BTreeMap::new(),
            outputs: Outputs::default(),
            passes: BTreeMap::new(),
            guarded_by: BTreeMap::new(),
            pace: Pace::default(),
            overruns: 0,
            writing: BTreeSet::new(),
            awaited: BTreeSet::new(),
            in_hand: BTreeMap::new(),
            in_force: (0, 0),
            fingerprint: None,
        }
    }

    /// The newest wishes and settings are those by which everything goes, once no write by earlier ones is under way: a stop
    /// is not confirmed while something can still move. Is that news?
    fn come_into_force(&mut self) -> bool {
        let newest = (self.revision, self.settings.revision);
        let is_news = self.awaited.is_empty() && self.in_force != newest;
        if is_news {
            self.in_force = newest;
        }
        is_news
    }

    /// When something is to be looked at, in ms.
    pub(super) fn next_at(&self) -> Option<u64> {
        let passes = self.passes.values().filter_map(Pass::next_at);
        let look = self.outputs.next_look();
        let ends = [
            self.local.ends_at(),
            self.next_note_at(),
            self.accounts.next_at(),
        ];
        passes
            .chain(look)
            .chain(self.ends.values().copied())
            .chain(ends.into_iter().flatten())
            .min()
    }

    /// Since when a wish is being carried out, in ms, if one is.
    pub(super) fn wishes_in_hand_since(&self) -> Option<u64> {
        self.in_hand.values().copied().min()
    }

    /// A write that no setpoint asks for is given to an adapter; its end is told ([`Machine::on_wrote`]).
    pub(super) fn note_writing(&mut self, point: PointId) {
        self.writing.insert(point);
    }

    /// May this point be written to by a command?
    pub(super) fn control(&self, sensor: SensorId, point: PointId, access: HubAccess) -> Control {
        // Commands come from the hub: it is not lost.
        let stops = self.stops(access, 0);
        stops.standing(sensor, point, None).control
    }

    /// How often outputs are looked at, in ms.
    fn interval_ms(&self) -> u32 {
        let local = self.local.kept.interval_ms;
        local.unwrap_or(self.settings.interval_ms)
    }

    /// Of stops and pauses that are lifted or over, nothing is known any more.
    fn forget_settled(&mut self) {
        let pauses: BTreeSet<PauseId> = self.settings.pauses.iter().map(|pause| pause.id).collect();
        self.settled.retain(|id| pauses.contains(id));
    }

    /// Looks at the outputs of a sensor that can be read from now on.
    pub(super) fn is_there(&mut self, sensor: SensorId, now: Now) {
        if let Some(pass) = self.passes.get_mut(&sensor) {
            pass.hurry(now.ms);
        }
    }

    /// Somebody asks for a look at everything: what was given up is tried once more.
    pub(super) fn look_again(&mut self, now: Now) {
        self.outputs.change_all(Output::look_again);
        for pass in self.passes.values_mut() {
            pass.hurry(now.ms);
        }
    }

    fn look_at_all(&mut self) {
        self.outputs.change_all(Output::look_now);
    }
}

impl Machine {
    /// Makes the held setpoints and settings those that count.
    pub(super) fn take_wishes(&mut self, now: Now, is_boot: bool) {
        let Some(target) = self.target.held() else {
            return;
        };
        let holding = &mut self.holding;
        holding.fingerprint = Some(wishes_fingerprint(&target.setpoints, &target.hold));
        if holding.settings != target.hold {
            let new = |id: &PauseId| !holding.ends.contains_key(id);
            let ends: BTreeMap<PauseId, u64> = target
                .hold
                .pauses
                .iter()
                .filter_map(|pause| {
                    // After a restart it goes on with what had remained.
                    let kept = holding.notes.kept().pauses.get(&pause.id);
                    let left = kept.filter(|_| is_boot).copied();
                    let left = left.map_or(pause.remaining_ms?, |left| {
                        left.min(pause.remaining_ms.unwrap_or(left))
                    });
                    Some((pause.id, now.ms.saturating_add(left)))
                })
                .map(|(id, end)| {
                    if new(&id) {
                        (id, end)
                    } else {
                        (id, holding.ends[&id])
                    }
                })
                .collect();
            holding.ends = ends;
            holding.settings = target.hold.clone();
            holding.forget_settled();
            holding.awaited.clone_from(&holding.writing);
            self.reporting.header_changed();
            holding.look_at_all();
        }
        if holding.revision != target.setpoints.revision {
            holding.revision = target.setpoints.revision;
            holding.awaited.clone_from(&holding.writing);
            self.reporting.header_changed();
        }
        holding.come_into_force();
        let (mut outputs, mut unknown) = (Outputs::default(), Vec::new());
        let places = places_of(&target);
        for setpoint in &target.setpoints.items {
            let point = setpoint.point_id;
            // The hub keeps points that something is set on; one that is not there can't be held.
            let Some(item) = places.get(&point) else {
                continue;
            };
            let (sensor, content) = (item.sensor.id(), item.sensor.fingerprint());
            let before = holding.outputs.remove(point);
            let known = before.as_ref().filter(|before| before.content == content);
            let rules = known.map(|before| before.rules.clone());
            let rules = rules.or_else(|| item.sensor.content().binding.point_rules(point));
            let Some(rules) = rules else { continue };
            let kept = holding.notes.kept().setpoints.get(&point);
            let left = kept.filter(|kept| is_boot && kept.revision == setpoint.revision);
            if before.is_none() {
                unknown.push(point);
            }
            let setpoint = &setpoint.clone().with_at_most(left.map(|left| left.ms));
            let is_writing = holding.writing.contains(&point);
            let place = (sensor, content);
            let account = || holding.accounts.take(point);
            let (mut output, is_new) =
                Output::of(before, setpoint, place, rules, account, is_writing, now);
            let learned = holding.notes.kept().learned.get(&point);
            if let Some(learned) =
                learned.filter(|learned| is_boot && learned.revision == setpoint.revision)
            {
                output.remember(learned);
            }
            if is_new {
                holding.passes.entry(sensor).or_default().hurry(now.ms);
                self.reporting.output_changed(point, true);
                // At boot there are all of them, and nobody waits.
                if !is_boot {
                    holding.in_hand.insert(point, now.ms);
                }
            }
            outputs.insert(point, output);
        }
        let released = std::mem::replace(&mut holding.outputs, outputs);
        for (point, output) in released.into_all() {
            holding.accounts.put(point, output.budget);
            // From now on its account is told by itself.
            self.reporting.output_changed(point, false);
        }
        holding.take_resets(&target);
        let outputs = &holding.outputs;
        holding
            .in_hand
            .retain(|point, _| outputs.contains_key(point));
        let limits = holding.outputs.values().filter_map(Output::lost_after_ms);
        holding.hub_limits = limits.collect();
        holding.lost_level = usize::MAX;
        let has_ends = !holding.ends.is_empty()
            || holding
                .outputs
                .values()
                .any(|output| output.ends().is_some());
        holding.notes.runs_down = has_ends || !holding.hub_limits.is_empty();
        for point in unknown {
            self.place_new(point, is_boot, now);
        }
        let guarding = self.guarding_sensors();
        let holding = &mut self.holding;
        for sensor in &guarding {
            holding.passes.entry(*sensor).or_default().hurry(now.ms);
        }
        holding.passes.retain(|sensor, pass| {
            let has_output = holding.outputs.of_sensor(*sensor).next().is_some();
            pass.is_busy() || guarding.contains(sensor) || has_output
        });
    }

    /// Does what is due in the value loop.
    pub(super) fn hold(&mut self, now: Now, random: u32, effects: &mut Vec<Effect>) {
        self.end_pauses(now);
        self.end_local(now);
        self.note_hub_lost(now);
        self.begin_passes(now, effects);
        for point in self.holding.outputs.due(now.ms) {
            self.look_at_output(point, now, random, effects);
        }
        self.settle_stops(now);
        self.note_resets(now, effects);
        self.write_notes(now, effects);
        self.answer_orders(effects);
    }

    fn end_pauses(&mut self, now: Now) {
        let holding = &mut self.holding;
        let over: Vec<PauseId> = holding
            .ends
            .iter()
            .filter(|(_, end)| **end <= now.ms)
            .map(|(id, _)| *id)
            .collect();
        if over.is_empty() {
            return;
        }
        holding.ends.retain(|id, _| !over.contains(id));
        holding
            .settings
            .pauses
            .retain(|pause| !over.contains(&pause.id));
        holding.forget_settled();
        holding.notes.dirty();
        holding.look_at_all();
        self.reporting.header_changed();
    }

    /// The number of the start of a sensor that is with an adapter.
    pub(super) fn generation_of(&self, sensor: SensorId) -> Option<u64> {
        let slot = self.slots.get(&sensor)?;
        slot.is_readable().then(|| slot.generation())
    }

    /// The adapter lost an instrument, if only between two looks: what it shows next may be what it starts with.
    pub(in crate::machine) fn lost_touch(&mut self, sensor: SensorId, now: Now) {
        let outputs = &mut self.holding.outputs;
        for point in outputs.of_sensor(sensor).collect::<Vec<_>>() {
            outputs.change(point, |output| output.lost_touch(now));
        }
    }

    /// An instrument ended its connection, and may be there again: the same, but for what is being read just now, which is
    /// of use. There are instruments that end it after every answer.
    pub(in crate::machine) fn broken_off(&mut self, sensor: SensorId, now: Now) {
        let outputs = &mut self.holding.outputs;
        for point in outputs.of_sensor(sensor).collect::<Vec<_>>() {
            outputs.change(point, |output| output.broken_off(now));
        }
    }

    /// How busy the machine is; `None`: that is not known.
    pub(super) fn on_pressure(&mut self, pressure: Option<Pressure>) {
        if self.holding.pace.stretch.note(pressure) && self.holding.is_used() {
            self.reporting.header_detail();
        }
    }
}
