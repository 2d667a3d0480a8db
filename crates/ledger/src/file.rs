//! The file under the database. It outlives the databases that are opened on it one after the other, and with it lives
//! the lock: while one of them is closed after an error of the disk and the next one can't be opened yet, no other
//! process can take the file.
//!
//! When a database is closed and opened again is decided in `writer.rs`.

use std::{io, ops::Bound, sync::Arc};

use redb::{BackendError, StorageBackend};

/// A file that stays open and locked until the last clone of this is dropped.
#[derive(Debug, Clone)]
pub(crate) struct KeptFile(Arc<dyn StorageBackend>);

impl KeptFile {
    pub(crate) fn new(file: impl StorageBackend) -> Self {
        Self(Arc::new(file))
    }

    /// Has it no content at all?
    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        Ok(self.0.len()? == 0)
    }
}

impl StorageBackend for KeptFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    /// Keeps the locks: the next database on this file takes the same ones again, which the system grants to the same
    /// open file. They go when the file is closed.
    fn close(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}
