//! Pulses and commands, end to end: given at the hub, written once on the wire by the real agent, and a word on each.

use holdfast_device_sim::modbus::{Faults, Table, WriteRule};
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::{
    client::{Answer, send},
    device::Device,
    hub::Hub,
    instrument::Instrument,
    wait::eventually,
};

on_both_stores!(
    a_pulse_is_written_once_and_told,
    what_comes_late_is_never_written,
    what_was_under_way_when_the_agent_was_killed_is_never_repeated,
    nothing_is_begun_while_it_is_stopped,
    a_level_is_set_and_held,
    what_was_not_begun_can_be_cancelled,
);

/// The register of the pulse.
const RESET: u16 = 103;

/// A boiler with a pulse, on a device.
async fn boiler(hub: &Hub) -> (Instrument, Device) {
    let boiler = Instrument::start().await.that_is_set();
    let device = hub.device("plant").await;
    let mut sensor = boiler.sensor("boiler");
    let points = sensor["dataPoints"].as_array_mut().expect("a list");
    points.push(json!({
        "name": "reset", "kind": "pulse", "table": "holding", "address": RESET, "dataType": "uint16", "writable": true,
    }));
    device.add(&sensor).await;
    (boiler, device)
}

fn writes(boiler: &Instrument) -> u64 {
    boiler.writes_of(1, Table::Holding, RESET)
}

fn reset(value: u16) -> Value {
    json!({ "sensor": "boiler", "point": "reset", "value": value, "reason": "after the alarm" })
}

/// Sends a command with a key, and waits for what becomes of it.
async fn ask(device: &Device, body: &Value, key: &str) -> Answer {
    let request = device.operator.request("POST", &device.path("/commands"));
    let request = request
        .header("prefer", "wait=20")
        .header("idempotency-key", key);
    send(request.json(body)).await
}

/// Waits for the agent's word on a command.
async fn word(device: &Device, command: &Value) -> Value {
    let path = format!("/commands/{}", command["id"].as_str().expect("an id"));
    eventually("the agent gives its word", async || {
        let shown = device.get(&path).await;
        if shown["outcome"].is_string() {
            Ok(shown)
        } else {
            Err(shown.to_string())
        }
    })
    .await
}

async fn a_pulse_is_written_once_and_told(hub: Hub) {
    let (boiler, device) = boiler(&hub).await;
    let _agent = device.agent(&hub).started();
    device.settled(1).await;
    let done = ask(&device, &reset(7), "first").await.good("a command");
    assert_eq!(
        (&done["outcome"], &done["shownValue"]),
        (&json!("verified"), &json!(7)),
        "{done:#}"
    );
    assert_eq!(
        (&done["kind"], &done["setBy"], &done["why"]),
        (&json!("pulse"), &done["setBy"], &Value::Null)
    );
    assert!(done["tookMs"].is_u64(), "{done:#}");
    let again = ask(&device, &reset(7), "first")
        .await
        .good("the same command");
    assert_eq!(again, done);
    assert_eq!(writes(&boiler), 1);
    ask(&device, &reset(8), "first")
        .await
        .refused(422, "Idempotency-Key");

    // What falls back is no state: nobody writes it again.
    boiler
        .set_registers(1, Table::Holding, RESET, &[0])
        .expect("it is there");
    boiler.is_read(20).await;
    assert_eq!(writes(&boiler), 1);

    boiler.set_faults(Faults::writing(WriteRule::Ignore));
    let unverified = ask(&device, &reset(9), "second").await.good("a command");
    assert_eq!(
        unverified["outcome"], "acknowledgedUnverified",
        "{unverified:#}"
    );
    assert!(
        unverified["why"]
            .as_str()
            .is_some_and(|why| why.contains("it shows 0")),
        "{unverified:#}"
    );
    let listed = device.operator.all(&device.path("/commands")).await;
    assert_eq!(listed, [unverified, done]);
    for kind in ["command.verified", "command.acknowledged_unverified"] {
        assert_eq!(device.events_of(kind).await.len(), 1, "{kind}");
    }
    assert_eq!(device.events_of("command.requested").await.len(), 2);
    assert_eq!(device.events_of("setpoint.set").await.len(), 0);
}

