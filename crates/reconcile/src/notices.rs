//! Tells somebody outside of trouble that persists, and that it is over: what the log says of it, once, in its order.
//!
//! The log is the queue: what was told stands in the store, so that nothing is lost or told twice over a restart, by however many
//! reconcilers. A receiver that does not answer is tried again, ever more slowly, until a notice is too old to matter; the
//! others of its kind wait behind it.

use std::{sync::Arc, time::Duration};

use holdfast_domain::{
    backoff::Backoff,
    event::{Event, EventKind},
};
use holdfast_ports::{
    StoreError,
    clock::Clock,
    events::{Cursor, EventFilter, EventStore, ReadError},
    notices::{NoticeStore, Notifier, Told},
};
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often the log is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Who tells has a way for so long; somebody else goes on when it is over.
const LEASE: SignedDuration = SignedDuration::from_secs(30);

/// Events looked at at once.
const SLICE: u32 = 100;

/// How long a receiver that failed is left alone.
const AGAIN: Backoff = Backoff {
    base_ms: 1_000,
    limit_ms: 300_000,
};

/// What is told of.
const KINDS: [EventKind; 2] = [EventKind::TroubleBegan, EventKind::TroubleEnded];

/// What notices need.
#[derive(Clone)]
pub struct NoticeParts {
    /// The log.
    pub events: Arc<dyn EventStore>,
    /// How far each way has come.
    pub places: Arc<dyn NoticeStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// This process, among all that share the store.
    pub holder: Uuid,
    /// A notice that could not be told for so long is not told any more.
    pub give_up_after: SignedDuration,
}

/// One way to tell somebody, and how it goes.
pub struct Way {
    parts: NoticeParts,
    notifier: Arc<dyn Notifier>,
    /// Failures in a row.
    failures: u32,
    /// Where the next look begins: nothing between what was told and here is to be told.
    seen: Option<Cursor>,
}

/// What a look came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// Somebody else has this way.
    TakenByOthers,
    /// All was told; so many notices now.
    Done(u32),
    /// The receiver did not take a notice: again after so long.
    Again(Duration),
}

impl Way {
    /// A way; nothing is told yet.
    #[must_use]
    pub fn new(parts: NoticeParts, notifier: Arc<dyn Notifier>) -> Self {
        Self {
            parts,
            notifier,
            failures: 0,
            seen: None,
        }
    }

    /// Tells what there is to tell.
    ///
    /// # Errors
    /// If the store fails; what was told until then may be told again.
    pub async fn look(&mut self) -> Result<Looked, StoreError> {
        let NoticeParts {
            events,
            places,
            clock,
            holder,
            ..
        } = self.parts.clone();
        let name = self.notifier.name().to_owned();
        let claimed = places
            .claim_notices(&name, holder, clock.now(), LEASE)
            .await?;
        let Some(mut told) = claimed else {
            self.seen = None;
            return Ok(Looked::TakenByOthers);
        };
        if told.0.is_none() {
            // A new way begins with news.
            let end = events.end().await?;
            places.note_told(&name, &told, &end).await?;
            told = Told(Some(end));
        }
        let filter = EventFilter {
            device: None,
            kinds: KINDS.to_vec(),
        };
        let from = self.seen.clone().or_else(|| told.0.clone());
        let page = match events.read(&filter, from.as_ref(), SLICE).await {
            Ok(page) => page,
            Err(ReadError::Store(error)) => return Err(error),
            Err(ReadError::NoSuchCursor(_)) => {
                // The store was restored from a backup: what this log will say from now on is told.
                tracing::warn!(
                    way = name,
                    "the log does not know how far this way had come: it goes on from the log's end"
                );
                let end = events.end().await?;
                places.note_told(&name, &told, &end).await?;
                self.seen = None;
                return Ok(Looked::Done(0));
            }
        };
        let mut count = 0;
        for (place, event) in page.events {
            if let Some(wait) = self.tell(&event).await {
                // Kept meanwhile, so that nobody else tries the receiver sooner.
                let lease = LEASE.saturating_add(SignedDuration::try_from(wait).unwrap_or(LEASE));
                places
                    .claim_notices(&name, holder, clock.now(), lease)
                    .await?;
                return Ok(Looked::Again(wait));
            }
            if !places.note_told(&name, &told, &place).await? {
                self.seen = None;
                return Ok(Looked::TakenByOthers);
            }
            told = Told(Some(place.clone()));
            self.seen = Some(place);
            count += 1;
        }
        self.seen = Some(page.next);
        Ok(Looked::Done(count))
    }

    /// Tells of one event, or gives it up; `Some`: again after so long.
    async fn tell(&mut self, event: &Event) -> Option<Duration> {
        let way = self.notifier.name().to_owned();
        let count = |result: &'static str| {
            metrics::counter!("holdfast_notices_total", "way" => way.clone(), "result" => result)
                .increment(1);
        };
        let device = event.payload["device"].as_str().unwrap_or_default();
        let name = event.payload["name"].as_str().unwrap_or_default();
        let Err(error) = self.notifier.notify(event).await else {
            self.failures = 0;
            count("told");
            tracing::info!(way, device, name, kind = %event.kind, "somebody was told of it");
            return None;
        };
        self.failures = self.failures.saturating_add(1);
        let now = self.parts.clock.now();
        if event.at + self.parts.give_up_after <= now {
            count("givenUp");
            tracing::error!(way, device, name, kind = %event.kind, %error, attempts = self.failures,
                "nobody could be told of it, and it is too old now");
            return None;
        }
        count("failed");
        // The fraction of the second is as good as random here.
        let random = (now.subsec_nanosecond().unsigned_abs()).wrapping_mul(4);
        let wait = Duration::from_millis(AGAIN.delay_ms(self.failures, random));
        tracing::warn!(way, device, name, kind = %event.kind, %error, attempt = self.failures,
            again_in_ms = wait.as_millis() as u64, "nobody could be told of it");
        Some(wait)
    }

    /// Looks again and again until `cancel` is.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            let looking = cancel.run_until_cancelled(self.look());
            let wait = match looking.await {
                None => return,
                Some(Ok(Looked::Again(wait))) => wait,
                Some(Ok(Looked::Done(_) | Looked::TakenByOthers)) => EVERY,
                Some(Err(error)) => {
                    tracing::warn!(
                        way = self.notifier.name(),
                        error = &error as &dyn std::error::Error,
                        "what there is to tell could not be looked at"
                    );
                    EVERY
                }
            };
            let waiting = cancel.run_until_cancelled(tokio::time::sleep(wait));
            if waiting.await.is_none() {
                return;
            }
        }
    }
}
