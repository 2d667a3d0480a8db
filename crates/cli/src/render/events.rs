//! Events in words.

use comfy_table::Table;
use holdfast_wire::EventView;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    output::{Tone, cell, table, toned},
    render::time::relative,
};

/// One event on one line: `3 min ago  plant-3  sensor.failed  boiler-1: connection refused  (agent)`.
#[must_use]
pub fn event_cells(view: &EventView, device: &str, now: Timestamp) -> [String; 5] {
    let event = &view.event;
    [
        relative(event.at, now),
        device.to_owned(),
        event.kind.to_string(),
        event_detail(&event.payload),
        event.actor.to_string(),
    ]
}

/// The tone of an event's type.
pub(crate) fn event_tone(kind: &str) -> Tone {
    match kind {
        "sensor.failed"
        | "device.offline"
        | "device.revoked"
        | "device.deleted"
        | "target_state.conflict" => Tone::Bad,
        "sensor.deployed" | "sensor.recovered" | "device.online" | "device.reconciled" => {
            Tone::Good
        }
        "device.config_drift" => Tone::Busy,
        _ => Tone::Plain,
    }
}

/// What a person wants to know of an event's particulars, as far as they are there: `boiler-1, version 4: timed out`.
fn event_detail(payload: &Value) -> String {
    let text = |key: &str| payload.get(key).and_then(Value::as_str);
    let number = |key: &str| payload.get(key).and_then(Value::as_u64);
    let mut what: Vec<String> = text("name").map(ToOwned::to_owned).into_iter().collect();
    what.extend(
        payload
            .get("sensors")
            .and_then(Value::as_array)
            .map(|list| sensors(list)),
    );
    let version = number("version").or_else(|| number("targetVersion"));
    what.extend(version.map(|version| format!("version {version}")));
    let why = text("error").or_else(|| text("reason"));
    match (what.join(", "), why) {
        (what, None) => what,
        (what, Some(why)) if what.is_empty() => why.to_owned(),
        (what, Some(why)) => format!("{what}: {why}"),
    }
}

fn sensors(list: &[Value]) -> String {
    let names: Vec<&str> = list
        .iter()
        .filter_map(|sensor| sensor.get("name")?.as_str())
        .collect();
    match (names.as_slice(), list.len()) {
        ([], 1) => "1 sensor".to_owned(),
        ([], count) => format!("{count} sensors"),
        (names, _) => names.join(", "),
    }
}

/// Events.
#[must_use]
pub fn events(rows: &[[String; 5]]) -> Table {
    let mut table = table(&["WHEN", "DEVICE", "TYPE", "WHAT", "BY"]);
    for [when, device, kind, what, by] in rows {
        table.add_row([
            cell(when),
            cell(device),
            toned(kind, event_tone(kind)),
            cell(what),
            cell(by),
        ]);
    }
    table
}
