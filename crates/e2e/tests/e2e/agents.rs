//! The real agent on real Modbus TCP: only what changed is touched, nothing that was asked for is lost, and one sensor's
//! trouble is not another's.

use std::time::Duration;

use holdfast_device_sim::modbus::Faults;
use serde_json::{Value, json};

use crate::support::{
    device::{Device, number},
    hub::Hub,
    instrument::Instrument,
    wait::eventually,
};

on_both_stores!(
    only_what_changed_is_touched,
    names_are_for_people,
    a_target_that_comes_during_a_pass_is_not_lost,
    an_item_that_cannot_be_done_fails_alone,
    one_dead_instrument_delays_no_other,
);

async fn plant<const COUNT: usize>(hub: &Hub) -> (Device, [Instrument; COUNT]) {
    let device = hub.device("plant").await;
    let mut instruments = Vec::new();
    for index in 0..COUNT {
        let instrument = Instrument::start().await;
        device
            .add(&instrument.sensor(&format!("sensor-{index}")))
            .await;
        instruments.push(instrument);
    }
    let instruments = instruments
        .try_into()
        .unwrap_or_else(|_| unreachable!("as many as were asked for"));
    (device, instruments)
}

async fn only_what_changed_is_touched(hub: Hub) {
    let (device, [kept, changed, other]) = plant(&hub).await;
    let mut agent = device.agent(&hub).started();
    device.settled(3).await;
    let connections = || [&kept, &changed, &other].map(|instrument| instrument.connections());
    assert_eq!(connections(), [1, 1, 1]);

    // What an adapter takes while it runs does not restart it: the interval, the name, another point.
    device
        .patch("sensor-1", &json!({ "pollInterval": 50 }))
        .await;
    device.settled(4).await;
    let mut points = device.row("sensor-1").await["dataPoints"].take();
    let more = json!({ "name": "more", "table": "holding", "address": 105, "dataType": "uint16" });
    points
        .as_array_mut()
        .expect("a sensor has points")
        .push(more);
    device
        .patch(
            "sensor-1",
            &json!({ "dataPoints": points, "name": "renamed" }),
        )
        .await;
    device.settled(5).await;
    assert_eq!(connections(), [1, 1, 1]);

    // What was read comes to the hub, the new point too.
    let values = eventually("values of all points", async || {
        let points = device.operator.all(&device.path("/points")).await;
        let of_changed: Vec<Value> = points
            .into_iter()
            .filter(|point| point["sensorName"] == "renamed")
            .collect();
        let is_read = |point: &Value| point["quality"] != "unread";
        if of_changed.len() == 3 && of_changed.iter().all(is_read) {
            Ok(of_changed)
        } else {
            Err(format!("{of_changed:#?}"))
        }
    })
    .await;
    for (name, value) in [
        ("temperature", json!(10.0)),
        ("target", json!(10.1)),
        ("more", json!(105)),
    ] {
        let point = values
            .iter()
            .find(|point| point["name"] == name)
            .unwrap_or_else(|| panic!("no point {name}"));
        let found = point["value"].as_f64().zip(value.as_f64());
        assert!(
            found.is_some_and(|(found, value)| (found - value).abs() < 1e-9),
            "{point:#}"
        );
        assert_eq!(point["quality"], "good", "{point:#}");
    }

    // One that moves restarts, alone; one that is switched off lets go of its instrument.
    let moved_to = Instrument::start().await;
    let port = moved_to.local_addr().port();
    device
        .patch("renamed", &json!({ "connection": { "port": port } }))
        .await;
    device.settled(6).await;
    assert_eq!(moved_to.connections(), 1);
    device.patch("sensor-2", &json!({ "enabled": false })).await;
    device.settled(7).await;
    for left in [&changed, &other] {
        eventually("what is not wanted is let go", async || {
            match left.totals().connections_open {
                0 => Ok(()),
                open => Err(format!("{open} connections")),
            }
        })
        .await;
    }
    assert_eq!(connections(), [1, 1, 1]);

    // The last sensors go like any other.
    for (version, sensor) in [(8, "sensor-0"), (9, "renamed"), (10, "sensor-2")] {
        assert_eq!(device.remove(sensor).await, version);
    }
    device.settled(10).await;
    assert!(device.rows().await.is_empty());
    assert_eq!(
        device.get("/current-state").await["config"]["protocolAdapterDevices"],
        json!([])
    );
    device.is_told_by_its_events().await;
    agent.stop().await;
}

async fn names_are_for_people(hub: Hub) {
    let (device, [first, second]) = plant(&hub).await;
    let mut agent = device.agent(&hub).started();
    device.settled(2).await;

    // Two sensors swap their names: both stay what they are.
    let mut sensors = device.wanted().await;
    let ids: Vec<Value> = sensors.iter().map(|sensor| sensor["id"].clone()).collect();
    (sensors[0]["name"], sensors[1]["name"]) =
        (sensors[1]["name"].clone(), sensors[0]["name"].clone());
    device.put(&sensors).await.good("swapping names");
    device.settled(3).await;
    for (name, id, instrument) in [
        ("sensor-1", &ids[0], &first),
        ("sensor-0", &ids[1], &second),
    ] {
        let row = device.row(name).await;
        assert_eq!(row["id"], *id);
        assert_eq!(row["connection"]["port"], instrument.local_addr().port());
        assert_eq!(
            instrument.connections(),
            1,
            "a name is not content that an adapter restarts for"
        );
    }

    // One is deleted and another made under the same name: another sensor, and the old one is gone.
    let mut watch = device.watch().await;
    let old = ids[0].as_str().expect("an id");
    device.remove("sensor-1").await;
    let new = device.add(&first.sensor("sensor-1")).await;
    assert_ne!(new, old);
    watch.until_sensor("sensor.removed", old).await;
    device.settled(5).await;
    assert_eq!(device.row("sensor-1").await["id"], json!(new));
    assert_eq!(device.running().await, ["sensor-0", "sensor-1"]);
    assert_eq!(second.connections(), 1);
    device.is_told_by_its_events().await;
    agent.stop().await;
}

