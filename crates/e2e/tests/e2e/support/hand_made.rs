//! An agent made of plain requests, which says what the test wants it to say.

use holdfast_domain::{Item, document::report::running_fingerprint};
use serde_json::{Map, Value, json};

use super::{
    client::{Answer, Client},
    device::Device,
};

/// An agent that is nothing but its requests.
pub(crate) struct HandMade {
    /// Who asks, with the agent's own token.
    pub(crate) client: Client,
    /// Its device.
    pub(crate) device: String,
    /// The life of its disk.
    pub(crate) incarnation: String,
    /// Counted up at each start.
    pub(crate) boot: u64,
    /// The number of the last report.
    pub(crate) sequence: u64,
    /// The version that it says it holds.
    pub(crate) held: u64,
    fingerprint: String,
}

impl HandMade {
    /// Registers with the device's key.
    pub(crate) async fn register(device: &Device) -> Self {
        Self::register_with(device, &device.key).await
    }

    /// Registers with another key of the device.
    pub(crate) async fn register_with(device: &Device, key: &str) -> Self {
        let token = format!("hfa_{:016x}{:016x}", random(), random());
        let request = json!({ "tokenHash": blake3::hash(token.as_bytes()).to_hex().as_str() });
        let with_key = device.operator.with(Some(key));
        let answer = with_key
            .done("POST", "/api/v1/device/register", &request)
            .await;
        let again = with_key
            .done("POST", "/api/v1/device/register", &request)
            .await;
        assert_eq!(answer, again, "the same request again gets the same answer");
        assert_eq!(answer["device"], device.id);
        Self {
            client: device.operator.with(Some(&token)),
            device: device.id.clone(),
            incarnation: answer["incarnation"]
                .as_str()
                .expect("registration gives an incarnation")
                .to_owned(),
            boot: 1,
            sequence: 0,
            held: 0,
            fingerprint: running_fingerprint(&[]).to_string(),
        }
    }

    /// The body of the next report: who speaks, and `what` it says. What `what` says of who speaks goes before.
    pub(crate) fn body(&mut self, what: &Value) -> Value {
        self.sequence += 1;
        if let Some(running) = what["config"]["protocolAdapterDevices"].as_array() {
            let items: Vec<Item> = running
                .iter()
                .map(|item| {
                    serde_json::from_value(item.clone()).expect("what runs is a list of sensors")
                })
                .collect();
            self.fingerprint = running_fingerprint(&items).to_string();
        }
        if let Some(held) = what["heldVersion"].as_u64() {
            self.held = held;
        }
        let mut members: Map<String, Value> = Map::new();
        members.insert("schemaVersion".into(), json!(1));
        members.insert("incarnation".into(), json!(self.incarnation));
        members.insert("boot".into(), json!(self.boot));
        members.insert("sequence".into(), json!(self.sequence));
        members.insert("heldVersion".into(), json!(self.held));
        members.insert("runningFingerprint".into(), json!(self.fingerprint));
        for (key, value) in what.as_object().into_iter().flatten() {
            members.insert(key.clone(), value.clone());
        }
        json!({ self.device.clone(): members })
    }

    /// Reports and gives what came of it.
    pub(crate) async fn report(&mut self, what: &Value) -> String {
        let body = self.body(what);
        let answer = self.send(&body).await.good("a report");
        answer["result"]
            .as_str()
            .expect("a report has a result")
            .to_owned()
    }

    /// Sends a report as it is.
    pub(crate) async fn send(&self, body: &Value) -> Answer {
        self.client.ask("PATCH", "/api/v1/device/state", body).await
    }

    /// Asks for the target, saying which one it holds.
    pub(crate) async fn poll(&self, held: Option<&str>) -> Answer {
        let request = self
            .client
            .request("GET", &format!("/api/v1/device/{}/state", self.device));
        super::client::send(match held {
            Some(held) => request.header("if-none-match", held),
            None => request,
        })
        .await
    }

    /// The target that it should run.
    pub(crate) async fn target(&self) -> Value {
        self.poll(None).await.good("the target")[&self.device].clone()
    }

    /// Takes the target and says, in full, that all of it runs.
    pub(crate) async fn run_all(&mut self) -> String {
        let target = self.target().await;
        self.run(&target, |_| true).await
    }

    /// Says, in full, that of `target` what `is_so` runs, and that nothing failed.
    pub(crate) async fn run(&mut self, target: &Value, is_so: impl Fn(&Value) -> bool) -> String {
        let items = target["config"]["protocolAdapterDevices"]
            .as_array()
            .expect("a target has sensors");
        let running: Vec<&Value> = items.iter().filter(|item| is_so(item)).collect();
        let what = json!({
            "heldVersion": target["version"],
            "version": target["version"],
            "config": { "protocolAdapterDevices": running },
            "failures": [],
            "health": {},
        });
        self.report(&what).await
    }
}

/// Differs from call to call and from process to process.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}
