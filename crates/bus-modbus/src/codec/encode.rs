//! Values to registers: the mirror of the decoder. What stands in the registers for a value, and whether it can stand
//! there at all, is the domain's [`Address::to_raw`]; here it is cut into words, in the instrument's orders.

use holdfast_domain::PointValue;
use holdfast_domain::hold::NotRepresentable;
use holdfast_domain::protocol::modbus::{Address, DataType, Order, Raw};

/// Turns the value of one point into what its registers must hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encoder<'a> {
    address: &'a Address,
}

/// What must stand at a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Encoded {
    /// A bit of a bit table.
    Coil(bool),
    /// Whole registers.
    Words(Vec<u16>),
    /// One bit of a register, whose other bits belong to others.
    Bit {
        /// The bit, where the instrument has it.
        mask: u16,
        on: bool,
    },
}

impl<'a> Encoder<'a> {
    pub(crate) const fn new(address: &'a Address) -> Self {
        Self { address }
    }

    /// What must stand there for `value`.
    ///
    /// # Errors
    /// Says what the point can hold, if not this.
    pub(crate) fn encode(self, value: &PointValue) -> Result<Encoded, NotRepresentable> {
        let Address {
            table, data_type, ..
        } = *self.address;
        Ok(match (self.address.to_raw(value)?, data_type) {
            (Raw::Bit(on), _) if table.is_bits() => Encoded::Coil(on),
            (Raw::Bit(on), DataType::Bit(bit)) => Encoded::Bit {
                mask: self.word(1 << bit),
                on,
            },
            // A register that is not 0: 1, as everybody writes it.
            (Raw::Bit(on), _) => Encoded::Words(self.words(&u16::from(on).to_be_bytes())),
            (Raw::Bits(bits), _) => {
                let bytes = bits.to_be_bytes();
                let used = usize::from(data_type.registers()) * 2;
                Encoded::Words(self.words(&bytes[bytes.len() - used..]))
            }
            // All registers of the point are written, filled up with zeros: what a longer text left must not stay.
            (Raw::Text(text), _) => {
                let mut bytes = text.into_bytes();
                bytes.resize(usize::from(data_type.registers()) * 2, 0);
                Encoded::Words(self.words(&bytes))
            }
        })
    }

    /// Bytes, the most significant first, as registers.
    fn words(self, bytes: &[u8]) -> Vec<u16> {
        let pairs = bytes.chunks_exact(2);
        let mut words: Vec<u16> = pairs
            .map(|pair| self.word(u16::from_be_bytes([pair[0], pair[1]])))
            .collect();
        if self.address.word_order == Order::Little {
            words.reverse();
        }
        words
    }

    fn word(self, word: u16) -> u16 {
        match self.address.byte_order {
            Order::Big => word,
            Order::Little => word.swap_bytes(),
        }
    }
}
