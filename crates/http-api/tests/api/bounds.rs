//! What is bounded: bodies in size and time, and answers that are held back. At the end of the process none of them is.

use std::time::Duration;

use holdfast_http_api::{ApiSettings, SMALL_BODY_BYTES, SecureCookies};
use reqwest::{Method, RequestBuilder, StatusCode, header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use crate::support::{FakeDevice, Server, assert_names, problem};

/// Far longer than anything here takes: what comes later does not come.
const DEADLINE: Duration = Duration::from_secs(20);

impl Server {
    /// A long poll of a device that holds its target.
    async fn long_poll(&self, device: &FakeDevice) -> RequestBuilder {
        let path = format!("/api/v1/device/{}/state", device.id);
        let poll = || self.request(Method::GET, &path, Some(&device.token));
        let answer = poll().send().await.expect("an answer");
        let etag = answer.headers()[header::ETAG].clone();
        poll()
            .header(header::IF_NONE_MATCH, etag)
            .header("prefer", "wait=60")
    }
}

#[tokio::test]
async fn a_large_registration_is_refused_and_makes_no_device() {
    let server = Server::start().await;
    let key = server
        .send(
            Method::POST,
            "/api/v1/provisioning-keys",
            &json!({ "name": "plant" }),
        )
        .await;
    let key: Value = key.json().await.expect("JSON");
    let secret = key["secret"].as_str().expect("a secret");
    let before = server.json("/api/v1/devices").await;
    let register = |filling: usize| {
        let body = json!({ "tokenHash": "ab".repeat(32), "name": "x".repeat(filling) });
        let request = server.request(Method::POST, "/api/v1/device/register", Some(secret));
        request.json(&body).send()
    };
    let refused = register(SMALL_BODY_BYTES).await.expect("an answer");
    let told = problem(refused, StatusCode::PAYLOAD_TOO_LARGE).await;
    assert_names(&told, "body");
    assert!(told.errors[0].expected.contains("65536"), "{told:?}");
    // One that is just not too large is looked into.
    let refused = register(SMALL_BODY_BYTES - 200).await.expect("an answer");
    assert_names(
        &problem(refused, StatusCode::UNPROCESSABLE_ENTITY).await,
        "name",
    );
    assert_eq!(server.json("/api/v1/devices").await, before);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = Server::with(ApiSettings {
        body_patience: Duration::from_millis(50),
        ..ApiSettings::default()
    })
    .await;
    let json = "application/json";
    for (method, path, token, kind) in [
        ("PATCH", "/api/v1/device/state", &server.a.token, json),
        ("POST", "/api/v1/devices", &server.admin, json),
        // Without a token at all.
        (
            "POST",
            "/sign-in",
            &server.viewer,
            "application/x-www-form-urlencoded",
        ),
    ] {
        let mut stream = tokio::net::TcpStream::connect(server.addr())
            .await
            .expect("it listens");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: {kind}\r\n\
             content-length: 100\r\n\r\n{{\"half\":"
        );
        stream.write_all(head.as_bytes()).await.expect("open");
        let mut answer = Vec::new();
        tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer))
            .await
            .expect("it is given up")
            .expect("closed in order");
        let answer = String::from_utf8(answer).expect("UTF-8");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{path}: {answer}");
        assert!(answer.contains("too slowly"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn one_poll_more_than_may_wait_is_told_to_come_back_unless_there_is_something_for_it() {
    let server = Server::with(ApiSettings {
        long_polls: 1,
        ..ApiSettings::default()
    })
    .await;
    let first = server.long_poll(&server.a).await.send();
    let second = server.long_poll(&server.b).await.send();
    let (mut first, mut second) = (Box::pin(first), Box::pin(second));
    // Which of the two has the place is their own business.
    let either = async {
        tokio::select! {
            answer = &mut first => (answer, true),
            answer = &mut second => (answer, false),
        }
    };
    let (refused, is_first) = tokio::time::timeout(DEADLINE, either)
        .await
        .expect("one of the two does not wait");
    let (waiting, waits) = if is_first {
        (second, &server.b)
    } else {
        (first, &server.a)
    };
    let refused = refused.expect("an answer");
    assert_eq!(refused.headers()[header::RETRY_AFTER], "10");
    let told = problem(refused, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(told.detail.expect("words").contains("1 agents wait"));
    // A target that is new to an agent it gets all the same.
    let other = if waits.id == server.a.id {
        &server.b
    } else {
        &server.a
    };
    let path = format!("/api/v1/device/{}/state", other.id);
    let new = server
        .request(Method::GET, &path, Some(&other.token))
        .header("prefer", "wait=60");
    assert_eq!(
        new.send().await.expect("an answer").status(),
        StatusCode::OK
    );
    // The one that waits is not disturbed, and leaves its place when it goes.
    let sensors = format!("/api/v1/devices/{}/sensors", waits.id);
    let sensor = crate::support::sensor("boiler-1");
    server.send(Method::POST, &sensors, &sensor).await;
    assert_eq!(waiting.await.expect("an answer").status(), StatusCode::OK);
    let held = server.long_poll(other).await;
    let waiting = tokio::spawn(held.send());
    let sensors = format!("/api/v1/devices/{}/sensors", other.id);
    server.send(Method::POST, &sensors, &sensor).await;
    let answer = waiting.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn when_the_process_ends_nobody_is_made_to_wait() {
    let ending = CancellationToken::new();
    let server = Server::with(ApiSettings {
        ending: ending.clone(),
        ..ApiSettings::default()
    })
    .await;
    let poll = tokio::spawn(server.long_poll(&server.a).await.send());
    let stream = server.get("/api/v1/events/stream").await;
    let look = server
        .request(
            Method::POST,
            &server.of_a("/reconcile"),
            Some(&server.admin),
        )
        .header("prefer", "wait=60");
    let look = tokio::spawn(look.send());
    ending.cancel();
    let all = async {
        let polled = poll.await.expect("no panic").expect("an answer");
        assert_eq!(polled.status(), StatusCode::NOT_MODIFIED);
        stream.bytes().await.expect("it ends in order");
        let looked = look.await.expect("no panic").expect("an answer");
        problem(looked, StatusCode::SERVICE_UNAVAILABLE).await;
    };
    tokio::time::timeout(DEADLINE, all)
        .await
        .expect("long before their waits end");
}

#[tokio::test]
async fn the_cookie_is_for_https_alone_if_the_browser_came_over_it() {
    use SecureCookies::{Always, Auto, Never};
    for (setting, scheme, is_secure) in [
        (Auto, "https", true),
        (Auto, "http", false),
        (Always, "http", true),
        (Never, "https", false),
    ] {
        let server = Server::with(ApiSettings {
            secure_cookies: setting,
            ..ApiSettings::default()
        })
        .await;
        let answer = server
            .request(Method::POST, "/sign-in", None)
            .header(header::ORIGIN, format!("{scheme}://hub.example"))
            .header(header::HOST, "hub.example")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(format!("token={}", server.viewer))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let cookie = answer.headers()[header::SET_COOKIE]
            .to_str()
            .expect("ASCII");
        assert_eq!(
            cookie.contains("; Secure"),
            is_secure,
            "{setting:?} over {scheme}: {cookie}"
        );
    }
}
