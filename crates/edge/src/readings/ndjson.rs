//! Readings as lines of JSON, to a file or the terminal: every one, not only changes.
//!
//! A thread writes; whoever reads instruments never waits for a disk or a terminal. What it can't keep up with is dropped
//! in whole lines and counted.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use holdfast_domain::{PointValue, SensorId};
use holdfast_ports::readings::{Reading, ReadingSink};
use serde_json::Value;

/// Most bytes that wait to be written: some seconds of 10,000 points a second.
const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// That readings were dropped is said no more often than this.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// A sink that writes `{"at","sensor","point","value","quality"}`, and `"reason"` where there is one, a line a reading.
/// Dropping it writes what waits and ends its thread.
#[derive(Debug)]
pub struct NdjsonSink {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    dropped: u64,
    closed: bool,
}

impl NdjsonSink {
    /// A sink that writes to `out`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name("readings".into())
            .spawn(move || write_all(&theirs, out))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// How many readings were dropped because writing did not keep up, or failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadingSink for NdjsonSink {
    fn accept(&self, sensor: SensorId, readings: &[Reading]) {
        let mut waiting = self.shared.lock();
        for (index, reading) in readings.iter().enumerate() {
            if waiting.closed || waiting.lines.len() >= WAITING_BYTES {
                waiting.dropped += (readings.len() - index) as u64;
                break;
            }
            write_line(&mut waiting.lines, sensor, reading);
        }
        drop(waiting);
        self.shared.more.notify_one();
    }
}

/// Writing to memory never fails.
fn write_line(out: &mut Vec<u8>, sensor: SensorId, reading: &Reading) {
    let Reading {
        point,
        value,
        quality,
        at,
        reason,
    } = reading;
    let _ = write!(
        out,
        r#"{{"at":"{at}","sensor":"{sensor}","point":"{point}","value":"#
    );
    let _ = match value {
        None => write!(out, "null"),
        Some(PointValue::Bool(value)) => write!(out, "{value}"),
        Some(PointValue::Integer(value)) => write!(out, "{value}"),
        Some(value @ (PointValue::Number(_) | PointValue::Text(_))) => {
            write!(out, "{}", value.to_json())
        }
    };
    let _ = write!(out, r#","quality":"{quality}""#);
    if let Some(reason) = reason {
        let _ = write!(out, r#","reason":{}"#, Value::from(&**reason));
    }
    out.extend_from_slice(b"}\n");
}

fn write_all(shared: &Shared, mut out: impl Write) {
    let mut lines = Vec::new();
    let mut told = Told::default();
    loop {
        let mut waiting = shared.lock();
        while waiting.lines.is_empty() && !waiting.closed {
            waiting = shared
                .more
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.lines.is_empty() {
            return;
        }
        lines.clear();
        std::mem::swap(&mut lines, &mut waiting.lines);
        let dropped = waiting.dropped;
        drop(waiting);
        told.tell(dropped);
        if let Err(error) = out.write_all(&lines).and_then(|()| out.flush()) {
            tracing::error!(%error, "readings can't be written any more");
            let mut waiting = shared.lock();
            waiting.closed = true;
            waiting.dropped += lines.iter().filter(|byte| **byte == b'\n').count() as u64;
            return;
        }
    }
}

/// What was said of dropped readings.
#[derive(Default)]
struct Told {
    dropped: u64,
    at: Option<Instant>,
}

impl Told {
    fn tell(&mut self, dropped: u64) {
        if dropped > self.dropped && self.at.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            let more = dropped - self.dropped;
            tracing::warn!(
                more,
                dropped,
                "readings were dropped: writing them does not keep up"
            );
            *self = Self {
                dropped,
                at: Some(Instant::now()),
            };
        }
    }
}

impl Drop for NdjsonSink {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.more.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
