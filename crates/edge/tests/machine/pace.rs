//! How often outputs are looked at, and what the hub hears of it: the last passes, and a busy machine.

use holdfast_domain::{document::hold::HoldReport, pace::Pressure, values::ReportedValues};
use holdfast_edge::machine::Event;

use crate::{
    holding::{Plant, plant_target, run, set},
    rig::Rig,
};

fn settled() -> (Rig, Plant) {
    let mut rig = Rig::running(set(plant_target(&[1]), &[(1, 72.5, 1)]));
    let mut plant = Plant::of(&[(1, 72.5)]);
    run(&mut rig, &mut plant, 60_000);
    rig.counts.clear();
    (rig, plant)
}

fn told(heard: &[ReportedValues]) -> Vec<HoldReport> {
    heard
        .iter()
        .filter_map(|values| values.hold.clone())
        .collect()
}

#[test]
fn a_thousand_passes_of_wobbling_length_are_no_news() {
    let (mut rig, mut plant) = settled();
    plant.delays = vec![40, 31, 47, 35, 49, 33, 44];
    run(&mut rig, &mut plant, 60_000);
    rig.counts.clear();
    let heard = run(&mut rig, &mut plant, 5_000 * 1_000);
    assert!(rig.count("read") >= 1_000, "{:?}", rig.counts);
    // A heartbeat says nothing of outputs; one in an hour is full.
    assert!(heard.len() <= 2, "{}", heard.len());
    assert!(rig.count("report") <= 5_000_000 / 27_000 + 1);
    let hold = told(&heard).pop().expect("a full report");
    assert_eq!(
        (hold.pass_ms, hold.recommended_interval_ms),
        (Some(50), Some(100))
    );
}

#[test]
fn slower_passes_are_told_once_and_the_interval_that_is_kept_with_them() {
    let (mut rig, mut plant) = settled();
    plant.delays = vec![7_000];
    let heard = run(&mut rig, &mut plant, 600_000);
    let said = told(&heard);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(
        (
            said[0].pass_ms,
            said[0].recommended_interval_ms,
            said[0].interval_ms
        ),
        (Some(10_000), Some(12_500), 12_500)
    );
    let reads = rig.count("read");
    assert!(
        (600_000 / 8_750 - 3..=600_000 / 8_750 + 3).contains(&reads),
        "{reads}"
    );
    plant.delays = vec![10];
    let heard = run(&mut rig, &mut plant, 600_000);
    let said = told(&heard);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!((said[0].pass_ms, said[0].interval_ms), (Some(10), 5_000));
}

#[test]
fn passes_that_fit_into_the_interval_do_not_change_what_is_told_of_it() {
    let mut target = set(plant_target(&[1]), &[(1, 72.5, 1)]);
    target.hold.revision = 1;
    target.hold.interval_ms = 3_000;
    let mut rig = Rig::running(target);
    let mut plant = Plant::of(&[(1, 72.5)]);
    plant.delays = vec![2_600];
    run(&mut rig, &mut plant, 60_000);
    rig.counts.clear();
    // An hour: a full report says it all again.
    let heard = run(&mut rig, &mut plant, 3_600_000);
    let said = told(&heard).pop().expect("a full report");
    assert_eq!((said.pass_ms, said.interval_ms), (Some(5_000), 3_000));
    assert!(
        (1_190..=1_210).contains(&rig.count("read")),
        "{:?}",
        rig.counts
    );
    // Now and then one that does not fit is no news; if they go on, it is.
    plant.delays = vec![3_200, 3_200, 2_600];
    let heard = run(&mut rig, &mut plant, 600_000);
    assert!(told(&heard).iter().all(|said| said.interval_ms == 3_000));
    plant.delays = vec![3_200];
    let heard = run(&mut rig, &mut plant, 600_000);
    let said = told(&heard).pop().expect("it is told");
    assert_eq!((said.pass_ms, said.interval_ms), (Some(5_000), 6_250));
}

#[test]
fn a_busy_machine_looks_less_often_and_says_so() {
    let (mut rig, mut plant) = settled();
    rig.event(Event::Pressure(Some(Pressure(600))));
    let heard = run(&mut rig, &mut plant, 100_000);
    assert!((9..=12).contains(&rig.count("read")), "{:?}", rig.counts);
    assert_eq!(
        told(&heard).pop().map(|hold| hold.interval_ms),
        Some(10_000)
    );
    rig.counts.clear();
    for _ in 0..1_000 {
        rig.event(Event::Pressure(Some(Pressure(550))));
        rig.event(Event::Pressure(Some(Pressure(640))));
    }
    assert_eq!(rig.counts.get("report"), None);
    rig.event(Event::Pressure(None));
    let heard = run(&mut rig, &mut plant, 100_000);
    assert!(rig.count("read") >= 19, "{:?}", rig.counts);
    assert_eq!(told(&heard).pop().map(|hold| hold.interval_ms), Some(5_000));
}
