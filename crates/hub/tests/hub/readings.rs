//! Last values are kept of what is wanted or runs, and of nothing else.

use holdfast_domain::{
    DeviceId, PointId, PointValue, Quality, SensorId, edit::Edit, state::DeviceState,
};
use holdfast_ports::{
    page::Page,
    store::{DeviceStore as _, PointRecord},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::support::{Fleet, Process};

fn reading(sensor: SensorId, point: PointId, at: Timestamp) -> PointRecord {
    PointRecord {
        point,
        sensor,
        value: Some(PointValue::Integer(7)),
        quality: Quality::Good,
        at,
        reason: None,
    }
}

/// Every point that is wanted, with its sensor.
fn wanted(state: &DeviceState) -> Vec<(SensorId, PointId)> {
    let sensors = state.target.items.iter().map(|item| &item.sensor);
    sensors
        .flat_map(|sensor| {
            let points = sensor.content().binding.point_names().into_iter();
            points.map(|(point, _)| (sensor.id(), point))
        })
        .collect()
}

async fn kept(process: &Process, device: DeviceId) -> Vec<PointRecord> {
    let page = Page::first(1_000);
    let listed = process.store.points(device, &page).await;
    listed.expect("memory works").items
}

#[tokio::test(start_paused = true)]
async fn only_points_of_the_own_sensors_are_kept() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let own = process.established("own", &["a"]).await;
    let other = process.established("other", &["a"]).await;
    let now = fleet.now();
    let (sensor, point) = wanted(&fleet.stored(own.device).await)[0];
    let (foreign_sensor, foreign_point) = wanted(&fleet.stored(other.device).await)[0];
    let sent = [
        reading(sensor, point, now),
        reading(foreign_sensor, foreign_point, now),
        reading(foreign_sensor, point, now),
        reading(sensor, foreign_point, now),
    ];
    let taken = process.hub.readings(own.device, &sent, None).await;
    taken.expect("what is not known is left out");
    assert_eq!(kept(&process, own.device).await, sent[..1]);
    assert_eq!(kept(&process, other.device).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_value_from_the_future_does_not_stand_until_then() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let agent = process.established("gateway-1", &["a"]).await;
    let (sensor, point) = wanted(&fleet.stored(agent.device).await)[0];
    let future = fleet.now() + SignedDuration::from_hours(24 * 365);
    let sent = [reading(sensor, point, future)];
    process
        .hub
        .readings(agent.device, &sent, None)
        .await
        .expect("ok");
    fleet.later(60);
    let mut next = reading(sensor, point, fleet.now());
    next.value = Some(PointValue::Integer(8));
    let sent = [next.clone()];
    process
        .hub
        .readings(agent.device, &sent, None)
        .await
        .expect("ok");
    assert_eq!(kept(&process, agent.device).await, [next]);
}

#[tokio::test(start_paused = true)]
async fn values_go_with_their_point_when_it_neither_is_wanted_nor_runs() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let mut agent = process.established("gateway-1", &["a", "b"]).await;
    let device = agent.device;
    let state = fleet.stored(device).await;
    let points = wanted(&state);
    let sent: Vec<_> = points
        .iter()
        .map(|(sensor, point)| reading(*sensor, *point, fleet.now()))
        .collect();
    process.hub.readings(device, &sent, None).await.expect("ok");
    assert_eq!(kept(&process, device).await.len(), points.len());
    let [a, b] = [0, 1].map(|index| state.target.items[index].sensor.clone());
    let mut one_less = a.to_json();
    let listed = one_less["dataPoints"].as_array_mut().expect("a list");
    let gone = listed.pop().expect("a sensor has points");
    let patch = json!({ "dataPoints": listed });
    process
        .edit(device, Edit::Patch(a.id(), patch))
        .await
        .expect("valid");
    process
        .edit(device, Edit::Remove(b.id()))
        .await
        .expect("valid");
    assert_eq!(
        kept(&process, device).await.len(),
        points.len(),
        "all of them still run"
    );
    process.work(&mut agent).await;
    let full = agent.says.full_report();
    process.report(device, &full).await.expect("valid");
    let left = kept(&process, device).await;
    assert!(left.iter().all(|record| record.sensor == a.id()));
    assert!(left.iter().all(|record| json!(record.point) != gone["id"]));
    let of_a = points
        .iter()
        .filter(|(sensor, _)| *sensor == a.id())
        .count();
    assert_eq!(left.len(), of_a - 1);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_hides_no_value() {
    let fleet = Fleet::new();
    let process = fleet.process().await;
    let agent = process.established("gateway-1", &["a"]).await;
    let (sensor, point) = wanted(&fleet.stored(agent.device).await)[0];
    let sent = [reading(sensor, point, fleet.now())];
    let said = Some(fleet.now());
    process
        .hub
        .readings(agent.device, &sent, said)
        .await
        .expect("ok");
    fleet.later(60);
    let ten_days = SignedDuration::from_hours(240);
    let second = SignedDuration::from_secs(1);
    let mut next = reading(sensor, point, fleet.now() - ten_days - second);
    next.value = Some(PointValue::Integer(8));
    let said = Some(fleet.now() - ten_days);
    let sent = [next.clone()];
    process
        .hub
        .readings(agent.device, &sent, said)
        .await
        .expect("ok");
    next.at = fleet.now() - second;
    assert_eq!(kept(&process, agent.device).await, [next]);
}
