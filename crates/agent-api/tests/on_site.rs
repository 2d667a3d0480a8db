//! The local API on a real socket, around a real agent with ports in memory.

#[path = "../../edge/tests/support/mod.rs"]
mod support;

use std::{net::SocketAddr, os::unix::fs::PermissionsExt as _, sync::Arc, time::Duration};

use holdfast_agent_api::{BODY_BYTES, LocalSettings, LocalToken, router};
use holdfast_edge::{Agent, AgentParts, AgentSettings, LocalLoop};
use holdfast_ports::bus::FieldBus;
use serde_json::{Value, json};
use support::{Random, StoppedClock, bus::FakeBus, hub::FakeHub, ledger::MemoryLedger};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

const TOKEN: &str = "hfl_a-token-of-this-test";
const LOOP: &str = "/api/v1/reconciliation";

/// An agent that runs, and its local API.
struct Site {
    addr: SocketAddr,
    ledger: MemoryLedger,
    folder: tempfile::TempDir,
    _running: DropGuard,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl Site {
    async fn start() -> Self {
        Self::with(MemoryLedger::registered()).await
    }

    async fn with(ledger: MemoryLedger) -> Self {
        let parts = AgentParts {
            hub: FakeHub::new(),
            ledger: Arc::new(ledger.clone()),
            buses: vec![Arc::new(FakeBus::new()) as Arc<dyn FieldBus>],
            readings: Vec::new(),
            clock: Arc::new(StoppedClock),
            entropy: Arc::new(Random::new(1)),
        };
        let local = LocalLoop::default();
        let agent = Agent::new(parts, AgentSettings::default()).answering(local.clone());
        let cancel = CancellationToken::new();
        tokio::spawn(agent.run(cancel.clone()));
        let folder = tempfile::tempdir().expect("a folder");
        let token = LocalToken::in_file(&folder.path().join("token"), TOKEN).expect("a token");
        let settings = LocalSettings {
            patience: Duration::from_secs(5),
        };
        let router = router(local, token, Arc::new(Random::new(2)), settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            addr,
            ledger,
            folder,
            _running: cancel.drop_guard(),
        }
    }

    /// One request on a connection of its own, as it stands.
    async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.addr).await.expect("it listens");
        stream.write_all(request).await.expect("it reads");
        let mut bytes = Vec::new();
        // It may close before it has read everything.
        let _ = stream.read_to_end(&mut bytes).await;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Answer {
            status: status.unwrap_or(0),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let has_host = headers.iter().any(|(name, _)| *name == "Host");
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !has_host {
            request += &format!("Host: {}\r\n", self.addr);
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            request += &format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            );
        }
        self.raw(format!("{request}\r\n{body}").as_bytes()).await
    }

    /// With the token.
    async fn tell(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let bearer = format!("Bearer {TOKEN}");
        self.ask(method, path, &[("Authorization", &bearer)], &body)
            .await
    }
}

#[tokio::test]
async fn a_technician_sees_stops_and_starts_the_loop() {
    let site = Site::start().await;
    let seen = site.tell("GET", LOOP, &Value::Null).await;
    assert_eq!(seen.status, 200, "{seen:?}");
    let view = seen.json();
    assert_eq!(
        (&view["state"], &view["local"]),
        (&json!("active"), &Value::Null)
    );
    assert_eq!(
        (&view["intervalMs"], &view["hub"]["intervalMs"]),
        (&json!(5_000), &json!(5_000))
    );

    let stop = json!({ "by": "ute", "reason": "belt change", "forMs": 600_000 });
    let stopped = site.tell("POST", &format!("{LOOP}/stop"), &stop).await;
    assert_eq!(stopped.status, 200, "{stopped:?}");
    let view = stopped.json();
    assert_eq!(view["state"], "stopped");
    assert_eq!(
        (&view["local"]["by"], &view["local"]["reason"]),
        (&json!("ute"), &json!("belt change"))
    );
    let left = view["local"]["remainingMs"].as_u64().expect("it ends");
    assert!((590_000..=600_000).contains(&left), "{left}");
    let kept = site
        .ledger
        .held()
        .memory
        .local
        .expect("it is on the disk before it is answered");
    assert_eq!(kept.by.as_str(), "ute");

    let tuned = site
        .tell("PATCH", LOOP, &json!({ "intervalMs": 1_000 }))
        .await
        .json();
    assert_eq!(
        (&tuned["intervalMs"], &tuned["localIntervalMs"]),
        (&json!(1_000), &json!(1_000))
    );
    let tuned = site
        .tell("PATCH", LOOP, &json!({ "intervalMs": null }))
        .await
        .json();
    assert_eq!(
        (&tuned["intervalMs"], &tuned["localIntervalMs"]),
        (&json!(5_000), &Value::Null)
    );

    let started = site
        .tell("POST", &format!("{LOOP}/start"), &json!({}))
        .await
        .json();
    assert_eq!(
        (&started["state"], &started["local"]),
        (&json!("active"), &Value::Null)
    );
    assert_eq!(
        started["localEnded"]["by"], "technician",
        "whoever does not say who they are"
    );
}

