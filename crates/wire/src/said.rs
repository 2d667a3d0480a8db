//! An event's particulars in one line, for pages and terminals: `boiler-1/target-temperature · 60 → 72.5 °C · winter`; and how it is to
//! be taken.

use holdfast_domain::{
    PointValue,
    event::{Event, EventKind},
};
use jiff::Timestamp;
use serde_json::Value;

/// How an event is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Something is not as it should be.
    Bad,
    /// Somebody may want to look: it differs, or is not held.
    Warn,
    /// It is as it should be again.
    Good,
    /// For the record.
    Quiet,
}

/// How an event of this kind is to be taken.
#[must_use]
pub const fn tone(kind: EventKind) -> Tone {
    use EventKind as K;
    match kind {
        K::DeviceDeleted
        | K::DeviceOffline
        | K::DeviceRevoked
        | K::TargetConflict
        | K::SensorFailed
        | K::SetpointRefused
        | K::CommandRefused
        | K::CommandFailed
        | K::TroubleBegan => Tone::Bad,
        K::DeviceConfigDrift
        | K::SetpointDrifted
        | K::SetpointOverridden
        | K::CommandAcknowledged
        | K::CommandExpired
        | K::CommandUnknown
        | K::ReconciliationStopped
        | K::ReconciliationPaused => Tone::Warn,
        K::DeviceOnline
        | K::DeviceReconciled
        | K::SensorDeployed
        | K::SensorRecovered
        | K::SetpointVerified
        | K::CommandVerified
        | K::TroubleEnded
        | K::ReconciliationStarted
        | K::ReconciliationResumed => Tone::Good,
        K::DeviceCreated
        | K::DeviceUpdated
        | K::DeviceRegistered
        | K::DeviceIncarnation
        | K::DeviceSnapshot
        | K::DeviceLook
        | K::TargetUpdated
        | K::TargetRolledBack
        | K::SensorAdded
        | K::SensorUpdated
        | K::SensorDeleted
        | K::SensorPending
        | K::SensorReconciling
        | K::SensorPendingDeletion
        | K::SensorRemoved
        | K::SetpointSet
        | K::SetpointReleased
        | K::SetpointWritten
        | K::SetpointAdopted
        | K::SetpointExpired
        | K::BudgetReset
        | K::BudgetRenewed
        | K::CommandRequested
        | K::CommandCancelRequested
        | K::CommandCancelled
        | K::ReconciliationUpdated => Tone::Quiet,
    }
}

/// What happened to whom, in the words that the event carries.
#[must_use]
pub fn said(event: &Event) -> String {
    const CHARS: usize = 200;
    let kind = event.kind.to_string();
    let text = if kind.starts_with("setpoint.") || kind.starts_with("command.") {
        of_value(&kind, &event.payload)
    } else {
        in_general(&event.payload)
    };
    if text.chars().count() > CHARS {
        text.chars().take(CHARS).chain(['…']).collect()
    } else {
        text
    }
}

/// Sensor and point, as far as they are named.
fn subject(payload: &Value) -> Option<String> {
    let text = |key: &str| payload.get(key).and_then(Value::as_str);
    match (text("sensor"), text("point")) {
        (Some(sensor), Some(point)) => Some(format!("{sensor}/{point}")),
        (sensor, point) => sensor.or(point).map(str::to_owned),
    }
}

