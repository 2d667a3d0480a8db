//! A value at the hardware becomes the new wish, if the hub finds nothing against it.

use holdfast_domain::{
    PointId, PointValue,
    document::setpoint::{Conformity, Hold, Policy, SetpointReport},
    edit::Edit,
    event::EventKind,
    wish::SetRequest,
};
use serde_json::json;

use crate::support::{
    life::Life,
    wishes::{boiler, item, request, says, wish},
};

#[test]
fn a_value_from_the_hardware_is_adopted_only_for_the_wish_that_stands() {
    let (mut life, mut agent, _, point) = boiler();
    let adopting = SetRequest {
        policy: Policy::Adopt,
        ..request(72.5)
    };
    let revision = wish(&mut life, point, adopting).expect("it is new");
    let proposal = |revision| SetpointReport {
        adopt: Some(PointValue::Number(80.0)),
        ..item(Conformity::Drifting, Hold::Active, 80.0, revision)
    };
    says(&mut agent, &mut life, point, proposal(revision - 1));
    assert_eq!(
        life.state.target.values.wishes[&point].setpoint.value,
        PointValue::Number(72.5)
    );
    says(&mut agent, &mut life, point, proposal(revision));
    let adopted = &life.state.target.values.wishes[&point];
    assert_eq!(adopted.setpoint.value, PointValue::Number(80.0));
    assert_eq!(
        (adopted.revision, adopted.setpoint.set_by.as_str()),
        (revision + 1, "agent")
    );
    assert_eq!(
        life.log.last().map(|event| event.kind),
        Some(EventKind::SetpointAdopted)
    );
    let values = life.state.target.values.clone();
    says(&mut agent, &mut life, point, proposal(revision));
    assert_eq!(life.state.target.values, values, "once");
    // An enforced value is never adopted.
    let revision = wish(&mut life, point, request(72.5)).expect("it is new");
    says(&mut agent, &mut life, point, proposal(revision));
    assert_eq!(
        life.state.target.values.wishes[&point].setpoint.value,
        PointValue::Number(72.5)
    );
}

#[test]
fn what_the_hub_can_check_of_an_adopted_value_it_checks() {
    let adopting = || SetRequest {
        policy: Policy::Adopt,
        ..request(72.5)
    };
    let proposal = |value: f64, revision| SetpointReport {
        adopt: Some(PointValue::Number(value)),
        ..item(Conformity::Drifting, Hold::Active, value, revision)
    };
    let refused = |value: f64, step: Option<f64>, change: fn(&mut Life, PointId) -> Option<u64>| {
        let (mut life, mut agent, sensor, point) = boiler();
        if let Some(step) = step {
            let points = json!([{ "id": point, "name": "target", "table": "holding", "address": 200, "dataType": "int16",
                "scale": 0.1, "writable": true, "limits": { "min": 20, "max": 90, "maxStep": step } }]);
            life.edit(Edit::Patch(sensor, json!({ "dataPoints": points })))
                .expect("it can be changed");
        }
        let revision = wish(&mut life, point, adopting()).expect("it is new");
        change(&mut life, point);
        let (before, from) = (life.state.target.values.clone(), life.log.len());
        says(&mut agent, &mut life, point, proposal(value, revision));
        assert_eq!(life.state.target.values, before, "the old wish stays");
        let event = life.log[from..]
            .iter()
            .find(|event| event.kind == EventKind::SetpointRefused)
            .expect("it is told");
        assert_eq!(event.payload["value"], json!(value));
        let why = event.payload["reason"]
            .as_str()
            .expect("a reason")
            .to_owned();
        // Said again, it is no news.
        let from = life.log.len();
        let again = SetpointReport {
            writes: 1,
            ..proposal(value, revision)
        };
        says(&mut agent, &mut life, point, again);
        let kinds = life.kinds_since(from);
        assert!(!kinds.contains(&EventKind::SetpointRefused), "{kinds:?}");
        why
    };
    let why = refused(95.0, None, |_, _| None);
    assert!(why.contains("at most 90, the point's limit"), "{why}");
    let why = refused(80.05, None, |_, _| None);
    assert!(why.contains("0.1"), "{why}");
    let why = refused(80.0, Some(5.0), |_, _| None);
    assert!(why.contains("largest step (maxStep)"), "{why}");
    let why = refused(80.0, None, |life, point| {
        let newer = SetRequest {
            policy: Policy::Adopt,
            ..request(60.0)
        };
        wish(life, point, newer)
    });
    assert!(why.contains("a newer value was set meanwhile"), "{why}");
}
