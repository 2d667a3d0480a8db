-- The hub's tables on SQLite. Names and columns are those of migrations/postgres; types are SQLite's:
--   UUIDs are TEXT in lower case with hyphens; documents are TEXT holding JSON; true and false are 1 and 0;
--   times are INTEGER microseconds since 1970-01-01T00:00:00Z, for people: datetime(at / 1000000, 'unixepoch').

CREATE TABLE devices (
    uuid         TEXT PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    labels       TEXT NOT NULL DEFAULT '{}',
    incarnation  TEXT,
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    updated_at   INTEGER NOT NULL,
    updated_by   TEXT NOT NULL
) STRICT;

-- What moves often, in a narrow row of its own. A commit is won or lost on `revision`.
CREATE TABLE device_hot (
    device_uuid       TEXT PRIMARY KEY REFERENCES devices (uuid) ON DELETE CASCADE,
    revision          INTEGER NOT NULL,
    last_event        INTEGER NOT NULL,
    due_at            INTEGER NOT NULL,
    claimed_until     INTEGER,
    last_seen_at      INTEGER,
    silent            INTEGER NOT NULL DEFAULT 0 CHECK (silent IN (0, 1)),
    -- Order of the last report that said nothing new: an earlier one that comes late is not taken.
    seen_incarnation  TEXT,
    seen_boot         INTEGER,
    seen_sequence     INTEGER,
    drift_since       INTEGER,
    drift_fingerprint TEXT,
    -- Trouble that there is, and whether it was told of, as JSON.
    troubles          TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX device_hot_due ON device_hot (due_at);

CREATE TABLE device_target_state (
    device_uuid           TEXT PRIMARY KEY REFERENCES devices (uuid) ON DELETE CASCADE,
    version               INTEGER NOT NULL,
    config                TEXT NOT NULL,
    -- Derived, for people who query this table.
    needs_deployment      INTEGER NOT NULL DEFAULT 0 CHECK (needs_deployment IN (0, 1)),
    setpoints             TEXT NOT NULL DEFAULT '{}',
    hold                  TEXT NOT NULL DEFAULT '{}',
    commands              TEXT NOT NULL DEFAULT '{}',
    look_revision         INTEGER NOT NULL,
    -- Sequence of the event by which this version came; 0 if none.
    event                 INTEGER NOT NULL,
    created_at            INTEGER NOT NULL,
    created_by            TEXT NOT NULL,
    updated_at            INTEGER NOT NULL,
    updated_by            TEXT NOT NULL,
    last_deployed_at      INTEGER,
    last_deployed_version INTEGER,
    -- Author of the version that was last found to run.
    deployed_by           TEXT
) STRICT;

-- Every version, its author and reason; never changed.
CREATE TABLE device_target_state_history (
    device_uuid TEXT NOT NULL REFERENCES devices (uuid) ON DELETE CASCADE,
    version     INTEGER NOT NULL,
    config      TEXT NOT NULL,
    author      TEXT NOT NULL,
    reason      TEXT,
    created_at  INTEGER NOT NULL,
    -- How many sensors it has.
    sensors     INTEGER NOT NULL,
    PRIMARY KEY (device_uuid, version)
) STRICT;
CREATE TRIGGER device_target_state_history_is_never_changed BEFORE UPDATE ON device_target_state_history
BEGIN
    SELECT RAISE(ABORT, 'the history of targets is never changed');
END;

-- What the agent says is true, merged from its reports.
CREATE TABLE device_current_state (
    device_uuid         TEXT PRIMARY KEY REFERENCES devices (uuid) ON DELETE CASCADE,
    config              TEXT NOT NULL,
    failures            TEXT NOT NULL,
    health              TEXT NOT NULL,
    -- What the agent says of its outputs and of its value loop.
    outputs             TEXT NOT NULL DEFAULT '{}',
    held_version        INTEGER NOT NULL,
    -- The version that the agent has worked through.
    version             INTEGER NOT NULL,
    incarnation         TEXT NOT NULL,
    boot                INTEGER NOT NULL,
    sequence            INTEGER NOT NULL,
    running_fingerprint TEXT NOT NULL,
    looked_revision     INTEGER NOT NULL,
    agent_version       TEXT,
    reported_at         INTEGER NOT NULL
) STRICT;

-- The read model: one row a sensor, with the content that runs, or, where nothing runs, the wanted one.
-- The unique key serves whatever is asked of one device; the other indexes end in the order of the lists, so that a
-- page of a filtered list is read in order.
CREATE TABLE device_sensors (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    device_uuid         TEXT NOT NULL REFERENCES devices (uuid) ON DELETE CASCADE,
    sensor_uuid         TEXT NOT NULL,
    name                TEXT NOT NULL,
    protocol            TEXT NOT NULL,
    enabled             INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    -- Milliseconds.
    poll_interval       INTEGER NOT NULL,
    connection          TEXT NOT NULL,
    data_points         TEXT NOT NULL,
    metadata            TEXT NOT NULL,
    -- Fields of the sensor that this version does not know.
    extra               TEXT NOT NULL DEFAULT '{}',
    config_version      INTEGER NOT NULL,
    synced_to_config    INTEGER NOT NULL CHECK (synced_to_config IN (0, 1)),
    deployment_status   TEXT NOT NULL,
    last_deployed_at    INTEGER,
    deployment_error    TEXT,
    deployment_attempts INTEGER NOT NULL DEFAULT 0,
    running_since       INTEGER,
    health              TEXT,
    drift               TEXT,
    drifting_since      INTEGER,
    -- Its agent has gone silent: the row says what was.
    stale               INTEGER NOT NULL DEFAULT 0 CHECK (stale IN (0, 1)),
    created_at          INTEGER NOT NULL,
    created_by          TEXT NOT NULL,
    updated_at          INTEGER NOT NULL,
    updated_by          TEXT NOT NULL,
    UNIQUE (device_uuid, sensor_uuid)
) STRICT;
CREATE INDEX device_sensors_sensor ON device_sensors (sensor_uuid, device_uuid);
CREATE INDEX device_sensors_protocol ON device_sensors (protocol, sensor_uuid, device_uuid);
CREATE INDEX device_sensors_enabled ON device_sensors (enabled, sensor_uuid, device_uuid);
CREATE INDEX device_sensors_device_protocol ON device_sensors (device_uuid, protocol);
CREATE INDEX device_sensors_sync ON device_sensors (synced_to_config, deployment_status);
CREATE INDEX device_sensors_status ON device_sensors (deployment_status, sensor_uuid, device_uuid);
CREATE INDEX device_sensors_drifting ON device_sensors (drift, device_uuid) WHERE drift IS NOT NULL;

-- Last values, best effort.
CREATE TABLE device_points (
    device_uuid TEXT NOT NULL REFERENCES devices (uuid) ON DELETE CASCADE,
    sensor_uuid TEXT NOT NULL,
    point_uuid  TEXT NOT NULL,
    -- JSON; NULL: it could not be read.
    value       TEXT,
    quality     TEXT NOT NULL,
    at          INTEGER NOT NULL,
    reason      TEXT,
    PRIMARY KEY (device_uuid, point_uuid)
) STRICT, WITHOUT ROWID;

-- Append-only, with an order per device. There is one writer at a time, so positions grow in the order of commits.
CREATE TABLE events (
    position       INTEGER PRIMARY KEY AUTOINCREMENT,
    device_uuid    TEXT NOT NULL,
    sequence       INTEGER NOT NULL,
    type           TEXT NOT NULL,
    at             INTEGER NOT NULL,
    actor          TEXT NOT NULL,
    correlation_id TEXT,
    -- Sequence of the device's event that this one came of.
    causation      INTEGER,
    payload        TEXT NOT NULL,
    UNIQUE (device_uuid, sequence)
) STRICT;
CREATE INDEX events_rebuild ON events (device_uuid, sequence) WHERE type IN ('device.snapshot', 'device.deleted');
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are never changed');
END;

-- Since when the hub has been up without a gap, and its last sign of that. One row.
CREATE TABLE hub_uptime (
    only_row     INTEGER PRIMARY KEY CHECK (only_row = 1),
    up_since     INTEGER NOT NULL,
    last_beat_at INTEGER NOT NULL
) STRICT;

-- How far each way of telling somebody of trouble has come in the log, and who tells.
CREATE TABLE notices (
    name          TEXT PRIMARY KEY,
    holder        TEXT NOT NULL,
    claimed_until INTEGER NOT NULL,
    -- A cursor; NULL: it is new.
    told          TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    hash         BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    -- The operators' side in a role, or the agent's side of one device.
    role         TEXT,
    device_uuid  TEXT,
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    -- 'revoked' or 'deviceDeleted'.
    revoked_kind TEXT,
    CHECK ((role IS NULL) <> (device_uuid IS NULL)),
    CHECK ((revoked_at IS NULL) = (revoked_kind IS NULL))
) STRICT;
CREATE INDEX tokens_device ON tokens (device_uuid) WHERE device_uuid IS NOT NULL;

CREATE TABLE provisioning_keys (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    hash        BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    -- The device that it is bound to; NULL: each use makes a new device.
    device_uuid TEXT,
    -- NULL: without end.
    uses_left   INTEGER CHECK (uses_left >= 0),
    created_at  INTEGER NOT NULL,
    created_by  TEXT NOT NULL,
    expires_at  INTEGER,
    revoked_at  INTEGER
) STRICT;
