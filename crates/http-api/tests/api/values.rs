//! Setpoints: what is refused and why, what is recorded, and what agents say of it. Stops and pauses are in `stops.rs`.

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::support::{Server, assert_names, problem, report};

pub(crate) const POINT: &str = "/setpoints/boiler-1/target-temperature";

/// Sets a value on device A with more headers.
async fn put(server: &Server, body: &Value, headers: &[(&str, &str)]) -> reqwest::Response {
    let mut request = server.request(Method::PUT, &server.of_a(POINT), Some(&server.operator));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.json(body).send().await.expect("an answer")
}

pub(crate) async fn set(server: &Server, value: Value) -> Value {
    let answer = put(server, &json!({ "value": value }), &[]).await;
    let status = answer.status();
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

/// The events of device A of this type, oldest first.
pub(crate) async fn events(server: &Server, kind: &str) -> Vec<Value> {
    let path = format!("/api/v1/events?limit=1000&type={kind}");
    let log = server.json(&path).await;
    log["items"].as_array().expect("a list").clone()
}

/// The agent of device A reports: it runs what is wanted, and says `outputs` and `hold`.
pub(crate) async fn say(server: &Server, sequence: u64, outputs: &Value, hold: Option<&Value>) {
    say_also(server, sequence, outputs, hold.map(|hold| ("hold", hold))).await;
}

/// The same, with another member.
pub(crate) async fn say_also(
    server: &Server,
    sequence: u64,
    outputs: &Value,
    also: Option<(&str, &Value)>,
) {
    let target = server.json(&server.of_a("/target-state")).await;
    let items = target["config"]["protocolAdapterDevices"]
        .as_array()
        .expect("a list");
    let version = target["version"].as_u64().expect("a version");
    let mut body = report(&server.a, sequence, version, items);
    let members = &mut body[server.a.id.to_string()];
    members["setpoints"] = outputs.clone();
    if let Some((member, value)) = also {
        members[member] = value.clone();
    }
    let request = server.request(Method::PATCH, "/api/v1/device/state", Some(&server.a.token));
    let answer = request.json(&body).send().await.expect("an answer");
    let (status, text) = (answer.status(), answer.text().await.expect("a body"));
    assert_eq!(status, StatusCode::OK, "{text}");
}

pub(crate) fn said(point: &Value, revision: u64, conformity: &str, hold: &str) -> Value {
    let point = point.as_str().expect("an id");
    json!({ "heldRevision": revision, "items": { point: {
        "conformity": conformity, "hold": hold, "value": 72.5, "since": "2026-11-22T12:00:00Z",
        "revision": revision, "writes": 12, "budgetLeft": 88, "verifiedInMs": 38, "changes": 0,
    } } })
}

#[tokio::test]
async fn a_value_is_set_read_back_and_released() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let missing = server.get(&server.of_a(POINT)).await;
    problem(missing, StatusCode::NOT_FOUND).await;

    let body = json!({ "value": 72.5, "tolerance": { "absolute": 0.2 }, "reason": "winter", "validForMs": 3_600_000 });
    let answer = put(&server, &body, &[]).await;
    assert_eq!(
        (answer.status(), &answer.headers()[header::ETAG]),
        (StatusCode::OK, &"\"1\"".parse().expect("a header"))
    );
    let view: Value = answer.json().await.expect("JSON");
    for (field, wanted) in [
        ("value", json!(72.5)),
        ("tolerance", json!({ "absolute": 0.2 })),
        ("policy", json!("enforce")),
        ("reason", json!("winter")),
        ("setBy", json!("a Operator")),
        ("revision", json!(1)),
        ("conformity", json!("unknown")),
        ("hold", json!("pending")),
        ("why", json!("the agent has not got it yet")),
        ("sensor", json!("boiler-1")),
        ("point", json!("target-temperature")),
        ("unit", json!("°C")),
        ("writes", Value::Null),
        ("since", Value::Null),
    ] {
        assert_eq!(view[field], wanted, "{field}");
    }
    assert!(view["until"].is_string());

    let by_id = format!(
        "/setpoints/{}/{}",
        view["sensorId"].as_str().expect("an id"),
        view["pointId"].as_str().expect("an id")
    );
    assert_eq!(server.json(&server.of_a(&by_id)).await, view);
    let listed = server.json(&server.of_a("/setpoints")).await;
    assert_eq!(listed, json!({ "items": [view], "next": null }));

    say(
        &server,
        1,
        &said(&view["pointId"], 1, "inSync", "active"),
        None,
    )
    .await;
    let view = server.json(&server.of_a(POINT)).await;
    for (field, wanted) in [
        ("conformity", json!("inSync")),
        ("hold", json!("active")),
        ("shownValue", json!(72.5)),
        ("writes", json!(12)),
        ("budgetLeft", json!(88)),
        ("verifiedInMs", json!(38)),
        ("since", json!("2026-11-22T12:00:00Z")),
    ] {
        assert_eq!(view[field], wanted, "{field}");
    }

    let again = set(&server, json!(60)).await;
    assert_eq!(
        (&again["revision"], &again["conformity"], &again["hold"]),
        (&json!(2), &json!("unknown"), &json!("pending")),
        "what was said of the last wish says nothing of this one"
    );
    assert_eq!(
        again["shownValue"],
        json!(72.5),
        "what the instrument shows is so all the same"
    );

    let released = server
        .request(
            Method::DELETE,
            &server.of_a(&format!("{POINT}?reason=done")),
            Some(&server.operator),
        )
        .send()
        .await
        .expect("an answer");
    assert_eq!(released.status(), StatusCode::NO_CONTENT);
    let again = server.request(Method::DELETE, &server.of_a(POINT), Some(&server.admin));
    problem(
        again.send().await.expect("an answer"),
        StatusCode::NOT_FOUND,
    )
    .await;
    let told = events(&server, "setpoint.released").await;
    assert_eq!(told[0]["payload"]["reason"], "done");
    assert_eq!(events(&server, "setpoint.set").await.len(), 2);
}

