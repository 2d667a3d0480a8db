//! What only a store on PostgreSQL can get wrong: migrations, connections that are cut or fall silent, commits that are
//! killed, dumps restored elsewhere, and rows that should stay in place.

mod common;

use std::{sync::Arc, time::Duration};

use common::{connect, fresh_store};
use holdfast_domain::{
    Name,
    edit::look_again,
    row::Actor,
    state::{Change, DeviceState},
};
use holdfast_ports::{
    events::{Cursor, EventFilter, EventStore, ReadError},
    store::{CommitError, DeviceStore, Seen},
    wakeups::{Wake, Wakeups},
};
use holdfast_store_postgres::{ConnectError, PostgresOptions, PostgresStore, migrate};
use holdfast_testkit::{
    builders::modbus_document,
    postgres::fresh_database,
    stored::{device, load},
    world::{FakeAgent, World},
};
use jiff::SignedDuration;
use sqlx::{Connection, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{broadcast::Receiver, watch},
    time::timeout,
};

/// Longer than anything here takes, so that what never comes is a failure and no hang.
const PATIENCE: Duration = Duration::from_secs(20);

async fn direct(url: &str) -> PgConnection {
    PgConnection::connect(url)
        .await
        .expect("the server is there")
}

async fn run(connection: &mut PgConnection, statement: &'static str) {
    sqlx::raw_sql(statement)
        .execute(connection)
        .await
        .expect(statement);
}

async fn woken(wakes: &mut Receiver<Wake>, expected: Wake) {
    let wait =
        async { while wakes.recv().await.expect("few wake-ups are under way") != expected {} };
    timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("expected {expected:?}, nothing came"));
}

/// Looks again and again until something is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn only_a_database_of_this_version_is_opened() {
    let url = fresh_database();
    let options = PostgresOptions::new(&url);
    let refused = PostgresStore::connect(&options)
        .await
        .expect_err("there are no tables");
    assert!(
        matches!(refused, ConnectError::NotMigrated { found: 0, .. }),
        "{refused:?}"
    );
    assert!(
        refused.to_string().contains("run `holdfast migrate`"),
        "{refused}"
    );
    let (one, other) = tokio::join!(migrate(&url), migrate(&url));
    one.and(other)
        .expect("two that migrate at once wait for each other");
    migrate(&url).await.expect("there is nothing left to do");
    PostgresStore::connect(&options)
        .await
        .expect("the database was migrated")
        .close()
        .await;

    let mut connection = direct(&url).await;
    run(
        &mut connection,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'of a later version', true, '', 0)",
    )
    .await;
    let refused = PostgresStore::connect(&options)
        .await
        .expect_err("it is newer");
    assert!(
        matches!(refused, ConnectError::Newer { found: 9999, .. }),
        "{refused:?}"
    );
    migrate(&url).await.expect_err("it is newer");
    run(
        &mut connection,
        "DELETE FROM _sqlx_migrations WHERE version = 9999",
    )
    .await;
    run(
        &mut connection,
        "UPDATE _sqlx_migrations SET checksum = '\\x00'",
    )
    .await;
    let refused = PostgresStore::connect(&options)
        .await
        .expect_err("it has another text");
    assert!(
        matches!(refused, ConnectError::Different { .. }),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_can_not_be_reached_is_said_without_its_password() {
    let nowhere = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let address = nowhere.local_addr().expect("it is bound");
    drop(nowhere);
    let options = PostgresOptions::new(format!("postgres://me:secret@{address}/x"));
    let refused = PostgresStore::connect(&options)
        .await
        .expect_err("nobody listens");
    assert!(
        matches!(refused, ConnectError::Unreachable { .. }),
        "{refused:?}"
    );
    assert!(!format!("{refused:?} {options:?}").contains("secret"));
    let cause = std::error::Error::source(&refused).expect("it says why");
    let told = refused.to_string();
    assert!(
        told.ends_with("can't be used") && told.contains("127.0.0.1"),
        "{told}"
    );
    assert_eq!(cause.to_string(), "Connection refused (os error 111)");
    assert!(cause.source().is_none(), "said once: {cause:?}");
    let wrong = PostgresOptions::new("no address");
    let refused = PostgresStore::connect(&wrong)
        .await
        .expect_err("it is no address");
    assert!(
        matches!(refused, ConnectError::Address { .. }),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_cut_connection_wakes_for_everything() {
    let (url, store) = fresh_store().await;
    let other = connect(&url).await;
    let world = World::new(1);
    let state = device(&store, &world, "gateway-1").await;
    let mut wakes = store.subscribe();
    let mut connection = direct(&url).await;
    run(
        &mut connection,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'holdfast wake-ups' AND datname = current_database()",
    )
    .await;
    woken(&mut wakes, Wake::Everything).await;
    assert!(store.is_connected());
    until("the other listens again", async || other.is_connected()).await;
    let change = look_again(&state, None, &world.context("anna"));
    other.commit(&change).await.expect("nobody else changes it");
    woken(&mut wakes, Wake::Desired(state.record.id)).await;
}

#[tokio::test]
async fn a_silent_connection_counts_as_none() {
    let (url, _) = fresh_store().await;
    let (proxy, flows) = proxy(&url).await;
    let store = connect(&proxy).await;
    assert!(store.is_connected());
    flows.send_replace(false);
    until("silence is noticed", async || !store.is_connected()).await;
    flows.send_replace(true);
    until("the connection is alive again", async || {
        store.is_connected()
    })
    .await;
    store.close().await;
    assert!(!store.is_connected());
}

/// A way to the server that can be stopped without cutting it.
async fn proxy(url: &str) -> (String, watch::Sender<bool>) {
    let (before, rest) = url.rsplit_once('@').expect("a test's URL has a user");
    let (server, path) = rest.split_once('/').expect("a test's URL has a database");
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (flows, gate) = watch::channel(true);
    let server = server.to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server)
                .await
                .expect("the server is there");
            let (client_in, client_out) = client.into_split();
            let (server_in, server_out) = server.into_split();
            tokio::spawn(relay(client_in, server_out, gate.clone()));
            tokio::spawn(relay(server_in, client_out, gate.clone()));
        }
    });
    (format!("{before}@{address}/{path}"), flows)
}

