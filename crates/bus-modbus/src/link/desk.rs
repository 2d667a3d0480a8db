//! Takes every decision of one link: what comes next, and what follows from what happened. Synchronous: time comes in
//! as a parameter, and what it decides is carried out by the task in `mod.rs`.
//!
//! A poll that has begun is worked through before another begins; what is to be written or read on demand comes between
//! two requests. Whose turn it is, `order.rs` says.
//!
//! Read next: `desk/polls.rs`, `desk/errands.rs`.

mod errands;
mod polls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_domain::hold::WriteOutcome;
use holdfast_domain::{PointId, PointValue};
use holdfast_ports::bus::Fresh;
use holdfast_ports::clock::Clock;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::errand::{ReadErrand, WriteErrand};
use super::order::{Choice, PassedOver, Rank, choose};
use super::pace::Demand;
use super::queue::Queue;
use super::unit::{NewUnit, Unit};
use super::wire::{Answer, Ask, Failure};
use crate::data::{Endpoint, Spec};
use crate::poll::Request;
use crate::settings::Waits;
use crate::stats::Counts;

/// On a link with units that answer, the silent ones together take at most one in so many parts of its time.
const SILENT_UNITS_SHARE: u32 = 10;

/// What is said of units whose link's task has panicked.
pub(crate) const TASK_FAILED: &str =
    "the agent's Modbus adapter has failed (a bug); restart the agent and report it";

/// What is said of errands of a sensor that was stopped.
const STOPPED: &str = "the sensor was stopped";

/// Names a unit within the process; a sensor that is started again is another one.
pub(crate) type Key = u64;

/// What the handles of sensors ask of a link.
pub(crate) enum Command {
    Add(Key, Box<NewUnit>),
    /// Answers when the new content is in force.
    Update(Key, Box<Spec>, oneshot::Sender<()>),
    /// Answers when nothing is sent for it any more, and the connection is closed if it was the last.
    Remove(Key, Option<oneshot::Sender<()>>),
    /// Reads points on demand.
    Read(Key, Vec<PointId>, oneshot::Sender<Vec<Fresh>>),
    /// Writes a value to a point.
    Write(Key, PointId, PointValue, oneshot::Sender<WriteOutcome>),
    /// The same, if it can be begun by then.
    WriteBy(
        Instant,
        Key,
        PointId,
        PointValue,
        oneshot::Sender<WriteOutcome>,
    ),
}

/// What the task shall do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing before then, or before a command comes.
    Wait(Option<Instant>),
    /// Make a connection; then tell [`Desk::connected`].
    Connect,
    /// Ask; then tell [`Desk::answered`].
    Ask(Ask),
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

/// A request of a poll that is to be made, or under way.
#[derive(Debug, Clone)]
struct Asking {
    request: Request,
    ask: Ask,
    /// The answer came damaged before.
    is_second: bool,
}

/// What the request that is under way is for.
enum UnderWay {
    Poll,
    Write(WriteErrand, Ask),
    /// Without a request: the unit has other content since, so that the answer says nothing.
    Read(ReadErrand, Option<Request>, Ask),
}

/// One link and the units behind it.
pub(crate) struct Desk {
    endpoint: Endpoint,
    line: Line,
    /// Each apart: a node of the map has room for eleven, and most links have one.
    units: BTreeMap<Key, Box<Unit>>,
    /// The unit whose poll has begun.
    polling: Option<Key>,
    asking: Option<Asking>,
    /// None also if what it was for is gone.
    under_way: Option<UnderWay>,
    /// What waits to be written or read on demand.
    queue: Queue,
    passed_over: PassedOver,
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
            under_way: None,
            queue: Queue::default(),
            passed_over: PassedOver::default(),
            failed_last: None,
            floor: None,
            demands: Vec::new(),
            clock,
            waits,
            counts,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Carries out a command; what comes back must be answered once nothing of the unit is under way.
    pub(crate) fn obey(&mut self, command: Command, now: Instant) -> Option<oneshot::Sender<()>> {
        let at = self.clock.now();
        match command {
            Command::Add(key, new) => {
                let mut unit = Box::new(Unit::new(*new, now, at));
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
                self.plan_errands_again(key);
                Some(done)
            }
            Command::Remove(key, done) => {
                self.abandon_errands(key);
                self.units.remove(&key);
                if self.polling == Some(key) {
                    self.give_up_poll();
                }
                done
            }
            Command::Read(key, points, answer) => {
                self.read(key, points, answer, now);
                None
            }
            Command::Write(key, point, value, answer) => {
                self.write(key, (point, value), None, answer, now);
                None
            }
            Command::WriteBy(begin_by, key, point, value, answer) => {
                self.write(key, (point, value), Some(begin_by), answer, now);
                None
            }
        }
    }

