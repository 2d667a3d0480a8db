//! Following the event log: server-sent events that go on where they broke off.

use std::{collections::VecDeque, time::Duration};

use holdfast_domain::backoff::Backoff;
use holdfast_wire::{EventView, routes::STREAM_EVENT};
use reqwest::{Response, header::HeaderName};
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    problem::{self, CallError},
    sse::Decoder,
    transport::{Call, NoAnswer, Opened, Transport},
};

/// After so much silence a stream counts as dead: several times the hub's keep-alive.
const SILENCE: Duration = Duration::from_secs(60);

/// A reader of the event log that reconnects by itself, with growing pauses, and misses nothing.
pub struct Follower {
    transport: Transport,
    call: Call,
    last_id: Option<String>,
    stream: Option<(Response, Decoder)>,
    ready: VecDeque<EventView>,
    failures: u32,
    retry_at: Option<Instant>,
}

/// What following gave.
#[derive(Debug)]
pub enum Followed {
    /// The stream is open: what follows is live.
    Connected,
    /// An event.
    Event(Box<EventView>),
    /// The stream broke, or did not come about; it is tried again after `retry_in`.
    Lost {
        /// Why.
        why: String,
        /// The pause until the next attempt.
        retry_in: Duration,
    },
}

impl Follower {
    pub(crate) fn new(transport: Transport, call: Call, after: Option<String>) -> Self {
        Self {
            transport,
            call,
            last_id: after,
            stream: None,
            ready: VecDeque::new(),
            failures: 0,
            retry_at: None,
        }
    }

    /// What comes next. May be dropped while it waits; nothing is lost by that.
    ///
    /// # Errors
    /// [`CallError`] if the hub refuses for good: no such cursor, no right to read. Never for a hub out of reach.
    pub async fn next(&mut self) -> Result<Followed, CallError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.last_id.clone_from(&event.cursor);
                return Ok(Followed::Event(Box::new(event)));
            }
            if self.stream.is_none() {
                return self.connect().await;
            }
            if let Some(lost) = self.read().await {
                return Ok(lost);
            }
        }
    }

    async fn connect(&mut self) -> Result<Followed, CallError> {
        if let Some(at) = self.retry_at {
            sleep_until(at).await;
        }
        let mut call = self.call.clone();
        if let Some(id) = &self.last_id {
            call = call.header(HeaderName::from_static("last-event-id"), id);
        }
        let named = call.named();
        let opened = self.transport.open(call).await;
        self.retry_at = None;
        let error = match opened {
            Ok(Opened::Stream(response)) => {
                self.stream = Some((response, Decoder::default()));
                self.failures = 0;
                return Ok(Followed::Connected);
            }
            Ok(Opened::Other(answer)) => problem::refusal(named, &answer),
            Err(error) => CallError::NoAnswer { call: named, error },
        };
        if error.is_final() {
            Err(error)
        } else {
            Ok(self.lost(&error))
        }
    }

    /// Reads one piece of the stream; `Some` if it is over.
    async fn read(&mut self) -> Option<Followed> {
        let (response, decoder) = self.stream.as_mut()?;
        let why = match timeout(SILENCE, response.chunk()).await {
            Err(_) => NoAnswer::TimedOut(SILENCE).to_string(),
            Ok(Err(error)) => NoAnswer::Broken(error).to_string(),
            Ok(Ok(None)) => "the hub ended the stream".to_owned(),
            Ok(Ok(Some(bytes))) => match decoder.feed(&bytes) {
                Err(error) => error.to_string(),
                Ok(events) => {
                    let named = |kind: &str| kind.is_empty() || kind == STREAM_EVENT;
                    for event in events.into_iter().filter(|event| named(&event.kind)) {
                        // An event of a newer hub that can't be read is passed over, not a reason to stop.
                        let Ok(mut read) = serde_json::from_str::<EventView>(&event.data) else {
                            continue;
                        };
                        read.cursor = event.id.or(read.cursor);
                        self.ready.push_back(read);
                    }
                    return None;
                }
            },
        };
        // An id without an event is a place too: from there on nothing was missed.
        let place = self
            .stream
            .take()
            .and_then(|(_, decoder)| decoder.last_id().map(str::to_owned));
        if let Some(place) = place.filter(|_| self.ready.is_empty()) {
            self.last_id = Some(place);
        }
        Some(self.lost(&why))
    }

    fn lost(&mut self, why: &dyn std::fmt::Display) -> Followed {
        self.failures += 1;
        // Only one person's terminal: no need of randomness to keep many from coming back at once.
        let retry_in = Duration::from_millis(Backoff::HUB.delay_ms(self.failures, u32::MAX / 2));
        self.retry_at = Some(Instant::now() + retry_in);
        Followed::Lost {
            why: why.to_string(),
            retry_in,
        }
    }
}
