//! Nothing changed means nothing happens.

use holdfast_edge::machine::{Effect, Event};
use holdfast_ports::hub_link::{Polled, ReportAnswer};

use crate::{
    rig::{Rig, away, verb},
    support::{sensor, target},
};

#[test]
fn a_thousand_reconnects_and_resent_targets_do_nothing() {
    let wanted = target(9, (1..=20).map(sensor));
    let mut rig = Rig::running(wanted.clone());
    let began = rig.now;
    let mut polls = 0;
    while polls < 1_000 {
        let unexpected = rig
            .open
            .iter()
            .find(|effect| !["report", "poll"].contains(&verb(effect)));
        assert_eq!(unexpected, None, "after {polls} polls");
        if rig
            .find(|effect| matches!(effect, Effect::Report(_)))
            .is_some()
        {
            rig.event(Event::Reported(Ok(ReportAnswer::Taken)));
        }
        if rig
            .find(|effect| matches!(effect, Effect::Poll { .. }))
            .is_some()
        {
            polls += 1;
            rig.event(Event::Polled(match polls % 3 {
                0 => Err(away()),
                1 => Ok(Polled::Target(Box::new(wanted.clone()))),
                _ => Ok(Polled::Unchanged),
            }));
        }
        rig.pass(100);
    }
    let heartbeats = (rig.now - began) / 27_000 + 1;
    assert!(
        rig.count("report") <= heartbeats,
        "{} reports, {heartbeats} heartbeats",
        rig.count("report")
    );
    rig.counts.remove("report");
    rig.counts.remove("poll");
    assert!(rig.counts.is_empty(), "{:?}", rig.counts);
}

#[test]
fn a_hub_that_does_not_wait_is_not_hammered() {
    let mut rig = Rig::running(target(1, []));
    let began = rig.now;
    for _ in 0..100 {
        rig.wait_for(|effect| matches!(effect, Effect::Poll { .. }));
        rig.take("poll");
        rig.event(Event::Polled(Ok(Polled::Unchanged)));
    }
    assert!(rig.now - began >= 99_000);
}

#[test]
fn a_poll_that_waited_is_followed_by_another_at_once() {
    let mut rig = Rig::running(target(1, []));
    rig.pass(30_000);
    rig.take("poll");
    rig.event(Event::Polled(Ok(Polled::Unchanged)));
    rig.take("poll");
}

/// A machine that is left alone sleeps.
#[test]
fn an_idle_machine_wakes_for_heartbeats_only() {
    let mut rig = Rig::running(target(1, (1..=5).map(sensor)));
    let mut ticks = 0;
    let end = rig.now + 3_600_000;
    while let Some(wake) = rig.machine.next_wake().filter(|wake| *wake < end) {
        rig.now = wake;
        rig.event(Event::Tick);
        ticks += 1;
        if rig
            .find(|effect| matches!(effect, Effect::Report(_)))
            .is_some()
        {
            rig.event(Event::Reported(Ok(ReportAnswer::Taken)));
        }
    }
    assert!(ticks <= 3_600 / 27 + 1, "{ticks} wake-ups in an hour");
}
