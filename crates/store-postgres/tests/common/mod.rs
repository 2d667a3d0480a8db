//! Stores over fresh databases.

use holdfast_store_postgres::{PostgresOptions, PostgresStore, migrate};
use holdfast_testkit::postgres::fresh_database;

/// A store over an empty, migrated database of its own, and where that is.
pub(crate) async fn fresh_store() -> (String, PostgresStore) {
    let url = fresh_database();
    migrate(&url)
        .await
        .expect("an empty database can be migrated");
    let store = connect(&url).await;
    (url, store)
}

/// Another store over the database at `url`: what another process has.
pub(crate) async fn connect(url: &str) -> PostgresStore {
    let mut options = PostgresOptions::new(url);
    options.connections = 5;
    PostgresStore::connect(&options)
        .await
        .expect("the database was migrated")
}
