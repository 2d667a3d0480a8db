//! Leaving an output: where it goes when it may not be held any more, and how. It goes there once, is read back, and is
//! left alone then.
//!
//! When it may not be held is known to the loop; how a value gets to an instrument is decided as ever ([`super::decide()`]).

use super::{
    band::Band,
    decide::decide,
    instead::How,
    situation::{Act, Control, HoldReason, PointRules, Situation},
    track::{Stage, Track},
};
use crate::{
    document::{
        point::PointKind,
        setpoint::{Conformity, Policy, Setpoint},
    },
    value::PointValue,
};

/// Writes to the safe value in one go: an instrument that took none of so many takes none.
const MOST_WRITES: u32 = 10;

/// Why an output is not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// The loop was stopped, or it was paused.
    Stopped,
    /// The hub is lost.
    HubLost,
}

/// Where an output goes that is not held any more; `None`: it keeps what it has. Only what was held from here is moved from
/// here: not what is only observed, nor what was redefined under its setpoint.
#[must_use]
pub fn safe_value<'a>(
    setpoint: &Setpoint,
    rules: &'a PointRules,
    why: Interruption,
) -> Option<&'a PointValue> {
    let is_held = match setpoint.policy {
        Policy::Enforce | Policy::Adopt => true,
        Policy::Observe => false,
    };
    let may_be_written =
        rules.writable && rules.kind == PointKind::Level && setpoint.bound_to == rules.identity;
    let value = match why {
        Interruption::Stopped => rules.on_stop.as_ref(),
        Interruption::HubLost => rules.on_hub_lost.as_ref().map(|(_, value)| value),
    };
    value.filter(|_| is_held && may_be_written)
}

/// A step on the way to the safe value.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaving {
    /// What the loop remembers of the way.
    pub track: Track,
    /// What is to be done.
    pub act: Act,
    /// When to look again at the latest, in ms of the loop's clock; `None`: with the next reading.
    pub look_at_ms: Option<u64>,
    /// Is the way over?
    pub is_over: bool,
    /// What is wrong, if anything is.
    pub trouble: Option<HoldReason>,
}

/// Decides the next step to the safe value `to`. `situation` is that of the setpoint; `since_ms` is when the way began, and
/// `writes` how many were made on it. Guards and the day's number do not hold it up, limits do.
#[must_use]
pub fn leave(
    to: &PointValue,
    situation: &Situation<'_>,
    track: Track,
    since_ms: u64,
    writes: u32,
) -> Leaving {
    let setpoint = Setpoint {
        value: to.clone(),
        policy: Policy::Enforce,
        ..situation.setpoint.clone()
    };
    let rules = situation.rules;
    let mut track = track;
    if track
        .instead
        .as_ref()
        .is_some_and(|instead| instead.how() == How::KeptItsOwn)
    {
        // On the way to a safe value it is tried as often as is allowed.
        track.try_again();
    }
    let decision = decide(
        &Situation {
            setpoint: &setpoint,
            expires_at_ms: None,
            rules,
            band: &Band::of(to.clone(), setpoint.tolerance, rules.resolution),
            control: &Control::Active,
            // What was read before says nothing of now.
            reading: situation
                .reading
                .filter(|reading| reading.at_ms >= since_ms),
            guards: &Ok(()),
            budget: situation.budget.for_safe_value(),
            ..*situation
        },
        track.clone(),
    );
    let took_what_it_can = decision.status.conformity == Conformity::Deviates
        && decision
            .track
            .instead
            .as_ref()
            .is_some_and(|instead| instead.is_sure() && instead.how() != How::KeptItsOwn);
    let is_settled = decision.track.stage == Stage::Watching;
    if matches!(decision.act, Act::Write(_)) && writes >= MOST_WRITES {
        return Leaving {
            trouble: track.trouble.clone(),
            track,
            act: Act::Nothing,
            look_at_ms: None,
            is_over: true,
        };
    }
    let is_there = decision.status.conformity == Conformity::InSync;
    Leaving {
        track: decision.track,
        act: decision.act,
        look_at_ms: decision.look_at_ms,
        is_over: is_settled && (is_there || took_what_it_can),
        trouble: decision.status.reason.filter(|_| !is_there),
    }
}
