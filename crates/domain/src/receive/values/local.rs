//! A stop on site, as the hub hears of it: when it ends by the hub's clock, and the events of it.

use alloc::{format, string::String};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    document::hold::{HoldReport, LocalEnd, LocalStop},
    event::{Context, EventKind},
    limits,
    row::Actor,
    state::{Change, DeviceState},
};

/// An end that an agent's word puts at most so far from the one that was noted is the same: reports take their time.
const SAME_END: SignedDuration = SignedDuration::from_secs(60);

/// What an agent says of its loop, with the end of its stop by the hub's clock. One that says the same again changes nothing,
/// although less remains.
pub(super) fn noted(said: HoldReport, before: Option<&HoldReport>, now: Timestamp) -> HoldReport {
    let local = said.local.map(|stop| {
        let until = stop.remaining_ms.map(|left| ends_at(left, now));
        let same = before
            .and_then(|before| before.local.as_ref())
            .filter(|old| is_same(old, &stop) && is_near(old.until, until));
        same.cloned().unwrap_or(LocalStop { until, ..stop })
    });
    HoldReport { local, ..said }
}

fn ends_at(left_ms: u64, now: Timestamp) -> Timestamp {
    let left = SignedDuration::from_millis(i64::try_from(left_ms).unwrap_or(i64::MAX));
    now.saturating_add(left).unwrap_or(Timestamp::MAX)
}

fn is_same(one: &LocalStop, other: &LocalStop) -> bool {
    (&one.by, &one.reason) == (&other.by, &other.reason)
}

fn is_near(one: Option<Timestamp>, other: Option<Timestamp>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.duration_since(other).abs() <= SAME_END,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Adds the events of what happened on site. Their actor is who the person on site says they are, marked as such.
pub(super) fn tell(
    change: &mut Change,
    state: &DeviceState,
    before: Option<&HoldReport>,
    now: Option<&HoldReport>,
    context: &Context,
) {
    let Some(now) = now else { return };
    let stood = before.and_then(|before| before.local.as_ref());
    let ended = now
        .local_ended
        .as_ref()
        .filter(|end| before.and_then(|before| before.local_ended.as_ref()) != Some(*end));
    if let Some(end) = ended {
        if stood.is_none() {
            // It was made and lifted while nobody heard of it.
            stopped(
                change,
                state,
                &end.stopped_by,
                &end.stop_reason,
                None,
                context,
            );
        }
        let how = if end.by.is_some() {
            "lifted"
        } else {
            "expired"
        };
        started(change, state, end, how, context);
    }
    if let (Some(stop), None, None) = (stood, &now.local, ended) {
        // The agent's disk was replaced, or put back.
        let end = LocalEnd {
            stopped_by: stop.by.clone(),
            stop_reason: stop.reason.clone(),
            by: None,
            reason: None,
            count: 0,
        };
        started(change, state, &end, "forgotten", context);
    }
    if let Some(stop) = &now.local
        && (ended.is_some() || stood != Some(stop))
    {
        stopped(change, state, &stop.by, &stop.reason, stop.until, context);
    }
}

fn stopped(
    change: &mut Change,
    state: &DeviceState,
    by: &Actor,
    reason: &str,
    until: Option<Timestamp>,
    context: &Context,
) {
    let payload = json!({ "local": true, "by": by, "reason": reason, "until": until });
    let context = context_of(by, context);
    change.event(
        state,
        &context,
        EventKind::ReconciliationStopped,
        None,
        payload,
    );
}

fn started(change: &mut Change, state: &DeviceState, end: &LocalEnd, how: &str, context: &Context) {
    let LocalEnd {
        stopped_by,
        stop_reason,
        by,
        reason,
        count: _,
    } = end;
    let payload = json!({
        "local": true,
        "by": by,
        "reason": reason,
        "ended": how,
        "stop": { "by": stopped_by, "reason": stop_reason },
    });
    let context = match by {
        Some(by) => context_of(by, context),
        None => context.clone(),
    };
    change.event(
        state,
        &context,
        EventKind::ReconciliationStarted,
        None,
        payload,
    );
}

/// What somebody typed on site is shown as a name, not trusted as one: PostgreSQL's texts hold no NUL, lists no novels.
fn context_of(by: &Actor, context: &Context) -> Context {
    let by: String = by
        .as_str()
        .chars()
        .filter(|char| !char.is_control())
        .take(limits::NAME_CHARS)
        .collect();
    Context {
        actor: Actor::named(&format!("{by} (on site)")),
        ..context.clone()
    }
}
