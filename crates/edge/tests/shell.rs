//! The agent whole, with its shell, against ports in memory, on a clock that jumps to whatever comes next.

#[path = "support/mod.rs"]
mod support;

#[path = "../../ledger/tests/support/contract.rs"]
mod contract;

use std::{
    sync::Arc,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use holdfast_domain::{
    Health, HealthStatus, SensorId,
    edit::Edit,
    event::Context,
    pace::Pressure,
    row::{Actor, DeploymentStatus, SensorRow},
    state::DeviceState,
    wish::{self, Tuning},
};
use holdfast_edge::{Agent, AgentError, AgentParts, AgentSettings, AgentStatus, HubAccess};
use holdfast_ports::{
    bus::FieldBus,
    hub_link::HubError,
    ledger::{Ledger, TurnedAway},
    load::MachineLoad,
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use support::{
    DEVICE, Random, StoppedClock,
    bus::{FakeBus, Mood},
    document,
    hub::FakeHub,
    ledger::MemoryLedger,
};

/// An agent that runs.
struct Running {
    cancel: CancellationToken,
    task: JoinHandle<Result<(), AgentError>>,
    status: watch::Receiver<Option<Arc<AgentStatus>>>,
}

impl Running {
    async fn end(self) {
        self.cancel.cancel();
        self.task.await.expect("no panic").expect("a clean end");
    }

    async fn until(&mut self, mut wanted: impl FnMut(&AgentStatus) -> bool) -> Arc<AgentStatus> {
        let found = self
            .status
            .wait_for(|status| status.as_deref().is_some_and(&mut wanted))
            .await;
        found.expect("the agent runs").clone().expect("a status")
    }
}

fn start(hub: &Arc<FakeHub>, ledger: &MemoryLedger, bus: &FakeBus) -> Running {
    run(agent(hub, ledger, bus))
}

fn agent(hub: &Arc<FakeHub>, ledger: &MemoryLedger, bus: &FakeBus) -> Agent {
    let parts = AgentParts {
        hub: hub.clone(),
        ledger: Arc::new(ledger.clone()),
        buses: vec![Arc::new(bus.clone()) as Arc<dyn FieldBus>],
        readings: Vec::new(),
        clock: Arc::new(StoppedClock),
        entropy: Arc::new(Random::new(1)),
    };
    Agent::new(parts, AgentSettings::default())
}

fn run(agent: Agent) -> Running {
    let (cancel, status) = (CancellationToken::new(), agent.status());
    let task = tokio::spawn(agent.run(cancel.clone()));
    Running {
        cancel,
        task,
        status,
    }
}

fn new_sensor(number: u128) -> Value {
    let mut sensor = document(number);
    sensor.as_object_mut().expect("an object").remove("id");
    sensor
}

fn id_of(hub: &FakeHub, name: &str) -> SensorId {
    hub.with(|model| model.state.wanted_by_name(name).expect("wanted").id())
}

fn row<'a>(state: &'a DeviceState, name: &str) -> Option<&'a SensorRow> {
    state
        .rows
        .values()
        .find(|row| row.shown.name().as_str() == name)
}

fn is_deployed(state: &DeviceState, name: &str) -> bool {
    row(state, name).is_some_and(|row| row.status == DeploymentStatus::Deployed)
}

fn is_failed(state: &DeviceState, name: &str) -> bool {
    row(state, name).is_some_and(|row| row.status == DeploymentStatus::Failed)
}

#[tokio::test]
async fn the_ledger_in_memory_keeps_the_contract_too() {
    let ledger = MemoryLedger::default();
    contract::all(|| std::future::ready(ledger.clone())).await;
}

#[tokio::test(start_paused = true)]
async fn a_sensor_that_is_saved_runs_and_the_hub_knows() {
    let (hub, ledger, bus) = (FakeHub::new(), MemoryLedger::registered(), FakeBus::new());
    let agent = start(&hub, &ledger, &bus);
    hub.edit(Edit::Add(new_sensor(1)));
    hub.until(|state| is_deployed(state, "sensor-1")).await;
    hub.until(|state| !state.needs_deployment()).await;
    assert_eq!(bus.calls(), ["start sensor-1"]);
    hub.with(|model| {
        let row = row(&model.state, "sensor-1").expect("a row");
        assert_eq!(
            (
                row.config_version,
                row.health.as_ref().expect("health").status
            ),
            (1, HealthStatus::Online)
        );
    });
    hub.edit(Edit::Patch(
        id_of(&hub, "sensor-1"),
        json!({ "pollInterval": 50 }),
    ));
    hub.until(|state| !state.needs_deployment()).await;
    hub.edit(Edit::Remove(id_of(&hub, "sensor-1")));
    hub.until(|state| state.rows.is_empty()).await;
    assert_eq!(
        bus.calls(),
        ["start sensor-1", "update sensor-1", "stop sensor-1"]
    );
    agent.end().await;
}