#[tokio::test]
async fn what_can_not_be_written_down_is_said() {
    let site = Site::start().await;
    site.tell("GET", LOOP, &Value::Null).await;
    site.ledger
        .broken
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let stop = json!({ "reason": "belt change" });
    let refused = site.tell("POST", &format!("{LOOP}/stop"), &stop).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    let why = refused.json()["detail"].to_string();
    assert!(
        why.contains("stopped now") && why.contains("no space left"),
        "{why}"
    );
    // In effect, and not confirmed: a restart would end it.
    assert_eq!(
        site.tell("GET", LOOP, &Value::Null).await.json()["state"],
        "stopping"
    );
}

#[tokio::test]
async fn nobody_comes_in_without_the_token() {
    let site = Site::start().await;
    let stop = json!({ "reason": "x" }).to_string();
    let (wrong, cut) = (
        format!("Bearer {TOKEN}x"),
        format!("Bearer {}", &TOKEN[..10]),
    );
    for headers in [
        vec![],
        vec![("Authorization", "Bearer wrong")],
        vec![("Authorization", wrong.as_str())],
        vec![("Authorization", cut.as_str())],
        vec![("Authorization", "Bearer ")],
        vec![("Authorization", TOKEN)],
        vec![("Cookie", "holdfast_agent_session=x")],
        vec![("Cookie", "holdfast_agent_session=hfl_a-token-of-this-test")],
    ] {
        for (method, path, body) in [
            ("GET", LOOP.to_owned(), ""),
            ("PATCH", LOOP.to_owned(), "{}"),
            ("POST", format!("{LOOP}/stop"), stop.as_str()),
            ("POST", format!("{LOOP}/start"), "{}"),
        ] {
            let refused = site.ask(method, &path, &headers, body).await;
            assert_eq!(refused.status, 401, "{headers:?} {refused:?}");
            assert_eq!(
                refused.header("content-type"),
                Some("application/problem+json")
            );
        }
    }
    // The page itself shows nothing.
    let page = site.ask("GET", "/", &[], "").await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-security-policy")
            .expect("a policy")
            .contains("frame-ancestors 'none'")
    );
    assert!(site.ledger.held().memory.local.is_none());
}

