//! The value loop, end to end: a value is set at the hub, written on the wire by the real agent, read back, and held.

use std::time::Duration;

use holdfast_device_sim::modbus::{Faults, WriteRule};
use serde_json::{Value, json};

use crate::support::{device::Device, hub::Hub, instrument::Instrument, wait::eventually};

on_both_stores!(
    a_value_is_set_verified_and_held,
    nothing_is_written_while_the_device_is_stopped,
    an_instrument_that_does_nothing_is_never_in_sync,
    a_wish_waits_for_an_instrument_that_is_away,
    killing_everything_forgets_no_wish,
    a_value_is_held_on_a_serial_line_whose_adapter_is_pulled,
);

const SETPOINT: &str = "/setpoints/boiler/target";

/// A boiler on a device whose agent runs, and looks at outputs ten times a second.
pub(crate) async fn boiler(hub: &Hub) -> (Instrument, Device) {
    let boiler = Instrument::start().await.that_is_set();
    let device = hub.device("plant").await;
    device.add(&boiler.sensor("boiler")).await;
    let tuned = device
        .ask("PATCH", "/reconciliation", &json!({ "intervalMs": 100 }))
        .await;
    tuned.good("another interval");
    (boiler, device)
}

pub(crate) async fn set(device: &Device, value: f64) -> Value {
    let body = json!({ "value": value, "reason": "winter" });
    device.ask("PUT", SETPOINT, &body).await.good("a wish")
}

/// Waits until the setpoint stands like this.
pub(crate) async fn stands(device: &Device, conformity: &str, hold: &str) -> Value {
    eventually(
        &format!("the setpoint is {conformity} and {hold}"),
        async || {
            let shown = device.get(SETPOINT).await;
            if shown["conformity"] == conformity && shown["hold"] == hold {
                Ok(shown)
            } else {
                Err(shown.to_string())
            }
        },
    )
    .await
}

async fn a_value_is_set_verified_and_held(hub: Hub) {
    let (boiler, device) = boiler(&hub).await;
    let _agent = device.agent(&hub).started();
    device.settled(1).await;
    assert_eq!(
        (boiler.target(), boiler.writes()),
        (101, 0),
        "nothing is written that nobody asked for"
    );
    let (version, row) = (
        device.target().await["version"].clone(),
        device.row("boiler").await,
    );

    set(&device, 72.5).await;
    let shown = stands(&device, "inSync", "active").await;
    assert_eq!((boiler.target(), boiler.writes()), (725, 1));
    assert_eq!(
        (&shown["value"], &shown["shownValue"], &shown["writes"]),
        (&json!(72.5), &json!(72.5), &json!(1))
    );
    assert_eq!(device.events_of("setpoint.verified").await.len(), 1);
    assert_eq!(device.target().await["version"], version);
    assert_eq!(
        device.row("boiler").await["configVersion"],
        row["configVersion"]
    );

    boiler.is_read(20).await;
    assert_eq!(boiler.writes(), 1, "in sync, so nothing is written");

    boiler.turn(600);
    let drifted = eventually("the change by hand is told", async || {
        let told = device.events_of("setpoint.drifted").await;
        told.first().cloned().ok_or_else(|| "no event".to_owned())
    })
    .await;
    let payload = &drifted["payload"];
    assert_eq!(
        (&payload["before"], &payload["after"], &payload["wanted"]),
        (&json!(72.5), &json!(60.0), &json!(72.5))
    );
    stands(&device, "inSync", "active").await;
    assert_eq!((boiler.target(), boiler.writes()), (725, 2));

    let released = device.ask("DELETE", SETPOINT, &Value::Null).await;
    assert_eq!(released.status, 204);
    boiler.is_read(20).await;
    boiler.turn(300);
    boiler.is_read(20).await;
    assert_eq!(
        (boiler.target(), boiler.writes()),
        (300, 2),
        "released, it is left alone"
    );
}

async fn nothing_is_written_while_the_device_is_stopped(hub: Hub) {
    let (boiler, device) = boiler(&hub).await;
    let _agent = device.agent(&hub).started();
    device.settled(1).await;
    set(&device, 72.5).await;
    stands(&device, "inSync", "active").await;

    let stop = json!({ "reason": "belt change" });
    device
        .ask("POST", "/reconciliation/stop", &stop)
        .await
        .good("a stop");
    stands(&device, "inSync", "paused").await;
    boiler.turn(600);
    stands(&device, "drifting", "paused").await;
    set(&device, 80.0).await;
    stands(&device, "drifting", "paused").await;
    boiler.is_read(20).await;
    assert_eq!((boiler.target(), boiler.writes()), (600, 1));

    device
        .ask("POST", "/reconciliation/start", &json!({}))
        .await
        .good("a start");
    stands(&device, "inSync", "active").await;
    assert_eq!((boiler.target(), boiler.writes()), (800, 2));
}

