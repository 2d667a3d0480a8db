//! The decision.

use alloc::vec::Vec;

use super::{
    band::Band,
    instead::{How, Instead},
    settle::{Settled, good, settle},
    situation::{Act, Control, Decision, HoldReason, HoldStatus, Situation, Told},
    step::{limit_of, next_step, reaches},
    track::{Asked, Stage, Track, Write},
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
            let (conformity, hold, reason) = match seen(situation) {
                Seen::Value(value, false) => meanwhile(situation, &track, value),
                Seen::Value(_, true) | Seen::Nothing(_) => {
                    (Conformity::Unknown, Hold::Writing, None)
                }
            };
            let status = HoldStatus {
                conformity,
                hold,
                reason,
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
    let is_out_of_reach = matches!(why, HoldReason::Bad(_));
    if matches!(why, HoldReason::Bad(_) | HoldReason::Old(_)) {
        track.lost_touch();
    }
    track.shows = None;
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
    track.instead = None;
    track.asked = Asked::default();
    track.step = None;
    track.was_out_of_reach = false;
    track.told_of = None;
    track.is_to_be_put_back = false;
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
    if let Some((deviates, look_at_ms)) = deviation(situation, track, value) {
        // That is how it stands: what is shown next is a change.
        track.was_out_of_reach = false;
        track.told_of = None;
        track.is_to_be_put_back = false;
        let enough = || HoldReason::FoughtEnough(situation.restores_per_hour);
        let (hold, reason) = match forbidden(situation) {
            Some(forbidden) => forbidden,
            None if track.is_overridden => (Hold::Overridden, enough()),
            None => (Hold::Active, deviates),
        };
        return Look {
            look_at_ms,
            ..Look::of(Conformity::Deviates, hold, Some(reason))
        };
    }
    let left = left_by_hand(situation, track, value);
    if let Some(before) = &left
        && track.told_of.as_ref() != Some(value)
    {
        told.push(Told::Drifted {
            before: before.clone(),
            after: value.clone(),
        });
        track.told_of = Some(value.clone());
        track.is_to_be_put_back = true;
    }
    if let Some((hold, reason)) = forbidden(situation) {
        return Look::of(Conformity::Drifting, hold, Some(reason));
    }
    let by_hand = left.clone().map(|before| HoldReason::ChangedByHand {
        before,
        after: value.clone(),
    });
    match (situation.setpoint.policy, left, by_hand) {
        (Policy::Observe, _, by_hand) => {
            return Look::of(Conformity::Drifting, Hold::Active, by_hand);
        }
        (Policy::Adopt, Some(before), Some(by_hand))
            if may_be_a_wish(situation, track, &before, value) =>
        {
            return adopt(situation, value, since, by_hand);
        }
        (Policy::Enforce | Policy::Adopt, ..) => {}
    }
    let is_step = is_own_step(situation, track, value);
    let was_held = track.verified.is_some() || by_hand_again(track);
    if was_held
        && !is_step
        && let Some(look) = enough(situation, track, told)
    {
        return look;
    }
    write(situation, track, value)
}

/// What the instrument makes of the wanted value, if it still shows that; and when it is asked again. One that rounds or limits
/// has moved: it is left alone until something changes. One that ignores what is written may be repaired without its reading
/// moving: it is asked ever more rarely.
fn deviation(
    situation: &Situation<'_>,
    track: &mut Track,
    value: &PointValue,
) -> Option<(HoldReason, Option<u64>)> {
    let wanted = situation.band.wanted();
    let instead = track.instead.as_ref()?;
    if !instead.is_shown(situation, value) {
        // It moves: it is not asked as one that nothing is heard of.
        track.asked = Asked::default();
        if instead.is_passed_by(wanted, value) {
            // It is slow, and still on its way.
            track.instead = None;
        }
        return None;
    }
    if !instead.is_sure() {
        return None;
    }
    let deviates = instead.told(wanted);
    if instead.how() != How::KeptItsOwn {
        return Some((deviates, None));
    }
    let now = situation.now_ms;
    let again_at = track.ask_again_at(now, situation.random);
    if now < again_at {
        return Some((deviates, Some(again_at)));
    }
    let is_held = *situation.control == Control::Active
        && situation.setpoint.policy != Policy::Observe
        && !track.is_overridden
        && forbidden(situation).is_none();
    if !is_held {
        return Some((deviates, None));
    }
    track.ask_again();
    None
}

/// How it stands while a write is under way, or about to be. That an instrument which is known to make something else of the
/// value is asked once more does not change how it stands.
fn meanwhile(
    situation: &Situation<'_>,
    track: &Track,
    value: &PointValue,
) -> (Conformity, Hold, Option<HoldReason>) {
    let known = track.instead.as_ref();
    match known.filter(|instead| instead.is_learned() && instead.is_shown(situation, value)) {
        Some(instead) => {
            let deviates = instead.told(situation.band.wanted());
            (Conformity::Deviates, Hold::Active, Some(deviates))
        }
        None => (Conformity::Drifting, Hold::Writing, None),
    }
}

/// Was it moved away from where it stood by our doing, by somebody else? From which value?
fn left_by_hand(
    situation: &Situation<'_>,
    track: &Track,
    value: &PointValue,
) -> Option<PointValue> {
    if is_own_step(situation, track, value) {
        return None;
    }
    match &track.instead {
        Some(instead) if instead.is_shown(situation, value) => None,
        Some(instead) if instead.is_learned() => Some(instead.found().clone()),
        Some(_) | None => track.verified.clone(),
    }
}

/// Is this a step on the way to the wanted value, which was written here?
fn is_own_step(situation: &Situation<'_>, track: &Track, value: &PointValue) -> bool {
    track.step.as_ref().is_some_and(|step| {
        let (tolerance, resolution) = (situation.setpoint.tolerance, situation.rules.resolution);
        Band::of(step.clone(), tolerance, resolution).holds(value) == Some(true)
    })
}

/// Was it told of a change by hand of what the instrument had made of the wanted value?
fn by_hand_again(track: &Track) -> bool {
    track.instead.as_ref().is_some_and(Instead::is_learned) && track.told_of.is_some()
}

/// Can a change at the hardware be somebody's wish? Not after the instrument was out of reach: it may have lost its power
/// and started with a value that nobody chose. Nor outside the point's limits, nor further away than its largest step.
fn may_be_a_wish(
    situation: &Situation<'_>,
    track: &Track,
    before: &PointValue,
    value: &PointValue,
) -> bool {
    let limits = situation.rules.limits.as_ref();
    !track.was_out_of_reach && limit_of(limits, value).is_none() && reaches(limits, before, value)
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

/// Was it put back often enough? Nobody is fought for ever. What is tried again because nothing came of it was counted.
fn enough(situation: &Situation<'_>, track: &mut Track, told: &mut Vec<Told>) -> Option<Look> {
    let now = situation.now_ms;
    track
        .restores
        .retain(|at| now.saturating_sub(*at) < HOUR_MS);
    let most = situation.restores_per_hour;
    let is_one_more = track.is_to_be_put_back && track.restores.len() >= most as usize;
    if !track.is_overridden && !is_one_more {
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
    if let Some(limit) = limit_of(situation.rules.limits.as_ref(), wanted) {
        return drifting(Hold::Blocked, limit);
    }
    if let Err(guard) = situation.guards {
        // What was not looked at yet blocks nothing yet, and allows nothing either.
        let hold = if guard.is_unread {
            Hold::Active
        } else {
            Hold::Blocked
        };
        return drifting(hold, HoldReason::Guard(guard.clone()));
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
            HoldReason::Rounded { .. }
            | HoldReason::Limited { .. }
            | HoldReason::KeptItsOwn { .. } => {
                // One write says little: somebody may have turned the knob in between.
                let is_confirmed = |instead: &Instead| instead.is_confirmed();
                if track.failures > 1 || track.instead.as_ref().is_some_and(is_confirmed) {
                    (Conformity::Deviates, Hold::Active)
                } else {
                    (Conformity::Drifting, Hold::Writing)
                }
            }
            _ => (Conformity::Drifting, Hold::Unreachable),
        };
        return Look {
            look_at_ms: Some(track.retry_at_ms),
            ..Look::of(conformity, hold, Some(trouble.clone()))
        };
    }
    let next = match next_step(situation, value) {
        Ok(next) => next,
        Err(why) => return drifting(Hold::Blocked, why),
    };
    if *situation.control == Control::Shadow {
        return drifting(Hold::Paused, HoldReason::Shadow(next));
    }
    let age = situation
        .reading
        .map_or(u64::MAX, |reading| now.saturating_sub(reading.at_ms));
    let (conformity, hold, reason) = meanwhile(situation, track, value);
    if age > FRESH_MS {
        return Look {
            act: Act::Read,
            look_at_ms: Some(now + FRESH_MS),
            ..Look::of(conformity, Hold::Active, reason)
        };
    }
    let is_restore = core::mem::take(&mut track.is_to_be_put_back);
    if is_restore {
        track.restores.push(now);
    }
    track.stage = Stage::Writing(Write {
        value: next.clone(),
        before: value.clone(),
        begun_ms: now,
        is_restore,
    });
    Look {
        act: Act::Write(next),
        ..Look::of(conformity, hold, reason)
    }
}
