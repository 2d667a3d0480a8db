//! The event log: how it is read so that nothing is skipped, although transactions commit out of order.
//!
//! Positions are handed out when an event is written, but events become visible when their transaction commits, and an
//! earlier position may become visible later. So the order of the log is (`xact`, `position`), `xact` being the id of the
//! writing transaction, and only events before a horizon are read: the oldest transaction of this database that is still
//! running. It is asked for first (`holdfast_event_horizon()`), and read in a statement after that: a transaction before
//! the horizon was over when it was asked for, and so is visible, or rolled back, for every snapshot since. "All
//! transaction IDs less than xmin are either committed and visible, or rolled back and dead" (PostgreSQL 15, 9.26.8
//! "Transaction ID and Snapshot Information Functions"; 9.27 in later ones). What becomes visible later is of the horizon
//! or behind it, and so comes behind every cursor that was given. The price: a writing transaction that stays open holds
//! events back, which is why ours may not stay idle (`idle_in_transaction_session_timeout`, see connect.rs).
//!
//! A device's events come in the order of their sequences: who writes the next one has loaded a state that holds the one
//! before, so that its transaction began after the other had committed, and has the higher id.

use std::{fmt, str::FromStr};

use async_trait::async_trait;
use holdfast_domain::{
    DeviceId,
    event::{Event, EventKind},
};
use holdfast_ports::{
    StoreError,
    events::{Cursor, EventFilter, EventPage, EventStore, ReadError},
};
use jiff::Timestamp;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    PostgresStore,
    columns::{Fault, Time, actor, natural, take, time, word},
};

#[async_trait]
impl EventStore for PostgresStore {
    async fn read(
        &self,
        filter: &EventFilter,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<EventPage, ReadError> {
        let after = match after {
            None => Place::BEGINNING,
            Some(cursor) => cursor
                .0
                .parse()
                .map_err(|NoPlace| ReadError::NoSuchCursor(cursor.0.clone()))?,
        };
        let page = self.answered(self.read_after(filter, after, limit)).await;
        let page = page.map_err(|fault| StoreError::new("reading events", fault))?;
        page.ok_or_else(|| ReadError::NoSuchCursor(after.to_string()))
    }

    async fn end(&self) -> Result<Cursor, StoreError> {
        let end = async { self.end_before(&self.horizon().await?).await };
        let end = self
            .answered(end)
            .await
            .map_err(|fault: Fault| StoreError::new("looking for the last event", fault))?;
        Ok(end.cursor())
    }

    async fn latest(&self, filter: &EventFilter, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.answered(self.latest_events(filter, limit))
            .await
            .map_err(|fault| StoreError::new("reading the latest events", fault))
    }

    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let pruned = sqlx::query!(
            // Where a clock was set back, a device's older events can bear later times: nothing behind such a one goes,
            // so that no gap comes to be.
            "WITH old AS (
                SELECT e.device_uuid, e.sequence, e.at FROM events e
                WHERE e.at < $1 AND e.sequence < (
                    SELECT max(s.sequence) FROM events s
                    WHERE s.device_uuid = e.device_uuid AND s.type IN ('device.snapshot', 'device.deleted')
                )
                ORDER BY e.xact, e.position LIMIT $2
            ), young AS (
                SELECT o.device_uuid, min(y.sequence) AS sequence
                FROM (SELECT device_uuid, max(sequence) AS sequence FROM old GROUP BY device_uuid) o
                JOIN events y ON y.device_uuid = o.device_uuid AND y.sequence < o.sequence AND y.at >= $1
                GROUP BY o.device_uuid
            )
            DELETE FROM events e USING old
            WHERE (e.device_uuid, e.sequence, e.at) = (old.device_uuid, old.sequence, old.at)
                AND NOT EXISTS (
                    SELECT FROM young WHERE young.device_uuid = old.device_uuid AND young.sequence < old.sequence
                )",
            time(before),
            i64::from(limit),
        );
        let pruned = self
            .answered(async { pruned.execute(&mut *self.pool.lend().await?).await })
            .await
            .map_err(|error| StoreError::new("removing old events", error))?;
        Ok(pruned.rows_affected())
    }
}

