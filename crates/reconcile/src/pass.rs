//! One pass: claims what is due, looks at each device, commits what time brought about, and says when to look again.

use futures::{StreamExt as _, stream};
use holdfast_domain::{
    event::{Context, EventKind},
    row::Actor,
    watch::{Watched, watch},
};
use holdfast_ports::{StoreError, fleet::Claimed, store::CommitError};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::Reconciler;

/// When a device that could not be looked at is due again.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(1);

/// What a pass did. Partial success is normal: what could not be done stays due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PassReport {
    /// Devices looked at.
    pub looked_at: u64,
    /// Changes committed.
    pub changed: u64,
    /// Devices that could not be dealt with.
    pub failed: u64,
    /// It did not come to its end: the store could not be asked for what is due, or told what was looked at.
    pub cut_short: bool,
}

impl Reconciler {
    /// Works through all that is due now.
    pub async fn pass(&self) -> PassReport {
        let started = Instant::now();
        let mut report = PassReport::default();
        let begun = self.parts.clock.now();
        let hub_up_since = match self.parts.fleet.hub_up_since(begun).await {
            Ok(since) => since,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "whether the hub is up could not be asked: nobody is taken for silent in this pass"
                );
                None
            }
        };
        loop {
            let claimed = self
                .parts
                .fleet
                .claim(begun, self.settings.lease, self.settings.batch)
                .await;
            let claimed = match claimed {
                Ok(claimed) => claimed,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "due devices could not be claimed"
                    );
                    report.failed += 1;
                    report.cut_short = true;
                    break;
                }
            };
            let count = claimed.len();
            self.batch(claimed, hub_up_since, &mut report).await;
            if count < self.settings.batch as usize {
                break;
            }
        }
        metrics::histogram!("holdfast_pass_seconds", "loop" => "configuration")
            .record(started.elapsed());
        report
    }

    async fn batch(
        &self,
        claimed: Vec<Claimed>,
        hub_up_since: Option<Timestamp>,
        report: &mut PassReport,
    ) {
        let results: Vec<_> = stream::iter(claimed)
            .map(|claimed| async move { (claimed, self.look_at(claimed, hub_up_since).await) })
            .buffer_unordered(self.settings.at_once)
            .collect()
            .await;
        let mut next = Vec::with_capacity(results.len());
        for (claimed, result) in results {
            match result {
                Ok((seen, at, changed)) => {
                    report.looked_at += 1;
                    report.changed += u64::from(changed);
                    next.push((seen, at));
                }
                Err(error) => {
                    report.failed += 1;
                    tracing::warn!(device = %claimed.device, error = &error as &dyn std::error::Error,
                        "device could not be looked at; it stays due");
                    next.push((claimed, self.parts.clock.now() + AGAIN_AFTER));
                }
            }
        }
        if let Err(error) = self.parts.fleet.schedule(&next).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "devices could not be scheduled"
            );
            report.failed += 1;
            report.cut_short = true;
        }
    }

    /// Looks at one device: what was seen of it, when to look again, and whether something was committed. A device that is
    /// gone, or that others change too fast, is given back as it was claimed: in the second case it stays due.
    async fn look_at(
        &self,
        claimed: Claimed,
        hub_up_since: Option<Timestamp>,
    ) -> Result<(Claimed, Timestamp, bool), StoreError> {
        const ATTEMPTS: usize = 5;
        let given_back = (claimed, self.parts.clock.now() + AGAIN_AFTER, false);
        for _ in 0..ATTEMPTS {
            let Some(state) = self.parts.devices.load(claimed.device).await? else {
                return Ok(given_back);
            };
            let context = Context::new(self.parts.clock.now(), Actor::reconciler());
            self.outputs.saw(&state, context.now);
            let Watched {
                change,
                next,
                drifting_since: _,
                ended_after,
            } = watch(&state, &self.settings.patience, hub_up_since, &context);
            let Some(change) = change else {
                return Ok((
                    Claimed {
                        revision: state.revision,
                        ..claimed
                    },
                    next,
                    false,
                ));
            };
            match self.parts.devices.commit(&change).await {
                Ok(()) => {
                    for event in &change.events {
                        log(&state.record.name, event.kind);
                    }
                    if let Some(lasted) = ended_after {
                        metrics::histogram!("holdfast_drift_ended_seconds")
                            .record(lasted.as_secs_f64());
                    }
                    return Ok((
                        Claimed {
                            revision: state.revision + 1,
                            ..claimed
                        },
                        next,
                        true,
                    ));
                }
                Err(CommitError::Conflict) => {}
                Err(CommitError::Store(error)) => return Err(error),
                Err(CommitError::NameTaken(_)) => return Ok(given_back),
            }
        }
        Ok(given_back)
    }
}

fn log(device: &holdfast_domain::Name, kind: EventKind) {
    match kind {
        EventKind::DeviceOffline => tracing::warn!(%device, "the agent is silent"),
        EventKind::DeviceConfigDrift => tracing::warn!(%device, "the device drifts"),
        EventKind::DeviceReconciled => tracing::info!(%device, "the device is reconciled"),
        _ => {}
    }
}
