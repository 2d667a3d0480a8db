//! How far each way of telling has come.

use async_trait::async_trait;
use holdfast_ports::{
    StoreError,
    events::Cursor,
    notices::{NoticeStore, Told},
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::{
    SqliteStore,
    columns::{Fault, micros},
};

#[async_trait]
impl NoticeStore for SqliteStore {
    async fn claim_notices(
        &self,
        name: &str,
        holder: Uuid,
        now: Timestamp,
        lease: SignedDuration,
    ) -> Result<Option<Told>, StoreError> {
        claim(self, name, holder, now, lease)
            .await
            .map_err(|fault| StoreError::new(format!("taking over notices to {name}"), fault))
    }

    async fn note_told(&self, name: &str, from: &Told, to: &Cursor) -> Result<bool, StoreError> {
        note(self, name, from, to)
            .await
            .map_err(|fault| StoreError::new(format!("noting what {name} was told"), fault))
    }
}

async fn claim(
    store: &SqliteStore,
    name: &str,
    holder: Uuid,
    now: Timestamp,
    lease: SignedDuration,
) -> Result<Option<Told>, Fault> {
    let holder = holder.to_string();
    let (now, until) = (micros(now), micros(now.checked_add(lease)?));
    let mut writer = store.writer.acquire().await?;
    let told = sqlx::query_scalar!(
        "INSERT INTO notices (name, holder, claimed_until) VALUES (?1, ?2, ?4)
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, claimed_until = excluded.claimed_until
             WHERE notices.holder = excluded.holder OR notices.claimed_until <= ?3
         RETURNING told",
        name,
        holder,
        now,
        until
    )
    .fetch_optional(&mut *writer)
    .await?;
    Ok(told.map(|told| Told(told.map(Cursor))))
}

async fn note(store: &SqliteStore, name: &str, from: &Told, to: &Cursor) -> Result<bool, Fault> {
    let from = from.0.as_ref().map(|cursor| cursor.0.as_str());
    let mut writer = store.writer.acquire().await?;
    let noted = sqlx::query!(
        "UPDATE notices SET told = ?3 WHERE name = ?1 AND told IS ?2",
        name,
        from,
        to.0
    )
    .execute(&mut *writer)
    .await?;
    Ok(noted.rows_affected() > 0)
}
