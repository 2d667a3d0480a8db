//! Canonical content fingerprints: the same content has the same fingerprint, however it was written.
//!
//! The order of members, the spelling of numbers (`1`, `1.0`, `1e0`) and members that are null do not matter; the order
//! of list elements does, except where a caller sorts them first. Defaults do not matter because documents are
//! fingerprinted after reading, when every default is filled in.
//!
//! The form hashed is JSON with sorted members and no white space, in the spirit of RFC 8785 (JSON Canonicalization
//! Scheme), over 16-byte BLAKE3. It is an identity within Holdfast, not an interchange format.

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A content's identity: `b3:` and 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The fingerprint of a JSON value.
    #[must_use]
    pub fn of_value(value: &Value) -> Self {
        let mut bytes = Vec::with_capacity(512);
        write_value(&mut bytes, value);
        Self::of_bytes(&bytes)
    }

    /// The fingerprint of an object's members, and how many bytes they have as JSON.
    #[must_use]
    pub fn of_members(members: &Map<String, Value>) -> (Self, usize) {
        let mut bytes = Vec::with_capacity(512);
        write_members(&mut bytes, members);
        (Self::of_bytes(&bytes), bytes.len())
    }

    /// The fingerprint of bytes that are canonical already.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let hash = blake3::hash(bytes);
        let mut short = [0; 16];
        short.copy_from_slice(&hash.as_bytes()[..16]);
        Self(short)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                write_value(out, item);
                out.push(b',');
            }
            out.push(b']');
        }
        Value::Object(members) => write_members(out, members),
    }
}

/// serde_json's map is ordered by key, so that members come out sorted.
fn write_members(out: &mut Vec<u8>, members: &Map<String, Value>) {
    out.push(b'{');
    for (key, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        write_text(out, key);
        out.push(b':');
        write_value(out, value);
        out.push(b',');
    }
    out.push(b'}');
}

fn write_number(out: &mut Vec<u8>, number: &serde_json::Number) {
    // The short way first: nearly every number is small.
    match (number.as_i64(), whole(number)) {
        (Some(small), _) => out.extend_from_slice(small.to_string().as_bytes()),
        (None, Some(whole)) => out.extend_from_slice(whole.to_string().as_bytes()),
        (None, None) => out.extend_from_slice(number.to_string().as_bytes()),
    }
}

/// A number that is whole and in the range of the integers that JSON readers know, whichever way it was spelled: a
/// database may give back `1e16` as `10000000000000000`.
fn whole(number: &serde_json::Number) -> Option<i128> {
    /// 2⁶⁴: behind the last integer that is read as one.
    const END: f64 = 18_446_744_073_709_551_616.0;
    if let Some(whole) = number.as_u64() {
        return Some(whole.into());
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "far below the range of i128"
    )]
    let whole = |number: f64| number as i128;
    #[allow(
        clippy::cast_precision_loss,
        clippy::float_cmp,
        reason = "that is the question"
    )]
    let is_whole = |number: &f64| number.abs() < END && whole(*number) as f64 == *number;
    number.as_f64().filter(is_whole).map(whole)
}

/// Length first, so that no text can imitate structure and nothing needs escaping.
fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    out.extend_from_slice(text.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(text.as_bytes());
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("b3:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no [`Fingerprint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a fingerprint (b3: and 32 hexadecimal digits), found {found:?}")]
pub struct InvalidFingerprint {
    /// The beginning of what was given.
    pub found: String,
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidFingerprint {
            found: crate::ids::shorten(text),
        };
        let digits = text.strip_prefix("b3:").filter(|digits| {
            digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        });
        let digits = digits.ok_or_else(invalid)?;
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let pair = core::str::from_utf8(pair).map_err(|_| invalid())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| invalid())?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The paths at which two JSON values differ, in order: `connection.host`, `dataPoints[2].address`.
///
/// List elements that are objects with an `id` are matched by it, so that an element inserted in front does not make
/// all others differ; they are named by their `name` where they have one.
#[must_use]
pub fn differing_paths(left: &Value, right: &Value, most: usize) -> Vec<String> {
    let mut paths = Vec::new();
    diff(left, right, &mut String::new(), most, &mut paths);
    paths
}

