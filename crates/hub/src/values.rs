//! Setpoints, and stopping and starting the loop that holds them. The wish is recorded; agents act on it.

use std::{sync::Arc, time::Duration};

use holdfast_domain::{
    DeviceId, PauseId, PointId, PointValue, Problems,
    document::{
        hold::Scope,
        setpoint::{Policy, Tolerance},
    },
    row::Actor,
    shown,
    state::{Change, DeviceState},
    values::{HoldWish, Interruption, Values},
    wish::{self, ResetRequest, SetRequest, Tuning},
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    Hub, HubError,
    edits::{check_reason, place_of},
    states::{Decided, Known},
};

/// Who asks for something, why, and in the course of which request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// Why, in their words.
    pub reason: Option<&'a str>,
    /// The request, for the events.
    pub correlation: Option<&'a str>,
}

/// The value that a point shall hold.
#[derive(Debug, Clone, PartialEq)]
pub struct SetpointEdit {
    /// The value.
    pub value: PointValue,
    /// How far the instrument may be off.
    pub tolerance: Option<Tolerance>,
    /// What happens when the instrument shows another value.
    pub policy: Policy,
    /// For how long it is valid, in ms; `None`: until it is released.
    pub valid_for_ms: Option<u64>,
    /// The request's key: the same request again changes nothing.
    pub key: Option<String>,
    /// The revision that the setpoint must have now; `None`: any, or none.
    pub if_revision: Option<u64>,
    /// The value that the point must have shown last; `None`: any.
    pub only_if: Option<PointValue>,
}

/// A stop or a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterruptRequest {
    /// Of what.
    pub scope: Scope,
    /// For how long, in ms; `None`: until it is lifted.
    pub for_ms: Option<u64>,
}

