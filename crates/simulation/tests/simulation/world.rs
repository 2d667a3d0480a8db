//! Everything there is, one clock, one queue of what arrives later, and the order in which it happens.
//!
//! Read next: `effects.rs` (how what an agent asks for gets under way), `arrivals.rs` (what comes of it), `mischief.rs`
//! (what goes wrong), `observer.rs` (what must never be).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use holdfast_domain::{HealthStatus, SensorId};
use holdfast_edge::machine::{CommandEffect, Effect, Event};
use holdfast_ports::{clock::Entropy as _, hub_link::HubError};
use holdfast_testkit::world::SeededEntropy;

use crate::{
    agent::Agent,
    arrivals::{Delivery, WaitingPoll},
    disk::Disk,
    hub::HubSide,
    instrument::{Instrument, Unit},
    observer::Observer,
};

/// Agents, and so devices.
pub(crate) const AGENTS: usize = 2;

/// How often the reconciler makes a pass, in ms.
const PASS_MS: u64 = 1_000;
/// How often the hub's processes write what they saw, in ms.
const BEAT_MS: u64 = 2_000;

/// Everything there is.
pub(crate) struct World {
    pub(crate) random: SeededEntropy,
    /// In ms since the beginning.
    pub(crate) now: u64,
    pub(crate) hub: HubSide,
    pub(crate) agents: Vec<Agent>,
    pub(crate) instruments: BTreeMap<Unit, Instrument>,
    queue: BTreeMap<(u64, u64), Delivery>,
    queued: u64,
    /// Polls that the hub holds back, by number.
    pub(crate) waiting: BTreeMap<u64, WaitingPoll>,
    pass_at: u64,
    beat_at: u64,
    mischief_at: u64,
    /// Do things go wrong?
    pub(crate) storm: bool,
    pub(crate) observer: Observer,
    /// Is each step told?
    pub(crate) is_told: bool,
    /// What happened how often.
    pub(crate) reached: BTreeMap<&'static str, u64>,
    /// A hash of all that was told: the same seed, the same world.
    pub(crate) digest: u64,
}

impl World {
    pub(crate) fn new(seed: u64, is_told: bool) -> Self {
        let hub = HubSide::new(seed);
        let agents = (0..AGENTS)
            .map(|number| Agent::new(Disk::of(hub.register(&format!("gateway-{number}")))))
            .collect();
        let mut world = Self {
            random: SeededEntropy::new(seed),
            now: 0,
            hub,
            agents,
            instruments: BTreeMap::new(),
            queue: BTreeMap::new(),
            queued: 0,
            waiting: BTreeMap::new(),
            pass_at: 0,
            beat_at: 0,
            mischief_at: 0,
            storm: true,
            observer: Observer::default(),
            is_told,
            reached: BTreeMap::new(),
            digest: 0,
        };
        for agent in 0..AGENTS {
            world.boot(agent);
        }
        world
    }

    /// Says what happens, to those who want to read it.
    pub(crate) fn say(&mut self, what: fmt::Arguments<'_>) {
        // The same seed, the same times of the same number of steps.
        self.digest = (self.digest ^ self.now).wrapping_mul(0x0000_0100_0000_01B3) ^ self.queued;
        if self.is_told {
            let (seconds, ms) = (self.now / 1_000, self.now % 1_000);
            let short: String = what.to_string().chars().take(20_000).collect();
            println!("{seconds:>5}.{ms:03} {short}");
        }
    }

    /// Something happened that the runs must come across.
    pub(crate) fn reach(&mut self, what: &'static str) {
        *self.reached.entry(what).or_default() += 1;
    }

    /// Something that must never be.
    pub(crate) fn broken(&self, rule: &str, what: fmt::Arguments<'_>) -> ! {
        let (seconds, ms) = (self.now / 1_000, self.now % 1_000);
        panic!("{rule}: at {seconds}.{ms:03}: {what}")
    }

