//! One event in one line: what happened to whom, in the words that its payload carries.

use std::collections::BTreeMap;

use holdfast_domain::{PointValue, event::Event};
use jiff::Timestamp;
use serde_json::Value;

use crate::ui::view::{Stamp, short_value};

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
    pub(super) fn of(event: &Event, device_name: Option<String>, names: &PartNames) -> Self {
        let kind = event.kind.to_string();
        let tone = match kind.as_str() {
            "sensor.failed"
            | "device.offline"
            | "device.revoked"
            | "target_state.conflict"
            | "setpoint.refused" => "bad",
            "sensor.deployed"
            | "sensor.recovered"
            | "device.online"
            | "device.reconciled"
            | "setpoint.verified"
            | "reconciliation.started"
            | "reconciliation.resumed" => "good",
            "device.config_drift"
            | "setpoint.drifted"
            | "setpoint.overridden"
            | "reconciliation.stopped"
            | "reconciliation.paused" => "warn",
            _ => "quiet",
        };
        Self {
            at: Stamp(event.at),
            device: event.device.to_string(),
            device_name,
            what: match kind.starts_with("setpoint.") {
                true => of_setpoint(&kind, &event.payload, names),
                false => summary(&event.payload, names),
            },
            actor: event.actor.to_string(),
            kind,
            tone,
        }
    }
}

/// What people call sensors and points, by their ids.
pub(super) type PartNames = BTreeMap<String, String>;

/// What a payload says, in one line.
fn summary(payload: &Value, names: &PartNames) -> String {
    const CHARS: usize = 200;
    let Value::Object(members) = payload else {
        return String::new();
    };
    let first = [
        "name",
        "error",
        "attempts",
        "version",
        "targetVersion",
        "sensors",
        "reason",
    ];
    // What a pause is on.
    let scope = members.get("scope").and_then(Value::as_object);
    let part = scope.and_then(|scope| scope.values().next()?.as_str());
    let part = part.and_then(|part| names.get(part)).cloned();
    let known = first
        .into_iter()
        .filter_map(|key| Some((key, members.get(key)?)));
    let rest = members
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .filter(|(key, _)| !first.contains(key));
    let said = known
        .chain(rest)
        .filter_map(|(key, value)| phrase(key, value));
    let parts: Vec<String> = part.into_iter().chain(said).collect();
    let text = parts.join(" · ");
    if text.chars().count() > CHARS {
        text.chars().take(CHARS).chain(['…']).collect()
    } else {
        text
    }
}

