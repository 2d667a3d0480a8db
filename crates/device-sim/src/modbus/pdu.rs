//! Requests: what the bytes of a PDU mean (Application Protocol §6).
//!
//! Checks what can be checked without knowing the instrument: that the function exists and that its
//! quantities and byte counts are right. Whether the addresses are mapped is `bank.rs`.

use super::bank::Table;
use super::codes::{Exception, Function};

/// Adjacent addresses of one table: at least one, all below 65536.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    first: u16,
    quantity: u16,
}

impl Span {
    /// `quantity` addresses from `first` on; none if there are none or they'd go beyond 65535.
    pub(crate) fn new(first: u16, quantity: u16) -> Option<Self> {
        (quantity > 0 && u32::from(first) + u32::from(quantity) <= 0x1_0000)
            .then_some(Self { first, quantity })
    }

    pub(crate) const fn first(self) -> u16 {
        self.first
    }

    pub(crate) const fn last(self) -> u16 {
        self.first + (self.quantity - 1)
    }

    pub(crate) const fn quantity(self) -> u16 {
        self.quantity
    }

    pub(crate) fn addresses(self) -> std::ops::RangeInclusive<u16> {
        self.first..=self.last()
    }
}

/// A request that is right as far as the protocol goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    Read {
        table: Table,
        span: Span,
    },
    /// `packed`: eight coils a byte, the first in the lowest bit.
    WriteCoils {
        span: Span,
        packed: &'a [u8],
    },
    /// `words`: two bytes a register, the high one first.
    WriteRegisters {
        span: Span,
        words: &'a [u8],
    },
    MaskWrite {
        address: u16,
        and_mask: u16,
        or_mask: u16,
    },
    ReadWrite {
        read: Span,
        write: Span,
        words: &'a [u8],
    },
}

/// Reads a request PDU (1 to 253 bytes); an exception is the answer that the protocol wants.
pub(crate) fn parse(pdu: &[u8]) -> Result<Request<'_>, Exception> {
    let (code, body) = pdu
        .split_first()
        .expect("a frame holds at least a function code");
    let function = Function::from_code(*code).ok_or(Exception::IllegalFunction)?;
    match function {
        Function::ReadCoils => read(Table::Coil, body),
        Function::ReadDiscreteInputs => read(Table::Discrete, body),
        Function::ReadHoldingRegisters => read(Table::Holding, body),
        Function::ReadInputRegisters => read(Table::Input, body),
        Function::WriteSingleCoil => {
            let [address, value] = words_of(body)?;
            let packed: &[u8] = match value {
                0x0000 => &[0],
                0xFF00 => &[1],
                _ => return Err(Exception::IllegalDataValue),
            };
            Ok(Request::WriteCoils {
                span: one(address),
                packed,
            })
        }
        Function::WriteSingleRegister => {
            let [address, _] = words_of(body)?;
            Ok(Request::WriteRegisters {
                span: one(address),
                words: &body[2..],
            })
        }
        Function::WriteMultipleCoils => {
            let (span, packed) = span_and_data(body, 1968, |quantity| quantity.div_ceil(8))?;
            Ok(Request::WriteCoils { span, packed })
        }
        Function::WriteMultipleRegisters => {
            let (span, words) = span_and_data(body, 123, |quantity| quantity * 2)?;
            Ok(Request::WriteRegisters { span, words })
        }
        Function::MaskWriteRegister => {
            let [address, and_mask, or_mask] = words_of(body)?;
            Ok(Request::MaskWrite {
                address,
                and_mask,
                or_mask,
            })
        }
        Function::ReadWriteMultipleRegisters => {
            let (read, rest) = body
                .split_at_checked(4)
                .ok_or(Exception::IllegalDataValue)?;
            let [address, quantity] = words_of(read)?;
            let read = checked_span(address, quantity, 125)?;
            let (write, words) = span_and_data(rest, 121, |quantity| quantity * 2)?;
            Ok(Request::ReadWrite { read, write, words })
        }
    }
}

fn read(table: Table, body: &[u8]) -> Result<Request<'_>, Exception> {
    let [address, quantity] = words_of(body)?;
    let limit = if table.holds_bits() { 2000 } else { 125 };
    Ok(Request::Read {
        table,
        span: checked_span(address, quantity, limit)?,
    })
}

fn one(address: u16) -> Span {
    Span::new(address, 1).expect("one address is always a span")
}

