//! What people ask of the hub beside editing sensors: values, commands, guards and limits, stops.

use std::sync::Arc;

use holdfast_domain::{
    PointId, PointValue, SensorId,
    document::{
        hold::Scope,
        point::PointKind,
        setpoint::{Policy, Tolerance},
    },
    edit::Edit,
    row::Actor,
    wish::Tuning,
};
use holdfast_hub::{
    commands::{CommandEdit, Commanded},
    values::{Asked, InterruptRequest, SetpointEdit},
};
use serde_json::{Value, json};

use crate::{instrument::Where, world::World};

impl World {
    /// What a new sensor is like.
    pub(crate) fn new_sensor(&self, agent: usize) -> Edit {
        let number = self.below(1_000_000);
        let settle = [0, 200][self.random.below(2)];
        let worn = [6, 40, 100][self.random.below(3)];
        let lifetime = [60, 500][self.random.below(2)];
        let mut a = json!({ "name": "a", "table": "holding", "address": 200 + 10 * (number % 3), "dataType": "int16", "scale": 0.1,
            "writable": true, "settleMs": settle });
        let mut b = json!({ "name": "b", "table": "holding", "address": 201 + 10 * (number % 3), "dataType": "uint16",
            "writable": true, "writeBudget": { "perDay": worn, "lifetime": lifetime } });
        for point in [&mut a, &mut b] {
            self.declare_safe_value(point);
            self.declare_limits(point);
        }
        let kind = ["pulse", "command"][self.random.below(2)];
        Edit::Add(json!({
            "name": format!("sensor-{number}"), "protocol": "modbus", "pollInterval": 1000,
            "connection": { "type": "tcp", "host": format!("10.0.{agent}.{}", number % 3), "port": 502, "unitId": 1 },
            "dataPoints": [
                { "name": "interlock", "table": "holding", "address": 100 + number % 2, "dataType": "int16" },
                a,
                b,
                { "name": "go", "table": "holding", "address": 300 + number % 2, "dataType": "int16", "kind": kind,
                  "writable": true, "settleMs": settle },
            ],
        }))
    }

    fn declare_safe_value(&self, point: &mut Value) {
        let Some(fields) = point.as_object_mut() else {
            return;
        };
        let (on_stop, lost) = (self.random.chance(50), self.random.chance(40));
        for field in ["safeValue", "onStop", "onHubLost"] {
            fields.remove(field);
        }
        if on_stop || lost {
            fields.insert("safeValue".into(), json!(5));
        }
        if on_stop {
            fields.insert("onStop".into(), json!("safeValue"));
        }
        if lost {
            let after = [12_000, 30_000, 90_000][self.random.below(3)];
            fields.insert(
                "onHubLost".into(),
                json!({ "afterMs": after, "then": "safeValue" }),
            );
        }
    }

    fn declare_limits(&self, point: &mut Value) {
        let Some(fields) = point.as_object_mut() else {
            return;
        };
        let limits = match self.below(4) {
            0 => json!({ "min": 1, "max": 70 }),
            1 => json!({ "min": 1, "max": 100, "maxStep": 30 }),
            _ => Value::Null,
        };
        fields.insert("limits".into(), limits);
    }

    /// Somebody changes what the outputs of a sensor may do: guards, limits, where they go.
    pub(crate) fn changes_rules(&mut self, agent: usize, sensor: &holdfast_domain::Sensor) -> Edit {
        self.reach("rules of points changed");
        let state = self.hub.state(self.agents[agent].device);
        let interlocks: Vec<PointId> = state
            .target
            .items
            .iter()
            .filter_map(|item| Some(item.sensor.content().binding.point_names().first()?.0))
            .collect();
        let mut points = sensor.content().data_points_json();
        let which = 1 + self.random.below(3);
        if let Some(point) = points.get_mut(which) {
            match self.below(3) {
                0 if point["kind"] == json!("level") => self.declare_safe_value(point),
                1 if point["kind"] == json!("level") => self.declare_limits(point),
                _ => {
                    let guard = self.one_of(&interlocks).filter(|_| self.random.chance(70));
                    // Commands read guards afresh; levels by passes, which may be five seconds apart.
                    let ages = if point["kind"] == json!("level") {
                        [6_000, 10_000, 30_000]
                    } else {
                        [300, 2_000, 10_000]
                    };
                    let max_age = ages[self.random.below(3)];
                    let guards: Vec<Value> = guard
                        .map(|id| json!({ "pointId": id, "atMost": 0, "maxAgeMs": max_age }))
                        .into_iter()
                        .collect();
                    point["guards"] = json!(guards);
                }
            }
        }
        Edit::Patch(sensor.id(), json!({ "dataPoints": points }))
    }

