//! Commands over HTTP: what is answered, what is refused and why, and the list.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    support::{Server, assert_names, problem, sensor},
    values::{events, say_also},
};

async fn with_pulse(server: &Server) {
    let mut document = sensor("boiler-1");
    let points = document["dataPoints"].as_array_mut().expect("a list");
    points.push(json!({
        "name": "start", "kind": "pulse", "table": "coil", "address": 1, "dataType": "bool", "writable": true,
    }));
    let answer = server
        .send(Method::POST, &server.of_a("/sensors"), &document)
        .await;
    assert_eq!(answer.status(), StatusCode::CREATED);
}

fn start() -> Value {
    json!({ "sensor": "boiler-1", "point": "start", "value": true, "reason": "start-up" })
}

async fn post(server: &Server, body: &Value) -> reqwest::Response {
    server
        .send(Method::POST, &server.of_a("/commands"), body)
        .await
}

async fn given(server: &Server) -> Value {
    let answer = post(server, &start()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.expect("JSON")
}

#[tokio::test]
async fn a_command_is_given_answered_and_listed() {
    let server = Server::start().await;
    with_pulse(&server).await;
    let view = given(&server).await;
    for (field, wanted) in [
        ("value", json!(true)),
        ("kind", json!("pulse")),
        ("reason", json!("start-up")),
        ("sensor", json!("boiler-1")),
        ("point", json!("start")),
        ("outcome", Value::Null),
        ("why", json!("the agent has not said what became of it yet")),
        ("tookMs", Value::Null),
    ] {
        assert_eq!(view[field], wanted, "{field}");
    }
    let id = view["id"].as_str().expect("an id");
    assert_eq!(
        server.json(&server.of_a(&format!("/commands/{id}"))).await,
        view
    );
    assert_eq!(
        server.json(&server.of_a("/commands")).await,
        json!({ "items": [view], "next": null })
    );

    let outputs = json!({ "heldRevision": 0, "items": {} });
    let word = json!({ "id": id, "outcome": "outcomeUnknown", "reason": "no answer within 1 s", "value": false,
        "at": "2026-11-22T12:00:00Z", "tookMs": 1003 });
    say_also(
        &server,
        1,
        &outputs,
        Some(("commandResults", &json!([word]))),
    )
    .await;
    let view = server.json(&server.of_a(&format!("/commands/{id}"))).await;
    for (field, wanted) in [
        ("outcome", json!("outcomeUnknown")),
        ("why", json!("no answer within 1 s")),
        ("shownValue", json!(false)),
        ("at", json!("2026-11-22T12:00:00Z")),
        ("tookMs", json!(1003)),
    ] {
        assert_eq!(view[field], wanted, "{field}");
    }
    let told = events(&server, "command.outcome_unknown").await;
    assert_eq!((told.len(), &told[0]["payload"]["id"]), (1, &json!(id)));
    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.status(), StatusCode::OK);
}

#[tokio::test]
async fn what_can_not_be_sent_is_refused_by_name() {
    let server = Server::start().await;
    with_pulse(&server).await;
    let refused = async |change: &dyn Fn(&mut Value), status: StatusCode, field: &str| {
        let mut body = start();
        change(&mut body);
        let answer = problem(post(&server, &body).await, status).await;
        assert_names(&answer, field);
    };
    let invalid = StatusCode::UNPROCESSABLE_ENTITY;
    refused(&|body| body["value"] = json!(3), invalid, "value").await;
    refused(
        &|body| body["validForMs"] = json!(99),
        invalid,
        "validForMs",
    )
    .await;
    refused(
        &|body| body["validForMs"] = json!(3_600_001),
        invalid,
        "validForMs",
    )
    .await;
    refused(&|body| body["valid"] = json!(1), invalid, "valid").await;
    refused(&|body| body["sensor"] = json!("a/b"), invalid, "sensor").await;
    refused(&|body| body["point"] = json!(" "), invalid, "point").await;
    refused(
        &|body| body["point"] = json!("temperature"),
        StatusCode::CONFLICT,
        "point",
    )
    .await;
    let changed = StatusCode::PRECONDITION_FAILED;
    refused(
        &|body| body["onlyIfValue"] = json!(false),
        changed,
        "onlyIfValue",
    )
    .await;
    for (field, name) in [("sensor", "boiler-9"), ("point", "stop")] {
        let mut body = start();
        body[field] = json!(name);
        problem(post(&server, &body).await, StatusCode::NOT_FOUND).await;
    }
    let nowhere = server.of_a("/commands/00000000-0000-0000-0000-000000000001");
    problem(server.get(&nowhere).await, StatusCode::NOT_FOUND).await;
    problem(
        server.get(&server.of_a("/commands/one")).await,
        StatusCode::BAD_REQUEST,
    )
    .await;
    assert_eq!(events(&server, "command.requested").await.len(), 0);
    let stop = json!({ "reason": "belt change" });
    server
        .send(Method::POST, &server.of_a("/reconciliation/stop"), &stop)
        .await;
    let answer = problem(post(&server, &start()).await, StatusCode::CONFLICT).await;
    let detail = answer.detail.expect("it says why");
    assert!(detail.contains("belt change"), "{detail}");
}

