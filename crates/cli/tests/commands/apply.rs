//! Manifests become targets: what is planned is what is done, and nothing that wasn't asked for.

use holdfast_cli::Exit;

use crate::plant::{Plant, manifest};

#[test]
fn a_manifest_is_planned_applied_and_then_there_is_nothing_to_do() {
    let plant = Plant::start();
    plant.device("plant-3");
    let file = plant.file(
        "m.yaml",
        &manifest(
            "plant-3",
            &[("boiler-1", "10.0.0.5"), ("boiler-2", "10.0.0.6")],
        ),
    );

    let planned = plant.run(&["plan", "-f", &file]).good();
    assert!(
        planned.contains("plant-3 (version 0): 2 to add, 0 to update, 0 to remove, 0 unchanged"),
        "{planned}"
    );
    assert!(planned.contains("boiler-1  add"), "{planned}");
    let twice = plant.run(&["plan", "-f", &file, "--exit-code"]);
    assert!(
        matches!(twice.exit, Ok(Exit::NotAsWanted)),
        "a plan changes nothing: {twice:?}"
    );

    let applied = plant
        .run(&["apply", "-f", &file, "--reason", "winter"])
        .good();
    assert!(
        applied.ends_with("plant-3: now at version 1\n"),
        "{applied}"
    );
    let again = plant.run(&["apply", "-f", &file]).good();
    assert_eq!(again, "plant-3 (version 1): nothing to change\n");
    assert!(matches!(
        plant.run(&["plan", "-f", &file, "--exit-code"]).exit,
        Ok(Exit::Good)
    ));

    let history = plant.run(&["history", "plant-3"]).good();
    assert!(
        history.contains("anna") && history.contains("winter"),
        "{history}"
    );
}

