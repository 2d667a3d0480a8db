//! Values that an instrument does not take as they are: how often it is written, and what is a change by hand then.

use holdfast_domain::{
    PointValue, Quality,
    document::setpoint::{Conformity, Hold, Policy},
    hold::{Act, Band, Control, HoldReason, How, Instead, Observed, Told, Track},
};
use proptest::prelude::*;

use crate::support::holding::{Habit, Instrument, Loop, RESTORES};

const DEVIATES: (Conformity, Hold) = (Conformity::Deviates, Hold::Active);
const HELD: (Conformity, Hold) = (Conformity::InSync, Hold::Active);

/// Passes in a day, at 5 s each.
const DAY: u32 = 17_280;

fn limited() -> (Loop, Instrument) {
    (
        Loop::new(100.0, Policy::Enforce),
        Instrument::new(20.0, Habit::LimitsTo(80.0)),
    )
}

#[test]
fn what_is_ignored_is_tried_ever_more_rarely_and_once_a_day_at_last() {
    for (wanted, start, habit) in [
        (100.0, 80.0, Habit::LimitsTo(80.0)),
        (72.5, 72.0, Habit::Rounds),
        (72.5, 20.0, Habit::Ignores),
    ] {
        let mut holding = Loop::new(wanted, Policy::Enforce);
        let mut boiler = Instrument::new(start, habit);
        holding.passes(&mut boiler, 60);
        assert_eq!(holding.status(), DEVIATES, "{habit:?}");
        let learned = boiler.writes.len();
        assert!(learned <= 9, "{habit:?}: {learned} writes");
        let mut before = learned;
        for most in [9, 1, 1] {
            holding.passes(&mut boiler, DAY);
            assert_eq!(holding.status(), DEVIATES, "{habit:?}");
            let tries = boiler.writes.len() - before;
            assert!((1..=most).contains(&tries), "{habit:?}: {tries} a day");
            before = boiler.writes.len();
            let again = holding.last.as_ref().and_then(|last| last.look_at_ms);
            assert!(again > Some(holding.now_ms), "when comes next: {again:?}");
        }
        // It is repaired, and nothing of that shows.
        boiler.habit = Habit::Takes;
        holding.passes(&mut boiler, DAY);
        assert_eq!(holding.status(), HELD, "{habit:?}");
    }
}

#[test]
fn what_was_ignored_for_days_is_put_back_at_once_when_something_happens() {
    let happens: [fn(&mut Loop, &mut Instrument); 4] = [
        |_, boiler| boiler.turn(40.0),
        |_, boiler| boiler.turn(10.0),
        // It was replaced by one that shows the same.
        |holding, _| holding.track.lost_touch(),
        |holding, _| holding.track.try_once_more(),
    ];
    for (number, happens) in happens.into_iter().enumerate() {
        let mut holding = Loop::new(72.5, Policy::Enforce);
        let mut boiler = Instrument::new(20.0, Habit::Ignores);
        holding.passes(&mut boiler, 3 * DAY);
        assert_eq!(holding.status(), DEVIATES);
        boiler.habit = Habit::Takes;
        happens(&mut holding, &mut boiler);
        holding.passes(&mut boiler, 3);
        assert_eq!(holding.status(), HELD, "case {number}");
    }
}

#[test]
fn that_it_is_asked_again_changes_nothing_of_how_it_stands() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(20.0, Habit::Ignores);
    holding.passes(&mut boiler, 60);
    let (learned, mut pending) = (boiler.writes.len(), 0);
    for _ in 0..3_000 {
        let decision = holding.decide();
        assert_eq!(holding.status(), DEVIATES);
        match decision.act {
            Act::Read => {
                holding.now_ms += 5;
                holding.reading = Some(boiler.read(holding.now_ms));
            }
            Act::Write(PointValue::Number(value)) => {
                pending += 1;
                let outcome = boiler.write(value);
                holding.track.written(outcome, holding.now_ms, 0);
            }
            _ => {
                let next = decision.look_at_ms.expect("it will be asked again");
                holding.now_ms = next.max(holding.now_ms + 1);
                holding.reading = Some(boiler.read(holding.now_ms));
            }
        }
    }
    assert!(pending > 20 && boiler.writes.len() == learned + pending);
}

