//! A tour of the loops at work: simulated instruments behind real sockets, and what happens to them told line by line.
//!
//! Here: what runs. [`values`] is the chapter about what outputs hold.

mod values;

use std::{collections::BTreeMap, io, path::Path, time::Duration};

use anyhow::Context as _;
use holdfast_device_sim::{demo::boiler, modbus::ModbusInstrument};
use holdfast_domain::{
    DeviceId, HealthStatus, SensorId,
    edit::Edit,
    event::EventKind,
    row::{Actor, DeploymentStatus, SensorRow},
};
use holdfast_hub::{Hub, edits::EditRequest};
use holdfast_ports::events::EventFilter;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The instruments that are there from the beginning, by the names of their sensors.
const INSTRUMENTS: [&str; 3] = ["boiler-1", "boiler-2", "boiler-3"];
/// The one that is declared before it is there.
const LATE: &str = "boiler-4";

/// How long the agent may take to look at everything when the demo goes on.
const LOOK: Duration = Duration::from_secs(10);

/// Runs the tour, then keeps the instruments there, until `cancel` is. If the tour can't go on it says why, and the rest of
/// the process goes on.
pub(super) async fn run(hub: Hub, device: DeviceId, ports: &Path, cancel: &CancellationToken) {
    let started = Instant::now();
    let tour = Box::pin(async {
        let tour = Tour::start(hub, device, ports, started).await?;
        tour.show().await?;
        std::future::pending::<anyhow::Result<()>>().await
    });
    if let Some(Err(error)) = cancel.run_until_cancelled(tour).await {
        println!("The demo ended: {error:#}");
        cancel.cancelled().await;
    }
}

struct Tour {
    hub: Hub,
    device: DeviceId,
    started: Instant,
    instruments: BTreeMap<&'static str, ModbusInstrument>,
}

impl Tour {
    async fn start(
        hub: Hub,
        device: DeviceId,
        path: &Path,
        started: Instant,
    ) -> anyhow::Result<Self> {
        let mut ports = kept_ports(path)?;
        let mut instruments = BTreeMap::new();
        for (seed, name) in INSTRUMENTS.into_iter().chain([LATE]).enumerate() {
            let instrument = bind(seed as u64, ports.get(name).copied(), name == LATE).await?;
            ports.insert(name.to_owned(), instrument.local_addr().port());
            instruments.insert(name, instrument);
        }
        std::fs::write(path, json!(ports).to_string())
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(Self {
            hub,
            device,
            started,
            instruments,
        })
    }

    async fn show(&self) -> anyhow::Result<()> {
        let known = self.hub.state(self.device).await?;
        if known.wanted_by_name(LATE).is_some() {
            self.say(
                "the tour was given before: all four instruments are there, and the loop goes on",
            );
            self.instruments[LATE].plug().await?;
            let actor = Actor::named("demo");
            let asked = self
                .hub
                .reconcile(self.device, LOOK, Some("demo"), &actor, None);
            if !asked.await?.answered {
                self.say("the agent has not answered yet: what follows is what was known before");
            }
            for name in INSTRUMENTS.into_iter().chain([LATE]) {
                self.declare(name).await?;
                let row = self
                    .row(name, |row| health(row) == Some(HealthStatus::Online))
                    .await?;
                self.say(&format!("{name} is {} and online, as before", row.status));
            }
            return self.show_held().await;
        }
        self.say(
            "three simulated Modbus TCP instruments are plugged in; declaring a sensor for each",
        );
        for name in INSTRUMENTS {
            self.declare(name).await?;
        }
        for name in INSTRUMENTS {
            self.wait_for_deployed(name).await?;
        }
        self.show_values().await?;
        self.pause().await;
        self.say("unplugging boiler-2");
        self.instruments["boiler-2"].unplug().await?;
        let row = self
            .row("boiler-2", |row| health(row) == Some(HealthStatus::Offline))
            .await?;
        self.say(&format!(
            "boiler-2 is offline ({}); it stays deployed, and the others run on",
            reason(&row)
        ));
        self.pause().await;
        self.say("declaring boiler-4, whose instrument does not exist");
        self.declare(LATE).await?;
        let row = self
            .row(LATE, |row| row.status == DeploymentStatus::Failed)
            .await?;
        let error = row.error.as_deref().unwrap_or("no reason given");
        self.say(&format!(
            "boiler-4 failed: {error}; it is tried again, and the others run on"
        ));
        self.pause().await;
        self.say("plugging in boiler-4, and boiler-2 again");
        self.instruments[LATE].plug().await?;
        self.instruments["boiler-2"].plug().await?;
        self.wait_for_deployed(LATE).await?;
        self.row("boiler-2", |row| health(row) == Some(HealthStatus::Online))
            .await?;
        self.say("boiler-2 is online again");
        self.say("all that is wanted runs and is held; nobody had to do anything. Look at the page, or try: holdfast get sensors");
        Ok(())
    }

    /// Time to look at the page.
    async fn pause(&self) {
        tokio::time::sleep(Duration::from_secs(4)).await;
    }

    fn say(&self, what: &str) {
        println!("{:>7.2} s  {what}", self.started.elapsed().as_secs_f64());
    }

