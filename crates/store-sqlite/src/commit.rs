//! What a change does to the tables: a fixed number of statements, however many sensors it has.
//!
//! All of it runs in the caller's transaction. The first statement decides: it moves the revision only if that is the one
//! that the change was decided on. Read next: `write.rs`.

use holdfast_domain::{
    ReportOrder,
    event::Event,
    state::{Change, DeviceRecord, DeviceState, TargetChange, TargetChangeKind},
};
use holdfast_ports::{StoreError, store::CommitError};
use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::{
    columns::{Fault, integer, json, micros, micros_opt},
    rows::rows_json,
    write::{
        append, note_needs, write_history, write_presence, write_reported, write_rows, write_target,
    },
};

/// Why the parts of a commit could not be written.
pub(crate) enum Refused {
    Conflict,
    NameTaken,
    Fault(Fault),
}

impl<E: Into<Fault>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

impl Refused {
    /// As the port says it.
    pub(crate) fn error(
        self,
        record: Option<&DeviceRecord>,
        doing: impl Into<String>,
    ) -> CommitError {
        match (self, record) {
            (Self::Conflict, _) => CommitError::Conflict,
            (Self::NameTaken, Some(record)) => CommitError::NameTaken(record.name.clone()),
            (Self::NameTaken, None) => {
                StoreError::new(doing, "the name of a device that was not changed").into()
            }
            (Self::Fault(fault), _) => StoreError::new(doing, fault).into(),
        }
    }
}

/// Adds a device.
pub(crate) async fn create(
    connection: &mut SqliteConnection,
    state: &DeviceState,
    events: &[Event],
) -> Result<(), Refused> {
    let DeviceState {
        revision,
        last_event,
        record,
        target,
        reported,
        presence,
        seen: _,
        rows,
    } = state;
    let id = record.id.to_string();
    let labels = json(&record.labels)?;
    let incarnation = record
        .incarnation
        .map(|incarnation| incarnation.to_string());
    let (created_at, updated_at) = (
        micros(record.audit.created_at),
        micros(record.audit.updated_at),
    );
    let (created_by, updated_by) = (
        record.audit.created_by.as_str(),
        record.audit.updated_by.as_str(),
    );
    let name = record.name.as_str();
    sqlx::query!(
        "INSERT INTO devices (uuid, name, labels, incarnation, created_at, created_by, updated_at, updated_by)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        id,
        name,
        labels,
        incarnation,
        created_at,
        created_by,
        updated_at,
        updated_by
    )
    .execute(&mut *connection)
    .await
    .map_err(taken)?;
    let revision = integer(revision + 1)?;
    let last_event = integer(last_event + events.len() as u64)?;
    sqlx::query!(
        "INSERT INTO device_hot (device_uuid, revision, last_event, due_at) VALUES (?, ?, ?, ?)",
        id,
        revision,
        last_event,
        created_at
    )
    .execute(&mut *connection)
    .await?;
    write_presence(connection, &id, presence).await?;
    write_target(connection, &id, target, TargetChangeKind::NewVersion).await?;
    if let Some(reported) = reported {
        write_reported(connection, &id, reported, false).await?;
    }
    let rows: Vec<_> = rows.values().cloned().collect();
    write_rows(connection, &id, &rows_json(&rows)?).await?;
    append(connection, events).await?;
    Ok(note_needs(connection, &id).await?)
}

