//! The value loop's decisions, in a closed loop with instruments that behave and instruments that do not.

use holdfast_domain::{
    PointId, PointValue, Quality,
    document::{
        point::{Limits, PointKind},
        setpoint::{Conformity, Hold, Policy, Tolerance},
    },
    hold::{
        Act, Band, Budget, Control, Decision, GuardFailure, HoldReason, Observed, Situation, Told,
        Track, WriteBudget, decide,
    },
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::support::holding::{Habit, Instrument, Loop, RESTORES, identity};

const HELD: (Conformity, Hold) = (Conformity::InSync, Hold::Active);

#[test]
fn a_value_is_written_once_and_verified() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(20.0, Habit::Takes);
    holding.pass(&mut boiler);
    assert_eq!(holding.status(), HELD);
    assert_eq!(boiler.writes, [72.5]);
    assert!(
        matches!(&holding.told[..], [Told::Verified { value: PointValue::Number(72.5), took_ms }] if *took_ms >= 200)
    );
    holding.passes(&mut boiler, 1_000);
    assert_eq!(boiler.writes.len(), 1, "nothing changed, nothing happens");
    assert_eq!(holding.told.len(), 1);
}

#[test]
fn a_value_that_is_there_already_is_not_written() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(72.5, Habit::Takes);
    holding.passes(&mut boiler, 100);
    assert_eq!(holding.status(), HELD);
    assert_eq!((boiler.writes.len(), holding.told.len()), (0, 0));
}

#[test]
fn a_change_by_hand_is_put_back_within_one_pass_and_not_for_ever() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(72.5, Habit::Takes);
    holding.pass(&mut boiler);
    boiler.turn(60.0);
    holding.passes(&mut boiler, 1);
    assert_eq!(holding.status(), HELD);
    assert_eq!(boiler.writes, [72.5]);
    let drifted = Told::Drifted {
        before: PointValue::Number(72.5),
        after: PointValue::Number(60.0),
    };
    assert_eq!(holding.told[0], drifted);
    assert!(matches!(holding.told[1], Told::Verified { .. }));
    for turn in 0..100 {
        boiler.turn(f64::from(turn));
        holding.passes(&mut boiler, 1);
    }
    assert_eq!(boiler.writes.len(), RESTORES as usize);
    assert_eq!(holding.status(), (Conformity::Drifting, Hold::Overridden));
    let overridden = |told: &&Told| matches!(told, Told::Overridden(_));
    assert_eq!(holding.told.iter().filter(overridden).count(), 1);
    // Setting the value again goes on.
    holding.set(72.5);
    holding.passes(&mut boiler, 1);
    assert_eq!(holding.status(), HELD);
    assert_eq!(boiler.writes.len(), RESTORES as usize + 1);
}

#[test]
fn slow_changes_by_hand_are_put_back_for_ever() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(72.5, Habit::Takes);
    for turn in 0..50 {
        boiler.turn(f64::from(turn));
        holding.passes(&mut boiler, 1);
        assert_eq!(holding.status(), HELD);
        holding.now_ms += 1_200_000;
    }
    assert_eq!(boiler.writes.len(), 50);
}

#[test]
fn observe_reports_and_never_writes() {
    let mut holding = Loop::new(72.5, Policy::Observe);
    let mut boiler = Instrument::new(20.0, Habit::Takes);
    holding.passes(&mut boiler, 10);
    assert_eq!(holding.status(), (Conformity::Drifting, Hold::Active));
    boiler.turn(72.5);
    holding.passes(&mut boiler, 1);
    assert_eq!(holding.status(), HELD);
    boiler.turn(60.0);
    holding.passes(&mut boiler, 10);
    assert!(matches!(
        holding.reason(),
        Some(HoldReason::ChangedByHand { .. })
    ));
    assert_eq!(boiler.writes, Vec::<f64>::new());
}

