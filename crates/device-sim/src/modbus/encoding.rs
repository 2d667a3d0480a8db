//! How a value lies in registers: data type, word and byte order, scale and offset.
//!
//! Written apart from the adapter that reads it, so that the two can check each other. Values go through
//! `f64`; whole numbers beyond 2⁵³ are set as registers.

/// How the bits of a value are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// Signed, one register.
    Int16,
    /// Unsigned, one register.
    Uint16,
    /// Signed, two registers.
    Int32,
    /// Unsigned, two registers.
    Uint32,
    /// Signed, four registers.
    Int64,
    /// Unsigned, four registers.
    Uint64,
    /// IEEE 754 binary32, two registers.
    Float32,
    /// IEEE 754 binary64, four registers.
    Float64,
}

impl DataType {
    /// How many registers a value takes: 1, 2 or 4.
    #[must_use]
    pub const fn registers(self) -> u16 {
        match self {
            Self::Int16 | Self::Uint16 => 1,
            Self::Int32 | Self::Uint32 | Self::Float32 => 2,
            Self::Int64 | Self::Uint64 | Self::Float64 => 4,
        }
    }
}

/// Which end comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The most significant first (the standard's way).
    Big,
    /// The least significant first.
    Little,
}

/// Turns a value into registers and back: `value = raw · scale + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Encoding {
    data_type: DataType,
    word_order: Order,
    byte_order: Order,
    scale: f64,
    offset: f64,
}

impl Encoding {
    /// Big-endian words and bytes, scale 1, offset 0.
    #[must_use]
    pub const fn new(data_type: DataType) -> Self {
        Self {
            data_type,
            word_order: Order::Big,
            byte_order: Order::Big,
            scale: 1.0,
            offset: 0.0,
        }
    }

    /// Which register of a value comes first.
    #[must_use]
    pub const fn word_order(self, word_order: Order) -> Self {
        Self { word_order, ..self }
    }

    /// Which byte of a register comes first.
    #[must_use]
    pub const fn byte_order(self, byte_order: Order) -> Self {
        Self { byte_order, ..self }
    }

    /// What one raw step is worth, and what raw zero is. Panics on a scale of zero.
    #[must_use]
    pub const fn scaled(self, scale: f64, offset: f64) -> Self {
        assert!(scale != 0.0, "a scale of zero can't be undone");
        Self {
            scale,
            offset,
            ..self
        }
    }

    /// How many registers a value takes.
    #[must_use]
    pub const fn registers(&self) -> u16 {
        self.data_type.registers()
    }

    /// The registers of `value`: rounded to whole steps and held at the ends of the range for whole types.
    #[must_use]
    pub fn encode(&self, value: f64) -> Vec<u16> {
        let raw = (value - self.offset) / self.scale;
        let whole = raw.round();
        match self.data_type {
            DataType::Int16 => self.arrange((whole as i16).to_be_bytes()),
            DataType::Uint16 => self.arrange((whole as u16).to_be_bytes()),
            DataType::Int32 => self.arrange((whole as i32).to_be_bytes()),
            DataType::Uint32 => self.arrange((whole as u32).to_be_bytes()),
            DataType::Int64 => self.arrange((whole as i64).to_be_bytes()),
            DataType::Uint64 => self.arrange((whole as u64).to_be_bytes()),
            DataType::Float32 => self.arrange((raw as f32).to_be_bytes()),
            DataType::Float64 => self.arrange(raw.to_be_bytes()),
        }
    }

    /// The value in `registers`. Panics unless there are exactly [`Encoding::registers`] of them.
    #[must_use]
    pub fn decode(&self, registers: &[u16]) -> f64 {
        assert_eq!(
            registers.len(),
            usize::from(self.registers()),
            "registers of a {:?}",
            self.data_type
        );
        let mut words = registers.to_vec();
        if self.word_order == Order::Little {
            words.reverse();
        }
        let bits = words.into_iter().fold(0_u64, |bits, word| {
            bits << 16 | u64::from(self.in_byte_order(word))
        });
        let raw = match self.data_type {
            DataType::Int16 => f64::from(bits as u16 as i16),
            DataType::Uint16 => f64::from(bits as u16),
            DataType::Int32 => f64::from(bits as u32 as i32),
            DataType::Uint32 => f64::from(bits as u32),
            DataType::Int64 => bits as i64 as f64,
            DataType::Uint64 => bits as f64,
            DataType::Float32 => f64::from(f32::from_bits(bits as u32)),
            DataType::Float64 => f64::from_bits(bits),
        };
        raw * self.scale + self.offset
    }

    /// Puts the big-endian bytes of a raw value into registers, in this encoding's orders. For what `f64`
    /// can't hold: `encoding.arrange(u64::MAX.to_be_bytes())`.
    #[must_use]
    pub fn arrange<const N: usize>(&self, big_endian: [u8; N]) -> Vec<u16> {
        assert_eq!(
            N,
            usize::from(self.registers()) * 2,
            "bytes of a {:?}",
            self.data_type
        );
        let mut words: Vec<u16> = big_endian
            .chunks_exact(2)
            .map(|pair| self.in_byte_order(u16::from_be_bytes([pair[0], pair[1]])))
            .collect();
        if self.word_order == Order::Little {
            words.reverse();
        }
        words
    }

    const fn in_byte_order(&self, word: u16) -> u16 {
        match self.byte_order {
            Order::Big => word,
            Order::Little => word.swap_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};

    #[test]
    fn orders_are_what_their_names_say() {
        let plain = Encoding::new(DataType::Uint32);
        let value = f64::from(0x0102_0304_u32);
        assert_eq!(plain.encode(value), [0x0102, 0x0304]);
        assert_eq!(
            plain.word_order(Order::Little).encode(value),
            [0x0304, 0x0102]
        );
        assert_eq!(
            plain.byte_order(Order::Little).encode(value),
            [0x0201, 0x0403]
        );
        assert_eq!(
            plain
                .word_order(Order::Little)
                .byte_order(Order::Little)
                .encode(value),
            [0x0403, 0x0201]
        );
        assert_eq!(
            Encoding::new(DataType::Float32).encode(72.5),
            [0x4291, 0x0000]
        );
    }

    #[test]
    fn scale_rounds_and_ends_hold() {
        let tenths = Encoding::new(DataType::Int16).scaled(0.1, 0.0);
        assert_eq!(tenths.encode(-72.46), [(-725_i16).cast_unsigned()]);
        assert_eq!(tenths.encode(1e9), [0x7FFF]);
        assert_eq!(Encoding::new(DataType::Uint16).encode(-1.0), [0]);
        let shifted = Encoding::new(DataType::Uint16).scaled(0.5, -40.0);
        assert_eq!(shifted.encode(10.0), [100]);
        assert!((shifted.decode(&[100]) - 10.0).abs() < 1e-12);
        assert_eq!(
            Encoding::new(DataType::Uint64).arrange(u64::MAX.to_be_bytes()),
            [0xFFFF; 4]
        );
    }

    fn order() -> impl Strategy<Value = Order> {
        prop_oneof![Just(Order::Big), Just(Order::Little)]
    }

    proptest! {
        #[test]
        fn whole_numbers_come_back(value in any::<i16>(), words in order(), bytes in order()) {
            for data_type in [DataType::Int16, DataType::Int32, DataType::Int64, DataType::Float32, DataType::Float64] {
                let encoding = Encoding::new(data_type).word_order(words).byte_order(bytes);
                prop_assert_eq!(encoding.decode(&encoding.encode(f64::from(value))), f64::from(value));
            }
        }
    }
}