#[tokio::test]
async fn the_agent_is_told_what_is_left_of_a_wishs_time() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    put(&server, &json!({ "value": 50, "validForMs": 10_000 }), &[]).await;
    let path = format!("/api/v1/device/{}/state", server.a.id);
    let request = server.request(Method::GET, &path, Some(&server.a.token));
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.headers()[header::ETAG], "\"v1.s1.h0.c0.l0\"");
    let target: Value = answer.json().await.expect("JSON");
    let target = &target[server.a.id.to_string()];
    assert_eq!(target["setpoints"]["revision"], 1);
    let item = &target["setpoints"]["items"][0];
    assert_eq!((&item["value"], &item["revision"]), (&json!(50), &json!(1)));
    assert_eq!(
        item["validForMs"], 10_000,
        "the clock of this test stands still"
    );
    assert_eq!(target["hold"]["active"], true);
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_refused_with_its_field_and_nothing_changes() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let before = server.everything().await;
    for (field, body) in [
        ("value", json!({})),
        ("value", json!({ "value": null })),
        ("value", json!({ "value": [1] })),
        // Outside the limits 20 to 90.
        ("value", json!({ "value": 19.9 })),
        ("value", json!({ "value": 90.1 })),
        // Not a step of 0.1.
        ("value", json!({ "value": 72.53 })),
        ("value", json!({ "value": true })),
        ("value", json!({ "value": "72.5" })),
        ("tolerance", json!({ "value": 72.5, "tolerance": 0.1 })),
        (
            "tolerance",
            json!({ "value": 72.5, "tolerance": { "absolute": -1 } }),
        ),
        ("policy", json!({ "value": 72.5, "policy": "fight" })),
        ("reason", json!({ "value": 72.5, "reason": "" })),
        ("validForMs", json!({ "value": 72.5, "validForMs": 0 })),
        ("valeu", json!({ "value": 72.5, "valeu": 1 })),
    ] {
        let answer = put(&server, &body, &[]).await;
        let told = problem(answer, StatusCode::UNPROCESSABLE_ENTITY).await;
        assert_names(&told, field);
    }
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn what_can_not_be_held_is_a_conflict_that_says_why() {
    let server = Server::start().await;
    let mut sensor = crate::support::sensor("boiler-1");
    let points = sensor["dataPoints"].as_array_mut().expect("a list");
    for kind in ["pulse", "command"] {
        points.push(json!({ "name": kind, "table": "coil", "address": 1, "dataType": "bool", "kind": kind, "writable": true }));
    }
    let sensors = server.of_a("/sensors");
    let added = server.send(Method::POST, &sensors, &sensor).await;
    assert_eq!(added.status(), StatusCode::CREATED);
    for (point, value, found) in [
        ("temperature", json!(20.5), "read-only"),
        ("pulse", json!(true), "a pulse"),
        ("command", json!(true), "a command"),
    ] {
        let path = server.of_a(&format!("/setpoints/boiler-1/{point}"));
        let answer = server
            .send(Method::PUT, &path, &json!({ "value": value }))
            .await;
        let told = problem(answer, StatusCode::CONFLICT).await;
        assert_names(&told, "point");
        assert_eq!(told.errors[0].found, found);
    }
    for path in [
        "/setpoints/boiler-1/none",
        "/setpoints/none/target-temperature",
    ] {
        let path = server.of_a(path);
        let answer = server
            .send(Method::PUT, &path, &json!({ "value": 50 }))
            .await;
        problem(answer, StatusCode::NOT_FOUND).await;
    }
}

