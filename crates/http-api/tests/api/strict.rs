//! Everything that is wrong with a request is a problem that names the field, and changes nothing.

use std::sync::Arc;

use holdfast_http_api::{ApiSettings, BODY_BYTES};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::support::{Server, assert_names, problem, sensor};

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut document = sensor("boiler-2");
    change(&mut document);
    document
}

#[tokio::test]
async fn a_wrong_sensor_is_refused_with_its_field_and_nothing_changes() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let before = server.everything().await;
    let cases = [
        ("pollInterval", with(|d| d["pollInterval"] = json!(-5))),
        ("protocol", with(|d| d["protocol"] = json!("profibus"))),
        ("pollIntervall", with(|d| d["pollIntervall"] = json!(500))),
        (
            "connection.porrt",
            with(|d| d["connection"]["porrt"] = json!(502)),
        ),
        (
            "dataPoints[1].adress",
            with(|d| d["dataPoints"][1]["adress"] = json!(5)),
        ),
        (
            "dataPoints[1].name",
            with(|d| d["dataPoints"][1]["name"] = d["dataPoints"][0]["name"].clone()),
        ),
        (
            "dataPoints[0].address",
            with(|d| d["dataPoints"][0]["address"] = json!(70_000)),
        ),
        ("name", with(|d| d["name"] = json!("a/b"))),
        ("connection", with(|d| d["connection"] = json!(null))),
    ];
    for (field, document) in cases {
        let answer = server
            .send(Method::POST, &server.of_a("/sensors"), &document)
            .await;
        let problem = problem(answer, StatusCode::UNPROCESSABLE_ENTITY).await;
        assert_names(&problem, field);
    }
    let taken = server
        .send(Method::POST, &server.of_a("/sensors"), &sensor("boiler-1"))
        .await;
    assert_names(&problem(taken, StatusCode::CONFLICT).await, "name");
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn a_wrong_target_is_refused_with_its_field_and_nothing_changes() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let before = server.everything().await;
    let list = |items: Value| json!({ "config": { "protocolAdapterDevices": items } });
    let cases = [
        (
            "protocolAdapterDevices[1].name",
            list(json!([sensor("x"), sensor("x")])),
        ),
        (
            "protocolAdapterDevices[0].pollInterval",
            list(json!([with(|d| d["pollInterval"] = json!("fast"))])),
        ),
        ("protocolAdapterDevices", list(json!({}))),
        ("config", json!({})),
        (
            "config.sensors",
            json!({ "config": { "protocolAdapterDevices": [], "sensors": [] } }),
        ),
        (
            "desired",
            json!({ "config": { "protocolAdapterDevices": [] }, "desired": 1 }),
        ),
    ];
    for path in ["/target-state", "/target-state/plan"] {
        let method = if path.ends_with("plan") {
            Method::POST
        } else {
            Method::PUT
        };
        for (field, document) in &cases {
            let answer = server
                .send(method.clone(), &server.of_a(path), document)
                .await;
            assert_names(
                &problem(answer, StatusCode::UNPROCESSABLE_ENTITY).await,
                field,
            );
        }
    }
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_though_the_caller_sends_all_of_it() {
    let server = Server::start().await;
    let before = server.everything().await;
    let body = format!("{{\"name\": \"{}\"}}", "x".repeat(25 * 1024 * 1024));
    assert!(body.len() > BODY_BYTES);
    for (method, path, token) in [
        (Method::POST, server.of_a("/sensors"), &server.admin),
        (Method::PUT, server.of_a("/target-state"), &server.admin),
        (
            Method::PATCH,
            "/api/v1/device/state".to_owned(),
            &server.a.token,
        ),
    ] {
        let request = server
            .request(method, &path, Some(token))
            .header(header::CONTENT_TYPE, "application/json");
        let answer = request.body(body.clone()).send().await.expect("an answer");
        assert_names(
            &problem(answer, StatusCode::PAYLOAD_TOO_LARGE).await,
            "body",
        );
    }
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let server = Server::start().await;
    let post = || server.request(Method::POST, &server.of_a("/sensors"), Some(&server.admin));
    let wrong = post()
        .header(header::CONTENT_TYPE, "application/json")
        .body("{\"name\": ");
    let problem_of = problem(
        wrong.send().await.expect("an answer"),
        StatusCode::BAD_REQUEST,
    )
    .await;
    assert!(
        problem_of.errors[0].found.contains("breaks off in line 1"),
        "{problem_of:?}"
    );
    for request in [
        post().body("name=x"),
        post().header(header::CONTENT_TYPE, "text/plain").body("{}"),
    ] {
        let answer = request.send().await.expect("an answer");
        assert_names(
            &problem(answer, StatusCode::UNSUPPORTED_MEDIA_TYPE).await,
            "Content-Type",
        );
    }
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let server = Server::start().await;
    let cases = [
        ("/api/v1/devices/not-a-uuid".to_owned(), "uuid"),
        (server.of_a("/sensors?view=everything"), "view"),
        (server.of_a("/sensors?enabled=yes"), "enabled"),
        (server.of_a("/sensors?protocol=profibus"), "protocol"),
        (
            server.of_a("/sensors?deploymentStatus=broken"),
            "deploymentStatus",
        ),
        (
            server.of_a("/sensors?deployment_status=failed"),
            "deployment_status",
        ),
        (server.of_a("/sensors?limit=0"), "limit"),
        (server.of_a("/sensors?limit=1001"), "limit"),
        (server.of_a("/sensors?limit=5&limit=6"), "limit"),
        (server.of_a("/points?sensor=x"), "sensor"),
        (server.of_a("?verbose=1"), "verbose"),
        ("/api/v1/devices?status=broken".to_owned(), "status"),
        ("/api/v1/devices?label=site".to_owned(), "label"),
        ("/api/v1/events?type=sensor.exploded".to_owned(), "type"),
        ("/api/v1/events?order=random".to_owned(), "order"),
        ("/api/v1/events?after=nonsense".to_owned(), "after"),
        ("/api/v1/events/stream?after=nonsense".to_owned(), "after"),
        ("/api/v1/drift?since=yesterday".to_owned(), "since"),
    ];
    for (path, field) in cases {
        let problem = problem(server.get(&path).await, StatusCode::BAD_REQUEST).await;
        assert_names(&problem, field);
        assert!(
            problem
                .errors
                .iter()
                .all(|error| !error.expected.is_empty() && !error.found.is_empty())
        );
    }
}