    /// Declares a sensor, or its instrument's port if that is another now.
    async fn declare(&self, name: &str) -> anyhow::Result<()> {
        let state = self.hub.state(self.device).await?;
        let port = self.instruments[name].local_addr().port();
        let edit = match state.wanted_by_name(name) {
            None => Edit::Add(sensor(name, port)),
            Some(known) => Edit::Patch(known.id(), json!({ "connection": { "port": port } })),
        };
        let actor = Actor::named("demo");
        let request = EditRequest {
            actor: &actor,
            reason: Some("demo"),
            if_version: None,
            correlation: None,
        };
        let edited = self.hub.edit(self.device, &edit, request).await?;
        if edited.changed {
            self.say(&format!(
                "{name} declared: target version {}, pending",
                edited.version
            ));
        }
        Ok(())
    }

    async fn wait_for_deployed(&self, name: &str) -> anyhow::Result<()> {
        let row = self
            .row(name, |row| row.status == DeploymentStatus::Deployed)
            .await?;
        let how = match self.times(row.id).await? {
            Some(times) => times,
            None => "as before".to_owned(),
        };
        self.say(&format!(
            "{name} deployed ({how}), version {}",
            row.config_version
        ));
        Ok(())
    }

    /// How long the last way to `deployed` took, out of the event log.
    async fn times(&self, sensor: SensorId) -> anyhow::Result<Option<String>> {
        let kinds = vec![
            EventKind::SensorAdded,
            EventKind::SensorFailed,
            EventKind::SensorDeployed,
            EventKind::SensorRecovered,
        ];
        let filter = EventFilter {
            device: Some(self.device),
            kinds,
        };
        let events = self.hub.parts().events.latest(&filter, 50).await?;
        let mut of_sensor = events
            .iter()
            .filter(|event| event.payload["sensorId"] == json!(sensor));
        let Some(last) = of_sensor.next() else {
            return Ok(None);
        };
        let Some(before) = of_sensor.next() else {
            return Ok(None);
        };
        let took = last.at.duration_since(before.at).as_millis();
        Ok(Some(match (before.kind, last.kind) {
            (EventKind::SensorAdded, EventKind::SensorDeployed) => {
                format!("{took} ms after it was declared")
            }
            (EventKind::SensorRecovered, EventKind::SensorDeployed) => {
                "recovered by itself".to_owned()
            }
            _ => return Ok(None),
        }))
    }

    /// The sensor's row as soon as it is as asked.
    async fn row(
        &self,
        name: &str,
        is_so: impl Fn(&SensorRow) -> bool,
    ) -> anyhow::Result<SensorRow> {
        const LOOK_EVERY: Duration = Duration::from_millis(20);
        loop {
            let state = self.hub.state(self.device).await?;
            let row = state
                .rows
                .values()
                .find(|row| row.shown.name().as_str() == name);
            if let Some(row) = row.filter(|row| is_so(row)) {
                return Ok(row.clone());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn health(row: &SensorRow) -> Option<HealthStatus> {
    row.health.as_ref().map(|health| health.status)
}

fn reason(row: &SensorRow) -> String {
    let reason = row.health.as_ref().and_then(|health| health.reason.clone());
    reason.unwrap_or_else(|| "no reason given".to_owned())
}

fn kept_ports(path: &Path) -> anyhow::Result<BTreeMap<String, u16>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// An instrument on the port that it had before, or on another if that is taken.
async fn bind(seed: u64, port: Option<u16>, unplugged: bool) -> anyhow::Result<ModbusInstrument> {
    let make = async |port: u16| {
        let builder = ModbusInstrument::builder().unit(1, boiler(seed));
        let address = format!("127.0.0.1:{port}");
        if unplugged {
            builder.bind_unplugged(address).await
        } else {
            builder.bind(address).await
        }
    };
    match make(port.unwrap_or(0)).await {
        Ok(instrument) => Ok(instrument),
        Err(_) if port.is_some() => Ok(make(0).await?),
        Err(error) => Err(error.into()),
    }
}

fn sensor(name: &str, port: u16) -> Value {
    json!({
        "name": name,
        "protocol": "modbus",
        "pollInterval": 1000,
        "connection": { "type": "tcp", "host": "127.0.0.1", "port": port, "unitId": 1, "timeoutMs": 1000 },
        "dataPoints": [
            { "name": "flow-temperature", "table": "input", "address": 0, "dataType": "float32", "unit": "°C" },
            { "name": "return-temperature", "table": "input", "address": 2, "dataType": "float32", "wordOrder": "little", "unit": "°C" },
            { "name": "pressure", "table": "input", "address": 4, "dataType": "uint16", "scale": 0.01, "unit": "bar" },
            { "name": "room-temperature", "table": "holding", "address": 100, "dataType": "float32", "unit": "°C" },
            { "name": "target-temperature", "table": "holding", "address": 200, "dataType": "int16", "scale": 0.1, "unit": "°C",
              "writable": true, "limits": { "min": 20, "max": 90 }, "settleMs": 200 },
            { "name": "flame", "table": "discrete", "address": 0, "dataType": "bool" },
        ],
        "metadata": { "site": "demo" },
    })
}
