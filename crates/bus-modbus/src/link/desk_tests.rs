//! The desk's polls, on a stage.

use std::time::Duration;

use holdfast_domain::HealthStatus;
use holdfast_ports::bus::StartError;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::desk::{Command, Next};
use super::stage::Stage;
use super::wire::Failure;
use crate::fakes::{Document, sensor_id};

#[test]
fn polls_keep_their_phase() {
    let mut stage = Stage::new(30);
    stage.add(1, 100, 1_000);
    stage.run_until(10_000);
    assert_eq!(
        stage.times(1),
        (0..100).map(|poll| poll * 100).collect::<Vec<_>>()
    );
    assert_eq!(stage.stats().skipped_polls, 0);
}

#[test]
fn missed_polls_are_left_out_and_counted_and_never_made_up_for() {
    let mut stage = Stage::new(250);
    stage.add(1, 100, 1_000);
    stage.run_until(1_200);
    // Each begins as soon as the one before has ended, on the newest of the intervals that are past.
    assert_eq!(stage.times(1), [0, 250, 500, 750, 1_000]);
    // 11 intervals began up to the last poll; 5 were used.
    assert_eq!(stage.stats().skipped_polls, 6);
}

#[test]
fn a_unit_whose_passes_outlast_its_interval_is_polled_as_the_line_carries_it() {
    let mut stage = Stage::new(250);
    stage.add(1, 100, 1_000);
    stage.run_until(3_000);
    // Five passes are a measure: from then on with room to spare, evenly, and nothing is left out any more.
    let evenly: Vec<u64> = (0..6).map(|poll| 1_300 + poll * 300).collect();
    assert_eq!(stage.times(1)[5..], evenly);
    assert_eq!(stage.stats().skipped_polls, 6);
    let slowed = "polled every 300 ms instead of 100 ms: the line carries no more";
    let well = (HealthStatus::Online, None);
    assert_eq!(
        stage.witness.of(sensor_id(1)).health,
        [
            well.clone(),
            (HealthStatus::Online, Some(slowed.to_owned()))
        ],
        "told once, not with each pass"
    );
    // One pass that is still slower is no new measure; neither is one that is fast.
    for service in [2_000, 250, 250, 1] {
        stage.service = Duration::from_millis(service);
        let polls = stage.times(1).len();
        while stage.times(1).len() == polls {
            stage.run_until(stage.elapsed() + 1);
        }
    }
    assert_eq!(stage.stats().adaptations, 1);
    // Fast again, for more than one pass: as declared, without a burst.
    stage.service = Duration::from_millis(1);
    let from = stage.elapsed();
    stage.run_until(from + 3_000);
    let times = stage.times(1);
    let gaps: Vec<u64> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(gaps.iter().all(|gap| *gap >= 100), "{gaps:?}");
    assert!(
        gaps[gaps.len() - 15..].iter().all(|gap| *gap == 100),
        "{gaps:?}"
    );
    assert_eq!(stage.witness.of(sensor_id(1)).health.last(), Some(&well));
    assert_eq!(stage.stats().adaptations, 2);
}

#[test]
fn units_that_ask_a_line_for_too_much_get_their_shares_and_no_other_pays() {
    let mut stage = Stage::new(100);
    for unit in 1..=20 {
        stage.add(unit, 1_000, 1_000);
    }
    stage.add(21, 10_000, 1_000);
    stage.run_until(60_000);
    // 20 passes of 100 ms, and one each 10 s: with a fifth to spare 2.5 s; 2.3 s would do, were it found first.
    for unit in 1..=20 {
        let times = stage.times(unit);
        let last = &times[times.len() - 10..];
        assert!(
            last.windows(2)
                .all(|two| (2_100..=2_700).contains(&(two[1] - two[0]))),
            "unit {unit}: {last:?}"
        );
    }
    let times = stage.times(21);
    assert!(
        times[2..]
            .windows(2)
            .all(|two| (9_700..=10_300).contains(&(two[1] - two[0]))),
        "{times:?}"
    );
    let skipped = stage.stats().skipped_polls;
    stage.run_until(120_000);
    assert_eq!(
        stage.stats().skipped_polls,
        skipped,
        "what is carried is not overrun"
    );
    assert!(stage.stats().adaptations <= 6, "{:?}", stage.stats());
    // Three quarters of them go: the rest is carried as declared.
    for unit in 6..=20 {
        stage.desk.obey(Command::Remove(unit, None), stage.now);
    }
    stage.run_until(140_000);
    let times = stage.times(1);
    assert!(
        times[times.len() - 10..]
            .windows(2)
            .all(|two| two[1] - two[0] == 1_000),
        "{times:?}"
    );
}

