//! One output: its wish, what it showed last, what is under way, and how it stands.

use holdfast_domain::{
    Fingerprint, PointValue, Quality, SensorId,
    document::setpoint::{Conformity, HandChange, Hold, Setpoint, SetpointReport},
    event::whole_micros,
    hold::{
        Account, Act, Band, Budget, BudgetView, Control, Decision, Guard, GuardFailure, HoldStatus,
        Instead, Learned, Observed, PointRules, Situation, Stage, Told, Track, WriteOutcome,
        decide,
    },
};
use jiff::{SignedDuration, Timestamp, Unit};

use super::{
    Now,
    leaving::{Place, Standing},
};
use crate::machine::slot::Changed;

/// A reading says nothing any more when it is older than so many intervals, and a second at least.
const OLD_AFTER_INTERVALS: u64 = 3;

/// An output that shall hold a value.
#[derive(Debug)]
pub(super) struct Output {
    sensor: SensorId,
    /// Of its sensor's content, which the rules are from.
    pub(super) content: Fingerprint,
    pub(super) setpoint: Setpoint,
    pub(super) rules: PointRules,
    pub(super) band: Band,
    pub(super) expires_at: Option<u64>,
    /// Was it looked at since then? While a write settles, that says nothing of the end yet.
    saw_end: bool,
    pub(super) track: Track,
    pub(super) budget: Budget,
    is_booking_ahead: bool,
    pub(super) reading: Option<Observed>,
    /// When its instrument was out of reach last, in ms.
    lost_at: u64,
    /// When its instrument last ended the connection, in ms.
    broken_off_at: u64,
    /// What is under way.
    pub(super) doing: Doing,
    /// When it is looked at again, in ms.
    pub(super) look_at: Option<u64>,
    pub(super) said: Said,
    /// Is it held, or left?
    pub(super) place: Place,
    /// When its instrument, which ignores what is written, is asked again: in ms, and as it is told.
    asked_again: Option<(u64, Timestamp)>,
    /// Why it could not be brought to its safe value.
    pub(super) left_badly: Option<String>,
    /// Was it noted that its time is over?
    is_end_noted: bool,
    /// Was it noted what its instrument makes of its value?
    is_learned_noted: bool,
}

/// What a look at an output is made with.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) standing: &'a Standing,
    pub(super) guards: &'a Result<(), GuardFailure>,
    /// It goes to no safe value: in shadow mode, and where its sensor is disabled.
    pub(super) stays: bool,
    pub(super) interval_ms: u64,
    pub(super) restores_per_hour: u32,
    pub(super) now: Now,
    pub(super) random: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Doing {
    Nothing,
    /// A block of writes is being booked; then it is decided anew, since meanwhile everything may have changed.
    Booking,
    /// A write is with the adapter.
    Writing,
}

/// What is said of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) conformity: Conformity,
    pub(super) hold: Hold,
    pub(super) reason: Option<String>,
    pub(super) since: Option<Timestamp>,
    verified_in_ms: Option<u64>,
    written: u64,
    changes: u64,
    last_change: Option<HandChange>,
    adopt: Option<PointValue>,
}

fn is_good(reading: &Observed) -> bool {
    reading.quality == Quality::Good && reading.value.is_some()
}

/// A time of the loop's clock, in ms, as the wall clock will show it, to the second.
fn wall_at(ms: u64, now: Now) -> Timestamp {
    let wait = SignedDuration::from_millis_i128(i128::from(ms) - i128::from(now.ms));
    let at = now.wall.saturating_add(wait).unwrap_or(now.wall);
    at.round(Unit::Second).unwrap_or(at)
}

/// From what age on a reading says nothing any more, in ms.
pub(super) fn max_age_ms(interval_ms: u64) -> u64 {
    (interval_ms * OLD_AFTER_INTERVALS).max(1_000)
}

/// What is to be done for an output.
pub(super) enum Busy {
    Reading,
    Booking { booked: Account },
    Writing { value: PointValue },
}

/// What a look came to.
pub(super) struct Next {
    pub(super) changed: Changed,
    pub(super) busy: Option<Busy>,
}

