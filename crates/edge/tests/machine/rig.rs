//! A machine with a clock that the test turns, and the effects that were not answered yet.

use std::collections::BTreeMap;

use holdfast_domain::{Report, SensorId, TargetState, hold::LoopMemory};
use holdfast_edge::machine::{CommandEffect, Effect, Established, Event, Machine, MachineSettings};
use holdfast_ports::{
    hub_link::{HubError, Polled, ReportAnswer},
    ledger::Held,
};

use crate::support::{at, identity};

pub(crate) struct Rig {
    pub(crate) machine: Machine,
    pub(crate) now: u64,
    /// Effects in the order in which they came, not answered yet.
    pub(crate) open: Vec<Effect>,
    /// Every effect that ever came, by its verb.
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

pub(crate) fn held(target: Option<TargetState>) -> Held {
    let worked_version = target.as_ref().map_or(0, |target| target.version);
    Held {
        identity: Some(identity()),
        turned_away: None,
        boot: 7,
        target,
        worked_version,
        established: BTreeMap::new(),
        booked: BTreeMap::new(),
        commands: Vec::new(),
        memory: LoopMemory::default(),
    }
}

pub(crate) fn verb(effect: &Effect) -> &'static str {
    match effect {
        Effect::Poll { .. } => "poll",
        Effect::Hold(_) => "hold",
        Effect::Start { .. } => "start",
        Effect::Update { .. } => "update",
        Effect::Stop { .. } => "stop",
        Effect::Verify => "verify",
        Effect::NoteWorked(_) => "note",
        Effect::KeepEstablished(_) => "keep",
        Effect::Forget(_) => "forget",
        Effect::Report(_) => "report",
        Effect::Reincarnate => "reincarnate",
        Effect::NoteTurnedAway(_) => "turned away",
        Effect::ReadPoints { .. } => "read",
        Effect::WritePoint { .. } => "write",
        Effect::BookWrites { .. } => "book",
        Effect::Command(CommandEffect::Begin { .. }) => "begin command",
        Effect::Command(CommandEffect::Read { .. }) => "read for command",
        Effect::Command(CommandEffect::Write { .. }) => "write command",
        Effect::Command(CommandEffect::End(_)) => "end command",
        Effect::Remember(_) => "remember",
        Effect::Answer { .. } => "answer",
    }
}

impl Rig {
    /// An agent that starts from this ledger; nothing is answered yet.
    pub(crate) fn boot(ledger: Held) -> Self {
        let machine =
            Machine::new(ledger, MachineSettings::default(), at(1_000)).expect("an identity");
        let mut rig = Self {
            machine,
            now: 1_000,
            open: Vec::new(),
            counts: BTreeMap::new(),
        };
        rig.event(Event::Tick);
        rig
    }

    /// An agent on which `target` runs whole, and whose hub knows.
    pub(crate) fn running(target: TargetState) -> Self {
        let mut rig = Self::boot(held(Some(target)));
        rig.answer_everything();
        // Outputs may be looked at: their instruments are the test's.
        let verbs = rig.verbs().into_iter().filter(|verb| *verb != "read");
        assert_eq!(verbs.collect::<Vec<_>>(), ["poll"]);
        rig.pass(1_000);
        rig.counts.clear();
        rig
    }

    pub(crate) fn event(&mut self, event: Event) {
        let effects = self.machine.handle(event, at(self.now), u32::MAX / 2);
        for effect in &effects {
            *self.counts.entry(verb(effect)).or_default() += 1;
        }
        self.open.extend(effects);
        assert!(
            self.machine.next_wake().is_none_or(|wake| wake > self.now),
            "a wake-up that is due was not handled"
        );
    }

    pub(crate) fn count(&self, verb: &str) -> u64 {
        self.counts.get(verb).copied().unwrap_or(0)
    }