/// What happened to a setpoint, in one line.
fn of_setpoint(kind: &str, payload: &Value, names: &PartNames) -> String {
    let value = |key: &str| {
        let value = payload.get(key).filter(|value| !value.is_null())?;
        let value = serde_json::from_value::<PointValue>(value.clone()).ok()?;
        Some(short_value(&value))
    };
    let text = |key: &str| payload.get(key).and_then(Value::as_str).map(str::to_owned);
    let said = match kind {
        "setpoint.set" | "setpoint.released" | "setpoint.adopted" | "setpoint.expired" => {
            match (value("previous"), value("value")) {
                (Some(before), Some(after)) => Some(format!("{before} → {after}")),
                (Some(before), None) => Some(format!("was {before}")),
                (None, after) => after,
            }
        }
        "setpoint.drifted" => {
            let (before, after) = (value("before"), value("after"));
            let wanted = value("wanted");
            before
                .zip(after)
                .zip(wanted)
                .map(|((before, after), wanted)| format!("{before} → {after}, wanted {wanted}"))
        }
        "setpoint.written" => value("wanted").map(|wanted| format!("wanted {wanted}")),
        "setpoint.verified" => value("value").map(|value| format!("is {value}")),
        _ => match (value("wanted"), value("value")) {
            (Some(wanted), Some(shown)) => Some(format!("wanted {wanted}, shows {shown}")),
            (wanted, _) => wanted.map(|wanted| format!("wanted {wanted}")),
        },
    };
    let took = payload.get("tookMs").and_then(Value::as_u64);
    let took = took.filter(|_| kind == "setpoint.verified");
    let point = text("pointId").and_then(|point| names.get(&point).cloned());
    let parts = [
        point,
        said,
        took.map(|ms| format!("in {ms} ms")),
        text("policy").filter(|policy| policy != "enforce"),
        text("reason"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// What one member says; ids and what was before are for programs.
fn phrase(key: &str, value: &Value) -> Option<String> {
    let is_for_programs = matches!(key, "id" | "revision" | "setBy");
    if is_for_programs || key.ends_with("Id") || key.starts_with("previous") {
        return None;
    }
    Some(match (key, value) {
        ("attempts", Value::Number(number)) => match number.as_u64() {
            Some(0) | None => return None,
            Some(1) => "tried once".to_owned(),
            Some(times) => format!("tried {times} times"),
        },
        ("version", Value::Number(number)) => format!("v{number}"),
        ("targetVersion", Value::Number(number)) => format!("target v{number}"),
        ("sensors", Value::Array(items)) if items.len() == 1 => "1 sensor".to_owned(),
        ("sensors", Value::Array(items)) => format!("{} sensors", items.len()),
        ("name" | "error", Value::String(text)) => text.clone(),
        ("scope", _) => return None,
        ("lastedMs", Value::Number(number)) => {
            let seconds = number.as_f64().unwrap_or_default() / 1_000.0;
            format!("lasted {seconds:.1} s")
        }
        (key, Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(time) => format!("{key}: {}", time.strftime("%Y-%m-%d %H:%M:%S UTC")),
            Err(_) => format!("{key}: {text}"),
        },
        (key, Value::Number(number)) => format!("{key}: {number}"),
        (key, Value::Bool(flag)) => format!("{key}: {flag}"),
        (_, Value::Null | Value::Array(_) | Value::Object(_)) => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_payload_is_put_into_words() {
        let failed = json!({ "sensorId": "0192", "name": "boiler-1", "error": "refused", "attempts": 3, "targetVersion": 6 });
        assert_eq!(
            summary(&failed, &PartNames::new()),
            "boiler-1 · refused · tried 3 times · target v6"
        );
        let updated = json!({ "version": 9, "previousVersion": 8, "sensors": [{}], "reason": "winter", "rolledBackTo": null });
        assert_eq!(
            summary(&updated, &PartNames::new()),
            "v9 · 1 sensor · reason: winter"
        );
        assert_eq!(summary(&json!({}), &PartNames::new()), "");
        let names = PartNames::from([("0192".to_owned(), "boiler-1".to_owned())]);
        let paused = json!({ "id": "0193", "scope": { "sensorId": "0192" }, "reason": "valve",
            "until": "2026-11-22T20:00:00.5Z", "revision": 4 });
        assert_eq!(
            summary(&paused, &names),
            "boiler-1 · reason: valve · until: 2026-11-22 20:00:00 UTC"
        );
    }

    #[test]
    fn what_happened_to_a_setpoint_is_put_into_words() {
        let points = PartNames::from([("0192".to_owned(), "boiler-1/set".to_owned())]);
        let of = |kind: &str, before: Value, after: Value, reason: Value| {
            let payload = json!({ "pointId": "0192", "wanted": 72.5, "value": 60.0, "setBy": "anna", "before": before,
                "after": after, "tookMs": 38, "reason": reason, "writes": 3, "revision": 4 });
            of_setpoint(kind, &payload, &points)
        };
        let none = || Value::Null;
        for (kind, before, after, reason, said) in [
            (
                "setpoint.drifted",
                json!(72.5),
                json!(60.0),
                none(),
                "boiler-1/set · 72.5 → 60, wanted 72.5",
            ),
            (
                "setpoint.written",
                none(),
                none(),
                none(),
                "boiler-1/set · wanted 72.5",
            ),
            (
                "setpoint.verified",
                none(),
                none(),
                none(),
                "boiler-1/set · is 60 · in 38 ms",
            ),
            (
                "setpoint.refused",
                none(),
                none(),
                json!("illegal value"),
                "boiler-1/set · wanted 72.5, shows 60 · illegal value",
            ),
        ] {
            assert_eq!(of(kind, before, after, reason), said);
        }
        let set = json!({ "pointId": "0193", "value": 72.5, "policy": "observe", "previous": 70.0, "reason": "winter" });
        assert_eq!(
            of_setpoint("setpoint.set", &set, &points),
            "70 → 72.5 · observe · winter"
        );
    }
}
