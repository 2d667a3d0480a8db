//! When a reading is the wanted value. One band serves deciding and verifying; hysteresis is in time only.

use alloc::string::{String, ToString};

use crate::{document::setpoint::Tolerance, value::PointValue};

/// How finely a point can take values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Resolution {
    /// Multiples of this step, which is above 0: a whole number of registers, scaled.
    Step(f64),
    /// IEEE 754 single precision, scaled by this factor.
    Single(f64),
    /// IEEE 754 double precision.
    Double,
    /// Only the very same value: true or false, texts.
    Same,
}

/// A value that a point can't hold.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub struct NotRepresentable {
    /// What the point can hold.
    pub expected: String,
    /// What was asked for.
    pub found: String,
}

impl NotRepresentable {
    /// Says what is expected of a value.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a text or what is written as one"
    )]
    pub fn new(expected: impl core::fmt::Display, found: &PointValue) -> Self {
        Self {
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

/// The values that count as the wanted one.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    wanted: PointValue,
    /// How far a number may be off; `None`: not at all.
    width: f64,
}

/// Rounding of decimal fractions is no difference: some hundred times what one conversion costs in double precision.
const ROUNDING: f64 = 1e-12;

impl Band {
    /// The band around `wanted`. Without a tolerance it reaches half a step of the point's resolution to either side.
    #[must_use]
    pub fn of(wanted: PointValue, tolerance: Option<Tolerance>, resolution: Resolution) -> Self {
        let width = match (tolerance, number(&wanted)) {
            (_, None) => 0.0,
            (Some(Tolerance::Exact), _) => match resolution {
                // What can't be told apart on the wire is the same.
                Resolution::Single(scale) => half_single(&wanted, scale),
                Resolution::Step(_) | Resolution::Double | Resolution::Same => 0.0,
            },
            (Some(Tolerance::Absolute(width)), _) => width,
            (Some(Tolerance::Relative(share)), Some(value)) => value.abs() * share,
            (None, _) => match resolution {
                Resolution::Step(step) => step / 2.0,
                Resolution::Single(scale) => half_single(&wanted, scale),
                Resolution::Double | Resolution::Same => 0.0,
            },
        };
        Self { wanted, width }
    }

    /// The wanted value.
    #[must_use]
    pub const fn wanted(&self) -> &PointValue {
        &self.wanted
    }

    /// How far a number may be off.
    #[must_use]
    pub const fn width(&self) -> f64 {
        self.width
    }

    /// Is `reading` the wanted value? `None`: it is of another kind, and can't be compared.
    #[must_use]
    pub fn holds(&self, reading: &PointValue) -> Option<bool> {
        match (&self.wanted, reading) {
            (PointValue::Bool(wanted), PointValue::Bool(found)) => Some(wanted == found),
            (PointValue::Text(wanted), PointValue::Text(found)) => Some(wanted == found),
            (wanted, found) => {
                let (wanted, found) = (number(wanted)?, number(found)?);
                let slack = ROUNDING * wanted.abs().max(found.abs());
                Some((wanted - found).abs() <= self.width + slack)
            }
        }
    }
}

/// Half the distance to the next single-precision number.
fn half_single(wanted: &PointValue, scale: f64) -> f64 {
    let Some(value) = number(wanted) else {
        return 0.0;
    };
    #[allow(
        clippy::cast_possible_truncation,
        reason = "rounded to single precision on purpose"
    )]
    let single = (value / scale).abs() as f32;
    let next = f32::from_bits(single.to_bits().saturating_add(1));
    if next.is_finite() {
        (f64::from(next) - f64::from(single)) * scale.abs() / 2.0
    } else {
        0.0
    }
}

/// A value as a number, if it is one. Whole numbers beyond 2⁵³, which are texts, are compared as texts.
#[must_use]
pub(crate) const fn number(value: &PointValue) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "at most 2^53")]
    match value {
        PointValue::Integer(value) => Some(*value as f64),
        PointValue::Number(value) => Some(*value),
        PointValue::Bool(_) | PointValue::Text(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holds(
        wanted: f64,
        tolerance: Option<Tolerance>,
        resolution: Resolution,
        found: f64,
    ) -> bool {
        let band = Band::of(PointValue::Number(wanted), tolerance, resolution);
        band.holds(&PointValue::Number(found))
            .expect("both are numbers")
    }

    #[test]
    fn half_a_step_is_the_default() {
        let tenth = Resolution::Step(0.1);
        assert!(holds(72.5, None, tenth, 72.5));
        assert!(holds(72.5, None, tenth, 725.0 * 0.1));
        assert!(
            holds(72.3, None, tenth, 723.0 * 0.1),
            "rounding is no difference"
        );
        assert!(!holds(72.5, None, tenth, 72.6));
        assert!(!holds(72.5, None, Resolution::Step(1.0), 72.0) || 0.5 <= 0.5);
    }

    #[test]
    fn a_tolerance_says_how_far() {
        let step = Resolution::Step(0.1);
        assert!(holds(72.5, Some(Tolerance::Absolute(0.2)), step, 72.7));
        assert!(!holds(72.5, Some(Tolerance::Absolute(0.2)), step, 72.71));
        assert!(holds(200.0, Some(Tolerance::Relative(0.01)), step, 198.0));
        assert!(!holds(200.0, Some(Tolerance::Relative(0.01)), step, 197.9));
        assert!(!holds(72.5, Some(Tolerance::Exact), step, 72.51));
    }

    #[test]
    fn kinds_are_not_compared_with_each_other() {
        let band = Band::of(PointValue::Bool(true), None, Resolution::Same);
        assert_eq!(band.holds(&PointValue::Bool(true)), Some(true));
        assert_eq!(band.holds(&PointValue::Bool(false)), Some(false));
        assert_eq!(band.holds(&PointValue::Integer(1)), None);
        let band = Band::of(PointValue::Integer(1), None, Resolution::Step(1.0));
        assert_eq!(band.holds(&PointValue::Text("1".into())), None);
    }

    proptest! {
        #[test]
        fn a_single_holds_what_it_rounds_to(value in -1e30f64..1e30, scale in prop_oneof![Just(1.0), Just(0.1), Just(1000.0)]) {
            let stored = f64::from((value / scale) as f32) * scale;
            prop_assert!(holds(value, None, Resolution::Single(scale), stored), "{value} {stored}");
            prop_assert!(holds(value, Some(Tolerance::Exact), Resolution::Single(scale), stored));
        }

        #[test]
        fn the_band_is_the_same_to_both_sides(wanted in -1e6f64..1e6, off in 0.0f64..10.0, width in 0.0f64..10.0) {
            let tolerance = Some(Tolerance::Absolute(width));
            let step = Resolution::Step(0.1);
            prop_assume!((off - width).abs() > 1e-6);
            prop_assert_eq!(holds(wanted, tolerance, step, wanted + off), off < width);
            prop_assert_eq!(holds(wanted, tolerance, step, wanted - off), off < width);
        }
    }
}
