//! The decision.

use alloc::{format, string::String, vec::Vec};

use super::{
    band::number,
    settle::{Settled, good, settle},
    situation::{Act, Control, Decision, HoldReason, HoldStatus, Situation, Told},
    track::{Stage, Track, Write},
};
use crate::{
    document::{
        point::PointKind,
        setpoint::{Conformity, Hold, Policy},
    },
    value::PointValue,
};

/// A value is written only if it was looked at so shortly before, in ms: nothing may have changed since.
const FRESH_MS: u64 = 1_000;

/// A value that was changed by hand is adopted when it has stood for so long, in ms.
const ADOPT_AFTER_MS: u64 = 2_000;

/// Restores are counted over so long, in ms.
const HOUR_MS: u64 = 3_600_000;

/// Decides what to do about a point, and says why.
#[must_use]
pub fn decide(situation: &Situation<'_>, mut track: Track) -> Decision {
    let mut told = Vec::new();
    match settle(situation, &mut track) {
        Settled::Nothing => {}
        Settled::Wait(act, until) => {
            // What it shows now is not trusted, wanted or not, before it has settled.
            let conformity = match seen(situation) {
                Seen::Value(_, false) => Conformity::Drifting,
                Seen::Value(_, true) | Seen::Nothing(_) => Conformity::Unknown,
            };
            let status = HoldStatus {
                conformity,
                hold: Hold::Writing,
                reason: None,
            };
            let look_at_ms = (until < u64::MAX).then_some(until);
            return Decision {
                track,
                status,
                act,
                look_at_ms,
                told,
            };
        }
        Settled::Done(happened) => told = happened,
    }
    let look = match seen(situation) {
        Seen::Nothing(why) => blind(situation, &mut track, why),
        Seen::Value(value, true) => in_sync(situation, &mut track, value, &mut told),
        Seen::Value(value, false) => outside(situation, &mut track, value, &mut told),
    };
    let Look {
        conformity,
        hold,
        reason,
        act,
        look_at_ms,
    } = look;
    Decision {
        track,
        status: HoldStatus {
            conformity,
            hold,
            reason,
        },
        act,
        look_at_ms,
        told,
    }
}

/// What a look comes to.
struct Look {
    conformity: Conformity,
    hold: Hold,
    reason: Option<HoldReason>,
    act: Act,
    look_at_ms: Option<u64>,
}

impl Look {
    const fn of(conformity: Conformity, hold: Hold, reason: Option<HoldReason>) -> Self {
        Self {
            conformity,
            hold,
            reason,
            act: Act::Nothing,
            look_at_ms: None,
        }
    }
}

/// What can be said of the point.
enum Seen<'a> {
    /// Nothing, for this reason.
    Nothing(HoldReason),
    /// What it shows, and whether that is the wanted value.
    Value(&'a PointValue, bool),
}

fn seen<'a>(situation: &Situation<'a>) -> Seen<'a> {
    let Some(reading) = situation.reading else {
        return Seen::Nothing(HoldReason::NotRead);
    };
    let Some(value) = good(reading) else {
        let why = reading.reason.clone();
        return Seen::Nothing(HoldReason::Bad(
            why.unwrap_or_else(|| "its quality is not good".into()),
        ));
    };
    let age = situation.now_ms.saturating_sub(reading.at_ms);
    if age > situation.max_age_ms {
        return Seen::Nothing(HoldReason::Old(age));
    }
    match situation.band.holds(value) {
        Some(holds) => Seen::Value(value, holds),
        None => Seen::Nothing(HoldReason::OtherKind {
            wanted: situation.band.wanted().clone(),
            found: value.clone(),
        }),
    }
}

/// Nothing is known of the instrument: nothing is ever written on that.
fn blind(situation: &Situation<'_>, track: &mut Track, why: HoldReason) -> Look {
    track.shows = None;
    let is_out_of_reach = matches!(why, HoldReason::Bad(_));
    track.was_out_of_reach |= matches!(why, HoldReason::Bad(_) | HoldReason::Old(_));
    let act = match why {
        HoldReason::NotRead | HoldReason::Old(_) => Act::Read,
        _ => Act::Nothing,
    };
    let conformity = match &track.trouble {
        Some(HoldReason::NotReadBack(_)) => Conformity::AcknowledgedUnverified,
        _ => Conformity::Unknown,
    };
    let reason = match (&track.trouble, conformity) {
        (Some(trouble), Conformity::AcknowledgedUnverified) => trouble.clone(),
        _ => why,
    };
    let (hold, reason) = match forbidden(situation) {
        Some((hold, forbidden)) => (hold, forbidden),
        None if is_out_of_reach => (Hold::Unreachable, reason),
        None => (Hold::Active, reason),
    };
    Look {
        act,
        ..Look::of(conformity, hold, Some(reason))
    }
}