#[tokio::test]
async fn a_revision_guards_a_setpoint() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let body = json!({ "value": 50 });
    let unset = put(&server, &body, &[("if-match", "\"1\"")]).await;
    let told = problem(unset, StatusCode::PRECONDITION_FAILED).await;
    assert_names(&told, "If-Match");
    set(&server, json!(50)).await;
    set(&server, json!(55)).await;
    let late = put(&server, &json!({ "value": 60 }), &[("if-match", "\"1\"")]).await;
    let told = problem(late, StatusCode::PRECONDITION_FAILED).await;
    assert_eq!(told.errors[0].expected, "\"2\"");
    let unread = put(&server, &body, &[("if-match", "7")]).await;
    problem(unread, StatusCode::BAD_REQUEST).await;
    let good = put(&server, &json!({ "value": 60 }), &[("if-match", "\"2\"")]).await;
    assert_eq!(good.status(), StatusCode::OK);
    let delete = |tag: &'static str| {
        let request = server.request(Method::DELETE, &server.of_a(POINT), Some(&server.admin));
        request.header("if-match", tag).send()
    };
    let late = delete("\"2\"").await.expect("an answer");
    problem(late, StatusCode::PRECONDITION_FAILED).await;
    let good = delete("\"3\"").await.expect("an answer");
    assert_eq!(good.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn the_same_again_changes_nothing() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    for value in [json!(72), json!(72.0), json!(72)] {
        assert_eq!(set(&server, value).await["revision"], 1);
    }
    let body = json!({ "value": 60, "validForMs": 60_000 });
    let headers = [("idempotency-key", "request-1"), ("if-match", "\"1\"")];
    let first: Value = put(&server, &body, &headers)
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(first["revision"], 2);
    let again: Value = put(&server, &body, &headers)
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(again, first);
    let other = put(&server, &json!({ "value": 61 }), &headers).await;
    let told = problem(other, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_names(&told, "Idempotency-Key");
    assert_eq!(events(&server, "setpoint.set").await.len(), 2);
}

#[tokio::test]
async fn a_wish_that_was_given_up_is_armed_again_once() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let view = set(&server, json!(72.5)).await;
    say(
        &server,
        1,
        &said(&view["pointId"], 1, "drifting", "overridden"),
        None,
    )
    .await;
    for _ in 0..3 {
        assert_eq!(set(&server, json!(72.5)).await["revision"], 2);
    }
}

