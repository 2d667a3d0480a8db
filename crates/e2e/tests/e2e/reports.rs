//! What reports do to the read model: it says what reports said, and nothing else. With an agent made of plain requests.

use serde_json::{Value, json};

use crate::support::{
    client::Answer,
    device::{Device, number},
    hand_made::HandMade,
    hub::Hub,
    instrument::made_up_sensor,
};

on_both_stores!(
    what_reports_change,
    a_late_report_changes_nothing,
    what_the_agent_gets
);

/// A device with three sensors, all running, and its agent.
async fn three_running(hub: &Hub, name: &str) -> (Device, HandMade) {
    let device = hub.device(name).await;
    for name in ["a", "b", "c"] {
        device.add(&made_up_sensor(name)).await;
    }
    let mut agent = HandMade::register(&device).await;
    assert_eq!(agent.run_all().await, "taken");
    device.settled(3).await;
    (device, agent)
}

async fn what_reports_change(hub: Hub) {
    absent_is_not_empty(&hub).await;
    what_cannot_be_is_refused(&hub).await;
    held_is_not_worked_through(&hub).await;
    a_failure_shows_what_failed(&hub).await;
    spelling_is_not_content(&hub).await;
}

async fn absent_is_not_empty(hub: &Hub) {
    let (device, mut agent) = three_running(hub, "absent").await;
    let (rows, events) = (device.rows().await, device.events().await);

    assert_eq!(
        agent.report(&json!({})).await,
        "unchanged",
        "a report without `config` says nothing of what runs"
    );
    assert_eq!(
        (device.rows().await, device.events().await),
        (rows.clone(), events.clone())
    );

    let id = rows[0]["id"].as_str().expect("a row has an id");
    let health = json!({ id: { "status": "offline", "since": "2026-11-22T12:00:00Z", "reason": "no answer" } });
    assert_eq!(agent.report(&json!({ "health": health })).await, "taken");
    let now = device.rows().await;
    assert_eq!(now[0]["health"]["reason"], "no answer");
    assert_eq!(
        now[0]["deploymentStatus"], "deployed",
        "once established, silence changes only health"
    );
    assert_eq!(
        now[1..],
        rows[1..],
        "health of one sensor changes no other row"
    );
    assert_eq!(device.events().await, events, "health makes no event");

    // Empty means none.
    let nothing =
        json!({ "version": 3, "config": { "protocolAdapterDevices": [] }, "failures": [] });
    assert_eq!(agent.report(&nothing).await, "taken");
    assert!(device.running().await.is_empty());
    for row in device.rows().await {
        assert_eq!(
            (&row["running"], &row["deploymentStatus"]),
            (&Value::Null, &json!("reconciling")),
            "{row:#}"
        );
    }

    // The three of the block come together or not at all.
    let part = agent.body(&json!({ "version": 3 }));
    let refused = agent.send(&part).await;
    refused.refused(422, &format!("{}.config", device.id));
    device.is_told_by_its_events().await;
}

async fn a_late_report_changes_nothing(hub: Hub) {
    let (device, mut agent) = three_running(&hub, "plant").await;
    agent.boot = 2;
    agent.sequence = 0;
    let early = json!({ "health": {} });
    assert_eq!(
        agent.report(&early).await,
        "fullWanted",
        "a boot's first report is full"
    );
    assert_eq!(agent.run_all().await, "taken");
    assert_eq!(agent.report(&json!({})).await, "unchanged");
    let before = (
        device.rows().await,
        device.events().await,
        device.get("/current-state").await,
    );

    let nothing = json!({ "version": 3, "config": { "protocolAdapterDevices": [] }, "failures": [], "health": {} });
    for (boot, sequence) in [(2, 3), (2, 2), (2, 1), (1, 1000)] {
        let mut late = agent.body(&nothing);
        late[&device.id]["boot"] = json!(boot);
        late[&device.id]["sequence"] = json!(sequence);
        let answer = agent.send(&late).await.good("a late report");
        assert_eq!(
            answer,
            json!({ "result": "late", "boot": 2 }),
            "boot {boot}, sequence {sequence}"
        );
    }
    let mut other = agent.body(&nothing);
    other[&device.id]["incarnation"] = json!("01920000-0000-7000-8000-000000000000");
    assert_eq!(
        agent.send(&other).await.good("another life")["result"],
        "otherIncarnation"
    );
    let after = (
        device.rows().await,
        device.events().await,
        device.get("/current-state").await,
    );
    assert_eq!((before.0, before.1), (after.0, after.1));
    assert_eq!(before.2["config"], after.2["config"]);

    // Behind for good: a new incarnation, with an event; then it counts, from its first boot on.
    let answer = agent
        .client
        .done(
            "POST",
            "/api/v1/device/incarnation",
            &json!({ "device": device.id }),
        )
        .await;
    agent.incarnation = answer["incarnation"]
        .as_str()
        .expect("it is given one")
        .to_owned();
    (agent.boot, agent.sequence) = (1, 0);
    assert_eq!(agent.run_all().await, "taken");
    assert_eq!(device.events_of("device.incarnation").await.len(), 1);
}

