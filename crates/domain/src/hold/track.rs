//! What the loop remembers of one point between two looks.

use alloc::{string::String, vec::Vec};

use super::{
    instead::Instead,
    situation::{HoldReason, Told},
};
use crate::{backoff::Backoff, value::PointValue};

/// What the loop remembers of one point. A new wish begins with a new one ([`Track::of_new_wish`]).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Track {
    /// Where it is between two readings.
    pub stage: Stage,
    /// Has the instrument shown the wanted value since it was wanted? The value that it showed last. Survives restarts.
    pub verified: Option<PointValue>,
    /// Writes that came to nothing, in a row.
    pub failures: u32,
    /// Not to be written before, in ms of the loop's clock.
    pub retry_at_ms: u64,
    /// Why the last write came to nothing.
    pub trouble: Option<HoldReason>,
    /// What the instrument took instead of the wanted value, as far as that is known.
    pub instead: Option<Instead>,
    /// How an instrument that ignores what is written is asked again.
    pub asked: Asked,
    /// The step on the way to the wanted value that was read back last: nobody changed that by hand.
    pub step: Option<PointValue>,
    /// Was the line broken, or the agent restarted, since the instrument last showed the wanted value? Then a change is
    /// not taken for somebody's wish: it may be what the instrument starts with.
    pub was_out_of_reach: bool,
    /// When changes by hand were put back within the last hour, in ms of the loop's clock.
    pub restores: Vec<u64>,
    /// A change by hand was told of that no write was made for yet. The next one is counted as putting it back, once: what an
    /// instrument ignores is not somebody's hand.
    pub is_to_be_put_back: bool,
    /// It is not fought for any more.
    pub is_overridden: bool,
    /// The change that was told of.
    pub told_of: Option<PointValue>,
    /// The value that it shows since when, while that is not the wanted one.
    pub shows: Option<(PointValue, u64)>,
}

/// How an instrument that is known to ignore what is written is asked again. It is counted apart from writes that fail: a pause of
/// a day is for one that nothing is heard of, and must not keep a change from being put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// How often, counting what was tried before that was known.
    pub times: u32,
    /// When it is asked next, in ms of the loop's clock; 0: that is not known yet.
    pub again_at_ms: u64,
    /// Is it being asked?
    pub is_under_way: bool,
}

/// Where a point is between two readings.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Stage {
    /// Nothing is under way.
    #[default]
    Watching,
    /// A write was given to the adapter.
    Writing(Write),
    /// The instrument was written to, and must be read back.
    Settling {
        /// What was written.
        write: Write,
        /// When it was acknowledged, or given up waiting for, in ms of the loop's clock.
        at_ms: u64,
        /// Did the instrument say yes?
        acknowledged: bool,
        /// Read-backs that did not show it.
        looks: u32,
    },
}

/// A write.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// What is written.
    pub value: PointValue,
    /// What the instrument showed before.
    pub before: PointValue,
    /// When it was decided, in ms of the loop's clock.
    pub begun_ms: u64,
    /// Was it counted as putting a change by hand back?
    pub is_restore: bool,
}

/// What became of a write, as its adapter says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The instrument said yes.
    Acknowledged,
    /// The instrument said no; nothing was written.
    Refused(String),
    /// It never left: nothing was written.
    NotSent(String),
    /// It left, and no answer came: nobody knows.
    Unknown(String),
}

impl Track {
    /// How a write that came to nothing is tried again.
    pub const RETRY: Backoff = Backoff {
        base_ms: 1_000,
        limit_ms: 300_000,
    };

    /// How a write that an instrument is known to ignore is tried again, and one that it is known to make something else of
    /// after the line broke: lines break often, and each write wears.
    const RELEARN: Backoff = Backoff {
        base_ms: 1_000,
        limit_ms: 86_400_000,
    };

    /// Of a value that was just set: it is written at once, and what was before is forgotten, but for what is under way.
    #[must_use]
    pub fn of_new_wish(self) -> Self {
        Self {
            stage: self.stage,
            ..Self::default()
        }
    }

    /// After a restart: what was learned of the instrument. The loop looks before it acts.
    #[must_use]
    pub fn from_ledger(instead: Option<Instead>) -> Self {
        Self {
            instead,
            was_out_of_reach: true,
            ..Self::default()
        }
    }

    /// The instrument was out of reach, for a moment at least: what it shows next is nobody's wish, and what it made of
    /// the wanted value before is learned anew, by one write, if it was seen at all since the agent started.
    pub fn lost_touch(&mut self) {
        self.was_out_of_reach = true;
        if self.shows.take().is_some() {
            self.try_again();
        }
    }

