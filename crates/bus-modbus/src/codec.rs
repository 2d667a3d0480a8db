//! Registers to values: data types, byte and word order, scale and offset. Synchronous, over slices.

use std::sync::{Arc, LazyLock};

use holdfast_domain::PointValue;
use holdfast_domain::protocol::modbus::{Address, DataType, Order};

/// Turns the registers of one point into its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Decoder {
    data_type: DataType,
    byte_order: Order,
    word_order: Order,
    scaling: Option<Scaling>,
}

/// `raw × scale + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scaling {
    factor: Factor,
    offset: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Factor {
    Times(f64),
    /// A scale of 0.1 is no binary fraction, but a division by 10 is exact: 723 gives 72.3, and not 72.30000000000001.
    Over(f64),
}

/// Why registers hold no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoValue {
    NotANumber,
    Infinite,
    NotText,
}

impl NoValue {
    /// For the reading; costs no allocation.
    pub(crate) fn reason(self) -> Arc<str> {
        static REASONS: LazyLock<[Arc<str>; 3]> = LazyLock::new(|| {
            [
                "not a number (NaN)",
                "infinite, or too large",
                "a text that is not UTF-8",
            ]
            .map(Arc::from)
        });
        Arc::clone(&REASONS[self as usize])
    }
}

impl Decoder {
    pub(crate) fn new(address: &Address) -> Self {
        let Address {
            data_type,
            byte_order,
            word_order,
            scale,
            offset,
            table: _,
            address: _,
        } = *address;
        #[allow(clippy::float_cmp, reason = "the defaults, exactly")]
        let scaling = (scale != 1.0 || offset != 0.0).then(|| Scaling {
            factor: Factor::of(scale),
            offset,
        });
        Self {
            data_type,
            byte_order,
            word_order,
            scaling,
        }
    }

    /// The value in `words`, as many as the data type takes.
    #[inline]
    pub(crate) fn value(&self, words: &[u16]) -> Result<PointValue, NoValue> {
        match self.data_type {
            DataType::Bool => Ok(PointValue::Bool(words[0] != 0)),
            DataType::Bit(bit) => Ok(PointValue::Bool(self.raw(words) >> bit & 1 == 1)),
            DataType::Int16 => self.integer(i64::from(self.raw(words) as u16 as i16)),
            DataType::Uint16 => self.integer(i64::from(self.raw(words) as u16)),
            DataType::Int32 => self.integer(i64::from(self.raw(words) as u32 as i32)),
            DataType::Uint32 => self.integer(i64::from(self.raw(words) as u32)),
            DataType::Int64 => self.integer(self.raw(words) as i64),
            DataType::Uint64 => match (i64::try_from(self.raw(words)), self.scaling) {
                (Ok(value), _) => self.integer(value),
                (Err(_), None) => Ok(PointValue::from_u64(self.raw(words))),
                (Err(_), Some(scaling)) => number(scaling.apply(self.raw(words) as f64)),
            },
            DataType::Float32 => self.float(f64::from(f32::from_bits(self.raw(words) as u32))),
            DataType::Float64 => self.float(f64::from_bits(self.raw(words))),
            DataType::Text(bytes) => self.text(words, usize::from(bytes)),
        }
    }

    /// The registers as one number of up to 64 bits, most significant first.
    fn raw(&self, words: &[u16]) -> u64 {
        let add = |raw: u64, word: &u16| raw << 16 | u64::from(self.word(*word));
        match self.word_order {
            Order::Big => words.iter().fold(0, add),
            Order::Little => words.iter().rev().fold(0, add),
        }
    }

    fn word(&self, word: u16) -> u16 {
        match self.byte_order {
            Order::Big => word,
            Order::Little => word.swap_bytes(),
        }
    }

    fn integer(&self, raw: i64) -> Result<PointValue, NoValue> {
        match self.scaling {
            None => Ok(PointValue::from_i64(raw)),
            Some(scaling) => number(scaling.apply(raw as f64)),
        }
    }

    fn float(&self, raw: f64) -> Result<PointValue, NoValue> {
        number(self.scaling.map_or(raw, |scaling| scaling.apply(raw)))
    }

