//! Errands: taken or turned away, sent when it is their turn, and answered.
//!
//! A write is sent at most once. What was not sent is `NotSent`, what the instrument said no to is `Refused`; all else
//! that is no yes is `Unknown`. One answer alone lets a value be sent again: that the instrument does not know the
//! function (exception 1), which says that nothing was done; then the other function for one register is tried, once.

use std::sync::Arc;

use holdfast_domain::hold::WriteOutcome;
use holdfast_domain::{PointId, PointValue};
use holdfast_ports::bus::Fresh;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Desk, Key, Line, Next, STOPPED, UnderWay};
use crate::link::errand::{ReadErrand, WriteErrand, unread};
use crate::link::queue::Turn;
use crate::link::unit::Presence;
use crate::link::wire::{Answer, Ask, Failure, What};
use crate::poll::Request;
use crate::words;

/// Changes single bits of a register.
const MASK_WRITE: u8 = 22;

impl Desk {
    /// Takes a value to write, or says why not.
    pub(super) fn write(
        &mut self,
        key: Key,
        (point, value): (PointId, PointValue),
        begin_by: Option<Instant>,
        answer: oneshot::Sender<WriteOutcome>,
        now: Instant,
    ) {
        let outcome = match self
            .units
            .get(&key)
            .map(|unit| unit.spec.write(point, &value))
        {
            None => WriteOutcome::NotSent(STOPPED.to_owned()),
            Some(Err(refused)) => WriteOutcome::Refused(refused),
            Some(Ok(write)) => match self.turn_away(key, now) {
                Some(reason) => WriteOutcome::NotSent(reason),
                None => {
                    let errand = WriteErrand {
                        key,
                        call: 0,
                        after: None,
                        point,
                        value,
                        write,
                        refused_function: None,
                        begin_by,
                        answer,
                    };
                    let under_way = match &self.under_way {
                        Some(UnderWay::Read(read, ..)) => Some(read),
                        Some(UnderWay::Poll | UnderWay::Write(..)) | None => None,
                    };
                    return self.queue.push_write(errand, under_way);
                }
            },
        };
        // Whoever asked may have stopped waiting.
        let _ = answer.send(outcome);
    }

    /// Takes points to read, or says why not.
    pub(super) fn read(
        &mut self,
        key: Key,
        points: Vec<PointId>,
        answer: oneshot::Sender<Vec<Fresh>>,
        now: Instant,
    ) {
        let reason = match self.units.get(&key) {
            None => Some(STOPPED.to_owned()),
            Some(_) => self.turn_away(key, now),
        };
        match reason {
            Some(reason) => {
                let _ = answer.send(unread(points.len(), &reason));
            }
            None => {
                let at = self.clock.now();
                let unit = self.units.get_mut(&key).expect("it was not turned away");
                let plan = unit.plan_of(points, at);
                self.queue.push_read(ReadErrand::new(key, answer, plan));
            }
        }
    }

    /// Why nothing can be done for this unit now. One that is alone on its line delays nobody: it is always tried.
    fn turn_away(&self, key: Key, now: Instant) -> Option<String> {
        let is_alone = self.units.len() == 1;
        if !self.queue.has_room(key, self.units.len()) {
            self.counts.turned_away(1);
            return Some(format!(
                "{} requests wait for {} already, this unit's part of them among them; ask again later",
                self.queue.len(),
                self.endpoint
            ));
        }
        match &self.line {
            _ if is_alone => None,
            Line::Down {
                retry_at, reason, ..
            } => {
                let wait = words::about(retry_at.saturating_duration_since(now));
                Some(format!("{reason}; the next attempt is in {wait}"))
            }
            Line::Closed | Line::Open { .. } => self.units[&key].silence(now),
        }
    }

    /// What is to be sent for the errand whose turn it is; none if it came to its end without.
    pub(super) fn begin_errand(&mut self, turn: Turn, now: Instant) -> Option<Next> {
        let ask = match turn {
            Turn::Write(key) => {
                let mut errand = self.queue.take_write(key);
                // Nobody waits for it any more, and nothing was sent: it is not begun.
                if errand.is_deserted() {
                    return None;
                }
                if errand.begin_by.is_some_and(|by| by <= now) {
                    let why = "it waited for its turn until its time was over";
                    errand.finish(WriteOutcome::NotSent(why.to_owned()));
                    return None;
                }
                let unit = &self.units[&key];
                if errand.refused_function.is_none()
                    && let Some(preferred) = unit.prefers(&errand.write)
                {
                    errand.write = preferred;
                }
                let ask = unit.ask(What::Write(errand.write.clone()));
                self.counts.writes(1);
                self.under_way = Some(UnderWay::Write(errand, ask.clone()));
                ask
            }
            Turn::Read(key) => {
                let mut errand = self.queue.take_read(key);
                if errand.is_deserted() {
                    return None;
                }
                let Some(request) = errand.next(now, self.clock.now()) else {
                    self.finish_read(errand);
                    return None;
                };
                let ask = self.units[&key].ask(What::Read(request.place));
                self.under_way = Some(UnderWay::Read(errand, Some(request), ask.clone()));
                ask
            }
        };
        Some(Next::Ask(ask))
    }

