//! One event in one line: what happened to whom, and in which tone.

use holdfast_domain::event::Event;
use holdfast_wire::said::{Tone, said, tone};

use crate::ui::view::Stamp;

/// One event.
pub(super) struct EventLine {
    pub(super) at: Stamp,
    pub(super) device: String,
    pub(super) device_name: Option<String>,
    pub(super) kind: String,
    pub(super) tone: &'static str,
    pub(super) actor: String,
    pub(super) what: String,
}

impl EventLine {
    pub(super) fn of(event: &Event, device_name: Option<String>) -> Self {
        let tone = match tone(event.kind) {
            Tone::Bad => "bad",
            Tone::Warn => "warn",
            Tone::Good => "good",
            Tone::Quiet => "quiet",
        };
        Self {
            at: Stamp(event.at),
            device: event.device.to_string(),
            device_name,
            what: said(event),
            actor: event.actor.to_string(),
            kind: event.kind.to_string(),
            tone,
        }
    }
}