/// A quantity out of range is exception 3 before the addresses are looked at (the standard's flow charts).
fn checked_span(address: u16, quantity: u16, limit: u16) -> Result<Span, Exception> {
    if !(1..=limit).contains(&quantity) {
        return Err(Exception::IllegalDataValue);
    }
    Span::new(address, quantity).ok_or(Exception::IllegalDataAddress)
}

/// Address, quantity, byte count, and exactly as many bytes as that.
fn span_and_data(
    body: &[u8],
    limit: u16,
    bytes_for: fn(usize) -> usize,
) -> Result<(Span, &[u8]), Exception> {
    let (head, data) = body
        .split_at_checked(5)
        .ok_or(Exception::IllegalDataValue)?;
    let [address, quantity] = words_of(&head[..4])?;
    let span = checked_span(address, quantity, limit)?;
    if usize::from(head[4]) != data.len() || data.len() != bytes_for(usize::from(quantity)) {
        return Err(Exception::IllegalDataValue);
    }
    Ok((span, data))
}

/// The body as exactly `N` words.
fn words_of<const N: usize>(body: &[u8]) -> Result<[u16; N], Exception> {
    if body.len() != N * 2 {
        return Err(Exception::IllegalDataValue);
    }
    Ok(std::array::from_fn(|i| {
        u16::from_be_bytes([body[2 * i], body[2 * i + 1]])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, proptest};

    #[test]
    fn the_examples_of_the_standard_are_understood() {
        let span = |first, quantity| Span::new(first, quantity).expect("a valid span");
        assert_eq!(
            parse(&[0x01, 0x00, 0x13, 0x00, 0x13]),
            Ok(Request::Read {
                table: Table::Coil,
                span: span(0x13, 0x13)
            })
        );
        assert_eq!(
            parse(&[0x05, 0x00, 0xAC, 0xFF, 0x00]),
            Ok(Request::WriteCoils {
                span: span(0xAC, 1),
                packed: &[1]
            })
        );
        assert_eq!(
            parse(&[0x0F, 0x00, 0x13, 0x00, 0x0A, 0x02, 0xCD, 0x01]),
            Ok(Request::WriteCoils {
                span: span(0x13, 10),
                packed: &[0xCD, 0x01]
            })
        );
        assert_eq!(
            parse(&[0x16, 0x00, 0x04, 0x00, 0xF2, 0x00, 0x25]),
            Ok(Request::MaskWrite {
                address: 4,
                and_mask: 0xF2,
                or_mask: 0x25
            })
        );
        assert_eq!(
            parse(&[
                0x17, 0, 3, 0, 6, 0, 0x0E, 0, 3, 6, 0, 0xFF, 0, 0xFF, 0, 0xFF
            ]),
            Ok(Request::ReadWrite {
                read: span(3, 6),
                write: span(0x0E, 3),
                words: &[0, 0xFF, 0, 0xFF, 0, 0xFF]
            })
        );
    }

    #[test]
    fn limits_and_lengths_are_kept() {
        let code = |pdu: &[u8]| parse(pdu).expect_err("refused");
        assert_eq!(code(&[0x63]), Exception::IllegalFunction);
        assert_eq!(
            code(&[0x03, 0, 0, 0, 0]),
            Exception::IllegalDataValue,
            "none"
        );
        assert_eq!(
            code(&[0x03, 0, 0, 0, 126]),
            Exception::IllegalDataValue,
            "126 registers"
        );
        assert_eq!(
            code(&[0x01, 0, 0, 0x07, 0xD1]),
            Exception::IllegalDataValue,
            "2001 coils"
        );
        assert_eq!(
            code(&[0x03, 0xFF, 0xFF, 0, 2]),
            Exception::IllegalDataAddress,
            "beyond 65535"
        );
        assert_eq!(
            code(&[0x05, 0, 0, 0x12, 0x34]),
            Exception::IllegalDataValue,
            "neither on nor off"
        );
        assert_eq!(
            code(&[0x10, 0, 0, 0, 1, 2, 0]),
            Exception::IllegalDataValue,
            "a byte is missing"
        );
        assert_eq!(
            code(&[0x10, 0, 0, 0, 2, 2, 0, 1]),
            Exception::IllegalDataValue,
            "byte count of one register"
        );
        assert!(
            parse(&[0x03, 0xFF, 0xFF, 0, 1]).is_ok(),
            "the last register"
        );
    }

    proptest! {
        #[test]
        fn no_pdu_makes_it_panic(pdu in prop::collection::vec(any::<u8>(), 1..=253)) {
            let _ = parse(&pdu);
        }
    }
}
