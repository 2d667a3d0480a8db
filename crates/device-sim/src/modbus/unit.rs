//! One Modbus unit: its tables, the signals that move in them, and how it carries out a request.
//!
//! Faults reach it as plain arguments (`state.rs` decides which apply); it knows no sockets.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bank::{Cells, Table};
use super::codes::Exception;
use super::encoding::Encoding;
use super::faults::WriteRule;
use super::pdu::{Request, Span};
use crate::signal::Signal;

/// A value that is worked out when it is read.
#[derive(Clone, Copy, Debug)]
struct LiveRegister {
    encoding: Encoding,
    signal: Signal,
}

/// A unit under construction, and then at work.
///
/// Addresses count from 0, as on the wire. What is not mapped answers exception 2. Mapping an address again
/// replaces what was there; a moving value that loses a register stands still. Each builder step panics if it would go beyond address 65535.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    coils: Cells<bool>,
    discrete: Cells<bool>,
    input: Cells<u16>,
    holding: Cells<u16>,
    live_registers: BTreeMap<(Table, u16), LiveRegister>,
    live_bits: BTreeMap<(Table, u16), Signal>,
}

impl Unit {
    /// A unit with nothing mapped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Maps coils from `first` on.
    #[must_use]
    pub fn coils(mut self, first: u16, values: &[bool]) -> Self {
        self.map_bits(Table::Coil, first, values);
        self
    }

    /// Maps discrete inputs from `first` on.
    #[must_use]
    pub fn discrete_inputs(mut self, first: u16, values: &[bool]) -> Self {
        self.map_bits(Table::Discrete, first, values);
        self
    }

    /// Maps input registers from `first` on.
    #[must_use]
    pub fn input_registers(mut self, first: u16, values: &[u16]) -> Self {
        self.map_registers(Table::Input, first, values);
        self
    }

    /// Maps holding registers from `first` on.
    #[must_use]
    pub fn holding_registers(mut self, first: u16, values: &[u16]) -> Self {
        self.map_registers(Table::Holding, first, values);
        self
    }

    /// Maps the registers of one encoded value. Panics if `table` holds bits.
    #[must_use]
    pub fn value(mut self, table: Table, address: u16, encoding: Encoding, value: f64) -> Self {
        self.map_registers(table, address, &encoding.encode(value));
        self
    }

    /// Maps the registers of a moving value. A client's write to it lasts until the next read. Panics if
    /// `table` holds bits.
    #[must_use]
    pub fn signal(
        mut self,
        table: Table,
        address: u16,
        encoding: Encoding,
        signal: Signal,
    ) -> Self {
        self.map_registers(
            table,
            address,
            &encoding.encode(signal.value_at(Duration::ZERO)),
        );
        self.live_registers
            .insert((table, address), LiveRegister { encoding, signal });
        self
    }

    /// Maps a moving bit: on while the signal is at least 0.5. Panics if `table` holds registers.
    #[must_use]
    pub fn bit_signal(mut self, table: Table, address: u16, signal: Signal) -> Self {
        self.map_bits(table, address, &[is_on(signal, Duration::ZERO)]);
        self.live_bits.insert((table, address), signal);
        self
    }

    fn map_registers(&mut self, table: Table, first: u16, values: &[u16]) {
        map_all(self.registers_mut(table), first, values);
        self.stop_moving(table, first, values.len());
    }

    fn map_bits(&mut self, table: Table, first: u16, values: &[bool]) {
        map_all(self.bits_mut(table), first, values);
        self.stop_moving(table, first, values.len());
    }

    /// Carries out a client's request at `elapsed` and appends the data of the answer (what follows the
    /// function code) to `answer`; for writes `echo` is the request's own data.
    pub(crate) fn carry_out(
        &mut self,
        request: Request<'_>,
        echo: &[u8],
        write_rule: &WriteRule,
        elapsed: Duration,
        answer: &mut Vec<u8>,
    ) -> Result<(), Exception> {
        match request {
            Request::Read { table, span } if table.holds_bits() => {
                self.read_bits(table, span, elapsed, answer)
            }
            Request::Read { table, span } => self.read_registers(table, span, elapsed, answer),
            Request::WriteCoils { span, packed } => {
                self.coils.write(span, |i, _| {
                    write_rule.bit(packed[i / 8] >> (i % 8) & 1 == 1)
                })?;
                answer.extend_from_slice(&echo[..4]);
                Ok(())
            }
            Request::WriteRegisters { span, words } => {
                self.holding
                    .write(span, |i, _| write_rule.register(word_at(words, i)))?;
                answer.extend_from_slice(&echo[..4]);
                Ok(())
            }
            Request::MaskWrite {
                address,
                and_mask,
                or_mask,
            } => {
                self.move_registers(Table::Holding, one(address), elapsed);
                self.holding.write(one(address), |_, now| {
                    write_rule.register(now & and_mask | or_mask & !and_mask)
                })?;
                answer.extend_from_slice(echo);
                Ok(())
            }
            Request::ReadWrite { read, write, words } => {
                self.holding.check(read)?;
                self.holding
                    .write(write, |i, _| write_rule.register(word_at(words, i)))?;
                self.read_registers(Table::Holding, read, elapsed, answer)
            }
        }
    }

