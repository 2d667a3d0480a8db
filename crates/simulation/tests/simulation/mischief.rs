//! What goes wrong, and what people do: one thing at a time, drawn by the seed.

use holdfast_domain::{DeviceId, PointId, edit::Edit, row::Actor};
use holdfast_hub::{HubError, edits::EditRequest};
use serde_json::{Value, json};

use crate::{
    hub::{AT_ONCE, PROCESSES},
    instrument::{Manner, Unit, Where},
    world::{AGENTS, World},
};

/// Wall clocks jump by at most so much, in ms.
const JUMP_MS: u64 = 120_000;
/// Where outputs are.
const OUTPUTS: std::ops::Range<u16> = 200..300;

impl World {
    /// Something happens.
    pub(crate) fn mischief(&mut self) {
        let agent = self.random.below(AGENTS);
        match self.below(135) {
            0..16 => self.edits_sensor(agent),
            16..36 => self.sets_value(agent),
            36..40 => self.releases(agent),
            40..46 => self.stops(agent),
            46..52 => self.starts(agent),
            52..54 => self.tunes(agent),
            54..56 => self.looks_again(agent),
            56 => self.rolls_back(agent),
            57..69 => self.turns_a_knob(agent),
            69..71 => self.fights(agent),
            71..78 => self.changes_manner(agent),
            78..84 => self.goes_away(agent),
            84..86 => self.loses_power(agent),
            86..91 => self.dies(agent),
            91 => self.disk_changes(agent),
            92..95 => self.hub_changes(),
            95..97 => self.clocks_jump(agent),
            97..99 => {
                self.reach("partitions");
                let long = self.below([40_000, 40_000, 130_000][self.random.below(3)]);
                self.say(format_args!("agent {agent} is cut off for {long} ms"));
                self.agents[agent].cut_until = self.now + long;
            }
            99 => {
                let long = self.below(20_000);
                self.say(format_args!("agent {agent} is revoked for {long} ms"));
                self.agents[agent].revoked_until = self.now + long;
            }
            100..115 => self.commands(agent),
            115..123 => self.goes_on_site(agent),
            123..129 => self.turns_an_interlock(agent),
            129..132 => self.replaces(agent),
            _ => self.changes_rules_of_one(agent),
        }
        self.fight_on();
    }

    /// What an operator asks of the hub. What is refused changes nothing, which is checked with everything else.
    pub(crate) fn ask<T>(
        &mut self,
        what: &str,
        call: impl FnOnce(&Self, usize, &Actor) -> Result<T, HubError>,
    ) -> Option<T> {
        let process = self.random.below(PROCESSES);
        let by = Actor::named("anna");
        let answer = match call(self, process, &by) {
            Ok(answer) => {
                self.say(format_args!("anna {what}: done"));
                self.reach("operators obeyed");
                Some(answer)
            }
            Err(error) => {
                self.say(format_args!("anna {what}: refused: {error}"));
                self.reach("operators refused");
                None
            }
        };
        self.after_hub();
        answer
    }

    fn edits_sensor(&mut self, agent: usize) {
        let device = self.agents[agent].device;
        let items = self.hub.state(device).target.items;
        let one = self.one_of(&items).map(|item| item.sensor.clone());
        let edit = match (self.below(12), one) {
            (_, None) => self.new_sensor(agent),
            (0..3, _) if items.len() < 4 => self.new_sensor(agent),
            (0..5, Some(sensor)) => Edit::Remove(sensor.id()),
            (5, Some(sensor)) => {
                Edit::Patch(sensor.id(), json!({ "enabled": self.random.chance(70) }))
            }
            (6, Some(sensor)) => {
                let unit = 1 + self.below(2);
                Edit::Patch(sensor.id(), json!({ "connection": { "unitId": unit } }))
            }
            (7, Some(sensor)) => {
                let name = format!("renamed-{}", self.below(1_000_000));
                Edit::Patch(sensor.id(), json!({ "name": name }))
            }
            (8, Some(sensor)) => {
                let interval = 100 + self.below(5);
                Edit::Patch(sensor.id(), json!({ "pollInterval": interval }))
            }
            (_, Some(sensor)) => self.redefined(&sensor),
        };
        self.reach("edits");
        self.edit(device, &format!("edits agent {agent}: {edit:?}"), &edit);
    }

    /// Somebody changes what outputs may do.
    fn changes_rules_of_one(&mut self, agent: usize) {
        let device = self.agents[agent].device;
        let items = self.hub.state(device).target.items;
        let Some(sensor) = self.one_of(&items).map(|item| item.sensor.clone()) else {
            return;
        };
        let edit = self.changes_rules(agent, &sensor);
        self.edit(
            device,
            &format!("changes rules of agent {agent}: {edit:?}"),
            &edit,
        );
    }