/// Applies a change.
pub(crate) async fn apply(
    connection: &mut SqliteConnection,
    change: &Change,
) -> Result<(), Refused> {
    let Change {
        device,
        base_revision,
        record,
        target,
        reported,
        runs_the_same,
        presence,
        is_worth_a_look: _,
        upserts,
        deletes,
        events,
    } = change;
    let id = device.to_string();
    if !advance(
        connection,
        &id,
        *base_revision,
        events.len(),
        due_time(change),
    )
    .await?
    {
        return Err(Refused::Conflict);
    }
    if let Some(reported) = reported
        && was_overtaken(connection, &id, reported.order).await?
    {
        return Err(Refused::Conflict);
    }
    if let Some(record) = record {
        write_record(connection, record).await?;
    }
    if let Some(TargetChange {
        target,
        reason,
        kind,
    }) = target
    {
        write_target(connection, &id, target, *kind).await?;
        if *kind == TargetChangeKind::NewVersion {
            write_history(connection, &id, target, reason.as_deref()).await?;
        }
    }
    if let Some(reported) = reported {
        write_reported(connection, &id, reported, *runs_the_same).await?;
    }
    if let Some(presence) = presence {
        write_presence(connection, &id, presence).await?;
    }
    if !deletes.is_empty() {
        let deletes = json(deletes)?;
        sqlx::query!(
            "DELETE FROM device_sensors WHERE device_uuid = ? AND sensor_uuid IN (SELECT value FROM json_each(?))",
            id,
            deletes
        )
        .execute(&mut *connection)
        .await?;
    }
    if !upserts.is_empty() {
        write_rows(connection, &id, &rows_json(upserts)?).await?;
    }
    append(connection, events).await?;
    if target.is_some() || reported.is_some() || !upserts.is_empty() || !deletes.is_empty() {
        note_needs(connection, &id).await?;
    }
    Ok(())
}

/// When the device becomes due through `change`, by the times that are in it; `None` if it does not.
fn due_time(change: &Change) -> Option<Timestamp> {
    if !change.makes_due() {
        return None;
    }
    let events = change.events.iter().map(|event| event.at);
    let rows = change.upserts.iter().map(|row| row.audit.updated_at);
    // A change of rows without any time in it is due as if it had come first of all.
    Some(events.chain(rows).max().unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Moves the revision on from `base`; false if it is another one, or there is no such device.
pub(crate) async fn advance(
    connection: &mut SqliteConnection,
    id: &str,
    base: u64,
    events: usize,
    due_at: Option<Timestamp>,
) -> Result<bool, Fault> {
    let (base, events, due_at) = (integer(base)?, integer(events as u64)?, micros_opt(due_at));
    let moved = sqlx::query!(
        "UPDATE device_hot
         SET revision = revision + 1, last_event = last_event + ?3, due_at = min(due_at, coalesce(?4, due_at))
         WHERE device_uuid = ?1 AND revision = ?2",
        id,
        base,
        events,
        due_at
    )
    .execute(connection)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Was a report seen that is not earlier than this one?
async fn was_overtaken(
    connection: &mut SqliteConnection,
    id: &str,
    order: ReportOrder,
) -> Result<bool, Fault> {
    let incarnation = order.incarnation.to_string();
    let (boot, sequence) = (integer(order.boot)?, integer(order.sequence)?);
    let later = sqlx::query_scalar!(
        r#"SELECT count(*) AS "later!: i64" FROM device_hot
         WHERE device_uuid = ?1 AND seen_incarnation = ?2 AND (?3, ?4) <= (seen_boot, seen_sequence)"#,
        id,
        incarnation,
        boot,
        sequence
    )
    .fetch_one(connection)
    .await?;
    Ok(later > 0)
}

/// Tells a name that another device has from what else can go wrong.
fn taken(error: sqlx::Error) -> Refused {
    let violated = error
        .as_database_error()
        .filter(|error| error.is_unique_violation())
        .map(|error| error.message());
    match violated {
        Some(message) if message.contains("devices.name") => Refused::NameTaken,
        Some(message) if message.contains("devices.uuid") => Refused::Conflict,
        _ => Refused::Fault(error.into()),
    }
}

async fn write_record(
    connection: &mut SqliteConnection,
    record: &DeviceRecord,
) -> Result<(), Refused> {
    let DeviceRecord {
        id,
        name,
        labels,
        incarnation,
        audit,
    } = record;
    let (id, name, labels) = (id.to_string(), name.as_str(), json(labels)?);
    let incarnation = incarnation.map(|incarnation| incarnation.to_string());
    let (created_at, updated_at) = (micros(audit.created_at), micros(audit.updated_at));
    let (created_by, updated_by) = (audit.created_by.as_str(), audit.updated_by.as_str());
    sqlx::query!(
        "UPDATE devices
         SET name = ?2, labels = ?3, incarnation = ?4, created_at = ?5, created_by = ?6, updated_at = ?7, updated_by = ?8
         WHERE uuid = ?1",
        id,
        name,
        labels,
        incarnation,
        created_at,
        created_by,
        updated_at,
        updated_by
    )
    .execute(connection)
    .await
    .map_err(taken)?;
    Ok(())
}
