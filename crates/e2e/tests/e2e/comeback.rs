//! An agent that its hub has turned away, or that it does not know any more: it says so and reads on, and a provisioning key
//! brings it back, without its disk being wiped.

use serde_json::{Value, json};

use crate::support::{
    agent::Agent,
    device::Device,
    gate::Gate,
    hub::{Hub, Store},
    instrument::Instrument,
    wait::eventually,
};

on_both_stores!(
    a_revoked_agent_goes_on_as_the_same_device,
    a_deleted_device_s_agent_becomes_another_one,
    an_agent_that_registered_after_the_backup_comes_back_by_itself,
    a_device_that_is_younger_than_the_backup,
);

/// Revokes the token of a device's agent, as an operator does.
async fn revoke(hub: &Hub, device: &Device) {
    let tokens = hub.admin.all("/api/v1/tokens").await;
    let of_agent =
        |token: &&Value| token["device"] == json!(device.id) && token["revokedAt"].is_null();
    let token = tokens.iter().find(of_agent).expect("the agent has a token");
    let id = token["id"].as_str().expect("a token has an id");
    hub.admin
        .done("DELETE", &format!("/api/v1/tokens/{id}"), &Value::Null)
        .await;
}

async fn rekey(device: &Device) -> String {
    let key = device.ask("POST", "/rekey", &Value::Null).await;
    let key = key.good("a new key");
    key["secret"]
        .as_str()
        .expect("a key has a secret")
        .to_owned()
}

async fn incarnation(device: &Device) -> Value {
    device.get("/current-state").await["incarnation"].clone()
}

async fn a_revoked_agent_goes_on_as_the_same_device(hub: Hub) {
    let boiler = Instrument::start().await;
    let device = hub.device("plant").await;
    device.add(&boiler.sensor("boiler")).await;
    let mut agent = device.agent(&hub).with("HEARTBEAT_S", "1").started();
    device.settled(1).await;
    let first_life = incarnation(&device).await;

    revoke(&hub, &device).await;
    agent.logs("was revoked").await;
    let advice = agent.logs("to register it anew").await;
    assert!(advice.contains("holdfast device rekey"), "{advice}");
    boiler.is_read(5).await;
    assert_eq!(boiler.connections(), 1, "nothing was stopped");

    // The same key again changes nothing, a restart gives nothing back, and the disk is read on.
    agent.stop().await;
    agent.start();
    agent.logs("to register it anew").await;
    boiler.is_read(5).await;

    // A key that is of no use is named, and the agent reads on.
    agent.stop().await;
    agent.is_given("hfp_of_no_use");
    agent.start();
    agent.logs("was of no use").await;
    boiler.is_read(5).await;

    agent.stop().await;
    agent.is_given(&rekey(&device).await);
    agent.start();
    agent.logs("registered anew").await;
    let version = device
        .patch("boiler", &json!({ "pollInterval": 200 }))
        .await;
    device.settled(version).await;
    assert_ne!(incarnation(&device).await, first_life);
    device.is_told_by_its_events().await;

    // From now on that key is the one that it was registered with.
    agent.stop().await;
    agent.start();
    device
        .patch("boiler", &json!({ "pollInterval": 100 }))
        .await;
    device.settled_now().await;
    agent.stop().await;
}

async fn a_deleted_device_s_agent_becomes_another_one(hub: Hub) {
    let (boiler, pump) = (Instrument::start().await, Instrument::start().await);
    // It came with a key that is bound to no device.
    let mut agent = Agent::newcomer(&hub, "first", &hub.unbound_key().await)
        .with("HEARTBEAT_S", "1")
        .started();
    let first = hub.device_called("first").await;
    first.add(&boiler.sensor("boiler")).await;
    first.settled(1).await;

    first
        .ask("DELETE", "?force=true", &Value::Null)
        .await
        .is(204);
    agent.logs("was deleted").await;
    agent.logs("to register it anew").await;
    boiler.is_read(5).await;
    agent.stop().await;
    agent.start();
    agent.logs("to register it anew").await;
    boiler.is_read(5).await;
    let devices = hub.admin.all("/api/v1/devices").await;
    assert_eq!(devices, Vec::<Value>::new(), "nobody comes back by himself");

    agent.stop().await;
    agent.is_given(&hub.unbound_key().await);
    agent.is_called("second");
    agent.start();
    let second = hub.device_called("second").await;
    assert_ne!(second.id, first.id);
    // What the old device held is not taken over.
    eventually(
        "the old device's instrument is let go",
        async || match boiler.totals().connections_open {
            0 => Ok(()),
            open => Err(format!("{open} connections")),
        },
    )
    .await;
    second.add(&pump.sensor("pump")).await;
    second.settled(1).await;
    assert_eq!(second.running().await, ["pump"]);
    assert_eq!(boiler.totals().connections_open, 0);
    agent.stop().await;
}

