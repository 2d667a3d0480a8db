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

#[tokio::test]
async fn points_are_listed_page_by_page_read_or_not() {
    // What is read, of all subsets of four: the pages are the same whatever was read.
    for read in 0..16 {
        points_are_listed(read).await;
    }
    let server = Server::start().await;
    let wrong = server.get(&server.of_a("/points?after=x")).await;
    problem(wrong, StatusCode::BAD_REQUEST).await;
}

/// Of the first four points those are read that `read` says.
async fn points_are_listed(read: usize) {
    let server = Server::start().await;
    let mut points: Vec<(String, String)> = Vec::new();
    for name in ["one", "two"] {
        let sensor = server.add_sensor(name).await;
        let row = server
            .json(&server.of_a(&format!("/sensors/{sensor}")))
            .await;
        for point in row["dataPoints"].as_array().expect("a list") {
            let id = point["id"].as_str().expect("an id");
            points.push((id.to_owned(), sensor.clone()));
        }
    }
    points.sort();
    assert!(points.len() >= 4, "{points:?}");
    let is_read = |index: usize| index < 4 && read & (1 << index) != 0;
    let reading = |(_, (point, sensor)): (usize, &(String, String))| json!({ "sensor": sensor, "point": point, "value": 1, "quality": "good", "at": "2026-11-22T12:00:00Z" });
    let readings = points.iter().enumerate();
    let readings = readings.filter(|(index, _)| is_read(*index)).map(reading);
    let batch = json!({ "device": server.a.id, "readings": readings.collect::<Vec<Value>>() });
    let path = "/api/v1/device/readings";
    let request = server.request(Method::POST, path, Some(&server.a.token));
    let answer = request.json(&batch).send().await.expect("an answer");
    assert!(answer.status().is_success());
    let all: Vec<(String, &str)> = points
        .iter()
        .enumerate()
        .map(|(index, (point, _))| {
            (
                point.clone(),
                if is_read(index) { "good" } else { "unread" },
            )
        })
        .collect();
    for limit in 1..=points.len() + 1 {
        let (mut pages, mut after) = (Vec::new(), String::new());
        loop {
            let path = server.of_a(&format!("/points?limit={limit}{after}"));
            let page = server.json(&path).await;
            assert!(page["items"].as_array().expect("a list").len() <= limit);
            let next = page["next"].as_str().map(|next| format!("&after={next}"));
            pages.push(page);
            match next {
                Some(next) => after = next,
                None => break,
            }
        }
        let items = pages.iter().flat_map(|page| page["items"].as_array());
        let text = |item: &'_ Value, field: &str| item[field].as_str().map(str::to_owned);
        let found: Vec<_> = items
            .flatten()
            .map(|item| (text(item, "point"), text(item, "quality")))
            .collect();
        let wanted: Vec<_> = all
            .iter()
            .map(|(point, quality)| (Some(point.clone()), Some((*quality).to_owned())))
            .collect();
        assert_eq!(found, wanted, "read {read:b}, limit {limit}");
    }
}
