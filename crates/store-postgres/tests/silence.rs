//! A server, or a way to it, that stands still without breaking anything off: no call waits for ever, what was given up is
//! not used again, and ending is quick.

mod common;

use std::{
    error::Error as _,
    sync::Arc,
    time::{Duration, Instant},
};

use common::fresh_store;
use holdfast_domain::{
    edit::look_again,
    event::EventKind,
    state::{Change, DeviceState},
};
use holdfast_ports::store::{CommitError, DeviceStore};
use holdfast_store_postgres::{ConnectError, PostgresOptions, PostgresStore};
use holdfast_testkit::{
    stored::{device, load},
    world::World,
};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

/// Longer than anything here takes, so that what never comes is a failure and no hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// The bound that these stores have.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// By which what is bounded must be over, on a machine that has other things to do.
const BY_THEN: Duration = Duration::from_secs(10);

/// A way to the server that falls silent: connections with a number below `silent` carry nothing any more, and stay open.
struct Way {
    url: String,
    silent: watch::Sender<usize>,
    opened: watch::Receiver<usize>,
}

impl Way {
    async fn to(url: &str) -> Self {
        let (before, rest) = url.rsplit_once('@').expect("a test's URL has a user");
        let (server, path) = rest.split_once('/').expect("a test's URL has a database");
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (silent, gate) = watch::channel(0);
        let (opening, opened) = watch::channel(0);
        let server = server.to_owned();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = *opening.borrow();
                opening.send_replace(number + 1);
                let server = TcpStream::connect(&server)
                    .await
                    .expect("the server is there");
                let (client_in, client_out) = client.into_split();
                let (server_in, server_out) = server.into_split();
                tokio::spawn(relay(client_in, server_out, number, gate.clone()));
                tokio::spawn(relay(server_in, client_out, number, gate.clone()));
            }
        });
        Self {
            url: format!("{before}@{address}/{path}"),
            silent,
            opened,
        }
    }

    /// The connections that there are carry nothing from here on; new ones do.
    fn silence_those_open(&self) {
        self.silent.send_replace(*self.opened.borrow());
    }

    fn silence_all(&self) {
        self.silent.send_replace(usize::MAX);
    }

    async fn store(&self) -> PostgresStore {
        let options = PostgresOptions {
            // So that what comes first has the connection that all later ones want.
            connections: 1,
            answer_timeout: ANSWER_TIMEOUT,
            ..PostgresOptions::new(&self.url)
        };
        PostgresStore::connect(&options)
            .await
            .expect("the database was migrated")
    }
}

