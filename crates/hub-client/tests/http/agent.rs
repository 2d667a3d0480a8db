//! What counts as the hub's word to an agent, and what is only a hub out of reach.

use std::time::Duration;

use holdfast_domain::{DeviceId, Fingerprint, Report, TargetDocument, TargetState};
use holdfast_hub_client::{AgentHub, Connection, HubAddress, register};
use holdfast_ports::hub_link::{HeldTarget, HubError, HubLink as _, Polled, ReportAnswer};
use holdfast_wire::RegisterRequest;
use serde_json::json;

use crate::stub::{Reply, Stub, answer, json as json_reply, problem};

const DEVICE: &str = "0192b3a4-0000-7000-8000-000000000001";
const OTHER: &str = "0192b3a4-0000-7000-8000-000000000002";
const NO_WAIT: Duration = Duration::ZERO;

fn device() -> DeviceId {
    DEVICE.parse().expect("a UUID")
}

fn hub(stub: &Stub) -> AgentHub {
    AgentHub::new(&stub.connection(), device(), "the-token").expect("a client")
}

fn target(device: &str) -> String {
    json!({ device: { "schemaVersion": 1, "version": 43, "needsDeployment": true,
        "config": { "protocolAdapterDevices": [] }, "look": { "revision": 2 } } })
    .to_string()
}

fn report() -> Report {
    let document = json!({ DEVICE: { "schemaVersion": 1, "incarnation": OTHER, "boot": 12, "sequence": 17,
        "heldVersion": 43, "runningFingerprint": "b3:00000000000000000000000000000000", "lookedRevision": 0 } });
    Report::from_json(document).expect("a report").1
}

fn held() -> HeldTarget {
    HeldTarget {
        etag: "\"v1.l0\"".into(),
        config: Fingerprint::of_bytes(b"a configuration"),
    }
}

async fn polled(reply: Reply) -> Result<Polled, HubError> {
    let stub = Stub::once(reply).await;
    hub(&stub).poll(Some(&held()), NO_WAIT).await
}

fn unreachable(result: Result<Polled, HubError>) -> String {
    match result {
        Err(HubError::Unreachable(why)) => why,
        other => panic!("expected a hub out of reach, found {other:?}"),
    }
}

fn cut(result: Result<Polled, HubError>) -> String {
    match result {
        Err(HubError::Cut(why)) => why,
        other => panic!("expected a poll that was cut, found {other:?}"),
    }
}

#[tokio::test]
async fn a_target_is_asked_for_with_what_is_held() {
    let stub = Stub::with([
        json_reply(&target(DEVICE)),
        answer("304 Not Modified", "", ""),
        json_reply(&target(DEVICE)),
    ])
    .await;
    let hub = hub(&stub);
    let Ok(Polled::Target(first)) = hub.poll(None, Duration::from_secs(30)).await else {
        panic!("a target")
    };
    assert_eq!((first.version, first.look_revision), (43, 2));
    let held = HeldTarget::of(&first);
    assert_eq!(
        hub.poll(Some(&held), Duration::from_secs(300)).await,
        Ok(Polled::Unchanged)
    );
    assert!(matches!(
        hub.poll(Some(&held), NO_WAIT).await,
        Ok(Polled::Target(_))
    ));

    let seen = stub.seen();
    let line = format!("GET /api/v1/device/{DEVICE}/state HTTP/1.1\r\n");
    assert!(
        seen.iter().all(|request| request.starts_with(&line)),
        "{seen:?}"
    );
    assert!(seen[0].contains("authorization: Bearer the-token\r\n"));
    assert!(
        !seen[0].contains("if-none-match") && !seen[0].contains("prefer"),
        "{}",
        seen[0]
    );
    assert!(
        seen[1].contains("if-none-match: \"v43.s0.h0.c0.l2\"\r\n"),
        "{}",
        seen[1]
    );
    assert!(
        seen[1].contains("prefer: wait=60\r\n"),
        "no longer than the hub takes: {}",
        seen[1]
    );
    assert!(!seen[2].contains("wait="), "{}", seen[2]);
    let config = format!("prefer: changes=\"{}\"\r\n", first.config_fingerprint());
    assert!(
        seen[1].contains(&config) && seen[2].contains(&config),
        "{seen:?}"
    );
    assert_eq!(hub.calls(), 3);
}

