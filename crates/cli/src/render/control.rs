//! Value loops in words: what was asked for, and what agents have confirmed, apart.

use std::{collections::BTreeMap, time::Duration};

use comfy_table::Table;
use holdfast_domain::{
    Name, PointValue,
    document::{
        hold::{LoopState, Scope},
        setpoint::Conformity,
    },
    resume::StartEffect,
    values::Interruption,
};
use holdfast_wire::{FleetReconciliation, ReconciliationView, SetpointView, StartMove};
use jiff::Timestamp;

use crate::{
    output::{Tone, cell, table, toned},
    render::{lists::shown, time::relative},
};

/// How a device's loop runs.
#[must_use]
pub fn device(
    name: &Name,
    view: &ReconciliationView,
    setpoints: &[SetpointView],
    names: &[(Scope, String)],
    now: Timestamp,
) -> String {
    let mut lines = vec![format!("{name}: {}", standing(view))];
    let mut line = |label: &str, text: String| lines.push(format!("  {label:<9} {text}"));
    for one in &view.pauses {
        let (label, what) = match one.scope {
            Scope::Device => ("stopped", String::new()),
            scope => {
                let known = names.iter().find(|(known, _)| *known == scope);
                let known = known.map_or("a part that is gone", |(_, name)| name.as_str());
                ("paused", format!("{known} "))
            }
        };
        line(label, format!("{what}{}", interruption(one, now)));
    }
    line("looks", looks(view));
    line("setpoints", counts(setpoints));
    lines.join("\n")
}

/// What was asked, and whether that is so.
fn standing(view: &ReconciliationView) -> String {
    if view.is_idle() {
        return "nothing is set, and nothing was ever asked of it".to_owned();
    }
    if let Some(stop) = &view.local {
        let until = stop.until.map_or_else(
            || "until that is lifted there".to_owned(),
            |until| format!("until {}", until.strftime("%Y-%m-%d %H:%M UTC")),
        );
        return format!(
            "stopped on site by {} ({}), {until}",
            stop.by.as_str(),
            stop.reason
        );
    }
    let asked = match view.requested {
        LoopState::Active => "shall hold its setpoints",
        LoopState::Stopping | LoopState::Stopped => "shall be stopped",
        LoopState::Shadow => "shall only compute (shadow)",
    };
    let real = match view.confirmed {
        _ if view.is_as_requested() => match view.requested {
            LoopState::Active => return told_of("holds its setpoints", view),
            LoopState::Stopping | LoopState::Stopped => return told_of("is stopped", view),
            LoopState::Shadow => return told_of("only computes (shadow)", view),
        },
        None => "its agent has never said how it runs".to_owned(),
        Some(LoopState::Stopping) => {
            "its agent is stopping: outputs are still on their way to where they are left"
                .to_owned()
        }
        Some(confirmed) => format!("its agent has not confirmed that; it said {confirmed} last"),
    };
    let silent = if view.stale { " (it is silent)" } else { "" };
    format!("{asked}; {real}{silent}")
}

fn told_of(what: &str, view: &ReconciliationView) -> String {
    if view.stale {
        format!("{what}, as its agent said before it went silent")
    } else {
        format!("{what}; its agent has confirmed it")
    }
}

/// Who, since when, why, until when.
fn interruption(one: &Interruption, now: Timestamp) -> String {
    let reason = one.reason.as_deref().unwrap_or("no reason was given");
    format!(
        "by {} {}: {reason}{}",
        one.by.as_str(),
        relative(one.since, now),
        until(one, now)
    )
}

/// Until when, if that was said.
#[must_use]
pub fn until(one: &Interruption, now: Timestamp) -> String {
    one.until.map_or_else(String::new, |until| {
        let clock = until.strftime("%Y-%m-%d %H:%M UTC");
        format!(", until {clock} ({})", relative(until, now))
    })
}

fn looks(view: &ReconciliationView) -> String {
    let wanted = view.interval_ms;
    let mut text = match view.actual_interval_ms {
        Some(actual) if actual != wanted => {
            format!(
                "every {actual} ms (asked for every {wanted} ms, which is more than the bus or the machine carries)"
            )
        }
        _ => format!("every {wanted} ms"),
    };
    if let Some(pass) = view.pass_ms {
        text.push_str(&format!("; a pass takes up to {pass} ms"));
    }
    if let Some(recommended) = view.recommended_interval_ms {
        text.push_str(&format!(", so that every {recommended} ms could do"));
    }
    if let Some(overruns) = view.overruns.filter(|overruns| *overruns > 0) {
        let passes = if overruns == 1 { "pass" } else { "passes" };
        text.push_str(&format!(
            "; {overruns} {passes} took longer since the agent started"
        ));
    }
    text
}

