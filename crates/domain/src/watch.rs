//! What time alone brings about: an agent that went silent, a drift that lasts, a drift that has ended.

use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    canonical::Fingerprint,
    document::hold::Scope,
    drift::{self, SensorDrift},
    event::{Context, EventKind, called::call_by_name},
    state::{Change, DeviceState, DriftNote, Presence, TargetChange, TargetChangeKind},
    trouble::{self, Tolerated, Troubles},
};

/// How patient the reconciler is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// An agent that was not heard of for so long is silent. A few heartbeats.
    pub silent_after: SignedDuration,
    /// A drift that lasts so long is told of. Longer than an ordinary deployment.
    pub drift_after: SignedDuration,
    /// When trouble persists, so that somebody is told of it.
    pub tolerated: Tolerated,
    /// A device that nothing is due for is looked at again after so long.
    pub at_least_every: SignedDuration,
}

/// What a look at a device comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// What to commit; `None`: nothing.
    pub change: Option<Change>,
    /// When to look again.
    pub next: Timestamp,
    /// Since when the device drifts.
    pub drifting_since: Option<Timestamp>,
    /// How long a drift lasted that has ended now.
    pub ended_after: Option<SignedDuration>,
}

/// Looks at a device. `hub_up_since` is when the hub came up: nobody could report before, so silence counts from then; and
/// while it is down (`None`), nobody is silent for it.
#[must_use]
pub fn watch(
    state: &DeviceState,
    patience: &Patience,
    hub_up_since: Option<Timestamp>,
    context: &Context,
) -> Watched {
    let now = context.now;
    let mut change = Change::of(state);
    let mut presence = state.presence.clone();
    let heard = presence.last_seen_at.zip(hub_up_since);
    let silent_at = heard.map(|(seen, up)| seen.max(up) + patience.silent_after);
    let hub_back_at = hub_up_since.is_none().then(|| now + patience.silent_after);
    let heard_of_late = presence
        .last_seen_at
        .is_some_and(|seen| seen + patience.silent_after > now);
    if silent_at.is_some_and(|at| at <= now) && !presence.silent {
        presence.silent = true;
        let payload = json!({ "lastSeenAt": presence.last_seen_at });
        change.event(state, context, EventKind::DeviceOffline, None, payload);
    } else if presence.silent && heard_of_late {
        // It polls, and has had nothing to report since.
        presence.silent = false;
        change.event(state, context, EventKind::DeviceOnline, None, json!({}));
    }
    let drifting = drift::of_device(state);
    let since = drifting.iter().map(|drift| drift.since).min();
    // What has not lasted long enough yet is not told of, whatever else drifts: it may be an ordinary deployment.
    let (lasting, young): (Vec<SensorDrift>, Vec<SensorDrift>) = drifting
        .into_iter()
        .partition(|drift| drift.since + patience.drift_after <= now);
    let told_at = young
        .iter()
        .map(|drift| drift.since + patience.drift_after)
        .min();
    let mut ended_after = None;
    match (since, presence.drift.as_ref()) {
        (Some(since), note) if !lasting.is_empty() => {
            let fingerprint = identity(&lasting);
            if note.is_none_or(|note| note.fingerprint != fingerprint) {
                tell(&mut change, state, &lasting, since, context);
                presence.drift = Some(DriftNote { since, fingerprint });
            }
        }
        (None, Some(note)) => {
            let lasted = now.duration_since(note.since);
            let payload = json!({
                "targetVersion": state.target.version,
                "driftedSince": note.since,
                "lastedMs": lasted.as_millis() as i64,
            });
            change.event(
                state,
                context,
                EventKind::DeviceReconciled,
                Some(state.target.event),
                payload,
            );
            presence.drift = None;
            ended_after = Some(lasted);
        }
        (Some(_) | None, _) => {}
    }
    let next_trouble = tell_of_trouble(&mut change, state, &mut presence, patience, context);
    let is_idle = presence == state.presence;
    change.presence = Some(presence);
    let next_end = end_what_is_over(&mut change, state, context);
    let is_idle = is_idle && change.target.is_none();
    call_by_name(&mut change, state);
    let next = [silent_at, hub_back_at, told_at, next_trouble, next_end]
        .into_iter()
        .flatten()
        .filter(|at| *at > now)
        .fold(now + patience.at_least_every, Ord::min);
    Watched {
        change: (!is_idle).then_some(change),
        next,
        drifting_since: since,
        ended_after,
    }
}