/// What is changed of a report.
type Change = fn(&mut Value);

async fn what_cannot_be_is_refused(hub: &Hub) {
    let (device, mut agent) = three_running(hub, "contradictions").await;
    let before = (device.rows().await, device.events().await);
    let refused = async |agent: &mut HandMade, change: Change| -> Answer {
        let target = agent.target().await;
        let full = json!({
            "version": 3, "heldVersion": 3, "config": target["config"], "failures": [], "health": {},
        });
        let mut body = agent.body(&full);
        change(&mut body[&device.id]);
        agent.send(&body).await
    };
    let field = |name: &str| format!("{}.{name}", device.id);
    let cases: [(&str, Change); 6] = [
        ("boot", |report| report["boot"] = json!(0)),
        ("sequence", |report| report["sequence"] = json!("1")),
        ("incarnation", |report| report["incarnation"] = Value::Null),
        ("heldVersion", |report| report["heldVersion"] = json!(-1)),
        ("health", |report| report["health"] = json!([])),
        ("config.protocolAdapterDevices[0].pollInterval", |report| {
            report["config"]["protocolAdapterDevices"][0]["pollInterval"] = json!(-5);
        }),
    ];
    for (name, change) in cases {
        refused(&mut agent, change).await.refused(422, &field(name));
    }
    let lie: Change =
        |report| report["runningFingerprint"] = json!("b3:00000000000000000000000000000000");
    refused(&mut agent, lie)
        .await
        .refused(422, "runningFingerprint");
    assert_eq!(
        (device.rows().await, device.events().await),
        before,
        "a report is taken whole or not at all"
    );

    // One that says of what runs only that it is something else than the hub knows: the hub asks for all of it.
    let mut unknown = agent.body(&json!({}));
    unknown[&device.id]["runningFingerprint"] = json!("b3:00000000000000000000000000000000");
    assert_eq!(
        agent.send(&unknown).await.good("a report")["result"],
        "fullWanted"
    );
}

async fn held_is_not_worked_through(hub: &Hub) {
    let (device, mut agent) = three_running(hub, "held").await;
    device.patch("b", &json!({ "pollInterval": 500 })).await;
    let row = device.row("b").await;
    assert_eq!(
        (&row["deploymentStatus"], number(&row, "configVersion")),
        (&json!("pending"), 2),
        "{row:#}"
    );
    assert_eq!(number(&row, "pollInterval"), 1000, "a row shows what runs");

    assert_eq!(agent.report(&json!({ "heldVersion": 4 })).await, "taken");
    let current = device.get("/current-state").await;
    assert_eq!(
        (number(&current, "heldVersion"), number(&current, "version")),
        (4, 3)
    );
    assert_eq!(device.row("b").await["deploymentStatus"], "reconciling");
    assert_eq!(device.target().await["needsDeployment"], true);

    assert_eq!(agent.run_all().await, "taken");
    device.settled(4).await;
    let row = device.row("b").await;
    assert_eq!(
        (number(&row, "configVersion"), number(&row, "pollInterval")),
        (4, 500)
    );

    // What is not wanted any more stays in the read model for as long as it runs.
    device.remove("c").await;
    assert_eq!(device.row("c").await["deploymentStatus"], "pendingDeletion");
    assert_eq!(device.running().await, ["a", "b", "c"]);
    assert_eq!(agent.run_all().await, "taken");
    device.settled(5).await;
    device.is_told_by_its_events().await;
}

async fn a_failure_shows_what_failed(hub: &Hub) {
    let (device, mut agent) = three_running(hub, "failures").await;
    device
        .patch("b", &json!({ "connection": { "host": "192.0.2.2" } }))
        .await;
    let target = agent.target().await;
    let items = target["config"]["protocolAdapterDevices"]
        .as_array()
        .expect("three sensors");
    let wanted: holdfast_domain::Item = serde_json::from_value(
        items
            .iter()
            .find(|item| item["name"] == "b")
            .expect("b")
            .clone(),
    )
    .expect("a sensor");
    let others: Vec<&Value> = items.iter().filter(|item| item["name"] != "b").collect();
    let failure = |attempts: u32| {
        json!([{
            "id": wanted.sensor.id(), "fingerprint": wanted.sensor.fingerprint(), "error": "connection refused", "attempts": attempts,
        }])
    };
    let failed = |attempts: u32| {
        json!({
            "heldVersion": 4, "version": 4, "config": { "protocolAdapterDevices": others }, "failures": failure(attempts),
        })
    };
    assert_eq!(agent.report(&failed(1)).await, "taken");
    let row = device.row("b").await;
    assert_eq!(
        (&row["deploymentStatus"], &row["running"]),
        (&json!("failed"), &Value::Null)
    );
    assert_eq!(
        (&row["deploymentError"], number(&row, "deploymentAttempts")),
        (&json!("connection refused"), 1)
    );
    let events = device.events().await;

    assert_eq!(agent.report(&failed(2)).await, "taken");
    assert_eq!(number(&device.row("b").await, "deploymentAttempts"), 2);
    let events_now = device.events().await;
    let of_sensor = |events: &[Value]| {
        events
            .iter()
            .filter(|event| event["payload"]["sensorId"].is_string())
            .count()
    };
    assert_eq!(
        of_sensor(&events_now),
        of_sensor(&events),
        "another attempt is no event"
    );

    // The failure is of the content that failed: a new content is not failed before it was tried.
    device
        .patch("b", &json!({ "connection": { "host": "192.0.2.3" } }))
        .await;
    assert_eq!(device.row("b").await["deploymentStatus"], "pending");
    device.is_told_by_its_events().await;
}

