//! Reading a document field by field, so that every problem is named with its place, what was expected and what was
//! found: all of them at once, not the first.
//!
//! A reader takes the fields it knows out of a JSON object; what is left over is kept with the value (a newer hub and
//! an older agent live together) and remembered by its path, so that an edge which must be strict can refuse it.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, ops::RangeInclusive};

use serde_json::{Map, Value};

use crate::{ids::shorten, limits};

/// Where in a document: a chain of keys and indexes, spelled out only when something is wrong.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    segment: Segment<'a>,
}

#[derive(Clone, Copy)]
enum Segment<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// The document itself.
    pub const ROOT: Path<'static> = Path {
        parent: None,
        segment: Segment::Root,
    };

    /// The member `key` of this.
    #[must_use]
    pub const fn key(&'a self, key: &'a str) -> Path<'a> {
        Path {
            parent: Some(self),
            segment: Segment::Key(key),
        }
    }

    /// The element `index` of this.
    #[must_use]
    pub const fn index(&'a self, index: usize) -> Path<'a> {
        Path {
            parent: Some(self),
            segment: Segment::Index(index),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            fmt::Display::fmt(parent, f)?;
        }
        match self.segment {
            Segment::Root => Ok(()),
            Segment::Key(key) => {
                let first = self
                    .parent
                    .is_none_or(|parent| matches!(parent.segment, Segment::Root));
                write!(f, "{}{key}", if first { "" } else { "." })
            }
            Segment::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Where: `protocolAdapterDevices[2].dataPoints[0].address`.
    pub field: String,
    /// What is allowed there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = if self.field.is_empty() {
            "the document"
        } else {
            &self.field
        };
        write!(
            f,
            "{field}: expected {}, found {}",
            self.expected, self.found
        )
    }
}

/// Everything that is wrong with a document, the first [`limits::PROBLEMS`] in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    listed: Vec<Problem>,
    more: usize,
    unknown: Vec<Problem>,
}

impl Problems {
    /// A single problem.
    #[must_use]
    pub fn one(
        field: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        let mut problems = Self::default();
        problems.add(field, expected, found);
        problems
    }

    /// Adds a problem.
    pub fn add(
        &mut self,
        field: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) {
        if self.listed.len() >= limits::PROBLEMS {
            self.more += 1;
            return;
        }
        self.listed.push(Problem {
            field: field.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        });
    }

    fn add_unknown(&mut self, field: impl fmt::Display, known: &[&'static str]) {
        if self.unknown.len() < limits::PROBLEMS {
            self.unknown.push(Problem {
                field: field.to_string(),
                expected: format!("one of the fields {}", known.join(", ")),
                found: "an unknown field".to_string(),
            });
        }
    }

    /// Takes over what another reading found.
    pub fn append(&mut self, mut other: Self) {
        for problem in other.listed.drain(..) {
            if self.listed.len() >= limits::PROBLEMS {
                self.more += 1;
            } else {
                self.listed.push(problem);
            }
        }
        self.more += other.more;
        self.unknown.append(&mut other.unknown);
    }

    /// The problems, in the order of the document.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.listed
    }

    /// Is there nothing wrong? (Unknown fields alone are not wrong: see [`Problems::refuse_unknown`].)
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Fields that this version does not know, with their places.
    #[must_use]
    pub fn unknown(&self) -> &[Problem] {
        &self.unknown
    }

    /// Makes every unknown field a problem: for input from people, where it is most likely a slip.
    pub fn refuse_unknown(&mut self) {
        for problem in core::mem::take(&mut self.unknown) {
            self.add(problem.field, problem.expected, problem.found);
        }
    }

    /// `value`, if there is nothing wrong.
    ///
    /// # Errors
    /// The problems, if there are any.
    pub fn check<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.listed.is_empty() => Ok(value),
            _ => {
                debug_assert!(
                    !self.listed.is_empty(),
                    "a reader that gives nothing must say why"
                );
                Err(self)
            }
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.listed.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "; " })?;
        }
        if self.more > 0 {
            write!(f, "; and {} more", self.more)?;
        }
        Ok(())
    }
}