/// An agent that was off when it was turned away and got its new key learns of both at its start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_it_was_off() {
    let hub = Hub::start(Store::Sqlite).await;
    let boiler = Instrument::start().await;
    let device = hub.device("plant").await;
    device.add(&boiler.sensor("boiler")).await;
    let mut agent = device.agent(&hub).started();
    device.settled(1).await;
    agent.stop().await;
    revoke(&hub, &device).await;
    agent.is_given(&rekey(&device).await);
    agent.start();
    agent.logs("registered anew").await;
    device
        .patch("boiler", &json!({ "pollInterval": 200 }))
        .await;
    device.settled_now().await;

    // Another key is of no interest while all is well.
    agent.stop().await;
    agent.is_given(&hub.unbound_key().await);
    agent.start();
    device
        .patch("boiler", &json!({ "pollInterval": 100 }))
        .await;
    device.settled_now().await;
    assert_eq!(hub.admin.all("/api/v1/devices").await.len(), 1);
    agent.stop().await;
}

/// `kill -9` at any moment of registering anew: the key is good once, and still brings it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_killed_while_it_registers_anew() {
    let hub = Hub::start(Store::Sqlite).await;
    let gate = Gate::to(hub.addr()).await;
    let boiler = Instrument::start().await;
    let device = hub.device("plant").await;
    device.add(&boiler.sensor("boiler")).await;
    let mut agent = device.agent(&hub).through(gate.url()).started();
    device.settled(1).await;
    for round in 0..4 {
        agent.stop().await;
        revoke(&hub, &device).await;
        agent.is_given(&rekey(&device).await);
        // Killed when it has asked its hub so often, or as soon as that has registered it: whether it has heard the
        // answer, and whether it has kept it, is chance.
        for connections in 1..=4 {
            let before = gate.accepted();
            agent.start();
            eventually("it asks its hub", async || {
                let more = gate.accepted() - before;
                let registered = device.events_of("device.registered").await.len();
                if more >= connections || registered == round + 2 {
                    Ok(())
                } else {
                    Err(format!("{more} connections, {registered} registrations"))
                }
            })
            .await;
            agent.kill().await;
        }
        agent.start();
        device
            .patch("boiler", &json!({ "pollInterval": 150 + round }))
            .await;
        device.settled_now().await;
    }
    let registered = device.events_of("device.registered").await;
    assert_eq!(
        registered.len(),
        5,
        "each key registered once: {registered:#?}"
    );
    device.is_told_by_its_events().await;
    agent.stop().await;
}

/// The backup has the device, with its key unused: the same key is good, and nobody has to do anything.
async fn an_agent_that_registered_after_the_backup_comes_back_by_itself(mut hub: Hub) {
    let boiler = Instrument::start().await;
    let mut device = hub.device("plant").await;
    device.add(&boiler.sensor("boiler")).await;
    let backup = hub.backup().await;
    device.moved_to(&hub);
    let mut agent = device.agent(&hub).with("HEARTBEAT_S", "1").started();
    device.settled(1).await;
    let first_life = incarnation(&device).await;
    let later = device
        .patch("boiler", &json!({ "pollInterval": 200 }))
        .await;
    device.settled(later).await;

    hub.restore(&backup).await;
    device.moved_to(&hub);
    agent.logs("does not know this agent").await;
    agent.logs("registered anew").await;
    // The agent is ahead: the hub goes on above it.
    device.settled(later + 1).await;
    assert_ne!(incarnation(&device).await, first_life);
    assert_eq!(device.events_of("device.registered").await.len(), 1);
    device.is_told_by_its_events().await;

    // A restart finds all in order.
    agent.stop().await;
    agent.start();
    let version = device
        .patch("boiler", &json!({ "pollInterval": 300 }))
        .await;
    device.settled(version).await;
    agent.stop().await;
}

/// The backup has nothing of the device: its agent runs on with what it holds until somebody gives it another key.
async fn a_device_that_is_younger_than_the_backup(mut hub: Hub) {
    let boiler = Instrument::start().await;
    // A key that is good for any device is in the backup, and does not make it a new one.
    let unbound = hub.unbound_key().await;
    let backup = hub.backup().await;
    let mut agent = Agent::newcomer(&hub, "plant", &unbound)
        .with("HEARTBEAT_S", "1")
        .started();
    let first = hub.device_called("plant").await;
    first.add(&boiler.sensor("boiler")).await;
    first.settled(1).await;

    hub.restore(&backup).await;
    agent.logs("does not know this agent").await;
    let advice = agent.logs("was of no use").await;
    assert!(advice.contains("holdfast device add"), "{advice}");
    let devices = hub.admin.all("/api/v1/devices").await;
    assert_eq!(devices, Vec::<Value>::new(), "nobody comes back by himself");
    agent.stop().await;
    agent.start();
    agent.logs("was of no use").await;
    boiler.is_read(5).await;

    let second = hub.device("plant").await;
    second.add(&boiler.sensor("boiler")).await;
    agent.stop().await;
    agent.is_given(&second.key);
    agent.start();
    agent.logs("registered anew").await;
    second.settled(1).await;
    assert_ne!(second.id, first.id);
    agent.stop().await;
    agent.start();
    let version = second
        .patch("boiler", &json!({ "pollInterval": 300 }))
        .await;
    second.settled(version).await;
    agent.stop().await;
}
