//! A device's life on the hub, and the agent that reports for it.

use std::{collections::BTreeMap, sync::Arc};

use holdfast_domain::{
    DeviceId, Failure, Health, HealthStatus, Incarnation, Item, Name, Outcome, Report, ReportOrder,
    Sensor, SensorId,
    document::report::running_fingerprint,
    edit::{Edit, EditError, Edition, edit},
    event::{Context, Event, EventKind},
    receive::{Received, receive},
    row::{Actor, Audit},
    state::{Change, DeviceRecord, DeviceState},
    trouble::Tolerated,
    watch::{Patience, Watched, watch},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::documents::uuid;

/// How patient the reconciler is in these tests.
pub(crate) const PATIENCE: Patience = Patience {
    silent_after: SignedDuration::from_secs(90),
    drift_after: SignedDuration::from_secs(10),
    tolerated: Tolerated {
        for_long: SignedDuration::from_mins(5),
        attempts: 100,
    },
    at_least_every: SignedDuration::from_secs(300),
};

/// A Modbus sensor as an operator writes it.
pub(crate) fn document(name: &str) -> Value {
    json!({
        "name": name, "protocol": "modbus", "pollInterval": 1000,
        "connection": { "type": "tcp", "host": "10.0.0.5", "unitId": 1 },
        "dataPoints": [ { "name": "t", "table": "holding", "address": 100, "dataType": "float32" } ],
        "metadata": { "line": 3, "weight": 1.5, "nothing": null, "many": 1e16 },
    })
}

/// A checked sensor with an id made from `number`.
pub(crate) fn sensor(number: u128, name: &str) -> Sensor {
    let mut document = document(name);
    document["id"] = json!(uuid(number));
    document["dataPoints"][0]["id"] = json!(uuid(0x1000 + number));
    Sensor::from_json(document).expect("a valid sensor")
}

pub(crate) fn item(config_version: u64, sensor: &Sensor) -> Item {
    Item {
        config_version,
        sensor: Arc::new(sensor.clone()),
    }
}

pub(crate) fn start() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().expect("a time")
}

/// What the hub knows of one device, with its log.
pub(crate) struct Life {
    pub(crate) state: DeviceState,
    pub(crate) log: Vec<Event>,
    pub(crate) now: Timestamp,
    ids: u128,
}

impl Life {
    pub(crate) fn new() -> Self {
        let record = DeviceRecord {
            id: DeviceId(uuid(1)),
            name: Name::new("gateway-1").expect("a name"),
            labels: BTreeMap::new(),
            incarnation: Some(Incarnation(uuid(2))),
            audit: Audit::new(start(), &Actor::named("anna")),
        };
        Self {
            state: DeviceState::new(record),
            log: Vec::new(),
            now: start(),
            ids: 0x1_0000,
        }
    }

    /// A change by `actor`, a second after the last one.
    pub(crate) fn context(&mut self, actor: &str) -> Context {
        self.now += SignedDuration::from_secs(1);
        Context::new(self.now, Actor::named(actor))
    }

    pub(crate) fn commit(&mut self, change: Change) {
        let after = self.state.after(change.clone());
        let mut expected = self.state.last_event;
        for event in &change.events {
            expected += 1;
            assert_eq!(event.sequence, expected, "events follow without gaps");
            assert!(
                event.causation.is_none_or(|cause| cause < event.sequence),
                "a cause comes before"
            );
        }
        self.log.extend(change.events);
        self.state = after;
    }

    pub(crate) fn decide(&mut self, what: Edit) -> Result<Edition, EditError> {
        let context = self.context("anna");
        let ids = &mut self.ids;
        let mut new_id = || -> Uuid {
            *ids += 1;
            uuid(*ids)
        };
        edit(&self.state, what, Some("because"), &mut new_id, &context)
    }

    /// Decides and commits; says whether anything changed, and of which sensor.
    pub(crate) fn edit(&mut self, what: Edit) -> Result<(bool, Option<SensorId>), EditError> {
        let Edition { change, sensor } = self.decide(what)?;
        let changed = change.is_some();
        if let Some(change) = change {
            self.commit(change);
        }
        Ok((changed, sensor))
    }