impl core::error::Error for Problems {}

/// What a value is, for "found …": never the whole of it.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{:?}", shorten(text)),
        Value::Array(items) => format!("a list of {} items", items.len()),
        Value::Object(members) => format!("an object with {} members", members.len()),
    }
}

/// A field whose value is one of a few words.
pub trait Choice: Sized + Copy + 'static {
    /// Every word with its meaning, in the order in which they are offered.
    const CHOICES: &'static [(&'static str, Self)];

    /// The meaning of `word`.
    #[must_use]
    fn from_word(word: &str) -> Option<Self> {
        Self::CHOICES
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, value)| *value)
    }

    /// The words, for "expected …".
    #[must_use]
    fn words() -> String {
        let words: Vec<&str> = Self::CHOICES.iter().map(|(name, _)| *name).collect();
        format!("one of {}", words.join(", "))
    }
}

/// Implements [`Choice`], `as_str`, `Display`, `Serialize` and `Deserialize` for an enum of words.
macro_rules! words {
    ($type:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $crate::fields::Choice for $type {
            const CHOICES: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];
        }
        impl $type {
            /// The word that stands for this in documents.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl core::str::FromStr for $type {
            type Err = alloc::string::String;
            fn from_str(word: &str) -> Result<Self, Self::Err> {
                use $crate::fields::Choice as _;
                Self::from_word(word).ok_or_else(|| alloc::format!("expected {}, found {word:?}", Self::words()))
            }
        }
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use words;

/// The members of one JSON object, taken out one after the other.
pub struct Fields<'a> {
    members: Map<String, Value>,
    known: Vec<&'static str>,
    path: &'a Path<'a>,
    problems: &'a mut Problems,
}

impl<'a> Fields<'a> {
    /// Opens `value`, which must be an object.
    pub fn open(value: Value, path: &'a Path<'a>, problems: &'a mut Problems) -> Option<Self> {
        match value {
            Value::Object(members) => Some(Self {
                members,
                known: Vec::new(),
                path,
                problems,
            }),
            other => {
                problems.add(path, "an object", describe(&other));
                None
            }
        }
    }

