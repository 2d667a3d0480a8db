//! How long events, versions, and ended tokens and keys are kept. Before a device's old events go, a snapshot of its read model is written, so that the read
//! model can still be rebuilt from the log.

use std::time::Duration;

use holdfast_domain::{
    DeviceId,
    event::{Context, EventKind},
    rebuild,
    row::Actor,
    state::{Change, DeviceRecord},
};
use holdfast_ports::{
    StoreError,
    events::EventFilter,
    page::Page,
    store::{CommitError, DeviceFilter},
};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{ReconcilerParts, ReconcilerSettings};

/// How often old events are looked for.
const EVERY: Duration = Duration::from_secs(3_600);

/// Devices, and events, of one slice: no statement runs for long.
const SLICE: u32 = 1_000;

/// Keeps the log within its bounds until `cancel` is.
pub(crate) fn spawn(
    parts: ReconcilerParts,
    settings: ReconcilerSettings,
    cancel: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while cancel.run_until_cancelled(every.tick()).await.is_some() {
            match sweep(&parts, &settings).await {
                Ok(Swept {
                    events,
                    versions,
                    access,
                }) => tracing::info!(events, versions, access, "what was old was removed"),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "what is old could not all be removed"
                    );
                }
            }
        }
    })
}

/// How much a sweep removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Events.
    pub events: u64,
    /// Versions of targets.
    pub versions: u64,
    /// Operators' tokens and provisioning keys.
    pub access: u64,
}

/// Removes what is older than it is kept: versions of targets, ended tokens and keys, and events. Before, every device
/// whose last snapshot is older than half of that time gets a new one.
///
/// # Errors
/// If the store fails; what was done until then stays done.
pub async fn sweep(
    parts: &ReconcilerParts,
    settings: &ReconcilerSettings,
) -> Result<Swept, StoreError> {
    let before = parts.clock.now() - settings.keep_events;
    let mut swept = Swept::default();
    let mut page = Page::first(SLICE);
    loop {
        let listed = parts
            .devices
            .devices(&DeviceFilter::default(), &page)
            .await?;
        for device in &listed.items {
            let DeviceRecord { id, audit, .. } = &device.record;
            snapshot_if_old(parts, *id, audit.created_at, settings.keep_events).await?;
            swept.versions += parts
                .devices
                .prune_history(*id, settings.keep_versions)
                .await?;
        }
        match listed.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    swept.access = parts.tokens.prune_access(before).await?;
    loop {
        let slice = parts.events.prune(before, SLICE).await?;
        swept.events += slice;
        if slice < u64::from(SLICE) {
            return Ok(swept);
        }
    }
}

async fn snapshot_if_old(
    parts: &ReconcilerParts,
    device: DeviceId,
    created_at: Timestamp,
    keep: SignedDuration,
) -> Result<(), StoreError> {
    let context = Context::new(parts.clock.now(), Actor::reconciler());
    let filter = EventFilter {
        device: Some(device),
        kinds: vec![EventKind::DeviceSnapshot],
    };
    let last = parts
        .events
        .latest(&filter, 1)
        .await?
        .first()
        .map_or(created_at, |event| event.at);
    if context.now.duration_since(last) < keep / 2 {
        return Ok(());
    }
    let Some(state) = parts.devices.load(device).await? else {
        return Ok(());
    };
    let mut change = Change::of(&state);
    change.event(
        &state,
        &context,
        EventKind::DeviceSnapshot,
        None,
        rebuild::snapshot(&state.rows),
    );
    match parts.devices.commit(&change).await {
        // Whoever was faster leaves the snapshot to the next sweep.
        Ok(()) | Err(CommitError::Conflict | CommitError::NameTaken(_)) => Ok(()),
        Err(CommitError::Store(error)) => Err(error),
    }
}
