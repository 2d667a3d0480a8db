//! Commands: each at most once, never late, and a word on every one; at the hub, and as an agent decides.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_domain::{
    CommandId, Fingerprint, PointId, PointValue,
    docket::{Came, Docket, forbids},
    document::{
        command::{Command, CommandOutcome, CommandReport, Commands},
        hold::Scope,
        point::PointKind,
    },
    event::{Event, EventKind},
    limits,
    receive::Received,
    row::Actor,
    values::ReportedValues,
    wish::{CommandRequest, WishError, command, interrupt, kind_of},
};
use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Map, json};

use crate::support::{
    documents::uuid,
    life::{Agent, Life, start},
    wishes::{boiler, point},
};

pub(crate) fn one(id: u128) -> CommandRequest {
    CommandRequest {
        id: uuid(id),
        value: PointValue::Bool(true),
        valid_for_ms: 3_000,
        reason: Some("start-up".into()),
        key: None,
    }
}

/// A boiler that runs, and its start pulse.
pub(crate) fn started() -> (Life, Agent, PointId) {
    let (life, agent, sensor, _) = boiler();
    let pulse = point(&life, sensor, "start");
    (life, agent, pulse)
}

pub(crate) fn give(
    life: &mut Life,
    pulse: PointId,
    request: CommandRequest,
) -> Result<CommandId, WishError> {
    let context = life.context("anna");
    let (id, change) = command(&life.state, pulse, request, &context)?;
    if let Some(change) = change {
        assert!(change.changes_desired(), "the agent waits for it");
        life.commit(change);
    }
    Ok(id)
}

pub(crate) fn word(id: CommandId, outcome: CommandOutcome) -> CommandReport {
    CommandReport {
        id,
        outcome,
        reason: Some("why".into()),
        value: Some(PointValue::Bool(true)),
        at: start(),
        took_ms: Some(38),
    }
}

pub(crate) fn says(life: &mut Life, agent: &mut Agent, words: &[CommandReport]) -> Received {
    let mut report = agent.heartbeat();
    report.values = Some(of(life, words));
    life.report(report)
}

fn of(life: &Life, words: &[CommandReport]) -> ReportedValues {
    ReportedValues {
        held_commands: life.state.target.values.commands.revision,
        commands: words.iter().map(|word| (word.id, word.clone())).collect(),
        ..ReportedValues::default()
    }
}

pub(crate) fn told(life: &Life) -> Commands {
    life.state.target_state(life.now).commands
}

#[test]
fn a_command_is_told_until_the_agent_has_given_its_word() {
    let (mut life, mut agent, pulse) = started();
    let before = life.state.target.etag();
    let id = give(&mut life, pulse, one(1)).expect("it can be given");
    assert_eq!(kind_of(&life.state, pulse), Some(PointKind::Pulse));
    assert_ne!(life.state.target.etag(), before);
    let document = told(&life);
    assert_eq!(
        (document.items[0].id, document.items[0].valid_for_ms),
        (id, 3_000)
    );

    life.now += SignedDuration::from_millis(2_400);
    assert_eq!(told(&life).items[0].valid_for_ms, 600, "what is left of it");
    life.now += SignedDuration::from_hours(2);
    assert_eq!(told(&life).items[0].valid_for_ms, 0, "over, and still told");
    assert!(life.state.has_ends());

    let (from, version) = (life.log.len(), life.state.target.etag());
    says(&mut life, &mut agent, &[word(id, CommandOutcome::Expired)]);
    assert_eq!(told(&life).items, [], "it is not told any more");
    assert_eq!(
        life.state.target.etag(),
        version,
        "a word changes no target"
    );
    let event = &life.log[from];
    assert_eq!(event.kind, EventKind::CommandExpired);
    let caused = event.causation.expect("it comes of the request");
    let request = life
        .log
        .iter()
        .find(|event: &&Event| event.sequence == caused);
    assert_eq!(
        request.map(|event| event.kind),
        Some(EventKind::CommandRequested)
    );
    assert_eq!(event.payload["setBy"], "anna");
}

