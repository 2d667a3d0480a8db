//! The frame of Modbus TCP: the MBAP header and the PDU behind it (Messaging Guide §3.1.3).
//!
//! Synchronous, over byte buffers; what a PDU means is `pdu.rs`, and the other framing `rtu.rs`.

use bytes::{Buf, BytesMut};

use super::rtu;

/// Length of the MBAP header: transaction id, protocol id, length (2 bytes each), unit id (1).
const HEADER_LEN: usize = 7;

/// The longest PDU (Application Protocol §4.1).
const MAX_PDU_LEN: usize = 253;

/// The protocol id of Modbus.
const PROTOCOL_ID: u16 = 0;

/// One request or answer as it goes over TCP.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) transaction_id: u16,
    pub(crate) unit: u8,
    /// Function code and data: 1 to 253 bytes.
    pub(crate) pdu: BytesMut,
}

/// The bytes are no Modbus TCP: where the next frame starts can't be known.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("protocol id {0} in the MBAP header, expected 0")]
    ProtocolId(u16),
    #[error("length {0} in the MBAP header, expected 2 to 254 (unit id and PDU)")]
    Length(u16),
}

/// How requests and answers are framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Modbus TCP.
    #[default]
    Tcp,
    /// RTU, as on a serial line.
    Rtu,
}

impl Framing {
    pub(crate) fn take(self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        match self {
            Self::Tcp => take_frame(buffer),
            Self::Rtu => Ok(rtu::take_frame(buffer)),
        }
    }

    /// The bytes of one frame; RTU carries no transaction id.
    pub(crate) fn encode(self, transaction_id: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
        match self {
            Self::Tcp => encode_frame(transaction_id, unit, pdu),
            Self::Rtu => rtu::encode_frame(unit, pdu),
        }
    }
}

/// Takes the first whole frame out of `buffer`; `None` while more bytes are needed.
pub(crate) fn take_frame(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    if buffer.len() < HEADER_LEN {
        return Ok(None);
    }
    let word = |at: usize| u16::from_be_bytes([buffer[at], buffer[at + 1]]);
    let (transaction_id, protocol_id, length, unit) = (word(0), word(2), word(4), buffer[6]);
    if protocol_id != PROTOCOL_ID {
        return Err(FrameError::ProtocolId(protocol_id));
    }
    let pdu_len = usize::from(length).wrapping_sub(1);
    if !(1..=MAX_PDU_LEN).contains(&pdu_len) {
        return Err(FrameError::Length(length));
    }
    if buffer.len() < HEADER_LEN + pdu_len {
        return Ok(None);
    }
    buffer.advance(HEADER_LEN);
    Ok(Some(Frame {
        transaction_id,
        unit,
        pdu: buffer.split_to(pdu_len),
    }))
}

/// The bytes of one frame.
pub(crate) fn encode_frame(transaction_id: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    assert!(
        (1..=MAX_PDU_LEN).contains(&pdu.len()),
        "a PDU has 1 to 253 bytes, not {}",
        pdu.len()
    );
    let length = u16::try_from(pdu.len() + 1).expect("at most 254");
    let mut bytes = Vec::with_capacity(HEADER_LEN + pdu.len());
    for word in [transaction_id, PROTOCOL_ID, length] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.push(unit);
    bytes.extend_from_slice(pdu);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    #[test]
    fn the_header_is_the_one_of_the_messaging_guide() {
        let bytes = encode_frame(0x1501, 0xFF, &[0x03, 0x00, 0x04, 0x00, 0x01]);
        assert_eq!(
            bytes,
            [0x15, 0x01, 0, 0, 0, 6, 0xFF, 0x03, 0x00, 0x04, 0x00, 0x01]
        );
    }

    #[test]
    fn what_cannot_be_modbus_is_refused_at_the_header() {
        let take = |bytes: [u8; 8]| take_frame(&mut BytesMut::from(&bytes[..]));
        assert_eq!(
            take([0, 1, 0, 7, 0, 2, 1, 3]),
            Err(FrameError::ProtocolId(7))
        );
        for length in [0_u8, 1, 255] {
            assert_eq!(
                take([0, 1, 0, 0, 0, length, 1, 3]),
                Err(FrameError::Length(u16::from(length)))
            );
        }
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting_of_the_stream(
            frames in prop::collection::vec((any::<u16>(), any::<u8>(), prop::collection::vec(any::<u8>(), 1..=253)), 1..5),
            chunk in 1_usize..40,
        ) {
            let stream: Vec<u8> = frames.iter().flat_map(|(id, unit, pdu)| encode_frame(*id, *unit, pdu)).collect();
            let (mut buffer, mut seen) = (BytesMut::new(), Vec::new());
            for piece in stream.chunks(chunk) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = take_frame(&mut buffer).expect("only whole frames were put in") {
                    seen.push((frame.transaction_id, frame.unit, frame.pdu.to_vec()));
                }
            }
            prop_assert_eq!(seen, frames);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = take_frame(&mut buffer) {}
        }
    }
}
