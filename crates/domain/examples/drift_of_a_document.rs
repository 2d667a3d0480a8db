//! Another service that uses this crate alone: what would an agent have to do so that what runs is what is wanted, and
//! how do the two differ? Reads a target and a report, as a hub and an agent exchange them, and prints both answers.
//!
//! ```text
//! cargo run -p holdfast-domain --example drift_of_a_document -- target.json report.json
//! ```
//!
//! Without files it takes a boiler whose host was changed and a pump that is not wanted any more. Exits with 1 if
//! anything differs, with 2 if it can't tell.

use std::{collections::BTreeMap, fmt::Display, fs, process::ExitCode};

use holdfast_domain::{
    Item, Report, SensorId, TargetState,
    canonical::differing_paths,
    drift,
    plan::{Running, Step, plan},
};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let texts = match files.as_slice() {
        [] => Ok(sample()),
        [target, report] => read(target).and_then(|target| Ok([target, read(report)?])),
        _ => Err("expected two files, a target's and a report's, or none".to_owned()),
    };
    match texts.and_then(|[target, report]| compare(&target, &report)) {
        Ok(lines) if lines.is_empty() => {
            println!("nothing differs");
            ExitCode::SUCCESS
        }
        Ok(lines) => {
            lines.iter().for_each(|line| println!("{line}"));
            ExitCode::from(1)
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(2)
        }
    }
}

fn read(file: &str) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))
}

/// A line for each sensor that differs, and one for each step that ends it.
fn compare(target: &str, report: &str) -> Result<Vec<String>, String> {
    let (device, target) =
        TargetState::from_json(parse("the target", target)?).map_err(in_the("target"))?;
    let (reporter, report) =
        Report::from_json(parse("the report", report)?).map_err(in_the("report"))?;
    if device != reporter {
        return Err(format!(
            "the target is of device {device}, the report of device {reporter}"
        ));
    }
    let outcome = report
        .outcome
        .ok_or("the report says nothing of what runs: a full one is needed")?;
    let running: Running = outcome
        .running
        .into_iter()
        .map(|item| (item.sensor.id(), item))
        .collect();
    let wanted: BTreeMap<SensorId, &Item> = target
        .items
        .iter()
        .map(|item| (item.sensor.id(), item))
        .collect();

    let mut lines = Vec::new();
    for id in wanted
        .keys()
        .chain(running.keys().filter(|id| !wanted.contains_key(id)))
    {
        let (wants, runs) = (wanted.get(id).copied(), running.get(id));
        if let (Some(kind), Some(item)) = (drift::kind(wants, runs), wants.or(runs)) {
            let paths = match (wants, runs) {
                (Some(wants), Some(runs)) => {
                    differing_paths(&runs.sensor.to_json(), &wants.sensor.to_json(), 10)
                }
                _ => Vec::new(),
            };
            lines.push(
                format!("{}: {kind} {}", item.sensor.name(), paths.join(", "))
                    .trim_end()
                    .to_owned(),
            );
        }
    }
    let name = |id: &SensorId| {
        wanted
            .get(id)
            .copied()
            .or(running.get(id))
            .map(|item| item.sensor.name())
    };
    for step in plan(&target.items, &running) {
        let verb = match step {
            Step::Stop(_) => "stop",
            Step::Restart(_) => "restart",
            Step::Update(_) => "update while it runs",
            Step::Relabel(_) => "note the version of",
            Step::Start(_) => "start",
        };
        lines.push(format!(
            "-> {verb} {}",
            name(&step.sensor())
                .map(ToString::to_string)
                .unwrap_or_default()
        ));
    }
    Ok(lines)
}

fn parse(what: &str, text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{what} is not JSON: {error}"))
}

fn in_the<E: Display>(what: &'static str) -> impl Fn(E) -> String {
    move |problems| format!("in the {what}: {problems}")
}

fn sample() -> [String; 2] {
    let device = "0192b3a4-0000-7000-8000-000000000001";
    let sensor = |number: u8, name: &str, host: &str, version: u64| {
        json!({
            "id": format!("0192b3a4-0000-7000-8000-0000000001{number:02}"), "configVersion": version, "name": name,
            "protocol": "modbus", "connection": { "type": "tcp", "host": host, "unitId": 1 },
            "dataPoints": [ {
                "id": format!("0192b3a4-0000-7000-8000-0000000002{number:02}"), "name": "temperature",
                "table": "holding", "address": 100, "dataType": "float32", "unit": "°C" } ],
        })
    };
    let wanted = json!({ "protocolAdapterDevices": [sensor(1, "boiler-1", "10.0.0.6", 43)] });
    let runs = json!({ "protocolAdapterDevices": [
        sensor(1, "boiler-1", "10.0.0.5", 41), sensor(2, "pump-1", "10.0.0.5", 12) ] });
    let target = json!({ device: { "version": 43, "config": wanted } });
    let report = json!({ device: {
        "incarnation": "0192b3a4-0000-7000-8000-000000000009", "boot": 12, "sequence": 17, "heldVersion": 42,
        "runningFingerprint": "b3:00000000000000000000000000000000", "version": 42, "config": runs, "failures": [] } });
    [target.to_string(), report.to_string()]
}
