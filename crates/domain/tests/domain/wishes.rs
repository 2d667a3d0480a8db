//! What is wanted of outputs: set, released, stopped, ended by time, reported, adopted.

use std::collections::BTreeMap;

use holdfast_domain::{
    PointId, PointValue, SensorId, TargetState,
    document::{
        hold::{HoldReport, LoopState, Scope},
        setpoint::{Conformity, HandChange, Hold, Policy, SetpointReport, Tolerance},
    },
    edit::{Edit, EditError},
    event::EventKind,
    receive::Received,
    values::{CommandWishes, ReportedValues, Values},
    wish::{SetRequest, Tuning, WishError, interrupt, release, resume, set, tune},
};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{
    documents::uuid,
    life::{Agent, Life, start},
    wishes::{boiler, command_record, item, point, request, says, wish},
};

#[test]
fn setting_a_value_makes_no_sensor_look_behind() {
    let (mut life, _, sensor, point) = boiler();
    let (version, etag, row) = (
        life.state.target.version,
        life.state.target.etag(),
        life.state.rows[&sensor].clone(),
    );
    assert_eq!(wish(&mut life, point, request(72.5)), Some(1));
    assert_eq!(life.state.target.version, version);
    assert_ne!(life.state.target.etag(), etag);
    assert_eq!(life.state.rows[&sensor], row);
    assert!(!life.state.needs_deployment());
    let event = life.log.last().expect("an event");
    assert_eq!(event.kind, EventKind::SetpointSet);
    assert_eq!(
        (&event.payload["value"], &event.payload["reason"]),
        (&json!(72.5), &json!("winter"))
    );
    assert_eq!(event.actor.as_str(), "anna");
}

#[test]
fn the_same_value_again_changes_nothing_unless_the_agent_gave_up() {
    let (mut life, mut agent, _, point) = boiler();
    wish(&mut life, point, request(72.5));
    let before = life.state.clone();
    assert_eq!(
        wish(
            &mut life,
            point,
            SetRequest {
                reason: None,
                ..request(72.5)
            }
        ),
        None
    );
    assert_eq!(life.state, before);
    for changed in [
        SetRequest {
            tolerance: Some(Tolerance::Absolute(1.0)),
            ..request(72.5)
        },
        SetRequest {
            policy: Policy::Observe,
            ..request(72.5)
        },
        request(73.0),
    ] {
        assert!(wish(&mut life, point, changed).is_some());
    }
    let revision = life.state.target.values.revision;
    says(
        &mut agent,
        &mut life,
        point,
        item(Conformity::Drifting, Hold::Overridden, 60.0, revision),
    );
    assert_eq!(
        wish(&mut life, point, request(73.0)),
        Some(revision + 1),
        "set again, it is armed"
    );
}

#[test]
fn what_a_point_can_not_hold_is_refused_with_what_it_can() {
    let (mut life, _, sensor, target) = boiler();
    let before = life.state.clone();
    let context = life.context("anna");
    let refused = |point: PointId, value: PointValue| {
        let request = SetRequest {
            value,
            ..request(0.0)
        };
        set(&before, point, request, &context).expect_err("it is refused")
    };
    let said = |error: WishError| error.to_string();
    let number = PointValue::Number;
    assert_eq!(
        said(refused(target, number(72.53))),
        "value: expected a number from -3276.8 to 3276.7 in steps of 0.1, found 72.53"
    );
    assert_eq!(
        said(refused(target, number(95.0))),
        "value: expected at most 90, the point's limit, found 95"
    );
    assert_eq!(
        said(refused(target, number(5.0))),
        "value: expected at least 20, the point's limit, found 5"
    );
    assert!(matches!(
        refused(target, PointValue::Bool(true)),
        WishError::Invalid(_)
    ));
    let input = point(&life, sensor, "temperature");
    assert!(matches!(
        refused(input, number(20.0)),
        WishError::NotHoldable {
            found: "read-only",
            ..
        }
    ));
    let pulse = point(&life, sensor, "start");
    assert!(matches!(
        refused(pulse, PointValue::Bool(true)),
        WishError::NotHoldable {
            found: "a pulse",
            ..
        }
    ));
    let nowhere = PointId(uuid(77));
    assert_eq!(
        refused(nowhere, number(20.0)),
        WishError::NoSuchPoint(nowhere)
    );
    let late = SetRequest {
        until: Some(context.now),
        ..request(72.5)
    };
    assert!(matches!(
        set(&before, target, late, &context),
        Err(WishError::Invalid(_))
    ));
}

