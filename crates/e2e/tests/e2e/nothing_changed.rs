//! Nothing changed means nothing happens: the same again, however often, writes no row but "seen", makes no event and
//! restarts nothing.

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::support::{
    device::Device,
    gate::Gate,
    hand_made::HandMade,
    hub::Hub,
    instrument::{Instrument, made_up_sensor},
    tables,
    wait::eventually,
};

on_both_stores!(
    a_thousand_times_the_same,
    it_is_known_when_a_device_was_last_heard_of,
    an_agent_that_reconnects,
);

/// Everything that can be seen of a device, apart from when it was last heard of; on PostgreSQL every row of the
/// database, with the transaction that wrote it.
async fn everything(hub: &Hub, device: &Device) -> (Vec<Value>, Vec<String>) {
    let mut seen = vec![
        device.target().await,
        device.get("/current-state").await,
        device.get("").await,
    ];
    for part in &mut seen {
        for moving in ["lastSeenAt", "sequence"] {
            if let Some(members) = part.as_object_mut() {
                members.remove(moving);
            }
        }
    }
    seen.extend(device.rows().await);
    seen.extend(device.events().await);
    (seen, hub.database().map(tables::dump).unwrap_or_default())
}

/// When the device was last heard of, as the list of devices says.
async fn last_seen(device: &Device) -> String {
    let devices = device.operator.all("/api/v1/devices").await;
    let own = devices
        .iter()
        .find(|one| one["id"] == json!(device.id))
        .expect("it is listed");
    moment(&own["lastSeenAt"])
}

/// A time in a form whose order is that of times: with all its microseconds.
fn moment(time: &Value) -> String {
    let text = time.as_str().unwrap_or_default().trim_end_matches('Z');
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{seconds}.{fraction:0<6}")
}

async fn a_thousand_times_the_same(hub: Hub) {
    const TIMES: usize = 1_000;
    let device = hub.device("plant").await;
    for name in ["a", "b", "c"] {
        device.add(&made_up_sensor(name)).await;
    }
    let mut agent = HandMade::register(&device).await;
    assert_eq!(agent.run_all().await, "taken");
    device.settled(3).await;
    let etag = agent.poll(None).await.header("etag").to_owned();
    let (before, seen_before) = (everything(&hub, &device).await, last_seen(&device).await);

    // Identical reports: heartbeats, and the whole of it again.
    let target = agent.target().await;
    let whole = json!({
        "version": 3, "heldVersion": 3, "config": target["config"], "failures": [], "health": {}, "lookedRevision": 0,
    });
    for time in 0..TIMES {
        let what = if time % 2 == 0 { &json!({}) } else { &whole };
        assert_eq!(agent.report(what).await, "unchanged");
    }
    // Reconnects: each a connection of its own that asks for the target.
    let reconnecting = agent.client.reconnecting();
    let path = format!("/api/v1/device/{}/state", device.id);
    stream::iter(0..TIMES)
        .for_each_concurrent(8, async |_| {
            let request = reconnecting
                .request("GET", &path)
                .header("if-none-match", &etag);
            assert_eq!(crate::support::client::send(request).await.status, 304);
        })
        .await;

    eventually("\"seen\" is written", async || {
        let seen = last_seen(&device).await;
        if seen > seen_before {
            Ok(())
        } else {
            Err(seen)
        }
    })
    .await;
    assert_eq!(everything(&hub, &device).await, before);
}

async fn it_is_known_when_a_device_was_last_heard_of(hub: Hub) {
    let device = hub.device("plant").await;
    let mut agent = HandMade::register(&device).await;
    assert_eq!(agent.run_all().await, "taken");
    let seen_before = last_seen(&device).await;
    assert_eq!(agent.report(&json!({})).await, "unchanged");
    let seen = eventually("the list knows of the heartbeat", async || {
        let seen = last_seen(&device).await;
        if seen > seen_before {
            Ok(seen)
        } else {
            Err(seen)
        }
    })
    .await;
    // Who looks at the device alone is told the same: it is at most some seconds old.
    for view in ["", "/current-state"] {
        eventually("and so does who looks at the device alone", async || {
            let alone = moment(&device.get(view).await["lastSeenAt"]);
            if alone >= seen {
                Ok(())
            } else {
                Err(format!("{seen} in the list, {alone} of {view:?}"))
            }
        })
        .await;
    }
}

async fn an_agent_that_reconnects(hub: Hub) {
    /// The agent waits longer and longer before it comes back to a network that breaks as soon as it does.
    const TIMES: u64 = 4;
    let instruments = [
        Instrument::start().await,
        Instrument::start().await,
        Instrument::start().await,
    ];
    let device = hub.device("plant").await;
    let gate = Gate::to(hub.addr()).await;
    let mut agent = device
        .agent(&hub)
        .through(gate.url())
        .with("HEARTBEAT_S", "1")
        .started();
    for (index, instrument) in instruments.iter().enumerate() {
        device
            .add(&instrument.sensor(&format!("sensor-{index}")))
            .await;
    }
    device.settled(3).await;
    for index in 0..3 {
        device.health(&format!("sensor-{index}"), "online").await;
    }
    let before = everything(&hub, &device).await;

    for _ in 0..TIMES {
        let accepted = gate.accepted();
        gate.cut();
        eventually("the agent comes back", async || {
            if gate.accepted() > accepted {
                Ok(())
            } else {
                Err(format!("{} connections", gate.accepted()))
            }
        })
        .await;
    }
    let heartbeats = hub.server_metric("holdfast_reports_total").await;
    eventually("the agent's heart beats", async || {
        let now = hub.server_metric("holdfast_reports_total").await;
        if now >= heartbeats + 3.0 {
            Ok(())
        } else {
            Err(format!("{now} reports"))
        }
    })
    .await;
    // It is back for good: a change reaches it.
    assert_eq!(everything(&hub, &device).await, before);
    let connections: Vec<u64> = instruments
        .iter()
        .map(|instrument| instrument.connections())
        .collect();
    assert_eq!(connections, [1, 1, 1], "no adapter was restarted");
    device
        .patch("sensor-0", &json!({ "metadata": { "note": "still here" } }))
        .await;
    device.settled(4).await;
    agent.stop().await;
}
