//! What starting a stopped value loop would move: wanted beside real, output by output.
//!
//! A forecast, made from what the agent said last: it looks at every output and at its guards again before it writes.
//! [`crate::shown`] says how a setpoint stands now, [`crate::hold`] decides what is really done.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use jiff::Timestamp;

use crate::{
    document::{
        hold::Scope,
        setpoint::{Conformity, Policy},
    },
    fields::words,
    hold::Band,
    shown::{self, Shown},
    state::DeviceState,
    value::PointValue,
};

/// What a start would do to one output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(rename_all = "lowercase")
)]
pub enum StartEffect {
    /// The wanted value is written.
    Write,
    /// What the instrument shows becomes the new wish.
    Adopt,
    /// Nothing: it shows what is wanted, or is only observed.
    Nothing,
    /// Nothing: something else forbids it.
    Held,
    /// Not known: the agent has not said what the instrument shows.
    Unknown,
}
words!(StartEffect {
    Write => "write",
    Adopt => "adopt",
    Nothing => "nothing",
    Held => "held",
    Unknown => "unknown",
});

/// What a start would do to one output, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// How it stands now.
    pub shown: Shown,
    /// What a start would do.
    pub effect: StartEffect,
    /// Why; `None`: it is plain from the values.
    pub why: Option<String>,
}

/// What starting the device's loop would move, by point id; nothing where it is not stopped.
#[must_use]
pub fn of_start(state: &DeviceState, now: Timestamp) -> Vec<Forecast> {
    let stopped = |one: &crate::values::Interruption| one.until.is_none_or(|until| until > now);
    if !state.target.values.hold.stops().any(stopped) {
        return Vec::new();
    }
    shown::of_device(state, now)
        .into_iter()
        .map(|shown| {
            let (effect, why) = effect(state, &shown, now);
            Forecast { shown, effect, why }
        })
        .collect()
}

fn effect(state: &DeviceState, shown: &Shown, now: Timestamp) -> (StartEffect, Option<String>) {
    use StartEffect::{Adopt, Held, Nothing, Unknown, Write};
    let because = |why: &str| Some(why.to_string());
    let setpoint = &shown.wish.setpoint;
    let Some(place) = &shown.place else {
        return (Held, because("the target has the point no more"));
    };
    if shown.wish.until.is_some_and(|until| until <= now) {
        return (Nothing, because("its time is over"));
    }
    if let Some(paused) = still_paused(state, shown, now) {
        return (Held, Some(paused));
    }
    let item = state.target.item(place.sensor);
    let rules = item.and_then(|item| item.sensor.content().binding.point_rules(setpoint.point_id));
    let Some(rules) = rules else {
        return (Held, because("the target has the point no more"));
    };
    if rules.identity != setpoint.bound_to {
        return (
            Held,
            because("the point was redefined: set the value again to arm it"),
        );
    }
    let said = shown.said.as_ref();
    // What was read for the wish before counts: it is the instrument's value all the same.
    let is_blind = shown.is_spoken_of() && shown.conformity == Conformity::Unknown;
    let Some(real) = said
        .and_then(|said| said.value.as_ref())
        .filter(|_| !is_blind)
    else {
        let why = shown.why.as_deref();
        return (
            Unknown,
            because(why.unwrap_or("the agent has not said what the instrument shows")),
        );
    };
    let band = Band::of(setpoint.value.clone(), setpoint.tolerance, rules.resolution);
    match (band.holds(real), setpoint.policy) {
        (Some(true), _) => return (Nothing, None),
        (None, _) => {
            return (
                Unknown,
                because("what the instrument shows is of another kind"),
            );
        }
        (Some(false), Policy::Observe) => return (Nothing, because("it is only observed")),
        (Some(false), Policy::Enforce | Policy::Adopt) => {}
    }
    if said.is_some_and(|said| said.budget_left == 0) {
        return (Held, because("its write budget is used up"));
    }
    if state.target.values.hold.shadow {
        return (
            Held,
            because("shadow mode: it would be computed, and not written"),
        );
    }
    if setpoint.policy == Policy::Adopt && is_by_hand(shown, real) {
        return (Adopt, because("it was changed at the hardware"));
    }
    (Write, None)
}

/// The pause that goes on after a start.
fn still_paused(state: &DeviceState, shown: &Shown, now: Timestamp) -> Option<String> {
    let sensor = shown.place.as_ref()?.sensor;
    let point = shown.wish.setpoint.point_id;
    let pauses = state.target.values.hold.interruptions.iter();
    let pause = pauses
        .filter(|one| one.scope != Scope::Device && one.until.is_none_or(|until| until > now))
        .find(|one| one.scope.covers(sensor, point))?;
    Some(match &pause.reason {
        Some(reason) => format!("paused by {}: {reason}", pause.by.as_str()),
        None => format!("paused by {}", pause.by.as_str()),
    })
}

/// Is what it shows the last change that was made at the hardware?
fn is_by_hand(shown: &Shown, real: &PointValue) -> bool {
    let said = shown.said.as_ref().filter(|_| shown.is_spoken_of());
    let change = said.and_then(|said| said.last_change.as_ref());
    change.is_some_and(|change| change.after == *real)
}
