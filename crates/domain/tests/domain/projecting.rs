//! The status table row by row; the read model never invents, and is what its events say.

use std::collections::BTreeMap;

use holdfast_domain::{
    DeviceId, Failure, Fingerprint, Item, SensorId,
    drift::{self, DriftKind},
    edit::{Edit, look_again},
    event::{Event, EventKind},
    project::status,
    rebuild,
    row::DeploymentStatus,
    state::Change,
};
use jiff::SignedDuration;
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use crate::support::{
    documents::{respelled, uuid},
    life::{Agent, Life, document, item, sensor},
};

#[test]
fn the_status_table() {
    use DeploymentStatus::{Deployed, Failed, Pending, PendingDeletion, Reconciling};
    let wanted = item(7, &sensor(1, "a"));
    let same = item(5, &sensor(1, "a"));
    let other = item(5, &sensor(1, "a").with_enabled(false));
    let failure = |of: &Item| Failure {
        id: of.sensor.id(),
        fingerprint: of.sensor.fingerprint(),
        error: "refused".into(),
        attempts: 3,
    };
    let (of_wanted, of_other) = (failure(&wanted), failure(&other));
    // in target, running, failure, held version: status
    for (row, wants, runs, fails, held, expected) in [
        (1, true, Some(&same), None, 0, Some(Deployed)),
        (1, true, Some(&same), Some(&of_wanted), 9, Some(Deployed)),
        (2, true, None, Some(&of_wanted), 0, Some(Failed)),
        (2, true, Some(&other), Some(&of_wanted), 9, Some(Failed)),
        (3, true, None, None, 7, Some(Reconciling)),
        (3, true, Some(&other), None, 8, Some(Reconciling)),
        (3, true, None, Some(&of_other), 7, Some(Reconciling)),
        (4, true, None, None, 6, Some(Pending)),
        (4, true, Some(&other), None, 0, Some(Pending)),
        (4, true, Some(&other), Some(&of_other), 6, Some(Pending)),
        (5, false, Some(&same), None, 9, Some(PendingDeletion)),
        (
            5,
            false,
            Some(&same),
            Some(&of_wanted),
            0,
            Some(PendingDeletion),
        ),
        (6, false, None, None, 9, None),
        (6, false, None, Some(&of_wanted), 9, None),
    ] {
        assert_eq!(
            status(wants.then_some(&wanted), runs, fails, held),
            expected,
            "row {row} of the table"
        );
    }
}

#[test]
fn the_kinds_of_drift() {
    let wanted = item(7, &sensor(1, "a"));
    let same = item(5, &sensor(1, "a"));
    let disabled = item(7, &sensor(1, "a").with_enabled(false));
    let renamed = item(7, &sensor(1, "b"));
    for (wants, runs, kind) in [
        (None, None, None),
        (Some(&wanted), Some(&wanted), None),
        (Some(&wanted), None, Some(DriftKind::Missing)),
        (None, Some(&wanted), Some(DriftKind::Unexpected)),
        (Some(&wanted), Some(&renamed), Some(DriftKind::Changed)),
        (Some(&wanted), Some(&disabled), Some(DriftKind::Enabled)),
        (Some(&disabled), Some(&wanted), Some(DriftKind::Enabled)),
        (Some(&wanted), Some(&same), Some(DriftKind::VersionBehind)),
    ] {
        assert_eq!(drift::kind(wants, runs), kind);
    }
}

#[test]
fn a_sensor_from_added_to_deployed() {
    let (mut life, mut agent) = (Life::new(), Agent::new());
    let id = life.add("a");
    let row = |life: &Life| life.state.rows[&id].clone();
    assert_eq!(
        (row(&life).status, row(&life).running_since),
        (DeploymentStatus::Pending, None)
    );
    agent.held = 1;
    life.report(agent.full());
    assert_eq!(row(&life).status, DeploymentStatus::Reconciling);
    agent.work(&life, |_| true);
    life.report(agent.full());
    let failed = row(&life);
    assert_eq!(
        (failed.status, failed.attempts),
        (DeploymentStatus::Failed, 1)
    );
    assert_eq!(
        failed.error.as_deref(),
        Some("connect 10.0.0.7:502: connection refused")
    );
    assert!(life.state.needs_deployment());
    agent.work(&life, |_| true);
    let from = life.log.len();
    life.report(agent.full());
    assert_eq!(
        (row(&life).attempts, life.log.len()),
        (2, from),
        "one more attempt is no event"
    );
    agent.work(&life, |_| false);
    life.report(agent.full());
    let deployed = row(&life);
    assert_eq!(
        life.kinds_since(from),
        [EventKind::SensorRecovered, EventKind::SensorDeployed]
    );
    assert_eq!(
        (deployed.status, deployed.synced_to_config, deployed.error),
        (DeploymentStatus::Deployed, true, None)
    );
    assert_eq!(
        (deployed.running_since, deployed.last_deployed_at),
        (Some(life.now), Some(life.now))
    );
    assert!(!life.state.needs_deployment());
}

