//! Polls: what answers make of them, when they begin and end, and what a unit that fell silent means.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Asking, Desk, Key, Next, SILENT_UNITS_SHARE};
use crate::link::pace::{in_words, paced};
use crate::link::unit::Presence;
use crate::link::wire::{Answer, Failure, LATE, What};
use crate::poll::Request;
use crate::words;

impl Desk {
    /// Goes on with the poll of this unit, or begins one; none: it has ended.
    pub(super) fn poll(&mut self, key: Key, now: Instant) -> Option<Next> {
        if let Some(asking) = &self.asking {
            return Some(Next::Ask(asking.ask.clone()));
        }
        if self.polling.is_none() {
            self.begin_poll(key, now);
        }
        let unit = self
            .units
            .get_mut(&key)
            .expect("a unit that is removed is not polled on");
        let Some(request) = unit.reader.next(self.clock.now()) else {
            self.end_poll(key, now);
            return None;
        };
        let ask = unit.ask(What::Read(request.place));
        self.asking = Some(Asking {
            request,
            ask: ask.clone(),
            is_second: false,
        });
        Some(Next::Ask(ask))
    }

    /// A request of the poll has ended.
    pub(super) fn poll_answered(
        &mut self,
        result: Result<Answer, Failure>,
        used_before: bool,
        now: Instant,
    ) {
        // None: the poll was given up while the request was under way.
        let Some((key, asking)) = self.polling.zip(self.asking.take()) else {
            return;
        };
        match result {
            Ok(answer) => self.take_answer(key, &asking.request, &answer, now),
            // The other side may close what was idle for a while. Reading twice harms nothing.
            Err(Failure::Lost(_) | Failure::Stale) if used_before => self.asking = Some(asking),
            // Noise on the line; a unit that answers is asked once more.
            Err(Failure::Damaged) if !asking.is_second => {
                let is_second = true;
                self.asking = Some(Asking {
                    is_second,
                    ..asking
                });
            }
            Err(failure) => {
                let reason = failure.of(&asking.ask, &self.endpoint).into();
                self.unit_failed(key, &reason, now);
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
                let reason = self.not_reached(key, *code).into();
                return self.unit_failed(key, &reason, now);
            }
            Answer::Exception(code) => {
                unit.reader
                    .exception(&unit.spec.points, request, *code, (now, at), &self.waits);
            }
            Answer::Written => unreachable!("what was read is no answer to a write"),
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
            .extend(self.units.values().filter_map(|unit| unit.demand()));
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

    pub(super) fn give_up_poll(&mut self) {
        self.polling = None;
        self.asking = None;
    }

    /// A gateway says that the unit was not reached.
    pub(super) fn not_reached(&self, key: Key, code: u8) -> String {
        let unit_id = self.units[&key].spec.unit_id;
        format!(
            "unit {unit_id} at {}: {}",
            self.endpoint,
            words::exception(code)
        )
    }

    /// A unit did not answer: it is silent, and nothing waits for it.
    pub(super) fn unit_failed(&mut self, key: Key, reason: &Arc<str>, now: Instant) {
        let was_polled = self.polling == Some(key);
        if was_polled {
            self.give_up_poll();
        }
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
        if !self.endpoint.numbers_requests() {
            // Before that the line would wait for what it may still answer, and all others with it.
            wait = wait.max(unit.spec.timeout.saturating_mul(LATE));
        }
        unit.presence = Presence::Silent {
            failures,
            probe_at: now + wait,
        };
        if was_polled {
            unit.reader.fail_rest(reason, at);
        } else {
            unit.reader.fail_all(reason, at);
        }
        unit.report_offline(reason);
        self.fail_errands(key, now);
    }
}
