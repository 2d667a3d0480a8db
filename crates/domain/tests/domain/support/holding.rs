//! A point and the loop that holds it, in a closed circle: instruments that behave and instruments that do not.

use holdfast_domain::{
    Fingerprint, PointId, PointValue, Quality,
    document::{
        point::PointKind,
        setpoint::{Conformity, Hold, Policy, Setpoint},
    },
    hold::{
        Act, Band, Budget, Control, Decision, GuardFailure, HoldReason, Observed, PointRules,
        Resolution, Situation, Told, Track, WriteBudget, WriteOutcome, decide,
    },
    row::Actor,
};
use uuid::Uuid;

pub(crate) const RESTORES: u32 = 6;

/// What an instrument does with a value that is written to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Habit {
    Takes,
    Rounds,
    LimitsTo(f64),
    Ignores,
    /// Shows the previous value for so many reads.
    ShowsLate(u32),
    Refuses,
    /// Takes the value, and loses the answer.
    LosesAnswers,
    /// Never gets the value, and does not answer.
    LosesRequests,
    /// Takes the value, and can't be read afterwards.
    GoesBlind,
}

pub(crate) struct Instrument {
    pub(crate) value: f64,
    pub(crate) shown: f64,
    pub(crate) late: u32,
    pub(crate) habit: Habit,
    pub(crate) readable: bool,
    pub(crate) writes: Vec<f64>,
    /// Somebody turns the knob right after the next writes, to these values, the last one first.
    pub(crate) turned_after: Vec<f64>,
}

impl Instrument {
    pub(crate) fn new(value: f64, habit: Habit) -> Self {
        Self {
            value,
            shown: value,
            late: 0,
            habit,
            readable: true,
            writes: Vec::new(),
            turned_after: Vec::new(),
        }
    }

    pub(crate) fn write(&mut self, value: f64) -> WriteOutcome {
        self.writes.push(value);
        let before = self.value;
        match self.habit {
            Habit::Refuses => return WriteOutcome::Refused("exception 4".into()),
            Habit::Ignores | Habit::LosesRequests => {}
            Habit::Rounds => self.value = value.floor(),
            Habit::LimitsTo(most) => self.value = value.min(most),
            Habit::GoesBlind => {
                self.value = value;
                self.readable = false;
            }
            Habit::Takes | Habit::ShowsLate(_) | Habit::LosesAnswers => self.value = value,
        }
        self.late = if let Habit::ShowsLate(reads) = self.habit {
            reads
        } else {
            0
        };
        if let Some(turned) = self.turned_after.pop() {
            self.value = turned;
        }
        self.shown = if self.late > 0 { before } else { self.value };
        match self.habit {
            Habit::LosesAnswers | Habit::LosesRequests => WriteOutcome::Unknown("no answer".into()),
            _ => WriteOutcome::Acknowledged,
        }
    }

    pub(crate) fn read(&mut self, now_ms: u64) -> Observed {
        if self.late > 0 {
            self.late -= 1;
        } else {
            self.shown = self.value;
        }
        Observed {
            value: self.readable.then_some(PointValue::Number(self.shown)),
            quality: if self.readable {
                Quality::Good
            } else {
                Quality::Bad
            },
            at_ms: now_ms,
            reason: (!self.readable).then(|| "no answer".to_owned()),
        }
    }

    pub(crate) fn turn(&mut self, value: f64) {
        self.value = value;
        self.shown = value;
    }
}

pub(crate) struct Loop {
    pub(crate) setpoint: Setpoint,
    pub(crate) rules: PointRules,
    pub(crate) band: Band,
    pub(crate) control: Control,
    pub(crate) guards: Result<(), GuardFailure>,
    pub(crate) budget: Budget,
    pub(crate) track: Track,
    pub(crate) reading: Option<Observed>,
    pub(crate) now_ms: u64,
    pub(crate) told: Vec<Told>,
    pub(crate) adopted: Vec<PointValue>,
    pub(crate) last: Option<Decision>,
}

pub(crate) fn identity(of: &str) -> Fingerprint {
    Fingerprint::of_bytes(of.as_bytes())
}

