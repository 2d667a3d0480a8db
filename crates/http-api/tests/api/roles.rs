//! Who may do what: every route of the description, in every role.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::{Server, assert_names, problem, report};

/// What the description says of one operation.
struct Operation {
    method: Method,
    path: String,
    scheme: Option<String>,
    role: Option<String>,
}

fn operations() -> Vec<Operation> {
    let description = serde_json::to_value(holdfast_http_api::openapi()).expect("JSON");
    let mut operations = Vec::new();
    for (path, item) in description["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let Ok(method) = method.to_uppercase().parse::<Method>() else {
                continue;
            };
            let security = operation["security"]
                .as_array()
                .and_then(|list| list.first());
            let security = security
                .unwrap_or_else(|| panic!("{method} {path} says who may use it"))
                .as_object();
            let (scheme, roles) = security.and_then(|schemes| schemes.iter().next()).unzip();
            operations.push(Operation {
                method,
                path: path.clone(),
                scheme: scheme.cloned(),
                role: roles.and_then(|roles| roles[0].as_str()).map(str::to_owned),
            });
        }
    }
    operations
}

#[tokio::test]
async fn every_route_opens_for_its_roles_and_for_no_other() {
    let server = Server::start().await;
    server.add_sensor("boiler-1").await;
    let callers = [
        (None, "nobody"),
        (Some(&server.viewer), "viewer"),
        (Some(&server.operator), "operator"),
        (Some(&server.admin), "admin"),
        (Some(&server.a.token), "agent"),
        (Some(&server.b.token), "other agent"),
    ];
    let mut seen = 0;
    for operation in operations() {
        let is_of_one_device = operation.path.starts_with("/api/v1/device/{");
        let path = operation
            .path
            .replace("{uuid}", &server.a.id.to_string())
            .replace("{sensor}", "boiler-1")
            .replace("{point}", "target-temperature")
            .replace("{id}", "0192b3a4-0000-7000-8000-00000000dead");
        for (token, who) in callers {
            let request =
                server.request(operation.method.clone(), &path, token.map(String::as_str));
            let status = request.send().await.expect("an answer").status();
            let wanted = match (operation.scheme.as_deref(), operation.role.as_deref(), who) {
                (None, _, _) => None,
                (_, _, "nobody") | (Some("provisioningKey"), _, _) => {
                    Some(StatusCode::UNAUTHORIZED)
                }
                (_, Some("agent"), "agent") => None,
                (_, Some("agent"), "other agent") if !is_of_one_device => None,
                (_, Some("viewer"), "viewer" | "operator" | "admin") => None,
                (_, Some("operator"), "operator" | "admin") | (_, Some("admin"), "admin") => None,
                _ => Some(StatusCode::FORBIDDEN),
            };
            // Registration reads the key last, after the body, so that it may find the body wrong first.
            let is_late = operation.scheme.as_deref() == Some("provisioningKey") && who != "nobody";
            let what = format!("{} {path} as {who}", operation.method);
            match wanted {
                Some(_) if is_late => assert!(status.is_client_error(), "{what}: {status}"),
                Some(wanted) => assert_eq!(status, wanted, "{what}"),
                None => assert!(
                    !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
                        && !status.is_server_error(),
                    "{what}: {status}"
                ),
            }
            seen += 1;
        }
    }
    assert!(seen > 150, "{seen} pairs were looked at");
}

#[tokio::test]
async fn a_devices_token_opens_its_own_device_only() {
    let server = Server::start().await;
    let (a, b) = (&server.a, &server.b);
    let before = server.everything().await;
    let path = format!("/api/v1/device/{}/state", b.id);
    let by_path = server
        .request(Method::GET, &path, Some(&a.token))
        .send()
        .await
        .expect("an answer");
    assert_names(&problem(by_path, StatusCode::FORBIDDEN).await, "uuid");
    let readings = serde_json::json!({ "device": b.id, "readings": [] });
    let incarnation = serde_json::json!({ "device": b.id });
    for (method, path, body, field) in [
        (
            Method::PATCH,
            "/api/v1/device/state",
            report(b, 1, 0, &[]),
            "the document's key",
        ),
        (Method::POST, "/api/v1/device/readings", readings, "device"),
        (
            Method::POST,
            "/api/v1/device/incarnation",
            incarnation,
            "device",
        ),
    ] {
        let answer = server
            .request(method, path, Some(&a.token))
            .json(&body)
            .send()
            .await
            .expect("an answer");
        let problem = problem(answer, StatusCode::FORBIDDEN).await;
        assert_names(&problem, field);
        assert_eq!(problem.errors[0].found, b.id.to_string());
    }
    assert_eq!(server.everything().await, before);
    let of_b: Value = server.json(&format!("/api/v1/devices/{}", b.id)).await;
    assert_eq!(of_b["currentVersion"], Value::Null);
}

#[tokio::test]
async fn without_a_token_there_is_health_documentation_and_the_way_to_sign_in() {
    let server = Server::start().await;
    for path in [
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/docs/",
        "/sign-in",
        "/assets/style.css",
        "/assets/app.js",
    ] {
        let answer = server
            .request(Method::GET, path, None)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    for path in ["/", "/events", &format!("/devices/{}", server.a.id)] {
        let answer = server
            .request(Method::GET, path, None)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{path}");
        assert!(
            answer.headers()["location"]
                .to_str()
                .expect("ASCII")
                .starts_with("/sign-in"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_strange_authorization_is_refused() {
    let server = Server::start().await;
    for value in ["Basic YTpi", "Bearer", "Bearer ", "Bearer unknown"] {
        let request = server
            .request(Method::GET, "/api/v1/devices", None)
            .header("authorization", value);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        problem(answer, StatusCode::UNAUTHORIZED).await;
    }
}

#[tokio::test]
async fn a_revoked_or_deleted_device_is_told_so_by_name() {
    let server = Server::start().await;
    let poll = |device: &crate::support::FakeDevice| {
        let path = format!("/api/v1/device/{}/state", device.id);
        server
            .request(Method::GET, &path, Some(&device.token))
            .send()
    };
    let tokens = server.json("/api/v1/tokens").await;
    let of_a = |token: &&Value| token["device"] == server.a.id.to_string();
    let token = tokens["items"]
        .as_array()
        .expect("a list")
        .iter()
        .find(of_a)
        .expect("the agent's token");
    assert_eq!(token.get("hash"), None, "nothing of the secret is shown");
    let path = format!("/api/v1/tokens/{}", token["id"].as_str().expect("an id"));
    let revoked = server
        .request(Method::DELETE, &path, Some(&server.admin))
        .send()
        .await
        .expect("an answer");
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    let told = problem(
        poll(&server.a).await.expect("an answer"),
        StatusCode::UNAUTHORIZED,
    )
    .await;
    assert_eq!(told.revoked_device(), Some(server.a.id));

    let path = format!("/api/v1/devices/{}", server.b.id);
    let deleted = server
        .request(Method::DELETE, &path, Some(&server.admin))
        .send()
        .await
        .expect("an answer");
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    let told = problem(poll(&server.b).await.expect("an answer"), StatusCode::GONE).await;
    assert_eq!(told.deleted_device(), Some(server.b.id));
}
