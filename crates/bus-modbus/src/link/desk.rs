//! Takes every decision of one link: what comes next, and what follows from what happened. Synchronous: time comes in
//! as a parameter, and what it decides is carried out by the task in `mod.rs`.
//!
//! A poll that has begun is worked through before another begins; which one that is, `order.rs` says. A write will find
//! its place before either, between two requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_ports::clock::Clock;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::order::{Choice, choose};
use super::pace::{Demand, in_words, paced};
use super::unit::{NewUnit, Presence, Unit};
use super::wire::{Answer, Failure, Read};
use crate::data::{Endpoint, Spec};
use crate::poll::Request;
use crate::settings::Waits;
use crate::stats::Counts;
use crate::words;

/// On a link with units that answer, the silent ones together take at most one in so many parts of its time.
const SILENT_UNITS_SHARE: u32 = 10;

/// What is said of units whose link's task has panicked.
pub(crate) const TASK_FAILED: &str =
    "the agent's Modbus adapter has failed (a bug); restart the agent and report it";

/// Names a unit within the process; a sensor that is started again is another one.
pub(crate) type Key = u64;

/// What the handles of sensors ask of a link.
pub(crate) enum Command {
    Add(Key, Box<NewUnit>),
    /// Answers when the new content is in force.
    Update(Key, Box<Spec>, oneshot::Sender<()>),
    /// Answers when nothing is sent for it any more, and the connection is closed if it was the last.
    Remove(Key, Option<oneshot::Sender<()>>),
}

/// What the task shall do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing before then, or before a command comes.
    Wait(Option<Instant>),
    /// Make a connection; then tell [`Desk::connected`].
    Connect,
    /// Ask; then tell [`Desk::answered`].
    Ask(Read),
}

/// The state of the connection.
#[derive(Debug)]
enum Line {
    Closed,
    /// So many requests were answered on it.
    Open {
        served: u64,
    },
    /// It could not be made, so many times in a row.
    Down {
        failures: u32,
        retry_at: Instant,
        reason: Arc<str>,
    },
}

/// A request that is to be made, or under way.
#[derive(Debug, Clone)]
struct Asking {
    request: Request,
    read: Read,
}

/// One link and the units behind it.
pub(crate) struct Desk {
    endpoint: Endpoint,
    line: Line,
    units: BTreeMap<Key, Unit>,
    /// The unit whose poll has begun.
    polling: Option<Key>,
    asking: Option<Asking>,
    /// When a unit last did not answer.
    failed_last: Option<Instant>,
    /// Shortest time between two polls of a unit that the line carries; none: what is declared is kept.
    floor: Option<Duration>,
    /// Room to add up what the units ask for.
    demands: Vec<Demand>,
    clock: Arc<dyn Clock>,
    waits: Waits,
    counts: Counts,
}

impl Desk {
    pub(crate) fn new(
        endpoint: Endpoint,
        clock: Arc<dyn Clock>,
        waits: Waits,
        counts: Counts,
    ) -> Self {
        let (line, units) = (Line::Closed, BTreeMap::new());
        Self {
            endpoint,
            line,
            units,
            polling: None,
            asking: None,
            failed_last: None,
            floor: None,
            demands: Vec::new(),
            clock,
            waits,
            counts,
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Carries out a command; what comes back must be answered once nothing of the unit is under way.
    pub(crate) fn obey(&mut self, command: Command, now: Instant) -> Option<oneshot::Sender<()>> {
        let at = self.clock.now();
        match command {
            Command::Add(key, new) => {
                let mut unit = Unit::new(*new, now, at);
                unit.set_floor(self.floor, now);
                if let Line::Down { reason, .. } = &self.line {
                    let reason = Arc::clone(reason);
                    if unit.refuse_start(&reason) {
                        return None;
                    }
                    unit.reader.fail_all(&reason, at);
                    unit.report_offline(&reason);
                }
                self.units.insert(key, unit);
                None
            }
            Command::Update(key, spec, done) => {
                if let Some(unit) = self.units.get_mut(&key)
                    && !unit.update(*spec, now, at)
                    && self.polling == Some(key)
                {
                    self.give_up_poll();
                }
                Some(done)
            }
            Command::Remove(key, done) => {
                self.units.remove(&key);
                if self.polling == Some(key) {
                    self.give_up_poll();
                }
                done
            }
        }
    }

    /// What comes next; called again after what it said was done.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if self.units.is_empty() {
            return Next::Wait(None);
        }
        if let Line::Down { retry_at, .. } = self.line {
            return if retry_at <= now {
                Next::Connect
            } else {
                Next::Wait(Some(retry_at))
            };
        }
        loop {
            let patience = self.waits.settings.patience;
            let choice = || choose(&self.units, patience, self.failed_last, now);
            let key = match self.polling.map_or_else(choice, Choice::Now) {
                Choice::Now(key) => key,
                Choice::Later(at) => return Next::Wait(at),
            };
            if !matches!(self.line, Line::Open { .. }) {
                return Next::Connect;
            }
            if let Some(asking) = &self.asking {
                self.counts.requests(1);
                return Next::Ask(asking.read);
            }
            if self.polling.is_none() {
                self.begin_poll(key, now);
            }
            let unit = self
                .units
                .get_mut(&key)
                .expect("a unit that is removed is not polled on");
            match unit.reader.next(self.clock.now()) {
                Some(request) => {
                    let read = Read {
                        unit_id: unit.spec.unit_id,
                        place: request.place,
                        deadline: unit.spec.timeout,
                    };
                    self.asking = Some(Asking { request, read });
                }
                None => self.end_poll(key, now),
            }
        }
    }

