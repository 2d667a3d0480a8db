//! RTU frames over any stream: a serial line, with its timing, or a socket to a serial server, which keeps it itself.
//!
//! Our own client, because the library's takes an answer that comes late for the one to the next request, lets no silence
//! pass between frames, and says nothing of damaged ones. What holds here:
//! - nothing is sent before the line was silent for as long as parts frames, and longer after a failure, because adapters
//!   deliver late what the line has long carried; what comes in that time is dropped;
//! - only a frame of the asked unit, to the asked function, of the length that was asked for, or (writes) with what was to
//!   be written, is an answer. All others let the wait go on;
//! - RTU numbers no requests. So after a time-out a unit *owes* an answer, and is not asked again before that has come or
//!   is past hope ([`LATE`]). Others on the line are asked meanwhile: their answers name them.
//!
//! Read next: `frame.rs` (what a frame is), `pdu.rs` (what it says), `timing.rs`.

#[cfg(test)]
mod bench;
mod frame;
mod pdu;
#[cfg(test)]
mod tests;
mod timing;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use self::frame::{Awaited, Frame, Inbox};
pub(super) use self::timing::Timing;
use super::{Answer, Ask, Failure, What};
use crate::words;

/// So many times as long as a unit had for its answer, one that did not come is still expected. A serial server that
/// queues requests may give it that late.
pub(crate) const LATE: u32 = 2;

/// The silence that ends what a failure left on the line: USB adapters deliver what came every 16 ms.
const AFTER_FAILURE: Duration = Duration::from_millis(30);

/// A line that is not silent for so long beside its unit's own time can't be used: something talks without end.
const MOST_NOISE: Duration = Duration::from_secs(1);

/// A write is held back no longer for what its unit owes. Whoever asked for it would have stopped waiting, and read.
const MOST_HELD_BACK: Duration = Duration::from_secs(5);

/// The answers that units may still give to requests that were made, and until when: at most one for each unit id. They
/// belong to the place, and outlive connections and links.
#[derive(Debug, Clone, Default)]
pub(crate) struct Debts(Arc<Mutex<BTreeMap<u8, Instant>>>);

impl Debts {
    /// Does anybody hold these, or owe anything?
    pub(crate) fn are_of_use(&self, now: Instant) -> bool {
        Arc::strong_count(&self.0) > 1 || self.all().values().any(|until| *until > now)
    }

    /// Until when this unit owes an answer.
    fn until(&self, unit: u8) -> Option<Instant> {
        self.all().get(&unit).copied()
    }

    fn owe(&self, unit: u8, until: Instant) {
        self.all().insert(unit, until);
    }

