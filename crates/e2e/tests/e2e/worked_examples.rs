//! The three worked examples of the configuration loop, with the real agent on real Modbus TCP.

use std::time::Duration;

use holdfast_device_sim::modbus::Faults;
use serde_json::{Value, json};

use crate::support::{device::number, hub::Hub, instrument::Instrument};

on_both_stores!(
    a_user_adds_a_sensor,
    an_agent_fails_one_of_three_sensors,
    an_agent_restarts_on_an_older_version,
);

async fn a_user_adds_a_sensor(hub: Hub) {
    let (boiler, pump) = (Instrument::start().await, Instrument::start().await);
    let device = hub.device("plant").await;
    let mut agent = device.agent(&hub).started();
    device.add(&boiler.sensor("boiler")).await;
    for version in 2..=42 {
        assert_eq!(
            device
                .patch("boiler", &json!({ "pollInterval": 100 + version }))
                .await,
            version
        );
    }
    device.settled(42).await;
    let connections_before = boiler.connections();

    // Pending: saved, and the agent has not got it.
    agent.freeze().await;
    pump.set_faults(Faults::slow(Duration::from_millis(500)));
    let mut watch = device.watch().await;
    let added = device
        .ask("POST", "/sensors", &pump.sensor("pump"))
        .await
        .good("adding a sensor");
    let id = added["sensor"]["id"]
        .as_str()
        .expect("a new sensor has an id")
        .to_owned();
    assert_eq!(number(&added, "version"), 43);
    let row = device.row("pump").await;
    assert_eq!(row["deploymentStatus"], "pending");
    assert_eq!(row["running"], Value::Null);
    assert_eq!(row["configVersion"], 43);
    assert_eq!(row["syncedToConfig"], false);
    assert_eq!(device.target().await["needsDeployment"], true);
    assert_eq!(device.running().await, ["boiler"]);

    // Reconciling: the agent has it and works on it. Deployed: it runs.
    agent.thaw().await;
    watch.until_sensor("sensor.deployed", &id).await;
    assert_eq!(
        watch.statuses_of(&id),
        ["pending", "reconciling", "deployed"]
    );
    let row = device.row("pump").await;
    assert_eq!(row["deploymentStatus"], "deployed");
    assert_eq!(row["configVersion"], 43);
    assert_eq!(row["syncedToConfig"], true);
    assert!(row["running"]["since"].is_string(), "{row:#}");
    assert!(row["lastDeployedAt"].is_string(), "{row:#}");
    device.settled(43).await;
    device.health("pump", "online").await;
    assert_eq!(device.running().await, ["boiler", "pump"]);
    assert_eq!(
        boiler.connections(),
        connections_before,
        "what did not change is not touched"
    );
    device.is_told_by_its_events().await;
    agent.stop().await;
}

async fn an_agent_fails_one_of_three_sensors(hub: Hub) {
    let (first, second, third) = (
        Instrument::start().await,
        Instrument::start().await,
        Instrument::unplugged().await,
    );
    let device = hub.device("plant").await;
    let mut watch = device.watch().await;
    for (name, instrument) in [("first", &first), ("second", &second)] {
        device.add(&instrument.sensor(name)).await;
    }
    let id = device.add(&third.sensor("third")).await;
    let mut agent = device.agent(&hub).started();

    // Two run; the third is failed with its error and its attempts; the target keeps all three.
    let told = watch.until_sensor("sensor.failed", &id).await;
    let error = told["payload"]["error"]
        .as_str()
        .expect("a failure has an error")
        .to_owned();
    let address = third.local_addr().to_string();
    assert!(
        error.contains(&address) && error.to_lowercase().contains("refused"),
        "{error}"
    );
    let row = device.row_in("third", "failed").await;
    assert_eq!(row["deploymentError"], json!(error));
    assert!(number(&row, "deploymentAttempts") >= 1);
    assert_eq!(row["running"], Value::Null);
    for name in ["first", "second"] {
        device.row_in(name, "deployed").await;
    }
    assert_eq!(device.running().await, ["first", "second"]);
    assert_eq!(device.wanted().await.len(), 3);
    assert_eq!(device.target().await["needsDeployment"], true);

    // Drift and its event name the third.
    let drift = device.get("/drift").await;
    assert_eq!(names(&drift["sensors"]), ["third"]);
    assert_eq!(drift["sensors"][0]["kind"], "missing");
    assert_eq!(drift["sensors"][0]["deploymentStatus"], "failed");
    assert_eq!(
        (
            number(&drift, "targetVersion"),
            number(&drift, "currentVersion")
        ),
        (3, 3)
    );
    let only_third = |event: &Value| {
        event["type"] == "device.config_drift" && names(&event["payload"]["sensors"]) == ["third"]
    };
    let event = watch
        .until("device.config_drift of the third alone", only_third)
        .await;
    assert_eq!(
        (
            number(&event["payload"], "targetVersion"),
            number(&event["payload"], "currentVersion")
        ),
        (3, 3)
    );

    // A failed item is retried although the version was seen; and when the instrument comes, it recovers by itself.
    device
        .row_when("third", "tried again", |row| {
            row["deploymentAttempts"].as_u64() > Some(1)
        })
        .await;
    third.plug().await.expect("its port is kept");
    watch.until_sensor("sensor.recovered", &id).await;
    watch.until_type("device.reconciled").await;
    device.settled(3).await;
    assert_eq!(device.row("third").await["deploymentError"], Value::Null);
    assert_eq!(device.get("/drift").await["sensors"], json!([]));
    assert_eq!(device.running().await, ["first", "second", "third"]);
    assert_eq!(
        (first.connections(), second.connections()),
        (1, 1),
        "retrying one leaves the others alone"
    );
    device.is_told_by_its_events().await;
    agent.stop().await;
}

async fn an_agent_restarts_on_an_older_version(hub: Hub) {
    let boiler = Instrument::start().await;
    let device = hub.device("plant").await;
    let mut agent = device.agent(&hub).started();
    let id = device.add(&boiler.sensor("boiler")).await;
    for version in 2..=40 {
        assert_eq!(
            device
                .patch("boiler", &json!({ "pollInterval": 100 + version }))
                .await,
            version
        );
    }
    device.settled(40).await;
    agent.stop().await;
    let image = agent.image();
    agent.start();
    for version in 41..=43 {
        assert_eq!(
            device
                .patch("boiler", &json!({ "pollInterval": 100 + version }))
                .await,
            version
        );
    }
    device.settled(43).await;
    agent.stop().await;

    // Its disk is put back to what it was at version 40: the read model follows the truth down, and then up.
    agent.restore(&image);
    let mut watch = device.watch().await;
    agent.start();
    watch.until_sensor("sensor.deployed", &id).await;
    let versions: Vec<u64> = watch
        .rows_of(&id)
        .map(|row| number(row, "configVersion"))
        .collect();
    assert_eq!(
        (versions.first(), versions.last()),
        (Some(&40), Some(&43)),
        "{versions:?}"
    );
    let down = watch.rows_of(&id).next().expect("it was just looked at");
    assert_eq!(down["content"]["pollInterval"], 140);
    assert_eq!(down["running"], true);
    assert_eq!(down["syncedToConfig"], false);
    device.settled(43).await;
    let row = device.row("boiler").await;
    assert_eq!(
        (number(&row, "configVersion"), number(&row, "pollInterval")),
        (43, 143)
    );
    device.is_told_by_its_events().await;
    agent.stop().await;
}

fn names(sensors: &Value) -> Vec<&str> {
    sensors
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|sensor| sensor["name"].as_str())
        .collect()
}
