//! Time, randomness and agents that a test decides: [`ManualClock`], [`SeededEntropy`], [`World`], [`FakeAgent`].
//!
//! Everything made with one seed and one start is the same in every run. Read next: `builders.rs`, for documents.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use holdfast_domain::{
    DeviceId, Failure, Health, HealthStatus, Incarnation, Item, Name, Report, ReportOrder,
    SensorId,
    document::{
        command::{CommandOutcome, CommandReport},
        hold::{HoldReport, LoopState},
        report::{Outcome, running_fingerprint},
        setpoint::{Conformity, Hold, SetpointReport},
    },
    edit::{Edit, EditError, Edition, edit},
    event::{Context, Event, EventKind, whole_micros},
    receive::{Received, receive},
    row::{Actor, Audit},
    state::{Change, DeviceRecord, DeviceState},
    values::{ReportedValues, Wish},
};
use holdfast_ports::clock::{Clock, Entropy};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `start`, cut to whole microseconds.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.as_microsecond()))
    }

    /// The time that is so far away from what it shows.
    #[must_use]
    pub fn now_plus(&self, by: SignedDuration) -> Timestamp {
        self.now() + by
    }

    /// Moves it forward and gives the new time.
    pub fn advance(&self, by: SignedDuration) -> Timestamp {
        let by = i64::try_from(by.as_micros()).expect("tests advance by less than an age");
        self.0.fetch_add(by, Ordering::SeqCst);
        self.now()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.0.load(Ordering::SeqCst))
            .expect("a time that was one before")
    }
}

/// Reproducible numbers; nothing of it is secret.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<u64>);

impl SeededEntropy {
    /// The numbers that follow from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// 64 bits (SplitMix64).
    pub fn next(&self) -> u64 {
        let mut state = self.0.lock().expect("nobody panics in here");
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One of 0 to `bound - 1`.
    pub fn below(&self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    /// Yes, `percent` times out of a hundred.
    pub fn chance(&self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

impl Entropy for SeededEntropy {
    fn uuid(&self) -> Uuid {
        uuid::Builder::from_custom_bytes(
            (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes(),
        )
        .into_uuid()
    }

    fn jitter(&self) -> u32 {
        (self.next() >> 32) as u32
    }

    fn secret(&self) -> [u8; 32] {
        let mut secret = [0; 32];
        for part in secret.chunks_exact_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes());
        }
        secret
    }
}

/// A hub's surroundings: a clock, randomness, and what an operator does.
#[derive(Debug)]
pub struct World {
    /// The time.
    pub clock: ManualClock,
    /// Ids and choices.
    pub entropy: SeededEntropy,
}

impl World {
    /// A world that begins now, so that stores that read a clock of their own agree with it.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::starting(seed, Timestamp::now())
    }

    /// A world that begins at `start`.
    #[must_use]
    pub fn starting(seed: u64, start: Timestamp) -> Self {
        Self {
            clock: ManualClock::new(whole_micros(start)),
            entropy: SeededEntropy::new(seed),
        }
    }

    /// A change by `actor` now; each one is a millisecond later than the one before.
    #[must_use]
    pub fn context(&self, actor: &str) -> Context {
        let now = self.clock.advance(SignedDuration::from_millis(1));
        Context::new(now, Actor::named(actor)).during(&format!("request-{}", now.as_microsecond()))
    }

    /// A device that nothing is known of yet, whose agent has registered.
    #[must_use]
    pub fn device(&self, name: &str) -> DeviceState {
        let context = self.context("anna");
        DeviceState::new(DeviceRecord {
            id: DeviceId(self.entropy.uuid()),
            name: Name::new(name).expect("tests give valid names"),
            labels: BTreeMap::from([("site".to_owned(), "north".to_owned())]),
            incarnation: Some(Incarnation(self.entropy.uuid())),
            audit: Audit::new(context.now, &context.actor),
        })
    }

    /// One event of `state`, as the first or last of a device's life.
    #[must_use]
    pub fn event(&self, state: &DeviceState, kind: EventKind) -> Event {
        let mut change = Change::of(state);
        let payload = json!({ "name": state.record.name });
        change.event(state, &self.context("anna"), kind, None, payload);
        change.events.remove(0)
    }

    /// What an operator's edit comes to.
    ///
    /// # Errors
    /// As [`edit`].
    pub fn edit(&self, state: &DeviceState, what: Edit) -> Result<Edition, EditError> {
        edit(
            state,
            what,
            Some("because"),
            &mut || self.entropy.uuid(),
            &self.context("anna"),
        )
    }

    /// The change that adds a sensor.
    ///
    /// # Panics
    /// If the document is not valid.
    #[must_use]
    pub fn add(&self, state: &DeviceState, document: Value) -> Change {
        let edition = self
            .edit(state, Edit::Add(document))
            .expect("tests add valid sensors");
        edition.change.expect("adding changes something")
    }

    /// The change that a report makes; `None` if it changes nothing.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn report(&self, state: &DeviceState, report: Report) -> Option<Change> {
        match receive(state, report, None, &self.context("agent")) {
            Received::Changed(change) => Some(*change),
            Received::Unchanged => None,
            refused => panic!("expected a report that is taken, found {refused:?}"),
        }
    }
}

/// An agent that says what a test wants it to say.
#[derive(Debug, Clone)]
pub struct FakeAgent {
    /// The current life of its disk.
    pub incarnation: Incarnation,
    /// Number of its boot.
    pub boot: u64,
    /// Number of its last report in this boot.
    pub sequence: u64,
    /// The version it holds.
    pub held_version: u64,
    /// The version it has worked through.
    pub version: u64,
    /// What runs.
    pub running: Vec<Item>,
    /// What could not be started.
    pub failures: Vec<Failure>,
    /// Health of what runs.
    pub health: BTreeMap<SensorId, Health>,
    /// The last request to look again that it carried out.
    pub looked_revision: u64,
    /// What it says of its outputs; `None`: nothing.
    pub values: Option<ReportedValues>,
}

impl FakeAgent {
    /// The agent of a device, started for the first time.
    ///
    /// # Panics
    /// If the device has no incarnation.
    #[must_use]
    pub fn of(state: &DeviceState) -> Self {
        Self {
            incarnation: state
                .record
                .incarnation
                .expect("tests give devices an incarnation"),
            boot: 1,
            sequence: 0,
            held_version: 0,
            version: 0,
            running: Vec::new(),
            failures: Vec::new(),
            health: BTreeMap::new(),
            looked_revision: 0,
            values: None,
        }
    }