#[test]
fn adopt_takes_a_change_by_hand_for_the_new_wish() {
    let mut holding = Loop::new(72.5, Policy::Adopt);
    holding.rules.limits = limits(Some(20.0), Some(90.0), None);
    let mut boiler = Instrument::new(20.0, Habit::Takes);
    holding.pass(&mut boiler);
    assert_eq!(boiler.writes, [72.5], "a wish is written first");
    boiler.turn(80.0);
    holding.passes(&mut boiler, 2);
    assert_eq!(holding.adopted, [PointValue::Number(80.0)]);
    assert_eq!(holding.status(), HELD);
    assert_eq!(boiler.writes.len(), 1);
    // Outside the limits nobody can have wished it.
    boiler.turn(95.0);
    holding.passes(&mut boiler, 2);
    assert_eq!(holding.adopted.len(), 1);
    assert_eq!(boiler.writes, [72.5, 80.0]);
}

#[test]
fn what_an_instrument_starts_with_is_not_adopted() {
    let mut holding = Loop::new(72.5, Policy::Adopt);
    let mut boiler = Instrument::new(72.5, Habit::Takes);
    holding.pass(&mut boiler);
    boiler.readable = false;
    holding.passes(&mut boiler, 2);
    assert_eq!(holding.status(), (Conformity::Unknown, Hold::Unreachable));
    boiler.readable = true;
    boiler.turn(0.0);
    holding.passes(&mut boiler, 2);
    assert_eq!((holding.adopted.len(), boiler.value), (0, 72.5));
    // The same after a restart of the agent.
    holding.track = Track::from_ledger(None);
    boiler.turn(0.0);
    holding.passes(&mut boiler, 2);
    assert_eq!((holding.adopted.len(), boiler.value), (0, 72.5));
}

#[test]
fn an_instrument_that_rounds_is_told_of_once_and_left_alone_when_a_second_write_ends_so_too() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(20.0, Habit::Rounds);
    holding.passes(&mut boiler, 500);
    assert_eq!(holding.status(), (Conformity::Deviates, Hold::Active));
    assert!(matches!(holding.reason(), Some(HoldReason::Rounded { .. })));
    assert_eq!(boiler.writes.len(), 2);
    assert_eq!(holding.told.len(), 1);
}

#[test]
fn an_instrument_that_limits_silently_is_told_of() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(20.0, Habit::LimitsTo(60.0));
    holding.passes(&mut boiler, 500);
    assert_eq!(holding.status(), (Conformity::Deviates, Hold::Active));
    assert!(matches!(holding.reason(), Some(HoldReason::Limited { .. })));
    assert_eq!(boiler.writes.len(), 2);
    // It moves by itself: that is no deviation any more.
    boiler.habit = Habit::Takes;
    boiler.turn(30.0);
    holding.passes(&mut boiler, 80);
    assert_eq!(holding.status(), HELD);
}

#[test]
fn an_instrument_that_acknowledges_and_does_nothing_is_never_in_sync() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(20.0, Habit::Ignores);
    for _ in 0..1_000 {
        holding.passes(&mut boiler, 1);
        assert_ne!(holding.status().0, Conformity::InSync);
    }
    assert_eq!(holding.status(), (Conformity::Deviates, Hold::Active));
    assert!(matches!(
        holding.reason(),
        Some(HoldReason::KeptItsOwn { .. })
    ));
    assert!(
        boiler.writes.len() <= 25,
        "with growing pauses: {}",
        boiler.writes.len()
    );
    assert!(
        holding
            .told
            .iter()
            .all(|told| !matches!(told, Told::Verified { .. }))
    );
}

#[test]
fn an_instrument_that_answers_late_with_the_previous_value_is_waited_for() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(20.0, Habit::ShowsLate(2));
    holding.passes(&mut boiler, 3);
    assert_eq!(holding.status(), HELD);
    assert_eq!(boiler.writes.len(), 1);
}

#[test]
fn a_refusal_is_told_in_the_instruments_words_and_tried_again_slowly() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(20.0, Habit::Refuses);
    holding.passes(&mut boiler, 100);
    assert_eq!(holding.status(), (Conformity::Drifting, Hold::Refused));
    assert!(
        holding
            .reason()
            .expect("a reason")
            .to_string()
            .contains("exception 4")
    );
    assert!(boiler.writes.len() < 12, "{}", boiler.writes.len());
    assert_eq!(holding.told.len(), 1);
    boiler.habit = Habit::Takes;
    holding.passes(&mut boiler, 61);
    assert_eq!(holding.status(), HELD);
}