#[test]
fn what_is_not_to_be_held_is_not_asked_again() {
    let cases: [fn(&mut Loop); 4] = [
        |holding| holding.control = Control::Paused("belt".into()),
        |holding| holding.control = Control::Shadow,
        |holding| holding.setpoint.policy = Policy::Observe,
        |holding| holding.rules.identity = crate::support::holding::identity("elsewhere"),
    ];
    for (number, change) in cases.into_iter().enumerate() {
        let mut holding = Loop::new(72.5, Policy::Enforce);
        let mut boiler = Instrument::new(20.0, Habit::Ignores);
        holding.passes(&mut boiler, 60);
        change(&mut holding);
        let before = boiler.writes.len();
        holding.passes(&mut boiler, 2 * DAY);
        assert_eq!(boiler.writes.len(), before, "case {number}");
        assert_eq!(holding.status().0, Conformity::Deviates, "case {number}");
    }
}

#[test]
fn after_a_restart_what_is_ignored_is_not_tried_at_once() {
    let ignored = || Instead::remembered(PointValue::Number(20.0), How::KeptItsOwn);
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(20.0, Habit::Ignores);
    for _ in 0..20 {
        holding.track = Track::from_ledger(Some(ignored()));
        // Twelve minutes.
        holding.passes(&mut boiler, 144);
        assert_eq!(holding.status(), DEVIATES);
    }
    assert_eq!(boiler.writes.len(), 0, "no restart writes");
    holding.passes(&mut boiler, 450);
    assert_eq!((boiler.writes.len(), holding.status()), (1, DEVIATES));
    boiler.habit = Habit::Takes;
    holding.passes(&mut boiler, DAY);
    assert_eq!(holding.status(), HELD);
}

#[test]
fn what_is_ignored_is_nobodys_hand() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(72.5, Habit::Takes);
    holding.passes(&mut boiler, 1);
    assert_eq!(holding.status(), HELD);
    // Turned by hand once, and deaf from then on: however often it is tried, it is put back once.
    boiler.turn(20.0);
    boiler.habit = Habit::Ignores;
    for _ in 0..200 {
        holding.passes(&mut boiler, 1);
        assert_ne!(holding.status().1, Hold::Overridden);
    }
    assert!(boiler.writes.len() > RESTORES as usize);
    assert_eq!(holding.track.restores.len(), 1);
    boiler.habit = Habit::Takes;
    holding.passes(&mut boiler, DAY / 24);
    assert_eq!(holding.status(), HELD);
    // The same of one that refuses, and of a knob that is turned on and on.
    boiler.habit = Habit::Refuses;
    boiler.turn(21.0);
    holding.passes(&mut boiler, 200);
    assert_eq!(holding.status().1, Hold::Refused);
    boiler.habit = Habit::Takes;
    holding.passes(&mut boiler, 60);
    // The first was more than an hour ago by now.
    assert_eq!((holding.status(), holding.track.restores.len()), (HELD, 1));
    for turn in 0..50 {
        boiler.turn(f64::from(turn));
        holding.passes(&mut boiler, 1);
    }
    assert_eq!(holding.status(), (Conformity::Drifting, Hold::Overridden));
    assert_eq!(holding.track.restores.len(), RESTORES as usize);
}

#[test]
fn a_hand_that_is_faster_than_every_read_back_is_counted_too() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(72.5, Habit::Takes);
    holding.passes(&mut boiler, 1);
    boiler.turned_after = (0..200).map(|turn| f64::from(turn % 60)).collect();
    boiler.turn(0.5);
    let before = boiler.writes.len();
    holding.passes(&mut boiler, 3_000);
    assert_eq!(holding.status(), (Conformity::Drifting, Hold::Overridden));
    assert_eq!(boiler.writes.len() - before, RESTORES as usize);
}

#[test]
fn a_value_that_was_seen_between_two_looks_was_taken() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(20.0, Habit::ShowsLate(1));
    holding.now_ms = 10_000;
    holding.reading = Some(boiler.read(holding.now_ms));
    assert!(matches!(holding.decide().act, Act::Write(_)));
    let outcome = boiler.write(72.5);
    holding.track.written(outcome, 10_000, 0);
    // Within the settle time nothing is believed, wanted or not.
    let shows = |value: f64, at_ms: u64| Observed {
        value: Some(PointValue::Number(value)),
        quality: Quality::Good,
        at_ms,
        reason: None,
    };
    for (at, shown) in [(10_150, 72.5), (10_200, 20.0)] {
        holding.now_ms = at;
        holding.reading = Some(shows(shown, at));
        holding.decide();
        assert_ne!(holding.status(), HELD, "at {at}");
    }
    // The next look is due at 10,400; a pass sees it before, and then somebody turns it.
    holding.now_ms = 10_300;
    holding.reading = Some(shows(72.5, 10_290));
    holding.decide();
    assert_eq!(holding.status(), HELD);
    assert!(matches!(holding.told[..], [Told::Verified { .. }]));
    holding.now_ms = 10_400;
    holding.reading = Some(shows(60.0, 10_400));
    holding.decide();
    assert!(matches!(holding.told[..], [_, Told::Drifted { .. }]));
}

