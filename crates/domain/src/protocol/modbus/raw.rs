//! From a value to what stands in the registers, and what can stand there at all.

use alloc::{
    format,
    string::{String, ToString},
};

use super::{Address, DataType};
use crate::{
    hold::{NotRepresentable, Resolution},
    value::PointValue,
};

/// A value as its registers hold it, before it is cut into bytes and words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// A coil, or a bit of a register.
    Bit(bool),
    /// The bits of a number, in the lowest 16, 32 or 64.
    Bits(u64),
    /// A text.
    Text(String),
}

/// `raw × scale + offset`, and back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    factor: Factor,
    offset: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Factor {
    Times(f64),
    /// A scale of 0.1 is no binary fraction, but a division by 10 is exact: 723 gives 72.3, and not 72.30000000000001.
    Over(f64),
}

impl Scaling {
    /// The scaling of an address; `None`: what stands in the registers is the value.
    #[must_use]
    #[allow(clippy::float_cmp, reason = "the defaults, exactly")]
    pub fn of(address: &Address) -> Option<Self> {
        let Address { scale, offset, .. } = *address;
        (scale != 1.0 || offset != 0.0).then(|| Self {
            factor: Factor::of(scale),
            offset,
        })
    }

    /// The value of a raw number.
    #[must_use]
    pub fn apply(self, raw: f64) -> f64 {
        let scaled = match self.factor {
            Factor::Times(scale) => raw * scale,
            Factor::Over(divisor) => raw / divisor,
        };
        scaled + self.offset
    }

    /// The raw number of a value, not rounded.
    #[must_use]
    pub fn invert(self, value: f64) -> f64 {
        let scaled = value - self.offset;
        match self.factor {
            Factor::Times(scale) => scaled / scale,
            Factor::Over(divisor) => scaled * divisor,
        }
    }
}

impl Factor {
    #[allow(
        clippy::float_cmp,
        reason = "only if the division gives the very scale"
    )]
    fn of(scale: f64) -> Self {
        let inverse = 1.0 / scale;
        match round(inverse) {
            Some(over) if scale.abs() < 1.0 && 1.0 / (over as f64) == scale => {
                Self::Over(over as f64)
            }
            _ => Self::Times(scale),
        }
    }
}

/// The nearest whole number, if it is one that a double holds exactly.
fn round(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let shifted = if number < 0.0 {
        number - 0.5
    } else {
        number + 0.5
    };
    #[allow(clippy::cast_possible_truncation, reason = "below 2^53")]
    (shifted.abs() < EXACT).then_some(shifted as i64)
}

/// So far off a whole raw number a value may be that is meant to be one: what decimal fractions lose in double precision.
const SLACK: f64 = 1e-6;

impl Address {
    /// How finely the point takes values.
    #[must_use]
    pub fn resolution_of(&self) -> Resolution {
        match self.data_type {
            DataType::Bool | DataType::Bit(_) | DataType::Text(_) => Resolution::Same,
            DataType::Float32 => Resolution::Single(self.scale),
            DataType::Float64 => Resolution::Double,
            DataType::Int16
            | DataType::Uint16
            | DataType::Int32
            | DataType::Uint32
            | DataType::Int64
            | DataType::Uint64 => Resolution::Step(self.scale.abs()),
        }
    }

    /// What must stand in the registers for `value`.
    ///
    /// # Errors
    /// Says what the point can hold, if not this.
    pub fn to_raw(&self, value: &PointValue) -> Result<Raw, NotRepresentable> {
        let refuse = |expected: String| Err(NotRepresentable::new(expected, value));
        match (self.data_type, value) {
            (DataType::Bool | DataType::Bit(_), PointValue::Bool(value)) => Ok(Raw::Bit(*value)),
            (DataType::Bool | DataType::Bit(_), _) => refuse("true or false".to_string()),
            (DataType::Text(most), PointValue::Text(text)) => {
                if text.len() <= usize::from(most) && !text.contains('\0') {
                    Ok(Raw::Text(text.clone()))
                } else {
                    refuse(format!(
                        "a text of at most {most} bytes in UTF-8, without U+0000"
                    ))
                }
            }
            (DataType::Text(most), _) => refuse(format!("a text of at most {most} bytes")),
            (DataType::Float32, value) => self.single(value),
            (DataType::Float64, value) => match number(value) {
                Some(number) => Ok(Raw::Bits(self.unscaled(number).to_bits())),
                None => refuse("a number".to_string()),
            },
            (
                DataType::Int16
                | DataType::Uint16
                | DataType::Int32
                | DataType::Uint32
                | DataType::Int64
                | DataType::Uint64,
                value,
            ) => self.whole(value),
        }
    }

