//! What a manifest makes of a target: its sensors in place of those with the same id or name, the others kept or not.

use holdfast_domain::Item;
use serde_json::Value;

/// The list of sensors that comes of `declared` on top of `current`: what the manifest lists as it says, in the places
/// where it was; what it doesn't list as it is, or with `prune` not at all; new ones at the end.
pub(crate) fn merged(current: &[Item], declared: &[Value], prune: bool) -> Vec<Value> {
    let mut left: Vec<&Value> = declared.iter().collect();
    let mut list = Vec::with_capacity(current.len() + declared.len());
    for item in current {
        match left.iter().position(|sensor| is_of(sensor, item)) {
            Some(at) => list.push(left.remove(at).clone()),
            None if prune => {}
            None => list.push(item.sensor.to_json()),
        }
    }
    list.extend(left.into_iter().cloned());
    list
}

/// Does `sensor` declare `item`? By id where it gives one, else by name.
pub(crate) fn is_of(sensor: &Value, item: &Item) -> bool {
    let text = |key: &str| sensor.get(key).and_then(Value::as_str);
    match text("id") {
        Some(id) => id.parse() == Ok(item.sensor.id()),
        None => text("name") == Some(item.sensor.name().as_str()),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_domain::Sensor;
    use serde_json::json;

    use super::*;

    fn item(number: u8, name: &str) -> Item {
        let id = format!("00000000-0000-7000-8000-0000000000{number:02}");
        let sensor = json!({ "id": id, "name": name, "protocol": "modbus",
            "connection": { "type": "tcp", "host": "127.0.0.1", "unitId": 1 } });
        Item {
            config_version: 1,
            sensor: Sensor::from_json(sensor).expect("a sensor").into(),
        }
    }

    fn names(list: &[Value]) -> Vec<&str> {
        list.iter()
            .filter_map(|sensor| sensor["name"].as_str())
            .collect()
    }

    #[test]
    fn what_is_not_listed_stays_unless_it_is_pruned() {
        let current = [item(1, "a"), item(2, "b"), item(3, "c")];
        let declared = [
            json!({ "name": "d" }),
            json!({ "name": "b", "pollInterval": 50 }),
        ];
        let kept = merged(&current, &declared, false);
        assert_eq!(names(&kept), ["a", "b", "c", "d"]);
        assert_eq!(
            kept[1], declared[1],
            "as the manifest says, not mixed with what was"
        );
        assert_eq!(names(&merged(&current, &declared, true)), ["b", "d"]);
        assert_eq!(names(&merged(&current, &[], false)), ["a", "b", "c"]);
        assert_eq!(names(&merged(&current, &[], true)), [""; 0]);
    }

    #[test]
    fn an_id_goes_before_a_name() {
        let current = [item(1, "a"), item(2, "b")];
        let renamed = [json!({ "id": current[0].sensor.id(), "name": "z" })];
        assert_eq!(names(&merged(&current, &renamed, false)), ["z", "b"]);
    }
}
