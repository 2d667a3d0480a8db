-- Sets a device's target, after commit.sql has won the device's row in the same transaction and written all the rest.
-- $2 is null where the configuration stays, $16 to $18 where what is wanted of outputs stays; $12 says that it is a new
-- version, which goes into the history.
WITH retargeted AS (
    UPDATE device_target_state t SET
        version = $3,
        config = coalesce($2::text::json, config),
        setpoints = coalesce($16::text::json, setpoints),
        hold = coalesce($17::text::json, hold),
        commands = coalesce($18::text::json, commands),
        look_revision = $4,
        event = $5,
        created_at = $6,
        created_by = $7,
        updated_at = $8,
        updated_by = $9,
        last_deployed_at = $10,
        last_deployed_version = $11,
        deployed_by = CASE WHEN last_deployed_version IS DISTINCT FROM $11 THEN $9 ELSE deployed_by END,
        needs_deployment =
            coalesce((SELECT c.version <> $3 FROM device_current_state c WHERE c.device_uuid = $1), $3 > 0)
            OR EXISTS (SELECT FROM device_sensors s WHERE s.device_uuid = $1 AND s.deployment_status = 'failed')
    WHERE t.device_uuid = $1::uuid
), remembered AS (
    INSERT INTO device_target_state_history (device_uuid, version, config, author, reason, created_at, sensors)
    SELECT $1::uuid, $3::bigint, $2::text::json, $9::text, $13::text, $8::timestamptz, $14::integer
    WHERE $12::boolean
)
SELECT pg_notify('holdfast', $1::uuid::text) IS NULL AS "woken!" WHERE $15::boolean
