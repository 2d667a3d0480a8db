//! The agent as a process: its disk, its registration, its fieldbuses, its hub. Carries no SQL.

mod on_site;
mod registration;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
};

use anyhow::{Context as _, anyhow};
use holdfast_bus_modbus::{ModbusBus, Settings as ModbusSettings};
use holdfast_domain::{DeviceId, Name};
use holdfast_edge::{Agent, AgentParts, AgentSettings, LocalLoop, readings::NdjsonSink};
use holdfast_hub_client::{AddressError, AgentHub, Connection, HubAddress};
use holdfast_ledger::RedbLedger;
use holdfast_ports::{
    bus::FieldBus,
    ledger::{Held, Identity, Ledger as _},
    readings::ReadingSink,
};
use holdfast_runtime::{
    clock::{SystemClock, SystemEntropy},
    config::ConfigError,
    load::ProcLoad,
    logs::LogConfig,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::process::RoleConfig;
pub use on_site::LocalConfig;
use on_site::OnSite;
use registration::Registrar;

/// The agent's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// Address of the hub. Plain HTTP is for loopback alone, unless `allow_plain_http`.
    pub hub: String,
    /// Speak plain HTTP to a hub on another machine, although everybody on the way can read the token.
    pub allow_plain_http: bool,
    /// A certificate authority (PEM file) to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The agent's disk: the target it holds, its boots, its token.
    pub data_dir: PathBuf,
    /// Key to register with; needed until the agent has registered. Another one than that, once the hub has turned the
    /// agent away, registers it anew; and a bound one, once a restored hub does not know it.
    pub provisioning_key: Option<String>,
    /// What a new device shall be called, where the key is not bound to one.
    pub name: Option<Name>,
    /// Labels of a new device.
    pub labels: BTreeMap<String, String>,
    /// Time between reports that say nothing new, in s (1 to 3,600).
    pub heartbeat_s: u32,
    /// Where readings are written as NDJSON besides the hub; `-` is the terminal.
    pub readings_file: Option<PathBuf>,
    /// The API and page for people on site.
    pub local: LocalConfig,
    /// How it logs.
    pub log: LogConfig,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            hub: "http://127.0.0.1:3002".to_owned(),
            allow_plain_http: false,
            ca_file: None,
            data_dir: PathBuf::from("/var/lib/holdfast-agent"),
            provisioning_key: None,
            name: None,
            labels: BTreeMap::new(),
            heartbeat_s: 30,
            readings_file: None,
            local: LocalConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl RoleConfig for AgentConfig {
    const PREFIX: &'static str = "HOLDFAST_AGENT_";
    const ABOUT: &'static str =
        "Makes one edge device run what its hub wants, also while the hub is out of reach.";

    fn log(&self) -> &LogConfig {
        &self.log
    }
}

/// An agent that knows who it is, ready to run.
pub struct Prepared {
    registrar: Registrar,
    key: Option<String>,
    identity: Identity,
    settings: AgentSettings,
    modbus: Arc<dyn FieldBus>,
    readings: Vec<Arc<dyn ReadingSink>>,
    local: LocalLoop,
    on_site: Option<OnSite>,
}

impl Prepared {
    /// Its device.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.identity.device
    }

    /// Where people on site find it, and the file with the token for that; `None`: it was switched off.
    #[must_use]
    pub fn page(&self) -> Option<(SocketAddr, &Path)> {
        self.on_site.as_ref().map(OnSite::page)
    }

    /// Runs until `cancel` is, and serves the page for people on site meanwhile.
    ///
    /// # Errors
    /// If its disk can't be used.
    pub async fn run(mut self, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut beside = JoinSet::new();
        let ending = cancel.child_token();
        if let Some(on_site) = self.on_site.take() {
            beside.spawn(on_site.serve(self.local.clone(), ending.clone()));
        }
        // Among the tasks that talk with instruments: a loop that is not one of them would be woken across threads each time.
        let mut agent = JoinSet::new();
        agent.spawn(self.run_agent(cancel));
        let ended = match agent.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(fault)) => Err(fault.into()),
            None => Ok(()),
        };
        ending.cancel();
        while beside.join_next().await.is_some() {}
        ended
    }

    /// Runs until `cancel` is. If the hub has turned it away and it was given another key than it was registered with, it
    /// registers anew beside its work, and goes on as who it is then.
    async fn run_agent(mut self, cancel: CancellationToken) -> anyhow::Result<()> {
        loop {
            tracing::info!(device = %self.identity.device, "agent up");
            let agent = Agent::new(self.parts()?, self.settings.clone())
                .answering(self.local.clone())
                .measuring(Arc::new(ProcLoad));
            let (status, stop) = (agent.status(), cancel.child_token());
            let mut running = pin!(agent.run(stop.clone()));
            let anew = self
                .registrar
                .register_anew(&self.identity, self.key.as_deref(), status);
            let identity = tokio::select! {
                ended = &mut running => return Ok(ended?),
                identity = anew => identity?,
            };
            // Nothing of what it was may write to the ledger any more.
            stop.cancel();
            running.await?;
            self.registrar.ledger.set_identity(&identity).await?;
            tracing::info!(before = %self.identity.device, now = %identity.device, "registered anew");
            self.identity = identity;
        }
    }

    fn parts(&self) -> anyhow::Result<AgentParts> {
        let Identity { device, token, .. } = &self.identity;
        Ok(AgentParts {
            hub: Arc::new(AgentHub::new(&self.registrar.connection, *device, token)?),
            ledger: self.registrar.ledger.clone(),
            buses: vec![self.modbus.clone()],
            readings: self.readings.clone(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        })
    }
}