fn in_sync(
    situation: &Situation<'_>,
    track: &mut Track,
    value: &PointValue,
    told: &mut Vec<Told>,
) -> Look {
    if track.told_of.is_some() && told.is_empty() {
        told.push(Told::BackInSync(value.clone()));
    }
    track.verified = Some(value.clone());
    track.failures = 0;
    track.retry_at_ms = 0;
    track.trouble = None;
    track.was_out_of_reach = false;
    track.told_of = None;
    track.shows = None;
    let (hold, reason) = match forbidden(situation) {
        Some((hold, reason)) => (hold, Some(reason)),
        None if track.is_overridden => (
            Hold::Overridden,
            Some(HoldReason::FoughtEnough(situation.restores_per_hour)),
        ),
        None => (Hold::Active, None),
    };
    Look::of(Conformity::InSync, hold, reason)
}

/// What forbids every write, whatever the instrument shows.
fn forbidden(situation: &Situation<'_>) -> Option<(Hold, HoldReason)> {
    let rules = situation.rules;
    if situation
        .expires_at_ms
        .is_some_and(|end| end <= situation.now_ms)
    {
        return Some((Hold::Expired, HoldReason::Expired));
    }
    if situation.setpoint.bound_to != rules.identity {
        return Some((Hold::Blocked, HoldReason::PointRedefined));
    }
    if !rules.writable || rules.kind != PointKind::Level {
        return Some((Hold::Blocked, HoldReason::NotALevel));
    }
    match situation.control {
        Control::Active | Control::Shadow => None,
        Control::Paused(why) => Some((Hold::Paused, HoldReason::Paused(why.clone()))),
    }
}

fn outside(
    situation: &Situation<'_>,
    track: &mut Track,
    value: &PointValue,
    told: &mut Vec<Told>,
) -> Look {
    let now = situation.now_ms;
    let since = match &track.shows {
        Some((shown, since)) if shown == value => *since,
        _ => now,
    };
    track.shows = Some((value.clone(), since));
    if let Some(deviates) = deviation(track, value) {
        let (hold, reason) = forbidden(situation).unwrap_or((Hold::Active, deviates));
        return Look::of(Conformity::Deviates, hold, Some(reason));
    }
    if let Some(before) = &track.verified
        && track.told_of.as_ref() != Some(value)
    {
        told.push(Told::Drifted {
            before: before.clone(),
            after: value.clone(),
        });
        track.told_of = Some(value.clone());
    }
    if let Some((hold, reason)) = forbidden(situation) {
        return Look::of(Conformity::Drifting, hold, Some(reason));
    }
    let by_hand = track
        .verified
        .clone()
        .map(|before| HoldReason::ChangedByHand {
            before,
            after: value.clone(),
        });
    match (situation.setpoint.policy, by_hand) {
        (Policy::Observe, by_hand) => return Look::of(Conformity::Drifting, Hold::Active, by_hand),
        (Policy::Adopt, Some(by_hand)) if may_be_a_wish(situation, track, value) => {
            return adopt(situation, value, since, by_hand);
        }
        (Policy::Enforce | Policy::Adopt, Some(_)) => {
            if let Some(look) = enough(situation, track, told) {
                return look;
            }
        }
        (Policy::Enforce | Policy::Adopt, None) => {}
    }
    write(situation, track, value)
}

/// The value that the instrument took instead of the one written, if it still shows that.
fn deviation(track: &Track, value: &PointValue) -> Option<HoldReason> {
    let trouble = track.trouble.as_ref()?;
    match trouble {
        HoldReason::Rounded { found, .. } | HoldReason::Limited { found, .. } => {
            (found == value).then(|| trouble.clone())
        }
        _ => None,
    }
}

/// Can a change at the hardware be somebody's wish? Not after the instrument was out of reach: it may have lost its power
/// and started with a value that nobody chose. Nor outside the point's limits.
fn may_be_a_wish(situation: &Situation<'_>, track: &Track, value: &PointValue) -> bool {
    !track.was_out_of_reach && limit_of(situation, value).is_none()
}

