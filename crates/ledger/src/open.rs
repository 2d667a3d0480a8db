//! How the file comes into being and is checked.
//!
//! A new file is made beside its place and moved there whole: a crash in the middle of making it leaves no half file that
//! every later start would stumble over.

use std::{
    fs::{File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use redb::{Database, DatabaseError, ReadableDatabase, StorageError, backends::FileBackend};

use crate::{file::KeptFile, tables};

/// Memory for cached pages, in bytes. Documents are read once, at the start, and written whole.
const CACHE_BYTES: usize = 256 * 1024;

/// Only the owner may read it: it holds the agent's token.
const MODE: u32 = 0o600;

/// Why a ledger could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the ledger {} is in use by another process: expected to be its only user; stop the other agent, or give this one a data folder of its own", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{} is no ledger of an agent: found {found}; name another file, or move this one away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// It was a ledger once.
    #[error("the ledger {} is damaged ({found}): restore it, or move it away and register the agent again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// A later version of the agent wrote it.
    #[error("the ledger {} has format {found}, and this agent reads format {expected}: use a later version of the agent", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// What this code reads.
        expected: u64,
        /// What was found.
        found: u64,
    },
    /// The disk, or its rights.
    #[error("the ledger {} can't be opened", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn damaged(path: &Path, found: String) -> Self {
        Self::Damaged {
            path: path.to_path_buf(),
            found,
        }
    }

    fn disk(path: &Path, source: io::Error) -> Self {
        Self::Disk {
            path: path.to_path_buf(),
            source,
        }
    }

    fn of_database(path: &Path, error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                Self::InUse {
                    path: path.to_path_buf(),
                }
            }
            DatabaseError::Storage(StorageError::Io(error))
                if error.kind() == io::ErrorKind::InvalidData =>
            {
                Self::Foreign {
                    path: path.to_path_buf(),
                    found: "a file of another kind".to_owned(),
                }
            }
            DatabaseError::Storage(StorageError::Io(error)) => Self::disk(path, error),
            other => Self::damaged(path, other.to_string()),
        }
    }
}

/// Opens the file, made before if there is none. What is in it is not looked at.
pub(crate) fn file(path: &Path) -> Result<KeptFile, OpenError> {
    if !path
        .try_exists()
        .map_err(|error| OpenError::disk(path, error))?
    {
        create(path)?;
    }
    std::fs::set_permissions(path, Permissions::from_mode(MODE))
        .map_err(|error| OpenError::disk(path, error))?;
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(|error| OpenError::disk(path, error))?;
    let file = FileBackend::new(file).map_err(|error| OpenError::of_database(path, error))?;
    Ok(KeptFile::new(file))
}

/// Opens the database in the file, which stands at `path`, and checks that it is a whole ledger. Any number of times, one
/// after the other.
pub(crate) fn database(path: &Path, file: &KeptFile) -> Result<Database, OpenError> {
    // A database would be made in it.
    if file
        .is_empty()
        .map_err(|error| OpenError::disk(path, error))?
    {
        return Err(OpenError::Foreign {
            path: path.to_path_buf(),
            found: "an empty file".into(),
        });
    }
    let mut builder = Database::builder();
    let opened = builder
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .create_with_backend(file.clone());
    let database = opened.map_err(|error| OpenError::of_database(path, error))?;
    let unreadable = |error: redb::Error| OpenError::damaged(path, error.to_string());
    let transaction = database
        .begin_read()
        .map_err(|error| unreadable(error.into()))?;
    match tables::format(&transaction).map_err(unreadable)? {
        Some(tables::FORMAT) => Ok(database),
        Some(found) => Err(OpenError::Newer {
            path: path.to_path_buf(),
            expected: tables::FORMAT,
            found,
        }),
        None => Err(OpenError::Foreign {
            path: path.to_path_buf(),
            found: "a database of another program".into(),
        }),
    }
}

/// Makes an empty ledger beside `path` and links it there; whoever links first wins.
fn create(path: &Path) -> Result<(), OpenError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".new.{}", std::process::id()));
    let aside = PathBuf::from(aside);
    let made = create_aside(&aside)
        .and_then(|()| link(&aside, path).map_err(|error| OpenError::disk(path, error)));
    let _ = std::fs::remove_file(&aside);
    made
}

fn create_aside(aside: &Path) -> Result<(), OpenError> {
    let disk = |error: io::Error| OpenError::disk(aside, error);
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(MODE)
        .open(aside)
        .map_err(disk)?;
    let damaged = |error: redb::Error| OpenError::damaged(aside, error.to_string());
    let database = Database::builder()
        .create(aside)
        .map_err(|error| OpenError::of_database(aside, error))?;
    let transaction = database
        .begin_write()
        .map_err(|error| damaged(error.into()))?;
    tables::create(&transaction).map_err(damaged)?;
    transaction
        .commit()
        .map_err(|error| damaged(error.into()))?;
    drop(database);
    File::open(aside)
        .and_then(|file| file.sync_all())
        .map_err(disk)
}

fn link(aside: &Path, path: &Path) -> io::Result<()> {
    match std::fs::hard_link(aside, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
