//! Frames against any cutting, any noise and any damage.

use proptest::prelude::*;

use super::*;

/// An answer as an instrument may give it: to a read, a write or a mask write, or an exception.
fn answer() -> impl Strategy<Value = Vec<u8>> {
    let read = (1_u8..=4, prop::collection::vec(any::<u8>(), 1..=250)).prop_map(|(code, data)| {
        let count = u8::try_from(data.len()).expect("at most 250");
        [vec![code, count], data].concat()
    });
    let fixed = |codes: Vec<u8>, len: usize| {
        let data = prop::collection::vec(any::<u8>(), len);
        (prop::sample::select(codes), data).prop_map(|(code, data)| [vec![code], data].concat())
    };
    prop_oneof![
        4 => read,
        2 => fixed(vec![5, 6, 15, 16], 4),
        1 => fixed(vec![22], 6),
        1 => fixed(vec![0x81, 0x83, 0x86, 0x90, 0x96], 1),
    ]
}

/// What is awaited when this is the answer.
fn awaited(unit: u8, pdu: &[u8]) -> Awaited {
    Awaited {
        unit,
        function: pdu[0] & !EXCEPTION,
        count: matches!(pdu[0], 1..=4).then(|| pdu[1]),
        len: pdu.len() + 3,
    }
}

/// Does a frame begin by accident where none was put? Then nobody can tell.
fn has_accidents(stream: &[u8], begins: &[usize]) -> bool {
    let is_frame = |start: usize| matches!(length(&stream[start..]), Length::Of(len) if stream[start..].get(..len).is_some_and(is_sound));
    (0..stream.len()).any(|start| !begins.contains(&start) && is_frame(start))
}

/// Puts `stream` in, in pieces of these lengths over and over, and takes out all that is found.
fn taken(stream: &[u8], pieces: &[usize], awaited: &Awaited) -> Vec<Frame> {
    let (mut inbox, mut found) = (Inbox::default(), Vec::new());
    let mut rest = stream;
    let mut pieces = pieces.iter().cycle();
    while !rest.is_empty() {
        let len = (*pieces.next().expect("a cycle")).min(rest.len());
        inbox.extend(&rest[..len]);
        rest = &rest[len..];
        found.extend(std::iter::from_fn(|| inbox.take(Some(awaited), false)));
    }
    found.extend(std::iter::from_fn(|| inbox.take(Some(awaited), true)));
    found
}

proptest! {
    #[test]
    fn the_awaited_answer_is_found_however_it_is_cut_and_whatever_stands_before_it(
        unit in 1_u8..=247, pdu in answer(), noise in prop::collection::vec(any::<u8>(), 0..200),
        pieces in prop::collection::vec(1_usize..60, 1..20),
    ) {
        let begins = noise.len();
        let stream = [noise, encode(unit, &pdu)].concat();
        prop_assume!(!has_accidents(&stream, &[begins]));
        let found = taken(&stream, &pieces, &awaited(unit, &pdu));
        prop_assert_eq!(found.last(), Some(&Frame { unit, pdu }));
    }

    #[test]
    fn answers_in_a_row_are_told_apart_however_they_are_cut(
        unit in 1_u8..=247, pdus in prop::collection::vec(answer(), 1..6), pieces in prop::collection::vec(1_usize..60, 1..20),
    ) {
        let (mut stream, mut begins) = (Vec::new(), Vec::new());
        for pdu in &pdus {
            begins.push(stream.len());
            stream.extend(encode(unit, pdu));
        }
        prop_assume!(!has_accidents(&stream, &begins));
        let last = pdus.last().expect("one at least");
        let found: Vec<Vec<u8>> = taken(&stream, &pieces, &awaited(unit, last)).into_iter().map(|frame| frame.pdu).collect();
        prop_assert_eq!(found, pdus);
    }

    #[test]
    fn a_damaged_answer_is_none(
        unit in 1_u8..=247, pdu in answer(), at in any::<prop::sample::Index>(), flip in 1_u8..=255,
        pieces in prop::collection::vec(1_usize..60, 1..20),
    ) {
        let mut stream = encode(unit, &pdu);
        let at = at.index(stream.len());
        stream[at] ^= flip;
        // A burst of up to 16 bits is always seen by a CRC of 16 bits.
        let found = taken(&stream, &pieces, &awaited(unit, &pdu));
        prop_assert!(found.iter().all(|frame| frame.pdu != pdu), "{found:?}");
        // Damaged behind its head it is known for damaged, and need not be waited for.
        let mut inbox = Inbox::default();
        inbox.extend(&stream);
        let is_exception = pdu[0] & EXCEPTION != 0;
        prop_assert!(at < 3 || is_exception || inbox.holds_damaged(&awaited(unit, &pdu)));
        let mut sound = Inbox::default();
        sound.extend(&encode(unit, &pdu));
        prop_assert!(!sound.holds_damaged(&awaited(unit, &pdu)));
    }

    #[test]
    fn no_bytes_make_it_panic_or_grow(bytes in prop::collection::vec(any::<u8>(), 0..3_000), pieces in prop::collection::vec(1_usize..600, 1..9)) {
        let mut inbox = Inbox::default();
        let awaited = awaited(bytes.first().copied().unwrap_or(1), &[3, 250]);
        for piece in bytes.chunks(pieces[0]) {
            inbox.extend(piece);
            while inbox.take(Some(&awaited), false).is_some() {}
            prop_assert!(inbox.len() <= KEPT);
        }
    }
}

#[test]
fn the_crc_is_the_one_of_the_standard() {
    // The check value of CRC-16/MODBUS, and a request whose bytes are widely published.
    assert_eq!(CRC.checksum(b"123456789"), 0x4B37);
    assert_eq!(
        encode(1, &[3, 0, 0, 0, 10]),
        [1, 3, 0, 0, 0, 10, 0xC5, 0xCD]
    );
}

#[test]
fn an_answer_within_the_data_of_another_is_none() {
    let inner = encode(7, &[3, 2, 0xAB, 0xCD]);
    let count = u8::try_from(inner.len() + 3).unwrap();
    let pdu = [vec![3, count, 9, 9, 9], inner].concat();
    let found = taken(&encode(7, &pdu), &[1], &awaited(7, &pdu));
    assert_eq!(found, [Frame { unit: 7, pdu }]);
}
