//! What a report changes of what the hub knows.
//!
//! Old never overwrites new, absent is not empty, and nothing changed means nothing happens.

mod values;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
};
use core::cmp::Ordering;

use serde_json::json;

use crate::{
    document::{
        report::{Outcome, Report, ReportOrder, running_fingerprint},
        sensor::Item,
    },
    event::{Context, EventKind, called::call_by_name},
    fields::Problems,
    ids::{Incarnation, SensorId},
    project::project,
    state::{Change, DeviceState, Presence, Reported, Target, TargetChange, TargetChangeKind},
};

/// What comes of a report.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// It is older than what is known: answered with the highest boot known, and dropped.
    Late {
        /// The highest boot known.
        boot: u64,
    },
    /// It is of another life of the agent's disk.
    OtherIncarnation {
        /// The one that counts; `None`: the device has not registered.
        current: Option<Incarnation>,
    },
    /// It leaves out what the hub does not know: a full report is wanted.
    FullWanted,
    /// It contradicts itself: its fingerprint is not that of what it says runs.
    Contradictory(Problems),
    /// It says what is known already. Only `seen` moves.
    Unchanged,
    /// It changes something.
    Changed(Box<Change>),
}

/// Decides what comes of `report`. `seen` is the order of the last report that said nothing new, if that is later than
/// the last one stored.
#[must_use]
pub fn receive(
    state: &DeviceState,
    report: Report,
    seen: Option<ReportOrder>,
    context: &Context,
) -> Received {
    if state.record.incarnation != Some(report.order.incarnation) {
        return Received::OtherIncarnation {
            current: state.record.incarnation,
        };
    }
    let last = latest(state.reported.as_ref().map(|reported| reported.order), seen);
    let same_life = last.filter(|last| last.incarnation == report.order.incarnation);
    if let Some(last) = same_life
        && report.order.compare(&last) != Some(Ordering::Greater)
    {
        return Received::Late { boot: last.boot };
    }
    let is_new_boot = same_life.is_none_or(|last| last.boot < report.order.boot);
    if is_new_boot && !report.is_full() {
        return Received::FullWanted;
    }
    let claimed = report.running_fingerprint;
    let refused = report.refused_version();
    let was_full = report.outcome.is_some();
    let Some(reported) = merge(state, report, is_new_boot, context) else {
        return Received::FullWanted;
    };
    if reported.running_fingerprint != claimed {
        return if was_full {
            let found = "another one";
            Received::Contradictory(Problems::one(
                "runningFingerprint",
                reported.running_fingerprint,
                found,
            ))
        } else {
            Received::FullWanted
        };
    }
    decide(state, reported, refused, context)
}

fn latest(stored: Option<ReportOrder>, seen: Option<ReportOrder>) -> Option<ReportOrder> {
    match (stored, seen) {
        (Some(stored), Some(seen)) if seen.compare(&stored) == Some(Ordering::Greater) => {
            Some(seen)
        }
        (Some(stored), _) => Some(stored),
        (None, _) => None,
    }
}

/// What is known after the report; `None` if it leaves out what was never said.
fn merge(
    state: &DeviceState,
    report: Report,
    replace: bool,
    context: &Context,
) -> Option<Reported> {
    let old = state.reported.as_ref();
    let Report {
        order,
        held_version,
        running_fingerprint: _,
        looked_revision,
        outcome,
        health,
        values,
        agent_version,
        extra: _,
    } = report;
    let outcome = match (outcome, old) {
        (Some(outcome), _) => sorted(outcome),
        (None, Some(old)) => Outcome {
            version: old.worked_version,
            running: old.running.clone(),
            failures: old.failures.clone(),
        },
        (None, None) => return None,
    };
    let mut merged = match old {
        Some(old) if !replace => old.health.clone(),
        _ => BTreeMap::new(),
    };
    merged.extend(health.unwrap_or_default());
    // Of what is wanted, too: an agent may say that an instrument is offline before it says that the sensor runs.
    let concerned: BTreeSet<SensorId> = outcome
        .running
        .iter()
        .chain(&state.target.items)
        .filter(|item| item.sensor.enabled())
        .map(|item| item.sensor.id())
        .collect();
    merged.retain(|id, _| concerned.contains(id));
    Some(Reported {
        order,
        held_version,
        worked_version: outcome.version,
        running_fingerprint: running_fingerprint(&outcome.running),
        running: outcome.running,
        failures: outcome.failures,
        health: merged,
        looked_revision,
        values: values::merge(state, values, replace, context.now),
        agent_version: agent_version.or_else(|| old?.agent_version.clone()),
        reported_at: context.now,
    })
}

/// The order of items means nothing; one order makes equal things equal.
fn sorted(mut outcome: Outcome) -> Outcome {
    outcome.running.sort_by_key(|item| item.sensor.id());
    outcome.failures.sort_by_key(|failure| failure.id);
    outcome
}

