//! Frames of Modbus RTU (Modbus over Serial Line V1.02, section 2.5.1): unit, PDU and CRC, and how they are found in what
//! a line gives.
//!
//! Where a frame ends is known from its function and its count of bytes, never from a pause: between here and the line
//! are drivers and adapters that deliver in pieces of their own. So a pause may fall anywhere, noise may stand before a
//! frame, and only the CRC says what is one.

use crc::{CRC_16_MODBUS, Crc};

/// The longest frame: 253 bytes of PDU with unit and CRC.
pub(super) const LONGEST: usize = 256;

const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);

/// Bytes that are kept while no frame is found in them: a whole one may stand behind as much noise.
const KEPT: usize = 2 * LONGEST;

/// An answer with the right CRC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) unit: u8,
    /// Function code and data.
    pub(super) pdu: Vec<u8>,
}

/// What the answer that is waited for looks like, if it is no exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Awaited {
    pub(super) unit: u8,
    pub(super) function: u8,
    /// The count of bytes that it states, if it states one.
    pub(super) count: Option<u8>,
    /// How many bytes its frame has.
    pub(super) len: usize,
}

impl Awaited {
    /// May it begin like this? Two bytes at least.
    fn may_begin(&self, bytes: &[u8]) -> bool {
        let Some((unit, function)) = bytes.first().zip(bytes.get(1)) else {
            return false;
        };
        let counts = |count: u8| bytes.get(2).is_none_or(|found| *found == count);
        *unit == self.unit
            && (*function == self.function | EXCEPTION
                || *function == self.function && self.count.is_none_or(counts))
    }
}

/// The bit that makes the code of a function that of an exception to it.
pub(super) const EXCEPTION: u8 = 0x80;

/// The bytes of a frame.
pub(super) fn encode(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(pdu.len() + 3);
    bytes.push(unit);
    bytes.extend_from_slice(pdu);
    assert!(bytes.len() + 2 <= LONGEST, "a PDU has at most 253 bytes");
    // The only number of the protocol that goes low byte first.
    let crc = CRC.checksum(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// How long an answer is.
#[derive(Debug, PartialEq, Eq)]
enum Length {
    Of(usize),
    /// The next byte or two will say.
    Open,
    /// Nothing begins so.
    No,
}

/// How long the answer is that begins with these bytes.
fn length(bytes: &[u8]) -> Length {
    let [_, function, ..] = bytes else {
        return Length::Open;
    };
    match function {
        1..=4 | 23 => match bytes.get(2) {
            None => Length::Open,
            Some(count) if usize::from(*count) + 5 <= LONGEST => {
                Length::Of(usize::from(*count) + 5)
            }
            Some(_) => Length::No,
        },
        5 | 6 | 15 | 16 => Length::Of(8),
        22 => Length::Of(10),
        // An exception: its code, and nothing else.
        0x81..=0x86 | 0x8F | 0x90 | 0x96 | 0x97 => Length::Of(5),
        _ => Length::No,
    }
}

/// Is this a whole frame, CRC and all?
fn is_sound(bytes: &[u8]) -> bool {
    let Some((body, crc)) = bytes.split_last_chunk::<2>() else {
        return false;
    };
    CRC.checksum(body) == u16::from_le_bytes(*crc)
}

/// What the line gave and was not yet made sense of.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Does it begin with all of `bytes`? None: as far as it goes.
    pub(super) fn begins_with(&self, bytes: &[u8]) -> Option<bool> {
        let len = bytes.len().min(self.bytes.len());
        let is_alike = self.bytes[..len] == bytes[..len];
        (!is_alike || len == bytes.len()).then_some(is_alike)
    }

    /// Drops the first bytes.
    pub(super) fn skip(&mut self, count: usize) {
        self.bytes.drain(..count.min(self.bytes.len()));
    }

    /// Takes out the first frame with a right CRC, and drops what stands before it. A beginning of what is awaited holds
    /// back what stands behind it until it is whole, so that no answer is cut out of the data of another; unless nothing
    /// more will come.
    pub(super) fn take(&mut self, awaited: Option<&Awaited>, is_over: bool) -> Option<Frame> {
        let mut found = None;
        for start in 0..self.bytes.len() {
            let rest = &self.bytes[start..];
            match length(rest) {
                Length::Open => break,
                Length::No => {}
                Length::Of(len) if len <= rest.len() => {
                    if is_sound(&rest[..len]) {
                        found = Some(start..start + len);
                        break;
                    }
                }
                Length::Of(_) => {
                    if !is_over && awaited.is_some_and(|awaited| awaited.may_begin(rest)) {
                        break;
                    }
                }
            }
        }
        let Some(found) = found else {
            let too_many = self.bytes.len().saturating_sub(KEPT);
            self.bytes.drain(..too_many);
            return None;
        };
        let frame = &self.bytes[found.clone()];
        let frame = Frame {
            unit: frame[0],
            pdu: frame[1..frame.len() - 2].to_vec(),
        };
        self.bytes.drain(..found.end);
        Some(frame)
    }

    /// Is what is awaited there in full length, with a wrong CRC?
    pub(super) fn holds_damaged(&self, awaited: &Awaited) -> bool {
        let mut windows = self.bytes.windows(awaited.len);
        windows.any(|bytes| {
            awaited.may_begin(bytes) && bytes[1] == awaited.function && !is_sound(bytes)
        })
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
