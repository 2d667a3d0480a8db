//! Resets of write budgets on the hub's side: recorded, told, confirmed, and never lost to a backup.

use std::collections::BTreeMap;

use holdfast_domain::{
    PointId, ResetId, TargetState,
    document::setpoint::{BudgetReset, Conformity, Hold},
    event::EventKind,
    values::{ReportedValues, Values},
    wish::{ResetRequest, WishError, release, reset_budget},
};
use serde_json::json;

use crate::support::{
    documents::uuid,
    life::{Agent, Life},
    wishes::{boiler, item, point, request, says, wish},
};

fn asked(number: u128, key: Option<&str>) -> ResetRequest {
    ResetRequest {
        id: uuid(number),
        reason: "new valve".to_owned(),
        key: key.map(str::to_owned),
    }
}

fn reset(life: &mut Life, point: PointId, request: ResetRequest) -> Result<bool, WishError> {
    let context = life.context("anna");
    let change = reset_budget(&life.state, point, request, &context)?;
    let changed = change.is_some();
    if let Some(change) = change {
        assert!(change.changes_desired(), "the agent waits for it");
        life.commit(change);
    }
    Ok(changed)
}

fn confirms(agent: &mut Agent, life: &mut Life, point: PointId, id: u128) {
    let mut report = agent.heartbeat();
    report.values = Some(ReportedValues {
        held_revision: life.state.target.values.revision,
        resets: BTreeMap::from([(point, ResetId(uuid(id)))]),
        ..ReportedValues::default()
    });
    life.report(report);
}

#[test]
fn a_reset_is_recorded_told_and_confirmed() {
    let (mut life, mut agent, _, point) = boiler();
    wish(&mut life, point, request(72.5));
    let mut said = item(Conformity::InSync, Hold::Active, 72.5, 1);
    said.writes = 49_500;
    says(&mut agent, &mut life, point, said);
    let (version, fingerprint) = (
        life.state.target.version,
        life.state.target.values.fingerprint(),
    );
    assert_eq!(reset(&mut life, point, asked(700, None)), Ok(true));
    assert_eq!(life.state.target.version, version);
    assert_ne!(life.state.target.values.fingerprint(), fingerprint);
    let event = life.log.last().expect("an event");
    assert_eq!(
        (
            event.kind,
            event.actor.as_str(),
            &event.payload["reason"],
            &event.payload["writes"]
        ),
        (
            EventKind::BudgetReset,
            "anna",
            &json!("new valve"),
            &json!(49_500)
        )
    );
    let now = life.now;
    let document = life.state.target_state(now).to_json(life.state.record.id);
    let (_, told) = TargetState::from_json(document).expect("a target");
    let wanted = BudgetReset {
        point_id: point,
        id: ResetId(uuid(700)),
    };
    assert_eq!(
        (told.setpoints.revision, told.setpoints.resets),
        (2, vec![wanted])
    );
    // The agent's word on another one is none on this.
    let from = life.log.len();
    confirms(&mut agent, &mut life, point, 699);
    assert!(life.kinds_since(from).is_empty());
    confirms(&mut agent, &mut life, point, 700);
    assert_eq!(life.kinds_since(from), [EventKind::BudgetRenewed]);
    confirms(&mut agent, &mut life, point, 700);
    assert_eq!(life.kinds_since(from).len(), 1, "the same again is no news");
}

#[test]
fn the_same_request_again_is_the_same_reset() {
    let (mut life, _, sensor, point) = boiler();
    assert_eq!(reset(&mut life, point, asked(700, Some("k"))), Ok(true));
    let before = life.state.clone();
    assert_eq!(reset(&mut life, point, asked(701, Some("k"))), Ok(false));
    assert_eq!(life.state, before);
    let start = self::point(&life, sensor, "start");
    assert!(matches!(
        reset(&mut life, start, asked(702, Some("k"))),
        Err(WishError::Invalid(_))
    ));
    assert_eq!(
        reset(&mut life, start, asked(703, None)),
        Ok(true),
        "a pulse has a budget too"
    );
    let temperature = self::point(&life, sensor, "temperature");
    assert_eq!(
        reset(&mut life, temperature, asked(704, None)).map_err(|error| error.to_string()),
        Err("point temperature has no write budget: it is read-only".to_owned())
    );
    assert!(matches!(
        reset(&mut life, PointId(uuid(9)), asked(705, None)),
        Err(WishError::NoSuchPoint(_))
    ));
}

#[test]
fn a_reset_outlives_the_setpoint_and_comes_back_from_its_json() {
    let (mut life, _, _, point) = boiler();
    wish(&mut life, point, request(72.5));
    reset(&mut life, point, asked(700, Some("k"))).expect("it can be reset");
    let context = life.context("anna");
    life.commit(release(&life.state, point, None, &context).expect("it is set"));
    let values = &life.state.target.values;
    assert_eq!(values.resets.len(), 1);
    let hold = serde_json::to_value(&values.hold).expect("JSON");
    let again = Values::from_json(values.wishes_to_json(), hold, values.commands.to_json());
    assert_eq!(again.as_ref(), Ok(values));
}
