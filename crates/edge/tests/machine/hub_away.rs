//! A hub out of reach, and one that does not want to hear of this device any more.

use holdfast_domain::DeviceId;
use holdfast_edge::{
    HubAccess,
    machine::{Effect, Event},
};
use holdfast_ports::{
    hub_link::{HubError, Polled, ReportAnswer},
    ledger::{Held, TurnedAway},
};
use uuid::Uuid;

use crate::{
    rig::{Rig, away, held, verb},
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
        assert_eq!(rig.take("turned away"), noted(access.turned_away()));
        rig.event(Event::TurnedAwayNoted(Ok(())));
        rig.pass(59_000);
        assert!(rig.open.is_empty(), "{:?}", rig.open);
        rig.pass(1_000);
        assert_eq!(rig.verbs(), ["poll"]);
        assert!(rig.machine.status().sensors[0].running.is_some());
        assert_eq!(rig.count("stop"), 0);
        rig.take("poll");
        rig.event(Event::Polled(Ok(Polled::Unchanged)));
        assert_eq!(rig.machine.status().hub.access, HubAccess::Granted);
        assert_eq!(rig.take("turned away"), noted(None));
        rig.take("report");
    }
}

fn noted(how: Option<TurnedAway>) -> Effect {
    Effect::NoteTurnedAway(how)
}

#[test]
fn being_turned_away_is_noted_once_and_until_it_is() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    for _ in 0..3 {
        rig.take("poll");
        rig.event(Event::Polled(Err(HubError::Revoked(DEVICE))));
        assert_eq!(rig.take("turned away"), noted(Some(TurnedAway::Revoked)));
        rig.event(Event::TurnedAwayNoted(
            Err("no space left on device".into()),
        ));
        assert!(rig.open.is_empty(), "not at once again: {:?}", rig.open);
        rig.wait_for(|effect| verb(effect) == "turned away");
        rig.take("turned away");
        rig.event(Event::TurnedAwayNoted(Ok(())));
        // The same again is no news.
        for _ in 0..5 {
            rig.wait_for(|effect| verb(effect) == "poll");
            assert_eq!(rig.verbs(), ["poll"]);
            rig.take("poll");
            rig.event(Event::Polled(Err(HubError::Revoked(DEVICE))));
        }
        rig.wait_for(|effect| verb(effect) == "poll");
        rig.take("poll");
        rig.event(Event::Polled(Ok(Polled::Unchanged)));
        assert_eq!(rig.take("turned away"), noted(None));
        rig.event(Event::TurnedAwayNoted(Ok(())));
        rig.report_taken();
        rig.wait_for(|effect| verb(effect) == "poll");
    }
}

/// A restart gives nothing back; but a hub that has changed its mind is found.
#[test]
fn one_that_was_turned_away_starts_so_and_reads_and_asks_on() {
    let boot = || {
        Rig::boot(Held {
            turned_away: Some(TurnedAway::Deleted),
            ..held(Some(target(1, [sensor(1)])))
        })
    };
    let mut rig = boot();
    assert_eq!(rig.machine.status().hub.access, HubAccess::Deleted);
    rig.succeed(sensor_id(1));
    assert!(rig.machine.status().sensors[0].running.is_some());
    let mut asked = Vec::new();
    for _ in 0..6 {
        rig.wait_for(|effect| ["poll", "report"].contains(&verb(effect)));
        asked.push(rig.now);
        match rig.verbs()[..] {
            ["report"] => {
                rig.take("report");
                rig.event(Event::Reported(Err(HubError::Deleted(DEVICE))));
            }
            ["poll"] => {
                rig.take("poll");
                rig.event(Event::Polled(Err(HubError::Deleted(DEVICE))));
            }
            ref other => panic!("{other:?}"),
        }
    }
    assert!(
        asked.windows(2).all(|two| two[1] - two[0] >= 60_000),
        "{asked:?}"
    );
    assert_eq!((rig.count("turned away"), rig.count("stop")), (0, 0));

    let mut rig = boot();
    rig.succeed(sensor_id(1));
    rig.take("report");
    rig.event(Event::Reported(Ok(ReportAnswer::Taken)));
    assert_eq!(rig.machine.status().hub.access, HubAccess::Granted);
    assert_eq!(rig.take("turned away"), noted(None));
    rig.take("poll");
}