/// Runs the agent until `cancel` is.
///
/// # Errors
/// If the configuration or the disk can't be used, or the hub refuses to register it.
pub async fn run(config: AgentConfig, cancel: CancellationToken) -> anyhow::Result<()> {
    let prepared = prepare(&config, async |_| Ok(None), &cancel).await?;
    match prepared {
        Some(prepared) => prepared.run(cancel).await,
        None => Ok(()),
    }
}

/// Opens the disk and, if the agent has not registered yet, registers it. `key` gives the key for that, if the
/// configuration has none: by who the agent is, which may be somebody that the hub does not hear any more. `None`: `cancel`
/// was before it came to that.
///
/// # Errors
/// As [`run`].
pub async fn prepare(
    config: &AgentConfig,
    key: impl AsyncFnOnce(Option<&Identity>) -> anyhow::Result<Option<String>>,
    cancel: &CancellationToken,
) -> anyhow::Result<Option<Prepared>> {
    let settings = settings(config)?;
    let connection = connection(config)?;
    config.local.check()?;
    make_private_folder(&config.data_dir)?;
    let ledger = Arc::new(RedbLedger::open(config.data_dir.join("ledger.redb")).await?);
    let registrar = Registrar {
        name: config.name.clone(),
        labels: config.labels.clone(),
        connection,
        ledger,
    };
    let Held { mut identity, .. } = registrar.ledger.look().await?;
    let mut given = config.provisioning_key.clone();
    if given.is_none() {
        given = key(identity.as_ref()).await?;
        // One that was made for this very moment: its hub is here, and nothing need run beside.
        identity = identity.filter(|_| given.is_none());
    }
    let given = given.filter(|key| !key.trim().is_empty());
    let identity = match identity {
        Some(identity) => identity,
        None => {
            let registering = registrar.register(given.as_deref());
            let Some(identity) = cancel.run_until_cancelled(registering).await else {
                return Ok(None);
            };
            let identity = identity?;
            registrar.ledger.set_identity(&identity).await?;
            identity
        }
    };
    let on_site = OnSite::prepare(&config.local, &config.data_dir)?;
    let modbus = ModbusBus::new(
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
        ModbusSettings::default(),
    );
    Ok(Some(Prepared {
        registrar,
        key: given,
        identity,
        settings,
        modbus: Arc::new(modbus),
        readings: reading_sinks(config.readings_file.as_deref())?,
        local: LocalLoop::default(),
        on_site,
    }))
}

fn settings(config: &AgentConfig) -> Result<AgentSettings, ConfigError> {
    if !(1..=3_600).contains(&config.heartbeat_s) {
        return Err(ConfigError::key(
            "heartbeat_s",
            "1 to 3600",
            &config.heartbeat_s,
        ));
    }
    let mut settings = AgentSettings::default();
    settings.machine.heartbeat_ms = u64::from(config.heartbeat_s) * 1_000;
    Ok(settings)
}

fn connection(config: &AgentConfig) -> anyhow::Result<Connection> {
    let address = HubAddress::new(&config.hub, config.allow_plain_http).map_err(|error| {
        let how = match error {
            AddressError::PlainHttp { .. } => " (allow_plain_http = true does)",
            AddressError::NotAnAddress { .. } | AddressError::Surplus { .. } => "",
        };
        anyhow!("configuration key hub: {error}{how}")
    })?;
    let connection = Connection::to(address);
    let Some(path) = &config.ca_file else {
        return Ok(connection);
    };
    let pem = fs::read(path).with_context(|| format!("reading ca_file {}", path.display()))?;
    connection
        .trusting(pem)
        .with_context(|| format!("using ca_file {}", path.display()))
}

fn make_private_folder(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("making the folder data_dir {}", path.display()))
}

fn reading_sinks(file: Option<&Path>) -> anyhow::Result<Vec<Arc<dyn ReadingSink>>> {
    let Some(path) = file else {
        return Ok(Vec::new());
    };
    let out: Box<dyn Write + Send> = if path == Path::new("-") {
        Box::new(io::stdout())
    } else {
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o640)
            .open(path);
        Box::new(file.with_context(|| format!("opening readings_file {}", path.display()))?)
    };
    Ok(vec![Arc::new(NdjsonSink::new(out)?)])
}
