//! All roles in one process, on a data folder: a hub on SQLite, a reconciler, and an agent that speaks to the hub over
//! HTTP as any other agent does.
//!
//! What the folder holds: `hub.sqlite`, `operator-token`, `agent/` (the agent's own disk), `lock`; and, where somebody put it
//! there, `up.toml` ([`UpConfig`]).

pub mod commands;
mod demo;
mod folder;

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::Context as _;
use holdfast_domain::{Name, row::Actor};
use holdfast_hub::{AuthError, Hub};
use holdfast_ports::{ledger::Identity, tokens::Role};
use holdfast_runtime::{config, logs, metrics::Metrics, serve, shutdown};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    agent::{self, AgentConfig},
    api::{self, ApiConfig},
    notices::{self, NotifyConfig},
    parts::Parts,
    reconciler::{self, ReconcileConfig},
    stores::{self, StoreConfig},
};
use folder::Folder;

/// What can be configured of `up`, in `up.toml` of its data folder or by `HOLDFAST_UP_…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpConfig {
    /// The reconciler's loop.
    pub reconcile: ReconcileConfig,
    /// Who is told of trouble that persists.
    pub notify: NotifyConfig,
}

impl Default for UpConfig {
    fn default() -> Self {
        Self {
            // One machine: nobody waits ten seconds to see that something differs.
            reconcile: ReconcileConfig {
                drift_after_s: 3,
                ..ReconcileConfig::default()
            },
            notify: NotifyConfig::default(),
        }
    }
}

/// Prefix of its environment variables.
pub(crate) const PREFIX: &str = "HOLDFAST_UP_";

/// What `up` brings up.
#[derive(Debug, Clone)]
pub struct UpOptions {
    /// Simulated instruments too, and a tour of the loop at work.
    pub demo: bool,
    /// Hub and reconciler only.
    pub no_agent: bool,
    /// The data folder.
    pub data: std::path::PathBuf,
    /// Where the hub listens.
    pub listen: SocketAddr,
    /// Is told the hub's address and the operator's token once they are known, to keep them for the command line.
    pub ready: fn(&str, &str),
}

/// Brings everything up and keeps it so until Ctrl-C.
///
/// # Errors
/// Says what could not be brought up, or which part ended by itself.
pub fn main(options: &UpOptions) -> anyhow::Result<()> {
    let log = logs::LogConfig {
        filter: std::env::var("HOLDFAST_LOG").unwrap_or_else(|_| "warn".to_owned()),
        ..logs::LogConfig::default()
    };
    logs::start(&log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let cancel = shutdown::on_signal().context("listening for signals")?;
        run(options, cancel).await
    })
}

async fn run(options: &UpOptions, cancel: CancellationToken) -> anyhow::Result<()> {
    // Before anything that counts.
    let _ = Metrics::start();
    let folder = Folder::open(&options.data)?;
    let config: UpConfig = config::load(folder.config().as_deref(), PREFIX)?;
    let store = StoreConfig {
        url: format!("sqlite:{}", folder.database().display()),
        ..StoreConfig::default()
    };
    stores::migrate(&store).await?;
    let stores = stores::open(&store).await?;
    let hub = api::hub(stores.clone());
    let listener = serve::bind(options.listen).await?;
    let address = format!("http://{}", listener.local_addr()?);
    let token = operator_token(&hub, &folder).await?;

    let mut parts = Parts::new(cancel.clone());
    parts.spawn("the server", |cancel| {
        let hub = hub.clone();
        async move { api::serve(listener, hub, &ApiConfig::default(), cancel).await }
    });
    for way in notices::ways(&stores, &config.notify)? {
        parts.spawn("telling of trouble", |cancel| async move {
            way.run(cancel).await;
            Ok(())
        });
    }
    let reconciler = reconciler::reconciler(stores, &config.reconcile)?;
    parts.spawn("the reconciler", |cancel| async move {
        reconciler.run(cancel).await;
        Ok(())
    });
    greet(&address, &token, &folder);
    (options.ready)(&address, &token);
    if !options.no_agent {
        let agent = prepare_agent(&hub, &folder, &address, options.demo, &cancel).await?;
        if let Some(agent) = agent {
            let device = agent.device();
            if let Some((page, token)) = agent.page() {
                println!(
                    "  on site   http://{page}/   (the agent's own page; its token is in {})\n",
                    token.display()
                );
            }
            parts.spawn("the agent", |cancel| agent.run(cancel));
            if options.demo {
                parts.spawn("the demo", |cancel| async move {
                    Box::pin(demo::run(hub, device, &folder.demo(), &cancel)).await;
                    Ok(())
                });
            }
        }
    }
    tokio::spawn(async move {
        cancel.cancelled().await;
        println!("\nEnding; the next `holdfast up` goes on where this one stops.");
    });
    parts.run().await
}

fn greet(address: &str, token: &str, folder: &Folder) {
    println!("Holdfast is up.");
    println!("listening on {address}");
    println!("  page      {address}/");
    println!("  API       {address}/docs");
    println!(
        "  token     {token}   (an operator's, of role admin; kept in {})",
        folder.token().display()
    );
    println!("  data      {}", folder.root().display());
    println!("Ctrl-C ends it.\n");
}

/// The token that the folder keeps, or a new one if there is none that is in force.
async fn operator_token(hub: &Hub, folder: &Folder) -> anyhow::Result<String> {
    if let Some(token) = folder.read_token()?
        && hub.authenticate(&token).await.is_ok()
    {
        return Ok(token);
    }
    let (token, _) = hub
        .create_token("operator", Role::Admin, None, &Actor::named("up"))
        .await?;
    folder.write_token(&token)?;
    Ok(token)
}

/// The agent of this machine: under its identity if it has one, else with a key made for it here. `None`: the end came
/// before it.
async fn prepare_agent(
    hub: &Hub,
    folder: &Folder,
    address: &str,
    demo: bool,
    cancel: &CancellationToken,
) -> anyhow::Result<Option<agent::Prepared>> {
    let name = Name::new(if demo { "demo-plant" } else { "this-machine" })?;
    let config = AgentConfig {
        hub: address
            .replace("//0.0.0.0:", "//127.0.0.1:")
            .replace("//[::]:", "//[::1]:"),
        // It is this very process.
        allow_plain_http: true,
        data_dir: folder.agent(),
        name: Some(name.clone()),
        ..AgentConfig::default()
    };
    let key = async |identity: Option<&Identity>| match identity {
        Some(identity) if is_heard(hub, &identity.token).await? => Ok(None),
        _ => bound_key(hub, name).await.map(Some),
    };
    agent::prepare(&config, key, cancel)
        .await
        .context("starting the agent")
}

/// Is this the token of an agent that the hub hears? It is not if its device was deleted, or if the hub was restored from a
/// backup that is older than the agent.
async fn is_heard(hub: &Hub, token: &str) -> anyhow::Result<bool> {
    match hub.authenticate(token).await {
        Ok(_) => Ok(true),
        Err(AuthError::Store(error)) => Err(error.into()),
        Err(_) => Ok(false),
    }
}

/// A key for the device of this name, which is made if need be.
async fn bound_key(hub: &Hub, name: Name) -> anyhow::Result<String> {
    let actor = Actor::named("up");
    let device = match hub.parts().devices.find(&name).await? {
        Some(device) => device,
        None => {
            hub.create_device(name, BTreeMap::new(), &actor, None)
                .await?
                .record
                .id
        }
    };
    let (key, _) = hub
        .create_key("up", Some(device), None, None, &actor)
        .await?;
    Ok(key)
}
