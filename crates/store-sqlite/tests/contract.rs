//! The store on SQLite keeps the contract of the hub's stores.

use std::sync::Arc;

use holdfast_store_sqlite::{SqliteStore, migrate};
use holdfast_testkit::contract::store::{Fixture, Store};

struct InFile {
    first: Arc<SqliteStore>,
    second: Arc<SqliteStore>,
    _folder: tempfile::TempDir,
}

impl Fixture for InFile {
    fn store(&self) -> Arc<dyn Store> {
        self.first.clone()
    }

    fn other(&self) -> Arc<dyn Store> {
        self.second.clone()
    }

    fn wakes_others(&self) -> bool {
        false
    }
}

/// Two stores over one file: more than the store is meant for, so that nothing rests on there being one.
async fn open() -> InFile {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("holdfast.db");
    migrate(&path).await.expect("a new file can be migrated");
    let first = Arc::new(SqliteStore::open(&path).await.expect("it was migrated"));
    let second = Arc::new(SqliteStore::open(&path).await.expect("it was migrated"));
    InFile {
        first,
        second,
        _folder: folder,
    }
}

holdfast_testkit::store_contract!(open);