async fn a_target_that_comes_during_a_pass_is_not_lost(hub: Hub) {
    let (device, [quick]) = plant(&hub).await;
    let slow = Instrument::start().await;
    slow.set_faults(Faults::slow(Duration::from_millis(700)));
    let mut agent = device.agent(&hub).started();
    device.settled(1).await;

    let mut watch = device.watch().await;
    let id = device.add(&slow.sensor("slow")).await;
    watch.until_sensor("sensor.reconciling", &id).await;
    // The agent is at work on it; what comes now waits for nothing and is not forgotten.
    let others = [
        Instrument::start().await,
        Instrument::start().await,
        Instrument::start().await,
    ];
    for (index, instrument) in others.iter().enumerate() {
        device
            .add(&instrument.sensor(&format!("other-{index}")))
            .await;
    }
    device
        .patch("sensor-0", &json!({ "pollInterval": 200 }))
        .await;
    device.settled(6).await;
    let connections: Vec<u64> = others
        .iter()
        .chain([&quick, &slow])
        .map(|instrument| instrument.connections())
        .collect();
    assert_eq!(
        connections,
        [1, 1, 1, 1, 1],
        "what was under way was not cancelled, nothing was done twice"
    );
    assert_eq!(number(&device.row("sensor-0").await, "pollInterval"), 200);
    device.is_told_by_its_events().await;
    agent.stop().await;
}

async fn an_item_that_cannot_be_done_fails_alone(hub: Hub) {
    let (device, [good]) = plant(&hub).await;
    let mqtt = json!({
        "name": "broker", "protocol": "mqtt", "connection": { "host": "127.0.0.1" },
        "dataPoints": [{ "name": "state", "topic": "plant/state" }],
    });
    device.add(&mqtt).await;
    let mut agent = device.agent(&hub).started();
    let row = device.row_in("broker", "failed").await;
    let error = row["deploymentError"]
        .as_str()
        .expect("a failure has a reason");
    assert!(error.contains("mqtt"), "{error}");
    device.row_in("sensor-0", "deployed").await;

    // Switched off it needs no adapter.
    device.patch("broker", &json!({ "enabled": false })).await;
    device.settled(3).await;
    assert_eq!(good.connections(), 1);

    // Asked to look again, the agent does so and says what differs, which is nothing.
    let request = device
        .operator
        .request("POST", &device.path("/reconcile"))
        .header("prefer", "wait=30");
    let answer = crate::support::client::send(request)
        .await
        .good("looking again");
    assert_eq!(answer["result"], "reconciled", "{answer:#}");
    assert_eq!(good.connections(), 1);
    agent.stop().await;
}

async fn one_dead_instrument_delays_no_other(hub: Hub) {
    let (device, [alive, dead]) = plant(&hub).await;
    let line = Instrument::with_units(&[1, 2]).await;
    for unit in [1, 2] {
        let mut sensor = line.sensor_of_unit(&format!("unit-{unit}"), unit);
        sensor["connection"]["timeoutMs"] = json!(200);
        device.add(&sensor).await;
    }
    let mut agent = device.agent(&hub).started();
    device.settled(4).await;

    dead.set_faults(Faults::silent());
    line.set_unit_faults(2, Faults::silent());
    for sensor in ["sensor-1", "unit-2"] {
        let row = device.health(sensor, "offline").await;
        assert!(row["health"]["reason"].is_string(), "{row:#}");
        assert_eq!(
            row["deploymentStatus"], "deployed",
            "once established, silence changes only health"
        );
    }
    // On links of their own they do not know of each other: the time between two readings stays far below the time
    // that the dead one is waited for.
    let _ = alive.take_journal();
    alive.is_read(30).await;
    let times: Vec<Duration> = alive
        .take_journal()
        .iter()
        .map(|request| request.at)
        .collect();
    let longest = times
        .windows(2)
        .map(|two| two[1] - two[0])
        .max()
        .expect("it was read often");
    assert!(
        longest < Duration::from_millis(900),
        "not read for {longest:?}"
    );
    // On a shared line the dead one costs one probe now and then.
    let dead_before = line.unit_counts(2).requests();
    line.wait_for_more_requests(1, 40).await;
    let probes = line.unit_counts(2).requests() - dead_before;
    assert!(
        probes <= 10,
        "{probes} probes of a dead unit while its neighbour was read 40 times"
    );

    dead.clear_faults();
    line.clear_faults();
    for sensor in ["sensor-1", "unit-2", "unit-1", "sensor-0"] {
        device.health(sensor, "online").await;
    }
    device.settled(4).await;
    agent.stop().await;
}
