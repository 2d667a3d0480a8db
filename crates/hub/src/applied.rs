//! What a report came to, for the log and the metrics.

use std::time::Duration;

use holdfast_domain::{
    DeviceId,
    document::{command::CommandOutcome, setpoint::Conformity},
    event::Context,
    row::{DeploymentStatus, SensorRow},
    state::{Change, DeviceState, Tally},
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
            commands,
        } = self;
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

/// Of each setpoint that this report is the first to call in sync: seconds since it was set.
fn verified_after(change: &Change, before: &DeviceState, context: &Context) -> Vec<f64> {
    let Some(said) = change.reported.as_ref().map(|reported| &reported.values) else {
        return Vec::new();
    };
    let old = before.reported.as_ref().map(|reported| &reported.values);
    if old == Some(said) {
        return Vec::new();
    }
    let is_verified = |values: &ReportedValues, wish: &Wish| {
        let item = values.items.get(&wish.setpoint.point_id);
        item.is_some_and(|item| {
            item.revision >= wish.revision && item.conformity == Conformity::InSync
        })
    };
    let wishes = before.target.values.wishes.values();
    wishes
        .filter(|wish| is_verified(said, wish))
        .filter(|wish| !old.is_some_and(|old| is_verified(old, wish)))
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
