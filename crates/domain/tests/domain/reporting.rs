//! Old never overwrites new, absent is not empty, and what is known already changes nothing.

use holdfast_domain::{
    Fingerprint, HealthStatus, Incarnation, Report,
    document::report::REFUSED_VERSION,
    edit::Edit,
    event::{Context, EventKind},
    receive::{Received, receive},
    row::{Actor, DeploymentStatus},
    state::Change,
};
use jiff::SignedDuration;
use proptest::{collection::vec, prelude::*};
use serde_json::json;

use crate::support::{
    documents::{Numbers, uuid},
    life::{Agent, Life, item, sensor},
};

/// A life with three sensors, and an agent that has told that they run.
fn established() -> (Life, Agent) {
    let (mut life, mut agent) = (Life::new(), Agent::new());
    for name in ["a", "b", "c"] {
        life.add(name);
    }
    agent.work(&life, |_| false);
    assert!(matches!(life.report(agent.full()), Received::Changed(_)));
    (life, agent)
}

/// What an agent tells in the course of a while: each time something else runs or fails, over several boots.
fn told(steps: &[(u8, u8)], life: &Life, only_full: bool) -> Vec<Report> {
    let mut agent = Agent::new();
    let mut reports = Vec::new();
    for (what, mask) in steps {
        match what {
            0 => agent.reboot(),
            1 | 2 => agent.work(life, |index| mask >> index & 1 == 1),
            3 => {
                let ids: Vec<_> = agent
                    .outcome
                    .running
                    .iter()
                    .map(|item| item.sensor.id())
                    .collect();
                let status = if mask % 2 == 0 {
                    HealthStatus::Online
                } else {
                    HealthStatus::Offline
                };
                ids.into_iter().for_each(|id| agent.online(id, status));
            }
            _ => {}
        }
        let is_full = only_full || agent.order.sequence == 0 || *what < 4;
        reports.push(if is_full {
            agent.full()
        } else {
            agent.heartbeat()
        });
    }
    reports
}

proptest! {
    #[test]
    fn old_never_overwrites_new(
        steps in vec((0..6_u8, proptest::num::u8::ANY), 1..20),
        deliveries in vec(proptest::num::usize::ANY, 0..60),
        only_full: bool,
        with_seen: bool,
    ) {
        let mut life = Life::new();
        for name in ["a", "b", "c"] {
            life.add(name);
        }
        let reports = told(&steps, &life, only_full);
        let mut seen = None;
        let mut latest: Option<&Report> = None;
        for delivery in deliveries {
            let report = &reports[delivery % reports.len()];
            let context = life.context("agent");
            let is_newer = latest.is_none_or(|latest| report.order.compare(&latest.order) == Some(std::cmp::Ordering::Greater));
            match receive(&life.state, report.clone(), seen, &context) {
                Received::Changed(change) => {
                    // A hub that does not remember what said nothing new may take it again: it still says nothing new.
                    prop_assert!(is_newer || !with_seen);
                    life.commit(Change::clone(&change));
                    seen = None;
                    latest = Some(report);
                }
                Received::Unchanged => {
                    prop_assert!(is_newer || !with_seen);
                    if with_seen {
                        seen = Some(report.order);
                        latest = Some(report);
                    }
                }
                Received::Late { boot } => {
                    prop_assert!(!is_newer);
                    prop_assert_eq!(Some(boot), latest.map(|latest| latest.order.boot));
                }
                Received::FullWanted => prop_assert!(report.outcome.is_none() || !report.is_full()),
                other => prop_assert!(false, "{other:?}"),
            }
            if let (Some(latest), Some(known)) = (latest, &life.state.reported) {
                prop_assert_eq!(latest.running_fingerprint, known.running_fingerprint);
                if let Some(outcome) = &latest.outcome {
                    let mut failures = outcome.failures.clone();
                    failures.sort_by_key(|failure| failure.id);
                    prop_assert_eq!(&known.failures, &failures);
                    prop_assert_eq!(known.worked_version, outcome.version);
                }
            }
        }
    }

    #[test]
    fn the_order_of_items_does_not_matter(seed: u64, fails in 0..8_u8) {
        let mut life = Life::new();
        for name in ["a", "b", "c"] {
            life.add(name);
        }
        let mut agent = Agent::new();
        agent.work(&life, |index| fails >> index & 1 == 1);
        life.report(agent.full());
        let mut numbers = Numbers(seed);
        numbers.shuffle(&mut agent.outcome.running);
        numbers.shuffle(&mut agent.outcome.failures);
        prop_assert_eq!(life.report(agent.full()), Received::Unchanged);
    }
}