    /// Time passes.
    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            let wake = (0..AGENTS)
                .filter_map(|agent| Some((self.agents[agent].next_wake()?, agent)))
                .min();
            let delivery = self.queue.first_key_value().map(|((at, _), _)| *at);
            let mischief = self.storm.then_some(self.mischief_at);
            let times = [
                wake.map(|(at, _)| at),
                delivery,
                mischief,
                Some(self.pass_at),
                Some(self.beat_at),
            ];
            let next = times.into_iter().flatten().min().unwrap_or(u64::MAX);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            self.hub.set_time(self.now);
            if delivery == Some(next) {
                let (_, delivery) = self.queue.pop_first().expect("it is there");
                delivery.arrive(self);
            } else if let Some((at, agent)) = wake
                && at == next
            {
                self.wake_agent(agent);
            } else if mischief == Some(next) {
                self.mischief_at = self.now + 1 + self.random.next() % 3_000;
                self.mischief();
            } else if self.beat_at == next {
                self.beat_at = self.now + BEAT_MS;
                self.hub.beat();
                self.after_background();
            } else {
                self.pass_at = self.now + PASS_MS;
                self.hub.reconcile();
                self.after_background();
            }
        }
        self.now = end;
        self.hub.set_time(self.now);
    }

    fn wake_agent(&mut self, agent: usize) {
        if self.agents[agent].machine.is_some() {
            self.tell(agent, Event::Tick);
        } else {
            self.boot(agent);
        }
    }

    /// True in `percent` of cases while things go wrong.
    pub(crate) fn goes_wrong(&self, percent: usize) -> bool {
        self.storm && self.random.chance(percent)
    }

    /// One of 0 to `bound - 1`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.random.next() % bound
    }

    /// One of these; `None`: there is none.
    pub(crate) fn one_of<'a, T>(&self, all: &'a [T]) -> Option<&'a T> {
        (!all.is_empty()).then(|| &all[self.random.below(all.len())])
    }

    pub(crate) fn deliver_at(&mut self, at: u64, delivery: Delivery) {
        self.queued += 1;
        self.queue.insert((at.max(self.now), self.queued), delivery);
    }

    pub(crate) fn deliver_in(&mut self, ms: u64, delivery: Delivery) {
        self.deliver_at(self.now + ms, delivery);
    }

    /// A number for something that waits.
    pub(crate) fn number(&mut self) -> u64 {
        self.queued += 1;
        self.queued
    }

    /// Gives an event to an agent's machine and sends its effects on their way.
    pub(crate) fn tell(&mut self, agent: usize, event: Event) {
        if !matches!(event, Event::Tick) {
            self.say(format_args!("agent {agent} is told {event:?}"));
        }
        self.before_event(agent, &event);
        let random = self.random.jitter();
        let now = self.agents[agent].now(self.now);
        let Some(machine) = &mut self.agents[agent].machine else {
            return;
        };
        let effects = machine.handle(event, now, random);
        let next = machine.next_wake();
        for effect in effects {
            self.say(format_args!("agent {agent} wants {effect:?}"));
            self.check_effect(agent, &effect);
            self.send(agent, effect);
        }
        if next.is_some_and(|wake| wake <= now.ms) {
            self.broken(
                "18 bounded",
                format_args!("agent {agent}: a wake-up was not handled"),
            );
        }
    }

    /// The hub or the reconciler did what time brings about, most often nothing.
    fn after_background(&mut self) {
        if self.hub.has_woken() {
            self.after_hub();
        }
    }

    /// The hub did something: whom it wakes, and who that waits gets an answer.
    pub(crate) fn after_hub(&mut self) {
        for wake in self.hub.wakes() {
            for process in 0..crate::hub::PROCESSES {
                // Wake-ups between processes take their time.
                let delay = if self.goes_wrong(20) {
                    self.below(1_500)
                } else {
                    self.below(5)
                };
                self.deliver_in(delay, Delivery::Wake { process, wake });
            }
        }
        for process in 0..crate::hub::PROCESSES {
            self.answer_polls(process);
        }
        self.check_hub();
    }

    /// `kill -9`: what was being written is written or not, what was on the network stays there, what was on a line is
    /// carried out in that instant or never.
    pub(crate) fn kill(&mut self, agent: usize) {
        self.reach("agents killed");
        self.say(format_args!("agent {agent} is killed"));
        let life = self.agents[agent].life;
        for (key, delivery) in std::mem::take(&mut self.queue) {
            match delivery {
                Delivery::Disk {
                    agent: of, write, ..
                } if of == agent => {
                    if self.random.chance(50) {
                        let write = write.cut_short(self.random.chance(30));
                        write.apply(&mut self.agents[agent].disk);
                    }
                }
                delivery @ Delivery::Write { .. } if delivery.is_of(agent) => {
                    if self.random.chance(50) {
                        delivery.arrive(self);
                    }
                }
                delivery if delivery.dies_with(agent, life) => {}
                delivery => {
                    self.queue.insert(key, delivery);
                }
            }
        }
        self.waiting.retain(|_, poll| poll.agent != agent);
        self.site_uncertain(agent);
        let agent = &mut self.agents[agent];
        agent.machine = None;
        agent.bus.clear();
        agent.line_free.clear();
        agent.restart_at = self.now;
    }

    pub(crate) fn boot(&mut self, agent: usize) {
        self.say(format_args!("agent {agent} starts"));
        let now = self.now;
        self.check_site_kept(agent);
        self.agents[agent].boot(now);
        self.tell(agent, Event::Tick);
    }

    /// From now on nothing goes wrong.
    pub(crate) fn calm_down(&mut self) {
        self.say(format_args!("from now on nothing goes wrong"));
        self.storm = false;
        for agent in &mut self.agents {
            agent.cut_until = 0;
            agent.revoked_until = 0;
            agent.restart_at = agent.restart_at.min(self.now);
        }
        self.lift_on_site();
        let units: Vec<Unit> = self.instruments.keys().cloned().collect();
        for unit in units {
            let instrument = self.instruments.get_mut(&unit).expect("listed");
            instrument.calm_down();
            self.say_health_of(&unit);
        }
    }

    /// An instrument, which begins to be when somebody looks.
    pub(crate) fn instrument(&mut self, unit: &Unit) -> &mut Instrument {
        self.instruments.entry(unit.clone()).or_default()
    }

    pub(crate) fn is_away(&mut self, unit: &Unit) -> bool {
        let now = self.now;
        self.instrument(unit).away_until > now
    }

    /// The adapters of this unit's sensors say how it is.
    pub(crate) fn say_health_of(&mut self, unit: &Unit) {
        let agent = unit.0;
        let sensors: BTreeSet<SensorId> = self.agents[agent]
            .bus
            .iter()
            .filter(|(_, (_, sensor))| {
                crate::instrument::Where::unit(agent, sensor).as_ref() == Some(unit)
            })
            .map(|(id, _)| *id)
            .collect();
        for sensor in sensors {
            self.say_health(agent, sensor);
        }
    }

    /// The adapter of a sensor says how its instrument is.
    pub(crate) fn say_health(&mut self, agent: usize, sensor: SensorId) {
        let Some((generation, content)) = self.agents[agent].bus.get(&sensor).cloned() else {
            return;
        };
        let unit = crate::instrument::Where::unit(agent, &content);
        let is_away = unit.is_some_and(|unit| self.is_away(&unit));
        let event = Event::Health {
            sensor,
            generation,
            status: if is_away {
                HealthStatus::Offline
            } else {
                HealthStatus::Online
            },
            reason: is_away.then(|| "no answer".to_owned()),
        };
        let life = self.agents[agent].life;
        self.deliver_in(0, Delivery::ToAgent { agent, life, event });
    }

    /// What an agent hears of a hub that it does not reach.
    pub(crate) fn away() -> HubError {
        HubError::Unreachable("connection refused".into())
    }

    /// Is an effect one that touches what runs, or hardware?
    pub(crate) fn counts(&mut self, effect: &Effect) {
        match effect {
            Effect::Start { .. } | Effect::Update { .. } | Effect::Stop { .. } => {
                self.observer.adapter_calls += 1;
            }
            Effect::Hold(_)
            | Effect::NoteWorked(_)
            | Effect::KeepEstablished(_)
            | Effect::NoteTurnedAway(_)
            | Effect::Command(CommandEffect::Begin { .. } | CommandEffect::End(_))
            | Effect::BookWrites { .. } => self.observer.disk_writes += 1,
            Effect::WritePoint { .. } | Effect::Command(CommandEffect::Write { .. }) => {
                self.observer.hardware_writes += 1;
            }
            // What is new in it is counted where it is written: that a day goes on is not.
            Effect::Remember(_)
            | Effect::Poll { .. }
            | Effect::Verify
            | Effect::Forget(_)
            | Effect::Answer { .. }
            | Effect::Command(CommandEffect::Read { .. })
            | Effect::Report(_)
            | Effect::Reincarnate
            | Effect::ReadPoints { .. } => {}
        }
    }
}
