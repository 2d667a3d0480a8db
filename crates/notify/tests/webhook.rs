//! A webhook and a receiver over a real socket.

use std::sync::Arc;

use holdfast_domain::{
    DeviceId,
    event::{Event, EventKind},
    row::Actor,
};
use holdfast_notify::{Secret, Webhook, WebhookOptions};
use holdfast_ports::{clock::Clock, notices::Notifier};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use uuid::Uuid;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2026-11-22T12:00:00Z".parse().expect("a time")
    }
}

fn event() -> Event {
    Event {
        device: DeviceId(Uuid::from_u128(7)),
        sequence: 42,
        kind: EventKind::TroubleBegan,
        at: Noon.now(),
        actor: Actor::reconciler(),
        correlation: None,
        causation: None,
        payload: json!({ "kind": "sensorOffline", "name": "boiler-1" }),
    }
}

fn webhook(url: String) -> Webhook {
    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
    let options = WebhookOptions {
        name: "pager".to_owned(),
        url,
        secret,
    };
    Webhook::new(options, Arc::new(Noon)).expect("an address")
}

/// Takes one request, answers it so, and gives what was asked: the head and the body.
async fn take(listener: &TcpListener, answer: &str) -> (String, String) {
    let (mut stream, _) = listener.accept().await.expect("somebody calls");
    let mut text = String::new();
    let mut bytes = [0; 4096];
    loop {
        let count = stream.read(&mut bytes).await.expect("it is read");
        text += std::str::from_utf8(&bytes[..count]).expect("UTF-8");
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.expect("a length").parse().expect("a number");
        if body.len() == length {
            stream.write_all(answer.as_bytes()).await.expect("it waits");
            return (head.to_owned(), body.to_owned());
        }
    }
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!(
        "http://{}/hook?key=geheim",
        listener.local_addr().expect("it is bound")
    );
    (listener, url)
}

const TAKEN: &str = "HTTP/1.1 204 No Content\r\n\r\n";

#[tokio::test]
async fn a_notice_is_signed_and_recognisable() {
    let (listener, url) = listener().await;
    let webhook = webhook(url);
    let event = event();
    let (told, (head, body)) = tokio::join!(webhook.notify(&event), take(&listener, TAKEN));
    told.expect("it was taken");
    let of = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {head}"))
            .to_owned()
    };
    assert_eq!(
        of("webhook-id: "),
        "00000000-0000-0000-0000-000000000007-42"
    );
    assert_eq!(of("webhook-timestamp: "), "1795348800");
    assert!(of("webhook-signature: ").starts_with("v1,"));
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["type"], "trouble.began");
    assert_eq!(body["data"]["trouble"]["name"], "boiler-1");
    assert_eq!(body["timestamp"], "2026-11-22T12:00:00Z");
}

#[tokio::test]
async fn what_is_no_success_is_none_and_nobody_else_is_told() {
    let (listener, url) = listener().await;
    let webhook = webhook(url);
    let event = event();
    for (answer, expected) in [
        ("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", "500"),
        (
            "HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n",
            "wants no more",
        ),
        (
            "HTTP/1.1 307 There\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            "307",
        ),
    ] {
        let (told, _) = tokio::join!(webhook.notify(&event), take(&listener, answer));
        let error = told.expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    drop(listener);
    let error = webhook.notify(&event).await.expect_err("nobody listens");
    assert!(error.to_string().contains("can't be reached"), "{error}");
    assert!(!error.to_string().contains("geheim"), "{error}");
}

#[test]
fn an_address_must_be_one() {
    for wrong in ["pager", "ftp://pager.example/", ""] {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let options = WebhookOptions {
            name: "pager".to_owned(),
            url: wrong.to_owned(),
            secret,
        };
        let refused = Webhook::new(options, Arc::new(Noon));
        assert!(refused.is_err(), "{wrong}");
    }
}
