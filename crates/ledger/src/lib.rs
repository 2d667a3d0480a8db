//! The agent's disk: one redb file that holds who the agent is, the target it holds, the version it worked through and
//! what was ever established.
//!
//! [`RedbLedger`] implements the [`Ledger`] port. A thread of its own owns the database: it takes every write that waits
//! and commits them together, so that a thousand notes made at once cost a few commits, not a thousand. What is inside
//! the file is in `tables.rs`, how the file comes into being and is checked in `open.rs`. An error of the disk, a full one
//! say, fails the writes that it hits and no later one: the thread opens the database anew (`writer.rs`).
//!
//! Who reads and writes the ledger when is not decided here but by the agent's loop.

mod file;
#[cfg(test)]
mod full_disk;
mod open;
mod tables;
mod who;
mod writer;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use holdfast_domain::{
    CommandId, Fingerprint, PointId, SensorId, TargetState,
    document::command::CommandReport,
    hold::{Account, LoopMemory},
};
use holdfast_ports::{
    StoreError,
    ledger::{Held, Identity, Ledger, TurnedAway},
    tokens::SecretHash,
};

use file::KeptFile;
pub use open::OpenError;
use tables::Write;
use writer::Writer;

/// A ledger in one file.
#[derive(Debug)]
pub struct RedbLedger {
    path: PathBuf,
    writer: Writer,
}

impl RedbLedger {
    /// Opens the ledger at `path`; makes it, readable by its owner alone (it holds the agent's token), where there is none.
    /// The folder must exist.
    ///
    /// # Errors
    /// The file is in use by another process, is no ledger or a damaged one, or can't be reached. Nothing of an existing
    /// file was changed then.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref().to_path_buf();
        let place = path.clone();
        Self::open_on(path, move || open::file(&place)).await
    }

    async fn open_on(
        path: PathBuf,
        file: impl FnOnce() -> Result<KeptFile, OpenError> + Send + 'static,
    ) -> Result<Self, OpenError> {
        let place = path.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let file = file()?;
            let database = open::database(&place, &file)?;
            Ok(Writer::start(database, move || {
                open::database(&place, &file)
            }))
        });
        // A damaged file can make the database panic; that must not take the agent down without a word.
        let opened = opened.await;
        let writer =
            opened.unwrap_or_else(|panic| Err(OpenError::damaged(&path, panic.to_string())))?;
        Ok(Self { path, writer })
    }

    /// All that is held. Counts no boot.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn look(&self) -> Result<Held, StoreError> {
        let raw = self.write("looking at what is kept", Write::Look).await?;
        self.read(raw)
    }

    /// A registration with `key` begins: keeps `token` for it, durably, before anybody is asked; gives the token that was
    /// kept before if this key's registration was begun and not ended, so that asking again is the same request. It ends
    /// with [`set_identity`](Ledger::set_identity) of that token. One key at a time: another key's token is forgotten.
    ///
    /// # Errors
    /// It can't be written.
    pub async fn registering(&self, key: SecretHash, token: String) -> Result<String, StoreError> {
        const DOING: &str = "keeping the token of a registration";
        let raw = self.write(DOING, Write::Registering { key, token }).await?;
        Ok(raw.registering.expect("the write gives it"))
    }

    fn read(&self, raw: tables::Raw) -> Result<Held, StoreError> {
        let doing = || format!("reading the ledger {}", self.path.display());
        tables::read(raw).map_err(|problem| StoreError::new(doing(), problem))
    }

    async fn write(&self, doing: &str, write: Write) -> Result<tables::Raw, StoreError> {
        let failed = |source: String| {
            StoreError::new(
                format!("{doing} in the ledger {}", self.path.display()),
                source,
            )
        };
        self.writer.write(write).await.map_err(failed)
    }
}

#[async_trait]
impl Ledger for RedbLedger {
    async fn begin_boot(&self) -> Result<Held, StoreError> {
        const DOING: &str = "counting a boot";
        let raw = self.write(DOING, Write::BeginBoot).await?;
        self.read(raw)
    }

    async fn set_identity(&self, identity: &Identity) -> Result<(), StoreError> {
        self.write(
            "keeping the agent's identity",
            Write::Identity(identity.clone()),
        )
        .await
        .map(drop)
    }

    async fn turned_away(&self, how: Option<TurnedAway>) -> Result<(), StoreError> {
        self.write("noting what the hub says of us", Write::TurnedAway(how))
            .await
            .map(drop)
    }

    async fn hold(&self, target: &TargetState) -> Result<(), StoreError> {
        let doing = format!("keeping target version {}", target.version);
        self.write(&doing, Write::Hold(target.clone()))
            .await
            .map(drop)
    }

    async fn worked_through(&self, version: u64) -> Result<(), StoreError> {
        self.write(
            "noting the version worked through",
            Write::WorkedThrough(version),
        )
        .await
        .map(drop)
    }

    async fn established(
        &self,
        sensor: SensorId,
        fingerprint: Fingerprint,
    ) -> Result<(), StoreError> {
        self.write(
            "noting what is established",
            Write::Established(sensor, fingerprint),
        )
        .await
        .map(drop)
    }

    async fn book_writes(&self, point: PointId, booked: &Account) -> Result<(), StoreError> {
        self.write("booking writes", Write::BookWrites(point, booked.clone()))
            .await
            .map(drop)
    }

    async fn remember(&self, memory: &LoopMemory) -> Result<(), StoreError> {
        let memory = Box::new(memory.clone());
        self.write("keeping what the value loop knows", Write::Remember(memory))
            .await
            .map(drop)
    }

    async fn begin_command(&self, id: CommandId) -> Result<(), StoreError> {
        self.write("noting that a command is begun", Write::BeginCommand(id))
            .await
            .map(drop)
    }

    async fn end_command(&self, report: &CommandReport) -> Result<(), StoreError> {
        self.write(
            "noting what became of a command",
            Write::EndCommand(report.clone()),
        )
        .await
        .map(drop)
    }

    async fn keep_established(&self, keep: &[SensorId]) -> Result<(), StoreError> {
        let keep = keep.iter().copied().collect();
        self.write("forgetting what is gone", Write::KeepEstablished(keep))
            .await
            .map(drop)
    }
}
