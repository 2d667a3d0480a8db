//! A device whose agent is the one that is shipped: its sensors, its agent's process, and what its operator asks.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::{
    http::Connection,
    instruments::{FIRST, REGISTERS},
    process::{Process, program},
    rig::Hub,
};

/// A device with its agent.
#[derive(Debug)]
pub struct Plant {
    /// The device's UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its agent; none before it is started.
    pub agent: Option<Process>,
    key: String,
    disk: tempfile::TempDir,
}

impl Plant {
    /// A device that has these sensors. Its agent does not run yet.
    ///
    /// # Errors
    /// If the hub refuses.
    pub async fn prepare(hub: &Hub, sensors: &[Value]) -> Result<Self> {
        let mut operator = Connection::to(hub.addr()).await?;
        let disk = tempfile::tempdir()?;
        let folder = disk.path().file_name().unwrap_or_default();
        let name = format!("gateway-{}", folder.display());
        let (id, key) = hub.device(&mut operator, &name).await?;
        let target = json!({ "config": { "protocolAdapterDevices": sensors } });
        let path = format!("/api/v1/devices/{id}/target-state");
        operator.json("PUT", &path, &hub.token, &target).await?;
        Ok(Self {
            id,
            name,
            agent: None,
            key,
            disk,
        })
    }

    /// Starts its agent.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start(&mut self, hub: &Hub, core: Option<u32>) -> Result<u32> {
        let agent = agent(hub.addr(), &self.key, &self.name, self.disk.path(), core)?;
        Ok(self.agent.insert(agent).id())
    }

    /// A path of its interface.
    pub fn path(&self, rest: &str) -> String {
        format!("/api/v1/devices/{}{rest}", self.id)
    }

    /// Asks the hub again and again, `pause` apart, until the answer is as it shall be; gives the answer.
    ///
    /// # Errors
    /// If that takes longer than a minute, or the hub refuses.
    pub async fn until(
        &self,
        hub: &Hub,
        operator: &mut Connection,
        rest: &str,
        pause: Duration,
        is_so: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        const PATIENCE: Duration = Duration::from_secs(60);
        let until = std::time::Instant::now() + PATIENCE;
        let path = self.path(rest);
        loop {
            let shown = operator
                .json("GET", &path, &hub.token, &Value::Null)
                .await
                .with_context(|| format!("asking {path}"))?;
            if is_so(&shown) {
                return Ok(shown);
            }
            if std::time::Instant::now() > until {
                bail!("{path} did not become as expected within {PATIENCE:?}: {shown}");
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// Starts an agent that keeps what it knows in a folder.
///
/// # Errors
/// If it can't be started.
pub fn agent(
    hub: SocketAddr,
    key: &str,
    name: &str,
    disk: &Path,
    core: Option<u32>,
) -> Result<Process> {
    let mut agent = program("holdfast-agent", core)?;
    agent
        .env("HOLDFAST_AGENT_HUB", format!("http://{hub}"))
        .env("HOLDFAST_AGENT_DATA_DIR", disk)
        .env("HOLDFAST_AGENT_PROVISIONING_KEY", key)
        .env("HOLDFAST_AGENT_NAME", name)
        .env("HOLDFAST_AGENT_LOCAL__LISTEN", "127.0.0.1:0");
    Process::start(agent)
}

/// A Modbus TCP unit of 100 registers; each is a point `r-N`, which can be written where `writable` says so.
pub fn unit(
    number: usize,
    addr: SocketAddr,
    unit: usize,
    poll_ms: u32,
    writable: impl Fn(u16) -> bool,
) -> Value {
    let point = |address: u16| {
        let mut point = json!({ "name": format!("r-{address}"), "table": "holding", "address": address, "dataType": "uint16" });
        if writable(address) {
            point["writable"] = json!(true);
            point["writeBudget"] = json!({ "perDay": 1_000_000, "lifetime": 1_000_000_000 });
        }
        point
    };
    json!({
        "name": format!("unit-{number}"), "protocol": "modbus", "pollInterval": poll_ms,
        "connection": { "type": "tcp", "host": addr.ip(), "port": addr.port(), "unitId": unit },
        "dataPoints": (FIRST..FIRST + REGISTERS).map(point).collect::<Vec<_>>(),
    })
}
