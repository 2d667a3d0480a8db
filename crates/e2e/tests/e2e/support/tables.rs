//! What stands in a PostgreSQL database, row by row and with the transaction that wrote each row: the witness that
//! nothing was written.

use holdfast_testkit::postgres::TestCluster;

/// Tables that say what is so. What only says when a device was last heard of or is next due is left out of the hot row.
const DUMP: &str = "
    SELECT 'devices', xmin::text, to_jsonb(t) FROM devices t
    UNION ALL SELECT 'target', xmin::text, to_jsonb(t) FROM device_target_state t
    UNION ALL SELECT 'history', xmin::text, to_jsonb(t) FROM device_target_state_history t
    UNION ALL SELECT 'current', xmin::text, to_jsonb(t) FROM device_current_state t
    UNION ALL SELECT 'sensors', xmin::text, to_jsonb(t) FROM device_sensors t
    UNION ALL SELECT 'events', xmin::text, to_jsonb(t) FROM events t
    UNION ALL SELECT 'hot', '', to_jsonb(t) - ARRAY['last_seen_at', 'seen_incarnation', 'seen_boot', 'seen_sequence',
        'due_at', 'claimed_until'] FROM device_hot t
    ORDER BY 1, 2, 3";

/// Every row of the database behind `url`, apart from "seen".
pub(crate) fn dump(url: &str) -> Vec<String> {
    let rows = psql(url, DUMP);
    rows.lines().map(str::to_owned).collect()
}

/// Runs a statement on the database behind `url`.
pub(crate) fn psql(url: &str, statement: &str) -> String {
    let database = url
        .rsplit('/')
        .next()
        .expect("a URL ends with the database's name");
    TestCluster::at(url)
        .psql(database, &["-c", statement])
        .unwrap_or_else(|error| panic!("{statement}: {error}"))
}
