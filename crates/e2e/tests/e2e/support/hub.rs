//! A hub as its users have it: `holdfast up --no-agent` on SQLite, or `holdfast-api` and `holdfast-reconciler` on a
//! PostgreSQL database of their own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use holdfast_testkit::postgres::fresh_database;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    client::Client,
    device::Device,
    process::{Process, Ran, command, command_with_a_disk, run},
    tables::psql,
    wait::eventually,
};

/// Which store a hub has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// Embedded, all in one process.
    Sqlite,
    /// A server, with the hub's parts as processes of their own.
    Postgres,
}

/// A hub and all that it keeps. Its processes end with it.
pub(crate) struct Hub {
    store: Store,
    folder: TempDir,
    /// URL of the database; of PostgreSQL only.
    database: Option<String>,
    addr: SocketAddr,
    server: Option<Process>,
    reconciler: Option<Process>,
    reconciler_addr: Option<SocketAddr>,
    /// More processes on the same database.
    others: Vec<Process>,
    /// How long an agent may be silent, in s.
    silent_after_s: u32,
    /// What else the reconciler has in its environment.
    reconciler_env: Vec<(String, String)>,
    /// The secret of the operator's first token.
    pub(crate) token: String,
    /// Somebody who may do everything.
    pub(crate) admin: Client,
}

const ANY_PORT: &str = "127.0.0.1:0";

/// How long an agent may be silent, in s, where the test is not about that.
const PATIENCE_S: u32 = 90;

impl Hub {
    /// Brings up an empty hub.
    pub(crate) async fn start(store: Store) -> Self {
        let database = (store == Store::Postgres).then(fresh_database);
        Self::on(store, database, PATIENCE_S).await
    }

    /// Brings up a hub on an empty PostgreSQL database.
    pub(crate) async fn start_on(database: String) -> Self {
        Self::on(Store::Postgres, Some(database), PATIENCE_S).await
    }

    /// Brings up an empty hub on PostgreSQL that takes an agent for silent after so long.
    pub(crate) async fn patient(silent_after_s: u32) -> Self {
        Self::on(Store::Postgres, Some(fresh_database()), silent_after_s).await
    }

    async fn on(store: Store, database: Option<String>, silent_after_s: u32) -> Self {
        let folder = TempDir::new().expect("a folder for temporary files");
        let token = match &database {
            Some(database) => prepare(database).await,
            None => String::new(),
        };
        let addr = ANY_PORT.parse().expect("an address");
        let admin = Client::new("", None);
        let mut hub = Self {
            store,
            folder,
            database,
            addr,
            token,
            admin,
            silent_after_s,
            reconciler_env: Vec::new(),
            server: None,
            reconciler: None,
            reconciler_addr: None,
            others: Vec::new(),
        };
        hub.bring_up().await;
        hub
    }

    /// Starts what is not running, where it was before.
    pub(crate) async fn bring_up(&mut self) {
        if self.server.is_none() {
            let (server, addr) = listening("hub", || self.server_command()).await;
            (self.server, self.addr) = (Some(server), addr);
        }
        if self.database.is_some() && self.reconciler.is_none() {
            let (reconciler, addr) = listening("reconciler", || self.reconciler_command()).await;
            (self.reconciler, self.reconciler_addr) = (Some(reconciler), Some(addr));
        }
        if self.token.is_empty() {
            let token = std::fs::read_to_string(self.data().join("operator-token"))
                .expect("up writes its token");
            self.token = token.trim().to_owned();
        }
        self.admin = Client::new(&format!("http://{}", self.addr), Some(&self.token));
    }

    fn server_command(&self) -> tokio::process::Command {
        match &self.database {
            None => {
                let mut up = command_with_a_disk("holdfast");
                up.args([
                    "up",
                    "--no-agent",
                    "--listen",
                    &self.addr.to_string(),
                    "--data",
                ])
                .arg(self.data());
                up.env("HOME", self.folder.path())
                    .env("XDG_CONFIG_HOME", self.folder.path().join("config"));
                up.env("HOLDFAST_LOG", "info");
                up
            }
            Some(database) => {
                let mut api = command("holdfast-api");
                api.env("HOLDFAST_API_LISTEN", self.addr.to_string())
                    .env("HOLDFAST_API_STORE__URL", database);
                api
            }
        }
    }

    fn reconciler_command(&self) -> tokio::process::Command {
        let mut reconciler = command("holdfast-reconciler");
        let addr = self
            .reconciler_addr
            .map_or_else(|| ANY_PORT.to_owned(), |addr| addr.to_string());
        reconciler.env("HOLDFAST_RECONCILER_LISTEN", addr);
        reconciler.env(
            "HOLDFAST_RECONCILER_STORE__URL",
            self.database.as_deref().unwrap_or_default(),
        );
        reconciler.env("HOLDFAST_RECONCILER_RECONCILE__DRIFT_AFTER_S", "1");
        reconciler.env(
            "HOLDFAST_RECONCILER_RECONCILE__SILENT_AFTER_S",
            self.silent_after_s.to_string(),
        );
        reconciler.envs(self.reconciler_env.iter().cloned());
        reconciler
    }

