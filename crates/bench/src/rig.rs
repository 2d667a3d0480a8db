//! A hub as it is deployed, on a PostgreSQL database of its own, and devices whose agents are nothing but their requests.

use std::{env, net::SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};
use holdfast_domain::{Item, document::report::running_fingerprint};
use serde_json::{Value, json};

use crate::{
    cluster::{TestCluster, URL_VAR},
    http::{Connection, request},
    load::{Request, Script},
    process::{Process, program},
};

/// Sensors of a device.
pub const SENSORS: usize = 10;

/// Width of a sequence number in a request that is used again and again: the first that has it is one more than this.
const BEFORE_SEQUENCES: u64 = 1_000_000_000;

/// A hub: a database and one or more `holdfast-api` on it. They end with it.
#[derive(Debug)]
pub struct Hub {
    /// Where its database is.
    pub cluster: TestCluster,
    database: String,
    servers: Vec<(Process, SocketAddr)>,
    /// Secret of a token that may do everything.
    pub token: String,
}

impl Hub {
    /// Brings up an empty one in the cluster that this run was given.
    ///
    /// # Errors
    /// If there is none, or the programs fail.
    pub fn start(core: Option<u32>) -> Result<Self> {
        let url = env::var(URL_VAR)
            .with_context(|| format!("{URL_VAR} is not set: run `cargo xtask bench`"))?;
        let cluster = TestCluster::at(&url);
        let database = cluster.fresh_database()?;
        run(&["migrate", "--store", &database])?;
        let create = [
            "token",
            "create",
            "admin",
            "--bootstrap",
            "--role",
            "admin",
            "--store",
        ];
        let said = run(&[&create[..], &[&database]].concat())?;
        let token = said
            .split_whitespace()
            .find(|word| word.starts_with("hft_"))
            .context("`token create` prints the secret")?
            .to_owned();
        let mut hub = Self {
            cluster,
            database,
            servers: Vec::new(),
            token,
        };
        hub.another(core)?;
        Ok(hub)
    }

    /// Starts one more replica and says where it listens.
    ///
    /// # Errors
    /// If it does not start.
    pub fn another(&mut self, core: Option<u32>) -> Result<SocketAddr> {
        let mut api = program("holdfast-api", core)?;
        api.env("HOLDFAST_API_LISTEN", "127.0.0.1:0")
            .env("HOLDFAST_API_STORE__URL", &self.database);
        let server = Process::server(api)?;
        let addr = server.1;
        self.servers.push(server);
        Ok(addr)
    }

    /// Where its first server listens.
    pub fn addr(&self) -> SocketAddr {
        self.servers[0].1
    }

    /// The process of its first server.
    pub fn server(&self) -> &Process {
        &self.servers[0].0
    }

    /// Makes a device that no agent speaks for yet, and gives its id and the key to register with.
    ///
    /// # Errors
    /// If the hub refuses.
    pub async fn device(&self, operator: &mut Connection, name: &str) -> Result<(String, String)> {
        let made = operator
            .json(
                "POST",
                "/api/v1/devices",
                &self.token,
                &json!({ "name": name }),
            )
            .await?;
        Ok((text(&made["id"])?, text(&made["provisioningKey"])?))
    }

    /// Makes a device with sensors, all of which its agent says it runs.
    ///
    /// # Errors
    /// If the hub refuses.
    pub async fn running_device(
        &self,
        operator: &mut Connection,
        name: &str,
        sensors: Vec<Value>,
    ) -> Result<Device> {
        let (id, key) = self.device(operator, name).await?;
        let target = json!({ "config": { "protocolAdapterDevices": sensors } });
        let path = format!("/api/v1/devices/{id}/target-state");
        operator.json("PUT", &path, &self.token, &target).await?;

        let secret = format!(
            "hfa_{name}_{:032x}",
            u128::from_str_radix(&id.replace('-', ""), 16)?
        );
        let hash = blake3::hash(secret.as_bytes()).to_hex();
        let registration = json!({ "tokenHash": hash.as_str() });
        let given = operator
            .json("POST", "/api/v1/device/register", &key, &registration)
            .await?;

        let poll = request(
            "GET",
            &format!("/api/v1/device/{id}/state"),
            &secret,
            "",
            "",
        );
        let answer = operator.ask(&poll).await?;
        ensure!(answer.status == 200, "the target: {}", answer.status);
        let etag = answer
            .header("etag")
            .context("a target has a tag")?
            .to_owned();
        let document: Value = serde_json::from_slice(answer.body)?;
        let target = &document[&id];
        let items = target["config"]["protocolAdapterDevices"].as_array();
        let items = items.context("a target has sensors")?.iter().cloned();
        let device = Device {
            etag,
            version: target["version"]
                .as_u64()
                .context("a target has a version")?,
            items: items
                .map(serde_json::from_value)
                .collect::<Result<_, _>>()?,
            incarnation: text(&given["incarnation"])?,
            id,
            secret,
        };
        let full = device.says(&device.block(None), &json!({}));
        let answer = operator.ask(&full.with(BEFORE_SEQUENCES)).await?;
        ensure!(
            answer.status == 200 && answer.body.windows(5).any(|part| part == b"taken"),
            "the first report: {} {}",
            answer.status,
            String::from_utf8_lossy(answer.body)
        );
        Ok(device)
    }
}

