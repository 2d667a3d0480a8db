//! Commands of the machine: each is written at most once, never late, whatever is killed when; and every one gets a word.

use holdfast_domain::{
    CommandId, PointValue, TargetState,
    document::{command::CommandOutcome, hold::HoldSettings},
    hold::WriteOutcome,
};
use holdfast_edge::machine::{CommandEffect, Effect, Event};
use serde_json::{Value, json};

use crate::{
    command_world::{READY, START, World, guarded, id, plant},
    on_site::stop,
    support::{changed, identity, ledger::Disk, point_id, target},
};

#[test]
fn a_pulse_is_written_once_read_back_and_told() {
    let mut world = World::of(plant(json!({})));
    world.give(1, 3_000);
    world.run(5_000);
    assert_eq!(world.writes.len(), 1);
    let word = &world.words[&id(1)];
    assert_eq!(
        (word.outcome, &word.value),
        (CommandOutcome::Verified, &Some(PointValue::Bool(true)))
    );
    assert!(
        word.took_ms.expect("it was written") >= 100,
        "after the settle time"
    );
    assert_eq!(
        world.disk.0.booked[&point_id(START)].writes,
        10,
        "counted before it was made"
    );
    // From then on nothing of it happens: it is no state.
    world
        .values
        .insert(point_id(START), PointValue::Bool(false));
    let said = world.said.len();
    world.run(3_500_000);
    assert_eq!((world.writes.len(), world.said.len()), (1, said));
}

#[test]
fn what_a_pulse_comes_to_is_told_apart() {
    let no = |text: &str| text.to_owned();
    for (answer, outcome, writes) in [
        (
            WriteOutcome::Refused(no("illegal data value")),
            CommandOutcome::Refused,
            0,
        ),
        (
            WriteOutcome::NotSent(no("connection refused")),
            CommandOutcome::Failed,
            0,
        ),
        (
            WriteOutcome::Unknown(no("no answer within 1 s")),
            CommandOutcome::OutcomeUnknown,
            1,
        ),
    ] {
        let mut world = World::of(plant(json!({})));
        world.answer = answer;
        world.give(1, 3_000);
        world.run(60_000);
        assert_eq!((world.word(1).0, world.writes.len()), (outcome, writes));
    }
    let mut world = World::of(plant(json!({})));
    world.give(1, 3_000);
    world.values.remove(&point_id(READY));
    while world.writes.is_empty() {
        world.run(1);
    }
    world
        .values
        .insert(point_id(START), PointValue::Bool(false));
    world.run(1_000);
    let (outcome, why) = world.word(1);
    assert_eq!(outcome, CommandOutcome::AcknowledgedUnverified);
    assert!(why.contains("it shows false"), "{why}");
}

#[test]
fn rules_are_looked_at_before_it_is_begun() {
    let refused = |target: TargetState, change: fn(&mut World), part: &str| {
        let mut world = World::of(target);
        world.give(1, 3_000);
        change(&mut world);
        world.run(5_000);
        let (outcome, why) = world.word(1);
        assert_eq!(outcome, CommandOutcome::Refused, "{part}");
        assert!(why.contains(part), "{why}");
        assert_eq!(world.writes, [], "{part}");
    };
    let not_ready = |world: &mut World| {
        world
            .values
            .insert(point_id(READY), PointValue::Bool(false));
    };
    refused(guarded(), not_ready, "it must be true, and is false");
    let unread = |world: &mut World| {
        world.values.remove(&point_id(READY));
    };
    refused(guarded(), unread, "not good");
    refused(plant(json!({})), World::stop, "stopped by ben: belt change");
    let shadow = |world: &mut World| {
        world.target.hold = HoldSettings {
            revision: 1,
            shadow: true,
            ..HoldSettings::default()
        };
    };
    refused(plant(json!({})), shadow, "shadow mode");
    let budget = json!({ "writeBudget": { "perDay": 0, "lifetime": 100 } });
    refused(plant(budget), |_| {}, "write budget is used up");
    let redefined = |world: &mut World| {
        world.target.commands.items[0].bound_to = holdfast_domain::Fingerprint::of_bytes(b"other");
    };
    refused(plant(json!({})), redefined, "pointRedefined");
    let mut world = World::of(guarded());
    world.give(1, 3_000);
    world.run(5_000);
    assert_eq!(world.word(1).0, CommandOutcome::Verified, "the guard holds");
}

