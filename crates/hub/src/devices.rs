//! Devices as operators manage them: names and labels, keys for their agents, deletion, and "look again".

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use holdfast_domain::{
    DeviceId, Name, Problems,
    drift::{self, SensorDrift},
    edit::look_again,
    event::EventKind,
    row::{Actor, Audit},
    state::{Change, DeviceRecord, DeviceState},
};
use serde_json::json;

use crate::{
    Hub, HubError,
    edits::check_reason,
    states::{Decided, Known},
};

/// What an operator says of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceEdit {
    /// A new name; `None`: unchanged.
    pub name: Option<Name>,
    /// New labels, all of them; `None`: unchanged.
    pub labels: Option<BTreeMap<String, String>>,
}

/// What came of asking an agent to look again.
#[derive(Debug, Clone, PartialEq)]
pub struct Looked {
    /// Has the agent looked and reported since it was asked?
    pub answered: bool,
    /// Is the agent silent?
    pub silent: bool,
    /// What differs now, as far as known.
    pub drift: Vec<SensorDrift>,
}

impl Hub {
    /// Labels of one device.
    const LABELS: usize = 64;
    /// Characters of a label's key or value.
    const LABEL_CHARS: usize = 256;

    /// Adds a device that no agent speaks for yet.
    ///
    /// # Errors
    /// [`HubError::NameTaken`].
    pub async fn create_device(
        &self,
        name: Name,
        labels: BTreeMap<String, String>,
        actor: &Actor,
        correlation: Option<&str>,
    ) -> Result<Arc<DeviceState>, HubError> {
        check_labels(&labels)?;
        let context = self.context(actor, correlation);
        let audit = Audit::new(context.now, actor);
        let id = DeviceId(self.inner.parts.entropy.uuid());
        let state = DeviceState::new(DeviceRecord {
            id,
            name,
            labels,
            incarnation: None,
            audit,
        });
        let mut change = Change::of(&state);
        let payload = json!({ "name": state.record.name, "labels": state.record.labels });
        change.event(&state, &context, EventKind::DeviceCreated, None, payload);
        self.inner
            .parts
            .devices
            .create(&state, &change.events)
            .await?;
        Ok(self.inner.states.load(id).await?.state.clone())
    }

    /// Renames or relabels a device.
    ///
    /// # Errors
    /// [`HubError::NameTaken`], [`HubError::DeviceGone`].
    pub async fn update_device(
        &self,
        device: DeviceId,
        edit: &DeviceEdit,
        actor: &Actor,
        correlation: Option<&str>,
    ) -> Result<Arc<DeviceState>, HubError> {
        check_labels(edit.labels.as_ref().unwrap_or(&BTreeMap::new()))?;
        let context = self.context(actor, correlation);
        let decide = |known: &Known| {
            let old = &known.state.record;
            let name = edit.name.clone().unwrap_or_else(|| old.name.clone());
            let labels = edit.labels.clone().unwrap_or_else(|| old.labels.clone());
            if name == old.name && labels == old.labels {
                return Ok(Decided {
                    change: None,
                    answer: (),
                });
            }
            let mut change = Change::of(&known.state);
            let payload = json!({ "name": name, "labels": labels, "previousName": old.name });
            change.event(
                &known.state,
                &context,
                EventKind::DeviceUpdated,
                None,
                payload,
            );
            let audit = old.audit.touched(context.now, actor);
            change.record = Some(DeviceRecord {
                name,
                labels,
                audit,
                ..old.clone()
            });
            Ok(Decided {
                change: Some(change),
                answer: (),
            })
        };
        self.inner.states.change(device, decide).await?;
        self.state(device).await
    }

