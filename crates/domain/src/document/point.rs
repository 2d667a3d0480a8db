//! What points have in common, whatever the protocol.

use alloc::{boxed::Box, string::String, vec::Vec};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    fields::{Fields, Path, Problems, describe, list, words},
    hold::{Guard, NotRepresentable, Resolution, WriteBudget},
    ids::{Name, PointId},
    limits,
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
    // Apart, as what follows: most points are only read, and there are tens of thousands in memory.
    /// What may be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Box<Limits>>,
    /// What must hold of other points of the device before it is written; checked on the device, offline.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
    /// Where the output goes when it may not be held any more, if it shall go somewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_value: Option<PointValue>,
    /// What happens to the output when the value loop is stopped or paused.
    #[serde(skip_serializing_if = "OnEnd::is_keep")]
    pub on_stop: OnEnd,
    /// What happens to the output when the device has not heard of its hub for a while; nothing, unless stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_hub_lost: Option<Box<OnHubLost>>,
    /// How often it may be written: 100 times a day and 50,000 times at all, unless stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_budget: Option<WriteBudget>,
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

/// What happens to an output that is not held any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(rename_all = "camelCase")
)]
pub enum OnEnd {
    /// It keeps what it has.
    Keep,
    /// It goes to the point's safe value, once.
    SafeValue,
}
words!(OnEnd { Keep => "keep", SafeValue => "safeValue" });

impl OnEnd {
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "the form that serde asks for"
    )]
    const fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

/// What happens to an output when the device has lost its hub.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OnHubLost {
    /// After so long without a word of the hub, in ms (10,000 to ten years): agents ask their hub every few seconds.
    #[cfg_attr(feature = "openapi", schema(minimum = 10_000))]
    pub after_ms: u64,
    /// What happens then: it is held on as before (`keep`), or goes to its safe value until the hub is heard again.
    pub then: OnEnd,
    /// Fields that this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Map<String, Value>,
}

impl OnHubLost {
    fn read(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(value, path, problems)?;
        let longest = i64::try_from(limits::DURATION_MAX_MS).unwrap_or(i64::MAX);
        let after_ms = fields.int::<i64>("afterMs", &(limits::HUB_LOST_MIN_MS..=longest), None);
        let then = fields.choice("then", Some(OnEnd::SafeValue));
        let extra = fields.rest();
        Some(Self {
            after_ms: after_ms?.unsigned_abs(),
            then: then?,
            extra,
        })
    }
}

/// Whoever shall go to the safe value must have one.
fn ends_are_declared(
    fields: &mut Fields<'_>,
    safe_value: &Option<Option<PointValue>>,
    on_stop: Option<OnEnd>,
    on_hub_lost: Option<&Option<OnHubLost>>,
) -> bool {
    let on_hub_lost = on_hub_lost.and_then(Option::as_ref).map(|lost| lost.then);
    let goes = [on_stop, on_hub_lost].contains(&Some(OnEnd::SafeValue));
    let is_missing = goes && *safe_value == Some(None);
    if is_missing {
        fields.problem(
            "safeValue",
            "a value, because the point shall go to it",
            "nothing",
        );
    }
    !is_missing
}

fn read_budget(value: Value, path: &Path<'_>, problems: &mut Problems) -> Option<WriteBudget> {
    let mut fields = Fields::open(value, path, problems)?;
    let per_day = fields.int(
        "perDay",
        &(0..=i64::from(u32::MAX)),
        Some(WriteBudget::DEFAULT.per_day),
    );
    let lifetime = fields.int::<i64>("lifetime", &(0..=i64::MAX), Some(50_000));
    fields.rest();
    Some(WriteBudget {
        per_day: per_day?,
        lifetime: lifetime?.unsigned_abs(),
    })
}

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

    /// Is this within them?
    #[must_use]
    pub fn hold(&self, number: f64) -> bool {
        self.min.is_none_or(|min| number >= min) && self.max.is_none_or(|max| number <= max)
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

    /// How finely the point takes values.
    fn resolution(&self) -> Resolution {
        Resolution::Double
    }

    /// Can the point hold this value? Where that is known to the instrument alone, it can.
    ///
    /// # Errors
    /// Says what it can hold, if not this.
    fn check_value(&self, _value: &PointValue) -> Result<(), NotRepresentable> {
        Ok(())
    }
}

impl<A> Point<A> {
    /// Where it goes when the loop is stopped or paused, if it goes anywhere.
    #[must_use]
    pub fn leaves_on_stop(&self) -> Option<&PointValue> {
        self.safe_value
            .as_ref()
            .filter(|_| self.on_stop == OnEnd::SafeValue)
    }

    /// After how long without the hub, in ms, it goes where, if it goes anywhere.
    #[must_use]
    pub fn leaves_without_hub(&self) -> Option<(u64, &PointValue)> {
        let lost = self
            .on_hub_lost
            .as_ref()
            .filter(|lost| lost.then == OnEnd::SafeValue)?;
        Some((lost.after_ms, self.safe_value.as_ref()?))
    }
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
        let guards = fields.optional("guards", |value, path, problems| {
            list(value, limits::GUARDS_PER_POINT, path, problems, Guard::read)
        });
        let safe_value = fields.optional("safeValue", self::value);
        let on_stop = fields.choice("onStop", Some(OnEnd::Keep));
        let on_hub_lost = fields.optional("onHubLost", OnHubLost::read);
        let write_budget = fields.optional("writeBudget", read_budget);
        let address = A::read(&mut fields);
        if !ends_are_declared(&mut fields, &safe_value, on_stop, on_hub_lost.as_ref()) {
            return None;
        }
        if let (Some(Some(safe)), Some(address)) = (&safe_value, &address)
            && let Err(refused) = address.check_value(safe)
        {
            fields.problem("safeValue", refused.expected, refused.found);
            return None;
        }
        if let (Some(Some(safe)), Some(Some(limits))) = (&safe_value, &limits)
            && let Some(number) = crate::hold::number(safe)
            && !limits.hold(number)
        {
            fields.problem("safeValue", "a value within the point's limits", safe);
            return None;
        }
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
            limits: limits?.map(Box::new),
            guards: guards?.unwrap_or_default(),
            safe_value: safe_value?,
            on_stop: on_stop?,
            on_hub_lost: on_hub_lost?.map(Box::new),
            write_budget: write_budget?,
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

/// Reads a point's value in a document.
#[allow(clippy::needless_pass_by_value, reason = "the form of every reader")]
pub fn value(document: Value, path: &Path<'_>, problems: &mut Problems) -> Option<PointValue> {
    const EXPECTED: &str = "a finite number, true, false or a text of at most 1024 characters";
    let value: Option<PointValue> = serde_json::from_value(document.clone()).ok();
    let fits = |value: &PointValue| match value {
        PointValue::Text(text) => {
            !text.contains('\0') && text.chars().count() <= limits::TEXT_CHARS
        }
        PointValue::Bool(_) | PointValue::Integer(_) | PointValue::Number(_) => true,
    };
    let value = value.filter(fits);
    if value.is_none() {
        problems.add(path, EXPECTED, describe(&document));
    }
    value
}
