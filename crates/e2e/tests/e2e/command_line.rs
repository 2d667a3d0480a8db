//! The operators' commands on a real hub: what they do, what they say, and how they end.

use serde_json::{Value, json};

use crate::support::{
    hub::{Hub, Store},
    instrument::Instrument,
    process::{Process, Ran, program, run},
    wait::eventually,
};

on_both_stores!(a_day_of_an_operator);

/// A command of the operator as a person has it: on a terminal of its own, where lines move.
async fn on_a_terminal(hub: &Hub, arguments: &[&str]) -> Ran {
    let mut script = tokio::process::Command::new("script");
    let holdfast = hub.holdfast_command();
    for (key, value) in holdfast.as_std().get_envs() {
        match value {
            Some(value) => script.env(key, value),
            None => script.env_remove(key),
        };
    }
    let line = [program("holdfast").display().to_string()]
        .into_iter()
        .chain(arguments.iter().map(ToString::to_string))
        .collect::<Vec<_>>()
        .join(" ");
    script
        .env("TERM", "xterm-256color")
        .current_dir(hub.folder());
    run(script, &["-qec", &line, "/dev/null"]).await
}

/// Progress is drawn from a thread of its own while results are written: neither may wait for the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_terminal_progress_moves_and_the_command_ends() {
    let hub = Hub::start(Store::Sqlite).await;
    let device = hub.device("plant").await;
    let (boiler, missing) = (Instrument::start().await, Instrument::unplugged().await);
    let mut agent = device.agent(&hub).started();
    for (sensors, code, expected) in [
        (&[("boiler", &boiler)][..], 0, "boiler"),
        (&[("boiler", &boiler), ("missing", &missing)], 2, "missing"),
    ] {
        std::fs::write(hub.folder().join("plant.yaml"), manifest(sensors)).expect("written");
        let ran = on_a_terminal(&hub, &["apply", "-f", "plant.yaml", "--wait"]).await;
        let said = ended(&ran, code);
        assert!(said.contains(expected), "{said}");
        assert!(
            said.contains('\u{1b}'),
            "nothing moves and nothing is coloured: is it a terminal? {said}"
        );
    }
    let listed = on_a_terminal(&hub, &["get", "sensors"]).await;
    let said = ended(&listed, 0);
    assert!(
        said.contains("boiler") && said.contains("\u{1b}["),
        "{said}"
    );
    agent.stop().await;
}

/// Checks how a command ended, and gives what it printed.
#[track_caller]
fn ended(ran: &Ran, code: i32) -> &str {
    assert_eq!(
        ran.code, code,
        "printed {}\ncomplained {}",
        ran.out, ran.err
    );
    &ran.out
}

