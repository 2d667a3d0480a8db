//! When something is written at all: only what was asked for, only outside the tolerance, pulses and commands once.

use serde_json::{Value, json};

use super::Plant;
use crate::support::{
    client::send,
    gate::Gate,
    makes::{Habit, Made, each_is, register},
    wait::eventually,
};

/// Everything that can be asked of a device.
async fn ask_everything(plant: &Plant) {
    let device = &plant.device;
    for rest in [
        "",
        "/target-state",
        "/current-state",
        "/sensors?view=all",
        "/sensors?view=desired",
        "/points",
        "/drift",
        "/setpoints",
        "/commands",
        "/pauses",
        "/reconciliation",
        "/reconciliation/plan",
        "/target-state/history",
    ] {
        device.get(rest).await;
    }
    let looked = device.ask("POST", "/reconcile", &json!({})).await;
    looked.good("looking again");
    let mut sensors = device.wanted().await;
    sensors[0]["name"] = json!("renamed");
    let renamed = json!({ "config": { "protocolAdapterDevices": sensors } });
    let planned = device.ask("POST", "/target-state/plan", &renamed).await;
    planned.good("a plan");
    plant.site.get("/api/v1/reconciliation").await;
}

/// Somebody turns the knob of each.
fn turn_each(plant: &Plant, value: u16) {
    for made in &plant.makes {
        made.turn(1, value);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_wish_nothing_is_ever_written() {
    let mut plant = Plant::new().await;
    let factory = plant.makes[0].map(1);
    plant.each_is_asked(20).await;
    ask_everything(&plant).await;
    turn_each(&plant, 555);
    plant.each_is_asked(20).await;
    plant.kill_agent().await;
    plant.start_agent().await;
    plant.each_is_asked(20).await;
    plant.hub_anew().await;
    ask_everything(&plant).await;
    plant.each_is_asked(20).await;
    each_is(&plant.makes, |made| made.shows(1), &555);
    for made in &mut plant.makes {
        made.power_off().await;
    }
    for made in &plant.makes {
        plant.device.health(made.name, "offline").await;
    }
    for made in &mut plant.makes {
        made.power_on().await;
    }
    plant.each_is_asked(20).await;
    each_is(&plant.makes, Made::writes, &0);
    each_is(&plant.makes, |made| made.map(1), &factory);

    // A wish that was released is none.
    plant.set_each(72.5).await;
    plant.each_stands("inSync", "active").await;
    for made in &plant.makes {
        let released = plant
            .device
            .ask("DELETE", &super::setpoint(made, 1), &Value::Null)
            .await;
        released.is(204);
    }
    plant.each_is_asked(20).await;
    turn_each(&plant, 300);
    plant.each_is_asked(20).await;
    plant.kill_agent().await;
    plant.start_agent().await;
    plant.each_is_asked(20).await;
    each_is(
        &plant.makes,
        |made| (made.writes(), made.shows(1)),
        &(1, 300),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_never_writes_whatever_differs() {
    let plant = Plant::new().await;
    let before = plant.makes[0].map(1);
    plant
        .wish_each(&json!({ "value": 72.5, "policy": "observe" }))
        .await;
    plant.each_stands("drifting", "active").await;
    ask_everything(&plant).await;
    plant.passes(10).await;
    // It computes what it would write, and does not.
    plant.tune(&json!({ "shadow": true })).await;
    plant.set_each(72.5).await;
    let shown = plant.each_stands("drifting", "paused").await;
    for shown in shown {
        let why = shown["why"].as_str().unwrap_or_default();
        assert_eq!(why, "shadow mode: 72.5 would be written");
    }
    ask_everything(&plant).await;
    plant.passes(10).await;
    each_is(&plant.makes, Made::writes, &0);
    each_is(&plant.makes, |made| made.map(1), &before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_did_not_change_is_not_touched() {
    let mut plant = Plant::new().await;
    plant.set_each(72.5).await;
    plant.each_stands("inSync", "active").await;
    let gate = Gate::to(plant.hub.addr()).await;
    plant.agent.stop().await;
    plant.agent = plant.device.agent(&plant.hub).through(gate.url()).started();
    plant.site = plant.agent.on_site().await;
    plant.each_stands("inSync", "active").await;
    plant.each_is_asked(1).await;
    let touched = |made: &Made| (made.writes(), made.connections());
    each_is(&plant.makes, touched, &(1, 2));

    let sensors = plant.device.wanted().await;
    for _ in 0..100 {
        plant.set_each(72.5).await;
        plant.device.put(&sensors).await.good("the same again");
    }
    for _ in 0..3 {
        let accepted = gate.accepted();
        gate.cut();
        eventually("the agent comes back", async || {
            if gate.accepted() > accepted {
                Ok(())
            } else {
                Err(accepted.to_string())
            }
        })
        .await;
        ask_everything(&plant).await;
    }
    plant.each_stands("inSync", "active").await;
    plant.passes(10).await;
    each_is(&plant.makes, touched, &(1, 2));

    // What an adapter takes while it runs restarts nobody; what it does not restarts one alone.
    for made in &plant.makes {
        let fields = json!({ "pollInterval": 150, "metadata": { "hall": 3 } });
        plant.device.patch(made.name, &fields).await;
    }
    plant.device.settled_now().await;
    plant.passes(10).await;
    each_is(&plant.makes, touched, &(1, 2));
    for changed in 0..plant.makes.len() {
        let before: Vec<_> = plant.makes.iter().map(touched).collect();
        let made = &plant.makes[changed];
        let mut connection = plant.device.row(made.name).await["connection"].clone();
        connection["timeoutMs"] = json!(2_100);
        plant
            .device
            .patch(made.name, &json!({ "connection": connection }))
            .await;
        plant.device.settled_now().await;
        plant.each_is_asked(10).await;
        let mut expected = before;
        expected[changed].1 += 1;
        let found: Vec<_> = plant.makes.iter().map(touched).collect();
        assert_eq!(found, expected, "{} was changed", plant.makes[changed].name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_written_outside_the_tolerance_only_and_within_the_budget() {
    let plant = Plant::with(&[Habit::Obeys], 0, |_, sensor| {
        sensor["dataPoints"][1]["writeBudget"] = json!({ "perDay": 4 });
    })
    .await;
    plant
        .wish_each(&json!({ "value": 72.5, "tolerance": { "absolute": 0.5 } }))
        .await;
    plant.each_stands("inSync", "active").await;
    let found = |made: &Made| (made.writes(), made.shows(1));
    each_is(&plant.makes, found, &(1, 725));
    for inside in [720, 729] {
        turn_each(&plant, inside);
        plant.passes(10).await;
        each_is(&plant.makes, found, &(1, inside));
    }
    for (outside, writes) in [(731, 2), (719, 3), (600, 4)] {
        turn_each(&plant, outside);
        for made in &plant.makes {
            made.until("it is put back", || made.writes() == writes)
                .await;
        }
        plant.each_stands("inSync", "active").await;
        each_is(&plant.makes, found, &(writes, 725));
    }
    turn_each(&plant, 600);
    for shown in plant.each_stands("drifting", "blocked").await {
        let why = shown["why"].as_str().unwrap_or_default();
        assert!(why.contains("the write budget is used up"), "{why}");
    }
    plant.passes(10).await;
    each_is(&plant.makes, found, &(4, 600));
}

/// Gives a command, and waits for the word on it if it is to.
async fn command(plant: &Plant, made: &Made, point: &str, key: &str, wait: bool) -> Value {
    let device = &plant.device;
    let body = json!({
        "sensor": made.name, "point": point, "value": 7, "reason": "after the alarm", "validForMs": 3_600_000,
    });
    let request = device.operator.request("POST", &device.path("/commands"));
    let request = request.header("idempotency-key", key);
    let request = if wait {
        request.header("prefer", "wait=20")
    } else {
        request
    };
    send(request.json(&body)).await.good("a command")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pulse_or_a_command_is_carried_out_once_and_no_state() {
    const PLACES: [(&str, u16); 2] = [("pulse", 195), ("command", 196)];
    let mut plant = Plant::with(&[Habit::Obeys], 250, |_, sensor| {
        sensor["pollInterval"] = json!(1_000);
        let points = sensor["dataPoints"].as_array_mut().expect("a list");
        points.extend(PLACES.map(|(kind, address)| {
            json!({ "name": kind, "kind": kind, "table": "holding", "address": address, "dataType": "uint16",
                    "writable": true })
        }));
    })
    .await;
    for made in &plant.makes {
        for (kind, address) in PLACES {
            let key = format!("{}-{kind}", made.name);
            let done = command(&plant, made, kind, &key, true).await;
            assert_eq!(done["outcome"], "verified", "{}: {done:#}", made.name);
            assert_eq!(command(&plant, made, kind, &key, true).await, done);
            // It falls back.
            made.put(1, address, 0);
        }
    }
    plant.each_is_asked(6).await;
    each_is(&plant.makes, Made::writes, &2);
    for (_, address) in PLACES {
        each_is(&plant.makes, |made| made.register(1, address), &0);
    }

    // Killed while one is under way.
    for index in 0..plant.makes.len() {
        let made = &plant.makes[index];
        let given = command(&plant, made, "pulse", &format!("{index}"), false).await;
        made.until("it is under way", || made.writes() == 3).await;
        plant.kill_agent().await;
        plant.start_agent().await;
        let path = format!("/commands/{}", given["id"].as_str().expect("an id"));
        eventually("the agent gives its word", async || {
            let shown = plant.device.get(&path).await;
            if shown["outcome"] == "outcomeUnknown" {
                Ok(())
            } else {
                Err(shown.to_string())
            }
        })
        .await;
    }
    plant.each_is_asked(6).await;
    each_is(&plant.makes, Made::writes, &3);
    each_is(&plant.makes, |made| made.shows(1), &register(1));
}
