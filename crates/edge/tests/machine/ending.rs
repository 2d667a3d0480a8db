//! An orderly end: what was begun is carried through and told, what only waited is not begun any more. And the largest step
//! of what is written once.

use holdfast_domain::{PointValue, document::command::CommandOutcome};
use holdfast_edge::machine::{CommandEffect, Effect};
use serde_json::json;

use crate::command_world::{START, World, guarded, plant};
use crate::support::point_id;

/// Lets the agent come to rest, for as long as the shell would; gives whether it did.
fn ends(world: &mut World) -> bool {
    world.machine.wind_down();
    for _ in 0..8_000 {
        if world.machine.is_at_rest() {
            return true;
        }
        world.run(1);
    }
    false
}

/// Runs until an effect like this is to be carried out next.
fn until(world: &mut World, wanted: impl Fn(&Effect) -> bool) {
    for _ in 0..10_000 {
        if world.open.front().is_some_and(&wanted) {
            return;
        }
        match world.open.pop_front() {
            Some(effect) => {
                if let Some(event) = world.carry_out(effect) {
                    world.now += 1;
                    world.tell(event);
                }
            }
            None => world.run(1),
        }
    }
    panic!("it never comes: {:?}", world.open);
}

#[test]
fn a_command_that_was_begun_is_carried_through_when_the_agent_ends() {
    let begun: [fn(&Effect) -> bool; 4] = [
        |effect| matches!(effect, Effect::Command(CommandEffect::Begin { .. })),
        |effect| matches!(effect, Effect::Command(CommandEffect::Write { .. })),
        |effect| matches!(effect, Effect::Command(CommandEffect::Read { .. })),
        |effect| matches!(effect, Effect::Command(CommandEffect::End(_))),
    ];
    for is_there in begun {
        let mut world = World::of(plant(json!({})));
        world.give(1, 3_000);
        until(&mut world, is_there);
        assert!(!world.machine.is_at_rest());
        assert!(ends(&mut world));
        assert_eq!(world.said.len(), 1, "it was told before the end");
        world.restart();
        world.run(10_000);
        assert_eq!(world.writes.len(), 1);
        assert_eq!(world.word(1).0, CommandOutcome::Verified);
    }
}

#[test]
fn what_only_waits_is_not_begun_when_the_agent_ends() {
    let mut world = World::of(guarded());
    world.give(1, 3_000);
    until(&mut world, |effect| {
        matches!(effect, Effect::Command(CommandEffect::Read { .. }))
    });
    assert!(world.machine.is_at_rest(), "its guards are only read");
    world.machine.wind_down();
    world.run(1_000);
    assert_eq!(world.writes.len(), 0);
    world.restart();
    world.run(10_000);
    assert_eq!(world.writes.len(), 0);
    let (outcome, why) = world.word(1);
    assert_eq!(outcome, CommandOutcome::Expired);
    assert!(why.contains("restarted before it was begun"), "{why}");
}

#[test]
fn an_end_without_a_hub_waits_for_the_disk_alone() {
    let mut world = World::of(plant(json!({})));
    world.give(1, 3_000);
    until(&mut world, |effect| {
        matches!(effect, Effect::Command(CommandEffect::Write { .. }))
    });
    world.hub_is_away = true;
    let before = world.now;
    assert!(ends(&mut world));
    assert!(world.now - before < 1_000, "{}", world.now - before);
    world.hub_is_away = false;
    world.restart();
    world.run(10_000);
    assert_eq!(world.word(1).0, CommandOutcome::Verified);
    assert_eq!(world.writes.len(), 1);
}

#[test]
fn nothing_is_polled_read_or_written_for_an_agent_that_ends() {
    let mut world = World::of(plant(json!({})));
    world.machine.wind_down();
    world.open.clear();
    world.give(1, 3_000);
    world.run(3_600_000);
    assert_eq!((world.writes.len(), world.words.len()), (0, 0));
    assert!(
        !world
            .open
            .iter()
            .any(|effect| matches!(effect, Effect::Poll { .. }))
    );
}

#[test]
fn what_is_written_once_goes_no_further_than_the_largest_step() {
    let dosing = || {
        plant(json!({
            "kind": "command", "table": "holding", "dataType": "int16", "limits": { "maxStep": 20 },
        }))
    };
    for (shows, value, outcome, words) in [
        (
            Some(PointValue::Integer(10)),
            30,
            CommandOutcome::Verified,
            "",
        ),
        (
            Some(PointValue::Integer(10)),
            31,
            CommandOutcome::Refused,
            "31 is further than 20 (maxStep) from 10",
        ),
        (
            Some(PointValue::Integer(60)),
            30,
            CommandOutcome::Refused,
            "give it in steps",
        ),
        (None, 10, CommandOutcome::Refused, "it can't be read"),
    ] {
        let mut world = World::of(dosing());
        world.values.remove(&point_id(START));
        if let Some(shows) = shows {
            world.values.insert(point_id(START), shows);
        }
        world.give(1, 3_000);
        let given = world
            .target
            .commands
            .items
            .last_mut()
            .expect("it was given");
        given.value = PointValue::Integer(value);
        world.run(5_000);
        let (found, why) = world.word(1);
        assert_eq!(found, outcome, "{value}: {why}");
        assert!(why.contains(words), "{why}");
        assert_eq!(
            world.writes.len(),
            usize::from(outcome == CommandOutcome::Verified)
        );
    }
}
