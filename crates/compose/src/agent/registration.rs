//! An agent's registration, which may be cut off at any moment: the token is in the ledger before the hub hears of it, so
//! that asking again is the same request and gets the same answer.
//!
//! Also how an agent that the hub has turned away comes back: with another provisioning key than it was registered with. And
//! one that the hub does not know, because it was restored from an older backup: with a key that is bound to a device, the
//! same or another. It goes on with its work meanwhile; until the hub has answered, it is who it was.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::bail;
use holdfast_domain::{DeviceId, Name, backoff::Backoff};
use holdfast_edge::{AgentStatus, HubAccess, HubStatus};
use holdfast_hub_client::{Connection, register as ask};
use holdfast_ledger::RedbLedger;
use holdfast_ports::{
    clock::Entropy as _,
    ledger::Identity,
    tokens::{SecretHash, new_secret},
};
use holdfast_runtime::clock::SystemEntropy;
use holdfast_wire::RegisterRequest;
use tokio::sync::watch;

/// What registering needs besides a key.
pub(super) struct Registrar {
    /// What a new device shall be called.
    pub(super) name: Option<Name>,
    /// Labels of a new device.
    pub(super) labels: BTreeMap<String, String>,
    /// The hub.
    pub(super) connection: Connection,
    /// The agent's disk.
    pub(super) ledger: Arc<RedbLedger>,
}

type Status = watch::Receiver<Option<Arc<AgentStatus>>>;

impl Registrar {
    /// Registers, for as long as it takes; an answer that asking again can't change is an error. The identity is not kept
    /// yet.
    pub(super) async fn register(&self, key: Option<&str>) -> anyhow::Result<Identity> {
        self.register_as(key, None).await
    }

    async fn register_as(
        &self,
        key: Option<&str>,
        is: Option<DeviceId>,
    ) -> anyhow::Result<Identity> {
        let Some(key) = key else {
            bail!(
                "this agent has not registered yet: set provisioning_key (HOLDFAST_AGENT_PROVISIONING_KEY) to a key that \
                 `holdfast device add` or `holdfast key create` printed"
            );
        };
        let key_hash = SecretHash::of(key);
        let fresh = new_secret("hfa", SystemEntropy.secret());
        let token = self.ledger.registering(key_hash, fresh).await?;
        self.ask(key, token, is).await
    }

    /// Asks until the hub has answered; `is` is whose agent it is already.
    async fn ask(
        &self,
        key: &str,
        token: String,
        is: Option<DeviceId>,
    ) -> anyhow::Result<Identity> {
        let request = RegisterRequest {
            name: self.name.clone(),
            token_hash: RegisterRequest::hash_text(&SecretHash::of(&token).0),
            labels: self.labels.clone(),
            device: is,
        };
        let mut failures = 0;
        loop {
            match ask(&self.connection, key, &request).await {
                Ok(answer) => {
                    return Ok(Identity {
                        device: answer.device,
                        incarnation: answer.incarnation,
                        token,
                        key: Some(SecretHash::of(key)),
                    });
                }
                Err(error) if error.is_final() => return Err(error.into()),
                Err(error) => {
                    failures += 1;
                    let wait_ms = Backoff::HUB.delay_ms(failures, SystemEntropy.jitter());
                    tracing::warn!(
                        error = format!("{:#}", anyhow::Error::from(error)),
                        wait_ms,
                        "not registered yet"
                    );
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                }
            }
        }
    }

