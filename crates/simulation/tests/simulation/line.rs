//! What reaches adapters and instruments, and what they answer.

use std::sync::Arc;

use holdfast_domain::{CommandId, PointId, PointValue, Quality, SensorId, hold::WriteOutcome};
use holdfast_edge::machine::{CommandEvent, Effect, Established, Event, PointsRead, UpdateFailure};
use holdfast_ports::bus::Fresh;

use crate::{arrivals::Delivery, disk::DiskWrite, instrument::Where, world::World};

/// A call of a running sensor: whose, and which start of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) agent: usize,
    pub(crate) life: u64,
    pub(crate) sensor: SensorId,
    pub(crate) generation: u64,
    /// The command that it is made for.
    pub(crate) command: Option<CommandId>,
}

impl World {
    /// A read reaches its instrument.
    pub(crate) fn read_arrives(&mut self, call: Call, points: Vec<PointId>, asked_at: u64) {
        let Call {
            agent,
            life,
            sensor,
            generation,
            command,
        } = call;
        let shown = self.read_points(agent, sensor, generation, &points);
        let read = PointsRead {
            sensor,
            points,
            asked_at,
            shown,
        };
        let event = match command {
            None => Event::Read(read),
            Some(id) => Event::Command(CommandEvent::Read { id, read }),
        };
        let delay = self.answer_takes(agent, sensor);
        self.deliver_in(delay, Delivery::ToAgent { agent, life, event });
    }

    /// A write reaches its instrument. One for a command whose time is over is not sent.
    pub(crate) fn write_arrives(
        &mut self,
        call: Call,
        point: PointId,
        value: &PointValue,
        begin_by: u64,
    ) {
        let Call {
            agent,
            life,
            sensor,
            command,
            ..
        } = call;
        let outcome = if self.now >= begin_by {
            self.reach("commands too late for the line");
            WriteOutcome::NotSent("its turn did not come in time".into())
        } else {
            self.write_point(call, point, value)
        };
        let event = match command {
            None => Event::Wrote { point, outcome },
            Some(id) => Event::Command(CommandEvent::Wrote { id, outcome }),
        };
        let delay = self.answer_takes(agent, sensor);
        self.deliver_in(delay, Delivery::ToAgent { agent, life, event });
    }

    /// How long an answer of an instrument takes, in ms; its line is busy until then.
    fn answer_takes(&mut self, agent: usize, sensor: SensorId) -> u64 {
        let delay = match (self.storm, self.goes_wrong(3)) {
            (_, true) => self.below(2_000),
            (true, false) => 1 + self.below(10),
            (false, false) => 6,
        };
        let free = self.agents[agent].line_free.entry(sensor).or_default();
        *free = (*free).max(self.now + delay);
        delay
    }

    /// An adapter's call ends.
    pub(crate) fn adapter(&mut self, agent: usize, effect: Effect) {
        match effect {
            Effect::Start {
                item,
                generation,
                was_established,
            } => {
                let sensor = item.sensor.id();
                let unit = Where::unit(agent, &item.sensor);
                let is_away = unit.is_some_and(|unit| self.is_away(&unit));
                let result = if self.goes_wrong(5) || (is_away && !was_established) {
                    self.reach("starts failed");
                    Err("connect 10.0.0.5:502: connection refused".to_string())
                } else {
                    let kept = (generation, item.sensor.clone());
                    self.agents[agent].bus.insert(sensor, kept);
                    self.say_health(agent, sensor);
                    Ok(if was_established {
                        Established::Noted
                    } else {
                        self.note(agent, &item)
                    })
                };
                self.tell(
                    agent,
                    Event::Started {
                        sensor,
                        generation,
                        result,
                    },
                );
            }
            Effect::Update { item, generation } => {
                let sensor = item.sensor.id();
                let result = if self.goes_wrong(10) {
                    let lost = self.random.chance(50);
                    if lost {
                        self.agents[agent].bus.remove(&sensor);
                    }
                    Err(UpdateFailure {
                        error: "the adapter has a fault".into(),
                        lost,
                    })
                } else {
                    let kept = (generation, item.sensor.clone());
                    self.agents[agent].bus.insert(sensor, kept);
                    Ok(self.note(agent, &item))
                };
                // The adapter has it before the agent hears so.
                let event = Event::Updated {
                    sensor,
                    generation,
                    result,
                };
                let (life, delay) = (self.agents[agent].life, self.below(100));
                self.deliver_in(delay, Delivery::ToAgent { agent, life, event });
            }
            Effect::Stop { sensor, generation } => {
                self.agents[agent].bus.remove(&sensor);
                self.tell(agent, Event::Stopped { sensor, generation });
            }
            other => unreachable!("{other:?} is not for an adapter"),
        }
    }

    fn note(&mut self, agent: usize, item: &holdfast_domain::Item) -> Established {
        if self.goes_wrong(5) {
            return Established::NotNoted;
        }
        let write = DiskWrite::Established(item.sensor.id(), item.sensor.fingerprint());
        write.apply(&mut self.agents[agent].disk);
        self.observer.disk_writes += 1;
        Established::Noted
    }

    /// A read reaches an instrument.
    fn read_points(
        &mut self,
        agent: usize,
        sensor: SensorId,
        generation: u64,
        points: &[PointId],
    ) -> Vec<Fresh> {
        let content = self.agents[agent]
            .sensor_on_bus(sensor, generation)
            .map(Arc::clone);
        let gets_lost = self.goes_wrong(3);
        points
            .iter()
            .map(|point| {
                let bad = |reason: &str| Fresh {
                    value: None,
                    quality: Quality::Bad,
                    reason: Some(reason.to_owned()),
                };
                let Some(content) = &content else {
                    return bad("its sensor does not run");
                };
                let Some(at) = Where::of(agent, content, *point) else {
                    return bad("the sensor has no such point");
                };
                if gets_lost || self.is_away(&at.place.unit) {
                    return bad("no answer for 1 s");
                }
                let now = self.now;
                let raw = self.instrument(&at.place.unit).raw(at.place.register, now);
                let value = at.value(raw);
                self.saw(agent, *point, &at, &value);
                Fresh {
                    value: Some(value),
                    quality: Quality::Good,
                    reason: None,
                }
            })
            .collect()
    }

    /// Writes to an instrument.
    fn write_point(&mut self, call: Call, point: PointId, value: &PointValue) -> WriteOutcome {
        let Call {
            agent,
            sensor,
            generation,
            command,
            ..
        } = call;
        let content = self.agents[agent]
            .sensor_on_bus(sensor, generation)
            .map(Arc::clone);
        let at = content.and_then(|content| Where::of(agent, &content, point));
        let Some(at) = at else {
            return WriteOutcome::NotSent("its sensor does not run".into());
        };
        if self.is_away(&at.place.unit) {
            return if self.random.chance(50) {
                WriteOutcome::NotSent("connection refused".into())
            } else {
                WriteOutcome::Unknown("no answer for 1 s".into())
            };
        }
        let (now, raw) = (self.now, at.raw(value));
        let (outcome, is_other) =
            self.instrument(&at.place.unit)
                .write(at.place.register, raw, now);
        self.say(format_args!(
            "instrument {:?} is written {raw}: {outcome:?}",
            at.place
        ));
        self.reach("writes");
        match command {
            None => self.wrote(agent, sensor, point, &at, is_other, &outcome),
            Some(id) => self.carried_out(call, id, point, &at, &outcome),
        }
        outcome
    }
}
