//! The agent's side: the target, reports. How an agent comes to be one is in [`crate::registering`].

use std::time::Duration;

use bytes::Bytes;
use holdfast_domain::{
    DeviceId, Fingerprint, Incarnation, Problems, Report, ReportOrder,
    event::{Context, EventKind},
    not_json,
    receive::{Received, receive},
    row::Actor,
    state::{Change, DeviceRecord, DeviceState},
};
use holdfast_ports::store::Seen;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    Hub, HubError,
    applied::Applied,
    same_again::SameAgain,
    states::{Decided, Known},
};

/// What a poll for the target gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolledTarget {
    /// The agent holds it already.
    Unchanged {
        /// Its entity tag.
        etag: String,
    },
    /// The document.
    Target {
        /// Its entity tag.
        etag: String,
        /// As JSON.
        body: Bytes,
    },
    /// The document without the configuration, which the agent holds.
    Changes {
        /// The entity tag of the whole.
        etag: String,
        /// As JSON.
        body: Bytes,
    },
}

/// What came of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportOutcome {
    /// It changed something, which is durable.
    Taken,
    /// It said nothing new.
    Unchanged,
    /// It is older than what is known.
    Late {
        /// The highest boot known.
        boot: u64,
    },
    /// It left out what is not known.
    FullWanted,
    /// It is of another incarnation than the current one.
    OtherIncarnation,
}

impl ReportOutcome {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Unchanged => "unchanged",
            Self::Late { .. } => "late",
            Self::FullWanted => "fullWanted",
            Self::OtherIncarnation => "otherIncarnation",
        }
    }
}

