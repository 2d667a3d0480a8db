//! One event in one line: what happened to whom, in the words that its payload carries.

use holdfast_domain::event::Event;
use serde_json::Value;

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
        let kind = event.kind.to_string();
        let tone = match kind.as_str() {
            "sensor.failed" | "device.offline" | "device.revoked" | "target_state.conflict" => {
                "bad"
            }
            "sensor.deployed" | "sensor.recovered" | "device.online" | "device.reconciled" => {
                "good"
            }
            "device.config_drift" => "warn",
            _ => "quiet",
        };
        Self {
            at: Stamp(event.at),
            device: event.device.to_string(),
            device_name,
            what: summary(&event.payload),
            actor: event.actor.to_string(),
            kind,
            tone,
        }
    }
}

/// What a payload says, in one line.
fn summary(payload: &Value) -> String {
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
    let known = first
        .into_iter()
        .filter_map(|key| Some((key, members.get(key)?)));
    let rest = members
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .filter(|(key, _)| !first.contains(key));
    let parts: Vec<String> = known
        .chain(rest)
        .filter_map(|(key, value)| phrase(key, value))
        .collect();
    let text = parts.join(" · ");
    if text.chars().count() > CHARS {
        text.chars().take(CHARS).chain(['…']).collect()
    } else {
        text
    }
}

/// What one member says; ids and what was before are for programs.
fn phrase(key: &str, value: &Value) -> Option<String> {
    if key.ends_with("Id") || key.starts_with("previous") {
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
        (key, Value::String(text)) => format!("{key}: {text}"),
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
            summary(&failed),
            "boiler-1 · refused · tried 3 times · target v6"
        );
        let updated = json!({ "version": 9, "previousVersion": 8, "sensors": [{}], "reason": "winter", "rolledBackTo": null });
        assert_eq!(summary(&updated), "v9 · 1 sensor · reason: winter");
        assert_eq!(summary(&json!({})), "");
    }
}