impl Hub {
    /// The time by which setpoints are shown.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.parts.clock.now()
    }

    /// Sets the value that a point shall hold. What is so already changes nothing.
    ///
    /// # Errors
    /// Says why the value can't be set; nothing was changed then.
    pub async fn set_setpoint(
        &self,
        device: DeviceId,
        point: PointId,
        edit: &SetpointEdit,
        asked: Asked<'_>,
    ) -> Result<(), HubError> {
        let context = self.asked(asked)?;
        let until = edit.valid_for_ms.map(|ms| after(context.now, ms));
        if edit.only_if.is_some() {
            let state = self.state(device).await?;
            if !is_done_already(&state, point, edit)? {
                self.must_show(&state, point, edit.only_if.as_ref()).await?;
            }
        }
        let decide = |known: &Known| {
            let state = &known.state;
            if is_done_already(state, point, edit)? {
                return Ok(unchanged(()));
            }
            must_have(state, point, edit.if_revision)?;
            let request = SetRequest {
                value: edit.value.clone(),
                tolerance: edit.tolerance,
                policy: edit.policy,
                reason: asked
                    .reason
                    .filter(|why| !why.is_empty())
                    .map(str::to_owned),
                until,
                key: edit.key.clone(),
            };
            let change = wish::set(state, point, request, &context)
                .map_err(|error| HubError::of_wish(state, error))?;
            Ok(Decided { change, answer: () })
        };
        self.inner.states.change(device, decide).await
    }

    /// Waits up to `wait` until the value that a point shall hold was read back, or it is clear why it will not be; gives the
    /// device as it is known then.
    ///
    /// # Errors
    /// [`HubError::DeviceGone`].
    pub async fn settled(
        &self,
        device: DeviceId,
        point: PointId,
        wait: Duration,
    ) -> Result<Arc<DeviceState>, HubError> {
        let is_settled = |state: &DeviceState| {
            let shown = shown::of_point(state, point, self.now());
            shown.is_none_or(|shown| shown.is_settled())
        };
        self.wait_for_report(device, wait, is_settled).await
    }

    /// Releases a point: nothing is wanted of it any more.
    ///
    /// # Errors
    /// [`HubError::NotFound`] if nothing is set there.
    pub async fn release_setpoint(
        &self,
        device: DeviceId,
        point: PointId,
        if_revision: Option<u64>,
        asked: Asked<'_>,
    ) -> Result<(), HubError> {
        let context = self.asked(asked)?;
        let decide = |known: &Known| {
            let state = &known.state;
            must_have(state, point, if_revision)?;
            let change = wish::release(state, point, asked.reason, &context)
                .map_err(|error| HubError::of_wish(state, error))?;
            Ok(changed(change))
        };
        self.inner.states.change(device, decide).await
    }

    /// Begins the account of a point's writes anew: its instrument was replaced. The same request again changes nothing.
    ///
    /// # Errors
    /// Says why that can't be; nothing was changed then.
    pub async fn reset_budget(
        &self,
        device: DeviceId,
        point: PointId,
        key: Option<String>,
        asked: Asked<'_>,
    ) -> Result<(), HubError> {
        let context = self.asked(asked)?;
        let id = self.inner.parts.entropy.uuid();
        let decide = |known: &Known| {
            let request = ResetRequest {
                id,
                reason: asked.reason.unwrap_or_default().to_owned(),
                key: key.clone(),
            };
            let state = &known.state;
            let change = wish::reset_budget(state, point, request, &context)
                .map_err(|error| HubError::of_wish(state, error))?;
            Ok(Decided { change, answer: () })
        };
        self.inner.states.change(device, decide).await
    }

    /// Waits up to `wait` until the agent has carried out the last reset of a point's write budget; gives the device as it
    /// is known then.
    ///
    /// # Errors
    /// [`HubError::DeviceGone`].
    pub async fn budget_reset(
        &self,
        device: DeviceId,
        point: PointId,
        wait: Duration,
    ) -> Result<Arc<DeviceState>, HubError> {
        let is_done = |state: &DeviceState| {
            let wanted = state.target.values.resets.get(&point);
            let reported = state.reported.as_ref();
            let done = reported.and_then(|reported| reported.values.resets.get(&point));
            wanted.is_none_or(|wanted| done == Some(&wanted.id))
        };
        self.wait_for_report(device, wait, is_done).await
    }

    /// Stops a device's value loop, or pauses a sensor or a point: nothing is written there until that is lifted or over.
    /// What is so already changes nothing. Gives the stop or pause.
    ///
    /// # Errors
    /// [`HubError::NotFound`] if the device has no such sensor or point.
    pub async fn interrupt(
        &self,
        device: DeviceId,
        request: InterruptRequest,
        asked: Asked<'_>,
    ) -> Result<Interruption, HubError> {
        let context = self.asked(asked)?;
        let InterruptRequest { scope, for_ms } = request;
        let until = for_ms.map(|ms| after(context.now, ms));
        let decide = |known: &Known| {
            let state = &known.state;
            let reason = asked.reason.filter(|why| !why.is_empty());
            let is_same = |one: &&Interruption| {
                one.scope == scope && one.reason.as_deref() == reason && one.until == until
            };
            if let Some(one) = state.target.values.hold.interruptions.iter().find(is_same) {
                return Ok(unchanged(one.clone()));
            }
            let id = self.inner.parts.entropy.uuid();
            let change = wish::interrupt(state, scope, reason, until, id, &context)
                .map_err(|error| HubError::of_wish(state, error))?;
            let hold = &values_of(state, &change).hold;
            let made = hold.interruptions.iter().find(|one| one.id == PauseId(id));
            let made = made.cloned().expect("the change makes it");
            Ok(Decided {
                change: Some(change),
                answer: made,
            })
        };
        self.inner.states.change(device, decide).await
    }

    /// Lifts every stop of a device's value loop; the pauses of its sensors and points stay. Already running: nothing
    /// changes.
    ///
    /// # Errors
    /// [`HubError::DeviceGone`].
    pub async fn start(&self, device: DeviceId, asked: Asked<'_>) -> Result<(), HubError> {
        let context = self.asked(asked)?;
        let decide = |known: &Known| {
            let is_stop = |one: &Interruption| one.scope == Scope::Device;
            Ok(Decided {
                change: wish::resume(&known.state, is_stop, asked.reason, &context),
                answer: (),
            })
        };
        self.inner.states.change(device, decide).await
    }

    /// Lifts one stop or pause.
    ///
    /// # Errors
    /// [`HubError::NotFound`] if there is none of this id.
    pub async fn lift(
        &self,
        device: DeviceId,
        pause: PauseId,
        asked: Asked<'_>,
    ) -> Result<(), HubError> {
        let context = self.asked(asked)?;
        let decide = |known: &Known| {
            let is_meant = |one: &Interruption| one.id == pause;
            let change = wish::resume(&known.state, is_meant, asked.reason, &context);
            let gone = || HubError::NotFound(format!("pause {pause} of device {device}"));
            Ok(changed(change.ok_or_else(gone)?))
        };
        self.inner.states.change(device, decide).await
    }

    /// Changes how a device's value loop runs.
    ///
    /// # Errors
    /// [`HubError::DeviceGone`].
    pub async fn tune(
        &self,
        device: DeviceId,
        tuning: Tuning,
        asked: Asked<'_>,
    ) -> Result<(), HubError> {
        let context = self.asked(asked)?;
        let decide = |known: &Known| {
            Ok(Decided {
                change: wish::tune(&known.state, tuning, asked.reason, &context),
                answer: (),
            })
        };
        self.inner.states.change(device, decide).await
    }

    /// Waits up to `wait` until the agent has confirmed how its value loop shall run, and gives the device as it is known
    /// then.
    ///
    /// # Errors
    /// [`HubError::DeviceGone`].
    pub async fn confirmed(
        &self,
        device: DeviceId,
        wait: Duration,
    ) -> Result<Arc<DeviceState>, HubError> {
        self.wait_for_report(device, wait, is_confirmed).await
    }

    pub(crate) fn asked(
        &self,
        asked: Asked<'_>,
    ) -> Result<holdfast_domain::event::Context, HubError> {
        check_reason(asked.reason)?;
        Ok(self.context(asked.actor, asked.correlation))
    }
}