async fn relay(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    mut gate: watch::Receiver<bool>,
) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let is_open = gate.wait_for(|flows| *flows).await.is_ok();
        if !is_open || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_commit_leaves_nothing_and_the_store_goes_on() {
    let (url, store) = fresh_store().await;
    let store = Arc::new(store);
    let world = World::new(1);
    let state = device(&*store, &world, "gateway-1").await;
    let change = world.add(&state, modbus_document("s-1", "10.0.0.5", 502));

    let mut connection = direct(&url).await;
    run(&mut connection, "BEGIN; SELECT FROM device_hot FOR UPDATE").await;
    let committing = {
        let (store, change) = (store.clone(), change.clone());
        tokio::spawn(async move { store.commit(&change).await })
    };
    let mut killer = direct(&url).await;
    until("the commit waits for the row", async || {
        let killed: i64 = sqlx::query_scalar(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE wait_event_type = 'Lock' AND datname = current_database()",
        )
        .fetch_one(&mut killer)
        .await
        .expect("works");
        killed == 1
    })
    .await;
    let failed = committing.await.expect("it does not panic");
    assert!(matches!(failed, Err(CommitError::Store(_))), "{failed:?}");
    run(&mut connection, "COMMIT").await;
    assert_eq!(load(&*store, &state).await, state);
    store.commit(&change).await.expect("nobody else changes it");
    assert_eq!(load(&*store, &state).await, state.after(change));
}

#[tokio::test]
async fn a_change_that_no_column_holds_is_an_error() {
    let (_, store) = fresh_store().await;
    let world = World::new(1);
    let state = device(&store, &world, "gateway-1").await;
    let mut change = look_again(&state, None, &world.context("anna"));
    let target = change.target.as_mut().expect("it changes the target");
    target.target.look_revision = u64::MAX;
    let failed = store.commit(&change).await;
    assert!(matches!(failed, Err(CommitError::Store(_))), "{failed:?}");
    assert_eq!(load(&store, &state).await, state);
}

#[tokio::test]
async fn texts_with_nul_come_back() {
    let (_, store) = fresh_store().await;
    let world = World::new(1);
    let state = device(&store, &world, "gateway-1").await;
    let change = world.add(&state, modbus_document("s-1", "10.0.0.5", 502));
    store.commit(&change).await.expect("nobody else changes it");
    let state = state.after(change);
    let mut agent = FakeAgent::of(&state);
    let failing: Vec<_> = state.rows.keys().copied().collect();
    agent.establish_but(&state, &failing, world.context("agent").now);
    let mut change = world
        .report(&state, agent.full_report())
        .expect("all is new");
    change.upserts[0].error = Some("got \0\0 and ␀".to_owned());
    change.upserts[0].audit.updated_by = Actor::named("an\0na");
    let reported = change.reported.as_mut().expect("a report");
    reported.failures[0].error = "got \0".to_owned();
    reported.agent_version = Some("1\0".to_owned());
    store.commit(&change).await.expect("nobody else changes it");
    assert_eq!(load(&store, &state).await, state.after(change));
}