#[test]
fn the_read_model_follows_the_truth_down_and_up() {
    let (mut life, mut agent) = (Life::new(), Agent::new());
    let id = life.add("a");
    let old = life.state.target.items.clone();
    life.edit(Edit::Patch(id, json!({ "pollInterval": 50 })))
        .expect("valid");
    agent.work(&life, |_| false);
    life.report(agent.full());
    agent.reboot();
    (agent.held, agent.outcome.version, agent.outcome.running) = (1, 1, old);
    life.report(agent.full());
    let row = &life.state.rows[&id];
    assert_eq!(
        (row.config_version, row.shown.content().poll_interval_ms),
        (1, 1_000),
        "what really runs"
    );
    assert_eq!(
        (row.status, row.drift),
        (DeploymentStatus::Pending, Some(DriftKind::Changed))
    );
    let drifting = drift::of_device(&life.state);
    assert_eq!(drifting[0].paths, ["pollInterval"]);
    assert_eq!(
        (drifting[0].wanted_version, drifting[0].running_version),
        (Some(2), Some(1))
    );
    agent.work(&life, |_| false);
    life.report(agent.full());
    let row = &life.state.rows[&id];
    assert_eq!(
        (row.config_version, row.status, row.drift),
        (2, DeploymentStatus::Deployed, None)
    );
}

#[test]
fn a_content_that_is_spelled_otherwise_is_the_same_row() {
    let (mut life, mut agent) = (Life::new(), Agent::new());
    life.add("a");
    agent.work(&life, |_| false);
    life.report(agent.full());
    for seed in 0..50 {
        for item in &mut agent.outcome.running {
            let text = respelled(&json!(item), seed);
            *item = serde_json::from_str(&text).expect("an item");
        }
        let before = life.state.clone();
        life.report(agent.full());
        assert_eq!(life.state.last_event, before.last_event);
        assert_eq!(live(&life), live_of(&before.rows));
    }
}

/// The rows that are live, in the columns that the log carries.
fn live(life: &Life) -> BTreeMap<SensorId, Value> {
    live_of(&life.state.rows)
}

fn live_of(
    rows: &BTreeMap<SensorId, holdfast_domain::row::SensorRow>,
) -> BTreeMap<SensorId, Value> {
    rows.iter()
        .map(|(id, row)| (*id, rebuild::listed_columns(row)))
        .collect()
}

#[derive(Debug, Clone, Copy)]
enum Happening {
    Add,
    Patch(usize, u32),
    Toggle(usize),
    Rename(usize, usize),
    Remove(usize),
    ReplaceAll(usize),
    Rollback(usize),
    Fetch,
    Work(u8),
    Report,
    Heartbeat,
    Reboot,
    Ahead,
    Spell(u64),
    Wait(i64),
    Look,
    Snapshot,
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        4 => Just(Add),
        2 => (0..5_usize, 10..15_u32).prop_map(|(which, poll)| Patch(which, poll)),
        1 => (0..5_usize).prop_map(Toggle),
        1 => (0..5_usize, 0..5_usize).prop_map(|(one, other)| Rename(one, other)),
        2 => (0..5_usize).prop_map(Remove),
        1 => (0..4_usize).prop_map(ReplaceAll),
        1 => proptest::num::usize::ANY.prop_map(Rollback),
        2 => Just(Fetch),
        4 => (0..32_u8).prop_map(Work),
        5 => Just(Report),
        2 => Just(Heartbeat),
        1 => Just(Reboot),
        1 => Just(Ahead),
        1 => proptest::num::u64::ANY.prop_map(Spell),
        2 => prop::sample::select(&[1_i64, 20, 200][..]).prop_map(Wait),
        1 => Just(Look),
        1 => Just(Snapshot),
    ]
}