    pub(crate) fn sets_value(&mut self, agent: usize) {
        let Some((sensor, point)) = self.output(agent) else {
            return;
        };
        let device = self.agents[agent].device;
        let mut edit = SetpointEdit {
            value: PointValue::Integer(10 + i64::try_from(self.below(80)).expect("small")),
            tolerance: [None, None, Some(Tolerance::Absolute(2.0))][self.random.below(3)],
            policy: [
                Policy::Enforce,
                Policy::Enforce,
                Policy::Adopt,
                Policy::Observe,
            ][self.random.below(4)],
            valid_for_ms: None,
            key: None,
            only_if: None,
            if_revision: None,
        };
        if self.random.chance(25) {
            edit.valid_for_ms = Some(1_000 + self.below(120_000));
        }
        let what = format!("sets {point} of {sensor} at agent {agent}: {edit:?}");
        self.reach("values set");
        self.ask(&what, |world, process, actor| {
            let edit = &edit;
            let asked = asked(actor, Some("winter"));
            world.hub.call(process, |hub| async move {
                hub.set_setpoint(device, point, edit, asked).await
            })
        });
    }

    /// An instrument is replaced by a new one, which somebody says of one of its outputs.
    pub(crate) fn replaces(&mut self, agent: usize) {
        let device = self.agents[agent].device;
        let Some((_, point)) = self.output(agent) else {
            return;
        };
        if let Some(at) = self.place_of(agent, point) {
            self.is_without_power(&at.place.unit, 1_000);
        }
        let key = self
            .random
            .chance(20)
            .then(|| format!("key-{}", self.number()));
        let what = format!("replaces the instrument of {point} of agent {agent}");
        // A request that is repeated with its key is one reset.
        for _ in 0..=usize::from(key.is_some()) {
            let reset = self.ask(&what, |world, process, actor| {
                let (key, asked) = (key.clone(), asked(actor, Some("worn")));
                world.hub.call(process, |hub| async move {
                    hub.reset_budget(device, point, key, asked).await
                })
            });
            if reset.is_some() {
                let state = self.hub.state(device);
                let given = state.target.values.resets.get(&point).map(|reset| reset.id);
                let known = self.observer.resets.entry((agent, point)).or_default();
                known.extend(given);
                self.reach("budgets reset");
            }
        }
    }

    pub(crate) fn releases(&mut self, agent: usize) {
        let device = self.agents[agent].device;
        let wishes: Vec<PointId> = self
            .hub
            .state(device)
            .target
            .values
            .wishes
            .keys()
            .copied()
            .collect();
        let Some(point) = self.one_of(&wishes).copied() else {
            return;
        };
        self.reach("values released");
        self.ask(
            &format!("releases {point} of agent {agent}"),
            |world, process, actor| {
                let asked = asked(actor, None);
                world.hub.call(process, |hub| async move {
                    hub.release_setpoint(device, point, None, asked).await
                })
            },
        );
    }

    /// Somebody gives a command; now and then the request is repeated, with its key.
    pub(crate) fn commands(&mut self, agent: usize) {
        let device = self.agents[agent].device;
        let points = self.points_of(agent, |kind| kind != PointKind::Level);
        let Some((_, point)) = self.one_of(&points).copied() else {
            return;
        };
        let number = self.number();
        let edit = CommandEdit {
            value: PointValue::Integer(1 + i64::try_from(self.below(30_000)).expect("small")),
            valid_for_ms: [None, Some(200 + self.below(3_000)), Some(60_000)][self.random.below(3)],
            key: Some(format!("key-{number}")),
            only_if: None,
        };
        self.reach("commands given");
        let again = usize::from(self.random.chance(20));
        let mut ids = Vec::new();
        for _ in 0..=again {
            let what = format!("commands {point} of agent {agent}: {edit:?}");
            let given = self.ask(&what, |world, process, actor| {
                let edit = &edit;
                let asked = asked(actor, None);
                world.hub.call(process, |hub| async move {
                    hub.command(device, point, edit, asked).await
                })
            });
            if let Some(Commanded::Given(id)) = given {
                ids.push(id);
                let state = self.hub.state(device);
                self.was_given(agent, id, &state);
            }
        }
        ids.dedup();
        if ids.len() > 1 {
            self.broken("7 at most once", format_args!("one request gave {ids:?}"));
        }
    }

