//! YAML to JSON values, refusing what JSON can't say instead of guessing.

use serde_json::{Map, Number, Value};
use serde_yaml_ng::Value as Yaml;

/// Turns `yaml` into JSON.
///
/// # Errors
/// Says where something is that has no counterpart: a tag, a key that is no text, NaN or infinity.
pub(crate) fn to_json(yaml: Yaml) -> Result<Value, String> {
    convert(yaml, "the document")
}

fn convert(yaml: Yaml, place: &str) -> Result<Value, String> {
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(value),
        Yaml::String(text) => Value::String(text),
        Yaml::Number(number) => Value::Number(convert_number(&number, place)?),
        Yaml::Sequence(items) => Value::Array(
            items
                .into_iter()
                .enumerate()
                .map(|(index, item)| convert(item, &format!("{place}[{index}]")))
                .collect::<Result<_, _>>()?,
        ),
        Yaml::Mapping(members) => {
            let mut object = Map::new();
            for (key, value) in members {
                let Yaml::String(key) = key else {
                    return Err(format!(
                        "{place}: expected keys that are texts (quote them), found {}",
                        word(&key)
                    ));
                };
                let value = convert(value, &inside(place, &key))?;
                object.insert(key, value);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tagged) => {
            return Err(format!("{place}: expected no tag, found {}", tagged.tag));
        }
    })
}

fn inside(place: &str, key: &str) -> String {
    if place == "the document" {
        key.to_owned()
    } else {
        format!("{place}.{key}")
    }
}

fn convert_number(number: &serde_yaml_ng::Number, place: &str) -> Result<Number, String> {
    if let Some(number) = number.as_i64() {
        return Ok(number.into());
    }
    if let Some(number) = number.as_u64() {
        return Ok(number.into());
    }
    number
        .as_f64()
        .and_then(Number::from_f64)
        .ok_or_else(|| format!("{place}: expected a number, found {number}, which is none"))
}

fn word(key: &Yaml) -> &'static str {
    match key {
        Yaml::Null => "null",
        Yaml::Bool(_) => "true or false",
        Yaml::Number(_) => "a number",
        Yaml::String(_) => "a text",
        Yaml::Sequence(_) => "a list",
        Yaml::Mapping(_) => "a mapping",
        Yaml::Tagged(_) => "a tag",
    }
}
