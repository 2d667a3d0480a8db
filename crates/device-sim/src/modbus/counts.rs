//! What arrived at an instrument, counted. A test's answer to "how many writes?".
//!
//! A request is counted before its answer is sent: who has the answer finds it in the counters.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::Duration;

use super::codes::Function;

/// How many of the latest requests an instrument remembers one by one; older ones are counted only.
const JOURNAL_LEN: usize = 4096;

/// Counters of the whole instrument. All but `connections_open` only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// TCP connections accepted, including those that were turned away at the limit.
    pub connections_accepted: u64,
    /// TCP connections turned away because as many as allowed were open.
    pub connections_refused: u64,
    /// TCP connections open now.
    pub connections_open: u64,
    /// Requests that arrived, answered or not.
    pub requests: u64,
    /// Those of them that want to write, carried out or not.
    pub write_requests: u64,
    /// Requests that earned an exception.
    pub exceptions: u64,
    /// Connections closed because what came was no Modbus TCP.
    pub malformed: u64,
}

/// Counters of one unit id, whether there is such a unit or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnitCounts {
    /// Requests by function code, also codes that are no [`Function`].
    pub requests_by_code: BTreeMap<u8, u64>,
    /// Requests that earned an exception.
    pub exceptions: u64,
}

impl UnitCounts {
    /// Requests of one function.
    #[must_use]
    pub fn requests_of(&self, function: Function) -> u64 {
        self.requests_by_code
            .get(&function.code())
            .copied()
            .unwrap_or(0)
    }

    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests_by_code.values().sum()
    }

    /// The requests that want to write, carried out or not.
    #[must_use]
    pub fn write_requests(&self) -> u64 {
        Function::ALL
            .into_iter()
            .filter(|function| function.writes())
            .map(|function| self.requests_of(function))
            .sum()
    }
}

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestRecord {
    /// The instrument's clock when it arrived.
    pub at: Duration,
    /// Which connection it came on; 1 is the first that was accepted.
    pub connection: u64,
    /// The unit id.
    pub unit: u8,
    /// Function code and data.
    pub pdu: Vec<u8>,
}

impl RequestRecord {
    /// The function; none if it is unknown.
    #[must_use]
    pub fn function(&self) -> Option<Function> {
        self.pdu.first().and_then(|code| Function::from_code(*code))
    }

    /// The first address that is read or written (for function 23: read); none if the function is unknown.
    #[must_use]
    pub fn address(&self) -> Option<u16> {
        self.function().and_then(|_| self.word(1))
    }

    /// How many addresses are read or written (for function 23: read); none if the function is unknown.
    #[must_use]
    pub fn quantity(&self) -> Option<u16> {
        match self.function()? {
            Function::WriteSingleCoil
            | Function::WriteSingleRegister
            | Function::MaskWriteRegister => Some(1),
            Function::ReadCoils
            | Function::ReadDiscreteInputs
            | Function::ReadHoldingRegisters
            | Function::ReadInputRegisters
            | Function::WriteMultipleCoils
            | Function::WriteMultipleRegisters
            | Function::ReadWriteMultipleRegisters => self.word(3),
        }
    }

    fn word(&self, at: usize) -> Option<u16> {
        Some(u16::from_be_bytes([
            *self.pdu.get(at)?,
            *self.pdu.get(at + 1)?,
        ]))
    }
}

/// The counters that live beside the units.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) totals: Totals,
    pub(super) units: BTreeMap<u8, UnitCounts>,
    journal: VecDeque<RequestRecord>,
}

impl Counts {
    pub(super) fn arrived(&mut self, record: RequestRecord) {
        let code = *record
            .pdu
            .first()
            .expect("a frame holds at least a function code");
        self.totals.requests += 1;
        self.totals.write_requests +=
            u64::from(Function::from_code(code).is_some_and(Function::writes));
        *self
            .units
            .entry(record.unit)
            .or_default()
            .requests_by_code
            .entry(code)
            .or_default() += 1;
        if self.journal.len() == JOURNAL_LEN {
            self.journal.pop_front();
        }
        self.journal.push_back(record);
    }

    pub(super) fn earned_exception(&mut self, unit: u8) {
        self.totals.exceptions += 1;
        self.units.entry(unit).or_default().exceptions += 1;
    }

    pub(super) fn take_journal(&mut self) -> Vec<RequestRecord> {
        self.journal.drain(..).collect()
    }
}
