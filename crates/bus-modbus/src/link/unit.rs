//! One unit behind a link: when it is due, whether it answers, and what its sink and its listener are told.

use std::sync::Arc;
use std::time::Duration;

use holdfast_domain::{HealthStatus, PointId};
use holdfast_ports::bus::{HealthListener, StartError};
use holdfast_ports::readings::{Reading, ReadingSink};
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::errand::Plan;
use super::pace::{Demand, Passes, in_words};
use super::wire::{Ask, What};
use crate::data::{Place, Spec, Write};
use crate::poll::{Bad, Reader};
use crate::words;

/// What a unit joins a link with.
pub(crate) struct NewUnit {
    pub(crate) spec: Spec,
    pub(crate) readings: Arc<dyn ReadingSink>,
    pub(crate) health: Arc<dyn HealthListener>,
    /// Told of the first answer, or that there is none. None: it was established before.
    pub(crate) starting: Option<oneshot::Sender<Result<(), StartError>>>,
}

/// Whether a unit can be expected to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It was not asked yet.
    Unknown,
    /// It answered last time.
    Answering,
    /// It did not, so many times in a row; it is asked again then.
    Silent { failures: u32, probe_at: Instant },
}

/// One unit.
pub(crate) struct Unit {
    pub(crate) spec: Spec,
    pub(crate) reader: Reader,
    pub(crate) presence: Presence,
    /// When its next poll is due.
    pub(crate) due: Instant,
    /// Polls are due at whole intervals from here on.
    phase: Instant,
    /// When its last poll began.
    last_poll: Option<Instant>,
    /// How long its polls took.
    passes: Passes,
    /// Shortest time between two polls that the link carries.
    floor: Option<Duration>,
    readings: Arc<dyn ReadingSink>,
    health: Arc<dyn HealthListener>,
    starting: Option<oneshot::Sender<Result<(), StartError>>>,
    told: Option<Told>,
    /// It does not know function 6.
    writes_one_with_16: bool,
    /// The plan of the last read on demand.
    pub(super) planned: Option<Box<Plan>>,
}

/// What the listener knows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    /// Polled each so often, if that is not what is declared.
    Online {
        slowed: Option<Duration>,
    },
    Degraded {
        bad: Bad,
        reason: Arc<str>,
    },
    Offline(Arc<str>),
}

impl Unit {
    pub(crate) fn new(new: NewUnit, now: Instant, at: Timestamp) -> Self {
        let NewUnit {
            spec,
            readings,
            health,
            starting,
        } = new;
        let reader = Reader::new(&spec.points, &spec.blocks, at);
        Self {
            spec,
            reader,
            presence: Presence::Unknown,
            due: now,
            phase: now,
            last_poll: None,
            passes: Passes::default(),
            floor: None,
            readings,
            health,
            starting,
            told: None,
            writes_one_with_16: false,
            planned: None,
        }
    }

    /// Takes other content while it runs. A poll that is under way goes on only if it reads the same; answers whether
    /// it does.
    pub(crate) fn update(&mut self, spec: Spec, now: Instant, at: Timestamp) -> bool {
        let same_reads = spec.reads_the_same(&self.spec);
        let before = self.interval();
        self.spec = spec;
        self.interval_was(before, now);
        if !same_reads {
            self.reader = Reader::new(&self.spec.points, &self.spec.blocks, at);
            self.passes = Passes::default();
            self.due = now;
        }
        // It may name a point that has another name now, or is gone, or an interval that was declared before.
        if !matches!(
            self.told,
            Some(Told::Online { slowed: None } | Told::Offline(_))
        ) {
            self.told = None;
        }
        same_reads
    }

    /// How often it is polled: as declared, unless the link carries no more.
    fn interval(&self) -> Duration {
        self.floor
            .map_or(self.spec.interval, |floor| floor.max(self.spec.interval))
    }

