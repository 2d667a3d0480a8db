//! Commands: what was sent, and what became of it.

use std::time::Duration;

use comfy_table::Table;
use holdfast_domain::{PointValue, document::command::CommandOutcome};
use holdfast_wire::CommandView;
use jiff::Timestamp;

use crate::{
    output::{Tone, cell, table, toned},
    render::{lists::shown, time::relative},
};

/// Commands; `device_of` gives a device's name where it shall be shown.
#[must_use]
pub fn list(
    commands: &[CommandView],
    device_of: impl Fn(&CommandView) -> Option<String>,
    now: Timestamp,
) -> Table {
    let mut table = table(&[
        "WHEN", "POINT", "VALUE", "OUTCOME", "TOOK", "BY", "WHY", "ID",
    ]);
    for command in commands {
        let (word, tone) = match command.outcome {
            Some(outcome) => (outcome.as_str(), tone(outcome)),
            None => ("waiting", Tone::Busy),
        };
        let took = command.took_ms.map(|ms| format!("{ms} ms"));
        let why = command.why.as_deref().or(command.reason.as_deref());
        table.add_row([
            cell(relative(command.set_at, now)),
            cell(place(command, device_of(command))),
            cell(with_unit(&command.value, command)),
            toned(word, tone),
            cell(took.as_deref().unwrap_or("-")),
            cell(command.set_by.as_str()),
            cell(why.unwrap_or_default()),
            cell(command.id.map_or_else(String::new, |id| id.to_string())),
        ]);
    }
    table
}

const fn tone(outcome: CommandOutcome) -> Tone {
    match outcome {
        CommandOutcome::Verified => Tone::Good,
        CommandOutcome::AcknowledgedUnverified => Tone::Busy,
        CommandOutcome::Expired | CommandOutcome::Cancelled => Tone::Quiet,
        CommandOutcome::Refused | CommandOutcome::Failed | CommandOutcome::OutcomeUnknown => {
            Tone::Bad
        }
    }
}

fn place(command: &CommandView, device: Option<String>) -> String {
    let point = match (&command.sensor, &command.point) {
        (Some(sensor), Some(point)) => format!("{sensor}/{point}"),
        _ => command.point_id.to_string(),
    };
    device.map_or(point.clone(), |device| format!("{device}/{point}"))
}

fn with_unit(value: &PointValue, command: &CommandView) -> String {
    match &command.unit {
        None => shown(value),
        Some(unit) => format!("{} {unit}", shown(value)),
    }
}

/// What became of a value that was sent, in one line; `waited` is how long that was waited for.
#[must_use]
pub fn told(command: &CommandView, waited: Duration) -> String {
    let value = with_unit(&command.value, command);
    let why = command.why.as_deref().unwrap_or("no reason was given");
    match command.outcome {
        Some(CommandOutcome::Verified) => match command.took_ms {
            Some(ms) => format!("verified {value} in {ms} ms"),
            None => format!("verified {value}"),
        },
        Some(CommandOutcome::AcknowledgedUnverified) => format!("accepted, not verified: {why}"),
        Some(CommandOutcome::OutcomeUnknown) => {
            format!("outcome unknown, and not repeated: {why}")
        }
        Some(
            outcome @ (CommandOutcome::Refused
            | CommandOutcome::Failed
            | CommandOutcome::Expired
            | CommandOutcome::Cancelled),
        ) => {
            format!("not written ({outcome}): {why}")
        }
        None if waited.is_zero() => format!("recorded {value}"),
        None => format!(
            "recorded {value}, and not answered within {} s: {why}",
            waited.as_secs()
        ),
    }
}