#[test]
fn what_was_learned_of_an_instrument_is_learned_anew_when_something_changes() {
    let (mut holding, mut boiler) = limited();
    holding.passes(&mut boiler, 10);
    assert_eq!((holding.status(), boiler.writes.len()), (DEVIATES, 2));
    // It was away: perhaps it is another by now. One write tells.
    boiler.readable = false;
    holding.passes(&mut boiler, 1);
    boiler.readable = true;
    holding.passes(&mut boiler, 100);
    assert_eq!((holding.status(), boiler.writes.len()), (DEVIATES, 3));
    assert!(matches!(holding.reason(), Some(HoldReason::Limited { .. })));
    // Somebody asks for a look.
    holding.track.try_once_more();
    holding.passes(&mut boiler, 100);
    assert_eq!((holding.status(), boiler.writes.len()), (DEVIATES, 4));
    // The same value, set again.
    holding.set(100.0);
    holding.passes(&mut boiler, 100);
    assert!(boiler.writes.len() <= 13, "{}", boiler.writes.len());
    boiler.habit = Habit::Takes;
    holding.track.try_once_more();
    holding.passes(&mut boiler, 1);
    assert_eq!(holding.status(), HELD);
}

#[test]
fn a_line_that_breaks_all_day_wears_no_instrument_out() {
    let (mut holding, mut boiler) = limited();
    for _ in 0..DAY / 2 {
        boiler.readable = false;
        holding.passes(&mut boiler, 1);
        boiler.readable = true;
        holding.passes(&mut boiler, 1);
    }
    assert_eq!(holding.status(), DEVIATES);
    assert!(boiler.writes.len() <= 20, "{}", boiler.writes.len());
}

#[test]
fn what_was_learned_outlives_a_restart_without_a_write() {
    let (mut holding, mut boiler) = limited();
    holding.passes(&mut boiler, 10);
    let instead = holding.track.instead.clone().expect("it was learned");
    assert!(instead.is_sure());
    assert_eq!(
        (instead.found(), instead.how()),
        (&PointValue::Number(80.0), How::Limited)
    );
    let kept = Instead::remembered(instead.found().clone(), instead.how());
    holding.track = Track::from_ledger(Some(kept));
    boiler.readable = false;
    holding.passes(&mut boiler, 2);
    boiler.readable = true;
    holding.passes(&mut boiler, 100);
    assert_eq!((holding.status(), boiler.writes.len()), (DEVIATES, 2));
    // It shows something else: then it is written.
    boiler.turn(30.0);
    holding.passes(&mut boiler, 1);
    assert_eq!((holding.status(), boiler.writes.len()), (DEVIATES, 3));
}

#[test]
fn a_knob_turned_before_the_read_back_is_no_limit() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(20.0, Habit::Takes);
    boiler.turned_after = vec![60.0];
    holding.now_ms += 5_000;
    holding.reading = Some(boiler.read(holding.now_ms));
    holding.pass(&mut boiler);
    assert_eq!(holding.status(), HELD);
    assert_eq!(boiler.writes, [72.5, 72.5]);
    // The same when the value was held before, and somebody turns it twice.
    boiler.turned_after = vec![61.0, 60.0];
    boiler.turn(50.0);
    holding.passes(&mut boiler, 5);
    assert_eq!(holding.status(), HELD);
}

#[test]
fn what_is_judged_by_one_write_is_not_said_to_deviate() {
    let (mut holding, mut boiler) = limited();
    let mut said = Vec::new();
    holding.now_ms += 5_000;
    holding.reading = Some(boiler.read(holding.now_ms));
    for _ in 0..200 {
        let decision = holding.decide();
        if boiler.writes.len() == 1 {
            said.push(holding.status());
        }
        match decision.act {
            Act::Read => {
                holding.now_ms += 5;
                holding.reading = Some(boiler.read(holding.now_ms));
            }
            Act::Write(PointValue::Number(value)) => {
                let outcome = boiler.write(value);
                holding.track.written(outcome, holding.now_ms, 0);
            }
            _ => match decision.look_at_ms {
                Some(at) => holding.now_ms = at.max(holding.now_ms + 1),
                None => break,
            },
        }
    }
    assert_eq!((holding.status(), boiler.writes.len()), (DEVIATES, 2));
    assert!(
        said.iter().all(|status| status.1 == Hold::Writing),
        "{said:?}"
    );
}

