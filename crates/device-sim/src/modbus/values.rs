//! The values of a running instrument, seen and changed from the inside: nothing here is counted.

use super::bank::Table;
use super::encoding::Encoding;
use super::instrument::ModbusInstrument;
use super::pdu::Span;
use super::unit::Unit;

/// A value was asked for or set at an address that the unit does not map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unit {unit} maps nothing at {table:?} {address}; map it when the unit is built")]
pub struct NotMapped {
    /// The unit id.
    pub unit: u8,
    /// The table.
    pub table: Table,
    /// The first address that is missing.
    pub address: u16,
}

/// The values, from the inside: nothing here is counted.
impl ModbusInstrument {
    /// Adds a unit, or replaces it, its values and the counters of its addresses.
    pub fn put_unit(&self, id: u8, unit: Unit) {
        self.shared.lock().units.insert(id, unit);
    }

    /// Takes a unit away; false if there was none.
    pub fn remove_unit(&self, id: u8) -> bool {
        self.shared.lock().units.remove(&id).is_some()
    }

    /// The value that lies at `address` now.
    ///
    /// # Errors
    /// An address is not mapped. Panics if `table` holds bits.
    pub fn value(
        &self,
        unit: u8,
        table: Table,
        address: u16,
        encoding: &Encoding,
    ) -> Result<f64, NotMapped> {
        Ok(encoding.decode(&self.registers(unit, table, address, encoding.registers())?))
    }

    /// Puts a value at `address`; a signal there stops.
    ///
    /// # Errors
    /// An address is not mapped, and nothing is changed. Panics if `table` holds bits.
    pub fn set_value(
        &self,
        unit: u8,
        table: Table,
        address: u16,
        encoding: &Encoding,
        value: f64,
    ) -> Result<(), NotMapped> {
        self.set_registers(unit, table, address, &encoding.encode(value))
    }

    /// The registers from `first` on. Panics if `table` holds bits or for a quantity of 0.
    ///
    /// # Errors
    /// An address is not mapped.
    pub fn registers(
        &self,
        unit: u8,
        table: Table,
        first: u16,
        quantity: u16,
    ) -> Result<Vec<u16>, NotMapped> {
        let span = span_of(first, quantity);
        let mut state = self.shared.lock();
        let elapsed = state.clock.elapsed();
        let found = state.units.get_mut(&unit).ok_or(NotMapped {
            unit,
            table,
            address: first,
        })?;
        found.move_registers(table, span, elapsed);
        let cells = found.registers_mut(table);
        let register = |address| {
            cells.get(address).ok_or(NotMapped {
                unit,
                table,
                address,
            })
        };
        span.addresses().map(register).collect()
    }

    /// Puts registers from `first` on; signals there stop. Panics if `table` holds bits or without values.
    ///
    /// # Errors
    /// An address is not mapped, and nothing is changed.
    pub fn set_registers(
        &self,
        unit: u8,
        table: Table,
        first: u16,
        values: &[u16],
    ) -> Result<(), NotMapped> {
        let quantity = u16::try_from(values.len()).expect("at most 65535 registers at a time");
        let span = span_of(first, quantity);
        let mut state = self.shared.lock();
        let found = state.units.get_mut(&unit).ok_or(NotMapped {
            unit,
            table,
            address: first,
        })?;
        let cells = found.registers_mut(table);
        if let Some(address) = span
            .addresses()
            .find(|address| cells.get(*address).is_none())
        {
            return Err(NotMapped {
                unit,
                table,
                address,
            });
        }
        found.stop_moving(table, first, values.len());
        for (address, value) in span.addresses().zip(values) {
            found.registers_mut(table).set(address, *value);
        }
        Ok(())
    }

    /// The bit at `address` now. Panics if `table` holds registers.
    ///
    /// # Errors
    /// The address is not mapped.
    pub fn bit(&self, unit: u8, table: Table, address: u16) -> Result<bool, NotMapped> {
        let mut state = self.shared.lock();
        let elapsed = state.clock.elapsed();
        let missing = NotMapped {
            unit,
            table,
            address,
        };
        let found = state.units.get_mut(&unit).ok_or(missing)?;
        found.move_bits(table, span_of(address, 1), elapsed);
        found.bits_mut(table).get(address).ok_or(missing)
    }

    /// Puts a bit; a signal there stops. Panics if `table` holds registers.
    ///
    /// # Errors
    /// The address is not mapped.
    pub fn set_bit(&self, unit: u8, table: Table, address: u16, on: bool) -> Result<(), NotMapped> {
        let mut state = self.shared.lock();
        let missing = NotMapped {
            unit,
            table,
            address,
        };
        let found = state.units.get_mut(&unit).ok_or(missing)?;
        if !found.bits_mut(table).set(address, on) {
            return Err(missing);
        }
        found.stop_moving(table, address, 1);
        Ok(())
    }

    /// Every value as the unit was built with it, as after a restart of an instrument that forgets. With
    /// [`ModbusInstrument::unplug`] and [`ModbusInstrument::plug`] around it, a power cycle.
    pub fn restore_factory_values(&self) {
        self.shared
            .lock()
            .units
            .values_mut()
            .for_each(Unit::restore_factory_values);
    }
}

fn span_of(first: u16, quantity: u16) -> Span {
    Span::new(first, quantity).expect("one to 65535 addresses, none beyond 65535")
}
