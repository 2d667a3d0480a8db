//! A PostgreSQL cluster for tests: initialised into a temporary folder, gone with the process that started it.
//!
//! Knows only the server's own programs (`initdb`, `postgres`, `psql`), so that it needs no SQL library; what is in a
//! database is the test's business. One cluster serves a whole test run: `cargo xtask test` starts it and passes its
//! address on in `HOLDFAST_TEST_POSTGRES`; without that, each test process starts its own.
//!
//! xtask compiles this same file, so it uses the standard library and tempfile alone.

use std::collections::hash_map::RandomState;
use std::ffi::OsStr;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::{env, fs, io, thread};

/// The environment variable with the URL of a running cluster, whose user may create databases.
pub const URL_VAR: &str = "HOLDFAST_TEST_POSTGRES";

/// A free port can be taken by another program before the server binds it: so often do we choose again.
const START_ATTEMPTS: u32 = 5;

/// For tests, which lose nothing in a power cut. Later settings win, so a benchmark can ask for durability.
const TEST_SETTINGS: [(&str, &str); 7] = [
    ("listen_addresses", "127.0.0.1"),
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("max_connections", "300"),
    ("shared_buffers", "128MB"),
    ("timezone", "UTC"),
];

/// Stops the server and removes its folder as soon as standard input closes, which the kernel does for us however
/// the parent ends. `$1` is the folder, the rest is the command of the server, which alone keeps standard error: its end
/// is the server's end. QUIT stops it at once, but a shell's background process ignores it until the server has set
/// its own handlers; TERM ends it before that.
const WATCHDOG: &str = r#"folder=$1; shift
"$@" & pid=$!
exec 2>/dev/null
cat >/dev/null
kill -QUIT $pid; kill -TERM $pid
wait $pid
rm -rf "$folder""#;

/// A running PostgreSQL cluster. Dropping the one that started it stops the server and removes its files.
#[derive(Debug)]
pub struct TestCluster {
    /// `postgres://user:password@host:port`
    authority: String,
    /// `?…` of the URL, or nothing
    query: String,
    _server: Option<Server>,
}

impl TestCluster {
    /// Initialises and starts a cluster of its own, without durability. Takes one to three seconds.
    ///
    /// As root the server runs as the user `postgres`, because it refuses to run as root.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or does not start; with what the server said.
    pub fn start() -> Result<Self, ClusterError> {
        Self::start_with(&[])
    }