    /// What outputs are to hold, with its revision.
    fn wished(&self, device: DeviceId) -> String {
        let values = self.hub.state(device).target.values;
        format!("{} {:?}", values.revision, values.wishes)
    }

    /// No edit of sensors, and no way back, moves an output.
    fn check_wished(&self, device: DeviceId, before: &str) {
        let after = self.wished(device);
        if after != before {
            self.broken(
                "a configuration moves no output",
                format_args!("{before} was wished before it, and {after} is after it"),
            );
        }
    }

    fn edit(&mut self, device: DeviceId, what: &str, edit: &Edit) {
        let wished = self.wished(device);
        self.ask(what, |world, process, actor| {
            let request = EditRequest {
                actor,
                reason: Some("so"),
                if_version: None,
                correlation: None,
            };
            world.hub.call(process, |hub| async move {
                hub.edit(device, edit, request).await
            })
        });
        self.check_wished(device, &wished);
    }

    /// One of the sensor's points is at another address, or has another scale.
    fn redefined(&mut self, sensor: &holdfast_domain::Sensor) -> Edit {
        self.reach("points redefined");
        let mut points = sensor.content().data_points_json();
        let list = points.as_array_mut().expect("points");
        let which = 1 + self.random.below(2);
        if let Some(point) = list.get_mut(which).and_then(Value::as_object_mut) {
            let address = point["address"].as_u64().expect("a number");
            point.insert("address".into(), json!(200 + (address + 7) % 40));
        }
        Edit::Patch(sensor.id(), json!({ "dataPoints": points }))
    }

    pub(crate) fn looks_again(&mut self, agent: usize) {
        let device = self.agents[agent].device;
        self.ask(
            &format!("has agent {agent} look again"),
            |world, process, actor| {
                world.hub.call(process, |hub| async move {
                    hub.reconcile(device, AT_ONCE, None, actor, None).await
                })
            },
        );
    }

    fn rolls_back(&mut self, agent: usize) {
        let device = self.agents[agent].device;
        let version = self.hub.state(device).target.version;
        let version = self.below(version + 1);
        self.reach("rollbacks");
        let wished = self.wished(device);
        self.ask(
            &format!("rolls agent {agent} back to {version}"),
            |world, process, actor| {
                let request = EditRequest {
                    actor,
                    reason: None,
                    if_version: None,
                    correlation: None,
                };
                world.hub.call(process, |hub| async move {
                    hub.rollback(device, version, request).await
                })
            },
        );
        self.check_wished(device, &wished);
    }

    /// The place of one of an agent's outputs, preferably of one that something is set on.
    fn place(&mut self, agent: usize) -> Option<Where> {
        let state = self.hub.state(self.agents[agent].device);
        let wishes: Vec<PointId> = state.target.values.wishes.keys().copied().collect();
        let point = self
            .one_of(&wishes)
            .copied()
            .or_else(|| Some(self.output(agent)?.1))?;
        self.place_of(agent, point)
    }

    /// Where a point is, by what the hub wants now.
    pub(crate) fn place_of(&self, agent: usize, point: PointId) -> Option<Where> {
        let state = self.hub.state(self.agents[agent].device);
        let sensors = state.target.items.iter().map(|item| &item.sensor);
        let mut places = sensors.filter_map(|sensor| Where::of(agent, sensor, point));
        places.next()
    }

    fn unit(&mut self, agent: usize) -> Option<Unit> {
        Some(self.place(agent)?.place.unit)
    }

    fn turns_a_knob(&mut self, agent: usize) {
        let Some(at) = self.place(agent) else { return };
        // Never what the factory set, so that the two can be told apart.
        let raw = 1 + i64::try_from(self.below(900)).expect("small");
        self.reach("knobs turned");
        self.say(format_args!("somebody turns {:?} to {raw}", at.place));
        self.instrument(&at.place.unit).turn(at.place.register, raw);
        self.observer.by_hand.insert((at.place.clone(), raw, None));
        self.disturbed(&at.place);
    }

    /// Another master begins to write an instrument every second or so.
    fn fights(&mut self, agent: usize) {
        let Some(unit) = self.unit(agent) else { return };
        let until = self.now + self.below(30_000);
        self.reach("other masters");
        self.say(format_args!("another master writes {unit:?} until {until}"));
        self.instrument(&unit).fought_until = until;
    }

