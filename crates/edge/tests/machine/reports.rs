//! What the hub is told, and when.

use holdfast_domain::{HealthStatus, Incarnation, document::report::running_fingerprint};
use holdfast_edge::machine::{Effect, Event};
use holdfast_ports::hub_link::ReportAnswer;
use serde_json::json;
use uuid::Uuid;

use crate::{
    rig::{Rig, away, held, step_of},
    support::{FIRST_LIFE, changed, sensor, sensor_id, target},
};

fn health(number: u128, status: HealthStatus, reason: Option<&str>) -> Event {
    let reason = reason.map(str::to_string);
    Event::Health {
        sensor: sensor_id(number),
        generation: number as u64,
        status,
        reason,
    }
}

#[test]
fn the_first_change_goes_at_once_and_what_follows_is_merged() {
    let mut rig = Rig::running(target(1, [sensor(1), sensor(2), sensor(3)]));
    rig.pass(5_000);
    rig.event(health(1, HealthStatus::Offline, Some("gone")));
    let report = rig.report_taken();
    assert_eq!(
        report
            .health
            .expect("health")
            .keys()
            .copied()
            .collect::<Vec<_>>(),
        [sensor_id(1)]
    );
    rig.event(health(2, HealthStatus::Offline, Some("gone")));
    rig.pass(50);
    rig.event(health(3, HealthStatus::Offline, Some("gone")));
    rig.event(health(1, HealthStatus::Online, None));
    assert_eq!(rig.count("report"), 1);
    rig.pass(50);
    let merged = rig.report_taken().health.expect("health");
    assert_eq!(
        merged.keys().copied().collect::<Vec<_>>(),
        [sensor_id(1), sensor_id(2), sensor_id(3)]
    );
    assert_eq!(
        merged[&sensor_id(1)].status,
        HealthStatus::Online,
        "as it is, not as it was"
    );
    rig.pass(5_000);
    assert_eq!(rig.count("report"), 2);
}

#[test]
fn one_report_is_under_way_at_a_time() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    rig.event(health(1, HealthStatus::Offline, None));
    for _ in 0..20 {
        rig.pass(10_000);
        rig.event(health(1, HealthStatus::Online, None));
        rig.event(health(1, HealthStatus::Offline, None));
    }
    assert_eq!(rig.count("report"), 1);
    rig.report_taken();
    assert_eq!(
        rig.count("report"),
        2,
        "all that came meanwhile is one more"
    );
}

#[test]
fn what_is_reported_is_what_runs() {
    let mut rig = Rig::running(target(1, [sensor(1), sensor(2)]));
    let elsewhere = changed(
        1,
        json!({ "connection": { "type": "tcp", "host": "10.0.0.6", "port": 502, "unitId": 3 } }),
    );
    rig.offer_and_hold(target(2, [elsewhere.clone(), sensor(2)]));
    rig.report_taken();
    rig.succeed(sensor_id(1));
    rig.pass(100);
    let stopped = rig.report_taken();
    let outcome = stopped.outcome.expect("an outcome");
    assert_eq!(
        outcome.running.len(),
        1,
        "stopped, and the new one does not run yet"
    );
    assert_eq!(
        stopped.running_fingerprint,
        running_fingerprint(&outcome.running)
    );
    rig.fail(sensor_id(1), "connect 10.0.0.6:502: connection refused");
    rig.answer_hub();
    let status = rig.machine.status();
    assert_eq!(
        status.sensors[0].running, None,
        "what did not start does not run"
    );
    assert_eq!(
        status.sensors[0].failure.as_ref().expect("why").fingerprint,
        elsewhere.fingerprint()
    );
}

#[test]
fn what_did_not_change_is_left_out_and_none_is_said_as_none() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    rig.event(health(1, HealthStatus::Degraded, Some("1 of 3 points")));
    let report = rig.report_taken();
    assert_eq!(
        (report.outcome, report.agent_version.is_none()),
        (None, true)
    );
    rig.offer_and_hold(target(2, []));
    rig.pass(100);
    let report = rig.report_taken();
    assert_eq!(
        (report.held_version, report.outcome, report.health),
        (2, None, None)
    );
    rig.succeed(sensor_id(1));
    rig.pass(200);
    rig.answer_everything();
    rig.pass(30_000);
    let heartbeat = rig.report_taken();
    assert_eq!(
        (heartbeat.outcome, heartbeat.health, heartbeat.agent_version),
        (None, None, None)
    );
    assert_eq!(heartbeat.running_fingerprint, running_fingerprint([]));
}

