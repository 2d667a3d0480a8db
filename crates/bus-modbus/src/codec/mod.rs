//! Registers to values: data types, byte and word order, scale and offset. Synchronous, over slices.
//!
//! The way back is `encode.rs`; what stands in the registers for a value at all is the domain's to say.

mod encode;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use holdfast_domain::PointValue;
use holdfast_domain::protocol::modbus::{Address, DataType, Order, Scaling};

pub(crate) use encode::{Encoded, Encoder};

/// Turns the registers of one point into its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Decoder {
    data_type: DataType,
    byte_order: Order,
    word_order: Order,
    scaling: Option<Scaling>,
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
            scale: _,
            offset: _,
            table: _,
            address: _,
        } = *address;
        Self {
            data_type,
            byte_order,
            word_order,
            scaling: Scaling::of(address),
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
