//! Commits changes. A report is one statement and one round trip (`commit.sql`), however many sensors it has, and it
//! shares both with the reports of other devices that come at the same time (`batch.rs`). A change of the target adds a
//! second statement in a transaction of its own (`retarget.sql`), and one of the device itself a third.

use holdfast_domain::{
    DeviceId,
    event::Event,
    state::{Change, DeviceRecord, TargetChange, TargetChangeKind},
};
use holdfast_ports::{StoreError, store::CommitError, wakeups::Wake};
use serde_json::{Map, Value};
use sqlx::{Connection as _, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{
    PostgresStore,
    columns::{Fault, bigint, put, put_opt, time, time_opt},
    parts::{EventArrays, Parts},
    rows::{config_json, json},
};

/// Commits a change in a transaction of its own.
pub(crate) async fn commit(store: &PostgresStore, change: &Change) -> Result<(), CommitError> {
    let wakes = change.changes_desired();
    let is_report = change.target.is_none() && change.record.is_none();
    let outcome = store.answered(async {
        if is_report && !wakes {
            store.batches.commit(change).await
        } else {
            apply_alone(store, change, wakes).await
        }
    });
    outcome.await.map_err(|fault| fault.into_error(change))?;
    if wakes {
        store.waker.wake(Wake::Desired(change.device));
    }
    Ok(())
}

async fn apply_alone(
    store: &PostgresStore,
    change: &Change,
    wakes: bool,
) -> Result<(), CommitFault> {
    let mut lent = store.pool.lend().await?;
    let mut transaction = lent.begin().await?;
    apply_all(&mut transaction, change, wakes).await?;
    transaction.commit().await?;
    Ok(())
}

/// Applies a change within a transaction; with `wakes`, the commit also wakes other processes.
pub(crate) async fn apply_all(
    connection: &mut PgConnection,
    change: &Change,
    wakes: bool,
) -> Result<(), CommitFault> {
    let won = apply(&mut *connection, &Parts::of(change)?).await?;
    if won.is_empty() {
        return Err(CommitFault::Conflict);
    }
    if let Some(record) = &change.record {
        update_record(&mut *connection, record).await?;
    }
    if let Some(target) = &change.target {
        retarget(&mut *connection, change.device, target, wakes).await?;
    } else if wakes {
        wake_others(&mut *connection, change.device).await?;
    }
    Ok(())
}

/// Wakes other processes when the transaction commits. (`retarget.sql` does it by the way.)
async fn wake_others(executor: impl PgExecutor<'_>, device: DeviceId) -> Result<(), CommitFault> {
    sqlx::query!(
        r#"SELECT pg_notify('holdfast', $1::uuid::text) IS NULL AS "woken!""#,
        device.uuid()
    )
    .fetch_one(executor)
    .await?;
    Ok(())
}

/// All of some changes but their targets and records, and the one place where they are won or lost: gives the devices
/// whose changes were committed. There must be one change a device at most.
pub(crate) async fn apply(
    executor: impl PgExecutor<'_>,
    parts: &Parts,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let Parts {
        changes: c,
        reports: p,
        rows: r,
        gone: g,
        events: e,
    } = parts;
    #[rustfmt::skip]
    let query = sqlx::query_file_scalar!(
        "src/commit.sql",
        &c.device_uuid, &c.base_revision, &c.events, &c.becomes_due, &c.made_at as _, &c.has_presence,
        &c.last_seen_at as _, &c.silent as _, &c.drift_since as _, &c.drift_fingerprint as _,
        &p.device_uuid, &p.config, &p.failures, &p.health, &p.held_version, &p.version, &p.incarnation, &p.boot,
        &p.sequence, &p.running_fingerprint, &p.looked_revision, &p.agent_version as _, &p.reported_at as _,
        &p.has_failures, &p.has_failed_upserts,
        &r.device_uuid, &r.sensor_uuid, &r.name, &r.protocol as _, &r.enabled, &r.poll_interval, &r.connection,
        &r.data_points, &r.metadata, &r.extra, &r.fingerprint, &r.config_version, &r.synced_to_config,
        &r.deployment_status as _, &r.last_deployed_at as _, &r.deployment_error as _, &r.deployment_attempts,
        &r.running_since as _, &r.health as _, &r.drift as _, &r.drifting_since as _, &r.created_at as _,
        &r.created_by, &r.updated_at as _, &r.updated_by,
        &g.device_uuid, &g.sensor_uuid,
        &e.device_uuid, &e.sequence, &e.kind as _, &e.at as _, &e.actor, &e.correlation as _, &e.causation as _,
        &e.payload,
        &p.outputs,
        &c.troubles as _,
    );
    query.fetch_all(executor).await
}

async fn retarget(
    executor: impl PgExecutor<'_>,
    device: DeviceId,
    change: &TargetChange,
    wakes: bool,
) -> Result<(), CommitFault> {
    let TargetChange {
        target,
        reason,
        kind,
    } = change;
    let (is_new, has_values) = match kind {
        TargetChangeKind::NewVersion => (true, true),
        TargetChangeKind::Values => (false, true),
        TargetChangeKind::Look | TargetChangeKind::Deployed => (false, false),
    };
    let config = is_new.then(|| config_json(&target.items)).transpose()?;
    let setpoints = has_values.then(|| target.values.wishes_to_json().to_string());
    let hold = has_values.then(|| json(&target.values.hold)).transpose()?;
    let commands = has_values.then(|| target.values.commands.to_json().to_string());
    let (deployed_at, deployed_version) = target.last_deployed.unzip();
    let audit = &target.audit;
    #[rustfmt::skip]
    let query = sqlx::query_file_scalar!(
        "src/retarget.sql",
        device.uuid(), config as _, bigint(target.version)?, bigint(target.look_revision)?, bigint(target.event)?,
        time(audit.created_at), &*put(audit.created_by.as_str()), time(audit.updated_at),
        &*put(audit.updated_by.as_str()), time_opt(deployed_at) as _, deployed_version.map(bigint).transpose()? as _,
        is_new, put_opt(reason.as_deref()) as _, i32::try_from(target.items.len())?, wakes,
        setpoints as _, hold as _, commands as _,
    );
    query.fetch_optional(executor).await?;
    Ok(())
}

async fn update_record(
    executor: impl PgExecutor<'_>,
    record: &DeviceRecord,
) -> Result<(), CommitFault> {
    let DeviceRecord {
        id,
        name,
        labels: _,
        incarnation,
        audit,
    } = record;
    sqlx::query!(
        "UPDATE devices SET name = $2, labels = $3, incarnation = $4,
            created_at = $5, created_by = $6, updated_at = $7, updated_by = $8
        WHERE uuid = $1",
        id.uuid(),
        name.as_str(),
        labels(record),
        incarnation.map(|incarnation| incarnation.0),
        time(audit.created_at),
        &*put(audit.created_by.as_str()),
        time(audit.updated_at),
        &*put(audit.updated_by.as_str()),
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// A device's labels as their column takes them.
pub(crate) fn labels(record: &DeviceRecord) -> Value {
    let labels = record.labels.iter();
    let members: Map<String, Value> = labels
        .map(|(key, value)| {
            (
                put(key).into_owned(),
                Value::String(put(value).into_owned()),
            )
        })
        .collect();
    Value::Object(members)
}

/// Adds events of a device that is gone in the same transaction.
pub(crate) async fn add_events(
    executor: impl PgExecutor<'_>,
    device: DeviceId,
    events: &[Event],
) -> Result<(), Fault> {
    let mut e = EventArrays::default();
    events.iter().try_for_each(|event| e.push(event))?;
    sqlx::query!(
        "INSERT INTO events (device_uuid, sequence, type, at, actor, correlation_id, causation, payload)
        SELECT $1, e.sequence, e.type, e.at, e.actor, e.correlation_id, e.causation, e.payload::json
        FROM unnest($2::bigint[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::bigint[], $8::text[])
            AS e (sequence, type, at, actor, correlation_id, causation, payload)
        ORDER BY e.sequence",
        device.uuid(),
        &e.sequence,
        &e.kind as _,
        &e.at as _,
        &e.actor,
        &e.correlation as _,
        &e.causation as _,
        &e.payload,
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Why a change was not committed.
#[derive(Debug)]
pub(crate) enum CommitFault {
    /// It was decided on another revision.
    Conflict,
    /// Anything else.
    Other(Fault),
}

impl<E: Into<Fault>> From<E> for CommitFault {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl CommitFault {
    /// As the port says it.
    pub(crate) fn into_error(self, change: &Change) -> CommitError {
        let fault = match self {
            Self::Conflict => return CommitError::Conflict,
            Self::Other(fault) => fault,
        };
        let database = fault
            .downcast_ref::<sqlx::Error>()
            .and_then(sqlx::Error::as_database_error);
        let code = database.and_then(|error| error.code());
        let constraint = database.and_then(|error| error.constraint());
        match (code.as_deref(), constraint, &change.record) {
            (Some(UNIQUE_VIOLATION), Some("devices_name_key"), Some(record)) => {
                CommitError::NameTaken(record.name.clone())
            }
            (Some(UNIQUE_VIOLATION), Some(constraint), _) if MADE_ONCE.contains(&constraint) => {
                CommitError::Conflict
            }
            // Two devices that take each other's name wait in a circle: the one that gave way decides anew.
            (Some(DEADLOCK_DETECTED), _, _) => CommitError::Conflict,
            _ => StoreError::new(
                format!("committing a change of device {}", change.device),
                fault,
            )
            .into(),
        }
    }
}

/// The keys of what is made with a device: whichever of them is found taken first, the device exists.
const MADE_ONCE: [&str; 3] = [
    "devices_pkey",
    "device_hot_pkey",
    "device_target_state_pkey",
];

// PostgreSQL, Appendix A, "PostgreSQL Error Codes".
const UNIQUE_VIOLATION: &str = "23505";
const DEADLOCK_DETECTED: &str = "40P01";