#[tokio::test]
async fn wrong_requests_of_operators_are_named() {
    let server = Server::start().await;
    let cases = [
        (
            Method::POST,
            "/api/v1/devices".to_owned(),
            json!({ "labels": {} }),
            "name",
        ),
        (
            Method::POST,
            "/api/v1/devices".to_owned(),
            json!({ "name": "c", "lables": {} }),
            "lables",
        ),
        (
            Method::PATCH,
            server.of_a(""),
            json!({ "labels": { "site": 5 } }),
            "labels.site",
        ),
        (
            Method::POST,
            "/api/v1/tokens".to_owned(),
            json!({ "name": "x", "role": "root" }),
            "role",
        ),
        (
            Method::POST,
            "/api/v1/tokens".to_owned(),
            json!({ "name": "x", "role": "viewer", "expiresAt": "soon" }),
            "expiresAt",
        ),
        (
            Method::POST,
            "/api/v1/provisioning-keys".to_owned(),
            json!({ "name": "x", "uses": 0 }),
            "uses",
        ),
        (
            Method::POST,
            server.of_a("/target-state/rollback"),
            json!({ "version": "first" }),
            "version",
        ),
    ];
    for (method, path, body, field) in cases {
        let answer = server.send(method, &path, &body).await;
        assert_names(
            &problem(answer, StatusCode::UNPROCESSABLE_ENTITY).await,
            field,
        );
    }
    let taken = server
        .send(Method::POST, "/api/v1/devices", &json!({ "name": "a" }))
        .await;
    assert_names(&problem(taken, StatusCode::CONFLICT).await, "name");
}

#[tokio::test]
async fn what_does_not_exist_and_what_is_not_taken_are_problems_too() {
    let server = Server::start().await;
    let nobody = "/api/v1/devices/0192b3a4-0000-7000-8000-00000000dead";
    for path in [
        "/api/v1/nothing".to_owned(),
        "/nothing".to_owned(),
        nobody.to_owned(),
        format!("{nobody}/sensors"),
        format!("{nobody}/target-state/history"),
        server.of_a("/sensors/nobody"),
        server.of_a("/sensors/0192b3a4-0000-7000-8000-00000000dead"),
    ] {
        problem(server.get(&path).await, StatusCode::NOT_FOUND).await;
    }
    let unreported = server.get(&server.of_a("/current-state")).await;
    problem(unreported, StatusCode::NOT_FOUND).await;
    let answer = server
        .send(Method::POST, &server.of_a(""), &json!({}))
        .await;
    let allow = answer.headers()[header::ALLOW]
        .to_str()
        .expect("ASCII")
        .to_owned();
    assert!(
        allow.contains("PATCH") && allow.contains("DELETE"),
        "{allow}"
    );
    problem(answer, StatusCode::METHOD_NOT_ALLOWED).await;
}

