//! What a read-back means. An instrument may show a written value late, show something else, or nothing at all.

use alloc::vec::Vec;

use super::{
    band::Band,
    instead::Instead,
    situation::{Act, HoldReason, Observed, Situation, Told},
    track::{Asked, Stage, Track, Write},
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
    let settled_at = at_ms.saturating_add(u64::from(situation.rules.settle_ms));
    // Whatever it was read for: once it has settled, what shows the written value shows that it was taken. It may be another
    // one again when the next look is due.
    if let Some(reading) = situation.reading.filter(|it| it.at_ms >= settled_at)
        && let Some(found) = good(reading)
        && is_near(situation, &write.value, found)
    {
        return Settled::Done(taken(track, &write, found, now));
    }
    let pause = u64::from(situation.rules.settle_ms).max(LOOK_AGAIN_MS);
    // The first look comes as soon as the instrument has settled; each other one takes twice as long.
    let due = settled_at.saturating_add(pause * ((1 << looks.min(8)) - 1));
    if now < due {
        return Settled::Wait(Act::Nothing, due);
    }
    let Some(reading) = situation.reading.filter(|reading| reading.at_ms >= due) else {
        return Settled::Wait(Act::Read, now.saturating_add(pause));
    };
    let found = good(reading);
    if looks + 1 < LOOKS {
        if let Stage::Settling { looks, .. } = &mut track.stage {
            *looks += 1;
        }
        let next = settled_at + pause * ((1 << (looks + 1)) - 1);
        return Settled::Wait(Act::Nothing, next.max(now + 1));
    }
    let why = match found {
        // It did not say yes, and nothing came of it: the write was lost, as far as anybody can know.
        Some(found) if !acknowledged && *found == write.before => {
            let why =
                alloc::format!("the write was not acknowledged, and it shows {found} as before");
            HoldReason::Unreachable(why)
        }
        Some(found) => {
            // Neither what it showed before nor what was written: a hand that is faster than the loop, perhaps.
            track.is_to_be_put_back |=
                track.verified.is_some() && !is_near(situation, &write.before, found);
            let instead = Instead::after(track.instead.take(), situation, &write, found);
            let why = instead.how().told(write.value, instead.found().clone());
            track.instead = Some(instead);
            why
        }
        None if acknowledged => HoldReason::NotReadBack(write.value),
        None => {
            HoldReason::Unreachable(reading.reason.clone().unwrap_or_else(|| "no answer".into()))
        }
    };
    Settled::Done(track.fail(why, now, situation.random))
}

/// Is it the same, as far as the setpoint's tolerance tells them apart?
fn is_near(situation: &Situation<'_>, value: &PointValue, found: &PointValue) -> bool {
    let (tolerance, resolution) = (situation.setpoint.tolerance, situation.rules.resolution);
    Band::of(value.clone(), tolerance, resolution).holds(found) == Some(true)
}

fn taken(track: &mut Track, write: &Write, found: &PointValue, now: u64) -> Vec<Told> {
    track.stage = Stage::Watching;
    track.failures = 0;
    track.trouble = None;
    track.instead = None;
    track.asked = Asked::default();
    track.retry_at_ms = 0;
    track.step = Some(found.clone());
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
