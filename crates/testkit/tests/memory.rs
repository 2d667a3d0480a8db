//! The store in memory keeps the contract of the hub's stores.

use std::sync::Arc;

use holdfast_testkit::{
    contract::store::{Fixture, Store},
    memory::MemoryStore,
};

struct InMemory(MemoryStore);

impl Fixture for InMemory {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    fn other(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }
}

async fn open() -> InMemory {
    InMemory(MemoryStore::new())
}

holdfast_testkit::store_contract!(open);
