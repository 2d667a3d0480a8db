//! What Rust and PostgreSQL spell differently: times, numbers without sign, and texts with a NUL.

use std::{borrow::Cow, error::Error, str::FromStr};

use holdfast_domain::row::Actor;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;

/// A `timestamptz`: microseconds.
pub(crate) use jiff_sqlx::Timestamp as Time;

/// Any failure inside the store; the port's methods say what was being done.
pub(crate) type Fault = Box<dyn Error + Send + Sync>;

pub(crate) fn time(at: Timestamp) -> Time {
    at.to_sqlx()
}

pub(crate) fn time_opt(at: Option<Timestamp>) -> Option<Time> {
    at.map(ToSqlx::to_sqlx)
}

pub(crate) fn instant(at: Option<Time>) -> Option<Timestamp> {
    at.map(Time::to_jiff)
}

/// A `bigint`. Versions come from agents too, so that one beyond it is an error and not a panic.
pub(crate) fn bigint(number: u64) -> Result<i64, Fault> {
    i64::try_from(number)
        .map_err(|_| format!("expected a number of at most 2^63 - 1, found {number}").into())
}

pub(crate) fn natural(number: i64) -> Result<u64, Fault> {
    u64::try_from(number)
        .map_err(|_| format!("expected a number of at least 0, found {number}").into())
}

pub(crate) fn small(number: i64) -> Result<u32, Fault> {
    u32::try_from(number)
        .map_err(|_| format!("expected a number from 0 to 2^32 - 1, found {number}").into())
}

/// Reads a word that stands for a value of the domain.
pub(crate) fn word<T>(text: &str) -> Result<T, Fault>
where
    T: FromStr,
    T::Err: Into<Fault>,
{
    text.parse().map_err(Into::into)
}

/// Begins an escape; U+2400 is the picture of NUL, which hardly anyone writes.
const ESCAPE: char = '\u{2400}';

/// A text as a `text` column takes it: PostgreSQL refuses NUL, but an agent's error message may quote one.
///
/// One to one, so that what is loaded equals what was saved. `json` columns need none of this: there NUL is `\u0000`.
pub(crate) fn put(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => escaped.extend([ESCAPE, '0']),
            ESCAPE => escaped.extend([ESCAPE, ESCAPE]),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// The text that [`put`] made a column of.
pub(crate) fn take(column: String) -> String {
    if !column.contains(ESCAPE) {
        return column;
    }
    let mut text = String::with_capacity(column.len());
    let mut characters = column.chars();
    while let Some(character) = characters.next() {
        match character {
            ESCAPE => text.push(if characters.next() == Some('0') {
                '\0'
            } else {
                ESCAPE
            }),
            other => text.push(other),
        }
    }
    text
}

pub(crate) fn put_opt(text: Option<&str>) -> Option<String> {
    text.map(|text| put(text).into_owned())
}

pub(crate) fn actor(column: String) -> Actor {
    Actor::named(&take(column))
}

#[cfg(test)]
mod tests {
    use super::{put, take};

    #[test]
    fn every_text_comes_back() {
        for text in ["", "plain", "\0", "a\0b", "␀", "␀0", "\0␀\0", "␀␀", "0\0"] {
            let column = put(text);
            assert!(!column.contains('\0'), "{text:?}");
            assert_eq!(take(column.into_owned()), text);
        }
    }
}
