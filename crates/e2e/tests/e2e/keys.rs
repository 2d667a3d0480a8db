//! Who may do what: a key opens its own device only, a role what is the role's, and a key that was taken away nothing.

use serde_json::{Value, json};

use crate::support::{
    client::{Answer, Client},
    device::Device,
    hand_made::HandMade,
    hub::Hub,
    instrument::made_up_sensor,
    wait::eventually,
};

on_both_stores!(
    a_key_opens_its_own_device_only,
    a_role_opens_what_is_its,
    a_revoked_key_opens_nothing
);

async fn a_key_opens_its_own_device_only(hub: Hub) {
    let (one, other) = (hub.device("one").await, hub.device("other").await);
    for device in [&one, &other] {
        device.add(&made_up_sensor("boiler")).await;
    }
    let (mut agent, mut owner) = (
        HandMade::register(&one).await,
        HandMade::register(&other).await,
    );
    for agent in [&mut agent, &mut owner] {
        assert_eq!(agent.run_all().await, "taken");
    }
    let before = all_of(&other).await;

    // By path.
    let foreign_state = format!("/api/v1/device/{}/state", other.id);
    agent
        .client
        .ask("GET", &foreign_state, &Value::Null)
        .await
        .refused(403, "uuid");
    // By body.
    let nothing = json!({ "version": 1, "config": { "protocolAdapterDevices": [] }, "failures": [], "health": {} });
    let mut body = owner.body(&nothing);
    agent.send(&body).await.refused(403, "the document's key");
    let own = body[&other.id].take();
    let both = json!({ &one.id: own.clone(), &other.id: own.clone() });
    agent.send(&both).await.is(422);
    // By both: its own incarnation under the other's name, and the other way round.
    let mut mixed = agent.body(&nothing);
    let own = mixed[&one.id].take();
    agent
        .send(&json!({ &other.id: own }))
        .await
        .refused(403, "the document's key");
    agent
        .client
        .ask(
            "POST",
            "/api/v1/device/incarnation",
            &json!({ "device": other.id }),
        )
        .await
        .refused(403, "device");
    let readings = json!({ "device": other.id, "readings": [] });
    agent
        .client
        .ask("POST", "/api/v1/device/readings", &readings)
        .await
        .refused(403, "device");
    // An agent is no operator.
    for path in [
        "/api/v1/devices",
        "/api/v1/events",
        "/api/v1/tokens",
        "/api/v1/drift",
        "/metrics",
    ] {
        agent.client.ask("GET", path, &Value::Null).await.is(403);
    }
    for device in [&one, &other] {
        agent
            .client
            .ask("GET", &device.path("/sensors"), &Value::Null)
            .await
            .is(403);
        agent
            .client
            .ask("DELETE", &device.path("?force=true"), &Value::Null)
            .await
            .is(403);
        agent
            .client
            .ask("POST", &device.path("/sensors"), &made_up_sensor("more"))
            .await
            .is(403);
    }
    // And an operator is no agent.
    hub.admin
        .ask("GET", &foreign_state, &Value::Null)
        .await
        .is(403);
    assert_eq!(
        all_of(&other).await,
        before,
        "nothing of the other device was changed"
    );
}

async fn all_of(device: &Device) -> (Value, Vec<Value>, Vec<Value>, Value) {
    let mut device_itself = device.get("").await;
    device_itself["lastSeenAt"] = Value::Null;
    (
        device.target().await,
        device.rows().await,
        device.events().await,
        device_itself,
    )
}