#[test]
fn the_first_word_stands_whatever_is_said_later() {
    let (mut life, mut agent, pulse) = started();
    let id = give(&mut life, pulse, one(1)).expect("it can be given");
    let first = word(id, CommandOutcome::Verified);
    says(&mut life, &mut agent, std::slice::from_ref(&first));
    let from = life.log.len();
    assert_eq!(
        says(&mut life, &mut agent, &[word(id, CommandOutcome::Expired)]),
        Received::Unchanged
    );
    agent.reboot();
    agent.work(&life, |_| false);
    for words in [vec![], vec![word(id, CommandOutcome::OutcomeUnknown)]] {
        let mut full = agent.full();
        full.values = Some(of(&life, &words));
        life.report(full);
        let kept = &life
            .state
            .reported
            .as_ref()
            .expect("it reports")
            .values
            .commands;
        assert_eq!(kept.values().collect::<Vec<_>>(), [&first]);
    }
    let commands = |event: &Event| event.kind.as_str().starts_with("command.");
    assert!(!life.log[from..].iter().any(commands));
    says(
        &mut life,
        &mut agent,
        &[word(CommandId(uuid(99)), CommandOutcome::Verified)],
    );
    assert_eq!(
        life.state
            .reported
            .as_ref()
            .expect("it reports")
            .values
            .commands
            .len(),
        1,
        "a word on a command that nobody gave is not kept"
    );
}

#[test]
fn every_outcome_has_its_event() {
    let (mut life, mut agent, pulse) = started();
    let outcomes = [
        (CommandOutcome::Verified, "command.verified"),
        (
            CommandOutcome::AcknowledgedUnverified,
            "command.acknowledged_unverified",
        ),
        (CommandOutcome::Refused, "command.refused"),
        (CommandOutcome::Failed, "command.failed"),
        (CommandOutcome::Expired, "command.expired"),
        (CommandOutcome::OutcomeUnknown, "command.outcome_unknown"),
    ];
    for (number, (outcome, kind)) in (1..).zip(outcomes) {
        let id = give(&mut life, pulse, one(number)).expect("it can be given");
        says(&mut life, &mut agent, &[word(id, outcome)]);
        assert_eq!(life.log.last().map(|event| event.kind.as_str()), Some(kind));
    }
}

#[test]
fn what_can_not_be_commanded_is_refused() {
    let (mut life, _, sensor, level) = boiler();
    let pulse = point(&life, sensor, "start");
    let refused =
        |life: &mut Life, point, request| give(life, point, request).expect_err("it can't");
    let error = refused(&mut life, level, one(1));
    assert!(
        matches!(
            error,
            WishError::NotCommandable {
                found: "a level",
                ..
            }
        ),
        "{error}"
    );
    let reading = point(&life, sensor, "temperature");
    assert!(matches!(
        refused(&mut life, reading, one(1)),
        WishError::NotCommandable { .. }
    ));
    let number = CommandRequest {
        value: PointValue::Integer(3),
        ..one(1)
    };
    assert!(matches!(
        refused(&mut life, pulse, number),
        WishError::Invalid(_)
    ));
    for valid_for_ms in [0, 99, 3_600_001, u64::MAX] {
        let request = CommandRequest {
            valid_for_ms,
            ..one(1)
        };
        assert!(matches!(
            refused(&mut life, pulse, request),
            WishError::Invalid(_)
        ));
    }
    let nowhere = PointId(uuid(77));
    assert_eq!(
        refused(&mut life, nowhere, one(1)),
        WishError::NoSuchPoint(nowhere)
    );
    for (number, scope) in (700..).zip([Scope::Device, Scope::Sensor(sensor), Scope::Point(pulse)])
    {
        let context = life.context("ben");
        let until = Some(context.now + SignedDuration::from_secs(60));
        let stop = interrupt(
            &life.state,
            scope,
            Some("belt change"),
            until,
            uuid(number),
            &context,
        );
        let before = life.state.clone();
        life.commit(stop.expect("it can be stopped"));
        let error = refused(&mut life, pulse, one(1));
        assert!(error.to_string().contains("ben: belt change"), "{error}");
        life.now += SignedDuration::from_secs(61);
        give(&mut life, pulse, one(number)).expect("its time is over");
        life.state.target.values.hold = before.target.values.hold;
    }
}

#[test]
fn the_same_request_again_gives_nothing_new() {
    let (mut life, _, pulse) = started();
    let keyed = |id| CommandRequest {
        key: Some("k".into()),
        ..one(id)
    };
    let id = give(&mut life, pulse, keyed(1)).expect("it can be given");
    let events = life.log.len();
    assert_eq!(give(&mut life, pulse, keyed(2)), Ok(id));
    assert_eq!(life.log.len(), events);
    let other = CommandRequest {
        value: PointValue::Bool(false),
        ..keyed(3)
    };
    assert!(matches!(
        give(&mut life, pulse, other),
        Err(WishError::Invalid(_))
    ));
    assert_ne!(
        give(&mut life, pulse, one(4)),
        Ok(id),
        "without a key it is another"
    );
}

