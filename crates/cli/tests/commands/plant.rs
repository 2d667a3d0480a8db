//! A hub behind a listener on a free port, an agent under a test's control, and the command line to try.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use clap::Parser as _;
use holdfast_cli::{
    CliError, Exit,
    args::{Cli, Format},
    execute,
    output::Out,
    roles::Roles,
};
use holdfast_domain::{DeviceId, SensorId, TargetState, row::Actor};
use holdfast_http_api::{ApiSettings, router};
use holdfast_hub::{Hub, HubParts, HubSettings};
use holdfast_hub_client::{AgentHub, Connection, HubAddress, register};
use holdfast_ports::{
    hub_link::{HeldTarget, HubLink as _, Polled},
    tokens::{Role, SecretHash},
};
use holdfast_testkit::{
    memory::MemoryStore,
    world::{FakeAgent, ManualClock, SeededEntropy},
};
use holdfast_wire::RegisterRequest;
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A hub; it ends with its test.
pub(crate) struct Plant {
    pub(crate) runtime: Runtime,
    pub(crate) hub: Hub,
    pub(crate) url: String,
    pub(crate) token: String,
    folder: TempDir,
    _stop: DropGuard,
}

/// How a command ended and what it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exit: Result<Exit, CliError>,
    pub(crate) results: String,
    pub(crate) notes: String,
}

impl Ended {
    /// What it wrote, if all is good.
    pub(crate) fn good(self) -> String {
        assert!(matches!(self.exit, Ok(Exit::Good)), "{self:?}");
        self.results
    }

    /// What it wrote, as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.results).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Why it could not be carried out.
    pub(crate) fn error(self) -> String {
        self.exit.expect_err("an error").to_string()
    }
}

const NOW: fn() -> Timestamp = Timestamp::now;

impl Plant {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let store = Arc::new(MemoryStore::new());
        let parts = HubParts {
            devices: store.clone(),
            tokens: store.clone(),
            events: store.clone(),
            fleet: store.clone(),
            wakeups: store,
            clock: Arc::new(ManualClock::new(Timestamp::now())),
            entropy: Arc::new(SeededEntropy::new(1)),
        };
        let hub = Hub::new(parts, HubSettings::default());
        let stop = CancellationToken::new();
        let (url, token) = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .expect("a free port");
            let url = format!("http://{}", listener.local_addr().expect("bound"));
            let (background, cancel) = (hub.clone(), stop.clone());
            tokio::spawn(async move { background.run(cancel).await });
            let service = router(hub.clone(), ApiSettings::default());
            tokio::spawn(async move { axum::serve(listener, service).await.expect("serving") });
            let by = Actor::named("test");
            let (token, _) = hub
                .create_token("anna", Role::Admin, None, &by)
                .await
                .expect("a token");
            (url, token)
        });
        Self {
            runtime,
            hub,
            url,
            token,
            folder: tempfile::tempdir().expect("a folder"),
            _stop: stop.drop_guard(),
        }
    }

    /// Carries out a command line.
    pub(crate) fn run(&self, line: &[&str]) -> Ended {
        let head = ["holdfast", "--hub", &self.url, "--token", &self.token];
        execute_line(head.iter().chain(line))
    }

    /// A file with this content.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    }

    /// Makes a device with an agent that has registered.
    pub(crate) fn device(&self, name: &str) -> Agent {
        let made = self.run(&["device", "add", name, "-o", "json"]).json();
        let key = made["provisioningKey"].as_str().expect("a key");
        self.register(key)
    }

    /// An agent that registers with `key`.
    pub(crate) fn register(&self, key: &str) -> Agent {
        let secret = format!("agent's secret for {key}");
        let request = RegisterRequest {
            name: None,
            token_hash: RegisterRequest::hash_text(&SecretHash::of(&secret).0),
            labels: BTreeMap::new(),
            device: None,
        };
        let connection = Connection::to(HubAddress::new(&self.url, false).expect("loopback"));
        let registered = self
            .runtime
            .block_on(register(&connection, key, &request))
            .expect("registered");
        let hub = AgentHub::new(&connection, registered.device, &secret).expect("a client");
        let says = FakeAgent {
            incarnation: registered.incarnation,
            boot: 1,
            sequence: 0,
            held_version: 0,
            version: 0,
            running: Vec::new(),
            failures: Vec::new(),
            health: BTreeMap::new(),
            looked_revision: 0,
            values: None,
        };
        Agent {
            device: registered.device,
            link: Arc::new(hub),
            hub: self.hub.clone(),
            says,
        }
    }
}

