//! An agent that puts one output back as often as it can: the agent's loops, its Modbus adapter and its disk as they are
//! shipped, in a process of its own, with a hub that is a few lines of code.
//!
//! An agent looks at its outputs by a timer, which is not what is measured. So the runtime's clock stands still here, and is
//! put forward by one interval each time a value was read back: then the next look is due. All else goes on as ever; what
//! the agent does by the clock (heartbeats, reports) is set so far apart that it comes as often in a second of the
//! real clock as it would.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use holdfast_bus_modbus::{ModbusBus, Settings};
use holdfast_domain::{
    DeviceId, Incarnation, PointId, PointValue, Protocol, Report, Sensor, TargetState,
    hold::WriteOutcome,
};
use holdfast_edge::{Agent, AgentParts, AgentSettings};
use holdfast_ledger::RedbLedger;
use holdfast_ports::{
    bus::{FieldBus, Fresh, RunningSensor, StartError, StartRequest},
    hub_link::{HeldTarget, HubError, HubLink, Polled, ReportAnswer},
    ledger::{Identity, Ledger as _},
    store::PointRecord,
};
use holdfast_runtime::clock::{SystemClock, SystemEntropy};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The argument that makes a benchmark's program this.
pub const PART: &str = "restoring";

const WANTED: i64 = 725;

/// How often the output is looked at, by the clock that is put forward: it is put back 120 times an hour.
const INTERVAL: Duration = Duration::from_secs(30);

/// So many intervals are a tenth of a second of the real clock, about: the time for which reports are merged.
const INTERVALS_IN_A_TENTH: u32 = 4_000;

/// How often the clock is put forward by a second until the first value was read back.
const WHILE_STARTING: Duration = Duration::from_millis(20);

/// Runs until it is killed.
///
/// # Errors
/// If it can't.
pub fn play(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let addr: SocketAddr = arguments.next().context("expected HOST:PORT")?.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?;
    runtime.block_on(run(addr))
}

