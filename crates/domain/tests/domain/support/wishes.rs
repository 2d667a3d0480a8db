//! A boiler whose set temperature operators set, and what its agent says of it.

use std::collections::BTreeMap;

use holdfast_domain::{
    CommandId, Fingerprint, PointId, PointValue, SensorId,
    document::{
        command::Command,
        setpoint::{Conformity, Hold, Policy, SetpointReport},
    },
    edit::Edit,
    receive::Received,
    row::Actor,
    state::TargetChangeKind,
    values::{Cancelling, CommandRecord, ReportedValues},
    wish::{SetRequest, set},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{
    documents::uuid,
    life::{Agent, Life, start},
};

/// A device with a boiler whose set temperature can be written, and its agent, which runs it.
pub(crate) fn boiler() -> (Life, Agent, SensorId, PointId) {
    let mut life = Life::new();
    let (_, id) = life
        .edit(Edit::Add(json!({
            "name": "boiler-1", "protocol": "modbus",
            "connection": { "type": "tcp", "host": "10.0.0.5", "unitId": 1 },
            "dataPoints": [
                { "name": "target", "table": "holding", "address": 200, "dataType": "int16", "scale": 0.1, "unit": "°C",
                  "writable": true, "limits": { "min": 20, "max": 90 } },
                { "name": "temperature", "table": "input", "address": 100, "dataType": "int16", "scale": 0.1 },
                { "name": "start", "kind": "pulse", "table": "coil", "address": 1, "dataType": "bool", "writable": true },
            ],
        })))
        .expect("a valid sensor");
    let id = id.expect("it has an id");
    let mut agent = Agent::new();
    agent.work(&life, |_| false);
    let full = agent.full();
    life.report(full);
    let point = point(&life, id, "target");
    (life, agent, id, point)
}

pub(crate) fn point(life: &Life, sensor: SensorId, name: &str) -> PointId {
    let item = life.state.target.item(sensor).expect("it is wanted");
    let points = item.sensor.content().binding.point_names();
    let found = points.iter().find(|(_, of)| of.as_str() == name);
    found.expect("the point is there").0
}

pub(crate) fn request(value: f64) -> SetRequest {
    SetRequest {
        value: PointValue::Number(value),
        tolerance: None,
        policy: Policy::Enforce,
        reason: Some("winter".into()),
        until: None,
        key: None,
    }
}

pub(crate) fn wish(life: &mut Life, point: PointId, request: SetRequest) -> Option<u64> {
    let context = life.context("anna");
    let change = set(&life.state, point, request, &context).expect("it can be set")?;
    assert_eq!(
        change.target.as_ref().map(|target| target.kind),
        Some(TargetChangeKind::Values)
    );
    assert!(change.changes_desired(), "the agent waits for it");
    life.commit(change);
    Some(life.state.target.values.revision)
}

pub(crate) fn item(
    conformity: Conformity,
    hold: Hold,
    value: f64,
    revision: u64,
) -> SetpointReport {
    SetpointReport {
        conformity,
        hold,
        value: Some(PointValue::Number(value)),
        reason: None,
        since: start(),
        revision,
        writes: 0,
        budget_left: 50_000,
        written: 0,
        verified_in_ms: None,
        changes: 0,
        last_change: None,
        adopt: None,
    }
}

pub(crate) fn says(
    agent: &mut Agent,
    life: &mut Life,
    point: PointId,
    item: SetpointReport,
) -> Received {
    let values = ReportedValues {
        held_revision: life.state.target.values.revision,
        items: BTreeMap::from([(point, item)]),
        ..ReportedValues::default()
    };
    let mut report = agent.heartbeat();
    report.values = Some(values);
    life.report(report)
}

/// A command as the hub keeps it, with everything that it can have.
pub(crate) fn command_record(point: PointId, at: Timestamp) -> CommandRecord {
    CommandRecord {
        command: Command {
            id: CommandId(uuid(603)),
            point_id: point,
            bound_to: Fingerprint::of_bytes(b"point"),
            value: PointValue::Bool(true),
            valid_for_ms: 3_000,
            set_by: Actor::named("anna"),
            reason: Some("why".into()),
            cancelled: false,
            extra: serde_json::Map::new(),
        },
        set_at: at,
        until: at + SignedDuration::from_secs(3),
        revision: 4,
        event: 5,
        key: Some("key".into()),
        cancelling: Some(Cancelling {
            by: Actor::named("ben"),
            reason: Some("not now".into()),
            at,
        }),
    }
}