#[test]
fn commands_are_bounded_and_the_oldest_that_are_done_go() {
    let (mut life, mut agent, pulse) = started();
    for number in 0..limits::COMMANDS_WAITING as u128 {
        give(&mut life, pulse, one(number)).expect("there is room");
    }
    let full = WishError::TooManyCommands(limits::COMMANDS_WAITING);
    assert_eq!(give(&mut life, pulse, one(1_000)), Err(full));
    for number in 1_000..1_100 {
        let done = told(&life).items[0].id;
        says(
            &mut life,
            &mut agent,
            &[word(done, CommandOutcome::Verified)],
        );
        give(&mut life, pulse, one(number)).expect("there is room again");
    }
    let records = &life.state.target.values.commands.records;
    assert_eq!(records.len(), limits::COMMANDS_KEPT);
    assert_eq!(
        life.state.commands_waiting().count(),
        limits::COMMANDS_WAITING
    );
    assert!(records.is_sorted_by_key(|record| record.revision));
}

#[test]
fn a_restored_hub_goes_on_above_the_commands_that_the_agent_holds() {
    let (mut life, mut agent, pulse) = started();
    give(&mut life, pulse, one(1)).expect("it can be given");
    let mut report = agent.heartbeat();
    report.values = Some(ReportedValues {
        held_commands: 9,
        ..ReportedValues::default()
    });
    life.report(report);
    assert_eq!(life.state.target.values.commands.revision, 10);
    assert_eq!(told(&life).items.len(), 1);
}

pub(crate) fn given(id: u128, point: u128, valid_for_ms: u64) -> Command {
    Command {
        id: CommandId(uuid(id)),
        point_id: PointId(uuid(0x100 + point)),
        bound_to: Fingerprint::of_bytes(b"point"),
        value: PointValue::Bool(true),
        valid_for_ms,
        set_by: Actor::named("anna"),
        reason: None,
        cancelled: false,
        extra: Map::new(),
    }
}

#[test]
fn the_rules_of_the_point_are_checked_again_at_the_agent() {
    let (life, _, pulse) = started();
    let item = &life.state.target.items[0];
    let mut rules = item
        .sensor
        .content()
        .binding
        .point_rules(pulse)
        .expect("it is there");
    let mut command = given(1, 1, 3_000);
    assert!(
        forbids(&rules, &command)
            .expect("it is another point")
            .contains("pointRedefined")
    );
    command.bound_to = rules.identity;
    assert_eq!(forbids(&rules, &command), None);
    command.extra.insert("onlyIf".into(), json!(1));
    assert!(
        forbids(&rules, &command)
            .expect("an unknown field")
            .contains("onlyIf")
    );
    command.extra.clear();
    rules.writable = false;
    assert!(forbids(&rules, &command).is_some());
    rules.kind = PointKind::Level;
    assert!(
        forbids(&rules, &command)
            .expect("a level")
            .contains("level")
    );
}

