//! The agent's side: polling, reporting, last values.

use std::time::Duration;

use holdfast_domain::TargetState;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::support::{Server, assert_names, problem, report};

impl Server {
    fn poll(&self) -> RequestBuilder {
        let path = format!("/api/v1/device/{}/state", self.a.id);
        self.request(Method::GET, &path, Some(&self.a.token))
    }

    async fn report(&self, body: &Value) -> Value {
        let request = self.request(Method::PATCH, "/api/v1/device/state", Some(&self.a.token));
        let answer = request.json(body).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.expect("JSON")
    }
}

async fn target(answer: Response) -> (String, Value) {
    assert_eq!(answer.status(), StatusCode::OK);
    let etag = answer.headers()[header::ETAG]
        .to_str()
        .expect("ASCII")
        .to_owned();
    (etag, answer.json().await.expect("JSON"))
}

#[tokio::test]
async fn only_an_agent_that_holds_the_document_gets_304() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let (etag, body) = target(server.poll().send().await.expect("an answer")).await;
    assert_eq!(body[server.a.id.to_string()]["version"], 1);
    let held = |tag: &str| {
        server
            .poll()
            .header(header::IF_NONE_MATCH, tag.to_owned())
            .send()
    };
    let same = held(&etag).await.expect("an answer");
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(same.headers()[header::ETAG], etag);
    assert!(same.bytes().await.expect("a body").is_empty());
    for other in ["*", "\"v0.l0\"", "\"\"", "v1.l0"] {
        target(held(other).await.expect("an answer")).await;
    }
    let wait = server
        .poll()
        .header("prefer", "wait=30")
        .send()
        .await
        .expect("an answer");
    target(wait).await;
}

#[tokio::test]
async fn the_configuration_that_an_agent_holds_is_left_out_if_it_says_so() {
    const APPLIED: &str = "preference-applied";
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let (etag, whole) = target(server.poll().send().await.expect("an answer")).await;
    let whole = &whole[server.a.id.to_string()];
    let text = json!({ server.a.id.to_string(): whole }).to_string();
    let (_, read) = TargetState::from_slice(text.as_bytes()).expect("a target");
    let config = read.config_fingerprint();
    let poll = async |preference: String| {
        let poll = server.poll().header("prefer", preference);
        poll.send().await.expect("an answer")
    };

    let answer = poll(format!("wait=1, changes=\"{config}\"")).await;
    assert_eq!(answer.headers()[APPLIED], "changes");
    let (tag, body) = target(answer).await;
    assert_eq!(tag, etag);
    let body = &body[server.a.id.to_string()];
    assert_eq!(body["heldConfig"], json!(config));
    assert_eq!(body.get("config"), None);
    assert_eq!(body["version"], whole["version"]);

    let others = [
        "wait=1",
        "changes",
        "changes=\"\"",
        "changes=\"b3:00000000000000000000000000000000\"",
    ];
    for preference in others {
        let answer = poll(preference.to_owned()).await;
        assert!(!answer.headers().contains_key(APPLIED), "{preference}");
        let (_, body) = target(answer).await;
        let body = &body[server.a.id.to_string()];
        assert_eq!(body["config"], whole["config"], "{preference}");
    }

    // Two lines are one list.
    let lines = server.poll().header("prefer", "wait=0");
    let lines = lines.header("prefer", format!("changes=\"{config}\""));
    let answer = lines.send().await.expect("an answer");
    assert!(answer.headers().contains_key(APPLIED));
}

#[tokio::test]
async fn a_waiting_agent_has_a_change_the_moment_it_is_made() {
    let server = Server::start().await;
    let (etag, _) = target(server.poll().send().await.expect("an answer")).await;
    let waiting = server
        .poll()
        .header(header::IF_NONE_MATCH, etag)
        .header("prefer", "respond-async, wait=60");
    let waiting = tokio::spawn(waiting.send());
    server.add_sensor("boiler-1").await;
    let answer = tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("long before the wait ends");
    let (_, body) = target(answer.expect("no panic").expect("an answer")).await;
    let sensors = &body[server.a.id.to_string()]["config"]["protocolAdapterDevices"];
    assert_eq!(sensors[0]["name"], "boiler-1");
}

