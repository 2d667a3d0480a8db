//! The log.
//!
//! A cursor is the position of an event, or 0 for the beginning. There is one writer at a time, and an event gets its
//! position inside the transaction that commits it; so positions become visible in their order, and a reader that has
//! seen one has seen all before it. Positions are never given twice (AUTOINCREMENT), also after pruning.

use async_trait::async_trait;
use holdfast_domain::{event::Event, row::Actor};
use holdfast_ports::{
    StoreError,
    events::{Cursor, EventFilter, EventPage, EventStore, ReadError},
};
use jiff::Timestamp;
use sqlx::{FromRow, QueryBuilder, Sqlite, SqliteConnection};

use crate::{
    SqliteStore,
    columns::{Fault, from_json, instant, micros, natural, parsed},
    open::failed,
};

/// An event as a query gives it.
#[derive(FromRow)]
struct EventColumns {
    position: i64,
    device_uuid: String,
    sequence: i64,
    r#type: String,
    at: i64,
    actor: String,
    correlation_id: Option<String>,
    causation: Option<i64>,
    payload: String,
}

impl EventColumns {
    fn into_event(self) -> Result<Event, Fault> {
        Ok(Event {
            device: parsed(&self.device_uuid)?,
            sequence: natural(self.sequence)?,
            kind: parsed(&self.r#type)?,
            at: instant(self.at)?,
            actor: Actor::named(&self.actor),
            correlation: self.correlation_id,
            causation: self.causation.map(natural).transpose()?,
            payload: from_json(&self.payload)?,
        })
    }
}

/// The events that match, up to the filter: the caller goes on from there.
fn matching(filter: &EventFilter) -> QueryBuilder<Sqlite> {
    let EventFilter { device, kinds } = filter;
    let mut query = QueryBuilder::new("SELECT * FROM events WHERE true");
    if let Some(device) = device {
        query
            .push(" AND device_uuid = ")
            .push_bind(device.to_string());
    }
    if !kinds.is_empty() {
        query.push(" AND type IN (");
        let mut words = query.separated(", ");
        for kind in kinds {
            words.push_bind(kind.as_str());
        }
        query.push(")");
    }
    query
}

/// The last position that was ever given.
async fn last_position(connection: &mut SqliteConnection) -> Result<i64, Fault> {
    // SQLite's own table has no column types, which the checking macro can't bear.
    let last = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'events'");
    Ok(last.fetch_optional(connection).await?.unwrap_or(0))
}

impl SqliteStore {
    /// The outer `None`: there is no such cursor.
    async fn try_read(
        &self,
        filter: &EventFilter,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Option<EventPage>, Fault> {
        let mut transaction = self.readers.begin().await?;
        let last = last_position(&mut transaction).await?;
        let start = match after {
            None => Some(0),
            Some(Cursor(text)) => text
                .parse()
                .ok()
                .filter(|position| (0..=last).contains(position)),
        };
        let Some(start) = start else { return Ok(None) };
        let mut query = matching(filter);
        query.push(" AND position > ").push_bind(start);
        query
            .push(" ORDER BY position LIMIT ")
            .push_bind(i64::from(limit));
        let found: Vec<EventColumns> = query.build_query_as().fetch_all(&mut *transaction).await?;
        transaction.rollback().await?;
        let is_full = found.len() == limit as usize;
        let mut events = Vec::with_capacity(found.len());
        for columns in found {
            events.push((Cursor(columns.position.to_string()), columns.into_event()?));
        }
        let next = match events.last() {
            Some((cursor, _)) if is_full => cursor.clone(),
            _ => Cursor(last.to_string()),
        };
        Ok(Some(EventPage { events, next }))
    }

    async fn try_latest(&self, filter: &EventFilter, limit: u32) -> Result<Vec<Event>, Fault> {
        let mut query = matching(filter);
        query
            .push(" ORDER BY position DESC LIMIT ")
            .push_bind(i64::from(limit));
        let found: Vec<EventColumns> = query.build_query_as().fetch_all(&self.readers).await?;
        found.into_iter().map(EventColumns::into_event).collect()
    }

    async fn try_prune(&self, before: Timestamp, limit: u32) -> Result<u64, Fault> {
        let (before, limit) = (micros(before), i64::from(limit));
        // From the front of each device's events only, so that none goes missing in the middle, should a clock have jumped.
        let pruned = sqlx::query!(
            "DELETE FROM events WHERE position IN (
                 SELECT e.position FROM events AS e
                 WHERE e.at < ?1
                   AND e.sequence < (SELECT max(s.sequence) FROM events AS s
                                     WHERE s.device_uuid = e.device_uuid
                                       AND s.type IN ('device.snapshot', 'device.deleted'))
                   AND NOT EXISTS (SELECT 1 FROM events AS y
                                   WHERE y.device_uuid = e.device_uuid AND y.sequence < e.sequence AND y.at >= ?1)
                 ORDER BY e.position
                 LIMIT ?2)",
            before,
            limit
        )
        .execute(&self.writer)
        .await?;
        Ok(pruned.rows_affected())
    }
}

#[async_trait]
impl EventStore for SqliteStore {
    async fn read(
        &self,
        filter: &EventFilter,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<EventPage, ReadError> {
        match self.try_read(filter, after, limit).await {
            Ok(Some(page)) => Ok(page),
            Ok(None) => Err(ReadError::NoSuchCursor(
                after.map(|cursor| cursor.0.clone()).unwrap_or_default(),
            )),
            Err(fault) => Err(failed("reading events")(fault).into()),
        }
    }

    async fn end(&self) -> Result<Cursor, StoreError> {
        let end = async {
            let mut connection = self.readers.acquire().await?;
            Ok(Cursor(last_position(&mut connection).await?.to_string()))
        };
        end.await.map_err(failed("finding the end of the log"))
    }

    async fn latest(&self, filter: &EventFilter, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.try_latest(filter, limit)
            .await
            .map_err(failed("reading the latest events"))
    }

    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.try_prune(before, limit)
            .await
            .map_err(failed("pruning events"))
    }
}