fn counts(setpoints: &[SetpointView]) -> String {
    if setpoints.is_empty() {
        return "none: nothing is ever written".to_owned();
    }
    let mut by: BTreeMap<(Conformity, &str), usize> = BTreeMap::new();
    for one in setpoints {
        *by.entry((one.conformity, one.hold.as_str())).or_default() += 1;
    }
    let parts: Vec<String> = by
        .into_iter()
        .map(|((conformity, hold), count)| format!("{count} {conformity} and {hold}"))
        .collect();
    parts.join(", ")
}

/// What became of a start or stop of one device.
#[must_use]
pub fn acted(name: &Name, view: &ReconciliationView, waited: Duration) -> String {
    if view.is_as_requested() || waited.is_zero() {
        return format!("{name}: {}", standing(view));
    }
    format!(
        "recorded; {name} {}, after {} s",
        standing(view),
        waited.as_secs()
    )
}

/// How the fleet's loops run, in figures.
#[must_use]
pub fn fleet(fleet: &FleetReconciliation) -> String {
    let FleetReconciliation {
        devices,
        requested,
        confirmed,
        as_requested,
        unconfirmed,
        stopped_on_site,
        idle,
        silent,
        failed,
    } = fleet;
    if *devices == 0 {
        return "There are no devices.".to_owned();
    }
    let mut lines = Vec::new();
    for (done, asked, what) in [
        (
            as_requested.active,
            requested.active.saturating_sub(*idle),
            "hold their setpoints",
        ),
        (as_requested.stopped, requested.stopped, "have stopped"),
        (*stopped_on_site, *stopped_on_site, "were stopped on site"),
        (
            as_requested.shadow,
            requested.shadow,
            "only compute (shadow)",
        ),
    ] {
        if asked > 0 {
            lines.push(format!("{done} of {asked} devices {what}"));
        }
    }
    if confirmed.stopped > requested.stopped {
        let more = confirmed.stopped - requested.stopped;
        lines.push(format!("{more} more said last that they are stopped"));
    }
    let mut count = |count: u32, one: &str, many: &str| match count {
        0 => {}
        1 => lines.push(format!("1 {one}")),
        count => lines.push(format!("{count} {many}")),
    };
    count(
        *idle,
        "device has nothing to hold",
        "devices have nothing to hold",
    );
    count(
        *unconfirmed,
        "agent has not confirmed what was asked for",
        "agents have not confirmed what was asked for",
    );
    count(*silent, "agent is silent", "agents are silent");
    count(
        *failed,
        "device could not be asked: try again",
        "devices could not be asked: try again",
    );
    lines.join("\n")
}

/// What a start would do to each output.
#[must_use]
pub fn forecast(moves: &[(Name, StartMove)], with_device: bool) -> Table {
    let mut table = table(&["POINT", "WANTED", "REAL", "A START WOULD", "WHY"]);
    for (device, one) in moves {
        let (what, tone) = match one.effect {
            StartEffect::Write => ("write it", Tone::Busy),
            StartEffect::Adopt => ("adopt it", Tone::Busy),
            StartEffect::Nothing => ("leave it", Tone::Good),
            StartEffect::Held => ("not write it", Tone::Quiet),
            StartEffect::Unknown => ("look first", Tone::Bad),
        };
        let point = match (&one.sensor, &one.point) {
            (Some(sensor), Some(point)) => format!("{sensor}/{point}"),
            _ => one.point_id.to_string(),
        };
        let point = if with_device {
            format!("{device}/{point}")
        } else {
            point
        };
        table.add_row([
            cell(point),
            cell(with_unit(Some(&one.wanted), one.unit.as_deref())),
            cell(with_unit(one.real.as_ref(), one.unit.as_deref())),
            toned(what, tone),
            cell(one.why.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

/// How many of how many would be written.
#[must_use]
pub fn summed_up(moves: &[(Name, StartMove)]) -> String {
    let count = |effect| moves.iter().filter(|(_, one)| one.effect == effect).count();
    let mut text = format!(
        "A start would write {} of {} outputs",
        count(StartEffect::Write),
        moves.len()
    );
    for (effect, what) in [
        (StartEffect::Adopt, "adopted"),
        (StartEffect::Unknown, "not known"),
    ] {
        if count(effect) > 0 {
            text.push_str(&format!("; {} {what}", count(effect)));
        }
    }
    text.push_str(". Nothing was started, and nothing was written.");
    text
}

pub(super) fn with_unit(value: Option<&PointValue>, unit: Option<&str>) -> String {
    match (value, unit) {
        (None, _) => "-".to_owned(),
        (Some(value), None) => shown(value),
        (Some(value), Some(unit)) => format!("{} {unit}", shown(value)),
    }
}
