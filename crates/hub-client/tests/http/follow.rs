//! Following the log: over breaks, without missing or repeating an event.

use holdfast_hub_client::{EventQuery, Followed, Follower, Operator};
use serde_json::json;

use crate::stub::{Reply, Stub, answer, problem, stream};

fn event(sequence: u64) -> String {
    let data = json!({ "device": "0192b3a4-0000-7000-8000-000000000001", "sequence": sequence, "type": "device.online",
        "at": "2026-11-22T12:00:00Z", "actor": "agent", "payload": {} });
    format!("event: event\nid: c{sequence}\ndata: {data}\n\n")
}

/// What follows, as words, until `count` things came.
async fn follow(follower: &mut Follower, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.push(match follower.next().await.expect("not refused") {
            Followed::Connected => "connected".to_owned(),
            Followed::Lost { .. } => "lost".to_owned(),
            Followed::Event(event) => {
                assert_eq!(event.cursor, Some(format!("c{}", event.event.sequence)));
                event.event.sequence.to_string()
            }
        });
    }
    seen
}

fn follower(stub: &Stub, after: Option<&str>) -> Follower {
    let query = EventQuery {
        device: None,
        kinds: vec!["device.online".to_owned()],
    };
    Operator::new(&stub.connection(), "t")
        .expect("a client")
        .follow(&query, after)
}

#[tokio::test]
async fn it_goes_on_where_it_broke_off() {
    let stub = Stub::with([
        stream(&format!(": hello\n\n{}{}event: eve", event(1), event(2))),
        answer("502 Bad Gateway", "content-type: text/html\r\n", "<h1>"),
        stream("id: c9\n\n"),
        stream(&event(10)),
    ])
    .await;
    let seen = follow(&mut follower(&stub, None), 9).await;
    assert_eq!(
        seen,
        [
            "connected",
            "1",
            "2",
            "lost",
            "lost",
            "connected",
            "lost",
            "connected",
            "10"
        ]
    );
    let seen = stub.seen();
    let line = "GET /api/v1/events/stream?type=device.online HTTP/1.1\r\n";
    assert!(
        seen.iter().all(|request| request.starts_with(line)),
        "{seen:?}"
    );
    assert!(!seen[0].contains("last-event-id"));
    assert!(seen[1].contains("last-event-id: c2\r\n"), "{}", seen[1]);
    assert!(seen[2].contains("last-event-id: c2\r\n"), "{}", seen[2]);
    assert!(
        seen[3].contains("last-event-id: c9\r\n"),
        "an id without an event is a place too: {}",
        seen[3]
    );
}

#[tokio::test]
async fn it_begins_behind_a_cursor_and_passes_over_what_it_does_not_know() {
    let newer = "event: event\nid: c6\ndata: {\"type\":\"sensor.dreamed\"}\n\nevent: other\nid: c7\ndata: {}\n\n";
    let stub = Stub::once(stream(&format!("{newer}{}", event(8)))).await;
    let mut follower = follower(&stub, Some("c5"));
    assert_eq!(follow(&mut follower, 2).await, ["connected", "8"]);
    assert!(stub.seen()[0].contains("last-event-id: c5\r\n"));
}

#[tokio::test]
async fn a_refusal_ends_it() {
    let refused = r#"{"type":"urn:holdfast:problem:forbidden","title":"Not allowed","status":403}"#;
    let stub = Stub::once(problem("403 Forbidden", refused)).await;
    let error = follower(&stub, None).next().await.expect_err("refused");
    assert!(error.is_status(403), "{error}");
}

#[tokio::test]
async fn waiting_for_the_next_may_be_given_up_and_taken_up_again() {
    let stub = Stub::with([stream(&event(1)), Reply::Silence]).await;
    let mut follower = follower(&stub, None);
    assert_eq!(follow(&mut follower, 3).await, ["connected", "1", "lost"]);
    tokio::time::pause();
    for _ in 0..3 {
        let given_up =
            tokio::time::timeout(std::time::Duration::from_millis(50), follower.next()).await;
        assert!(given_up.is_err());
    }
}