/// Takes the first effect of a kind that is open.
fn take(world: &mut World, is_meant: impl Fn(&Effect) -> bool) -> Option<Effect> {
    let place = world.open.iter().position(is_meant)?;
    world.open.remove(place)
}

#[test]
fn a_stop_is_not_confirmed_while_a_command_is_being_written() {
    let mut world = World::of(plant(json!({})));
    world.give(1, 3_000);
    let write = loop {
        let is_write =
            |effect: &Effect| matches!(effect, Effect::Command(CommandEffect::Write { .. }));
        match take(&mut world, is_write) {
            Some(write) => break write,
            None => world.run(1),
        }
    };
    world.tell(Event::Ordered {
        number: 1,
        order: stop(None),
    });
    let is_confirmed = |world: &mut World| {
        while take(world, |effect| matches!(effect, Effect::Remember(_))).is_some() {
            world.tell(Event::Remembered(Ok(())));
        }
        take(world, |effect| matches!(effect, Effect::Answer { .. })).is_some()
    };
    assert!(!is_confirmed(&mut world), "it may still move something");
    let wrote = world.carry_out(write).expect("it is answered");
    world.tell(wrote);
    assert!(is_confirmed(&mut world));
}

#[test]
fn what_can_not_be_noted_is_not_written() {
    let mut world = World::of(plant(json!({})));
    world.give(1, 3_000);
    world.is_full = true;
    world.run(60_000);
    let (outcome, why) = world.word(1);
    assert_eq!((outcome, world.writes.len()), (CommandOutcome::Failed, 0));
    assert!(why.contains("no space left on device"), "{why}");
}

#[test]
fn a_command_that_comes_late_is_never_begun() {
    let mut world = World::of(plant(json!({})));
    world.hub_is_away = true;
    world.run(60_000);
    world.give(1, 3_000);
    world.give(2, 3_600_000);
    world.run(60_000);
    world.hub_is_away = false;
    world.run(120_000);
    let (outcome, why) = world.word(1);
    assert_eq!(outcome, CommandOutcome::Expired);
    assert!(why.contains("before the agent got it"), "{why}");
    assert_eq!(world.word(2).0, CommandOutcome::Verified);
    assert_eq!(world.writes.len(), 1);
}

#[test]
fn the_time_in_which_it_is_made_durable_counts() {
    for (hold_takes, outcome) in [
        (2_000, CommandOutcome::Verified),
        (3_500, CommandOutcome::Expired),
    ] {
        let mut world = World::of(plant(json!({})));
        world.hold_takes = hold_takes;
        world.give(1, 3_000);
        world.run(20_000);
        assert_eq!(world.word(1).0, outcome, "{hold_takes} ms");
        assert!(world.writes.iter().all(|(_, at)| *at < world.until[&id(1)]));
    }
}

#[test]
fn commands_of_a_point_are_carried_out_in_order_one_at_a_time() {
    let mut world = World::of(plant(json!({})));
    for number in [3, 1, 2] {
        world.give(number, 10_000);
    }
    world.give(4, 150);
    world.run(20_000);
    let order: Vec<CommandId> = world.writes.iter().map(|(id, _)| *id).collect();
    assert_eq!(order, [id(3), id(1), id(2)]);
    assert!(
        world
            .writes
            .windows(2)
            .all(|pair| pair[1].1 >= pair[0].1 + 100),
        "{:?}",
        world.writes
    );
    let (outcome, why) = world.word(4);
    assert_eq!(outcome, CommandOutcome::Expired, "its turn came too late");
    assert!(why.contains("before it could be begun"), "{why}");
}