#[test]
fn the_same_report_again_yields_nothing() {
    let (mut life, mut agent) = established();
    let before = life.state.clone();
    let again = Report {
        order: agent.order,
        ..agent.clone().full()
    };
    assert_eq!(life.report(again), Received::Late { boot: 1 });
    for _ in 0..1_000 {
        assert_eq!(life.report(agent.full()), Received::Unchanged);
        assert_eq!(life.report(agent.heartbeat()), Received::Unchanged);
    }
    assert_eq!(life.state, before, "nothing to commit");
}

#[test]
fn a_report_without_config_changes_no_row() {
    let (mut life, mut agent) = established();
    let rows = life.state.rows.clone();
    agent.held += 1;
    let Received::Changed(change) = life.report(agent.heartbeat()) else {
        panic!("another version is held")
    };
    assert!(change.upserts.is_empty() && change.deletes.is_empty());
    assert_eq!(life.state.rows, rows);
}

#[test]
fn an_empty_list_means_that_nothing_runs() {
    let (mut life, mut agent) = established();
    agent.outcome.running.clear();
    life.report(agent.full());
    assert_eq!(life.state.rows.len(), 3, "they are still wanted");
    assert!(
        life.state
            .rows
            .values()
            .all(|row| row.running_since.is_none())
    );
    assert!(
        life.state
            .rows
            .values()
            .all(|row| row.status == DeploymentStatus::Reconciling)
    );
}

#[test]
fn an_older_boot_is_late_whatever_its_sequence() {
    let (mut life, agent) = established();
    let mut newer = agent.clone();
    newer.reboot();
    newer.work(&life, |_| false);
    assert!(matches!(life.report(newer.full()), Received::Changed(_)));
    let mut older = agent;
    older.order.sequence = 1_000;
    assert_eq!(life.report(older.full()), Received::Late { boot: 2 });
}

#[test]
fn a_boots_first_report_is_full() {
    let (mut life, mut agent) = established();
    agent.reboot();
    assert_eq!(life.report(agent.heartbeat()), Received::FullWanted);
    let without_health = Report {
        health: None,
        ..agent.full()
    };
    assert_eq!(life.report(without_health), Received::FullWanted);
    let (mut life, mut agent) = (Life::new(), Agent::new());
    assert_eq!(life.report(agent.heartbeat()), Received::FullWanted);
}

#[test]
fn what_does_not_fit_what_is_known_is_asked_for_in_full() {
    let (mut life, mut agent) = established();
    agent.outcome.running.pop();
    let before = life.state.clone();
    assert_eq!(
        life.report(agent.heartbeat()),
        Received::FullWanted,
        "a report between was lost"
    );
    let lie = Report {
        running_fingerprint: Fingerprint::of_bytes(b"another"),
        ..agent.full()
    };
    let Received::Contradictory(problems) = life.report(lie) else {
        panic!("it contradicts itself")
    };
    assert_eq!(problems.list()[0].field, "runningFingerprint");
    assert_eq!(life.state, before);
}

