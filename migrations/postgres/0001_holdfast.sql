-- The hub's tables on PostgreSQL (15 or newer). Names and columns are those of migrations/sqlite.
--
-- Every table of a hot transaction leads with device_uuid, so that it can be distributed by that column. Documents are
-- `json`, not `jsonb`: they are written often, read whole and never searched, and text is several times cheaper to store.
-- Names sort by code point (COLLATE "C"), so that pages of lists are the same on every server.

CREATE TABLE devices (
    uuid         uuid PRIMARY KEY,
    name         text COLLATE "C" NOT NULL CONSTRAINT devices_name_key UNIQUE,
    -- Searched by containment, hence jsonb.
    labels       jsonb NOT NULL DEFAULT '{}',
    incarnation  uuid,
    created_at   timestamptz NOT NULL,
    created_by   text NOT NULL,
    updated_at   timestamptz NOT NULL,
    updated_by   text NOT NULL
);

-- What moves often, in a narrow row of its own. A commit is won or lost on `revision`.
-- Half of each page is kept free and only what seldom moves is indexed, so that updates stay in place (HOT).
CREATE TABLE device_hot (
    device_uuid       uuid PRIMARY KEY REFERENCES devices (uuid) ON DELETE CASCADE,
    revision          bigint NOT NULL,
    last_event        bigint NOT NULL,
    due_at            timestamptz NOT NULL,
    claimed_until     timestamptz,
    last_seen_at      timestamptz,
    silent            boolean NOT NULL DEFAULT false,
    -- Did the last commit change `silent`? It marks the device's rows then.
    turned            boolean NOT NULL DEFAULT false,
    -- Order of the last report that said nothing new: an earlier one that comes late is not taken.
    seen_incarnation  uuid,
    seen_boot         bigint,
    seen_sequence     bigint,
    drift_since       timestamptz,
    drift_fingerprint text,
    -- Trouble that there is, and whether it was told of, as JSON.
    troubles          text
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX device_hot_due ON device_hot (due_at);

CREATE TABLE device_target_state (
    device_uuid           uuid PRIMARY KEY REFERENCES devices (uuid) ON DELETE CASCADE,
    version               bigint NOT NULL,
    config                json NOT NULL,
    -- Derived, for people who query this table.
    needs_deployment      boolean NOT NULL DEFAULT false,
    setpoints             json NOT NULL DEFAULT '{}',
    hold                  json NOT NULL DEFAULT '{}',
    commands              json NOT NULL DEFAULT '{}',
    look_revision         bigint NOT NULL,
    -- Sequence of the event by which this version came; 0 if none.
    event                 bigint NOT NULL,
    created_at            timestamptz NOT NULL,
    created_by            text NOT NULL,
    updated_at            timestamptz NOT NULL,
    updated_by            text NOT NULL,
    last_deployed_at      timestamptz,
    last_deployed_version bigint,
    -- Author of the version that was last found to run.
    deployed_by           text
);

-- Every version, its author and reason; never changed.
CREATE TABLE device_target_state_history (
    device_uuid uuid NOT NULL REFERENCES devices (uuid) ON DELETE CASCADE,
    version     bigint NOT NULL,
    config      json NOT NULL,
    author      text NOT NULL,
    reason      text,
    created_at  timestamptz NOT NULL,
    -- How many sensors it has.
    sensors     integer NOT NULL,
    PRIMARY KEY (device_uuid, version)
);

-- What the agent says is true, merged from its reports. Up to some 4 kB a row stays in its page, uncompressed, and is
-- updated in place; beyond that the documents move out and are rewritten only when they change.
CREATE TABLE device_current_state (
    device_uuid         uuid PRIMARY KEY REFERENCES devices (uuid) ON DELETE CASCADE,
    config              json NOT NULL,
    failures            json NOT NULL,
    health              json NOT NULL,
    -- What the agent says of its outputs and of its value loop.
    outputs             json NOT NULL DEFAULT '{}',
    held_version        bigint NOT NULL,
    -- The version that the agent has worked through.
    version             bigint NOT NULL,
    incarnation         uuid NOT NULL,
    boot                bigint NOT NULL,
    sequence            bigint NOT NULL,
    running_fingerprint text NOT NULL,
    looked_revision     bigint NOT NULL,
    agent_version       text,
    reported_at         timestamptz NOT NULL
) WITH (fillfactor = 45, toast_tuple_target = 4080, autovacuum_vacuum_scale_factor = 0.05);

-- The read model: one row a sensor, with the content that runs, or, where nothing runs, the wanted one.
-- The key serves whatever is asked of one device; those of protocol and enabled end in the order of the lists, so that a
-- page of a filtered list is read in order. Each index here is paid for by every report that changes a status.
CREATE TABLE device_sensors (
    id                  bigint GENERATED ALWAYS AS IDENTITY,
    device_uuid         uuid NOT NULL REFERENCES devices (uuid) ON DELETE CASCADE,
    sensor_uuid         uuid NOT NULL,
    name                text NOT NULL,
    protocol            text NOT NULL,
    enabled             boolean NOT NULL,
    -- Milliseconds.
    poll_interval       bigint NOT NULL,
    connection          json NOT NULL,
    data_points         json NOT NULL,
    metadata            json NOT NULL,
    -- Fields of the sensor that this version does not know.
    extra               json NOT NULL DEFAULT '{}',
    -- Identity of all of the content above: what has the same is the same, and need not be read twice.
    fingerprint         text NOT NULL,
    config_version      bigint NOT NULL,
    synced_to_config    boolean NOT NULL,
    deployment_status   text NOT NULL,
    last_deployed_at    timestamptz,
    deployment_error    text,
    deployment_attempts bigint NOT NULL DEFAULT 0,
    running_since       timestamptz,
    health              json,
    drift               text,
    drifting_since      timestamptz,
    -- Its agent has gone silent: the row says what was.
    stale               boolean NOT NULL DEFAULT false,
    created_at          timestamptz NOT NULL,
    created_by          text NOT NULL,
    updated_at          timestamptz NOT NULL,
    updated_by          text NOT NULL,
    PRIMARY KEY (device_uuid, sensor_uuid)
) WITH (fillfactor = 70, toast_tuple_target = 4080, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX device_sensors_sensor ON device_sensors (sensor_uuid, device_uuid);
CREATE INDEX device_sensors_protocol ON device_sensors (protocol, sensor_uuid, device_uuid);
CREATE INDEX device_sensors_enabled ON device_sensors (enabled, sensor_uuid, device_uuid);
CREATE INDEX device_sensors_device_protocol ON device_sensors (device_uuid, protocol);
CREATE INDEX device_sensors_sync ON device_sensors (synced_to_config, deployment_status);
CREATE INDEX device_sensors_drifting ON device_sensors (drift, device_uuid) WHERE drift IS NOT NULL;

-- Last values, best effort.
CREATE TABLE device_points (
    device_uuid uuid NOT NULL REFERENCES devices (uuid) ON DELETE CASCADE,
    sensor_uuid uuid NOT NULL,
    point_uuid  uuid NOT NULL,
    -- NULL: it could not be read.
    value       json,
    quality     text NOT NULL,
    at          timestamptz NOT NULL,
    reason      text,
    PRIMARY KEY (device_uuid, point_uuid)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- Append-only, with an order per device that the revision of device_hot keeps unique. `at` is in the key so that the
-- table can be partitioned by time. `xact` and `position` are the order of the log: see the crate's events.rs.
CREATE TABLE events (
    position       bigserial NOT NULL,
    xact           xid8 NOT NULL DEFAULT pg_current_xact_id(),
    device_uuid    uuid NOT NULL,
    sequence       bigint NOT NULL,
    type           text NOT NULL,
    at             timestamptz NOT NULL,
    actor          text NOT NULL,
    correlation_id text,
    -- Sequence of the device's event that this one came of.
    causation      bigint,
    payload        json NOT NULL,
    PRIMARY KEY (device_uuid, sequence, at)
);
CREATE INDEX events_log ON events (xact, position);
CREATE INDEX events_rebuild ON events (device_uuid, sequence) WHERE type IN ('device.snapshot', 'device.deleted');

-- Up to here, exclusively, later statements can read the log: no event of those transactions is still to become visible.
-- It is pg_snapshot_xmin(pg_current_snapshot()), but for transactions that are over by now, and for those of other
-- databases of the server: they can't write events of this one. One that can't be told (prepared, or of a user whose
-- sessions may not be seen) counts as one of this database.
CREATE FUNCTION holdfast_event_horizon() RETURNS xid8 LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(
        (
            SELECT running.xact
            FROM pg_snapshot_xip(pg_current_snapshot()) AS running (xact)
            WHERE pg_xact_status(running.xact) = 'in progress' AND NOT EXISTS (
                SELECT FROM pg_stat_activity a
                WHERE a.backend_xid = running.xact::xid AND a.datname <> current_database()
            )
            ORDER BY running.xact LIMIT 1
        ),
        pg_snapshot_xmax(pg_current_snapshot())
    )
$$;

-- Since when some process of the hub has been up without a gap, and its last sign of that. One row.
CREATE TABLE hub_uptime (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    up_since     timestamptz NOT NULL,
    last_beat_at timestamptz NOT NULL
) WITH (fillfactor = 10);

-- How far each way of telling somebody of trouble has come in the log, and who tells.
CREATE TABLE notices (
    name          text PRIMARY KEY,
    holder        uuid NOT NULL,
    claimed_until timestamptz NOT NULL,
    -- A cursor; NULL: it is new.
    told          text
);

CREATE TABLE tokens (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    hash         bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    -- The operators' side in a role, or the agent's side of one device.
    role         text,
    device_uuid  uuid,
    created_at   timestamptz NOT NULL,
    created_by   text NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    -- 'revoked' or 'deviceDeleted'.
    revoked_kind text,
    CHECK ((role IS NULL) <> (device_uuid IS NULL)),
    CHECK ((revoked_at IS NULL) = (revoked_kind IS NULL))
);
CREATE INDEX tokens_device ON tokens (device_uuid) WHERE device_uuid IS NOT NULL;

CREATE TABLE provisioning_keys (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    hash        bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    -- The device that it is bound to; NULL: each use makes a new device.
    device_uuid uuid,
    -- NULL: without end.
    uses_left   bigint CHECK (uses_left >= 0),
    created_at  timestamptz NOT NULL,
    created_by  text NOT NULL,
    expires_at  timestamptz,
    revoked_at  timestamptz
);

CREATE FUNCTION holdfast_refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER device_target_state_history_is_never_changed
    BEFORE UPDATE ON device_target_state_history
    FOR EACH STATEMENT EXECUTE FUNCTION holdfast_refuse_update();
-- `xact` alone may be set: a dump that is restored into another server carries transaction ids of the old one.
CREATE TRIGGER events_are_never_changed
    BEFORE UPDATE OF position, device_uuid, sequence, type, at, actor, correlation_id, causation, payload ON events
    FOR EACH STATEMENT EXECUTE FUNCTION holdfast_refuse_update();

-- lz4 compresses documents several times faster than the default; a server built without it keeps the default.
DO $$
DECLARE
    tables text[] := ARRAY['device_target_state', 'device_target_state_history', 'device_current_state',
        'device_sensors', 'events'];
    documents record;
BEGIN
    FOR documents IN
        SELECT attrelid::regclass AS of, attname AS name
        FROM pg_attribute
        WHERE attrelid = ANY (tables::regclass[]) AND atttypid = 'json'::regtype AND NOT attisdropped
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET COMPRESSION lz4', documents.of, documents.name);
    END LOOP;
EXCEPTION
    WHEN feature_not_supported THEN NULL;
END
$$;