#[test]
fn a_command_of_a_point_that_is_gone_is_refused() {
    let mut world = World::of(plant(json!({})));
    world.give(1, 3_000);
    world.target.items.clear();
    world.target.version = 2;
    world.run(10_000);
    let (outcome, why) = world.word(1);
    assert_eq!((outcome, world.writes.len()), (CommandOutcome::Refused, 0));
    assert!(why.contains("no such point"), "{why}");
}

#[test]
fn a_command_waits_for_its_sensor_no_longer_than_it_is_valid() {
    for (valid_for_ms, outcome) in [
        (3_000, CommandOutcome::Expired),
        (30_000, CommandOutcome::Verified),
    ] {
        let mut world = World::of(plant(json!({})));
        world.start_fails_until = world.now + 10_000;
        world.give(1, valid_for_ms);
        // Another instrument is to be started in its place.
        let other = changed(
            1,
            json!({ "pollInterval": 500, "connection": { "type": "tcp", "host": "10.0.0.6", "unitId": 1 },
            "dataPoints": document_points(&world.target) }),
        );
        world.target.items = target(2, [other]).items;
        world.target.version = 2;
        let identity = world.rules().identity;
        world.target.commands.items[0].bound_to = identity;
        world.run(40_000);
        let (found, why) = world.word(1);
        assert_eq!(found, outcome, "{why}");
        let is_told = why.contains("its sensor does not run: no answer");
        assert_eq!(is_told, outcome == CommandOutcome::Expired, "{why}");
    }
}

fn document_points(target: &TargetState) -> Value {
    let document = serde_json::to_value(&*target.items[0].sensor).expect("JSON");
    document["dataPoints"].clone()
}

#[test]
fn a_hub_restored_from_a_backup_offers_in_vain() {
    let mut world = World::of(plant(json!({})));
    world.give(1, 3_600_000);
    world.run(5_000);
    assert_eq!(world.word(1).0, CommandOutcome::Verified);
    // It has lost the word, and goes on above what the agent holds.
    world.words.clear();
    world.target.commands.revision += 5;
    world.run(60_000);
    assert_eq!(
        world.word(1).0,
        CommandOutcome::Verified,
        "the word is said again"
    );
    world.words.clear();
    world.target.commands.revision += 5;
    world.restart();
    world.run(60_000);
    assert_eq!(
        world.word(1).0,
        CommandOutcome::Verified,
        "also after a restart"
    );
    assert_eq!(world.writes.len(), 1);
}

#[test]
fn a_disk_that_is_new_begins_nothing_that_was_given_before() {
    let mut world = World::of(plant(json!({})));
    world.disk = Disk::default();
    world.disk.set_identity(&identity());
    world.give(1, 3_600_000);
    world.restart();
    world.run(10_000);
    assert_eq!(
        (world.word(1).0, world.writes.len()),
        (CommandOutcome::OutcomeUnknown, 0)
    );
    world.give(2, 3_000);
    world.run(10_000);
    assert_eq!(
        (world.word(2).0, world.writes.len()),
        (CommandOutcome::Verified, 1)
    );
}

