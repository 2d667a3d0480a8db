//! What the hub makes of a stop on site; and where outputs go that are not held any more.

use std::collections::BTreeMap;

use holdfast_domain::{
    PointValue, Sensor,
    document::{
        hold::{HoldReport, LocalEnd, LocalStop, LoopState},
        setpoint::Policy,
    },
    event::EventKind,
    hold::{Interruption, safe_value},
    receive::Received,
    row::Actor,
    values::ReportedValues,
};
use jiff::SignedDuration;
use serde_json::json;

use crate::support::{
    documents::uuid,
    life::{Agent, Life, document},
    wishes::{boiler, request, wish},
};

fn technician(remaining_ms: Option<u64>) -> LocalStop {
    LocalStop {
        by: Actor::named("technician"),
        reason: "belt change".into(),
        remaining_ms,
        until: None,
    }
}

fn end(by: Option<&str>, count: u64) -> LocalEnd {
    LocalEnd {
        stopped_by: Actor::named("technician"),
        stop_reason: "belt change".into(),
        by: by.map(Actor::named),
        reason: None,
        count,
    }
}

/// Reports how the loop runs on site.
fn tells(
    life: &mut Life,
    agent: &mut Agent,
    local: Option<LocalStop>,
    local_ended: Option<LocalEnd>,
) -> Received {
    let state = if local.is_some() {
        LoopState::Stopped
    } else {
        LoopState::Active
    };
    let mut report = agent.heartbeat();
    report.values = Some(ReportedValues {
        held_revision: life.state.target.values.revision,
        items: BTreeMap::new(),
        hold: Some(HoldReport {
            held_revision: 0,
            state,
            interval_ms: 5_000,
            pass_ms: Some(50),
            recommended_interval_ms: Some(100),
            overruns: 0,
            local,
            local_ended,
            not_kept: None,
        }),
        ..ReportedValues::default()
    });
    life.report(report)
}

fn local_of(life: &Life) -> Option<LocalStop> {
    let reported = life.state.reported.as_ref().expect("it has reported");
    reported
        .values
        .hold
        .as_ref()
        .and_then(|hold| hold.local.clone())
}

#[test]
fn a_stop_on_site_is_told_with_its_author_and_its_end() {
    let (mut life, mut agent, _, _) = boiler();
    let from = life.log.len();
    tells(&mut life, &mut agent, Some(technician(Some(600_000))), None);
    assert_eq!(life.kinds_since(from), [EventKind::ReconciliationStopped]);
    let event = life.log.last().expect("an event");
    assert_eq!(event.actor.as_str(), "technician (on site)");
    assert_eq!(event.payload["reason"], json!("belt change"));
    let until = local_of(&life).expect("it stands").until.expect("it ends");
    assert_eq!(until, life.now + SignedDuration::from_secs(600));
    assert_eq!(event.payload["until"], json!(until));
}

#[test]
fn the_same_stop_again_changes_nothing_although_less_remains() {
    let (mut life, mut agent, _, _) = boiler();
    tells(&mut life, &mut agent, Some(technician(Some(600_000))), None);
    let before = local_of(&life);
    for second in 1..30 {
        let left = 600_000 - second * 1_000;
        let received = tells(&mut life, &mut agent, Some(technician(Some(left))), None);
        assert_eq!(received, Received::Unchanged);
    }
    assert_eq!(local_of(&life), before);
    // A longer one is another one.
    let from = life.log.len();
    tells(
        &mut life,
        &mut agent,
        Some(technician(Some(3_600_000))),
        None,
    );
    assert_eq!(life.kinds_since(from), [EventKind::ReconciliationStopped]);
}

#[test]
fn its_end_is_told_with_who_lifted_it_or_that_its_time_was_over() {
    let (mut life, mut agent, _, _) = boiler();
    for (count, (by, how)) in [(Some("meister"), "lifted"), (None, "expired")]
        .into_iter()
        .enumerate()
    {
        tells(&mut life, &mut agent, Some(technician(None)), None);
        let from = life.log.len();
        let ended = end(by, count as u64 + 1);
        tells(&mut life, &mut agent, None, Some(ended.clone()));
        assert_eq!(life.kinds_since(from), [EventKind::ReconciliationStarted]);
        let event = life.log.last().expect("an event");
        assert_eq!(
            (&event.payload["ended"], &event.payload["by"]),
            (&json!(how), &json!(by))
        );
        assert_eq!(
            tells(&mut life, &mut agent, None, Some(ended)),
            Received::Unchanged
        );
        // The next round begins from a stop that says how the last one ended.
        agent.reboot();
        let full = agent.full();
        life.report(full);
    }
}

