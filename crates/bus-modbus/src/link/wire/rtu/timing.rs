//! How long things take on a serial line (Modbus over Serial Line V1.02, section 2.5.1.1). Pure: settings in, durations
//! out.

use std::time::Duration;

use holdfast_domain::protocol::modbus::{Parity, SerialLine};

/// Above this speed the silence between frames is fixed: shorter ones are too much for the timers of instruments.
const FIXED_ABOVE_BAUD: u32 = 19_200;

/// That silence.
const FIXED_GAP: Duration = Duration::from_micros(1_750);

/// Times of a line; all zero where something else keeps them (a serial server).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Timing {
    /// One character: a start bit, the data, parity, stop bits.
    character: Duration,
    /// The silence that parts frames: 3.5 characters.
    pub(super) gap: Duration,
}

impl Timing {
    pub(crate) fn of(line: SerialLine) -> Self {
        let SerialLine {
            baud_rate,
            data_bits,
            parity,
            stop_bits,
        } = line;
        let parity_bits = match parity {
            Parity::Even | Parity::Odd => 1,
            Parity::None => 0,
        };
        let bits = 1 + u32::from(data_bits) + parity_bits + u32::from(stop_bits);
        let character = Duration::from_secs(1) * bits / baud_rate.max(1);
        let gap = if baud_rate > FIXED_ABOVE_BAUD {
            FIXED_GAP
        } else {
            character * 7 / 2
        };
        Self { character, gap }
    }

    /// How long so many bytes are on the line.
    pub(super) fn of_bytes(self, count: usize) -> Duration {
        self.character * u32::try_from(count).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(baud_rate: u32, parity: Parity, stop_bits: u8) -> Timing {
        Timing::of(SerialLine {
            baud_rate,
            data_bits: 8,
            parity,
            stop_bits,
        })
    }

    #[test]
    fn a_character_has_as_many_bits_as_the_settings_say() {
        // 11 bits at 9600 baud are 1.1458 ms, and 3.5 of them 4.01 ms.
        let usual = line(9_600, Parity::Even, 1);
        assert_eq!(usual.character.as_micros(), 1_145);
        assert_eq!(usual.gap.as_micros(), 4_010);
        assert_eq!(
            line(9_600, Parity::None, 2),
            usual,
            "two stop bits instead of parity"
        );
        assert_eq!(
            line(1_200, Parity::None, 1).of_bytes(8).as_micros(),
            66_666,
            "10 bits each"
        );
        assert_eq!(line(19_200, Parity::Odd, 1).gap.as_micros(), 2_005);
    }

    #[test]
    fn above_19200_baud_the_silence_is_fixed() {
        for baud in [38_400, 115_200, 4_000_000] {
            assert_eq!(line(baud, Parity::Even, 1).gap, FIXED_GAP);
        }
    }
}