/// A life in which anything happens.
struct Any {
    life: Life,
    agent: Agent,
    versions: BTreeMap<u64, Vec<Item>>,
}

impl Any {
    fn nth(&self, which: usize) -> Option<SensorId> {
        self.life
            .state
            .target
            .items
            .get(which)
            .map(|item| item.sensor.id())
    }

    fn edit(&mut self, what: Edit) {
        self.life.edit(what).expect("these edits are valid");
        let target = &self.life.state.target;
        self.versions.insert(target.version, target.items.clone());
    }

    fn happen(&mut self, happening: Happening) {
        use Happening::*;
        let unique = self.life.log.len();
        match happening {
            Add => self.edit(Edit::Add(document(&format!("s{unique}")))),
            Patch(which, poll) => {
                if let Some(id) = self.nth(which) {
                    self.edit(Edit::Patch(id, json!({ "pollInterval": poll })));
                }
            }
            Toggle(which) => {
                if let Some(item) = self.life.state.target.items.get(which) {
                    let (id, enabled) = (item.sensor.id(), item.sensor.enabled());
                    self.edit(Edit::Patch(id, json!({ "enabled": !enabled })));
                }
            }
            Rename(one, other) => {
                let mut list: Vec<Value> = self
                    .life
                    .state
                    .target
                    .items
                    .iter()
                    .map(|item| item.sensor.to_json())
                    .collect();
                if one < list.len() && other < list.len() && one != other {
                    let names = [one, other].map(|index| list[index]["name"].clone());
                    let [first, second] = names;
                    list[one]["name"] = second;
                    list[other]["name"] = first;
                    self.edit(Edit::ReplaceAll(Value::Array(list)));
                }
            }
            Remove(which) => {
                if let Some(id) = self.nth(which) {
                    self.edit(Edit::Remove(id));
                }
            }
            ReplaceAll(count) => {
                let list = (0..count)
                    .map(|index| document(&format!("r{index}")))
                    .collect();
                self.edit(Edit::ReplaceAll(list));
            }
            Rollback(which) => {
                let chosen = self.versions.iter().nth(which % self.versions.len().max(1));
                if let Some((version, items)) =
                    chosen.map(|(version, items)| (*version, items.clone()))
                {
                    self.edit(Edit::Rollback { version, items });
                }
            }
            Fetch => self.agent.held = self.life.state.target.version,
            Work(fails) => self
                .agent
                .work(&self.life, |index| fails >> (index % 5) & 1 == 1),
            Report => {
                let report = self.agent.full();
                self.life.report(report);
            }
            Heartbeat => {
                let report = self.agent.heartbeat();
                self.life.report(report);
            }
            Reboot => self.agent.reboot(),
            Ahead => self.agent.held += 3,
            Spell(seed) => {
                for item in &mut self.agent.outcome.running {
                    *item = serde_json::from_str(&respelled(&json!(item), seed)).expect("an item");
                }
            }
            Wait(seconds) => {
                self.life.watch(SignedDuration::from_secs(seconds));
            }
            Look => {
                let context = self.life.context("anna");
                let change = look_again(&self.life.state, None, &context);
                self.life.commit(change);
            }
            Snapshot => {
                let mut change = Change::of(&self.life.state);
                let context = self.life.context("reconciler");
                let payload = rebuild::snapshot(&self.life.state.rows);
                change.event(
                    &self.life.state,
                    &context,
                    EventKind::DeviceSnapshot,
                    None,
                    payload,
                );
                self.life.commit(change);
            }
        }
    }

