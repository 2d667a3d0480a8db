//! Stop, pause and start: recorded before they act, with who and why; then nothing is written, and looking goes on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Plant;
use crate::support::{
    client::send,
    makes::{Habit, Made, each_is},
};

/// The register of the output that goes to a safe value.
const VALVE: u16 = 192;

/// Starts or stops, and waits until the agent has confirmed it.
async fn order(plant: &Plant, what: &str, body: &Value) -> Value {
    let device = &plant.device;
    let path = device.path(&format!("/reconciliation/{what}"));
    let request = device.operator.request("POST", &path);
    send(request.header("prefer", "wait=30").json(body))
        .await
        .good(what)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_what_is_under_way_goes_to_the_safe_value_once_and_then_nothing() {
    let mut plant = Plant::with(&[Habit::Obeys], 200, |_, sensor| {
        sensor["pollInterval"] = json!(1_000);
        let points = sensor["dataPoints"].as_array_mut().expect("a list");
        points.push(json!({
            "name": "valve", "table": "holding", "address": VALVE, "dataType": "int16", "writable": true,
            "safeValue": 5, "onStop": "safeValue",
        }));
    })
    .await;
    for made in &plant.makes {
        let valve = format!("/setpoints/{}/valve", made.name);
        let wish = json!({ "value": 50 });
        plant.device.ask("PUT", &valve, &wish).await.good("a wish");
    }
    for made in &plant.makes {
        made.until("the valve is open", || made.register(1, VALVE) == 50)
            .await;
    }
    each_is(&plant.makes, Made::writes, &1);

    plant.set_each(72.5).await;
    for made in &plant.makes {
        made.until("a write is under way", || made.writes() == 2)
            .await;
    }
    let unsaid = plant
        .device
        .ask("POST", "/reconciliation/stop", &json!({}))
        .await;
    unsaid.refused(422, "reason");
    let stopped = order(&plant, "stop", &json!({ "reason": "belt change" })).await;
    assert_eq!(
        (&stopped["requested"], &stopped["confirmed"]),
        (&json!("stopped"), &json!("stopped")),
        "{stopped:#}"
    );
    // What was under way has ended and was read back, and the valve is where it is safe: before it was confirmed.
    let found = |made: &Made| (made.writes(), made.shows(1), made.register(1, VALVE));
    each_is(&plant.makes, found, &(3, 725, 5));
    plant.each_stands("inSync", "paused").await;
    let told = plant.device.events_of("reconciliation.stopped").await;
    assert_eq!(
        (told.len(), &told[0]["payload"]["reason"]),
        (1, &json!("belt change"))
    );

    for made in &plant.makes {
        made.turn(1, 600);
        made.put(1, VALVE, 7);
    }
    plant.each_stands("drifting", "paused").await;
    plant.kill_agent().await;
    plant.start_agent().await;
    plant.set_each(80.0).await;
    plant.each_stands("drifting", "paused").await;
    plant.passes(3).await;
    each_is(&plant.makes, found, &(3, 600, 7));

    let started = order(&plant, "start", &json!({})).await;
    assert_eq!(started["confirmed"], "active", "{started:#}");
    plant.each_stands("inSync", "active").await;
    for made in &plant.makes {
        made.until("the valve is open again", || made.register(1, VALVE) == 50)
            .await;
    }
    each_is(&plant.makes, found, &(5, 800, 50));
    // Started already: answered at once, and nothing happens.
    let events = plant.device.events_of("reconciliation.started").await;
    let began = Instant::now();
    let again = order(&plant, "start", &json!({})).await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "it took {:?}",
        began.elapsed()
    );
    assert_eq!(again["revision"], started["revision"]);
    plant.passes(3).await;
    let after = plant.device.events_of("reconciliation.started").await;
    assert_eq!(after, events);
    each_is(&plant.makes, found, &(5, 800, 50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_of_one_sensor_is_one_of_that_alone_and_ends_by_itself() {
    let plant = Plant::new().await;
    plant.set_each(72.5).await;
    plant.each_stands("inSync", "active").await;
    for (paused, writes) in plant.makes.iter().zip([2, 3, 4]) {
        let sensor = plant.device.row(paused.name).await["id"].clone();
        let pause = json!({ "sensorId": sensor, "reason": "cleaning", "forMs": 3_600_000 });
        let pause = plant.device.ask("POST", "/pauses", &pause).await;
        pause.is(201);
        plant.stands(paused, 1, "inSync", "paused").await;
        let before = paused.writes();
        for made in &plant.makes {
            made.turn(1, 600);
        }
        for made in plant.makes.iter().filter(|made| made.name != paused.name) {
            made.until("it is put back", || made.writes() == writes)
                .await;
            plant.stands(made, 1, "inSync", "active").await;
        }
        plant.stands(paused, 1, "drifting", "paused").await;
        plant.passes(10).await;
        assert_eq!(
            (paused.writes(), paused.shows(1)),
            (before, 600),
            "{} is paused",
            paused.name
        );
        let id = pause.body["id"].as_str().expect("a pause has an id");
        let lifted = plant
            .device
            .ask("DELETE", &format!("/pauses/{id}"), &Value::Null)
            .await;
        lifted.is(204);
        plant.stands(paused, 1, "inSync", "active").await;
        assert_eq!(paused.writes(), writes, "{}", paused.name);
    }
    // The next one ends by itself.
    let made = &plant.makes[1];
    let sensor = plant.device.row(made.name).await["id"].clone();
    let pause = json!({ "sensorId": sensor, "reason": "cleaning", "forMs": 500 });
    plant.device.ask("POST", "/pauses", &pause).await.is(201);
    made.turn(1, 600);
    plant.stands(made, 1, "inSync", "active").await;
    made.until("it is put back", || made.shows(1) == 725).await;
}