    /// A frame of this unit came, or nothing is hoped for any more.
    fn paid(&self, unit: u8) {
        self.all().remove(&unit);
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u8, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line that is open.
pub(super) struct RtuLine<S> {
    stream: S,
    timing: Timing,
    inbox: Inbox,
    /// When the last byte went over it, either way.
    last_byte: Instant,
    /// The silence that is due before the next request.
    silence: Duration,
    /// What is sent comes back, as on two wires with an adapter that listens to itself. Learned.
    echoes: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> RtuLine<S> {
    pub(super) fn new(stream: S, timing: Timing) -> Self {
        Self {
            stream,
            timing,
            inbox: Inbox::default(),
            last_byte: Instant::now(),
            // What was there before it was opened is not known.
            silence: AFTER_FAILURE,
            echoes: false,
        }
    }

    pub(super) const fn stream(&self) -> &S {
        &self.stream
    }

    /// Asks, and waits for the answer. The unit's time counts from when the request has left, and what the answer takes on
    /// the line is added to it.
    pub(super) async fn ask(&mut self, ask: &Ask, debts: &Debts) -> Result<Answer, Failure> {
        let result = self.ask_once(ask, debts).await;
        self.silence = match &result {
            Ok(_) => self.timing.gap,
            Err(_) => AFTER_FAILURE,
        };
        result
    }

    async fn ask_once(&mut self, ask: &Ask, debts: &Debts) -> Result<Answer, Failure> {
        self.settle(ask, debts).await?;
        let request = frame::encode(ask.unit_id, &pdu::request(&ask.what));
        let awaited = pdu::awaited(ask.unit_id, &ask.what);
        let sent = Instant::now() + self.timing.of_bytes(request.len());
        let until = sent + ask.deadline + self.timing.of_bytes(awaited.len);
        // Also if nobody waits for it to the end.
        debts.owe(ask.unit_id, until + ask.deadline * LATE);
        let result = match self.send(&request, until).await {
            Ok(()) => {
                self.last_byte = sent;
                self.receive(ask, &request, &awaited, until, debts).await
            }
            Err(failure) => Err(failure),
        };
        if matches!(result, Ok(_) | Err(Failure::Damaged | Failure::Stale)) {
            debts.paid(ask.unit_id);
        }
        result
    }

    /// Waits until the line is silent and this unit owes nothing.
    async fn settle(&mut self, ask: &Ask, debts: &Debts) -> Result<(), Failure> {
        // Lets the runtime look whether something came, or the connection ended, since it was used last.
        yield_now().await;
        let owed_until = debts.until(ask.unit_id);
        if let (Some(until), What::Write(_)) = (owed_until, &ask.what)
            && until > Instant::now() + MOST_HELD_BACK
        {
            return Err(Failure::Owing);
        }
        let give_up = owed_until.unwrap_or_else(Instant::now) + ask.deadline + MOST_NOISE;
        loop {
            let silent_at = self.last_byte + self.silence;
            let owed_until = debts.until(ask.unit_id);
            let free_at = owed_until.map_or(silent_at, |until| until.max(silent_at));
            match timeout_at(free_at, self.read()).await {
                Err(_) => {
                    self.inbox.clear();
                    debts.paid(ask.unit_id);
                    return Ok(());
                }
                Ok(Err(_)) => return Err(Failure::Stale),
                Ok(Ok(())) => {
                    while let Some(frame) = self.inbox.take(None, false) {
                        debts.paid(frame.unit);
                    }
                }
            }
            if self.last_byte > give_up {
                return Err(Failure::NoAnswer(
                    "nothing, because bytes came without end before it was its turn".to_owned(),
                ));
            }
        }
    }

    /// Sends the request, whole.
    async fn send(&mut self, request: &[u8], until: Instant) -> Result<(), Failure> {
        let first = match timeout_at(until, self.stream.write(request)).await {
            Ok(Ok(count @ 1..)) => count,
            // Nothing has left.
            Ok(Ok(0) | Err(_)) => return Err(Failure::Stale),
            Err(_) => return Err(Failure::Lost("took nothing")),
        };
        match timeout_at(until, self.stream.write_all(&request[first..])).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::Lost(words::lost(&error))),
            Err(_) => Err(Failure::Lost("took a part of the request only")),
        }
    }

    /// Waits for the answer to what was sent.
    async fn receive(
        &mut self,
        ask: &Ask,
        request: &[u8],
        awaited: &Awaited,
        until: Instant,
        debts: &Debts,
    ) -> Result<Answer, Failure> {
        let mut other = None;
        let mut is_over = false;
        let mut echo_may_come = self.echoes || ask.reads_registers();
        loop {
            echo_may_come = echo_may_come && !is_over && !self.pass_over_echo(ask, request);
            if echo_may_come {
                is_over = self.read_until(until).await?;
                continue;
            }
            while let Some(frame) = self.inbox.take(Some(awaited), is_over) {
                match pdu::answer(ask.unit_id, &ask.what, &frame) {
                    Ok(answer) => return Ok(answer),
                    Err(what) => other = Some(other_frame(&frame, ask, debts, what)),
                }
            }
            if self.inbox.holds_damaged(awaited) {
                return Err(Failure::Damaged);
            }
            if is_over {
                return Err(match (other, self.inbox.len()) {
                    (Some(what), _) => Failure::NoAnswer(what),
                    (None, 0) => Failure::TimedOut,
                    (None, count) => Failure::Cut(count),
                });
            }
            // Once more, at the end, without holding back what may begin an answer.
            is_over = self.read_until(until).await?;
        }
    }

    /// Drops what was sent, if it came back first. Answers whether that is decided. A read of registers alone tells an
    /// echo from an answer, which to most writes is the same.
    fn pass_over_echo(&mut self, ask: &Ask, request: &[u8]) -> bool {
        match self.inbox.begins_with(request) {
            None => false,
            Some(false) => true,
            Some(true) => {
                self.inbox.skip(request.len());
                self.echoes |= ask.reads_registers();
                true
            }
        }
    }

    /// Waits for more; answers whether the time is past.
    async fn read_until(&mut self, until: Instant) -> Result<bool, Failure> {
        match timeout_at(until, self.read()).await {
            Err(_) => Ok(true),
            Ok(Ok(())) => Ok(false),
            Ok(Err(error)) => Err(Failure::Lost(words::lost(&error))),
        }
    }

    /// Takes what has come, or waits for it.
    async fn read(&mut self) -> std::io::Result<()> {
        let mut bytes = [0; frame::LONGEST];
        let count = self.stream.read(&mut bytes).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.inbox.extend(&bytes[..count]);
        self.last_byte = Instant::now();
        Ok(())
    }
}

/// A sound frame that is not the answer: it may be one that another unit owed.
fn other_frame(frame: &Frame, ask: &Ask, debts: &Debts, what: String) -> String {
    if frame.unit != ask.unit_id {
        debts.paid(frame.unit);
    }
    tracing::debug!(unit = ask.unit_id, what, "a frame that nobody waits for");
    what
}