#[test]
fn a_stop_that_nobody_heard_of_until_it_was_over_is_told_all_the_same() {
    let (mut life, mut agent, _, _) = boiler();
    let from = life.log.len();
    tells(&mut life, &mut agent, None, Some(end(Some("meister"), 1)));
    assert_eq!(
        life.kinds_since(from),
        [
            EventKind::ReconciliationStopped,
            EventKind::ReconciliationStarted
        ]
    );
    // One that ended, and another one that stands.
    let from = life.log.len();
    tells(
        &mut life,
        &mut agent,
        Some(technician(None)),
        Some(end(None, 2)),
    );
    let kinds = life.kinds_since(from);
    assert_eq!(
        kinds,
        [
            EventKind::ReconciliationStopped,
            EventKind::ReconciliationStarted,
            EventKind::ReconciliationStopped
        ]
    );
}

#[test]
fn a_stop_that_the_agent_has_forgotten_is_told_as_such() {
    let (mut life, mut agent, _, _) = boiler();
    tells(&mut life, &mut agent, Some(technician(None)), None);
    tells(&mut life, &mut agent, None, None);
    let event = life.log.last().expect("an event");
    assert_eq!(event.kind, EventKind::ReconciliationStarted);
    assert_eq!(event.payload["ended"], json!("forgotten"));
}

#[test]
fn a_name_from_on_site_is_made_fit_for_lists() {
    let (mut life, mut agent, _, _) = boiler();
    let by = format!("\0\n{}", "x".repeat(10_000));
    let stop = LocalStop {
        by: Actor::named(&by),
        ..technician(None)
    };
    tells(&mut life, &mut agent, Some(stop), None);
    let actor = life.log.last().expect("an event").actor.as_str().to_owned();
    assert!(
        actor.starts_with("xxx") && actor.chars().count() < 150,
        "{actor}"
    );
}

#[test]
fn only_what_is_held_from_here_goes_to_a_safe_value() {
    let (mut life, _, _, point) = boiler();
    wish(&mut life, point, request(72.5));
    let mut setpoint = life.state.target.values.wishes[&point].setpoint.clone();
    let mut sensor = document("boiler");
    sensor["id"] = json!(uuid(5));
    sensor["dataPoints"] = json!([{
        "id": uuid(6), "name": "target", "table": "holding", "address": 200, "dataType": "int16", "writable": true,
        "safeValue": 20, "onStop": "safeValue", "onHubLost": { "afterMs": 60_000, "then": "safeValue" },
    }]);
    let sensor = Sensor::from_json(sensor).expect("a sensor");
    let id = holdfast_domain::PointId(uuid(6));
    let rules = sensor.content().binding.point_rules(id).expect("its rules");
    setpoint.bound_to = rules.identity;
    let both = [Interruption::Stopped, Interruption::HubLost];
    for why in both {
        assert_eq!(
            safe_value(&setpoint, &rules, why),
            Some(&PointValue::Integer(20))
        );
    }
    let mut observed = setpoint.clone();
    observed.policy = Policy::Observe;
    let mut elsewhere = setpoint.clone();
    elsewhere.bound_to = holdfast_domain::Fingerprint::of_bytes(b"elsewhere");
    let mut locked = rules.clone();
    locked.writable = false;
    let keeps = holdfast_domain::hold::PointRules {
        on_stop: None,
        on_hub_lost: None,
        ..rules.clone()
    };
    for why in both {
        assert_eq!(safe_value(&observed, &rules, why), None);
        assert_eq!(safe_value(&elsewhere, &rules, why), None);
        assert_eq!(safe_value(&setpoint, &locked, why), None);
        assert_eq!(safe_value(&setpoint, &keeps, why), None);
    }
}

#[test]
fn a_safe_value_outside_the_points_limits_is_refused() {
    let mut sensor = document("boiler");
    sensor["id"] = json!(uuid(5));
    sensor["dataPoints"] = json!([{
        "id": uuid(6), "name": "target", "table": "holding", "address": 200, "dataType": "int16", "writable": true,
        "safeValue": 5, "onStop": "safeValue", "limits": { "min": 20, "max": 90 },
    }]);
    let problems = Sensor::from_json(sensor).expect_err("it is outside");
    let text = problems.to_string();
    assert!(
        text.contains("safeValue") && text.contains("limits"),
        "{text}"
    );
}
