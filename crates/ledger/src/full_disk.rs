//! The ledger on a disk that fails for a while.

use std::{
    fs::OpenOptions,
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use holdfast_ports::ledger::Ledger as _;
use redb::{BackendError, StorageBackend, backends::FileBackend};

use crate::{OpenError, RedbLedger, file::KeptFile};

#[path = "../tests/support/contract.rs"]
mod contract;

const WORKS: u8 = 0;
const IS_FULL: u8 = 1;
const LOSES: u8 = 2;

/// What the disk does now.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<AtomicU8>);

impl Disk {
    fn now(&self, how: u8) {
        self.0.store(how, Ordering::SeqCst);
    }

    fn unless(&self, how: u8) -> io::Result<()> {
        if self.0.load(Ordering::SeqCst) == how {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

#[derive(Debug)]
struct OnDisk {
    file: FileBackend,
    disk: Disk,
}

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.unless(IS_FULL)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.unless(LOSES)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.unless(IS_FULL)?;
        self.file.write(offset, data)
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.redb");
    (folder, path)
}

async fn open(path: &Path, disk: &Disk) -> RedbLedger {
    let exists = RedbLedger::open(path).await.expect("a ledger");
    drop(exists);
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = FileBackend::new(file.expect("a file")).expect("a backend");
    let disk = disk.clone();
    let opened = RedbLedger::open_on(path.to_path_buf(), move || {
        Ok(KeptFile::new(OnDisk { file, disk }))
    });
    opened.await.expect("a ledger")
}

#[tokio::test]
async fn it_goes_on_once_the_disk_does() {
    for failing in [IS_FULL, LOSES] {
        let (_folder, path) = folder();
        let disk = Disk::default();
        let ledger = open(&path, &disk).await;
        let identity = contract::identity(1, 1);
        ledger.set_identity(&identity).await.expect("an identity");
        let mut version = 1;
        ledger.hold(&contract::target(1)).await.expect("a target");
        for round in 0..5 {
            disk.now(failing);
            for _ in 0..3 {
                let failed = ledger.hold(&contract::target(version + 1)).await;
                let failed = failed.expect_err("the disk does not work");
                let why = std::error::Error::source(&failed).expect("why");
                assert!(why.to_string().contains("no storage space"), "{why}");
            }
            let other = RedbLedger::open(&path).await.expect_err("it is in use");
            assert!(matches!(other, OpenError::InUse { .. }), "{other:?}");
            disk.now(WORKS);
            let held = ledger.begin_boot().await.expect("the disk works again");
            assert_eq!(held.identity, Some(identity.clone()));
            let held = held.target.expect("it was acknowledged");
            // A write that failed may be there, but whole.
            assert!(held.version == version || failing == LOSES && held.version == version + 1);
            assert_eq!(held, contract::target(held.version));
            version += 1;
            let target = contract::target(version);
            ledger.hold(&target).await.expect("the disk works again");
            let held = ledger.look().await.expect("it can be read");
            assert_eq!(held.target, Some(target), "round {round}");
        }
        drop(ledger);
        let again = RedbLedger::open(&path).await.expect("nobody else has it");
        let held = again.look().await.expect("it can be read");
        assert_eq!(held.target, Some(contract::target(version)));
    }
}

#[tokio::test]
async fn it_keeps_the_contract_after_trouble() {
    let (_folder, path) = folder();
    contract::all(|| async {
        let disk = Disk::default();
        let ledger = open(&path, &disk).await;
        disk.now(IS_FULL);
        let _ = ledger.look().await.expect_err("the disk is full");
        disk.now(WORKS);
        ledger
    })
    .await;
}