async fn run(addr: SocketAddr) -> Result<()> {
    // As long as a blocking task runs, the runtime doesn't put its clock forward by itself.
    let (_running, ended) = std::sync::mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || ended.recv());
    let disk = tempfile::tempdir()?;
    let ledger = RedbLedger::open(disk.path().join("ledger.redb")).await?;
    let device = DeviceId(Uuid::from_u128(1));
    let identity = Identity {
        device,
        incarnation: Incarnation(Uuid::from_u128(2)),
        token: "none".into(),
        key: None,
    };
    ledger.set_identity(&identity).await?;
    let (verified, answered) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let asking = Arc::new(AtomicUsize::new(0));
    let modbus = ModbusBus::new(
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
        Settings::default(),
    );
    let parts = AgentParts {
        hub: Arc::new(Hub(Mutex::new(Some(Box::new(target(device, addr)?))))),
        ledger: Arc::new(ledger),
        buses: vec![Arc::new(Bus(
            modbus,
            Watch {
                verified: verified.clone(),
                asking: asking.clone(),
                answered: answered.clone(),
            },
        ))],
        readings: Vec::new(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    let mut settings = AgentSettings::default();
    let tenth = INTERVAL * INTERVALS_IN_A_TENTH;
    let apart = u64::try_from(tenth.as_millis())?;
    settings.machine.report_merge_ms = apart;
    settings.machine.report_lazy_ms = 100 * apart;
    settings.machine.heartbeat_ms = 300 * apart;
    settings.machine.full_report_ms = 36_000 * apart;
    settings.readings.interval = 10 * tenth;
    let agent = Agent::new(parts, settings).run(CancellationToken::new());
    let starting = async {
        loop {
            let _ = tokio::task::spawn_blocking(|| std::thread::sleep(WHILE_STARTING)).await;
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    };
    let forward = async move {
        tokio::select! {
            () = verified.notified() => {}
            () = starting => {}
        }
        verified.notify_one();
        loop {
            verified.notified().await;
            // The agent takes what was read; and nothing that it asks shall seem to take as long as the clock is put forward.
            for _ in 0..2 {
                tokio::task::yield_now().await;
            }
            while asking.load(Ordering::Relaxed) > 0 {
                answered.notified().await;
            }
            tokio::time::advance(INTERVAL + Duration::from_millis(1)).await;
        }
    };
    // As tasks, as in the agent's program.
    tokio::spawn(forward);
    Ok(tokio::spawn(agent).await??)
}

fn target(device: DeviceId, addr: SocketAddr) -> Result<TargetState> {
    let point = PointId(Uuid::from_u128(3));
    let sensor = json!({
        "id": Uuid::from_u128(4), "configVersion": 1, "name": "boiler", "protocol": "modbus", "pollInterval": 86_400_000,
        "connection": { "type": "tcp", "host": addr.ip(), "port": addr.port(), "unitId": 1, "timeoutMs": 60_000 },
        "dataPoints": [{ "id": point, "name": "target", "table": "holding", "address": 0, "dataType": "uint16",
                         "writable": true, "writeBudget": { "perDay": u32::MAX, "lifetime": i64::MAX } }],
    });
    let mut body = json!({
        "schemaVersion": 1, "version": 1,
        "config": { "protocolAdapterDevices": [sensor] },
        "hold": { "revision": 1, "intervalMs": INTERVAL.as_millis() as u64, "dynamic": false, "restoresPerHour": 3_600 },
    });
    let (_, target) = TargetState::from_json(json!({ device.to_string(): body.clone() }))?;
    let item = target.items.first().context("one sensor")?;
    let rules = item.sensor.content().binding.point_rules(point);
    let bound_to = rules.context("one point")?.identity;
    body["setpoints"] = json!({ "revision": 1, "items": [
        { "pointId": point, "boundTo": bound_to, "value": WANTED, "setBy": "anna", "revision": 1 },
    ] });
    let (_, target) = TargetState::from_json(json!({ device.to_string(): body }))?;
    Ok(target)
}

/// Gives the target once, and takes every report.
struct Hub(Mutex<Option<Box<TargetState>>>);

#[async_trait]
impl HubLink for Hub {
    async fn poll(&self, _: Option<&HeldTarget>, wait: Duration) -> Result<Polled, HubError> {
        let first = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(target) = first {
            return Ok(Polled::Target(target));
        }
        tokio::time::sleep(wait).await;
        Ok(Polled::Unchanged)
    }

    async fn report(&self, _: &Report) -> Result<ReportAnswer, HubError> {
        Ok(ReportAnswer::Taken)
    }

    async fn readings(&self, _: &[PointRecord]) -> Result<(), HubError> {
        Ok(())
    }

    async fn new_incarnation(&self) -> Result<Incarnation, HubError> {
        Err(HubError::Unreachable("there is one life here".into()))
    }
}

/// The adapter, watched.
struct Bus(ModbusBus, Watch);

struct Running(Box<dyn RunningSensor>, Watch);

#[derive(Clone)]
struct Watch {
    /// Rings when the wanted value was read.
    verified: Arc<Notify>,
    /// Requests under way.
    asking: Arc<AtomicUsize>,
    /// Rings when there is none.
    answered: Arc<Notify>,
}

impl Watch {
    async fn during<T>(&self, asked: impl Future<Output = T>) -> T {
        self.asking.fetch_add(1, Ordering::Relaxed);
        let answer = asked.await;
        if self.asking.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.answered.notify_one();
        }
        answer
    }
}

#[async_trait]
impl FieldBus for Bus {
    fn protocol(&self) -> Protocol {
        self.0.protocol()
    }

    async fn start(&self, request: StartRequest) -> Result<Box<dyn RunningSensor>, StartError> {
        let running = self.0.start(request).await?;
        Ok(Box::new(Running(running, self.1.clone())))
    }
}

#[async_trait]
impl RunningSensor for Running {
    async fn read(&self, points: &[PointId]) -> Vec<Fresh> {
        let shown = self.1.during(self.0.read(points)).await;
        let wanted = Some(PointValue::Integer(WANTED));
        if shown.iter().all(|fresh| fresh.value == wanted) {
            self.1.verified.notify_one();
        }
        shown
    }

    async fn write(&self, point: PointId, value: &PointValue) -> WriteOutcome {
        self.1.during(self.0.write(point, value)).await
    }

    async fn update(&self, sensor: Arc<Sensor>) -> Result<(), StartError> {
        self.0.update(sensor).await
    }

    async fn stop(self: Box<Self>) {
        self.0.stop().await;
    }
}