#[test]
fn a_lost_answer_is_cleared_up_by_reading() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(20.0, Habit::LosesAnswers);
    holding.passes(&mut boiler, 2);
    assert_eq!(holding.status(), HELD);
    assert_eq!(
        boiler.writes.len(),
        1,
        "it was written, and is not repeated"
    );
}

#[test]
fn what_can_not_be_read_back_is_acknowledged_and_unverified() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(20.0, Habit::GoesBlind);
    holding.passes(&mut boiler, 20);
    assert_eq!(
        holding.status(),
        (Conformity::AcknowledgedUnverified, Hold::Unreachable)
    );
    assert_eq!(boiler.writes.len(), 1);
    boiler.readable = true;
    holding.passes(&mut boiler, 1);
    assert_eq!(holding.status(), HELD);
    assert_eq!(boiler.writes.len(), 1);
}

#[test]
fn a_paused_point_shows_its_drift_and_is_not_written() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    holding.control = Control::Paused("belt change, by ben".into());
    let mut boiler = Instrument::new(20.0, Habit::Takes);
    holding.passes(&mut boiler, 10);
    assert_eq!(holding.status(), (Conformity::Drifting, Hold::Paused));
    holding.control = Control::Shadow;
    holding.passes(&mut boiler, 10);
    assert_eq!(
        holding.reason(),
        Some(&HoldReason::Shadow(PointValue::Number(72.5)))
    );
    assert_eq!(boiler.writes.len(), 0);
    holding.control = Control::Active;
    holding.passes(&mut boiler, 1);
    assert_eq!(holding.status(), HELD);
}

#[test]
fn a_pause_during_a_write_looks_and_writes_no_more() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(20.0, Habit::Ignores);
    holding.reading = Some(boiler.read(holding.now_ms));
    let Act::Write(_) = holding.decide().act else {
        panic!("{:?}", holding.last)
    };
    holding.control = Control::Paused("belt change".into());
    let outcome = boiler.write(72.5);
    holding.track.written(outcome, holding.now_ms, 0);
    holding.passes(&mut boiler, 100);
    assert_eq!(holding.status().1, Hold::Paused);
    assert_eq!(boiler.writes.len(), 1);
}

#[test]
fn guards_limits_budget_and_redefinition_block() {
    let blocked = |change: fn(&mut Loop)| {
        let mut holding = Loop::new(72.5, Policy::Enforce);
        change(&mut holding);
        let mut boiler = Instrument::new(20.0, Habit::Takes);
        holding.passes(&mut boiler, 10);
        assert_eq!(
            holding.status(),
            (Conformity::Drifting, Hold::Blocked),
            "{:?}",
            holding.reason()
        );
        assert_eq!(boiler.writes.len(), 0);
        holding.reason().expect("a reason").clone()
    };
    let guard = blocked(|holding| {
        holding.guards = Err(GuardFailure {
            point: PointId(Uuid::from_u128(2)),
            why: "it must be at least 3, and is 2".into(),
            is_unread: false,
        });
    });
    assert!(matches!(guard, HoldReason::Guard(_)));
    let limit = blocked(|holding| holding.rules.limits = limits(None, Some(70.0), None));
    assert!(matches!(limit, HoldReason::Limit { .. }));
    let budget = blocked(|holding| holding.rules.budget.per_day = 0);
    assert!(matches!(budget, HoldReason::Budget { .. }));
    let redefined = blocked(|holding| holding.rules.identity = identity("elsewhere"));
    assert_eq!(redefined, HoldReason::PointRedefined);
    for kind in [PointKind::Pulse, PointKind::Command] {
        let mut holding = Loop::new(1.0, Policy::Enforce);
        holding.rules.kind = kind;
        let mut boiler = Instrument::new(0.0, Habit::Takes);
        holding.passes(&mut boiler, 10);
        assert_eq!(holding.reason(), Some(&HoldReason::NotALevel));
        assert_eq!(boiler.writes.len(), 0);
    }
}

