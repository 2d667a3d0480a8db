//! What a read-back means. An instrument may show a written value late, show something else, or nothing at all.

use alloc::vec::Vec;

use super::{
    band::{Band, number},
    situation::{Act, HoldReason, Observed, Situation, Told},
    track::{Stage, Track, Write},
};
use crate::value::{PointValue, Quality};

/// Read-backs before a value that is not shown counts as not taken: an instrument may answer with the previous value first.
const LOOKS: u32 = 4;

/// Between two read-backs of an instrument without a settle time, in ms; doubled with each.
const LOOK_AGAIN_MS: u64 = 50;

/// What to do about a value that was written.
pub(super) enum Settled {
    /// Nothing is under way.
    Nothing,
    /// Do this, and look again then.
    Wait(Act, u64),
    /// It was taken, or it was not: the track says so.
    Done(Vec<Told>),
}

pub(super) fn settle(situation: &Situation<'_>, track: &mut Track) -> Settled {
    let (write, at_ms, acknowledged, looks) = match &track.stage {
        Stage::Watching => return Settled::Nothing,
        Stage::Writing(_) => return Settled::Wait(Act::Nothing, u64::MAX),
        Stage::Settling {
            write,
            at_ms,
            acknowledged,
            looks,
        } => (write.clone(), *at_ms, *acknowledged, *looks),
    };
    if situation.setpoint.bound_to != situation.rules.identity {
        // Another point is read now: it says nothing of what was written.
        track.stage = Stage::Watching;
        return Settled::Nothing;
    }
    let now = situation.now_ms;
    let pause = u64::from(situation.rules.settle_ms).max(LOOK_AGAIN_MS);
    // The first look comes as soon as the instrument has settled; each other one takes twice as long.
    let waited = u64::from(situation.rules.settle_ms) + pause * ((1 << looks.min(8)) - 1);
    let due = at_ms.saturating_add(waited);
    if now < due {
        return Settled::Wait(Act::Nothing, due);
    }
    let Some(reading) = situation.reading.filter(|reading| reading.at_ms >= due) else {
        return Settled::Wait(Act::Read, now.saturating_add(pause));
    };
    let found = good(reading);
    let band = Band::of(
        write.value.clone(),
        situation.setpoint.tolerance,
        situation.rules.resolution,
    );
    if let Some(found) = found
        && band.holds(found) == Some(true)
    {
        return Settled::Done(taken(track, &write, found, now));
    }
    if looks + 1 < LOOKS {
        if let Stage::Settling { looks, .. } = &mut track.stage {
            *looks += 1;
        }
        let next = at_ms + u64::from(situation.rules.settle_ms) + pause * ((1 << (looks + 1)) - 1);
        return Settled::Wait(Act::Nothing, next.max(now + 1));
    }
    let why = match found {
        Some(found) => deviation(&write, found),
        None if acknowledged => HoldReason::NotReadBack(write.value),
        None => {
            HoldReason::Unreachable(reading.reason.clone().unwrap_or_else(|| "no answer".into()))
        }
    };
    Settled::Done(track.fail(why, now, situation.random))
}

fn taken(track: &mut Track, write: &Write, found: &PointValue, now: u64) -> Vec<Told> {
    track.stage = Stage::Watching;
    track.failures = 0;
    track.trouble = None;
    track.retry_at_ms = 0;
    // Nobody else changed it.
    track.told_of = Some(found.clone());
    alloc::vec![Told::Verified {
        value: found.clone(),
        took_ms: now.saturating_sub(write.begun_ms),
    }]
}

/// The value of a reading that can be trusted.
pub(super) fn good(reading: &Observed) -> Option<&PointValue> {
    reading
        .value
        .as_ref()
        .filter(|_| reading.quality == Quality::Good)
}

/// What an instrument did that shows `found` after `write`.
fn deviation(write: &Write, found: &PointValue) -> HoldReason {
    let (wrote, found) = (write.value.clone(), found.clone());
    let numbers = (number(&wrote), number(&write.before), number(&found));
    let (Some(to), Some(from), Some(at)) = numbers else {
        return HoldReason::KeptItsOwn { wrote, found };
    };
    #[allow(clippy::float_cmp, reason = "it did not move at all")]
    if at == from {
        return HoldReason::KeptItsOwn { wrote, found };
    }
    let off = (at - to).abs();
    // Whole steps of 1, or a few per cent: what instruments of fewer digits make of a value.
    if off < 1.0 && is_whole(at) || off <= to.abs() * 0.005 {
        return HoldReason::Rounded { wrote, found };
    }
    let (low, high) = if from < to { (from, to) } else { (to, from) };
    if at > low && at < high {
        HoldReason::Limited { wrote, found }
    } else {
        HoldReason::KeptItsOwn { wrote, found }
    }
}

fn is_whole(number: f64) -> bool {
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
