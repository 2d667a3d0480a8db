//! `cargo xtask sqlx`: the offline data of the stores' compile-time checked queries, from real databases and without
//! sqlx-cli. Migrates an empty database, compiles the store against it into an empty folder, and makes that folder the
//! store's `.sqlx`, so that stale files go too. With `--check` it only compares.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};

use crate::postgres::TestCluster;
use crate::shell;

/// The stores, by folder under `crates/` and by folder under `migrations/`.
const STORES: [(&str, &str); 2] = [("store-postgres", "postgres"), ("store-sqlite", "sqlite")];

/// Runs a file of statements on a SQLite database; Python has SQLite built in, and the tests need Python anyway.
const SQLITE_SCRIPT: &str = "import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    for path in sys.argv[2:]:
        database.executescript(open(path, encoding='utf-8').read())";

/// Prepares, or with `check` compares, the data of every store.
pub(crate) fn run(check: bool) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    for (store, kind) in STORES {
        let migrations = migrations(kind)?;
        let prepared = scratch.path().join(kind);
        fs::create_dir(&prepared)?;
        // Lives until the store is compiled.
        let cluster;
        let url = if kind == "postgres" {
            cluster = TestCluster::start()?;
            migrated_postgres(&cluster, &migrations)?
        } else {
            migrated_sqlite(&scratch.path().join("store.db"), &migrations)?
        };
        prepare(store, &url, &prepared)?;
        keep(store, &prepared, check)?;
    }
    Ok(())
}

/// The migrations of one kind, in order; those that undo are left out.
fn migrations(kind: &str) -> Result<Vec<PathBuf>> {
    let folder = shell::root().join("migrations").join(kind);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .with_context(|| format!("cannot read the migrations in {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|path| {
        let name = path.to_string_lossy();
        name.ends_with(".sql") && !name.ends_with(".down.sql")
    });
    files.sort();
    ensure!(
        !files.is_empty(),
        "there are no migrations in {}",
        folder.display()
    );
    Ok(files)
}

fn migrated_postgres(cluster: &TestCluster, migrations: &[PathBuf]) -> Result<String> {
    let url = cluster.fresh_database()?;
    let database = url.rsplit('/').next().expect("a database's URL has a path");
    for path in migrations {
        let path = path.to_string_lossy();
        cluster
            .psql(database, &["--single-transaction", "-f", &*path])
            .with_context(|| path.clone().into_owned())?;
    }
    Ok(url)
}

fn migrated_sqlite(database: &Path, migrations: &[PathBuf]) -> Result<String> {
    shell::run(
        shell::command("python3")
            .args(["-c", SQLITE_SCRIPT])
            .arg(database)
            .args(migrations),
    )?;
    Ok(format!("sqlite://{}", database.display()))
}

/// Compiles a store against a database, with sqlx writing what it learned into `into`.
fn prepare(store: &str, url: &str, into: &Path) -> Result<()> {
    let folder = shell::root().join("crates").join(store);
    let variable = url_variable(&folder)?;
    // sqlx writes while its macros run, and cargo runs them only for what has changed. Afterwards the sources are as
    // old as before, so that no other build sees a change.
    let sources = sources(&folder)?;
    let now = SystemTime::now();
    for (path, _) in &sources {
        set_modified(path, now)?;
    }
    let outcome = shell::run(
        shell::cargo([
            "check",
            "--package",
            &format!("holdfast-{store}"),
            "--all-targets",
        ])
        .env(variable, url)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", into),
    );
    for (path, modified) in &sources {
        set_modified(path, *modified)?;
    }
    outcome
}

/// All Rust files under a folder, with when they were last changed.
fn sources(folder: &Path) -> Result<Vec<(PathBuf, SystemTime)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let modified = path.metadata()?.modified()?;
            found.push((path, modified));
        }
    }
    Ok(found)
}

fn set_modified(path: &Path, to: SystemTime) -> Result<()> {
    let file = File::options().append(true).open(path)?;
    file.set_modified(to)
        .with_context(|| format!("cannot set the time of {}", path.display()))
}

/// The environment variable in which a store's `sqlx.toml` expects its database.
fn url_variable(folder: &Path) -> Result<String> {
    let path = folder.join("sqlx.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim() == "database-url-var")
        .map(|(_, value)| value.trim().trim_matches('"').to_owned())
        .with_context(|| format!("{} has no `database-url-var`", path.display()))
}

/// Makes a store's `.sqlx` what was prepared, or fails where it is not.
fn keep(store: &str, prepared: &Path, check: bool) -> Result<()> {
    let folder = shell::root().join("crates").join(store).join(".sqlx");
    let (kept, prepared) = (contents(&folder)?, contents(prepared)?);
    if kept == prepared {
        println!("crates/{store}/.sqlx: {} queries, up to date", kept.len());
        return Ok(());
    }
    if check {
        bail!(
            "crates/{store}/.sqlx does not fit the queries or the migrations: run `cargo xtask sqlx` and commit it"
        );
    }
    fs::create_dir_all(&folder)?;
    for name in kept.keys().filter(|name| !prepared.contains_key(*name)) {
        fs::remove_file(folder.join(name))?;
    }
    for (name, text) in &prepared {
        fs::write(folder.join(name), text)?;
    }
    println!("crates/{store}/.sqlx: {} queries written", prepared.len());
    Ok(())
}

/// The files of a folder by name; none if it is not there.
fn contents(folder: &Path) -> Result<BTreeMap<String, String>> {
    if !folder.exists() {
        return Ok(BTreeMap::new());
    }
    fs::read_dir(folder)?
        .map(|entry| {
            let entry = entry?;
            Ok((
                entry.file_name().to_string_lossy().into_owned(),
                fs::read_to_string(entry.path())?,
            ))
        })
        .collect()
}
