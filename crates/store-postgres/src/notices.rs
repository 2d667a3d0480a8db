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
    PostgresStore,
    columns::{Fault, time},
};

#[async_trait]
impl NoticeStore for PostgresStore {
    async fn claim_notices(
        &self,
        name: &str,
        holder: Uuid,
        now: Timestamp,
        lease: SignedDuration,
    ) -> Result<Option<Told>, StoreError> {
        self.answered(claim(self, name, holder, now, lease))
            .await
            .map_err(|fault| StoreError::new(format!("taking over notices to {name}"), fault))
    }

    async fn note_told(&self, name: &str, from: &Told, to: &Cursor) -> Result<bool, StoreError> {
        let noted = sqlx::query!(
            "UPDATE notices SET told = $3 WHERE name = $1 AND told IS NOT DISTINCT FROM $2",
            name,
            from.0.as_ref().map(|cursor| cursor.0.as_str()) as _,
            to.0,
        );
        let noted = self
            .answered(async { noted.execute(&mut *self.pool.lend().await?).await })
            .await
            .map_err(|error| StoreError::new(format!("noting what {name} was told"), error))?;
        Ok(noted.rows_affected() > 0)
    }
}

async fn claim(
    store: &PostgresStore,
    name: &str,
    holder: Uuid,
    now: Timestamp,
    lease: SignedDuration,
) -> Result<Option<Told>, Fault> {
    let told = sqlx::query_scalar!(
        r#"INSERT INTO notices AS n (name, holder, claimed_until) VALUES ($1, $2, $4)
        ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, claimed_until = excluded.claimed_until
            WHERE n.holder = excluded.holder OR n.claimed_until <= $3
        RETURNING told AS "told?""#,
        name,
        holder,
        time(now),
        time(now.checked_add(lease)?),
    )
    .fetch_optional(&mut *store.pool.lend().await?)
    .await?;
    Ok(told.map(|told| Told(told.map(Cursor))))
}
