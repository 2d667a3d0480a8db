//! Devices, tokens, keys, and what is said when there is no way in.

use std::path::Path;

use serde_json::Value;

use crate::plant::{Plant, execute_line};

#[test]
fn a_device_comes_changes_hands_and_goes() {
    let plant = Plant::start();
    let added = plant
        .run(&["device", "add", "plant-3", "-l", "site=north"])
        .good();
    assert!(
        added.starts_with("plant-3 made: ") && added.contains("Provisioning key (shown once): "),
        "{added}"
    );
    let taken = plant.run(&["device", "add", "plant-3"]).error();
    assert!(
        taken.contains("name") && taken.contains("plant-3"),
        "{taken}"
    );
    let rekeyed = plant
        .run(&["device", "rekey", "plant-3", "-o", "json"])
        .json();
    plant.register(rekeyed["secret"].as_str().expect("a key"));
    let listed = plant.run(&["device", "list", "-o", "json"]).json();
    assert_eq!(listed["items"][0]["labels"]["site"], "north");
    assert_ne!(listed["items"][0]["incarnation"], Value::Null);
    plant.run(&["device", "rm", "plant-3", "--force"]).good();
    assert!(plant.run(&["device", "ls"]).good().contains("No devices."));
}

#[test]
fn tokens_are_made_used_and_ended() {
    let plant = Plant::start();
    let made = plant
        .run(&[
            "token",
            "create",
            "bert",
            "--role",
            "viewer",
            "--expires-in",
            "30d",
            "-o",
            "json",
        ])
        .json();
    let secret = made["secret"].as_str().expect("a secret").to_owned();
    let as_bert = |line: &[&str]| {
        let head = ["holdfast", "--hub", &plant.url, "--token", &secret];
        execute_line(head.iter().chain(line))
    };
    as_bert(&["get", "devices"]).good();
    let refused = as_bert(&["device", "add", "x"]).error();
    assert!(refused.contains("admin"), "{refused}");
    let listed = plant.run(&["token", "list"]).good();
    assert!(
        listed.contains("bert") && listed.contains("ends in 30 d") && !listed.contains(&secret),
        "{listed}"
    );
    plant
        .run(&["token", "revoke", made["id"].as_str().expect("an id")])
        .good();
    let refused = as_bert(&["get", "devices"]).error();
    assert!(
        refused.contains("The token comes from --token, HOLDFAST_TOKEN"),
        "{refused}"
    );
    assert!(plant.run(&["token", "list"]).good().contains("revoked"));
}

#[test]
fn keys_are_made_bound_and_ended() {
    let plant = Plant::start();
    plant.device("plant-3");
    let made = plant
        .run(&[
            "key",
            "create",
            "spare",
            "--device",
            "plant-3",
            "--expires-in",
            "8h",
            "-o",
            "json",
        ])
        .json();
    assert_ne!(made["device"], Value::Null);
    plant.run(&["key", "create", "batch", "--uses", "5"]).good();
    let listed = plant.run(&["key", "list"]).good();
    assert!(
        listed.contains("spare") && listed.contains("a new one") && listed.contains('5'),
        "{listed}"
    );
    plant
        .run(&["key", "revoke", made["id"].as_str().expect("an id")])
        .good();
}

#[test]
fn keys_that_open_nothing_any_more_are_not_in_force() {
    let plant = Plant::start();
    plant.device("used");
    plant.run(&["device", "add", "gone"]).good();
    plant.run(&["device", "rm", "gone"]).good();
    plant.run(&["device", "add", "waiting"]).good();
    let listed = plant.run(&["key", "list"]).good();
    let states: Vec<&str> = ["used up", "device deleted", "in force"]
        .into_iter()
        .filter(|state| listed.contains(state))
        .collect();
    assert_eq!(states.len(), 3, "{listed}");
}

#[test]
fn what_needs_no_hub_asks_none() {
    let bootstrap = execute_line(["holdfast", "token", "create", "root", "--bootstrap"]);
    assert_eq!(bootstrap.good(), "secret-of-root-admin\n");
    let migrated = execute_line(["holdfast", "migrate", "--store", "postgres://x"]);
    assert_eq!(migrated.good(), "migrated Some(\"postgres://x\")\n");
    assert!(
        execute_line(["holdfast", "openapi"])
            .good()
            .contains("3.1.0")
    );
    let schema = execute_line(["holdfast", "schema"]);
    assert_eq!(schema.json()["title"], "Holdfast manifest");
    assert!(
        execute_line(["holdfast", "completions", "bash"])
            .good()
            .contains("_holdfast")
    );
}

#[test]
fn no_way_in_is_said_with_what_to_do() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", free.local_addr().expect("bound"));
    drop(free);
    let error = execute_line(["holdfast", "--hub", &url, "--token", "t", "get", "devices"]).error();
    assert!(
        error.contains("could not connect") && error.contains("`holdfast up` starts one"),
        "{error}"
    );
    let plain = execute_line([
        "holdfast",
        "--hub",
        "http://hub.example",
        "--token",
        "t",
        "get",
        "devices",
    ])
    .error();
    assert!(plain.contains("found plain http"), "{plain}");
    let plant = Plant::start();
    let wrong = execute_line([
        "holdfast", "--hub", &plant.url, "--token", "wrong", "get", "devices",
    ])
    .error();
    assert!(wrong.contains("The token comes from"), "{wrong}");
    assert!(!Path::new("token").exists());
}
