//! Old never overwrites new, also when a hub was restored from a backup that is older than what its agents hold.

use serde_json::{Value, json};

use crate::support::{device::number, hub::Hub, instrument::Instrument};

on_both_stores!(
    an_agent_that_is_ahead_of_its_hub,
    the_same_version_with_other_content
);

async fn an_agent_that_is_ahead_of_its_hub(mut hub: Hub) {
    let boiler = Instrument::start().await;
    let mut device = hub.device("plant").await;
    let mut agent = device.agent(&hub).with("HEARTBEAT_S", "1").started();
    device.add(&boiler.sensor("boiler")).await;
    device
        .patch("boiler", &json!({ "pollInterval": 200 }))
        .await;
    device.settled(2).await;
    let backup = hub.backup().await;
    device.moved_to(&hub);
    for version in 3..=5 {
        assert_eq!(
            device
                .patch("boiler", &json!({ "pollInterval": 100 * version }))
                .await,
            version
        );
    }
    device.settled(5).await;

    // The agent goes on with what it holds until the hub has gone above it; then it has what the hub wants.
    hub.restore(&backup).await;
    device.moved_to(&hub);
    device.settled(6).await;
    assert_eq!(number(&device.row("boiler").await, "pollInterval"), 200);
    let event = device
        .events_of("target_state.updated")
        .await
        .pop()
        .expect("an event");
    assert_eq!(
        (
            number(&event["payload"], "version"),
            number(&event["payload"], "agentHolds")
        ),
        (6, 5)
    );
    assert_eq!(boiler.connections(), 1);
    device.is_told_by_its_events().await;
    agent.stop().await;
}

async fn the_same_version_with_other_content(mut hub: Hub) {
    let boiler = Instrument::start().await;
    let mut device = hub.device("plant").await;
    let mut agent = device.agent(&hub).with("HEARTBEAT_S", "1").started();
    let id = device.add(&boiler.sensor("boiler")).await;
    device.settled(1).await;
    let backup = hub.backup().await;
    device.moved_to(&hub);
    assert_eq!(
        device
            .patch("boiler", &json!({ "pollInterval": 200 }))
            .await,
        2
    );
    device.settled(2).await;
    agent.stop().await;
    hub.restore(&backup).await;
    device.moved_to(&hub);
    let mut watch = device.watch().await;
    assert_eq!(
        device
            .patch("boiler", &json!({ "pollInterval": 300 }))
            .await,
        2,
        "given out a second time"
    );

    // The agent holds another version 2: it refuses this one and says so, with an event. The hub goes on above both.
    agent.start();
    let conflict = watch.until_type("target_state.conflict").await;
    assert_eq!(
        (
            number(&conflict["payload"], "agentHolds"),
            number(&conflict["payload"], "version")
        ),
        (2, 3)
    );
    device.settled(3).await;
    assert_eq!(number(&device.row("boiler").await, "pollInterval"), 300);
    watch.until_sensor("sensor.deployed", &id).await;
    let intervals: Vec<&Value> = watch
        .rows_of(&id)
        .filter(|row| row["running"] == true)
        .map(|row| &row["content"]["pollInterval"])
        .collect();
    assert_eq!(
        (intervals.first(), intervals.last()),
        (Some(&&json!(100)), Some(&&json!(300)))
    );
    assert!(
        intervals.contains(&&json!(200)),
        "what the agent ran was shown: {intervals:?}"
    );
    assert_eq!(
        device
            .patch("boiler", &json!({ "pollInterval": 400 }))
            .await,
        4
    );
    device.settled(4).await;
    device.is_told_by_its_events().await;
    agent.stop().await;
}