fn limits(min: Option<f64>, max: Option<f64>, max_step: Option<f64>) -> Option<Limits> {
    Some(Limits {
        min,
        max,
        max_step,
        extra: serde_json::Map::new(),
    })
}

#[test]
fn a_largest_step_is_kept_and_every_step_is_verified() {
    let mut holding = Loop::new(72.0, Policy::Enforce);
    holding.rules.limits = limits(None, None, Some(20.0));
    let mut boiler = Instrument::new(20.0, Habit::Takes);
    holding.passes(&mut boiler, 1);
    assert_eq!(boiler.writes, [40.0, 60.0, 72.0]);
    assert_eq!(holding.status(), HELD);
    assert!(
        holding
            .told
            .iter()
            .all(|told| matches!(told, Told::Verified { .. }))
    );
}

#[test]
fn a_reading_that_is_bad_old_or_of_another_kind_triggers_nothing() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let now = holding.now_ms;
    let reading = |value: Option<PointValue>, quality, at_ms| Observed {
        value,
        quality,
        at_ms,
        reason: None,
    };
    let low = || Some(PointValue::Number(20.0));
    holding.now_ms = 100_000;
    for (reading, act) in [
        (None, Act::Read),
        (Some(reading(low(), Quality::Good, now)), Act::Read),
        (Some(reading(low(), Quality::Bad, 100_000)), Act::Nothing),
        (
            Some(reading(low(), Quality::Uncertain, 100_000)),
            Act::Nothing,
        ),
        (Some(reading(None, Quality::Good, 100_000)), Act::Nothing),
        (
            Some(reading(
                Some(PointValue::Text("20".into())),
                Quality::Good,
                100_000,
            )),
            Act::Nothing,
        ),
        (
            Some(reading(
                Some(PointValue::Bool(true)),
                Quality::Good,
                100_000,
            )),
            Act::Nothing,
        ),
        // Good, but not read just now: it is read again first.
        (Some(reading(low(), Quality::Good, 95_000)), Act::Read),
    ] {
        holding.reading = reading;
        assert_eq!(holding.decide().act, act, "{:?}", holding.reading);
        assert_ne!(holding.status().0, Conformity::InSync);
    }
}

fn any_value() -> impl Strategy<Value = PointValue> {
    prop_oneof![
        any::<bool>().prop_map(PointValue::Bool),
        (-100i64..100).prop_map(PointValue::Integer),
        (-100.0f64..100.0).prop_map(PointValue::Number),
        "[a-z]{0,3}".prop_map(PointValue::Text),
    ]
}

fn any_habit() -> impl Strategy<Value = Habit> {
    prop_oneof![
        Just(Habit::Takes),
        Just(Habit::Rounds),
        (0.0f64..100.0).prop_map(Habit::LimitsTo),
        Just(Habit::Ignores),
        (0u32..4).prop_map(Habit::ShowsLate),
        Just(Habit::Refuses),
        Just(Habit::LosesAnswers),
        Just(Habit::GoesBlind),
    ]
}

