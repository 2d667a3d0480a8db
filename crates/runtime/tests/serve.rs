//! The bounds of serving, over real sockets with clients that send half of what they should.

mod support;

use std::time::Duration;

use support::{SETTINGS, Server, assert_took, time_passes};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_connection_that_sends_no_head_or_half_of_one_is_closed() {
    let server = Server::start().await;
    for half in ["", "G", "GET / HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let since = Instant::now();
        let mut client = server.client().await;
        client.send(half).await;
        assert_eq!(client.read_to_the_end().await, "", "{half:?}");
        assert_took(since, SETTINGS.first_head);
    }
}

#[tokio::test(start_paused = true)]
async fn drops_that_go_on_coming_do_not_keep_it_open() {
    let server = Server::start().await;
    let since = Instant::now();
    let mut client = server.client().await;
    client.send("GET / HTTP/1.1\r\n").await;
    let answer = client
        .read_while_sending("x-slow: 1\r\n", Duration::from_secs(1))
        .await;
    assert_eq!(answer, "");
    assert_took(since, SETTINGS.first_head);
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_that_comes_in_time_is_answered() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send("GET / HTTP/1.1\r\n").await;
    time_passes(SETTINGS.first_head - Duration::from_secs(1)).await;
    client.send("host: x\r\n\r\n").await;
    let answer = client.read_until("good").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    // It may be used again, later than that; and is closed when it lies idle for longer than is allowed.
    time_passes(SETTINGS.idle - Duration::from_secs(1)).await;
    client.ask("/").await;
    client.read_until("good").await;
    let since = Instant::now();
    client.send("GET / HTTP/1.1\r\n").await;
    assert_eq!(client.read_to_the_end().await, "");
    assert_took(since, SETTINGS.idle);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_held_back_is_no_idle_connection() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.ask("/held").await;
    server.begun.notified().await;
    time_passes(SETTINGS.idle * 3).await;
    server.go_on.notify_one();
    client.read_until("held").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_over_the_limit_is_told_so_and_the_others_go_on() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    for client in [&mut one, &mut two] {
        client.ask("/").await;
        client.read_until("good").await;
    }
    for _ in 0..3 {
        let mut over = server.client().await;
        over.ask("/").await;
        let answer = over.read_to_the_end().await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        assert!(head.contains("retry-after: 5"), "{head}");
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{head}"
        );
        assert!(body.contains("too many connections"), "{body}");
    }
    one.ask("/").await;
    one.read_until("good").await;
    drop(two);
    // Its place is free as soon as the server has seen it go.
    loop {
        let mut next = server.client().await;
        next.ask("/").await;
        let answer = next.read_until_one_of(&["good", "}"]).await;
        if answer.starts_with("HTTP/1.1 200") {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_too_large_is_refused() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send("GET / HTTP/1.1\r\nx-large: ").await;
    let answer = client
        .read_while_sending(&"x".repeat(8_192), Duration::ZERO)
        .await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn at_the_end_what_is_being_answered_is_answered_and_nothing_else_is_waited_for() {
    let server = Server::start().await;
    let (mut held, mut idle) = (server.client().await, server.client().await);
    idle.ask("/").await;
    idle.read_until("good").await;
    held.ask("/held").await;
    server.begun.notified().await;
    let since = Instant::now();
    server.cancel.cancel();
    assert_eq!(idle.read_to_the_end().await, "");
    assert_took(since, Duration::ZERO);
    server.go_on.notify_one();
    let answer = held.read_to_the_end().await;
    assert!(answer.ends_with("held"), "{answer}");
    server.serving.await.expect("no panic");
    assert_took(since, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn at_the_end_an_answer_that_does_not_come_is_cut_off() {
    let server = Server::start().await;
    let (mut held, mut fresh) = (server.client().await, server.client().await);
    held.ask("/held").await;
    server.begun.notified().await;
    fresh.send("GET").await;
    let since = Instant::now();
    server.cancel.cancel();
    server.serving.await.expect("no panic");
    assert_took(since, Duration::from_secs(2));
    assert_eq!(held.read_to_the_end().await, "");
    assert_eq!(fresh.read_to_the_end().await, "");
}