/// Carries out a whole command line.
pub(crate) fn execute_line(line: impl IntoIterator<Item = impl AsRef<str>>) -> Ended {
    let line: Vec<String> = line
        .into_iter()
        .map(|word| word.as_ref().to_owned())
        .collect();
    let cli = Cli::try_parse_from(&line).unwrap_or_else(|error| panic!("{error}"));
    let (mut results, mut notes) = (Vec::new(), Vec::new());
    let format: Format = cli.global.output;
    let mut out = Out {
        results: &mut results,
        notes: &mut notes,
        format,
        colours: false,
        is_live: false,
        now: NOW,
    };
    let exit = execute(cli, &ROLES, &mut out);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ended {
        exit,
        results: text(results),
        notes: text(notes),
    }
}

/// Roles that tell what they were asked.
const ROLES: Roles = Roles {
    up: |_| unreachable!("no test starts a hub this way"),
    migrate: |store| Ok(format!("migrated {:?}", store.store)),
    bootstrap_token: |_, name, role| Ok(format!("secret-of-{name}-{}", role.as_str())),
    openapi: || r#"{"openapi":"3.1.0"}"#.to_owned(),
};

/// An agent that does nothing by itself.
pub(crate) struct Agent {
    pub(crate) device: DeviceId,
    pub(crate) link: Arc<AgentHub>,
    hub: Hub,
    says: FakeAgent,
}

impl Agent {
    /// Takes the target and reports that all of it runs but the sensors named in `failing`.
    pub(crate) async fn establish(&mut self, failing: &[&str]) {
        let state = self.hub.state(self.device).await.expect("the device");
        let failing: Vec<SensorId> = state
            .target
            .items
            .iter()
            .filter(|item| failing.contains(&item.sensor.name().as_str()))
            .map(|item| item.sensor.id())
            .collect();
        self.says.establish_but(&state, &failing, Timestamp::now());
        self.says.hold_all(&state);
        self.says.answer_all(&state, Timestamp::now());
        let report = self.says.full_report();
        self.link.report(&report).await.expect("taken");
    }

    /// Waits for targets and establishes each, until it is dropped.
    pub(crate) async fn live(mut self, failing: &'static [&'static str]) {
        let mut held: Option<TargetState> = None;
        loop {
            let wait = Duration::from_secs(30);
            let holds = held.as_ref().map(HeldTarget::of);
            match self.link.poll(holds.as_ref(), wait).await {
                Ok(Polled::Target(target)) => {
                    held = Some(*target);
                    self.establish(failing).await;
                }
                Ok(Polled::Changes(changes)) => {
                    let before = held
                        .take()
                        .expect("only who holds a configuration gets none");
                    held = changes.onto(&before.items);
                    self.establish(failing).await;
                }
                Ok(Polled::Unchanged) => {}
                // The test is over.
                Err(_) => return,
            }
        }
    }
}

/// A manifest of sensors of these names.
pub(crate) fn manifest(device: &str, sensors: &[(&str, &str)]) -> String {
    let mut text = format!(
        "apiVersion: holdfast/v1\ndevice: {device}\nsensors:{}\n",
        if sensors.is_empty() { " []" } else { "" }
    );
    for (name, host) in sensors {
        text.push_str(&format!(
            "- name: {name}\n  protocol: modbus\n  connection: {{ type: tcp, host: {host}, unitId: 1 }}\n  dataPoints:\n  - {{ name: t, table: holding, address: 1, dataType: int16 }}\n"
        ));
    }
    text
}