    /// An attempt to make a connection has ended.
    pub(crate) fn connected(&mut self, result: Result<(), String>, now: Instant) {
        match result {
            Ok(()) => {
                self.counts.connects(1);
                let was_down = matches!(self.line, Line::Down { .. });
                self.line = Line::Open { served: 0 };
                if was_down {
                    tracing::info!(link = %self.endpoint, "connected again");
                    self.units
                        .values_mut()
                        .for_each(|unit| unit.ask_at_once(now));
                }
            }
            Err(reason) => {
                self.counts.connect_failures(1);
                let failures = match &self.line {
                    Line::Down { failures, .. } => failures.saturating_add(1),
                    Line::Closed | Line::Open { .. } => 1,
                };
                let reason: Arc<str> = format!("connect {}: {reason}", self.endpoint).into();
                tracing::debug!(failures, "{reason}");
                let retry_at = now + self.waits.after(self.waits.settings.reconnect, failures);
                self.line = Line::Down {
                    failures,
                    retry_at,
                    reason: Arc::clone(&reason),
                };
                self.give_up_poll();
                let at = self.clock.now();
                self.units.retain(|_, unit| {
                    if unit.refuse_start(&reason) {
                        return false;
                    }
                    unit.reader.fail_all(&reason, at);
                    unit.report_offline(&reason);
                    true
                });
            }
        }
    }

    /// The request has ended. Answers whether the connection can be used on.
    pub(crate) fn answered(&mut self, result: Result<Answer, Failure>, now: Instant) -> bool {
        // None: the poll was given up while the request was under way. It still says how the line is.
        let asked = self.polling.zip(self.asking.take());
        match result {
            Ok(answer) => {
                if let Line::Open { served } = &mut self.line {
                    *served += 1;
                }
                match answer {
                    Answer::Exception(_) => self.counts.exceptions(1),
                    Answer::Data(_) => {}
                }
                if let Some((key, asking)) = asked {
                    self.take_answer(key, &asking.request, &answer, now);
                }
                true
            }
            Err(failure) => {
                self.counts.drops(1);
                let used_before = matches!(self.line, Line::Open { served: 1.. });
                self.line = Line::Closed;
                if failure == Failure::TimedOut {
                    self.counts.timeouts(1);
                }
                match (asked, &failure) {
                    // The other side may close what was idle for a while. Reading twice harms nothing.
                    (Some((_, asking)), Failure::Lost(_)) if used_before => {
                        self.asking = Some(asking);
                    }
                    (Some((key, asking)), failure) => {
                        let reason = failure.of(&asking.read, &self.endpoint).into();
                        self.unit_failed(key, &reason, now);
                    }
                    (None, _) => {}
                }
                false
            }
        }
    }

    /// The connection was closed because nobody needs it.
    pub(crate) fn closed(&mut self) {
        self.line = Line::Closed;
        self.give_up_poll();
    }