#[tokio::test]
async fn a_preference_that_can_not_be_understood_is_passed_over() {
    let server = Server::start().await;
    let (etag, _) = target(server.poll().send().await.expect("an answer")).await;
    for preference in ["wait=long", "wait", "wait=-1", ""] {
        let poll = server
            .poll()
            .header(header::IF_NONE_MATCH, &etag)
            .header("prefer", preference);
        assert_eq!(
            poll.send().await.expect("an answer").status(),
            StatusCode::NOT_MODIFIED
        );
    }
}

#[tokio::test]
async fn a_report_is_answered_with_what_came_of_it() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let (_, body) = target(server.poll().send().await.expect("an answer")).await;
    let items = body[server.a.id.to_string()]["config"]["protocolAdapterDevices"]
        .as_array()
        .expect("a list")
        .clone();
    let all = |sequence| report(&server.a, sequence, 1, &items);
    let heartbeat = |sequence| {
        let mut body = all(sequence);
        let members = body[server.a.id.to_string()]
            .as_object_mut()
            .expect("an object");
        for key in ["version", "config", "failures", "health"] {
            members.remove(key);
        }
        body
    };
    assert_eq!(
        server.report(&heartbeat(1)).await,
        json!({ "result": "fullWanted" })
    );
    assert_eq!(server.report(&all(2)).await, json!({ "result": "taken" }));
    assert_eq!(
        server.report(&all(3)).await,
        json!({ "result": "unchanged" })
    );
    assert_eq!(
        server.report(&heartbeat(4)).await,
        json!({ "result": "unchanged" })
    );
    assert_eq!(
        server.report(&all(2)).await,
        json!({ "result": "late", "boot": 1 })
    );
    let mut other = all(5);
    other[server.a.id.to_string()]["incarnation"] = json!(server.b.id);
    assert_eq!(
        server.report(&other).await,
        json!({ "result": "otherIncarnation" })
    );

    let rows = server.json(&server.of_a("/sensors")).await;
    assert_eq!(rows["items"][0]["deploymentStatus"], "deployed");
    assert_eq!(rows["items"][0]["configVersion"], 1);
    assert!(rows["items"][0]["running"]["since"].is_string());
    let current = server.json(&server.of_a("/current-state")).await;
    assert_eq!(
        (&current["version"], &current["heldVersion"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(server.json(&server.of_a("")).await["status"], "reconciled");
}

#[tokio::test]
async fn a_wrong_report_is_refused_with_its_field() {
    let server = Server::start().await;
    let device = server.a.id.to_string();
    let cases = [
        (format!("{device}.boot"), {
            let mut r = report(&server.a, 1, 0, &[]);
            r[&device]["boot"] = json!(0);
            r
        }),
        (format!("{device}.config"), {
            let mut r = report(&server.a, 1, 0, &[]);
            r[&device]["failures"] = json!(null);
            r
        }),
        (String::new(), json!({})),
    ];
    for (field, body) in cases {
        let request = server.request(Method::PATCH, "/api/v1/device/state", Some(&server.a.token));
        let answer = request.json(&body).send().await.expect("an answer");
        assert_names(
            &problem(answer, StatusCode::UNPROCESSABLE_ENTITY).await,
            &field,
        );
    }
}

#[tokio::test]
async fn what_is_no_json_is_told_alike_wherever_it_is_sent() {
    let server = Server::start().await;
    let agent = &server.a.token;
    for (method, path, token) in [
        (Method::PATCH, "/api/v1/device/state", agent),
        (Method::POST, "/api/v1/device/readings", agent),
        (Method::POST, "/api/v1/device/incarnation", agent),
        (Method::POST, "/api/v1/devices", &server.admin),
    ] {
        for body in ["{\"device\": ", "[1,]", "\"\\ud800\"", ""] {
            let request = server.request(method.clone(), path, Some(token));
            let request = request.header(reqwest::header::CONTENT_TYPE, "application/json");
            let answer = request.body(body).send().await.expect("an answer");
            let told = problem(answer, StatusCode::BAD_REQUEST).await;
            assert_eq!(told.errors[0].expected, "a JSON document", "{path} {body}");
        }
    }
}

#[tokio::test]
async fn last_values_are_shown_with_the_names_that_people_know() {
    let server = Server::start().await;
    let sensor = server.add_sensor("boiler-1").await;
    let row = server
        .json(&server.of_a(&format!("/sensors/{sensor}")))
        .await;
    let point = row["dataPoints"][0]["id"].clone();
    let send = |body: Value| {
        let request = server.request(
            Method::POST,
            "/api/v1/device/readings",
            Some(&server.a.token),
        );
        request.json(&body).send()
    };
    let reading = json!({ "sensor": sensor, "point": point, "value": 21.5, "quality": "good", "at": "2026-11-22T12:00:00Z" });
    let answer = send(json!({ "device": server.a.id, "readings": [reading] }))
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let points = server.json(&server.of_a("/points")).await;
    let shown = &points["items"][0];
    assert_eq!(
        (&shown["sensorName"], &shown["name"]),
        (&json!("boiler-1"), &json!("temperature"))
    );
    assert_eq!(
        (&shown["value"], &shown["unit"]),
        (&json!(21.5), &json!("°C"))
    );

    let mut wrong = reading.clone();
    wrong["quality"] = json!("excellent");
    let answer = send(json!({ "device": server.a.id, "readings": [reading, wrong] }))
        .await
        .expect("an answer");
    assert_names(
        &problem(answer, StatusCode::UNPROCESSABLE_ENTITY).await,
        "readings[1].quality",
    );
}

#[tokio::test]
async fn an_agent_that_speaks_with_the_past_of_another_begins_anew() {
    let server = Server::start().await;
    let request = server.request(
        Method::POST,
        "/api/v1/device/incarnation",
        Some(&server.a.token),
    );
    let answer = request
        .json(&json!({ "device": server.a.id }))
        .send()
        .await
        .expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    assert_ne!(answer["incarnation"], server.a.incarnation);
    assert_eq!(
        server.report(&report(&server.a, 1, 0, &[])).await["result"],
        "otherIncarnation"
    );
}

#[tokio::test]
async fn a_replacement_registers_with_the_devices_own_key_and_ends_the_old_agents_access() {
    let server = Server::start().await;
    let key = server
        .send(Method::POST, &server.of_a("/rekey"), &json!({}))
        .await;
    assert_eq!(key.status(), StatusCode::CREATED);
    let key: Value = key.json().await.expect("JSON");
    let secret = key["secret"].as_str().expect("a secret");
    let register = |hash: String| {
        let request = server.request(Method::POST, "/api/v1/device/register", Some(secret));
        request.json(&json!({ "tokenHash": hash })).send()
    };
    let wrong = register("short".to_owned()).await.expect("an answer");
    assert_names(
        &problem(wrong, StatusCode::UNPROCESSABLE_ENTITY).await,
        "tokenHash",
    );
    let first: Value = register("ab".repeat(32))
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let again: Value = register("ab".repeat(32))
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(first["device"], server.a.id.to_string());
    assert_eq!(again, first, "the same request again gets the same answer");
    problem(
        register("cd".repeat(32)).await.expect("an answer"),
        StatusCode::UNAUTHORIZED,
    )
    .await;
    let told = problem(
        server.poll().send().await.expect("an answer"),
        StatusCode::UNAUTHORIZED,
    )
    .await;
    assert_eq!(told.revoked_device(), Some(server.a.id));
}
