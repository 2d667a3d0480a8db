//! Guards: conditions on other points of the same device, all of which must hold before a value is written. They are
//! checked at the agent, offline. A stale or bad input means no.

use alloc::{format, string::String};

use serde_json::{Map, Value};

use super::{band::number, situation::Observed};
use crate::{
    document::point::{uuid, value},
    fields::{Fields, Path, Problems},
    ids::PointId,
    value::{PointValue, Quality},
};

/// A condition on another point.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Guard {
    /// The other point, of the same device.
    pub point_id: PointId,
    /// Its value must be this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<PointValue>,
    /// Its value must not be below this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// Its value must not be above this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// A reading older than this, in ms (100 to 86,400,000), counts as none.
    #[cfg_attr(
        feature = "openapi",
        schema(minimum = 100, maximum = 86400000, default = 10000)
    )]
    pub max_age_ms: u32,
    /// Fields that this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Map<String, Value>,
}

impl Guard {
    /// Reads a guard.
    pub fn read(document: Value, path: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        const MAX_AGE_MS: core::ops::RangeInclusive<i64> = 100..=86_400_000;
        let mut fields = Fields::open(document, path, problems)?;
        let point = fields.required("pointId", uuid, "the UUID of another point of the device");
        let equals = fields.optional("equals", value);
        let at_least = fields.number_opt("atLeast");
        let at_most = fields.number_opt("atMost");
        let max_age_ms = fields.int("maxAgeMs", &MAX_AGE_MS, Some(10_000));
        let asks_nothing = (&equals, at_least, at_most) == (&Some(None), Some(None), Some(None));
        if asks_nothing {
            fields.problem(
                "equals",
                "at least one of equals, atLeast, atMost",
                "none of them",
            );
            return None;
        }
        let extra = fields.rest();
        Some(Self {
            point_id: PointId(point?),
            equals: equals?,
            at_least: at_least?,
            at_most: at_most?,
            max_age_ms: max_age_ms?,
            extra,
        })
    }

    fn refuses(&self, observed: Option<&Observed>, now_ms: u64) -> Option<String> {
        let Some(observed) = observed else {
            return Some("it was not read yet".into());
        };
        let value = match (&observed.value, observed.quality) {
            (Some(value), Quality::Good) => value,
            (_, Quality::Good | Quality::Uncertain | Quality::Bad) => {
                return Some("its last reading is not good".into());
            }
        };
        if let Some(wanted) = &self.equals
            && !is_same(wanted, value)
        {
            return Some(format!("it must be {wanted}, and is {value}"));
        }
        let outside = |bound: Option<f64>, is_beyond: fn(f64, f64) -> bool, words: &str| {
            let bound = bound?;
            match number(value) {
                Some(found) if is_beyond(found, bound) => {
                    Some(format!("it must be {words} {bound}, and is {value}"))
                }
                Some(_) => None,
                None => Some(format!(
                    "it must be {words} {bound}, and is no number: {value}"
                )),
            }
        };
        // First what it shows, then how old that is: a reading ages by itself, and the reason is no news each time.
        let age = now_ms.saturating_sub(observed.at_ms);
        let is_old = age > u64::from(self.max_age_ms);
        outside(self.at_least, |found, bound| found < bound, "at least")
            .or_else(|| outside(self.at_most, |found, bound| found > bound, "at most"))
            .or_else(|| {
                is_old.then(|| format!("its last reading is more than {} ms old", self.max_age_ms))
            })
    }
}

fn is_same(left: &PointValue, right: &PointValue) -> bool {
    match (number(left), number(right)) {
        #[allow(clippy::float_cmp, reason = "what stands in the document, exactly")]
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

/// A guard that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardFailure {
    /// The point that it is on.
    pub point: PointId,
    /// Why it does not hold.
    pub why: String,
    /// Was it only not looked at yet?
    pub is_unread: bool,
}

/// Do all of `guards` hold at `now_ms`? Else the first that does not.
///
/// # Errors
/// Which does not, and why.
pub fn check_guards<'a>(
    guards: &[Guard],
    reading: impl Fn(PointId) -> Option<&'a Observed>,
    now_ms: u64,
) -> Result<(), GuardFailure> {
    for guard in guards {
        let observed = reading(guard.point_id);
        if let Some(why) = guard.refuses(observed, now_ms) {
            return Err(GuardFailure {
                point: guard.point_id,
                why,
                is_unread: observed.is_none(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_reading_is_told_of_in_the_same_words_however_old_it_gets() {
        let point = PointId(uuid::Uuid::from_u128(1));
        let guard = Guard {
            point_id: point,
            equals: None,
            at_least: None,
            at_most: Some(0.0),
            max_age_ms: 1_000,
            extra: Map::new(),
        };
        let read = Observed {
            value: Some(PointValue::Integer(0)),
            quality: Quality::Good,
            at_ms: 0,
            reason: None,
        };
        let says = |now_ms| check_guards(core::slice::from_ref(&guard), |_| Some(&read), now_ms);
        assert_eq!(says(1_000), Ok(()));
        assert!(says(1_001).is_err());
        assert_eq!(says(1_001), says(900_000));
    }
}