async fn spelling_is_not_content(hub: &Hub) {
    let (device, mut agent) = three_running(hub, "spelling").await;
    let before = (device.rows().await, device.events().await);
    let target = agent.target().await;
    let mut items = target["config"]["protocolAdapterDevices"]
        .as_array()
        .expect("three sensors")
        .clone();
    items.reverse();
    for item in &mut items {
        item["pollInterval"] = json!(1e3);
        item["connection"]
            .as_object_mut()
            .expect("an object")
            .remove("port");
        item["dataPoints"][0]["scale"] = json!(1);
    }
    let what =
        json!({ "version": 3, "config": { "protocolAdapterDevices": items }, "failures": [] });
    assert_eq!(
        agent.report(&what).await,
        "unchanged",
        "order, defaults and the spelling of numbers do not matter"
    );
    assert_eq!((device.rows().await, device.events().await), before);

    // And what an operator saves again as it is makes no version.
    let wanted = device.wanted().await;
    let saved = device.put(&wanted).await.good("the same target");
    assert_eq!(
        (number(&saved, "version"), &saved["changed"]),
        (3, &json!(false))
    );
    assert_eq!((device.rows().await, device.events().await), before);
}

async fn what_the_agent_gets(hub: Hub) {
    let (device, mut agent) = three_running(&hub, "plant").await;

    // An agent without a copy never gets 304, whatever it reported or asked before.
    for held in [None, Some("*"), Some("\"\""), Some("\"v3\"")] {
        let answer = agent.poll(held).await;
        assert_eq!(answer.status, 200, "If-None-Match: {held:?}");
        assert_eq!(answer.body[&device.id]["version"], 3);
    }
    let etag = agent.poll(None).await.header("etag").to_owned();
    let same = agent.poll(Some(&etag)).await;
    assert_eq!(
        (same.status, &same.body, same.header("etag")),
        (304, &Value::Null, etag.as_str())
    );

    // `needsDeployment` is not in the tag, the version and the request to look again are.
    let nothing =
        json!({ "version": 3, "config": { "protocolAdapterDevices": [] }, "failures": [] });
    assert_eq!(agent.report(&nothing).await, "taken");
    device
        .ask("POST", "/reconcile", &Value::Null)
        .await
        .good("asking to look again");
    let looked = agent.poll(Some(&etag)).await;
    assert_eq!(
        (looked.status, number(&looked.body[&device.id], "version")),
        (200, 3)
    );
    assert!(number(&looked.body[&device.id]["look"], "revision") >= 1);
    let etag = looked.header("etag").to_owned();

    // A long poll answers the moment the target changes.
    let path = format!("/api/v1/device/{}/state", device.id);
    let waiting = agent
        .client
        .request("GET", &path)
        .header("if-none-match", &etag)
        .header("prefer", "wait=60");
    let waiting = tokio::spawn(crate::support::client::send(waiting));
    let began = tokio::time::Instant::now();
    device.patch("a", &json!({ "pollInterval": 200 })).await;
    let answer = waiting.await.expect("it is answered");
    assert_eq!(
        (answer.status, number(&answer.body[&device.id], "version")),
        (200, 4)
    );
    assert!(
        began.elapsed().as_secs() < 30,
        "it was held back for {:?}",
        began.elapsed()
    );

    // An agent that is ahead of its hub is not refused for ever: the hub goes on above it, with an event.
    let ahead = json!({ "heldVersion": 50, "version": 50, "config": { "protocolAdapterDevices": [] }, "failures": [] });
    assert_eq!(agent.report(&ahead).await, "taken");
    let target = agent.target().await;
    assert_eq!(number(&target, "version"), 51);
    let last = device
        .events_of("target_state.updated")
        .await
        .pop()
        .expect("an event");
    assert_eq!(
        (
            number(&last["payload"], "version"),
            number(&last["payload"], "agentHolds")
        ),
        (51, 50)
    );
    assert_eq!(device.patch("a", &json!({ "pollInterval": 300 })).await, 52);
    assert_eq!(agent.run_all().await, "taken");
    device.settled(52).await;
    device.is_told_by_its_events().await;
}
