//! A target that could not be made durable: nothing is done for it, and the hub hears why, as the failure of each of its
//! contents that does not run, and of each sensor that runs on although it is wanted no more; and, because setpoints, settings
//! and commands have no failures, with how the value loop runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use holdfast_domain::{Failure, Fingerprint, SensorId, TargetState, limits};

use super::slot::{Changed, shortened};

/// The target, and why.
#[derive(Debug)]
pub(super) struct Unkept {
    target: Arc<TargetState>,
    /// Of the first attempt: those after it may say no more than that there was one.
    error: String,
    attempts: u32,
}

impl Unkept {
    /// After one more attempt on `target`.
    pub(super) fn after(
        before: Option<Self>,
        target: Arc<TargetState>,
        error: &str,
    ) -> (Self, Changed) {
        match before {
            Some(before) if before.target.version == target.version => {
                let attempts = before.attempts.saturating_add(1).min(limits::ATTEMPTS);
                let after = Self {
                    target,
                    attempts,
                    ..before
                };
                (after, Changed::Detail)
            }
            _ => {
                let error = format!(
                    "the agent could not keep target version {}: {error}",
                    target.version
                );
                let after = Self {
                    target,
                    error: shortened(&error),
                    attempts: 1,
                };
                (after, Changed::Yes)
            }
        }
    }

    /// Why.
    pub(super) fn error(&self) -> &str {
        &self.error
    }

    /// Adds its failures to those of sensors: a content that is wanted and runs, or that failed by itself, has none. One that
    /// runs and is wanted no more has failed to go.
    pub(super) fn add_to(
        &self,
        failures: &mut BTreeMap<SensorId, Failure>,
        running: &BTreeMap<SensorId, Fingerprint>,
    ) {
        let wanted: BTreeSet<SensorId> = self
            .target
            .items
            .iter()
            .map(|item| item.sensor.id())
            .collect();
        for (id, fingerprint) in running {
            if !wanted.contains(id) {
                failures.insert(*id, self.failure(*id, *fingerprint));
            }
        }
        for item in &self.target.items {
            let (id, fingerprint) = (item.sensor.id(), item.sensor.fingerprint());
            let is_known = failures
                .get(&id)
                .is_some_and(|failure| failure.fingerprint == fingerprint);
            if is_known || running.get(&id) == Some(&fingerprint) {
                continue;
            }
            failures.insert(id, self.failure(id, fingerprint));
        }
    }

    fn failure(&self, id: SensorId, fingerprint: Fingerprint) -> Failure {
        Failure {
            id,
            fingerprint,
            error: self.error.clone(),
            attempts: self.attempts,
        }
    }
}