#[test]
fn silent_units_are_asked_when_it_disturbs_no_poll() {
    let mut stage = Stage::new(5);
    stage.dead = [2, 3].into();
    stage.add(1, 1_000, 1_000);
    stage.add(2, 1_000, 500);
    stage.add(3, 1_000, 900);
    stage.run_until(120_000);
    // Asked once before it is known that they are dead; from then on unit 1 is always on time.
    let late: Vec<_> = stage
        .times(1)
        .into_iter()
        .skip(3)
        .filter(|time| time % 1_000 != 0)
        .collect();
    assert!(late.is_empty(), "{late:?}");
    assert!(stage.times(2).len() >= 5 && stage.times(3).len() >= 5);
}

#[test]
fn silent_units_take_at_most_a_tenth_of_a_line_that_others_need() {
    let mut stage = Stage::new(10);
    stage.dead = (10..20).collect();
    for unit in 1..20 {
        stage.add(unit, 1_000, 1_000);
    }
    stage.run_until(60_000);
    // Also in the beginning, when nobody knows who is dead: never two of them in a row while a poll is due.
    for unit in 1..10 {
        let times = stage.times(unit);
        let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(longest <= Some(2_200), "unit {unit}: {longest:?}");
    }
    let begun = stage.asked.len();
    stage.run_until(660_000);
    let wasted = stage.asked[begun..]
        .iter()
        .filter(|(_, unit)| *unit >= 10)
        .count() as u64
        * 1_000;
    assert!((30_000..=66_000).contains(&wasted), "{wasted} ms of 600 s");
    // A silent one alone on its line is nobody's burden, and asked more often.
    let mut alone = Stage::new(10);
    alone.dead = [1].into();
    alone.add(1, 1_000, 1_000);
    alone.run_until(310_000);
    assert!(alone.times(1).len() > 10, "{:?}", alone.times(1));
}

#[test]
fn a_line_that_is_down_is_tried_once_a_period_and_then_all_are_asked_at_once() {
    let mut stage = Stage::new(1);
    stage.refused = true;
    for unit in 1..=50 {
        stage.add(unit, 100, 1_000);
    }
    stage.run_until(40_000);
    let waits: Vec<u64> = stage
        .connects
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .collect();
    assert_eq!(
        waits,
        [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]
    );
    let seen = stage.witness.of(sensor_id(9));
    assert_eq!(
        seen.health,
        [(
            HealthStatus::Offline,
            Some("connect plc:502: connection refused".into())
        )]
    );
    assert_eq!(seen.polls, 9, "bad readings, once an attempt");

    stage.refused = false;
    let back = stage.now;
    stage.run_until(50_000);
    assert!(stage.times(50)[0] <= stage.connects[9] + 50 && stage.now > back);
    assert_eq!(
        stage.witness.of(sensor_id(50)).status(),
        Some(HealthStatus::Online)
    );
    assert_eq!(
        stage.stats().skipped_polls,
        0,
        "a line that is down misses no polls"
    );
}

#[test]
fn a_line_that_is_back_is_asked_before_the_next_interval() {
    let mut stage = Stage::new(1);
    stage.add(1, 3_600_000, 1_000);
    stage.add(2, 100, 50);
    stage.run_until(150);
    // Unit 2 falls silent, so the connection is dropped, and there is no new one for a while.
    stage.dead.insert(2);
    stage.refused = true;
    stage.run_until(5_000);
    assert_eq!(
        stage.witness.of(sensor_id(1)).status(),
        Some(HealthStatus::Offline)
    );
    stage.refused = false;
    stage.run_until(20_000);
    assert_eq!(stage.times(1).len(), 2);
    assert_eq!(
        stage.witness.of(sensor_id(1)).status(),
        Some(HealthStatus::Online)
    );
}

