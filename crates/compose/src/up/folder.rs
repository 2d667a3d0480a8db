//! The data folder of `up`: readable by its owner only, and used by one process at a time.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// A data folder that this process holds.
pub(super) struct Folder {
    root: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens the folder, made if need be.
    pub(super) fn open(root: &Path) -> anyhow::Result<Self> {
        let say = || format!("using the data folder {}", root.display());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .with_context(say)?;
        let lock = private().open(root.join("lock")).with_context(say)?;
        if lock.try_lock().is_err() {
            bail!(
                "the data folder {} is in use by another process: end that first, or use another with --data",
                root.display()
            );
        }
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn database(&self) -> PathBuf {
        self.root.join(crate::stores::SQLITE_FILE)
    }

    pub(super) fn agent(&self) -> PathBuf {
        self.root.join("agent")
    }

    pub(super) fn demo(&self) -> PathBuf {
        self.root.join("demo.json")
    }

    /// What is configured of `up`; `None`: nothing.
    pub(super) fn config(&self) -> Option<PathBuf> {
        Some(self.root.join("up.toml")).filter(|path| path.exists())
    }

    pub(super) fn token(&self) -> PathBuf {
        self.root.join("operator-token")
    }

    pub(super) fn read_token(&self) -> anyhow::Result<Option<String>> {
        match fs::read_to_string(self.token()) {
            Ok(token) => Ok(Some(token.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", self.token().display())),
        }
    }

    pub(super) fn write_token(&self, token: &str) -> anyhow::Result<()> {
        let say = || format!("writing {}", self.token().display());
        let mut file = private()
            .truncate(true)
            .open(self.token())
            .with_context(say)?;
        writeln!(file, "{token}").with_context(say)?;
        file.sync_all().with_context(say)
    }
}

/// Files that only their owner may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}