    /// The link carries polls of a unit no more often than that.
    pub(crate) fn set_floor(&mut self, floor: Option<Duration>, now: Instant) {
        let before = self.interval();
        self.floor = floor;
        self.interval_was(before, now);
    }

    /// Another interval counts from the last poll on.
    fn interval_was(&mut self, before: Duration, now: Instant) {
        let interval = self.interval();
        if let Some(last) = self.last_poll.filter(|_| interval != before) {
            self.phase = last;
            self.due = (last + interval).max(now);
        }
    }

    /// The poll that began last was worked through.
    pub(crate) fn measure(&mut self, now: Instant) {
        if let Some(began) = self.last_poll {
            self.passes.add(now.saturating_duration_since(began));
        }
    }

    /// What it asks of the link, once that is known. A silent one asks for next to nothing.
    pub(crate) fn demand(&self) -> Option<Demand> {
        let pass = self.passes.usual()?;
        (self.presence == Presence::Answering).then_some(Demand {
            pass,
            interval: self.spec.interval,
        })
    }

    /// The function that writes one register here: 16 where 6 is not known. Learned.
    pub(crate) fn prefers(&self, write: &Write) -> Option<Write> {
        let other = write.with_other_function()?;
        (self.writes_one_with_16 && other.function() == 16).then_some(other)
    }

    /// The instrument took this.
    pub(crate) fn wrote(&mut self, write: &Write) {
        if write.with_other_function().is_some() {
            self.writes_one_with_16 = write.function() == 16;
        }
    }

    /// What a poll has read there before is not told any more.
    pub(crate) fn overwritten(&mut self, place: Place) {
        self.reader.written(&self.spec.points, place);
    }

    /// The request for that, with what the unit declares.
    pub(crate) fn ask(&self, what: What) -> Ask {
        Ask {
            unit_id: self.spec.unit_id,
            deadline: self.spec.timeout,
            what,
        }
    }

    /// If it does not answer: why, and when it is asked again.
    pub(crate) fn silence(&self, now: Instant) -> Option<String> {
        match (self.presence, &self.told) {
            (Presence::Silent { probe_at, .. }, Some(Told::Offline(reason))) => {
                let wait = words::about(probe_at.saturating_duration_since(now));
                Some(format!("{reason}; it is asked again in {wait}"))
            }
            (Presence::Silent { .. } | Presence::Answering | Presence::Unknown, _) => None,
        }
    }

    /// Which requests fetch these points on demand: as the last time, if nothing has changed since.
    pub(super) fn plan_of(&mut self, points: Vec<PointId>, at: Timestamp) -> Box<Plan> {
        let last = self.planned.take();
        let same = last.filter(|plan| plan.is_for(&points, &self.spec, &self.reader));
        same.unwrap_or_else(|| Plan::new(points, &self.spec, &self.reader, at))
    }