    /// Takes a member; null counts as absent.
    pub fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.members.remove(key).filter(|value| !value.is_null())
    }

    /// Was `key` given (and not null)?
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.members.get(key).is_some_and(|value| !value.is_null())
    }

    /// Says that `key` is wrong.
    pub fn problem(&mut self, key: &str, expected: impl fmt::Display, found: impl fmt::Display) {
        self.problems.add(self.path.key(key), expected, found);
    }

    /// Reads a member that must be there with `read`, which says what it expects when it gives nothing.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Value, &Path<'_>, &mut Problems) -> Option<T>,
        expected: impl fmt::Display,
    ) -> Option<T> {
        match self.take(key) {
            Some(value) => read(value, &self.path.key(key), self.problems),
            None => {
                self.problem(key, expected, "nothing");
                None
            }
        }
    }

    /// Reads a member that may be left out. The outer `None` means that it was wrong.
    pub fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Value, &Path<'_>, &mut Problems) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.take(key) {
            Some(value) => read(value, &self.path.key(key), self.problems).map(Some),
            None => Some(None),
        }
    }

    /// An integer in `range`; `default` where it is left out, or required where there is none.
    pub fn int<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        range: &RangeInclusive<i64>,
        default: Option<T>,
    ) -> Option<T> {
        let expected = || format!("an integer from {} to {}", range.start(), range.end());
        let Some(value) = self.take(key) else {
            if default.is_none() {
                self.problem(key, expected(), "nothing");
            }
            return default;
        };
        let number = as_integer(&value)
            .filter(|number| range.contains(number))
            .and_then(|n| T::try_from(n).ok());
        if number.is_none() {
            self.problem(key, expected(), describe(&value));
        }
        number
    }

    /// A finite number; `default` where it is left out.
    pub fn number(&mut self, key: &'static str, default: f64) -> Option<f64> {
        self.optional(key, finite)
            .map(|number| number.unwrap_or(default))
    }

    /// A finite number that may be left out.
    pub fn number_opt(&mut self, key: &'static str) -> Option<Option<f64>> {
        self.optional(key, finite)
    }

    /// true or false; `default` where it is left out.
    pub fn flag(&mut self, key: &'static str, default: bool) -> Option<bool> {
        match self.take(key) {
            None => Some(default),
            Some(Value::Bool(value)) => Some(value),
            Some(other) => {
                self.problem(key, "true or false", describe(&other));
                None
            }
        }
    }

    /// One of a few words; `default` where it is left out, or required where there is none.
    pub fn choice<T: Choice>(&mut self, key: &'static str, default: Option<T>) -> Option<T> {
        let Some(value) = self.take(key) else {
            if default.is_none() {
                self.problem(key, T::words(), "nothing");
            }
            return default;
        };
        let choice = value.as_str().and_then(T::from_word);
        if choice.is_none() {
            self.problem(key, T::words(), describe(&value));
        }
        choice
    }

    /// A text of 1 to [`limits::TEXT_CHARS`] characters that must be there.
    pub fn text(&mut self, key: &'static str, expected: &str) -> Option<String> {
        self.required(
            key,
            |value, path, problems| text(value, expected, path, problems),
            expected,
        )
    }

    /// A text that may be left out.
    pub fn text_opt(&mut self, key: &'static str, expected: &str) -> Option<Option<String>> {
        self.optional(key, |value, path, problems| {
            text(value, expected, path, problems)
        })
    }

    /// What no one took: kept with the value, remembered by its place.
    pub fn rest(self) -> Map<String, Value> {
        for key in self.members.keys() {
            self.problems.add_unknown(self.path.key(key), &self.known);
        }
        if self.members.is_empty() {
            // One that was emptied keeps its memory, 600 bytes: of tens of thousands of points, most of what they take.
            return Map::new();
        }
        self.members
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the form of every reader")]
fn finite(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<f64> {
    let number = value.as_f64().filter(|number| number.is_finite());
    if number.is_none() {
        problems.add(path, "a number", describe(&value));
    }
    number
}

pub(crate) fn text(
    value: Value,
    expected: &str,
    path: &Path<'_>,
    problems: &mut Problems,
) -> Option<String> {
    match value {
        Value::String(text) if is_plain(&text) => Some(text),
        other => {
            problems.add(path, expected, describe(&other));
            None
        }
    }
}

/// Of a length that fits, and without U+0000, which PostgreSQL's texts can't hold.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0') && text.chars().count() <= limits::TEXT_CHARS
}

/// A JSON number that is whole: `5` and `5.0` are the same.
pub(crate) fn as_integer(value: &Value) -> Option<i64> {
    /// Up to here every whole `f64` is exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value.as_i64() {
        Some(number) => Some(number),
        #[allow(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        None => value
            .as_f64()
            .filter(|number| number.abs() <= EXACT && *number == ((*number as i64) as f64))
            .map(|number| number as i64),
    }
}

/// Reads every element of a list of at most `most` with `read`.
pub(crate) fn list<T>(
    value: Value,
    most: usize,
    path: &Path<'_>,
    problems: &mut Problems,
    mut read: impl FnMut(Value, &Path<'_>, &mut Problems) -> Option<T>,
) -> Option<Vec<T>> {
    let Value::Array(items) = value else {
        problems.add(path, "a list", describe(&value));
        return None;
    };
    if items.len() > most {
        problems.add(
            path,
            format_args!("a list of at most {most} items"),
            format_args!("{} items", items.len()),
        );
        return None;
    }
    let count = items.len();
    let items = items.into_iter().enumerate();
    let found = items.filter_map(|(index, item)| read(item, &path.index(index), problems));
    // Not a place more than there are items: lists are kept.
    let mut read = Vec::with_capacity(count);
    read.extend(found);
    (read.len() == count).then_some(read)
}
