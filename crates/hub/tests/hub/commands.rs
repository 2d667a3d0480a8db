//! Commands: given, waited for, told with what is left of their time, and answered once.

use std::time::Duration;

use holdfast_domain::{
    CommandId, DeviceId, PointId, PointValue, document::command::CommandOutcome, edit::Edit,
    event::EventKind, limits,
};
use holdfast_hub::{
    HubError,
    agents::PolledTarget,
    commands::{CommandEdit, Commanded},
    values::Asked,
};
use holdfast_testkit::builders::modbus_document;
use serde_json::{Value, json};

use crate::support::{Agent, Fleet, LONG, Process, anna, settle};

/// A device with a boiler that has a pulse, and its agent.
async fn boiler(process: &Process) -> (Agent, PointId) {
    let mut agent = process.established("gateway-1", &[]).await;
    let mut document = modbus_document("boiler-1", "10.0.0.5", 502);
    let points = document["dataPoints"].as_array_mut().expect("a list");
    points.push(json!({
        "name": "start", "kind": "pulse", "table": "coil", "address": 1, "dataType": "bool", "writable": true,
    }));
    let added = process.edit(agent.device, Edit::Add(document)).await;
    added.expect("a valid sensor");
    process.work(&mut agent).await;
    let report = agent.says.full_report();
    process.report(agent.device, &report).await.expect("valid");
    let point = named(process, agent.device, "start").await;
    (agent, point)
}

async fn named(process: &Process, device: DeviceId, name: &str) -> PointId {
    let state = process.hub.state(device).await.expect("it is there");
    let points = state.target.items[0].sensor.content().binding.point_names();
    let found = points.iter().find(|(_, of)| of.as_str() == name);
    found.expect("the point is there").0
}

const fn on() -> CommandEdit {
    CommandEdit {
        value: PointValue::Bool(true),
        valid_for_ms: None,
        key: None,
        only_if: None,
    }
}

async fn give(
    process: &Process,
    device: DeviceId,
    point: PointId,
    edit: &CommandEdit,
) -> Result<Commanded, HubError> {
    let by = anna();
    let asked = Asked {
        actor: &by,
        reason: Some("start-up"),
        correlation: None,
    };
    process.hub.command(device, point, edit, asked).await
}

fn id(commanded: Result<Commanded, HubError>) -> CommandId {
    match commanded.expect("it can be given") {
        Commanded::Given(id) => id,
        Commanded::Set => panic!("it is no level"),
    }
}

/// The agent says that everything was carried out.
async fn answer(process: &Process, fleet: &Fleet, agent: &mut Agent) {
    let state = fleet.stored(agent.device).await;
    agent.says.hold_all(&state);
    agent.says.answer_all(&state, fleet.now());
    let report = agent.says.full_report();
    process.report(agent.device, &report).await.expect("valid");
}

fn told(polled: PolledTarget) -> Vec<Value> {
    let PolledTarget::Target { body, .. } = polled else {
        panic!("a target")
    };
    let document: Value = serde_json::from_slice(&body).expect("JSON");
    let body = document.as_object().and_then(|all| all.values().next());
    let items = body.expect("one device")["commands"]["items"].clone();
    items.as_array().expect("a list").clone()
}

async fn poll(process: &Process, device: DeviceId) -> Vec<Value> {
    let polled = process
        .hub
        .poll_target(device, None, None, Duration::ZERO)
        .await;
    told(polled.expect("it is there"))
}

#[tokio::test(start_paused = true)]
async fn a_command_wakes_the_agent_and_its_word_wakes_whoever_waits() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let (mut agent, point) = boiler(&here).await;
    let device = agent.device;
    let held = there
        .hub
        .state(device)
        .await
        .expect("it is there")
        .target
        .etag();
    let polling = {
        let hub = there.hub.clone();
        tokio::spawn(async move { hub.poll_target(device, Some(&held), None, LONG).await })
    };
    settle().await;
    let id = id(give(&here, device, point, &on()).await);
    let items = told(polling.await.expect("no panic").expect("it is there"));
    assert_eq!(
        (&items[0]["id"], &items[0]["validForMs"]),
        (&json!(id), &json!(3_000))
    );

    for process in [&here, &there] {
        let nothing = process.hub.word_on(device, id, Duration::ZERO).await;
        assert!(!nothing.expect("it is there").has_word_on(id));
    }
    let waiting = {
        let hub = here.hub.clone();
        tokio::spawn(async move { hub.word_on(device, id, LONG).await })
    };
    settle().await;
    answer(&there, &fleet, &mut agent).await;
    let state = waiting.await.expect("no panic").expect("it is there");
    let words = &state.reported.as_ref().expect("it reports").values.commands;
    assert_eq!(words[&id].outcome, CommandOutcome::Verified);
    assert!(
        fleet
            .kinds(device)
            .await
            .contains(&EventKind::CommandVerified)
    );
    assert_eq!(poll(&here, device).await, [] as [Value; 0]);
    assert_eq!(poll(&there, device).await, [] as [Value; 0]);
}

#[tokio::test(start_paused = true)]
async fn each_answer_says_what_is_left() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let (agent, point) = boiler(&process).await;
    id(give(&process, agent.device, point, &on()).await);
    for (later, left) in [(0, 3_000), (1, 2_000), (1, 1_000), (1, 0), (3_600, 0)] {
        fleet.later(later);
        let items = poll(&process, agent.device).await;
        assert_eq!(items[0]["validForMs"], left, "after {later} s more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_is_the_same_command_whatever_is_shown_by_now() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let (mut agent, point) = boiler(&process).await;
    let device = agent.device;
    let keyed = CommandEdit {
        key: Some("k".into()),
        ..on()
    };
    let first = id(give(&process, device, point, &keyed).await);
    answer(&process, &fleet, &mut agent).await;
    let conditional = CommandEdit {
        only_if: Some(PointValue::Bool(false)),
        ..keyed.clone()
    };
    assert_eq!(id(give(&process, device, point, &conditional).await), first);
    let unkeyed = CommandEdit {
        only_if: Some(PointValue::Bool(false)),
        ..on()
    };
    let refused = give(&process, device, point, &unkeyed).await;
    assert!(matches!(refused, Err(HubError::NotShown(_))), "{refused:?}");
    assert_eq!(
        process
            .hub
            .state(device)
            .await
            .expect("it is there")
            .target
            .values
            .commands
            .revision,
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_level_is_set() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let (agent, _) = boiler(&process).await;
    let level = named(&process, agent.device, "target-temperature").await;
    let edit = CommandEdit {
        value: PointValue::Number(72.5),
        ..on()
    };
    let commanded = give(&process, agent.device, level, &edit)
        .await
        .expect("it fits");
    assert_eq!(commanded, Commanded::Set);
    let state = process.hub.state(agent.device).await.expect("it is there");
    assert_eq!(
        state.target.values.wishes[&level].setpoint.value,
        PointValue::Number(72.5)
    );
    assert_eq!(state.target.values.commands.revision, 0);
}

#[tokio::test(start_paused = true)]
async fn no_more_wait_than_are_bounded() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let (mut agent, point) = boiler(&process).await;
    for _ in 0..limits::COMMANDS_WAITING {
        id(give(&process, agent.device, point, &on()).await);
    }
    let refused = give(&process, agent.device, point, &on()).await;
    assert!(
        matches!(&refused, Err(HubError::Refused(why)) if why.contains("64 commands wait")),
        "{refused:?}"
    );
    answer(&process, &fleet, &mut agent).await;
    id(give(&process, agent.device, point, &on()).await);
}