/// A restart on a disk from the past, while the hub does not want to hear of the device: it must not wait for ever.
#[test]
fn a_new_life_is_asked_for_again_when_the_hub_refused_it() {
    let mut rig = Rig::boot(held(Some(target(1, []))));
    rig.take("report");
    rig.event(Event::Reported(Ok(ReportAnswer::OtherIncarnation)));
    for _ in 0..2 {
        rig.wait_for(|effect| verb(effect) == "reincarnate");
        rig.take("reincarnate");
        rig.event(Event::Reincarnated(Err(HubError::Revoked(DEVICE))));
        assert!(!rig.verbs().contains(&"poll"), "{:?}", rig.verbs());
    }
    rig.wait_for(|effect| verb(effect) == "reincarnate");
}

#[test]
fn a_poll_that_was_cut_while_the_hub_held_it_is_asked_again_soon() {
    let cut = || Event::Polled(Err(HubError::Cut("the connection broke".into())));
    let mut rig = Rig::running(target(1, [sensor(1)]));
    for _ in 0..50 {
        rig.pass(10_000);
        rig.take("poll");
        rig.event(cut());
        let cut_at = rig.now;
        rig.wait_for(|effect| verb(effect) == "poll");
        assert!(rig.now - cut_at <= 500, "after {} ms", rig.now - cut_at);
        assert!(rig.machine.status().hub.trouble.is_none());
        if rig.verbs().contains(&"report") {
            rig.report_taken();
        }
    }
    // Ended at once, again and again: that is a hub out of reach, and it is not hammered.
    let before = (rig.now, rig.count("poll"));
    for _ in 0..20 {
        rig.take("poll");
        rig.event(cut());
        assert!(rig.machine.status().hub.trouble.is_some());
        rig.wait_for(|effect| verb(effect) == "poll");
    }
    let pace = (rig.now - before.0) / (rig.count("poll") - before.1);
    assert!(pace >= 10_000, "a poll each {pace} ms");
    // One that was held again ends that.
    rig.pass(3_000);
    rig.take("poll");
    rig.event(cut());
    let cut_at = rig.now;
    rig.wait_for(|effect| verb(effect) == "poll");
    assert!(rig.now - cut_at <= 500, "after {} ms", rig.now - cut_at);
}

#[test]
fn a_first_poll_is_not_held_so_one_that_is_cut_has_failed() {
    let mut rig = Rig::boot(held(None));
    rig.report_taken();
    rig.pass(10_000);
    rig.take("poll");
    rig.event(Event::Polled(Err(HubError::Cut("cut".into()))));
    assert_eq!(rig.machine.status().hub.trouble.as_deref(), Some("cut"));
}

#[test]
fn a_report_can_bring_that_news_too() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    rig.pass(30_000);
    rig.take("report");
    rig.event(Event::Reported(Err(HubError::Revoked(DEVICE))));
    rig.take("turned away");
    rig.event(Event::TurnedAwayNoted(Ok(())));
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

#[test]
fn a_hub_that_does_not_know_the_agent_counts_as_out_of_reach() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    let unknown = || Event::Polled(Err(HubError::Unknown("401".into())));
    for _ in 0..3 {
        rig.wait_for(|effect| verb(effect) == "poll");
        rig.take("poll");
        rig.event(unknown());
        let status = rig.machine.status();
        assert!(status.hub.knows_not);
        assert_eq!(status.hub.access, HubAccess::Granted);
        assert_eq!(status.hub.reachable_since, None);
        assert!(status.sensors[0].running.is_some());
    }
    assert_eq!((rig.count("stop"), rig.count("turned away")), (0, 0));
    rig.wait_for(|effect| verb(effect) == "poll");
    rig.take("poll");
    rig.event(Event::Polled(Err(away())));
    assert!(!rig.machine.status().hub.knows_not, "who knows now");
    rig.wait_for(|effect| verb(effect) == "poll");
    rig.take("poll");
    rig.event(unknown());
    rig.wait_for(|effect| verb(effect) == "poll");
    rig.take("poll");
    rig.event(Event::Polled(Ok(Polled::Unchanged)));
    assert!(!rig.machine.status().hub.knows_not);
}
