//! From what is wanted and what runs to steps, sensor by sensor, and what comes of them.
//!
//! What the step is, is decided by [`plan`] alone; here is decided whether it can be taken now, and what its end means.

use std::collections::BTreeMap;

use holdfast_domain::{
    Fingerprint, HealthStatus, Item, SensorId,
    plan::{Running, Step, plan},
};

use super::{
    Effect, Established, Machine, Now, UpdateFailure,
    slot::{Changed, Doing, Slot},
};

impl Machine {
    /// Makes the held target the wanted one. Failures of content that is not wanted any more are forgotten; steps under
    /// way run to their end.
    pub(super) fn retarget(&mut self) {
        self.wanted = self
            .target
            .items()
            .iter()
            .map(|item| (item.sensor.id(), item.clone()))
            .collect();
        for id in self.wanted.keys() {
            self.slots.entry(*id).or_default();
        }
        for (id, slot) in &mut self.slots {
            let wanted = self.wanted.get(id).map(|item| item.sensor.fingerprint());
            let changed = slot.forget_failure_but_of(wanted);
            self.reporting.outcome_changed(changed);
        }
        self.awake.extend(self.slots.keys());
        let untried: Vec<SensorId> = self
            .slots
            .keys()
            .copied()
            .filter(|id| self.is_untried(*id))
            .collect();
        self.target.set_untried(untried);
    }

    /// Is there a step to take that was not tried yet?
    fn is_untried(&self, id: SensorId) -> bool {
        let in_vain = |item: &Item| {
            self.slots
                .get(&id)
                .is_some_and(|slot| slot.has_failed(item.sensor.fingerprint()))
        };
        self.step(id).is_some() && !self.wanted.get(&id).is_some_and(in_vain)
    }

    /// The step from what runs of a sensor to what is wanted of it.
    fn step(&self, id: SensorId) -> Option<Step> {
        let wanted = self.wanted.get(&id).cloned();
        let running: Running = self
            .slots
            .get(&id)
            .and_then(Slot::running)
            .map(|item| (id, item.clone()))
            .into_iter()
            .collect();
        plan(wanted.as_slice(), &running).pop()
    }

    /// Takes every step that can be taken now; what must stop goes first, so that what it used is free.
    pub(super) fn look_at_sensors(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut steps = Vec::new();
        while let Some(id) = self.awake.pop_first() {
            if self.slots.get(&id).is_some_and(|slot| !slot.is_busy()) {
                self.advance(id, now, &mut steps);
            }
        }
        steps.sort_by_key(|step| !matches!(step, Effect::Stop { .. }));
        effects.append(&mut steps);
    }

    fn advance(&mut self, id: SensorId, now: Now, steps: &mut Vec<Effect>) {
        match self.step(id) {
            None => self.settle(id, steps),
            Some(Step::Stop(_)) => self.stop(id, steps),
            Some(Step::Relabel(item)) => self.run(id, item),
            Some(Step::Restart(item) | Step::Update(item) | Step::Start(item))
                if !item.sensor.not_understood().is_empty() =>
            {
                self.give_up(id, &item);
            }
            Some(Step::Restart(_)) => self.stop(id, steps),
            // Nothing of a disabled sensor is with an adapter.
            Some(Step::Update(item) | Step::Start(item)) if !item.sensor.enabled() => {
                self.run(id, item);
            }
            Some(Step::Update(item)) => self.update(id, item, now, steps),
            Some(Step::Start(item)) => self.start(id, item, now, steps),
        }
    }

    /// Nothing is left to do for a sensor.
    fn settle(&mut self, id: SensorId, steps: &mut Vec<Effect>) {
        self.target.tried(id);
        if !self.wanted.contains_key(&id) && self.slots.get(&id).is_some_and(Slot::is_empty) {
            self.slots.remove(&id);
            steps.push(Effect::Forget(id));
        }
    }