#[tokio::test]
async fn a_panic_is_an_error_of_the_hub_and_the_next_request_is_answered() {
    let render_metrics = Arc::new(|| panic!("the metrics are broken"));
    let server = Server::with(ApiSettings {
        render_metrics,
        ..ApiSettings::default()
    })
    .await;
    let problem = problem(
        server.get("/metrics").await,
        StatusCode::INTERNAL_SERVER_ERROR,
    )
    .await;
    assert!(
        !problem.detail.expect("words").contains("broken"),
        "what went wrong inside stays in the log"
    );
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_request_id_is_taken_over_if_it_is_sane_and_is_the_events_correlation() {
    let server = Server::start().await;
    let post = |id: &str| {
        let request = server.request(Method::POST, &server.of_a("/sensors"), Some(&server.admin));
        request
            .header("x-request-id", id)
            .json(&sensor(&format!("s{}", id.len())))
            .send()
    };
    let answer = post("order-66").await.expect("an answer");
    assert_eq!(answer.headers()["x-request-id"], "order-66");
    let events = server
        .json("/api/v1/events?order=newest&type=sensor.added")
        .await;
    assert_eq!(events["items"][0]["correlation"], "order-66");
    for insane in ["<script>", &"x".repeat(200)] {
        let answer = post(insane).await.expect("an answer");
        assert_ne!(answer.headers()["x-request-id"], insane);
    }
}

#[tokio::test]
async fn a_reason_in_the_body_is_recorded_as_one_in_the_parameter_is() {
    let server = Server::start().await;
    let cases = [
        (
            server.of_a("/reconciliation/start"),
            "reconciliation.started",
        ),
        (
            "/api/v1/reconciliation/start".to_owned(),
            "reconciliation.started",
        ),
        (server.of_a("/reconcile"), "device.look"),
    ];
    for (path, kind) in cases {
        let (stop, why) = (
            server.of_a("/reconciliation/stop"),
            json!({ "reason": "belt change" }),
        );
        let stopped = server.send(Method::POST, &stop, &why).await;
        assert_eq!(stopped.status(), StatusCode::OK);
        for (field, body) in [
            ("resaon", json!({ "resaon": "the belt is new" })),
            ("reason", json!({ "reason": 5 })),
        ] {
            let answer = server.send(Method::POST, &path, &body).await;
            let told = problem(answer, StatusCode::UNPROCESSABLE_ENTITY).await;
            assert_names(&told, field);
        }
        let why = json!({ "reason": "the belt is new" });
        let twice = format!("{path}?reason=done");
        let told = server.send(Method::POST, &twice, &why).await;
        assert_names(&problem(told, StatusCode::BAD_REQUEST).await, "reason");
        let form = server.request(Method::POST, &path, Some(&server.admin));
        let form = form.body("reason=the+belt+is+new");
        let told = form.send().await.expect("an answer");
        let told = problem(told, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
        assert_names(&told, "Content-Type");

        let done = server.send(Method::POST, &path, &why).await;
        assert_eq!(done.status(), StatusCode::OK, "{path}");
        let events = format!("/api/v1/events?order=newest&type={kind}");
        let event = &server.json(&events).await["items"][0];
        assert_eq!(
            (&event["payload"]["reason"], &event["actor"]),
            (&json!("the belt is new"), &json!("a Admin")),
            "{path}: {event}"
        );
    }
}

#[tokio::test]
async fn a_body_where_none_is_taken_is_refused_and_nothing_is_done() {
    let server = Server::start().await;
    let sensor = server.add_sensor("boiler-1").await;
    let before = server.everything().await;
    let nothing = "0192b3a4-0000-7000-8000-00000000dead";
    let cases = [
        (Method::POST, server.of_a("/rekey")),
        (Method::DELETE, server.of_a("?force=true")),
        (Method::DELETE, server.of_a(&format!("/sensors/{sensor}"))),
        (Method::DELETE, server.of_a("/setpoints/boiler-1/level")),
        (Method::DELETE, server.of_a(&format!("/pauses/{nothing}"))),
        (Method::DELETE, format!("/api/v1/tokens/{nothing}")),
        (
            Method::DELETE,
            format!("/api/v1/provisioning-keys/{nothing}"),
        ),
    ];
    for (method, path) in cases {
        let why = json!({ "reason": "worn" });
        let answer = server.send(method.clone(), &path, &why).await;
        assert_names(&problem(answer, StatusCode::BAD_REQUEST).await, "body");
    }
    assert_eq!(server.everything().await, before);
}