#[test]
fn a_limited_value_that_is_changed_by_hand_is_put_back_and_not_for_ever() {
    let (mut holding, mut boiler) = limited();
    holding.passes(&mut boiler, 10);
    assert_eq!(holding.status(), DEVIATES);
    let before = boiler.writes.len();
    for turn in 0..50 {
        boiler.turn(f64::from(turn));
        holding.passes(&mut boiler, 1);
    }
    assert_eq!(boiler.writes.len() - before, RESTORES as usize);
    assert_eq!(holding.status(), (Conformity::Drifting, Hold::Overridden));
    let drifted = holding.told.iter().find_map(|told| match told {
        Told::Drifted { before, after } => Some((before.clone(), after.clone())),
        _ => None,
    });
    let from_to = (PointValue::Number(80.0), PointValue::Number(0.0));
    assert_eq!(drifted, Some(from_to));
}

#[test]
fn a_slow_instrument_is_on_its_way_and_nobodys_hand_is_in_it() {
    let mut holding = Loop::new(100.0, Policy::Enforce);
    let mut valve = Instrument::new(0.0, Habit::Ignores);
    for step in 1..=100 {
        valve.turn(f64::from(step));
        holding.passes(&mut valve, 3);
        assert_ne!(holding.status().1, Hold::Overridden, "at {step}");
    }
    assert_eq!(holding.status(), HELD);
    let drifted = |told: &Told| matches!(told, Told::Drifted { .. });
    assert!(!holding.told.iter().any(drifted));
}

#[test]
fn a_write_that_is_lost_says_nothing_of_the_instrument() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    let mut boiler = Instrument::new(20.0, Habit::LosesRequests);
    holding.passes(&mut boiler, 60);
    assert_eq!(
        holding.status(),
        (Conformity::Drifting, Hold::Unreachable),
        "it never acknowledged"
    );
    assert!(holding.track.instead.is_none());
    boiler.habit = Habit::Takes;
    holding.passes(&mut boiler, 61);
    assert_eq!(holding.status(), HELD);
}

#[test]
fn a_limited_value_that_is_changed_by_hand_can_be_adopted() {
    let (mut holding, mut boiler) = limited();
    holding.setpoint.policy = Policy::Adopt;
    holding.passes(&mut boiler, 10);
    boiler.turn(60.0);
    holding.passes(&mut boiler, 2);
    assert_eq!(holding.adopted, [PointValue::Number(60.0)]);
    assert_eq!(holding.status(), HELD);
}

proptest! {
    /// Whatever an instrument makes of a value: once that is known and nothing changes, it is not written again, but for one
    /// that seems to ignore it, now and then.
    #[test]
    fn an_instrument_that_is_known_is_left_alone(
        limit in 0.0f64..100.0,
        start in 0.0f64..100.0,
        wanted in 0i32..1_000,
        rounds: bool,
    ) {
        let habit = if rounds { Habit::Rounds } else { Habit::LimitsTo(limit) };
        let mut holding = Loop::new(f64::from(wanted) / 10.0, Policy::Enforce);
        let mut boiler = Instrument::new(start, habit);
        holding.passes(&mut boiler, 100);
        let writes = boiler.writes.len();
        prop_assert!(writes <= 9);
        let has_moved = |instead: &Instead| instead.how() != How::KeptItsOwn;
        let most = if holding.track.instead.as_ref().is_some_and(has_moved) { 0 } else { 2 };
        holding.passes(&mut boiler, 300);
        prop_assert!(boiler.writes.len() <= writes + most);
    }

    /// A largest step is never exceeded, whatever its ratio to what the point can tell apart, and every step is inside the
    /// limits and one that the point can hold.
    #[test]
    fn no_write_is_further_than_the_largest_step(
        start in 0u32..1_000,
        wanted in 200u32..800,
        step in 2.05f64..40.0,
    ) {
        let tenth = |count: u32| f64::from(count) / 10.0;
        let mut holding = Loop::new(tenth(wanted), Policy::Enforce);
        let mut document = holdfast_domain::document::point::Limits {
            min: Some(20.0), max: Some(80.0), max_step: Some(step), extra: serde_json::Map::new(),
        };
        holding.rules.limits = Some(document.clone());
        holding.rules.budget.per_day = 10_000;
        let mut boiler = Instrument::new(tenth(start), Habit::Takes);
        holding.passes(&mut boiler, 400);
        let mut at = tenth(start);
        for write in &boiler.writes {
            prop_assert!((write - at).abs() <= step + 1e-6, "from {at} to {write}, {step} allowed");
            prop_assert!((19.999..=80.001).contains(write));
            prop_assert!((write * 10.0 - (write * 10.0).round()).abs() < 1e-6, "{write}");
            at = *write;
        }
        document.max_step = None;
        let is_inside = (20.0..=80.0).contains(&tenth(start));
        if is_inside {
            prop_assert_eq!(holding.status(), HELD);
        }
    }
}