    /// Takes what was read on demand, and passes on what is new.
    pub(crate) fn note<'a>(&mut self, read: impl Iterator<Item = (usize, &'a Reading)>) {
        let reader = &mut self.reader;
        let news: Vec<Reading> = read
            .filter(|(index, reading)| reader.note(*index, reading))
            .map(|(_, reading)| reading.clone())
            .collect();
        if !news.is_empty() {
            self.readings.accept(self.spec.id(), &news);
        }
    }

    /// The line is back after it was down: no reason to wait for the next interval.
    pub(crate) fn ask_at_once(&mut self, now: Instant) {
        self.due = now;
        if let Presence::Silent { probe_at, .. } = &mut self.presence {
            *probe_at = now;
        }
        self.reader.look_again(now);
    }

    /// Puts the next poll on the next whole interval; answers how many were missed.
    pub(crate) fn schedule_next(&mut self, now: Instant) -> u64 {
        self.last_poll = Some(now);
        let interval = self.interval();
        let missed = intervals(now.saturating_duration_since(self.due), interval);
        let past = intervals(now.saturating_duration_since(self.phase), interval);
        let ahead = u32::try_from(past + 1)
            .ok()
            .and_then(|past| interval.checked_mul(past));
        match ahead.and_then(|ahead| self.phase.checked_add(ahead)) {
            Some(due) => self.due = due,
            // After 2³² intervals: begin anew.
            None => {
                self.phase = now;
                self.due = now + interval;
            }
        }
        missed
    }

    /// The unit answered for the first time.
    pub(crate) fn established(&mut self) {
        if let Some(starting) = self.starting.take() {
            // Who started it may have stopped waiting; then it is on its way to be removed.
            let _ = starting.send(Ok(()));
        }
    }

    /// Is somebody waiting for its first answer? Then it is told the reason, and the unit must go.
    pub(crate) fn refuse_start(&mut self, reason: &str) -> bool {
        match self.starting.take() {
            Some(starting) => {
                let _ = starting.send(Err(StartError::Unreachable(reason.to_owned())));
                true
            }
            None => false,
        }
    }

    /// A poll has ended: the readings go out, and the health if it changed.
    pub(crate) fn report_poll(&mut self) {
        self.deliver();
        let Some(bad) = self.reader.bad() else {
            let interval = self.interval();
            return self.tell(Told::Online {
                slowed: (interval != self.spec.interval).then_some(interval),
            });
        };
        let reason = self.reader.readings()[bad.first].reason.clone();
        self.tell(Told::Degraded {
            bad,
            reason: reason.expect("a bad reading says why"),
        });
    }

    /// The unit can't be reached: the readings go out, all that could not be read bad, and the health if it changed.
    pub(crate) fn report_offline(&mut self, reason: &Arc<str>) {
        self.deliver();
        self.tell(Told::Offline(Arc::clone(reason)));
    }

    /// The other side ended the connection.
    pub(crate) fn report_broken_off(&self) {
        self.health.broken_off(self.spec.id());
    }

    /// Only tells the health: what takes the readings may be what has failed.
    pub(crate) fn report_failed(&mut self, reason: &Arc<str>) {
        self.tell(Told::Offline(Arc::clone(reason)));
    }

    fn deliver(&self) {
        let (readings, overwritten) = (self.reader.readings(), self.reader.overwritten());
        if readings.is_empty() {
        } else if overwritten.is_empty() {
            self.readings.accept(self.spec.id(), readings);
        } else {
            let told = readings.iter().enumerate();
            let told: Vec<Reading> = told
                .filter(|(index, _)| !overwritten.contains(index))
                .map(|(_, reading)| reading.clone())
                .collect();
            self.readings.accept(self.spec.id(), &told);
        }
    }

    fn tell(&mut self, news: Told) {
        if self.told.as_ref() == Some(&news) {
            return;
        }
        let (status, reason) = match &news {
            Told::Online { slowed } => (
                HealthStatus::Online,
                slowed.map(|slowed| self.slowed(slowed)),
            ),
            Told::Degraded { bad, reason } => {
                (HealthStatus::Degraded, Some(self.degraded(*bad, reason)))
            }
            Told::Offline(reason) => (HealthStatus::Offline, Some(reason.to_string())),
        };
        tracing::debug!(sensor = %self.spec.id(), %status, reason, "health");
        self.health.health(self.spec.id(), status, reason);
        self.told = Some(news);
    }

    fn slowed(&self, interval: Duration) -> String {
        let (now, declared) = (in_words(interval), in_words(self.spec.interval));
        format!("polled every {now} instead of {declared}: the line carries no more")
    }

    fn degraded(&self, bad: Bad, reason: &str) -> String {
        let name = self.spec.point_name(bad.first);
        match bad.count {
            1 => format!("{name}: {reason}"),
            count => format!(
                "{name}: {reason}; {count} of {} points are bad",
                self.spec.points.len()
            ),
        }
    }
}

/// How many whole intervals fit into `span`.
fn intervals(span: Duration, interval: Duration) -> u64 {
    u64::try_from(span.as_nanos() / interval.as_nanos()).unwrap_or(u64::MAX - 1)
}