    /// Waits until the hub has turned away the agent that runs as `identity`, or does not know it; then registers it anew with
    /// `key`, if that can be. Else says what can be done, and waits on. Dropping it leaves a registration that was begun to
    /// the next start.
    ///
    /// # Errors
    /// If the disk can't be used.
    pub(super) async fn register_anew(
        &self,
        identity: &Identity,
        key: Option<&str>,
        mut status: Status,
    ) -> anyhow::Result<Identity> {
        let device = identity.device;
        loop {
            until(&mut status, |hub| Lost::of(hub).is_some()).await;
            let Some(lost) = status.borrow().as_ref().and_then(|now| Lost::of(&now.hub)) else {
                continue;
            };
            let (told, to_do) = lost.told();
            let fresh = fresh_key(identity, key);
            let asked = match (lost, key, fresh) {
                (Lost::TurnedAway, _, Some(key)) => {
                    tracing::info!(%device, "{told}: registering with the new provisioning key");
                    Some(self.register(Some(key)).await)
                }
                (Lost::Unknown, _, Some(key)) => {
                    tracing::info!(%device, "{told}: registering with the new provisioning key");
                    Some(self.register_as(Some(key), Some(device)).await)
                }
                (Lost::Unknown, Some(key), None) => {
                    tracing::info!(%device, "{told}: registering again, as it did before");
                    let token = identity.token.clone();
                    Some(self.ask(key, token, Some(device)).await)
                }
                (Lost::TurnedAway, _, None) | (Lost::Unknown, None, None) => None,
            };
            match asked {
                Some(Ok(identity)) => return Ok(identity),
                Some(Err(error)) if error.is::<holdfast_ports::StoreError>() => return Err(error),
                Some(Err(error)) => {
                    let error = format!("{error:#}");
                    tracing::error!(%device, error, "the provisioning key was of no use; {to_do}");
                }
                None => tracing::warn!(%device, "{told}; {to_do}"),
            }
            until(&mut status, |hub| Lost::of(hub).is_none()).await;
        }
    }
}

/// Why an agent is none any more in the eyes of its hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// Its device was deleted, or its access revoked.
    TurnedAway,
    /// The hub knows nothing of it.
    Unknown,
}

impl Lost {
    fn of(hub: &HubStatus) -> Option<Self> {
        if hub.access != HubAccess::Granted {
            Some(Self::TurnedAway)
        } else {
            hub.knows_not.then_some(Self::Unknown)
        }
    }

    /// What happened, and what can be done.
    const fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::TurnedAway => (
                "the hub has turned this agent away; it goes on reading",
                "to register it anew, restart it with another provisioning_key (HOLDFAST_AGENT_PROVISIONING_KEY): one from \
                 `holdfast device rekey DEVICE` to go on as that device, or from `holdfast device add` or `holdfast key \
                 create` to become another",
            ),
            Self::Unknown => (
                "the hub does not know this agent (restored from a backup?); it goes on with what it holds",
                "to register it again, restart it with another provisioning_key (HOLDFAST_AGENT_PROVISIONING_KEY): one from \
                 `holdfast device rekey DEVICE`, if the hub has its device, or from `holdfast device add DEVICE`; then apply \
                 the device's manifest before the restart, for the agent lets go what it holds for the device that it was",
            ),
        }
    }
}

/// The key to register anew with: it must be another one than the agent was registered with. Otherwise an agent whose
/// device was deleted would come back by itself, against its operator's will.
fn fresh_key<'a>(identity: &Identity, key: Option<&'a str>) -> Option<&'a str> {
    key.filter(|key| identity.key != Some(SecretHash::of(key)))
}

/// Waits until what the hub says of the device is as wanted; for ever once the agent has ended.
async fn until(status: &mut Status, wanted: impl Fn(&HubStatus) -> bool) {
    let is_so = |status: &Option<Arc<AgentStatus>>| {
        status.as_ref().is_some_and(|status| wanted(&status.hub))
    };
    if status.wait_for(is_so).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use holdfast_domain::{DeviceId, Incarnation};

    use super::*;

    #[test]
    fn only_another_key_registers_anew() {
        let registered_with = |key: Option<&str>| Identity {
            device: DeviceId(
                "0192b3a4-0000-7000-8000-000000000001"
                    .parse()
                    .expect("a UUID"),
            ),
            incarnation: Incarnation(
                "0192b3a4-0000-7000-8000-000000000002"
                    .parse()
                    .expect("a UUID"),
            ),
            token: "token".into(),
            key: key.map(SecretHash::of),
        };
        let identity = registered_with(Some("one"));
        assert_eq!(fresh_key(&identity, None), None);
        assert_eq!(fresh_key(&identity, Some("one")), None);
        assert_eq!(fresh_key(&identity, Some("other")), Some("other"));
        assert_eq!(fresh_key(&registered_with(None), Some("one")), Some("one"));
    }
}