    fn text(&self, words: &[u16], length: usize) -> Result<PointValue, NoValue> {
        let mut bytes = Vec::with_capacity(words.len() * 2);
        match self.word_order {
            Order::Big => words
                .iter()
                .for_each(|word| bytes.extend(self.word(*word).to_be_bytes())),
            Order::Little => words
                .iter()
                .rev()
                .for_each(|word| bytes.extend(self.word(*word).to_be_bytes())),
        }
        bytes.truncate(length);
        if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            bytes.truncate(end);
        }
        String::from_utf8(bytes)
            .map(PointValue::Text)
            .map_err(|_| NoValue::NotText)
    }
}

fn number(value: f64) -> Result<PointValue, NoValue> {
    PointValue::from_f64(value).ok_or(if value.is_nan() {
        NoValue::NotANumber
    } else {
        NoValue::Infinite
    })
}

impl Factor {
    fn of(scale: f64) -> Self {
        let over = (1.0 / scale).round();
        #[allow(
            clippy::float_cmp,
            reason = "only if the division gives the very scale"
        )]
        let is_fraction = scale.abs() < 1.0 && over.is_finite() && 1.0 / over == scale;
        if is_fraction {
            Self::Over(over)
        } else {
            Self::Times(scale)
        }
    }
}

impl Scaling {
    fn apply(self, raw: f64) -> f64 {
        let scaled = match self.factor {
            Factor::Times(scale) => raw * scale,
            Factor::Over(divisor) => raw / divisor,
        };
        scaled + self.offset
    }
}

#[cfg(test)]
mod tests {
    use holdfast_device_sim::modbus as sim;
    use holdfast_domain::protocol::modbus::Table;
    use proptest::prelude::*;

    use super::*;

    fn address(data_type: DataType, orders: (Order, Order), scale: f64, offset: f64) -> Address {
        let (byte_order, word_order) = orders;
        Address {
            table: Table::Holding,
            address: 0,
            data_type,
            byte_order,
            word_order,
            scale,
            offset,
        }
    }

    fn plain(data_type: DataType, orders: (Order, Order)) -> Decoder {
        Decoder::new(&address(data_type, orders, 1.0, 0.0))
    }

    fn orders() -> impl Strategy<Value = (Order, Order)> {
        let order = || prop::sample::select(vec![Order::Big, Order::Little]);
        (order(), order())
    }

    /// Bytes, most significant first, as the registers of an instrument with these orders.
    fn encode(bytes: &[u8], (byte_order, word_order): (Order, Order)) -> Vec<u16> {
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        let word = |pair: &[u8]| match byte_order {
            Order::Big => u16::from_be_bytes([pair[0], pair[1]]),
            Order::Little => u16::from_le_bytes([pair[0], pair[1]]),
        };
        let mut words: Vec<u16> = bytes.chunks(2).map(word).collect();
        if word_order == Order::Little {
            words.reverse();
        }
        words
    }