#[test]
fn a_report_that_was_not_acknowledged_is_said_again_with_all_that_followed() {
    let mut rig = Rig::running(target(1, [sensor(1), sensor(2)]));
    rig.event(health(1, HealthStatus::Offline, None));
    let lost = rig.take_report();
    rig.event(health(2, HealthStatus::Offline, None));
    // Back as the hub acknowledged it before; but nobody knows what the hub took since.
    rig.event(health(1, HealthStatus::Online, None));
    rig.event(Event::Reported(Err(away())));
    rig.pass(1_000);
    let next = rig.report_taken();
    assert!(next.order.sequence > lost.order.sequence);
    let said = next.health.expect("health");
    assert_eq!(said[&sensor_id(1)].status, HealthStatus::Online);
    assert_eq!(said[&sensor_id(2)].status, HealthStatus::Offline);
}

#[test]
fn every_attempt_has_a_fresh_sequence() {
    let mut rig = Rig::boot(held(None));
    let mut sequences = Vec::new();
    for _ in 0..10 {
        sequences.push(rig.take_report().order.sequence);
        rig.event(Event::Reported(Err(away())));
        rig.pass(30_000);
    }
    assert_eq!(sequences, (1..=10).collect::<Vec<_>>());
}

#[test]
fn unsent_reports_do_not_queue_up() {
    let mut rig = Rig::running(target(1, (1..=10).map(sensor)));
    rig.event(health(1, HealthStatus::Offline, None));
    rig.take_report();
    rig.event(Event::Reported(Err(away())));
    for round in 0..600 {
        let status = if round % 2 == 0 {
            HealthStatus::Offline
        } else {
            HealthStatus::Online
        };
        (1..=10).for_each(|number| rig.event(health(number, status, None)));
        rig.pass(1_000);
        if rig
            .find(|effect| matches!(effect, Effect::Report(_)))
            .is_some()
        {
            rig.event(Event::Reported(Err(away())));
        }
    }
    assert!(
        rig.count("report") < 50,
        "{} attempts in ten minutes",
        rig.count("report")
    );
    rig.pass(30_000);
    let report = rig.report_taken();
    assert_eq!(
        report.health.expect("health").len(),
        10,
        "one report says it all"
    );
    rig.pass(1_000);
    assert!(!rig.verbs().contains(&"report"));
}

#[test]
fn a_boots_first_report_is_full_and_precedes_a_newer_target() {
    let mut rig = Rig::boot(held(Some(target(40, [sensor(1)]))));
    rig.succeed(sensor_id(1));
    assert!(
        !rig.verbs().contains(&"poll"),
        "no newer target before the hub knows what runs"
    );
    let report = rig.take_report();
    assert!(report.is_full());
    assert_eq!(
        (
            report.order.boot,
            report.order.sequence,
            report.order.incarnation
        ),
        (7, 1, FIRST_LIFE)
    );
    assert_eq!(
        (report.held_version, report.outcome.expect("full").version),
        (40, 40)
    );
    assert!(report.agent_version.is_some());
    rig.event(Event::Reported(Ok(ReportAnswer::Taken)));
    assert!(rig.verbs().contains(&"poll"));
}

#[test]
fn a_boots_first_report_waits_for_the_ledgers_sensors_but_not_for_a_dead_one() {
    let mut rig = Rig::boot(held(Some(target(40, [sensor(1), sensor(2)]))));
    rig.succeed(sensor_id(1));
    rig.pass(499);
    assert_eq!(rig.count("report"), 0);
    rig.pass(1);
    assert_eq!(rig.report_taken().outcome.expect("full").running.len(), 1);
}

#[test]
fn a_hub_that_takes_no_report_is_asked_for_its_target_all_the_same() {
    let mut rig = Rig::boot(held(None));
    for attempt in 1..=3 {
        assert!(!rig.verbs().contains(&"poll"), "attempt {attempt}");
        rig.take_report();
        rig.event(Event::Reported(Err(away())));
        if attempt < 3 {
            rig.pass(30_000);
        }
    }
    assert!(rig.verbs().contains(&"poll"));
}

#[test]
fn a_heartbeat_comes_each_half_minute() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    for _ in 0..10 {
        rig.pass(30_000);
        rig.report_taken();
    }
    assert_eq!(rig.count("report"), 10);
}