    pub(crate) fn stops(&mut self, agent: usize) {
        let device = self.agents[agent].device;
        let output = self.output(agent);
        let scope = match (self.below(3), output) {
            (0, Some((sensor, _))) => Scope::Sensor(sensor),
            (1, Some((_, point))) => Scope::Point(point),
            _ => Scope::Device,
        };
        let for_ms = self.random.chance(40).then(|| 1_000 + self.below(60_000));
        self.reach("stops");
        let what = format!("stops {scope:?} of agent {agent} for {for_ms:?} ms");
        self.ask(&what, |world, process, actor| {
            let asked = asked(actor, Some("belt"));
            world.hub.call(process, |hub| async move {
                hub.interrupt(device, InterruptRequest { scope, for_ms }, asked)
                    .await
            })
        });
    }

    /// Lifts one stop or pause, or all stops.
    pub(crate) fn starts(&mut self, agent: usize) {
        let device = self.agents[agent].device;
        let pauses = self.hub.state(device).target.values.hold.interruptions;
        let one = self.one_of(&pauses).map(|one| one.id);
        self.ask(
            &format!("starts agent {agent}, or lifts {one:?}"),
            |world, process, actor| {
                let asked = asked(actor, None);
                world.hub.call(process, |hub| async move {
                    match one {
                        Some(pause) => hub.lift(device, pause, asked).await,
                        None => hub.start(device, asked).await,
                    }
                })
            },
        );
    }

    pub(crate) fn tunes(&mut self, agent: usize) {
        let device = self.agents[agent].device;
        let tuning = Tuning {
            interval_ms: Some([1_000, 5_000][self.random.below(2)]),
            dynamic: None,
            shadow: Some(self.random.chance(25)),
            restores_per_hour: Some([2, 6][self.random.below(2)]),
        };
        self.ask(
            &format!("tunes agent {agent}: {tuning:?}"),
            |world, process, actor| {
                let asked = asked(actor, None);
                world.hub.call(process, |hub| async move {
                    hub.tune(device, tuning, asked).await
                })
            },
        );
    }

    /// One of an agent's outputs.
    pub(crate) fn output(&self, agent: usize) -> Option<(SensorId, PointId)> {
        let outputs = self.points_of(agent, |kind| kind == PointKind::Level);
        self.one_of(&outputs).copied()
    }

    /// All points that can be written to and are of such a kind, by what the hub wants now.
    fn points_of(
        &self,
        agent: usize,
        is_meant: impl Fn(PointKind) -> bool,
    ) -> Vec<(SensorId, PointId)> {
        let state = self.hub.state(self.agents[agent].device);
        let sensors = state.target.items.iter().map(|item| &item.sensor);
        sensors
            .flat_map(|sensor| {
                let binding = &sensor.content().binding;
                let points = binding.point_names().into_iter();
                let is_meant = |point: PointId| {
                    let rules = binding.point_rules(point);
                    rules.is_some_and(|rules| rules.writable && is_meant(rules.kind))
                };
                points
                    .filter(|(point, _)| is_meant(*point))
                    .map(|(point, _)| (sensor.id(), point))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Somebody opens or closes an interlock.
    pub(crate) fn turns_an_interlock(&mut self, agent: usize) {
        let state = self.hub.state(self.agents[agent].device);
        let sensors: Vec<_> = state
            .target
            .items
            .iter()
            .map(|item| Arc::clone(&item.sensor))
            .collect();
        let Some(sensor) = self.one_of(&sensors) else {
            return;
        };
        let Some((point, _)) = sensor.content().binding.point_names().first().copied() else {
            return;
        };
        let Some(at) = Where::of(agent, sensor, point) else {
            return;
        };
        let raw = i64::from(self.random.chance(50));
        self.reach("interlocks turned");
        self.say(format_args!("the interlock at {:?} is {raw}", at.place));
        self.instrument(&at.place.unit).turn(at.place.register, raw);
    }
}

/// By this operator, for this reason.
pub(crate) fn asked<'a>(actor: &'a Actor, reason: Option<&'a str>) -> Asked<'a> {
    Asked {
        actor,
        reason,
        correlation: None,
    }
}