#[tokio::test]
async fn the_time_on_the_way_is_taken_off_what_lasts() {
    let text = json!({ DEVICE: { "schemaVersion": 1, "version": 1, "config": { "protocolAdapterDevices": [] },
        "commands": { "revision": 1, "items": [{
            "id": OTHER, "pointId": OTHER, "boundTo": "b3:00000000000000000000000000000000", "value": true,
            "validForMs": 60_000, "setBy": "anna",
        }] } } });
    let left = async |held: &str| {
        let headers = format!("content-type: application/json\r\n{held}");
        let stub = Stub::once(answer("200 OK", &headers, &text.to_string())).await;
        let Ok(Polled::Target(target)) = hub(&stub).poll(None, NO_WAIT).await else {
            panic!("a target")
        };
        target.commands.items[0].valid_for_ms
    };
    // A hub that says nothing held nothing back: all that it took was on the way.
    assert!(left("").await < 60_000);
    assert!(left("holdfast-held-ms: 0\r\n").await < 60_000);
    assert_eq!(
        left("holdfast-held-ms: 3600000\r\n").await,
        60_000,
        "no more than it was given"
    );
}

fn changes(config: &str, commands: &serde_json::Value) -> String {
    json!({ DEVICE: { "schemaVersion": 1, "version": 44, "heldConfig": config, "commands": commands } })
        .to_string()
}

/// What came without the configuration is a target only onto that very configuration.
#[tokio::test]
async fn a_target_may_come_without_the_configuration_that_is_held() {
    let commands = json!({ "revision": 1, "items": [{
        "id": OTHER, "pointId": OTHER, "boundTo": "b3:00000000000000000000000000000000", "value": true,
        "validForMs": 60_000, "setBy": "anna",
    }] });
    let (_, whole) = TargetState::from_slice(target(DEVICE).as_bytes()).expect("a target");
    let config = whole.config_fingerprint().to_string();
    let polled = polled(json_reply(&changes(&config, &commands))).await;
    let Ok(Polled::Changes(came)) = polled else {
        panic!("without its configuration: {polled:?}")
    };
    let onto = came
        .clone()
        .onto(&whole.items)
        .expect("the same configuration");
    assert_eq!((onto.version, &onto.items), (44, &whole.items));
    let left = onto.commands.items[0].valid_for_ms;
    assert!(left < 60_000, "the time on the way is taken off: {left}");
    let other = Fingerprint::of_bytes(b"another").to_string();
    let (_, read) =
        TargetDocument::from_slice(changes(&other, &commands).as_bytes()).expect("valid");
    let TargetDocument::Changes(read) = read else {
        panic!("without its configuration: {read:?}")
    };
    assert_eq!(read.onto(&whole.items), None);
}

#[tokio::test]
async fn nothing_held_is_never_left_out() {
    let config = Fingerprint::of_bytes(b"a configuration").to_string();
    let stub = Stub::once(json_reply(&changes(&config, &json!({})))).await;
    let why = unreachable(hub(&stub).poll(None, NO_WAIT).await);
    assert!(why.contains("expected a whole target"), "{why}");
    // Nor is a target without either taken for one without sensors.
    let neither = json!({ DEVICE: { "schemaVersion": 1, "version": 44 } }).to_string();
    let why = unreachable(polled(json_reply(&neither)).await);
    assert!(why.contains("config"), "{why}");
    let both = json!({ DEVICE: { "schemaVersion": 1, "version": 44, "heldConfig": config,
        "config": { "protocolAdapterDevices": [] } } });
    let why = unreachable(polled(json_reply(&both.to_string())).await);
    assert!(why.contains("heldConfig"), "{why}");
}

