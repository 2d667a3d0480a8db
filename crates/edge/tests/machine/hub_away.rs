//! A hub out of reach, and one that does not want to hear of this device any more.

use holdfast_domain::DeviceId;
use holdfast_edge::{HubAccess, machine::Event};
use holdfast_ports::hub_link::{HubError, Polled};
use uuid::Uuid;

use crate::{
    rig::{Rig, away, verb},
    support::{DEVICE, sensor, sensor_id, target},
};

#[test]
fn polls_of_a_hub_out_of_reach_are_further_and_further_apart() {
    let mut rig = Rig::running(target(1, []));
    let mut pauses = Vec::new();
    for _ in 0..10 {
        rig.take("poll");
        rig.event(Event::Polled(Err(away())));
        let failed_at = rig.now;
        rig.wait_for(|effect| verb(effect) == "poll");
        pauses.push(rig.now - failed_at);
    }
    assert!((250..=510).contains(&pauses[0]), "{pauses:?}");
    assert!((15_000..=30_010).contains(&pauses[9]), "{pauses:?}");
}

#[test]
fn a_hub_that_is_back_is_told_at_once() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    rig.pass(30_000);
    for _ in 0..8 {
        rig.take("report");
        rig.event(Event::Reported(Err(away())));
        rig.pass(30_000);
    }
    rig.take("report");
    rig.event(Event::Reported(Err(away())));
    assert_eq!(rig.machine.status().hub.reachable_since, None);
    assert_eq!(
        rig.machine.status().hub.trouble.as_deref(),
        Some("connection refused")
    );
    rig.take("poll");
    rig.event(Event::Polled(Ok(Polled::Unchanged)));
    assert!(
        rig.verbs().contains(&"report"),
        "no need to wait for the report's own backoff"
    );
    assert!(rig.machine.status().hub.reachable_since.is_some());
}

#[test]
fn a_deleted_device_goes_on_reading_and_asks_now_and_then() {
    for (error, access) in [
        (HubError::Deleted(DEVICE), HubAccess::Deleted),
        (HubError::Revoked(DEVICE), HubAccess::Revoked),
    ] {
        let mut rig = Rig::running(target(1, [sensor(1)]));
        rig.take("poll");
        rig.event(Event::Polled(Err(error)));
        assert_eq!(rig.machine.status().hub.access, access);
        rig.pass(59_000);
        assert!(rig.open.is_empty(), "{:?}", rig.open);
        rig.pass(1_000);
        assert_eq!(rig.verbs(), ["poll"]);
        assert!(rig.machine.status().sensors[0].running.is_some());
        assert_eq!(rig.count("stop"), 0);
        rig.take("poll");
        rig.event(Event::Polled(Ok(Polled::Unchanged)));
        assert_eq!(rig.machine.status().hub.access, HubAccess::Granted);
        rig.take("report");
    }
}

#[test]
fn a_report_can_bring_that_news_too() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    rig.pass(30_000);
    rig.take("report");
    rig.event(Event::Reported(Err(HubError::Revoked(DEVICE))));
    rig.pass(3_600_000);
    assert_eq!(
        rig.verbs(),
        ["poll"],
        "the poll under way is the last that was asked"
    );
    assert_eq!(rig.machine.status().hub.access, HubAccess::Revoked);
}

#[test]
fn what_the_hub_says_of_another_device_does_not_count() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    rig.take("poll");
    rig.event(Event::Polled(Err(HubError::Deleted(DeviceId(
        Uuid::from_u128(99),
    )))));
    assert_eq!(rig.machine.status().hub.access, HubAccess::Granted);
    rig.pass(1_000);
    assert!(rig.verbs().contains(&"poll"));
}

#[test]
fn without_a_hub_the_agent_mends_what_breaks() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    rig.take("poll");
    rig.event(Event::Polled(Err(away())));
    rig.offer_later(target(2, [sensor(1), sensor(2)]));
    for _ in 0..5 {
        rig.fail(sensor_id(2), "no answer");
        rig.take("poll");
        rig.event(Event::Polled(Err(away())));
        if rig.verbs().contains(&"report") {
            rig.take("report");
            rig.event(Event::Reported(Err(away())));
        }
        rig.pass(60_000);
    }
    rig.succeed(sensor_id(2));
    assert!(
        rig.machine
            .status()
            .sensors
            .iter()
            .all(|sensor| sensor.running.is_some())
    );
}

impl Rig {
    fn offer_later(&mut self, target: holdfast_domain::TargetState) {
        self.wait_for(|effect| verb(effect) == "poll");
        self.offer_and_hold(target);
        self.report_taken();
    }
}