    /// Removes a device. Refused while its agent may still run or hold something, unless `force`.
    ///
    /// # Errors
    /// [`HubError::Refused`] says what must be done first.
    pub async fn delete_device(
        &self,
        device: DeviceId,
        force: bool,
        actor: &Actor,
        correlation: Option<&str>,
    ) -> Result<(), HubError> {
        const ATTEMPTS: usize = 10;
        let context = self.context(actor, correlation);
        for _ in 0..ATTEMPTS {
            let known = self.inner.states.load(device).await?;
            if !force {
                may_be_deleted(&known.state)?;
            }
            let mut change = Change::of(&known.state);
            let payload = json!({ "name": known.state.record.name, "force": force });
            change.event(
                &known.state,
                &context,
                EventKind::DeviceDeleted,
                None,
                payload,
            );
            let deleted = self
                .inner
                .parts
                .devices
                .delete(device, known.state.revision, &change.events)
                .await;
            match deleted {
                Ok(()) => {
                    self.inner.tokens.forget_all();
                    self.inner.states.remove(device);
                    return Ok(());
                }
                Err(holdfast_ports::store::CommitError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(HubError::Busy)
    }

    /// What of a device differs from what is wanted.
    ///
    /// # Errors
    /// [`HubError::DeviceGone`].
    pub async fn drift(&self, device: DeviceId) -> Result<Vec<SensorDrift>, HubError> {
        Ok(drift::of_device(&*self.state(device).await?))
    }

    /// Asks the agent to look at everything again and to report in full; waits up to `wait` until it has.
    ///
    /// # Errors
    /// [`HubError::DeviceGone`].
    pub async fn reconcile(
        &self,
        device: DeviceId,
        wait: Duration,
        reason: Option<&str>,
        actor: &Actor,
        correlation: Option<&str>,
    ) -> Result<Looked, HubError> {
        check_reason(reason)?;
        let context = self.context(actor, correlation);
        let decide = |known: &Known| {
            let change = look_again(&known.state, reason, &context);
            Ok(Decided {
                change: Some(change),
                answer: known.state.target.look_revision + 1,
            })
        };
        let wanted = self.inner.states.change(device, decide).await?;
        let state = self
            .wait_for_report(device, wait, |state| has_looked(state, wanted))
            .await?;
        Ok(Looked {
            answered: has_looked(&state, wanted),
            silent: state.presence.silent,
            drift: drift::of_device(&state),
        })
    }
}

fn has_looked(state: &DeviceState, wanted: u64) -> bool {
    state
        .reported
        .as_ref()
        .is_some_and(|reported| reported.looked_revision >= wanted)
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), HubError> {
    if labels.len() > Hub::LABELS {
        let expected = format!("at most {} labels", Hub::LABELS);
        return Err(HubError::Invalid(Problems::one(
            "labels",
            expected,
            labels.len(),
        )));
    }
    let unfit = |text: &str| text.chars().count() > Hub::LABEL_CHARS || text.contains('\0');
    match labels
        .iter()
        .find(|(key, value)| key.is_empty() || unfit(key) || unfit(value))
    {
        None => Ok(()),
        Some((key, _)) => {
            let expected = format!(
                "a key of at least one, and key and value of at most {} characters, none of them U+0000",
                Hub::LABEL_CHARS
            );
            let field = format!("labels.{}", key.chars().take(32).collect::<String>());
            Err(HubError::Invalid(Problems::one(
                field,
                expected,
                "another text",
            )))
        }
    }
}

/// Nothing is left running on a device that is deleted: its target must be empty, and its agent must have confirmed it.
fn may_be_deleted(state: &DeviceState) -> Result<(), HubError> {
    let refuse = |why: String| Err(HubError::Refused(why));
    if state.record.incarnation.is_none() {
        return Ok(());
    }
    if !state.target.items.is_empty() {
        let count = state.target.items.len();
        return refuse(format!(
            "the target still has {count} sensors: remove them first (or delete with force), so that nothing goes on \
             running on a device that nobody watches"
        ));
    }
    match &state.reported {
        Some(reported) if !reported.running.is_empty() || reported.worked_version != state.target.version => refuse(
            "the agent has not yet confirmed that it stopped everything: wait for that, or delete with force".into(),
        ),
        Some(_) => Ok(()),
        None if state.target.version == 0 => Ok(()),
        None => refuse("the agent has never reported: wait for that, or delete with force".into()),
    }
}