#[test]
fn a_point_does_not_go_before_the_value_that_is_set_on_it() {
    let (mut life, _, sensor, point) = boiler();
    wish(&mut life, point, request(72.5));
    let before = life.state.clone();
    for edit in [
        Edit::Remove(sensor),
        Edit::Patch(sensor, json!({ "dataPoints": [] })),
        Edit::ReplaceAll(json!([])),
        Edit::Rollback {
            version: 0,
            items: Vec::new(),
        },
    ] {
        assert_eq!(life.decide(edit), Err(EditError::HasSetpoint(point)));
    }
    assert_eq!(life.state, before);
    let context = life.context("anna");
    let change = release(&life.state, point, Some("spring"), &context).expect("it is set");
    life.commit(change);
    assert_eq!(
        life.log.last().map(|event| event.kind),
        Some(EventKind::SetpointReleased)
    );
    assert_eq!(
        release(&life.state, point, None, &context),
        Err(WishError::NotSet(point))
    );
    life.edit(Edit::Remove(sensor))
        .expect("nothing is set on it any more");
}

#[test]
fn going_back_to_an_older_configuration_moves_no_output() {
    let (mut life, _, sensor, point) = boiler();
    wish(&mut life, point, request(72.5));
    let items = life.state.target.items.clone();
    life.edit(Edit::Patch(sensor, json!({ "pollInterval": 50 })))
        .expect("valid");
    let values = life.state.target.values.clone();
    life.edit(Edit::Rollback { version: 1, items })
        .expect("valid");
    assert_eq!(life.state.target.values, values);
}

#[test]
fn what_happened_to_an_output_is_in_the_log_once() {
    let (mut life, mut agent, _, point) = boiler();
    let revision = wish(&mut life, point, request(72.5)).expect("it is new");
    let kinds = |life: &mut Life, agent: &mut Agent, item: SetpointReport| {
        let from = life.log.len();
        says(agent, life, point, item.clone());
        let kinds = life.kinds_since(from);
        let from = life.log.len();
        assert_eq!(says(agent, life, point, item), Received::Unchanged);
        assert_eq!(life.kinds_since(from), []);
        kinds
    };
    let writing = SetpointReport {
        writes: 1,
        ..item(Conformity::Drifting, Hold::Writing, 20.0, revision)
    };
    assert_eq!(kinds(&mut life, &mut agent, writing), []);
    let synced = SetpointReport {
        writes: 1,
        written: 1,
        verified_in_ms: Some(38),
        ..item(Conformity::InSync, Hold::Active, 72.5, revision)
    };
    assert_eq!(
        kinds(&mut life, &mut agent, synced.clone()),
        [EventKind::SetpointWritten, EventKind::SetpointVerified]
    );
    let payload = &life.log.last().expect("an event").payload;
    assert_eq!(payload["tookMs"], json!(38));
    // Disturbed and put back between two reports: nothing of it is lost.
    let restored = SetpointReport {
        writes: 2,
        written: 2,
        changes: 1,
        last_change: Some(HandChange {
            before: PointValue::Number(72.5),
            after: PointValue::Number(60.0),
            at: start(),
        }),
        ..synced
    };
    let happened = kinds(&mut life, &mut agent, restored.clone());
    assert_eq!(
        happened,
        [
            EventKind::SetpointDrifted,
            EventKind::SetpointWritten,
            EventKind::SetpointVerified
        ]
    );
    let drifted = life
        .log
        .iter()
        .rev()
        .find(|event| event.kind == EventKind::SetpointDrifted);
    let payload = &drifted.expect("it is told").payload;
    assert_eq!(
        (&payload["before"], &payload["after"], &payload["setBy"]),
        (&json!(72.5), &json!(60.0), &json!("anna"))
    );
    // Looked at anew, and found as it was: that is no news.
    let unknown = SetpointReport {
        conformity: Conformity::Unknown,
        ..restored.clone()
    };
    assert_eq!(kinds(&mut life, &mut agent, unknown), []);
    assert_eq!(kinds(&mut life, &mut agent, restored.clone()), []);
    let refused = SetpointReport {
        hold: Hold::Refused,
        conformity: Conformity::Drifting,
        ..restored.clone()
    };
    assert_eq!(
        kinds(&mut life, &mut agent, refused),
        [EventKind::SetpointRefused]
    );
    let given_up = SetpointReport {
        hold: Hold::Overridden,
        conformity: Conformity::Drifting,
        ..restored
    };
    assert_eq!(
        kinds(&mut life, &mut agent, given_up),
        [EventKind::SetpointOverridden]
    );
}