/// Two commands, a stop between them on the way, and kills at these half steps. Whatever they hit, nothing is written
/// twice, nothing late, and each command gets a word that fits what was done.
fn killed_at(kills: &[u64], cancelled_after: Option<u64>) -> u64 {
    let mut world = World::of(guarded());
    world.kills = kills.to_vec();
    world.give(1, 3_000);
    world.give(2, 10_000);
    let ms = cancelled_after.unwrap_or_default().min(400);
    world.run(ms);
    if cancelled_after.is_some() {
        world.cancel(1);
        world.cancel(2);
    }
    world.run(400 - ms);
    world.give(3, 2_000);
    world.run(40_000);
    for number in 1..=3 {
        let writes: Vec<u64> = world
            .writes
            .iter()
            .filter(|(of, _)| *of == id(number))
            .map(|(_, at)| *at)
            .collect();
        assert!(
            writes.len() <= 1,
            "killed at {kills:?}: {number} was written {} times",
            writes.len()
        );
        assert!(
            writes.iter().all(|at| *at < world.until[&id(number)]),
            "killed at {kills:?}: late"
        );
        let word = world
            .words
            .get(&id(number))
            .unwrap_or_else(|| panic!("killed at {kills:?}: no word on {number}"));
        let fits = if writes.is_empty() {
            word.outcome.is_unwritten() || word.outcome == CommandOutcome::OutcomeUnknown
        } else {
            !word.outcome.is_unwritten()
        };
        assert!(
            fits,
            "killed at {kills:?}: {number} was written {} times: {word:?}",
            writes.len()
        );
        let said = world.said.iter().filter(|said| said.id == id(number));
        assert!(
            said.clone().all(|said| said.outcome == word.outcome),
            "killed at {kills:?}: two words"
        );
    }
    world.half_steps
}

#[test]
fn killed_at_every_boundary_nothing_is_written_twice() {
    // Beyond so many half steps nothing of the commands happens any more.
    const INTERESTING: u64 = 90;
    assert!(killed_at(&[], None) > INTERESTING);
    for first in 0..INTERESTING {
        killed_at(&[first], None);
        for second in (first + 1..INTERESTING).step_by(4) {
            killed_at(&[first, second], None);
        }
    }
}

#[test]
fn killed_at_every_boundary_what_is_cancelled_is_told_as_it_was() {
    for ms in (0..400).step_by(7) {
        killed_at(&[], Some(ms));
    }
    for ms in [0, 3, 8, 40, 200] {
        for kill in 0..90 {
            killed_at(&[kill], Some(ms));
        }
    }
}

#[test]
fn what_was_not_begun_can_be_cancelled_and_what_was_begun_comes_to_its_end() {
    let mut world = World::of(plant(json!({ "settleMs": 5_000 })));
    world.give(1, 30_000);
    world.give(2, 30_000);
    while world.writes.is_empty() {
        world.run(1);
    }
    world.cancel(1);
    world.cancel(2);
    world.run(20_000);
    assert_eq!(world.word(1).0, CommandOutcome::Verified, "it was begun");
    let (outcome, why) = world.word(2);
    assert_eq!(outcome, CommandOutcome::Cancelled);
    assert_eq!(why, "it was cancelled before it was begun");
    assert_eq!(world.writes.len(), 1);
    assert_eq!(world.said.len(), 2, "one word each");

    let mut world = World::of(plant(json!({})));
    world.hub_is_away = true;
    world.give(1, 3_000);
    world.cancel(1);
    world.run(1_000);
    world.hub_is_away = false;
    world.run(20_000);
    assert_eq!(
        world.word(1).0,
        CommandOutcome::Cancelled,
        "it never waited"
    );
    assert_eq!(world.writes, []);
}

#[test]
fn what_the_account_of_a_pulse_says_goes_with_the_word() {
    let mut world = World::of(plant(
        json!({ "writeBudget": { "perDay": 100, "lifetime": 1_000 } }),
    ));
    world.give(1, 3_000);
    world.run(5_000);
    assert_eq!(world.word(1).0, CommandOutcome::Verified);
    let said = world.accounts[&point_id(START)];
    assert_eq!((said.writes, said.budget_left), (1, 999));
    world.give(2, 3_000);
    world.run(5_000);
    assert_eq!(world.accounts[&point_id(START)].writes, 2);
    // A boot's first report says it too; what was booked ahead counts as written.
    world.accounts.clear();
    world.restart();
    world.run(5_000);
    assert_eq!(world.accounts[&point_id(START)].writes, 10);
}
