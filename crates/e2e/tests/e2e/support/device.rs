//! A device as an operator sees it.

use std::collections::BTreeMap;

use holdfast_domain::{SensorId, event::Event};
use serde_json::{Value, json};

use super::{
    agent::Agent,
    client::{Answer, Client},
    hub::Hub,
    stream::Watch,
    wait::eventually,
};

/// A device of a hub.
pub(crate) struct Device {
    /// Its UUID.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// The provisioning key that its first agent registers with.
    pub(crate) key: String,
    /// Who looks at it.
    pub(crate) operator: Client,
}

impl Device {
    pub(super) fn new(hub: &Hub, created: &Value) -> Self {
        let key = text(created, "provisioningKey");
        Self {
            key,
            ..Self::found(hub, created)
        }
    }

    /// One that was not made here; its key is not known.
    pub(super) fn found(hub: &Hub, device: &Value) -> Self {
        Self {
            id: text(device, "id"),
            name: text(device, "name"),
            key: String::new(),
            operator: hub.admin.clone(),
        }
    }

    /// The same, looked at through a hub that was started anew.
    pub(crate) fn moved_to(&mut self, hub: &Hub) {
        self.operator = hub.admin.clone();
    }

    /// The same, looked at by somebody else.
    pub(crate) fn through(&self, operator: &Client) -> Self {
        let (id, name, key) = (self.id.clone(), self.name.clone(), self.key.clone());
        Self {
            id,
            name,
            key,
            operator: operator.clone(),
        }
    }

