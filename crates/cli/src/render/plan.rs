//! What would change: a plan sensor by sensor, and differences value by value.

use std::collections::BTreeMap;

use comfy_table::Table;
use holdfast_wire::{PlanAction, PlanView};
use serde::Serialize;
use serde_json::Value;

use crate::output::{Tone, cell, harmless, table, toned};

/// A plan: what is added, changed and removed.
#[must_use]
pub fn plan(plan: &PlanView) -> Table {
    let mut table = table(&["", "SENSOR", "CHANGE", "WHERE"]);
    for sensor in &plan.sensors {
        let (sign, word, tone) = match sensor.action {
            PlanAction::Add => ("+", "add", Tone::Good),
            PlanAction::Update => ("~", "update", Tone::Busy),
            PlanAction::Remove => ("-", "remove", Tone::Bad),
            PlanAction::Unchanged => continue,
        };
        let paths = sensor.paths.join(", ");
        table.add_row([
            toned(sign, tone),
            cell(sensor.name.as_str()),
            toned(word, tone),
            cell(paths),
        ]);
    }
    table
}

/// `2 to add, 1 to update, 0 to remove, 5 unchanged`.
#[must_use]
pub fn summary(plan: &PlanView) -> String {
    let count = |action| {
        plan.sensors
            .iter()
            .filter(|sensor| sensor.action == action)
            .count()
    };
    format!(
        "{} to add, {} to update, {} to remove, {} unchanged",
        count(PlanAction::Add),
        count(PlanAction::Update),
        count(PlanAction::Remove),
        count(PlanAction::Unchanged),
    )
}

/// One value that differs. A side that is left out has nothing there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Where: `connection.host`, `dataPoints[temperature].address`.
    pub path: String,
    /// What there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What there would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

impl Difference {
    /// `~ connection.host: "10.0.0.5" → "10.0.0.6"`.
    #[must_use]
    pub fn line(&self) -> String {
        let path = harmless(&self.path);
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => format!("~ {path}: {} → {}", shown(old), shown(new)),
            (None, Some(new)) => format!("+ {path}: {}", shown(new)),
            (Some(old), None) => format!("- {path}: {}", shown(old)),
            (None, None) => format!("  {path}"),
        }
    }
}

fn shown(value: &Value) -> String {
    const CHARS: usize = 120;
    let text = harmless(&value.to_string());
    match text.char_indices().nth(CHARS) {
        None => text,
        Some((cut, _)) => format!("{}…", &text[..cut]),
    }
}

/// Every value in which two documents differ, members in order. Elements of lists that have a name are matched by it;
/// ids, which people rarely write, are left out of the comparison, and so is `configVersion`.
#[must_use]
pub fn differences(old: &Value, new: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(Some(old), Some(new), "", &mut found);
    found
}

fn compare(old: Option<&Value>, new: Option<&Value>, path: &str, found: &mut Vec<Difference>) {
    let is_nothing = |side: Option<&Value>| side.is_none_or(Value::is_null);
    match (old, new) {
        (old, new) if is_nothing(old) && is_nothing(new) => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys
                .into_iter()
                .filter(|key| !matches!(key.as_str(), "id" | "configVersion"))
            {
                let inner = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                compare(old.get(key), new.get(key), &inner, found);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            let (old, new) = (labelled(old), labelled(new));
            let labels: Vec<&String> = old
                .keys()
                .chain(new.keys().filter(|label| !old.contains_key(*label)))
                .collect();
            for label in labels {
                let inner = format!("{path}[{label}]");
                compare(
                    old.get(label).copied(),
                    new.get(label).copied(),
                    &inner,
                    found,
                );
            }
        }
        (Some(old), Some(new)) if same(old, new) => {}
        (old, new) => {
            let side =
                |value: Option<&Value>| value.filter(|value| !value.is_null()).map(without_ids);
            found.push(Difference {
                path: path.to_owned(),
                old: side(old),
                new: side(new),
            });
        }
    }
}

/// Numbers are the same however they are spelled.
fn same(old: &Value, new: &Value) -> bool {
    old == new
        || matches!((old.as_f64(), new.as_f64()), (Some(old), Some(new)) if old.total_cmp(&new).is_eq())
}

fn labelled(items: &[Value]) -> BTreeMap<String, &Value> {
    let name = |item: &Value| {
        item.get("name")
            .and_then(Value::as_str)
            .map(ToOwned::to_owned)
    };
    items
        .iter()
        .enumerate()
        .map(|(index, item)| (name(item).unwrap_or_else(|| index.to_string()), item))
        .collect()
}

fn without_ids(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .filter(|(key, _)| !matches!(key.as_str(), "id" | "configVersion"))
                .map(|(key, value)| (key.clone(), without_ids(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_ids).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_shown_value_by_value() {
        let old = json!({ "id": "1", "name": "a", "connection": { "host": "x", "port": 502 },
            "dataPoints": [{ "id": "2", "name": "t", "address": 1 }, { "id": "3", "name": "u", "address": 2 }] });
        let new = json!({ "name": "a", "connection": { "host": "y", "port": 502.0 },
            "dataPoints": [{ "name": "u", "address": 2 }, { "name": "v", "address": 3 }], "unit": null });
        let lines: Vec<String> = differences(&old, &new)
            .iter()
            .map(Difference::line)
            .collect();
        assert_eq!(
            lines,
            [
                r#"~ connection.host: "x" → "y""#,
                r#"- dataPoints[t]: {"address":1,"name":"t"}"#,
                r#"+ dataPoints[v]: {"address":3,"name":"v"}"#,
            ]
        );
        assert_eq!(differences(&old, &old), []);
    }
}
