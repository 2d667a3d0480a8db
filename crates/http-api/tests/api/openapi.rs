//! The description: whole, of the version that is promised, and browsable with no other server in reach.

use reqwest::StatusCode;
use serde_json::Value;

use crate::support::Server;

#[tokio::test]
async fn the_description_is_complete_and_served() {
    let server = Server::start().await;
    let served = server.json("/openapi.json").await;
    assert_eq!(
        served,
        serde_json::to_value(holdfast_http_api::openapi()).expect("JSON")
    );
    assert!(
        served["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1"))
    );
    assert_eq!(
        (
            &served["info"]["title"],
            &served["info"]["license"]["identifier"]
        ),
        (&"Holdfast".into(), &"Apache-2.0".into())
    );
    let schemas = served["components"]["schemas"]
        .as_object()
        .expect("schemas");
    let mut references = Vec::new();
    collect(&served, &mut references);
    for reference in references {
        let name = reference
            .strip_prefix("#/components/schemas/")
            .expect("a schema");
        assert!(
            schemas.contains_key(name),
            "{name} is referred to and not there"
        );
    }
    for (path, item) in served["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            assert!(
                operation["summary"].is_string(),
                "{method} {path} says what it does"
            );
            assert!(
                operation["responses"]["default"].is_object(),
                "{method} {path} says how it fails"
            );
            let wanted = path.matches('{').count();
            let parameters = operation["parameters"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let given = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .count();
            assert_eq!(given, wanted, "{method} {path}");
        }
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            references.extend(
                members
                    .get("$ref")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            members
                .values()
                .for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

#[tokio::test]
async fn the_browsable_page_comes_whole_from_here() {
    let server = Server::start().await;
    for path in [
        "/docs/",
        "/docs/swagger-ui-bundle.js",
        "/docs/swagger-ui.css",
        "/docs/swagger-initializer.js",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert!(
            answer.headers().contains_key("content-security-policy"),
            "{path}"
        );
        let text = answer.text().await.expect("a body");
        assert!(
            path != "/docs/" || !text.contains("https://"),
            "{path} fetches nothing from elsewhere"
        );
    }
    let start = server
        .get("/docs/swagger-initializer.js")
        .await
        .text()
        .await
        .expect("a body");
    assert!(start.contains("/openapi.json"));
}