#[test]
fn what_a_manifest_does_not_list_goes_only_when_asked() {
    let plant = Plant::start();
    plant.device("plant-3");
    let both = plant.file(
        "both.yaml",
        &manifest("plant-3", &[("a", "10.0.0.5"), ("b", "10.0.0.6")]),
    );
    plant.run(&["apply", "-f", &both]).good();
    let one = plant.file("one.yaml", &manifest("plant-3", &[("b", "10.0.0.7")]));

    let diff = plant.run(&["diff", "-f", &one]).good();
    assert_eq!(
        diff,
        "plant-3/b\n  ~ connection.host: \"10.0.0.6\" → \"10.0.0.7\"\n"
    );
    let planned = plant.run(&["plan", "-f", &one]).good();
    assert!(
        planned.contains("0 to add, 1 to update, 0 to remove, 1 unchanged"),
        "{planned}"
    );
    assert!(planned.contains("connection.host"), "{planned}");
    plant.run(&["apply", "-f", &one]).good();
    let names = |plant: &Plant| {
        let listed = plant
            .run(&["get", "sensors", "plant-3", "-o", "json"])
            .json();
        let items = listed["items"].as_array().expect("a list").clone();
        items
            .iter()
            .map(|row| row["name"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&plant), ["a", "b"]);

    let planned = plant.run(&["plan", "-f", &one, "--prune"]).good();
    assert!(
        planned.contains("0 to add, 0 to update, 1 to remove, 1 unchanged"),
        "{planned}"
    );
    plant.run(&["apply", "-f", &one, "--prune"]).good();
    assert_eq!(names(&plant), ["b"]);

    let none = plant.file("none.yaml", &manifest("plant-3", &[]));
    assert!(
        plant
            .run(&["apply", "-f", &none])
            .good()
            .contains("nothing to change")
    );
    plant.run(&["apply", "-f", &none, "--prune"]).good();
    assert_eq!(names(&plant), [""; 0]);

    let back = plant
        .run(&["rollback", "plant-3", "1", "--reason", "it was better"])
        .good();
    assert_eq!(
        back,
        "plant-3: the sensors of version 1 are wanted again, as version 5\n"
    );
    assert_eq!(names(&plant), ["a", "b"]);
}

#[test]
fn devices_are_made_and_labelled_only_when_asked() {
    let plant = Plant::start();
    let text = manifest("new-1", &[("a", "10.0.0.5")])
        .replace("sensors:", "labels: { site: north }\nsensors:");
    let file = plant.file("m.yaml", &text);
    let planned = plant.run(&["plan", "-f", &file]).good();
    assert_eq!(
        planned,
        "new-1: no such device; apply --create-devices makes it, with 1 sensor\n"
    );
    let refused = plant.run(&["apply", "-f", &file]);
    assert!(refused.notes.contains("--create-devices"), "{refused:?}");
    assert!(
        refused
            .error()
            .contains("found \"new-1\", which is none: there are none")
    );
    assert!(
        plant
            .run(&["get", "devices"])
            .good()
            .contains("No devices.")
    );

    let applied = plant
        .run(&["apply", "-f", &file, "--create-devices", "-o", "json"])
        .json();
    let device = &applied["devices"][0];
    assert_eq!(
        (&device["created"], &device["version"]),
        (&true.into(), &1.into()),
        "{applied}"
    );
    plant.register(device["provisioningKey"].as_str().expect("a key"));
    assert_eq!(device["device"]["labels"]["site"], "north");

    let other = plant.file("other.yaml", &text.replace("north", "south"));
    let applied = plant.run(&["apply", "-f", &other]).good();
    assert!(
        applied.contains("labels: site=north → site=south"),
        "{applied}"
    );
    let listed = plant.run(&["get", "devices", "-l", "site=south"]).good();
    assert!(listed.contains("new-1"), "{listed}");
}

#[test]
fn one_wrong_manifest_of_many_changes_nothing() {
    let plant = Plant::start();
    plant.device("one");
    plant.device("two");
    let good = manifest("one", &[("a", "10.0.0.5")]);
    let bad = manifest("two", &[("a", "10.0.0.5")]).replace("unitId: 1", "unitId: 300");
    let file = plant.file("m.yaml", &format!("{good}---\n{bad}"));
    let error = plant.run(&["apply", "-f", &file]).error();
    assert!(error.ends_with("m.yaml, document 2: sensors[0].connection.unitId: expected an integer from 0 to 255, found 300"), "{error}");
    assert!(
        plant
            .run(&["get", "sensors"])
            .good()
            .contains("No sensors.")
    );
}

#[test]
fn doubts_are_shown_before_anything_is_done() {
    let plant = Plant::start();
    plant.device("plant-3");
    let text = manifest("plant-3", &[("a", "10.0.0.5"), ("b", "10.0.0.5")])
        .replace("dataType: int16", "dataType: int16, writable: true");
    let planned = plant
        .run(&["plan", "-f", &plant.file("m.yaml", &text)])
        .good();
    assert!(
        planned.contains("doubtful: a/t and b/t both write holding 1"),
        "{planned}"
    );
}

#[test]
fn waiting_ends_when_everything_runs() {
    let plant = Plant::start();
    let agent = plant.device("plant-3");
    let living = plant.runtime.spawn(agent.live(&[]));
    let file = plant.file(
        "m.yaml",
        &manifest("plant-3", &[("a", "10.0.0.5"), ("b", "10.0.0.6")]),
    );
    let applied = plant
        .run(&["apply", "-f", &file, "--wait", "--timeout", "30s"])
        .good();
    for said in [
        "plant-3/a: deployed (",
        "plant-3/b: deployed (",
        "all of it is as wanted (2 sensors)",
    ] {
        assert!(applied.contains(said), "{said:?} in {applied}");
    }
    let none = plant.file("none.yaml", &manifest("plant-3", &[("a", "10.0.0.5")]));
    let applied = plant
        .run(&[
            "apply",
            "-f",
            &none,
            "--prune",
            "--wait",
            "--timeout",
            "30s",
        ])
        .good();
    assert!(applied.contains("plant-3/b: gone ("), "{applied}");
    living.abort();
}

#[test]
fn waiting_says_what_failed_and_the_status_says_so() {
    let plant = Plant::start();
    let agent = plant.device("plant-3");
    let living = plant.runtime.spawn(agent.live(&["bad"]));
    let file = plant.file(
        "m.yaml",
        &manifest("plant-3", &[("good", "10.0.0.5"), ("bad", "10.0.0.7")]),
    );
    let ended = plant.run(&[
        "apply",
        "-f",
        &file,
        "--wait",
        "--timeout",
        "30s",
        "-o",
        "json",
    ]);
    assert!(matches!(ended.exit, Ok(Exit::NotAsWanted)), "{ended:?}");
    let outcome = &ended.json()["outcome"];
    assert_eq!(outcome["result"], "failed");
    let sensors = outcome["sensors"].as_array().expect("a list");
    let state = |name: &str| {
        sensors
            .iter()
            .find(|sensor| sensor["sensor"] == name)
            .expect(name)
    };
    assert_eq!(state("good")["state"], "done");
    assert_eq!(state("bad")["state"], "failed");
    let reason = state("bad")["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("connect 10.0.0.7:502: \"connection refused\" no answer"),
        "{reason}"
    );
    assert!(reason.ends_with("(tried 3 times)"), "{reason}");
    assert!(
        ended
            .notes
            .contains("1 of 2 sensors failed; 1 are as wanted"),
        "{}",
        ended.notes
    );
    living.abort();
}

#[test]
fn waiting_for_an_agent_that_is_not_there_ends_in_time() {
    let plant = Plant::start();
    plant.device("plant-3");
    let file = plant.file("m.yaml", &manifest("plant-3", &[("a", "10.0.0.5")]));
    let ended = plant.run(&["apply", "-f", &file, "--wait", "--timeout", "1s"]);
    assert!(matches!(ended.exit, Ok(Exit::TimedOut)), "{ended:?}");
    assert!(
        ended.results.contains("plant-3/a: pending"),
        "{}",
        ended.results
    );
    assert!(
        ended
            .results
            .contains("after 1 s 1 of 1 sensors are not settled"),
        "{}",
        ended.results
    );
}
