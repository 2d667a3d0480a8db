//! The value of a point and how far to trust it.

use alloc::string::{String, ToString};
use core::fmt;

use serde::{
    Deserialize, Serialize,
    de::{Error, Unexpected, Visitor},
};
use serde_json::{Number, Value};

use crate::fields::words;

/// A point's value as documents carry it: a number, true or false, or a text.
///
/// There is no NaN and no infinity: those are a bad reading, never a value. 64-bit integers beyond 2⁵³ are carried as
/// text, so that no reader loses their last digits.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PointValue {
    /// true or false.
    Bool(bool),
    /// A whole number of at most 2⁵³ in size.
    Integer(i64),
    /// A finite number.
    Number(f64),
    /// A text, or a whole number beyond 2⁵³ in decimal digits.
    Text(String),
}

impl PointValue {
    /// Whole numbers of at most this size survive any JSON reader (2⁵³).
    pub const EXACT_INTEGER: i64 = 1 << 53;

    /// A number, if it is one.
    #[must_use]
    pub fn from_f64(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self::Number(value))
    }

    /// A whole number, as text where JSON readers would round it.
    #[must_use]
    pub fn from_i64(value: i64) -> Self {
        if value.unsigned_abs() <= Self::EXACT_INTEGER.unsigned_abs() {
            Self::Integer(value)
        } else {
            Self::Text(alloc::format!("{value}"))
        }
    }

    /// A whole number, as text where JSON readers would round it.
    #[must_use]
    pub fn from_u64(value: u64) -> Self {
        match i64::try_from(value) {
            Ok(value) => Self::from_i64(value),
            Err(_) => Self::Text(alloc::format!("{value}")),
        }
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Integer(value) => Value::Number((*value).into()),
            Self::Number(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
            Self::Text(value) => Value::String(value.clone()),
        }
    }
}

impl fmt::Display for PointValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => fmt::Display::fmt(value, f),
            Self::Integer(value) => fmt::Display::fmt(value, f),
            Self::Number(value) => fmt::Display::fmt(value, f),
            Self::Text(value) => fmt::Display::fmt(value, f),
        }
    }
}

/// Whole numbers beyond 2⁵³ that were written as numbers become text, so that what is read is what would be written.
impl<'de> Deserialize<'de> for PointValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;

        impl Visitor<'_> for AnyValue {
            type Value = PointValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a finite number, true, false or a text")
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<PointValue, E> {
                Ok(PointValue::Bool(value))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<PointValue, E> {
                Ok(PointValue::from_i64(value))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<PointValue, E> {
                Ok(PointValue::from_u64(value))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<PointValue, E> {
                let number = PointValue::from_f64(value);
                number.ok_or_else(|| E::invalid_value(Unexpected::Float(value), &self))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<PointValue, E> {
                Ok(PointValue::Text(value.to_string()))
            }
        }

        deserializer.deserialize_any(AnyValue)
    }
}

/// How far a reading can be trusted (the three bands of OPC UA Part 8, section 6.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(rename_all = "camelCase")
)]
pub enum Quality {
    /// Read from the instrument just now.
    Good,
    /// Read, but doubtful: the instrument says so itself, or it is old.
    Uncertain,
    /// Not readable, or not a value (NaN).
    Bad,
}
words!(Quality { Good => "good", Uncertain => "uncertain", Bad => "bad" });