/// An agent that lost its disk is another one to this hub only by what it holds.
#[tokio::test(start_paused = true)]
async fn the_configuration_comes_once_as_long_as_it_is_held() {
    let (hub, ledger, bus) = (FakeHub::new(), MemoryLedger::registered(), FakeBus::new());
    let tune = |interval_ms: u32| {
        hub.with(|model| {
            let hold = &mut model.state.target.values.hold;
            hold.revision += 1;
            hold.interval_ms = interval_ms;
            hold.revision
        })
    };
    let confirmed = async |revision: u64| {
        let is_held = |state: &DeviceState| {
            let hold = state.reported.as_ref()?.values.hold.as_ref()?;
            Some(hold.held_revision == revision)
        };
        hub.until(|state| is_held(state) == Some(true)).await;
    };
    hub.edit(Edit::Add(new_sensor(1)));
    let agent = start(&hub, &ledger, &bus);
    hub.until(|state| !state.needs_deployment()).await;
    assert_eq!(*hub.given.lock().unwrap(), (1, 0));
    confirmed(tune(700)).await;
    confirmed(tune(800)).await;
    assert_eq!(*hub.given.lock().unwrap(), (1, 2));
    agent.end().await;

    let agent = start(&hub, &ledger, &bus);
    confirmed(tune(900)).await;
    assert_eq!(
        *hub.given.lock().unwrap(),
        (1, 3),
        "what the disk has is held"
    );
    hub.edit(Edit::Add(new_sensor(2)));
    hub.until(|state| is_deployed(state, "sensor-2")).await;
    assert_eq!(*hub.given.lock().unwrap(), (2, 3));
    agent.end().await;

    let lost = MemoryLedger::registered();
    let agent = start(&hub, &lost, &bus);
    confirmed(tune(1_000)).await;
    hub.until(|state| state.rows.len() == 2 && !state.needs_deployment())
        .await;
    let given = *hub.given.lock().unwrap();
    assert_eq!(given.0, 3, "an empty disk gets all of it: {given:?}");
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_from_its_ledger_with_no_hub_in_reach() {
    let (hub, ledger, bus) = (FakeHub::new(), MemoryLedger::registered(), FakeBus::new());
    let agent = start(&hub, &ledger, &bus);
    hub.edit(Edit::Add(new_sensor(1)));
    hub.until(|state| !state.needs_deployment()).await;
    agent.end().await;
    assert!(
        bus.with(|bus| bus.running.is_empty()),
        "a clean end stops what runs"
    );

    hub.goes_down(Some(HubError::Unreachable("no route to host".into())));
    let mut agent = start(&hub, &ledger, &bus);
    bus.until(|bus| bus.running.len() == 1).await;
    let id = bus.with(|bus| *bus.requests.keys().next().expect("one"));
    assert!(
        bus.with(|bus| bus.requests[&id]),
        "it stands in the ledger that it was established"
    );
    let status = agent.until(|status| status.hub.trouble.is_some()).await;
    assert_eq!(
        (status.held_version, status.worked_version, status.boot),
        (1, 1, 2)
    );
    let before = hub.with(|model| model.changes);
    hub.goes_down(None);
    agent
        .until(|status| status.hub.reachable_since.is_some())
        .await;
    hub.until(|state| {
        state
            .reported
            .as_ref()
            .is_some_and(|reported| reported.order.boot == 2)
    })
    .await;
    assert_eq!(
        hub.with(|model| model.changes),
        before + 1,
        "one report tells of the new boot"
    );
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_sleeping_plant_is_deployed_and_offline_after_a_restart() {
    let (hub, ledger, bus) = (FakeHub::new(), MemoryLedger::registered(), FakeBus::new());
    let agent = start(&hub, &ledger, &bus);
    hub.edit(Edit::Add(new_sensor(1)));
    hub.until(|state| !state.needs_deployment()).await;
    agent.end().await;
    bus.set_mood(
        id_of(&hub, "sensor-1"),
        Some(Mood::Refuses("no answer from unit 1 within 1000 ms")),
    );
    let agent = start(&hub, &ledger, &bus);
    let is_offline = |health: &Option<Health>| {
        health
            .as_ref()
            .is_some_and(|h| h.status == HealthStatus::Offline)
    };
    hub.until(|state| row(state, "sensor-1").is_some_and(|row| is_offline(&row.health)))
        .await;
    hub.with(|model| assert!(is_deployed(&model.state, "sensor-1")));
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_of_three_fails_with_its_reason_and_recovers_by_itself() {
    let (hub, ledger, bus) = (FakeHub::new(), MemoryLedger::registered(), FakeBus::new());
    for number in 1..=3 {
        hub.edit(Edit::Add(new_sensor(number)));
    }
    bus.set_mood(
        id_of(&hub, "sensor-3"),
        Some(Mood::Refuses("connect 10.0.0.5:502: connection refused")),
    );
    let agent = start(&hub, &ledger, &bus);
    hub.until(|state| is_failed(state, "sensor-3")).await;
    hub.until(|state| is_deployed(state, "sensor-1") && is_deployed(state, "sensor-2"))
        .await;
    hub.until(|state| {
        state
            .reported
            .as_ref()
            .is_some_and(|reported| reported.worked_version == 3)
    })
    .await;
    hub.until(|state| row(state, "sensor-3").is_some_and(|row| row.attempts >= 3))
        .await;
    hub.with(|model| {
        let row = row(&model.state, "sensor-3").expect("a row");
        assert_eq!(
            row.error.as_deref(),
            Some("connect 10.0.0.5:502: connection refused")
        );
        assert_eq!(row.running_since, None);
    });
    bus.set_mood(id_of(&hub, "sensor-3"), None);
    hub.until(|state| is_deployed(state, "sensor-3")).await;
    let others = bus
        .calls()
        .iter()
        .filter(|call| !call.ends_with('3'))
        .count();
    assert_eq!(others, 2, "the others were started once");
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_panics_or_hangs_harms_no_other() {
    let (hub, ledger, bus) = (FakeHub::new(), MemoryLedger::registered(), FakeBus::new());
    for number in 1..=4 {
        hub.edit(Edit::Add(new_sensor(number)));
    }
    bus.set_mood(id_of(&hub, "sensor-1"), Some(Mood::Panics));
    bus.set_mood(id_of(&hub, "sensor-2"), Some(Mood::Hangs));
    let agent = start(&hub, &ledger, &bus);
    hub.until(|state| is_deployed(state, "sensor-3") && is_deployed(state, "sensor-4"))
        .await;
    hub.until(|state| is_failed(state, "sensor-1") && is_failed(state, "sensor-2"))
        .await;
    hub.with(|model| {
        let error = |name| {
            row(&model.state, name)
                .and_then(|row| row.error.clone())
                .expect("an error")
        };
        assert_eq!(
            error("sensor-1"),
            "the modbus adapter has a fault: a bug in the adapter"
        );
        assert_eq!(
            error("sensor-2"),
            "the modbus adapter gave no answer within 180 s"
        );
    });
    bus.set_mood(id_of(&hub, "sensor-1"), None);
    bus.set_mood(id_of(&hub, "sensor-2"), None);
    hub.until(|state| !state.needs_deployment()).await;

    bus.set_mood(id_of(&hub, "sensor-3"), Some(Mood::Panics));
    hub.edit(Edit::Patch(
        id_of(&hub, "sensor-3"),
        json!({ "pollInterval": 50 }),
    ));
    hub.until(|state| is_failed(state, "sensor-3")).await;
    assert!(!bus.with(|bus| bus.running.contains_key(&id_of(&hub, "sensor-3"))));
    bus.set_mood(id_of(&hub, "sensor-3"), None);
    hub.until(|state| !state.needs_deployment()).await;
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_protocol_that_the_agent_does_not_speak_fails_its_sensors_alone() {
    let (hub, ledger, bus) = (FakeHub::new(), MemoryLedger::registered(), FakeBus::new());
    hub.edit(Edit::Add(json!({
        "name": "server", "protocol": "opcua",
        "connection": { "endpointUrl": "opc.tcp://10.0.0.9:4840" }, "dataPoints": [],
    })));
    hub.edit(Edit::Add(new_sensor(1)));
    let agent = start(&hub, &ledger, &bus);
    hub.until(|state| is_failed(state, "server") && is_deployed(state, "sensor-1"))
        .await;
    let error = hub.with(|model| row(&model.state, "server").and_then(|row| row.error.clone()));
    assert_eq!(error.as_deref(), Some("this agent does not speak opcua"));
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn it_ends_at_once_whatever_is_under_way() {
    let (hub, ledger, bus) = (FakeHub::new(), MemoryLedger::registered(), FakeBus::new());
    for number in 1..=3 {
        hub.edit(Edit::Add(new_sensor(number)));
    }
    bus.set_mood(id_of(&hub, "sensor-1"), Some(Mood::Hangs));
    let agent = start(&hub, &ledger, &bus);
    bus.until(|bus| bus.running.len() == 2).await;
    let before = tokio::time::Instant::now();
    agent.end().await;
    assert!(before.elapsed() < Duration::from_secs(1));
    assert!(bus.with(|bus| bus.running.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_sensor_that_does_not_stop_does_not_hold_up_the_end_for_ever() {
    let (hub, ledger, bus) = (FakeHub::new(), MemoryLedger::registered(), FakeBus::new());
    hub.edit(Edit::Add(new_sensor(1)));
    let agent = start(&hub, &ledger, &bus);
    hub.until(|state| !state.needs_deployment()).await;
    bus.set_mood(id_of(&hub, "sensor-1"), Some(Mood::Hangs));
    let before = tokio::time::Instant::now();
    agent.end().await;
    assert!(before.elapsed() < Duration::from_secs(6));
    assert!(
        bus.with(|bus| bus.running.is_empty()),
        "dropping it stops it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_thousand_reconnects_touch_no_adapter_and_change_nothing_at_the_hub() {
    let (hub, ledger, bus) = (FakeHub::new(), MemoryLedger::registered(), FakeBus::new());
    for number in 1..=10 {
        hub.edit(Edit::Add(new_sensor(number)));
    }
    let agent = start(&hub, &ledger, &bus);
    hub.until(|state| !state.needs_deployment()).await;
    let calls = bus.calls();
    let before = hub.with(|model| (model.changes, model.state.revision));
    for round in 1..=1_000 {
        hub.goes_down(Some(HubError::Unreachable("connection reset".into())));
        support::pass(Duration::from_secs(1)).await;
        hub.goes_down(None);
        let polls = *hub.polls.lock().unwrap();
        hub.until_called(|hub| *hub.polls.lock().unwrap() > polls)
            .await;
        assert_eq!(bus.calls(), calls, "round {round}");
    }
    assert_eq!(
        hub.with(|model| (model.changes, model.state.revision)),
        before
    );
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_from_the_past_goes_on_as_a_new_life() {
    let (hub, ledger, bus) = (FakeHub::new(), MemoryLedger::registered(), FakeBus::new());
    hub.edit(Edit::Add(new_sensor(1)));
    let image = ledger.disk.lock().unwrap().clone();
    for boot in 1..=3 {
        let agent = start(&hub, &ledger, &bus);
        let known =
            |state: &DeviceState| state.reported.as_ref().map(|reported| reported.order.boot);
        hub.until(|state| known(state) == Some(boot)).await;
        agent.end().await;
    }
    *ledger.disk.lock().unwrap() = image;
    let mut agent = start(&hub, &ledger, &bus);
    let status = agent
        .until(|status| status.incarnation != support::FIRST_LIFE)
        .await;
    assert_eq!(status.boot, 1);
    let kept = ledger.held();
    assert_eq!(
        (kept.identity.expect("kept").incarnation, kept.boot),
        (status.incarnation, 1)
    );
    let known = |state: &DeviceState| {
        state
            .reported
            .as_ref()
            .map(|reported| reported.order.incarnation)
    };
    hub.until(|state| known(state) == Some(status.incarnation))
        .await;
    hub.edit(Edit::Add(new_sensor(2)));
    hub.until(|state| is_deployed(state, "sensor-2")).await;
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_device_goes_on_reading_and_says_so() {
    let (hub, ledger, bus) = (FakeHub::new(), MemoryLedger::registered(), FakeBus::new());
    hub.edit(Edit::Add(new_sensor(1)));
    let mut agent = start(&hub, &ledger, &bus);
    hub.until(|state| !state.needs_deployment()).await;
    hub.goes_down(Some(HubError::Deleted(DEVICE)));
    let status = agent
        .until(|status| status.hub.access == HubAccess::Deleted)
        .await;
    assert!(status.sensors[0].running.is_some());
    let polls = *hub.polls.lock().unwrap();
    support::pass(Duration::from_secs(600)).await;
    assert!(
        (9..=11).contains(&(*hub.polls.lock().unwrap() - polls)),
        "it asks now and then"
    );
    assert_eq!(bus.with(|bus| bus.running.len()), 1);
    assert_eq!(ledger.held().turned_away, Some(TurnedAway::Deleted));
    agent.end().await;

    // A restart gives nothing back, and a hub that knows the device again does.
    let mut agent = start(&hub, &ledger, &bus);
    let status = agent.until(|_| true).await;
    assert_eq!(status.hub.access, HubAccess::Deleted);
    bus.until(|bus| bus.running.len() == 1).await;
    hub.goes_down(None);
    agent
        .until(|status| status.hub.access == HubAccess::Granted)
        .await;
    hub.edit(Edit::Add(new_sensor(2)));
    hub.until(|state| is_deployed(state, "sensor-2")).await;
    assert_eq!(ledger.held().turned_away, None);
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_keeps_the_old_target_running_until_there_is_room() {
    let (hub, ledger, bus) = (FakeHub::new(), MemoryLedger::registered(), FakeBus::new());
    hub.edit(Edit::Add(new_sensor(1)));
    let mut agent = start(&hub, &ledger, &bus);
    hub.until(|state| !state.needs_deployment()).await;
    ledger.broken.store(true, Ordering::Relaxed);
    hub.edit(Edit::Add(new_sensor(2)));
    support::pass(Duration::from_secs(300)).await;
    assert_eq!(bus.calls(), ["start sensor-1"]);
    assert_eq!(agent.until(|_| true).await.held_version, 1);
    ledger.broken.store(false, Ordering::Relaxed);
    hub.until(|state| is_deployed(state, "sensor-2") && !state.needs_deployment())
        .await;
    agent.end().await;
}

/// A machine that is as busy as a test says.
#[derive(Clone, Default)]
struct Busy(Arc<AtomicU16>);

impl MachineLoad for Busy {
    fn pressure(&self) -> Option<Pressure> {
        Some(Pressure(self.0.load(Ordering::Relaxed)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_machine_lengthens_the_interval_of_the_agent_that_runs_on_it() {
    let (hub, ledger, bus) = (FakeHub::new(), MemoryLedger::registered(), FakeBus::new());
    hub.with(|model| {
        let tuning = Tuning {
            interval_ms: Some(1_000),
            ..Tuning::default()
        };
        let context = Context::new(support::start_of_time(), Actor::named("anna"));
        let change = wish::tune(&model.state, tuning, None, &context);
        let change = change.expect("another interval");
        model.state = model.state.after(change);
    });
    let busy = Busy::default();
    let agent = run(agent(&hub, &ledger, &bus).measuring(Arc::new(busy.clone())));
    for (pressure, interval_ms) in [(0, 1_000), (800, 4_000), (0, 1_000)] {
        busy.0.store(pressure, Ordering::Relaxed);
        hub.until(|state| {
            let values = state.reported.as_ref().map(|said| &said.values);
            let hold = values.and_then(|values| values.hold.as_ref());
            hold.is_some_and(|hold| hold.interval_ms == interval_ms)
        })
        .await;
    }
    agent.end().await;
}

#[tokio::test]
async fn an_agent_without_identity_says_what_to_do() {
    let (hub, ledger, bus) = (FakeHub::new(), MemoryLedger::default(), FakeBus::new());
    let error = start(&hub, &ledger, &bus)
        .task
        .await
        .expect("no panic")
        .expect_err("no identity");
    assert_eq!(
        error.to_string(),
        "the ledger holds no identity: register the agent at its hub first"
    );
    ledger.broken.store(true, Ordering::Relaxed);
    ledger.begin_boot().await.expect_err("broken");
    let error = start(&hub, &ledger, &bus)
        .task
        .await
        .expect("no panic")
        .expect_err("no ledger");
    assert!(matches!(error, AgentError::Ledger(_)));
}
