//! What is asked in bytes, and what an answer says (Application Protocol, section 6). The part of the codec that the
//! client library keeps to itself.

use holdfast_domain::protocol::modbus::Table;

use super::frame::{Awaited, EXCEPTION, Frame};
use crate::data::{Place, Write};
use crate::link::wire::{Answer, What};
use crate::poll::Data;

/// The request.
pub(super) fn request(what: &What) -> Vec<u8> {
    let mut pdu = vec![function(what)];
    let mut words = |words: &[u16]| pdu.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    match what {
        What::Read(place) => words(&[place.first, place.count]),
        What::Write(Write::Coil { address, on }) => {
            words(&[*address, if *on { 0xFF00 } else { 0 }]);
        }
        What::Write(Write::Register { address, word }) => words(&[*address, *word]),
        What::Write(Write::Registers {
            first,
            words: values,
        }) => {
            let count = u8::try_from(values.len()).expect("at most 123 registers");
            words(&[*first, count.into()]);
            pdu.push(count * 2);
            pdu.extend(values.iter().flat_map(|word| word.to_be_bytes()));
        }
        What::Write(Write::Bits {
            address,
            mask,
            bits,
        }) => words(&[*address, !mask, *bits]),
    }
    pdu
}

/// What its answer looks like.
pub(super) fn awaited(unit: u8, what: &What) -> Awaited {
    let (count, len) = match what {
        What::Read(place) => {
            let count = bytes(*place);
            (Some(count), usize::from(count) + 5)
        }
        What::Write(Write::Bits { .. }) => (None, 10),
        What::Write(Write::Coil { .. } | Write::Register { .. } | Write::Registers { .. }) => {
            (None, 8)
        }
    };
    Awaited {
        unit,
        function: function(what),
        count,
        len,
    }
}

/// What a frame says to that; or how it is no answer to it: "9 registers where 10 were asked for".
pub(super) fn answer(unit: u8, what: &What, frame: &Frame) -> Result<Answer, String> {
    let (code, data) = frame.pdu.split_first().ok_or("an empty frame")?;
    if frame.unit != unit {
        return Err(format!("an answer of unit {}", frame.unit));
    }
    let function = function(what);
    match (code, data) {
        (code, [exception]) if *code == function | EXCEPTION => Ok(Answer::Exception(*exception)),
        (code, _) if *code != function => Err(format!("an answer to function {code}")),
        (_, data) => match what {
            What::Read(place) => read(*place, data),
            What::Write(_) if says_so(what, &frame.pdu) => Ok(Answer::Written),
            What::Write(_) => Err("the answer to another write".to_owned()),
        },
    }
}

/// Does it repeat what was to be written: all of it, or of several registers where and how many?
fn says_so(what: &What, pdu: &[u8]) -> bool {
    let request = request(what);
    let len = match what {
        What::Write(Write::Registers { .. }) => 5,
        What::Write(Write::Coil { .. } | Write::Register { .. } | Write::Bits { .. })
        | What::Read(_) => request.len(),
    };
    pdu == &request[..len]
}

fn read(place: Place, data: &[u8]) -> Result<Answer, String> {
    // The first byte is the count, and the frame was cut by it.
    let data = data.get(1..).unwrap_or_default();
    let wanted = place.count;
    let is_bits = place.table.is_bits();
    if data.len() != usize::from(bytes(place)) {
        return Err(if is_bits {
            format!("{} bits where {wanted} were asked for", data.len() * 8)
        } else {
            let found = data.len() / 2;
            format!("{found} registers where {wanted} were asked for")
        });
    }
    Ok(Answer::Data(if is_bits {
        let bits = data
            .iter()
            .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        Data::Bits(bits.collect())
    } else {
        let words = data
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        Data::Words(words.collect())
    }))
}

/// How many bytes the values of a place take.
fn bytes(place: Place) -> u8 {
    let bytes = if place.table.is_bits() {
        place.count.div_ceil(8)
    } else {
        place.count * 2
    };
    u8::try_from(bytes).expect("a request asks for at most 125 registers or 2000 bits")
}

const fn function(what: &What) -> u8 {
    match what {
        What::Read(place) => match place.table {
            Table::Coil => 1,
            Table::Discrete => 2,
            Table::Holding => 3,
            Table::Input => 4,
        },
        What::Write(write) => write.function(),
    }
}