    /// Kills the reconciler, and starts it again with this in its environment besides.
    pub(crate) async fn reconciler_anew(&mut self, env: &[(&str, String)]) {
        if let Some(running) = self.reconciler.take() {
            running.kill().await;
        }
        let named = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        self.reconciler_env = named.collect();
        self.bring_up().await;
    }

    /// One more reconciler that shares the work.
    pub(crate) async fn another_reconciler(&mut self) {
        let command = || {
            let mut command = self.reconciler_command();
            command.env("HOLDFAST_RECONCILER_LISTEN", ANY_PORT);
            command
        };
        let (other, _) = listening("other reconciler", command).await;
        self.others.push(other);
    }

    /// One more API on the same database, and the operator there.
    pub(crate) async fn another_server(&mut self) -> Client {
        let command = || {
            let mut command = self.server_command();
            command.env("HOLDFAST_API_LISTEN", ANY_PORT);
            command
        };
        let (other, addr) = listening("other hub", command).await;
        self.others.push(other);
        Client::new(&format!("http://{addr}"), Some(&self.token))
    }

    /// Keeps what the hub has stored. It is stopped for that, and brought up again.
    pub(crate) async fn backup(&mut self) -> Backup {
        self.stop().await;
        let backup = match &self.database {
            Some(database) => Backup::Database(copy_of(database)),
            None => {
                let files = std::fs::read_dir(self.data())
                    .expect("it has run")
                    .map(|entry| entry.expect("a folder can be read").path());
                let read = |path: PathBuf| {
                    (
                        path.clone(),
                        std::fs::read(path).expect("the hub's files can be read"),
                    )
                };
                Backup::Files(files.filter(|path| path.is_file()).map(read).collect())
            }
        };
        self.bring_up().await;
        backup
    }

    /// Puts back what was kept, and brings the hub up with it.
    pub(crate) async fn restore(&mut self, backup: &Backup) {
        self.stop().await;
        match backup {
            Backup::Database(copy) => self.database = Some(copy_of(copy)),
            Backup::Files(files) => {
                // What came since, such as a write-ahead log, belongs to what came since.
                for entry in std::fs::read_dir(self.data()).expect("it has run") {
                    let path = entry.expect("a folder can be read").path();
                    if path.is_file() {
                        std::fs::remove_file(path).expect("the hub's files can be removed");
                    }
                }
                for (path, content) in files {
                    std::fs::write(path, content).expect("the hub's files can be written");
                }
            }
        }
        self.bring_up().await;
    }

    /// The device that an answer or a command's document tells of.
    pub(crate) fn device_of(&self, created: &Value) -> Device {
        Device::new(self, created)
    }

    /// Ends all its processes in good order.
    pub(crate) async fn stop(&mut self) {
        for process in [self.server.take(), self.reconciler.take()]
            .into_iter()
            .flatten()
        {
            process.stop().await;
        }
    }

    /// Kills the process that serves the API; a reconciler of its own goes on.
    pub(crate) async fn kill_server(&mut self) {
        self.server.take().expect("it runs").kill().await;
    }

    /// From now on there is no room on the disk of the process that serves the API, or there is again. With SQLite only.
    pub(crate) async fn disk_is_full(&self, is_full: bool) {
        let server = self.server.as_ref().expect("it runs");
        server.disk_is_full(is_full).await;
    }