/// An agent that was silent was heard of: what that changes; `None` if it was not silent.
#[must_use]
pub fn heard(state: &DeviceState, context: &Context) -> Option<Change> {
    state.presence.silent.then(|| {
        let mut change = Change::of(state);
        change.event(state, context, EventKind::DeviceOnline, None, json!({}));
        // What was told of its silence is over.
        change.is_worth_a_look = !state.presence.troubles.is_empty();
        change.presence = Some(Presence {
            silent: false,
            last_seen_at: Some(context.now),
            ..state.presence.clone()
        });
        change
    })
}

/// Tells of trouble that persists, and of what is over. Says when the next one will have persisted.
fn tell_of_trouble(
    change: &mut Change,
    state: &DeviceState,
    presence: &mut Presence,
    patience: &Patience,
    context: &Context,
) -> Option<Timestamp> {
    let Troubles {
        noted,
        began,
        ended,
        next,
    } = trouble::look(state, presence.silent, &patience.tolerated, context.now);
    let device = state.record.name.as_str();
    for one in ended {
        let payload = one.payload(device, Some(context.now));
        change.event(state, context, EventKind::TroubleEnded, None, payload);
    }
    for one in began {
        let payload = one.payload(device, None);
        change.event(state, context, EventKind::TroubleBegan, None, payload);
    }
    presence.troubles = noted;
    next
}

/// What drifts and how, without since when, from which version, or how often it was tried: a sensor that fails goes on
/// failing while it is edited.
fn identity(drifting: &[SensorDrift]) -> Fingerprint {
    let parts: Vec<_> = drifting
        .iter()
        .map(|drift| json!([drift.id, drift.kind]))
        .collect();
    Fingerprint::of_value(&json!(parts))
}

/// Takes away the wishes and pauses whose time is over, and says when the next one is.
fn end_what_is_over(
    change: &mut Change,
    state: &DeviceState,
    context: &Context,
) -> Option<Timestamp> {
    let is_over = |until: Option<Timestamp>| until.is_some_and(|until| until <= context.now);
    let mut values = state.target.values.clone();
    let expired: Vec<_> = values
        .wishes
        .values()
        .filter(|wish| is_over(wish.until))
        .cloned()
        .collect();
    for wish in &expired {
        let setpoint = &wish.setpoint;
        values.wishes.remove(&setpoint.point_id);
        let payload = json!({ "pointId": setpoint.point_id, "previous": setpoint.value, "until": wish.until });
        change.event(state, context, EventKind::SetpointExpired, None, payload);
    }
    values.revision += u64::from(!expired.is_empty());
    let ended: Vec<_> = values
        .hold
        .interruptions
        .iter()
        .filter(|one| is_over(one.until))
        .cloned()
        .collect();
    values.hold.interruptions.retain(|one| !is_over(one.until));
    values.hold.revision += u64::from(!ended.is_empty());
    for one in &ended {
        let kind = match one.scope {
            Scope::Device => EventKind::ReconciliationStarted,
            Scope::Sensor(_) | Scope::Point(_) => EventKind::ReconciliationResumed,
        };
        let payload = json!({ "lifted": [one], "reason": "its time is over" });
        change.event(state, context, kind, None, payload);
    }
    let ends = values.wishes.values().filter_map(|wish| wish.until);
    let next = ends
        .chain(values.hold.interruptions.iter().filter_map(|one| one.until))
        .min();
    if values != state.target.values {
        let mut target = change
            .target
            .take()
            .map_or_else(|| state.target.clone(), |change| change.target);
        target.values = values;
        change.target = Some(TargetChange {
            target,
            reason: None,
            kind: TargetChangeKind::Values,
        });
    }
    next
}

fn tell(
    change: &mut Change,
    state: &DeviceState,
    drifting: &[SensorDrift],
    since: Timestamp,
    context: &Context,
) {
    let payload = json!({
        "targetVersion": state.target.version,
        "currentVersion": state.reported.as_ref().map(|reported| reported.worked_version),
        "since": since,
        "sensors": drifting,
    });
    let event = change.event(
        state,
        context,
        EventKind::DeviceConfigDrift,
        Some(state.target.event),
        payload,
    );
    let mut target = state.target.clone();
    target.look_revision += 1;
    let look = json!({ "revision": target.look_revision, "reason": "drift" });
    change.event(state, context, EventKind::DeviceLook, Some(event), look);
    change.target = Some(TargetChange {
        target,
        reason: None,
        kind: TargetChangeKind::Look,
    });
}