/// A sensor of some 200 bytes, so that ten of them are a document of 2 kB.
pub fn small_sensor(number: usize) -> Value {
    json!({
        "name": format!("s-{number}"), "protocol": "modbus", "pollInterval": 1000,
        "connection": { "type": "tcp", "host": "10.0.0.5", "unitId": number + 1 },
        "dataPoints": [], "metadata": {},
    })
}

/// A device and what its agent knows.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its UUID.
    pub id: String,
    /// The secret of its agent's token.
    pub secret: String,
    /// The tag of the target that it holds.
    pub etag: String,
    /// The ids and contents that it runs.
    pub items: Vec<Item>,
    version: u64,
    incarnation: String,
}

impl Device {
    /// Reports each of which changes one sensor: the first fails, and recovers, again and again.
    pub fn changing(&self) -> Script {
        let mut requests = [self.block(Some(0)), self.block(None)]
            .map(|block| self.says(&block, &Value::Null))
            .to_vec();
        for request in &mut requests {
            request.says = b"taken";
        }
        Script::new(requests, BEFORE_SEQUENCES)
    }

    /// Reports that say nothing new. The first reports must have been sent before.
    pub fn unchanging(&self) -> Script {
        let mut request = self.says(&self.block(None), &json!({}));
        request.says = b"unchanged";
        Script::new(vec![request], BEFORE_SEQUENCES)
    }

    /// Polls for a target that it holds already.
    pub fn holding(&self) -> Script {
        let path = format!("/api/v1/device/{}/state", self.id);
        let held = format!("if-none-match: {}\r\n", self.etag);
        let request = Request {
            bytes: request("GET", &path, &self.secret, &held, ""),
            digits: None,
            status: 304,
            says: b"",
        };
        Script::new(vec![request], 0)
    }

    /// What it worked through: all runs, but one if that failed. As members of a JSON object.
    fn block(&self, failing: Option<usize>) -> String {
        let runs = |index: &usize| Some(*index) != failing;
        let running = || {
            (0..self.items.len())
                .filter(runs)
                .map(|index| &self.items[index])
        };
        let failures: Vec<Value> = failing
            .map(|index| {
                let sensor = &self.items[index].sensor;
                json!({ "id": sensor.id(), "fingerprint": sensor.fingerprint(), "attempts": 3,
                        "error": "connect 10.0.0.5:502: connection refused" })
            })
            .into_iter()
            .collect();
        let running_json: Vec<&Item> = running().collect();
        format!(
            r#""heldVersion":{version},"version":{version},"runningFingerprint":{},"config":{},"failures":{}"#,
            json!(running_fingerprint(running())),
            json!({ "protocolAdapterDevices": running_json }),
            json!(failures),
            version = self.version,
        )
    }

    fn says(&self, block: &str, health: &Value) -> Request {
        let health = if health.is_null() {
            String::new()
        } else {
            format!(r#","health":{health}"#)
        };
        let start = format!(
            r#"{{"{}":{{"schemaVersion":1,"incarnation":"{}","boot":1,"sequence":"#,
            self.id, self.incarnation
        );
        let body = format!("{start}{BEFORE_SEQUENCES},{block}{health}}}}}");
        let bytes = request("PATCH", "/api/v1/device/state", &self.secret, "", &body);
        let from = bytes.len() - body.len() + start.len();
        let to = from + BEFORE_SEQUENCES.to_string().len();
        Request {
            bytes,
            digits: Some(from..to),
            status: 200,
            says: b"",
        }
    }
}

impl Request {
    /// The bytes with a number in them.
    fn with(&self, number: u64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if let Some(digits) = self.digits.clone() {
            bytes.splice(digits, number.to_string().into_bytes());
        }
        bytes
    }
}

fn text(value: &Value) -> Result<String> {
    value
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("expected a text, got {value}"))
}

fn run(arguments: &[&str]) -> Result<String> {
    let output = program("holdfast", None)?.args(arguments).output()?;
    if !output.status.success() {
        bail!(
            "holdfast {}: {}",
            arguments[0],
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}
