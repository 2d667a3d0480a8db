//! What operators can't do: each is answered with the field that is wrong, and nothing is changed by it.

use serde_json::{Value, json};

use crate::support::{
    client::{Answer, send},
    device::Device,
    hand_made::HandMade,
    hub::Hub,
    instrument::made_up_sensor,
};

on_both_stores!(
    what_is_wrong_is_named_and_changes_nothing,
    everything_is_bounded
);

/// Everything that an operator's request could change of a device.
async fn all_of(device: &Device) -> (Value, Vec<Value>, Vec<Value>, Vec<Value>) {
    let history = device
        .operator
        .all(&device.path("/target-state/history"))
        .await;
    (
        device.target().await,
        device.rows().await,
        device.events().await,
        history,
    )
}

/// A sensor with something changed.
fn with(change: impl Fn(&mut Value)) -> Value {
    let mut sensor = made_up_sensor("new");
    change(&mut sensor);
    sensor
}

async fn what_is_wrong_is_named_and_changes_nothing(hub: Hub) {
    let device = hub.device("plant").await;
    device.add(&made_up_sensor("boiler")).await;
    device.add(&made_up_sensor("pump")).await;
    let mut agent = HandMade::register(&device).await;
    agent.run_all().await;
    let before = all_of(&device).await;

    let wrong = [
        (
            "pollInterval",
            with(|sensor| sensor["pollInterval"] = json!(-5)),
        ),
        (
            "pollInterval",
            with(|sensor| sensor["pollInterval"] = json!("often")),
        ),
        (
            "protocol",
            with(|sensor| sensor["protocol"] = json!("profibus")),
        ),
        ("protocol", with(|sensor| sensor["protocol"] = Value::Null)),
        (
            "pollIntervall",
            with(|sensor| sensor["pollIntervall"] = json!(100)),
        ),
        (
            "connection.hots",
            with(|sensor| sensor["connection"]["hots"] = json!("10.0.0.5")),
        ),
        (
            "connection.unitId",
            with(|sensor| sensor["connection"]["unitId"] = json!(256)),
        ),
        (
            "dataPoints[0].address",
            with(|sensor| sensor["dataPoints"][0]["address"] = json!(65_536)),
        ),
        (
            "dataPoints[0].adress",
            with(|sensor| sensor["dataPoints"][0]["adress"] = json!(1)),
        ),
        ("name", with(|sensor| sensor["name"] = json!("a/b"))),
        (
            "id",
            with(|sensor| sensor["id"] = json!("01920000-0000-7000-8000-000000000000")),
        ),
    ];
    for (field, sensor) in &wrong {
        device
            .ask("POST", "/sensors", sensor)
            .await
            .refused(422, field);
        let in_list = format!("protocolAdapterDevices[0].{field}");
        device
            .put(std::slice::from_ref(sensor))
            .await
            .refused(422, &in_list);
    }
    for (patch, field) in [
        (json!({ "pollInterval": -5 }), "pollInterval"),
        (json!({ "protocol": "profibus" }), "protocol"),
        (json!({ "colour": "red" }), "colour"),
        (
            json!({ "connection": { "colour": "red" } }),
            "connection.colour",
        ),
    ] {
        device
            .ask("PATCH", "/sensors/boiler", &patch)
            .await
            .refused(422, field);
    }

    // A name used twice.
    device
        .ask("POST", "/sensors", &made_up_sensor("boiler"))
        .await
        .refused(409, "name");
    device
        .ask("PATCH", "/sensors/pump", &json!({ "name": "boiler" }))
        .await
        .refused(409, "name");
    let twice = [made_up_sensor("same"), made_up_sensor("same")];
    device
        .put(&twice)
        .await
        .refused(422, "protocolAdapterDevices[1].name");

    // A body of 25 MB, from an operator and from an agent.
    let large = vec![b' '; 25 * 1024 * 1024];
    let path = device.path("/target-state");
    for request in [
        device.operator.request("PUT", &path),
        agent.client.request("PATCH", "/api/v1/device/state"),
    ] {
        send(
            request
                .header("content-type", "application/json")
                .body(large.clone()),
        )
        .await
        .refused(413, "body");
    }

    // Not what was asked for at all.
    let text = device
        .operator
        .request("POST", &device.path("/sensors"))
        .body("name: boiler");
    send(text).await.refused(415, "Content-Type");
    let broken = device
        .operator
        .request("POST", &device.path("/sensors"))
        .header("content-type", "application/json");
    let answer = send(broken.body("{\"name\":")).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (400, "application/problem+json")
    );
    device
        .ask("GET", "/sensors?view=everything", &Value::Null)
        .await
        .refused(400, "view");
    device
        .ask("GET", "/sensors?colour=red", &Value::Null)
        .await
        .refused(400, "colour");
    device
        .operator
        .ask("GET", "/api/v1/devices/boiler", &Value::Null)
        .await
        .refused(400, "uuid");
    let unknown = device
        .operator
        .ask("GET", "/api/v1/device", &Value::Null)
        .await;
    assert_eq!(
        (unknown.status, unknown.header("content-type")),
        (404, "application/problem+json")
    );
    device
        .ask("GET", "/sensors/nothing", &Value::Null)
        .await
        .is(404);

    assert_eq!(
        all_of(&device).await,
        before,
        "what was refused changed nothing"
    );
}

async fn everything_is_bounded(hub: Hub) {
    let device = hub.device("plant").await;
    let most = holdfast_domain::limits::SENSORS_PER_DEVICE;
    let mut sensors: Vec<Value> = (0..=most).map(|number| json!({
        "name": format!("s{number}"), "protocol": "modbus", "connection": { "type": "tcp", "host": "192.0.2.1", "unitId": 1 },
    })).collect();
    device
        .put(&sensors)
        .await
        .refused(422, "protocolAdapterDevices");
    assert_eq!(device.target().await["version"], 0);

    // As many as are allowed go, in one report too; one more does not.
    sensors.pop();
    device
        .put(&sensors)
        .await
        .good("the most sensors of a device");
    device
        .ask("POST", "/sensors", &made_up_sensor("one too many"))
        .await
        .refused(422, "protocolAdapterDevices");
    let mut agent = HandMade::register(&device).await;
    assert_eq!(agent.run_all().await, "taken");
    device.settled(1).await;

    // Lists come in pages, none longer than a thousand.
    device
        .ask("GET", "/sensors?limit=1001", &Value::Null)
        .await
        .refused(400, "limit");
    device
        .ask("GET", "/sensors?limit=0", &Value::Null)
        .await
        .refused(400, "limit");
    let page = device.get("/sensors").await;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(100));
    assert!(page["next"].is_string(), "there is more");
    assert_eq!(device.rows().await.len(), most);

    let long = "x".repeat(holdfast_domain::limits::NAME_CHARS + 1);
    let answer = hub
        .admin
        .ask("POST", "/api/v1/devices", &json!({ "name": long }))
        .await;
    answer.refused(422, "name");
    let deep = "[".repeat(10_000);
    let request = device
        .operator
        .request("POST", &device.path("/sensors"))
        .header("content-type", "application/json");
    let answer: Answer = send(request.body(deep)).await;
    assert_eq!(answer.status, 400, "{:#}", answer.body);
    device.settled(1).await;
}