    proptest! {
        #[test]
        fn whole_numbers_come_back(raw: i64, orders in orders()) {
            let back = |data_type, bytes: &[u8]| plain(data_type, orders).value(&encode(bytes, orders));
            prop_assert_eq!(back(DataType::Int64, &raw.to_be_bytes()), Ok(PointValue::from_i64(raw)));
            let unsigned = raw as u64;
            prop_assert_eq!(back(DataType::Uint64, &unsigned.to_be_bytes()), Ok(PointValue::from_u64(unsigned)));
            let half = raw as i32;
            prop_assert_eq!(back(DataType::Int32, &half.to_be_bytes()), Ok(PointValue::Integer(half.into())));
            let half = raw as u32;
            prop_assert_eq!(back(DataType::Uint32, &half.to_be_bytes()), Ok(PointValue::Integer(half.into())));
            let quarter = raw as i16;
            prop_assert_eq!(back(DataType::Int16, &quarter.to_be_bytes()), Ok(PointValue::Integer(quarter.into())));
            let quarter = raw as u16;
            prop_assert_eq!(back(DataType::Uint16, &quarter.to_be_bytes()), Ok(PointValue::Integer(quarter.into())));
        }

        #[test]
        fn floats_come_back_or_are_no_value(double: f64, single: f32, orders in orders()) {
            let expected = |value: f64| PointValue::from_f64(value);
            let words = encode(&double.to_bits().to_be_bytes(), orders);
            prop_assert_eq!(plain(DataType::Float64, orders).value(&words).ok(), expected(double));
            let words = encode(&single.to_bits().to_be_bytes(), orders);
            prop_assert_eq!(plain(DataType::Float32, orders).value(&words).ok(), expected(single.into()));
        }

        #[test]
        fn every_bit_is_found(word: u16, bit in 0_u8..16, orders in orders()) {
            let words = encode(&word.to_be_bytes(), orders);
            let value = plain(DataType::Bit(bit), orders).value(&words);
            prop_assert_eq!(value, Ok(PointValue::Bool(word & (1 << bit) != 0)));
            prop_assert_eq!(plain(DataType::Bool, orders).value(&words), Ok(PointValue::Bool(word != 0)));
        }

        #[test]
        fn texts_come_back(text in "[^\0]{0,60}", spare in 0_usize..4, orders in orders()) {
            let length = (text.len() + spare).clamp(1, 250);
            prop_assume!(text.len() <= length);
            let mut bytes = text.clone().into_bytes();
            bytes.resize(length, 0);
            let decoder = plain(DataType::Text(u8::try_from(length).expect("at most 250")), orders);
            prop_assert_eq!(decoder.value(&encode(&bytes, orders)), Ok(PointValue::Text(text)));
        }

        #[test]
        fn the_simulator_which_was_written_apart_agrees(
            steps in -30_000_i32..30_000, orders in orders(), scale in prop::sample::select(vec![1.0, 0.1, 0.25, -0.5, 12.5]),
            offset in prop::sample::select(vec![0.0, -40.0, 0.5]),
        ) {
            let types = [
                (DataType::Int16, sim::DataType::Int16), (DataType::Int32, sim::DataType::Int32),
                (DataType::Int64, sim::DataType::Int64), (DataType::Float32, sim::DataType::Float32),
                (DataType::Float64, sim::DataType::Float64),
            ];
            let order = |order| match order { Order::Big => sim::Order::Big, Order::Little => sim::Order::Little };
            let value = f64::from(steps) * scale + offset;
            for (ours, theirs) in types {
                let encoding = sim::Encoding::new(theirs).byte_order(order(orders.0)).word_order(order(orders.1))
                    .scaled(scale, offset);
                let read = match Decoder::new(&address(ours, orders, scale, offset)).value(&encoding.encode(value)) {
                    Ok(PointValue::Number(read)) => read,
                    Ok(PointValue::Integer(read)) => read as f64,
                    other => return Err(TestCaseError::fail(format!("{ours}: {other:?}"))),
                };
                prop_assert!((read - value).abs() <= value.abs() * 1e-6 + 1e-9, "{ours}: {read} for {value}");
            }
        }
    }

    #[test]
    fn what_is_no_value_says_why() {
        let big = (Order::Big, Order::Big);
        let single = |value: f32| {
            plain(DataType::Float32, big).value(&encode(&value.to_bits().to_be_bytes(), big))
        };
        assert_eq!(single(f32::NAN), Err(NoValue::NotANumber));
        assert_eq!(single(f32::NEG_INFINITY), Err(NoValue::Infinite));
        let scaled = Decoder::new(&address(DataType::Float64, big, 1e300, 0.0));
        assert_eq!(
            scaled.value(&encode(&1e300_f64.to_bits().to_be_bytes(), big)),
            Err(NoValue::Infinite)
        );
        assert_eq!(
            plain(DataType::Text(2), big).value(&[0xFFFE]),
            Err(NoValue::NotText)
        );
        assert_eq!(&*NoValue::NotText.reason(), "a text that is not UTF-8");
    }

    #[test]
    fn decimal_scales_give_decimal_values() {
        let tenth = Decoder::new(&address(
            DataType::Int16,
            (Order::Big, Order::Big),
            0.1,
            0.0,
        ));
        assert_eq!(tenth.value(&[723]), Ok(PointValue::Number(72.3)));
        assert_eq!(tenth.value(&[-3_i16 as u16]), Ok(PointValue::Number(-0.3)));
    }

    #[test]
    fn whole_numbers_beyond_the_exact_ones_are_text() {
        let big = (Order::Big, Order::Big);
        let value = plain(DataType::Uint64, big).value(&[0xFFFF; 4]);
        assert_eq!(value, Ok(PointValue::Text("18446744073709551615".into())));
        let value = plain(DataType::Int64, big).value(&[0x0020, 0, 0, 1]);
        assert_eq!(value, Ok(PointValue::Text("9007199254740993".into())));
    }
}