impl Output {
    /// An output by its wish; what is known of `before` is kept, else `account` is what of writes to it is. Is the wish a new
    /// one? `is_writing`: a write to it is with the adapter, perhaps by a wish that was released since.
    pub(super) fn of(
        before: Option<Self>,
        setpoint: &Setpoint,
        (sensor, content): (SensorId, Fingerprint),
        rules: PointRules,
        account: impl FnOnce() -> Budget,
        is_writing: bool,
        now: Now,
    ) -> (Self, bool) {
        let band = Band::of(setpoint.value.clone(), setpoint.tolerance, rules.resolution);
        // A hub that was restored gives a revision twice: whatever else differs makes it another wish.
        let lasting = |wish: &Setpoint| Setpoint {
            valid_for_ms: wish.valid_for_ms.map(|_| 0),
            ..wish.clone()
        };
        let is_same = |before: &Self| lasting(&before.setpoint) == lasting(setpoint);
        let expires_at = setpoint
            .valid_for_ms
            .map(|left| now.ms.saturating_add(left));
        let before = before.map(|before| before.at(&rules));
        match before {
            Some(before) if is_same(&before) => {
                let output = Self {
                    sensor,
                    content,
                    setpoint: setpoint.clone(),
                    rules,
                    band,
                    look_at: Some(now.ms),
                    ..before
                };
                (output, false)
            }
            before => {
                let (track, budget, reading, doing, place) = match before {
                    Some(before) => (
                        before.track.of_new_wish(),
                        before.budget,
                        // That it could not be read before is no answer to this wish.
                        before.reading.filter(is_good),
                        before.doing,
                        before.place,
                    ),
                    None => (
                        Track::default(),
                        account(),
                        None,
                        if is_writing {
                            Doing::Writing
                        } else {
                            Doing::Nothing
                        },
                        Place::Held,
                    ),
                };
                let output = Self {
                    sensor,
                    content,
                    setpoint: setpoint.clone(),
                    rules,
                    band,
                    expires_at,
                    saw_end: false,
                    track,
                    budget,
                    // One that is under way may be asked for again: it says the same.
                    is_booking_ahead: false,
                    reading,
                    lost_at: 0,
                    broken_off_at: 0,
                    doing,
                    place,
                    asked_again: None,
                    left_badly: None,
                    is_end_noted: false,
                    is_learned_noted: false,
                    look_at: None,
                    said: Said {
                        conformity: Conformity::Unknown,
                        hold: Hold::Active,
                        reason: None,
                        since: None,
                        verified_in_ms: None,
                        written: 0,
                        changes: 0,
                        last_change: None,
                        adopt: None,
                    },
                };
                (output, true)
            }
        }
    }

    /// What an earlier life of the agent learned of its instrument.
    pub(super) fn remember(&mut self, learned: &Learned) {
        let instead = Instead::remembered(learned.found.clone(), learned.how);
        self.track = Track::from_ledger(Some(instead));
        self.is_learned_noted = true;
    }

    /// What its instrument is known to make of its value.
    pub(super) fn learned(&self) -> Option<Learned> {
        let instead = self.track.instead.as_ref()?;
        instead.is_learned().then(|| Learned {
            revision: self.setpoint.revision,
            found: instead.found().clone(),
            how: instead.how(),
        })
    }

    /// Is there something to note of that?
    pub(super) fn has_just_learned(&mut self) -> bool {
        let instead = self.track.instead.as_ref();
        let is_learned = instead.is_some_and(Instead::is_learned);
        std::mem::replace(&mut self.is_learned_noted, is_learned) != is_learned
    }

    /// Somebody asks for a look at everything.
    pub(super) fn look_again(&mut self) {
        self.track.try_once_more();
        self.look_now();
    }

    /// The output by these rules. If they make it another point, what is known of the one before says nothing of it.
    fn at(mut self, rules: &PointRules) -> Self {
        if self.rules.identity != rules.identity {
            self.reading = None;
            self.said.conformity = Conformity::Unknown;
            self.track.moved();
            if matches!(self.place, Place::Leaving(_)) {
                // Its safe value is another one too.
                self.place = Place::Held;
            }
        }
        self
    }

    pub(super) const fn sensor(&self) -> SensorId {
        self.sensor
    }

    /// Its wish's revision and when that ends, in ms, if it does.
    pub(super) fn ends(&self) -> Option<(u64, u64)> {
        Some((self.setpoint.revision, self.expires_at?))
    }

    /// Is its time over, and has nobody asked yet?
    pub(super) fn has_just_expired(&mut self) -> bool {
        let is_news = self.said.hold == Hold::Expired && !self.is_end_noted;
        self.is_end_noted |= is_news;
        is_news
    }

    pub(super) fn guards(&self) -> &[Guard] {
        &self.rules.guards
    }

    /// When it is to be looked at. Not while a write is under way, whose end is looked at.
    pub(super) fn look_at(&self) -> Option<u64> {
        let end = self.expires_at.filter(|_| !self.saw_end);
        let at = [self.look_at, end].into_iter().flatten().min();
        at.filter(|_| self.doing == Doing::Nothing)
    }

    pub(super) const fn look_now(&mut self) {
        self.look_at = Some(0);
    }

    /// Is a write under way, or being booked? Its end is looked at.
    pub(super) const fn is_writing(&self) -> bool {
        matches!(self.doing, Doing::Booking | Doing::Writing)
    }