    /// Starts anew: nothing runs, what is held is held.
    pub fn reboot(&mut self) {
        self.boot += 1;
        self.sequence = 0;
        self.running.clear();
        self.health.clear();
    }

    /// Makes all of the target run.
    pub fn establish(&mut self, state: &DeviceState) {
        self.establish_but(state, &[], Timestamp::UNIX_EPOCH);
    }

    /// Makes all of the target run, but not `failing`, which fails. What runs is online since `since`.
    pub fn establish_but(&mut self, state: &DeviceState, failing: &[SensorId], since: Timestamp) {
        self.held_version = state.target.version;
        self.version = state.target.version;
        self.looked_revision = state.target.look_revision;
        let (failed, running): (Vec<Item>, Vec<Item>) = state
            .target
            .items
            .iter()
            .cloned()
            .partition(|item| failing.contains(&item.sensor.id()));
        self.failures = failed
            .iter()
            .map(|item| Failure {
                id: item.sensor.id(),
                fingerprint: item.sensor.fingerprint(),
                error: "connect 10.0.0.7:502: \"connection refused\"\nno answer for 5 s".to_owned(),
                attempts: 3,
            })
            .collect();
        self.running = running;
        self.health = self
            .running
            .iter()
            .map(|item| {
                (
                    item.sensor.id(),
                    Health {
                        status: HealthStatus::Online,
                        since,
                        reason: None,
                    },
                )
            })
            .collect();
    }

    /// Says of every command that waits for a word that it was carried out and read back; to be called after
    /// [`hold_all`](Self::hold_all).
    pub fn answer_all(&mut self, state: &DeviceState, at: Timestamp) {
        let Some(values) = &mut self.values else {
            return;
        };
        let words = state.commands_waiting().map(|record| CommandReport {
            id: record.command.id,
            outcome: CommandOutcome::Verified,
            reason: None,
            value: Some(record.command.value.clone()),
            at: whole_micros(at),
            took_ms: Some(38),
        });
        values.commands = words.map(|word| (word.id, word)).collect();
    }

    /// Says of every setpoint of the device that its value is held and was read back.
    pub fn hold_all(&mut self, state: &DeviceState) {
        let values = &state.target.values;
        let held = |wish: &Wish| SetpointReport {
            conformity: Conformity::InSync,
            hold: Hold::Active,
            value: Some(wish.setpoint.value.clone()),
            reason: None,
            since: wish.set_at,
            revision: values.revision,
            writes: 1,
            budget_left: 99,
            written: 1,
            verified_in_ms: Some(38),
            changes: 0,
            last_change: None,
            adopt: None,
        };
        self.values = Some(ReportedValues {
            held_revision: values.revision,
            held_fingerprint: Some(values.fingerprint()),
            items: values
                .wishes
                .iter()
                .map(|(point, wish)| (*point, held(wish)))
                .collect(),
            accounts: BTreeMap::new(),
            resets: values
                .resets
                .iter()
                .map(|(point, reset)| (*point, reset.id))
                .collect(),
            hold: Some(HoldReport {
                held_revision: values.hold.revision,
                state: match values.hold.stops().next() {
                    Some(_) => LoopState::Stopped,
                    None => LoopState::Active,
                },
                interval_ms: values.hold.interval_ms,
                pass_ms: Some(50),
                recommended_interval_ms: Some(100),
                overruns: 0,
                local: None,
                local_ended: None,
                not_kept: None,
            }),
            held_commands: values.commands.revision,
            commands: BTreeMap::new(),
        });
    }

    /// A report of everything.
    pub fn full_report(&mut self) -> Report {
        self.sequence += 1;
        Report {
            order: ReportOrder {
                incarnation: self.incarnation,
                boot: self.boot,
                sequence: self.sequence,
            },
            held_version: self.held_version,
            running_fingerprint: running_fingerprint(&self.running),
            looked_revision: self.looked_revision,
            outcome: Some(Outcome {
                version: self.version,
                running: self.running.clone(),
                failures: self.failures.clone(),
            }),
            health: Some(self.health.clone()),
            values: self.values.clone(),
            agent_version: Some("0.1.0".to_owned()),
            extra: Map::new(),
        }
    }

    /// A report that leaves everything out that may be left out.
    pub fn heartbeat(&mut self) -> Report {
        Report {
            outcome: None,
            health: None,
            values: None,
            agent_version: None,
            ..self.full_report()
        }
    }
}