#[test]
fn a_step_from_between_two_whole_numbers_is_no_larger_either() {
    for (shown, wanted, next) in [(69.2, 14, 39.2), (24.3, 77, 54.3)] {
        let mut holding = Loop::new(0.0, Policy::Enforce);
        holding.setpoint.value = PointValue::Integer(wanted);
        holding.band = Band::of(PointValue::Integer(wanted), None, holding.rules.resolution);
        holding.rules.limits = Some(holdfast_domain::document::point::Limits {
            min: None,
            max: None,
            max_step: Some(30.0),
            extra: serde_json::Map::new(),
        });
        let mut boiler = Instrument::new(shown, Habit::Takes);
        holding.reading = Some(boiler.read(holding.now_ms));
        let Act::Write(PointValue::Number(written)) = holding.decide().act else {
            panic!("a step of tenths is wanted, found {:?}", holding.last);
        };
        assert!((written - next).abs() < 1e-9, "{written}");
    }
}

#[test]
fn a_step_is_never_outside_the_limits() {
    let mut holding = Loop::new(72.0, Policy::Enforce);
    holding.rules.limits = Some(holdfast_domain::document::point::Limits {
        min: Some(30.0),
        max: Some(90.0),
        max_step: Some(20.0),
        extra: serde_json::Map::new(),
    });
    let mut boiler = Instrument::new(0.0, Habit::Takes);
    holding.passes(&mut boiler, 10);
    assert_eq!(boiler.writes, Vec::<f64>::new());
    assert_eq!(holding.status(), (Conformity::Drifting, Hold::Blocked));
    let why = holding.reason().expect("a reason").to_string();
    assert!(why.contains("20, is outside the point's limits"), "{why}");
    boiler.turn(15.0);
    holding.passes(&mut boiler, 1);
    assert_eq!(holding.status(), HELD);
}

#[test]
fn the_steps_of_one_way_back_are_one_restore_and_no_wish() {
    let mut holding = Loop::new(72.0, Policy::Adopt);
    holding.rules.limits = Some(holdfast_domain::document::point::Limits {
        min: Some(10.0),
        max: Some(90.0),
        max_step: Some(20.0),
        extra: serde_json::Map::new(),
    });
    let mut boiler = Instrument::new(72.0, Habit::Takes);
    holding.passes(&mut boiler, 1);
    assert_eq!(holding.status(), HELD);
    // Further away than a step: not a wish, and put back in steps.
    for _ in 0..RESTORES {
        boiler.turn(20.0);
        holding.passes(&mut boiler, 3);
        assert_eq!(holding.status(), HELD);
    }
    assert_eq!(holding.adopted, Vec::<PointValue>::new());
    assert_eq!(boiler.writes.len(), 3 * RESTORES as usize);
}

#[test]
fn a_guard_that_was_not_read_yet_allows_nothing_and_is_no_verdict() {
    let mut holding = Loop::new(72.5, Policy::Enforce);
    holding.guards = Err(holdfast_domain::hold::GuardFailure {
        point: holding.setpoint.point_id,
        why: "it was not read yet".into(),
        is_unread: true,
    });
    holding.reading = Some(Observed {
        value: Some(PointValue::Number(20.0)),
        quality: Quality::Good,
        at_ms: holding.now_ms,
        reason: None,
    });
    let decision = holding.decide();
    assert_eq!(decision.act, Act::Nothing);
    assert_eq!(holding.status(), (Conformity::Drifting, Hold::Active));
}