#[tokio::test]
async fn nobody_comes_in_under_another_name() {
    let site = Site::start().await;
    let bearer = format!("Bearer {TOKEN}");
    let port = site.addr.port();
    for host in [
        "evil.example",
        "127.0.0.1.evil.example:3334",
        "10.0.0.5:3334",
        "",
    ] {
        for path in [LOOP, "/", "/page.js", "/nothing"] {
            let headers = [("Authorization", bearer.as_str()), ("Host", host)];
            let refused = site.ask("GET", path, &headers, "").await;
            assert!(
                [400, 403].contains(&refused.status),
                "{host} {path} {refused:?}"
            );
        }
    }
    let none = format!("GET {LOOP} HTTP/1.0\r\nAuthorization: {bearer}\r\n\r\n");
    assert_eq!(site.raw(none.as_bytes()).await.status, 403);
    let two = format!(
        "GET {LOOP} HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nAuthorization: {bearer}\r\nConnection: close\r\n\r\n"
    );
    assert!([400, 403].contains(&site.raw(two.as_bytes()).await.status));
    for host in [
        format!("localhost:{port}"),
        format!("[::1]:{port}"),
        "127.0.0.1".to_owned(),
    ] {
        let headers = [("Authorization", bearer.as_str()), ("Host", host.as_str())];
        assert_eq!(
            site.ask("GET", LOOP, &headers, "").await.status,
            200,
            "{host}"
        );
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_turned_away() {
    let site = Site::start().await;
    let bearer = format!("Bearer {TOKEN}");
    let (port, stop) = (site.addr.port(), json!({ "reason": "x" }).to_string());
    let neighbour = format!("http://127.0.0.1:{}", port.wrapping_add(1));
    for (name, value) in [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Origin", "https://127.0.0.1"),
        ("Origin", neighbour.as_str()),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        let headers = [("Authorization", bearer.as_str()), (name, value)];
        for (method, path, body) in [
            ("GET", LOOP, ""),
            ("POST", "/api/v1/reconciliation/stop", stop.as_str()),
        ] {
            let refused = site.ask(method, path, &headers, body).await;
            assert_eq!(refused.status, 403, "{name}: {value} {refused:?}");
        }
    }
    assert!(site.ledger.held().memory.local.is_none());
}

#[tokio::test]
async fn a_session_is_a_cookie_of_this_page_alone_and_is_not_the_token() {
    let site = Site::start().await;
    let own = format!("http://{}", site.addr);
    let wrong = json!({ "token": "wrong" }).to_string();
    assert_eq!(
        site.ask("POST", "/session", &[("Origin", &own)], &wrong)
            .await
            .status,
        401
    );
    let right = json!({ "token": TOKEN }).to_string();
    let signed_in = site
        .ask("POST", "/session", &[("Origin", &own)], &right)
        .await;
    assert_eq!(signed_in.status, 204, "{signed_in:?}");
    let cookie = signed_in.header("set-cookie").expect("a cookie").to_owned();
    assert!(
        cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Strict"),
        "{cookie}"
    );
    assert!(!cookie.contains(TOKEN));
    let pair = cookie.split(';').next().expect("a name and a value");
    for (headers, is_in) in [(vec![("Cookie", pair)], true), (vec![], false)] {
        let session = site.ask("GET", "/session", &headers, "").await;
        assert_eq!(session.json()["signedIn"], is_in);
    }
    let stop = json!({ "reason": "x" }).to_string();
    let path = format!("{LOOP}/stop");
    assert_eq!(
        site.ask("GET", LOOP, &[("Cookie", pair)], "").await.status,
        200
    );
    // It comes along by itself, so it alone changes nothing.
    assert_eq!(
        site.ask("POST", &path, &[("Cookie", pair)], &stop)
            .await
            .status,
        403
    );
    let with_origin = [("Cookie", pair), ("Origin", own.as_str())];
    assert_eq!(
        site.ask("POST", &path, &with_origin, &stop).await.status,
        200
    );
    assert_eq!(
        site.ask("DELETE", "/session", &with_origin, "")
            .await
            .status,
        204
    );
    assert_eq!(
        site.ask("GET", LOOP, &[("Cookie", pair)], "").await.status,
        401
    );
}

#[tokio::test]
async fn bodies_are_bounded_and_read_strictly() {
    let site = Site::start().await;
    let path = format!("{LOOP}/stop");
    let huge = json!({ "reason": "x".repeat(BODY_BYTES) });
    let refused = site.tell("POST", &path, &huge).await;
    assert_eq!(refused.status, 413, "{refused:?}");
    // One that never ends is not read for ever.
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
         Content-Length: 1000000000\r\n\r\n"
    );
    let mut request = head.into_bytes();
    request.extend(vec![b'x'; 2 * 1024 * 1024]);
    let refused = site.raw(&request).await;
    assert!([413, 0].contains(&refused.status), "{refused:?}");
    for (body, field) in [
        (json!({}), "reason"),
        (json!({ "reason": "" }), "reason"),
        (json!({ "reason": "x", "forMs": 0 }), "forMs"),
        (json!({ "reason": "x", "forMs": "soon" }), "forMs"),
        (json!({ "reason": "x", "by": "" }), "by"),
        (json!({ "reason": "x", "by": "a\u{1b}[31m" }), "by"),
        (json!({ "reason": "x", "until": 5 }), "until"),
    ] {
        let refused = site.tell("POST", &path, &body).await;
        assert_eq!(refused.status, 422, "{body} {refused:?}");
        assert!(refused.body.contains(field), "{body} {refused:?}");
    }
    for interval in [json!(99), json!(3_600_001), json!("1s"), json!(-5)] {
        let refused = site
            .tell("PATCH", LOOP, &json!({ "intervalMs": interval }))
            .await;
        assert_eq!(refused.status, 422, "{interval} {refused:?}");
    }
    let bearer = format!("Bearer {TOKEN}");
    let form = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\nConnection: close\r\n\
         Content-Type: text/plain\r\nContent-Length: 14\r\n\r\n{{\"reason\":\"x\"}}"
    );
    assert_eq!(site.raw(form.as_bytes()).await.status, 415);
    assert_eq!(site.tell("PUT", LOOP, &json!({})).await.status, 405);
    assert_eq!(
        site.tell("GET", "/api/v1/devices", &Value::Null)
            .await
            .status,
        404
    );
    assert!(site.ledger.held().memory.local.is_none());
}

#[tokio::test]
async fn the_tokens_file_is_made_once_and_for_its_owner_alone() {
    let site = Site::start().await;
    let path = site.folder.path().join("token");
    let mode = || {
        std::fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("it can be set");
    LocalToken::in_file(&path, "another-token-altogether").expect("it is read");
    assert_eq!(mode(), 0o600);
    assert_eq!(std::fs::read_to_string(&path).expect("text").trim(), TOKEN);
    std::fs::write(&path, "short\n").expect("it can be written");
    let error = LocalToken::in_file(&path, TOKEN).expect_err("that is no token");
    assert!(error.to_string().contains("token"), "{error}");
}
