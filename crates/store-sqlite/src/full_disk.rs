//! The store where there is no room for a while.

use std::path::Path;

use holdfast_ports::{fleet::FleetStore, store::DeviceStore};
use holdfast_testkit::{
    builders::modbus_document,
    stored::{device, load},
    world::World,
};
use jiff::Timestamp;

use crate::{SqliteStore, migrate};

/// The most pages that the file may have, for as long as the writing connection lasts.
async fn limit(store: &SqliteStore, pages: i64) {
    let mut writer = store.writer.acquire().await.expect("a connection");
    let limit = format!("PRAGMA max_page_count = {pages}");
    sqlx::query(sqlx::AssertSqlSafe(limit))
        .execute(&mut *writer)
        .await
        .expect("works");
}

async fn pages(store: &SqliteStore) -> i64 {
    let pages = sqlx::query_scalar("PRAGMA page_count").fetch_one(&store.readers);
    pages.await.expect("works")
}

async fn opened(path: &Path) -> SqliteStore {
    migrate(path).await.expect("it can be migrated");
    SqliteStore::open(path).await.expect("it was migrated")
}

#[tokio::test]
async fn writes_work_again_once_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = opened(&folder.path().join("holdfast.db")).await;
    let world = World::new(1);
    let mut state = device(&store, &world, "gateway-1").await;
    let mut refused = 0;
    for number in 0..60 {
        let name = format!("s-{number}");
        let change = world.add(&state, modbus_document(&name, "10.0.0.5", 502));
        limit(&store, pages(&store).await).await;
        let committed = store.commit(&change).await;
        if let Err(error) = committed {
            let error = format!("{error:?}");
            assert!(error.contains("full"), "{error}");
            refused += 1;
            assert_eq!(load(&store, &state).await, state, "nothing of it is there");
            limit(&store, 1_000_000).await;
            store.beat(Timestamp::now()).await.expect("there is room");
            store.commit(&change).await.expect("there is room");
        }
        state = state.after(change);
        assert_eq!(load(&store, &state).await, state);
    }
    assert!(refused > 5, "{refused} times there was no room");
}
