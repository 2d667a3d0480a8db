//! What time brings about: silent agents, drift that lasts, and passes that take longer than their interval. With the
//! reconciler as a process of its own, or several.

use serde_json::{Value, json};

use crate::support::{
    device::Device, hand_made::HandMade, hub::Hub, instrument::made_up_sensor, tables::psql,
    wait::eventually,
};

/// Devices with one running sensor each, and their agents.
async fn devices(hub: &Hub, count: usize) -> Vec<(Device, HandMade)> {
    let mut devices = Vec::new();
    for number in 0..count {
        let device = hub.device(&format!("plant-{number}")).await;
        device.add(&made_up_sensor("boiler")).await;
        let mut agent = HandMade::register(&device).await;
        assert_eq!(agent.run_all().await, "taken");
        devices.push((device, agent));
    }
    devices
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_agent_is_told_of_once_by_all_reconcilers_together() {
    const DEVICES: usize = 12;
    let mut hub = Hub::patient(20).await;
    hub.another_reconciler().await;
    let mut devices = devices(&hub, DEVICES).await;
    for (device, _) in &devices {
        device
            .row_when("boiler", "stale", |row| row["stale"] == true)
            .await;
    }
    for (device, agent) in &mut devices {
        let row = device.row("boiler").await;
        assert_eq!(
            row["deploymentStatus"], "deployed",
            "silence says nothing of what runs: {row:#}"
        );
        assert_eq!(device.get("").await["status"], "silent");
        assert_eq!(device.events_of("device.offline").await.len(), 1);
        // The first word of it, although it says nothing new, brings it back.
        assert_eq!(agent.report(&json!({})).await, "taken");
        assert_eq!(device.row("boiler").await["stale"], false);
        assert_eq!(device.events_of("device.online").await.len(), 1);
        device.is_told_by_its_events().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_that_lasts_is_told_of_once_and_so_is_its_end() {
    let mut hub = Hub::patient(600).await;
    hub.another_reconciler().await;
    let mut devices = devices(&hub, 1).await;
    let (device, agent) = &mut devices[0];
    let mut watch = device.watch().await;
    let id = device.add(&made_up_sensor("pump")).await;
    let event = watch.until_type("device.config_drift").await;
    assert_eq!(event["actor"], "reconciler");
    let sensors = event["payload"]["sensors"].as_array().expect("what drifts");
    assert_eq!(sensors.len(), 1);
    assert_eq!(
        (&sensors[0]["id"], &sensors[0]["name"], &sensors[0]["kind"]),
        (&json!(id), &json!("pump"), &json!("missing"))
    );
    assert_eq!(
        (
            &event["payload"]["targetVersion"],
            &event["payload"]["currentVersion"]
        ),
        (&json!(2), &json!(1))
    );
    // The agent is asked to look again, which does not make it new; several passes later it is still one event.
    watch.until_type("device.look").await;
    let passes = hub.reconciler_metric("holdfast_pass_seconds_count").await;
    eventually("a few more passes", async || {
        let now = hub.reconciler_metric("holdfast_pass_seconds_count").await;
        if now >= passes + 3.0 {
            Ok(())
        } else {
            Err(format!("{now}"))
        }
    })
    .await;
    assert_eq!(device.events_of("device.config_drift").await.len(), 1);

    assert_eq!(agent.run_all().await, "taken");
    let event = watch.until_type("device.reconciled").await;
    assert!(
        event["payload"]["lastedMs"].as_u64() >= Some(1_000),
        "{event:#}"
    );
    assert_eq!(device.events_of("device.reconciled").await.len(), 1);
    device.is_told_by_its_events().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_that_outlasts_its_interval_is_counted_and_loses_nothing() {
    let hub = Hub::patient(600).await;
    let mut devices = devices(&hub, 3).await;
    for (device, _) in &devices {
        device.add(&made_up_sensor("pump")).await;
    }
    // Somebody else keeps the table to himself for a while: whatever pass is under way takes long.
    let database = hub.database().expect("PostgreSQL").to_owned();
    let before = hub.reconciler_metric("holdfast_pass_overruns_total").await;
    let held =
        "BEGIN; LOCK TABLE device_hot IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(2.5); COMMIT";
    let locking = tokio::task::spawn_blocking(move || psql(&database, held));
    locking.await.expect("the lock is let go");
    eventually("the overrun is counted", async || {
        let now = hub.reconciler_metric("holdfast_pass_overruns_total").await;
        if now > before {
            Ok(())
        } else {
            Err(format!("{now} overruns, {before} before"))
        }
    })
    .await;
    for (device, _) in &mut devices {
        eventually("drift is told of", async || {
            let told: Vec<Value> = device.events_of("device.config_drift").await;
            if told.len() == 1 {
                Ok(())
            } else {
                Err(format!("{told:#?}"))
            }
        })
        .await;
    }
}
