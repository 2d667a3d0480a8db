//! What the command line asks of a store or of all roles at once, outside of any async runtime.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use holdfast_ports::tokens::Role;

use crate::{
    api,
    stores::{self, StoreConfig},
};

/// The data folder where none is named.
pub const DATA: &str = "holdfast-data";

/// Where the hub listens where nothing is said.
#[must_use]
pub fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 3002))
}

/// The data folder that is named, or the usual one; the demo has its own.
#[must_use]
pub fn data_folder(named: Option<PathBuf>, demo: bool) -> PathBuf {
    named.unwrap_or_else(|| {
        if demo {
            Path::new(DATA).join("demo")
        } else {
            PathBuf::from(DATA)
        }
    })
}

/// Brings a store's schema up to date; gives what was done, in words.
///
/// # Errors
/// If the store can't be used.
pub fn migrate(store: Option<String>, data: Option<PathBuf>) -> anyhow::Result<String> {
    let store = named(store, data);
    Ok(migrated(block_on(stores::migrate(&store))?))
}

fn migrated(migrations: usize) -> String {
    match migrations {
        0 => "nothing to do: the store's schema was current".to_owned(),
        1 => "1 migration applied: the store's schema is current".to_owned(),
        more => format!("{more} migrations applied: the store's schema is current"),
    }
}

/// Makes an operator's token on the store itself; gives its secret.
///
/// # Errors
/// If the store can't be used.
pub fn bootstrap_token(
    store: Option<String>,
    data: Option<PathBuf>,
    name: &str,
    role: Role,
) -> anyhow::Result<String> {
    let store = named(store, data);
    block_on(api::bootstrap_token(&store, name, role))
}

fn named(store: Option<String>, data: Option<PathBuf>) -> StoreConfig {
    stores::named(store, &data_folder(data, false))
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_says_what_it_did() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = || {
            Some(format!(
                "sqlite:{}",
                folder.path().join("hub.sqlite").display()
            ))
        };
        let first = migrate(store(), None).expect("an empty store can be migrated");
        assert!(
            first.ends_with("applied: the store's schema is current"),
            "{first}"
        );
        assert_eq!(
            migrate(store(), None).expect("once more does nothing"),
            "nothing to do: the store's schema was current"
        );
        assert_eq!(
            migrated(1),
            "1 migration applied: the store's schema is current"
        );
        assert_eq!(
            migrated(3),
            "3 migrations applied: the store's schema is current"
        );
    }
}
