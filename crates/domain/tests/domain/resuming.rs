//! What starting a stopped loop would move, as far as the agent has said how its outputs stand.

use holdfast_domain::{
    PointId, PointValue, SensorId,
    document::{
        hold::Scope,
        setpoint::{Conformity, HandChange, Hold, Policy, SetpointReport},
    },
    resume::{StartEffect, of_start},
    wish::{SetRequest, Tuning, interrupt, tune},
};
use jiff::SignedDuration;

use crate::support::{
    documents::uuid,
    life::{Agent, Life, start},
    wishes::{boiler, item, request, says, wish},
};

fn stop(life: &mut Life, scope: Scope, id: u128) {
    let context = life.context("ben");
    let until = Some(life.now + SignedDuration::from_secs(3_600));
    let change = interrupt(&life.state, scope, Some("belt"), until, uuid(id), &context);
    life.commit(change.expect("it can be stopped"));
}

fn forecast(life: &Life) -> Vec<(StartEffect, Option<String>)> {
    of_start(&life.state, life.now)
        .into_iter()
        .map(|one| (one.effect, one.why))
        .collect()
}

/// A boiler that shall hold 72.5 and is stopped, with what its agent says then.
fn stopped(request: SetRequest, said: SetpointReport) -> (Life, Agent, SensorId, PointId) {
    let (mut life, mut agent, sensor, point) = boiler();
    wish(&mut life, point, request);
    stop(&mut life, Scope::Device, 600);
    says(&mut agent, &mut life, point, said);
    (life, agent, sensor, point)
}

fn drifting(value: f64) -> SetpointReport {
    item(Conformity::Drifting, Hold::Paused, value, 1)
}

#[test]
fn a_start_moves_what_differs_and_nothing_else() {
    let by = |policy| SetRequest {
        policy,
        ..request(72.5)
    };
    let by_hand = SetpointReport {
        changes: 1,
        last_change: Some(HandChange {
            before: PointValue::Number(72.5),
            after: PointValue::Number(60.0),
            at: start(),
        }),
        ..drifting(60.0)
    };
    let used_up = SetpointReport {
        budget_left: 0,
        ..drifting(60.0)
    };
    let blind = SetpointReport {
        conformity: Conformity::Unknown,
        ..drifting(60.0)
    };
    for (request, said, effect) in [
        (request(72.5), drifting(60.0), StartEffect::Write),
        (request(72.5), by_hand.clone(), StartEffect::Write),
        // The instrument counts in tenths: nearer than half of one is the same.
        (request(72.5), drifting(72.52), StartEffect::Nothing),
        (by(Policy::Observe), drifting(60.0), StartEffect::Nothing),
        (by(Policy::Adopt), drifting(60.0), StartEffect::Write),
        (by(Policy::Adopt), by_hand, StartEffect::Adopt),
        (request(72.5), used_up, StartEffect::Held),
        (request(72.5), blind, StartEffect::Unknown),
    ] {
        let what = format!("{request:?}, {said:?}");
        let (life, ..) = stopped(request, said);
        let forecast = forecast(&life);
        assert_eq!(forecast.len(), 1, "{what}");
        assert_eq!(forecast[0].0, effect, "{what}: {forecast:?}");
    }
}

#[test]
fn what_a_start_does_not_lift_holds_an_output_back() {
    let (mut life, _, sensor, _) = stopped(request(72.5), drifting(60.0));
    stop(&mut life, Scope::Sensor(sensor), 601);
    let why = Some("paused by ben: belt".to_owned());
    assert_eq!(forecast(&life), [(StartEffect::Held, why)]);

    let (mut life, ..) = stopped(request(72.5), drifting(60.0));
    let context = life.context("ben");
    let tuning = Tuning {
        shadow: Some(true),
        ..Tuning::default()
    };
    let change = tune(&life.state, tuning, None, &context).expect("it is another mode");
    life.commit(change);
    assert_eq!(forecast(&life)[0].0, StartEffect::Held);
}

#[test]
fn a_wish_that_the_agent_has_not_spoken_of_is_measured_by_what_was_read_last() {
    let (mut life, _, _, point) = stopped(request(72.5), drifting(60.0));
    wish(&mut life, point, request(60.0));
    assert_eq!(forecast(&life)[0].0, StartEffect::Nothing);
    wish(&mut life, point, request(61.0));
    assert_eq!(forecast(&life)[0].0, StartEffect::Write);

    let (mut life, _, _, point) = boiler();
    wish(&mut life, point, request(72.5));
    stop(&mut life, Scope::Device, 600);
    assert_eq!(forecast(&life)[0].0, StartEffect::Unknown);
}

#[test]
fn what_is_not_stopped_is_moved_by_no_start() {
    let (mut life, mut agent, _, point) = boiler();
    wish(&mut life, point, request(72.5));
    says(&mut agent, &mut life, point, drifting(60.0));
    assert_eq!(forecast(&life), []);
    stop(&mut life, Scope::Point(point), 600);
    assert_eq!(forecast(&life), [], "a pause is no stop");
}
