//! How far each way of telling has come, in memory.

use async_trait::async_trait;
use holdfast_ports::{
    StoreError,
    events::Cursor,
    notices::{NoticeStore, Told},
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::MemoryStore;

/// A way of telling.
#[derive(Clone)]
pub(super) struct Way {
    holder: Uuid,
    claimed_until: Timestamp,
    told: Told,
}

#[async_trait]
impl NoticeStore for MemoryStore {
    async fn claim_notices(
        &self,
        name: &str,
        holder: Uuid,
        now: Timestamp,
        lease: SignedDuration,
    ) -> Result<Option<Told>, StoreError> {
        let mut data = self.data();
        let way = data.notices.entry(name.to_owned()).or_insert(Way {
            holder,
            claimed_until: now,
            told: Told::default(),
        });
        if way.holder != holder && way.claimed_until > now {
            return Ok(None);
        }
        way.holder = holder;
        way.claimed_until = now + lease;
        Ok(Some(way.told.clone()))
    }

    async fn note_told(&self, name: &str, from: &Told, to: &Cursor) -> Result<bool, StoreError> {
        let mut data = self.data();
        let way = data.notices.get_mut(name).filter(|way| way.told == *from);
        Ok(way.map(|way| way.told = Told(Some(to.clone()))).is_some())
    }
}