async fn an_instrument_that_does_nothing_is_never_in_sync(hub: Hub) {
    let (boiler, device) = boiler(&hub).await;
    boiler.set_faults(Faults::writing(WriteRule::Ignore));
    let _agent = device.agent(&hub).started();
    device.settled(1).await;
    set(&device, 72.5).await;
    let shown = stands(&device, "deviates", "active").await;
    let why = shown["why"].as_str().unwrap_or_default();
    assert!(why.contains("acknowledged 72.5 and shows 10.1"), "{why}");
    assert_eq!(device.events_of("setpoint.verified").await.len(), 0);
    boiler.clear_faults();
    stands(&device, "inSync", "active").await;
}

async fn a_wish_waits_for_an_instrument_that_is_away(hub: Hub) {
    let (boiler, device) = boiler(&hub).await;
    let _agent = device.agent(&hub).started();
    device.settled(1).await;
    boiler.unplug().await.expect("it can be unplugged");
    device.health("boiler", "offline").await;
    set(&device, 72.5).await;
    let shown = stands(&device, "unknown", "unreachable").await;
    assert!(shown["why"].is_string(), "{shown}");
    boiler.plug().await.expect("its port is free");
    stands(&device, "inSync", "active").await;
    assert_eq!((boiler.target(), boiler.writes()), (725, 1));
}

async fn killing_everything_forgets_no_wish(mut hub: Hub) {
    let (boiler, device) = boiler(&hub).await;
    let mut agent = device.agent(&hub).started();
    device.settled(1).await;
    set(&device, 72.5).await;
    stands(&device, "inSync", "active").await;
    agent.kill().await;
    hub.kill_server().await;
    boiler.turn(0);
    // With no hub in reach: the agent holds what it was asked to.
    agent.start();
    boiler.wait_until(|_| boiler.target() == 725).await;
    assert_eq!(boiler.writes(), 2);
    hub.bring_up().await;
    let mut device = device;
    device.moved_to(&hub);
    stands(&device, "inSync", "active").await;
    tokio::time::timeout(Duration::from_secs(60), boiler.is_read(20))
        .await
        .expect("it is read on");
    assert_eq!((boiler.target(), boiler.writes()), (725, 2));
}

async fn a_value_is_held_on_a_serial_line_whose_adapter_is_pulled(hub: Hub) {
    let boiler = Instrument::on_line().await.that_is_set();
    let device = hub.device("plant").await;
    device.add(&boiler.sensor("boiler")).await;
    let tuned = device
        .ask("PATCH", "/reconciliation", &json!({ "intervalMs": 100 }))
        .await;
    tuned.good("another interval");
    let _agent = device.agent(&hub).started();
    device.settled(1).await;
    set(&device, 72.5).await;
    stands(&device, "inSync", "active").await;
    assert_eq!((boiler.target(), boiler.writes()), (725, 1));

    boiler.unplug().await.expect("a line can be pulled");
    let hold = eventually("the setpoint is unreachable", async || {
        let shown = device.get(SETPOINT).await;
        if shown["hold"] == "unreachable" {
            Ok(shown)
        } else {
            Err(shown.to_string())
        }
    });
    hold.await;
    let health = eventually("the port is said to be gone", async || {
        let row = device.row("boiler").await;
        let reason = row["health"]["reason"].as_str().unwrap_or_default();
        if reason.contains("No such file or directory") {
            Ok(reason.to_owned())
        } else {
            Err(row.to_string())
        }
    });
    let health = health.await;
    assert!(health.starts_with("open /"), "{health}");

    boiler.turn(600);
    boiler.plug().await.expect("the line is back");
    stands(&device, "inSync", "active").await;
    eventually("it is held again", async || {
        if boiler.target() == 725 {
            Ok(())
        } else {
            Err(format!(
                "{} after {} writes",
                boiler.target(),
                boiler.writes()
            ))
        }
    })
    .await;
    assert_eq!(boiler.writes(), 2);
}