async fn relay(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    number: usize,
    gate: watch::Receiver<usize>,
) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if number < *gate.borrow() {
            // Takes what comes, as a dead path does.
            continue;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// What a report may come to: it goes by the lane of batches.
fn note(world: &World, state: &DeviceState) -> Change {
    let mut change = Change::of(state);
    let context = world.context("agent");
    change.event(state, &context, EventKind::DeviceUpdated, None, json!({}));
    change
}

/// Holds the row of every device until it is dropped.
async fn holder(url: &str) -> PgConnection {
    let mut connection = PgConnection::connect(url)
        .await
        .expect("the server is there");
    sqlx::raw_sql("BEGIN; SELECT FROM device_hot FOR UPDATE")
        .execute(&mut connection)
        .await
        .expect("works");
    connection
}

/// Until a statement waits for what a [`holder`] holds.
async fn until_one_waits(url: &str) {
    let mut watching = PgConnection::connect(url)
        .await
        .expect("the server is there");
    let waits = async {
        loop {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
            )
            .fetch_one(&mut watching)
            .await
            .expect("works");
            if waiting > 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waits).await.expect("it waits");
}

fn chain(error: &CommitError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_fails_within_its_bound_and_later_calls_go_over_new_connections() {
    let (url, _) = fresh_store().await;
    let way = Way::to(&url).await;
    let store = Arc::new(way.store().await);
    let world = World::new(1);
    let state = device(&*store, &world, "gateway-1").await;

    let holder = holder(&url).await;
    let began = Instant::now();
    let change = look_again(&state, None, &world.context("anna"));
    let committing = {
        let (store, change) = (store.clone(), change.clone());
        tokio::spawn(async move { store.commit(&change).await })
    };
    until_one_waits(&url).await;
    way.silence_those_open();
    let failed = timeout(PATIENCE, committing)
        .await
        .expect("it is bounded")
        .expect("it does not panic");
    let failed = failed.expect_err("no answer came");
    assert!(began.elapsed() < BY_THEN, "{:?}", began.elapsed());
    assert!(
        chain(&failed).contains("expected an answer of the database within 2s, got none"),
        "{}",
        chain(&failed)
    );

    // There is one connection, and it was given up.
    drop(holder);
    let began = Instant::now();
    let now = load(&*store, &state).await;
    let change = look_again(&now, None, &world.context("anna"));
    // That the server did the first one all the same may be seen only now.
    let again = store.commit(&change).await;
    assert!(
        matches!(again, Ok(()) | Err(CommitError::Conflict)),
        "{again:?}"
    );
    assert!(began.elapsed() < BY_THEN, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lane_goes_on_with_the_next_batch() {
    let (url, _) = fresh_store().await;
    let way = Way::to(&url).await;
    let store = way.store().await;
    let world = World::new(1);
    let state = device(&store, &world, "gateway-1").await;
    let first = note(&world, &state);
    store.commit(&first).await.expect("the lane is open");
    let state = load(&store, &state).await;

    way.silence_those_open();
    let change = note(&world, &state);
    let began = Instant::now();
    // If the silence was noticed before, it went over another connection at once.
    let lost = timeout(PATIENCE, store.commit(&change))
        .await
        .expect("it is bounded");
    assert!(
        matches!(lost, Ok(()) | Err(CommitError::Store(_))),
        "{lost:?}"
    );
    assert!(began.elapsed() < BY_THEN, "{:?}", began.elapsed());

    let began = Instant::now();
    // The store's one connection may have to be found dead too.
    let found = timeout(PATIENCE, async {
        loop {
            if let Ok(found) = store.load(state.record.id).await {
                return found.expect("it exists");
            }
        }
    });
    let found = found.await.expect("it is bounded");
    store
        .commit(&note(&world, &found))
        .await
        .expect("the lane has another connection");
    assert!(began.elapsed() < BY_THEN, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ending_is_quick_although_nothing_is_answered() {
    let (url, _) = fresh_store().await;
    let way = Way::to(&url).await;
    let store = Arc::new(way.store().await);
    let world = World::new(1);
    let state = device(&*store, &world, "gateway-1").await;
    let _holder = holder(&url).await;
    let change = look_again(&state, None, &world.context("anna"));
    let committing = {
        let store = store.clone();
        tokio::spawn(async move { store.commit(&change).await })
    };
    until_one_waits(&url).await;
    way.silence_all();
    let began = Instant::now();
    timeout(PATIENCE, store.close())
        .await
        .expect("it is bounded");
    assert!(began.elapsed() < BY_THEN, "{:?}", began.elapsed());
    let failed = timeout(PATIENCE, committing).await.expect("it is bounded");
    assert!(failed.expect("it does not panic").is_err());
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let mute = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let address = mute.local_addr().expect("it is bound");
    let options = PostgresOptions {
        answer_timeout: Duration::from_millis(200),
        ..PostgresOptions::new(format!("postgres://me:secret@{address}/x"))
    };
    let refused = timeout(PATIENCE, PostgresStore::connect(&options))
        .await
        .expect("it is bounded")
        .expect_err("nobody answers");
    assert!(
        matches!(refused, ConnectError::Unreachable { .. }),
        "{refused:?}"
    );
    let why = refused.source().expect("it says why").to_string();
    assert!(why.contains("within 200ms"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_no_connection_is_free_is_said_with_what_can_be_done() {
    let (url, _) = fresh_store().await;
    let options = PostgresOptions {
        connections: 1,
        acquire_timeout: Duration::from_millis(200),
        ..PostgresOptions::new(&url)
    };
    let store = PostgresStore::connect(&options)
        .await
        .expect("the database was migrated");
    let world = World::new(1);
    let state = device(&store, &world, "gateway-1").await;
    let holder = holder(&url).await;
    let store = Arc::new(store);
    let (slow, id, revision) = (store.clone(), state.record.id, state.revision);
    let slow = tokio::spawn(async move { slow.delete(id, revision, &[]).await });
    until_one_waits(&url).await;
    let refused = store
        .load(id)
        .await
        .expect_err("the one connection is in use");
    let told = chain(&CommitError::Store(refused));
    assert!(
        told.contains("expected one of 1 connections to the database to be free within 200ms")
            && told.contains("store.max_connections"),
        "{told}"
    );
    drop(holder);
    slow.await.expect("no panic").expect("it goes on");
}
