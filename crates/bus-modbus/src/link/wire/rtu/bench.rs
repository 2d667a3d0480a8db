//! A line of two pipes for the client's tests, in virtual time: near it the client, and at its far end an instrument that
//! the test plays.

use std::time::Duration;

use holdfast_domain::protocol::modbus::{Parity, SerialLine, Table};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use super::{Debts, RtuLine, Timing, frame};
use crate::data::{Place, Write};
use crate::link::wire::{Answer, Ask, Failure, What};
use crate::poll::Data;

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A line of 9600 baud, 8E1 (a silence of 4.01 ms), with an instrument at its far end that the test plays.
pub(super) struct Bench {
    pub(super) line: RtuLine<DuplexStream>,
    pub(super) far: Far,
    pub(super) debts: Debts,
}

pub(super) struct Far {
    stream: DuplexStream,
    pub(super) start: Instant,
}

impl Far {
    /// Waits for a request of so many bytes, and answers when it came and what it is without its CRC.
    pub(super) async fn request(&mut self, len: usize) -> (Duration, Vec<u8>) {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).await.expect("a request");
        let at = self.start.elapsed();
        let body = bytes[..len - 2].to_vec();
        assert_eq!(frame::encode(body[0], &body[1..]), bytes, "the CRC");
        (at, body)
    }

    /// Does nothing for so long.
    pub(super) async fn takes(&self, time: Duration) {
        sleep(time).await;
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .await
            .expect("somebody listens");
    }

    pub(super) async fn answer(&mut self, unit: u8, pdu: &[u8]) {
        self.send(&frame::encode(unit, pdu)).await;
    }
}

pub(super) fn bench_at(baud_rate: u32) -> Bench {
    let (near, far) = duplex(4_096);
    let line = SerialLine {
        baud_rate,
        data_bits: 8,
        parity: Parity::Even,
        stop_bits: 1,
    };
    Bench {
        line: RtuLine::new(near, Timing::of(line)),
        far: Far {
            stream: far,
            start: Instant::now(),
        },
        debts: Debts::default(),
    }
}

pub(super) fn bench() -> Bench {
    bench_at(9_600)
}

impl Bench {
    /// Asks, while the far end does what it does.
    pub(super) async fn ask<T>(
        &mut self,
        ask: &Ask,
        far: impl AsyncFnOnce(&mut Far) -> T,
    ) -> (Result<Answer, Failure>, T) {
        let Self {
            line,
            far: stream,
            debts,
        } = self;
        tokio::join!(line.ask(ask, debts), far(stream))
    }
}

pub(super) fn read(unit_id: u8, first: u16, count: u16) -> Ask {
    let table = Table::Holding;
    Ask {
        unit_id,
        deadline: SECOND,
        what: What::Read(Place {
            table,
            first,
            count,
        }),
    }
}

pub(super) fn write(write: Write) -> Ask {
    Ask {
        unit_id: 1,
        deadline: SECOND,
        what: What::Write(write),
    }
}

pub(super) fn word(word: u16) -> Result<Answer, Failure> {
    Ok(Answer::Data(Data::Words(vec![word])))
}