impl Hub {
    /// The target of a device, unless `held` is its entity tag; then waits up to `wait` for it to change.
    ///
    /// `config` is the identity of the configuration that the agent holds, if it takes a target without it: it is left out if
    /// it is the very same. A version alone would not do, since a hub that was restored from a backup gives versions again.
    ///
    /// # Errors
    /// [`HubError::DeviceGone`] if the device was deleted, also while waiting.
    pub async fn poll_target(
        &self,
        device: DeviceId,
        held: Option<&str>,
        config: Option<Fingerprint>,
        wait: Duration,
    ) -> Result<PolledTarget, HubError> {
        let deadline = Instant::now() + wait.min(self.inner.settings.longest_wait);
        let slot = self.inner.states.slot(device);
        loop {
            let changed = slot.desired.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let known = self.inner.states.get(device).await?;
            self.inner
                .seen
                .add(device, self.inner.parts.clock.now(), None);
            let etag = known.etag.clone();
            if held != Some(etag.as_str()) {
                let now = self.inner.parts.clock.now();
                return Ok(match known.changes(config, now) {
                    Some(body) => PolledTarget::Changes { etag, body },
                    None => PolledTarget::Target {
                        etag,
                        body: known.document(now),
                    },
                });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if wait.is_zero()
                || left.is_zero()
                || tokio::time::timeout(left, changed).await.is_err()
            {
                return Ok(PolledTarget::Unchanged { etag });
            }
        }
    }

    /// Takes a report of `device`, whole or not at all.
    ///
    /// # Errors
    /// Says what is wrong with the report; nothing was changed then.
    pub async fn report(
        &self,
        device: DeviceId,
        body: &[u8],
        correlation: Option<&str>,
    ) -> Result<ReportOutcome, HubError> {
        let started = Instant::now();
        let known = self.inner.states.get(device).await?;
        if let Some(since) = known.since_last_report(started) {
            metrics::histogram!("holdfast_between_reports_seconds").record(since);
        }
        let same = SameAgain::of(body);
        let outcome = if let Some((same, _, order)) =
            same.filter(|same| is_same_again(&known, device, same))
        {
            self.note_unchanged(device, &known, order, Some(same));
            ReportOutcome::Unchanged
        } else {
            let report = read_report(device, body)?;
            self.take_report(
                device,
                &known,
                report,
                same.map(|(same, _, _)| same),
                correlation,
            )
            .await?
        };
        metrics::counter!("holdfast_reports_total", "result" => outcome.as_str()).increment(1);
        metrics::histogram!("holdfast_report_seconds").record(started.elapsed());
        Ok(outcome)
    }

    async fn take_report(
        &self,
        device: DeviceId,
        known: &Known,
        report: Report,
        same: Option<SameAgain>,
        correlation: Option<&str>,
    ) -> Result<ReportOutcome, HubError> {
        let follows = follows(known.last_order(), report.order);
        if !follows {
            self.inner.states.forget(device);
        }
        let started = Instant::now();
        let order = report.order;
        let context = self.context(&Actor::agent(), correlation);
        let mut applied = None;
        let outcome = self
            .inner
            .states
            .change_from_memory(device, |known| {
                let seen = known.seen_order();
                Ok(
                    match receive(&known.state, report.clone(), seen, &context) {
                        Received::Late { boot } => answer(ReportOutcome::Late { boot }),
                        Received::OtherIncarnation { current: _ } => {
                            answer(ReportOutcome::OtherIncarnation)
                        }
                        Received::FullWanted => answer(ReportOutcome::FullWanted),
                        Received::Contradictory(problems) => {
                            return Err(HubError::Invalid(problems));
                        }
                        Received::Unchanged => {
                            self.note_unchanged(device, known, order, same);
                            answer(ReportOutcome::Unchanged)
                        }
                        Received::Changed(change) => {
                            applied = Some(Applied::of(&change, &known.state, &context));
                            Decided {
                                change: Some(*change),
                                answer: ReportOutcome::Taken,
                            }
                        }
                    },
                )
            })
            .await?;
        if outcome == ReportOutcome::Unchanged && !follows {
            // One between got lost, or is late: other processes must know at once that this one came after it.
            self.note_order(device, order).await?;
        }
        if let (ReportOutcome::Taken, Some(applied)) = (outcome, applied) {
            applied.tell(device, started.elapsed());
        }
        Ok(outcome)
    }

    async fn note_order(&self, device: DeviceId, order: ReportOrder) -> Result<(), HubError> {
        let seen = Seen {
            device,
            at: self.inner.parts.clock.now(),
            order: Some(order),
        };
        // Whether the device is marked as silent is found again by the next batch, which has it too.
        self.inner.parts.devices.touch(&[seen]).await?;
        Ok(())
    }

    fn note_unchanged(
        &self,
        device: DeviceId,
        known: &Known,
        order: ReportOrder,
        same: Option<SameAgain>,
    ) {
        {
            let mut seen = known
                .seen
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            seen.order = Some(order);
            seen.same = same.map(|same| (known.state.revision, same));
        }
        self.inner
            .seen
            .add(device, self.inner.parts.clock.now(), Some(order));
    }

    /// Gives an agent a new incarnation: it found that its disk speaks with the past of another.
    ///
    /// # Errors
    /// If the device is gone or the store fails.
    pub async fn new_incarnation(
        &self,
        device: DeviceId,
        correlation: Option<&str>,
    ) -> Result<Incarnation, HubError> {
        let incarnation = Incarnation(self.inner.parts.entropy.uuid());
        let context = self.context(&Actor::agent(), correlation);
        let decide = |known: &Known| {
            let change = reincarnated(
                &known.state,
                incarnation,
                EventKind::DeviceIncarnation,
                &context,
            );
            Ok(Decided {
                change: Some(change),
                answer: incarnation,
            })
        };
        self.inner.states.change(device, decide).await
    }
}

fn answer<T>(answer: T) -> Decided<T> {
    Decided {
        change: None,
        answer,
    }
}

fn is_same_again(
    known: &Known,
    device: DeviceId,
    (same, claimed, order): &(SameAgain, DeviceId, ReportOrder),
) -> bool {
    *claimed == device
        && known.last_seen().same == Some((known.state.revision, *same))
        && follows(known.last_order(), *order)
        && !known.state.presence.silent
}

/// Is `order` the very next after `last`? Otherwise another process may have taken the ones between.
fn follows(last: Option<ReportOrder>, order: ReportOrder) -> bool {
    last.is_some_and(|last| {
        last.incarnation == order.incarnation
            && last.boot == order.boot
            && last.sequence + 1 == order.sequence
    })
}

fn read_report(device: DeviceId, body: &[u8]) -> Result<Report, HubError> {
    let document = serde_json::from_slice(body).map_err(|error| {
        HubError::Invalid(Problems::one(
            "",
            "a report as a JSON document",
            not_json(&error),
        ))
    })?;
    let (claimed, report) = Report::from_json(document).map_err(HubError::Invalid)?;
    if claimed == device {
        Ok(report)
    } else {
        Err(HubError::OtherDevice {
            own: device,
            found: claimed,
        })
    }
}

pub(crate) fn reincarnated(
    state: &DeviceState,
    incarnation: Incarnation,
    kind: EventKind,
    context: &Context,
) -> Change {
    let mut change = Change::of(state);
    let payload = json!({ "incarnation": incarnation, "previous": state.record.incarnation });
    change.event(state, context, kind, None, payload);
    change.record = Some(DeviceRecord {
        incarnation: Some(incarnation),
        ..state.record.clone()
    });
    change
}