#[test]
fn a_unit_that_goes_while_it_is_asked_takes_nobody_along() {
    let mut stage = Stage::new(5);
    stage.add(1, 100, 1_000);
    stage.add(2, 100, 1_000);
    assert_eq!(stage.desk.next(stage.now), Next::Connect);
    stage.desk.connected(Ok(()), stage.now);
    let Next::Ask(ask) = stage.desk.next(stage.now) else {
        panic!("a poll is due")
    };
    assert_eq!(ask.unit_id, 1);
    let (done, mut is_done) = oneshot::channel();
    let answer = stage.desk.obey(Command::Remove(1, Some(done)), stage.now);
    assert!(answer.is_some() && is_done.try_recv().is_err());
    stage.answer(&ask);
    assert_eq!(stage.witness.of(sensor_id(1)).polls, 0);
    stage.run_until(1_000);
    assert_eq!(stage.times(2).len(), 10);
    assert_eq!(stage.times(1).len(), 1);
}

#[test]
fn units_that_answer_come_before_those_that_were_never_asked() {
    let mut stage = Stage::new(5);
    stage.add(1, 100, 1_000);
    stage.run_until(95);
    for unit in 2..=9 {
        stage.add(unit, 100, 1_000);
    }
    stage.now = stage.start + Duration::from_millis(100);
    stage.run_until(101);
    assert_eq!(stage.asked.last(), Some(&(100, 1)));
}

#[test]
fn a_start_behind_a_line_that_is_down_fails_at_once() {
    let mut stage = Stage::new(5);
    stage.refused = true;
    stage.add(1, 100, 1_000);
    stage.run_until(100);
    let (starting, mut answer) = oneshot::channel();
    let new = stage.new_unit(
        &Document::new(2, 502).unit(2).holdings(0..1),
        Some(starting),
    );
    stage.desk.obey(Command::Add(2, Box::new(new)), stage.now);
    let expected = StartError::Unreachable("connect plc:502: connection refused".into());
    assert_eq!(answer.try_recv(), Ok(Err(expected)));
    assert!(stage.witness.of(sensor_id(2)).health.is_empty());
}

proptest! {
    #[test]
    fn no_unit_is_polled_twice_for_one_interval(
        units in prop::collection::vec((10_u32..2_000, 10_u32..500, prop::bool::weighted(0.2)), 1..20),
        service_ms in 0_u64..60,
    ) {
        let mut stage = Stage::new(service_ms);
        for (unit, (interval, timeout, dead)) in (1..).zip(&units) {
            stage.add(unit, *interval, *timeout);
            if *dead {
                stage.dead.insert(unit);
            }
        }
        // An instrument that takes no time would be asked for ever at one moment.
        stage.service = stage.service.max(Duration::from_millis(1));
        stage.run_until(20_000);
        for (unit, (interval, _, dead)) in (1_u8..).zip(&units) {
            let times = stage.times(unit);
            // A poll may begin late by nearly an interval, and the next on time: two follow each other within less than
            // one, three never. Silent ones are asked by their backoff, which may be shorter than their interval.
            let interval = u64::from(*interval);
            prop_assert!(*dead || times.windows(3).all(|three| three[2] - three[0] >= interval), "unit {unit}: {times:?}");
            let most = 20_000 / interval + 2;
            prop_assert!(*dead || times.len() as u64 <= most, "unit {unit}: {} polls", times.len());
            // Each dead one costs the others its time-out and the patience, if the line is never free.
            let dead = units.iter().filter(|(_, _, dead)| *dead).count();
            prop_assert!(!times.is_empty() || dead > 6, "unit {unit} was never asked");
        }
    }
}

#[test]
fn a_poll_whose_answer_came_damaged_asks_once_more_and_then_the_unit_is_offline() {
    let mut stage = Stage::new(10);
    stage.add(1, 1_000, 1_000);
    stage.run_until(500);
    stage.read_script = [Failure::Damaged].into();
    stage.run_until(1_500);
    assert_eq!(stage.times(1), [0, 1_000, 1_010], "at once, and once");
    let well = (HealthStatus::Online, None);
    assert_eq!(stage.witness.of(sensor_id(1)).health, [well]);
    assert_eq!(stage.stats().damaged, 1);
    stage.read_script = [Failure::Damaged, Failure::Damaged].into();
    stage.run_until(2_500);
    assert_eq!(stage.times(1)[3..], [2_000, 2_010]);
    let seen = stage.witness.of(sensor_id(1));
    assert_eq!(seen.status(), Some(HealthStatus::Offline));
}
