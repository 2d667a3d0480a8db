//! What an instrument takes instead of a wanted value. One write that ends with another value says little: somebody may have
//! turned the knob in between. What several writes in a row ended with is what the instrument makes of the value: from then
//! on it is not written again while it shows just that, but for one that ignores what is written, which is asked again with
//! pauses that grow to a day.

use serde::{Deserialize, Serialize};

use super::{
    band::{Band, number},
    situation::{HoldReason, Situation},
    track::Write,
};
use crate::value::PointValue;

/// Writes that end with the same other value, before an instrument that moved there counts as having rounded or limited.
const TRIES_MOVED: u32 = 2;

/// The same of an instrument that stays where it is: it may stand at its limit already, or be deaf for a while (a switch on
/// local, say). With pauses that double from a second, these go on for about two minutes.
const TRIES_UNMOVED: u32 = 8;

/// What an instrument took instead of the wanted value.
#[derive(Debug, Clone, PartialEq)]
pub struct Instead {
    found: PointValue,
    how: How,
    certainty: Certainty,
}

/// How a value that was taken differs from the one that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum How {
    /// It is near.
    Rounded,
    /// It is part of the way.
    Limited,
    /// It is another: the one before, or one of the instrument's own.
    KeptItsOwn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Certainty {
    /// So many writes in a row ended with it, which is not enough.
    Tried(u32),
    Sure,
    /// It was sure once; the instrument may be another since. One write tells.
    Doubted,
}

impl Instead {
    /// What was known of it before, in an earlier life of the agent.
    #[must_use]
    pub const fn remembered(found: PointValue, how: How) -> Self {
        Self {
            found,
            how,
            certainty: Certainty::Sure,
        }
    }

    /// What is known after `write` ended with `found`.
    pub(super) fn after(
        before: Option<Self>,
        situation: &Situation<'_>,
        write: &Write,
        found: &PointValue,
    ) -> Self {
        let how = How::of(write, found);
        let Some(before) = before.filter(|before| before.is_shown(situation, found)) else {
            return Self {
                found: found.clone(),
                how,
                certainty: Certainty::Tried(1),
            };
        };
        // An instrument that stands where it moved to before has rounded or limited all the same.
        let how = if before.how == How::KeptItsOwn {
            how
        } else {
            before.how
        };
        let enough = match how {
            How::Rounded | How::Limited => TRIES_MOVED,
            How::KeptItsOwn => TRIES_UNMOVED,
        };
        let certainty = match before.certainty {
            Certainty::Tried(tries) if tries + 1 < enough => Certainty::Tried(tries + 1),
            Certainty::Tried(_) | Certainty::Sure | Certainty::Doubted => Certainty::Sure,
        };
        Self {
            how,
            certainty,
            ..before
        }
    }

    /// Is this value what it took, as far as the setpoint's tolerance tells them apart?
    pub(super) fn is_shown(&self, situation: &Situation<'_>, value: &PointValue) -> bool {
        let Situation {
            setpoint, rules, ..
        } = situation;
        let band = Band::of(self.found.clone(), setpoint.tolerance, rules.resolution);
        band.holds(value) == Some(true)
    }

    /// Is `value` nearer to the wanted one than what it took? Then the instrument is still on its way.
    pub(super) fn is_passed_by(&self, wanted: &PointValue, value: &PointValue) -> bool {
        match (number(wanted), number(&self.found), number(value)) {
            (Some(wanted), Some(found), Some(value)) => {
                (wanted - value).abs() < (wanted - found).abs()
            }
            _ => false,
        }
    }

    /// What it took.
    #[must_use]
    pub const fn found(&self) -> &PointValue {
        &self.found
    }

    /// How that differs from what was wanted.
    #[must_use]
    pub const fn how(&self) -> How {
        self.how
    }

    /// In words, of the value that was wanted.
    pub(super) fn told(&self, wanted: &PointValue) -> HoldReason {
        self.how.told(wanted.clone(), self.found.clone())
    }

    /// Is it what the instrument makes of the wanted value, as far as writes can tell?
    #[must_use]
    pub fn is_sure(&self) -> bool {
        self.certainty == Certainty::Sure
    }

    /// Was it sure once?
    #[must_use]
    pub fn is_learned(&self) -> bool {
        matches!(self.certainty, Certainty::Sure | Certainty::Doubted)
    }

    /// Did a second look confirm the first?
    pub(super) fn is_confirmed(&self) -> bool {
        !matches!(self.certainty, Certainty::Tried(0 | 1))
    }

    /// The instrument may be another since: one more write tells.
    pub(super) const fn doubt(&mut self) {
        if matches!(self.certainty, Certainty::Sure) {
            self.certainty = Certainty::Doubted;
        }
    }
}

impl How {
    /// How `found` differs from what was written.
    fn of(write: &Write, found: &PointValue) -> Self {
        let numbers = (number(&write.value), number(&write.before), number(found));
        let (Some(to), Some(from), Some(at)) = numbers else {
            return Self::KeptItsOwn;
        };
        #[allow(clippy::float_cmp, reason = "it did not move at all")]
        if at == from {
            return Self::KeptItsOwn;
        }
        let off = (at - to).abs();
        // Whole steps of 1, or a few per cent: what instruments of fewer digits make of a value.
        if off < 1.0 && is_whole(at) || off <= to.abs() * 0.005 {
            return Self::Rounded;
        }
        let (low, high) = if from < to { (from, to) } else { (to, from) };
        if at > low && at < high {
            Self::Limited
        } else {
            Self::KeptItsOwn
        }
    }

    /// In words, of what was written and what is shown.
    #[must_use]
    pub const fn told(self, wrote: PointValue, found: PointValue) -> HoldReason {
        match self {
            Self::Rounded => HoldReason::Rounded { wrote, found },
            Self::Limited => HoldReason::Limited { wrote, found },
            Self::KeptItsOwn => HoldReason::KeptItsOwn { wrote, found },
        }
    }
}

pub(super) fn is_whole(number: f64) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::float_cmp,
        reason = "below 2^53"
    )]
    let is_whole = number.abs() >= EXACT || (number as i64) as f64 == number;
    is_whole
}