    /// The request that writes has ended.
    pub(super) fn write_answered(
        &mut self,
        mut errand: WriteErrand,
        ask: &Ask,
        result: Result<Answer, Failure>,
        used_before: bool,
        now: Instant,
    ) {
        let key = errand.key;
        let is_there = self.units.contains_key(&key);
        let has_answered = result.is_ok();
        let silent = match &result {
            Ok(Answer::Exception(code)) if is_there && words::is_unit_silent(*code) => {
                Some(self.not_reached(key, *code))
            }
            Err(failure) if failure.is_late() => Some(failure.of(ask, &self.endpoint)),
            Ok(_) | Err(_) => None,
        };
        let outcome = match result {
            Ok(Answer::Exception(words::code::ILLEGAL_FUNCTION))
                if is_there && errand.refused_function.is_none() =>
            {
                if let Some(other) = errand.write.with_other_function() {
                    self.heard_from(key, now);
                    errand.refused_function = Some(errand.write.function());
                    errand.write = other;
                    return self.queue.put_back_write(errand);
                }
                self.refused(&errand, ask, words::code::ILLEGAL_FUNCTION)
            }
            // Nothing was sent on what the other side had closed while it was idle.
            Err(Failure::Stale) if used_before && is_there => {
                return self.queue.put_back_write(errand);
            }
            Ok(Answer::Written) => WriteOutcome::Acknowledged,
            Ok(Answer::Exception(code)) => self.refused(&errand, ask, code),
            Ok(Answer::Data(_)) => unreachable!("what was written is no answer to a read"),
            Err(failure @ (Failure::Stale | Failure::Owing)) => {
                WriteOutcome::NotSent(failure.of(ask, &self.endpoint))
            }
            Err(failure) => WriteOutcome::Unknown(failure.of(ask, &self.endpoint)),
        };
        if let Some(unit) = self.units.get_mut(&key) {
            match &outcome {
                WriteOutcome::Acknowledged => {
                    unit.wrote(&errand.write);
                    unit.overwritten(errand.write.place());
                }
                WriteOutcome::Unknown(_) => unit.overwritten(errand.write.place()),
                WriteOutcome::Refused(_) | WriteOutcome::NotSent(_) => {}
            }
        }
        errand.finish(outcome);
        match silent {
            Some(reason) if is_there => self.unit_failed(key, &reason.into(), now),
            None if is_there && has_answered => self.heard_from(key, now),
            Some(_) | None => {}
        }
    }

    /// What an exception says of a write.
    fn refused(&self, errand: &WriteErrand, ask: &Ask, code: u8) -> WriteOutcome {
        let (unit_id, endpoint, write) = (ask.unit_id, &self.endpoint, &errand.write);
        let function = write.function();
        let said = words::exception(code);
        let text = match (code, errand.refused_function) {
            (words::code::ILLEGAL_FUNCTION, Some(first)) => format!(
                "unit {unit_id} at {endpoint} takes neither function {first} nor {function} for {write}: {said}"
            ),
            (words::code::ILLEGAL_FUNCTION, None) if function == MASK_WRITE => format!(
                "unit {unit_id} at {endpoint} does not know function {function}, the only one that changes one bit of {write} and no other: {said}"
            ),
            _ => format!(
                "unit {unit_id} at {endpoint} refused to write {write} (function {function}): {said}"
            ),
        };
        match code {
            // The gateway found no way to the unit: it got nothing.
            words::code::GATEWAY_PATH_UNAVAILABLE => WriteOutcome::NotSent(text),
            // The gateway sent it and heard nothing; or the unit took it and is not done yet.
            words::code::GATEWAY_TARGET_SILENT | words::code::ACKNOWLEDGE => {
                WriteOutcome::Unknown(text)
            }
            _ => WriteOutcome::Refused(text),
        }
    }