/// What happens to an agent.
#[derive(Debug, Clone)]
enum Step {
    /// The hub offers these, in this order, with these validities; `true`: it was cancelled.
    Offer(Vec<(u128, u64, bool)>),
    /// It begins this of what may be begun.
    Begin(usize),
    /// One of those under way ends.
    End(usize),
    /// Time goes by.
    Pass(u64),
    /// It is killed, and starts again from its disk; `true`: the last note of an end was not durable yet.
    Restart(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let offer = prop::collection::vec(
        (
            0..12_u128,
            prop_oneof![Just(0_u64), 1..500_u64],
            any::<bool>(),
        ),
        0..8,
    );
    let step = prop_oneof![
        3 => offer.prop_map(Step::Offer),
        4 => (0..4_usize).prop_map(Step::Begin),
        3 => (0..4_usize).prop_map(Step::End),
        2 => (0..400_u64).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Restart),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    /// Whatever documents, restarts and results come in whatever order: no command is begun twice, none late, and of each
    /// point one at a time.
    #[test]
    fn a_command_is_begun_at_most_once_and_never_late(steps in steps()) {
        let mut docket = Docket::default();
        let mut ledger: Vec<(CommandId, Option<CommandReport>)> = Vec::new();
        let mut held = Commands::default();
        let mut begun: BTreeMap<CommandId, u64> = BTreeMap::new();
        let mut ends: BTreeMap<CommandId, u64> = BTreeMap::new();
        let mut under_way: BTreeMap<CommandId, PointId> = BTreeMap::new();
        let mut words: BTreeMap<CommandId, CommandOutcome> = BTreeMap::new();
        let mut now = 0;
        for step in steps {
            let mut to_end: Vec<(CommandId, CommandOutcome)> = Vec::new();
            match step {
                Step::Offer(offered) => {
                    let mut seen = BTreeSet::new();
                    let offered = offered.into_iter().filter(|(id, ..)| seen.insert(*id));
                    let told = |(id, valid, cancelled)| Command { cancelled, ..given(id, id % 3, valid) };
                    held.items = offered.map(told).collect();
                    for item in &held.items {
                        ends.entry(item.id).and_modify(|end| *end = (*end).max(now + item.valid_for_ms))
                            .or_insert(now + item.valid_for_ms);
                    }
                    let over = docket.offer(&held, now, Came::Live);
                    for item in held.items.iter().filter(|item| item.cancelled) {
                        let ends = over.iter().any(|ending| ending.id == item.id);
                        prop_assert!(ends || docket.word(item.id).is_some() || under_way.contains_key(&item.id));
                    }
                    to_end.extend(over.iter().map(|ending| (ending.id, ending.outcome)));
                }
                Step::Begin(which) => {
                    let id = docket.turns().get(which).map(|waiting| waiting.command.id);
                    if let Some(waiting) = id.and_then(|id| docket.begin(id, now)) {
                        let (id, point) = (waiting.command.id, waiting.command.point_id);
                        prop_assert!(now < ends[&id], "late");
                        prop_assert!(under_way.values().all(|other| *other != point));
                        ledger.push((id, None));
                        *begun.entry(id).or_default() += 1;
                        under_way.insert(id, point);
                    }
                }
                Step::End(which) => {
                    if let Some(id) = under_way.keys().nth(which).copied() {
                        under_way.remove(&id);
                        to_end.push((id, CommandOutcome::Verified));
                    }
                }
                Step::Pass(ms) => now += ms,
                Step::Restart(lost) => {
                    if lost && let Some(last) = ledger.last_mut() {
                        last.1 = None;
                    }
                    under_way.clear();
                    docket = Docket::from_ledger(&ledger);
                    to_end.extend(docket.interrupted().iter().map(|ending| (ending.id, ending.outcome)));
                    let over = docket.offer(&held, now, Came::AfterRestart);
                    to_end.extend(over.iter().map(|ending| (ending.id, ending.outcome)));
                    prop_assert!(docket.is_idle(), "what is found after a restart is over");
                }
            }
            to_end.extend(docket.lapsed(now).into_iter().map(|id| (id, CommandOutcome::Expired)));
            for (id, outcome) in to_end {
                prop_assert!(docket.end(word(id, outcome)));
                ledger.retain(|(other, _)| *other != id);
                ledger.push((id, Some(word(id, outcome))));
                if begun.contains_key(&id) {
                    prop_assert!(!outcome.is_unwritten(), "{outcome} of one that was begun");
                }
                words.insert(id, outcome);
            }
            for item in &held.items {
                let waits = docket.turns().iter().any(|waiting| waiting.command.point_id == item.point_id)
                    || under_way.values().any(|point| *point == item.point_id);
                prop_assert!(docket.word(item.id).is_some() || waits, "one was forgotten");
            }
            prop_assert!(begun.values().all(|times| *times == 1), "{begun:?}");
        }
    }
}

#[test]
fn a_disk_that_did_not_see_what_was_before_begins_nothing_of_it() {
    let mut docket = Docket::default();
    let commands = Commands {
        revision: 1,
        items: vec![given(1, 1, 3_000)],
    };
    let endings = docket.offer(&commands, 0, Came::ToAnotherDisk);
    assert_eq!(endings[0].outcome, CommandOutcome::OutcomeUnknown);
    assert!(docket.turns().is_empty());
}

#[test]
fn a_docket_remembers_so_many() {
    let mut docket = Docket::default();
    for number in 0..limits::COMMANDS_REMEMBERED as u128 + 5 {
        assert!(docket.end(word(CommandId(uuid(number)), CommandOutcome::Verified)));
    }
    assert!(docket.word(CommandId(uuid(4))).is_none());
    assert!(docket.word(CommandId(uuid(5))).is_some());
}