    fn stop(&mut self, id: SensorId, steps: &mut Vec<Effect>) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if slot.running().is_some_and(|item| item.sensor.enabled()) {
            let generation = slot.generation();
            slot.begin(Doing::Stopping, generation);
            steps.push(Effect::Stop {
                sensor: id,
                generation,
            });
        } else {
            self.is_gone(id);
        }
    }

    fn start(&mut self, id: SensorId, item: Item, now: Now, steps: &mut Vec<Effect>) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let fingerprint = item.sensor.fingerprint();
        if slot.waits(fingerprint, now.ms) {
            return;
        }
        self.generation += 1;
        let generation = self.generation;
        let was_established = self.established.get(&id) == Some(&fingerprint);
        slot.begin(
            Doing::Starting {
                item: item.clone(),
                fresh: !was_established,
            },
            generation,
        );
        steps.push(Effect::Start {
            item,
            generation,
            was_established,
        });
    }

    fn update(&mut self, id: SensorId, item: Item, now: Now, steps: &mut Vec<Effect>) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if slot.waits(item.sensor.fingerprint(), now.ms) {
            return;
        }
        let generation = slot.generation();
        slot.begin(Doing::Updating(item.clone()), generation);
        steps.push(Effect::Update { item, generation });
    }

    /// A sensor with a field that this agent does not know fails; whatever runs of it runs on, since nobody asked that it
    /// should not run.
    fn give_up(&mut self, id: SensorId, item: &Item) {
        let fingerprint = item.sensor.fingerprint();
        let error = not_understood(item, &self.settings.agent_version);
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if !slot.has_failed(fingerprint) {
            let changed = slot.fail(fingerprint, &error, None);
            self.reporting.outcome_changed(changed);
        }
        self.target.tried(id);
    }

    fn run(&mut self, id: SensorId, item: Item) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.run(item);
            self.reporting.outcome_changed(Changed::Yes);
            self.awake.insert(id);
        }
    }

    fn is_gone(&mut self, id: SensorId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.gone();
            self.reporting.outcome_changed(Changed::Yes);
            self.awake.insert(id);
        }
    }

    pub(super) fn on_started(
        &mut self,
        id: SensorId,
        generation: u64,
        result: Result<Established, String>,
        now: Now,
        random: u32,
    ) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let doing = slot.end(generation, |doing| matches!(doing, Doing::Starting { .. }));
        let Some(Doing::Starting { item, fresh }) = doing else {
            return;
        };
        match result {
            Ok(noted) => {
                slot.took(now.ms);
                slot.run(item.clone());
                if fresh && !slot.knows_health() {
                    // It was established by an answer just now.
                    slot.set_health(HealthStatus::Online, None, now.wall);
                }
                self.reporting.outcome_changed(Changed::Yes);
                self.reporting.health_changed(id, Changed::Yes);
                self.note_established(&item, noted);
                self.holding.is_there(id, now);
            }
            Err(error) => self.has_failed(&item, &error, now, random),
        }
        self.awake.insert(id);
    }

    pub(super) fn on_updated(
        &mut self,
        id: SensorId,
        generation: u64,
        result: Result<Established, UpdateFailure>,
        now: Now,
        random: u32,
    ) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let doing = slot.end(generation, |doing| matches!(doing, Doing::Updating(_)));
        let Some(Doing::Updating(item)) = doing else {
            return;
        };
        match result {
            Ok(noted) => {
                slot.took(now.ms);
                self.note_established(&item, noted);
                self.run(id, item);
                self.holding.is_there(id, now);
            }
            Err(UpdateFailure { error, lost }) => {
                if lost {
                    self.is_gone(id);
                }
                self.has_failed(&item, &error, now, random);
            }
        }
        self.awake.insert(id);
    }

    pub(super) fn on_stopped(&mut self, id: SensorId, generation: u64) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if slot
            .end(generation, |doing| *doing == Doing::Stopping)
            .is_some()
        {
            self.is_gone(id);
        }
    }

    fn note_established(&mut self, item: &Item, noted: Established) {
        match noted {
            Established::Noted => {
                self.established
                    .insert(item.sensor.id(), item.sensor.fingerprint());
            }
            Established::NotNoted => {}
        }
    }

    /// A content could not be started or taken. If it is not wanted any more, that does not matter to anyone.
    fn has_failed(&mut self, item: &Item, error: &str, now: Now, random: u32) {
        let (id, fingerprint) = (item.sensor.id(), item.sensor.fingerprint());
        if self.wanted_content(id) != Some(fingerprint) {
            return;
        }
        self.target.tried(id);
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let changed = slot.fail(fingerprint, error, Some(u64::MAX));
        let attempts = slot
            .failure_report(id)
            .map_or(1, |failure| failure.attempts);
        let retry_at = now.ms + self.settings.item_backoff.delay_ms(attempts, random).max(1);
        slot.retry_at(retry_at);
        self.retries.insert((retry_at, id));
        self.reporting.outcome_changed(changed);
    }

    fn wanted_content(&self, id: SensorId) -> Option<Fingerprint> {
        self.wanted.get(&id).map(|item| item.sensor.fingerprint())
    }

    pub(super) fn on_health(
        &mut self,
        id: SensorId,
        generation: u64,
        status: HealthStatus,
        reason: Option<String>,
        now: Now,
    ) {
        let Some(slot) = self
            .slots
            .get_mut(&id)
            .filter(|slot| slot.generation() == generation)
        else {
            return;
        };
        let changed = slot.set_health(status, reason, now.wall);
        if slot.running().is_some() {
            self.reporting.health_changed(id, changed);
        }
        if status == HealthStatus::Offline {
            self.lost_touch(id, now);
        }
    }

    pub(super) fn on_broken_off(&mut self, id: SensorId, generation: u64, now: Now) {
        let slot = self.slots.get(&id);
        if slot.is_some_and(|slot| slot.generation() == generation) {
            self.broken_off(id, now);
        }
    }

    /// Compares what is believed to run with what the adapters keep; what is missing is started again. What failed is
    /// tried again now.
    pub(super) fn on_verified(&mut self, alive: &BTreeMap<SensorId, u64>, now: Now) {
        let lost = |(id, slot): (&SensorId, &Slot)| {
            let with_adapter =
                slot.running().is_some_and(|item| item.sensor.enabled()) && !slot.is_busy();
            (with_adapter && alive.get(id) != Some(&slot.generation())).then_some(*id)
        };
        let lost: Vec<SensorId> = self.slots.iter().filter_map(lost).collect();
        for id in lost {
            self.is_gone(id);
        }
        for (id, slot) in &mut self.slots {
            if slot.retry_at(now.ms) {
                self.awake.insert(*id);
            }
        }
        self.holding.look_again(now);
        self.target.has_looked();
        self.reporting.want_full();
    }
}

fn not_understood(item: &Item, agent_version: &str) -> String {
    let problems = item.sensor.not_understood().iter();
    let fields: Vec<&str> = problems
        .map(|problem| within_sensor(&problem.field))
        .collect();
    let fields = fields.join(", ");
    format!(
        "this agent (version {agent_version}) does not know the field {fields}: use a later version of the agent, or \
         leave the field out"
    )
}

/// A field's place within its sensor, where it is given within the whole document.
fn within_sensor(field: &str) -> &str {
    const LIST: &str = "protocolAdapterDevices[";
    let inner = field
        .split_once(LIST)
        .and_then(|(_, rest)| rest.split_once("]."));
    inner.map_or(field, |(_, inner)| inner)
}
