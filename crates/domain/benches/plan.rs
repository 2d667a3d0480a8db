//! What a device of 1,000 sensors costs the core: reading and fingerprinting its document, planning, and projecting a
//! report. Each figure stands beside its limit; one over its limit fails the run.
//!
//! The median of many runs of one call, on one thread; documents are read anew for each side, so that nothing is shared
//! that an agent would not share. Figures of a build without optimisation mean nothing and are refused.

use std::{
    collections::BTreeMap,
    hint::black_box,
    process::ExitCode,
    time::{Duration, Instant},
};

use holdfast_domain::{
    DeviceId, Incarnation, Item, Name, Outcome, Report, ReportOrder, TargetState,
    document::report::running_fingerprint,
    edit::{Edit, edit},
    event::Context,
    plan::{Running, plan},
    receive::{Received, receive},
    row::{Actor, Audit},
    state::{DeviceRecord, DeviceState},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

const SENSORS: u32 = 1_000;
const POINTS: u32 = 10;

fn main() -> ExitCode {
    if cfg!(debug_assertions) {
        println!("not measured: this build is not optimised (cargo bench is)");
        return ExitCode::SUCCESS;
    }
    println!("a device of {SENSORS} sensors with {POINTS} points each; median of one call");
    let rows = [planning(), reading(), editing(), reporting()].concat();
    println!(
        "{:<58} {:>12} {:>10} {:>8}",
        "what", "median", "limit", "share"
    );
    let mut over = false;
    for Row { what, took, limit } in rows {
        let limited = limit.map_or_else(String::new, |limit| format!("{limit:?}"));
        let share = limit.map(|limit| took.as_secs_f64() / limit.as_secs_f64());
        let shown = share.map_or_else(String::new, |share| format!("{share:.2}"));
        println!(
            "{what:<58} {:>9.3} ms {limited:>10} {shown:>8}",
            took.as_secs_f64() * 1e3
        );
        over |= share.is_some_and(|share| share > 1.0);
    }
    if over {
        println!("over its limit");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

#[derive(Clone)]
struct Row {
    what: &'static str,
    took: Duration,
    limit: Option<Duration>,
}

fn row<T>(what: &'static str, limit: Option<Duration>, call: impl FnMut() -> T) -> Row {
    Row {
        what,
        took: median(call),
        limit,
    }
}

/// The median of the runs of at least half a second, without the dropping of what the call gave.
fn median<T>(mut call: impl FnMut() -> T) -> Duration {
    const WHILE: Duration = Duration::from_millis(500);
    let begun = Instant::now();
    let mut runs = Vec::new();
    while begun.elapsed() < WHILE || runs.len() < 11 {
        let started = Instant::now();
        let given = black_box(call());
        runs.push(started.elapsed());
        drop(given);
    }
    runs.sort_unstable();
    runs[runs.len() / 2]
}

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(0x0192_b3a4_0000_7000_8000_0000_0000_0000 | number)
}

fn sensor(number: u32, version: u64, poll: u32, host: u8) -> Value {
    let points: Vec<Value> = (0..POINTS)
        .map(|point| {
            json!({ "id": uuid(u128::from(number) << 16 | u128::from(point) | 1 << 40), "name": format!("point-{point}"),
                "table": "holding", "address": point * 2, "dataType": "float32", "scale": 0.1, "unit": "°C" })
        })
        .collect();
    json!({ "id": uuid(number.into()), "configVersion": version, "name": format!("sensor-{number}"), "protocol": "modbus",
        "pollInterval": poll, "dataPoints": points, "metadata": { "line": number % 7 },
        "connection": { "type": "tcp", "host": format!("10.0.{host}.{}", number % 250), "unitId": number % 200 } })
}

fn document(version: u64, poll: u32, host: u8) -> String {
    let sensors: Vec<Value> = (0..SENSORS)
        .map(|number| sensor(number, version, poll, host))
        .collect();
    let config = json!({ "protocolAdapterDevices": sensors });
    json!({ uuid(0xFFFF).to_string(): { "version": version, "config": config } }).to_string()
}

fn read(text: &str) -> TargetState {
    let document = serde_json::from_str(text).expect("JSON");
    TargetState::from_json(document).expect("a target").1
}

fn planning() -> Vec<Row> {
    const SAME: Option<Duration> = Some(Duration::from_millis(1));
    const ALL: Option<Duration> = Some(Duration::from_millis(10));
    let target = read(&document(2, 1_000, 1)).items;
    let runs = |version, poll, host| -> Running {
        read(&document(version, poll, host))
            .items
            .into_iter()
            .map(|item| (item.sensor.id(), item))
            .collect()
    };
    let same = runs(2, 1_000, 1);
    let (taken, restarted) = (runs(1, 2_000, 1), runs(1, 1_000, 2));
    let nothing = Running::new();
    assert!(plan(&target, &same).is_empty());
    for all in [&taken, &restarted, &nothing] {
        assert_eq!(plan(&target, all).len(), SENSORS as usize);
    }
    vec![
        row("plan, nothing changed", SAME, || {
            plan(black_box(&target), black_box(&same))
        }),
        row("plan, all changed (taken while running)", ALL, || {
            plan(black_box(&target), black_box(&taken))
        }),
        row("plan, all changed (to be restarted)", ALL, || {
            plan(black_box(&target), black_box(&restarted))
        }),
        row("plan, nothing runs yet", ALL, || {
            plan(black_box(&target), black_box(&nothing))
        }),
    ]
}

fn reading() -> Vec<Row> {
    let text = document(2, 1_000, 1);
    let target = read(&text);
    println!("the document has {} kB", text.len() / 1_000);
    vec![
        row("read JSON alone", None, || {
            serde_json::from_str::<Value>(black_box(&text)).expect("JSON")
        }),
        row(
            "read the document: JSON, checks, fingerprints",
            None,
            || read(black_box(&text)),
        ),
        row("write the document", None, || {
            target.to_json(DeviceId(uuid(0xFFFF))).to_string()
        }),
    ]
}

/// A device whose agent runs all that is wanted, and the report that said so.
fn established() -> (DeviceState, Report) {
    let items = read(&document(1, 1_000, 1)).items;
    let incarnation = Incarnation(uuid(3));
    let mut state = DeviceState::new(DeviceRecord {
        id: DeviceId(uuid(0xFFFF)),
        name: Name::new("gateway").expect("a name"),
        labels: BTreeMap::new(),
        incarnation: Some(incarnation),
        audit: Audit::new(Timestamp::UNIX_EPOCH, &Actor::agent()),
    });
    let first = Edit::Rollback { version: 1, items };
    let change = edit(&state, first, None, &mut || uuid(4), &context())
        .expect("a valid edit")
        .change;
    state = state.after(change.expect("a change"));
    let running: Vec<Item> = state.target.items.clone();
    let report = Report {
        order: ReportOrder {
            incarnation,
            boot: 1,
            sequence: 1,
        },
        held_version: 1,
        running_fingerprint: running_fingerprint(&running),
        looked_revision: 0,
        outcome: Some(Outcome {
            version: 1,
            running,
            failures: Vec::new(),
        }),
        health: Some(BTreeMap::new()),
        values: None,
        agent_version: None,
        extra: Map::new(),
    };
    (taken(&state, report.clone()), next(report))
}

fn context() -> Context {
    Context::new(Timestamp::UNIX_EPOCH, Actor::agent())
}

fn next(mut report: Report) -> Report {
    report.order.sequence += 1;
    report
}

fn taken(state: &DeviceState, report: Report) -> DeviceState {
    match receive(state, report, None, &context()) {
        Received::Changed(change) => state.after(*change),
        other => panic!("expected a change, found {other:?}"),
    }
}

fn editing() -> Vec<Row> {
    let (state, _) = established();
    let id = state.target.items[500].sensor.id();
    let patch = Edit::Patch(id, json!({ "pollInterval": 50 }));
    let once = |what: Edit| {
        edit(black_box(&state), what, None, &mut || uuid(5), &context())
            .expect("valid")
            .change
    };
    assert!(once(patch.clone()).is_some());
    vec![row("edit one sensor of them", None, || once(patch.clone()))]
}

fn reporting() -> Vec<Row> {
    let (state, report) = established();
    let mut one_less = report.clone();
    let outcome = one_less.outcome.as_mut().expect("it is full");
    outcome.running.pop();
    one_less.running_fingerprint = running_fingerprint(&outcome.running);
    let receive_once =
        |report: &Report| receive(black_box(&state), report.clone(), None, &context());
    assert_eq!(receive_once(&report), Received::Unchanged);
    assert!(matches!(receive_once(&one_less), Received::Changed(_)));
    vec![
        row("take a full report, nothing changed", None, || {
            receive_once(&report)
        }),
        row("take a full report, one changed", None, || {
            receive_once(&one_less)
        }),
    ]
}
