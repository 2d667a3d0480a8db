//! What a report came to, for the log and the metrics.

use std::time::Duration;

use holdfast_domain::{
    DeviceId, PointId,
    document::{
        command::CommandOutcome,
        setpoint::{Conformity, Hold, SetpointReport},
    },
    event::Context,
    row::{DeploymentStatus, SensorRow},
    state::{Change, DeviceState, Reported, Tally},
    values::{ReportedValues, Wish},
};

/// What a report came to, for the log and the metrics.
pub(crate) struct Applied {
    version: u64,
    tally: Tally,
    /// Seconds from the saved change to its deployment, for each sensor that has just been deployed.
    deployed_after: Vec<f64>,
    /// Seconds from setting a value until it was found to be read back, for each that was just now.
    verified_after: Vec<f64>,
    /// Writes that agents made to hold values, and how often a value was refused, by how.
    writes: u64,
    refused: Vec<Hold>,
    /// Passes of the value loop that took longer than their interval.
    overruns: u64,
    /// Of each command on which there is a word now: what became of it, and seconds since it was given.
    commands: Vec<(CommandOutcome, f64)>,
}

impl Applied {
    pub(crate) fn of(change: &Change, before: &DeviceState, context: &Context) -> Self {
        // What runs differs from what is wanted since the change was saved.
        let waited = |row: &SensorRow| {
            let old = before.rows.get(&row.id)?;
            let is_new = row.status == DeploymentStatus::Deployed && old.status != row.status;
            let saved_at = old.drifting_since.filter(|_| is_new)?;
            Some(context.now.duration_since(saved_at).as_secs_f64())
        };
        Self {
            version: change
                .reported
                .as_ref()
                .map_or(0, |reported| reported.worked_version),
            tally: change.tally(before),
            deployed_after: change.upserts.iter().filter_map(waited).collect(),
            verified_after: verified_after(change, before, context),
            commands: words_after(change, before, context),
            writes: writes_by(change, before),
            refused: refused_by(change, before),
            overruns: overruns_by(change, before),
        }
    }

    pub(crate) fn tell(&self, device: DeviceId, took: Duration) {
        let Self {
            version,
            tally:
                Tally {
                    inserted,
                    updated,
                    removed,
                    failed,
                },
            deployed_after,
            verified_after,
            writes,
            refused,
            overruns,
            commands,
        } = self;
        metrics::counter!("holdfast_setpoint_writes_total").increment(*writes);
        for hold in refused {
            metrics::counter!("holdfast_setpoint_refusals_total", "hold" => hold.as_str())
                .increment(1);
        }
        metrics::counter!("holdfast_pass_overruns_total", "loop" => "values").increment(*overruns);
        for seconds in deployed_after {
            metrics::histogram!("holdfast_change_to_deployed_seconds").record(*seconds);
        }
        for seconds in verified_after {
            metrics::histogram!("holdfast_setpoint_to_verified_seconds").record(*seconds);
        }
        for (outcome, seconds) in commands {
            let outcome = outcome.as_str();
            metrics::counter!("holdfast_commands_total", "outcome" => outcome).increment(1);
            metrics::histogram!("holdfast_command_to_result_seconds").record(*seconds);
        }
        let rows = inserted + updated + removed;
        if rows == 0 {
            return;
        }
        #[allow(clippy::cast_precision_loss, reason = "at most some thousands")]
        metrics::histogram!("holdfast_report_sensors").record(rows as f64);
        tracing::info!(
            %device, version, inserted, updated, removed, failed,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "report applied"
        );
    }
}

/// Is the report of the boot that spoke last? A restart begins some figures anew.
fn same_boot<'a>(
    change: &'a Change,
    before: &'a DeviceState,
) -> Option<(&'a ReportedValues, &'a ReportedValues)> {
    let (new, old) = (change.reported.as_ref()?, before.reported.as_ref()?);
    let boot = |of: &Reported| (of.order.incarnation, of.order.boot);
    (boot(new) == boot(old)).then_some((&new.values, &old.values))
}

fn writes_by(change: &Change, before: &DeviceState) -> u64 {
    let Some(new) = &change.reported else {
        return 0;
    };
    let old = same_boot(change, before).map(|(_, old)| &old.items);
    let made = |(point, item): (&PointId, &SetpointReport)| {
        item.written_since(old.and_then(|old| old.get(point)))
    };
    new.values.items.iter().map(made).sum()
}

fn overruns_by(change: &Change, before: &DeviceState) -> u64 {
    let overruns = |of: &ReportedValues| of.hold.as_ref().map_or(0, |hold| hold.overruns);
    same_boot(change, before).map_or(0, |(new, old)| overruns(new).saturating_sub(overruns(old)))
}

/// Of each setpoint that is refused from now on: how.
fn refused_by(change: &Change, before: &DeviceState) -> Vec<Hold> {
    let new = change.reported.iter().flat_map(|said| &said.values.items);
    let old = before.reported.as_ref().map(|said| &said.values.items);
    new.filter(|(_, item)| matches!(item.hold, Hold::Refused | Hold::Blocked | Hold::Overridden))
        .filter(|(point, item)| {
            let old = old.and_then(|old| old.get(*point));
            old.is_none_or(|old| old.hold != item.hold)
        })
        .map(|(_, item)| item.hold)
        .collect()
}

/// Of each setpoint that this report is the first to call in sync: seconds since it was set.
fn verified_after(change: &Change, before: &DeviceState, context: &Context) -> Vec<f64> {
    let Some(said) = change.reported.as_ref().map(|reported| &reported.values) else {
        return Vec::new();
    };
    let old = before.reported.as_ref().map(|reported| &reported.values);
    if old == Some(said) {
        return Vec::new();
    }
    let of_wish = |values: &ReportedValues, wish: &Wish, is: fn(&SetpointReport) -> bool| {
        let item = values.items.get(&wish.setpoint.point_id);
        item.is_some_and(|item| item.revision >= wish.revision && is(item))
    };
    let is_verified = |values: &ReportedValues, wish: &Wish| {
        of_wish(values, wish, |item| item.conformity == Conformity::InSync)
    };
    // What is put back later is not how long setting it took.
    let was_verified = |values: &ReportedValues, wish: &Wish| {
        of_wish(values, wish, |item| {
            item.conformity == Conformity::InSync || item.verified_in_ms.is_some()
        })
    };
    let wishes = before.target.values.wishes.values();
    wishes
        .filter(|wish| is_verified(said, wish))
        .filter(|wish| !old.is_some_and(|old| was_verified(old, wish)))
        .map(|wish| context.now.duration_since(wish.set_at).as_secs_f64())
        .collect()
}

/// Of each command that this report has the first word on: what became of it, and seconds since it was given.
fn words_after(
    change: &Change,
    before: &DeviceState,
    context: &Context,
) -> Vec<(CommandOutcome, f64)> {
    let said = change
        .reported
        .iter()
        .flat_map(|reported| reported.values.commands.values());
    said.filter(|word| !before.has_word_on(word.id))
        .filter_map(|word| {
            let record = before.target.values.commands.get(word.id)?;
            let waited = context.now.duration_since(record.set_at).as_secs_f64();
            Some((word.outcome, waited))
        })
        .collect()
}
