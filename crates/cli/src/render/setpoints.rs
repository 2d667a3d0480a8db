//! Setpoints: what is wanted, what is real, and why they differ.

use std::time::Duration;

use comfy_table::Table;
use holdfast_domain::{
    PointValue,
    document::setpoint::{Conformity, Hold, Policy},
};
use holdfast_wire::SetpointView;
use jiff::Timestamp;

use crate::{
    output::{Tone, cell, table, toned},
    render::{lists::shown, time::relative_or},
};

/// Setpoints; `device_of` gives a device's name where it shall be shown.
#[must_use]
pub fn list(
    setpoints: &[SetpointView],
    device_of: impl Fn(&SetpointView) -> Option<String>,
    now: Timestamp,
) -> Table {
    let mut table = table(&[
        "POINT",
        "WANTED",
        "REAL",
        "CONFORMITY",
        "HOLD",
        "SINCE",
        "WRITES",
        "BY",
        "WHY",
    ]);
    for setpoint in setpoints {
        let stale = if setpoint.stale {
            " (agent silent)"
        } else {
            ""
        };
        let why = setpoint.why.as_deref().or(setpoint.reason.as_deref());
        let writes = setpoint.writes.map(|writes| writes.to_string());
        table.add_row([
            cell(place(setpoint, device_of(setpoint))),
            cell(with_unit(Some(&setpoint.value), setpoint)),
            cell(with_unit(setpoint.shown_value.as_ref(), setpoint)),
            toned(
                setpoint.conformity.as_str(),
                conformity(setpoint.conformity),
            ),
            toned(format!("{}{stale}", setpoint.hold), hold(setpoint.hold)),
            cell(relative_or(setpoint.since, now, "-")),
            cell(writes.as_deref().unwrap_or("-")),
            cell(setpoint.set_by.as_str()),
            cell(why.unwrap_or_default()),
        ]);
    }
    table
}

fn place(setpoint: &SetpointView, device: Option<String>) -> String {
    let point = match (&setpoint.sensor, &setpoint.point) {
        (Some(sensor), Some(point)) => format!("{sensor}/{point}"),
        _ => setpoint.point_id.to_string(),
    };
    device.map_or(point.clone(), |device| format!("{device}/{point}"))
}

fn with_unit(value: Option<&PointValue>, setpoint: &SetpointView) -> String {
    match (value, &setpoint.unit) {
        (None, _) => "-".to_owned(),
        (Some(value), None) => shown(value),
        (Some(value), Some(unit)) => format!("{} {unit}", shown(value)),
    }
}

const fn conformity(conformity: Conformity) -> Tone {
    match conformity {
        Conformity::InSync => Tone::Good,
        Conformity::Unknown => Tone::Quiet,
        Conformity::Drifting | Conformity::AcknowledgedUnverified => Tone::Busy,
        Conformity::Deviates => Tone::Bad,
    }
}

const fn hold(hold: Hold) -> Tone {
    match hold {
        Hold::Active => Tone::Good,
        Hold::Pending | Hold::Writing | Hold::Paused => Tone::Busy,
        Hold::Blocked | Hold::Refused | Hold::Unreachable | Hold::Overridden => Tone::Bad,
        Hold::Expired => Tone::Quiet,
    }
}

/// What became of a value that was set, in one line; `waited` is how long its read-back was waited for.
#[must_use]
pub fn told(setpoint: &SetpointView, waited: Duration) -> String {
    let wanted = with_unit(Some(&setpoint.value), setpoint);
    if setpoint.is_verified() {
        return match setpoint.verified_in_ms {
            Some(ms) => format!("verified {wanted} in {ms} ms"),
            None => format!("verified {wanted}"),
        };
    }
    let why = setpoint.why.as_deref().unwrap_or("no reason was given");
    let real = with_unit(setpoint.shown_value.as_ref(), setpoint);
    match (setpoint.hold, setpoint.conformity) {
        (Hold::Pending | Hold::Writing, _) | (Hold::Active, Conformity::Unknown)
            if waited.is_zero() =>
        {
            format!("recorded {wanted}")
        }
        (Hold::Pending | Hold::Writing, _) | (Hold::Active, Conformity::Unknown) => {
            format!(
                "recorded {wanted}, and not verified within {} s: {why}",
                waited.as_secs()
            )
        }
        (Hold::Active, Conformity::Drifting | Conformity::Deviates)
            if setpoint.policy == Policy::Observe =>
        {
            format!("recorded {wanted}, only observed: the instrument shows {real}")
        }
        (Hold::Paused, _) => format!("not written ({}): {why}", setpoint.hold),
        (Hold::Active, conformity) => {
            format!("not verified ({conformity}): the instrument shows {real}; {why}")
        }
        (hold, _) => format!("not held ({hold}): {why}; the instrument shows {real}"),
    }
}