#[test]
fn only_the_current_incarnation_counts() {
    let (mut life, mut agent) = established();
    let before = life.state.clone();
    let current = agent.order.incarnation;
    agent.order.incarnation = Incarnation(uuid(77));
    assert_eq!(
        life.report(agent.full()),
        Received::OtherIncarnation {
            current: Some(current)
        }
    );
    assert_eq!(life.state, before);

    // The device gets a new incarnation: its first report is full, and its numbers begin anew.
    life.state.record.incarnation = Some(agent.order.incarnation);
    agent.order.sequence = 0;
    assert_eq!(life.report(agent.heartbeat()), Received::FullWanted);
    assert!(matches!(life.report(agent.full()), Received::Changed(_)));
    assert_eq!(
        life.log.len(),
        before.last_event as usize,
        "the same runs: no event"
    );
}

#[test]
fn health_is_merged_within_a_boot_and_replaced_by_the_next() {
    let (mut life, mut agent) = established();
    let ids: Vec<_> = life.state.rows.keys().copied().collect();
    let health = |life: &Life| -> Vec<Option<HealthStatus>> {
        life.state
            .rows
            .values()
            .map(|row| row.health.as_ref().map(|health| health.status))
            .collect()
    };
    for (id, status) in [
        (ids[0], HealthStatus::Online),
        (ids[1], HealthStatus::Offline),
    ] {
        agent.health.clear();
        agent.online(id, status);
        let log = life.log.len();
        let report = Report {
            outcome: None,
            ..agent.full()
        };
        assert!(matches!(life.report(report), Received::Changed(_)));
        assert_eq!(life.log.len(), log, "health changes without an event");
    }
    assert_eq!(
        health(&life),
        [
            Some(HealthStatus::Online),
            Some(HealthStatus::Offline),
            None
        ]
    );
    agent.reboot();
    agent.work(&life, |_| false);
    life.report(agent.full());
    assert_eq!(health(&life), [None, None, None]);
}

#[test]
fn health_may_be_told_before_the_sensor_runs() {
    let (mut life, mut agent) = (Life::new(), Agent::new());
    let id = life.add("a");
    agent.online(id, HealthStatus::Online);
    agent.online(sensor(99, "stranger").id(), HealthStatus::Online);
    life.report(agent.full());
    assert_eq!(life.state.rows[&id].health, None, "nothing runs yet");
    agent.work(&life, |_| false);
    let report = Report {
        health: None,
        ..agent.full()
    };
    life.report(report);
    assert!(life.state.rows[&id].health.is_some());
    let known = life.state.reported.as_ref().expect("it reported");
    assert_eq!(
        known.health.len(),
        1,
        "what is neither wanted nor runs is not kept"
    );
}

#[test]
fn a_silent_agent_that_reports_the_same_is_back() {
    let (mut life, mut agent) = established();
    life.state.presence.silent = true;
    let from = life.log.len();
    assert!(matches!(
        life.report(agent.heartbeat()),
        Received::Changed(_)
    ));
    assert_eq!(life.kinds_since(from), [EventKind::DeviceOnline]);
    assert!(!life.state.presence.silent);
    assert_eq!(life.report(agent.heartbeat()), Received::Unchanged);
}

