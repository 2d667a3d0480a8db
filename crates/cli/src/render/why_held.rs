//! Why an output shows what it shows, in words: what is wanted, what is real, whether it is held, what comes next.

use holdfast_domain::document::{
    hold::Scope,
    setpoint::{Conformity, Hold, Policy, Tolerance},
};
use holdfast_wire::SetpointView;
use jiff::Timestamp;

use crate::{
    output::harmless,
    render::{
        control::with_unit,
        time::{lasting, relative},
        why::{Explanation, Facts},
    },
};

/// Explains one of the setpoints.
#[must_use]
pub fn explain(facts: &Facts, setpoint: &SetpointView, now: Timestamp) -> Explanation {
    let name = match &setpoint.point {
        Some(point) => format!("{}/{point}", facts.sensor.name),
        None => setpoint.point_id.to_string(),
    };
    let stale = if setpoint.stale {
        ", as far as is known: its agent is silent"
    } else {
        ""
    };
    let lines = [
        Some(("wanted", wanted(setpoint, now))),
        Some(("real", real(setpoint, now))),
        Some(("hold", hold(setpoint, now))),
        changed(setpoint, now).map(|text| ("by hand", text)),
        writes(setpoint).map(|text| ("writes", text)),
        Some(("next", next(facts, setpoint))),
    ];
    Explanation {
        headline: harmless(&format!(
            "{name} of {} {}{stale}",
            facts.device.name,
            standing(setpoint)
        )),
        lines: lines
            .into_iter()
            .flatten()
            .map(|(label, text)| (label, harmless(&text)))
            .collect(),
    }
}

const fn standing(setpoint: &SetpointView) -> &'static str {
    match (setpoint.conformity, setpoint.hold) {
        (Conformity::InSync, Hold::Active | Hold::Writing) => "holds what is wanted",
        (Conformity::InSync, _) => "shows what is wanted, and is not held",
        (Conformity::Unknown, Hold::Pending) => "has not reached its agent",
        (Conformity::Unknown, _) => "is not known",
        (Conformity::Drifting, _) => "differs from what is wanted",
        (Conformity::Deviates, _) => "took another value than the wanted one",
        (Conformity::AcknowledgedUnverified, _) => "was written, and can't be read back",
    }
}

fn wanted(setpoint: &SetpointView, now: Timestamp) -> String {
    let unit = setpoint.unit.as_deref();
    let mut text = with_unit(Some(&setpoint.value), unit);
    match setpoint.tolerance {
        None => {}
        Some(Tolerance::Exact) => text.push_str(", exactly"),
        Some(Tolerance::Absolute(width)) => text.push_str(&format!(" ± {width}")),
        Some(Tolerance::Relative(share)) => text.push_str(&format!(" ± {} %", share * 100.0)),
    }
    text.push_str(match setpoint.policy {
        Policy::Enforce => "",
        Policy::Observe => ", only observed",
        Policy::Adopt => ", changes at the hardware are adopted",
    });
    text.push_str(&format!(
        " (by {} {}",
        setpoint.set_by.as_str(),
        relative(setpoint.set_at, now)
    ));
    if let Some(reason) = &setpoint.reason {
        text.push_str(&format!(": {reason}"));
    }
    if let Some(until) = setpoint.until {
        text.push_str(&format!("; it ends {}", relative(until, now)));
    }
    text.push(')');
    text
}

fn real(setpoint: &SetpointView, now: Timestamp) -> String {
    let value = with_unit(setpoint.shown_value.as_ref(), setpoint.unit.as_deref());
    let since = setpoint
        .since
        .map_or_else(String::new, |since| format!(" for {}", lasting(since, now)));
    match setpoint.conformity {
        Conformity::InSync => {
            let took = setpoint.verified_in_ms;
            let took =
                took.map_or_else(String::new, |ms| format!(", {ms} ms after the last write"));
            format!("{value}: read back and verified{took}; so{since}")
        }
        Conformity::Unknown => match &setpoint.shown_value {
            None => "not known".to_owned(),
            Some(_) => format!("not known; {value} when it was read last"),
        },
        Conformity::Drifting => format!("{value}: outside the tolerance{since}"),
        Conformity::Deviates => format!("{value}: what the instrument made of it{since}"),
        Conformity::AcknowledgedUnverified => "acknowledged, and not read back".to_owned(),
    }
}