proptest! {
    /// Whatever stands in the documents and whatever was read: there is an answer, and a write only where all allows it.
    #[test]
    fn a_write_is_never_without_its_reasons(
        wanted in any_value(),
        found in proptest::option::of(any_value()),
        quality in prop_oneof![Just(Quality::Good), Just(Quality::Uncertain), Just(Quality::Bad)],
        age in 0u64..40_000,
        policy in prop_oneof![Just(Policy::Enforce), Just(Policy::Observe), Just(Policy::Adopt)],
        tolerance in proptest::option::of(prop_oneof![
            (0.0f64..10.0).prop_map(Tolerance::Absolute), (0.0f64..1.0).prop_map(Tolerance::Relative), Just(Tolerance::Exact)]),
        kind in prop_oneof![Just(PointKind::Level), Just(PointKind::Pulse), Just(PointKind::Command)],
        (writable, bound, guarded, paused, expired) in any::<(bool, bool, bool, bool, bool)>(),
        (today, lifetime) in (0u32..3, 0u64..5),
        verified in proptest::option::of(any_value()),
        max in proptest::option::of(-100.0f64..100.0),
    ) {
        let mut holding = Loop::new(0.0, policy);
        holding.setpoint.value = wanted.clone();
        holding.setpoint.tolerance = tolerance;
        holding.rules.kind = kind;
        holding.rules.writable = writable;
        holding.rules.limits = limits(None, max, None);
        if !bound {
            holding.rules.identity = identity("elsewhere");
        }
        let band = Band::of(wanted.clone(), tolerance, holding.rules.resolution);
        let guards = if guarded {
            Err(GuardFailure { point: PointId(Uuid::from_u128(2)), why: "no".into(), is_unread: false })
        } else {
            Ok(())
        };
        let control = if paused { Control::Paused("no".into()) } else { Control::Active };
        let now_ms = 100_000;
        let reading = Observed { value: found.clone(), quality, at_ms: now_ms - age, reason: None };
        let budget = WriteBudget { per_day: today, lifetime };
        let situation = Situation {
            setpoint: &holding.setpoint,
            expires_at_ms: expired.then_some(now_ms),
            rules: &holding.rules,
            band: &band,
            control: &control,
            reading: Some(&reading),
            guards: &guards,
            budget: Budget::default().view(&budget, now_ms),
            max_age_ms: 15_000,
            restores_per_hour: RESTORES,
            now_ms,
            random: 0,
        };
        let track = Track { verified: verified.clone(), ..Track::default() };
        let Decision { act, status, .. } = decide(&situation, track);
        if status.conformity == Conformity::InSync {
            prop_assert!(quality == Quality::Good && age <= 15_000);
            prop_assert_eq!(found.as_ref().and_then(|found| band.holds(found)), Some(true));
        }
        if let Act::Write(value) = act {
            prop_assert_eq!(&value, &wanted);
            prop_assert!(quality == Quality::Good && age <= 1_000);
            prop_assert_eq!(found.as_ref().and_then(|found| band.holds(found)), Some(false));
            prop_assert!(writable && bound && !guarded && !paused && !expired);
            prop_assert!(kind == PointKind::Level && policy != Policy::Observe);
            prop_assert!(today > 0 && lifetime > 1);
            if let (PointValue::Number(value), Some(max)) = (&value, max) {
                prop_assert!(*value <= max);
            }
        }
    }

    /// Any instrument, turned by hand and cut off at any time: what is said of it is what it shows, and a quiet time after
    /// all that ends in a steady state without further writes beyond the slow retries.
    #[test]
    fn what_is_said_is_what_the_instrument_shows(
        habit in any_habit(),
        start in 0.0f64..100.0,
        wanted in 0i32..1_000,
        acts in proptest::collection::vec((0u8..5, 0.0f64..100.0), 0..30),
    ) {
        let wanted = f64::from(wanted) / 10.0;
        let mut holding = Loop::new(wanted, Policy::Enforce);
        let mut boiler = Instrument::new(start, habit);
        for (act, value) in acts {
            match act {
                0 => boiler.turn(value),
                1 => boiler.readable = false,
                2 => boiler.readable = true,
                _ => {}
            }
            holding.passes(&mut boiler, 1);
            if holding.status().0 == Conformity::InSync {
                prop_assert!(boiler.readable);
                prop_assert!((boiler.shown - wanted).abs() <= 0.05 + 1e-9, "{} {wanted}", boiler.shown);
            }
        }
        boiler.readable = true;
        if let Habit::GoesBlind = habit {
            boiler.habit = Habit::Takes;
        }
        holding.set(wanted);
        holding.now_ms += 3_600_000;
        holding.passes(&mut boiler, 5);
        let settled = boiler.writes.len();
        holding.passes(&mut boiler, 60);
        let takes = !matches!(boiler.habit, Habit::Ignores | Habit::Refuses | Habit::Rounds | Habit::LimitsTo(_));
        if takes {
            prop_assert_eq!(holding.status(), HELD);
            prop_assert_eq!(boiler.writes.len(), settled);
        } else {
            prop_assert!(boiler.writes.len() - settled <= 8);
        }
    }
}