async fn what_comes_late_is_never_written(hub: Hub) {
    let (boiler, device) = boiler(&hub).await;
    let mut agent = device.agent(&hub).started();
    device.settled(1).await;
    agent.stop().await;
    let mut late = reset(7);
    late["validForMs"] = json!(100);
    let given = device
        .ask("POST", "/commands", &late)
        .await
        .good("a command");
    assert_eq!(given["outcome"], Value::Null);
    let until: jiff::Timestamp = given["until"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a time");
    eventually("its time is over", async || {
        let now = jiff::Timestamp::now();
        if now > until {
            Ok(())
        } else {
            Err(now.to_string())
        }
    })
    .await;
    agent.start();
    let word = word(&device, &given).await;
    assert_eq!(
        (&word["outcome"], writes(&boiler)),
        (&json!("expired"), 0),
        "{word:#}"
    );
    boiler.is_read(20).await;
    assert_eq!(writes(&boiler), 0);
    assert_eq!(device.events_of("command.expired").await.len(), 1);
}

async fn what_was_under_way_when_the_agent_was_killed_is_never_repeated(hub: Hub) {
    let (boiler, device) = boiler(&hub).await;
    let mut agent = device.agent(&hub).started();
    device.settled(1).await;
    // It does what it is asked to, and takes its time to say so.
    boiler.set_faults(Faults::slow(Duration::from_millis(900)));
    let mut long = reset(7);
    long["validForMs"] = json!(3_600_000);
    let given = device
        .ask("POST", "/commands", &long)
        .await
        .good("a command");
    boiler.wait_until(|_| writes(&boiler) == 1).await;
    agent.kill().await;
    boiler.clear_faults();
    agent.start();
    let word = word(&device, &given).await;
    assert_eq!(word["outcome"], "outcomeUnknown", "{word:#}");
    boiler.is_read(20).await;
    assert_eq!(writes(&boiler), 1, "it is still valid, and never repeated");
    assert_eq!(device.events_of("command.outcome_unknown").await.len(), 1);
}

async fn nothing_is_begun_while_it_is_stopped(hub: Hub) {
    let (boiler, device) = boiler(&hub).await;
    let _agent = device.agent(&hub).started();
    device.settled(1).await;
    let stop = json!({ "reason": "belt change" });
    device
        .ask("POST", "/reconciliation/stop", &stop)
        .await
        .good("a stop");
    let refused = ask(&device, &reset(7), "a").await;
    refused.is(409);
    assert!(
        refused.body["detail"]
            .as_str()
            .is_some_and(|why| why.contains("belt change")),
        "{:#}",
        refused.body
    );
    boiler.is_read(20).await;
    assert_eq!(writes(&boiler), 0);
    device
        .ask("POST", "/reconciliation/start", &json!({}))
        .await
        .good("a start");
    eventually("it is started", async || {
        let answer = ask(&device, &reset(7), "b").await;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(answer.body.to_string())
        }
    })
    .await;
    assert_eq!(writes(&boiler), 1);
}

async fn what_was_not_begun_can_be_cancelled(hub: Hub) {
    let (boiler, device) = boiler(&hub).await;
    let cancel = async |command: &Value, wait: &str| {
        let id = command["id"].as_str().expect("an id");
        let path = device.path(&format!("/commands/{id}?reason=not%20now"));
        let request = device.operator.request("DELETE", &path);
        send(request.header("prefer", wait)).await
    };
    let mut agent = device.agent(&hub).started();
    device.settled(1).await;
    agent.kill().await;
    // No agent has it.
    let mut long = reset(7);
    long["validForMs"] = json!(600_000);
    let given = device.ask("POST", "/commands", &long).await;
    let given = given.good("a command");
    let asked = cancel(&given, "wait=0").await;
    asked.is(202);
    let _agent = agent.started();
    let told = word(&device, &given).await;
    assert_eq!(told["outcome"], "cancelled", "{told:#}");
    let asked = cancel(&given, "wait=0").await;
    assert_eq!(asked.good("it is so")["outcome"], "cancelled");
    let [event] = &device.events_of("command.cancelled").await[..] else {
        panic!("one event");
    };
    assert_eq!(event["payload"]["cancelling"]["reason"], "not now");

    // What was carried out can't be taken back, and it is said what became of it.
    let done = ask(&device, &reset(8), "a").await.good("a command");
    assert_eq!(done["outcome"], "verified");
    let late = cancel(&done, "wait=20").await;
    late.is(409);
    let detail = late.body["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("verified"), "{detail}");
    assert_eq!(writes(&boiler), 1, "the first never was");

    // What the account of the pulse says is mirrored, although nothing is set there.
    eventually("its writes are told", async || {
        let points = device.operator.all(&device.path("/points")).await;
        let pulse = points.iter().find(|point| point["name"] == "reset");
        let pulse = pulse.expect("it is listed");
        if (&pulse["writes"], pulse["budgetLeft"].is_u64()) == (&json!(1), true) {
            Ok(())
        } else {
            Err(pulse.to_string())
        }
    })
    .await;
}

async fn a_level_is_set_and_held(hub: Hub) {
    let (boiler, device) = boiler(&hub).await;
    let _agent = device.agent(&hub).started();
    device.settled(1).await;
    eventually("its value is known", async || {
        let points = device.operator.all(&device.path("/points")).await;
        let known = points.iter().any(|point| point["value"] == 10.1);
        if known {
            Ok(())
        } else {
            Err(format!("{points:#?}"))
        }
    })
    .await;
    let mut body =
        json!({ "sensor": "boiler", "point": "target", "value": 72.5, "onlyIfValue": 50.0 });
    ask(&device, &body, "a").await.refused(412, "onlyIfValue");
    body["onlyIfValue"] = json!(10.1);
    let done = ask(&device, &body, "b").await.good("a value");
    assert_eq!(
        (&done["id"], &done["outcome"]),
        (&Value::Null, &json!("verified")),
        "{done:#}"
    );
    assert_eq!(done["setpoint"]["hold"], "active");
    assert_eq!(device.get("/setpoints/boiler/target").await["value"], 72.5);
    assert_eq!((boiler.target(), boiler.writes()), (725, 1));
    assert_eq!(
        device.operator.all(&device.path("/commands")).await.len(),
        0
    );
}
