//! Reading requests from people: every problem at once, each with its field, and no unknown field.

use std::collections::BTreeMap;

use holdfast_domain::{Fields, Name, Path, Problems};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// A request's body that people write.
pub trait Request: Sized {
    /// Takes what it needs out of `fields`; `None` if something was wrong, and said so.
    fn read(fields: &mut Fields<'_>) -> Option<Self>;

    /// Reads a body.
    ///
    /// # Errors
    /// Everything that is wrong with it, unknown fields included.
    fn from_json(document: Value) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let read = Fields::open(document, &Path::ROOT, &mut problems).and_then(|mut fields| {
            let read = Self::read(&mut fields);
            fields.rest();
            read
        });
        problems.refuse_unknown();
        problems.check(read)
    }
}

/// What a reason looks like.
pub(crate) const REASON: &str = "why, in 1 to 1,024 characters";

/// Why something is asked for, where nothing else is to be said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Why {
    /// Why, for the events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Request for Why {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let reason = fields.text_opt("reason", REASON)?;
        Some(Self { reason })
    }
}

/// Most labels of a device: for people and filters, not a data store.
pub const LABELS: usize = 64;

/// What a label must look like.
const LABEL: &str = "a text of at most 256 characters";

#[allow(clippy::needless_pass_by_value, reason = "the form of every reader")]
pub(crate) fn name(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Name> {
    let text = value.as_str();
    let name = text.and_then(|text| Name::new(text).ok());
    if name.is_none() {
        problems.add(path, Name::EXPECTED, found(&value));
    }
    name
}

#[allow(clippy::needless_pass_by_value, reason = "the form of every reader")]
pub(crate) fn timestamp(
    value: Value,
    path: &Path<'_>,
    problems: &mut Problems,
) -> Option<Timestamp> {
    let time = value.as_str().and_then(|text| text.parse().ok());
    if time.is_none() {
        problems.add(path, "a time such as 2026-11-22T12:00:00Z", found(&value));
    }
    time
}

/// A value that `FromStr` reads out of a text.
pub(crate) fn parsed<T: std::str::FromStr>(
    expected: &'static str,
) -> impl FnOnce(Value, &Path<'_>, &mut Problems) -> Option<T> {
    move |value, path, problems| {
        let read = value.as_str().and_then(|text| text.parse().ok());
        if read.is_none() {
            problems.add(path, expected, found(&value));
        }
        read
    }
}

pub(crate) fn labels(
    value: Value,
    path: &Path<'_>,
    problems: &mut Problems,
) -> Option<BTreeMap<String, String>> {
    /// Characters of a label's value.
    const CHARS: usize = 256;
    let Value::Object(members) = value else {
        problems.add(path, "an object of texts", found(&value));
        return None;
    };
    if members.len() > LABELS {
        problems.add(path, format_args!("at most {LABELS} labels"), members.len());
        return None;
    }
    let count = members.len();
    let labels: BTreeMap<String, String> = members
        .into_iter()
        .filter_map(|(key, value)| {
            if Name::new(&key).is_err() {
                problems.add(path.key(&key), Name::EXPECTED, "another key");
                return None;
            }
            match value {
                Value::String(text) if text.chars().count() <= CHARS => Some((key, text)),
                other => {
                    problems.add(path.key(&key), LABEL, found(&other));
                    None
                }
            }
        })
        .collect();
    (labels.len() == count).then_some(labels)
}

/// What a value is, for "found …": never the whole of it.
pub(crate) fn found(value: &Value) -> String {
    const SHOWN: usize = 64;
    match value {
        Value::Null => "null".to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => match text.char_indices().nth(SHOWN) {
            None => format!("{text:?}"),
            Some((cut, _)) => format!("{:?}…", &text[..cut]),
        },
        Value::Array(items) => format!("a list of {} items", items.len()),
        Value::Object(members) => format!("an object with {} members", members.len()),
    }
}