    /// Which store it has.
    pub(crate) fn store(&self) -> Store {
        self.store
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The same as a URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// URL of its database; of PostgreSQL only.
    pub(crate) fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// The data folder; of SQLite only.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A folder for what a test keeps; gone with the hub.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a device that no agent speaks for yet.
    pub(crate) async fn device(&self, name: &str) -> Device {
        let created = self
            .admin
            .done("POST", "/api/v1/devices", &json!({ "name": name }))
            .await;
        Device::new(self, &created)
    }

    /// Waits until there is a device of this name, and gives it.
    pub(crate) async fn device_called(&self, name: &str) -> Device {
        let found = eventually(&format!("a device {name}"), async || {
            let devices = self.admin.all("/api/v1/devices").await;
            let device = devices.iter().find(|device| device["name"] == name);
            device.cloned().ok_or(format!("{devices:#?}"))
        })
        .await;
        Device::found(self, &found)
    }

    /// Makes a provisioning key that is bound to no device.
    pub(crate) async fn unbound_key(&self) -> String {
        let made = self
            .admin
            .done(
                "POST",
                "/api/v1/provisioning-keys",
                &json!({ "name": "hall 3" }),
            )
            .await;
        made["secret"]
            .as_str()
            .expect("a key has a secret")
            .to_owned()
    }

    /// Makes a token and gives somebody who has it.
    pub(crate) async fn somebody(&self, name: &str, role: &str) -> Client {
        let wanted = json!({ "name": name, "role": role });
        let made = self.admin.done("POST", "/api/v1/tokens", &wanted).await;
        self.admin.with(made["secret"].as_str())
    }

    /// Runs `holdfast` as the operator.
    pub(crate) async fn holdfast(&self, arguments: &[&str]) -> Ran {
        run(self.holdfast_command(), arguments).await
    }

    /// `holdfast` as the operator, to be completed.
    pub(crate) fn holdfast_command(&self) -> tokio::process::Command {
        let mut holdfast = command("holdfast");
        holdfast
            .env("HOLDFAST_HUB", self.url())
            .env("HOLDFAST_TOKEN", &self.token);
        holdfast
            .env("HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.folder.path().join("config"));
        holdfast.current_dir(self.folder.path());
        holdfast
    }

    /// The value of a metric of the server, all its labels summed up.
    pub(crate) async fn server_metric(&self, name: &str) -> f64 {
        metric(
            self.admin
                .get("/metrics")
                .await
                .as_str()
                .unwrap_or_default(),
            name,
        )
    }

    /// Waits until the reconciler says that it is ready, or not. With PostgreSQL only.
    pub(crate) async fn reconciler_is_ready(&self, wanted: bool) {
        let addr = self.reconciler_addr.expect("it is a process of its own");
        let reconciler = Client::new(&format!("http://{addr}"), None);
        let status = if wanted { 200 } else { 503 };
        eventually(
            &format!("the reconciler's /readyz answers {status}"),
            async || {
                let ready = reconciler.ask("GET", "/readyz", &Value::Null).await;
                if ready.status == status {
                    Ok(())
                } else {
                    Err(format!("{} {}", ready.status, ready.body))
                }
            },
        )
        .await;
    }

    /// The value of a metric of the reconciler, all its labels summed up.
    pub(crate) async fn reconciler_metric(&self, name: &str) -> f64 {
        let text = match self.reconciler_addr {
            Some(addr) => {
                Client::new(&format!("http://{addr}"), None)
                    .get("/metrics")
                    .await
            }
            None => return self.server_metric(name).await,
        };
        metric(text.as_str().unwrap_or_default(), name)
    }
}

/// What a hub had stored.
pub(crate) enum Backup {
    /// In a database of this URL.
    Database(String),
    /// In these files.
    Files(Vec<(PathBuf, Vec<u8>)>),
}

/// Copies a database that nobody uses, and gives the copy's URL.
fn copy_of(url: &str) -> String {
    static COPIES: AtomicU32 = AtomicU32::new(1);
    let (server, database) = url
        .rsplit_once('/')
        .expect("a URL ends with the database's name");
    let copy = format!("{database}_copy{}", COPIES.fetch_add(1, Ordering::SeqCst));
    psql(
        &format!("{server}/postgres"),
        &format!("CREATE DATABASE {copy} TEMPLATE {database}"),
    );
    format!("{server}/{copy}")
}

fn metric(text: &str, name: &str) -> f64 {
    let of_name = text.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
    });
    of_name
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Migrates a database and makes the first token on it.
async fn prepare(database: &str) -> String {
    let migrated = run(command("holdfast"), &["migrate", "--store", database]).await;
    assert_eq!(migrated.code, 0, "{}", migrated.err);
    let create = [
        "token",
        "create",
        "admin",
        "--bootstrap",
        "--role",
        "admin",
        "--store",
        database,
    ];
    let created = run(command("holdfast"), &create).await;
    assert_eq!(created.code, 0, "{}", created.err);
    created
        .out
        .split_whitespace()
        .find(|word| word.starts_with("hft_"))
        .expect("it prints the secret")
        .to_owned()
}

/// Starts a process and waits until it says where it listens; again if another program took its port meanwhile.
async fn listening(
    name: &'static str,
    command: impl Fn() -> tokio::process::Command,
) -> (Process, SocketAddr) {
    eventually(&format!("the {name} listens"), async || {
        let mut process = Process::start(name, command());
        match process.line("listening on http://").await {
            Ok(addr) => {
                let addr = addr
                    .trim()
                    .parse()
                    .unwrap_or_else(|_| panic!("{addr:?} is no address"));
                Ok((process, addr))
            }
            Err(said) if said.contains("in use") => Err(said),
            Err(said) => panic!("the {name} ended:\n{said}"),
        }
    })
    .await
}