/// Checks that a command ended well, and gives the document that it printed.
#[track_caller]
fn document(ran: &Ran) -> Value {
    let out = ended(ran, 0);
    serde_json::from_str(out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

fn manifest(sensors: &[(&str, &Instrument)]) -> String {
    let sensors: Vec<Value> = sensors
        .iter()
        .map(|(name, instrument)| instrument.sensor(name))
        .collect();
    // JSON is YAML.
    json!({ "apiVersion": "holdfast/v1", "device": "plant", "sensors": sensors }).to_string()
}

async fn a_day_of_an_operator(hub: Hub) {
    let (boiler, pump, missing) = (
        Instrument::start().await,
        Instrument::start().await,
        Instrument::unplugged().await,
    );
    let write = |sensors: &[(&str, &Instrument)]| {
        std::fs::write(hub.folder().join("plant.yaml"), manifest(sensors))
            .expect("a manifest can be written");
    };

    // A device, its key, its agent.
    let added = hub
        .holdfast(&["device", "add", "plant", "-o", "json"])
        .await;
    let device = hub.device_of(&document(&added));
    let mut events = hub.holdfast_command();
    events.args(["events", "--follow", "-o", "json"]);
    let follower = Process::start("events --follow", events);
    let mut agent = device.agent(&hub).started();

    // Plan, apply, wait.
    write(&[("boiler", &boiler), ("pump", &pump)]);
    let planned = hub.holdfast(&["plan", "-f", "plant.yaml"]).await;
    let said = ended(&planned, 0);
    assert!(said.contains("boiler") && said.contains("pump"), "{said}");
    ended(
        &hub.holdfast(&["plan", "-f", "plant.yaml", "--exit-code"])
            .await,
        2,
    );
    assert_eq!(device.target().await["version"], 0, "a plan does nothing");
    let applied = hub
        .holdfast(&["apply", "-f", "plant.yaml", "--wait", "--reason", "first"])
        .await;
    ended(&applied, 0);
    device.settled(1).await;
    let again = hub.holdfast(&["apply", "-f", "plant.yaml", "--wait"]).await;
    assert!(ended(&again, 0).contains("nothing to change"), "{again:?}");
    ended(
        &hub.holdfast(&["plan", "-f", "plant.yaml", "--exit-code"])
            .await,
        0,
    );
    ended(
        &hub.holdfast(&["diff", "-f", "plant.yaml", "--exit-code"])
            .await,
        0,
    );
    ended(&hub.holdfast(&["diff", "plant", "--exit-code"]).await, 0);
    ended(&hub.holdfast(&["reconcile", "plant"]).await, 0);

    // One whose instrument does not exist: the exit status says that something failed, and `why` says what.
    write(&[("boiler", &boiler), ("missing", &missing)]);
    let applied = hub.holdfast(&["apply", "-f", "plant.yaml", "--wait"]).await;
    ended(&applied, 2);
    let said = format!("{}{}", applied.out, applied.err);
    assert!(
        said.contains("missing") && said.to_lowercase().contains("refused"),
        "{said}"
    );
    assert_eq!(
        device.running().await,
        ["boiler", "pump"],
        "nothing is removed without --prune"
    );
    let why = hub.holdfast(&["why", "plant/missing"]).await;
    let said = ended(&why, 0).to_lowercase();
    assert!(
        said.contains("refused") && said.contains(&missing.local_addr().to_string()),
        "{said}"
    );
    ended(&hub.holdfast(&["reconcile", "plant"]).await, 2);
    ended(&hub.holdfast(&["diff", "plant", "--exit-code"]).await, 2);
    let drift = hub.holdfast(&["get", "drift", "plant"]).await;
    assert!(ended(&drift, 0).contains("missing"), "{drift:?}");

    // It comes, it runs; what the manifest does not list goes with --prune.
    missing.plug().await.expect("its port is kept");
    device.row_in("missing", "deployed").await;
    ended(
        &hub.holdfast(&["apply", "-f", "plant.yaml", "--prune", "--wait"])
            .await,
        0,
    );
    device.settled_now().await;
    assert_eq!(device.running().await, ["boiler", "missing"]);

    // An agent that does not answer: not known in time.
    agent.stop().await;
    write(&[("boiler", &boiler), ("missing", &missing), ("pump", &pump)]);
    ended(
        &hub.holdfast(&["apply", "-f", "plant.yaml", "--wait", "--timeout", "1s"])
            .await,
        3,
    );
    agent.start();
    device.settled_now().await;

    // Lists, for people and for programs.
    let sensors = document(
        &hub.holdfast(&["get", "sensors", "plant", "-o", "json"])
            .await,
    );
    assert_eq!(
        sensors["items"].as_array().map(Vec::len),
        Some(3),
        "{sensors:#}"
    );
    for (arguments, expected) in [
        (&["get", "devices"][..], "plant"),
        (&["get", "sensors", "plant"], "deployed"),
        (&["get", "points", "plant"], "temperature"),
        (&["get", "events", "plant", "-n", "100"], "sensor.deployed"),
        (&["history", "plant"], "first"),
        (&["device", "list"], "plant"),
        (&["token", "list"], "admin"),
    ] {
        let listed = hub.holdfast(arguments).await;
        let said = ended(&listed, 0);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }

    // Tokens; what is wrong is named.
    let created = document(
        &hub.holdfast(&["token", "create", "vera", "--role", "viewer", "-o", "json"])
            .await,
    );
    let mut as_viewer = hub.holdfast_command();
    as_viewer.env(
        "HOLDFAST_TOKEN",
        created["secret"].as_str().expect("its secret"),
    );
    let refused = run(as_viewer, &["device", "rm", "plant"]).await;
    ended(&refused, 1);
    assert!(refused.err.contains("admin"), "{refused:?}");
    std::fs::write(
        hub.folder().join("wrong.yaml"),
        manifest(&[("boiler", &boiler)]).replace("100,", "-5,"),
    )
    .expect("written");
    let refused = hub.holdfast(&["apply", "-f", "wrong.yaml"]).await;
    ended(&refused, 1);
    assert!(
        refused.err.contains("wrong.yaml") && refused.err.contains("pollInterval"),
        "{refused:?}"
    );
    let refused = hub.holdfast(&["why", "plant/nothing"]).await;
    ended(&refused, 1);
    assert!(refused.err.contains("nothing"), "{refused:?}");

    // Going back is a new version. A device that still runs something is not deleted by mistake.
    ended(
        &hub.holdfast(&["rollback", "plant", "1", "--reason", "as it was"])
            .await,
        0,
    );
    device.settled_now().await;
    assert_eq!(device.running().await, ["boiler", "pump"]);
    ended(&hub.holdfast(&["device", "rm", "plant"]).await, 1);
    ended(
        &hub.holdfast(&["device", "rm", "plant", "--force"]).await,
        0,
    );

    // Who follows the events has seen all of it.
    let seen = async || -> Vec<String> {
        let lines = follower.stdout();
        let events = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events
            .filter_map(|event| event["type"].as_str().map(str::to_owned))
            .collect()
    };
    eventually("events --follow has seen the device go", async || {
        let seen = seen().await;
        if seen.iter().any(|kind| kind == "device.deleted") {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    })
    .await;
    let seen = seen().await;
    for kind in [
        "sensor.added",
        "sensor.deployed",
        "sensor.failed",
        "sensor.recovered",
        "target_state.rolled_back",
    ] {
        assert!(
            seen.iter().any(|one| one == kind),
            "{kind} is not among {seen:?}"
        );
    }
    agent.kill().await;
}
