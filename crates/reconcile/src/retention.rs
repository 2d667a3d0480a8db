//! How long events are kept. Before a device's old events go, a snapshot of its read model is written, so that the read
//! model can still be rebuilt from the log.

use std::time::Duration;

use holdfast_domain::{
    DeviceId,
    event::{Context, EventKind},
    rebuild,
    row::Actor,
    state::Change,
};
use holdfast_ports::{
    StoreError,
    events::EventFilter,
    page::Page,
    store::{CommitError, DeviceFilter},
};
use jiff::SignedDuration;
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
        while cancel
            .run_until_cancelled(tokio::time::sleep(EVERY))
            .await
            .is_some()
        {
            match sweep(&parts, settings.keep_events).await {
                Ok(removed) => tracing::info!(removed, "old events removed"),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "old events could not be removed"
                    );
                }
            }
        }
    })
}

/// Snapshots every device whose last snapshot is older than half of `keep`, and removes events older than `keep`. Gives
/// how many.
///
/// # Errors
/// If the store fails; what was done until then stays done.
pub async fn sweep(parts: &ReconcilerParts, keep: SignedDuration) -> Result<u64, StoreError> {
    let now = parts.clock.now();
    let mut page = Page::first(SLICE);
    loop {
        let listed = parts
            .devices
            .devices(&DeviceFilter::default(), &page)
            .await?;
        for device in &listed.items {
            snapshot_if_old(parts, device.record.id, keep).await?;
        }
        match listed.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    let mut removed = 0;
    loop {
        let slice = parts.events.prune(now - keep, SLICE).await?;
        removed += slice;
        if slice < u64::from(SLICE) {
            return Ok(removed);
        }
    }
}

async fn snapshot_if_old(
    parts: &ReconcilerParts,
    device: DeviceId,
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
        .map(|event| event.at);
    if last.is_some_and(|last| context.now.duration_since(last) < keep / 2) {
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
