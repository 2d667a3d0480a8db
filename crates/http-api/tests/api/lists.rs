//! Lists: filters, pages, and what they never show.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Server, problem, sensor};

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let server = Server::start().await;
    for name in ["s1", "s2", "s3"] {
        server.add_sensor(name).await;
    }
    let mut off = sensor("off");
    off["enabled"] = json!(false);
    server
        .send(Method::POST, &server.of_a("/sensors"), &off)
        .await;
    let count = async |query: &str| {
        let page = server.json(&server.of_a(&format!("/sensors{query}"))).await;
        page["items"].as_array().expect("a list").len()
    };
    assert_eq!(count("").await, 0, "nothing runs yet");
    for view in ["all", "desired"] {
        assert_eq!(count(&format!("?view={view}")).await, 4);
        assert_eq!(count(&format!("?view={view}&enabled=false")).await, 1);
        assert_eq!(count(&format!("?view={view}&protocol=can")).await, 0);
        assert_eq!(
            count(&format!("?view={view}&deploymentStatus=pending")).await,
            4
        );
        assert_eq!(count(&format!("?view={view}&name=s2")).await, 1);
        let mut names = std::collections::BTreeSet::new();
        let mut after = String::new();
        loop {
            let page = server
                .json(&server.of_a(&format!("/sensors?view={view}&limit=3{after}")))
                .await;
            let items = page["items"].as_array().expect("a list");
            names.extend(items.iter().map(|item| item["name"].to_string()));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            after = format!("&after={next}");
        }
        assert_eq!(names.len(), 4);
    }
    let fleet = server.json("/api/v1/sensors?view=all&name=s1").await;
    assert_eq!(fleet["items"][0]["device"], server.a.id.to_string());
    let found = async |query: &str| {
        let page = server.json(&format!("/api/v1/devices{query}")).await;
        page["items"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|d| d["name"].as_str().unwrap_or("").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(found("").await, ["a", "b"]);
    assert_eq!(found("?label=site%3Dnorth&limit=1").await, ["a"]);
    assert_eq!(found("?label=site%3Dsouth").await, [""; 0]);
    assert_eq!(found("?name=b").await, ["b"]);
    assert_eq!(found("?name=nobody").await, [""; 0]);
    assert_eq!(found("?status=silent").await, [""; 0]);
}

#[tokio::test]
async fn tokens_and_keys_show_their_secret_once() {
    let server = Server::start().await;
    for (path, body) in [
        (
            "/api/v1/tokens",
            json!({ "name": "anna", "role": "operator" }),
        ),
        (
            "/api/v1/provisioning-keys",
            json!({ "name": "hall 2", "uses": 5 }),
        ),
    ] {
        let made = server.send(Method::POST, path, &body).await;
        assert_eq!(made.status(), StatusCode::CREATED);
        let made: Value = made.json().await.expect("JSON");
        let secret = made["secret"].as_str().expect("a secret");
        let listed = server.get(path).await.text().await.expect("a body");
        assert!(
            listed.contains(body["name"].as_str().expect("a name")) && !listed.contains(secret)
        );
        let own = format!("{path}/{}", made["id"].as_str().expect("an id"));
        let revoke = || {
            server
                .request(Method::DELETE, &own, Some(&server.admin))
                .send()
        };
        assert_eq!(
            revoke().await.expect("an answer").status(),
            StatusCode::NO_CONTENT
        );
        problem(revoke().await.expect("an answer"), StatusCode::NOT_FOUND).await;
        let used = server
            .request(Method::GET, "/api/v1/devices", Some(secret))
            .send()
            .await
            .expect("an answer");
        problem(used, StatusCode::UNAUTHORIZED).await;
    }
}