/// What happened to a setpoint or a command.
fn of_value(kind: &str, payload: &Value) -> String {
    let text = |key: &str| payload.get(key).and_then(Value::as_str).map(str::to_owned);
    let unit = text("unit").map_or_else(String::new, |unit| format!(" {unit}"));
    let value = |key: &str| {
        let value = payload.get(key).filter(|value| !value.is_null())?;
        let value = serde_json::from_value::<PointValue>(value.clone()).ok()?;
        Some(short_value(&value))
    };
    let said = match kind {
        "setpoint.set"
        | "setpoint.released"
        | "setpoint.adopted"
        | "setpoint.expired"
        | "command.requested"
        | "command.cancel_requested" => match (value("previous"), value("value")) {
            (Some(before), Some(after)) => Some(format!("{before} → {after}{unit}")),
            (Some(before), None) => Some(format!("was {before}{unit}")),
            (None, after) => after.map(|after| format!("{after}{unit}")),
        },
        "setpoint.drifted" => value("before")
            .zip(value("after"))
            .zip(value("wanted"))
            .map(|((before, after), wanted)| format!("{before} → {after}{unit}, wanted {wanted}")),
        "setpoint.written" => value("wanted").map(|wanted| format!("wanted {wanted}{unit}")),
        "setpoint.verified" | "command.verified" => {
            value("value").map(|value| format!("is {value}{unit}"))
        }
        _ => match (value("wanted"), value("value")) {
            (Some(wanted), Some(shown)) => Some(format!("wanted {wanted}{unit}, shows {shown}")),
            (wanted, _) => wanted.map(|wanted| format!("wanted {wanted}{unit}")),
        },
    };
    let took = payload.get("tookMs").and_then(Value::as_u64);
    let took = took.filter(|_| kind.ends_with(".verified"));
    let parts = [
        subject(payload),
        said,
        took.map(|ms| format!("in {ms} ms")),
        text("policy").filter(|policy| policy != "enforce"),
        text("reason"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// What any other payload says.
fn in_general(payload: &Value) -> String {
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
    let said = known
        .chain(rest)
        .filter_map(|(key, value)| phrase(key, value));
    let parts: Vec<String> = subject(payload).into_iter().chain(said).collect();
    parts.join(" · ")
}

/// What one member says; ids and what was before are for programs.
fn phrase(key: &str, value: &Value) -> Option<String> {
    let is_for_programs = matches!(
        key,
        "id" | "revision" | "setBy" | "scope" | "sensor" | "point" | "unit"
    );
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
        ("sensors", Value::Array(sensors)) => of_sensors(sensors),
        ("name" | "error" | "reason", Value::String(text)) => text.clone(),
        ("lastedMs", Value::Number(number)) => {
            let seconds = number.as_f64().unwrap_or_default() / 1_000.0;
            format!("lasted {seconds:.1} s")
        }
        (key, Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(time) => {
                let time = time.strftime("%Y-%m-%d %H:%M:%S UTC");
                format!("{}: {time}", in_words(key))
            }
            Err(_) => format!("{}: {text}", in_words(key)),
        },
        (key, Value::Number(number)) => format!("{}: {number}", in_words(key)),
        (key, Value::Bool(flag)) => format!("{}: {flag}", in_words(key)),
        (_, Value::Null | Value::Array(_) | Value::Object(_)) => return None,
    })
}

/// The name of a member as people write it: `driftedSince` is "drifted since".
fn in_words(key: &str) -> String {
    let mut words = String::new();
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

/// The sensors of an edit or a drift: by name, as long as they can be read at a glance.
fn of_sensors(sensors: &[Value]) -> String {
    const NAMED: usize = 4;
    let named = |sensor: &Value| {
        let name = sensor.get("name")?.as_str()?;
        Some(match sensor.get("change").and_then(Value::as_str) {
            Some(change) => format!("{name} {change}"),
            None => name.to_owned(),
        })
    };
    let names: Option<Vec<String>> = sensors.iter().map(named).collect();
    match (names, sensors.len()) {
        (Some(names), 1..=NAMED) => names.join(", "),
        (_, 1) => "1 sensor".to_owned(),
        (_, count) => format!("{count} sensors"),
    }
}

/// A value in as many digits as a person reads.
#[must_use]
pub fn short_value(value: &PointValue) -> String {
    const DIGITS: usize = 6;
    const CHARS: usize = 60;
    match value {
        PointValue::Number(number) if *number != 0.0 && !(1e-4..1e9).contains(&number.abs()) => {
            format!("{number:.3e}")
        }
        PointValue::Number(number) => {
            let whole = format!("{:.0}", number.trunc().abs()).len();
            let text = format!("{number:.*}", DIGITS.saturating_sub(whole));
            if text.contains('.') {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            } else {
                text
            }
        }
        PointValue::Text(text) if text.chars().count() > CHARS => {
            text.chars().take(CHARS).chain(['…']).collect()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(kind: EventKind, payload: Value) -> String {
        said(&Event {
            device: "01920000-0000-7000-8000-000000000001"
                .parse()
                .expect("a UUID"),
            sequence: 1,
            kind,
            at: Timestamp::UNIX_EPOCH,
            actor: holdfast_domain::row::Actor::named("anna"),
            correlation: None,
            causation: None,
            payload,
        })
    }

    #[test]
    fn a_payload_is_put_into_words() {
        let failed = json!({ "sensorId": "0192", "name": "boiler-1", "error": "refused", "attempts": 3, "targetVersion": 6 });
        assert_eq!(
            of(EventKind::SensorFailed, failed),
            "boiler-1 · refused · tried 3 times · target v6"
        );
        let sensors = json!([{ "id": "0192", "name": "boiler-1", "change": "added" }]);
        let updated = json!({ "version": 9, "previousVersion": 8, "sensors": sensors, "reason": "winter", "rolledBackTo": null });
        assert_eq!(
            of(EventKind::TargetUpdated, updated),
            "v9 · boiler-1 added · winter"
        );
        let many = json!({ "version": 9, "sensors": [{}, {}, {}, {}, {}] });
        assert_eq!(of(EventKind::TargetUpdated, many), "v9 · 5 sensors");
        assert_eq!(of(EventKind::DeviceOnline, json!({})), "");
        let back = json!({ "targetVersion": 4, "driftedSince": "2026-11-22T20:00:00Z", "lastedMs": 8_000 });
        assert_eq!(
            of(EventKind::DeviceReconciled, back),
            "target v4 · drifted since: 2026-11-22 20:00:00 UTC · lasted 8.0 s"
        );
        let paused = json!({ "id": "0193", "scope": { "sensorId": "0192" }, "sensor": "boiler-1", "reason": "valve",
            "until": "2026-11-22T20:00:00.5Z", "revision": 4 });
        assert_eq!(
            of(EventKind::ReconciliationPaused, paused),
            "boiler-1 · valve · until: 2026-11-22 20:00:00 UTC"
        );
    }

    #[test]
    fn what_happened_to_a_setpoint_is_put_into_words() {
        let none = || Value::Null;
        for (kind, before, after, reason, said) in [
            (
                EventKind::SetpointDrifted,
                json!(72.5),
                json!(60.0),
                none(),
                "boiler-1/set · 72.5 → 60 °C, wanted 72.5",
            ),
            (
                EventKind::SetpointWritten,
                none(),
                none(),
                none(),
                "boiler-1/set · wanted 72.5 °C",
            ),
            (
                EventKind::SetpointVerified,
                none(),
                none(),
                none(),
                "boiler-1/set · is 60 °C · in 38 ms",
            ),
            (
                EventKind::SetpointRefused,
                none(),
                none(),
                json!("illegal value"),
                "boiler-1/set · wanted 72.5 °C, shows 60 · illegal value",
            ),
        ] {
            let payload = json!({ "pointId": "0192", "sensor": "boiler-1", "point": "set", "unit": "°C", "wanted": 72.5,
                "value": 60.0, "setBy": "anna", "before": before, "after": after, "tookMs": 38, "reason": reason,
                "writes": 3, "revision": 4 });
            assert_eq!(of(kind, payload), said);
        }
        // A point without a unit, as events of a point that is gone name neither.
        let set = json!({ "pointId": "0193", "value": 72.5, "policy": "observe", "previous": 70.0, "reason": "winter" });
        assert_eq!(
            of(EventKind::SetpointSet, set),
            "70 → 72.5 · observe · winter"
        );
        let pulse = json!({ "pointId": "0193", "sensor": "gate", "point": "open", "value": true, "reason": null });
        assert_eq!(of(EventKind::CommandRequested, pulse), "gate/open · true");
    }

    #[test]
    fn a_value_has_as_many_digits_as_a_person_reads() {
        for (value, text) in [
            (21.299_999_237, "21.3"),
            (72.5, "72.5"),
            (-0.125, "-0.125"),
            (0.0, "0"),
            (123_456_789.0, "123456789"),
            (100.0, "100"),
            (1.5e12, "1.500e12"),
            (2e-9, "2.000e-9"),
        ] {
            assert_eq!(short_value(&PointValue::Number(value)), text);
        }
        assert_eq!(short_value(&PointValue::Integer(7)), "7");
    }
}
