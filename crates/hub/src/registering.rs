//! How an agent comes to be the agent of a device: with a provisioning key. What it does then is in [`crate::agents`].

use std::collections::BTreeMap;

use holdfast_domain::{
    DeviceId, Incarnation, Name,
    event::{Context, Event, EventKind},
    row::{Actor, Audit},
    state::{Change, DeviceRecord, DeviceState},
};
use holdfast_ports::{
    store::{RegisteredDevice, Registration},
    tokens::{Grant, ProvisioningKey, RevocationKind, SecretHash, TokenRecord},
};
use serde_json::json;

use crate::{Hub, HubError, agents::reincarnated};

/// What an agent asks for when it registers.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisterRequest {
    /// Hash of the token that the agent made for itself.
    pub token_hash: SecretHash,
    /// What a new device shall be called; the hub makes a name up otherwise. Without meaning for a key that is bound to a
    /// device.
    pub name: Option<Name>,
    /// Labels of a new device.
    pub labels: BTreeMap<String, String>,
    /// Whose agent it is already, where its token is not known.
    pub device: Option<DeviceId>,
}

/// What an agent is told when it has registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// Its device.
    pub device: DeviceId,
    /// The life of its disk.
    pub incarnation: Incarnation,
}

impl Hub {
    /// Registers an agent: a new device, or the one that the key is bound to. The same request again gets the same answer.
    ///
    /// # Errors
    /// [`HubError::KeyNotAccepted`], [`HubError::NameTaken`], or the store's. [`HubError::Refused`] if the agent is one
    /// already and the key is bound to no device.
    pub async fn register(
        &self,
        key: &str,
        request: &RegisterRequest,
        correlation: Option<&str>,
    ) -> Result<Registered, HubError> {
        const ATTEMPTS: usize = 10;
        let key = self
            .inner
            .parts
            .tokens
            .find_key(&SecretHash::of(key))
            .await?;
        let key = key
            .ok_or_else(|| HubError::KeyNotAccepted("the provisioning key is not known".into()))?;
        let context = self.context(&Actor::agent(), correlation);
        for _ in 0..ATTEMPTS {
            if let Some(before) = self.registered_before(&request.token_hash).await? {
                return Ok(before);
            }
            self.check_key(&key)?;
            leads_back(&key, request.device)?;
            let (registered, registration) = self.registration(&key, request, &context).await?;
            match self.inner.parts.devices.register(&registration).await {
                Ok(()) => {
                    self.inner.states.forget(registered.device);
                    self.inner.tokens.forget_all();
                    return Ok(registered);
                }
                Err(holdfast_ports::store::CommitError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(HubError::KeyNotAccepted(
            "the provisioning key has no use left".into(),
        ))
    }

    /// Is there a provisioning key with this secret, good or not? For turning strangers away before they are listened to.
    ///
    /// # Errors
    /// [`HubError::KeyNotAccepted`] if there is none.
    pub async fn knows_key(&self, key: &str) -> Result<(), HubError> {
        let found = self
            .inner
            .parts
            .tokens
            .find_key(&SecretHash::of(key))
            .await?;
        found
            .map(drop)
            .ok_or_else(|| HubError::KeyNotAccepted("the provisioning key is not known".into()))
    }

    async fn registered_before(&self, token: &SecretHash) -> Result<Option<Registered>, HubError> {
        let Some(record) = self.inner.parts.tokens.find_token(token).await? else {
            return Ok(None);
        };
        let Grant::Agent(device) = record.grant else {
            return Err(HubError::Refused(
                "this token is an operator's, not an agent's".into(),
            ));
        };
        match record.revoked.map(|end| end.kind) {
            Some(RevocationKind::DeviceDeleted) => return Err(HubError::DeviceGone(device)),
            Some(RevocationKind::Revoked) => {
                return Err(HubError::Refused(
                    "this token was revoked: make a new one".into(),
                ));
            }
            None => {}
        }
        let known = self.inner.states.load(device).await?;
        Ok(known
            .state
            .record
            .incarnation
            .map(|incarnation| Registered {
                device,
                incarnation,
            }))
    }

    fn check_key(&self, key: &ProvisioningKey) -> Result<(), HubError> {
        let refuse = |why: &str| {
            Err(HubError::KeyNotAccepted(format!(
                "the provisioning key {why}"
            )))
        };
        if key.revoked_at.is_some() {
            return refuse("was revoked");
        }
        if key
            .expires_at
            .is_some_and(|end| end <= self.inner.parts.clock.now())
        {
            return refuse("has expired");
        }
        if key.uses_left == Some(0) {
            return refuse("has no use left");
        }
        Ok(())
    }

    async fn registration(
        &self,
        key: &ProvisioningKey,
        request: &RegisterRequest,
        context: &Context,
    ) -> Result<(Registered, Registration), HubError> {
        let entropy = &self.inner.parts.entropy;
        let incarnation = Incarnation(entropy.uuid());
        let (device, registered) = match key.device {
            Some(device) => {
                let known = self.inner.states.load(device).await?;
                let change = reincarnated(
                    &known.state,
                    incarnation,
                    EventKind::DeviceRegistered,
                    context,
                );
                (device, RegisteredDevice::Existing(Box::new(change)))
            }
            None => {
                let device = DeviceId(entropy.uuid());
                let (state, events) = first_state(device, incarnation, request, context);
                (device, RegisteredDevice::New(Box::new(state), events))
            }
        };
        let token = TokenRecord {
            id: holdfast_domain::TokenId(entropy.uuid()),
            name: format!("agent of {device}"),
            hash: request.token_hash,
            grant: Grant::Agent(device),
            created_at: context.now,
            created_by: Actor::named(&key.name),
            expires_at: None,
            revoked: None,
        };
        Ok((
            Registered {
                device,
                incarnation,
            },
            Registration {
                key: key.id,
                device: registered,
                token,
            },
        ))
    }
}

/// An agent that is one already is made no new device by a key that is good for any: it would let go all that it holds.
fn leads_back(key: &ProvisioningKey, is: Option<DeviceId>) -> Result<(), HubError> {
    match is {
        Some(is) if key.device.is_none() => Err(HubError::Refused(format!(
            "this hub does not know the agent's token, and its provisioning key is bound to no device: expected one from \
             `holdfast device rekey`, if device {is} is there, or from `holdfast device add`"
        ))),
        _ => Ok(()),
    }
}

fn first_state(
    device: DeviceId,
    incarnation: Incarnation,
    request: &RegisterRequest,
    context: &Context,
) -> (DeviceState, Vec<Event>) {
    let made_up = || {
        let digits = device.uuid().simple().to_string();
        Name::new(&format!("device-{}", &digits[digits.len() - 12..]))
            .expect("letters, digits and a hyphen")
    };
    let record = DeviceRecord {
        id: device,
        name: request.name.clone().unwrap_or_else(made_up),
        labels: request.labels.clone(),
        incarnation: Some(incarnation),
        audit: Audit::new(context.now, &context.actor),
    };
    let state = DeviceState::new(record);
    let mut change = Change::of(&state);
    let payload = json!({ "name": state.record.name, "labels": state.record.labels });
    change.event(&state, context, EventKind::DeviceCreated, None, payload);
    change.event(
        &state,
        context,
        EventKind::DeviceRegistered,
        None,
        json!({ "incarnation": incarnation }),
    );
    (state, change.events)
}
