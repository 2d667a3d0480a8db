//! The one request that writes a value: which function, which address, what.
//!
//! | value | function |
//! |---|---|
//! | a coil | 5 |
//! | one register | 6, or 16 where the instrument knows only that |
//! | several registers | 16, all of them in one request: a value is never split over two |
//! | one bit of a register | 22, so that the bits of others are not touched |
//!
//! Functions 15 and 23 have no use here: one point is written at a time, so 15 could only write what 5 does, and the read
//! of 23 would come before the instrument has settled, as no witness of what it made of the value. A bit is never written
//! by reading its register and writing it back: what changed in between would be undone.

use std::fmt;
use std::sync::Arc;

use holdfast_domain::PointValue;
use holdfast_domain::document::point::Point;
use holdfast_domain::protocol::modbus::{Address, Table};

use super::Place;
use crate::codec::{Encoded, Encoder};

/// The most registers that one request may write (Application Protocol, section 6.12).
pub(crate) const MOST_REGISTERS: usize = 123;

/// A request that writes one value, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Write {
    /// Function 5.
    Coil { address: u16, on: bool },
    /// Function 6.
    Register { address: u16, word: u16 },
    /// Function 16.
    Registers { first: u16, words: Arc<[u16]> },
    /// Function 22: the bits of `mask` become `bits`, the others stay.
    Bits { address: u16, mask: u16, bits: u16 },
}

impl Write {
    /// The request that writes `value` to `point`.
    ///
    /// # Errors
    /// Why nothing can be sent: for the operator.
    pub(crate) fn of(point: &Point<Address>, value: &PointValue) -> Result<Self, String> {
        let Address { table, address, .. } = point.address;
        let name = point.name.as_str();
        if !table.is_writable() {
            return Err(format!(
                "{name} is in table {table}, which no master can write to; only coil and holding can be written"
            ));
        }
        if !point.writable {
            return Err(format!("{name} is not declared writable"));
        }
        let encoded = Encoder::new(&point.address).encode(value);
        match encoded.map_err(|refused| format!("{name}: {refused}"))? {
            Encoded::Coil(on) => Ok(Self::Coil { address, on }),
            Encoded::Bit { mask, on } => Ok(Self::Bits {
                address,
                mask,
                bits: if on { mask } else { 0 },
            }),
            Encoded::Words(words) if words.len() > MOST_REGISTERS => Err(format!(
                "{name} takes {} registers; one request writes at most {MOST_REGISTERS}, and a value is never split over two",
                words.len()
            )),
            Encoded::Words(words) => Ok(match *words {
                [word] => Self::Register { address, word },
                _ => Self::Registers {
                    first: address,
                    words: words.into(),
                },
            }),
        }
    }

    /// The same with the other of the two functions that write one register; nothing if there is none.
    pub(crate) fn with_other_function(&self) -> Option<Self> {
        match self {
            Self::Register { address, word } => Some(Self::Registers {
                first: *address,
                words: [*word].into(),
            }),
            Self::Registers { first, words } => match **words {
                [word] => Some(Self::Register {
                    address: *first,
                    word,
                }),
                _ => None,
            },
            Self::Coil { .. } | Self::Bits { .. } => None,
        }
    }

    /// Its function code.
    pub(crate) const fn function(&self) -> u8 {
        match self {
            Self::Coil { .. } => 5,
            Self::Register { .. } => 6,
            Self::Registers { .. } => 16,
            Self::Bits { .. } => 22,
        }
    }

    /// What it touches.
    pub(crate) fn place(&self) -> Place {
        let (table, first, count) = match self {
            Self::Coil { address, .. } => (Table::Coil, *address, 1),
            Self::Register { address, .. } | Self::Bits { address, .. } => {
                (Table::Holding, *address, 1)
            }
            Self::Registers { first, words } => {
                let count = u16::try_from(words.len()).expect("at most 123 registers");
                (Table::Holding, *first, count)
            }
        };
        Place {
            table,
            first,
            count,
        }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.place(), f)
    }
}

#[cfg(test)]
mod tests {
    use holdfast_domain::Binding;
    use serde_json::json;

    use super::*;
    use crate::fakes::Document;

    /// The request for the first point of a document.
    fn write(document: &Document, value: &PointValue) -> Result<Write, String> {
        let sensor = document.sensor();
        let Binding::Modbus { points, .. } = &sensor.content().binding else {
            panic!("a Modbus document")
        };
        Write::of(&points[0], value)
    }

    fn output(table: &str, data_type: &str) -> Document {
        Document::new(1, 502).point_with(table, 7, data_type, &json!({ "writable": true }))
    }

    #[test]
    fn each_value_has_its_function() {
        let cases = [
            ("coil", "bool", PointValue::Bool(true), 5),
            ("holding", "int16", PointValue::Integer(-1), 6),
            ("holding", "uint16", PointValue::Integer(1), 6),
            ("holding", "bool", PointValue::Bool(true), 6),
            ("holding", "string(2)", PointValue::Text("ab".into()), 6),
            ("holding", "string(3)", PointValue::Text("ab".into()), 16),
            ("holding", "uint32", PointValue::Integer(1), 16),
            ("holding", "float32", PointValue::Number(0.5), 16),
            ("holding", "float64", PointValue::Number(0.5), 16),
            ("holding", "int64", PointValue::Integer(1), 16),
            ("holding", "bit(3)", PointValue::Bool(false), 22),
        ];
        for (table, data_type, value, function) in cases {
            let write = write(&output(table, data_type), &value).unwrap();
            assert_eq!(write.function(), function, "{data_type}");
            assert_eq!(write.place().first, 7);
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused_in_words() {
        let one = PointValue::Integer(1);
        let input = Document::new(1, 502).point("input", 7, "int16");
        let refused = write(&input, &one).unwrap_err();
        assert!(
            refused.starts_with("point-0 is in table input, "),
            "{refused}"
        );
        let read_only = Document::new(1, 502).point("holding", 7, "int16");
        let refused = write(&read_only, &one).unwrap_err();
        assert_eq!(refused, "point-0 is not declared writable");
        let refused = write(&output("holding", "int16"), &PointValue::Integer(40_000)).unwrap_err();
        assert_eq!(
            refused,
            "point-0: expected a whole number from -32768 to 32767, found 40000"
        );
        let long = output("holding", "string(248)");
        let refused = write(&long, &PointValue::Text("a".into())).unwrap_err();
        assert!(refused.contains("124 registers"), "{refused}");
        let longest = output("holding", "string(246)");
        assert!(write(&longest, &PointValue::Text("a".into())).is_ok());
    }

    #[test]
    fn only_one_register_has_two_functions() {
        let six = write(&output("holding", "int16"), &PointValue::Integer(5)).unwrap();
        let sixteen = six.with_other_function().unwrap();
        assert_eq!((six.function(), sixteen.function()), (6, 16));
        assert_eq!(sixteen.with_other_function(), Some(six));
        for (table, data_type, value) in [
            ("holding", "int32", PointValue::Integer(5)),
            ("holding", "bit(0)", PointValue::Bool(true)),
            ("coil", "bool", PointValue::Bool(true)),
        ] {
            let write = write(&output(table, data_type), &value).unwrap();
            assert_eq!(write.with_other_function(), None, "{data_type}");
        }
    }
}