    /// A request of a read on demand has ended; none: it was made for content that is not in force any more.
    pub(super) fn read_answered(
        &mut self,
        mut errand: ReadErrand,
        request: Option<&Request>,
        ask: &Ask,
        result: &Result<Answer, Failure>,
        used_before: bool,
        now: Instant,
    ) {
        let at = self.clock.now();
        if !self.units.contains_key(&errand.key) {
            return errand.finish_unread(STOPPED);
        }
        let key = errand.key;
        let failed = match result {
            Ok(Answer::Data(data)) => {
                if let Some(request) = request {
                    errand.answered(request, data, at);
                }
                None
            }
            Ok(Answer::Exception(code)) if words::is_unit_silent(*code) => {
                Some(self.not_reached(key, *code))
            }
            Ok(Answer::Exception(code)) => {
                if let Some(request) = request {
                    errand.exception(request, *code, (now, at), &self.waits);
                }
                None
            }
            Ok(Answer::Written) => unreachable!("what was read is no answer to a write"),
            // The other side may close what was idle for a while. Reading twice harms nothing.
            Err(Failure::Lost(_) | Failure::Stale) if used_before => None,
            // Noise on the line; a unit that answers is asked once more.
            Err(Failure::Damaged) if errand.may_ask_again() => None,
            Err(failure) => Some(failure.of(ask, &self.endpoint)),
        };
        match failed {
            None => {
                if result.is_ok() {
                    self.heard_from(key, now);
                }
                // Answered at once if that was all of it.
                match errand.next(now, at) {
                    Some(_) => self.queue.put_back_read(errand),
                    None => self.finish_read(errand),
                }
            }
            Some(reason) => {
                let reason = Arc::from(reason);
                errand.fail(&reason, at);
                self.unit_failed(key, &reason, now);
                drop(errand.finish());
            }
        }
    }

    /// Takes what was read for the unit, and answers.
    fn finish_read(&mut self, errand: ReadErrand) {
        let unit = self.units.get_mut(&errand.key);
        match unit {
            Some(unit) => {
                unit.note(errand.readings());
                unit.planned = errand.finish().anew();
            }
            None => drop(errand.finish()),
        }
    }

    /// The unit has other content: what waits is about that.
    pub(super) fn plan_errands_again(&mut self, key: Key) {
        let Some(unit) = self.units.get(&key) else {
            return;
        };
        let at = self.clock.now();
        for errand in self.queue.reads_of(key) {
            errand.plan_again(&unit.spec, &unit.reader, at);
        }
        if let Some(UnderWay::Read(errand, request, _)) = &mut self.under_way
            && errand.key == key
        {
            errand.plan_again(&unit.spec, &unit.reader, at);
            *request = None;
        }
        for mut errand in self.queue.take_writes_of(key) {
            match unit.spec.write(errand.point, &errand.value) {
                // What was refused with one function is tried with the other, as before.
                Ok(write) => {
                    let other = errand.refused_function == Some(write.function());
                    let other = other.then(|| write.with_other_function()).flatten();
                    errand.write = other.unwrap_or(write);
                    self.queue.give_back_write(errand);
                }
                Err(refused) => errand.finish(WriteOutcome::Refused(refused)),
            }
        }
    }

    /// The unit answers: if it was silent, it is polled again at once.
    fn heard_from(&mut self, key: Key, now: Instant) {
        if let Some(unit) = self.units.get_mut(&key)
            && matches!(unit.presence, Presence::Silent { .. })
        {
            unit.ask_at_once(now);
        }
    }

    /// The unit does not answer: neither will it to what waits.
    pub(super) fn fail_errands(&mut self, key: Key, now: Instant) {
        let silence = self.units.get(&key).and_then(|unit| unit.silence(now));
        if let Some(reason) = silence {
            self.fail_waiting(key, &reason);
        }
    }

    /// Nothing can be sent to any unit.
    pub(super) fn fail_all_errands(&mut self, reason: &str) {
        for key in self.queue.keys() {
            self.fail_waiting(key, reason);
        }
    }

    /// The unit is gone.
    pub(super) fn abandon_errands(&mut self, key: Key) {
        self.fail_waiting(key, STOPPED);
    }

    /// The link ends, also while it waits for an answer.
    pub(super) fn give_up_errands(&mut self, why: &str) {
        match self.under_way.take() {
            Some(UnderWay::Write(errand, _)) => errand.finish(WriteOutcome::Unknown(format!(
                "{why} before the answer came"
            ))),
            Some(UnderWay::Read(errand, ..)) => errand.finish_unread(why),
            Some(UnderWay::Poll) | None => {}
        }
        self.fail_all_errands(why);
    }

    fn fail_waiting(&mut self, key: Key, reason: &str) {
        let (writes, reads) = self.queue.clear(key);
        for errand in writes {
            errand.finish(WriteOutcome::NotSent(reason.to_owned()));
        }
        for errand in reads {
            errand.finish_unread(reason);
        }
    }
}