#[tokio::test]
async fn nothing_held_is_never_unchanged() {
    let stub = Stub::once(answer("304 Not Modified", "", "")).await;
    let why = unreachable(hub(&stub).poll(None, NO_WAIT).await);
    assert!(why.contains("expected a target, found 304"), "{why}");
}

#[tokio::test]
async fn only_the_hubs_word_about_this_device_ends_its_access() {
    let body = |kind: &str, device: &str| {
        json!({ "type": format!("urn:holdfast:problem:{kind}"), "title": "Gone", "status": 410, "device": device })
            .to_string()
    };
    assert_eq!(
        polled(problem("410 Gone", &body("device-deleted", DEVICE))).await,
        Err(HubError::Deleted(device()))
    );
    assert_eq!(
        polled(problem("401 Unauthorized", &body("device-revoked", DEVICE))).await,
        Err(HubError::Revoked(device()))
    );
    let unknown = polled(problem("401 Unauthorized", &body("token-unknown", DEVICE))).await;
    assert!(matches!(unknown, Err(HubError::Unknown(_))), "{unknown:?}");
    for (what, reply) in [
        (
            "another device",
            problem("410 Gone", &body("device-deleted", OTHER)),
        ),
        (
            "another problem",
            problem("401 Unauthorized", &body("unauthenticated", DEVICE)),
        ),
        (
            "not a problem document",
            answer(
                "410 Gone",
                "content-type: application/json\r\n",
                &body("device-deleted", DEVICE),
            ),
        ),
        (
            "no device",
            problem(
                "410 Gone",
                r#"{"type":"urn:holdfast:problem:device-deleted","title":"Gone","status":410}"#,
            ),
        ),
        (
            "a good status",
            problem("200 OK", &body("device-deleted", DEVICE)),
        ),
    ] {
        let result = polled(reply).await;
        assert!(
            matches!(result, Err(HubError::Unreachable(_))),
            "{what}: {result:?}"
        );
    }
}

#[tokio::test]
async fn what_a_proxy_says_is_a_hub_out_of_reach_and_is_told_clearly() {
    let html = answer(
        "502 Bad Gateway",
        "content-type: text/html; charset=utf-8\r\n",
        "<h1>nginx</h1>",
    );
    let stub = Stub::once(html).await;
    let why = cut(hub(&stub).poll(None, NO_WAIT).await);
    let call = format!("GET {}/api/v1/device/{DEVICE}/state", stub.address());
    assert_eq!(
        why,
        format!("{call}: 502 Bad Gateway from a proxy (text/html)")
    );

    let portal = answer(
        "200 OK",
        "content-type: text/html\r\n",
        "<h1>Please sign in</h1>",
    );
    assert!(unreachable(polled(portal).await).contains("200 OK from a proxy (text/html)"));
    let elsewhere = answer("302 Found", "location: http://127.0.0.1:9/\r\n", "");
    assert!(
        unreachable(polled(elsewhere).await).contains("302 Found from a proxy (no content type)")
    );
    let refused = problem(
        "503 Service Unavailable",
        r#"{"type":"urn:holdfast:problem:unavailable","title":"Not now","status":503,"detail":"the store is away"}"#,
    );
    let why = unreachable(polled(refused).await);
    assert!(
        why.ends_with("503 Service Unavailable: Not now: the store is away"),
        "{why}"
    );
}