    fn unscaled(&self, value: f64) -> f64 {
        Scaling::of(self).map_or(value, |scaling| scaling.invert(value))
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "rounded to single precision on purpose"
    )]
    fn single(&self, value: &PointValue) -> Result<Raw, NotRepresentable> {
        let single = number(value).map(|number| self.unscaled(number) as f32);
        match single.filter(|single| single.is_finite()) {
            Some(single) => Ok(Raw::Bits(u64::from(single.to_bits()))),
            None => {
                let expected = "a number that single precision can hold";
                Err(NotRepresentable::new(expected, value))
            }
        }
    }

    fn whole(&self, value: &PointValue) -> Result<Raw, NotRepresentable> {
        let (least, most) = whole_range(self.data_type);
        let scaling = Scaling::of(self);
        let raw = match (scaling, value) {
            (None, PointValue::Integer(whole)) => Some(i128::from(*whole)),
            (None, PointValue::Text(digits)) => digits.parse().ok(),
            (_, value) => number(value)
                .map(|number| scaling.map_or(number, |scaling| scaling.invert(number)))
                .and_then(nearest),
        };
        match raw.filter(|raw| (least..=most).contains(raw)) {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "two's complement"
            )]
            Some(raw) => Ok(Raw::Bits(raw as u64 & mask(self.data_type))),
            None => Err(NotRepresentable::new(
                self.expected_whole(least, most),
                value,
            )),
        }
    }

    fn expected_whole(&self, least: i128, most: i128) -> String {
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        match Scaling::of(self) {
            None => format!("a whole number from {least} to {most}"),
            Some(scaling) => {
                let (one, other) = (scaling.apply(least as f64), scaling.apply(most as f64));
                let (low, high) = if one < other {
                    (one, other)
                } else {
                    (other, one)
                };
                format!(
                    "a number from {low} to {high} in steps of {}",
                    self.scale.abs()
                )
            }
        }
    }
}

/// The whole number that `raw` is meant to be.
#[allow(
    clippy::cast_precision_loss,
    reason = "round() gives what a double holds"
)]
fn nearest(raw: f64) -> Option<i128> {
    let whole = round(raw)?;
    let is_near = (raw - whole as f64).abs() <= SLACK * raw.abs().clamp(1.0, 1e6);
    is_near.then_some(i128::from(whole))
}

#[allow(clippy::cast_precision_loss, reason = "at most 2^53")]
const fn number(value: &PointValue) -> Option<f64> {
    match value {
        PointValue::Integer(value) => Some(*value as f64),
        PointValue::Number(value) => Some(*value),
        PointValue::Bool(_) | PointValue::Text(_) => None,
    }
}

const fn whole_range(data_type: DataType) -> (i128, i128) {
    match data_type {
        DataType::Int16 => (i16::MIN as i128, i16::MAX as i128),
        DataType::Uint16 => (0, u16::MAX as i128),
        DataType::Int32 => (i32::MIN as i128, i32::MAX as i128),
        DataType::Uint32 => (0, u32::MAX as i128),
        DataType::Int64 => (i64::MIN as i128, i64::MAX as i128),
        DataType::Uint64 => (0, u64::MAX as i128),
        DataType::Bool
        | DataType::Bit(_)
        | DataType::Float32
        | DataType::Float64
        | DataType::Text(_) => (0, 0),
    }
}

