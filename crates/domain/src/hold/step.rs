//! What may be written of a value: the point's limits, and its largest step.
//!
//! No write moves a point further than its largest step. A level goes to its wanted value in steps, each of which is read
//! back before the next; what is written once is refused if it is too far.

use alloc::{format, string::String};

use super::{
    band::{Resolution, number},
    instead::is_whole,
    situation::{HoldReason, Situation},
};
use crate::{document::point::Limits, value::PointValue};

/// Rounding of decimal fractions makes no step too large.
const SLACK: f64 = 1e-9;

/// Is `to` at most the point's largest step away from `from`? What is no number has no distance.
#[must_use]
pub fn reaches(limits: Option<&Limits>, from: &PointValue, to: &PointValue) -> bool {
    let step = limits.and_then(|limits| limits.max_step);
    match (step, number(from), number(to)) {
        (Some(step), Some(from), Some(to)) => (to - from).abs() <= step * (1.0 + SLACK),
        _ => true,
    }
}

/// The next value on the way from `value` to the wanted one: one that the point can hold, inside its limits, and no further
/// than its largest step.
pub(super) fn next_step(
    situation: &Situation<'_>,
    value: &PointValue,
) -> Result<PointValue, HoldReason> {
    let wanted = situation.band.wanted();
    let limits = situation.rules.limits.as_ref();
    let step = limits.and_then(|limits| limits.max_step);
    let (Some(step), Some(from), Some(to)) = (step, number(value), number(wanted)) else {
        return Ok(wanted.clone());
    };
    if reaches(limits, value, wanted) {
        return Ok(wanted.clone());
    }
    let far = match situation.rules.resolution {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "a whole number of steps, and less than the way, which is exact"
        )]
        Resolution::Step(size) => ((step / size + SLACK) as i64) as f64 * size,
        Resolution::Single(_) | Resolution::Double | Resolution::Same => step,
    };
    if far <= 0.0 {
        return Err(HoldReason::StepTooSmall(step));
    }
    let next = if to > from { from + far } else { from - far };
    let next = match wanted {
        // A point of tenths can stand between two whole numbers, whichever is wanted: to the next whole one it may be further.
        #[allow(
            clippy::cast_possible_truncation,
            reason = "whole, and between two numbers that fit"
        )]
        PointValue::Integer(_) if is_whole(next) => PointValue::from_i64(next as i64),
        _ => PointValue::Number(next),
    };
    match limit_of(limits, &next) {
        Some(HoldReason::Limit { value, limits }) => Err(HoldReason::StepOutside { value, limits }),
        Some(other) => Err(other),
        None => Ok(next),
    }
}

/// Which limit `value` is outside of.
pub(super) fn limit_of(limits: Option<&Limits>, value: &PointValue) -> Option<HoldReason> {
    let limits = limits?;
    let number = number(value)?;
    let is_below = limits.min.is_some_and(|min| number < min);
    let is_above = limits.max.is_some_and(|max| number > max);
    if !is_below && !is_above {
        return None;
    }
    let words: String = match (limits.min, limits.max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => String::new(),
    };
    Some(HoldReason::Limit {
        value: value.clone(),
        limits: words,
    })
}
