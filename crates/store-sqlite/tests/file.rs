//! What is particular to this store: its file, its tables, what it keeps when its process is killed.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use holdfast_domain::{DeviceId, edit::Edit};
use holdfast_ports::store::DeviceStore;
use holdfast_store_sqlite::{MigrateError, OpenError, SqliteStore, migrate};
use holdfast_testkit::{
    builders::modbus_document,
    stored::device,
    world::{FakeAgent, World},
};
use sqlx::{Connection, SqliteConnection};

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}", path.display()))
        .await
        .expect("the file is there")
}

async fn opened(path: &Path) -> SqliteStore {
    migrate(path).await.expect("it can be migrated");
    SqliteStore::open(path).await.expect("it was migrated")
}

#[tokio::test]
async fn a_file_is_migrated_on_request_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("holdfast.db");
    let refused = SqliteStore::open(&path)
        .await
        .expect_err("there is no file");
    assert!(
        matches!(refused, OpenError::NotMigrated { found: 0, .. }),
        "{refused:?}"
    );
    assert!(
        refused.to_string().contains("run `holdfast migrate`"),
        "{refused}"
    );
    assert!(!path.exists(), "opening makes nothing");

    sqlx::query("CREATE TABLE other (x)")
        .execute(&mut made(&path).await)
        .await
        .expect("works");
    let refused = SqliteStore::open(&path)
        .await
        .expect_err("the tables are not there");
    assert!(
        matches!(refused, OpenError::NotMigrated { found: 0, .. }),
        "{refused:?}"
    );

    migrate(&path).await.expect("it can be migrated");
    migrate(&path).await.expect("once more does nothing");
    let store = SqliteStore::open(&path).await.expect("it was migrated");
    store.close().await;

    let mut connection = raw(&path).await;
    let other = "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1";
    sqlx::query(other)
        .execute(&mut connection)
        .await
        .expect("works");
    let refused = SqliteStore::open(&path)
        .await
        .expect_err("another build made the tables");
    assert!(
        matches!(refused, OpenError::Different { version: 1, .. }),
        "{refused:?}"
    );
    let newer = "UPDATE _sqlx_migrations SET version = 99";
    sqlx::query(newer)
        .execute(&mut connection)
        .await
        .expect("works");
    let refused = SqliteStore::open(&path)
        .await
        .expect_err("a newer version made the tables");
    assert!(
        matches!(refused, OpenError::Newer { found: 99, .. }),
        "{refused:?}"
    );
    let refused = migrate(&path).await.expect_err("nothing goes back");
    assert!(
        matches!(refused, MigrateError::Failed { .. }),
        "{refused:?}"
    );
}

async fn made(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display()))
        .await
        .expect("it can be made")
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("holdfast.db");
    std::fs::write(
        &path,
        "no database at all, but long enough to be looked at as one",
    )
    .expect("works");
    let refused = SqliteStore::open(&path).await.expect_err("it is a text");
    assert!(matches!(refused, OpenError::Unusable { .. }), "{refused:?}");
    assert!(refused.to_string().contains("holdfast.db"), "{refused}");
    let refused = migrate(&folder.path().join("nowhere").join("holdfast.db")).await;
    assert!(
        matches!(refused, Err(MigrateError::Unusable { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn the_past_is_never_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("holdfast.db");
    let (store, world) = (opened(&path).await, World::new(1));
    let state = device(&store, &world, "gateway-1").await;
    let change = world.add(&state, modbus_document("boiler-1", "10.0.0.5", 502));
    store.commit(&change).await.expect("nobody else changes it");
    let mut connection = raw(&path).await;
    for update in [
        "UPDATE events SET actor = 'x'",
        "UPDATE device_target_state_history SET author = 'x'",
    ] {
        let refused = sqlx::query(update)
            .execute(&mut connection)
            .await
            .expect_err("it is refused");
        assert!(refused.to_string().contains("never changed"), "{refused}");
    }
}

#[tokio::test]
async fn needs_deployment_is_what_the_domain_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("holdfast.db");
    let (store, world) = (opened(&path).await, World::new(1));
    let mut connection = raw(&path).await;
    let mut state = device(&store, &world, "gateway-1").await;
    let mut agent = FakeAgent::of(&state);
    let mut seen = Vec::new();
    for step in 0..6 {
        let change = match step {
            1 | 2 => world.add(
                &state,
                modbus_document(&format!("s-{step}"), "10.0.0.5", 502),
            ),
            4 => {
                let edit = Edit::Remove(state.target.items[0].sensor.id());
                world
                    .edit(&state, edit)
                    .expect("it exists")
                    .change
                    .expect("a change")
            }
            _ => {
                let failing: Vec<_> = state
                    .target
                    .items
                    .iter()
                    .take(step % 2)
                    .map(|item| item.sensor.id())
                    .collect();
                agent.establish_but(&state, &failing, state.record.audit.created_at);
                world.report(&state, agent.full_report()).expect("a change")
            }
        };
        store.commit(&change).await.expect("nobody else changes it");
        state = state.after(change);
        let stored: bool = sqlx::query_scalar("SELECT needs_deployment FROM device_target_state")
            .fetch_one(&mut connection)
            .await
            .expect("there is one device");
        assert_eq!(stored, state.needs_deployment(), "step {step}");
        seen.push(stored);
    }
    assert!(seen.contains(&true) && seen.contains(&false), "{seen:?}");
}

#[tokio::test]
async fn readers_do_not_wait_for_a_writer() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("holdfast.db");
    let (store, world) = (opened(&path).await, World::new(1));
    let state = device(&store, &world, "gateway-1").await;
    let mut connection = raw(&path).await;
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut connection)
        .await
        .expect("nobody else writes");
    sqlx::query("UPDATE devices SET name = 'half done'")
        .execute(&mut connection)
        .await
        .expect("works");
    let patience = Duration::from_secs(5);
    let read = tokio::time::timeout(patience, store.load(state.record.id))
        .await
        .expect("it does not wait");
    assert_eq!(read.expect("works"), Some(state.clone()));

    let change = world.add(&state, modbus_document("boiler-1", "10.0.0.5", 502));
    let waiting = tokio::spawn({
        let (store, change) = (store.clone(), change.clone());
        async move { store.commit(&change).await }
    });
    sqlx::query("ROLLBACK")
        .execute(&mut connection)
        .await
        .expect("works");
    waiting
        .await
        .expect("it ends")
        .expect("it waited for the other");
    assert_eq!(
        store.load(state.record.id).await.expect("works"),
        Some(state.after(change))
    );
}

