//! Disks without room: the hub's says that it is not ready, the agent's runs on and says why it can't take what is new. Both
//! go on when there is room.

use serde_json::{Value, json};

use crate::support::{
    hub::{Hub, Store},
    instrument::{Instrument, made_up_sensor},
    wait::eventually,
};

async fn readiness_is(hub: &Hub, wanted: u16) {
    eventually(&format!("/readyz answers {wanted}"), async || {
        let ready = hub.admin.ask("GET", "/readyz", &Value::Null).await;
        if ready.status == wanted {
            Ok(())
        } else {
            Err(format!("{} {:#}", ready.status, ready.body))
        }
    })
    .await;
}

/// A hub that can read its store and not write it is not ready, and lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_without_room() {
    let hub = Hub::start(Store::Sqlite).await;
    let device = hub.device("plant").await;
    readiness_is(&hub, 200).await;

    hub.disk_is_full(true).await;
    readiness_is(&hub, 503).await;
    let refused = hub.admin.ask("GET", "/readyz", &Value::Null).await;
    let why = refused.body["detail"].as_str().unwrap_or_default();
    assert!(why.contains("a write of a moment ago failed"), "{why}");
    assert_eq!(
        hub.admin.ask("GET", "/healthz", &Value::Null).await.status,
        200
    );
    assert_eq!(device.wanted().await, Vec::<Value>::new(), "it can be read");
    let refused = device
        .ask("POST", "/sensors", &made_up_sensor("boiler"))
        .await;
    assert_eq!(refused.status, 503, "{:#}", refused.body);
    assert_eq!(refused.header("content-type"), "application/problem+json");

    hub.disk_is_full(false).await;
    readiness_is(&hub, 200).await;
    device.add(&made_up_sensor("boiler")).await;
    assert_eq!(device.wanted().await.len(), 1, "nothing of the other try");
}

/// An agent that can't make a target durable does nothing for it, and each of its sensors says why, also one that is to go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_without_room() {
    let hub = Hub::start(Store::Sqlite).await;
    let (boiler, pump) = (Instrument::start().await, Instrument::start().await);
    let device = hub.device("plant").await;
    device.add(&boiler.sensor("boiler")).await;
    device.add(&pump.sensor("pump")).await;
    let mut agent = device.agent(&hub).started();
    device.settled(2).await;

    agent.disk_is_full(true).await;
    device.remove("boiler").await;
    let why = |row: &Value| row["deploymentError"].as_str().map(str::to_owned);
    let row = device
        .row_when("boiler", "not let go", |row| why(row).is_some())
        .await;
    assert_eq!(row["deploymentStatus"], "pendingDeletion", "{row:#}");
    let error = why(&row).unwrap_or_default();
    assert!(error.contains("could not keep target version 3"), "{error}");
    assert!(error.contains("too large"), "{error}");
    device.patch("pump", &json!({ "pollInterval": 300 })).await;
    let row = device.row_in("pump", "failed").await;
    assert!(
        why(&row).is_some_and(|why| why.contains("could not keep")),
        "{row:#}"
    );
    boiler.is_read(5).await;
    assert_eq!(boiler.connections(), 1, "it runs on");
    device.is_told_by_its_events().await;

    agent.disk_is_full(false).await;
    device.settled(4).await;
    assert_eq!(device.running().await, ["pump"]);
    device.is_told_by_its_events().await;
    agent.stop().await;
}