#[test]
fn what_is_left_out_of_a_report_is_unchanged_and_of_what_is_released_nothing_is_kept() {
    let (mut life, mut agent, _, point) = boiler();
    let revision = wish(&mut life, point, request(72.5)).expect("it is new");
    says(
        &mut agent,
        &mut life,
        point,
        item(Conformity::InSync, Hold::Active, 72.5, revision),
    );
    let known = life
        .state
        .reported
        .as_ref()
        .expect("reported")
        .values
        .clone();
    assert_eq!(life.report(agent.heartbeat()), Received::Unchanged);
    let context = life.context("anna");
    let change = release(&life.state, point, None, &context).expect("it is set");
    life.commit(change);
    assert_eq!(known.items.len(), 1);
    agent.online(
        life.state.target.items[0].sensor.id(),
        holdfast_domain::HealthStatus::Online,
    );
    let full = agent.full();
    life.report(full);
    assert_eq!(
        life.state.reported.as_ref().expect("reported").values.items,
        BTreeMap::new()
    );
}

#[test]
fn a_stop_has_who_why_and_until_when_and_ends_by_itself() {
    let (mut life, _, sensor, point) = boiler();
    let context = life.context("ben");
    let end = context.now + SignedDuration::from_secs(60);
    let until = Some(end);
    let change = interrupt(
        &life.state,
        Scope::Device,
        Some("belt change"),
        until,
        uuid(500),
        &context,
    );
    life.commit(change.expect("it can be stopped"));
    let stop = life
        .state
        .target
        .values
        .hold
        .stops()
        .next()
        .expect("a stop")
        .clone();
    assert_eq!(
        (stop.by.as_str(), stop.reason.as_deref(), stop.until),
        ("ben", Some("belt change"), until)
    );
    let document = life.state.target_state(context.now);
    assert!(!document.hold.is_active());
    assert_eq!(document.hold.pauses[0].remaining_ms, Some(60_000));
    // A pause of a point beside it; stopping again replaces the first stop.
    let context = life.context("anna");
    let change = interrupt(
        &life.state,
        Scope::Point(point),
        None,
        None,
        uuid(501),
        &context,
    );
    life.commit(change.expect("it can be paused"));
    let change = interrupt(&life.state, Scope::Device, None, until, uuid(502), &context);
    life.commit(change.expect("it can be stopped"));
    assert_eq!(life.state.target.values.hold.interruptions.len(), 2);
    let nowhere = SensorId(uuid(78));
    let refused = interrupt(
        &life.state,
        Scope::Sensor(nowhere),
        None,
        None,
        uuid(503),
        &context,
    );
    assert_eq!(refused, Err(WishError::NoSuchSensor(nowhere)));
    assert!(
        interrupt(
            &life.state,
            Scope::Sensor(sensor),
            None,
            None,
            uuid(504),
            &context
        )
        .is_ok()
    );

    let from = life.log.len();
    let watched = life.watch(SignedDuration::from_secs(10));
    assert_eq!(watched.next, end);
    life.watch(SignedDuration::from_secs(60));
    assert_eq!(life.kinds_since(from), [EventKind::ReconciliationStarted]);
    assert!(life.state.target_state(life.now).hold.is_active());
    let context = life.context("anna");
    let lifted = resume(
        &life.state,
        |one| one.scope == Scope::Point(point),
        None,
        &context,
    );
    life.commit(lifted.expect("it is paused"));
    assert_eq!(
        life.log.last().map(|event| event.kind),
        Some(EventKind::ReconciliationResumed)
    );
    assert_eq!(
        resume(&life.state, |_| true, None, &context),
        None,
        "nothing is stopped"
    );
}

