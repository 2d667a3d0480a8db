//! The frame of Modbus RTU: unit, PDU, CRC (Modbus over Serial Line V1.02, section 2.5.1), as an instrument sees it.
//!
//! Written apart from the adapter's, so that each is a witness against the other. Bytes that begin no request with a right
//! CRC are passed over, as an instrument does that heard noise.

use bytes::{Buf, BytesMut};

use super::frame::Frame;

/// The CRC of a frame, low byte first on the line (section 6.2.2), bit by bit.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            let shifted = crc >> 1;
            if crc & 1 == 1 {
                shifted ^ 0xA001
            } else {
                shifted
            }
        })
    })
}

/// The bytes of one frame.
pub(crate) fn encode_frame(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut bytes = [&[unit], pdu].concat();
    let crc = crc(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// How long the request is that begins so; none: more is needed to know. Functions that are not known have a length too:
/// the shortest, which most of them have.
fn request_len(bytes: &[u8]) -> Option<usize> {
    let with_data = |at: usize| bytes.get(at).map(|count| at + 3 + usize::from(*count));
    match bytes.get(1)? {
        15 | 16 => with_data(6),
        22 => Some(10),
        23 => with_data(10),
        _ => Some(8),
    }
}

/// Takes the first whole request out of `buffer`, and what stands before it; `None` while more bytes are needed.
pub(crate) fn take_frame(buffer: &mut BytesMut) -> Option<Frame> {
    loop {
        let len = request_len(buffer)?;
        if buffer.len() < len {
            return None;
        }
        let (body, sum) = buffer[..len].split_at(len - 2);
        if crc(body).to_le_bytes() == sum {
            let mut frame = buffer.split_to(len);
            frame.truncate(len - 2);
            let unit = frame.get_u8();
            return Some(Frame {
                transaction_id: 0,
                unit,
                pdu: frame,
            });
        }
        buffer.advance(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    #[test]
    fn the_crc_is_the_one_of_the_standard() {
        assert_eq!(crc(b"123456789"), 0x4B37);
        assert_eq!(
            encode_frame(1, &[3, 0, 0, 0, 10]),
            [1, 3, 0, 0, 0, 10, 0xC5, 0xCD]
        );
    }

    #[test]
    fn a_request_is_found_behind_one_that_was_damaged() {
        let mut damaged = encode_frame(1, &[3, 0, 0, 0, 10]);
        damaged[4] ^= 8;
        let sound = encode_frame(1, &[16, 0, 7, 0, 1, 2, 0, 9]);
        let mut buffer = BytesMut::from(&[damaged, sound].concat()[..]);
        let frame = take_frame(&mut buffer).expect("the second");
        assert_eq!((frame.unit, &frame.pdu[..4]), (1, &[16, 0, 7, 0][..]));
        assert_eq!(take_frame(&mut buffer), None);
    }

    proptest! {
        #[test]
        fn requests_survive_any_cutting_of_the_stream(
            requests in prop::collection::vec((1_u8..=247, 1_u8..=6, any::<[u8; 4]>()), 1..5), chunk in 1_usize..20,
        ) {
            let pdus: Vec<(u8, Vec<u8>)> = requests.iter().map(|(unit, code, data)| (*unit, [&[*code], &data[..]].concat())).collect();
            let stream: Vec<u8> = pdus.iter().flat_map(|(unit, pdu)| encode_frame(*unit, pdu)).collect();
            let (mut buffer, mut seen) = (BytesMut::new(), Vec::new());
            for piece in stream.chunks(chunk) {
                buffer.extend_from_slice(piece);
                seen.extend(std::iter::from_fn(|| take_frame(&mut buffer)).map(|frame| (frame.unit, frame.pdu.to_vec())));
            }
            prop_assert_eq!(seen, pdus);
        }
    }
}