    /// What comes next; called again after what it said was done.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if self.units.is_empty() {
            return Next::Wait(None);
        }
        if let Line::Down { retry_at, .. } = self.line {
            // Errands are taken on a line that is down only for a unit that is alone on it.
            return if retry_at <= now || !self.queue.is_empty() {
                Next::Connect
            } else {
                Next::Wait(Some(retry_at))
            };
        }
        loop {
            let patience = self.waits.settings.patience;
            let choice = || choose(&self.units, patience, self.failed_last, now);
            let poll = self.polling.map_or_else(choice, Choice::Now);
            let read = self.queue.turn(Rank::Read);
            let (reads, polls) = (read.is_some(), matches!(poll, Choice::Now(_)));
            let writes = self.queue.turn(Rank::Write);
            let rank = self.passed_over.choose(writes.is_some(), reads, polls);
            if rank.is_some() && !matches!(self.line, Line::Open { .. }) {
                return Next::Connect;
            }
            let next = match (rank, poll) {
                (Some(Rank::Write), _) => writes.and_then(|turn| self.begin_errand(turn, now)),
                (Some(Rank::Read), _) => read.and_then(|turn| self.begin_errand(turn, now)),
                (Some(Rank::Poll), Choice::Now(key)) => self.poll(key, now),
                (_, Choice::Later(at)) => return Next::Wait(at),
                (None, Choice::Now(_)) => unreachable!("a poll that is due has a rank"),
            };
            if let (Some(next), Some(rank)) = (next, rank) {
                self.counts.requests(1);
                self.passed_over.made(rank, reads, polls);
                if rank == Rank::Poll {
                    self.under_way = Some(UnderWay::Poll);
                }
                return next;
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
                let reason: Arc<str> = format!("{}: {reason}", self.endpoint.attempt()).into();
                tracing::debug!(failures, "{reason}");
                let retry_at = now + self.waits.after(self.waits.settings.reconnect, failures);
                self.line = Line::Down {
                    failures,
                    retry_at,
                    reason: Arc::clone(&reason),
                };
                self.give_up_poll();
                self.fail_all_errands(&format!("{reason}; nothing was sent"));
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
        let used_before = matches!(self.line, Line::Open { served: 1.. });
        let is_usable = match &result {
            Ok(answer) => {
                if let Line::Open { served } = &mut self.line {
                    *served += 1;
                }
                match answer {
                    Answer::Exception(_) => self.counts.exceptions(1),
                    Answer::Data(_) | Answer::Written => {}
                }
                true
            }
            Err(failure) => {
                match failure {
                    Failure::TimedOut | Failure::Cut(_) => self.counts.timeouts(1),
                    Failure::Damaged => self.counts.damaged(1),
                    Failure::Lost(_) | Failure::Stale => {
                        self.units
                            .values()
                            .for_each(|unit| unit.report_broken_off());
                    }
                    Failure::NoAnswer(_) | Failure::Owing => {}
                }
                let ends = failure.ends_connection(&self.endpoint);
                if ends {
                    self.counts.drops(1);
                    self.line = Line::Closed;
                }
                !ends
            }
        };
        match self.under_way.take() {
            Some(UnderWay::Poll) => self.poll_answered(result, used_before, now),
            Some(UnderWay::Write(errand, ask)) => {
                self.write_answered(errand, &ask, result, used_before, now);
            }
            Some(UnderWay::Read(errand, request, ask)) => {
                self.read_answered(errand, request.as_ref(), &ask, &result, used_before, now);
            }
            None => {}
        }
        is_usable
    }

    /// The connection was closed because nobody needs it.
    pub(crate) fn closed(&mut self) {
        self.line = Line::Closed;
        self.give_up_poll();
        self.give_up_errands(STOPPED);
    }

    /// The link's task has failed: nobody polls these units any more, and somebody must know.
    pub(crate) fn task_failed(&mut self) {
        tracing::error!(link = %self.endpoint, "the task of this link has failed");
        let reason: Arc<str> = TASK_FAILED.into();
        self.give_up_errands(TASK_FAILED);
        for unit in self.units.values_mut() {
            if !unit.refuse_start(&reason) {
                unit.report_failed(&reason);
            }
        }
    }
}