#[test]
fn a_wish_ends_at_its_time_and_the_agent_is_told_how_long_it_lasts() {
    let (mut life, _, _, point) = boiler();
    let until = life.now + SignedDuration::from_secs(60);
    wish(
        &mut life,
        point,
        SetRequest {
            until: Some(until),
            ..request(72.5)
        },
    );
    assert!(life.state.target.values.has_ends());
    let later = life.now + SignedDuration::from_secs(20);
    let setpoints = life.state.target_state(later).setpoints;
    assert_eq!(setpoints.items[0].valid_for_ms, Some(39_000));
    let from = life.log.len();
    life.watch(SignedDuration::from_secs(20));
    assert_eq!(life.kinds_since(from), []);
    life.watch(SignedDuration::from_secs(45));
    assert_eq!(life.kinds_since(from), [EventKind::SetpointExpired]);
    assert_eq!(life.state.target.values.wishes.len(), 0);
    assert_eq!(life.state.target.values.revision, 2);
}

#[test]
fn tuning_changes_what_it_says_and_nothing_else() {
    let (mut life, _, _, _) = boiler();
    let context = life.context("anna");
    let tuning = Tuning {
        interval_ms: Some(1_000),
        ..Tuning::default()
    };
    let change = tune(&life.state, tuning, None, &context).expect("it is another interval");
    life.commit(change);
    let hold = &life.state.target.values.hold;
    assert_eq!(
        (hold.interval_ms, hold.dynamic, hold.shadow, hold.revision),
        (1_000, true, false, 1)
    );
    assert_eq!(tune(&life.state, tuning, None, &context), None);
}

#[test]
fn a_hub_that_was_restored_goes_on_above_what_the_agent_holds() {
    let (mut life, mut agent, _, point) = boiler();
    wish(&mut life, point, request(72.5));
    let mut report = agent.heartbeat();
    report.values = Some(ReportedValues {
        held_revision: 9,
        items: BTreeMap::new(),
        hold: Some(HoldReport {
            held_revision: 4,
            state: LoopState::Active,
            interval_ms: 5_000,
            pass_ms: Some(50),
            recommended_interval_ms: Some(100),
            overruns: 0,
            local: None,
            local_ended: None,
            not_kept: None,
        }),
        ..ReportedValues::default()
    });
    life.report(report);
    let Values {
        revision,
        wishes,
        hold,
        commands: _,
        resets: _,
    } = &life.state.target.values;
    assert_eq!(
        (*revision, wishes[&point].revision, hold.revision),
        (10, 10, 5)
    );
    assert_eq!(
        life.log.last().map(|event| event.kind),
        Some(EventKind::TargetConflict)
    );
}

#[test]
fn everything_comes_back_from_its_json() {
    let (mut life, _, sensor, point) = boiler();
    let until = Some(life.now + SignedDuration::from_secs(1_000));
    wish(
        &mut life,
        point,
        SetRequest {
            tolerance: Some(Tolerance::Exact),
            until,
            ..request(72.5)
        },
    );
    let context = life.context("ben");
    for (scope, id) in [
        (Scope::Device, 600),
        (Scope::Sensor(sensor), 601),
        (Scope::Point(point), 602),
    ] {
        let change = interrupt(&life.state, scope, Some("why"), until, uuid(id), &context);
        life.commit(change.expect("it can be stopped"));
    }
    life.state.target.values.commands = CommandWishes {
        revision: 4,
        records: vec![command_record(point, context.now)],
    };
    let values = &life.state.target.values;
    let text = |value: Value| -> Value { serde_json::from_str(&value.to_string()).expect("JSON") };
    let hold = text(serde_json::to_value(&values.hold).expect("JSON"));
    let again = Values::from_json(
        text(values.wishes_to_json()),
        hold,
        text(values.commands.to_json()),
    );
    assert_eq!(again.as_ref(), Ok(values));
    assert_eq!(
        Values::from_json(json!({}), json!({}), json!({})),
        Ok(Values::default())
    );
    let document = life.state.target_state(context.now);
    let read = TargetState::from_json(text(document.to_json(life.state.record.id)));
    assert_eq!(read, Ok((life.state.record.id, document)));
}
