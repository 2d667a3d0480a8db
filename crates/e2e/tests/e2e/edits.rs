//! Many operators at once: no edit is lost, and a whole document is only replaced by those who saw it.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{client::send, device::number, hub::Hub, instrument::made_up_sensor};

on_both_stores!(
    concurrent_edits_are_not_lost,
    a_document_is_replaced_by_who_saw_it,
    history_is_kept
);

async fn concurrent_edits_are_not_lost(hub: Hub) {
    const EDITS: usize = 200;
    let device = hub.device("plant").await;
    let sensors: Vec<Value> = (0..EDITS)
        .map(|number| made_up_sensor(&format!("sensor-{number}")))
        .collect();
    let added = join_all(
        sensors
            .iter()
            .map(|sensor| device.ask("POST", "/sensors", sensor)),
    )
    .await;
    let versions: BTreeSet<u64> = added
        .iter()
        .map(|answer| {
            assert_eq!(answer.status, 201, "{:#}", answer.body);
            number(&answer.body, "version")
        })
        .collect();
    assert_eq!(
        versions,
        (1..=EDITS as u64).collect(),
        "each addition is a version of its own"
    );
    assert_eq!(device.wanted().await.len(), EDITS);
    assert_eq!(device.rows().await.len(), EDITS);
    assert_eq!(device.events_of("sensor.added").await.len(), EDITS);
    let history = device
        .operator
        .all(&device.path("/target-state/history"))
        .await;
    assert_eq!(history.len(), EDITS);
    device.is_told_by_its_events().await;
}

async fn a_document_is_replaced_by_who_saw_it(hub: Hub) {
    let device = hub.device("plant").await;
    device.add(&made_up_sensor("boiler")).await;
    let answer = device.ask("GET", "/target-state", &Value::Null).await;
    let etag = answer.header("etag").to_owned();
    let replace = async |name: &str| {
        let document = json!({ "config": { "protocolAdapterDevices": [made_up_sensor(name)] } });
        let request = device
            .operator
            .request("PUT", &device.path("/target-state"));
        send(request.header("if-match", &etag).json(&document)).await
    };
    let answers = join_all(["a", "b", "c", "d", "e", "f", "g", "h"].map(&replace)).await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((done.len(), refused.len()), (1, 7), "one wins");
    for answer in refused {
        answer.refused(412, "If-Match");
    }
    assert_eq!(device.target().await["version"], 2);
    assert_eq!(device.wanted().await.len(), 1);
    assert_eq!(
        device.target().await["config"]["protocolAdapterDevices"][0]["configVersion"],
        2
    );
}

async fn history_is_kept(hub: Hub) {
    let device = hub.device("plant").await;
    let boiler = device.add(&made_up_sensor("boiler")).await;
    device
        .patch("boiler", &json!({ "pollInterval": 500 }))
        .await;
    let removed = device
        .ask("DELETE", "/sensors/boiler?reason=scrapped", &Value::Null)
        .await
        .good("removing");
    assert_eq!(number(&removed, "version"), 3);

    // A plan does nothing; going back is a new version with the old content, and names where it came from.
    let plan = json!({ "config": { "protocolAdapterDevices": [made_up_sensor("boiler"), made_up_sensor("pump")] } });
    let planned = device
        .ask("POST", "/target-state/plan", &plan)
        .await
        .good("a plan");
    assert_eq!(
        (number(&planned, "baseVersion"), &planned["changes"]),
        (3, &json!(true))
    );
    assert_eq!(device.target().await["version"], 3);
    device
        .ask(
            "POST",
            "/target-state/rollback",
            &json!({ "version": 2, "reason": "not scrapped" }),
        )
        .await
        .good("going back");
    let target = device.target().await;
    assert_eq!(number(&target, "version"), 4);
    let sensor = &target["config"]["protocolAdapterDevices"][0];
    assert_eq!(
        (&sensor["id"], number(sensor, "pollInterval")),
        (&json!(boiler), 500)
    );
    let missing = device
        .ask("POST", "/target-state/rollback", &json!({ "version": 99 }))
        .await;
    missing.is(404);

    let history = device
        .operator
        .all(&device.path("/target-state/history"))
        .await;
    let told: Vec<Value> = history
        .iter()
        .map(|entry| json!([entry["version"], entry["reason"], entry["sensors"]]))
        .collect();
    let expected = [
        json!([4, "not scrapped", 1]),
        json!([3, "scrapped", 0]),
        json!([2, null, 1]),
        json!([1, null, 1]),
    ];
    assert_eq!(told, expected);
    let event = device
        .events_of("target_state.rolled_back")
        .await
        .pop()
        .expect("an event");
    assert_eq!(event["payload"]["rolledBackTo"], 2);
    assert!(event["correlation"].is_string(), "{event:#}");
    device.is_told_by_its_events().await;
}
