//! A closed loop: every connection asks, waits for the answer, and asks the next. Runs on the thread of its caller.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::task::JoinSet;

use crate::{figures, http::Connection};

/// What one speaker says, again and again: its requests in turn, with a number counted up in them where they have one.
#[derive(Debug, Clone)]
pub struct Script {
    requests: Vec<Request>,
    next: usize,
    number: u64,
}

/// A request and what must be in its answer.
#[derive(Debug, Clone)]
pub struct Request {
    /// As it is sent.
    pub bytes: Vec<u8>,
    /// Where in it the number stands, in decimal digits.
    pub digits: Option<Range<usize>>,
    /// The status of a good answer.
    pub status: u16,
    /// Somewhere in a good answer's body.
    pub says: &'static [u8],
}

impl Script {
    /// Says `requests` in turn; the first number is the one after `number`.
    pub fn new(requests: Vec<Request>, number: u64) -> Self {
        Self {
            requests,
            next: 0,
            number,
        }
    }

    fn next(&mut self) -> &Request {
        let at = self.next;
        self.next = (at + 1) % self.requests.len();
        let request = &mut self.requests[at];
        if let Some(digits) = &request.digits {
            self.number += 1;
            let mut rest = self.number;
            for digit in request.bytes[digits.clone()].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        request
    }
}

/// A connection and those who speak over it, in turns.
#[derive(Debug)]
pub struct Speaker {
    connection: Connection,
    scripts: Vec<Script>,
}

impl Speaker {
    /// Who speaks over a connection.
    pub fn new(connection: Connection, scripts: Vec<Script>) -> Self {
        Self {
            connection,
            scripts,
        }
    }

    async fn speak(mut self, until: Instant) -> Result<(Self, Vec<f64>)> {
        let mut times = Vec::with_capacity(1 << 16);
        for turn in (0..self.scripts.len()).cycle() {
            let began = Instant::now();
            if began >= until {
                break;
            }
            let request = self.scripts[turn].next();
            let answer = self.connection.ask(&request.bytes).await?;
            let said = request.says.is_empty()
                || answer
                    .body
                    .windows(request.says.len())
                    .any(|part| part == request.says);
            if answer.status != request.status || !said {
                bail!(
                    "expected {} and {:?}, got {} {}",
                    request.status,
                    String::from_utf8_lossy(request.says),
                    answer.status,
                    String::from_utf8_lossy(answer.body)
                );
            }
            times.push(began.elapsed().as_secs_f64() * 1e6);
        }
        Ok((self, times))
    }
}

/// What a run of the loop came to.
#[derive(Debug, Clone, Copy)]
pub struct Ran {
    /// Answers.
    pub count: f64,
    /// Answers a second.
    pub rate: f64,
    /// Time from request to answer, the median, in µs.
    pub p50_us: f64,
    /// The same, of 99 %.
    pub p99_us: f64,
}

/// Lets all speak for so long.
///
/// # Errors
/// At the first answer that is not good.
pub async fn run(speakers: &mut Vec<Speaker>, lasting: Duration) -> Result<Ran> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for speaker in speakers.drain(..) {
        tasks.spawn(speaker.speak(began + lasting));
    }
    let mut times = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let (speaker, some) = ended??;
        speakers.push(speaker);
        times.extend(some);
    }
    let count = times.len() as f64;
    Ok(Ran {
        count,
        rate: count / began.elapsed().as_secs_f64(),
        p50_us: figures::share(&times, 0.5),
        p99_us: figures::share(&times, 0.99),
    })
}
