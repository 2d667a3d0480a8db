-- Commits changes of many devices, each device's all of it or nothing: every part depends on `hot`, which has a row only
-- for a device that still has the revision that its change was decided on. Who waits for another commit's lock sees the
-- new revision when it goes on (READ COMMITTED evaluates the condition again), and so finds none.
--
-- All parts see the tables as they were before. What a part must know of another is a parameter, or comes out of `hot`.
WITH hot AS (
    UPDATE device_hot h SET
        revision = h.revision + 1,
        last_event = h.last_event + c.events,
        -- Left alone where it is past already, so that the index on it need not change.
        due_at = CASE WHEN c.becomes_due THEN least(h.due_at, c.made_at, now()) ELSE h.due_at END,
        last_seen_at = greatest(h.last_seen_at, c.last_seen_at),
        silent = coalesce(c.silent, h.silent),
        turned = h.silent <> coalesce(c.silent, h.silent),
        drift_since = CASE WHEN c.has_presence THEN c.drift_since ELSE h.drift_since END,
        drift_fingerprint = CASE WHEN c.has_presence THEN c.drift_fingerprint ELSE h.drift_fingerprint END,
        troubles = CASE WHEN c.has_presence THEN c.troubles ELSE h.troubles END
    FROM unnest(
        $1::uuid[], $2::bigint[], $3::bigint[], $4::boolean[], $5::timestamptz[], $6::boolean[], $7::timestamptz[],
        $8::boolean[], $9::timestamptz[], $10::text[], $62::text[]
    ) AS c (
        device_uuid, base_revision, events, becomes_due, made_at, has_presence, last_seen_at,
        silent, drift_since, drift_fingerprint, troubles
    )
    WHERE h.device_uuid = c.device_uuid AND h.revision = c.base_revision
        -- A report that another process has seen a later one of is not taken.
        AND NOT EXISTS (
            SELECT FROM unnest($11::uuid[], $17::uuid[], $18::bigint[], $19::bigint[])
                AS r (device_uuid, incarnation, boot, sequence)
            WHERE r.device_uuid = h.device_uuid AND r.incarnation = h.seen_incarnation
                AND (r.boot, r.sequence) <= (h.seen_boot, h.seen_sequence)
        )
    RETURNING h.device_uuid, h.silent, h.turned
), won AS MATERIALIZED (
    -- As arrays: the parts then need no join, which would cost more than their work.
    SELECT array_agg(device_uuid) AS devices,
        array_agg(device_uuid) FILTER (WHERE silent) AS silent,
        array_agg(device_uuid) FILTER (WHERE turned) AS turned
    FROM hot
), reported AS (
    INSERT INTO device_current_state AS c (
        device_uuid, config, failures, health, held_version, version, incarnation, boot, sequence,
        running_fingerprint, looked_revision, agent_version, reported_at, outputs
    )
    SELECT r.device_uuid, r.config::json, r.failures::json, r.health::json, r.held_version, r.version, r.incarnation,
        r.boot, r.sequence, r.running_fingerprint, r.looked_revision, r.agent_version, r.reported_at,
        r.outputs::json
    FROM unnest(
        $11::uuid[], $12::text[], $13::text[], $14::text[], $15::bigint[], $16::bigint[], $17::uuid[], $18::bigint[],
        $19::bigint[], $20::text[], $21::bigint[], $22::text[], $23::timestamptz[], $61::text[]
    ) AS r (
        device_uuid, config, failures, health, held_version, version, incarnation, boot,
        sequence, running_fingerprint, looked_revision, agent_version, reported_at, outputs
    )
    WHERE r.device_uuid = ANY ((SELECT devices FROM won)::uuid[])
    ON CONFLICT (device_uuid) DO UPDATE SET
        -- The same content is kept as it is: large ones then need not be written again.
        config = CASE WHEN c.running_fingerprint = excluded.running_fingerprint THEN c.config ELSE excluded.config END,
        failures = excluded.failures,
        health = excluded.health,
        outputs = CASE WHEN c.outputs::text = excluded.outputs::text THEN c.outputs ELSE excluded.outputs END,
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
    FROM unnest($11::uuid[], $16::bigint[], $24::boolean[], $25::boolean[])
        AS r (device_uuid, version, has_failures, has_failed_upserts)
    WHERE r.device_uuid = ANY ((SELECT devices FROM won)::uuid[])
        AND t.device_uuid = r.device_uuid AND t.needs_deployment <> (
            t.version <> r.version
            OR r.has_failed_upserts
            OR (r.has_failures AND EXISTS (
                SELECT FROM device_sensors s
                WHERE s.device_uuid = r.device_uuid AND s.deployment_status = 'failed'
                    AND (s.device_uuid, s.sensor_uuid) NOT IN (SELECT * FROM unnest($26::uuid[], $27::uuid[]))
                    AND (s.device_uuid, s.sensor_uuid) NOT IN (SELECT * FROM unnest($51::uuid[], $52::uuid[]))
            ))
        )
), stale AS (
    UPDATE device_sensors s SET stale = coalesce(s.device_uuid = ANY ((SELECT silent FROM won)::uuid[]), false)
    WHERE s.device_uuid = ANY ((SELECT turned FROM won)::uuid[])
        AND (s.device_uuid, s.sensor_uuid) NOT IN (SELECT * FROM unnest($26::uuid[], $27::uuid[]))
        AND (s.device_uuid, s.sensor_uuid) NOT IN (SELECT * FROM unnest($51::uuid[], $52::uuid[]))
), upserted AS (
    INSERT INTO device_sensors (
        device_uuid, stale, sensor_uuid, name, protocol, enabled, poll_interval, connection, data_points, metadata,
        extra, fingerprint, config_version, synced_to_config, deployment_status, last_deployed_at, deployment_error,
        deployment_attempts, running_since, health, drift, drifting_since, created_at, created_by, updated_at, updated_by
    )
    SELECT r.device_uuid, coalesce(r.device_uuid = ANY ((SELECT silent FROM won)::uuid[]), false), r.sensor_uuid, r.name, r.protocol, r.enabled, r.poll_interval,
        r.connection::json, r.data_points::json, r.metadata::json, r.extra::json, r.fingerprint, r.config_version,
        r.synced_to_config, r.deployment_status, r.last_deployed_at, r.deployment_error, r.deployment_attempts,
        r.running_since, r.health::json, r.drift, r.drifting_since, r.created_at, r.created_by, r.updated_at, r.updated_by
    FROM unnest(
        $26::uuid[], $27::uuid[], $28::text[], $29::text[], $30::boolean[], $31::bigint[], $32::text[], $33::text[],
        $34::text[], $35::text[], $36::text[], $37::bigint[], $38::boolean[], $39::text[], $40::timestamptz[],
        $41::text[], $42::bigint[], $43::timestamptz[], $44::text[], $45::text[], $46::timestamptz[],
        $47::timestamptz[], $48::text[], $49::timestamptz[], $50::text[]
    ) AS r (
        device_uuid, sensor_uuid, name, protocol, enabled, poll_interval, connection, data_points, metadata,
        extra, fingerprint, config_version, synced_to_config, deployment_status, last_deployed_at, deployment_error,
        deployment_attempts, running_since, health, drift, drifting_since, created_at, created_by, updated_at, updated_by
    )
    WHERE r.device_uuid = ANY ((SELECT devices FROM won)::uuid[])
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
        fingerprint = excluded.fingerprint,
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
        updated_by = excluded.updated_by
), deleted AS (
    DELETE FROM device_sensors s
    USING unnest($51::uuid[], $52::uuid[]) AS gone (device_uuid, sensor_uuid)
    WHERE gone.device_uuid = ANY ((SELECT devices FROM won)::uuid[])
        AND s.device_uuid = gone.device_uuid AND s.sensor_uuid = gone.sensor_uuid
), told AS (
    -- In the order of the arrays: positions follow a device's sequence.
    INSERT INTO events (device_uuid, sequence, type, at, actor, correlation_id, causation, payload)
    SELECT e.device_uuid, e.sequence, e.type, e.at, e.actor, e.correlation_id, e.causation, e.payload::json
    FROM unnest(
        $53::uuid[], $54::bigint[], $55::text[], $56::timestamptz[], $57::text[], $58::text[], $59::bigint[], $60::text[]
    ) AS e (device_uuid, sequence, type, at, actor, correlation_id, causation, payload)
    WHERE e.device_uuid = ANY ((SELECT devices FROM won)::uuid[])
)
SELECT device_uuid FROM hot
