//! A device's first and last transaction, and the one in which an agent takes it over.
//!
//! A device is made empty and then changed into its first state, so that there is one way of writing a state.

use holdfast_domain::{
    DeviceId,
    event::Event,
    row::SensorRow,
    state::{Change, DeviceState, TargetChange, TargetChangeKind},
};
use holdfast_ports::{
    StoreError,
    store::{CommitError, RegisteredDevice, Registration},
    tokens::{RevocationKind, TokenRecord},
    wakeups::Wake,
};
use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection, PgExecutor};

use crate::{
    PostgresStore,
    columns::{Fault, put, time},
    commit::{CommitFault, add_events, apply_all, labels},
    rows::config_json,
    tokens,
};

pub(crate) async fn create(
    store: &PostgresStore,
    state: &DeviceState,
    events: &[Event],
) -> Result<(), CommitError> {
    let first = first_change(state, events);
    let outcome = async {
        let mut lent = store.pool.lend().await?;
        let mut transaction = lent.begin().await?;
        insert(&mut transaction, state, &first).await?;
        transaction.commit().await?;
        Ok(())
    };
    store
        .answered(outcome)
        .await
        .map_err(|fault: CommitFault| fault.into_error(&first))
}

/// The change that makes an empty device what `state` is. The record is in it for the sake of error messages.
fn first_change(state: &DeviceState, events: &[Event]) -> Change {
    let DeviceState {
        revision,
        last_event: _,
        record,
        target,
        reported,
        presence,
        seen: _,
        rows,
    } = state;
    let kind = if target.version > 0 {
        TargetChangeKind::NewVersion
    } else {
        TargetChangeKind::Values
    };
    Change {
        device: record.id,
        base_revision: *revision,
        record: Some(record.clone()),
        target: Some(TargetChange {
            target: target.clone(),
            reason: None,
            kind,
        }),
        reported: reported.clone(),
        presence: Some(presence.clone()),
        runs_the_same: false,
        is_worth_a_look: false,
        upserts: rows.values().cloned().collect::<Vec<SensorRow>>(),
        deletes: Vec::new(),
        events: events.to_vec(),
    }
}

async fn insert(
    connection: &mut PgConnection,
    state: &DeviceState,
    first: &Change,
) -> Result<(), CommitFault> {
    let record = &state.record;
    let audit = &record.audit;
    sqlx::query!(
        "WITH device AS (
            INSERT INTO devices (uuid, name, labels, incarnation, created_at, created_by, updated_at, updated_by)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ), hot AS (
            INSERT INTO device_hot (device_uuid, revision, last_event, due_at) VALUES ($1, $10, $11, $5)
        )
        INSERT INTO device_target_state (
            device_uuid, version, config, look_revision, event, created_at, created_by, updated_at, updated_by
        )
        VALUES ($1, 0, $9::text::json, 0, 0, $5, $6, $7, $8)",
        record.id.uuid(),
        record.name.as_str(),
        labels(record),
        record.incarnation.map(|incarnation| incarnation.0),
        time(audit.created_at),
        &*put(audit.created_by.as_str()),
        time(audit.updated_at),
        &*put(audit.updated_by.as_str()),
        config_json(&state.target.items)?,
        crate::columns::bigint(state.revision)?,
        crate::columns::bigint(state.last_event)?,
    )
    .execute(&mut *connection)
    .await?;
    // The record was inserted whole, and nobody waits for a device that nobody knows.
    let rest = Change {
        record: None,
        ..first.clone()
    };
    apply_all(connection, &rest, false).await
}

pub(crate) async fn register(
    store: &PostgresStore,
    registration: &Registration,
) -> Result<(), CommitError> {
    let Registration { key, device, token } = registration;
    let change = match device {
        RegisteredDevice::New(state, events) => &first_change(state, events),
        RegisteredDevice::Existing(change) => change,
    };
    let wakes = change.changes_desired();
    let outcome = async {
        let mut lent = store.pool.lend().await?;
        let mut transaction = lent.begin().await?;
        use_key(&mut *transaction, *key).await?;
        match device {
            RegisteredDevice::New(state, _) => insert(&mut transaction, state, change).await?,
            RegisteredDevice::Existing(change) => {
                apply_all(&mut transaction, change, wakes).await?;
            }
        }
        let old = end_tokens(
            &mut *transaction,
            change.device,
            RevocationKind::Revoked,
            token.created_at,
        )
        .await?;
        add_agent_token(&mut transaction, token, old > 0).await?;
        transaction.commit().await?;
        Ok(old)
    };
    let old = store
        .answered(outcome)
        .await
        .map_err(|fault: CommitFault| fault.into_error(change))?;
    if old > 0 {
        store.waker.wake(Wake::Tokens);
    }
    if wakes {
        store.waker.wake(Wake::Desired(change.device));
    }
    Ok(())
}