fn hold(setpoint: &SetpointView, now: Timestamp) -> String {
    let mut text = setpoint.hold.to_string();
    if let Some(why) = &setpoint.why {
        text.push_str(&format!(": {why}"));
    }
    if let Some(since) = setpoint.since {
        text.push_str(&format!(" (for {})", lasting(since, now)));
    }
    text
}

fn changed(setpoint: &SetpointView, now: Timestamp) -> Option<String> {
    let change = setpoint.last_change.as_ref()?;
    let unit = setpoint.unit.as_deref();
    let times = match setpoint.changes {
        0 | 1 => String::new(),
        times => format!("; {times} times since the agent started"),
    };
    Some(format!(
        "changed from {} to {} {}{times}",
        with_unit(Some(&change.before), unit),
        with_unit(Some(&change.after), unit),
        relative(change.at, now)
    ))
}

fn writes(setpoint: &SetpointView) -> Option<String> {
    let made = setpoint.writes?;
    let left = setpoint.budget_left;
    let left = left.map_or_else(String::new, |left| format!(", {left} may still be made"));
    Some(format!("{made} in the instrument's life{left}"))
}

fn next(facts: &Facts, setpoint: &SetpointView) -> String {
    let device = &facts.device.name;
    if setpoint.stale {
        return format!(
            "the agent of {device} goes on with what it holds; it takes up the rest once it is back. Check its power and network"
        );
    }
    let every = facts
        .reconciliation
        .actual_interval_ms
        .unwrap_or(facts.reconciliation.interval_ms);
    match setpoint.hold {
        Hold::Pending => "the agent fetches it within seconds, while it reaches the hub".to_owned(),
        Hold::Writing => "it is read back as soon as it has settled".to_owned(),
        Hold::Paused => resumed(facts, setpoint),
        Hold::Blocked => "the agent looks on, and writes once what blocks it is gone".to_owned(),
        Hold::Refused => "the instrument said no: correct the value or the instrument, and set it again".to_owned(),
        Hold::Unreachable => {
            "the agent asks the instrument again and again; once it answers it is looked at, and written if it differs".to_owned()
        }
        Hold::Overridden => "nothing by itself: set the value again to have it put back once more".to_owned(),
        Hold::Expired => "nothing: nothing acts on it any more".to_owned(),
        Hold::Active => match (setpoint.conformity, setpoint.policy) {
            (_, Policy::Observe) => {
                format!("it is looked at every {every} ms, and never written: the policy is to observe")
            }
            (Conformity::InSync, Policy::Enforce) => {
                format!("it is looked at every {every} ms, and put back when it differs")
            }
            (Conformity::InSync, Policy::Adopt) => {
                format!("it is looked at every {every} ms; a change made at the hardware becomes the new wish")
            }
            (Conformity::Deviates, _) => {
                "what it ignores is tried some times more, and then ever more rarely, once a day at last. Where it rounds or limits \
                 the value nothing is written while it shows what it made of it. Set the value again, or `holdfast reconcile` the \
                 device, to have it tried now"
                    .to_owned()
            }
            (Conformity::Unknown | Conformity::Drifting | Conformity::AcknowledgedUnverified, _) => {
                "the agent looks again, and writes if it differs; what fails is tried again with growing pauses".to_owned()
            }
        },
    }
}

/// What ends a stop or a pause.
fn resumed(facts: &Facts, setpoint: &SetpointView) -> String {
    let device = &facts.device.name;
    let sensor = facts.sensor.id;
    let pauses = &facts.reconciliation.pauses;
    let covering = pauses
        .iter()
        .find(|one| one.scope.covers(sensor, setpoint.point_id));
    let part = match covering.map(|one| one.scope) {
        Some(Scope::Device) => {
            return format!(
                "nothing is written until it is started: holdfast reconcile start --device {device} (with --dry-run it shows \
                 what that would move)"
            );
        }
        Some(Scope::Sensor(_)) => facts.sensor.name.to_string(),
        Some(Scope::Point(_)) => match &setpoint.point {
            Some(point) => format!("{}/{point}", facts.sensor.name),
            None => facts.sensor.name.to_string(),
        },
        None => return "the agent has not taken up yet that it may go on".to_owned(),
    };
    format!("nothing is written until it is resumed: holdfast reconcile resume {device}/{part}")
}
