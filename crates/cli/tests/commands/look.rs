//! Looking: lists, reasons, differences, events, and asking an agent to look again.

use holdfast_cli::Exit;

use crate::plant::{Plant, manifest};

/// A plant where `good` runs and `bad` failed.
fn half_failed() -> Plant {
    let plant = Plant::start();
    let mut agent = plant.device("plant-3");
    let file = plant.file(
        "m.yaml",
        &manifest("plant-3", &[("good", "10.0.0.5"), ("bad", "10.0.0.7")]),
    );
    plant
        .run(&["apply", "-f", &file, "--reason", "winter"])
        .good();
    plant.runtime.block_on(agent.establish(&["bad"]));
    plant
}

fn squeezed(text: &str) -> String {
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn lists_say_how_things_are() {
    let plant = half_failed();
    let devices = squeezed(&plant.run(&["get", "devices"]).good());
    assert!(
        devices.contains("plant-3 drifting 1 1 2 (1 failed)"),
        "{devices}"
    );
    let sensors = squeezed(&plant.run(&["get", "sensors", "plant-3"]).good());
    assert!(
        sensors.contains("bad modbus failed - - 1 1 connect 10.0.0.7:502"),
        "{sensors}"
    );
    assert!(sensors.contains("(tried 3 times)"), "{sensors}");
    assert!(sensors.contains("good modbus deployed online"), "{sensors}");
    let fleet = squeezed(&plant.run(&["get", "sensors", "--status", "failed"]).good());
    assert!(
        fleet.contains("DEVICE SENSOR") && fleet.contains("plant-3 bad"),
        "{fleet}"
    );
    assert!(!fleet.contains("good"), "{fleet}");
    let running = plant
        .run(&["get", "sensors", "--running", "-o", "json"])
        .json();
    assert_eq!(
        running["items"].as_array().map(Vec::len),
        Some(1),
        "{running}"
    );
    assert_eq!(running["items"][0]["name"], "good");
    assert_eq!(running["next"], serde_json::Value::Null);
    let yaml = plant.run(&["get", "devices", "-o", "yaml"]).good();
    assert!(yaml.starts_with("items:\n- id: "), "{yaml}");

    let drift = squeezed(&plant.run(&["get", "drift"]).good());
    assert!(drift.contains("plant-3 bad missing"), "{drift}");
    let drift = squeezed(&plant.run(&["get", "drift", "plant-3"]).good());
    assert!(
        drift.starts_with("Target version 1, worked through 1; differs since"),
        "{drift}"
    );
    assert!(
        plant
            .run(&["get", "points", "plant-3"])
            .good()
            .contains("unread")
    );
}

#[test]
fn why_tells_the_whole_story() {
    let plant = half_failed();
    let why = plant.run(&["why", "plant-3/bad"]).good();
    for said in [
        "bad of plant-3 is failed: its agent could not start it\n",
        "  wanted   modbus at 10.0.0.7:502 unit 1, 1 point, every 1000 ms (version 1, by anna ",
        ": winter)\n",
        "  runs     nothing\n",
        "  differs  it is wanted, and nothing of it runs; for ",
        "  tried    tried 3 times; the last error: connect 10.0.0.7:502: \"connection refused\" no answer for 5 s\n",
        "  next     the agent tries again by itself, after at most 60 s",
    ] {
        assert!(why.contains(said), "{said:?} in\n{why}");
    }
    let why = plant.run(&["why", "plant-3/good"]).good();
    assert!(why.contains("good of plant-3 is deployed\n"), "{why}");
    assert!(
        why.contains("  runs     just that, for ")
            && why.contains("  next     nothing: all is as wanted"),
        "{why}"
    );
    let facts = plant.run(&["why", "plant-3/bad", "-o", "json"]).json();
    assert_eq!(
        (&facts["changedBy"]["reason"], &facts["drift"]["kind"]),
        (&"winter".into(), &"missing".into())
    );

    let error = plant.run(&["why", "plant-3/other"]).error();
    assert!(
        error.contains("found \"other\", which is none. There are: ") && error.contains("good"),
        "{error}"
    );
    let error = plant.run(&["why", "plant-4/other"]).error();
    assert_eq!(
        error,
        "expected a device's name or UUID, found \"plant-4\", which is none. There are: plant-3"
    );
}

#[test]
fn a_device_without_an_agent_says_what_is_missing() {
    let plant = Plant::start();
    plant.run(&["device", "add", "plant-3"]).good();
    let file = plant.file("m.yaml", &manifest("plant-3", &[("a", "10.0.0.5")]));
    plant.run(&["apply", "-f", &file]).good();
    let why = plant.run(&["why", "plant-3/a"]).good();
    assert!(
        why.contains("no agent has registered as plant-3 yet"),
        "{why}"
    );
    let diff = plant.run(&["diff", "plant-3", "--exit-code"]);
    assert!(matches!(diff.exit, Ok(Exit::NotAsWanted)), "{diff:?}");
    assert!(
        diff.results.starts_with("plant-3/a\n  + the sensor: {"),
        "{}",
        diff.results
    );
}

#[test]
fn a_change_that_does_not_run_yet_is_shown_value_by_value() {
    let plant = Plant::start();
    let mut agent = plant.device("plant-3");
    let file = |host: &str| plant.file("m.yaml", &manifest("plant-3", &[("a", host)]));
    plant.run(&["apply", "-f", &file("10.0.0.5")]).good();
    plant.runtime.block_on(agent.establish(&[]));
    assert_eq!(
        plant.run(&["diff", "plant-3"]).good(),
        "plant-3 runs what is wanted.\n"
    );
    plant.run(&["apply", "-f", &file("10.0.0.6")]).good();
    assert_eq!(
        plant.run(&["diff", "plant-3"]).good(),
        "plant-3/a\n  ~ connection.host: \"10.0.0.5\" → \"10.0.0.6\"\n"
    );
    let why = plant.run(&["why", "plant-3/a"]).good();
    for said in [
        "is pending",
        "runs     the content of version 1",
        "differs  it runs with other content (connection.host)",
        "next     the agent fetches version 2",
    ] {
        assert!(why.contains(said), "{said:?} in\n{why}");
    }
}

#[test]
fn an_agent_is_asked_to_look_again() {
    let plant = Plant::start();
    let agent = plant.device("plant-3");
    let device = agent.device.to_string();
    let file = plant.file("m.yaml", &manifest("plant-3", &[("bad", "10.0.0.7")]));
    plant.run(&["apply", "-f", &file]).good();
    let asked = plant.run(&["reconcile", "plant-3", "--wait", "1s"]);
    assert!(matches!(asked.exit, Ok(Exit::TimedOut)), "{asked:?}");
    assert!(
        asked.results.contains("has not answered within 1 s"),
        "{}",
        asked.results
    );
    let living = plant.runtime.spawn(agent.live(&["bad"]));
    let looked = plant.run(&["reconcile", &device, "--wait", "30s"]);
    assert!(matches!(looked.exit, Ok(Exit::NotAsWanted)), "{looked:?}");
    assert!(
        looked
            .results
            .contains("looked at everything again, and something differs:"),
        "{}",
        looked.results
    );
    living.abort();
}

#[test]
fn events_are_told_the_newest_last() {
    let plant = half_failed();
    let events = squeezed(&plant.run(&["events", "plant-3"]).good());
    let at = |what: &str| {
        events
            .find(what)
            .unwrap_or_else(|| panic!("{what} in {events}"))
    };
    assert!(
        at("device.created") < at("target_state.updated"),
        "{events}"
    );
    assert!(at("target_state.updated") < at("sensor.failed"), "{events}");
    assert!(events.contains("sensor.failed bad"), "{events}");
    let failed = plant
        .run(&["get", "events", "-t", "sensor.failed", "-o", "json"])
        .json();
    assert_eq!(
        failed["items"].as_array().map(Vec::len),
        Some(1),
        "{failed}"
    );
    let error = plant.run(&["events", "-t", "sensor.dreamed"]).error();
    assert!(
        error.contains("type: expected one of") && error.contains("sensor.dreamed"),
        "{error}"
    );
}