fn adopt(situation: &Situation<'_>, value: &PointValue, since: u64, by_hand: HoldReason) -> Look {
    let stands_at = since + ADOPT_AFTER_MS;
    let is_shadow = *situation.control == Control::Shadow;
    let stands = situation.now_ms >= stands_at && !is_shadow;
    Look {
        act: if stands {
            Act::Adopt(value.clone())
        } else {
            Act::Nothing
        },
        look_at_ms: (!stands && !is_shadow).then_some(stands_at),
        ..Look::of(Conformity::Drifting, Hold::Active, Some(by_hand))
    }
}

/// Was it put back often enough? Nobody is fought for ever.
fn enough(situation: &Situation<'_>, track: &mut Track, told: &mut Vec<Told>) -> Option<Look> {
    let now = situation.now_ms;
    track
        .restores
        .retain(|at| now.saturating_sub(*at) < HOUR_MS);
    let most = situation.restores_per_hour;
    if !track.is_overridden && track.restores.len() < most as usize {
        return None;
    }
    let reason = HoldReason::FoughtEnough(most);
    if !track.is_overridden {
        told.push(Told::Overridden(reason.clone()));
    }
    track.is_overridden = true;
    Some(Look::of(
        Conformity::Drifting,
        Hold::Overridden,
        Some(reason),
    ))
}

/// Writes, if nothing forbids it now.
fn write(situation: &Situation<'_>, track: &mut Track, value: &PointValue) -> Look {
    let now = situation.now_ms;
    let drifting = |hold, reason| Look::of(Conformity::Drifting, hold, Some(reason));
    let wanted = situation.band.wanted();
    if let Some(limit) = limit_of(situation, wanted) {
        return drifting(Hold::Blocked, limit);
    }
    if let Err(guard) = situation.guards {
        return drifting(Hold::Blocked, HoldReason::Guard(guard.clone()));
    }
    if !situation.budget.allows(false) {
        let super::budget::BudgetView {
            today,
            lifetime,
            reserve,
        } = situation.budget;
        let reason = HoldReason::Budget {
            today,
            lifetime,
            reserve,
        };
        return drifting(Hold::Blocked, reason);
    }
    if now < track.retry_at_ms
        && let Some(trouble) = &track.trouble
    {
        let (conformity, hold) = match trouble {
            HoldReason::Refused { .. } => (Conformity::Drifting, Hold::Refused),
            HoldReason::KeptItsOwn { .. } => (Conformity::Deviates, Hold::Active),
            _ => (Conformity::Drifting, Hold::Unreachable),
        };
        return Look {
            look_at_ms: Some(track.retry_at_ms),
            ..Look::of(conformity, hold, Some(trouble.clone()))
        };
    }
    let next = stepped(situation, value);
    if *situation.control == Control::Shadow {
        return drifting(Hold::Paused, HoldReason::Shadow(next));
    }
    let age = situation
        .reading
        .map_or(u64::MAX, |reading| now.saturating_sub(reading.at_ms));
    if age > FRESH_MS {
        return Look {
            act: Act::Read,
            look_at_ms: Some(now + FRESH_MS),
            ..Look::of(Conformity::Drifting, Hold::Active, None)
        };
    }
    if track.verified.is_some() {
        track.restores.push(now);
    }
    track.stage = Stage::Writing(Write {
        value: next.clone(),
        before: value.clone(),
        begun_ms: now,
    });
    Look {
        act: Act::Write(next),
        ..Look::of(Conformity::Drifting, Hold::Writing, None)
    }
}

/// The next value on the way to the wanted one: no further than the point's largest step.
fn stepped(situation: &Situation<'_>, value: &PointValue) -> PointValue {
    let wanted = situation.band.wanted();
    let step = situation
        .rules
        .limits
        .as_ref()
        .and_then(|limits| limits.max_step);
    let (Some(step), Some(from), Some(to)) = (step, number(value), number(wanted)) else {
        return wanted.clone();
    };
    if (to - from).abs() <= step {
        return wanted.clone();
    }
    let next = if to > from { from + step } else { from - step };
    match wanted {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "between two whole numbers that fit"
        )]
        PointValue::Integer(_) => PointValue::from_i64(next as i64),
        _ => PointValue::Number(next),
    }
}

/// Which limit `value` is outside of.
fn limit_of(situation: &Situation<'_>, value: &PointValue) -> Option<HoldReason> {
    let limits = situation.rules.limits.as_ref()?;
    let number = number(value)?;
    let is_below = limits.min.is_some_and(|min| number < min);
    let is_above = limits.max.is_some_and(|max| number > max);
    if !is_below && !is_above {
        return None;
    }
    let words: String = match (limits.min, limits.max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => String::new(),
    };
    Some(HoldReason::Limit {
        value: value.clone(),
        limits: words,
    })
}