impl Loop {
    pub(crate) fn new(wanted: f64, policy: Policy) -> Self {
        let setpoint = Setpoint {
            point_id: PointId(Uuid::from_u128(1)),
            bound_to: identity("here"),
            value: PointValue::Number(wanted),
            tolerance: None,
            policy,
            set_by: Actor::named("anna"),
            reason: None,
            revision: 1,
            valid_for_ms: None,
            extra: serde_json::Map::new(),
        };
        let rules = PointRules {
            identity: identity("here"),
            kind: PointKind::Level,
            writable: true,
            resolution: Resolution::Step(0.1),
            limits: None,
            settle_ms: 200,
            guards: Vec::new(),
            budget: WriteBudget::DEFAULT,
            on_stop: None,
            on_hub_lost: None,
        };
        Self {
            band: Band::of(setpoint.value.clone(), None, rules.resolution),
            setpoint,
            rules,
            control: Control::Active,
            guards: Ok(()),
            budget: Budget::default(),
            track: Track::default(),
            reading: None,
            now_ms: 1_000,
            told: Vec::new(),
            adopted: Vec::new(),
            last: None,
        }
    }

    pub(crate) fn set(&mut self, wanted: f64) {
        self.setpoint.value = PointValue::Number(wanted);
        self.band = Band::of(
            self.setpoint.value.clone(),
            self.setpoint.tolerance,
            self.rules.resolution,
        );
        self.track = std::mem::take(&mut self.track).of_new_wish();
    }

    pub(crate) fn decide(&mut self) -> Decision {
        let situation = Situation {
            setpoint: &self.setpoint,
            expires_at_ms: None,
            rules: &self.rules,
            band: &self.band,
            control: &self.control,
            reading: self.reading.as_ref(),
            guards: &self.guards,
            budget: self.budget.view(&self.rules.budget, self.now_ms),
            max_age_ms: 15_000,
            restores_per_hour: RESTORES,
            now_ms: self.now_ms,
            random: u32::MAX,
        };
        let decision = decide(&situation, self.track.clone());
        self.track = decision.track.clone();
        self.told.extend(decision.told.iter().cloned());
        self.last = Some(decision.clone());
        decision
    }

    /// One pass: the instrument is read, and what is decided is done until nothing is left to do now.
    pub(crate) fn pass(&mut self, instrument: &mut Instrument) {
        self.reading = Some(instrument.read(self.now_ms));
        for _ in 0..200 {
            match self.decide().act {
                Act::Read => {
                    self.now_ms += 5;
                    self.reading = Some(instrument.read(self.now_ms));
                }
                Act::Write(value) => {
                    let PointValue::Number(value) = value else {
                        panic!("a number is wanted, {value} is written")
                    };
                    if let Some(booking) = self.budget.to_book(&self.rules.budget, self.now_ms) {
                        self.budget.booked(&booking, self.now_ms);
                    }
                    self.budget.spend(self.now_ms);
                    self.now_ms += 5;
                    let outcome = instrument.write(value);
                    let told = self.track.written(outcome, self.now_ms, u32::MAX);
                    self.told.extend(told);
                }
                Act::Adopt(value) => {
                    let PointValue::Number(wanted) = value else {
                        panic!("a number was shown, {value} is adopted")
                    };
                    self.adopted.push(value);
                    self.set(wanted);
                }
                Act::Nothing => match self.last.as_ref().and_then(|last| last.look_at_ms) {
                    Some(at) if at <= self.now_ms + 1_500 => self.now_ms = at.max(self.now_ms + 1),
                    _ => return,
                },
            }
        }
        panic!("a pass comes to an end: {:?}", self.last);
    }

    pub(crate) fn passes(&mut self, instrument: &mut Instrument, count: u32) {
        for _ in 0..count {
            self.now_ms += 5_000;
            self.pass(instrument);
        }
    }

    pub(crate) fn status(&self) -> (Conformity, Hold) {
        let status = &self.last.as_ref().expect("it was decided").status;
        (status.conformity, status.hold)
    }

    pub(crate) fn reason(&self) -> Option<&HoldReason> {
        self.last
            .as_ref()
            .and_then(|last| last.status.reason.as_ref())
    }
}
