//! The ports of events, tokens, the fleet and wake-ups, in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use holdfast_domain::{
    DeviceId, TokenId,
    event::{Event, EventKind},
    row::DeploymentStatus,
};
use holdfast_ports::{
    StoreError,
    events::{Cursor, EventFilter, EventPage, EventStore, ReadError},
    fleet::{Claimed, Figures, FleetStore, HUB_GAP},
    page::{Listed, Page},
    tokens::{
        Grant, ProvisioningKey, Revocation, RevocationKind, SecretHash, TokenRecord, TokenStore,
    },
    wakeups::{Wake, Wakeups},
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast;

use super::{Data, Device, MemoryStore, broken};

/// Failed rows are listed for at most so many devices.
const FAILED_DEVICES: usize = 100;

#[async_trait]
impl EventStore for MemoryStore {
    async fn read(
        &self,
        filter: &EventFilter,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<EventPage, ReadError> {
        let data = self.data();
        let start = match after {
            None => 0,
            Some(Cursor(text)) => text
                .parse()
                .ok()
                .filter(|position| *position <= data.last_position)
                .ok_or_else(|| ReadError::NoSuchCursor(text.clone()))?,
        };
        let behind = data
            .events
            .range(start + 1..)
            .filter(|(_, event)| matches(filter, event));
        let events: Vec<_> = behind
            .take(limit as usize)
            .map(|(position, event)| (Cursor(position.to_string()), Event::clone(event)))
            .collect();
        let next = match events.last() {
            Some((cursor, _)) if events.len() == limit as usize => cursor.clone(),
            _ => Cursor(data.last_position.to_string()),
        };
        Ok(EventPage { events, next })
    }

    async fn end(&self) -> Result<Cursor, StoreError> {
        Ok(Cursor(self.data().last_position.to_string()))
    }

    async fn latest(&self, filter: &EventFilter, limit: u32) -> Result<Vec<Event>, StoreError> {
        let data = self.data();
        let found = data
            .events
            .values()
            .rev()
            .filter(|event| matches(filter, event));
        Ok(found
            .take(limit as usize)
            .map(|event| Event::clone(event))
            .collect())
    }

    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let mut data = self.data();
        let mut floors: BTreeMap<DeviceId, u64> = BTreeMap::new();
        let mut young: BTreeMap<DeviceId, u64> = BTreeMap::new();
        for event in data.events.values() {
            if matches!(
                event.kind,
                EventKind::DeviceSnapshot | EventKind::DeviceDeleted
            ) {
                floors.insert(event.device, event.sequence);
            }
            if event.at >= before {
                young.entry(event.device).or_insert(event.sequence);
            }
        }
        let goes = |event: &Event| {
            floors
                .get(&event.device)
                .is_some_and(|floor| event.sequence < *floor)
                && young
                    .get(&event.device)
                    .is_none_or(|young| event.sequence < *young)
        };
        let doomed: Vec<u64> = data
            .events
            .iter()
            .filter(|(_, event)| goes(event))
            .map(|(position, _)| *position)
            .take(limit as usize)
            .collect();
        for position in &doomed {
            data.events.remove(position);
        }
        Ok(doomed.len() as u64)
    }
}

fn matches(filter: &EventFilter, event: &Event) -> bool {
    filter.device.is_none_or(|device| device == event.device)
        && (filter.kinds.is_empty() || filter.kinds.contains(&event.kind))
}

#[async_trait]
impl TokenStore for MemoryStore {
    async fn add_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        self.data().add_token(token)
    }

    async fn find_token(&self, hash: &SecretHash) -> Result<Option<TokenRecord>, StoreError> {
        Ok(self
            .data()
            .tokens
            .values()
            .find(|token| token.hash == *hash)
            .cloned())
    }

    async fn token(&self, id: TokenId) -> Result<Option<TokenRecord>, StoreError> {
        Ok(self.data().tokens.get(&id).cloned())
    }

    async fn tokens(&self, page: &Page) -> Result<Listed<TokenRecord>, StoreError> {
        Ok(page_of(&self.data().tokens, page))
    }

    async fn revoke_token(&self, id: TokenId, at: Timestamp) -> Result<bool, StoreError> {
        let revoked = match self
            .data()
            .tokens
            .get_mut(&id)
            .filter(|token| token.revoked.is_none())
        {
            Some(token) => {
                token.revoked = Some(Revocation {
                    at,
                    kind: RevocationKind::Revoked,
                });
                true
            }
            None => false,
        };
        if revoked {
            self.wake(Wake::Tokens);
        }
        Ok(revoked)
    }

    async fn add_key(&self, key: &ProvisioningKey) -> Result<(), StoreError> {
        let mut data = self.data();
        if data
            .keys
            .values()
            .any(|other| other.id == key.id || other.hash == key.hash)
        {
            return Err(broken(
                "adding a provisioning key",
                "its id or hash exists".to_owned(),
            ));
        }
        data.keys.insert(key.id, key.clone());
        Ok(())
    }

    async fn find_key(&self, hash: &SecretHash) -> Result<Option<ProvisioningKey>, StoreError> {
        Ok(self
            .data()
            .keys
            .values()
            .find(|key| key.hash == *hash)
            .cloned())
    }

    async fn keys(&self, page: &Page) -> Result<Listed<ProvisioningKey>, StoreError> {
        Ok(page_of(&self.data().keys, page))
    }

    async fn revoke_key(&self, id: TokenId, at: Timestamp) -> Result<bool, StoreError> {
        let revoked = match self
            .data()
            .keys
            .get_mut(&id)
            .filter(|key| key.revoked_at.is_none())
        {
            Some(key) => {
                key.revoked_at = Some(at);
                true
            }
            None => false,
        };
        if revoked {
            self.wake(Wake::Tokens);
        }
        Ok(revoked)
    }

    async fn prune_access(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut data = self.data();
        let count = data.tokens.len() + data.keys.len();
        let ended = |revoked: Option<Timestamp>, expires: Option<Timestamp>| {
            [revoked, expires]
                .into_iter()
                .flatten()
                .any(|at| at < before)
        };
        data.tokens.retain(|_, token| {
            let revoked = token.revoked.as_ref().map(|end| end.at);
            matches!(token.grant, Grant::Agent(_)) || !ended(revoked, token.expires_at)
        });
        data.keys.retain(|_, key| {
            let used_up = key.uses_left == Some(0) && key.created_at < before;
            !used_up && !ended(key.revoked_at, key.expires_at)
        });
        Ok((count - data.tokens.len() - data.keys.len()) as u64)
    }
}