    /// The path of something of it.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/api/v1/devices/{}{rest}", self.id)
    }

    /// Something of it.
    pub(crate) async fn get(&self, rest: &str) -> Value {
        self.operator.get(&self.path(rest)).await
    }

    /// Asks for something to be done with it, whatever the answer.
    pub(crate) async fn ask(&self, method: &str, rest: &str, body: &Value) -> Answer {
        self.operator.ask(method, &self.path(rest), body).await
    }

    /// Adds a sensor and gives its id.
    pub(crate) async fn add(&self, sensor: &Value) -> String {
        let answer = self
            .operator
            .done("POST", &self.path("/sensors"), sensor)
            .await;
        answer["sensor"]["id"]
            .as_str()
            .unwrap_or_else(|| panic!("a new sensor has an id: {answer}"))
            .to_owned()
    }

    /// Changes some fields of a sensor, and gives the target's version.
    pub(crate) async fn patch(&self, sensor: &str, fields: &Value) -> u64 {
        let answer = self
            .operator
            .done("PATCH", &self.path(&format!("/sensors/{sensor}")), fields)
            .await;
        number(&answer, "version")
    }

    /// Removes a sensor, and gives the target's version.
    pub(crate) async fn remove(&self, sensor: &str) -> u64 {
        let answer = self
            .operator
            .done(
                "DELETE",
                &self.path(&format!("/sensors/{sensor}")),
                &Value::Null,
            )
            .await;
        number(&answer, "version")
    }

    /// Replaces all sensors.
    pub(crate) async fn put(&self, sensors: &[Value]) -> Answer {
        self.ask(
            "PUT",
            "/target-state",
            &json!({ "config": { "protocolAdapterDevices": sensors } }),
        )
        .await
    }

    /// The target.
    pub(crate) async fn target(&self) -> Value {
        self.get("/target-state").await
    }

    /// The sensors of the target.
    pub(crate) async fn wanted(&self) -> Vec<Value> {
        let target = self.target().await;
        target["config"]["protocolAdapterDevices"]
            .as_array()
            .cloned()
            .expect("a target has a list of sensors")
    }

    /// Every row of the read model, by id.
    pub(crate) async fn rows(&self) -> Vec<Value> {
        self.operator.all(&self.path("/sensors?view=all")).await
    }

    /// The row of a sensor, by id or name.
    pub(crate) async fn row(&self, sensor: &str) -> Value {
        self.get(&format!("/sensors/{sensor}")).await
    }

    /// Names of the sensors in the default list: what really runs.
    pub(crate) async fn running(&self) -> Vec<String> {
        let rows = self.operator.all(&self.path("/sensors")).await;
        assert!(
            rows.iter().all(|row| !row["running"].is_null()),
            "the default list shows what runs: {rows:#?}"
        );
        let mut names: Vec<String> = rows
            .iter()
            .filter_map(|row| row["name"].as_str().map(str::to_owned))
            .collect();
        names.sort();
        names
    }

    /// Every event of it, in order.
    pub(crate) async fn events(&self) -> Vec<Value> {
        self.operator
            .all(&format!("/api/v1/events?device={}", self.id))
            .await
    }

    /// Events of a type, in order.
    pub(crate) async fn events_of(&self, kind: &str) -> Vec<Value> {
        self.operator
            .all(&format!("/api/v1/events?device={}&type={kind}", self.id))
            .await
    }

    /// Follows its events from now on.
    pub(crate) async fn watch(&self) -> Watch {
        Watch::from_now(&self.operator, &self.id).await
    }

    /// An agent for it, not yet started.
    pub(crate) fn agent(&self, hub: &Hub) -> Agent {
        Agent::new(self, hub.folder(), &hub.url())
    }

    /// Waits until a row is as asked, and gives it.
    pub(crate) async fn row_when(
        &self,
        sensor: &str,
        what: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> Value {
        eventually(&format!("{sensor} is {what}"), async || {
            let row = self
                .ask("GET", &format!("/sensors/{sensor}"), &Value::Null)
                .await
                .body;
            if is_so(&row) {
                Ok(row)
            } else {
                Err(format!("{row:#}"))
            }
        })
        .await
    }

    /// Waits until a sensor is in a deployment status, and gives its row.
    pub(crate) async fn row_in(&self, sensor: &str, status: &str) -> Value {
        self.row_when(sensor, status, |row| row["deploymentStatus"] == status)
            .await
    }

    /// Waits until a sensor's instrument answers, or does not.
    pub(crate) async fn health(&self, sensor: &str, status: &str) -> Value {
        self.row_when(sensor, status, |row| row["health"]["status"] == status)
            .await
    }

    /// Waits until all of a version of the target runs and nothing else does, and until that is told of where drift was.
    pub(crate) async fn settled(&self, version: u64) {
        let what = format!("{} runs version {version} and nothing else", self.name);
        eventually(&what, async || {
            let target = self.target().await;
            let current = self.ask("GET", "/current-state", &Value::Null).await.body;
            let rows = self.rows().await;
            let wanted = target["config"]["protocolAdapterDevices"]
                .as_array()
                .map_or(0, Vec::len);
            let is_so = target["version"] == version
                && target["needsDeployment"] == false
                && current["version"] == version
                && current["heldVersion"] == version
                && rows.len() == wanted
                && rows.iter().all(|row| {
                    row["deploymentStatus"] == "deployed" && row["syncedToConfig"] == true
                });
            let told = "type=device.config_drift&type=device.reconciled";
            let told = self
                .operator
                .all(&format!("/api/v1/events?device={}&{told}", self.id))
                .await
                .pop();
            let is_so = is_so && told.is_none_or(|event| event["type"] == "device.reconciled");
            let shown = || {
                let rows: Vec<Value> = rows.iter().map(brief).collect();
                format!(
                    "target {}, worked {}, held {}, {rows:#?}",
                    target["version"], current["version"], current["heldVersion"]
                )
            };
            if is_so { Ok(()) } else { Err(shown()) }
        })
        .await;
    }

    /// Waits until the target's newest version runs, whichever that is.
    pub(crate) async fn settled_now(&self) {
        let version = number(&self.target().await, "version");
        self.settled(version).await;
    }

    /// Checks that the event log tells the whole of the read model: what is rebuilt from it is what stands there.
    pub(crate) async fn is_told_by_its_events(&self) {
        // A report may come between the two questions: then ask again.
        eventually("the read model is what its events tell", async || {
            let live: BTreeMap<SensorId, Value> = self.rows().await.iter().map(listed).collect();
            let events: Vec<Event> = self
                .events()
                .await
                .into_iter()
                .map(|event| serde_json::from_value(event).expect("the log holds events"))
                .collect();
            for (index, event) in events.iter().enumerate() {
                assert_eq!(
                    event.sequence,
                    index as u64 + 1,
                    "events of a device come without gaps, in order"
                );
            }
            let rebuilt = holdfast_domain::rebuild::rows(&events);
            if rebuilt == live {
                Ok(())
            } else {
                Err(format!("rebuilt {rebuilt:#?}\nlive {live:#?}"))
            }
        })
        .await;
    }
}

/// What a list says of a sensor, as far as the event log carries it.
fn listed(row: &Value) -> (SensorId, Value) {
    let id = row["id"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .expect("every row has an id");
    let content = [
        "id",
        "name",
        "protocol",
        "enabled",
        "pollInterval",
        "connection",
        "dataPoints",
        "metadata",
    ];
    let content: serde_json::Map<String, Value> = content
        .into_iter()
        .map(|key| (key.to_owned(), row[key].clone()))
        .collect();
    let listed = json!({
        "id": row["id"],
        "content": content,
        "running": !row["running"].is_null(),
        "configVersion": row["configVersion"],
        "syncedToConfig": row["syncedToConfig"],
        "deploymentStatus": row["deploymentStatus"],
        "deploymentError": row["deploymentError"],
    });
    (id, listed)
}

fn brief(row: &Value) -> Value {
    json!([
        row["name"],
        row["deploymentStatus"],
        row["configVersion"],
        row["deploymentError"],
        row["running"]
    ])
}

fn text(of: &Value, key: &str) -> String {
    of[key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key} in {of}"))
        .to_owned()
}

/// A whole number in an answer.
#[track_caller]
pub(crate) fn number(of: &Value, key: &str) -> u64 {
    of[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no number {key} in {of:#}"))
}