/// Has the agent confirmed how its value loop shall run?
#[must_use]
pub fn is_confirmed(state: &DeviceState) -> bool {
    let HoldWish { revision, .. } = state.target.values.hold;
    let reported = state.reported.as_ref();
    let hold = reported.and_then(|reported| reported.values.hold.as_ref());
    hold.is_some_and(|hold| hold.is_done_with(revision))
}

/// `ms` after `now`, in whole microseconds; durations are bounded when they are read.
fn after(now: Timestamp, ms: u64) -> Timestamp {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    now.saturating_add(SignedDuration::from_millis(ms))
        .unwrap_or(Timestamp::MAX)
}

fn changed(change: Change) -> Decided<()> {
    Decided {
        change: Some(change),
        answer: (),
    }
}

fn unchanged<T>(answer: T) -> Decided<T> {
    Decided {
        change: None,
        answer,
    }
}

fn values_of<'a>(state: &'a DeviceState, change: &'a Change) -> &'a Values {
    let target = change.target.as_ref();
    target.map_or(&state.target.values, |change| &change.target.values)
}

/// Was this very request carried out before?
fn is_done_already(
    state: &DeviceState,
    point: PointId,
    edit: &SetpointEdit,
) -> Result<bool, HubError> {
    let wish = state.target.values.wishes.get(&point);
    let Some(wish) = wish.filter(|wish| edit.key.is_some() && wish.key == edit.key) else {
        return Ok(false);
    };
    let set = &wish.setpoint;
    if set.value == edit.value && set.tolerance == edit.tolerance && set.policy == edit.policy {
        return Ok(true);
    }
    Err(HubError::Invalid(Problems::one(
        "Idempotency-Key",
        "a key of its own for each request",
        "one that another request came with",
    )))
}

fn must_have(state: &DeviceState, point: PointId, wanted: Option<u64>) -> Result<(), HubError> {
    let found = state.target.values.wishes.get(&point);
    let found = found.map(|wish| wish.revision);
    match wanted {
        Some(wanted) if found != Some(wanted) => Err(HubError::SetpointChanged { found }),
        _ => Ok(()),
    }
}

impl HubError {
    pub(crate) fn of_wish(state: &DeviceState, error: wish::WishError) -> Self {
        use wish::WishError;
        match error {
            WishError::NoSuchPoint(point) => Self::NotFound(format!("point {point} in the target")),
            WishError::NoSuchSensor(id) => Self::NotFound(format!("sensor {id} in the target")),
            WishError::NotHoldable { name, found } => Self::NotHoldable(Problems::one(
                "point",
                format!("{name} to be a level that is writable"),
                found,
            )),
            WishError::Invalid(problems) => Self::Invalid(problems),
            WishError::NotWritable(name) => Self::NotHoldable(Problems::one(
                "point",
                format!("{name} to be writable"),
                "read-only",
            )),
            WishError::NotSet(point) => {
                let name = place_of(state, point);
                Self::NotFound(format!("setpoint of {name}: nothing is set there"))
            }
            WishError::NotCommandable { name, found } => Self::NotHoldable(Problems::one(
                "point",
                format!("{name} to be a pulse or a command that is writable"),
                found,
            )),
            WishError::NoSuchCommand(id) => Self::NotFound(format!(
                "command {id}, or it is older than those that are kept: see the event log"
            )),
            WishError::CommandEnded(_)
            | WishError::TooMany(_)
            | WishError::TooManySetpoints(_)
            | WishError::TooManyCommands(_)
            | WishError::TooManyResets(_)
            | WishError::Stopped(_) => Self::Refused(error.to_string()),
        }
    }
}
