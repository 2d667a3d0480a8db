//! Events as they happen: nothing is skipped, also over a resumption.

use std::time::Duration;

use futures::StreamExt as _;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::Server;

/// A stream's messages, read one by one.
struct Messages {
    answer: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

impl Messages {
    fn of(answer: Response) -> Self {
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self {
            answer: answer.bytes_stream().boxed(),
            text: String::new(),
        }
    }

    /// The place that it begins with: an id without an event.
    async fn place(&mut self) -> String {
        while !self.text.contains("\n\n") {
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.answer.next()).await;
            let chunk = chunk
                .expect("a message")
                .expect("not the end")
                .expect("a chunk");
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
        let (message, rest) = self.text.split_once("\n\n").expect("just seen");
        let id = message.strip_prefix("id:").expect("an id and nothing else");
        let id = id.trim().to_owned();
        self.text = rest.to_owned();
        id
    }

    /// The next event: its id and data; `None` at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let lines = message.lines().find_map(|line| line.strip_prefix(name));
                    lines.map(|value| value.trim_start().to_owned())
                };
                let found = (field("id:"), field("data:"));
                self.text = rest.to_owned();
                if let (Some(id), Some(data)) = found {
                    return Some((id, serde_json::from_str(&data).expect("JSON")));
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.answer.next()).await;
            let chunk = chunk.expect("a message, or the end")?.expect("a chunk");
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }
}

impl Server {
    async fn stream(&self, query: &str, last: Option<&str>) -> Messages {
        let request = self.request(
            Method::GET,
            &format!("/api/v1/events/stream{query}"),
            Some(&self.viewer),
        );
        let request = match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        };
        Messages::of(request.send().await.expect("an answer"))
    }
}

#[tokio::test]
async fn a_stream_that_was_cut_goes_on_where_it_was() {
    let server = Server::start().await;
    let mut stream = server.stream("?type=sensor.added", None).await;
    server.add_sensor("s1").await;
    let (last, event) = stream.next().await.expect("an event");
    assert_eq!(
        (&event["type"], &event["cursor"]),
        (&json!("sensor.added"), &json!(last))
    );
    drop(stream);
    for name in ["s2", "s3", "s4"] {
        server.add_sensor(name).await;
    }
    let mut names = Vec::new();
    let mut resumed = server.stream("?type=sensor.added", Some(&last)).await;
    server.add_sensor("s5").await;
    while names.len() < 4 {
        let (_, event) = resumed.next().await.expect("an event");
        names.push(event["sequence"].as_u64().expect("a number"));
    }
    assert!(
        names.windows(2).all(|pair| pair[0] < pair[1])
            && names[0] > event["sequence"].as_u64().expect("a number")
    );
    let mut by_parameter = server
        .stream(&format!("?type=sensor.added&after={last}"), None)
        .await;
    assert_eq!(
        by_parameter.next().await.expect("an event").1["sequence"],
        names[0]
    );
}

#[tokio::test]
async fn a_stream_that_breaks_before_its_first_event_loses_nothing() {
    let server = Server::start().await;
    server.add_sensor("before").await;
    let mut stream = server.stream("?type=sensor.added", None).await;
    let place = stream.place().await;
    drop(stream);
    let missed = [server.add_sensor("s1").await, server.add_sensor("s2").await];
    let mut resumed = server.stream("?type=sensor.added", Some(&place)).await;
    assert_eq!(resumed.place().await, place, "it says where it begins");
    for sensor in missed {
        let (_, event) = resumed.next().await.expect("an event");
        assert_eq!(event["payload"]["sensorId"], sensor, "{event:#}");
    }
}

#[tokio::test]
async fn a_stream_from_the_start_has_the_whole_log_in_its_order() {
    let server = Server::start().await;
    for name in ["s1", "s2"] {
        server.add_sensor(name).await;
    }
    let mut pages = Vec::new();
    let mut after = String::new();
    loop {
        let page = server.json(&format!("/api/v1/events?limit=3{after}")).await;
        let items = page["items"].as_array().expect("a list").clone();
        if items.is_empty() {
            break;
        }
        pages.extend(items);
        after = format!(
            "&after={}",
            page["next"].as_str().expect("there is always a next")
        );
    }
    let mut stream = server.stream("?after=start", None).await;
    for wanted in &pages {
        assert_eq!(stream.next().await.expect("an event").1, *wanted);
    }
    let newest = server.json("/api/v1/events?order=newest&limit=1").await;
    let last = pages.last().expect("events");
    assert_eq!(newest["items"][0]["sequence"], last["sequence"]);
    let of_b = server
        .json(&format!("/api/v1/events?device={}", server.b.id))
        .await;
    assert!(
        of_b["items"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|event| event["device"] == server.b.id.to_string())
    );
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let server = Server::start().await;
    let mut stream = server.stream("", None).await;
    let tokens = server.json("/api/v1/tokens").await;
    let is_viewer = |token: &&Value| token["role"] == "viewer";
    let token = tokens["items"]
        .as_array()
        .expect("a list")
        .iter()
        .find(is_viewer)
        .expect("the viewer's");
    let path = format!("/api/v1/tokens/{}", token["id"].as_str().expect("an id"));
    server
        .request(Method::DELETE, &path, Some(&server.admin))
        .send()
        .await
        .expect("an answer");
    assert!(stream.next().await.is_none());
}