impl PostgresStore {
    /// A page; `None` if `after` is a place that this log has not reached.
    async fn read_after(
        &self,
        filter: &EventFilter,
        after: Place,
        limit: u32,
    ) -> Result<Option<EventPage>, Fault> {
        let EventFilter { device, kinds } = filter;
        let horizon = self.horizon().await?;
        // All up to here is looked at, also what the filter leaves out.
        let is_filtered = device.is_some() || !kinds.is_empty();
        let end = if is_filtered {
            self.end_before(&horizon).await?
        } else {
            Place::BEGINNING
        };
        let lines = sqlx::query_as!(
            EventColumns,
            r#"SELECT xact::text AS "xact!", position, device_uuid, sequence, type AS kind, at, actor, correlation_id,
                causation, payload
            FROM events
            WHERE (xact, position) > ($1::text::xid8, $2::bigint)
                AND xact < $3::text::xid8
                AND ($4::uuid IS NULL OR device_uuid = $4)
                AND ($5::text[] IS NULL OR type = ANY ($5))
            ORDER BY xact, position LIMIT $6"#,
            after.xact.to_string(),
            after.position,
            horizon,
            device.map(DeviceId::uuid),
            words(kinds) as _,
            i64::from(limit),
        )
        .fetch_all(&mut *self.pool.lend().await?)
        .await?;
        if lines.is_empty() && after != Place::BEGINNING && !self.has_reached(after).await? {
            return Ok(None);
        }
        let is_whole = lines.len() < limit as usize;
        let events: Vec<(Place, Event)> = lines
            .into_iter()
            .map(EventColumns::into_event)
            .collect::<Result<_, _>>()?;
        let last = events.last().map_or(after, |(place, _)| *place);
        let next = if is_whole { last.max(end) } else { last };
        let events = events
            .into_iter()
            .map(|(place, event)| (place.cursor(), event))
            .collect();
        Ok(Some(EventPage {
            events,
            next: next.cursor(),
        }))
    }

    async fn has_reached(&self, place: Place) -> Result<bool, Fault> {
        let reached = sqlx::query_scalar!(
            r#"SELECT $1::text::xid8 < pg_snapshot_xmax(pg_current_snapshot()) AS "reached!""#,
            place.xact.to_string(),
        )
        .fetch_one(&mut *self.pool.lend().await?)
        .await?;
        Ok(reached)
    }

    /// The transaction before which all that will ever be in the log can be read by a later statement.
    async fn horizon(&self) -> Result<String, Fault> {
        let horizon = sqlx::query_scalar!(r#"SELECT holdfast_event_horizon()::text AS "horizon!""#);
        Ok(horizon.fetch_one(&mut *self.pool.lend().await?).await?)
    }

    async fn end_before(&self, horizon: &str) -> Result<Place, Fault> {
        let last = sqlx::query!(
            r#"SELECT xact::text AS "xact!", position FROM events
            WHERE xact < $1::text::xid8
            ORDER BY xact DESC, position DESC LIMIT 1"#,
            horizon,
        )
        .fetch_optional(&mut *self.pool.lend().await?)
        .await?;
        match last {
            None => Ok(Place::BEGINNING),
            Some(last) => Ok(Place {
                xact: last.xact.parse()?,
                position: last.position,
            }),
        }
    }

    async fn latest_events(&self, filter: &EventFilter, limit: u32) -> Result<Vec<Event>, Fault> {
        let EventFilter { device, kinds } = filter;
        let limit = i64::from(limit);
        // Of one device they are read by its own order, which has an index.
        let lines = match device {
            Some(device) => {
                sqlx::query_as!(
                    EventColumns,
                    r#"SELECT xact::text AS "xact!", position, device_uuid, sequence, type AS kind, at, actor,
                        correlation_id, causation, payload
                    FROM events
                    WHERE device_uuid = $1 AND ($2::text[] IS NULL OR type = ANY ($2))
                    ORDER BY sequence DESC LIMIT $3"#,
                    device.uuid(),
                    words(kinds) as _,
                    limit,
                )
                .fetch_all(&mut *self.pool.lend().await?)
                .await?
            }
            None => {
                sqlx::query_as!(
                    EventColumns,
                    r#"SELECT xact::text AS "xact!", position, device_uuid, sequence, type AS kind, at, actor,
                        correlation_id, causation, payload
                    FROM events
                    WHERE $1::text[] IS NULL OR type = ANY ($1)
                    ORDER BY xact DESC, position DESC LIMIT $2"#,
                    words(kinds) as _,
                    limit,
                )
                .fetch_all(&mut *self.pool.lend().await?)
                .await?
            }
        };
        lines
            .into_iter()
            .map(|columns| Ok(columns.into_event()?.1))
            .collect()
    }
}

fn words(kinds: &[EventKind]) -> Option<Vec<&'static str>> {
    (!kinds.is_empty()).then(|| kinds.iter().map(|kind| kind.as_str()).collect())
}

