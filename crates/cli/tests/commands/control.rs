//! Stopping, starting and pausing value loops, and what is said of them.

use holdfast_cli::Exit;

use crate::{
    plant::Plant,
    values::{POINT, plant, squeezed},
};

#[test]
fn a_device_is_stopped_and_started_and_its_agents_word_is_told_apart() {
    let (plant, mut agent) = plant();
    let missing = plant.run(&["reconcile", "stop", "--device", "plant-4", "--reason", "x"]);
    assert!(missing.error().contains("There are: plant-3"));

    let stop = [
        "reconcile",
        "stop",
        "--device",
        "plant-3",
        "--reason",
        "belt change",
        "--for",
        "2h",
        "--wait",
        "1s",
    ];
    let stopped = plant.run(&stop);
    assert!(matches!(stopped.exit, Ok(Exit::TimedOut)), "{stopped:?}");
    assert_eq!(
        stopped.results,
        "recorded; plant-3 shall be stopped; its agent has never said how it runs, after 1 s\n"
    );
    plant.runtime.block_on(agent.establish(&[]));
    let status = plant.run(&["reconcile", "status", "-d", "plant-3"]).good();
    for said in [
        "plant-3: is stopped; its agent has confirmed it\n",
        "  stopped   by anna ",
        ": belt change, until 20",
        "  looks     every 5000 ms; a pass takes up to 50 ms",
        "  setpoints none: nothing is ever written\n",
    ] {
        assert!(status.contains(said), "{said:?} in\n{status}");
    }
    let fleet = plant.run(&["reconcile", "status"]).good();
    assert_eq!(fleet, "1 of 1 devices have stopped\n");

    plant.runtime.spawn(agent.live(&[]));
    let started = plant.run(&[
        "reconcile",
        "start",
        "--device",
        "plant-3",
        "--reason",
        "done",
    ]);
    assert_eq!(
        started.good(),
        "plant-3: holds its setpoints; its agent has confirmed it\n"
    );
    let again = plant.run(&["reconcile", "start", "--device", "plant-3", "-o", "json"]);
    assert_eq!(
        again.json()["active"],
        true,
        "already started: answered at once"
    );
    let events = plant
        .run(&["get", "events", "-t", "reconciliation.started"])
        .good();
    assert!(events.contains("done"), "{events}");
}

#[test]
fn the_fleet_is_stopped_and_who_has_not_confirmed_is_counted() {
    let (plant, agent) = plant();
    let _silent = plant.device("plant-4");
    plant.runtime.spawn(agent.live(&[]));
    let stopped = plant.run(&["reconcile", "stop", "--reason", "fire", "--wait", "2s"]);
    assert!(matches!(stopped.exit, Ok(Exit::TimedOut)), "{stopped:?}");
    assert_eq!(
        stopped.results,
        "1 of 2 devices have stopped\n1 agent has not confirmed what was asked for\n"
    );
    let figures = plant.run(&["reconcile", "status", "-o", "json"]).json();
    assert_eq!(
        (
            &figures["requested"]["stopped"],
            &figures["asRequested"]["stopped"]
        ),
        (&2.into(), &1.into())
    );
    let started = plant.run(&["reconcile", "start", "--wait", "0s"]).good();
    assert!(
        started.contains("of 2 devices hold their setpoints"),
        "{started}"
    );
}

#[test]
fn a_dry_run_shows_what_a_start_would_move_and_starts_nothing() {
    let (plant, mut agent) = plant();
    let dry = ["reconcile", "start", "--dry-run"];
    assert_eq!(
        plant.run(&dry).good(),
        "Nothing is stopped: a start changes nothing.\n"
    );
    plant.run(&["set", POINT, "72.5", "--wait", "0s"]).good();
    plant.runtime.block_on(agent.establish(&[]));
    plant
        .run(&[
            "reconcile",
            "stop",
            "--reason",
            "belt change",
            "--wait",
            "0s",
        ])
        .good();
    plant.runtime.block_on(agent.establish(&[]));
    plant.run(&["set", POINT, "80", "--wait", "0s"]);
    for (line, point) in [
        (&dry[..], "plant-3/boiler-1/set"),
        (
            &["reconcile", "start", "--dry-run", "--device", "plant-3"][..],
            "boiler-1/set",
        ),
    ] {
        let shown = squeezed(&plant.run(line).good());
        assert_eq!(
            shown,
            format!(
                "POINT WANTED REAL A START WOULD WHY\n{point} 80 °C 72.5 °C write it\n\
                 A start would write 1 of 1 outputs. Nothing was started, and nothing was written."
            )
        );
    }
    let moves = plant
        .run(&["reconcile", "start", "--dry-run", "-o", "json"])
        .json();
    assert_eq!(moves["items"][0]["effect"], "write");
    let view = plant
        .run(&["reconcile", "status", "-d", "plant-3", "-o", "json"])
        .json();
    assert_eq!(view["active"], false);
}