    fn fight_on(&mut self) {
        let now = self.now;
        let fought: Vec<Unit> = self
            .instruments
            .iter()
            .filter(|(_, instrument)| instrument.fought_until > now)
            .map(|(unit, _)| unit.clone())
            .collect();
        for unit in fought {
            let registers = self.instrument(&unit).registers();
            for register in registers
                .into_iter()
                .filter(|register| OUTPUTS.contains(register))
            {
                let raw = 5 + i64::try_from(self.below(5)).expect("small");
                self.instrument(&unit).turn(register, raw);
                let place = crate::instrument::Place {
                    unit: unit.clone(),
                    register,
                };
                self.observer.by_hand.insert((place.clone(), raw, None));
                self.disturbed(&place);
            }
        }
    }

    fn changes_manner(&mut self, agent: usize) {
        let Some(unit) = self.unit(agent) else { return };
        let manner = match self.below(12) {
            0 => Manner::Rounds,
            1 => Manner::Limits(300),
            2 => Manner::Ignores,
            3 => Manner::Refuses,
            4 => Manner::ShowsLate(100 + self.below(3_000)),
            5 => Manner::LosesAnswers,
            6 => Manner::LosesRequests,
            _ => Manner::Honest,
        };
        self.reach("manners changed");
        self.say(format_args!("{unit:?} from now on: {manner:?}"));
        self.instrument(&unit).manner = manner;
    }

    fn goes_away(&mut self, agent: usize) {
        let Some(unit) = self.unit(agent) else { return };
        let (now, long) = (self.now, self.below(40_000));
        self.reach("instruments away");
        self.say(format_args!("{unit:?} goes away for {long} ms"));
        self.instrument(&unit).away_until = now + long;
        self.say_health_of(&unit);
        // It is noticed when it is back, if not before.
        self.deliver_in(long + 1, crate::arrivals::Delivery::Back(unit));
    }

    fn loses_power(&mut self, agent: usize) {
        let Some(unit) = self.unit(agent) else { return };
        let long = 300 + self.below(10_000);
        self.reach("power lost");
        self.is_without_power(&unit, long);
    }

    /// What an instrument held is lost with its power.
    pub(crate) fn is_without_power(&mut self, unit: &Unit, long: u64) {
        let now = self.now;
        self.say(format_args!("{unit:?} loses its power for {long} ms"));
        let registers = self.instrument(unit).registers();
        let instrument = self.instrument(unit);
        instrument.power_cycle();
        instrument.away_until = now + long;
        for register in registers {
            self.disturbed(&crate::instrument::Place {
                unit: unit.clone(),
                register,
            });
        }
        self.say_health_of(unit);
        self.deliver_in(long + 1, crate::arrivals::Delivery::Back(unit.clone()));
    }

    pub(crate) fn dies(&mut self, agent: usize) {
        if self.agents[agent].machine.is_none() {
            return;
        }
        self.kill(agent);
        let down = if self.random.chance(70) {
            0
        } else {
            self.below(20_000)
        };
        self.agents[agent].restart_at = self.now + down;
    }

    fn disk_changes(&mut self, agent: usize) {
        if self.random.chance(60) {
            self.agents[agent].disk_backup = self.agents[agent].disk.clone();
            return;
        }
        self.reach("disks restored");
        if self.agents[agent].machine.is_some() {
            self.kill(agent);
        }
        self.say(format_args!("agent {agent} gets the disk that it had once"));
        self.agents[agent].disk = self.agents[agent].disk_backup.clone();
        self.disk_restored(agent);
    }

    fn hub_changes(&mut self) {
        match self.below(3) {
            0 => self.hub.back_up(),
            1 => {
                if self.hub.restore() {
                    self.reach("hubs restored");
                    self.say(format_args!("the hub goes back to its backup"));
                    (0..PROCESSES).for_each(|process| self.cut_polls(process));
                    self.hub_restored();
                    self.after_hub();
                    // What is missed is asked for again, before the agents were heard.
                    for agent in 0..AGENTS {
                        if self.random.chance(50) {
                            self.sets_value(agent);
                        }
                        if self.random.chance(30) {
                            self.stops(agent);
                        }
                    }
                }
            }
            _ => {
                let process = self.random.below(PROCESSES);
                self.reach("hubs killed");
                self.say(format_args!("hub {process} is killed and started"));
                self.cut_polls(process);
                self.hub.restart(process);
            }
        }
    }

    fn clocks_jump(&mut self, agent: usize) {
        self.reach("clocks jump");
        let by = i64::try_from(self.below(2 * JUMP_MS)).expect("small")
            - i64::try_from(JUMP_MS).expect("small");
        if self.random.chance(50) {
            self.say(format_args!("the hub's clock is {by} ms off"));
            let back = u64::try_from(self.hub.off_ms - by).unwrap_or(0);
            self.commands_last_longer(back);
            self.hub.off_ms = by;
            self.hub.set_time(self.now);
        } else {
            self.say(format_args!("the clock of agent {agent} is {by} ms off"));
            self.agents[agent].off_ms = by;
        }
    }
}