#[tokio::test]
async fn a_wait_ends_when_the_value_was_read_back() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    // The point's id; the wish that counts comes below.
    let point = set(&server, json!(50)).await["pointId"].clone();
    let body = json!({ "value": 72.5 });
    let waiting = put(&server, &body, &[("prefer", "wait=30")]);
    let agent = async {
        let mut seen = server.json(&server.of_a(POINT)).await;
        while seen["revision"] != 2 {
            seen = server.json(&server.of_a(POINT)).await;
        }
        say(&server, 1, &said(&point, 2, "drifting", "writing"), None).await;
        say(&server, 2, &said(&point, 2, "inSync", "active"), None).await;
    };
    let started = std::time::Instant::now();
    let (answer, ()) = tokio::join!(waiting, agent);
    let view: Value = answer.json().await.expect("JSON");
    assert_eq!(
        (&view["conformity"], &view["hold"]),
        (&json!("inSync"), &json!("active"))
    );
    assert!(started.elapsed() < std::time::Duration::from_secs(10));
    let verified = events(&server, "setpoint.verified").await;
    assert_eq!(verified.len(), 1);
}

#[tokio::test]
async fn a_point_with_a_setpoint_does_not_go() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    set(&server, json!(72.5)).await;
    let before = server.everything().await;
    let sensor = server.of_a("/sensors/boiler-1");
    let remove = server.request(Method::DELETE, &sensor, Some(&server.admin));
    let empty = json!({ "config": { "protocolAdapterDevices": [] } });
    for answer in [
        remove.send().await.expect("an answer"),
        server
            .send(Method::PATCH, &sensor, &json!({ "dataPoints": [] }))
            .await,
        server
            .send(Method::PUT, &server.of_a("/target-state"), &empty)
            .await,
        server
            .send(Method::POST, &server.of_a("/target-state/plan"), &empty)
            .await,
    ] {
        let told = problem(answer, StatusCode::CONFLICT).await;
        let detail = told.detail.expect("it says what is wrong");
        assert!(detail.contains("boiler-1/target-temperature"), "{detail}");
        assert!(detail.contains("release it first"), "{detail}");
    }
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn last_values_show_what_is_wanted_beside_what_is() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let view = set(&server, json!(72.5)).await;
    say(
        &server,
        1,
        &said(&view["pointId"], 1, "inSync", "active"),
        None,
    )
    .await;
    let readings = json!({ "device": server.a.id, "readings": [
        { "sensor": view["sensorId"], "point": view["pointId"], "value": 72.5, "quality": "good", "at": "2026-11-22T12:00:00Z" } ] });
    let request = server.request(
        Method::POST,
        "/api/v1/device/readings",
        Some(&server.a.token),
    );
    let answer = request.json(&readings).send().await.expect("an answer");
    assert!(
        answer.status().is_success(),
        "{}",
        answer.text().await.expect("a body")
    );
    let points = server.json(&server.of_a("/points")).await;
    let mut points = points["items"].as_array().expect("a list").iter();
    let point = points.find(|point| point["point"] == view["pointId"]);
    let point = point.expect("it is listed");
    for (field, wanted) in [
        ("value", json!(72.5)),
        ("desired", json!(72.5)),
        ("conformity", json!("inSync")),
        ("hold", json!("active")),
        ("since", json!("2026-11-22T12:00:00Z")),
        ("writes", json!(12)),
        ("budgetLeft", json!(88)),
    ] {
        assert_eq!(point[field], wanted, "{field}");
    }
}