    pub(crate) fn add(&mut self, name: &str) -> SensorId {
        let (_, id) = self
            .edit(Edit::Add(document(name)))
            .expect("a valid sensor");
        id.expect("an added sensor has an id")
    }

    /// Takes a report, and commits what it changes.
    pub(crate) fn report(&mut self, report: Report) -> Received {
        let context = self.context("agent");
        let received = receive(&self.state, report, None, &context);
        if let Received::Changed(change) = &received {
            self.commit(Change::clone(change));
        }
        received
    }

    /// Looks at the device `later`, and commits what that changes.
    pub(crate) fn watch(&mut self, later: SignedDuration) -> Watched {
        self.now += later;
        let context = Context::new(self.now, Actor::reconciler());
        let watched = watch(&self.state, &PATIENCE, Some(start()), &context);
        if let Some(change) = &watched.change {
            self.commit(change.clone());
        }
        watched
    }

    /// Kinds of the events since the log had `from` of them.
    pub(crate) fn kinds_since(&self, from: usize) -> Vec<EventKind> {
        self.log[from..].iter().map(|event| event.kind).collect()
    }
}

/// An agent: what it holds, what it runs, and how it numbers its reports.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) order: ReportOrder,
    pub(crate) held: u64,
    pub(crate) looked: u64,
    pub(crate) outcome: Outcome,
    pub(crate) health: BTreeMap<SensorId, Health>,
}

impl Agent {
    pub(crate) fn new() -> Self {
        let incarnation = Incarnation(uuid(2));
        Self {
            order: ReportOrder {
                incarnation,
                boot: 1,
                sequence: 0,
            },
            held: 0,
            looked: 0,
            outcome: Outcome::default(),
            health: BTreeMap::new(),
        }
    }

    /// Starts anew: nothing runs.
    pub(crate) fn reboot(&mut self) {
        self.order.boot += 1;
        self.order.sequence = 0;
        self.outcome.running.clear();
        self.outcome.failures.clear();
        self.health.clear();
    }

    /// Works through the target; sensors for which `fails` is true fail.
    pub(crate) fn work(&mut self, life: &Life, fails: impl Fn(usize) -> bool) {
        let target = &life.state.target;
        self.held = target.version;
        self.looked = target.look_revision;
        let mut outcome = Outcome {
            version: target.version,
            ..Outcome::default()
        };
        for (index, item) in target.items.iter().enumerate() {
            let before = self
                .outcome
                .failures
                .iter()
                .find(|failure| failure.id == item.sensor.id());
            if fails(index) {
                outcome.failures.push(Failure {
                    id: item.sensor.id(),
                    fingerprint: item.sensor.fingerprint(),
                    error: "connect 10.0.0.7:502: connection refused".to_owned(),
                    attempts: before.map_or(0, |before| before.attempts) + 1,
                });
            } else {
                // As the agent reads it: from the text that it was sent.
                let text = serde_json::to_string(item).expect("JSON");
                outcome
                    .running
                    .push(serde_json::from_str(&text).expect("an item"));
            }
        }
        self.outcome = outcome;
    }

    pub(crate) fn online(&mut self, id: SensorId, status: HealthStatus) {
        let health = Health {
            status,
            since: start(),
            reason: None,
        };
        self.health.insert(id, health);
    }

    /// The next report, of everything.
    pub(crate) fn full(&mut self) -> Report {
        self.order.sequence += 1;
        Report {
            order: self.order,
            held_version: self.held,
            running_fingerprint: running_fingerprint(&self.outcome.running),
            looked_revision: self.looked,
            outcome: Some(self.outcome.clone()),
            health: Some(self.health.clone()),
            values: None,
            agent_version: Some("0.1.0".to_owned()),
            extra: Map::new(),
        }
    }

    /// The next report, which leaves out all that may be left out.
    pub(crate) fn heartbeat(&mut self) -> Report {
        Report {
            outcome: None,
            health: None,
            values: None,
            agent_version: None,
            ..self.full()
        }
    }
}