/// Takes one use of a provisioning key. Its row is held until the registration is committed, so that the last use is
/// given once.
async fn use_key(
    executor: impl PgExecutor<'_>,
    key: holdfast_ports::tokens::TokenId,
) -> Result<(), CommitFault> {
    let used = sqlx::query!(
        "UPDATE provisioning_keys SET uses_left = uses_left - 1
        WHERE id = $1 AND revoked_at IS NULL AND (uses_left IS NULL OR uses_left > 0)",
        key.uuid(),
    )
    .execute(executor)
    .await?;
    if used.rows_affected() == 0 {
        Err(CommitFault::Conflict)
    } else {
        Ok(())
    }
}

async fn add_agent_token(
    connection: &mut PgConnection,
    token: &TokenRecord,
    old_ended: bool,
) -> Result<(), CommitFault> {
    tokens::add(&mut *connection, token).await?;
    if old_ended {
        tokens::notify(&mut *connection).await?;
    }
    Ok(())
}

/// Ends all tokens of a device that are in force, and says how many.
async fn end_tokens(
    executor: impl PgExecutor<'_>,
    device: DeviceId,
    kind: RevocationKind,
    at: Timestamp,
) -> Result<u64, Fault> {
    let ended = sqlx::query!(
        "UPDATE tokens SET revoked_at = $2, revoked_kind = $3 WHERE device_uuid = $1 AND revoked_at IS NULL",
        device.uuid(),
        time(at),
        tokens::revocation_word(kind),
    )
    .execute(executor)
    .await?;
    Ok(ended.rows_affected())
}

pub(crate) async fn revoke(
    store: &PostgresStore,
    change: &Change,
    at: Timestamp,
) -> Result<(), CommitError> {
    let wakes = change.changes_desired();
    let outcome = async {
        let mut lent = store.pool.lend().await?;
        let mut transaction = lent.begin().await?;
        apply_all(&mut transaction, change, wakes).await?;
        end_tokens(
            &mut *transaction,
            change.device,
            RevocationKind::Revoked,
            at,
        )
        .await?;
        tokens::notify(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    };
    store
        .answered(outcome)
        .await
        .map_err(|fault: CommitFault| fault.into_error(change))?;
    store.waker.wake(Wake::Tokens);
    if wakes {
        store.waker.wake(Wake::Desired(change.device));
    }
    Ok(())
}

pub(crate) async fn delete(
    store: &PostgresStore,
    device: DeviceId,
    base_revision: u64,
    events: &[Event],
) -> Result<(), CommitError> {
    let outcome = async {
        let mut lent = store.pool.lend().await?;
        let mut transaction = lent.begin().await?;
        let held = sqlx::query!(
            "SELECT FROM device_hot WHERE device_uuid = $1 AND revision = $2 FOR UPDATE",
            device.uuid(),
            crate::columns::bigint(base_revision)?,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        if held.is_none() {
            return Err(CommitFault::Conflict);
        }
        add_events(&mut *transaction, device, events).await?;
        let at = events.last().map_or_else(Timestamp::now, |event| event.at);
        end_tokens(&mut *transaction, device, RevocationKind::DeviceDeleted, at).await?;
        // All other tables of the device follow by their foreign keys.
        sqlx::query!("DELETE FROM devices WHERE uuid = $1", device.uuid())
            .execute(&mut *transaction)
            .await?;
        sqlx::query!(
            r#"SELECT pg_notify('holdfast', $1::uuid::text) IS NULL AS "device!",
                pg_notify('holdfast', 'tokens') IS NULL AS "tokens!""#,
            device.uuid(),
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    };
    let outcome = store.answered(outcome).await;
    outcome.map_err(|fault: CommitFault| match fault {
        CommitFault::Conflict => CommitError::Conflict,
        CommitFault::Other(fault) => {
            StoreError::new(format!("deleting device {device}"), fault).into()
        }
    })?;
    store.waker.wake(Wake::Tokens);
    store.waker.wake(Wake::Desired(device));
    Ok(())
}