const fn mask(data_type: DataType) -> u64 {
    match data_type.registers() {
        1 => 0xFFFF,
        2 => 0xFFFF_FFFF,
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::modbus::{Order, Table};

    fn address(data_type: DataType, scale: f64, offset: f64) -> Address {
        Address {
            table: Table::Holding,
            address: 0,
            data_type,
            byte_order: Order::Big,
            word_order: Order::Big,
            scale,
            offset,
        }
    }

    fn bits(address: &Address, value: f64) -> Option<u64> {
        match address.to_raw(&PointValue::Number(value)) {
            Ok(Raw::Bits(bits)) => Some(bits),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        }
    }

    #[test]
    fn a_value_between_two_steps_is_refused() {
        let tenth = address(DataType::Int16, 0.1, 0.0);
        assert_eq!(bits(&tenth, 72.5), Some(725));
        assert_eq!(bits(&tenth, 72.3), Some(723));
        assert_eq!(bits(&tenth, -0.1), Some(0xFFFF));
        assert_eq!(bits(&tenth, 72.53), None);
        assert_eq!(bits(&tenth, 3_276.8), None);
        let words = tenth
            .to_raw(&PointValue::Number(72.53))
            .expect_err("between two")
            .to_string();
        assert_eq!(
            words,
            "expected a number from -3276.8 to 3276.7 in steps of 0.1, found 72.53"
        );
    }

    #[test]
    fn whole_numbers_of_64_bits_keep_their_last_digit() {
        let address = address(DataType::Uint64, 1.0, 0.0);
        let most = PointValue::from_u64(u64::MAX);
        assert_eq!(address.to_raw(&most), Ok(Raw::Bits(u64::MAX)));
        let beyond = PointValue::Text("18446744073709551616".into());
        assert!(address.to_raw(&beyond).is_err());
        assert!(address.to_raw(&PointValue::Integer(-1)).is_err());
        assert!(address.to_raw(&PointValue::Number(0.5)).is_err());
        assert_eq!(address.to_raw(&PointValue::Number(5.0)), Ok(Raw::Bits(5)));
    }

    #[test]
    fn kinds_are_not_mixed() {
        let coil = address(DataType::Bool, 1.0, 0.0);
        assert_eq!(coil.to_raw(&PointValue::Bool(true)), Ok(Raw::Bit(true)));
        assert!(coil.to_raw(&PointValue::Integer(1)).is_err());
        let text = address(DataType::Text(3), 1.0, 0.0);
        assert_eq!(
            text.to_raw(&PointValue::Text("abc".into())),
            Ok(Raw::Text("abc".into()))
        );
        for bad in [
            PointValue::Text("abcd".into()),
            PointValue::Text("a\0".into()),
            PointValue::Integer(1),
        ] {
            assert!(text.to_raw(&bad).is_err(), "{bad:?}");
        }
        let number = address(DataType::Int16, 1.0, 0.0);
        for bad in [PointValue::Bool(true), PointValue::Text("x".into())] {
            assert!(number.to_raw(&bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        /// Every raw number's value gives the raw number back.
        #[test]
        fn a_value_finds_its_way_back(
            raw: i32,
            scale in prop_oneof![Just(0.1), Just(0.01), Just(0.001), Just(-0.5), Just(10.0), Just(1.0), Just(0.3)],
            offset in prop_oneof![Just(0.0), Just(-40.0), Just(273.15)],
        ) {
            let address = address(DataType::Int32, scale, offset);
            let value = Scaling::of(&address).map_or(f64::from(raw), |scaling| scaling.apply(f64::from(raw)));
            prop_assert_eq!(bits(&address, value), Some(u64::from(raw as u32)));
        }

        #[test]
        fn singles_and_doubles_take_any_number(value in -1e30f64..1e30) {
            let single = address(DataType::Float32, 1.0, 0.0);
            prop_assert_eq!(bits(&single, value), Some(u64::from((value as f32).to_bits())));
            let double = address(DataType::Float64, 1.0, 0.0);
            prop_assert_eq!(bits(&double, value), Some(value.to_bits()));
        }
    }
}
