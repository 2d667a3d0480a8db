//! The four tables of an instrument (Application Protocol §4.3), each as sparse as real ones are.
//!
//! Every mapped address keeps its value, its factory value, and how often it was read and written. What an
//! address means is `unit.rs`.

use std::collections::BTreeMap;

use super::codes::Exception;
use super::pdu::Span;

/// One of the four tables that every Modbus instrument has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Bits that can be read and written.
    Coil,
    /// Bits that can be read.
    Discrete,
    /// Registers that can be read.
    Input,
    /// Registers that can be read and written.
    Holding,
}

impl Table {
    /// Whether the table holds bits (else 16-bit registers).
    #[must_use]
    pub const fn holds_bits(self) -> bool {
        match self {
            Self::Coil | Self::Discrete => true,
            Self::Input | Self::Holding => false,
        }
    }
}

/// What becomes of an address that was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken<T> {
    /// It stays as it is.
    Not,
    /// It becomes this.
    Now(T),
    /// It becomes this after so many more reads.
    After(T, u64),
    /// It becomes this, and can't be read any more.
    Hidden(T),
}

/// One mapped address.
#[derive(Clone, Copy, Debug)]
struct Cell<T> {
    value: T,
    /// A value that was written, and the reads that it comes after.
    coming: Option<(T, u64)>,
    /// Reading it earns an exception.
    hidden: bool,
    factory: T,
    reads: u64,
    writes: u64,
}

/// The mapped addresses of one table.
#[derive(Clone, Debug)]
pub(crate) struct Cells<T> {
    cells: BTreeMap<u16, Cell<T>>,
}

impl<T> Default for Cells<T> {
    fn default() -> Self {
        Self {
            cells: BTreeMap::new(),
        }
    }
}

impl<T: Copy> Cells<T> {
    /// Maps `address`; its counters start again.
    pub(crate) fn map(&mut self, address: u16, value: T) {
        self.cells.insert(
            address,
            Cell {
                value,
                coming: None,
                hidden: false,
                factory: value,
                reads: 0,
                writes: 0,
            },
        );
    }

    /// Changes a mapped value from the inside (not counted). False if the address is not mapped.
    pub(crate) fn set(&mut self, address: u16, value: T) -> bool {
        self.cells
            .get_mut(&address)
            .map(|cell| (cell.value, cell.coming) = (value, None))
            .is_some()
    }

    /// A value seen from the inside (not counted).
    pub(crate) fn get(&self, address: u16) -> Option<T> {
        self.cells.get(&address).map(|cell| cell.value)
    }

    pub(crate) fn reads(&self, address: u16) -> Option<u64> {
        self.cells.get(&address).map(|cell| cell.reads)
    }

    pub(crate) fn writes(&self, address: u16) -> Option<u64> {
        self.cells.get(&address).map(|cell| cell.writes)
    }

    /// Refuses a span with an address that is not mapped.
    pub(crate) fn check(&self, span: Span) -> Result<(), Exception> {
        if self.cells.range(span.addresses()).count() == usize::from(span.quantity()) {
            Ok(())
        } else {
            Err(Exception::IllegalDataAddress)
        }
    }

    /// Reads for a client: all of the span or nothing, counted.
    pub(crate) fn read(&mut self, span: Span, mut each: impl FnMut(T)) -> Result<(), Exception> {
        self.check(span)?;
        let mut cells = self.cells.range(span.addresses());
        if cells.any(|(_, cell)| cell.hidden) {
            return Err(Exception::ServerDeviceFailure);
        }
        for (_, cell) in self.cells.range_mut(span.addresses()) {
            cell.reads += 1;
            cell.coming = match cell.coming.take() {
                Some((value, 0)) => {
                    cell.value = value;
                    None
                }
                coming => coming.map(|(value, left)| (value, left - 1)),
            };
            each(cell.value);
        }
        Ok(())
    }

    /// Writes for a client: all of the span or nothing, counted. `new` says what becomes of the
    /// position in the span and the value there now (it is a counted write in any case).
    pub(crate) fn write(
        &mut self,
        span: Span,
        mut new: impl FnMut(usize, T) -> Taken<T>,
    ) -> Result<(), Exception> {
        self.check(span)?;
        for (position, (_, cell)) in self.cells.range_mut(span.addresses()).enumerate() {
            cell.writes += 1;
            match new(position, cell.value) {
                Taken::Not => {}
                Taken::Now(value) => (cell.value, cell.coming) = (value, None),
                Taken::After(value, reads) => cell.coming = Some((value, reads)),
                Taken::Hidden(value) => (cell.value, cell.hidden) = (value, true),
            }
        }
        Ok(())
    }

    /// Every value as it left the factory; counters go on.
    pub(crate) fn restore_factory_values(&mut self) {
        for cell in self.cells.values_mut() {
            (cell.value, cell.coming, cell.hidden) = (cell.factory, None, false);
        }
    }
}
