-- One line a row of the read model, one line at least. Documents of the device stand on the first line only.
SELECT
    d.name AS device_name,
    CASE WHEN coalesce(s.line, 1) = 1 THEN d.labels END AS labels,
    d.incarnation AS "incarnation?",
    d.created_at AS device_created_at, d.created_by AS device_created_by,
    d.updated_at AS device_updated_at, d.updated_by AS device_updated_by,
    h.revision, h.last_event, h.last_seen_at AS "last_seen_at?", h.silent,
    h.seen_incarnation AS "seen_incarnation?", h.seen_boot AS "seen_boot?", h.seen_sequence AS "seen_sequence?",
    h.drift_since AS "drift_since?", h.drift_fingerprint AS "drift_fingerprint?", h.troubles AS "troubles?",
    t.version AS target_version,
    CASE WHEN coalesce(s.line, 1) = 1 THEN t.config::text END AS target_config,
    CASE WHEN coalesce(s.line, 1) = 1 THEN t.setpoints END AS setpoints,
    CASE WHEN coalesce(s.line, 1) = 1 THEN t.hold END AS hold,
    CASE WHEN coalesce(s.line, 1) = 1 THEN t.commands END AS commands,
    t.look_revision, t.event,
    t.created_at AS target_created_at, t.created_by AS target_created_by,
    t.updated_at AS target_updated_at, t.updated_by AS target_updated_by,
    t.last_deployed_at AS "target_deployed_at?", t.last_deployed_version AS "target_deployed_version?",
    CASE WHEN coalesce(s.line, 1) = 1 THEN c.config::text END AS running_config,
    CASE WHEN coalesce(s.line, 1) = 1 THEN c.failures END AS failures,
    CASE WHEN coalesce(s.line, 1) = 1 THEN c.health END AS reported_health,
    CASE WHEN coalesce(s.line, 1) = 1 THEN c.outputs::text END AS outputs,
    c.held_version AS "held_version?", c.version AS "worked_version?", c.incarnation AS "reported_incarnation?",
    c.boot AS "boot?", c.sequence AS "report_sequence?", c.running_fingerprint AS "running_fingerprint?",
    c.looked_revision AS "looked_revision?", c.agent_version AS "agent_version?", c.reported_at AS "reported_at?",
    s.sensor_uuid AS "sensor_uuid?", s.name AS "sensor_name?", s.protocol AS "protocol?", s.enabled AS "enabled?",
    s.poll_interval AS "poll_interval?", s.connection::text AS "connection?", s.data_points::text AS "data_points?",
    s.metadata::text AS "metadata?", s.extra::text AS "extra?", s.fingerprint AS "fingerprint?", s.config_version AS "config_version?",
    s.synced_to_config AS "synced_to_config?", s.deployment_status AS "deployment_status?",
    s.last_deployed_at AS "last_deployed_at?", s.deployment_error AS "deployment_error?",
    s.deployment_attempts AS "deployment_attempts?", s.running_since AS "running_since?", s.health AS "health?",
    s.drift AS "drift?", s.drifting_since AS "drifting_since?",
    s.created_at AS "created_at?", s.created_by AS "created_by?",
    s.updated_at AS "updated_at?", s.updated_by AS "updated_by?"
FROM devices d
JOIN device_hot h ON h.device_uuid = d.uuid
JOIN device_target_state t ON t.device_uuid = d.uuid
LEFT JOIN device_current_state c ON c.device_uuid = d.uuid
LEFT JOIN (
    SELECT *, row_number() OVER (ORDER BY sensor_uuid) AS line FROM device_sensors WHERE device_uuid = $1
) s ON true
WHERE d.uuid = $1
ORDER BY s.line