#[test]
fn once_an_hour_a_heartbeat_is_full() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    let mut full = 0;
    for _ in 0..(10 * 120) {
        rig.pass(30_000);
        full += u32::from(rig.report_taken().is_full());
    }
    assert!((9..=11).contains(&full), "{full} in ten hours");
    assert_eq!(rig.count("report"), 10 * 120);
}

#[test]
fn attempts_and_reasons_alone_are_reported_at_leisure() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    rig.offer_and_hold(target(2, [sensor(1), sensor(2)]));
    rig.fail(sensor_id(2), "no answer");
    rig.event(health(1, HealthStatus::Offline, Some("no answer for 1 s")));
    rig.answer_hub();
    rig.counts.clear();
    let began = rig.now;
    for second in 2.. {
        rig.pass(1_000);
        rig.event(health(
            1,
            HealthStatus::Offline,
            Some(&format!("no answer for {second} s")),
        ));
        if rig.step(sensor_id(2)).is_some() {
            rig.fail(sensor_id(2), "no answer");
        }
        if rig.count("report") > 0 {
            break;
        }
    }
    assert!(
        (8_000..=11_000).contains(&(rig.now - began)),
        "after {} ms",
        rig.now - began
    );
    let report = rig.report_taken();
    assert!(report.outcome.expect("attempts").failures[0].attempts > 1);
    rig.fail_soon(sensor_id(2), "another reason");
    rig.pass(100);
    assert_eq!(
        rig.report_taken().outcome.expect("an error").failures[0].error,
        "another reason"
    );
}

impl Rig {
    fn fail_soon(&mut self, id: holdfast_domain::SensorId, error: &str) {
        self.wait_for(|effect| step_of(effect) == Some(id));
        self.fail(id, error);
    }
}

#[test]
fn a_full_report_is_sent_when_it_is_wanted() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    rig.pass(30_000);
    assert!(!rig.take_report().is_full());
    rig.event(Event::Reported(Ok(ReportAnswer::FullWanted)));
    rig.pass(100);
    assert!(rig.take_report().is_full());
    rig.event(Event::Reported(Ok(ReportAnswer::FullWanted)));
    rig.pass(100);
    assert!(
        !rig.verbs().contains(&"report"),
        "a hub that can't be content is not hammered"
    );
    rig.pass(30_000);
    assert!(rig.report_taken().is_full());
}

#[test]
fn a_disk_from_the_past_becomes_a_new_life() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    rig.pass(30_000);
    rig.take_report();
    rig.event(Event::Reported(Ok(ReportAnswer::Late { boot: 9 })));
    rig.take("reincarnate");
    rig.pass(60_000);
    assert!(
        !rig.verbs().contains(&"report"),
        "nothing is said in the name of the old life"
    );
    let second_life = Incarnation(Uuid::from_u128(0x2f));
    rig.event(Event::Reincarnated(Ok((second_life, 1))));
    let report = rig.report_taken();
    assert!(report.is_full());
    assert_eq!(
        (
            report.order.incarnation,
            report.order.boot,
            report.order.sequence
        ),
        (second_life, 1, 1)
    );
    assert_eq!(
        (rig.count("start"), rig.count("stop")),
        (0, 0),
        "and nothing that runs is touched"
    );
}

#[test]
fn an_answer_to_a_repeated_request_makes_no_new_life() {
    let mut rig = Rig::running(target(1, [sensor(1)]));
    rig.event(health(1, HealthStatus::Offline, None));
    rig.take_report();
    rig.event(Event::Reported(Ok(ReportAnswer::Late { boot: 7 })));
    rig.pass(100);
    let again = rig.take_report();
    assert_eq!(again.health.expect("said again").len(), 1);
    rig.event(Event::Reported(Ok(ReportAnswer::Late { boot: 7 })));
    assert!(
        rig.verbs().contains(&"reincarnate"),
        "twice: another one speaks with this boot"
    );
}

#[test]
fn two_that_push_each_other_out_do_so_slowly() {
    let mut rig = Rig::running(target(1, []));
    rig.pass(30_000);
    for life in 0..10_u128 {
        rig.wait_for(|effect| matches!(effect, Effect::Report(_)));
        rig.take_report();
        rig.event(Event::Reported(Ok(ReportAnswer::OtherIncarnation)));
        rig.wait_for(|effect| *effect == Effect::Reincarnate);
        rig.take("reincarnate");
        rig.event(Event::Reincarnated(Ok((
            Incarnation(Uuid::from_u128(life)),
            1,
        ))));
    }
    assert!(rig.now > 9 * 60_000);
}
