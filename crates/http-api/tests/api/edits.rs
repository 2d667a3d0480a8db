//! The operators' side: devices, sensors, the target, its plan and history, drift. Lists are in `lists.rs`.

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::support::{Server, problem, report, sensor};

#[tokio::test]
async fn a_sensor_is_added_changed_and_removed() {
    let server = Server::start().await;
    let added = server
        .send(
            Method::POST,
            &server.of_a("/sensors?reason=winter"),
            &sensor("boiler-1"),
        )
        .await;
    assert_eq!(
        (added.status(), &added.headers()[header::ETAG]),
        (
            StatusCode::CREATED,
            &header::HeaderValue::from_static("\"v1\"")
        )
    );
    let location = added.headers()[header::LOCATION]
        .to_str()
        .expect("ASCII")
        .to_owned();
    let added: Value = added.json().await.expect("JSON");
    assert_eq!(
        (&added["version"], &added["changed"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(added["sensor"]["deploymentStatus"], "pending");
    assert_eq!(added["sensor"]["running"], Value::Null);
    assert_eq!(server.json(&location).await["name"], "boiler-1");

    let by_name = server.of_a("/sensors/boiler-1");
    let patched = server
        .send(Method::PATCH, &by_name, &json!({ "pollInterval": 500 }))
        .await;
    let patched: Value = patched.json().await.expect("JSON");
    assert_eq!(
        (&patched["version"], &patched["sensor"]["pollInterval"]),
        (&json!(2), &json!(500))
    );
    let same = server
        .send(Method::PATCH, &by_name, &json!({ "pollInterval": 500.0 }))
        .await;
    let same: Value = same.json().await.expect("JSON");
    assert_eq!(
        (&same["version"], &same["changed"]),
        (&json!(2), &json!(false))
    );
    let replaced = server
        .send(Method::PUT, &by_name, &sensor("boiler-one"))
        .await;
    let replaced: Value = replaced.json().await.expect("JSON");
    assert_eq!(
        replaced["sensor"]["id"], added["sensor"]["id"],
        "a new name is not a new sensor"
    );

    let removed = server.request(
        Method::DELETE,
        &server.of_a("/sensors/boiler-one"),
        Some(&server.operator),
    );
    let removed: Value = removed
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(
        (&removed["version"], &removed["sensor"]),
        (&json!(4), &Value::Null)
    );

    let history = server
        .json(&server.of_a("/target-state/history?limit=3"))
        .await;
    let versions: Vec<&Value> = history["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|v| &v["version"])
        .collect();
    assert_eq!(versions, [4, 3, 2]);
    let next = history["next"].as_str().expect("there is more");
    let rest = server
        .json(&server.of_a(&format!("/target-state/history?after={next}")))
        .await;
    assert_eq!(
        (&rest["items"][0]["version"], &rest["items"][0]["reason"]),
        (&json!(1), &json!("winter"))
    );
    assert_eq!(rest["items"][0]["author"], "a Admin");

    let body = json!({ "version": 2, "reason": "it was better" });
    let back = server
        .send(Method::POST, &server.of_a("/target-state/rollback"), &body)
        .await;
    assert_eq!(back.json::<Value>().await.expect("JSON")["version"], 5);
    assert_eq!(server.json(&by_name).await["pollInterval"], 500);
    let never = server
        .send(
            Method::POST,
            &server.of_a("/target-state/rollback"),
            &json!({ "version": 99 }),
        )
        .await;
    problem(never, StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn a_document_is_only_replaced_if_it_is_the_one_that_was_read() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let read = server.get(&server.of_a("/target-state")).await;
    let etag = read.headers()[header::ETAG].clone();
    let mut document: Value = read.json().await.expect("JSON");
    let not_modified = server.request(
        Method::GET,
        &server.of_a("/target-state"),
        Some(&server.viewer),
    );
    let not_modified = not_modified
        .header(header::IF_NONE_MATCH, &etag)
        .send()
        .await
        .expect("an answer");
    assert_eq!(not_modified.status(), StatusCode::NOT_MODIFIED);

    server.add_sensor("boiler-2").await;
    document["config"]["protocolAdapterDevices"][0]["pollInterval"] = json!(250);
    let put = |tag: &str| {
        let request = server.request(
            Method::PUT,
            &server.of_a("/target-state"),
            Some(&server.operator),
        );
        request
            .header(header::IF_MATCH, tag.to_owned())
            .json(&document)
            .send()
    };
    for old in [etag.to_str().expect("ASCII"), "\"other\"", "W/\"v2\""] {
        problem(
            put(old).await.expect("an answer"),
            StatusCode::PRECONDITION_FAILED,
        )
        .await;
    }
    problem(put("v2").await.expect("an answer"), StatusCode::BAD_REQUEST).await;
    assert_eq!(
        server.json(&server.of_a("/target-state")).await["version"],
        2
    );
    let done = put("\"v2\"").await.expect("an answer");
    assert_eq!(done.status(), StatusCode::OK);
    assert_eq!(done.headers()[header::ETAG], "\"v3\"");
    let now = server.json(&server.of_a("/target-state")).await;
    assert_eq!(
        now["config"]["protocolAdapterDevices"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let again: Value = put("*")
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(
        (&again["version"], &again["changed"]),
        (&json!(3), &json!(false))
    );
}

#[tokio::test]
async fn a_plan_says_what_would_change_and_changes_nothing() {
    let server = Server::start().await;
    server.add_sensor("keeps").await;
    server.add_sensor("changes").await;
    server.add_sensor("goes").await;
    let before = server.everything().await;
    let mut changes = sensor("changes");
    changes["connection"]["host"] = json!("10.0.0.9");
    let document = json!({ "config": { "protocolAdapterDevices": [sensor("keeps"), changes, sensor("new")] } });
    let plan = server
        .send(Method::POST, &server.of_a("/target-state/plan"), &document)
        .await;
    let plan: Value = plan.json().await.expect("JSON");
    let actions: Vec<(&str, &str)> = plan["sensors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|sensor| {
            (
                sensor["name"].as_str().expect("a name"),
                sensor["action"].as_str().expect("a word"),
            )
        })
        .collect();
    assert_eq!(
        actions,
        [
            ("changes", "update"),
            ("goes", "remove"),
            ("keeps", "unchanged"),
            ("new", "add")
        ]
    );
    assert_eq!(plan["sensors"][0]["paths"], json!(["connection.host"]));
    assert_eq!(
        (&plan["baseVersion"], &plan["changes"]),
        (&json!(3), &json!(true))
    );
    assert!(
        plan["doubts"]
            .as_array()
            .is_some_and(|doubts| !doubts.is_empty()),
        "two write the same registers"
    );
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn a_device_is_made_renamed_and_deleted_when_nothing_runs_on_it() {
    let server = Server::start().await;
    let body = json!({ "name": "plant-3", "labels": { "site": "south" } });
    let made = server.send(Method::POST, "/api/v1/devices", &body).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let location = made.headers()[header::LOCATION]
        .to_str()
        .expect("ASCII")
        .to_owned();
    let made: Value = made.json().await.expect("JSON");
    assert!(
        made["provisioningKey"]
            .as_str()
            .is_some_and(|secret| secret.starts_with("hfp_"))
    );
    assert_eq!(
        (&made["status"], &made["targetVersion"]),
        (&json!("new"), &json!(0))
    );
    let renamed = server
        .send(Method::PATCH, &location, &json!({ "name": "plant-4" }))
        .await;
    let renamed: Value = renamed.json().await.expect("JSON");
    assert_eq!(
        (&renamed["name"], &renamed["labels"]["site"]),
        (&json!("plant-4"), &json!("south"))
    );

    server.add_sensor("boiler-1").await;
    let delete = |path: String| {
        server
            .request(Method::DELETE, &path, Some(&server.admin))
            .send()
    };
    problem(
        delete(server.of_a("")).await.expect("an answer"),
        StatusCode::CONFLICT,
    )
    .await;
    let forced = delete(server.of_a("?force=true")).await.expect("an answer");
    assert_eq!(forced.status(), StatusCode::NO_CONTENT);
    problem(server.get(&server.of_a("")).await, StatusCode::NOT_FOUND).await;
    assert_eq!(
        delete(location).await.expect("an answer").status(),
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn drift_is_shown_for_the_device_and_for_the_fleet_and_asked_for() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let patch = server.request(Method::PATCH, "/api/v1/device/state", Some(&server.a.token));
    let taken = patch
        .json(&report(&server.a, 1, 1, &[]))
        .send()
        .await
        .expect("an answer");
    assert_eq!(taken.status(), StatusCode::OK);
    let drift = server.json(&server.of_a("/drift")).await;
    assert_eq!(
        (&drift["sensors"][0]["name"], &drift["sensors"][0]["kind"]),
        (&json!("boiler-1"), &json!("missing"))
    );
    let fleet = server.json("/api/v1/drift").await;
    assert_eq!(
        (&fleet["items"][0]["device"], &fleet["items"][0]["kind"]),
        (&json!(server.a.id), &json!("missing"))
    );

    let ask = server.request(
        Method::POST,
        &server.of_a("/reconcile?reason=look"),
        Some(&server.operator),
    );
    let asked: Value = ask
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(
        (&asked["result"], &asked["drift"]["sensors"][0]["kind"]),
        (&json!("asked"), &json!("missing"))
    );
    let ask = server.request(
        Method::POST,
        &server.of_a("/reconcile"),
        Some(&server.operator),
    );
    let waiting = tokio::spawn(ask.header("prefer", "wait=30").send());
    let path = format!("/api/v1/device/{}/state", server.a.id);
    let poll = server
        .request(Method::GET, &path, Some(&server.a.token))
        .header("prefer", "wait=30");
    let held = "\"v1.s0.h0.c0.l1\"";
    let target: Value = poll
        .header(header::IF_NONE_MATCH, held)
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let body = &target[server.a.id.to_string()];
    let items = body["config"]["protocolAdapterDevices"]
        .as_array()
        .expect("a list")
        .clone();
    let mut looked = report(&server.a, 2, 1, &items);
    looked[server.a.id.to_string()]["lookedRevision"] = body["look"]["revision"].clone();
    let patch = server.request(Method::PATCH, "/api/v1/device/state", Some(&server.a.token));
    assert_eq!(
        patch
            .json(&looked)
            .send()
            .await
            .expect("an answer")
            .status(),
        StatusCode::OK
    );
    let answer: Value = waiting
        .await
        .expect("no panic")
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(
        (&answer["result"], &answer["drift"]["sensors"]),
        (&json!("reconciled"), &json!([]))
    );
}