fn diff(left: &Value, right: &Value, path: &mut String, most: usize, out: &mut Vec<String>) {
    if out.len() >= most || same(left, right) {
        return;
    }
    let here = path.len();
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: alloc::collections::BTreeSet<&String> =
                left.keys().chain(right.keys()).collect();
            for key in keys {
                if here > 0 {
                    path.push('.');
                }
                path.push_str(key);
                let [left, right] = [left, right].map(|side| side.get(key).unwrap_or(&Value::Null));
                diff(left, right, path, most, out);
                path.truncate(here);
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            let before = out.len();
            for (label, left, right) in pair_up(left, right) {
                path.push('[');
                path.push_str(&label);
                path.push(']');
                diff(left, right, path, most, out);
                path.truncate(here);
            }
            if out.len() == before {
                // The same elements in another order.
                out.push(path.clone());
            }
        }
        _ => out.push(if path.is_empty() {
            "the whole".to_owned()
        } else {
            path.clone()
        }),
    }
}

fn same(left: &Value, right: &Value) -> bool {
    left == right || Fingerprint::of_value(left) == Fingerprint::of_value(right)
}

fn pair_up<'a>(left: &'a [Value], right: &'a [Value]) -> Vec<(String, &'a Value, &'a Value)> {
    let id_of = |item: &Value| {
        item.get("id")
            .and_then(Value::as_str)
            .map(ToOwned::to_owned)
    };
    let label = |item: &Value, id: String| match item.get("name").and_then(Value::as_str) {
        Some(name) => name.to_owned(),
        None => id,
    };
    let by_id = |items: &'a [Value]| -> Option<alloc::collections::BTreeMap<String, &'a Value>> {
        items
            .iter()
            .map(|item| Some((id_of(item)?, item)))
            .collect()
    };
    if let (Some(left_ids), Some(right_ids)) = (by_id(left), by_id(right)) {
        let ids: alloc::collections::BTreeSet<&String> =
            left_ids.keys().chain(right_ids.keys()).collect();
        return ids
            .into_iter()
            .map(|id| {
                let [l, r] = [&left_ids, &right_ids].map(|side| side.get(id).copied());
                let named = l
                    .or(r)
                    .map_or_else(|| id.clone(), |item| label(item, id.clone()));
                (named, l.unwrap_or(&Value::Null), r.unwrap_or(&Value::Null))
            })
            .collect();
    }
    (0..left.len().max(right.len()))
        .map(|index| {
            let [l, r] = [left, right].map(|side| side.get(index).unwrap_or(&Value::Null));
            (index.to_string(), l, r)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use serde_json::json;

    use super::*;

    #[test]
    fn spelling_does_not_matter() {
        let left: Value = serde_json::from_str(r#"{"a":1.0,"b":[1e0,2],"c":null}"#).expect("json");
        let right: Value = serde_json::from_str(r#"{"b":[1,2.0],"a":1}"#).expect("json");
        assert_eq!(Fingerprint::of_value(&left), Fingerprint::of_value(&right));
    }

    #[test]
    fn content_does() {
        let of = |value: Value| Fingerprint::of_value(&value);
        assert_ne!(of(json!({"a": 1})), of(json!({"a": 1.5})));
        assert_ne!(of(json!({"a": "1"})), of(json!({"a": 1})));
        assert_ne!(of(json!(["a", "b"])), of(json!(["b", "a"])));
        assert_ne!(
            of(json!({"a": "x\",\"b\":\"y"})),
            of(json!({"a": "x", "b": "y"}))
        );
    }

    #[test]
    fn a_fingerprint_is_read_back_from_its_text() {
        let fingerprint = Fingerprint::of_bytes(b"x");
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        for bad in ["", "b3:", "b3:zz", "b3:00112233445566778899aabbccddeefé"] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn differences_are_named_by_path() {
        let left = json!({"name": "a", "dataPoints": [{"id": "1", "name": "t", "address": 1}, {"id": "2", "name": "u"}]});
        let right = json!({"name": "a", "dataPoints": [{"id": "2", "name": "u"}, {"id": "1", "name": "t", "address": 2}]});
        assert_eq!(
            differing_paths(&left, &right, 10),
            vec!["dataPoints[t].address"]
        );
        assert_eq!(differing_paths(&left, &left, 10), Vec::<String>::new());
    }
}
