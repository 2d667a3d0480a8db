//! The operators' side: pages, guards, and errors that say what the hub said.

use std::collections::BTreeMap;

use holdfast_hub_client::{CallError, Connection, HubAddress, Operator};
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::stub::{Stub, answer, json as json_reply, problem};

fn operator(stub: &Stub) -> Operator {
    Operator::new(&stub.connection(), "t").expect("a client")
}

fn device(name: &str) -> serde_json::Value {
    json!({ "id": "0192b3a4-0000-7000-8000-000000000001", "name": name, "labels": {}, "status": "new",
        "targetVersion": 0, "currentVersion": null, "lastSeenAt": null, "sensors": {}, "incarnation": null,
        "createdAt": "2026-11-22T12:00:00Z", "createdBy": "anna", "updatedAt": "2026-11-22T12:00:00Z", "updatedBy": "anna" })
}

#[tokio::test]
async fn all_pages_are_read() {
    let page = |name: &str, next: Option<&str>| {
        json_reply(&json!({ "items": [device(name)], "next": next }).to_string())
    };
    let stub = Stub::with([page("a", Some("x/ y")), page("b", None)]).await;
    let labels = BTreeMap::from([("site".to_owned(), "north & south".to_owned())]);
    let devices = operator(&stub)
        .devices(&labels, Some("new"))
        .await
        .expect("devices");
    let names: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let seen = stub.seen();
    let query = "GET /api/v1/devices?status=new&label=site%3Dnorth+%26+south&limit=1000";
    assert!(seen[0].starts_with(&format!("{query} HTTP")), "{}", seen[0]);
    assert!(
        seen[1].starts_with(&format!("{query}&after=x%2F+y HTTP")),
        "{}",
        seen[1]
    );
}

#[tokio::test]
async fn a_server_that_never_comes_to_an_end_is_left() {
    let page = json_reply(&json!({ "items": [device("a")], "next": "same" }).to_string());
    let stub = Stub::with([page.clone(), page.clone(), page]).await;
    let devices = operator(&stub)
        .devices(&BTreeMap::new(), None)
        .await
        .expect("devices");
    assert_eq!(devices.len(), 2);
}

#[tokio::test]
async fn a_problem_is_told_with_its_fields() {
    let body = json!({ "type": "urn:holdfast:problem:invalid", "title": "Invalid", "status": 422, "detail": "2 fields are wrong",
        "errors": [ { "field": "pollInterval", "expected": "an integer from 10 to 86400000", "found": "-5" },
            { "field": "protocol", "expected": "one of modbus, can", "found": "\"x\"" } ] });
    let stub = Stub::once(problem("422 Unprocessable Entity", &body.to_string())).await;
    let id = "0192b3a4-0000-7000-8000-000000000001"
        .parse()
        .expect("a UUID");
    let error = operator(&stub)
        .replace_target(id, &[], "\"v1\"")
        .await
        .expect_err("refused");
    assert_eq!(
        error.to_string(),
        "Invalid: 2 fields are wrong\n  pollInterval: expected an integer from 10 to 86400000, found -5\n  \
         protocol: expected one of modbus, can, found \"x\""
    );
    assert!(error.is_final() && error.is_status(422));
    let seen = stub.seen();
    assert!(seen[0].contains("if-match: \"v1\"\r\n"), "{}", seen[0]);
    assert!(
        seen[0].ends_with(r#"{"config":{"protocolAdapterDevices":[]}}"#),
        "{}",
        seen[0]
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_once() {
    let body = json!({ "type": "urn:holdfast:problem:invalid", "title": "Invalid", "status": 422,
        "detail": "a: expected 1, found 2; b: expected 3, found 4",
        "errors": [ { "field": "a", "expected": "1", "found": "2" }, { "field": "b", "expected": "3", "found": "4" } ] });
    let stub = Stub::once(problem("422 Unprocessable Entity", &body.to_string())).await;
    let id = "0192b3a4-0000-7000-8000-000000000001"
        .parse()
        .expect("a UUID");
    let refused = operator(&stub).replace_target(id, &[], "\"v1\"").await;
    assert_eq!(
        refused.expect_err("refused").to_string(),
        "Invalid\n  a: expected 1, found 2\n  b: expected 3, found 4"
    );
}

#[tokio::test]
async fn a_server_without_tls_is_said_to_be_one() {
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = server.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.expect("a connection");
        let refusal = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        stream.write_all(refusal).await.expect("it listens");
    });
    let address = HubAddress::new(&format!("https://{address}"), false).expect("an address");
    let told = Operator::new(&Connection::to(address), "t")
        .expect("a client")
        .devices(&BTreeMap::new(), None)
        .await
        .expect_err("no TLS there")
        .to_string();
    assert!(told.contains("expected TLS"), "{told}");
}

#[tokio::test]
async fn another_version_is_no_error_but_an_answer() {
    let body = r#"{"type":"urn:holdfast:problem:precondition-failed","title":"Other version","status":412}"#;
    let stub = Stub::with([
        problem("412 Precondition Failed", body),
        answer(
            "412 Precondition Failed",
            "content-type: text/html\r\n",
            "<h1>",
        ),
    ])
    .await;
    let id = "0192b3a4-0000-7000-8000-000000000001"
        .parse()
        .expect("a UUID");
    let operator = operator(&stub).because(Some("winter & more"));
    assert_eq!(
        operator
            .replace_target(id, &[], "\"v1\"")
            .await
            .expect("an answer"),
        None
    );
    assert!(
        stub.seen()[0].contains("/target-state?reason=winter+%26+more HTTP"),
        "{}",
        stub.seen()[0]
    );
    let error = operator
        .replace_target(id, &[], "\"v1\"")
        .await
        .expect_err("a proxy's word does not count");
    assert!(matches!(error, CallError::NotTheHub { .. }), "{error:?}");
}