    fn read_registers(
        &mut self,
        table: Table,
        span: Span,
        elapsed: Duration,
        answer: &mut Vec<u8>,
    ) -> Result<(), Exception> {
        self.move_registers(table, span, elapsed);
        let cells = self.registers_mut(table);
        cells.check(span)?;
        answer.push(u8::try_from(span.quantity() * 2).expect("at most 125 registers"));
        cells.read(span, |word| answer.extend_from_slice(&word.to_be_bytes()))
    }

    fn read_bits(
        &mut self,
        table: Table,
        span: Span,
        elapsed: Duration,
        answer: &mut Vec<u8>,
    ) -> Result<(), Exception> {
        self.move_bits(table, span, elapsed);
        let cells = self.bits_mut(table);
        cells.check(span)?;
        let byte_count = span.quantity().div_ceil(8);
        answer.push(u8::try_from(byte_count).expect("at most 2000 bits"));
        let start = answer.len();
        answer.resize(start + usize::from(byte_count), 0);
        let mut position = 0;
        cells.read(span, |on| {
            answer[start + position / 8] |= u8::from(on) << (position % 8);
            position += 1;
        })
    }

    /// Brings the moving values that lie in `span`, also in part, up to date.
    pub(crate) fn move_registers(&mut self, table: Table, span: Span, elapsed: Duration) {
        for (address, LiveRegister { encoding, signal }) in
            self.live_in(table, span.first(), span.last())
        {
            for (i, word) in (0..).zip(encoding.encode(signal.value_at(elapsed))) {
                self.registers_mut(table).set(address + i, word);
            }
        }
    }

    /// Brings the moving bits that lie in `span` up to date.
    pub(crate) fn move_bits(&mut self, table: Table, span: Span, elapsed: Duration) {
        let Self {
            coils,
            discrete,
            live_bits,
            ..
        } = self;
        let cells = if table == Table::Coil {
            coils
        } else {
            discrete
        };
        for (&(_, address), &signal) in
            live_bits.range((table, span.first())..=(table, span.last()))
        {
            cells.set(address, is_on(signal, elapsed));
        }
    }

    /// The moving values that share a register with `first` to `last`.
    fn live_in(&self, table: Table, first: u16, last: u16) -> Vec<(u16, LiveRegister)> {
        let earliest = first.saturating_sub(3);
        self.live_registers
            .range((table, earliest)..=(table, last))
            .filter(|((_, address), live)| address + (live.encoding.registers() - 1) >= first)
            .map(|(&(_, address), &live)| (address, live))
            .collect()
    }

    /// Stops the moving values that share an address with the `count` from `first` on: they keep what they
    /// show.
    pub(crate) fn stop_moving(&mut self, table: Table, first: u16, count: usize) {
        let Some(beyond_first) = count.checked_sub(1) else {
            return;
        };
        let last = u16::try_from(usize::from(first) + beyond_first).expect("a mapped address");
        for (address, _) in self.live_in(table, first, last) {
            self.live_registers.remove(&(table, address));
        }
        self.live_bits
            .retain(|&(of, address), _| of != table || !(first..=last).contains(&address));
    }

    pub(crate) fn restore_factory_values(&mut self) {
        let Self {
            coils,
            discrete,
            input,
            holding,
            live_registers: _,
            live_bits: _,
        } = self;
        coils.restore_factory_values();
        discrete.restore_factory_values();
        input.restore_factory_values();
        holding.restore_factory_values();
    }

    /// How often clients read and wrote an address; none if it isn't mapped.
    pub(crate) fn reads_and_writes(&self, table: Table, address: u16) -> Option<(u64, u64)> {
        match table {
            Table::Coil => self.coils.reads(address).zip(self.coils.writes(address)),
            Table::Discrete => self
                .discrete
                .reads(address)
                .zip(self.discrete.writes(address)),
            Table::Input => self.input.reads(address).zip(self.input.writes(address)),
            Table::Holding => self
                .holding
                .reads(address)
                .zip(self.holding.writes(address)),
        }
    }

    /// Panics if `table` holds bits.
    pub(crate) fn registers_mut(&mut self, table: Table) -> &mut Cells<u16> {
        match table {
            Table::Input => &mut self.input,
            Table::Holding => &mut self.holding,
            Table::Coil | Table::Discrete => panic!("{table:?} holds bits, not registers"),
        }
    }

    /// Panics if `table` holds registers.
    pub(crate) fn bits_mut(&mut self, table: Table) -> &mut Cells<bool> {
        match table {
            Table::Coil => &mut self.coils,
            Table::Discrete => &mut self.discrete,
            Table::Input | Table::Holding => panic!("{table:?} holds registers, not bits"),
        }
    }
}

fn map_all<T: Copy>(cells: &mut Cells<T>, first: u16, values: &[T]) {
    for (i, value) in values.iter().enumerate() {
        let address =
            u16::try_from(usize::from(first) + i).expect("a Modbus address is at most 65535");
        cells.map(address, *value);
    }
}

fn is_on(signal: Signal, elapsed: Duration) -> bool {
    signal.value_at(elapsed) >= 0.5
}

fn one(address: u16) -> Span {
    Span::new(address, 1).expect("one address is always a span")
}

fn word_at(words: &[u8], position: usize) -> u16 {
    u16::from_be_bytes([words[2 * position], words[2 * position + 1]])
}