#[tokio::test]
async fn answers_that_are_broken_are_told_as_that() {
    for (reply, said) in [
        (json_reply(&target(OTHER)), "found that of device"),
        (json_reply("{}"), "expected an object with one member"),
        (json_reply("{\"cut"), "expected the target of device"),
    ] {
        let why = unreachable(polled(reply).await);
        assert!(why.contains(said), "{said:?} in {why}");
    }
    // Cut before the answer, and within it.
    let half = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{";
    for bytes in ["", half] {
        let why = cut(polled(Reply::Bytes(bytes.into())).await);
        assert!(why.contains("the connection broke"), "{why}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", free.local_addr().expect("bound"));
    drop(free);
    let closed = Connection::to(HubAddress::new(&address, false).expect("loopback"));
    let hub = AgentHub::new(&closed, device(), "t").expect("a client");
    let why = unreachable(hub.poll(None, NO_WAIT).await);
    assert!(
        why.contains("could not connect: Connection refused"),
        "{why}"
    );
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_deadline() {
    let stub = Stub::with([Reply::Silence]).await;
    let begun = tokio::time::Instant::now();
    let why = unreachable(
        hub(&stub)
            .poll(Some(&held()), Duration::from_secs(30))
            .await,
    );
    assert!(why.contains("no answer within"), "{why}");
    assert!(
        begun.elapsed() <= Duration::from_secs(46),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let body = " ".repeat(33 * 1024 * 1024);
    let why = unreachable(polled(json_reply(&body)).await);
    assert!(why.contains("expected an answer of at most"), "{why}");
}

#[tokio::test]
async fn what_comes_of_a_report_is_understood() {
    for (body, expected) in [
        (r#"{"result":"taken"}"#, ReportAnswer::Taken),
        (r#"{"result":"unchanged"}"#, ReportAnswer::Taken),
        (
            r#"{"result":"late","boot":13}"#,
            ReportAnswer::Late { boot: 13 },
        ),
        (r#"{"result":"fullWanted"}"#, ReportAnswer::FullWanted),
        (
            r#"{"result":"otherIncarnation"}"#,
            ReportAnswer::OtherIncarnation,
        ),
    ] {
        let stub = Stub::once(json_reply(body)).await;
        assert_eq!(hub(&stub).report(&report()).await, Ok(expected), "{body}");
        let seen = stub.seen();
        assert!(
            seen[0].starts_with("PATCH /api/v1/device/state HTTP/1.1\r\n"),
            "{}",
            seen[0]
        );
        assert!(
            seen[0].contains(DEVICE) && seen[0].contains("\"sequence\":17"),
            "{}",
            seen[0]
        );
    }
    let stub = Stub::once(json_reply(r#"{"result":"late"}"#)).await;
    assert!(
        hub(&stub).report(&report()).await.is_err(),
        "late without the boot says nothing"
    );
}

#[tokio::test]
async fn a_target_that_is_not_understood_is_not_half_taken() {
    let document = json!({ DEVICE: { "version": 1, "config": { "protocolAdapterDevices": [ { "name": "x" } ] } } });
    let why = unreachable(polled(json_reply(&document.to_string())).await);
    assert!(why.contains("protocolAdapterDevices[0]"), "{why}");
    assert!(TargetState::from_json(document).is_err());
}

#[tokio::test]
async fn registering_shows_the_key_and_says_why_not() {
    let request = RegisterRequest {
        name: None,
        token_hash: RegisterRequest::hash_text(&[7; 32]),
        labels: std::collections::BTreeMap::new(),
        device: None,
    };
    let given = json!({ "device": DEVICE, "incarnation": OTHER }).to_string();
    let refused =
        r#"{"type":"urn:holdfast:problem:unauthenticated","title":"No such key","status":401}"#;
    let stub = Stub::with([
        json_reply(&given),
        problem("401 Unauthorized", refused),
        answer("502 Bad Gateway", "", ""),
    ])
    .await;
    let registered = register(&stub.connection(), "the-key", &request)
        .await
        .expect("registered");
    assert_eq!(registered.device, device());
    assert!(stub.seen()[0].starts_with("POST /api/v1/device/register HTTP/1.1\r\n"));
    assert!(stub.seen()[0].contains("authorization: Bearer the-key\r\n"));
    assert!(stub.seen()[0].contains(&"07".repeat(32)));
    let error = register(&stub.connection(), "k", &request)
        .await
        .expect_err("refused");
    assert!(error.is_final(), "{error:?}");
    let error = register(&stub.connection(), "k", &request)
        .await
        .expect_err("a proxy");
    assert!(!error.is_final(), "{error:?}");
}
