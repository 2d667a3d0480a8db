//! What Rust and SQLite spell differently: times, numbers without sign, ids, words.

use std::{error::Error, fmt::Display, str::FromStr};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

/// Any failure inside the store; the port's methods say what was being done.
pub(crate) type Fault = Box<dyn Error + Send + Sync>;

/// A time, in microseconds since 1970.
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

pub(crate) fn micros_opt(at: Option<Timestamp>) -> Option<i64> {
    at.map(micros)
}

pub(crate) fn instant(micros: i64) -> Result<Timestamp, Fault> {
    Ok(Timestamp::from_microsecond(micros)?)
}

pub(crate) fn instant_opt(micros: Option<i64>) -> Result<Option<Timestamp>, Fault> {
    micros.map(instant).transpose()
}

/// A number that SQLite can keep. Some come from agents, so that one beyond it is an error and not a panic.
pub(crate) fn integer(number: u64) -> Result<i64, Fault> {
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

/// Reads an id, a fingerprint, or a word that stands for a value of the domain.
pub(crate) fn parsed<T>(text: &str) -> Result<T, Fault>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse()
        .map_err(|problem: T::Err| problem.to_string().into())
}

pub(crate) fn parsed_opt<T>(text: Option<&str>) -> Result<Option<T>, Fault>
where
    T: FromStr,
    T::Err: Display,
{
    text.map(parsed).transpose()
}

pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, Fault> {
    Ok(serde_json::to_string(value)?)
}

pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    Ok(serde_json::from_str(text)?)
}