    /// Is it known by now whether it shows what is wanted, or why it will not?
    pub(super) fn is_wish_answered(&self) -> bool {
        match self.said.hold {
            Hold::Pending | Hold::Writing => false,
            Hold::Active => self.said.conformity != Conformity::Unknown,
            Hold::Paused
            | Hold::Blocked
            | Hold::Refused
            | Hold::Unreachable
            | Hold::Overridden
            | Hold::Expired => true,
        }
    }

    /// Its instrument was out of reach, for a moment at least.
    pub(super) fn lost_touch(&mut self, now: Now) {
        self.track.lost_touch();
        self.lost_at = now.ms;
        self.reading = None;
    }

    /// It can't be looked at yet: its sensor is being started, say. That says nothing of its instrument.
    pub(super) fn is_not_there_yet(&mut self) {
        self.track.lost_touch();
        self.reading = None;
    }

    /// Its instrument ended the connection, and may have been without power.
    pub(super) fn broken_off(&mut self, now: Now) {
        self.track.was_out_of_reach = true;
        self.broken_off_at = now.ms;
    }

    pub(super) fn read(&mut self, observed: Observed) {
        // What was asked for before the line broke says nothing of what came after.
        if observed.at_ms >= self.lost_at {
            self.reading = Some(observed);
        }
    }

    /// Its sensor does not run: that is known at once, without asking the instrument.
    pub(super) fn can_not_be_read(&mut self, why: String, now: Now) {
        self.reading = Some(Observed {
            value: None,
            quality: Quality::Bad,
            at_ms: now.ms,
            reason: Some(why),
        });
    }

    pub(super) fn wrote(&mut self, outcome: WriteOutcome, now: Now, random: u32) {
        self.doing = Doing::Nothing;
        self.said.written += u64::from(outcome == WriteOutcome::Acknowledged);
        if !self.track_of_write().is_writing() {
            // It was a write of a wish that was released since: what was read before it says nothing.
            self.reading = None;
        }
        // What was read before it ended is no read-back, in the same ms neither.
        if let Some(reading) = &mut self.reading {
            reading.at_ms = reading.at_ms.min(now.ms.saturating_sub(1));
        }
        self.track_of_write().written(outcome, now.ms, random);
    }

    /// What remembers the write that is under way: one for its wish, or one on the way to its safe value.
    const fn track_of_write(&mut self) -> &mut Track {
        match &mut self.place {
            Place::Leaving(way) => &mut way.track,
            Place::Held | Place::Left(_) => &mut self.track,
        }
    }

    pub(super) fn booked(&mut self, result: &Result<(), String>, now: Now, random: u32) {
        self.is_booking_ahead = false;
        match result {
            Ok(()) => {
                if self.doing == Doing::Booking {
                    self.doing = Doing::Nothing;
                    self.track_of_write().take_back();
                }
            }
            Err(_) if self.doing != Doing::Booking => {}
            Err(error) => {
                self.doing = Doing::Nothing;
                let why = format!("the write could not be booked: {error}");
                self.track_of_write()
                    .written(WriteOutcome::NotSent(why), now.ms, random);
            }
        }
    }

    /// Decides what to do now.
    pub(super) fn look(&mut self, ask: &Ask<'_>) -> Next {
        self.saw_end = self.expires_at.is_some_and(|end| end <= ask.now.ms);
        if let Some(next) = self.moves_on(ask) {
            return next;
        }
        let next = self.decide(ask);
        // What was under way has just ended: it can be left now.
        if next.busy.is_none()
            && let Some(next) = self.moves_on(ask)
        {
            return next;
        }
        next
    }

    fn moves_on(&mut self, ask: &Ask<'_>) -> Option<Next> {
        if !self.moves(ask.standing, ask.stays, ask.now) {
            return None;
        }
        self.leave(ask)
    }

