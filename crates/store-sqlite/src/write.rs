//! The parts of a commit, each one statement: target, history, report, presence, rows, events.
//!
//! They run in the transaction of `commit.rs`, which says what belongs together.

use holdfast_domain::{
    DeviceId,
    event::Event,
    state::{Presence, Reported, Target, TargetChangeKind},
};
use serde::Serialize;
use sqlx::SqliteConnection;

use crate::{
    columns::{Fault, integer, json, micros, micros_opt},
    rows::config_json,
};

/// Writes the target; what is wanted of outputs only where that changes.
pub(crate) async fn write_target(
    connection: &mut SqliteConnection,
    id: &str,
    target: &Target,
    kind: TargetChangeKind,
) -> Result<(), Fault> {
    let Target {
        version,
        items,
        look_revision,
        values,
        event,
        audit,
        last_deployed,
    } = target;
    let (version, look_revision, event) = (
        integer(*version)?,
        integer(*look_revision)?,
        integer(*event)?,
    );
    let config = config_json(items)?;
    let has_values = match kind {
        TargetChangeKind::NewVersion | TargetChangeKind::Values => true,
        TargetChangeKind::Look | TargetChangeKind::Deployed => false,
    };
    let setpoints = has_values.then(|| values.wishes_to_json().to_string());
    let hold = has_values.then(|| json(&values.hold)).transpose()?;
    let commands = has_values.then(|| values.commands.to_json().to_string());
    let (created_at, updated_at) = (micros(audit.created_at), micros(audit.updated_at));
    let (created_by, updated_by) = (audit.created_by.as_str(), audit.updated_by.as_str());
    let deployed_at = last_deployed.map(|(at, _)| micros(at));
    let deployed_version = last_deployed
        .map(|(_, version)| integer(version))
        .transpose()?;
    sqlx::query!(
        "INSERT INTO device_target_state (device_uuid, version, config, look_revision, event, created_at, created_by,
             updated_at, updated_by, last_deployed_at, last_deployed_version, deployed_by,
             setpoints, hold, commands)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, iif(?11 IS NULL, NULL, ?9),
             coalesce(?12, '{}'), coalesce(?13, '{}'), coalesce(?14, '{}'))
         ON CONFLICT (device_uuid) DO UPDATE
         SET version = excluded.version, config = excluded.config, look_revision = excluded.look_revision,
             event = excluded.event, created_at = excluded.created_at, created_by = excluded.created_by,
             updated_at = excluded.updated_at, updated_by = excluded.updated_by,
             last_deployed_at = excluded.last_deployed_at, last_deployed_version = excluded.last_deployed_version,
             deployed_by = iif(last_deployed_version IS excluded.last_deployed_version, deployed_by, excluded.deployed_by),
             setpoints = coalesce(?12, setpoints), hold = coalesce(?13, hold),
             commands = coalesce(?14, commands)",
        id,
        version,
        config,
        look_revision,
        event,
        created_at,
        created_by,
        updated_at,
        updated_by,
        deployed_at,
        deployed_version,
        setpoints,
        hold,
        commands
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds a version to the history.
pub(crate) async fn write_history(
    connection: &mut SqliteConnection,
    id: &str,
    target: &Target,
    reason: Option<&str>,
) -> Result<(), Fault> {
    let (version, config, sensors) = (
        integer(target.version)?,
        config_json(&target.items)?,
        target.items.len() as i64,
    );
    let (author, at) = (
        target.audit.updated_by.as_str(),
        micros(target.audit.updated_at),
    );
    sqlx::query!(
        "INSERT INTO device_target_state_history (device_uuid, version, config, author, reason, created_at, sensors)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        id,
        version,
        config,
        author,
        reason,
        at,
        sensors
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes what the agent says. With `runs_the_same` what runs stands there already, and is not written again.
pub(crate) async fn write_reported(
    connection: &mut SqliteConnection,
    id: &str,
    reported: &Reported,
    runs_the_same: bool,
) -> Result<(), Fault> {
    let Reported {
        order,
        held_version,
        worked_version,
        running,
        failures,
        health,
        running_fingerprint,
        looked_revision,
        values,
        agent_version,
        reported_at,
    } = reported;
    let config = match runs_the_same {
        // What has the same fingerprint is kept.
        true => "null".to_owned(),
        false => config_json(running)?,
    };
    let (failures, health) = (json(failures)?, json(health)?);
    let outputs = json(values)?;
    let (held_version, version) = (integer(*held_version)?, integer(*worked_version)?);
    let (incarnation, boot, sequence) = (
        order.incarnation.to_string(),
        integer(order.boot)?,
        integer(order.sequence)?,
    );
    let (fingerprint, looked_revision) =
        (running_fingerprint.to_string(), integer(*looked_revision)?);
    let (agent_version, reported_at) = (agent_version.as_deref(), micros(*reported_at));
    sqlx::query!(
        "INSERT INTO device_current_state (device_uuid, config, failures, health, held_version, version, incarnation,
             boot, sequence, running_fingerprint, looked_revision, agent_version, reported_at, outputs)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (device_uuid) DO UPDATE
         SET config = iif(running_fingerprint = excluded.running_fingerprint, config, excluded.config), failures = excluded.failures, health = excluded.health,
             held_version = excluded.held_version, version = excluded.version, incarnation = excluded.incarnation,
             boot = excluded.boot, sequence = excluded.sequence, running_fingerprint = excluded.running_fingerprint,
             looked_revision = excluded.looked_revision, agent_version = excluded.agent_version,
             reported_at = excluded.reported_at, outputs = excluded.outputs",
        id,
        config,
        failures,
        health,
        held_version,
        version,
        incarnation,
        boot,
        sequence,
        fingerprint,
        looked_revision,
        agent_version,
        reported_at,
        outputs
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes presence. Also marks the device's rows stale, or not. A time that was noted meanwhile is not set back.
pub(crate) async fn write_presence(
    connection: &mut SqliteConnection,
    id: &str,
    presence: &Presence,
) -> Result<(), Fault> {
    let Presence {
        last_seen_at,
        silent,
        drift,
        troubles,
    } = presence;
    let (seen, since) = (
        micros_opt(*last_seen_at),
        drift.as_ref().map(|note| micros(note.since)),
    );
    let troubles = (!troubles.is_empty()).then(|| json(troubles)).transpose()?;
    let fingerprint = drift.as_ref().map(|note| note.fingerprint.to_string());
    sqlx::query!(
        "UPDATE device_hot
         SET last_seen_at = max(?2, coalesce(last_seen_at, ?2)), silent = ?3, drift_since = ?4, drift_fingerprint = ?5,
             troubles = ?6
         WHERE device_uuid = ?1",
        id,
        seen,
        silent,
        since,
        fingerprint,
        troubles
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "UPDATE device_sensors SET stale = ?2 WHERE device_uuid = ?1 AND stale <> ?2",
        id,
        silent
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds or replaces rows.
pub(crate) async fn write_rows(
    connection: &mut SqliteConnection,
    id: &str,
    rows: &str,
) -> Result<(), Fault> {
    sqlx::query!(
        "INSERT INTO device_sensors (device_uuid, sensor_uuid, name, protocol, enabled, poll_interval, connection,
             data_points, metadata, extra, config_version, synced_to_config, deployment_status, last_deployed_at,
             deployment_error, deployment_attempts, running_since, health, drift, drifting_since, stale,
             created_at, created_by, updated_at, updated_by)
         SELECT h.device_uuid, r.value ->> 'sensor_uuid', r.value ->> 'name', r.value ->> 'protocol',
             r.value ->> 'enabled', r.value ->> 'poll_interval', r.value ->> 'connection', r.value ->> 'data_points',
             r.value ->> 'metadata', r.value ->> 'extra', r.value ->> 'config_version', r.value ->> 'synced_to_config',
             r.value ->> 'deployment_status', r.value ->> 'last_deployed_at', r.value ->> 'deployment_error',
             r.value ->> 'deployment_attempts', r.value ->> 'running_since', r.value ->> 'health', r.value ->> 'drift',
             r.value ->> 'drifting_since', h.silent, r.value ->> 'created_at', r.value ->> 'created_by',
             r.value ->> 'updated_at', r.value ->> 'updated_by'
         FROM device_hot AS h, json_each(?2) AS r
         WHERE h.device_uuid = ?1
         ON CONFLICT (device_uuid, sensor_uuid) DO UPDATE
         SET name = excluded.name, protocol = excluded.protocol, enabled = excluded.enabled,
             poll_interval = excluded.poll_interval, connection = excluded.connection,
             data_points = excluded.data_points, metadata = excluded.metadata, extra = excluded.extra,
             config_version = excluded.config_version, synced_to_config = excluded.synced_to_config,
             deployment_status = excluded.deployment_status, last_deployed_at = excluded.last_deployed_at,
             deployment_error = excluded.deployment_error, deployment_attempts = excluded.deployment_attempts,
             running_since = excluded.running_since, health = excluded.health, drift = excluded.drift,
             drifting_since = excluded.drifting_since, stale = excluded.stale, created_at = excluded.created_at,
             created_by = excluded.created_by, updated_at = excluded.updated_at, updated_by = excluded.updated_by",
        id,
        rows
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Derives `needs_deployment`, as `DeviceState::needs_deployment` does.
pub(crate) async fn note_needs(connection: &mut SqliteConnection, id: &str) -> Result<(), Fault> {
    sqlx::query!(
        "UPDATE device_target_state AS t
         SET needs_deployment = n.needs
         FROM (SELECT iif(c.version IS NULL, w.version > 0, c.version <> w.version OR EXISTS (
                   SELECT 1 FROM device_sensors AS s
                   WHERE s.device_uuid = ?1 AND s.deployment_status = 'failed')) AS needs
               FROM device_target_state AS w
               LEFT JOIN device_current_state AS c ON c.device_uuid = w.device_uuid
               WHERE w.device_uuid = ?1) AS n
         WHERE t.device_uuid = ?1 AND t.needs_deployment <> n.needs",
        id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One event as the statement that appends takes it.
#[derive(Serialize)]
struct EventJson<'a> {
    device: DeviceId,
    sequence: i64,
    kind: &'a str,
    at: i64,
    actor: &'a str,
    correlation: Option<&'a str>,
    causation: Option<i64>,
    payload: String,
}

/// Appends events, in their order.
pub(crate) async fn append(
    connection: &mut SqliteConnection,
    events: &[Event],
) -> Result<(), Fault> {
    if events.is_empty() {
        return Ok(());
    }
    let mut list = Vec::with_capacity(events.len());
    for Event {
        device,
        sequence,
        kind,
        at,
        actor,
        correlation,
        causation,
        payload,
    } in events
    {
        list.push(EventJson {
            device: *device,
            sequence: integer(*sequence)?,
            kind: kind.as_str(),
            at: micros(*at),
            actor: actor.as_str(),
            correlation: correlation.as_deref(),
            causation: causation.map(integer).transpose()?,
            payload: json(payload)?,
        });
    }
    let list = json(&list)?;
    sqlx::query!(
        "INSERT INTO events (device_uuid, sequence, type, at, actor, correlation_id, causation, payload)
         SELECT e.value ->> 'device', e.value ->> 'sequence', e.value ->> 'kind', e.value ->> 'at',
             e.value ->> 'actor', e.value ->> 'correlation', e.value ->> 'causation', e.value ->> 'payload'
         FROM json_each(?) AS e
         ORDER BY e.key",
        list
    )
    .execute(connection)
    .await?;
    Ok(())
}
