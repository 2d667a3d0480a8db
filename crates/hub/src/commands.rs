//! Commands: values that are written once. The command is recorded; its device's agent carries it out and says what became
//! of it, and nothing of that is inferred here.

use std::{sync::Arc, time::Duration};

use holdfast_domain::{
    CommandId, DeviceId, PointId, PointValue, Problems,
    document::{
        point::PointKind,
        setpoint::{Conformity, Policy},
    },
    hold::Band,
    limits,
    state::DeviceState,
    wish::{self, CommandRequest},
};
use holdfast_ports::page::Page;
use uuid::Uuid;

use crate::{
    Hub, HubError,
    states::{Decided, Known},
    values::{Asked, SetpointEdit},
};

/// A value that is sent to a point.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandEdit {
    /// The value.
    pub value: PointValue,
    /// For how long it may be begun, in ms; `None`: the default. To a level: for how long it is held; `None`: until it is
    /// released.
    pub valid_for_ms: Option<u64>,
    /// The request's key: the same request again changes nothing.
    pub key: Option<String>,
    /// The value that the point must have shown last; `None`: any.
    pub only_if: Option<PointValue>,
}

/// What sending a value came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commanded {
    /// The point is a level: its setpoint is set.
    Set,
    /// It is a pulse or a command: this one was given.
    Given(CommandId),
}

impl Hub {
    /// Sends a value to a point: sets it where that is a level, else has it written once.
    ///
    /// # Errors
    /// Says why it can't be sent; nothing was changed then.
    pub async fn command(
        &self,
        device: DeviceId,
        point: PointId,
        edit: &CommandEdit,
        asked: Asked<'_>,
    ) -> Result<Commanded, HubError> {
        let state = self.state(device).await?;
        if wish::kind_of(&state, point) == Some(PointKind::Level) {
            let setpoint = SetpointEdit {
                value: edit.value.clone(),
                tolerance: None,
                policy: Policy::Enforce,
                valid_for_ms: edit.valid_for_ms,
                key: edit.key.clone(),
                if_revision: None,
                only_if: edit.only_if.clone(),
            };
            self.set_setpoint(device, point, &setpoint, asked).await?;
            return Ok(Commanded::Set);
        }
        let records = &state.target.values.commands.records;
        let is_known = records
            .iter()
            .any(|record| edit.key.is_some() && record.key == edit.key);
        if !is_known {
            self.must_show(&state, point, edit.only_if.as_ref()).await?;
        }
        let context = self.asked(asked)?;
        let id = self.inner.parts.entropy.uuid();
        let decide = |known: &Known| {
            let request = CommandRequest {
                id,
                value: edit.value.clone(),
                valid_for_ms: edit
                    .valid_for_ms
                    .unwrap_or(limits::COMMAND_VALID_DEFAULT_MS),
                reason: asked
                    .reason
                    .filter(|why| !why.is_empty())
                    .map(str::to_owned),
                key: edit.key.clone(),
            };
            let state = &known.state;
            let (id, change) = wish::command(state, point, request, &context)
                .map_err(|error| HubError::of_wish(state, error))?;
            Ok(Decided { change, answer: id })
        };
        self.inner
            .states
            .change(device, decide)
            .await
            .map(Commanded::Given)
    }

    /// Asks for a command not to be begun; its agent's word says whether it was.
    ///
    /// # Errors
    /// There is no such command, or another word on it; nothing was changed then.
    pub async fn cancel_command(
        &self,
        device: DeviceId,
        command: CommandId,
        asked: Asked<'_>,
    ) -> Result<(), HubError> {
        let context = self.asked(asked)?;
        let decide = |known: &Known| {
            let state = &known.state;
            let reason = asked.reason.map(str::to_owned);
            let change = wish::cancel(state, command, reason, &context)
                .map_err(|error| HubError::of_wish(state, error))?;
            Ok(Decided { change, answer: () })
        };
        self.inner.states.change(device, decide).await
    }

    /// Waits up to `wait` for the agent's word on a command; gives the device as it is known then.
    ///
    /// # Errors
    /// [`HubError::DeviceGone`].
    pub async fn word_on(
        &self,
        device: DeviceId,
        command: CommandId,
        wait: Duration,
    ) -> Result<Arc<DeviceState>, HubError> {
        let is_said = |state: &DeviceState| state.has_word_on(command);
        self.wait_for_report(device, wait, is_said).await
    }

    /// Is `wanted` what the point showed last, as far as was reported?
    pub(crate) async fn must_show(
        &self,
        state: &DeviceState,
        point: PointId,
        wanted: Option<&PointValue>,
    ) -> Result<(), HubError> {
        let Some(wanted) = wanted else { return Ok(()) };
        let sensors = state
            .target
            .items
            .iter()
            .map(|item| &item.sensor.content().binding);
        let rules = sensors
            .into_iter()
            .find_map(|binding| binding.point_rules(point));
        let Some(rules) = rules else {
            return Err(HubError::NotFound(format!("point {point} in the target")));
        };
        let found = self.last_value(state, point).await?;
        let band = Band::of(wanted.clone(), None, rules.resolution);
        if found
            .as_ref()
            .is_some_and(|found| band.holds(found) == Some(true))
        {
            return Ok(());
        }
        let found = found.map_or_else(|| "no value".to_owned(), |found| found.to_string());
        Err(HubError::NotShown(Problems::one(
            "onlyIfValue",
            format!("the value that the point showed last, {found}"),
            wanted,
        )))
    }

    /// The last value that was reported of a point: what its agent says of its setpoint, or its last reading.
    async fn last_value(
        &self,
        state: &DeviceState,
        point: PointId,
    ) -> Result<Option<PointValue>, HubError> {
        let said = state.reported.as_ref();
        let said = said.and_then(|reported| reported.values.items.get(&point));
        // What the value loop found is newer than a reading that nobody waited for, but it says only what is new to it.
        if let Some(said) = said.filter(|said| said.conformity != Conformity::Unknown) {
            return Ok(said.value.clone());
        }
        let before = Uuid::from_u128(point.uuid().as_u128().saturating_sub(1));
        let page = Page {
            after: Some(before.to_string()),
            limit: 1,
        };
        let listed = self
            .inner
            .parts
            .devices
            .points(state.record.id, &page)
            .await?;
        let found = listed
            .items
            .into_iter()
            .find(|record| record.point == point);
        Ok(found.and_then(|record| record.value))
    }
}