    /// What stands for the writes that an earlier life of the agent made in vain: about half an hour passes until the first.
    const BEFORE_RESTART: u32 = 12;

    /// When an instrument that is known to ignore what is written is asked again, in ms of the loop's clock: after pauses that
    /// grow to a day.
    pub(super) fn ask_again_at(&mut self, now_ms: u64, random: u32) -> u64 {
        let asked = &mut self.asked;
        if asked.again_at_ms == 0 {
            asked.times = match (asked.times, self.failures) {
                (0, 0) => Self::BEFORE_RESTART,
                (0, failures) => failures,
                (times, _) => times.saturating_add(1),
            };
            asked.again_at_ms = now_ms + Self::RELEARN.delay_ms(asked.times, random);
        }
        asked.again_at_ms
    }

    /// An instrument that ignores what is written is asked once more, now.
    pub(super) fn ask_again(&mut self) {
        self.asked.again_at_ms = 0;
        self.asked.is_under_way = true;
        self.try_again();
    }

    /// What the instrument made of the value does not end the tries.
    pub(super) fn try_again(&mut self) {
        if let Some(instead) = &mut self.instead {
            instead.doubt();
        }
    }

    /// Somebody asks for a look at everything: what was given up is tried once more, at once.
    pub fn try_once_more(&mut self) {
        if self.instead.is_some() {
            self.try_again();
            self.retry_at_ms = 0;
            self.asked = Asked::default();
        }
    }

    /// The output was moved from here for another reason than the wish, or the point was redefined: what it showed says nothing of
    /// what it shows next, which is nobody's change by hand. What is under way ends by itself.
    pub fn moved(&mut self) {
        self.verified = None;
        self.told_of = None;
        self.shows = None;
        self.is_to_be_put_back = false;
        self.trouble = None;
        self.step = None;
        self.try_again();
        self.asked = Asked::default();
        self.failures = 0;
        self.retry_at_ms = 0;
    }

    /// Is a write under way that was decided on for this wish, or one before it?
    #[must_use]
    pub const fn is_writing(&self) -> bool {
        matches!(self.stage, Stage::Writing(_))
    }

    /// A write that was decided is not begun after all: nothing was given to the adapter, and it is decided anew.
    pub fn take_back(&mut self) {
        if let Stage::Writing(write) = &self.stage {
            if write.is_restore {
                self.restores.pop();
                self.is_to_be_put_back = true;
            }
            self.stage = Stage::Watching;
        }
    }

    /// Takes what became of the write. Without effect if none is under way.
    pub fn written(&mut self, outcome: WriteOutcome, now_ms: u64, random: u32) -> Vec<Told> {
        let write = match core::mem::take(&mut self.stage) {
            Stage::Writing(write) => write,
            other => {
                self.stage = other;
                return Vec::new();
            }
        };
        let acknowledged = outcome == WriteOutcome::Acknowledged;
        let why = match outcome {
            WriteOutcome::Acknowledged | WriteOutcome::Unknown(_) => {
                self.stage = Stage::Settling {
                    write,
                    at_ms: now_ms,
                    acknowledged,
                    looks: 0,
                };
                return Vec::new();
            }
            WriteOutcome::Refused(why) => HoldReason::Refused {
                value: write.value,
                why,
            },
            WriteOutcome::NotSent(why) => HoldReason::Unreachable(why),
        };
        self.fail(why, now_ms, random)
    }

    /// Notes a write that came to nothing; tells it if it is another trouble than before.
    pub(super) fn fail(&mut self, why: HoldReason, now_ms: u64, random: u32) -> Vec<Told> {
        self.stage = Stage::Watching;
        let is_sure = self.instead.as_ref().is_some_and(Instead::is_sure);
        if self.asked.is_under_way && is_sure {
            // It was ignored once more, and nothing else: when it is asked next is no matter of writes that fail.
            self.asked.is_under_way = false;
            return Vec::new();
        }
        self.failures = self.failures.saturating_add(1);
        let is_learned = self.instead.as_ref().is_some_and(Instead::is_learned);
        let retry = if is_learned {
            Self::RELEARN
        } else {
            Self::RETRY
        };
        self.retry_at_ms = now_ms + retry.delay_ms(self.failures, random);
        let is_new = self.trouble.as_ref() != Some(&why);
        self.trouble = Some(why.clone());
        if is_new {
            alloc::vec![Told::Failed(why)]
        } else {
            Vec::new()
        }
    }
}