    fn decide(&mut self, ask: &Ask<'_>) -> Next {
        let Ask {
            standing,
            guards,
            stays: _,
            interval_ms,
            restores_per_hour,
            now,
            random,
        } = *ask;
        let control = &match (&standing.control, &self.left_badly) {
            (Control::Paused(why), Some(badly)) => Control::Paused(format!("{why}; {badly}")),
            (control, _) => control.clone(),
        };
        let situation = Situation {
            setpoint: &self.setpoint,
            expires_at_ms: self.expires_at,
            rules: &self.rules,
            band: &self.band,
            control,
            reading: self.reading.as_ref(),
            guards,
            budget: self.budget.view(&self.rules.budget, now.ms),
            max_age_ms: max_age_ms(interval_ms),
            restores_per_hour,
            now_ms: now.ms,
            random,
        };
        let Decision {
            track,
            status,
            act,
            look_at_ms,
            told,
        } = decide(&situation, std::mem::take(&mut self.track));
        self.track = track;
        // What was asked for before says nothing of what came after.
        let asked_at = self.reading.as_ref().map_or(0, |reading| reading.at_ms);
        self.track.was_out_of_reach |= asked_at < self.broken_off_at;
        // What is due now was just looked at.
        self.look_at = look_at_ms.map(|at| at.max(now.ms + 1));
        let adopt = match &act {
            Act::Adopt(value) => Some(value.clone()),
            Act::Nothing | Act::Read | Act::Write(_) => None,
        };
        let rests = status.conformity == Conformity::Deviates
            && status.hold == Hold::Active
            && act == Act::Nothing
            && self.track.stage == Stage::Watching;
        self.asked_again = look_at_ms.filter(|_| rests).map(|at| {
            // Told once: wall clocks and the loop's do not run alike.
            let told = self.asked_again.filter(|(before, _)| *before == at);
            told.unwrap_or_else(|| (at, wall_at(at, now)))
        });
        let changed = self.say(status, told, adopt, now);
        let busy = match act {
            Act::Nothing | Act::Adopt(_) => None,
            Act::Read => Some(Busy::Reading),
            Act::Write(value) => Some(self.begin_write(value, now)),
        };
        Next { changed, busy }
    }

    /// Begins a write: books a block of them first, if the last one is used up.
    pub(super) fn begin_write(&mut self, value: PointValue, now: Now) -> Busy {
        match self.budget.to_book(&self.rules.budget, now.ms) {
            Some(booked) => {
                self.doing = Doing::Booking;
                Busy::Booking { booked }
            }
            None => {
                self.budget.spend(now.ms);
                self.doing = Doing::Writing;
                Busy::Writing { value }
            }
        }
    }

    /// The next block of writes, if it is to be booked while this one is made.
    pub(super) fn book_ahead(&mut self, now: Now) -> Option<Account> {
        let ahead = self.budget.to_book_ahead(&self.rules.budget, now.ms);
        let booked = ahead.filter(|_| !self.is_booking_ahead)?;
        self.is_booking_ahead = true;
        Some(booked)
    }

    /// What is left of its budget.
    pub(super) fn budget_left(&self, now: Now) -> BudgetView {
        self.budget.view(&self.rules.budget, now.ms)
    }

    pub(super) fn say(
        &mut self,
        status: HoldStatus,
        told: Vec<Told>,
        adopt: Option<PointValue>,
        now: Now,
    ) -> Changed {
        let said = &mut self.said;
        let (since, changes, verified_in_ms) = (said.since, said.changes, said.verified_in_ms);
        for happened in told {
            match happened {
                Told::Drifted { before, after } => {
                    said.changes += 1;
                    said.last_change = Some(HandChange {
                        before,
                        after,
                        at: whole_micros(now.wall),
                    });
                }
                Told::Verified { took_ms, .. } => said.verified_in_ms = Some(took_ms),
                Told::Failed(_) | Told::Overridden(_) | Told::BackInSync(_) => {}
            }
        }
        let HoldStatus {
            conformity,
            hold,
            reason,
        } = status;
        let is_as_before = (said.conformity, said.hold) == (conformity, hold);
        if !is_as_before || said.since.is_none() {
            said.since = Some(whole_micros(now.wall));
        }
        let again = self
            .asked_again
            .map(|(_, at)| format!("; it is asked again at {at}"));
        let reason = reason.map(|reason| format!("{reason}{}", again.unwrap_or_default()));
        let is_news = said.since != since || said.changes != changes || said.adopt != adopt;
        let is_detail =
            !is_as_before || said.reason != reason || said.verified_in_ms != verified_in_ms;
        said.conformity = conformity;
        said.hold = hold;
        said.reason = reason;
        said.adopt = adopt;
        match (is_news, is_detail) {
            (true, _) => Changed::Yes,
            (false, true) => Changed::Detail,
            (false, false) => Changed::No,
        }
    }

    /// What the hub is told; `None` before the first look.
    pub(super) fn report(&self, now: Now) -> Option<SetpointReport> {
        let Said {
            conformity,
            hold,
            reason,
            since,
            verified_in_ms,
            written,
            changes,
            last_change,
            adopt,
        } = self.said.clone();
        let value = self
            .reading
            .as_ref()
            .and_then(|reading| reading.value.clone());
        let left = self.budget.view(&self.rules.budget, now.ms).lifetime;
        Some(SetpointReport {
            conformity,
            hold,
            value,
            reason,
            since: since?,
            revision: self.setpoint.revision,
            writes: self.budget.writes(),
            budget_left: left,
            written,
            verified_in_ms,
            changes,
            last_change,
            adopt,
        })
    }
}