async fn a_role_opens_what_is_its(hub: Hub) {
    let device = hub.device("plant").await;
    let (viewer, operator) = (
        hub.somebody("vera", "viewer").await,
        hub.somebody("otto", "operator").await,
    );
    let nobody = hub.admin.with(None);
    let stranger = hub.admin.with(Some(
        "hft_0000000000000000000000000000000000000000000000000000000000000000",
    ));
    let status = async |who: &Client, method: &str, path: &str, body: &Value| {
        who.ask(method, path, body).await.status
    };

    let sensors = device.path("/sensors");
    for (method, path, body, allowed) in [
        (
            "GET",
            "/api/v1/devices".to_owned(),
            Value::Null,
            [401, 401, 200, 200],
        ),
        (
            "GET",
            "/api/v1/events".to_owned(),
            Value::Null,
            [401, 401, 200, 200],
        ),
        (
            "POST",
            sensors.clone(),
            made_up_sensor("boiler"),
            [401, 401, 403, 201],
        ),
        (
            "POST",
            "/api/v1/devices".to_owned(),
            json!({ "name": "more" }),
            [401, 401, 403, 403],
        ),
        (
            "POST",
            "/api/v1/tokens".to_owned(),
            json!({ "name": "x", "role": "admin" }),
            [401, 401, 403, 403],
        ),
        ("DELETE", device.path(""), Value::Null, [401, 401, 403, 403]),
        ("GET", "/healthz".to_owned(), Value::Null, [200; 4]),
    ] {
        let found = [
            status(&nobody, method, &path, &body).await,
            status(&stranger, method, &path, &body).await,
            status(&viewer, method, &path, &body).await,
            status(&operator, method, &path, &body).await,
        ];
        assert_eq!(
            found, allowed,
            "{method} {path}: nobody, stranger, viewer, operator"
        );
    }
    let event = device
        .events_of("sensor.added")
        .await
        .pop()
        .expect("an event");
    assert_eq!(event["actor"], "otto", "who did it is written down");
}

async fn a_revoked_key_opens_nothing(hub: Hub) {
    let made = hub
        .admin
        .done(
            "POST",
            "/api/v1/tokens",
            &json!({ "name": "otto", "role": "operator" }),
        )
        .await;
    let otto = hub.admin.with(made["secret"].as_str());
    otto.get("/api/v1/devices").await;
    let id = made["id"].as_str().expect("a token has an id");
    hub.admin
        .done("DELETE", &format!("/api/v1/tokens/{id}"), &Value::Null)
        .await;
    otto.ask("GET", "/api/v1/devices", &Value::Null)
        .await
        .is(401);

    // A gateway that was replaced: the new agent gets the device, the old one learns that it was revoked.
    let device = hub.device("plant").await;
    device.add(&made_up_sensor("boiler")).await;
    let mut old = HandMade::register(&device).await;
    assert_eq!(old.run_all().await, "taken");
    let key = device
        .ask("POST", "/rekey", &Value::Null)
        .await
        .good("a new key");
    let mut new =
        HandMade::register_with(&device, key["secret"].as_str().expect("its secret")).await;
    assert_ne!(new.incarnation, old.incarnation);
    let gone = old.poll(None).await;
    told_of(&gone, 401, "device-revoked", &device);
    assert_eq!(new.run_all().await, "taken");

    // A key that was used up registers nobody; a deleted device's agent learns that it was deleted.
    let used = device.operator.with(Some(&device.key));
    let request = json!({ "tokenHash": "00".repeat(32) });
    used.ask("POST", "/api/v1/device/register", &request)
        .await
        .is(401);
    let refused = device.ask("DELETE", "", &Value::Null).await;
    refused.is(409);
    device.remove("boiler").await;
    device.ask("DELETE", "", &Value::Null).await.is(409);
    assert_eq!(new.run_all().await, "taken");
    device.ask("DELETE", "", &Value::Null).await.is(204);
    eventually("the agent learns that its device was deleted", async || {
        let answer = new.poll(None).await;
        if answer.status == 410 {
            Ok(())
        } else {
            Err(format!("{} {:#}", answer.status, answer.body))
        }
    })
    .await;
    told_of(&new.poll(None).await, 410, "device-deleted", &device);
}

fn told_of(answer: &Answer, status: u16, kind: &str, device: &Device) {
    assert_eq!(answer.status, status, "{:#}", answer.body);
    assert_eq!(answer.body["type"], format!("urn:holdfast:problem:{kind}"));
    assert_eq!(answer.body["device"], json!(device.id));
}