    /// The link's task has failed: nobody polls these units any more, and somebody must know.
    pub(crate) fn task_failed(&mut self) {
        tracing::error!(link = %self.endpoint, "the task of this link has failed");
        let reason: Arc<str> = TASK_FAILED.into();
        for unit in self.units.values_mut() {
            if !unit.refuse_start(&reason) {
                unit.report_failed(&reason);
            }
        }
    }

    fn take_answer(&mut self, key: Key, request: &Request, answer: &Answer, now: Instant) {
        let unit = self
            .units
            .get_mut(&key)
            .expect("a unit that is removed is not polled on");
        let at = self.clock.now();
        match answer {
            Answer::Data(data) => unit.reader.answered(&unit.spec.points, request, data, at),
            Answer::Exception(code) if words::is_unit_silent(*code) => {
                let (unit_id, endpoint) = (unit.spec.unit_id, &self.endpoint);
                let reason =
                    format!("unit {unit_id} at {endpoint}: {}", words::exception(*code)).into();
                return self.unit_failed(key, &reason, now);
            }
            Answer::Exception(code) => {
                unit.reader
                    .exception(&unit.spec.points, request, *code, (now, at), &self.waits);
            }
        }
        unit.established();
    }

    fn begin_poll(&mut self, key: Key, now: Instant) {
        let unit = self
            .units
            .get_mut(&key)
            .expect("a unit was chosen that is there");
        let missed = unit.schedule_next(now);
        if unit.presence == Presence::Answering && missed > 0 {
            self.counts.skipped_polls(missed);
        }
        unit.reader.begin(now, &self.waits);
        self.polling = Some(key);
    }

    fn end_poll(&mut self, key: Key, now: Instant) {
        self.polling = None;
        self.counts.polls(1);
        let unit = self
            .units
            .get_mut(&key)
            .expect("a unit that is removed is not polled on");
        if matches!(unit.presence, Presence::Silent { .. }) {
            unit.reader.look_again(now);
        }
        unit.presence = Presence::Answering;
        unit.measure(now);
        // A unit without points is established by the connection alone.
        unit.established();
        self.pace(now);
        if let Some(unit) = self.units.get_mut(&key) {
            unit.report_poll();
        }
    }

    /// Adapts how often units are polled to what the line carries.
    fn pace(&mut self, now: Instant) {
        self.demands.clear();
        self.demands
            .extend(self.units.values().filter_map(Unit::demand));
        let floor = paced(self.floor, &mut self.demands);
        if floor == self.floor {
            return;
        }
        self.floor = floor;
        self.counts.paced(floor);
        self.units
            .values_mut()
            .for_each(|unit| unit.set_floor(floor, now));
        match floor {
            Some(floor) => {
                let floor = in_words(floor);
                tracing::info!(link = %self.endpoint, floor, "the line carries no more: units are polled less often than declared");
            }
            None => {
                tracing::info!(link = %self.endpoint, "the line carries it again: units are polled as declared");
            }
        }
    }

    fn give_up_poll(&mut self) {
        self.polling = None;
        self.asking = None;
    }

    fn unit_failed(&mut self, key: Key, reason: &Arc<str>, now: Instant) {
        self.give_up_poll();
        self.failed_last = Some(now);
        let silent = self
            .units
            .values()
            .filter(|unit| matches!(unit.presence, Presence::Silent { .. }))
            .count();
        let answering = self
            .units
            .iter()
            .any(|(other, unit)| *other != key && unit.presence == Presence::Answering);
        let at = self.clock.now();
        let unit = self
            .units
            .get_mut(&key)
            .expect("a unit that is removed is not polled on");
        if unit.refuse_start(reason) {
            self.units.remove(&key);
            return;
        }
        let failures = match unit.presence {
            Presence::Silent { failures, .. } => failures.saturating_add(1),
            Presence::Unknown | Presence::Answering => 1,
        };
        let mut wait = self.waits.after(self.waits.settings.dead_unit, failures);
        if answering {
            let all = u32::try_from(silent + 1).unwrap_or(u32::MAX);
            wait = wait.max(
                unit.spec
                    .timeout
                    .saturating_mul(SILENT_UNITS_SHARE)
                    .saturating_mul(all),
            );
        }
        unit.presence = Presence::Silent {
            failures,
            probe_at: now + wait,
        };
        unit.reader.fail_rest(reason, at);
        unit.report_offline(reason);
    }
}