    /// Lets time pass, with every tick that is due in it.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(wake) = self.machine.next_wake().filter(|wake| *wake <= end) {
            self.now = wake;
            self.event(Event::Tick);
        }
        self.now = end;
    }

    /// Lets time pass until an effect like this is open, an hour at most.
    pub(crate) fn wait_for(&mut self, wanted: impl Fn(&Effect) -> bool) {
        let end = self.now + 3_600_000;
        while !self.open.iter().any(&wanted) {
            assert!(self.now < end, "it never comes; open: {:?}", self.verbs());
            self.pass(1);
        }
    }

    pub(crate) fn verbs(&self) -> Vec<&'static str> {
        self.open.iter().map(verb).collect()
    }

    /// Takes the first open effect with this verb.
    pub(crate) fn take(&mut self, wanted: &str) -> Effect {
        self.find(|effect| verb(effect) == wanted)
            .unwrap_or_else(|| panic!("no {wanted} in {:?}", self.verbs()))
    }

    pub(crate) fn find(&mut self, wanted: impl Fn(&Effect) -> bool) -> Option<Effect> {
        let place = self.open.iter().position(wanted)?;
        Some(self.open.remove(place))
    }

    pub(crate) fn take_report(&mut self) -> Report {
        let Effect::Report(report) = self.take("report") else {
            unreachable!()
        };
        *report
    }

    /// The open step of one sensor.
    pub(crate) fn step(&self, id: SensorId) -> Option<&Effect> {
        self.open.iter().find(|effect| step_of(effect) == Some(id))
    }

    /// Ends the open step of one sensor well.
    pub(crate) fn succeed(&mut self, id: SensorId) {
        let effect = self
            .find(|effect| step_of(effect) == Some(id))
            .expect("a step");
        self.event(success(&effect).expect("a step has an end"));
    }

    /// Ends the open start of one sensor badly.
    pub(crate) fn fail(&mut self, id: SensorId, error: &str) {
        let effect = self
            .find(|effect| step_of(effect) == Some(id))
            .expect("a step");
        let Effect::Start { generation, .. } = effect else {
            panic!("{effect:?} is no start")
        };
        self.event(Event::Started {
            sensor: id,
            generation,
            result: Err(error.to_string()),
        });
    }

    pub(crate) fn offer(&mut self, target: TargetState) {
        self.take("poll");
        self.event(Event::Polled(Ok(Polled::Target(Box::new(target)))));
    }

    pub(crate) fn offer_and_hold(&mut self, target: TargetState) {
        self.offer(target);
        self.take("hold");
        self.event(Event::Held(Ok(())));
    }

    pub(crate) fn report_taken(&mut self) -> Report {
        let report = self.take_report();
        self.event(Event::Reported(Ok(ReportAnswer::Taken)));
        report
    }

    /// Answers what concerns the hub and the ledger well, for 200 ms; steps of sensors stay open.
    pub(crate) fn answer_hub(&mut self) {
        for _ in 0..3 {
            while let Some(effect) = self.find(|effect| ["report", "note"].contains(&verb(effect)))
            {
                self.event(success(&effect).expect("an answer"));
            }
            self.pass(100);
        }
    }

    /// Answers every open effect well, polls and reads of outputs apart, until none is left but those; time passes as reports need it.
    pub(crate) fn answer_everything(&mut self) {
        loop {
            let is_ours = |effect: &Effect| {
                !matches!(effect, Effect::Poll { .. } | Effect::ReadPoints { .. })
            };
            while let Some(effect) = self.find(is_ours) {
                if let Some(event) = success(&effect) {
                    self.event(event);
                }
            }
            let soon = self.now + 1_000;
            let Some(wake) = self.machine.next_wake().filter(|wake| *wake <= soon) else {
                return;
            };
            self.now = wake;
            self.event(Event::Tick);
        }
    }
}

pub(crate) fn step_of(effect: &Effect) -> Option<SensorId> {
    match effect {
        Effect::Start { item, .. } | Effect::Update { item, .. } => Some(item.sensor.id()),
        Effect::Stop { sensor, .. } => Some(*sensor),
        _ => None,
    }
}

fn success(effect: &Effect) -> Option<Event> {
    Some(match effect {
        Effect::Poll { .. } => Event::Polled(Ok(Polled::Unchanged)),
        Effect::Hold(_) => Event::Held(Ok(())),
        Effect::Start {
            item, generation, ..
        } => Event::Started {
            sensor: item.sensor.id(),
            generation: *generation,
            result: Ok(Established::Noted),
        },
        Effect::Update { item, generation } => Event::Updated {
            sensor: item.sensor.id(),
            generation: *generation,
            result: Ok(Established::Noted),
        },
        Effect::Stop { sensor, generation } => Event::Stopped {
            sensor: *sensor,
            generation: *generation,
        },
        Effect::Verify
        | Effect::ReadPoints { .. }
        | Effect::WritePoint { .. }
        | Effect::BookWrites { .. }
        | Effect::Answer { .. }
        | Effect::Command(_) => return None,
        Effect::Remember(_) => Event::Remembered(Ok(())),
        Effect::NoteWorked(version) => Event::WorkNoted {
            version: *version,
            result: Ok(()),
        },
        Effect::KeepEstablished(_) | Effect::Forget(_) => return None,
        Effect::Report(_) => Event::Reported(Ok(ReportAnswer::Taken)),
        Effect::Reincarnate => return None,
        Effect::NoteTurnedAway(_) => Event::TurnedAwayNoted(Ok(())),
    })
}

pub(crate) fn away() -> HubError {
    HubError::Unreachable("connection refused".into())
}
