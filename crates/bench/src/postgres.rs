//! What PostgreSQL can do at all, asked through its own programs, and its processes.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cluster::TestCluster,
    process::{children, cpu},
};

/// One-row upserts of a document of 2 kB, by pgbench, each client with rows of its own.
#[derive(Debug)]
pub struct Upserts {
    url: String,
    script: tempfile::NamedTempFile,
    document: String,
    clients: usize,
}

impl Upserts {
    /// Prepares a database for `clients` clients and `rows` rows in all.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn prepare(cluster: &TestCluster, clients: usize, rows: usize) -> Result<Self> {
        let url = cluster.fresh_database()?;
        let database = url.rsplit('/').next().context("a URL without a database")?;
        let table = "CREATE TABLE bench (id integer PRIMARY KEY, document jsonb)";
        cluster.psql(database, &["-c", table])?;
        let mut script = tempfile::NamedTempFile::new()?;
        // Varied enough that it does not compress to nothing.
        let members: Vec<String> = (0..55)
            .map(|n| format!(r#""key-{n}": "value-{:016x}""#, n * 0x9E37_79B9_u64 * 7919))
            .collect();
        let document = format!("{{{}}}", members.join(", "));
        let last = rows / clients - 1;
        write!(
            script,
            "\\set id :client_id * {} + random(0, {last})\nINSERT INTO bench VALUES (:id, :document) \
             ON CONFLICT (id) DO UPDATE SET document = excluded.document;\n",
            last + 1,
        )?;
        script.flush()?;
        Ok(Self {
            url,
            script,
            document,
            clients,
        })
    }

    /// Transactions a second.
    ///
    /// # Errors
    /// If pgbench is missing or fails.
    pub fn run(&self, lasting: Duration) -> Result<f64> {
        let output = Command::new(program("pgbench")?)
            .args([
                "-n",
                "-M",
                "prepared",
                "-j",
                "2",
                "-c",
                &self.clients.to_string(),
            ])
            .args(["-T", &lasting.as_secs().max(1).to_string(), "-f"])
            .arg(self.script.path())
            // A parameter: it goes to the server with each transaction, as from any client.
            .arg(format!("--define=document={}", self.document))
            .arg(&self.url)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let rate = text
            .lines()
            .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.with_context(|| format!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// How often a second the disk under the cluster takes 8 kB for good (`fdatasync`), by `pg_test_fsync`.
///
/// # Errors
/// If it is missing or says something else.
pub fn fdatasyncs(cluster: &TestCluster) -> Result<f64> {
    let folder = data_folder(cluster)?;
    let file = tempfile::NamedTempFile::new_in(folder.parent().unwrap_or(&folder))?;
    let mut test = Command::new(program("pg_test_fsync")?)
        .args(["-s", "1", "-f"])
        .arg(file.path())
        .stdout(Stdio::piped())
        .spawn()?;
    let out = test.stdout.take().context("asked for as a pipe")?;
    let found = BufReader::new(out)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| {
            let rest = line.trim().strip_prefix("fdatasync")?;
            rest.split_whitespace().next()?.parse().ok()
        });
    let _ = test.kill();
    let _ = test.wait();
    found.context("pg_test_fsync said nothing of fdatasync")
}

/// CPU time of the server's processes so far, of those that still live.
///
/// # Errors
/// If the server can't be asked.
pub fn server_cpu(cluster: &TestCluster) -> Result<Duration> {
    let pid = fs::read_to_string(data_folder(cluster)?.join("postmaster.pid"))?;
    let pid: u32 = pid
        .lines()
        .next()
        .context("an empty file")?
        .trim()
        .parse()?;
    Ok(children(pid).into_iter().map(cpu).sum())
}

fn data_folder(cluster: &TestCluster) -> Result<PathBuf> {
    let said = cluster.psql("postgres", &["-c", "SHOW data_directory"])?;
    Ok(PathBuf::from(said.trim()))
}

/// One of PostgreSQL's programs, of the newest version that is installed.
fn program(name: &str) -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions.map(|version| version.path().join("bin").join(name));
    let on_path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&on_path)
        .map(|folder| folder.join(name))
        .collect::<Vec<_>>();
    let found = newest.filter(|path| Path::exists(path)).max();
    let found = found.or_else(|| on_path.into_iter().find(|path| path.exists()));
    found.map_or_else(
        || bail!("PostgreSQL's `{name}` is not installed: run `cargo xtask peers`"),
        Ok,
    )
}