/// Names the file to the process that is to be killed.
const FILE_VAR: &str = "HOLDFAST_TEST_SQLITE_FILE";

/// Run by [`a_killed_process_loses_nothing`]: commits until it is killed, and says after each commit what is committed.
#[tokio::test]
async fn commits_until_killed() {
    let Ok(path) = std::env::var(FILE_VAR) else {
        return;
    };
    let (store, world) = (opened(Path::new(&path)).await, World::new(1));
    let mut state = device(&store, &world, "gateway-1").await;
    println!("device {}", state.record.id);
    loop {
        let name = format!("s-{}", state.revision % 50);
        let change = match state.wanted_by_name(&name) {
            Some(sensor) => world
                .edit(&state, Edit::Remove(sensor.id()))
                .expect("it exists")
                .change
                .expect("a change"),
            None => world.add(&state, modbus_document(&name, "10.0.0.5", 502)),
        };
        store.commit(&change).await.expect("nobody else changes it");
        state = state.after(change);
        println!("revision {}", state.revision);
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing() {
    for commits in [1, 7, 23] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("holdfast.db");
        let mut child = Command::new(std::env::current_exe().expect("this test has a file"))
            .args(["--exact", "commits_until_killed", "--nocapture"])
            .env(FILE_VAR, &path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut lines = lines.map(|line| line.expect("the child writes text"));
        let after = |line: &str, word: &str| line.split_once(word).map(|(_, rest)| rest.to_owned());
        let id = lines
            .find_map(|line| after(&line, "device "))
            .expect("the child has a device");
        let said = lines
            .by_ref()
            .filter_map(|line| after(&line, "revision "))
            .nth(commits - 1);
        child.kill().expect("it runs");
        let said = lines
            .filter_map(|line| after(&line, "revision "))
            .last()
            .or(said)
            .expect("it committed");
        child.wait().expect("it was killed");

        let store = SqliteStore::open(&path).await.expect("nothing is broken");
        let id: DeviceId = id.trim().parse().expect("an id");
        let state = store.load(id).await.expect("works").expect("it exists");
        let said: u64 = said.trim().parse().expect("a number");
        assert!(
            state.revision == said || state.revision == said + 1,
            "{} after {said}",
            state.revision
        );
        assert_eq!(
            state.target.version,
            state.revision - 1,
            "each commit made a version"
        );
        let rows: Vec<_> = state.rows.keys().copied().collect();
        let mut wanted: Vec<_> = state
            .target
            .items
            .iter()
            .map(|item| item.sensor.id())
            .collect();
        wanted.sort_unstable();
        assert_eq!(rows, wanted, "rows and target were committed together");
        let mut connection = raw(&path).await;
        let sound: String = sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_one(&mut connection)
            .await
            .expect("works");
        assert_eq!(sound, "ok");
    }
}
