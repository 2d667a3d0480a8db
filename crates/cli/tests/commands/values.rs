//! Setting and releasing values, and what is said of them.

use std::time::Duration;

use holdfast_cli::Exit;
use holdfast_hub::values::{Asked, InterruptRequest};

use crate::plant::{Agent, Plant};

const MANIFEST: &str = "apiVersion: holdfast/v1
device: plant-3
sensors:
- name: boiler-1
  protocol: modbus
  connection: { type: tcp, host: 10.0.0.5, unitId: 1 }
  dataPoints:
  - { name: set, table: holding, address: 1, dataType: int16, scale: 0.1, unit: °C, writable: true }
  - { name: real, table: holding, address: 2, dataType: int16 }
  - { name: start, kind: pulse, table: coil, address: 1, dataType: bool, writable: true }
";

pub(crate) const POINT: &str = "plant-3/boiler-1/set";

pub(crate) fn plant() -> (Plant, Agent) {
    let plant = Plant::start();
    let agent = plant.device("plant-3");
    let file = plant.file("m.yaml", MANIFEST);
    plant.run(&["apply", "-f", &file]).good();
    (plant, agent)
}

pub(crate) fn squeezed(text: &str) -> String {
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_value_is_set_and_verified() {
    let (plant, agent) = plant();
    plant.runtime.spawn(agent.live(&[]));
    let done = plant.run(&[
        "set",
        POINT,
        "72.5",
        "--reason",
        "winter",
        "--tolerance",
        "2%",
    ]);
    assert_eq!(done.good(), "verified 72.5 °C in 38 ms\n");
    let listed = squeezed(&plant.run(&["get", "setpoints"]).good());
    assert!(
        listed.starts_with("POINT WANTED REAL CONFORMITY HOLD SINCE WRITES BY WHY"),
        "{listed}"
    );
    assert!(
        listed.contains("plant-3/boiler-1/set 72.5 °C 72.5 °C inSync active"),
        "{listed}"
    );
    assert!(listed.ends_with("1 anna winter"), "{listed}");
    let one = plant
        .run(&["get", "setpoints", "plant-3", "-o", "json"])
        .json();
    assert_eq!(one["items"][0]["tolerance"]["relative"], 0.02);
    let below = plant.run(&["set", POINT, "-3.5", "-o", "json"]).json();
    assert_eq!(
        (&below["value"], &below["revision"]),
        (&(-3.5).into(), &2.into())
    );

    plant.run(&["release", POINT, "--reason", "done"]).good();
    assert!(
        plant
            .run(&["get", "setpoints"])
            .good()
            .starts_with("No setpoints.")
    );
    let twice = plant.run(&["release", POINT]);
    let error = twice.exit.expect_err("nothing is set").to_string();
    assert!(error.contains("nothing is set there"), "{error}");
}

#[test]
fn what_is_not_verified_is_said_and_ends_so() {
    let (plant, agent) = plant();
    let silent = plant.run(&["set", POINT, "20", "--wait", "1s"]);
    assert!(matches!(silent.exit, Ok(Exit::TimedOut)), "{silent:?}");
    assert_eq!(
        silent.results,
        "recorded 20 °C, and not verified within 1 s: the agent has not got it yet\n"
    );
    let recorded = plant.run(&["set", POINT, "21", "--wait", "0s"]).good();
    assert_eq!(recorded, "recorded 21 °C\n");

    let by = holdfast_domain::row::Actor::named("ben");
    let asked = Asked {
        actor: &by,
        reason: Some("belt change"),
        correlation: None,
    };
    let request = InterruptRequest {
        scope: holdfast_domain::document::hold::Scope::Device,
        for_ms: None,
    };
    let stopping = plant.hub.interrupt(agent.device, request, asked);
    plant.runtime.block_on(stopping).expect("it may");
    let started = std::time::Instant::now();
    let paused = plant.run(&["set", POINT, "22"]);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(matches!(paused.exit, Ok(Exit::NotAsWanted)), "{paused:?}");
    assert_eq!(
        paused.results,
        "not written (paused): recorded; stopped by ben: belt change\n"
    );
}

#[test]
fn what_can_not_be_set_is_refused_in_words() {
    let (plant, _agent) = plant();
    for (line, said) in [
        (["set", POINT, "72.53"], "value"),
        (["set", POINT, "on"], "value"),
        (["set", "plant-3/boiler-1/real", "1"], "read-only"),
        (["set", "plant-3/boiler-1/none", "1"], "no point named"),
        (["set", "plant-3/none/set", "1"], "no sensor named"),
        (["set", "plant-4/boiler-1/set", "1"], "There are: plant-3"),
    ] {
        let ended = plant.run(&line);
        let error = ended.exit.expect_err("refused").to_string();
        assert!(error.contains(said), "{line:?}: {error}");
    }
}

#[test]
fn a_command_is_given_once_and_what_came_of_it_is_said() {
    const START: &str = "plant-3/boiler-1/start";
    let (plant, agent) = plant();
    let none = plant.run(&["get", "commands"]).good();
    assert!(none.starts_with("No commands."), "{none}");
    let silent = plant.run(&["command", START, "true", "--wait", "1s"]);
    assert!(matches!(silent.exit, Ok(Exit::TimedOut)), "{silent:?}");
    assert_eq!(
        silent.results,
        "recorded true, and not answered within 1 s: the agent has not said what became of it yet\n"
    );
    let recorded = plant
        .run(&["command", START, "false", "--wait", "0s"])
        .good();
    assert_eq!(recorded, "recorded false\n");
    plant.runtime.spawn(agent.live(&[]));
    let done = plant.run(&[
        "command",
        START,
        "true",
        "--valid-for",
        "10s",
        "--reason",
        "start-up",
    ]);
    assert_eq!(done.good(), "verified true in 38 ms\n");
    let level = plant.run(&["command", POINT, "72.5"]).good();
    assert_eq!(level, "verified 72.5 °C in 38 ms\n");
    let listed = squeezed(&plant.run(&["get", "commands", "plant-3"]).good());
    assert!(
        listed.starts_with("WHEN POINT VALUE OUTCOME TOOK BY WHY"),
        "{listed}"
    );
    assert!(
        listed.contains("boiler-1/start true verified 38 ms anna start-up"),
        "{listed}"
    );
    let read_only = plant
        .run(&["command", "plant-3/boiler-1/real", "1"])
        .error();
    assert!(
        read_only.contains("level") || read_only.contains("read-only"),
        "{read_only}"
    );
    let other = plant
        .run(&["command", START, "true", "--only-if", "false"])
        .error();
    assert!(other.contains("onlyIfValue"), "{other}");
}