fn says_the_same(old: &Reported, new: &Reported) -> bool {
    let Reported {
        order,
        held_version,
        worked_version,
        running: _,
        failures,
        health,
        running_fingerprint,
        looked_revision,
        values,
        agent_version,
        reported_at: _,
    } = old;
    order.boot == new.order.boot
        && order.incarnation == new.order.incarnation
        && *held_version == new.held_version
        && *worked_version == new.worked_version
        && *running_fingerprint == new.running_fingerprint
        && *failures == new.failures
        && *health == new.health
        && *looked_revision == new.looked_revision
        && *values == new.values
        && *agent_version == new.agent_version
}

fn decide(
    state: &DeviceState,
    reported: Reported,
    refused: Option<u64>,
    context: &Context,
) -> Received {
    let is_same = state
        .reported
        .as_ref()
        .is_some_and(|old| says_the_same(old, &reported));
    let above = Above::why(state, &reported, refused);
    if is_same && !state.presence.silent && above.is_none() {
        return Received::Unchanged;
    }
    let mut change = Change::of(state);
    if state.presence.silent {
        change.event(state, context, EventKind::DeviceOnline, None, json!({}));
    }
    let mut target = state.target.clone();
    if let Some(above) = above {
        above.go(&mut change, state, &mut target, &reported, context);
    }
    project(
        &mut change,
        state,
        &target,
        Some(&reported),
        &BTreeMap::new(),
        context,
    );
    values::tell(&mut change, state, &reported, context);
    values::go_above(&mut change, state, &reported.values, context);
    values::adopt(&mut change, state, &reported.values, context);
    note_deployed(&mut change, state, &target, &reported, context);
    change.is_worth_a_look |= state.presence.silent && !state.presence.troubles.is_empty();
    change.presence = Some(Presence {
        last_seen_at: Some(context.now),
        silent: false,
        ..state.presence.clone()
    });
    let old = state.reported.as_ref();
    change.runs_the_same =
        old.is_some_and(|old| old.running_fingerprint == reported.running_fingerprint);
    change.reported = Some(reported);
    call_by_name(&mut change, state);
    Received::Changed(Box::new(change))
}

/// Why the hub goes on above a version: it was restored from a backup, and gives a version a second time or does not know
/// it. So the agent takes what the hub has, instead of refusing it for ever.
#[derive(Clone, Copy)]
enum Above {
    /// The agent holds a later version.
    AgentIsAhead,
    /// The agent holds other content under the very version that the hub has.
    SameVersionOtherContent,
}

impl Above {
    fn why(state: &DeviceState, reported: &Reported, refused: Option<u64>) -> Option<Self> {
        if reported.held_version > state.target.version {
            Some(Self::AgentIsAhead)
        } else if refused == Some(state.target.version) {
            Some(Self::SameVersionOtherContent)
        } else {
            None
        }
    }

    const fn told(self) -> (EventKind, &'static str) {
        match self {
            Self::AgentIsAhead => (
                EventKind::TargetUpdated,
                "the agent holds a later version than this hub gave: going on above it",
            ),
            Self::SameVersionOtherContent => (
                EventKind::TargetConflict,
                "the agent holds other content under this version: going on above it",
            ),
        }
    }

    fn go(
        self,
        change: &mut Change,
        state: &DeviceState,
        target: &mut Target,
        reported: &Reported,
        context: &Context,
    ) {
        let (kind, reason) = self.told();
        target.version = reported.held_version.max(state.target.version) + 1;
        let running = by_sensor(&reported.running);
        for item in &mut target.items {
            // What the agent holds under this number is not what is wanted: it has yet to get that.
            if running
                .get(&item.sensor.id())
                .is_none_or(|runs| runs.sensor != item.sensor)
            {
                item.config_version = target.version;
            }
        }
        let payload = json!({
            "version": target.version,
            "previousVersion": state.target.version,
            "agentHolds": reported.held_version,
            "reason": reason,
        });
        target.event = change.event(state, context, kind, None, payload);
        target.audit = target.audit.touched(context.now, &context.actor);
        change.target = Some(TargetChange {
            target: target.clone(),
            reason: Some(reason.into()),
            kind: TargetChangeKind::NewVersion,
        });
    }
}

/// Notes the first time that all of a version runs.
fn note_deployed(
    change: &mut Change,
    state: &DeviceState,
    target: &Target,
    reported: &Reported,
    context: &Context,
) {
    let noted = target
        .last_deployed
        .is_some_and(|(_, version)| version == target.version);
    if noted || change.target.is_some() || target.version == 0 {
        return;
    }
    let running = by_sensor(&reported.running);
    let runs = |item: &Item| {
        running
            .get(&item.sensor.id())
            .is_some_and(|runs| runs.sensor == item.sensor)
    };
    let is_whole = reported.worked_version == target.version
        && running.len() == target.items.len()
        && target.items.iter().all(runs);
    if is_whole {
        change.target = Some(TargetChange {
            target: Target {
                last_deployed: Some((context.now, target.version)),
                ..state.target.clone()
            },
            reason: None,
            kind: TargetChangeKind::Deployed,
        });
    }
}

fn by_sensor(items: &[Item]) -> BTreeMap<SensorId, &Item> {
    items.iter().map(|item| (item.sensor.id(), item)).collect()
}
