-- Commits a change, all of it or nothing: every part depends on `hot`, which has a row only if the device still has the
-- revision that the change was decided on. Who waits for another commit's lock sees the new revision when it goes on
-- (READ COMMITTED evaluates the condition again), and so finds none.
--
-- All parts see the tables as they were before. Where a part must know what another writes, it gets it as a parameter.
WITH was AS (
    SELECT silent FROM device_hot WHERE device_uuid = $1
), hot AS (
    UPDATE device_hot SET
        revision = revision + 1,
        last_event = last_event + $3,
        -- Left alone where it is past already, so that the index on it need not change.
        due_at = CASE WHEN $4 THEN least(due_at, $5, now()) ELSE due_at END,
        last_seen_at = greatest(last_seen_at, $7),
        silent = coalesce($8, silent),
        drift_since = CASE WHEN $6 THEN $9 ELSE drift_since END,
        drift_fingerprint = CASE WHEN $6 THEN $10 ELSE drift_fingerprint END
    WHERE device_uuid = $1 AND revision = $2
    RETURNING device_uuid, silent
), reported AS (
    INSERT INTO device_current_state AS c (
        device_uuid, config, failures, health, held_version, version, incarnation, boot, sequence,
        running_fingerprint, looked_revision, agent_version, reported_at
    )
    SELECT hot.device_uuid, $12::text::json, $13::text::json, $14::text::json, $15::bigint, $16::bigint,
        $17::uuid, $18::bigint, $19::bigint, $20::text, $21::bigint, $22::text, $23::timestamptz
    FROM hot
    WHERE $11
    ON CONFLICT (device_uuid) DO UPDATE SET
        -- The same content is kept as it is: large ones then need not be written again.
        config = CASE WHEN c.running_fingerprint = excluded.running_fingerprint THEN c.config ELSE excluded.config END,
        failures = excluded.failures,
        health = excluded.health,
        held_version = excluded.held_version,
        version = excluded.version,
        incarnation = excluded.incarnation,
        boot = excluded.boot,
        sequence = excluded.sequence,
        running_fingerprint = excluded.running_fingerprint,
        looked_revision = excluded.looked_revision,
        agent_version = excluded.agent_version,
        reported_at = excluded.reported_at
), deployment AS (
    -- Derived, for people. Without failures reported there is no failed row, so that rows are seldom looked at.
    UPDATE device_target_state t SET needs_deployment = NOT t.needs_deployment
    FROM hot
    WHERE $11 AND t.device_uuid = hot.device_uuid
        AND t.needs_deployment <> (
            t.version <> $16
            OR CASE WHEN $24 THEN
                'failed' = ANY ($36::text[])
                OR EXISTS (
                    SELECT FROM device_sensors s
                    WHERE s.device_uuid = $1 AND s.deployment_status = 'failed'
                        AND s.sensor_uuid <> ALL ($25::uuid[]) AND s.sensor_uuid <> ALL ($48::uuid[])
                )
            ELSE false END
        )
), turned AS MATERIALIZED (
    SELECT hot.device_uuid, hot.silent FROM hot, was WHERE hot.silent <> was.silent
), stale AS (
    UPDATE device_sensors s SET stale = turned.silent
    FROM turned
    WHERE s.device_uuid = turned.device_uuid AND s.stale <> turned.silent
        AND s.sensor_uuid <> ALL ($25::uuid[]) AND s.sensor_uuid <> ALL ($48::uuid[])
), upserted AS (
    INSERT INTO device_sensors (
        device_uuid, stale, sensor_uuid, name, protocol, enabled, poll_interval, connection, data_points, metadata,
        extra, config_version, synced_to_config, deployment_status, last_deployed_at, deployment_error,
        deployment_attempts, running_since, health, drift, drifting_since, created_at, created_by, updated_at, updated_by,
        fingerprint
    )
    SELECT hot.device_uuid, hot.silent, r.sensor_uuid, r.name, r.protocol, r.enabled, r.poll_interval,
        r.connection::json, r.data_points::json, r.metadata::json, r.extra::json, r.config_version, r.synced_to_config,
        r.deployment_status, r.last_deployed_at, r.deployment_error, r.deployment_attempts, r.running_since,
        r.health::json, r.drift, r.drifting_since, r.created_at, r.created_by, r.updated_at, r.updated_by,
        r.fingerprint
    FROM hot, unnest(
        $25::uuid[], $26::text[], $27::text[], $28::boolean[], $29::bigint[], $30::text[], $31::text[], $32::text[],
        $33::text[], $34::bigint[], $35::boolean[], $36::text[], $37::timestamptz[], $38::text[], $39::bigint[],
        $40::timestamptz[], $41::text[], $42::text[], $43::timestamptz[], $44::timestamptz[], $45::text[],
        $46::timestamptz[], $47::text[], $56::text[]
    ) AS r (
        sensor_uuid, name, protocol, enabled, poll_interval, connection, data_points, metadata,
        extra, config_version, synced_to_config, deployment_status, last_deployed_at, deployment_error,
        deployment_attempts, running_since, health, drift, drifting_since, created_at, created_by, updated_at, updated_by,
        fingerprint
    )
    ON CONFLICT (device_uuid, sensor_uuid) DO UPDATE SET
        stale = excluded.stale,
        name = excluded.name,
        protocol = excluded.protocol,
        enabled = excluded.enabled,
        poll_interval = excluded.poll_interval,
        connection = excluded.connection,
        data_points = excluded.data_points,
        metadata = excluded.metadata,
        extra = excluded.extra,
        config_version = excluded.config_version,
        synced_to_config = excluded.synced_to_config,
        deployment_status = excluded.deployment_status,
        last_deployed_at = excluded.last_deployed_at,
        deployment_error = excluded.deployment_error,
        deployment_attempts = excluded.deployment_attempts,
        running_since = excluded.running_since,
        health = excluded.health,
        drift = excluded.drift,
        drifting_since = excluded.drifting_since,
        created_at = excluded.created_at,
        created_by = excluded.created_by,
        updated_at = excluded.updated_at,
        updated_by = excluded.updated_by,
        fingerprint = excluded.fingerprint
), deleted AS (
    DELETE FROM device_sensors s USING hot
    WHERE cardinality($48::uuid[]) > 0 AND s.device_uuid = hot.device_uuid AND s.sensor_uuid = ANY ($48::uuid[])
), told AS (
    INSERT INTO events (device_uuid, sequence, type, at, actor, correlation_id, causation, payload)
    SELECT hot.device_uuid, e.sequence, e.type, e.at, e.actor, e.correlation_id, e.causation, e.payload::json
    FROM hot, unnest(
        $49::bigint[], $50::text[], $51::timestamptz[], $52::text[], $53::text[], $54::bigint[], $55::text[]
    ) AS e (sequence, type, at, actor, correlation_id, causation, payload)
    ORDER BY e.sequence
)
SELECT count(*) AS "committed!" FROM hot
