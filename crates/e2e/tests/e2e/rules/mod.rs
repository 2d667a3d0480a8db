//! The rules of the value loop, end to end, each on the same instrument of three makes at once: our own simulator, pymodbus
//! and libmodbus. mbpoll is the witness of what really stands there, and the instruments' own counts of what was written.
//!
//! One hub and one agent serve all three, so that a broken rule is seen on each make in one run; the loops of both stores
//! are in `values.rs`. Modules: [`acting`] when something is written at all, [`verifying`] instruments that lie, [`pacing`]
//! slow and dead ones, [`stopping`], [`lasting`] kills, power cuts, hands and edits.

mod acting;
mod lasting;
mod pacing;
mod stopping;
mod verifying;

use serde_json::{Value, json};

use crate::support::{
    agent::Agent,
    client::Client,
    device::Device,
    hub::{Hub, Store},
    makes::{Habit, Made, one_of_each},
    wait::eventually,
};

/// A device with the same instrument of three makes, and its agent, which looks at outputs ten times a second.
struct Plant {
    hub: Hub,
    device: Device,
    agent: Agent,
    /// Who asks the agent itself.
    site: Client,
    makes: [Made; 3],
}

impl Plant {
    /// With one unit each that does as it is told.
    async fn new() -> Self {
        Self::with(&[Habit::Obeys], 0, |_, _| {}).await
    }

    /// With these units each, which take so long for each answer, and sensors that were changed on the way.
    async fn with(habits: &[Habit], slow_ms: u64, edit: impl Fn(u8, &mut Value)) -> Self {
        let hub = Hub::start(Store::Sqlite).await;
        let makes = one_of_each(habits, slow_ms).await;
        let device = hub.device("plant").await;
        let mut sensors = Vec::new();
        for made in &makes {
            for (unit, _) in (1..).zip(habits) {
                let mut sensor = made.sensor(unit);
                edit(unit, &mut sensor);
                sensors.push(sensor);
            }
        }
        device.put(&sensors).await.good("all sensors");
        let agent = device.agent(&hub).started();
        let site = agent.on_site().await;
        let plant = Self {
            hub,
            device,
            agent,
            site,
            makes,
        };
        plant.tune(&json!({ "intervalMs": 100 })).await;
        plant.device.settled(1).await;
        plant
    }

    /// Changes how the loop runs.
    async fn tune(&self, settings: &Value) {
        let tuned = self.device.ask("PATCH", "/reconciliation", settings).await;
        tuned.good("other settings");
    }

    /// Sets what the unit 1 of each make shall hold.
    async fn set_each(&self, value: f64) {
        self.wish_each(&json!({ "value": value, "reason": "winter" }))
            .await;
    }

    /// The same with more than a value.
    async fn wish_each(&self, wish: &Value) {
        for made in &self.makes {
            self.wish(made, 1, wish).await;
        }
    }

    /// Sets what a unit shall hold.
    async fn wish(&self, made: &Made, unit: u8, wish: &Value) {
        let path = setpoint(made, unit);
        self.device.ask("PUT", &path, wish).await.good("a wish");
    }

    /// Waits until the setpoint of a unit stands like this, and gives it.
    async fn stands(&self, made: &Made, unit: u8, conformity: &str, hold: &str) -> Value {
        let path = setpoint(made, unit);
        eventually(&format!("{path} is {conformity} and {hold}"), async || {
            let shown = self.device.get(&path).await;
            if shown["conformity"] == conformity && shown["hold"] == hold {
                Ok(shown)
            } else {
                Err(shown.to_string())
            }
        })
        .await
    }

    /// The same of the unit 1 of each make.
    async fn each_stands(&self, conformity: &str, hold: &str) -> Vec<Value> {
        let mut shown = Vec::new();
        for made in &self.makes {
            shown.push(self.stands(made, 1, conformity, hold).await);
        }
        shown
    }

    /// Waits until each instrument was asked so many times more.
    async fn each_is_asked(&self, times: u64) {
        for made in &self.makes {
            made.is_asked(times).await;
        }
    }

    /// Waits until the loop has looked at each output so many times more, and each instrument was asked twice as often.
    async fn passes(&self, times: u64) {
        let path = "/api/v1/reconciliation";
        let view = async || self.site.get(path).await;
        let before = view().await["passes"].as_u64().expect("they are counted");
        self.each_is_asked(2 * times).await;
        let wanted = before + times * self.makes.len() as u64;
        eventually("the loop goes on looking", async || {
            let view = view().await;
            match view["passes"].as_u64() {
                Some(passes) if passes >= wanted => Ok(()),
                _ => Err(view.to_string()),
            }
        })
        .await;
    }

    /// Kills the agent.
    async fn kill_agent(&mut self) {
        self.agent.kill().await;
    }

    /// Starts it again.
    async fn start_agent(&mut self) {
        self.agent.start();
        self.site = self.agent.on_site().await;
    }

    /// Kills the hub, and brings it up again.
    async fn hub_anew(&mut self) {
        self.hub.kill_server().await;
        self.hub.bring_up().await;
        self.device.moved_to(&self.hub);
    }
}

/// The path of a unit's setpoint.
fn setpoint(made: &Made, unit: u8) -> String {
    format!("/setpoints/{}/target", made.sensor_name(unit))
}