#[tokio::test]
async fn commands_are_listed_page_by_page_the_newest_first() {
    let server = Server::start().await;
    with_pulse(&server).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, given(&server).await["id"].clone());
    }
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = server
            .json(&server.of_a(&format!("/commands?limit=2{after}")))
            .await;
        let items = page["items"].as_array().expect("a list");
        found.extend(items.iter().map(|item| item["id"].clone()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(found, ids);
    problem(
        server.get(&server.of_a("/commands?after=x")).await,
        StatusCode::BAD_REQUEST,
    )
    .await;
}

#[tokio::test]
async fn a_target_says_how_long_it_was_held_back() {
    let server = Server::start().await;
    with_pulse(&server).await;
    let path = format!("/api/v1/device/{}/state", server.a.id);
    let request = server.request(Method::GET, &path, Some(&server.a.token));
    let answer = request.send().await.expect("an answer");
    let held = answer.headers()["holdfast-held-ms"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(held.parse::<u64>().is_ok(), "{held}");
}

#[tokio::test]
async fn a_command_is_cancelled_if_its_agent_says_so_and_else_it_is_said_what_became_of_it() {
    let server = Server::start().await;
    with_pulse(&server).await;
    let outputs = json!({ "heldRevision": 0, "items": {} });
    let cancel = async |id: &str, query: &str| {
        let path = server.of_a(&format!("/commands/{id}{query}"));
        let request = server.request(Method::DELETE, &path, Some(&server.operator));
        request.send().await.expect("an answer")
    };
    for (sequence, outcome) in [(1, "cancelled"), (2, "verified")] {
        let id = given(&server).await["id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let asked = cancel(&id, "?reason=not%20now").await;
        assert_eq!(asked.status(), StatusCode::ACCEPTED);
        let view: Value = asked.json().await.expect("JSON");
        assert_eq!(
            (&view["outcome"], &view["cancelling"]["reason"]),
            (&Value::Null, &json!("not now"))
        );
        assert_eq!(
            view["why"],
            "cancelled by a Operator: the agent has not said yet whether it had begun it"
        );
        let target = format!("/api/v1/device/{}/state", server.a.id);
        let told = server.request(Method::GET, &target, Some(&server.a.token));
        let told: Value = told
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        let told = &told[server.a.id.to_string()]["commands"]["items"][0];
        assert_eq!(
            (&told["id"], &told["cancelled"]),
            (&json!(id), &json!(true))
        );

        let word = json!([{ "id": id, "outcome": outcome, "reason": "why", "at": "2026-11-22T12:00:00Z" }]);
        say_also(&server, sequence, &outputs, Some(("commandResults", &word))).await;
        let again = cancel(&id, "").await;
        if outcome == "cancelled" {
            assert_eq!(again.status(), StatusCode::OK);
            let view: Value = again.json().await.expect("JSON");
            assert_eq!(view["outcome"], "cancelled");
        } else {
            let told = problem(again, StatusCode::CONFLICT)
                .await
                .detail
                .expect("why");
            assert!(told.contains("verified"), "{told}");
        }
    }
    let asked = events(&server, "command.cancel_requested").await;
    assert_eq!(asked.len(), 2, "once each");
    assert_eq!(
        (&asked[0]["payload"]["reason"], &asked[0]["actor"]),
        (&json!("not now"), &json!("a Operator"))
    );
    assert_eq!(events(&server, "command.cancelled").await.len(), 1);

    problem(
        cancel("00000000-0000-0000-0000-000000000001", "").await,
        StatusCode::NOT_FOUND,
    )
    .await;
    let id = given(&server).await["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = server.of_a(&format!("/commands/{id}"));
    let viewer = server.request(Method::DELETE, &path, Some(&server.viewer));
    problem(
        viewer.send().await.expect("an answer"),
        StatusCode::FORBIDDEN,
    )
    .await;
    let body = json!({ "reason": "not now" });
    let answer = server.send(Method::DELETE, &path, &body).await;
    assert_names(&problem(answer, StatusCode::BAD_REQUEST).await, "body");
    assert_eq!(events(&server, "command.cancel_requested").await.len(), 2);
}

#[tokio::test]
async fn cancelling_waits_for_the_agents_word() {
    let server = Server::start().await;
    with_pulse(&server).await;
    let id = given(&server).await["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = server.of_a(&format!("/commands/{id}"));
    let cancelling = server.request(Method::DELETE, &path, Some(&server.operator));
    let cancelling = cancelling.header("prefer", "wait=30").send();
    let agent = async {
        while server.json(&path).await["cancelling"].is_null() {}
        let outputs = json!({ "heldRevision": 0, "items": {} });
        let word = json!([{ "id": id, "outcome": "acknowledgedUnverified", "reason": "it shows false",
            "at": "2026-11-22T12:00:00Z" }]);
        say_also(&server, 1, &outputs, Some(("commandResults", &word))).await;
    };
    let (answer, ()) = tokio::join!(cancelling, agent);
    let told = problem(answer.expect("an answer"), StatusCode::CONFLICT).await;
    let told = told.detail.expect("why");
    assert!(
        told.contains("acknowledgedUnverified: it shows false"),
        "{told}"
    );
}

#[tokio::test]
async fn what_the_agent_could_not_keep_is_said_where_it_is_waited_for() {
    let server = Server::start().await;
    with_pulse(&server).await;
    let point = crate::values::set(&server, json!(72.5)).await["pointId"].clone();
    let command = given(&server).await;
    let outputs = json!({ "heldRevision": 0, "items": {},
        "accounts": { command["pointId"].as_str().expect("an id"): { "writes": 7, "budgetLeft": 93 } } });
    let why = "the agent could not keep target version 1: no space left on device";
    let hold = json!({ "heldRevision": 0, "state": "active", "intervalMs": 5_000, "notKept": why });
    say_also(&server, 1, &outputs, Some(("hold", &hold))).await;
    let setpoint = server.json(&server.of_a(crate::values::POINT)).await;
    assert_eq!(setpoint["hold"], "pending");
    assert_eq!(
        setpoint["why"],
        format!("the agent has not got it yet: {why}")
    );
    let id = command["id"].as_str().expect("an id");
    let command = server.json(&server.of_a(&format!("/commands/{id}"))).await;
    assert_eq!(
        command["why"],
        format!("the agent has not said what became of it yet: {why}")
    );
    let view = server.json(&server.of_a("/reconciliation")).await;
    assert_eq!(view["notKept"], why);

    // Every point is listed, also what was never read; what the account of a pulse says too.
    let points = server.json(&server.of_a("/points")).await;
    let points = points["items"].as_array().expect("a list");
    let named = |name: &str| {
        points
            .iter()
            .find(|point| point["name"] == name)
            .expect("it is listed")
    };
    let (pulse, level) = (named("start"), named("target-temperature"));
    assert_eq!(
        (
            &pulse["quality"],
            &pulse["at"],
            &pulse["value"],
            &pulse["sensorName"]
        ),
        (
            &json!("unread"),
            &Value::Null,
            &Value::Null,
            &json!("boiler-1")
        )
    );
    assert_eq!(
        (&pulse["writes"], &pulse["budgetLeft"]),
        (&json!(7), &json!(93))
    );
    assert_eq!((&level["point"], &level["desired"]), (&point, &json!(72.5)));
}
