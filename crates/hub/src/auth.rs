//! Who is it? Tokens are looked up by the hash of their secret and trusted for a short time, so that a check costs
//! microseconds and a revocation is in force within a second.

use std::{sync::Arc, time::Duration};

use holdfast_domain::{DeviceId, TokenId, event::EventKind, row::Actor, state::Change};
use holdfast_ports::{
    store::CommitError,
    tokens::{Grant, ProvisioningKey, RevocationKind, Role, SecretHash, TokenRecord, new_secret},
};
use jiff::Timestamp;
use moka::sync::Cache;
use serde_json::json;

use crate::{AuthError, Hub, HubError};

/// Somebody whose token is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Who, as it stands in events.
    pub actor: Actor,
    /// What the token opens.
    pub grant: Grant,
    /// The token.
    pub token: TokenId,
    expires_at: Option<Timestamp>,
}

/// Tokens that were found to be in force a moment ago.
pub(crate) struct TokenCache {
    sessions: Cache<SecretHash, Arc<Session>>,
}

impl TokenCache {
    /// Most tokens that are remembered: more than agents of one replica, a few hundred bytes each.
    const MOST: u64 = 200_000;

    pub(crate) fn new(trust: Duration) -> Self {
        Self {
            sessions: Cache::builder()
                .max_capacity(Self::MOST)
                .time_to_live(trust)
                .build(),
        }
    }

    pub(crate) fn forget_all(&self) {
        self.sessions.invalidate_all();
    }
}

impl Hub {
    /// Whose secret is it, and is the token in force?
    ///
    /// # Errors
    /// Says why the token opens nothing.
    pub async fn authenticate(&self, secret: &str) -> Result<Arc<Session>, AuthError> {
        let hash = SecretHash::of(secret);
        let now = self.inner.parts.clock.now();
        if let Some(session) = self.inner.tokens.sessions.get(&hash)
            && session.expires_at.is_none_or(|end| end > now)
        {
            return Ok(session);
        }
        let record = self
            .inner
            .parts
            .tokens
            .find_token(&hash)
            .await?
            .ok_or(AuthError::Unknown)?;
        let session = Arc::new(in_force(&record, now)?);
        self.inner.tokens.sessions.insert(hash, session.clone());
        Ok(session)
    }

    /// Makes a token for the operators' side and gives its secret, which is not kept.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn create_token(
        &self,
        name: &str,
        role: Role,
        expires_at: Option<Timestamp>,
        by: &Actor,
    ) -> Result<(String, TokenRecord), HubError> {
        let secret = new_secret("hft", self.inner.parts.entropy.secret());
        let record = TokenRecord {
            id: TokenId(self.inner.parts.entropy.uuid()),
            name: name.to_owned(),
            hash: SecretHash::of(&secret),
            grant: Grant::Operator(role),
            created_at: self.context(by, None).now,
            created_by: by.clone(),
            expires_at,
            revoked: None,
        };
        self.inner.parts.tokens.add_token(&record).await?;
        Ok((secret, record))
    }

    /// Ends a token at once, here and within a second on every other replica.
    ///
    /// # Errors
    /// [`HubError::NotFound`] if there is none in force.
    pub async fn revoke_token(&self, id: TokenId, by: &Actor) -> Result<(), HubError> {
        let parts = &self.inner.parts;
        let none = || HubError::NotFound(format!("token {id} in force"));
        let record = parts.tokens.token(id).await?.ok_or_else(none)?;
        if record.revoked.is_some() {
            return Err(none());
        }
        match record.grant {
            Grant::Agent(device) => self.revoke_agent(device, by).await?,
            Grant::Operator(_) => {
                if !parts.tokens.revoke_token(id, parts.clock.now()).await? {
                    return Err(none());
                }
            }
        }
        self.inner.tokens.forget_all();
        tracing::info!(token = %id, name = record.name, %by, "token revoked");
        Ok(())
    }

    /// Ends the token of a device's agent: from now on the agent writes nothing, and what it says is not heard.
    async fn revoke_agent(&self, device: DeviceId, by: &Actor) -> Result<(), HubError> {
        const ATTEMPTS: usize = 10;
        let context = self.context(by, None);
        for _ in 0..ATTEMPTS {
            let known = self.inner.states.load(device).await?;
            let mut change = Change::of(&known.state);
            change.event(
                &known.state,
                &context,
                EventKind::DeviceRevoked,
                None,
                json!({}),
            );
            match self.inner.parts.devices.revoke(&change, context.now).await {
                Ok(()) => {
                    self.inner.states.forget(device);
                    return Ok(());
                }
                Err(CommitError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(HubError::Busy)
    }

    /// Makes a provisioning key and gives its secret, which is not kept. A key that is bound to a device can be used once.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn create_key(
        &self,
        name: &str,
        device: Option<DeviceId>,
        uses: Option<u32>,
        expires_at: Option<Timestamp>,
        by: &Actor,
    ) -> Result<(String, ProvisioningKey), HubError> {
        let secret = new_secret("hfp", self.inner.parts.entropy.secret());
        let key = ProvisioningKey {
            id: TokenId(self.inner.parts.entropy.uuid()),
            name: name.to_owned(),
            hash: SecretHash::of(&secret),
            device,
            uses_left: if device.is_some() { Some(1) } else { uses },
            created_at: self.context(by, None).now,
            created_by: by.clone(),
            expires_at,
            revoked_at: None,
        };
        self.inner.parts.tokens.add_key(&key).await?;
        Ok((secret, key))
    }

    /// Ends a provisioning key.
    ///
    /// # Errors
    /// [`HubError::NotFound`] if there is none in force.
    pub async fn revoke_key(&self, id: TokenId, by: &Actor) -> Result<(), HubError> {
        let ended = self
            .inner
            .parts
            .tokens
            .revoke_key(id, self.inner.parts.clock.now())
            .await?;
        if ended {
            tracing::info!(key = %id, %by, "provisioning key revoked");
            Ok(())
        } else {
            Err(HubError::NotFound(format!(
                "provisioning key {id} in force"
            )))
        }
    }
}

fn in_force(record: &TokenRecord, now: Timestamp) -> Result<Session, AuthError> {
    let device = match record.grant {
        Grant::Agent(device) => Some(device),
        Grant::Operator(_) => None,
    };
    match (&record.revoked, device) {
        (None, _) => {}
        (Some(end), Some(device)) if end.kind == RevocationKind::DeviceDeleted => {
            return Err(AuthError::DeviceDeleted { device });
        }
        (Some(_), device) => return Err(AuthError::Revoked { device }),
    }
    if record.expires_at.is_some_and(|end| end <= now) {
        return Err(AuthError::Expired);
    }
    let actor = if device.is_some() {
        Actor::agent()
    } else {
        Actor::named(&record.name)
    };
    Ok(Session {
        actor,
        grant: record.grant,
        token: record.id,
        expires_at: record.expires_at,
    })
}