/// Whether events carry ids of transactions that this server has not reached: they are of another one, from whose dump
/// the database was restored. They would not be read until this server has caught up, and new ones would come before.
pub(crate) async fn is_of_another_server(
    connection: &mut PgConnection,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT coalesce(
            (SELECT xact FROM events ORDER BY xact DESC, position DESC LIMIT 1) >=
                pg_snapshot_xmax(pg_current_snapshot()),
            false
        ) AS "is_foreign!""#,
    )
    .fetch_one(connection)
    .await
}

/// Makes events that were restored from another server's dump readable: they come before all others, in the order of
/// their positions (in which a device's events are too). Cursors given before are refused then, or begin anew.
pub(crate) async fn mend_after_restore(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    if is_of_another_server(connection).await? {
        // The lowest id that a transaction can have; ids of transactions begin above it.
        sqlx::query!("UPDATE events SET xact = '3'")
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    xact: u64,
    position: i64,
}

impl Place {
    const BEGINNING: Self = Self {
        xact: 0,
        position: 0,
    };

    fn cursor(self) -> Cursor {
        Cursor(self.to_string())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.xact, self.position)
    }
}

struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place = text.split_once('-').and_then(|(xact, position)| {
            Some(Self {
                xact: xact.parse().ok()?,
                position: position.parse().ok()?,
            })
        });
        // Only what `Display` gives: no signs, no leading zeros.
        place
            .filter(|place| place.to_string() == text)
            .ok_or(NoPlace)
    }
}

struct EventColumns {
    xact: String,
    position: i64,
    device_uuid: Uuid,
    sequence: i64,
    kind: String,
    at: Time,
    actor: String,
    correlation_id: Option<String>,
    causation: Option<i64>,
    payload: Value,
}

impl EventColumns {
    fn into_event(self) -> Result<(Place, Event), Fault> {
        let event = Event {
            device: DeviceId(self.device_uuid),
            sequence: natural(self.sequence)?,
            kind: word(&self.kind)?,
            at: self.at.to_jiff(),
            actor: actor(self.actor),
            correlation: self.correlation_id.map(take),
            causation: self.causation.map(natural).transpose()?,
            payload: self.payload,
        };
        Ok((
            Place {
                xact: self.xact.parse()?,
                position: self.position,
            },
            event,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_place_is_read_back_and_nothing_else_is_read() {
        let place = Place {
            xact: 731,
            position: 12,
        };
        assert_eq!(place.to_string().parse().ok(), Some(place));
        for bad in [
            "", "731", "731-", "-12", "731-+12", "0731-12", "731-12-1", "a-b", "731--1-",
        ] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