    /// As [`TestCluster::start`], with settings of `postgresql.conf` that override the test's, such as
    /// `("fsync", "on")`.
    ///
    /// # Errors
    /// As [`TestCluster::start`].
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Self, ClusterError> {
        let mut attempt = 1;
        loop {
            match Self::try_start(settings) {
                Err(ClusterError::Server { said })
                    if said.contains("Address already in use") && attempt < START_ATTEMPTS =>
                {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn try_start(settings: &[(&str, &str)]) -> Result<Self, ClusterError> {
        let account = Account::for_server()?;
        let folder = tempfile::Builder::new().prefix("holdfast-pg-").tempdir()?;
        account.give(folder.path())?;
        let password = format!("{:016x}", random());
        initdb(&account, folder.path(), &password)?;

        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let server = Server::start(&account, folder, port, settings)?;
        Ok(Self {
            authority: format!("postgres://holdfast:{password}@127.0.0.1:{port}"),
            query: String::new(),
            _server: Some(server),
        })
    }

    /// The cluster of this test run: the one in `HOLDFAST_TEST_POSTGRES`, else one that this process starts at the
    /// first call and that ends with it.
    ///
    /// # Panics
    /// When there is none and none can be started: a test that needs a database cannot go on.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<TestCluster> = OnceLock::new();
        SHARED.get_or_init(|| match env::var(URL_VAR) {
            Ok(url) => Self::at(&url),
            Err(_) => Self::start().unwrap_or_else(|error| panic!("{error}")),
        })
    }

    /// A cluster that already runs, given as a URL with any database, such as `postgres://user@host:5432/postgres`.
    pub fn at(url: &str) -> Self {
        let (rest, query) = match url.find('?') {
            Some(at) => url.split_at(at),
            None => (url, ""),
        };
        let path = rest
            .find("://")
            .and_then(|at| rest[at + 3..].find('/').map(|slash| at + 3 + slash));
        Self {
            authority: rest[..path.unwrap_or(rest.len())].to_owned(),
            query: query.to_owned(),
            _server: None,
        }
    }

    /// The URL of a database in this cluster, for sqlx or psql.
    pub fn url(&self, database: &str) -> String {
        format!("{}/{database}{}", self.authority, self.query)
    }

    /// Creates an empty database with a random name and answers its URL. It goes with the cluster.
    ///
    /// # Errors
    /// When psql is not installed or the server refuses; with what it said.
    pub fn fresh_database(&self) -> Result<String, ClusterError> {
        let name = format!("test_{:016x}", random());
        self.psql(
            "postgres",
            &["-c", &format!("CREATE DATABASE {name} TEMPLATE template0")],
        )?;
        Ok(self.url(&name))
    }

    /// Runs psql on a database of this cluster, stopping at the first error, and answers what it printed (unaligned,
    /// without headers).
    ///
    /// # Errors
    /// When psql is not installed or a statement fails; with what it said.
    pub fn psql<S: AsRef<OsStr>>(
        &self,
        database: &str,
        arguments: &[S],
    ) -> Result<String, ClusterError> {
        let mut command = Command::new(program("psql")?);
        command.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &self.url(database),
        ]);
        run(command.args(arguments))
    }
}

/// Creates an empty database in [`TestCluster::shared`] and answers its URL.
///
/// # Panics
/// When there is no PostgreSQL: a test that needs a database cannot go on.
pub fn fresh_database() -> String {
    TestCluster::shared()
        .fresh_database()
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The server's process behind its watchdog.
#[derive(Debug)]
struct Server {
    watchdog: Child,
    /// Closing it is what stops the server.
    lifeline: Option<ChildStdin>,
}

impl Server {
    fn start(
        account: &Account,
        folder: tempfile::TempDir,
        port: u16,
        settings: &[(&str, &str)],
    ) -> Result<Self, ClusterError> {
        let mut command = Command::new("sh");
        command
            .args(["-c", WATCHDOG, "holdfast-postgres-watchdog"])
            .arg(folder.path());
        command.args(account.prefix()).arg(program("postgres")?);
        command.arg("-D").arg(folder.path().join("data"));
        command
            .arg("-k")
            .arg(folder.path())
            .args(["-p", &port.to_string()]);
        for (key, value) in TEST_SETTINGS.iter().chain(settings) {
            command.args(["-c", &format!("{key}={value}")]);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // A group of its own, so that Ctrl-C reaches the tests first and the server ends after them.
        command
            .process_group(0)
            .env("LC_ALL", "C")
            .current_dir(folder.path());
        let mut watchdog = command.spawn()?;
        // From here on the folder is the watchdog's to remove.
        let _ = folder.keep();
        let lifeline = watchdog.stdin.take();
        let stderr = watchdog
            .stderr
            .take()
            .expect("stderr was asked for as a pipe");
        let server = Self { watchdog, lifeline };
        wait_until_ready(BufReader::new(stderr))?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.watchdog.wait();
    }
}

/// Reads the server's log on a thread of its own to its end, so that the pipe never fills; returns at "ready".
fn wait_until_ready(log: impl BufRead + Send + 'static) -> Result<(), ClusterError> {
    let (ready, outcome) = mpsc::channel();
    thread::spawn(move || {
        let mut said = String::new();
        for line in log.lines().map_while(Result::ok) {
            if line.contains("ready to accept connections") {
                let _ = ready.send(Ok(()));
            }
            if said.len() < 8192 {
                said.push_str(&line);
                said.push('\n');
            }
        }
        let _ = ready.send(Err(said));
    });
    match outcome.recv() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(said)) => Err(ClusterError::Server { said }),
        Err(_) => Err(ClusterError::Server {
            said: "its log ended".to_owned(),
        }),
    }
}

fn initdb(account: &Account, folder: &Path, password: &str) -> Result<(), ClusterError> {
    let password_file = folder.join("password");
    fs::write(&password_file, password)?;
    account.give(&password_file)?;
    let initdb = program("initdb")?;
    let mut words = account.prefix();
    words.push(initdb.into_os_string());
    run(Command::new(&words[0])
        .args(&words[1..])
        .arg("-D")
        .arg(folder.join("data"))
        .arg("--pwfile")
        .arg(&password_file)
        .args([
            "--username=holdfast",
            "--auth-local=trust",
            "--auth-host=password",
        ])
        .args([
            "--locale=C",
            "--encoding=UTF8",
            "--no-sync",
            "--no-instructions",
        ])
        .current_dir(folder))?;
    Ok(())
}

/// Who the server runs as: ourselves, or, because it refuses root, another user.
#[derive(Debug)]
struct Account(Option<(&'static str, u32)>);

impl Account {
    fn for_server() -> Result<Self, ClusterError> {
        if run(Command::new("id").arg("-u"))?.trim() != "0" {
            return Ok(Self(None));
        }
        for name in ["postgres", "nobody"] {
            if let Ok(uid) = run(Command::new("id").args(["-u", name])) {
                let uid = uid.trim().parse().map_err(|_| ClusterError::NoAccount)?;
                return Ok(Self(Some((name, uid))));
            }
        }
        Err(ClusterError::NoAccount)
    }

    /// The words before a command that make it run as this account.
    fn prefix(&self) -> Vec<std::ffi::OsString> {
        match self.0 {
            None => vec!["env".into()],
            Some((name, _)) => vec![
                "setpriv".into(),
                format!("--reuid={name}").into(),
                format!(
                    "--regid={}",
                    if name == "nobody" { "nogroup" } else { name }
                )
                .into(),
                "--clear-groups".into(),
            ],
        }
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        match self.0 {
            None => Ok(()),
            Some((_, uid)) => chown(path, Some(uid), None),
        }
    }
}

/// Finds one of PostgreSQL's programs: on the path, else where Debian keeps the newest version's.
fn program(name: &'static str) -> Result<PathBuf, ClusterError> {
    let on_path = env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if let Some(path) = on_path {
        return Ok(path);
    }
    fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let path = entry.path().join("bin").join(name);
            path.is_file().then_some((version, path))
        })
        .max()
        .map(|(_, path)| path)
        .ok_or(ClusterError::NotInstalled { program: name })
}

fn run(command: &mut Command) -> Result<String, ClusterError> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(ClusterError::Program {
        program: command.get_program().to_string_lossy().into_owned(),
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// 64 bits that differ between calls and processes: each `RandomState` is keyed anew.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Why there is no cluster, or no database in it.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClusterError {
    /// A program of PostgreSQL is missing.
    NotInstalled {
        /// its name
        program: &'static str,
    },
    /// Running as root, and there is no user to run the server as.
    NoAccount,
    /// A program ran and failed.
    Program {
        /// its name
        program: String,
        /// its error output
        said: String,
    },
    /// The server ended, or could not bind its port, before it was ready.
    Server {
        /// its log so far
        said: String,
    },
    /// A file or process of ours failed.
    Io(io::Error),
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled { program } => {
                write!(
                    f,
                    "PostgreSQL's `{program}` is neither on the path nor in Debian's place: run `cargo xtask peers`"
                )
            }
            Self::NoAccount => write!(
                f,
                "PostgreSQL refuses to run as root and there is no user `postgres`: run `cargo xtask peers`, or run as another user"
            ),
            Self::Program { program, said } => write!(f, "{program} failed: {said}"),
            Self::Server { said } => write!(f, "the PostgreSQL server did not start: {said}"),
            Self::Io(_) => write!(
                f,
                "cannot set up a PostgreSQL cluster in the temporary folder"
            ),
        }
    }
}

impl std::error::Error for ClusterError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::NotInstalled { .. }
            | Self::NoAccount
            | Self::Program { .. }
            | Self::Server { .. } => None,
        }
    }
}

impl From<io::Error> for ClusterError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
