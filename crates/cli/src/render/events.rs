//! Events in words.

use comfy_table::Table;
use holdfast_domain::event::{Event, EventKind};
use holdfast_wire::said;
use jiff::Timestamp;

use crate::{
    output::{Tone, cell, table, toned},
    render::time::relative,
};

/// One event on one line: `3 min ago  plant-3  sensor.failed  boiler-1 · connection refused  agent`.
#[derive(Debug)]
pub struct EventLine {
    /// When.
    pub at: Timestamp,
    /// The device's name.
    pub device: String,
    /// What happened.
    pub kind: EventKind,
    /// To whom, and the particulars.
    pub what: String,
    /// Who did it.
    pub by: String,
}

impl EventLine {
    /// An event of the device that is called `device`.
    #[must_use]
    pub fn of(event: &Event, device: String) -> Self {
        Self {
            at: event.at,
            device,
            kind: event.kind,
            what: said::said(event),
            by: event.actor.to_string(),
        }
    }
}

const fn tone(kind: EventKind) -> Tone {
    match said::tone(kind) {
        said::Tone::Bad => Tone::Bad,
        said::Tone::Warn => Tone::Busy,
        said::Tone::Good => Tone::Good,
        said::Tone::Quiet => Tone::Plain,
    }
}

/// Events, with how long ago they were.
#[must_use]
pub fn events(lines: &[EventLine], now: Timestamp) -> Table {
    let mut table = table(&["WHEN", "DEVICE", "TYPE", "WHAT", "BY"]);
    for line in lines {
        table.add_row([
            cell(relative(line.at, now)),
            cell(&line.device),
            toned(line.kind.as_str(), tone(line.kind)),
            cell(&line.what),
            cell(&line.by),
        ]);
    }
    table
}
