//! What points have in common, whatever the protocol.

use alloc::string::String;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    fields::{Fields, Path, Problems, describe, words},
    ids::{Name, PointId},
    value::PointValue,
};

/// One value of a sensor, at an address of its protocol.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Point<A> {
    /// Given by the hub.
    pub id: PointId,
    /// Unique within the sensor.
    pub name: Name,
    /// What writing it means.
    pub kind: PointKind,
    /// Unit of the value, for people, such as `°C`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// May it be written at all?
    pub writable: bool,
    /// What may be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How long after a write the instrument needs until a read shows it, in ms (0 to 3,600,000).
    #[cfg_attr(
        feature = "openapi",
        schema(minimum = 0, maximum = 3600000, default = 0)
    )]
    pub settle_ms: u32,
    /// Where it is.
    #[serde(flatten)]
    pub address: A,
    /// Fields that this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Map<String, Value>,
}

/// What writing a point means: only a level is a state that can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(rename_all = "lowercase")
)]
pub enum PointKind {
    /// A value that stays: it can be held.
    Level,
    /// Writing it makes something happen for a moment.
    Pulse,
    /// Writing it makes something happen once.
    Command,
}
words!(PointKind { Level => "level", Pulse => "pulse", Command => "command" });

/// What may be written to a point, in its unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Limits {
    /// The lowest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The highest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The largest change in one write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_step: Option<f64>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Map<String, Value>,
}

impl Limits {
    fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(value, path, problems)?;
        let min = fields.number_opt("min");
        let max = fields.number_opt("max");
        let max_step = fields.number_opt("maxStep");
        let mut fits = true;
        if let (Some(Some(min)), Some(Some(max))) = (min, max)
            && min > max
        {
            fields.problem("max", format_args!("at least min, {min}"), max);
            fits = false;
        }
        if let Some(step) = max_step.flatten().filter(|step| *step <= 0.0) {
            fields.problem("maxStep", "a number above 0", step);
            fits = false;
        }
        let extra = fields.rest();
        let limits = Self {
            min: min?,
            max: max?,
            max_step: max_step?,
            extra,
        };
        fits.then_some(limits)
    }

    /// Limits that limit nothing are none.
    fn is_something(&self) -> bool {
        let Self {
            min,
            max,
            max_step,
            extra,
        } = self;
        min.is_some() || max.is_some() || max_step.is_some() || !extra.is_empty()
    }
}

/// Where a point is, as its protocol says it.
pub trait PointAddress: Sized {
    /// The fields that say where, for error messages.
    const WHERE: &'static str;

    /// Reads the address out of a point's fields.
    fn read(fields: &mut Fields<'_>) -> Option<Self>;

    /// Can a value be written there at all?
    fn is_writable(&self) -> bool;
}

impl<A: PointAddress> Point<A> {
    /// Reads a point.
    pub fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        const SETTLE_MS: core::ops::RangeInclusive<i64> = 0..=3_600_000;
        let mut fields = Fields::open(value, path, problems)?;
        let id = fields.required("id", uuid, "a UUID").map(PointId);
        let name = fields.required("name", name, Name::EXPECTED);
        let kind = fields.choice("kind", Some(PointKind::Level));
        let unit = fields.text_opt("unit", "the unit's symbol, such as °C");
        let writable = fields.flag("writable", false);
        let limits = fields.optional("limits", Limits::read);
        let limits = limits.map(|limits| limits.filter(Limits::is_something));
        let settle_ms = fields.int("settleMs", &SETTLE_MS, Some(0));
        let address = A::read(&mut fields);
        if let (Some(true), Some(address)) = (writable, &address)
            && !address.is_writable()
        {
            fields.problem(
                "writable",
                format_args!("false: nothing can be written there ({})", A::WHERE),
                "true",
            );
            return None;
        }
        let extra = fields.rest();
        Some(Self {
            id: id?,
            name: name?,
            kind: kind?,
            unit: unit?,
            writable: writable?,
            limits: limits?,
            settle_ms: settle_ms?,
            address: address?,
            extra,
        })
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the form of every reader")]
pub(crate) fn uuid(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<uuid::Uuid> {
    let uuid = value
        .as_str()
        .and_then(|text| uuid::Uuid::parse_str(text).ok());
    if uuid.is_none() {
        problems.add(path, "a UUID", describe(&value));
    }
    uuid
}

#[allow(clippy::needless_pass_by_value, reason = "the form of every reader")]
pub(crate) fn name(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Name> {
    let name = value.as_str().and_then(|text| Name::new(text).ok());
    if name.is_none() {
        problems.add(path, Name::EXPECTED, describe(&value));
    }
    name
}

/// A point's value in a document.
#[allow(clippy::needless_pass_by_value, reason = "the form of every reader")]
pub(crate) fn value(
    document: Value,
    path: &Path<'_>,
    problems: &mut Problems,
) -> Option<PointValue> {
    const EXPECTED: &str = "a finite number, true, false or a text of at most 1024 characters";
    let value: Option<PointValue> = serde_json::from_value(document.clone()).ok();
    let fits = |value: &PointValue| match value {
        PointValue::Text(text) => {
            !text.contains('\0') && text.chars().count() <= crate::limits::TEXT_CHARS
        }
        PointValue::Bool(_) | PointValue::Integer(_) | PointValue::Number(_) => true,
    };
    let value = value.filter(fits);
    if value.is_none() {
        problems.add(path, EXPECTED, describe(&document));
    }
    value
}