#[test]
fn a_hub_that_was_restored_goes_on_above_its_agent() {
    let (mut life, mut agent) = established();
    let only_agent = sensor(50, "d");
    agent.held = 40;
    agent.outcome.version = 40;
    agent.outcome.running.push(item(39, &only_agent));
    agent.outcome.running[0].config_version = 38;
    let b = agent.outcome.running[1].sensor.id();
    agent.outcome.running[1] = item(40, &agent.outcome.running[1].sensor.with_enabled(false));
    let from = life.log.len();
    let Received::Changed(change) = life.report(agent.full()) else {
        panic!("it is ahead")
    };
    assert!(change.changes_desired(), "the agent is woken");
    let target = &life.state.target;
    assert_eq!(target.version, 41);
    assert_eq!(
        target.items.len(),
        3,
        "the hub's sensors are what is wanted"
    );
    let told = &life.log[from];
    assert_eq!(
        (told.kind, &told.payload["agentHolds"]),
        (EventKind::TargetUpdated, &json!(40))
    );
    let statuses: Vec<_> = life.state.rows.values().map(|row| row.status).collect();
    use DeploymentStatus::{Deployed, Pending, PendingDeletion};
    assert!(
        statuses.contains(&PendingDeletion),
        "what only the agent knows"
    );
    assert_eq!(
        life.state.rows[&b].status, Pending,
        "the agent has not got this content"
    );
    assert_eq!(target.item(b).map(|item| item.config_version), Some(41));
    assert_eq!(
        statuses
            .iter()
            .filter(|status| **status == Deployed)
            .count(),
        2
    );

    agent.work(&life, |_| false);
    life.report(agent.full());
    assert!(
        life.state
            .rows
            .values()
            .all(|row| row.status == Deployed && row.synced_to_config)
    );
    let version = life.state.target.version;
    life.edit(Edit::Add(crate::support::life::document("e")))
        .expect("valid");
    assert_eq!(life.state.target.version, version + 1);
}

#[test]
fn that_all_of_a_version_runs_is_noted_once() {
    let (mut life, mut agent) = established();
    let noted = life.state.target.last_deployed;
    assert_eq!(noted.map(|(_, version)| version), Some(3));
    life.now += SignedDuration::from_secs(60);
    agent.held += 0;
    agent.reboot();
    agent.work(&life, |_| false);
    life.report(agent.full());
    assert_eq!(life.state.target.last_deployed, noted);

    life.add("d");
    agent.work(&life, |index| index == 3);
    life.report(agent.full());
    assert_eq!(life.state.target.last_deployed, noted, "one of it fails");
    agent.work(&life, |_| false);
    life.report(agent.full());
    assert_eq!(
        life.state.target.last_deployed.map(|(_, version)| version),
        Some(4)
    );
}

#[test]
fn a_report_is_decided_on_without_a_trace_of_who_delivered_it() {
    let (life, mut agent) = established();
    agent.outcome.running.pop();
    let report = agent.full();
    let context = Context::new(life.now, Actor::agent()).during("request-1");
    let Received::Changed(change) = receive(&life.state, report, None, &context) else {
        panic!("it changes")
    };
    assert!(
        change
            .events
            .iter()
            .all(|event| event.correlation.as_deref() == Some("request-1"))
    );
    assert!(
        change
            .events
            .iter()
            .all(|event| event.actor == Actor::agent())
    );
}

#[test]
fn a_version_that_the_agent_refused_is_given_again_under_a_higher_number() {
    let (mut life, mut agent) = established();
    let before = life.state.target.clone();
    let refusing = |agent: &mut Agent, version: u64| {
        let mut report = agent.heartbeat();
        report
            .extra
            .insert(REFUSED_VERSION.to_owned(), json!(version));
        report
    };
    let from = life.log.len();
    let old = refusing(&mut agent, before.version - 1);
    assert_eq!(
        life.report(old),
        Received::Unchanged,
        "that is not what it is to run"
    );
    let now = refusing(&mut agent, before.version);
    let Received::Changed(change) = life.report(now) else {
        panic!("it refuses what it is to run")
    };
    assert!(change.changes_desired());
    assert_eq!(life.kinds_since(from)[0], EventKind::TargetConflict);
    assert_eq!(life.state.target.version, before.version + 1);
    let sensors = |target: &holdfast_domain::state::Target| -> Vec<_> {
        target
            .items
            .iter()
            .map(|item| item.sensor.fingerprint())
            .collect()
    };
    assert_eq!(sensors(&life.state.target), sensors(&before));
    let again = refusing(&mut agent, before.version);
    assert_eq!(
        life.report(again),
        Received::Unchanged,
        "it was answered already"
    );
}