#[test]
fn a_sensor_and_a_point_are_paused_and_resumed() {
    let (plant, _agent) = plant();
    let paused = plant.run(&[
        "reconcile",
        "pause",
        POINT,
        "--reason",
        "valve",
        "--for",
        "8h",
    ]);
    let told = paused.good();
    assert!(
        told.starts_with("boiler-1/set of plant-3 is paused, until 20"),
        "{told}"
    );
    plant
        .run(&[
            "reconcile",
            "pause",
            "plant-3/boiler-1",
            "--reason",
            "service",
        ])
        .good();
    let status = plant.run(&["reconcile", "status", "-d", "plant-3"]).good();
    for said in [
        "  paused    boiler-1/set by anna ",
        ": valve, until 20",
        "  paused    boiler-1 by anna ",
        ": service\n",
    ] {
        assert!(status.contains(said), "{said:?} in\n{status}");
    }
    plant
        .run(&["reconcile", "resume", "plant-3/boiler-1"])
        .good();
    plant.run(&["reconcile", "resume", POINT]).good();
    let error = plant.run(&["reconcile", "resume", POINT]).error();
    assert_eq!(
        error,
        "expected a pause of boiler-1/set of plant-3 itself, found none"
    );
    let error = plant
        .run(&[
            "reconcile",
            "pause",
            "plant-3/boiler-1/none",
            "--reason",
            "x",
        ])
        .error();
    assert!(error.contains("There are: set, real"), "{error}");
}

#[test]
fn a_device_that_is_called_like_a_command_is_not_passed_over() {
    let plant = Plant::start();
    let _agent = plant.device("stop");
    let error = plant.run(&["reconcile", "stop", "--reason", "x"]).error();
    assert!(
        error.contains("there is a device named \"stop\""),
        "{error}"
    );
    let status = plant.run(&["reconcile", "status"]).good();
    assert!(
        status == "1 device has nothing to hold\n",
        "nothing was stopped: {status}"
    );
    let line = [
        "reconcile",
        "stop",
        "--fleet",
        "--reason",
        "x",
        "--wait",
        "0s",
    ];
    assert!(
        plant
            .run(&line)
            .good()
            .contains("0 of 1 devices have stopped")
    );
    let look = plant.run(&["reconcile", "look", "stop", "--wait", "1s"]);
    assert!(look.results.starts_with("stop was asked"), "{look:?}");
}

#[test]
fn why_tells_what_outputs_shall_hold_and_what_became_of_it() {
    let (plant, mut agent) = plant();
    plant
        .run(&["set", POINT, "72.5", "--reason", "winter", "--wait", "0s"])
        .good();
    plant.runtime.block_on(agent.establish(&[]));
    let why = plant.run(&["why", "plant-3/boiler-1"]).good();
    for said in [
        "boiler-1 of plant-3 is deployed\n",
        "boiler-1/set of plant-3 holds what is wanted\n",
        "  wanted   72.5 °C (by anna ",
        ": winter)\n",
        "  real     72.5 °C: read back and verified, 38 ms after the last write; so for ",
        "  hold     active (for ",
        "  writes   1 in the instrument's life, 99 may still be made\n",
        "  next     it is looked at every 5000 ms, and put back when it differs\n",
    ] {
        assert!(why.contains(said), "{said:?} in\n{why}");
    }
    plant
        .run(&[
            "reconcile",
            "stop",
            "--reason",
            "belt change",
            "--wait",
            "0s",
        ])
        .good();
    plant.run(&["set", POINT, "80", "--wait", "0s"]);
    let why = plant.run(&["why", POINT]).good();
    assert!(
        why.starts_with("boiler-1/set of plant-3 is not known\n"),
        "{why}"
    );
    for said in [
        "  real     not known; 72.5 °C when it was read last\n",
        "  hold     paused: recorded; stopped by anna: belt change\n",
        "  next     nothing is written until it is started: holdfast reconcile start --device plant-3",
    ] {
        assert!(why.contains(said), "{said:?} in\n{why}");
    }
    let unset = plant.run(&["why", "plant-3/boiler-1/real"]).good();
    assert_eq!(
        unset,
        "nothing is set on boiler-1/real of plant-3: nothing acts on it\n"
    );
    let facts = plant.run(&["why", POINT, "-o", "json"]).json();
    assert_eq!(
        (
            &facts["setpoints"][0]["hold"],
            &facts["reconciliation"]["active"]
        ),
        (&"paused".into(), &false.into())
    );
}