#[tokio::test]
async fn two_that_take_each_others_names_end_somehow() {
    let (_, store) = fresh_store().await;
    let world = World::new(1);
    let (one, two) = (
        device(&store, &world, "one").await,
        device(&store, &world, "two").await,
    );
    let renamed = |state: &DeviceState, name: &str| {
        let mut change = Change::of(state);
        let mut record = state.record.clone();
        record.name = Name::new(name).expect("a name");
        change.record = Some(record);
        change
    };
    let (to_two, to_one) = (renamed(&one, "two"), renamed(&two, "one"));
    for result in <[_; 2]>::from(tokio::join!(store.commit(&to_two), store.commit(&to_one))) {
        let refused = matches!(
            &result,
            Err(CommitError::NameTaken(_) | CommitError::Conflict)
        );
        assert!(result.is_ok() || refused, "{result:?}");
    }
}

#[tokio::test]
async fn a_dump_restored_elsewhere_is_mended() {
    let (url, store) = fresh_store().await;
    let world = World::new(1);
    let mut state = device(&store, &world, "gateway-1").await;
    for name in ["s-1", "s-2"] {
        let change = world.add(&state, modbus_document(name, "10.0.0.5", 502));
        store.commit(&change).await.expect("nobody else changes it");
        state = state.after(change);
    }
    let all = |events: Vec<(Cursor, holdfast_domain::event::Event)>| -> Vec<u64> {
        events
            .into_iter()
            .map(|(_, event)| event.sequence)
            .collect()
    };
    let mut connection = direct(&url).await;
    run(
        &mut connection,
        "UPDATE events SET xact = (xact::text::bigint + 1000000000)::text::xid8",
    )
    .await;
    let refused = PostgresStore::connect(&PostgresOptions::new(&url))
        .await
        .expect_err("it was restored");
    assert!(matches!(refused, ConnectError::Restored), "{refused:?}");
    let old = Cursor("1000000731-1".to_owned());
    let read = store.read(&EventFilter::default(), Some(&old), 10).await;
    assert!(matches!(read, Err(ReadError::NoSuchCursor(_))), "{read:?}");

    migrate(&url).await.expect("it can be mended");
    let store = connect(&url).await;
    let change = look_again(&state, None, &world.context("anna"));
    store.commit(&change).await.expect("nobody else changes it");
    let page = store
        .read(&EventFilter::default(), None, 10)
        .await
        .expect("works");
    assert_eq!(
        all(page.events),
        (1..=state.last_event + 1).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn what_is_written_once_is_never_changed() {
    let (url, store) = fresh_store().await;
    let world = World::new(1);
    let state = device(&store, &world, "gateway-1").await;
    let change = world.add(&state, modbus_document("s-1", "10.0.0.5", 502));
    store.commit(&change).await.expect("nobody else changes it");
    let mut connection = direct(&url).await;
    for statement in [
        "UPDATE events SET actor = 'nobody'",
        "UPDATE device_target_state_history SET reason = NULL",
    ] {
        let refused = sqlx::raw_sql(statement).execute(&mut connection).await;
        let refused = refused.expect_err(statement).to_string();
        assert!(refused.contains("never changed"), "{refused}");
    }
}

#[tokio::test]
async fn other_databases_hold_no_events_back() {
    let (_, store) = fresh_store().await;
    let (elsewhere, _) = fresh_store().await;
    let mut connection = direct(&elsewhere).await;
    run(&mut connection, "BEGIN; SELECT pg_current_xact_id()").await;
    let world = World::new(1);
    device(&store, &world, "gateway-1").await;
    let page = store
        .read(&EventFilter::default(), None, 10)
        .await
        .expect("works");
    assert_eq!(page.events.len(), 1);
}

/// "Last seen" is written for every device every few seconds: its row must stay where it is, with no index touched.
#[tokio::test]
async fn touching_leaves_rows_in_place() {
    const TOUCHES: i64 = 300;
    let (url, store) = fresh_store().await;
    let world = World::new(1);
    let state = device(&store, &world, "gateway-1").await;
    let mut connection = direct(&url).await;
    // What was written until now is not counted.
    run(&mut connection, "VACUUM device_hot").await;
    for _ in 0..TOUCHES {
        let at = world.clock.advance(SignedDuration::from_millis(1));
        let seen = Seen {
            device: state.record.id,
            at,
            order: None,
        };
        assert_eq!(store.touch(&[seen]).await.expect("works"), []);
    }
    // The server's sessions hand in their counts when they end, at the latest.
    store.close().await;
    let mut updates = (0_i64, 0_i64);
    until("the updates are counted", async || {
        updates = sqlx::query_as(
            "SELECT n_tup_upd, n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'device_hot'",
        )
        .fetch_one(&mut connection)
        .await
        .expect("works");
        updates.0 > TOUCHES
    })
    .await;
    // A few find their page full for as long as the versions before them are not cleared away.
    assert!(
        updates.1 * 20 <= updates.0,
        "{} of {} updates were not in place",
        updates.1,
        updates.0
    );
}
