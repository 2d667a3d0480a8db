//! Resetting write budgets: recorded with who and why, once for a request, confirmed by the agent, shown; and what operators
//! see of how loops run.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    support::{Server, assert_names, problem},
    values::{events, said, say, set},
};

const RESET: &str = "/points/boiler-1/target-temperature/write-budget/reset";

async fn reset(server: &Server, token: &str, key: Option<&str>, body: &Value) -> reqwest::Response {
    let request = server.request(Method::POST, &server.of_a(RESET), Some(token));
    let request = match key {
        Some(key) => request.header("Idempotency-Key", key),
        None => request,
    };
    request.json(body).send().await.expect("an answer")
}

#[tokio::test]
async fn a_budget_is_reset_once_with_who_and_why_and_confirmed() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let set = set(&server, json!(72.5)).await;
    let point = set["pointId"].as_str().expect("an id");
    let never = server.get(&server.of_a(RESET)).await;
    problem(never, StatusCode::NOT_FOUND).await;
    let body = json!({ "reason": "new valve" });
    let viewer = reset(&server, &server.viewer, None, &body).await;
    problem(viewer, StatusCode::FORBIDDEN).await;
    let nameless = reset(&server, &server.operator, None, &json!({})).await;
    assert_names(
        &problem(nameless, StatusCode::UNPROCESSABLE_ENTITY).await,
        "reason",
    );
    let unknown = reset(
        &server,
        &server.operator,
        None,
        &json!({ "reason": "x", "why": 1 }),
    )
    .await;
    assert_names(
        &problem(unknown, StatusCode::UNPROCESSABLE_ENTITY).await,
        "why",
    );
    let mut ids = Vec::new();
    for _ in 0..3 {
        let answer = reset(&server, &server.operator, Some("k-1"), &body).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let view: Value = answer.json().await.expect("JSON");
        for (field, wanted) in [
            ("pointId", &set["pointId"]),
            ("by", &json!("a Operator")),
            ("reason", &json!("new valve")),
            ("isConfirmed", &json!(false)),
        ] {
            assert_eq!(&view[field], wanted, "{field}");
        }
        ids.push(view["id"].clone());
    }
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    let told = events(&server, "write_budget.reset").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["payload"]["reason"], "new valve");
    let other = reset(
        &server,
        &server.operator,
        Some("k-1"),
        &json!({ "reason": "another" }),
    )
    .await;
    problem(other, StatusCode::UNPROCESSABLE_ENTITY).await;

    let mut said = said(&set["pointId"], 2, "inSync", "active");
    said["resets"] = json!({ point: ids[0] });
    said["items"][point]["writes"] = json!(0);
    say(&server, 1, &said, None).await;
    let view = server.json(&server.of_a(RESET)).await;
    assert_eq!(
        (&view["isConfirmed"], &view["writes"], &view["budgetLeft"]),
        (&json!(true), &json!(0), &json!(88))
    );
    assert_eq!(events(&server, "write_budget.renewed").await.len(), 1);
}

#[tokio::test]
async fn how_long_passes_take_and_what_went_wrong_is_shown() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let set = set(&server, json!(72.5)).await;
    let point = set["pointId"].as_str().expect("an id");
    let hold = json!({
        "heldRevision": 0, "state": "active", "intervalMs": 12_500, "passMs": 10_000,
        "recommendedIntervalMs": 12_500, "overruns": 3,
    });
    let mut said = said(&set["pointId"], 1, "drifting", "refused");
    said["items"][point]["reason"] = json!("the instrument says: illegal data value");
    say(&server, 1, &said, Some(&hold)).await;
    let view = server.json(&server.of_a("/reconciliation")).await;
    for (field, wanted) in [
        ("actualIntervalMs", 12_500),
        ("passMs", 10_000),
        ("recommendedIntervalMs", 12_500),
        ("overruns", 3),
    ] {
        assert_eq!(view[field], wanted, "{field}");
    }
    let error = &view["lastErrors"][0];
    assert_eq!(
        (
            &error["sensor"],
            &error["point"],
            &error["hold"],
            &error["error"]
        ),
        (
            &json!("boiler-1"),
            &json!("target-temperature"),
            &json!("refused"),
            &json!("the instrument says: illegal data value")
        )
    );
    let cookie = server.cookie(&server.viewer).await;
    let page = server
        .page(&format!("/devices/{}", server.a.id), &cookie)
        .await;
    for part in [
        "12500 ms",
        "up to 10 s",
        "(could look every 12500 ms)",
        "3 times",
        "boiler-1/target-temperature",
        "illegal data value",
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
}