    /// What runs according to a row, a report said so; and each row is what the table says.
    fn check(&self) -> Result<(), TestCaseError> {
        let state = &self.life.state;
        let reported = state.reported.as_ref();
        let running: BTreeMap<SensorId, &Item> = reported
            .iter()
            .flat_map(|reported| &reported.running)
            .map(|item| (item.sensor.id(), item))
            .collect();
        for (id, row) in &state.rows {
            let (runs, wants) = (running.get(id).copied(), state.target.item(*id));
            prop_assert_eq!(
                row.running_since.is_some(),
                runs.is_some(),
                "never invented"
            );
            let shown = runs.or(wants).expect("a row is of what runs or is wanted");
            prop_assert_eq!(&row.shown, &shown.sensor);
            prop_assert_eq!(row.config_version, shown.config_version);
            let failure = reported
                .and_then(|reported| reported.failures.iter().find(|failure| failure.id == *id));
            let held = reported.map_or(0, |reported| reported.held_version);
            prop_assert_eq!(Some(row.status), status(wants, runs, failure, held));
            prop_assert_eq!(row.drift, drift::kind(wants, runs));
            prop_assert_eq!(row.synced_to_config, row.drift.is_none());
            prop_assert_eq!(row.drifting_since.is_some(), row.drift.is_some());
            prop_assert_eq!(row.error.is_some(), row.status == DeploymentStatus::Failed);
        }
        let expected = running
            .keys()
            .chain(
                state
                    .target
                    .items
                    .iter()
                    .map(|item| item.sensor.id())
                    .collect::<Vec<_>>()
                    .iter(),
            )
            .copied()
            .collect::<std::collections::BTreeSet<_>>();
        prop_assert_eq!(
            state
                .rows
                .keys()
                .copied()
                .collect::<std::collections::BTreeSet<_>>(),
            expected
        );
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn the_read_model_is_what_its_events_say(happenings in vec(happening(), 1..50), cut: usize) {
        let mut any = Any { life: Life::new(), agent: Agent::new(), versions: BTreeMap::new() };
        for happening in happenings {
            let before = any.life.state.target.version;
            any.happen(happening);
            any.check()?;
            prop_assert!(any.life.state.target.version >= before, "versions only grow");
            prop_assert_eq!(rebuild::rows(&any.life.log), live(&any.life));
        }
        // What is before a snapshot is not needed.
        let snapshots: Vec<usize> = any.life.log.iter().enumerate()
            .filter(|(_, event)| event.kind == EventKind::DeviceSnapshot).map(|(index, _)| index).collect();
        if !snapshots.is_empty() {
            let from = snapshots[cut % snapshots.len()];
            prop_assert_eq!(rebuild::rows(&any.life.log[from..]), live(&any.life));
        }
    }
}

#[test]
fn a_deleted_device_leaves_no_rows() {
    let (mut life, mut agent) = (Life::new(), Agent::new());
    life.add("a");
    agent.work(&life, |_| false);
    life.report(agent.full());
    let last = life.log.last().expect("events").clone();
    let deleted = Event {
        kind: EventKind::DeviceDeleted,
        sequence: last.sequence + 1,
        payload: json!({}),
        ..last
    };
    assert_eq!(deleted.device, DeviceId(uuid(1)));
    life.log.push(deleted);
    assert_eq!(rebuild::rows(&life.log), BTreeMap::new());
}

#[test]
fn an_event_is_read_as_it_was_written() {
    let (mut life, mut agent) = (Life::new(), Agent::new());
    life.add("a");
    agent.work(&life, |_| true);
    life.report(agent.full());
    for event in &life.log {
        let text = serde_json::to_string(event).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Event>(&text).expect("an event"),
            *event
        );
    }
    assert_ne!(Fingerprint::of_bytes(b"a"), Fingerprint::of_bytes(b"b"));
}

#[test]
fn a_sensor_that_could_not_be_let_go_says_why() {
    let (mut life, mut agent) = (Life::new(), Agent::new());
    let id = life.add("a");
    agent.work(&life, |_| false);
    life.report(agent.full());
    let running = life.state.target.items[0].sensor.fingerprint();
    life.edit(Edit::Remove(id)).expect("it is there");
    let failed = |fingerprint| Failure {
        id,
        fingerprint,
        error: "the agent could not keep target version 2: no space left on device".into(),
        attempts: 1,
    };
    let told = |life: &Life| {
        let row = &life.state.rows[&id];
        (row.status, row.error.is_some(), row.attempts)
    };
    let other = item(1, &sensor(9, "other")).sensor.fingerprint();
    agent.outcome.failures = vec![failed(other)];
    life.report(agent.full());
    assert_eq!(told(&life), (DeploymentStatus::PendingDeletion, false, 0));
    agent.outcome.failures = vec![failed(running)];
    let from = life.log.len();
    life.report(agent.full());
    assert_eq!(told(&life), (DeploymentStatus::PendingDeletion, true, 1));
    assert_eq!(life.kinds_since(from), [EventKind::SensorPendingDeletion]);
    assert_eq!(live(&life), rebuild::rows(&life.log), "the log tells it");
    agent.work(&life, |_| false);
    life.report(agent.full());
    assert_eq!(life.state.rows.get(&id), None);
}