fn page_of<T: Clone>(all: &BTreeMap<TokenId, T>, page: &Page) -> Listed<T> {
    let behind = |id: &TokenId| {
        page.after
            .as_ref()
            .is_none_or(|after| id.to_string() > *after)
    };
    let found = all
        .iter()
        .filter(|(id, _)| behind(id))
        .take(page.limit as usize + 1);
    let found: Vec<(TokenId, T)> = found.map(|(id, item)| (*id, item.clone())).collect();
    let Listed { items, next } = Listed::cut(found, page.limit, |(id, _)| id.to_string());
    Listed {
        items: items.into_iter().map(|(_, item)| item).collect(),
        next,
    }
}

#[async_trait]
impl FleetStore for MemoryStore {
    async fn claim(
        &self,
        now: Timestamp,
        lease: SignedDuration,
        limit: u32,
    ) -> Result<Vec<Claimed>, StoreError> {
        let mut data = self.data();
        let mut due: Vec<(Timestamp, DeviceId)> = data
            .devices
            .iter()
            .filter(|(_, device)| is_due(device, now))
            .map(|(id, device)| (device.due_at, *id))
            .collect();
        due.sort_unstable();
        due.truncate(limit as usize);
        let mut claimed = Vec::with_capacity(due.len());
        for (_, id) in due {
            let device = data
                .devices
                .get_mut(&id)
                .expect("found a moment ago, under the same lock");
            device.claimed_until = Some(now + lease);
            claimed.push(Claimed {
                device: id,
                revision: device.state.revision,
            });
        }
        Ok(claimed)
    }

    async fn schedule(&self, next: &[(Claimed, Timestamp)]) -> Result<(), StoreError> {
        let mut data = self.data();
        for (claimed, at) in next {
            let Some(device) = data.devices.get_mut(&claimed.device) else {
                continue;
            };
            if device.state.revision == claimed.revision {
                device.due_at = *at;
            }
            device.claimed_until = None;
        }
        Ok(())
    }

    async fn beat(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut data = self.data();
        data.hub = Some(match data.hub {
            Some((up_since, last)) if now.duration_since(last) <= HUB_GAP => {
                (up_since, last.max(now))
            }
            _ => (now, now),
        });
        Ok(())
    }

    async fn hub_up_since(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let hub = self.data().hub;
        Ok(hub
            .filter(|(_, last)| now.duration_since(*last) <= HUB_GAP)
            .map(|(up_since, _)| up_since))
    }

    async fn figures(&self, overdue_before: Timestamp) -> Result<Figures, StoreError> {
        let now = self.now();
        let data = self.data();
        Ok(figures(&data, now, overdue_before))
    }
}

fn is_due(device: &Device, now: Timestamp) -> bool {
    device.due_at <= now && device.claimed_until.is_none_or(|until| until <= now)
}

fn figures(data: &Data, now: Timestamp, overdue_before: Timestamp) -> Figures {
    let mut figures = Figures {
        devices: data.devices.len() as u64,
        ..Figures::default()
    };
    let mut failed = Vec::new();
    for device in data.devices.values() {
        let rows = device.state.rows.values();
        figures.silent += u64::from(device.state.presence.silent);
        figures.due += u64::from(is_due(device, now));
        let kinds: std::collections::BTreeSet<_> =
            rows.clone().filter_map(|row| row.drift).collect();
        for kind in kinds {
            *figures.drifting.entry(kind).or_default() += 1;
        }
        for row in rows.clone() {
            *figures.sensors.entry(row.status).or_default() += 1;
            let is_under_way = matches!(
                row.status,
                DeploymentStatus::Pending | DeploymentStatus::Reconciling
            );
            let is_overdue = is_under_way
                && row
                    .drifting_since
                    .is_some_and(|since| since < overdue_before);
            figures.overdue += u64::from(is_overdue);
        }
        let oldest = rows.clone().filter_map(|row| row.drifting_since).min();
        figures.oldest_drift = [figures.oldest_drift, oldest].into_iter().flatten().min();
        let failures = rows
            .filter(|row| row.status == DeploymentStatus::Failed)
            .count() as u64;
        if failures > 0 {
            failed.push((failures, device.state.record.name.to_string()));
        }
    }
    failed.sort_by(|left, right| right.0.cmp(&left.0).then_with(|| left.1.cmp(&right.1)));
    failed.truncate(FAILED_DEVICES);
    figures.failed = failed
        .into_iter()
        .map(|(count, name)| (name, count))
        .collect();
    figures
}

impl Wakeups for MemoryStore {
    fn subscribe(&self) -> broadcast::Receiver<Wake> {
        self.wakes.subscribe()
    }

    fn is_connected(&self) -> bool {
        true
    }
}
