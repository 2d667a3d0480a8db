//! The test cluster itself: databases apart, settings taken, and nothing left behind however the process ends.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use holdfast_testkit::postgres::{TestCluster, fresh_database};

/// Set for the process that one of the tests starts and kills.
const VICTIM_VAR: &str = "HOLDFAST_TEST_VICTIM";

fn database(url: &str) -> &str {
    url.rsplit('/').next().expect("a database's URL has a path")
}

fn port(cluster: &TestCluster) -> u16 {
    let url = cluster.url("x");
    url.rsplit([':', '/'])
        .nth(1)
        .and_then(|port| port.parse().ok())
        .expect("a cluster's URL has a port")
}

#[test]
fn a_running_clusters_url_is_taken_apart_and_put_together() {
    let cluster = TestCluster::at("postgres://me:secret@db:5433/postgres?sslmode=disable");
    assert_eq!(
        cluster.url("other"),
        "postgres://me:secret@db:5433/other?sslmode=disable"
    );
    assert_eq!(
        TestCluster::at("postgres://me@db").url("x"),
        "postgres://me@db/x"
    );
}

#[test]
fn databases_are_empty_and_apart() {
    let (one, other) = (fresh_database(), fresh_database());
    assert_ne!(one, other);
    let cluster = TestCluster::shared();
    cluster
        .psql(database(&one), &["-c", "CREATE TABLE t (x int)"])
        .unwrap();
    let count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(
        cluster.psql(database(&one), &["-c", count]).unwrap().trim(),
        "1"
    );
    assert_eq!(
        cluster
            .psql(database(&other), &["-c", count])
            .unwrap()
            .trim(),
        "0"
    );
}

#[test]
fn a_refused_statement_says_why() {
    let error = TestCluster::shared()
        .psql("postgres", &["-c", "SELECT nonsense"])
        .unwrap_err();
    assert!(error.to_string().contains("nonsense"), "{error}");
}

#[test]
fn a_wrong_setting_is_answered_with_the_servers_words() {
    let error = TestCluster::start_with(&[("shared_buffers", "none")]).unwrap_err();
    assert!(error.to_string().contains("shared_buffers"), "{error}");
}

#[test]
fn a_dropped_cluster_is_gone_with_its_port() {
    let cluster = TestCluster::start_with(&[("fsync", "on")]).unwrap();
    let port = port(&cluster);
    assert_eq!(
        cluster
            .psql("postgres", &["-c", "SHOW fsync"])
            .unwrap()
            .trim(),
        "on"
    );
    drop(cluster);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_cluster_ends_with_a_process_that_is_killed() {
    if env::var_os(VICTIM_VAR).is_some() {
        let cluster = TestCluster::start().unwrap();
        println!("\nURL {}", cluster.url("postgres"));
        // Blocks until the kill: nothing is ever written to it.
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    let mut victim = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "a_cluster_ends_with_a_process_that_is_killed",
            "--nocapture",
        ])
        .env(VICTIM_VAR, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let url = BufReader::new(victim.stdout.take().unwrap())
        .lines()
        .find_map(|line| Some(line.unwrap().strip_prefix("URL ")?.to_owned()))
        .expect("the victim says where its cluster listens");

    // A session that would last an hour; its end is the server's.
    let mut session = Command::new("psql")
        .args([
            "-XqAt",
            "-d",
            &url,
            "-c",
            "SELECT 'connected'",
            "-c",
            "SELECT pg_sleep(3600)",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(session.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line.trim(), "connected");
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(!session.wait().unwrap().success());
}
