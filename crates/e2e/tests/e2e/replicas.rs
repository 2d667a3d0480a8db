//! Several API processes over one database: whoever is asked, the answer is the same.

use serde_json::{Value, json};

use crate::support::{
    client::send,
    device::number,
    hand_made::HandMade,
    hub::Hub,
    instrument::{Instrument, made_up_sensor},
    stream::Watch,
    wait::eventually,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_are_one_hub() {
    let mut hub = Hub::patient(90).await;
    let other = hub.another_server().await;
    let device = hub.device("plant").await;
    let there = device.through(&other);
    let mut watch = Watch::from_now(&other, &device.id).await;

    // Edits at both at once: each a version of its own.
    let sensors: Vec<Value> = (0..20)
        .map(|number| made_up_sensor(&format!("sensor-{number}")))
        .collect();
    let adding = sensors.iter().enumerate().map(|(number, sensor)| {
        let at = if number % 2 == 0 { &device } else { &there };
        at.ask("POST", "/sensors", sensor)
    });
    let mut versions: Vec<u64> = futures::future::join_all(adding)
        .await
        .into_iter()
        .map(|answer| number(&answer.good("adding"), "version"))
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=20).collect::<Vec<u64>>());

    // A report to one is seen at the other; an agent may go from one to the other.
    let mut agent = HandMade::register(&device).await;
    assert_eq!(agent.run_all().await, "taken");
    there.settled(20).await;
    let path = format!("/api/v1/device/{}/state", device.id);
    let etag = agent.poll(None).await.header("etag").to_owned();
    let here = agent.client.clone();
    agent.client = here.at(&other);
    assert_eq!(agent.report(&json!({})).await, "unchanged");
    agent.client = here;
    assert_eq!(agent.report(&json!({})).await, "unchanged");

    // A long poll at one answers when the target is changed at the other.
    let waiting = agent
        .client
        .request("GET", &path)
        .header("if-none-match", &etag)
        .header("prefer", "wait=60");
    let waiting = tokio::spawn(send(waiting));
    assert_eq!(
        there
            .patch("sensor-0", &json!({ "pollInterval": 500 }))
            .await,
        21
    );
    let answer = waiting.await.expect("it is answered");
    assert_eq!(
        (answer.status, number(&answer.body[&device.id], "version")),
        (200, 21)
    );
    assert_eq!(agent.run_all().await, "taken");
    there.settled(21).await;

    // `Prefer: wait` at one hears of the look that was reported to the other.
    let before = number(&agent.target().await["look"], "revision");
    let looking = other
        .request("POST", &device.path("/reconcile"))
        .header("prefer", "wait=30");
    let looking = tokio::spawn(send(looking));
    let revision = eventually("the agent is asked to look again", async || {
        let revision = number(&agent.target().await["look"], "revision");
        if revision > before {
            Ok(revision)
        } else {
            Err(format!("{revision}"))
        }
    })
    .await;
    assert_eq!(
        agent.report(&json!({ "lookedRevision": revision })).await,
        "taken"
    );
    assert_eq!(
        looking.await.expect("it is answered").good("looking again")["result"],
        "reconciled"
    );

    // A token that is taken away at one opens nothing at the other, within a second.
    let made = hub
        .admin
        .done(
            "POST",
            "/api/v1/tokens",
            &json!({ "name": "otto", "role": "operator" }),
        )
        .await;
    let otto = other.with(made["secret"].as_str());
    otto.get("/api/v1/devices").await;
    let id = made["id"].as_str().expect("a token has an id");
    hub.admin
        .done("DELETE", &format!("/api/v1/tokens/{id}"), &Value::Null)
        .await;
    let revoked = tokio::time::Instant::now();
    eventually("the revocation is in force everywhere", async || {
        let status = otto
            .ask("GET", "/api/v1/devices", &Value::Null)
            .await
            .status;
        if status == 401 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    assert!(
        revoked.elapsed().as_secs_f32() < 2.0,
        "in force after {:?}",
        revoked.elapsed()
    );

    watch
        .until("version 21 is told of at the other", |event| {
            event["payload"]["version"] == 21
        })
        .await;
    there.is_told_by_its_events().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_goes_on_when_its_replica_dies() {
    let mut hub = Hub::patient(90).await;
    let other = hub.another_server().await;
    let boiler = Instrument::start().await;
    let device = hub.device("plant").await;
    let gate = crate::support::gate::Gate::to(hub.addr()).await;
    let mut agent = device.agent(&hub).through(gate.url()).started();
    device.add(&boiler.sensor("boiler")).await;
    device.settled(1).await;

    // As a load balancer would: what was at one goes to the other.
    let there = device.through(&other);
    gate.open(other.addr());
    hub.kill_server().await;
    let version = there.patch("boiler", &json!({ "pollInterval": 200 })).await;
    there.settled(version).await;
    assert_eq!(boiler.connections(), 1);
    there.is_told_by_its_events().await;
    agent.stop().await;
}
